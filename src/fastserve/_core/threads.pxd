"""What loops in several threads do to the same memory. Where CPython has a global lock these are plain operations."""

cdef extern from "threads.h" nogil:
    const bint FASTSERVE_FREE_THREADED  # CPython has no global lock
    void fastserve_count(long* counter, long more) noexcept
    long fastserve_counted(const long* counter) noexcept
    void fastserve_sum(double* cell, double more) noexcept
    int fastserve_exchange(int* flag, int value) noexcept  # set it, and return what it was
    void fastserve_spin(int* lock) noexcept  # held for a few instructions
    void fastserve_unspin(int* lock) noexcept
