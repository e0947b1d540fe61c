"""How the body of a response is delimited (RFC 9112 section 6): by its length, in chunks, or by the close."""
from ..http.response_head cimport put_trailers
from ..memory.buffer cimport Buffer
from ..transport.writer cimport Writer

cdef enum:
    LARGE = 16384  # a piece of body of this size is written without a copy

cdef bytes LAST_CHUNK = b"0\r\n\r\n"


cdef int put_piece(bint no_body, bint chunked, Writer writer, bytes data, bint more) except -1:
    """Write a piece of body after what the writer holds, and the end of the body after the last."""
    cdef Py_ssize_t size = len(data)
    cdef Buffer out
    if no_body:
        if writer.buffer is not None:
            writer.commit()
        return 0
    out = writer.output()
    if chunked and size:
        out.append_hex(size)
        out.append(b"\r\n", 2)
    if size >= LARGE:
        writer.commit_with(data)
        out = writer.output()
    elif size:
        out.append_bytes(data)
    if chunked:
        if size:
            out.append(b"\r\n", 2)
        if not more:
            out.append(b"0\r\n\r\n", 5)
    if out.size:
        writer.commit()
    else:
        writer.drop_front(0)
    return 0


cdef int open_chunk(bint chunked, Writer writer, long long size) except -1:
    """Write what precedes `size` bytes that are sent past the writer's buffer."""
    cdef Buffer out
    if chunked and size:
        out = writer.output()
        out.append_hex(size)
        out.append(b"\r\n", 2)
    if writer.buffer is not None:
        writer.commit()
    return 0


cdef int close_chunk(bint chunked, Writer writer, long long size, bytes last) except -1:
    """Write what follows them, and then `last`."""
    cdef Buffer out
    if not chunked:
        return 0
    out = writer.output()
    if size:
        out.append(b"\r\n", 2)
    out.append_bytes(last)
    if out.size:
        writer.commit()
    else:
        writer.drop_front(0)
    return 0


cdef int end_with_trailers(bint chunked, Writer writer, list fields) except -1:
    """End a body, with a trailer section if it is chunked. Raises TypeError, ValueError."""
    cdef Buffer section
    if not chunked or not fields:
        return close_chunk(chunked, writer, 0, LAST_CHUNK)
    section = Buffer()
    put_trailers(section, fields)
    return close_chunk(chunked, writer, 0, b"0\r\n" + section.data[:section.size] + b"\r\n")
