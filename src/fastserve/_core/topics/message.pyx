"""A message for many clients, which makes each of its encodings once.

An event (https://html.spec.whatwg.org/multipage/server-sent-events.html) is text: bytes are taken for UTF-8.
"""
import json
import re

cimport cython

from ..interfaces cimport Shared
from ..memory.buffer cimport Buffer, give, take
from ..python cimport PyBytes_AS_STRING, PyBytes_GET_SIZE, PyUnicode_AsUTF8AndSize
from ..websocket.deflate cimport Deflater
from ..websocket.frames cimport OP_BINARY, OP_TEXT, put_frame

cdef enum:
    LEAST_BITS = 9
    MOST_BITS = 15

cdef object LINES = re.compile("\r\n|\n|\r")
cdef object LINE_END = re.compile("[\r\n\0]")


cdef str plain_text(text):
    """Return the characters of a str of any class: str() of an Enum's member would be what the member is called."""
    if type(text) is str:
        return text
    if not isinstance(text, str):
        raise TypeError(f"the topic, id and event of a message are strings, not {type(text).__name__}")
    return str.__str__(text)


cdef Message make_message(str topic, object data, str id, str event):
    cdef Message self = Message.__new__(Message)
    cdef Py_ssize_t size
    if type(data) is str:
        PyUnicode_AsUTF8AndSize(data, &size)
        self.size = size
    else:
        self.size = PyBytes_GET_SIZE(data)
    self.topic = topic
    self.data = data
    self.id = id
    self.event = event
    return self


cdef class Message(Shared):
    """A message of a topic: `data` is text or bytes, `position`, its id, that in the topic's history, or None.

    Raises TypeError for other data, ValueError for text that has no UTF-8 and for a position or event of several lines.
    """

    def __init__(self, topic not None, data, position=None, event=None):
        cdef Py_ssize_t size
        if isinstance(data, str):
            self.data = data = plain_text(data)
            PyUnicode_AsUTF8AndSize(data, &size)
            self.size = size
        elif isinstance(data, (bytes, bytearray, memoryview)):
            self.data = data if type(data) is bytes else bytes(memoryview(data))
            self.size = PyBytes_GET_SIZE(self.data)
        else:
            raise TypeError(f"a message is a string or bytes, not {type(data).__name__}")
        topic = plain_text(topic)
        position = None if position is None else plain_text(position)
        event = None if event is None else plain_text(event)
        if position is not None and LINE_END.search(position) or event is not None and LINE_END.search(event):
            raise ValueError("the id and the event of a message have one line each")
        self.topic = topic
        self.id = position
        self.event = event

    def __repr__(self):
        return f"Message(topic={self.topic!r}, data={self.data!r}, id={self.id!r}, event={self.event!r})"

    @property
    def text(self):
        """The data as a string."""
        return self.data if type(self.data) is str else self.data.decode("utf-8", "replace")

    def labelled(self):
        """Return a message whose text is this one in JSON: {"topic", "id", "data"}."""
        return self.in_json()

    def event_bytes(self):
        """Return it as an event of a stream."""
        return self.stream_event(False)

    def encodings(self):
        """Return the names of the encodings that have been made. For tests."""
        made = [name for name, data in (("plain", self.plain), ("chunk", self.chunk), ("bare", self.bare)) if data]
        for bits in range(LEAST_BITS, MOST_BITS + 1):
            if self.deflated is not None and self.deflated[bits - LEAST_BITS] is not None:
                made.append(f"deflated-{bits}")
        return made

    cdef bytes frame(self, int bits):
        cdef Py_ssize_t size
        cdef const char* payload
        cdef bytes small
        with cython.critical_section(self):
            if bits == 0:
                if self.plain is None:
                    self.plain = self.framed(self.payload(&size), size, False)
                return self.plain
            if self.deflated is None:
                self.deflated = [None] * (MOST_BITS + 1 - LEAST_BITS)
            if self.deflated[bits - LEAST_BITS] is None:
                payload = self.payload(&size)
                # Without takeover: it refers to nothing that a client may not have got.
                small = Deflater(bits, False).deflate(payload, size)
                self.deflated[bits - LEAST_BITS] = self.framed(PyBytes_AS_STRING(small), PyBytes_GET_SIZE(small), True)
            return self.deflated[bits - LEAST_BITS]

    cdef bytes stream_event(self, bint chunked):
        with cython.critical_section(self):
            if self.bare is None:
                self.bare = self.as_event()
            if not chunked:
                return self.bare
            if self.chunk is None:
                self.chunk = b"%x\r\n%b\r\n" % (len(self.bare), self.bare)
            return self.chunk

    cdef Message in_json(self):
        with cython.critical_section(self):
            if self.as_json is None:
                self.as_json = made_json(self)
            return self.as_json

    cdef const char* payload(self, Py_ssize_t* size) except NULL:
        if type(self.data) is str:
            return PyUnicode_AsUTF8AndSize(self.data, size)
        size[0] = PyBytes_GET_SIZE(self.data)
        return PyBytes_AS_STRING(self.data)

    cdef bytes framed(self, const char* payload, Py_ssize_t size, bint deflated):
        cdef Buffer out = take()
        put_frame(out, OP_TEXT if type(self.data) is str else OP_BINARY, deflated, payload, size)
        frame = out.data[:out.size]
        give(out)
        return frame

    cdef bytes as_event(self):
        cdef list lines = []
        if self.id is not None:
            lines.append(f"id: {self.id}\n")
        if self.event is not None:
            lines.append(f"event: {self.event}\n")
        lines.extend([f"data: {line}\n" for line in LINES.split(self.text)])
        lines.append("\n")
        return "".join(lines).encode()


cdef Message made_json(Message message):
    text = json.dumps({"topic": message.topic, "id": message.id, "data": message.text}, ensure_ascii=False)
    return make_message(message.topic, text, message.id, message.event)


cdef class Comment(Shared):
    """What keeps an event stream alive: no message, and nothing to a WebSocket."""

    def __init__(self):
        self.data = ""

    cdef bytes frame(self, int bits):
        return b""

    cdef bytes stream_event(self, bint chunked):
        return b"3\r\n:\n\n\r\n" if chunked else b":\n\n"
