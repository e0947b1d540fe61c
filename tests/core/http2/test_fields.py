"""What a request is made of, and which are malformed, in the order of RFC 9113's sections 8.1 to 8.5."""

from __future__ import annotations

import gc
import sys
from typing import Any, ClassVar

import pytest
from core.hpack import Fields, indexed, literal

from fastserve._core.testing import HpackDecoder, HpackRequest, field_is_malformed

GET: Fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"example.com")]
HOST = (b"host", b"example.com")
CONNECT: Fields = [(b":method", b"CONNECT"), (b":authority", b"example.com:443")]
WEBSOCKET: Fields = [
    (b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"https"), (b":path", b"/chat"),
    (b":authority", b"example.com"),
]  # fmt: skip


def block_of(fields: Fields) -> bytes:
    return b"".join(literal(name, value, 0) for name, value in fields)


def request(fields: Fields, **limits: Any) -> HpackRequest:
    return HpackDecoder().request(block_of(fields), **limits)


def without(name: bytes, fields: Fields = GET) -> Fields:
    return [field for field in fields if field[0] != name]


def replaced(name: bytes, value: bytes, fields: Fields = GET) -> Fields:
    return [(name, value) if field[0] == name else field for field in fields]


def is_malformed(fields: Fields) -> bool:
    return request(fields).malformed is not None


class TestRequest:
    def test_a_request(self) -> None:
        found = request([*GET, (b"accept", b"*/*"), (b"user-agent", b"x")])
        assert found.malformed is None
        assert found.over_limit == 0
        assert (found.method, found.scheme, found.path, found.authority) == (b"GET", b"https", b"/", b"example.com")
        assert found.headers == [HOST, (b"accept", b"*/*"), (b"user-agent", b"x")]
        assert found.protocol is found.priority is None
        assert (found.content_length, found.te_trailers, found.expect_continue) == (-1, False, False)

    def test_order_and_duplicates(self) -> None:
        fields = [(b"b", b"1"), (b"a", b"2"), (b"b", b"1"), (b"a", b"3")]
        assert request([*GET, *fields]).headers == [HOST, *fields]

    def test_one_object_for_many_requests(self) -> None:
        """Nothing of a request is in the next, whatever became of it."""
        decoder, one = HpackDecoder(), HpackRequest()
        full = [
            *WEBSOCKET, (b"content-length", b"5"), (b"te", b"trailers"), (b"expect", b"100-continue"),
            (b"priority", b"u=1"), (b"cookie", b"a"), (b"cookie", b"b"), HOST,
        ]  # fmt: skip
        many = [(b"x", b"")] * 200
        for other in (full, without(b":path"), [*GET, (b"A", b"")], CONNECT, [*GET, HOST, HOST], [*GET, *many]):
            assert decoder.request(block_of(other), 1000, 100, one) is one
            found = decoder.request(block_of([*GET, (b"x", b"y")]), 1000, 100, one)
            assert found.malformed is None
            assert found.headers == [HOST, (b"x", b"y")]
            assert found.protocol is found.priority is None
            assert found.method == b"GET"
            assert (found.content_length, found.over_limit) == (-1, 0)
            assert not (found.te_trailers or found.expect_continue)

    def test_indexed_fields_are_one_object(self) -> None:
        """A field of the table is the very tuple of the scope, so it costs nothing."""
        decoder = HpackDecoder()
        block = b"".join(literal(name, value) for name, value in [*GET, (b"x", b"y"), (b"cookie", b"a=b")])
        first = decoder.request(block)
        again = decoder.request(b"".join(map(indexed, range(67, 61, -1))), into=first)
        headers = again.headers
        third = decoder.request(b"".join(map(indexed, range(67, 61, -1))), into=first)
        assert third.headers == headers == [HOST, (b"x", b"y"), (b"cookie", b"a=b")]
        assert all(one is other for one, other in zip(third.headers, headers, strict=True))

    def test_no_reference_is_left(self) -> None:
        decoder = HpackDecoder()
        [field] = decoder.fields(literal(b"x", b"some value"))
        before = sys.getrefcount(field)
        block = block_of(GET) + indexed(62)
        for wrong in (b"", indexed(62) * 50, block_of([(b"A", b"")]), b"\x80", block_of([HOST, HOST]), block_of(GET)):
            found = HpackRequest()
            for _ in range(2):
                with_error = False
                try:
                    decoder.request(block + wrong, 2000, 40, found)
                except ValueError:
                    with_error = True
                assert with_error == (wrong == b"\x80")
            del found
            gc.collect()
            assert sys.getrefcount(field) == before


