"""What modules share of CPython's API.

Cython's own declarations, cpython.object and all that it names, took an eighth of the time that all translations take,
for each module reads them anew, and imports `type` because of them.
"""

cdef extern from "Python.h":
    ctypedef struct PyObject  # for references that are not counted, or by hand

    void Py_INCREF(object item)
    void Py_DECREF(object item)
    void Py_XDECREF(PyObject* item)
    void Py_CLEAR(PyObject* item)
    int PyObject_GenericSetAttr(object item, object name, object value) except -1
    object PyWeakref_NewRef(object item, object callback)
    bint PyObject_CheckBuffer(object item)

    bytes PyBytes_FromObject(object item)
    bytes PyBytes_FromStringAndSize(const char* data, Py_ssize_t size)
    char* PyBytes_AS_STRING(object data)
    Py_ssize_t PyBytes_GET_SIZE(object data)
    char* PyByteArray_AS_STRING(object data)

    str PyUnicode_DecodeASCII(const char* data, Py_ssize_t size, const char* errors)
    str PyUnicode_DecodeUTF8(const char* data, Py_ssize_t size, const char* errors)
    bytes PyUnicode_AsLatin1String(object text)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_IS_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    Py_UCS4 PyUnicode_READ_CHAR(object text, Py_ssize_t index)

    list PyList_New(Py_ssize_t size)
    void PyList_SET_ITEM(object items, Py_ssize_t index, object item)  # takes the reference, which Cython keeps as well
    PyObject* PyTuple_GET_ITEM(object items, Py_ssize_t index)  # borrowed
    Py_ssize_t PyTuple_GET_SIZE(object items)
    PyObject* PyDict_GetItemWithError(object items, object key) except? NULL  # borrowed
    Py_ssize_t PyDict_Size(object items) except -1

    enum:
        PyBUF_SIMPLE
        PyBUF_READ
        PyBUF_WRITABLE
    int PyObject_GetBuffer(object item, Py_buffer* view, int flags) except -1
    void PyBuffer_Release(Py_buffer* view)
    object PyMemoryView_FromMemory(char* data, Py_ssize_t size, int flags)

    void* PyMem_Malloc(size_t size)
    void* PyMem_Calloc(size_t count, size_t size)
    void* PyMem_Realloc(void* memory, size_t size)
    void PyMem_Free(void* memory)

    unsigned long PyThread_get_thread_ident() nogil
