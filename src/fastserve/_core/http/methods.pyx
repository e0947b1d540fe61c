"""The names of request methods."""
from ..llhttp cimport HTTP_QUERY
from ..metrics cimport method_number


cdef extern from "http/methods.h":
    const char* fastserve_method_names[HTTP_QUERY + 1]


cdef list METHOD_NAMES = [fastserve_method_names[number].decode() for number in range(HTTP_QUERY + 1)]
cdef dict KNOWN_METHODS = {name.encode(): name for name in METHOD_NAMES if name != "PRI"}
cdef int number
for number in range(HTTP_QUERY + 1):
    counted_as[number] = method_number(METHOD_NAMES[number])


cdef str method_name(int method):
    return METHOD_NAMES[method]


cdef str known_method(bytes method):
    return KNOWN_METHODS.get(method)
