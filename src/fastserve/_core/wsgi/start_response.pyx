"""Checks the arguments of start_response(), and converts them to ASGI (PEP 3333)."""
import logging
import re
from wsgiref.util import is_hop_by_hop

from ..grammar import TOKEN
from ..python cimport (
    PyBytes_AS_STRING, PyBytes_GET_SIZE, PyDict_GetItemWithError, PyObject, PyUnicode_AsLatin1String,
    PyUnicode_AsUTF8AndSize, PyUnicode_GET_LENGTH, PyUnicode_IS_ASCII, PyUnicode_READ_CHAR,
)

cdef extern from "http/field_text.h" nogil:
    bint fastserve_has_control(const char* value, Py_ssize_t size)

cdef enum:
    KNOWN_NAMES = 1000  # header names that are kept with their checked form
    LONGEST_LENGTH = 18  # digits

cdef object logger = logging.getLogger("fastserve.error")
cdef object is_token = re.compile(TOKEN).fullmatch
cdef dict names = {}  # of headers: as an application writes them -> as they are sent
cdef bytes CONTENT_LENGTH = b"content-length"


cdef int status_of(status) except -1:
    cdef Py_ssize_t at, size
    cdef Py_UCS4 digit
    cdef int code = 0
    if not isinstance(status, str):
        raise TypeError(f"the status of a response must be a str, not {type(status).__name__}")
    size = PyUnicode_GET_LENGTH(status)
    if size == 3 or size > 3 and PyUnicode_READ_CHAR(status, 3) == c" ":
        for at in range(3):
            digit = PyUnicode_READ_CHAR(status, at)
            code = code * 10 + (<int>digit - c"0" if c"0" <= digit <= c"9" else -1000)
        for at in range(3, size):
            if PyUnicode_READ_CHAR(status, at) < 32 or PyUnicode_READ_CHAR(status, at) == 127:
                code = 0
    if code < 200:
        raise ValueError(f"{status!r}: expected a status such as '200 OK'")
    return code


cdef bytes checked_name(name):
    """Return the name of a header as it is sent, or None if it is not sent. Raises TypeError, ValueError."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a response header must be a str, not {type(name).__name__}")
    lower = str.lower(name)
    if not is_token(lower):
        raise ValueError(f"invalid header name: {name!r}")
    if is_hop_by_hop(lower):  # only a server may send these (PEP 3333)
        logger.debug("Dropped the hop-by-hop header %r of a WSGI application's response.", name)
        return None
    encoded = CONTENT_LENGTH if lower == "content-length" else lower.encode()
    if type(name) is str and len(names) < KNOWN_NAMES:  # a subclass may define equality
        names.setdefault(name, encoded)  # which replaces nothing: another thread may be using it
    return encoded


cdef bytes latin_value(name, value):
    """Return the value of a header that is not plain ASCII as it is sent. Raises TypeError, UnicodeEncodeError."""
    if not isinstance(value, str):
        raise TypeError(f"the value of header {name!r} must be a str, not {type(value).__name__}")
    return PyUnicode_AsLatin1String(value)


cdef Py_ssize_t length_of(const char* digits, Py_ssize_t size) noexcept:
    """Return the number in a Content-Length field, -1 if it is not one."""
    cdef Py_ssize_t at, number = 0
    if not 0 < size <= LONGEST_LENGTH:
        return -1
    for at in range(size):
        if not c"0" <= digits[at] <= c"9":
            return -1
        number = number * 10 + (digits[at] - c"0")
    return number


cdef list checked_headers(headers, Py_ssize_t* length):
    cdef list checked = []
    cdef object name, value, field
    cdef PyObject* known
    cdef bytes encoded
    cdef const char* text
    cdef Py_ssize_t size, declared
    length[0] = -1
    if not isinstance(headers, list):
        raise TypeError(f"the headers of a response must be a list, not {type(headers).__name__}")
    for name, value in <list>headers:
        known = PyDict_GetItemWithError(names, name) if type(name) is str else NULL
        encoded = checked_name(name) if known == NULL else <bytes>known
        if type(value) is str and PyUnicode_IS_ASCII(value):
            field = value
            text = PyUnicode_AsUTF8AndSize(value, &size)
        else:
            field = latin_value(name, value)
            text, size = PyBytes_AS_STRING(field), PyBytes_GET_SIZE(field)
        if fastserve_has_control(text, size):
            raise ValueError(f"invalid value of header {name!r}: {value!r}")
        if encoded is None:
            continue
        if encoded is not CONTENT_LENGTH:
            checked.append(encoded)
            checked.append(field)
        else:
            declared = length_of(text, size)
            if declared < 0:
                raise ValueError(f"invalid Content-Length: {value!r}")
            if length[0] >= 0 and length[0] != declared:
                raise ValueError("the response has two different Content-Length fields")
            length[0] = declared
    return checked
