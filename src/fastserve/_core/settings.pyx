# setup.py: once
"""The frozen configuration that every connection of a worker reads."""
import re
from types import GetSetDescriptorType

from .grammar import TOKEN_BYTES
from .python cimport PyObject_GenericSetAttr

TOKEN = re.compile(TOKEN_BYTES + rb"\Z")
FIELD_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*\Z")  # RFC 9110 section 5.5
# What these say is decided for each message by the core.
FRAMING = frozenset([b"content-length", b"transfer-encoding", b"connection"])


def checked_headers(headers):
    """Return default headers with their names in lower case. Raises TypeError or ValueError for an invalid one."""
    checked = []
    for name, value in headers:
        if type(name) is not bytes or type(value) is not bytes:
            raise TypeError("default headers: expected pairs of bytes")
        if not TOKEN.match(name) or name.lower() in FRAMING:
            raise ValueError(f"invalid name of a default header: {name!r}")
        if not FIELD_VALUE.match(value):
            raise ValueError(f"default header {name!r}: its value has a character that is not allowed in headers")
        checked.append((name.lower(), value))
    return tuple(checked)


cdef value_of(str name, kind, value):
    """Return the value for a field whose C type has `kind` for its Python type."""
    if kind is bool:
        return bool(value)
    if kind is float:
        return seconds(name, value)
    if kind is int:
        return count(name, value)
    return value


cdef double seconds(str name, value) except -1:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected a number of seconds, not {value!r}")
    if not 0 <= value < 1e9:
        raise ValueError(f"{name}: expected seconds from 0 to below 1e9, not {value!r}")
    return value


cdef Py_ssize_t count(str name, value) except -1:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected a whole number, not {value!r}")
    if not 0 <= value < 2**62:
        raise ValueError(f"{name}: expected a whole number from 0 to below 2**62, not {value!r}")
    return value


cdef class Settings:
    """The configuration of a worker's connections, checked once and never changed.

    Each field is given by its name, and none has a default: fastserve.options.core fills them from the table of options,
    where defaults and bounds are. Timeouts are in seconds and limits in bytes or counts; 0 switches one off. Raises
    TypeError or ValueError for a missing or unknown field and for a value of the wrong kind.
    """

    def __init__(self, **values):
        if values.keys() != FIELDS:
            wrong = ", ".join(sorted(FIELDS ^ values.keys()))
            raise TypeError(f"Settings: missing or unknown fields: {wrong}")
        if not isinstance(values["root_path"], str):
            raise TypeError(f"root_path: expected a string, not {values['root_path']!r}")
        values["default_headers"] = checked_headers(values["default_headers"])
        if values["server"] is not None:
            checked_headers([(b"server", values["server"])])
        for name, value in values.items():
            PyObject_GenericSetAttr(self, name, value_of(name, type(getattr(self, name)), value))
        given = {name for name, _ in self.default_headers}
        if b"server" in given:
            self.server = None
        self.date = self.date and b"date" not in given
        self.raw_root_path = b"" if self.path_is_whole else self.root_path.encode("utf-8")

    def __setattr__(self, name, value):
        raise AttributeError(f"settings cannot be changed: {name}")

    def __delattr__(self, name):
        raise AttributeError(f"settings cannot be changed: {name}")


FIELDS = frozenset([name for name, each in vars(Settings).items() if isinstance(each, GetSetDescriptorType)])
