"""The names of request methods."""
from ..llhttp cimport HTTP_QUERY


cdef extern from "http/methods.h":
    const char* fastserve_method_names[HTTP_QUERY + 1]


cdef list METHOD_NAMES = [fastserve_method_names[number].decode() for number in range(HTTP_QUERY + 1)]


cdef str method_name(int method):
    return METHOD_NAMES[method]
