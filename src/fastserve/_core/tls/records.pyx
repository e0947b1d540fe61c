"""Where the records of TLS end (RFC 8446 section 5.1), whatever is in them.

OpenSSL tells that a record is not complete by an exception, which takes longer than to decrypt a small one. So it is asked
as often as records have become complete, and no more.
"""
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

cdef enum:
    HEAD = 5  # bytes: the type, the version and the length
    LONGEST = 16384 + 2048  # the most that any version allows
    FIRST_TYPE = 20
    LAST_TYPE = 24
    MAJOR_VERSION = 3


cdef Py_ssize_t completed(Records* records, const uint8_t* data, Py_ssize_t size) noexcept:
    cdef Py_ssize_t count = 0, part
    while size:
        if records.broken:
            return count + 1
        if records.left == 0:
            part = min(HEAD - records.head_size, size)
            memcpy(records.head + records.head_size, data, part)
            records.head_size += <int>part
            data += part
            size -= part
            if records.head_size < HEAD:
                return count
            records.head_size = 0
            records.left = records.head[3] << 8 | records.head[4]
            if records.left > LONGEST or not FIRST_TYPE <= records.head[0] <= LAST_TYPE or records.head[1] != MAJOR_VERSION:
                records.broken = True
                return count + 1
            if records.left == 0:
                count += 1
        part = min(records.left, size)
        records.left -= part
        data += part
        size -= part
        if part and records.left == 0:
            count += 1
    return count
