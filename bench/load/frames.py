"""The client's side of a WebSocket (RFC 6455, RFC 7692) as bytes: what wsload sends, and a check of what comes back."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import random
import socket
import struct
import zlib
from dataclasses import dataclass

from bench.load.rows import Echo

_KEY = base64.b64encode(b"a bench's nonce.")
_ACCEPT = base64.b64encode(hashlib.sha1(_KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
_OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
_MASK = b"\x5a\xc3\x96\x0f"
_FIN, _RSV1, _CONTROL = 0x80, 0x40, 0x08
_TAIL = b"\x00\x00\xff\xff"
_VARIANTS = 512  # with 128 bytes each more than the largest window of deflate: no message is still in it when it recurs
_WORDS = "the a of on is was red blue slow quick door rain train lunch maybe never again tomorrow ok yes no thanks"


class Wrong(Exception):
    """A response is not the row's; the text says in what."""


@dataclass(frozen=True)
class Agreed:
    """What the handshake came to: whether messages are compressed, and how the client must do it."""

    deflate: bool = False
    client_takeover: bool = True
    client_bits: int = 15
    server_takeover: bool = True


def request(echo: Echo) -> bytes:
    """The opening handshake; with `deflate` the extension is offered in the words of a browser."""
    return (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n" % (_KEY, _OFFER if echo.deflate else b"")
    )


def answer() -> bytes:
    """A server's answer to `request`, without the extension."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % _ACCEPT
    )


def messages(echo: Echo) -> list[bytes]:
    """The payloads to send in turn: JSON as of a chat, all different, when they are text; one of any bytes when not."""
    if not echo.text:
        return [bytes(range(256)) * (echo.size // 256)]
    chance = random.Random(6455)
    return [_chat(number, chance, echo.size) for number in range(_VARIANTS)]


def _chat(number: int, chance: random.Random, size: int) -> bytes:
    head = f'{{"type":"message","room":"lobby","id":{70000 + number},"at":{1700000000 + 37 * number},"text":"'
    words = " ".join(chance.choices(_WORDS.split(), k=size))
    return f'{head}{words[: size - len(head) - 2]}"}}'.encode()


def client_frames(echo: Echo, agreed: Agreed) -> list[bytes]:
    """A whole masked frame for each of `messages`; compressed in turn they are right again and again in this order."""
    compressor = _compressor(agreed)
    frames = []
    for payload in messages(echo):
        first = _FIN | (1 if echo.text else 2)
        data = payload
        if agreed.deflate:
            first |= _RSV1
            data = (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)
            if not agreed.client_takeover:
                compressor = _compressor(agreed)
        frames.append(_frame(first, data))
    return frames


def _compressor(agreed: Agreed) -> zlib._Compress:
    return zlib.compressobj(wbits=-max(9, agreed.client_bits))


def _frame(first: int, data: bytes) -> bytes:
    return bytes([first]) + _length(len(data), 0x80) + _MASK + _masked(data)


def server_frames(echo: Echo) -> list[bytes]:
    """The echo of each of `messages`, uncompressed."""
    head = bytes([_FIN | (1 if echo.text else 2)]) + _length(echo.size, 0)
    return [head + payload for payload in messages(echo)]


def _length(size: int, bit: int) -> bytes:
    if size < 126:
        return bytes([bit | size])
    return struct.pack("!BH", bit | 126, size) if size < 65536 else struct.pack("!BQ", bit | 127, size)


def _masked(data: bytes) -> bytes:
    mask = (_MASK * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(data), "big")


class Client:
    """An open WebSocket over a blocking socket. Wrong when the server does not upgrade, or not as the row needs it."""

    def __init__(self, connection: socket.socket, echo: Echo) -> None:
        self._connection = connection
        self._received = bytearray()
        connection.sendall(request(echo))
        while b"\r\n\r\n" not in self._received:
            self._read()
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        self._received = bytearray(rest)
        self.agreed = _agreed(head + b"\r\n\r\n", echo)
        self._inflator = zlib.decompressobj(-15)

    def _read(self) -> None:
        data = self._connection.recv(1 << 18)
        if not data:
            raise Wrong(f"the server closed after {bytes(self._received[:80])!r}")
        self._received += data

    def exchange(self, frame: bytes) -> bytes:
        """Sends a whole message and gives back the payload of the next one that comes."""
        self._connection.sendall(frame)
        payload, compressed, final = b"", False, False
        while not final:
            first, data = self._next_frame()
            if first & _CONTROL:
                continue
            compressed |= bool(first & _RSV1)
            payload += data
            final = bool(first & _FIN)
        return self._inflate(payload) if compressed else payload

    def _next_frame(self) -> tuple[int, bytes]:
        while len(self._received) < 2:
            self._read()
        length, size = self._received[1], 2
        if length >= 126:
            size = 4 if length == 126 else 10
            while len(self._received) < size:
                self._read()
            length = int.from_bytes(self._received[2:size], "big")
        while len(self._received) < size + length:
            self._read()
        first, data = self._received[0], bytes(self._received[size : size + length])
        del self._received[: size + length]
        return first, data

    def _inflate(self, payload: bytes) -> bytes:
        data = self._inflator.decompress(payload + _TAIL)
        if not self.agreed.server_takeover:
            self._inflator = zlib.decompressobj(-15)
        return data


def _agreed(head: bytes, echo: Echo) -> Agreed:
    line, _, fields = head.partition(b"\r\n")
    if line.split(b" ")[1:2] != [b"101"]:
        raise Wrong(f"no upgrade: {line.decode('latin-1')}")
    headers = http.client.parse_headers(io.BytesIO(fields))
    if headers.get("sec-websocket-accept", "").encode() != _ACCEPT:
        raise Wrong(f"sec-websocket-accept is {headers.get('sec-websocket-accept')}")
    extension, *parameters = [part.strip() for part in headers.get("sec-websocket-extensions", "").split(";")]
    if (extension == "permessage-deflate") != echo.deflate:
        raise Wrong(f"the agreed extension is {extension!r}")
    bits = next((part.partition("=")[2] for part in parameters if part.startswith("client_max_window_bits=")), "15")
    return Agreed(
        deflate=echo.deflate,
        client_takeover="client_no_context_takeover" not in parameters,
        client_bits=int(bits.strip('"')),
        server_takeover="server_no_context_takeover" not in parameters,
    )
