"""The methods that requests can have."""

cdef str method_name(int method)  # for one of llhttp's numbers; the same object each time
