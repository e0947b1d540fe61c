/* Where a module that keeps objects for reuse has its pool: one a thread where threads run at the same moment. */
#ifndef FASTSERVE_MEMORY_POOL_H
#define FASTSERVE_MEMORY_POOL_H

#include "threads.h"

static FASTSERVE_PER_THREAD PyObject *fastserve_pool; /* borrowed from the dict of the thread's state */

#endif
