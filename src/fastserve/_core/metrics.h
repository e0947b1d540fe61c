/* Stores into a page of metrics that another process reads meanwhile, and the bounds of histograms. */
#ifndef FASTSERVE_METRICS_H
#define FASTSERVE_METRICS_H

#include "threads.h"

enum { FASTSERVE_BOUNDS = 17 };

/* Seconds. Those that OpenTelemetry advises for HTTP, with three finer ones before them. */
static const double fastserve_bounds[FASTSERVE_BOUNDS] = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
};

/* A cell is never seen half written. The loops of one process have one page, so adding is atomic where they run at the
   same moment. */
static inline void fastserve_store(uint64_t *cell, uint64_t value) {
#ifdef _MSC_VER
    *(volatile uint64_t *)cell = value;
#else
    __atomic_store_n(cell, value, __ATOMIC_RELAXED);
#endif
}

static inline void fastserve_add(uint64_t *cell, uint64_t more) {
#ifdef Py_GIL_DISABLED
    __atomic_fetch_add(cell, more, __ATOMIC_RELAXED);
#else
    fastserve_store(cell, *cell + more);
#endif
}

/* A name of `count` cells. Its first cell, which is never 0, is stored last, so that readers see whole names only. */
static inline void fastserve_name(uint64_t *cells, const char *name, int count) {
    uint64_t first;
    memcpy(cells + 1, name + 8, (size_t)(count - 1) * 8);
    memcpy(&first, name, 8);
#ifdef _MSC_VER
    *(volatile uint64_t *)cells = first;
#else
    __atomic_store_n(cells, first, __ATOMIC_RELEASE);
#endif
}

/* A histogram is FASTSERVE_BOUNDS + 1 buckets, each with what is in no bucket before it, and the sum in nanoseconds. */
static inline void fastserve_observe(uint64_t *histogram, double seconds) {
    int bucket = 0;
    while (bucket < FASTSERVE_BOUNDS && seconds > fastserve_bounds[bucket]) bucket++;
    fastserve_add(histogram + bucket, 1);
    if (seconds > 0) fastserve_add(histogram + FASTSERVE_BOUNDS + 1, (uint64_t)(seconds * 1e9));
}

#endif
