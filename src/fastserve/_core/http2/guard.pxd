"""What a client may cost before it is taken for an attacker."""


cdef struct Guard:
    # Filled by begin_guard(), used by the functions below.
    double resets  # tokens that are left for streams that end before their response is complete
    double cheap  # for frames that cost us more than the client
    double when  # both were counted up
    long long total  # bytes received
    long long payload  # of these, what carries something; and bytes of bodies sent
    long long updates  # WINDOW_UPDATE frames that are called for by DATA frames sent


cdef void begin_guard(Guard* guard, double now) noexcept
cdef bint spend_reset(Guard* guard, double now) noexcept  # false: one too many, as with the next
cdef bint spend_cheap(Guard* guard, double now) noexcept
cdef bint spend_update(Guard* guard, double now) noexcept
cdef void note_request(Guard* guard) noexcept
cdef void note_completed(Guard* guard) noexcept
cdef void note_sent(Guard* guard, Py_ssize_t size) noexcept  # a DATA frame
cdef bint is_padding(Guard* guard) noexcept  # nearly all that is received carries nothing
