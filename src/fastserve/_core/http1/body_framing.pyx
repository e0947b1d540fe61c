"""How the body of a response is delimited (RFC 9112 section 6): by its length, in chunks, or by the close."""
from ..http.response_head cimport has_no_body, put_trailers
from ..memory.buffer cimport Buffer
from ..transport.writer cimport Writer

cdef enum:
    LARGE = 16384  # a piece of body of this size is written without a copy

cdef bytes LAST_CHUNK = b"0\r\n\r\n"


cdef long long decide(Framing* framing, bint is_head, bint is_http10, long long size, bint more) except -2:
    """Decide by the head and the first piece of body; return the Content-Length of the response, or -1 for none.

    Raises RuntimeError if the piece does not fit the length that the application gave.
    """
    cdef int status = framing.facts.status
    cdef long long length = 0 if status == 205 else framing.facts.content_length
    framing.no_body = is_head or has_no_body(status)
    if not framing.no_body and length >= 0:
        check_length(length, size, more)
    if status < 200 or status == 204:
        length = -1
    elif length < 0 and not more and status != 304 and (size or not is_head):
        length = size
    framing.chunked = not framing.no_body and length < 0 and not is_http10
    framing.remaining = length - size if length >= 0 and not framing.no_body else -1
    return length


cdef int count(Framing* framing, long long size, bint more) except -1:
    """Take a further piece into account; RuntimeError if it does not fit Content-Length."""
    if framing.remaining >= 0:
        check_length(framing.remaining, size, more)
        framing.remaining -= size
    return 0


cdef int check_length(long long remaining, long long size, bint more) except -1:
    if size > remaining:
        raise RuntimeError("Response content longer than Content-Length")
    if not more and size < remaining:
        raise RuntimeError("Response content shorter than Content-Length")
    return 0


cdef int put_piece(Framing* framing, Writer writer, bytes data, bint more) except -1:
    """Write a piece of body behind what the writer holds, and the end of the body behind the last."""
    cdef Py_ssize_t size = len(data)
    cdef Buffer out
    if framing.no_body:
        if writer.buffer is not None:
            writer.commit()
        return 0
    out = writer.output()
    if framing.chunked and size:
        out.append_hex(size)
        out.append(b"\r\n", 2)
    if size >= LARGE:
        writer.commit_with(data)
        out = writer.output()
    elif size:
        out.append_bytes(data)
    if framing.chunked:
        if size:
            out.append(b"\r\n", 2)
        if not more:
            out.append(b"0\r\n\r\n", 5)
    if out.size:
        writer.commit()
    else:
        writer.drop_front(0)
    return 0


cdef int open_chunk(Framing* framing, Writer writer, long long size) except -1:
    """Write what goes before `size` bytes that are sent past the writer's buffer."""
    cdef Buffer out
    if framing.chunked and size:
        out = writer.output()
        out.append_hex(size)
        out.append(b"\r\n", 2)
    if writer.buffer is not None:
        writer.commit()
    return 0


cdef int close_chunk(Framing* framing, Writer writer, long long size, bytes last) except -1:
    """Write what goes behind them, and then `last`."""
    cdef Buffer out
    if not framing.chunked:
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


cdef int end_with_trailers(Framing* framing, Writer writer, list fields) except -1:
    """End a body, with a trailer section where there is place for one: TypeError, ValueError, RuntimeError."""
    cdef Buffer section
    count(framing, 0, False)
    if not framing.chunked or not fields:
        return close_chunk(framing, writer, 0, LAST_CHUNK)
    section = Buffer()
    put_trailers(section, fields)
    return close_chunk(framing, writer, 0, b"0\r\n" + section.data[:section.size] + b"\r\n")
