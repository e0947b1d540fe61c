"""The access log: one line per response, made here while the logging configuration is the server's own."""
from libc.stdint cimport uint64_t

from ..loop.turn cimport Flushable
from ..memory.buffer cimport Buffer
from ..worker cimport Worker
from .access_format cimport AccessFormat
from .account cimport Account


cdef class AccessLog(Flushable):
    cdef object logger
    cdef object emit  # makes log records in place of the logger's info(); None for that itself
    cdef dict attributes  # the logger's own
    cdef Py_ssize_t attribute_count  # more than at the start: a method has been replaced
    cdef object formatter_class
    cdef str default_fmt
    cdef object file_class  # of the handler of a file; None for no such
    cdef readonly AccessFormat format  # None for the default one
    cdef readonly bint late  # a line is written at the end of its exchange
    cdef bint picky  # not every line is kept
    cdef frozenset skipped  # paths
    cdef tuple skipped_prefixes
    cdef uint64_t random[4]  # the state of the random numbers that choose lines without an id
    cdef unsigned long long kept  # of 2 ** 64: the share of lines that is
    cdef object handler  # that the held lines are for
    cdef Py_ssize_t handler_attribute_count
    cdef Buffer lines  # held lines in UTF-8
    cdef object stream  # of which the next three are known
    cdef object flush_stream  # None if it has no such method
    cdef bint stream_is_file
    cdef object raw  # the file that its text goes to, for writes past its layers; None for none
    cdef bint colors
    cdef bytes prefix  # of a line, up to the client's address
    cdef bytes before_request
    cdef bytes after_request
    cdef dict status_texts  # by status: the bytes after the request line, to the end of the line

    cdef int record(
        self, Worker worker, dict scope, object client, bytes address, int status, Account account
    ) except -1
    cdef int end(self, Account account) except -1
    cdef bint leaves_out(self, dict scope, Account account) except -1
    cdef int look_at(self, stream) except -1
    cdef int write(self, char* lines, Py_ssize_t size, bint whole) except -1
    cdef bint is_plainly_handled(self) except -1
    cdef object plain_handler(self)
    cdef int use(self, handler) except -1
    cdef int add_line(self, dict scope, bytes address, int status) except -1
    cdef int quote(self, const unsigned char* text, Py_ssize_t size, const char* safe) except -1


cdef bytes address_text(client)
cdef int log_response(
    Worker worker, dict scope, object client, bytes address, int status, bint websocket, Account account
) except -1
cdef int log_end(Account account) except -1
cdef int log_websocket(Worker worker, dict scope, outcome) except -1
