"""The seams between the parts of the core. A method that a class does not override does nothing."""


cdef class Exchange(Owner):
    cdef int put_body(self, bytes data) except -1:
        return 0

    cdef int end_body(self) except -1:
        return 0

    cdef int disconnected(self) except -1:
        return 0

    cdef int completed(self) except -1:
        return 0

    cdef int writable(self) except -1:
        return 0

    cdef int stopping(self) except -1:
        return 0


cdef class DirectCall:
    cdef int begun(self) except -1:
        return 0

    cdef int noticed(self) except -1:
        return 0

    cdef int to_task(self) except -1:
        return 0


cdef class DirectApplication:
    cdef dict environ_of(self, object head, object peers):
        return None

    cdef DirectCall begin(self, Exchange exchange):
        return None


cdef class Shared:
    cdef bytes frame(self, int bits):
        return None

    cdef bytes stream_event(self, bint chunked):
        return None


cdef class Pending(Flushable):
    cdef int pour(self, bint everything) except -1:
        return 0

    cdef int ended(self) noexcept:
        return 0


cdef class Subscribing:
    cdef int begin(self, object worker, Stream stream, Channel channel) except -1:
        return 0


cdef class Stream:
    cdef int send_continue(self) except -1:
        return 0

    cdef int want_body(self) except -1:
        return 0

    cdef int took_body(self, Py_ssize_t left) except -1:
        return 0

    cdef int respond(self, status, headers) except -1:
        return 0

    cdef int respond_checked(self, int status, list fields, Py_ssize_t length) except -1:
        return 0

    cdef int hold_head(self) except -1:
        return 0

    cdef int early_hint(self, links) except -1:
        return 0

    cdef int body(self, bytes data, bint more) except -1:
        return 0

    cdef int begin_file(self, long long size, bint more) except -1:
        return 0

    cdef long long send_file(self, int file, long long offset, long long size) except -2:
        return -1

    cdef int put_raw(self, bytes data) except -1:
        return 0

    cdef int end_file(self, long long size, bint more) except -1:
        return 0

    cdef int trailers(self, list fields) except -1:
        return 0

    cdef int accept(self, subprotocol, headers) except -1:
        return 0

    cdef bint must_wait(self) noexcept:
        return False

    cdef bint broken(self) noexcept:
        return False

    cdef int abandon(self) except -1:
        return 0

    cdef bint resume(self) except -1:
        return True

    cdef Pending attach(self, Pending pending):
        return pending

    cdef int put_shared(self, Shared message, bint alone) except -1:
        return 0

    cdef int commit_shared(self) except -1:
        return 0

    cdef void fetch_shared(self) noexcept:
        pass

    cdef int cut(self) except -1:
        return 0


cdef class Handler(Timed):
    cdef int feed(self, bytes data) except -1:
        return 0

    cdef bint eof(self) except -1:
        return False

    cdef int rest(self) except -1:
        return 0

    cdef int rested(self) except -1:
        return 0

    cdef int lost(self) except -1:
        return 0

    cdef int drain(self) except -1:
        return 0

    cdef int end_streams(self, list tasks) except -1:
        return 0

    cdef int drained(self) except -1:
        return 0

    cdef bint ends_connection(self) noexcept:
        return False


cdef class Channel(Handler):
    cdef bint must_wait(self) noexcept:
        return False

    cdef bint broken(self) noexcept:
        return False

    cdef int send_text(self, str text) except -1:
        return 0

    cdef int send_bytes(self, bytes data) except -1:
        return 0

    cdef int close_with(self, int code, str reason) except -1:
        return 0

    cdef int taken(self) except -1:
        return 0

    cdef int wanted(self) except -1:
        return 0

    cdef Pending attach(self, Pending pending):
        return pending

    cdef int put_shared(self, Shared message, bint alone) except -1:
        return 0

    cdef int commit_shared(self) except -1:
        return 0

    cdef void fetch_shared(self) noexcept:
        pass

    cdef int cut(self) except -1:
        return 0


cdef class Carrier:
    cdef int switch_to(self, Handler handler, bytes rest) except -1:
        return 0

    cdef int count_in(self) except -1:
        return 0

    cdef int trace_upgrade(self, bint elsewhere) except -1:
        return 0

    cdef int hand_over(self, make_protocol, bytes received) except -1:
        return 0
