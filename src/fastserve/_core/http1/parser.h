/* What the parser needs of llhttp beyond its public functions. */
#ifndef FASTSERVE_HTTP1_PARSER_H
#define FASTSERVE_HTTP1_PARSER_H

#include "llhttp.h"
#include "static_assert.h"

FASTSERVE_STATIC_ASSERT(sizeof(((llhttp_t *)0)->_span_pos0) == sizeof(const char *), "llhttp keeps a pointer there");

/* Hand over the open span, as llhttp_execute() does at the end of an input but not at a bad byte. */
static CYTHON_INLINE void fastserve_finish_span(llhttp_t *parser, const char *end) {
    const char *start = (const char *)parser->_span_pos0;
    parser->_span_pos0 = NULL;
    if (start != NULL && start < end)
        ((int (*)(llhttp_t *, const char *, const char *))parser->_span_cb0)(parser, start, end);
}

#endif
