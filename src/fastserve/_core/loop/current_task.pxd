"""The current task of an event loop, as asyncio.current_task() gives it."""

cdef object make_current(object loop, object task)
cdef int restore_current(object loop, object previous) except -1
