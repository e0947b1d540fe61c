"""The two tables of HPACK (RFC 7541 appendices A and B), and what writes `huffman.h` from the second.

python -m fastserve._core.http2.tables FILE     write the header, after a change of this file
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

# What appendix A has from index 17 on, all without values.
REST = (
    "accept-language", "accept-ranges", "accept", "access-control-allow-origin", "age", "allow", "authorization",
    "cache-control", "content-disposition", "content-encoding", "content-language", "content-length",
    "content-location", "content-range", "content-type", "cookie", "date", "etag", "expect", "expires", "from",
    "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified",
    "link", "location", "max-forwards", "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh",
    "retry-after", "server", "set-cookie", "strict-transport-security", "transfer-encoding", "user-agent", "vary",
    "via", "www-authenticate",
)  # fmt: skip
# Appendix A, index 1 first: a name, then its values, each of which is an entry.
STATIC = tuple(
    (name.encode(), value.encode())
    for name, *values in (
        (":authority",),
        (":method", "GET", "POST"),
        (":path", "/", "/index.html"),
        (":scheme", "http", "https"),
        (":status", "200", "204", "206", "304", "400", "404", "500"),
        ("accept-charset",),
        ("accept-encoding", "gzip, deflate"),
        *((name,) for name in REST),
    )
    for value in values or ("",)
)  # fmt: skip

END = 256  # the symbol that pads the last byte, as far as its bits are needed
# Appendix B: the symbols by the length of their codes in bits. Codes count up, the shorter ones first, and those of one
# length in the order of the symbols, so the lengths define all codes.
LENGTHS: dict[int, Iterable[int]] = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b"!\"()?",
    11: b"'+|",
    12: b"#>",
    13: b"\0$@[]~",
    14: b"^}",
    15: b"<`{",
    19: (92, 195, 208),
    20: (128, 130, 131, 162, 184, 194, 224, 226),
    21: (153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230),
    22: (
        129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196,
        198, 228, 232, 233,
    ),
    23: (
        1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182,
        183, 188, 191, 197, 231, 239,
    ),
    24: (9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237),
    25: (199, 207, 234, 235),
    26: (192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255),
    27: (203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254),
    28: (*range(2, 9), 11, 12, *range(14, 22), *range(23, 32), 127, 220, 249),
    30: (10, 13, 22, END),
}  # fmt: skip

PEEK = 11  # bits that decoding looks at first, which hold up to two symbols


def codes() -> dict[int, tuple[int, int]]:
    """Return the code of each symbol, and its bits. ValueError for lengths that leave a gap or overlap."""
    found: dict[int, tuple[int, int]] = {}
    code = last = 0
    for bits, symbols in LENGTHS.items():
        for symbol in symbols:
            code <<= bits - last
            last = bits
            found[symbol] = (code, bits)
            code += 1
    if code != 1 << last or sorted(found) != list(range(END + 1)):
        raise ValueError("the lengths are not those of a complete code for 257 symbols")
    return found


def peeks() -> Iterator[int]:
    """Yield, for each value of PEEK bits: first symbol | second << 8 | how many << 16 | their bits << 24."""
    short = {f"{code:0{bits}b}": symbol for symbol, (code, bits) in codes().items() if bits <= PEEK}
    sizes = sorted({len(text) for text in short})
    for value in range(1 << PEEK):
        rest = f"{value:0{PEEK}b}"
        entry = count = 0
        while count < 2:
            text = next((rest[:size] for size in sizes if rest[:size] in short), None)
            if text is None:
                break
            entry |= short[text] << 8 * count
            count += 1
            rest = rest[len(text) :]
        yield entry | count << 16 | (PEEK - len(rest) if count else 0) << 24


def rows(numbers: Iterable[int], form: str) -> str:
    """Return the numbers as lines of C."""
    texts = [format(number, form) for number in numbers]
    width = 116 // (max(map(len, texts)) + 2)
    return ",\n".join("    " + ", ".join(texts[at : at + width]) for at in range(0, len(texts), width))


def header() -> str:
    """Return `huffman.h`."""
    table = codes()
    longer = {bits: list(symbols) for bits, symbols in LENGTHS.items() if bits > PEEK}
    # The first code of each length, at the left of 32 bits.
    firsts = [table[symbols[0]][0] << 32 - bits for bits, symbols in longer.items()]
    offsets = [sum(map(len, list(longer.values())[:at])) for at in range(len(longer))]
    return f"""\
/* The Huffman code of HPACK (RFC 7541 appendix B). Written by tables.py, which says how; not to be edited. */
#ifndef FASTSERVE_HTTP2_HUFFMAN_H
#define FASTSERVE_HTTP2_HUFFMAN_H

#include <stdint.h>

/* For the next {PEEK} bits: first symbol, second symbol << 8, how many << 16, their bits << 24; none: a longer code. */
static const uint32_t fastserve_huffman_peek[{1 << PEEK}] = {{
{rows(peeks(), "#010x")}
}};

/* Longer codes by length: bits, the first code at the left of 32 bits, and where its symbols begin. */
enum {{ FASTSERVE_HUFFMAN_LENGTHS = {len(longer)} }};
static const uint8_t fastserve_huffman_bits[{len(longer)}] = {{
{rows(longer, "d")}
}};
static const uint32_t fastserve_huffman_first[{len(longer)}] = {{
{rows(firsts, "#010x")}
}};
static const uint8_t fastserve_huffman_offset[{len(longer)}] = {{
{rows(offsets, "d")}
}};
static const uint16_t fastserve_huffman_symbols[{sum(map(len, longer.values()))}] = {{
{rows((symbol for symbols in longer.values() for symbol in symbols), "d")}
}};

/* By byte: the code, and its bits. */
static const uint32_t fastserve_huffman_code[256] = {{
{rows((table[byte][0] for byte in range(256)), "#x")}
}};
static const uint8_t fastserve_huffman_size[256] = {{
{rows((table[byte][1] for byte in range(256)), "d")}
}};

#endif
"""


if __name__ == "__main__":
    from pathlib import Path

    Path(sys.argv[1]).write_text(header(), "utf-8")
