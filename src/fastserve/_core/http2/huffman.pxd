"""The Huffman code of HPACK (RFC 7541 section 5.2)."""

# Room for what `size` coded bytes decode to: the shortest code has 5 bits, and two symbols are written at once.
cdef inline Py_ssize_t decoded_room(Py_ssize_t size) noexcept:
    return size * 8 // 5 + 2

cdef Py_ssize_t huffman_decode(const unsigned char* data, Py_ssize_t size, unsigned char* out) noexcept
cdef Py_ssize_t huffman_size(const unsigned char* data, Py_ssize_t size) noexcept
cdef void huffman_encode(const unsigned char* data, Py_ssize_t size, unsigned char* out) noexcept
