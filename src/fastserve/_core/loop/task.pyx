"""The task that an application runs in.

Making an asyncio.Task for each request costs more than parsing it: the object, its registration, a turn of the loop
before its first step. This task takes its first step at once, where it is started, and most exchanges end in it. To the
application it is an asyncio.Task: current_task(), all_tasks(), isinstance(), names, attributes, contexts, cancellation,
timeouts, task groups, callbacks, awaiting it. CPython's own tests of Task are run against it (tests/core/test_task.py).
The rules are those of asyncio/tasks.py; the names of private attributes are kept, because anyio and others read them.
"""
import asyncio
import asyncio.base_tasks
import contextvars
import inspect
import sys
import types
from asyncio import CancelledError, InvalidStateError

from ..counters cimport live_counts
from ..python cimport PyObject, PyWeakref_NewRef, Py_DECREF
from ..threads cimport fastserve_count
from .current_task cimport make_current, restore_current
from .turn cimport Runnable, Turn
from .waiter cimport Sleeper, Waiter


cdef extern from "Python.h":
    int PyIter_Send(object iterator, object value, PyObject** result) except -1
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1


cdef enum:
    RETURNED = 0  # of PyIter_Send

cdef bint HAS_EAGER_TASKS = sys.version_info >= (3, 12)
# Up to 3.10 each awaiter of a cancelled task gets an error of its own, without the message.
cdef bint CANCELLED_ERROR_IS_NEW = sys.version_info < (3, 11)
cdef bint UNCANCEL_CLEARS = sys.version_info >= (3, 13)
cdef object register_task = asyncio.tasks._register_task
cdef object unregister_task = asyncio.tasks._unregister_task
cdef object register_eager_task = getattr(asyncio.tasks, "_register_eager_task", None)
cdef object unregister_eager_task = getattr(asyncio.tasks, "_unregister_eager_task", None)
# Up to 3.11 adding to this WeakSet costs a Python call and a callback; a plain weak reference in its set does not.
cdef set task_references = None if HAS_EAGER_TASKS else asyncio.tasks._all_tasks.data
cdef object next_task_number = asyncio.tasks._task_name_counter
cdef object AsyncioFuture = asyncio.Future
cdef object AsyncioTask = asyncio.Task
cdef tuple STATE_NAMES = ("PENDING", "CANCELLED", "FINISHED")


cdef class Owner(Runnable):
    cdef void ended(self, object result, object exception) noexcept:
        """The task's coroutine returned `result`, or raised `exception`; never raises."""

    cdef int suspended(self) except -1:
        return 0

    cdef bint orphaned(self) noexcept:
        return False


cdef Task start(object coro, object loop, object context, Turn turn, Owner owner):
    """Run `coro` as a task until it first waits; `owner` is told when it ends."""
    cdef Task task = Task.__new__(Task)
    task.coro = coro
    task.loop = loop
    task.context = context
    task.turn = turn
    task.owner = owner
    task.begin()
    return task


