"""Headers and what they say: a new row costs a line.

A row has the options, the headers of a request, and what is expected in the scope. The peer is 10.0.0.1, which is
trusted with 10.0.0.0/8 by default here; PEER is what remains where nothing is believed.
"""

from __future__ import annotations

from typing import Any

PEER = "10.0.0.1:5000"
XFF, XFP = "X-Forwarded-For", "X-Forwarded-Proto"

Row = tuple[dict[str, Any], str, dict[str, Any]]

X: dict[str, Any] = {}
F = {"proxy_headers_family": "forwarded"}
ALL = {"forwarded_allow_ips": "*"}
HOPS = {"forwarded_hops": 2}
REAL = {"client_ip_header": "X-Real-IP"}
HOST = {"forwarded_host": True}
PREFIX = {"forwarded_prefix": True}


def client(text: str) -> dict[str, Any]:
    return {"client": text}


ROWS: list[Row] = [
    # uvicorn's, by default
    (X, "", client(PEER)),
    (X, "X-Forwarded-For: 192.0.2.1", client("192.0.2.1:0")),
    (X, "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.9", client("192.0.2.1:0")),
    (X, "X-Forwarded-For: 6.6.6.6 | X-Forwarded-For: 192.0.2.1", client("192.0.2.1:0")),
    (X, "X-Forwarded-For: [2001:db8::1]:80, 10.1.1.1", client("2001:db8::1:80")),
    (X, "X-Forwarded-For: 10.0.0.3, 10.0.0.2", client("10.0.0.3:0")),
    (X, "X-Forwarded-For: <script>", client(PEER)),
    (X, "X-Forwarded-Proto: https", {"client": PEER, "scheme": "https"}),
    (X, "X-Forwarded-Proto: https, http", {"scheme": "http"}),
    (X, "Forwarded: for=192.0.2.1;proto=https", {"client": PEER, "scheme": "http"}),
    (X, "X-Real-IP: 192.0.2.1", client(PEER)),
    (X, "X-Forwarded-Host: evil | X-Forwarded-Prefix: /evil", {"host": "app", "root_path": "", "path": "/p"}),
    (ALL, "X-Forwarded-For: 6.6.6.6, 192.0.2.1", client("6.6.6.6:0")),
    ({"proxy_headers": False}, "X-Forwarded-For: 192.0.2.1", client(PEER)),
    ({"forwarded_allow_ips": "10.0.0.2"}, "X-Forwarded-For: 192.0.2.1", client(PEER)),
    ({"forwarded_allow_ips": "unix:"}, "X-Forwarded-For: 192.0.2.1", client(PEER)),
    ({"forwarded_allow_ips": "unix:", "peer": None}, "X-Forwarded-For: 192.0.2.1", client("192.0.2.1:0")),
    ({"forwarded_allow_ips": "unix:", "peer": None}, "X-Forwarded-For: 6.6.6.6, 192.0.2.1", client("192.0.2.1:0")),
    ({"forwarded_allow_ips": "unix:", "peer": None}, "X-Forwarded-For: 192.0.2.1, unix:", {"client": None}),
    ({"forwarded_allow_ips": "unix:, 10.0.0.0/8", "peer": None}, "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.3",
     client("192.0.2.1:0")),
    ({"forwarded_allow_ips": "10.0.0.0/8", "peer": None}, "X-Forwarded-For: 192.0.2.1", {"client": None}),
    # --forwarded-hops
    (HOPS, "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 198.51.100.7", client("192.0.2.1:0")),
    (HOPS, "X-Forwarded-For: 192.0.2.1, 198.51.100.7", client("192.0.2.1:0")),
    (HOPS, "X-Forwarded-For: 198.51.100.7", client(PEER)),
    (HOPS, "X-Forwarded-For: bad host, 198.51.100.7", client(PEER)),
    (HOPS, "X-Forwarded-For: 10.0.0.8:99, 10.0.0.7", client("10.0.0.8:99")),
    (HOPS | ALL, "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 198.51.100.7", client("192.0.2.1:0")),
    (HOPS | {"forwarded_allow_ips": "10.9.9.9"}, "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 198.51.100.7", client(PEER)),
    ({"forwarded_hops": 1} | ALL, "X-Forwarded-For: 6.6.6.6, 192.0.2.1", client("192.0.2.1:0")),
    (HOPS | F, "Forwarded: for=6.6.6.6, for=192.0.2.1;proto=https, for=198.51.100.7",
     {"client": "192.0.2.1:0", "scheme": "https"}),
    (HOPS | F, "Forwarded: for=192.0.2.1;proto=https", {"client": PEER, "scheme": "http"}),
    # --client-ip-header
    (REAL, "X-Real-IP: 192.0.2.1", client("192.0.2.1:0")),
    (REAL, "x-real-ip: 2001:db8::1 ", client("2001:db8::1:0")),
    (REAL, "X-Real-IP: 192.0.2.1, 6.6.6.6", client(PEER)),
    (REAL, "X-Real-IP: 6.6.6.6 | X-Real-IP: 192.0.2.1", client(PEER)),
    (REAL, "X-Real-IP: unknown", client(PEER)),
    (REAL, "X-Real-IP: 192.0.2.1:80", client(PEER)),
    (REAL, "X-Real-IP: 3232235777", client(PEER)),
    (REAL, "X-Forwarded-For: 6.6.6.6", client(PEER)),
    (REAL, "X-Real-IP: 192.0.2.1 | X-Forwarded-For: 6.6.6.6 | X-Forwarded-Proto: https",
     {"client": "192.0.2.1:0", "scheme": "https"}),
    (REAL | F, "X-Real-IP: 192.0.2.1 | Forwarded: for=6.6.6.6;proto=https",
     {"client": "192.0.2.1:0", "scheme": "https"}),
    ({"client_ip_header": "CF-Connecting-IP"}, "CF-Connecting-IP: 192.0.2.1 | X-Real-IP: 6.6.6.6",
     client("192.0.2.1:0")),
    ({"client_ip_header": "X-Of-Nobody"}, "X-Of-Nobody: 192.0.2.1", client("192.0.2.1:0")),
    # --proxy-headers-family forwarded
    (F, "X-Forwarded-For: 6.6.6.6 | X-Forwarded-Proto: https", {"client": PEER, "scheme": "http"}),
    (F, "Forwarded: for=192.0.2.1", client("192.0.2.1:0")),
    (F, "Forwarded: For=192.0.2.1;PROTO=HTTPS", {"client": "192.0.2.1:0", "scheme": "https"}),
    (F, 'Forwarded: for="192.0.2.1:4711"', client("192.0.2.1:4711")),
    (F, 'Forwarded: for="[2001:db8:cafe::17]:4711"', client("2001:db8:cafe::17:4711")),
    (F, 'Forwarded: for="[2001:db8:cafe::17]"', client("2001:db8:cafe::17:0")),
    (F, 'Forwarded: for="192.0.2.\\1"', client("192.0.2.1:0")),
    (F, "Forwarded: for=unknown", client("unknown:0")),
    (F, "Forwarded: for=_gazonk", client("_gazonk:0")),
    (F, 'Forwarded: for="_gazonk:_port"', client("_gazonk:0")),
    (F, 'Forwarded: for="192.0.2.1:99999"', client("192.0.2.1:0")),
    (F, "Forwarded: for=6.6.6.6, for=192.0.2.1;by=10.0.0.3, for=10.0.0.2", client("192.0.2.1:0")),
    (F, "Forwarded: for=6.6.6.6;proto=https | Forwarded: for=192.0.2.1", {"client": "192.0.2.1:0", "scheme": "http"}),
    (F, "Forwarded: for=192.0.2.1;proto=https, for=10.0.0.2;proto=http", {"client": "192.0.2.1:0", "scheme": "https"}),
    (F, "Forwarded: for=10.0.0.3, for=10.0.0.2", client("10.0.0.3:0")),
    (F, "Forwarded: ,, for=192.0.2.1 , ,", client("192.0.2.1:0")),
    (F, "Forwarded: ;for=192.0.2.1;;", client("192.0.2.1:0")),
    (F, 'Forwarded: for=192.0.2.1;secret="a, b;\\"c\\"";x=y', client("192.0.2.1:0")),
    (F, "Forwarded: proto=https", {"client": PEER, "scheme": "https"}),
    (F, "Forwarded: for=6.6.6.6, proto=https", {"client": PEER, "scheme": "https"}),
    (F, "Forwarded: for=192.0.2.1;proto=gopher", {"client": "192.0.2.1:0", "scheme": "http"}),
    (F, "Forwarded:", client(PEER)),
    (F | ALL, "Forwarded: for=6.6.6.6, for=192.0.2.1", client("6.6.6.6:0")),
    (F | {"forwarded_allow_ips": "10.9.9.9"}, "Forwarded: for=192.0.2.1", client(PEER)),
    (F | {"forwarded_allow_ips": "unix:", "peer": None}, "Forwarded: for=192.0.2.1", client("192.0.2.1:0")),
    # One fault, and the header is ignored
    (F, "Forwarded: for=2001:db8::1", client(PEER)),
    (F, 'Forwarded: for="2001:db8::1"', client(PEER)),
    (F, "Forwarded: for=192.0.2.1:80", client(PEER)),
    (F, 'Forwarded: for="192.0.2.1', client(PEER)),
    (F, 'Forwarded: for="192.0.2.1"x', client(PEER)),
    (F, "Forwarded: for=192.0.2.1; proto=https", {"client": PEER, "scheme": "http"}),
    (F, "Forwarded: for =192.0.2.1", client(PEER)),
    (F, "Forwarded: for= 192.0.2.1", client(PEER)),
    (F, "Forwarded: for=", client(PEER)),
    (F, 'Forwarded: for=""', client(PEER)),
    (F, "Forwarded: for", client(PEER)),
    (F, "Forwarded: 192.0.2.1", client(PEER)),
    (F, "Forwarded: for=192.0.2.1;for=192.0.2.2", client(PEER)),
    (F, "Forwarded: for=192.0.2.1;proto=a;Proto=b", client(PEER)),
    (F, "Forwarded: for=192.0.2.256", client(PEER)),
    (F, "Forwarded: for=somebody", client(PEER)),
    (F, 'Forwarded: for="[192.0.2.1]"', client(PEER)),
    (F, 'Forwarded: for="[2001:db8::1"', client(PEER)),
    (F, 'Forwarded: for="[fe80::1%eth0]"', client(PEER)),
    (F, 'Forwarded: for="192.0.2.1:"', client(PEER)),
    (F, 'Forwarded: for="192.0.2.1:123456"', client(PEER)),
    (F, "Forwarded: for=_", client(PEER)),
    (F, "Forwarded: for=192.0.2.1;by=nobody", client(PEER)),
    (F, 'Forwarded: for=192.0.2.1;proto="1x"', client(PEER)),
    (F, 'Forwarded: for="oops, for=6.6.6.6, for=192.0.2.1', client(PEER)),
    (F, "Forwarded: " + ", ".join(["for=10.0.0.2"] * 99) + ", for=192.0.2.1", client("192.0.2.1:0")),
    (F, "Forwarded: " + ", ".join(["for=10.0.0.2"] * 100) + ", for=192.0.2.1", client(PEER)),
    # --forwarded-host
    (HOST, "X-Forwarded-Host: shop.example", {"host": "shop.example", "server": "6.7.8.9:80"}),
    (HOST, "X-Forwarded-Host: shop.example:8443", {"host": "shop.example:8443"}),
    (HOST, "X-Forwarded-Host: evil.example, shop.example", {"host": "shop.example"}),
    (HOST, "X-Forwarded-Host: evil.example | X-Forwarded-Host: shop.example", {"host": "shop.example"}),
    (HOST, "X-Forwarded-Host: bad host", {"host": "app"}),
    (HOST, "X-Forwarded-Host: a/b", {"host": "app"}),
    (HOST, "X-Forwarded-Host:", {"host": "app"}),
    (HOST, "X-Forwarded-Port: 8443", {"host": "app"}),
    (HOST, "X-Forwarded-Host: h | X-Forwarded-Port: 8443", {"host": "h:8443"}),
    (HOST, "X-Forwarded-Host: h:1 | X-Forwarded-Port: 8443", {"host": "h:1"}),
    (HOST, "X-Forwarded-Host: [2001:db8::1] | X-Forwarded-Port: 8443", {"host": "[2001:db8::1]:8443"}),
    (HOST, "X-Forwarded-Host: h | X-Forwarded-Port: 80", {"host": "h"}),
    (HOST, "X-Forwarded-Host: h | X-Forwarded-Port: 443 | X-Forwarded-Proto: https", {"host": "h"}),
    (HOST, "X-Forwarded-Host: h | X-Forwarded-Port: 443", {"host": "h:443"}),
    (HOST, "X-Forwarded-Host: h | X-Forwarded-Port: 70000", {"host": "h"}),
    (HOST | {"forwarded_allow_ips": "10.9.9.9"}, "X-Forwarded-Host: evil.example", {"host": "app"}),
    (HOST | F, "X-Forwarded-Host: evil.example", {"host": "app"}),
    (HOST | F, "Forwarded: host=evil.example;for=6.6.6.6, for=192.0.2.1;host=shop.example", {"host": "shop.example"}),
    (HOST | F, 'Forwarded: for=192.0.2.1;host="shop.example:81"', {"host": "shop.example:81"}),
    (HOST | F, 'Forwarded: for=192.0.2.1;host="bad host"', {"host": "app", "client": "192.0.2.1:0"}),
    (F, "Forwarded: for=192.0.2.1;host=shop.example", {"host": "app"}),
    # --forwarded-prefix and --root-path-mode
    (PREFIX, "X-Forwarded-Prefix: /shop", {"root_path": "/shop", "path": "/shop/p", "raw_path": "/shop/p"}),
    (PREFIX, "X-Forwarded-Prefix: /a/b/", {"root_path": "/a/b", "path": "/a/b/p"}),
    (PREFIX, "X-Forwarded-Prefix: /%C3%A4", {"root_path": "/ä", "path": "/ä/p", "raw_path": "/%C3%A4/p"}),
    (PREFIX, "X-Forwarded-Prefix: /evil | X-Forwarded-Prefix: /shop", {"root_path": "/shop"}),
    (PREFIX, "X-Forwarded-Prefix: /", {"root_path": "", "path": "/p"}),
    (PREFIX, "X-Forwarded-Prefix: shop", {"root_path": ""}),
    (PREFIX, "X-Forwarded-Prefix: //shop", {"root_path": ""}),
    (PREFIX, "X-Forwarded-Prefix: /a//b", {"root_path": ""}),
    (PREFIX, "X-Forwarded-Prefix: /a/../b", {"root_path": ""}),
    (PREFIX, "X-Forwarded-Prefix: /a/%2e%2e", {"root_path": ""}),
    (PREFIX, "X-Forwarded-Prefix: /a%2f%2fb", {"root_path": ""}),
    (PREFIX, "X-Forwarded-Prefix: /a%0ab", {"root_path": ""}),
    (PREFIX, "X-Forwarded-Prefix: /a?b", {"root_path": ""}),
    (PREFIX, "X-Forwarded-Prefix: /a b", {"root_path": ""}),
    (PREFIX, "X-Forwarded-Prefix: /" + "a" * 255, {"root_path": "/" + "a" * 255}),
    (PREFIX, "X-Forwarded-Prefix: /" + "a" * 256, {"root_path": ""}),
    (PREFIX | {"forwarded_allow_ips": "10.9.9.9"}, "X-Forwarded-Prefix: /evil", {"root_path": ""}),
    (PREFIX | {"root_path": "/own"}, "", {"root_path": "/own", "path": "/own/p"}),
    (PREFIX | {"root_path": "/own"}, "X-Forwarded-Prefix: /shop", {"root_path": "/shop", "path": "/shop/p"}),
    (PREFIX | {"root_path_mode": "given"}, "X-Forwarded-Prefix: /shop", {"root_path": "/shop", "path": "/p"}),
    ({"root_path": "/p"}, "", {"root_path": "/p", "path": "/p/p", "raw_path": "/p/p"}),
    ({"root_path": "/p", "root_path_mode": "given"}, "", {"root_path": "/p", "path": "/p", "raw_path": "/p"}),
    # Together
    (HOST | PREFIX,
     "X-Forwarded-For: 192.0.2.1 | X-Forwarded-Proto: https | X-Forwarded-Host: h | X-Forwarded-Prefix: /s",
     {"client": "192.0.2.1:0", "scheme": "https", "host": "h", "root_path": "/s", "path": "/s/p"}),
]  # fmt: skip
