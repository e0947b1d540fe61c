# setup.py: cold
"""The header of the PROXY protocol, versions 1 and 2, with which a proxy begins a connection: bytes in, addresses out."""
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from .proxies cimport plain_host

cdef bytes SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
cdef bytes BEGIN = b"PROXY "

cdef enum:
    LONGEST_V1 = 107  # bytes, the end of the line included
    HEAD_V2 = 16
    LONGEST_V2 = 536  # bytes after the head
    MOST_DESTINATIONS = 256
    TLV_ALPN = 0x01
    TLV_AUTHORITY = 0x02
    TLV_UNIQUE_ID = 0x05
    TLV_SSL = 0x20
    TLV_NETNS = 0x30
    TLV_AWS = 0xEA

cdef dict destinations = {}  # addresses of the proxies, by their octets and port
cdef dict SSL_NAMES = {0x21: "version", 0x22: "cn", 0x23: "cipher", 0x24: "sig_alg", 0x25: "key_alg"}
cdef dict LENGTHS = {1: 12, 2: 36, 3: 216}  # of the addresses, by family


cdef class Proxied:
    """A transport whose peer is the client that a proxy names; `extension` is for scopes."""

    def __init__(self, transport, client, extension):
        self.transport = transport
        self.client = client
        self.extension = extension

    def __getattr__(self, name):
        return getattr(self.transport, name)

    def get_extra_info(self, name, default=None):
        if name == "peername" and self.client is not None:
            return self.client
        if name == "proxy_protocol":
            return self.extension
        return self.transport.get_extra_info(name, default)


cpdef object parse(bytes data, str mode):
    """Return (size, client, extension) of the header that begins `data`, None while it is incomplete.

    The client is None where the header names none, and the extension where the proxy speaks for itself. `mode` is v1,
    v2 or auto. Raises ValueError for anything but a header.
    """
    if mode != "v1" and SIGNATURE.startswith(data[:12]):
        return parse_v2(data)
    if mode != "v2" and BEGIN.startswith(data[:6]):
        return parse_v1(data)
    raise ValueError("no PROXY header")


cdef object parse_v1(bytes data):
    cdef Py_ssize_t end = data.find(b"\n", 0, LONGEST_V1)
    cdef list parts
    if end < 0:
        if len(data) >= LONGEST_V1:
            raise ValueError("PROXY header over the limit")
        return None
    if data[end - 1] != c"\r":
        raise ValueError("PROXY header without CR LF")
    parts = data[6:end - 1].split(b" ")
    if parts[0] == b"UNKNOWN":
        return end + 1, None, None
    if len(parts) != 5 or parts[0] not in (b"TCP4", b"TCP6"):
        raise ValueError("malformed PROXY header")
    family = AF_INET if parts[0] == b"TCP4" else AF_INET6
    client = (address_of(family, parts[1]), port_of(parts[3]))
    return end + 1, client, {"version": 1, "destination": (address_of(family, parts[2]), port_of(parts[4]))}


cdef str address_of(family, bytes text):
    try:
        return plain_host(inet_ntop(family, inet_pton(family, text.decode("ascii"))))
    except (OSError, ValueError):
        raise ValueError("malformed address in a PROXY header") from None


cdef int port_of(bytes text) except -1:
    if not text.isdigit() or len(text) > 5 or int(text) > 65535 or (text[:1] == b"0" and len(text) > 1):
        raise ValueError("malformed port in a PROXY header")
    return int(text)


cdef object parse_v2(bytes data):
    cdef const unsigned char* octets = data
    cdef Py_ssize_t length, size, addresses
    cdef int family, protocol
    if len(data) < HEAD_V2:
        return None
    length = octets[14] << 8 | octets[15]
    family, protocol = octets[13] >> 4, octets[13] & 15
    if octets[12] != 0x20 and octets[12] != 0x21 or family > 3 or protocol > 2:
        raise ValueError("malformed PROXY header")
    if length > LONGEST_V2:
        raise ValueError("PROXY header over the limit")
    size = HEAD_V2 + length
    if len(data) < size:
        return None
    if octets[12] == 0x20:  # LOCAL
        return size, None, None
    addresses = LENGTHS.get(family, 0) if protocol else 0
    if length < addresses:
        raise ValueError("PROXY header without the addresses that it declares")
    client, extension = None, {"version": 2}
    if addresses and family < 3:
        client, extension["destination"] = ends_of(data, family == 1)
    if family and protocol and length > addresses:
        add_tlvs(extension, data[HEAD_V2 + addresses:size])
    return size, client, extension


cdef tuple ends_of(bytes data, bint ipv4):
    cdef const unsigned char* octets = data
    cdef Py_ssize_t size = 4 if ipv4 else 16, at = HEAD_V2, ports = HEAD_V2 + 2 * size
    family = AF_INET if ipv4 else AF_INET6
    cdef bytes server = data[at + size:ports]
    cdef tuple destination = None
    key = (server, octets[ports + 2] << 8 | octets[ports + 3])
    destination = <tuple>destinations.get(key)
    if destination is None:
        if len(destinations) >= MOST_DESTINATIONS:
            destinations.clear()
        destination = destinations[key] = (plain_host(inet_ntop(family, server)), key[1])
    if ipv4:
        octets += at
        host = f"{octets[0]}.{octets[1]}.{octets[2]}.{octets[3]}"
        octets -= at
    else:
        host = plain_host(inet_ntop(family, data[at:at + size]))
    return (host, octets[ports] << 8 | octets[ports + 1]), destination


cdef list tlvs_of(bytes data):
    """Return the (type, value) pairs of TLVs. Raises ValueError."""
    cdef const unsigned char* octets = data
    cdef Py_ssize_t at = 0, end
    cdef list found = []
    while at < len(data):
        if at + 3 > len(data):
            raise ValueError("malformed TLV in a PROXY header")
        end = at + 3 + (octets[at + 1] << 8 | octets[at + 2])
        if end > len(data):
            raise ValueError("malformed TLV in a PROXY header")
        found.append((octets[at], data[at + 3:end]))
        at = end
    return found


cdef int add_tlvs(dict extension, bytes data) except -1:
    cdef bytes value
    for kind, value in tlvs_of(data):
        if kind == TLV_ALPN:
            extension["alpn"] = text_of(value)
        elif kind == TLV_AUTHORITY:
            extension["authority"] = text_of(value)
        elif kind == TLV_UNIQUE_ID:
            extension["unique_id"] = value
        elif kind == TLV_NETNS:
            extension["netns"] = text_of(value)
        elif kind == TLV_SSL:
            extension["ssl"] = ssl_of(value)
        elif kind == TLV_AWS and value[:1] == b"\1":
            extension["aws_vpce_id"] = text_of(value[1:])
    return 0


cdef dict ssl_of(bytes value):
    cdef const unsigned char* octets = value
    cdef dict found
    if len(value) < 5:
        raise ValueError("malformed TLV in a PROXY header")
    found = {
        "client_ssl": bool(octets[0] & 1),
        "client_cert": bool(octets[0] & 6),
        "verified": octets[0] & 4 != 0 and value[1:5] == b"\0\0\0\0",
    }
    for kind, text in tlvs_of(value[5:]):
        if kind in SSL_NAMES:
            found[SSL_NAMES[kind]] = text_of(text)
    return found


cdef str text_of(bytes value):
    return value.decode("utf-8", "replace")
