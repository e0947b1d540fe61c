"""Files that the server serves itself, before the application is called.

fastserve.static decides in Python what the response with a file says. This module keeps the decision, and serves the
next plain requests for the file from it, as long as one stat(2) shows that the file has not changed; requests that had
arrived by then share one. It also keeps the content of small files; a large file is opened for each request and sent
with sendfile(2).
"""
import os

from libc.string cimport memchr, memcmp

from ..interfaces cimport Stream
from ..loop.clock cimport monotonic
from ..loop.turn cimport note_sender
from ..python cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from ..system cimport (
    FASTSERVE_IDENTIFIES,
    FASTSERVE_NO_BENEATH,
    fastserve_identify,
    fastserve_identity,
    fastserve_open,
    fastserve_open_beneath,
)
from ..worker cimport Worker
from .admission cimport wait_in_queue
from .exchange cimport COMPLETE, EXPECT_BODY, HttpExchange, init_exchange
from .file_body cimport Transfer

cdef enum:
    # What the fields of a request mean here.
    ENCODING = 1
    UNLESS_MATCH
    UNLESS_SINCE
    OTHER

cdef enum:
    MOST_KEPT = 1024
    MOST_HELD = 1 << 24  # bytes

cdef double VALID = 1  # seconds

cdef dict MEANINGS = {
    b"accept-encoding": ENCODING,
    b"if-none-match": UNLESS_MATCH,
    b"if-modified-since": UNLESS_SINCE,
    b"if-match": OTHER,
    b"if-unmodified-since": OTHER,
    b"range": OTHER,
}


def open_beneath(bytes directory, bytes name):
    """Return a descriptor of the file at `name`, which leads nowhere out of `directory`, or None without openat2(2).

    Raises OSError.
    """
    cdef int fd = fastserve_open_beneath(directory, name)
    if fd == FASTSERVE_NO_BENEATH:
        return None
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    return fd


cdef bint is_same(fastserve_identity* one, fastserve_identity* other) noexcept:
    return memcmp(one, other, sizeof(fastserve_identity)) == 0


cdef class Kept:
    def __init__(
        self, bytes directory, bytes name, status, list headers, bytes etag, list headers_304, bytes content
    ):
        self.path = directory + b"/" + name
        self.identity.device = status.st_dev
        self.identity.number = status.st_ino
        self.identity.size = status.st_size
        self.identity.modified = status.st_mtime_ns
        self.identity.changed = status.st_ctime_ns
        self.headers = headers
        self.etag = etag
        self.headers_304 = headers_304
        self.content = content
        self.until = monotonic() + VALID


cdef class StaticFiles:
    """The files below `routes`, the longest route first. `everything` is the directory of the route /, or None.

    `find(path)` returns the mount of a path, with its `template` for metrics, or None.
    `ask(method, path, fields)` returns None if the application is to be called, else
    (status, headers, body, descriptor or -1, offset, size, Kept or None).
    """

    def __init__(self, list routes, bytes everything, find, ask):
        self.routes = [route + b"/" for route in routes]
        self.everything = everything
        self.find = find
        self.ask = ask
        self.kept = {}

    cdef bytes match(self, const char* path, Py_ssize_t size):
        """Return the path without its query if it is below one of the routes, else None."""
        cdef const char* query = <const char*>memchr(path, c"?", size)
        cdef Py_ssize_t length
        cdef bytes route, copy
        if query != NULL:
            size = query - path
        for route in self.routes:
            length = PyBytes_GET_SIZE(route) - 1
            if (
                size >= length
                and memcmp(path, PyBytes_AS_STRING(route), length) == 0
                and (size == length or path[length] == c"/")
            ):
                return PyBytes_FromStringAndSize(path, size)
        if memchr(path, c"%", size) != NULL:
            copy = PyBytes_FromStringAndSize(path, size)
            if self.find(copy) is not None:
                return copy
        return None

    cdef bint has_none(self, bytes target) except -1:
        """Return whether the file is known to be missing, in which case the application is called."""
        cdef fastserve_identity found
        cdef bytes route
        if not FASTSERVE_IDENTIFIES or self.everything is None or b"%" in target:
            return False
        for route in self.routes[:-1]:
            if target.startswith(route) or target == route[:-1]:
                return False
        return not fastserve_identify(self.everything + target, -1, &found)

    cdef int keep(self, bytes key, Kept kept) except -1:
        cdef Py_ssize_t size = 0 if kept.content is None else PyBytes_GET_SIZE(kept.content)
        cdef Kept old = self.kept.pop(key, None)
        if old is not None and old.content is not None:
            self.held -= PyBytes_GET_SIZE(old.content)
        if len(self.kept) >= MOST_KEPT or self.held + size > MOST_HELD:
            self.kept.clear()
            self.held = 0
        self.kept[key] = kept
        self.held += size
        return 0


cdef HttpExchange make_static_exchange(Worker worker, Stream stream, dict scope, bytes target):
    cdef StaticExchange exchange = StaticExchange.__new__(StaticExchange)
    init_exchange(exchange, worker, stream, scope)
    exchange.files = <StaticFiles>worker.static
    exchange.target = target
    return exchange


