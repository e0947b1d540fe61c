/* Stands in for the C library's clock under valgrind, which makes everything some fifty times slower: by the real clock
   the core would find every application slow and answer as it does for slow ones. Each reading is 250 ns after the last. */
#include <time.h>
#include <valgrind/callgrind.h>

/* callgrind begins a new count where this is called. */
void fastserve_bench_mark(void) { CALLGRIND_DUMP_STATS; }

static long long nanoseconds = 1000000000000000LL;

int clock_gettime(clockid_t clock, struct timespec *now) {
    (void)clock;
    nanoseconds += 250;
    now->tv_sec = nanoseconds / 1000000000;
    now->tv_nsec = nanoseconds % 1000000000;
    return 0;
}
