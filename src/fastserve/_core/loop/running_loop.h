/* The running loop of a thread, read and replaced without a call of asyncio.

Up to CPython 3.11 asyncio asks the kernel for the process each time that it is asked for the running loop or told of one, and
makes an object when it is told. Its object is read here, and serves as well with another loop: get_running_loop() reads it each
time, and takes None for no loop. From 3.12 on there is neither object nor system call. */
#ifndef FASTSERVE_LOOP_RUNNING_LOOP_H
#define FASTSERVE_LOOP_RUNNING_LOOP_H

#include <Python.h>

#if PY_VERSION_HEX < 0x030C0000 && !defined(_WIN32)
#include <pthread.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct fastserve_loop_holder {
    PyObject_HEAD
    PyObject *loop;
    pid_t process;
};

static pid_t fastserve_this_process = 0;

static void fastserve_note_process(void) {
    fastserve_this_process = getpid();
}

/* Return the object of this thread, borrowed; NULL where it is not as expected. */
static struct fastserve_loop_holder *fastserve_loop_holder(void) {
    static PyObject *key = NULL;
    static PyTypeObject *known = NULL;  /* the type of such objects, which is static */
    PyObject *threads_own = PyThreadState_GetDict();
    struct fastserve_loop_holder *holder;
    if (key == NULL)
        key = PyUnicode_InternFromString("__asyncio_running_event_loop__");
    if (threads_own == NULL || key == NULL) {
        PyErr_Clear();
        return NULL;
    }
    holder = (struct fastserve_loop_holder *)PyDict_GetItemWithError(threads_own, key);
    if (holder == NULL || Py_TYPE(holder) == known)
        return holder;
    if (Py_TYPE(holder)->tp_basicsize != (Py_ssize_t)sizeof(*holder)
        || strcmp(Py_TYPE(holder)->tp_name, "_RunningLoopHolder") != 0)
        return NULL;
    known = Py_TYPE(holder);
    return holder;
}

/* Return the loop that runs in this thread, borrowed; NULL if there is none, or only asyncio knows. */
static PyObject *fastserve_running_loop(void) {
    struct fastserve_loop_holder *holder = fastserve_loop_holder();
    if (fastserve_this_process == 0) {
        if (pthread_atfork(NULL, NULL, fastserve_note_process) != 0)
            return NULL;
        fastserve_note_process();
    }
    if (holder == NULL || holder->loop == Py_None || holder->process != fastserve_this_process)
        return NULL;
    return holder->loop;
}

/* Return whether `to` is the thread's running loop now in place of `from`; false where the object is not as expected. */
static int fastserve_replace_running_loop(PyObject *from, PyObject *to) {
    struct fastserve_loop_holder *holder = fastserve_loop_holder();
    if (holder == NULL || holder->loop != from)
        return 0;
    holder->loop = Py_NewRef(to);
    Py_DECREF(from);
    return 1;
}
#else
static PyObject *fastserve_running_loop(void) {
    return NULL;
}

static int fastserve_replace_running_loop(PyObject *from, PyObject *to) {
    (void)from; (void)to;
    return 0;
}
#endif
#endif
