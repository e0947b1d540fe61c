"""Checks the arguments of start_response(), and converts them to ASGI."""

cdef int status_of(status) except -1  # raises TypeError, ValueError
cdef list checked_headers(headers, Py_ssize_t* length)  # sets Content-Length (-1: none); raises TypeError, ValueError