cdef class StaticExchange(HttpExchange):
    """An exchange that the server completes itself, or leaves to the application if the file is missing."""

    cdef void run(self) noexcept:
        self.started = True
        if self.account is not None:
            self.account.started = monotonic()
        try:
            if self.serve():
                return
            if self.worker.active > self.worker.places:
                self.started = False
                wait_in_queue(self, self, None)
                return
        except BaseException as exception:
            self.failed(exception)
            return
        HttpExchange.run(self)

    cdef bint serve(self) except -1:
        """Respond. Return false if the application is to be called."""
        cdef bytes encodings = None, match = None, key = self.target
        cdef bint plain = True, since = False
        cdef Kept kept
        for name, value in <list>self.scope["headers"]:
            meaning = MEANINGS.get(name)
            if meaning is None:
                continue
            if meaning == ENCODING and encodings is None:
                encodings = value
            elif meaning == UNLESS_MATCH and match is None:
                match = value
            elif meaning == UNLESS_SINCE:
                since = True
            else:
                plain = False
        if encodings is not None:
            key = key + b"\0" + encodings
        # If-Modified-Since counts without If-None-Match alone (RFC 9110 section 13.1.3).
        if plain and (match is not None or not since) and self.scope["method"] in ("GET", "HEAD"):
            kept = self.files.kept.get(key)
            if kept is not None and monotonic() < kept.until and (match is None or match == kept.etag):
                if self.serve_kept(kept, match is not None):
                    return True
        return self.serve_anew(key)

    cdef bint serve_kept(self, Kept kept, bint unmodified) except -1:
        """Respond as last time. Return false if the file has changed."""
        cdef fastserve_identity found
        cdef int fd
        if unmodified or kept.content is not None or self.scope["method"] == "HEAD":
            if kept.seen < self.head_at:
                kept.seen = monotonic()
                if not fastserve_identify(kept.path, -1, &found) or not is_same(&found, &kept.identity):
                    kept.until = 0
                    return False
            if unmodified:
                self.send_whole(304, kept.headers_304, b"")
            else:
                self.send_whole(200, kept.headers, b"" if kept.content is None else kept.content)
            return True
        # Below its directory or not, the file of this identity was below it when the response was decided.
        fd = fastserve_open(kept.path)
        if fd < 0:
            return False
        if not fastserve_identify(NULL, fd, &found) or not is_same(&found, &kept.identity):
            os.close(fd)
            return False
        self.send_part(200, kept.headers, fd, 0, found.size)
        return True

    cdef bint serve_anew(self, bytes key) except -1:
        if self.files.has_none(self.target):
            return False
        answer = self.files.ask(self.scope["method"], self.target, self.scope["headers"])
        if answer is None:
            return False
        status, headers, body, fd, offset, size, kept = answer
        if kept is not None:
            self.files.keep(key, <Kept?>kept)
        if fd >= 0:
            self.send_part(status, headers, fd, offset, size)
        else:
            self.send_whole(status, headers, body)
        return True

    cdef int name_route(self) except -1:
        """Count the request by its route, where that is asked for."""
        if self.worker.metrics.by_route:
            self.scope["path_template"] = self.files.find(self.target).template
        return 0

    cdef int send_whole(self, int status, list headers, bytes body) except -1:
        self.name_route()
        self.answer(status, headers, body)
        note_sender(self.worker.turn, self.scope, True)
        self.ended(None, None)
        return 0

    cdef int send_part(self, int status, list headers, int fd, long long offset, long long size) except -1:
        cdef Transfer transfer = Transfer(self.worker.loop)
        transfer.take(fd, offset, size)
        self.name_route()
        if self.is_unreachable():
            self.ended(None, None)
            return 0
        self.stream.respond(status, headers)
        self.stage = EXPECT_BODY
        self.stream.begin_file(size, False)
        self.transfer = transfer
        self.sending = []
        self.worker.count_apart(1)
        self.is_apart = True
        return self.go_on()

    cdef int go_on(self) except -1:
        """Send more of the file, now and whenever the client takes more of it."""
        if self.stage == COMPLETE or self.is_unreachable():
            self.transfer = None
            return self.done()
        waited = self.go_on_with_file()
        if waited is None:
            self.done()
        else:
            waited.add_done_callback(self.resume)
        return 0

    cdef int done(self) except -1:
        if self.is_apart:
            self.is_apart = False
            self.worker.count_apart(-1)
        self.ended(None, None)
        return 0

    def resume(self, waited):
        """Called by the loop: the client takes more, or a block of the file has been read."""
        self.worker.turn.enter()
        try:
            self.go_on()
        except BaseException as exception:
            self.failed(exception)
        finally:
            self.worker.turn.leave()

    cdef void failed(self, object exception) noexcept:
        """Break off the response, or send a 500 in its place."""
        self.transfer = None
        try:
            if not self.is_unreachable():
                self.worker.report(f"Error while serving the static file '{self.scope['path']}'", exception)
            self.end(True)
        except BaseException as error:
            self.worker.report("Exception while ending an exchange", error)
        try:
            self.done()
        except BaseException as error:
            self.worker.report("Exception while ending an exchange", error)
