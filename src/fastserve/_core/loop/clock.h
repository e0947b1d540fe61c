/* Reading the clocks, what the thread has used of the processor, and the HTTP date. */
#ifndef FASTSERVE_LOOP_CLOCK_H
#define FASTSERVE_LOOP_CLOCK_H

#include <string.h>
#include <time.h>
#include "static_assert.h"
#ifdef _WIN32
#include <windows.h>
static CYTHON_INLINE double fastserve_monotonic(void) {
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (double)count.QuadPart / (double)frequency.QuadPart;
}
static CYTHON_INLINE double fastserve_coarse(void) { return (double)GetTickCount64() / 1000.0; }
static CYTHON_INLINE long long fastserve_second(void) { return (long long)time(NULL); }
static CYTHON_INLINE void fastserve_gmtime(time_t second, struct tm *parts) { gmtime_s(parts, &second); }
static CYTHON_INLINE int fastserve_thread_usage(double *cpu, long *waits) {
    (void)cpu; (void)waits;
    return 0;
}
#else
#include <sys/resource.h>
#if defined(__linux__) && !defined(RUSAGE_THREAD)
#define RUSAGE_THREAD 1
#endif
#ifndef CLOCK_MONOTONIC_COARSE
#define CLOCK_MONOTONIC_COARSE CLOCK_MONOTONIC
#define CLOCK_REALTIME_COARSE CLOCK_REALTIME
#endif
static CYTHON_INLINE double fastserve_read(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
static CYTHON_INLINE double fastserve_monotonic(void) { return fastserve_read(CLOCK_MONOTONIC); }
static CYTHON_INLINE double fastserve_coarse(void) { return fastserve_read(CLOCK_MONOTONIC_COARSE); }
static CYTHON_INLINE long long fastserve_second(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (long long)now.tv_sec;
}
static CYTHON_INLINE void fastserve_gmtime(time_t second, struct tm *parts) { gmtime_r(&second, parts); }
static CYTHON_INLINE int fastserve_thread_usage(double *cpu, long *waits) {
#ifdef RUSAGE_THREAD
    struct rusage usage;  /* its times are those of the last tick of the kernel */
    struct timespec now;
    if (getrusage(RUSAGE_THREAD, &usage) != 0 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) != 0) return 0;
    *cpu = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    *waits = usage.ru_nvcsw;
    return 1;
#else
    (void)cpu; (void)waits;
    return 0;
#endif
}
#endif

/* Seconds since 1970, to a microsecond. */
static CYTHON_INLINE double fastserve_real(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

enum { FASTSERVE_DATE_SIZE = 29 };

/* The IMF-fixdate of RFC 9110 section 5.6.7, and a zero byte. */
static CYTHON_INLINE void fastserve_format_date(long long second, char text[FASTSERVE_DATE_SIZE + 1]) {
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char form[] = "Xxx, 00 Xxx 0000 00:00:00 GMT";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm t;
    int year;
    FASTSERVE_STATIC_ASSERT(sizeof(form) == FASTSERVE_DATE_SIZE + 1, "the size of the date");
    fastserve_gmtime((time_t)second, &t);
    year = t.tm_year + 1900;
    memcpy(text, form, sizeof(form));
    memcpy(text, days + 3 * t.tm_wday, 3);
    text[5] += (char)(t.tm_mday / 10), text[6] += (char)(t.tm_mday % 10);
    memcpy(text + 8, months + 3 * t.tm_mon, 3);
    text[12] += (char)(year / 1000 % 10), text[13] += (char)(year / 100 % 10);
    text[14] += (char)(year / 10 % 10), text[15] += (char)(year % 10);
    text[17] += (char)(t.tm_hour / 10), text[18] += (char)(t.tm_hour % 10);
    text[20] += (char)(t.tm_min / 10), text[21] += (char)(t.tm_min % 10);
    text[23] += (char)(t.tm_sec / 10), text[24] += (char)(t.tm_sec % 10);
}

#endif
