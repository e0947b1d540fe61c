/* Assertions that the compiler checks. MSVC has them in C under the name of C++ alone, unless told otherwise. */
#ifndef FASTSERVE_STATIC_ASSERT_H
#define FASTSERVE_STATIC_ASSERT_H

#ifdef _MSC_VER
#define FASTSERVE_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define FASTSERVE_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

#endif
