"""The parts of X.509 certificates that a server reads: kind of key, validity, subject and names (RFC 5280)."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import NamedTuple

PEM = re.compile(
    r"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----(.+?)-----END (?:TRUSTED |X509 )?CERTIFICATE-----", re.DOTALL
)

SEQUENCE, SET, OBJECT_IDENTIFIER, VERSION = 0x30, 0x31, 0x06, 0xA0
UTC_TIME = 0x17
EXTENSIONS, DNS_NAME, IP_ADDRESS = 0xA3, 0x82, 0x87
ALTERNATIVE_NAMES = "2.5.29.17"
COMMON_NAME = "2.5.4.3"
HOST_NAME = re.compile(r"[a-z0-9*_.-]+\Z")  # others are names of people and companies
# UTF8String, NumericString, PrintableString, TeletexString, IA5String, VisibleString, UniversalString, BMPString.
STRINGS = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}

# The names of RFC 4514 section 3. Any other attribute is written as its number, and its value in hexadecimal digits.
ATTRIBUTES = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}


class Element(NamedTuple):
    """A DER value: its tag, its content, and its whole encoding."""

    tag: int
    content: bytes
    whole: bytes


def elements(data: bytes) -> Iterator[Element]:
    """Yield the consecutive DER values in `data`. Raises IndexError or ValueError for what is not DER."""
    at = 0
    while at < len(data):
        start, tag, size = at, data[at], data[at + 1]
        at += 2
        if size & 0x80:
            digits = size & 0x7F
            size = int.from_bytes(data[at : at + digits], "big")
            at += digits
        if at + size > len(data):
            raise ValueError("truncated DER value")
        yield Element(tag, data[at : at + size], data[start : at + size])
        at += size


def first_certificate(text: str) -> bytes | None:
    """Return the first certificate of a PEM file in DER form, or None."""
    import base64

    found = PEM.search(text)
    if found is None:
        return None
    try:
        # What follows the certificate proper in OpenSSL's TRUSTED form is not part of it.
        return next(elements(base64.b64decode(found[1]))).whole
    except (ValueError, IndexError, StopIteration):
        return b""


def is_well_formed(certificate: bytes) -> bool:
    """Return whether OpenSSL can read a certificate."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError):
        return False
    return True


def is_too_weak(exc: Exception) -> bool:
    """Return whether OpenSSL rejects a certificate for a key that is too small or a digest that is too weak."""
    return getattr(exc, "reason", None) in {"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"}


def fields(certificate: bytes) -> list[Element]:
    """Return serial number, signature algorithm, issuer, validity, subject and public key, and what follows them."""
    body = next(elements(next(elements(certificate)).content))
    return [each for each in elements(body.content) if each.tag != VERSION]


def key_algorithm(pem: str | None) -> bytes:
    """Return the key algorithm's identifier of a certificate in PEM form; empty if it cannot be determined."""
    try:
        public_key = fields(ssl.PEM_cert_to_DER_cert(pem or ""))[5]
        return next(elements(next(elements(public_key.content)).content)).content
    except (ValueError, IndexError, StopIteration):
        return b""


def subject(certificate: bytes) -> str | None:
    """Return the subject of a certificate in DER form, as written by RFC 4514; None if it cannot be read."""
    try:
        names = list(elements(fields(certificate)[4].content))
        return ",".join("+".join(map(attribute, elements(name.content))) for name in reversed(names))
    except (ValueError, IndexError, StopIteration):
        return None


def names(certificate: bytes) -> list[str]:
    """Return the host names, in lower case, and the IP addresses that a certificate in DER form is for.

    They are its alternative names, or its common name if it has none (RFC 9525 section 6.3).
    """
    try:
        return alternative_names(certificate) or common_names(certificate)
    except (ValueError, IndexError, StopIteration):
        return []


def alternative_names(certificate: bytes) -> list[str]:
    import ipaddress

    found = []
    for each in fields(certificate)[6:]:
        if each.tag != EXTENSIONS:
            continue
        for extension in elements(next(elements(each.content)).content):
            identifier, *_, value = elements(extension.content)
            if dotted(identifier.content) != ALTERNATIVE_NAMES:
                continue
            for name in elements(next(elements(value.content)).content):
                if name.tag == DNS_NAME:
                    found.append(name.content.decode("ascii").lower())
                elif name.tag == IP_ADDRESS:
                    found.append(str(ipaddress.ip_address(name.content)))
    return found


def common_names(certificate: bytes) -> list[str]:
    found = []
    for part in elements(fields(certificate)[4].content):
        for pair in elements(part.content):
            identifier, value = elements(pair.content)
            if dotted(identifier.content) == COMMON_NAME and value.tag in STRINGS:
                found.append(value.content.decode(STRINGS[value.tag]).lower())
    return [name for name in found if HOST_NAME.match(name)]


def validity(certificate: bytes) -> tuple[float, float] | None:
    """Return from when until when a certificate in DER form is valid, as time.time() has it; None if unreadable."""
    try:
        begin, end = elements(fields(certificate)[3].content)
        return moment(begin), moment(end)
    except (ValueError, IndexError, StopIteration, OverflowError):
        return None


def moment(value: Element) -> float:
    """Return the time that a UTCTime or GeneralizedTime says (RFC 5280 section 4.1.2.5)."""
    import calendar
    import time

    text = value.content.decode("ascii")
    if value.tag == UTC_TIME:
        text = f"{'20' if text < '50' else '19'}{text}"
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))


def attribute(pair: Element) -> str:
    identifier, value = elements(pair.content)
    kind = dotted(identifier.content)
    name = ATTRIBUTES.get(kind)
    if name is None or value.tag not in STRINGS:
        return f"{name or kind}=#{value.whole.hex()}"
    return f"{name}={escaped(value.content.decode(STRINGS[value.tag]))}"


def dotted(identifier: bytes) -> str:
    """Return an object identifier as numbers with dots between them."""
    numbers, number = [], 0
    for byte in identifier:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def escaped(value: str) -> str:
    """Escape the special characters of a name (RFC 4514 section 2.4)."""
    value = re.sub(r'([\\"+,;<>])', r"\\\1", value).replace("\0", r"\00")
    if value.endswith(" ") and len(value) > 1:
        value = value[:-1] + r"\ "
    return "\\" + value if value.startswith((" ", "#")) else value
