/* Slots of extension types that Cython does not set. */
#ifndef FASTSERVE_LOOP_AWAITABLE_H
#define FASTSERVE_LOOP_AWAITABLE_H

#include <Python.h>

static void fastserve_set_iternext(PyObject *type, PyObject *(*next)(PyObject *)) {
    ((PyTypeObject *)type)->tp_iternext = next;
}

static void fastserve_use_vectorcall(PyObject *type, Py_ssize_t offset) {
    ((PyTypeObject *)type)->tp_vectorcall_offset = offset;
    ((PyTypeObject *)type)->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
    ((PyTypeObject *)type)->tp_call = PyVectorcall_Call;
}

#endif
