"""Streams of bytes that a client sends after its handshake, and what becomes of them, by sections of the RFCs."""

from __future__ import annotations

import random
import zlib
from typing import Any

from core.frames import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, TEXT, binary, cuts, fragments, frame, text
from protocol.websocket import MAX_SIZE
from ws import close

FAULT, BAD_DATA, TOO_BIG = 1002, 1007, 1009
TAIL = b"\x00\x00\xff\xff"
HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692 section 7.2.3.1
MAX_COMPRESSED = 100_000  # bytes of a message

# The bytes, the messages that the application gets of them, and the code that both sides see; a close frame with 1000
# comes after them.
Streams = dict[str, tuple[bytes, list[Any], int]]

NO_MASK: Streams = {
    f"no mask: {opcode}": (frame(FIN | opcode, payload, key=None), [], FAULT)
    for opcode in (TEXT, BINARY, CLOSE, PING, PONG)
    for payload in (b"\x03\xe8",)
}
RESERVED: Streams = {
    **{f"RSV{4 - bit}: {opcode}": (frame(FIN | 8 << bit | opcode, b"x"), [], FAULT)
       for bit in (1, 2, 3) for opcode in (TEXT, BINARY, PING, PONG)},
    **{f"opcode {opcode}": (frame(FIN | opcode, b"x"), [], FAULT) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "RSV1 on a continuation": (frame(TEXT, b"a") + frame(FIN | 0x40, b"b"), [], FAULT),
    "after a message": (text("a") + frame(FIN | 3), ["a"], FAULT),
}  # fmt: skip
LENGTHS: Streams = {
    **{f"{size} in 16 bits": (frame(FIN | BINARY, b"x" * size, form=16), [], FAULT) for size in (0, 1, 125)},
    **{f"{size} in 64 bits": (frame(FIN | BINARY, b"x" * size, form=64), [], FAULT) for size in (0, 125, 126, 1000)},
    "highest bit": (frame(FIN | BINARY, announced=1 << 63, form=64), [], FAULT),
    "all bits": (frame(FIN | BINARY, announced=(1 << 64) - 1, form=64), [], FAULT),
}
ONE_PING, ONE_PONG = frame(FIN | PING, b"p"), frame(FIN | PONG, b"q")
FRAGMENTED: Streams = {
    "two": (fragments(TEXT, b"a", b"b"), ["ab"], 1000),
    "of nothing": (fragments(BINARY, b"", b"", b""), [b""], 1000),
    "many": (fragments(BINARY, *[b"x"] * 500), [b"x" * 500], 1000),
    "with control frames between": (
        frame(TEXT, b"a") + ONE_PING + frame(0, b"b") + ONE_PONG + ONE_PING + frame(FIN, b"c"), ["abc"], 1000,
    ),
    "a close between": (frame(TEXT, b"a") + close(3000), [], 3000),
    "no message to continue": (frame(FIN, b"a"), [], FAULT),
    "nor after one": (fragments(TEXT, b"a", b"b") + frame(0, b"c"), ["ab"], FAULT),
    "a text within": (frame(TEXT, b"a") + text("b"), [], FAULT),
    "a binary within": (frame(TEXT, b"a") + binary(b"b"), [], FAULT),
    "a start within": (frame(BINARY, b"a") + frame(BINARY, b"b"), [], FAULT),
    "of a ping": (frame(PING, b"a") + frame(FIN, b"b"), [], FAULT),
    "of a pong": (frame(PONG, b"a"), [], FAULT),
    "of a close": (frame(CLOSE, b"\x03\xe8"), [], FAULT),
}  # fmt: skip
CONTROL: Streams = {
    **{f"{opcode} of {size}": (frame(FIN | opcode, b"x" * size), [], FAULT)
       for opcode in (CLOSE, PING, PONG) for size in (126, 1000)},
    **{f"{opcode} with a long length": (frame(FIN | opcode, b"xxx", form=16), [], FAULT) for opcode in (PING, PONG)},
    "pongs that nobody asked for": (ONE_PONG * 3 + text("a"), ["a"], 1000),
}  # fmt: skip
GOOD_CODES = (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999)
BAD_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
CLOSES: Streams = {
    **{f"close {code}": (close(code, "why"), [], code) for code in GOOD_CODES},
    **{f"close {code}": (close(code), [], FAULT) for code in BAD_CODES},
    "close without a code": (close(None), [], 1005),
    "half a code": (frame(FIN | CLOSE, b"\x03"), [], FAULT),
    "a reason that is no text": (frame(FIN | CLOSE, b"\x03\xe8\xff"), [], BAD_DATA),
    "a reason that ends too early": (frame(FIN | CLOSE, b"\x03\xe8\xe2\x82"), [], BAD_DATA),
}
VALID = ["", "a", "é", "€", "😀", "\ud7ff\ue000\uffff\U00010000\U0010ffff", "\0"]
INVALID = [b"\x80", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
           b"\xff", b"a\xe2(", b"\xe2\x82"]  # fmt: skip
TEXTS: Streams = {
    "valid": (b"".join(text(each) for each in VALID), VALID, 1000),
    "a character over three frames": (fragments(TEXT, *("€".encode()[at : at + 1] for at in range(3))), ["€"], 1000),
    **{f"invalid {bad.hex()}": (text(b"abcdefgh" + bad), [], BAD_DATA) for bad in INVALID},
    **{f"invalid {bad.hex()} in frames": (fragments(TEXT, b"a" + bad[:1], bad[1:]), [], BAD_DATA) for bad in INVALID},
    "binary is no text": (b"".join(binary(bad) for bad in INVALID), INVALID, 1000),
}
SIZES: Streams = {
    "a message of the limit": (binary(bytes(MAX_SIZE)), [bytes(MAX_SIZE)], 1000),
    "a text of the limit": (text("é" * (MAX_SIZE // 2)), ["é" * (MAX_SIZE // 2)], 1000),
    "fragments of the limit": (fragments(BINARY, *[b"x" * 100] * 10), [b"x" * 1000], 1000),
    "each message for itself": (binary(bytes(600)) * 3, [bytes(600)] * 3, 1000),
    "a message over it": (text("a") + binary(bytes(MAX_SIZE + 1)), ["a"], TOO_BIG),
    "a text over it, in bytes": (text("é" * (MAX_SIZE // 2) + "a"), [], TOO_BIG),
    "fragments over it": (fragments(BINARY, *[b"x" * 100] * 10, b"x"), [], TOO_BIG),
}


def packed(payload: bytes, opcode: int = BINARY, parts: int = 1) -> bytes:
    """The frames of a compressed payload."""
    pieces = cuts(payload, -(-len(payload) // parts)) or [b""]
    last = len(pieces) - 1
    return b"".join(
        frame((FIN if number == last else 0) | (CONTINUATION if number else RSV1 | opcode), piece)
        for number, piece in enumerate(pieces)
    )


def squeeze(content: bytes, level: int = 9) -> bytes:
    stream = zlib.compressobj(level, wbits=-15)
    return (stream.compress(content) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


COMPRESSED: Streams = {
    "7.2.3.1 one block": (packed(HELLO, TEXT), ["Hello"], 1000),
    "7.2.3.1 fragments": (frame(RSV1 | TEXT, HELLO[:3]) + frame(FIN, HELLO[3:]), ["Hello"], 1000),
    "7.2.3.2 sharing the window": (packed(HELLO, TEXT) + packed(b"\xf2\x00\x11\x00\x00", TEXT), ["Hello"] * 2, 1000),
    "7.2.3.3 no compression": (packed(bytes.fromhex("000500faff48656c6c6f00"), TEXT), ["Hello"], 1000),
    "7.2.3.4 a final block": (packed(bytes.fromhex("f348cdc9c9070000"), TEXT) * 2, ["Hello"] * 2, 1000),
    "7.2.3.5 two blocks": (packed(bytes.fromhex("f24805000000ffffcac9c90700"), TEXT), ["Hello"], 1000),
    "7.2.3.6 an empty message": (packed(b"\x00", TEXT), [""], 1000),
    "6 a plain message between": (packed(HELLO, TEXT) + text("a") + packed(HELLO, TEXT), ["Hello", "a", "Hello"], 1000),
    "6 a ping between": (
        frame(RSV1 | TEXT, HELLO[:3]) + frame(FIN | PING, b"p") + frame(FIN, HELLO[3:]), ["Hello"], 1000,
    ),
    "6 RSV1 on a continuation": (frame(RSV1 | TEXT, HELLO[:3]) + frame(FIN | RSV1, HELLO[3:]), [], 1002),
    "6 RSV1 on a later fragment of a plain one": (frame(TEXT, b"a") + frame(FIN | RSV1, HELLO), [], 1002),
    "6.1 a compressed ping": (frame(FIN | RSV1 | PING, HELLO), [], 1002),
    "6.1 a compressed pong": (frame(FIN | RSV1 | PONG, HELLO), [], 1002),
    "7.2.2 no DEFLATE": (packed(b"\xff" * 20), [], 1007),
    "7.2.2 bad UTF-8": (packed(squeeze(b"abc\xff"), TEXT), [], 1007),
    "a message of the limit": (packed(squeeze(bytes(MAX_COMPRESSED))), [bytes(MAX_COMPRESSED)], 1000),
    "a message over it": (packed(squeeze(bytes(MAX_COMPRESSED + 1))), [], 1009),
    "fragments over it": (packed(squeeze(bytes(MAX_COMPRESSED + 1)), parts=5), [], 1009),
    "bytes that are more when compressed": (packed(squeeze(random.Random(7).randbytes(MAX_COMPRESSED), 0)), [], 1000),
}  # fmt: skip
COMPRESSED["bytes that are more when compressed"][1].append(random.Random(7).randbytes(MAX_COMPRESSED))
# What the reference implementations make of some of them instead.
DIFFERENCES: dict[tuple[str, str], tuple[list[Any], int]] = {
    # websockets takes a length in more bytes than it needs.
    **{("websockets", f"{size} in 16 bits"): ([b"x" * size], 1000) for size in (0, 1, 125)},
    **{("websockets", f"{size} in 64 bits"): ([b"x" * size], 1000) for size in (0, 125, 126, 1000)},
    **{("websockets", f"{opcode} with a long length"): ([], 1000) for opcode in (PING, PONG)},
    ("websockets", "highest bit"): ([], TOO_BIG),
    ("websockets", "all bits"): ([], TOO_BIG),
    ("websockets", "a close between"): ([], FAULT),
    ("wsproto", "close 1014"): ([], FAULT),  # registered since
    # Neither goes on after a final block.
    ("websockets", "7.2.3.4 a final block"): (["Hello", ""], 1000),
    ("wsproto", "7.2.3.4 a final block"): (["Hello"], 1007),
    ("websockets", "7.2.2 no DEFLATE"): ([], 1002),
    # Its limit is for what comes as well as for what that inflates to.
    ("websockets", "bytes that are more when compressed"): ([], 1009),
    # It takes the ping for the end of the message, and the rest for one that is not compressed.
    ("wsproto", "6 a ping between"): ([], 1007),
}


ALL: Streams = {**NO_MASK, **RESERVED, **LENGTHS, **FRAGMENTED, **CONTROL, **CLOSES, **TEXTS, **SIZES}
