"""What a client may cost before it is taken for an attacker: its connection then ends with ENHANCE_YOUR_CALM.

resets    Streams that end before their response is complete, reset by either side: each has cost an application, or a part
          of one (CVE-2023-44487, CVE-2019-9514, CVE-2025-8671).
cheap     Frames that cost the client nothing: SETTINGS, PING, PRIORITY, PRIORITY_UPDATE, unknown ones, empty DATA, DATA that
          its windows cut very small, WINDOW_UPDATE in excess of what is sent, frames on closed streams (CVE-2019-9511 to
          -9518 but for 9514 and 9516).
padding   Bytes that carry nothing, against those that do.

Tokens come back with time, and with what a good client does.
"""

cdef enum:
    RESETS = 200
    MOST_RESETS = 1000
    RESETS_A_SECOND = 33
    CHEAP = 1000
    CHEAP_A_SECOND = 100
    CHEAP_A_REQUEST = 2
    UPDATES_A_FRAME = 10
    PAID = 2048  # bytes of a frame of body that are worth a cheap one
    UNPAID = 1 << 20  # bytes that carry nothing, at any rate


cdef void begin_guard(Guard* guard, double now) noexcept:
    guard.resets = RESETS
    guard.cheap = CHEAP
    guard.when = now
    guard.total = guard.payload = guard.updates = 0


cdef void refill(Guard* guard, double now) noexcept:
    cdef double passed = now - guard.when
    if passed > 0:
        guard.when = now
        # More than the first tokens are only for what has been completed.
        if guard.resets < RESETS:
            guard.resets = min(guard.resets + passed * RESETS_A_SECOND, <double>RESETS)
        guard.cheap = min(guard.cheap + passed * CHEAP_A_SECOND, <double>CHEAP)


cdef bint spend_reset(Guard* guard, double now) noexcept:
    refill(guard, now)
    guard.resets -= 1
    return guard.resets >= 0


cdef bint spend_cheap(Guard* guard, double now) noexcept:
    refill(guard, now)
    guard.cheap -= 1
    return guard.cheap >= 0


cdef bint spend_update(Guard* guard, double now) noexcept:
    if guard.updates > 0:
        guard.updates -= 1
        return True
    return spend_cheap(guard, now)


cdef void note_request(Guard* guard) noexcept:
    guard.cheap = min(guard.cheap + CHEAP_A_REQUEST, <double>CHEAP)


cdef void note_completed(Guard* guard) noexcept:
    guard.resets = min(guard.resets + 1, <double>MOST_RESETS)


cdef void note_sent(Guard* guard, Py_ssize_t size) noexcept:
    guard.updates += UPDATES_A_FRAME
    guard.payload += size
    if size >= PAID:
        guard.cheap = min(guard.cheap + size // PAID, <double>CHEAP)


cdef bint is_padding(Guard* guard) noexcept:
    return guard.total // 8 > guard.payload + UNPAID
