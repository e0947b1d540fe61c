/* The names of the methods, by llhttp's numbers. */
#ifndef FASTSERVE_HTTP_METHODS_H
#define FASTSERVE_HTTP_METHODS_H

#include "llhttp.h"
#include "static_assert.h"

static const char *const fastserve_method_names[] = {
#define FASTSERVE_METHOD(number, name, text) [number] = #text,
    HTTP_ALL_METHOD_MAP(FASTSERVE_METHOD)
#undef FASTSERVE_METHOD
};

FASTSERVE_STATIC_ASSERT(
    sizeof(fastserve_method_names) / sizeof(fastserve_method_names[0]) == HTTP_QUERY + 1, "QUERY is the last method");

#endif
