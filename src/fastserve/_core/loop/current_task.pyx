"""The current task of an event loop, as asyncio.current_task() gives it."""
import asyncio
import sys

# Up to 3.13 the current tasks are a dict by loop; then they belong to the thread state.
cdef dict current_tasks = asyncio.tasks._current_tasks if sys.version_info < (3, 14) else None
cdef object swap_current_task = getattr(asyncio.tasks, "_swap_current_task", None)


cdef object make_current(object loop, object task):
    """Make `task` the loop's current task. Return the previous one, or None."""
    if current_tasks is None:
        return swap_current_task(loop, task)
    previous = current_tasks.get(loop)
    current_tasks[loop] = task
    return previous


cdef int restore_current(object loop, object previous) except -1:
    if current_tasks is None:
        swap_current_task(loop, previous)
    elif previous is None:
        del current_tasks[loop]
    else:
        current_tasks[loop] = previous
    return 0
