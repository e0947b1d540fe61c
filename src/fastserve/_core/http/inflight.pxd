"""The exchanges under way, in a form that a signal handler can read."""


cdef struct Entry:
    Entry* next  # NULL while it is not in the list
    Entry* previous
    void* method  # str
    void* path  # bytes
    double since  # of a clock that never goes back, exact to a few milliseconds


cdef bint enabled  # somebody may want to know

# Both objects have to live until stop_tracking().
cdef void track(Entry* entry, str method, bytes path) noexcept
cdef void stop_tracking(Entry* entry) noexcept
