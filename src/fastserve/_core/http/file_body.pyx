# setup.py: cold
"""A file, or a part of one, as a piece of a response: by sendfile(2), else read block by block in a thread."""
import os

from ..interfaces cimport Stream
from ..loop.awaitable cimport WAIT
from ..transport.sendfile cimport OpenFile

cdef enum:
    BLOCK = 1 << 18


cdef class Transfer:
    def __cinit__(self, loop):
        self.loop = loop
        self.file = OpenFile()

    cdef int measure(self, file, offset, count) except -1:
        """Take `count` bytes (None: all) from `offset` (None: the current position) of an open file.

        Raises ValueError for a range outside the file, TypeError, OSError.
        """
        self.file.borrow(file)
        self.offset = os.lseek(self.file.fd, 0, os.SEEK_CUR) if offset is None else offset
        self.size = max(self.file.size - self.offset, 0) if count is None else count
        if self.offset < 0 or self.size < 0 or self.offset + self.size > self.file.size:
            raise ValueError(
                f"cannot send {self.size} bytes from offset {self.offset} of a file of {self.file.size} bytes"
            )
        if offset is None:
            os.lseek(self.file.fd, self.size, os.SEEK_CUR)
        self.left = self.size
        return 0

    cdef int measure_path(self, path) except -1:
        """Take the whole file at a path. Raises TypeError, ValueError, OSError."""
        self.file.open(path)
        self.size = self.left = self.file.size
        return 0

    cdef int take(self, int fd, long long offset, long long size) except -1:
        """Take a part of an open file, whose descriptor is closed with this object."""
        self.file.fd = fd
        self.file.owned = True
        self.offset = offset
        self.size = self.left = size
        return 0

    cdef object step(self, Stream stream):
        """Send more. Return None when all is sent, WAIT to wait for writable(), or a future to wait for."""
        cdef long long sent
        if self.left == 0:
            return None
        if not self.reading:
            sent = stream.send_file(self.file.fd, self.offset, self.left)
            if sent >= 0:
                self.offset += sent
                self.left -= sent
                return WAIT if self.left else None
            self.reading = True
        return self.read_on(stream)

    cdef object read_on(self, Stream stream):
        cdef bytes data
        while self.left:
            if stream.must_wait():
                return WAIT
            if self.block is None:
                self.block = self.loop.run_in_executor(None, self.file.read, self.offset, min(self.left, BLOCK))
            if not self.block.done():
                return self.block
            data, self.block = self.block.result(), None
            if not data:
                raise RuntimeError("the file ended before all of the announced bytes were sent")
            self.offset += len(data)
            self.left -= len(data)
            stream.put_raw(data)
        return None
