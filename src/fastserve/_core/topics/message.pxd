"""A message for many clients, with its encodings."""
from ..interfaces cimport Shared


cdef class Message(Shared):
    cdef readonly str topic
    cdef readonly str id  # its position, None without history
    cdef readonly str event  # None for the default
    # Made when they are first wanted.
    cdef bytes plain
    cdef list deflated  # by the bits of the window, from 9 on
    cdef bytes chunk
    cdef bytes bare
    cdef Message as_json

    cdef Message in_json(self)  # with topic, id and data in its text
    cdef const char* payload(self, Py_ssize_t* size) except NULL
    cdef bytes framed(self, const char* payload, Py_ssize_t size, bint deflated)
    cdef bytes as_event(self)


cdef class Comment(Shared):
    pass


cdef Message make_message(str topic, object data, str id, str event)
