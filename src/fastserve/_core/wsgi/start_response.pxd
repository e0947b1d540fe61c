"""Checks the arguments of start_response(), and converts them to ASGI."""

cdef int status_of(status) except -1  # raises TypeError, ValueError
# Return checked fields (http/response_head.pxd), and set Content-Length (-1: none). Raises TypeError, ValueError.
cdef list checked_headers(headers, Py_ssize_t* length)