cdef class Task(Sleeper):
    """An asyncio.Task in all but its type; made by hand it is scheduled like one.

    type(task) is this class: asyncio.Task's methods cannot be called unbound (asyncio.Task.get_name(task) is a TypeError),
    and `python -m asyncio ps` (3.14) does not find it. The loop does not call its first step. A loop with a task factory
    or in debug mode makes the tasks of applications itself.
    """

    def __cinit__(self):
        fastserve_count(&live_counts.task, 1)
        self.log_destroyed = True

    def __init__(self, coro, *, loop=None, name=None, context=None, eager_start=False):
        if not asyncio.iscoroutine(coro):
            self.log_destroyed = False
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        self.coro = coro
        self.loop = asyncio.get_event_loop() if loop is None else loop
        self.name = f"Task-{next_task_number()}" if name is None else str(name)
        self.context = contextvars.copy_context() if context is None else context
        if self.loop.get_debug():
            self.source_traceback = asyncio.format_helpers.extract_stack()
        if eager_start and self.loop.is_running():
            self.begin()
        else:
            self.loop.call_soon(self._step, context=self.context)
            self.register()

    def __dealloc__(self):
        fastserve_count(&live_counts.task, -1)

    def __del__(self):
        if self.registration is not None and task_references is not None:
            task_references.discard(self.registration)
        if self.state == PENDING and self.log_destroyed:
            self.report({"task": self, "message": "Task was destroyed but it is pending!"})
        if self.log_traceback:
            self.report({"message": "Task exception was never retrieved", "exception": self.error, "future": self})

    def report(self, details):
        if self.source_traceback is not None:
            details["source_traceback"] = self.source_traceback
        self.loop.call_exception_handler(details)

    __class_getitem__ = classmethod(types.GenericAlias)

    @property
    def __class__(self):
        return AsyncioTask

    def __repr__(self):
        return f"<Task {' '.join(asyncio.base_tasks._task_repr_info(self))}>"

    # Stepping

    cdef int begin(self) except -1:
        """Take the first step in the task's own context."""
        if HAS_EAGER_TASKS:
            register_eager_task(self)
        else:
            self.registration = PyWeakref_NewRef(self, None)
            task_references.add(self.registration)
        PyContext_Enter(self.context)
        try:
            self.step(None)
        finally:
            PyContext_Exit(self.context)
            if HAS_EAGER_TASKS:
                unregister_eager_task(self)
                if self.state == PENDING:
                    self.register()
        return 0

    cdef int register(self) except -1:
        register_task(self)
        self.registered = True
        return 0

    def _step(self, exception=None):
        self.go_on(exception)

    def _wakeup(self, future):
        exception = None
        try:
            future.result()
        except BaseException as raised:
            exception = raised
        self.go_on(exception)  # out of the clause: what is handled there would be handled in the coroutine too

    cdef int go_on(self, object exception) except -1:
        """Resume the coroutine; called by the loop, in the task's context."""
        self.entered = True
        if self.turn is not None:
            self.turn.enter()
        try:
            self.step(exception)
        finally:
            try:
                if self.turn is not None:
                    self.turn.leave()
            finally:
                self.entered = False
        return 0

    cdef void resume(self) noexcept:
        """Go on after a wait for a Waiter, in a turn that the caller ends."""
        try:
            if self.entered:
                self.step(None)
                return
            PyContext_Enter(self.context)
            try:
                self.step(None)
            finally:
                PyContext_Exit(self.context)
        except BaseException as exception:
            self.report({"message": "Exception in a step of a task", "exception": exception, "task": self})

    cdef object step(self, object exception):
        cdef PyObject* raw = NULL
        cdef int how = RETURNED
        cdef object result = None, raised = None, previous
        if self.state != PENDING:
            raise InvalidStateError(f"__step(): already done: {self!r}, {exception!r}")
        if self.must_cancel:
            if not isinstance(exception, CancelledError):
                exception = self.cancelled_error()
            self.must_cancel = False
        self.waiter = None
        self.stepping = True
        previous = make_current(self.loop, self)
        try:
            try:
                if exception is None:
                    how = PyIter_Send(self.coro, None, &raw)
                    result = <object>raw
                    Py_DECREF(result)  # PyIter_Send gave a reference of its own
                else:
                    result = self.coro.throw(exception)
                    how = RETURNED + 1
            except StopIteration as stop:
                result = stop.value
            except BaseException as error:
                raised = error
            if raised is not None:
                self.end(None, raised)
            elif how == RETURNED:
                self.end(result, None)
            else:
                self.suspend(result)
        finally:
            exception = raised = None
            restore_current(self.loop, previous)

    cdef int suspend(self, object waited) except -1:
        """The coroutine yielded `waited`: go on when that is done."""
        cdef object blocking
        self.stepping = False
        if self.owner is not None:
            self.owner.suspended()
        if type(waited) is Waiter and (<Waiter>waited).is_pending() and self.turn is not None:
            (<Waiter>waited).sleeper = self
            self.waiter = waited
            if self.must_cancel and waited.cancel(msg=self.cancel_message):
                self.must_cancel = False
            return 0
        if waited is None:
            return self.call_soon(None)
        blocking = getattr(waited, "_asyncio_future_blocking", None)
        if blocking is not None:
            loop = waited.get_loop() if type(waited) is AsyncioFuture else asyncio.futures._get_loop(waited)
            if loop is not self.loop:
                return self.call_soon(RuntimeError(
                    f"Task {self!r} got Future {waited!r} attached to a different loop"
                ))
            if not blocking:
                return self.call_soon(RuntimeError(
                    f"yield was used instead of yield from in task {self!r} with {waited!r}"
                ))
            if waited is self:
                return self.call_soon(RuntimeError(f"Task cannot await on itself: {self!r}"))
            waited._asyncio_future_blocking = False
            waited.add_done_callback(self._wakeup, context=self.context)
            self.waiter = waited
            if self.must_cancel and waited.cancel(msg=self.cancel_message):
                self.must_cancel = False
            return 0
        if inspect.isgenerator(waited):
            return self.call_soon(RuntimeError(
                f"yield was used instead of yield from for generator in task {self!r} with {waited!r}"
            ))
        return self.call_soon(RuntimeError(f"Task got bad yield: {waited!r}"))

    cdef int call_soon(self, exception) except -1:
        if exception is None:
            self.loop.call_soon(self._step, context=self.context)
        else:
            self.loop.call_soon(self._step, exception, context=self.context)
        return 0

    cdef int end(self, object result, object exception) except -1:
        cdef Owner owner = self.owner
        if exception is not None and isinstance(exception, CancelledError):
            self.state = CANCELLED
            self.error = exception
            if CANCELLED_ERROR_IS_NEW:
                self.cancel_message = None
        elif exception is None and self.must_cancel:  # cancelled by itself in its last step
            self.must_cancel = False
            self.state = CANCELLED
        elif exception is not None and owner is None:
            self.state = FINISHED
            self.error = exception
            self.log_traceback = True
        else:
            self.state = FINISHED
            self.outcome = None if owner is not None else result
        if self.registration is not None:
            task_references.discard(self.registration)
            self.registration = None
        elif self.registered:
            unregister_task(self)
        self.waiter = None
        if owner is not None:
            self.owner = None
            owner.ended(result, exception)
        if self.callbacks is not None:
            self.schedule_callbacks()
        if owner is None and isinstance(exception, (KeyboardInterrupt, SystemExit)):
            raise exception
        return 0

    # Cancellation

    cdef object cancelled_error(self):
        """Return the error to raise for a cancellation: the one already raised, if any."""
        cause, self.error = self.error, None
        if cause is not None and not CANCELLED_ERROR_IS_NEW:
            return cause
        error = CancelledError() if self.cancel_message is None else CancelledError(self.cancel_message)
        if cause is not None:
            error.__context__ = cause
        return error

    def _make_cancelled_error(self):
        return self.cancelled_error()

    def cancel(self, msg=None):
        """Raise CancelledError in the coroutine. Return False if the task is already done."""
        self.log_traceback = False
        if self.state != PENDING:
            return False
        self.cancels += 1
        if self.waiter is not None and self.waiter.cancel(msg=msg):
            return True
        self.must_cancel = True
        self.cancel_message = msg
        return True

    def cancelling(self):
        """Return the number of calls of cancel() less those of uncancel()."""
        return self.cancels

    def uncancel(self):
        """Take back one call of cancel(). Return how many are left."""
        if self.cancels > 0:
            self.cancels -= 1
            if UNCANCEL_CLEARS and self.cancels == 0:
                self.must_cancel = False
        return self.cancels

    # Outcome

    def done(self):
        return self.state != PENDING

    def cancelled(self):
        return self.state == CANCELLED

    def result(self):
        """Return the coroutine's result. Raises what it raised, CancelledError, or InvalidStateError while it runs."""
        if self.state == CANCELLED:
            raise self.cancelled_error()
        if self.state != FINISHED:
            raise InvalidStateError("Result is not ready.")
        self.log_traceback = False
        if self.error is not None:
            raise self.error
        return self.outcome

    def exception(self):
        """Return what the coroutine raised, or None. Raises CancelledError, or InvalidStateError while it runs."""
        if self.state == CANCELLED:
            raise self.cancelled_error()
        if self.state != FINISHED:
            raise InvalidStateError("Exception is not set.")
        self.log_traceback = False
        return self.error

    def set_result(self, result):
        raise RuntimeError("Task does not support set_result operation")

    def set_exception(self, exception):
        raise RuntimeError("Task does not support set_exception operation")

    def add_done_callback(self, fn, *, context=None):
        """Call `fn(task)` soon after the task is done."""
        if context is None:
            context = contextvars.copy_context()
        if self.state != PENDING:
            self.loop.call_soon(fn, self, context=context)
        elif self.callbacks is None:
            self.callbacks = [(fn, context)]
        else:
            self.callbacks.append((fn, context))

    def remove_done_callback(self, fn):
        """Remove each callback equal to `fn`. Return how many there were."""
        if not self.callbacks:
            return 0
        kept = [entry for entry in self.callbacks if entry[0] != fn]
        removed = len(self.callbacks) - len(kept)
        self.callbacks = kept
        return removed

    cdef int schedule_callbacks(self) except -1:
        callbacks, self.callbacks = self.callbacks, None
        for fn, context in callbacks:
            self.loop.call_soon(fn, self, context=context)
        return 0

    def __await__(self):
        if self.state == PENDING:
            self.blocking = True
            yield self
        if self.state == PENDING:
            raise RuntimeError("await wasn't used with future")
        return self.result()

    def __iter__(self):
        return self.__await__()

    # What it is

    def get_coro(self):
        return self.coro

    def get_context(self):
        return self.context

    def get_loop(self):
        return self.loop

    def get_name(self):
        if self.name is None:
            self.name = f"Task-{next_task_number()}"
        return self.name

    def set_name(self, value):
        self.name = str(value)

    def get_stack(self, *, limit=None):  # of the coroutine, or of its exception's traceback; oldest first
        return asyncio.base_tasks._task_get_stack(self, limit)

    def print_stack(self, *, limit=None, file=None):
        """Print the frames of get_stack() to `file`, or to standard error."""
        return asyncio.base_tasks._task_print_stack(self, limit, file)

    @property
    def _asyncio_future_blocking(self):
        return self.blocking

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, value):
        self.blocking = value

    @property
    def _loop(self):
        return self.loop

    @property
    def _coro(self):
        return self.coro

    @property
    def _state(self):
        return STATE_NAMES[self.state]

    @property
    def _result(self):
        return self.outcome

    @property
    def _exception(self):
        return None if self.state == CANCELLED else self.error

    @property
    def _callbacks(self):
        return self.callbacks

    @property
    def _fut_waiter(self):
        return self.waiter

    @property
    def _must_cancel(self):
        return self.must_cancel

    @property
    def _num_cancels_requested(self):
        return self.cancels

    @property
    def _cancel_message(self):
        return self.cancel_message

    @_cancel_message.setter
    def _cancel_message(self, value):
        self.cancel_message = value

    @property
    def _source_traceback(self):
        return self.source_traceback

    @property
    def _log_destroy_pending(self):
        return self.log_destroyed

    @_log_destroy_pending.setter
    def _log_destroy_pending(self, value):
        self.log_destroyed = value

    @property
    def _log_traceback(self):
        return self.log_traceback

    @_log_traceback.setter
    def _log_traceback(self, value):
        if value:
            raise ValueError("_log_traceback can only be set to False")
        self.log_traceback = False

    def _repr_info(self):
        return asyncio.base_tasks._task_repr_info(self)
