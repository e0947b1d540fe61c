/* Names and values of header fields, many bytes at a time. */
#ifndef FASTSERVE_HTTP_FIELD_TEXT_H
#define FASTSERVE_HTTP_FIELD_TEXT_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <emmintrin.h>

/* Return up to 16 bytes, each of them in one place or more. */
static CYTHON_INLINE __m128i fastserve_short_text(const char *from, Py_ssize_t size) {
    uint64_t first, last;
    uint32_t begin, end;
    if (size == 16) return _mm_loadu_si128((const __m128i *)from);
    if (size >= 8) {
        memcpy(&first, from, 8);
        memcpy(&last, from + size - 8, 8);
        return _mm_set_epi64x((long long)last, (long long)first);
    }
    if (size >= 4) {
        memcpy(&begin, from, 4);
        memcpy(&end, from + size - 4, 4);
    } else {
        begin = (uint32_t)(unsigned char)from[0] | (uint32_t)(unsigned char)from[size - 1] << 8;
        end = (uint32_t)(unsigned char)from[size / 2] * 0x01010101u;
        begin |= begin << 16;
    }
    return _mm_set1_epi64x((long long)((uint64_t)end << 32 | begin));
}

/* Comparisons are signed: bytes from 0x80 on are negative. */
static CYTHON_INLINE __m128i fastserve_controls(__m128i bytes) {
    __m128i low = _mm_and_si128(_mm_cmpgt_epi8(bytes, _mm_set1_epi8(-1)), _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)));
    low = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')), low);
    return _mm_or_si128(low, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F)));
}

static CYTHON_INLINE __m128i fastserve_small_letters(__m128i bytes) {
    __m128i letters = _mm_and_si128(
        _mm_cmpgt_epi8(bytes, _mm_set1_epi8('a' - 1)), _mm_cmplt_epi8(bytes, _mm_set1_epi8('z' + 1)));
    return _mm_or_si128(letters, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-')));
}

/* Return whether there is a control character other than a tab. */
static CYTHON_INLINE int fastserve_has_control(const char *value, Py_ssize_t size) {
    __m128i found;
    Py_ssize_t at;
    if (size <= 16) return size > 0 && _mm_movemask_epi8(fastserve_controls(fastserve_short_text(value, size)));
    found = fastserve_controls(_mm_loadu_si128((const __m128i *)(value + size - 16)));
    for (at = 0; at < size - 16; at += 16)
        found = _mm_or_si128(found, fastserve_controls(_mm_loadu_si128((const __m128i *)(value + at))));
    return _mm_movemask_epi8(found) != 0;
}

/* Return whether there are only small letters and hyphens. */
static CYTHON_INLINE int fastserve_is_small(const char *name, Py_ssize_t size) {
    __m128i good;
    Py_ssize_t at;
    if (size <= 16) return size > 0 && _mm_movemask_epi8(fastserve_small_letters(fastserve_short_text(name, size))) == 0xFFFF;
    good = fastserve_small_letters(_mm_loadu_si128((const __m128i *)(name + size - 16)));
    for (at = 0; at < size - 16; at += 16)
        good = _mm_and_si128(good, fastserve_small_letters(_mm_loadu_si128((const __m128i *)(name + at))));
    return _mm_movemask_epi8(good) == 0xFFFF;
}

static CYTHON_INLINE __m128i fastserve_lowered(__m128i bytes) {
    __m128i capitals = _mm_and_si128(
        _mm_cmpgt_epi8(bytes, _mm_set1_epi8('A' - 1)), _mm_cmplt_epi8(bytes, _mm_set1_epi8('Z' + 1)));
    return _mm_or_si128(bytes, _mm_and_si128(capitals, _mm_set1_epi8(0x20)));
}

/* Return whether a name, in any case, is this one, which is in lower case. */
static CYTHON_INLINE int fastserve_is_name(const char *name, const char *lower, Py_ssize_t size) {
    __m128i same;
    Py_ssize_t at;
    if (size <= 16) {
        same = _mm_cmpeq_epi8(fastserve_lowered(fastserve_short_text(name, size)), fastserve_short_text(lower, size));
        return _mm_movemask_epi8(same) == 0xFFFF;
    }
    at = size - 16;
    same = _mm_cmpeq_epi8(
        fastserve_lowered(_mm_loadu_si128((const __m128i *)(name + at))), _mm_loadu_si128((const __m128i *)(lower + at)));
    for (at = 0; at < size - 16; at += 16)
        same = _mm_and_si128(same, _mm_cmpeq_epi8(
            fastserve_lowered(_mm_loadu_si128((const __m128i *)(name + at))),
            _mm_loadu_si128((const __m128i *)(lower + at))));
    return _mm_movemask_epi8(same) == 0xFFFF;
}

#else

static CYTHON_INLINE int fastserve_is_name(const char *name, const char *lower, Py_ssize_t size) {
    Py_ssize_t at;
    for (at = 0; at < size; at++)
        if ((name[at] >= 'A' && name[at] <= 'Z' ? name[at] + 0x20 : name[at]) != lower[at]) return 0;
    return 1;
}

static CYTHON_INLINE int fastserve_has_control(const char *value, Py_ssize_t size) {
    /* Without an early exit, so that the compiler can look at many bytes at a time. */
    const unsigned char *byte = (const unsigned char *)value;
    unsigned char found = 0;
    Py_ssize_t at;
    for (at = 0; at < size; at++) found |= ((byte[at] < 32) & (byte[at] != 9)) | (byte[at] == 127);
    return found != 0;
}

static CYTHON_INLINE int fastserve_is_small(const char *name, Py_ssize_t size) {
    Py_ssize_t at;
    for (at = 0; at < size; at++)
        if ((name[at] < 'a' || name[at] > 'z') && name[at] != '-') return 0;
    return size > 0;
}

#endif

#endif
