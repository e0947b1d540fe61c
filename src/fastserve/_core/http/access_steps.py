"""The steps of a format of the access log: their codes, their limits, and what `access_format` runs them with.

All of it is found once, at the start.
"""

from __future__ import annotations

Step = tuple[int, bytes, bytes, "bytes | None", int, int]  # code, text before, text after, argument, scale, digits

# In the order of the enum in access_format.pxd.
NAMES = (
    "LITERAL", "CONSTANT", "OPEN", "CLOSE",
    "CLIENT_HOST", "METHOD", "RAW_PATH", "PATH_DECODED", "QUERY_STRING", "VERSION", "SCHEME", "HOST", "REFERER",
    "USER_AGENT", "REQUEST_ID", "TRACE_ID", "ROUTE",
    "CLIENT_PORT", "USER", "TIME_CLF", "TIME_ISO", "TIME_BEGAN", "TARGET", "REQUEST_LINE", "URL", "PROTOCOL",
    "HOST_NAME", "STATUS", "PHRASE", "HEADER", "RESPONSE_HEADER", "SUMMARY", "WAIT", "FIRST_BYTE",
    "DURATION", "BODY_BYTES", "BYTES_IN", "BYTES_OUT", "ENDING", "ABORTED", "MESSAGES_IN", "MESSAGES_OUT", "CLOSE_CODE",
)  # fmt: skip
CODE = {name: code for code, name in enumerate(NAMES)}

PATH, QUERY, OTHER = 1024, 768, 256  # bytes of a value, as written
LIMITS = {
    CODE["RAW_PATH"]: PATH, CODE["PATH_DECODED"]: PATH, CODE["QUERY_STRING"]: QUERY, CODE["REFERER"]: 384,
    CODE["USER_AGENT"]: 256, CODE["REQUEST_ID"]: 128, CODE["TRACE_ID"]: 128,
}  # fmt: skip
LARGEST = PATH + QUERY + 3 * OTHER  # of any value, with what is between its parts
PADDING = 64  # bytes after each text, which is copied in blocks of this size

PARTS = {  # the texts in a value that is more than one
    "TARGET": ("RAW_PATH", "QUERY_STRING"), "REQUEST_LINE": ("METHOD", "RAW_PATH", "QUERY_STRING", "VERSION"),
    "PROTOCOL": ("VERSION",), "URL": ("SCHEME", "HOST", "RAW_PATH", "QUERY_STRING"), "SUMMARY": ("METHOD", "RAW_PATH"),
    "HOST_NAME": ("HOST",),
}  # fmt: skip
ALWAYS = {CODE[name] for name in ("CONSTANT", "CLOSE", "TIME_ISO", "BYTES_IN", "BYTES_OUT")}  # what no line lacks
OF_SHAPES = {CODE[name] for name in ("METHOD", "VERSION", "SCHEME", "STATUS")}  # the same in all lines of a shape


class Prepared:
    """Steps with all that follows from them."""

    def __init__(self, steps: list[Step], is_json: bool) -> None:
        # Code, comma, text before and its size, text after and its size, argument, scale, digits, limit.
        self.steps: list[tuple[int, bool, bytes, int, bytes, int, bytes | None, int, int, int]] = []
        self.room = 1 + PADDING  # bytes that a line may take before it is cut
        self.text_room = 0  # bytes that the texts of a shape may take
        self.wanted = 0  # a bit for each code of a text that lines show, be it as a part
        opened, follows = True, False  # the next field begins its object; follows one in it that no line lacks
        for code, before, after, argument, scale, digits in steps:
            comma = is_json and not opened and code not in (CODE["LITERAL"], CODE["CLOSE"])
            first = b"," + before if comma and follows else before
            texts = (first + bytes(PADDING), len(first), after + bytes(PADDING), len(after))
            self.steps.append((code, comma and not follows, *texts, argument, scale, digits, LIMITS.get(code, OTHER)))
            opened = code in (CODE["LITERAL"], CODE["OPEN"])
            follows = not opened and (follows or code in ALWAYS)
            size = len(first) + len(after) + 1
            self.room += size + (LARGEST if code > CODE["CLOSE"] else 0)
            self.text_room += size + (OTHER if code in OF_SHAPES else 0)
            for name in PARTS.get(NAMES[code], (NAMES[code],)):
                self.wanted |= 1 << CODE[name]
        codes = {code for code, *_ in steps}
        self.late = any(code >= CODE["DURATION"] or code == CODE["ROUTE"] for code in codes)
        self.wants_headers = CODE["RESPONSE_HEADER"] in codes
        self.wants_first_byte = CODE["FIRST_BYTE"] in codes
