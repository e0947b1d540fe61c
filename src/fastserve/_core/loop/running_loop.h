/* The running loop of a thread, replaced without a call of asyncio.

Up to CPython 3.11 asyncio._set_running_loop() makes an object for each call, and asks the kernel for the process: two
system calls for each batch of WSGI applications, which run without a running loop. The object that is there serves as
well: get_running_loop() reads it each time, and takes None for no loop. From 3.12 on there is neither. */
#ifndef FASTSERVE_LOOP_RUNNING_LOOP_H
#define FASTSERVE_LOOP_RUNNING_LOOP_H

#include <Python.h>

#if PY_VERSION_HEX < 0x030C0000 && !defined(_WIN32)
#include <string.h>
#include <sys/types.h>

struct fastserve_loop_holder {
    PyObject_HEAD
    PyObject *loop;
    pid_t process;
};

/* Return whether `to` is the thread's running loop now in place of `from`; false where the object is not as expected. */
static int fastserve_replace_running_loop(PyObject *from, PyObject *to) {
    static PyObject *key = NULL;
    PyObject *threads_own = PyThreadState_GetDict();
    struct fastserve_loop_holder *holder;
    if (key == NULL)
        key = PyUnicode_InternFromString("__asyncio_running_event_loop__");
    if (threads_own == NULL || key == NULL) {
        PyErr_Clear();
        return 0;
    }
    holder = (struct fastserve_loop_holder *)PyDict_GetItemWithError(threads_own, key);
    if (holder == NULL || Py_TYPE(holder)->tp_basicsize != (Py_ssize_t)sizeof(*holder) || holder->loop != from
        || strcmp(Py_TYPE(holder)->tp_name, "_RunningLoopHolder") != 0)
        return 0;
    holder->loop = Py_NewRef(to);
    Py_DECREF(from);
    return 1;
}
#else
static int fastserve_replace_running_loop(PyObject *from, PyObject *to) {
    (void)from; (void)to;
    return 0;
}
#endif
#endif
