/* What loops in several threads do to the same memory. Where CPython has a global lock these are plain operations. */
#ifndef FASTSERVE_THREADS_H
#define FASTSERVE_THREADS_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

#ifdef Py_GIL_DISABLED
#ifdef _MSC_VER
#error "builds without the global interpreter lock need the atomic operations of gcc and clang"
#endif
enum { FASTSERVE_FREE_THREADED = 1 };
#define FASTSERVE_PER_THREAD _Thread_local

static inline void fastserve_count(long *counter, long more) { __atomic_fetch_add(counter, more, __ATOMIC_RELAXED); }
static inline long fastserve_counted(const long *counter) { return __atomic_load_n(counter, __ATOMIC_RELAXED); }

static inline void fastserve_sum(double *cell, double more) {
    uint64_t before = __atomic_load_n((uint64_t *)cell, __ATOMIC_RELAXED), after;
    do {
        double value;
        memcpy(&value, &before, sizeof(value));
        value += more;
        memcpy(&after, &value, sizeof(after));
    } while (!__atomic_compare_exchange_n((uint64_t *)cell, &before, after, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

/* Set a flag, and return what it was. What was written before is seen by the thread that finds it set. */
static inline int fastserve_exchange(int *flag, int value) { return __atomic_exchange_n(flag, value, __ATOMIC_SEQ_CST); }

/* For a few instructions, and for signal handlers, which must not wait for the thread that they interrupt. */
static inline int fastserve_try_spin(int *lock) { return !__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE); }
static inline void fastserve_spin(int *lock) { while (!fastserve_try_spin(lock)) {} }
static inline void fastserve_unspin(int *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }
#else
enum { FASTSERVE_FREE_THREADED = 0 };
#define FASTSERVE_PER_THREAD

static inline void fastserve_count(long *counter, long more) { *counter += more; }
static inline long fastserve_counted(const long *counter) { return *counter; }
static inline void fastserve_sum(double *cell, double more) { *cell += more; }

static inline int fastserve_exchange(int *flag, int value) {
    int before = *flag;
    *flag = value;
    return before;
}

static inline int fastserve_try_spin(int *lock) { (void)lock; return 1; }
static inline void fastserve_spin(int *lock) { (void)lock; }
static inline void fastserve_unspin(int *lock) { (void)lock; }
#endif

#endif