class TestFieldValidity:
    """Section 8.2.1."""

    @pytest.mark.parametrize("byte", range(256))
    def test_names(self, byte: int) -> None:
        valid = byte in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
        for name in (b"%c", b"x-%c", b"%c-x", b"hos%c", b"accep%c", b"x-%c-y"):
            assert field_is_malformed(name % byte, b"v") is not valid, name % byte
            assert is_malformed([*GET, (name % byte, b"v")]) is not valid

    def test_empty_name(self) -> None:
        assert is_malformed([*GET, (b"", b"v")])

    def test_upper_case_of_known_names(self) -> None:
        for name in (b"Host", b"hosT", b"ACCEPT", b"User-Agent", b"Cookie", b"Te", b"Content-Length"):
            assert is_malformed([*GET, (name, b"1")])

    @pytest.mark.parametrize("byte", range(256))
    def test_values(self, byte: int) -> None:
        control = (byte < 32 and byte != 9) or byte == 127
        space = byte in b" \t"
        for value in (b"a%cb", b"a%cb" + b"c" * 50):
            assert is_malformed([*GET, (b"x", value % byte)]) is control
        for value in (b"%c", b"%cb", b"a%c"):
            assert is_malformed([*GET, (b"x", value % byte)]) is (control or space)

    def test_empty_value(self) -> None:
        assert request([*GET, (b"x", b"")]).headers == [HOST, (b"x", b"")]

    def test_a_malformed_entry_of_the_table(self) -> None:
        """Each time it is used, and its name with a good value is good."""
        decoder = HpackDecoder()
        assert decoder.request(block_of(GET) + literal(b"x", b"\x01")).malformed == "malformed field value"
        assert decoder.request(block_of(GET) + indexed(62)).malformed == "malformed field value"
        assert decoder.request(block_of(GET) + literal(62, b"good")).malformed is None
        assert decoder.request(block_of(GET) + literal(b"X", b"y")).malformed == "malformed field name"
        assert decoder.request(block_of(GET) + indexed(62)).malformed == "malformed field name"
        assert decoder.request(block_of(GET) + literal(62, b"z")).malformed == "malformed field name"


