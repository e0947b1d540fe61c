/* Texts of log lines: what needs no escapes is copied many bytes at a time. */
#ifndef FASTSERVE_HTTP_PLAIN_TEXT_H
#define FASTSERVE_HTTP_PLAIN_TEXT_H

#include <stdint.h>
#include <string.h>

/* A byte is plain if it is printable ASCII, but not a quote or a backslash. */

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <emmintrin.h>

/* Return a bit for each of 16 bytes that is not plain. */
static CYTHON_INLINE unsigned fastserve_unplain(__m128i bytes) {
    /* Signed: bytes from 0x80 on are negative. */
    __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)), quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i slashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')), deletes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(low, quotes), _mm_or_si128(slashes, deletes)));
}

/* Copy bytes as far as they are plain, and return how many were. There is room for `size` bytes. */
static CYTHON_INLINE Py_ssize_t fastserve_copy_plain(char *to, const char *from, Py_ssize_t size) {
    Py_ssize_t at = 0;
    unsigned found;
    __m128i bytes;
    uint64_t eight, last;
    uint32_t four;
    for (; size - at >= 16; at += 16) {
        bytes = _mm_loadu_si128((const __m128i *)(from + at));
        _mm_storeu_si128((__m128i *)(to + at), bytes);
        found = fastserve_unplain(bytes);
        if (found) return at + __builtin_ctz(found);
    }
    if (size - at >= 8) {
        /* The first eight bytes and the last, which may overlap. */
        memcpy(&eight, from + at, 8);
        memcpy(&last, from + size - 8, 8);
        bytes = _mm_set_epi64x((long long)last, (long long)eight);
        found = fastserve_unplain(bytes);
        memcpy(to + at, &eight, 8);
        memcpy(to + size - 8, &last, 8);
        if (!found) return size;
        found &= 0xFF;
        if (found) return at + __builtin_ctz(found);
        at += 8;
    } else if (size - at >= 4) {
        memcpy(&four, from + at, 4);
        memcpy(to + at, &four, 4);
        found = fastserve_unplain(_mm_cvtsi32_si128((int)four)) & 0xF;
        if (found) return at + __builtin_ctz(found);
        at += 4;
    }
    for (; at < size; at++) {
        unsigned char byte = (unsigned char)from[at];
        if (byte < 0x20 || byte >= 0x7F || byte == '"' || byte == '\\') return at;
        to[at] = (char)byte;
    }
    return at;
}

#else

static CYTHON_INLINE Py_ssize_t fastserve_copy_plain(char *to, const char *from, Py_ssize_t size) {
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t word, quotes, slashes, deletes;
    Py_ssize_t at = 0;
    for (; size - at >= 8; at += 8) {
        memcpy(&word, from + at, 8);
        quotes = word ^ 0x22 * ones;
        slashes = word ^ 0x5C * ones;
        deletes = word ^ 0x7F * ones;
        /* A byte below n becomes negative by n's subtraction, and was not before. Borrows only come from such bytes. */
        if ((word | (word - 0x20 * ones) | ((quotes - ones) & ~quotes) | ((slashes - ones) & ~slashes)
             | ((deletes - ones) & ~deletes)) & high) break;
        memcpy(to + at, &word, 8);
    }
    for (; at < size; at++) {
        unsigned char byte = (unsigned char)from[at];
        if (byte < 0x20 || byte >= 0x7F || byte == '"' || byte == '\\') return at;
        to[at] = (char)byte;
    }
    return at;
}

#endif

/* The digits of 00 to 99. */
static const char fastserve_pairs[201] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/* Write a number and return what follows it. */
static CYTHON_INLINE char *fastserve_put_number(char *to, uint64_t number) {
    char digits[20];
    int first = 20;
    uint32_t rest, high;
    if (number < 10) {
        to[0] = (char)('0' + number);
        return to + 1;
    }
    if (number < 10000) {
        high = (uint32_t)number / 100;
        rest = (uint32_t)number % 100;
        if (high >= 10) {
            memcpy(to, fastserve_pairs + 2 * high, 2);
            to += 2;
        } else if (high) {
            *to++ = (char)('0' + high);
        }
        memcpy(to, fastserve_pairs + 2 * rest, 2);
        return to + 2;
    }
    while (number >= 100000000) {
        uint32_t low = (uint32_t)(number % 100000000);
        number /= 100000000;
        first -= 8;
        memcpy(digits + first, fastserve_pairs + 2 * (low / 1000000), 2);
        memcpy(digits + first + 2, fastserve_pairs + 2 * (low / 10000 % 100), 2);
        memcpy(digits + first + 4, fastserve_pairs + 2 * (low / 100 % 100), 2);
        memcpy(digits + first + 6, fastserve_pairs + 2 * (low % 100), 2);
    }
    rest = (uint32_t)number;
    while (rest >= 100) {
        first -= 2;
        memcpy(digits + first, fastserve_pairs + 2 * (rest % 100), 2);
        rest /= 100;
    }
    if (rest >= 10) {
        first -= 2;
        memcpy(digits + first, fastserve_pairs + 2 * rest, 2);
    } else {
        digits[--first] = (char)('0' + rest);
    }
    memcpy(to, digits + first, 20 - first);
    return to + 20 - first;
}

/* Write six digits and return what follows them. */
static CYTHON_INLINE char *fastserve_put_six(char *to, uint32_t number) {
    memcpy(to, fastserve_pairs + 2 * (number / 10000), 2);
    memcpy(to + 2, fastserve_pairs + 2 * (number / 100 % 100), 2);
    memcpy(to + 4, fastserve_pairs + 2 * (number % 100), 2);
    return to + 6;
}

/* Write a time in seconds times 10^scale, with `digits` digits after the point; nothing for one that did not come,
   where either is 0. */
static CYTHON_INLINE char *fastserve_put_seconds(char *to, double since, double until, int scale, int digits) {
    static const uint64_t powers[10] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};
    double nanoseconds = (until - since) * 1e9 + 0.5;
    uint64_t number, rest;
    int at;
    if (since == 0 || until == 0) return to;
    number = nanoseconds > 0 ? (uint64_t)(long long)nanoseconds : 0;
    if (digits == 6 && scale == 0) {
        number /= 1000;
        if (number < 1000000) {
            memcpy(to, "0.", 2);
            return fastserve_put_six(to + 2, (uint32_t)number);
        }
        to = fastserve_put_number(to, number / 1000000);
        *to = '.';
        return fastserve_put_six(to + 1, (uint32_t)(number % 1000000));
    }
    number /= powers[9 - scale - digits];
    if (digits == 0) return fastserve_put_number(to, number);
    rest = number % powers[digits];
    to = fastserve_put_number(to, number / powers[digits]);
    *to = '.';
    for (at = digits; at > 0; at--) {
        to[at] = (char)('0' + rest % 10);
        rest /= 10;
    }
    return to + digits + 1;
}

#endif
