/* Fetching the memory of objects before they are used: thousands of connections are in no cache. */
#ifndef FASTSERVE_PREFETCH_H
#define FASTSERVE_PREFETCH_H

#if defined(__GNUC__) || defined(__clang__)
static CYTHON_INLINE void fastserve_prefetch(const void *object) {
    __builtin_prefetch(object);
    __builtin_prefetch((const char *)object + 64);
}
/* All of an object of up to 256 bytes. */
static CYTHON_INLINE void fastserve_prefetch_all(const void *object) {
    fastserve_prefetch(object);
    fastserve_prefetch((const char *)object + 128);
}
#else
static CYTHON_INLINE void fastserve_prefetch(const void *object) { (void)object; }
static CYTHON_INLINE void fastserve_prefetch_all(const void *object) { (void)object; }
#endif

#endif
