"""What receive() and send() return."""


cdef class Awaitable:
    cdef bint used  # somebody awaited it
    cdef object future  # what it waits for, where poll() returned WAIT
    cdef object poll(self)  # the result, or WAIT; asked again when the future is done


cdef object WAIT
