"""Words of HTTP/1.1 that a mutation would hardly hit upon by itself."""

from __future__ import annotations

WORDS: tuple[bytes, ...] = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b"\x0b", b"\x7f", b"\x80", b" ", b"\t", b": ", b",", b";", b'"', b"\\",
    b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"HEAD ", b"PUT ", b"OPTIONS * ", b"CONNECT a:1 ", b"PRI * HTTP/2.0",
    b"M-SEARCH ", b"QUERY ", b" HTTP/1.0\r\n", b" HTTP/1.1\r\n", b" HTTP/1.2", b" HTTP/2.0", b"http://a/", b"//", b"?",
    b"%00", b"%2f", b"%", b"Host: a\r\n", b"Host:", b"a:80", b"[::1]", b"@",
    b"Content-Length: ", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n\r\nhello", b"18446744073709551616",
    b"1048577", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: ", b"chunked", b"gzip, chunked", b"identity",
    b"0\r\n\r\n", b"1\r\na\r\n", b"5\r\nhello\r\n", b";a=b", b';a="b;c"', b"ffffffffffffffff", b"0x1", b"\r\n ",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n", b"Expect: ", b"TE: trailers\r\n", b"Trailer: x\r\n", b"X: y\r\n",
)  # fmt: skip
