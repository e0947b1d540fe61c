"""The Huffman code of HPACK (RFC 7541 section 5.2).

Decoding keeps bits at the left of 64. Their first 11 say, by one table of 8 KiB that huffman.h has, which one or two
symbols come; only the rare symbols of longer codes are found by the range of their length.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "http2/huffman.h":
    const uint32_t* fastserve_huffman_peek
    int FASTSERVE_HUFFMAN_LENGTHS
    const uint8_t* fastserve_huffman_bits
    const uint32_t* fastserve_huffman_first
    const uint8_t* fastserve_huffman_offset
    const uint16_t* fastserve_huffman_symbols
    const uint32_t* fastserve_huffman_code
    const uint8_t* fastserve_huffman_size

cdef enum:
    PEEK = 11  # bits
    LONGEST = 30  # bits of a code
    END = 256  # the symbol that nobody may send whole


cdef inline uint64_t load(const unsigned char* data) noexcept:
    return (
        <uint64_t>data[0] << 56 | <uint64_t>data[1] << 48 | <uint64_t>data[2] << 40 | <uint64_t>data[3] << 32
        | <uint64_t>data[4] << 24 | <uint64_t>data[5] << 16 | <uint64_t>data[6] << 8 | <uint64_t>data[7]
    )


cdef int long_symbol(uint64_t held, int* bits) noexcept:
    """Return the symbol, of a code longer than PEEK bits, at the left of `held`."""
    cdef uint32_t left = <uint32_t>(held >> 32)
    cdef int at = 0
    while at + 1 < FASTSERVE_HUFFMAN_LENGTHS and left >= fastserve_huffman_first[at + 1]:
        at += 1
    bits[0] = fastserve_huffman_bits[at]
    left = (left - fastserve_huffman_first[at]) >> (32 - bits[0])
    return fastserve_huffman_symbols[fastserve_huffman_offset[at] + left]


cdef Py_ssize_t huffman_decode(const unsigned char* data, Py_ssize_t size, unsigned char* out) noexcept:
    """Decode into `out`, which has decoded_room(); return how many bytes, -1 for what no encoder writes."""
    cdef const unsigned char* end = data + size
    cdef unsigned char* start = out
    cdef uint64_t held = 0
    cdef int bits = 0, used = 0, symbol
    cdef uint32_t entry
    while True:
        if end - data >= 8:
            held |= load(data) >> bits
            data += (63 - bits) >> 3
            bits |= 56
        else:
            while bits <= 56 and data < end:
                held |= <uint64_t>data[0] << (56 - bits)
                data += 1
                bits += 8
        while bits >= PEEK:
            entry = fastserve_huffman_peek[held >> (64 - PEEK)]
            if entry >= 1 << 24:
                out[0] = <unsigned char>entry
                out[1] = <unsigned char>(entry >> 8)
                out += entry >> 16 & 3
                used = entry >> 24
            else:
                if bits < LONGEST:
                    break
                symbol = long_symbol(held, &used)
                if symbol == END:
                    return -1
                out[0] = <unsigned char>symbol
                out += 1
            held <<= used
            bits -= used
        if data == end:
            return decode_rest(held, bits, start, out)


cdef Py_ssize_t decode_rest(uint64_t held, int bits, unsigned char* start, unsigned char* out) noexcept:
    """Decode the last bits, less than LONGEST, which end with the padding: at most 7 of them, all 1."""
    cdef uint32_t entry
    cdef int used, symbol
    held |= ~<uint64_t>0 >> bits  # as if the padding went on, so that the rest of a code is not taken for one
    while bits > 0:
        entry = fastserve_huffman_peek[held >> (64 - PEEK)]
        if entry >= 1 << 24:
            symbol = entry & 255
            used = fastserve_huffman_size[symbol]
        else:
            symbol = long_symbol(held, &used)
        if used > bits:
            break
        out[0] = <unsigned char>symbol
        out += 1
        held = held << used | ((<uint64_t>1 << used) - 1)
        bits -= used
    if bits > 7 or held != ~<uint64_t>0:
        return -1
    return out - start


cdef Py_ssize_t huffman_size(const unsigned char* data, Py_ssize_t size) noexcept:
    """Return how many bytes these become."""
    cdef Py_ssize_t bits = 0, at
    for at in range(size):
        bits += fastserve_huffman_size[data[at]]
    return (bits + 7) >> 3


cdef void huffman_encode(const unsigned char* data, Py_ssize_t size, unsigned char* out) noexcept:
    """Write huffman_size() bytes."""
    cdef uint64_t held = 0
    cdef int bits = 0
    cdef Py_ssize_t at
    for at in range(size):
        held = held << fastserve_huffman_size[data[at]] | fastserve_huffman_code[data[at]]
        bits += fastserve_huffman_size[data[at]]
        if bits >= 32:
            bits -= 32
            out[0] = <unsigned char>(held >> (bits + 24))
            out[1] = <unsigned char>(held >> (bits + 16))
            out[2] = <unsigned char>(held >> (bits + 8))
            out[3] = <unsigned char>(held >> bits)
            out += 4
    while bits >= 8:
        bits -= 8
        out[0] = <unsigned char>(held >> bits)
        out += 1
    if bits:
        out[0] = <unsigned char>(held << (8 - bits) | 0xFF >> bits)
