/* Comparing the types of ASGI messages. */
#ifndef FASTSERVE_HTTP_MESSAGES_H
#define FASTSERVE_HTTP_MESSAGES_H

#include <Python.h>
#include <string.h>

/* Return whether an object is a str of the same characters as another, which is in ASCII. */
static CYTHON_INLINE int fastserve_same_ascii(PyObject *one, PyObject *other) {
    return PyUnicode_Check(one) && PyUnicode_IS_COMPACT_ASCII(one)
        && PyUnicode_GET_LENGTH(one) == PyUnicode_GET_LENGTH(other)
        && memcmp(PyUnicode_1BYTE_DATA(one), PyUnicode_1BYTE_DATA(other), PyUnicode_GET_LENGTH(one)) == 0;
}

#endif
