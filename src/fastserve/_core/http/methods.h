#include "llhttp.h"

/* By llhttp's numbers. */
static const char *const fastserve_method_names[] = {
#define FASTSERVE_METHOD(number, name, text) [number] = #text,
    HTTP_ALL_METHOD_MAP(FASTSERVE_METHOD)
#undef FASTSERVE_METHOD
};
