/* An element of the list of exchanges in progress, a ring. */
#ifndef FASTSERVE_HTTP_INFLIGHT_H
#define FASTSERVE_HTTP_INFLIGHT_H

#include <Python.h>

typedef struct fastserve_entry {
    struct fastserve_entry *next, *previous; /* next: NULL while it is not in the list */
    PyObject *method, *path;                 /* str, bytes */
    unsigned long thread;                    /* whose loop serves it, as threading.get_ident() */
    double since;                            /* of the coarse clock */
} fastserve_entry;

#endif
