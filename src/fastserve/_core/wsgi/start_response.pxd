"""What a WSGI application gives to start_response(), checked and in the terms of ASGI."""

cdef int status_of(status) except -1  # raises TypeError, ValueError
cdef list checked_headers(headers, Py_ssize_t* length)  # and Content-Length, -1 without; raises TypeError, ValueError