class TestConnectionSpecificFields:
    """Section 8.2.2."""

    def test_refused(self) -> None:
        for name in (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"):
            assert request([*GET, (name, b"x")]).malformed == "connection-specific field"

    @pytest.mark.parametrize("value", [b"trailers", b"Trailers"])
    def test_te_trailers(self, value: bytes) -> None:
        found = request([*GET, (b"te", value)])
        assert found.te_trailers
        assert found.headers == [HOST, (b"te", value)]

    @pytest.mark.parametrize("value", [b"gzip", b"", b"trailers, gzip", b"trailers;q=1", b"trailer", b"trailers2"])
    def test_other_te(self, value: bytes) -> None:
        assert request([*GET, (b"te", value)]).malformed == "TE other than trailers"


class TestCookies:
    """Section 8.2.3."""

    @pytest.mark.parametrize("crumbs", [1, 2, 3, 100])
    def test_one_field(self, crumbs: int) -> None:
        values = [b"c%d=%d" % (number, number) for number in range(crumbs)]
        cookies = [(b"cookie", value) for value in values]
        headers = [HOST, (b"a", b"1"), (b"cookie", b"; ".join(values)), (b"b", b"2")]
        assert request([*GET, (b"a", b"1"), *cookies, (b"b", b"2")]).headers == headers
        assert request([*GET, (b"a", b"1"), cookies[0], (b"b", b"2"), *cookies[1:]]).headers == headers
        assert request([*GET, *cookies, HOST]).headers == [HOST, headers[2]]

    @pytest.mark.parametrize("values", [[b""], [b"", b""], [b"a=b", b""], [b"", b"a=b"]])
    def test_empty(self, values: list[bytes]) -> None:
        """They are joined as all are, although no other value ends with a space."""
        cookies = [(b"cookie", value) for value in values]
        assert request([*GET, *cookies]).headers == [HOST, (b"cookie", b"; ".join(values))]

    def test_limits(self) -> None:
        """Crumbs count as one field, and each with its size."""
        cookies = [(b"cookie", b"abcd")] * 10  # 42 bytes each
        size = sum(len(name) + len(value) + 32 for name, value in GET) + 420
        assert request([*GET, *cookies], max_size=size, max_fields=1).over_limit == 0
        assert request([*GET, *cookies], max_size=size - 1, max_fields=1).over_limit == 431
        assert request([*GET, (b"a", b""), *cookies], max_fields=1).over_limit == 431
        assert request([*GET, *cookies, (b"a", b"")], max_fields=1).over_limit == 431


class TestPseudoHeaders:
    """Section 8.3."""

    @pytest.mark.parametrize("name", [b":status", b":", b":Method", b":foo", b":method ", b":paths", b":pat"])
    def test_unknown(self, name: bytes) -> None:
        assert request([(name, b"200"), *GET]).malformed == "unknown pseudo-header"

    @pytest.mark.parametrize("place", range(4))
    def test_after_other_fields(self, place: int) -> None:
        late = GET[place]
        for field in ((b"x", b"y"), (b"cookie", b"a=b"), HOST, (b"te", b"trailers"), (b"content-length", b"0")):
            assert request([*without(late[0]), field, late]).malformed == "pseudo-header after other fields"

    @pytest.mark.parametrize("place", range(5))
    def test_twice(self, place: int) -> None:
        twice = WEBSOCKET[place]
        assert request([*WEBSOCKET, twice]).malformed == "pseudo-header twice"
        assert request([twice, *WEBSOCKET]).malformed == "pseudo-header twice"


class TestRequestPseudoHeaders:
    """Section 8.3.1."""

    @pytest.mark.parametrize("name", [b":method", b":scheme", b":path"])
    def test_missing(self, name: bytes) -> None:
        assert request(without(name)).malformed == f"no {name.decode()}"

    def test_nothing(self) -> None:
        assert request([]).malformed == "no :method"

    @pytest.mark.parametrize("method", [b"GET", b"get", b"PATCH", b"M-SEARCH", b"a!#$%&'*+-.^_`|~"])
    def test_methods(self, method: bytes) -> None:
        assert request(replaced(b":method", method)).method == method
        assert not is_malformed(replaced(b":method", method))

    @pytest.mark.parametrize("method", [b"", b"GE T", b"GET ", b"G\0T", b"\xc4", b"GET/", b"G:"])
    def test_bad_methods(self, method: bytes) -> None:
        assert is_malformed(replaced(b":method", method))

    @pytest.mark.parametrize("scheme", [b"http", b"https", b"HTTPS"])
    def test_schemes(self, scheme: bytes) -> None:
        found = request(replaced(b":scheme", scheme))
        assert (found.malformed, found.over_limit) == (None, 0)

    @pytest.mark.parametrize("scheme", [b"ftp", b"ws", b"h+2.0-x"])
    def test_other_schemes(self, scheme: bytes) -> None:
        found = request(replaced(b":scheme", scheme))
        assert (found.malformed, found.over_limit) == (None, 400)

    @pytest.mark.parametrize("scheme", [b"", b"1http", b"http:", b"ht tp", b"https://x/", b"\xe4"])
    def test_bad_schemes(self, scheme: bytes) -> None:
        assert is_malformed(replaced(b":scheme", scheme))

    @pytest.mark.parametrize("path", [b"/", b"/a?b=c", b"//", b"/%41%", b"/?", b"/~!$&'()*+,;=:@|{}<>\"^`\\[]"])
    def test_paths(self, path: bytes) -> None:
        assert request(replaced(b":path", path)).path == path
        assert not is_malformed(replaced(b":path", path))

    @pytest.mark.parametrize(
        "path",
        [
            b"",
            b"*",
            b"a",
            b"?a",
            b"http://example.com/",
            b"/#",
            b"/a b",
            b"/\t",
            b"/\xe4",
            b"/\x7f",
            b"/\0",
            b"/\r\nb",
            b" /",
        ],
    )
    def test_bad_paths(self, path: bytes) -> None:
        assert is_malformed(replaced(b":path", path))

    def test_asterisk(self) -> None:
        options = replaced(b":method", b"OPTIONS", replaced(b":path", b"*"))
        assert not is_malformed(options)
        assert is_malformed(replaced(b":path", b"*a", options))

    def test_host_comes_first(self) -> None:
        """It is that of :authority, or Host where that is missing (ASGI HTTP: "HTTP Connection Scope")."""
        for fields in ([*GET, (b"a", b"b")], [*GET, (b"a", b"b"), HOST], [*without(b":authority"), (b"a", b"b"), HOST]):
            found = request(fields)
            assert (found.malformed, found.over_limit) == (None, 0)
            assert found.headers == [HOST, (b"a", b"b")]
        assert request([*without(b":authority"), HOST]).headers == [HOST]
        assert request([*GET, (b"host", b"EXAMPLE.com")]).headers == [HOST]

    @pytest.mark.parametrize(
        ("scheme", "authority", "host", "is_same"),
        [
            (b"http", b"example.com:80", b"Example.com", True),
            (b"http", b"example.com", b"example.com:80", True),
            (b"https", b"example.com", b"example.com:443", True),
            (b"HTTPS", b"example.com", b"example.com:443", True),
            (b"https", b"[::80]:443", b"[::80]", True),
            (b"http", b"example.com", b"example.com:443", False),
            (b"https", b"example.com", b"example.com:80", False),
            (b"http", b"example.com:8080", b"example.com:80", False),
        ],
    )
    def test_host_is_compared_without_the_port_of_the_scheme(
        self, scheme: bytes, authority: bytes, host: bytes, is_same: bool
    ) -> None:
        fields = replaced(b":authority", authority, replaced(b":scheme", scheme))
        found = request([*fields, (b"host", host)])
        assert (found.malformed, found.over_limit) == (None, 0 if is_same else 400)
        if is_same:
            assert found.headers == [(b"host", authority)]

    @pytest.mark.parametrize(
        "fields",
        [
            without(b":authority"),
            [*GET, (b"host", b"example.org")],
            [*GET, (b"host", b"")],
            [*GET, HOST, HOST],
            [*without(b":authority"), HOST, HOST],
            replaced(b":authority", b""),
            replaced(b":authority", b"a@example.com"),
            replaced(b":authority", b"a b"),
            replaced(b":authority", b"example.com:65536"),
            [*without(b":authority"), (b"host", b"")],
            [*without(b":authority"), (b"host", b"a,b")],
        ],
    )
    def test_host_that_is_refused(self, fields: Fields) -> None:
        found = request(fields)
        assert (found.malformed, found.over_limit) == (None, 400)

    def test_authorities_in_turn(self) -> None:
        decoder, one = HpackDecoder(), HpackRequest()
        for name in (b"a", b"a", b"b", b"a", b"c"):
            assert decoder.request(block_of(replaced(b":authority", name)), into=one).headers == [(b"host", name)]
        for name, status in ((b"a", 0), (b"a b", 400), (b"c", 0)):
            decoder.fields(literal(1, name))
            for _ in range(2):  # the same object
                assert decoder.request(block_of(without(b":authority")) + indexed(62), into=one).over_limit == status


class TestContent:
    """Section 8.1.1, as far as it concerns the fields."""

    @pytest.mark.parametrize("value", [0, 1, 12_345, 10**18 - 1])
    def test_length(self, value: int) -> None:
        found = request([*GET, (b"content-length", b"%d" % value)])
        assert found.content_length == value
        assert found.headers == [HOST, (b"content-length", b"%d" % value)]
        assert request([*GET, (b"content-length", b"%018d" % value)]).content_length == value

    @pytest.mark.parametrize("value", [b"", b"a", b"-1", b"+1", b"1,1", b"1 1", b"0x1", b"1.0", b"1" * 19, b"1" * 30])
    def test_malformed_length(self, value: bytes) -> None:
        assert request([*GET, (b"content-length", value)]).malformed == "malformed Content-Length"

    def test_two_lengths(self) -> None:
        for second in (b"1", b"2"):
            assert is_malformed([*GET, (b"content-length", b"1"), (b"content-length", second)])

    def test_expect(self) -> None:
        for value in (b"100-continue", b"100-Continue", b"100-continue,", b""):
            found = request([*GET, (b"expect", value)])
            assert (found.malformed, found.over_limit, found.expect_continue) == (None, 0, value != b"")
        for value in (b"200-ok", b"100-continue, 200-ok"):
            assert request([*GET, (b"expect", value)]).over_limit == 417

    def test_priority(self) -> None:
        """RFC 9218 section 4."""
        assert request([*GET, (b"priority", b"u=1")]).priority == b"u=1"
        found = request([*GET, (b"priority", b"u=1"), (b"priority", b"i")])
        assert found.priority == b"u=1, i"
        assert found.headers == [HOST, (b"priority", b"u=1"), (b"priority", b"i")]
        found = request([*GET, *[(b"priority", b"u=1")] * 1000])
        assert found.priority is not None and len(found.priority) <= 256


class TestConnect:
    """Section 8.5, and RFC 8441 section 4."""

    def test_plain(self) -> None:
        found = request(CONNECT)
        assert (found.malformed, found.method, found.authority) == (None, b"CONNECT", b"example.com:443")
        assert found.path is found.scheme is found.protocol is None

    @pytest.mark.parametrize(
        "fields",
        [
            without(b":authority", CONNECT),
            [*CONNECT, (b":scheme", b"https")],
            [*CONNECT, (b":path", b"/")],
            [*without(b":authority", CONNECT), HOST],
        ],
    )
    def test_plain_malformed(self, fields: Fields) -> None:
        assert is_malformed(fields)

    def test_extended(self) -> None:
        found = request([*WEBSOCKET, (b"sec-websocket-version", b"13")])
        assert (found.malformed, found.protocol, found.path) == (None, b"websocket", b"/chat")
        assert found.headers == [HOST, (b"sec-websocket-version", b"13")]

    @pytest.mark.parametrize("name", [b":method", b":scheme", b":path", b":authority"])
    def test_extended_malformed(self, name: bytes) -> None:
        assert is_malformed(without(name, WEBSOCKET))

    def test_protocol_of_other_methods(self) -> None:
        assert is_malformed(replaced(b":method", b"GET", WEBSOCKET))

    @pytest.mark.parametrize("value", [b"", b"web socket", b"\xe4"])
    def test_bad_protocol(self, value: bytes) -> None:
        assert is_malformed(replaced(b":protocol", value, WEBSOCKET))


class TestLimits:
    """Name, value and 32 bytes of each field (section 6.5.2), at the limit and one past it."""

    FIELDS: ClassVar[Fields] = [*GET, (b"a", b"bc"), (b"x", b"y" * 100)]
    SIZE = sum(len(name) + len(value) + 32 for name, value in FIELDS)

    def test_size(self) -> None:
        assert request(self.FIELDS, max_size=self.SIZE).over_limit == 0
        found = request(self.FIELDS, max_size=self.SIZE - 1)
        assert (found.malformed, found.over_limit, found.headers) == (None, 431, [])

    @pytest.mark.parametrize(
        "field",
        [HOST, (b"cookie", b"a"), (b"priority", b"i"), (b"te", b"trailers"), (b"content-length", b"1"), (b"x", b"y")],
    )
    def test_size_with_each_kind(self, field: tuple[bytes, bytes]) -> None:
        size = self.SIZE + len(field[0]) + len(field[1]) + 32
        assert request([*self.FIELDS, field], max_size=size, max_fields=3).over_limit == 0
        assert request([*self.FIELDS, field], max_size=size - 1, max_fields=3).over_limit == 431
        assert request([*self.FIELDS, field], max_size=size, max_fields=2).over_limit == 431

    def test_size_of_pseudo_headers(self) -> None:
        size = sum(len(name) + len(value) + 32 for name, value in GET)
        assert request(GET, max_size=size).over_limit == 0
        assert request(GET, max_size=size - 1).over_limit == 431

    def test_count(self) -> None:
        """Pseudo-headers do not count, as the request line does not in HTTP/1.1."""
        fields = [(b"x", b"%d" % number) for number in range(10)]
        assert len(request([*GET, *fields], max_fields=10).headers) == 11
        assert request([*GET, *fields], max_fields=9).over_limit == 431

    def test_a_bomb(self) -> None:
        """Nothing is kept beyond the limit of a list that 60,000 bytes make 240 MB of."""
        decoder = HpackDecoder()
        decoder.fields(literal(b"x", b"v" * 4000))
        [field] = decoder.fields(indexed(62))
        before = sys.getrefcount(field)
        found = decoder.request(block_of(GET) + indexed(62) * 60_000, 65_536, 128)
        assert (found.malformed, found.over_limit, found.headers) == (None, 431, [])
        assert sys.getrefcount(field) == before

    def test_a_fault_beyond_the_limit(self) -> None:
        assert request([*self.FIELDS, (b"A", b"")], max_size=self.SIZE).malformed == "malformed field name"


class TestTrailers:
    """Section 8.1, and RFC 9110 section 6.5.1."""

    def trailers(self, fields: Fields, **limits: int) -> str | int | None:
        return HpackDecoder().trailers(block_of(fields), **limits)

    def test_valid(self) -> None:
        assert self.trailers([]) is None
        assert self.trailers([(b"grpc-status", b"0"), (b"x-checksum", b"1")]) is None

    @pytest.mark.parametrize(
        ("field", "reason"),
        [
            ((b":method", b"GET"), "pseudo-header in trailers"),
            ((b":path", b"/"), "pseudo-header in trailers"),
            ((b":status", b"200"), "unknown pseudo-header"),
            ((b"X", b"y"), "malformed field name"),
            ((b"x", b" y"), "malformed field value"),
            ((b"connection", b"close"), "connection-specific field"),
            ((b"te", b"gzip"), "TE other than trailers"),
            ((b"te", b"trailers"), "field not allowed in trailers"),
            ((b"content-length", b"1"), "field not allowed in trailers"),
            ((b"host", b"a"), "field not allowed in trailers"),
            ((b"x-forwarded-for", b"a"), "field not allowed in trailers"),
        ],
    )
    def test_malformed(self, field: tuple[bytes, bytes], reason: str) -> None:
        assert self.trailers([(b"a", b"b"), field]) == reason

    def test_limits(self) -> None:
        fields = [(b"a", b"b")] * 3
        assert self.trailers(fields, max_size=102, max_fields=3) is None
        assert self.trailers(fields, max_size=101, max_fields=3) == 431
        assert self.trailers(fields, max_size=102, max_fields=2) == 431
