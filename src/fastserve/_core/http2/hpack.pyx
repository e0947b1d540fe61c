# setup.py: hot
"""HPACK (RFC 7541): header blocks into fields, and fields into header blocks.

Both tables are rings that grow from 16 entries, up to the 128 that 4,096 bytes can hold.

The encoder puts a field into its table when it sends it for the second time: it remembers a hash of each that it sent
once. Content-Length never comes there, nor do fields whose value somebody could want to guess (section 7.1).
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from ..memory.buffer cimport Buffer
from ..python cimport (
    PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE, PyMem_Calloc, PyMem_Free, PyMem_Malloc,
    PyMem_Realloc, PyObject, Py_DECREF, Py_INCREF,
)
from .fields cimport FieldSink, field_name, kind_of_field, kind_of_name
from .huffman cimport decoded_room, huffman_decode, huffman_encode, huffman_size
from .tables import STATIC

cdef extern from "Python.h":
    PyObject* PyTuple_GET_ITEM(object items, Py_ssize_t index) noexcept  # borrowed
    int _PyBytes_Resize(PyObject** data, Py_ssize_t size) except -1
    PyObject* PyBytes_OfSize "PyBytes_FromStringAndSize"(const char* data, Py_ssize_t size) except NULL

cdef enum:
    OVERHEAD = 32  # of an entry (section 4.1)
    FIRST_CAPACITY = 16
    STATIC_COUNT = 61
    CONTENT_LENGTH = 28  # its index
    SEEN = 64  # words of four marks
    SCRATCH = 2048  # bytes of a decoded string that come to lie on the stack
    MOST = 0x3FFFFFFF  # more than any length or index that can be right
    # The first bits of a field (section 6) and how many bits of its number follow.
    INDEXED = 0x80
    INCREMENTAL = 0x40
    SIZE_UPDATE = 0x20
    NEVER_INDEXED = 0x10
    NOT_INDEXED = 0x00
    HUFFMAN = 0x80

cdef list static_fields = []  # what the entries borrow
cdef Entry static_entries[STATIC_COUNT]


cdef inline bytes part(PyObject* field, Py_ssize_t index):
    return <bytes>PyTuple_GET_ITEM(<object>field, index)


# Reading


cdef struct Input:
    const unsigned char* at
    const unsigned char* end


cdef inline int read_integer(Input* block, int prefix, Py_ssize_t* value) noexcept:
    """Read an integer (section 5.1) whose first byte has `prefix` bits of it; return 1 where it is cut or too large."""
    cdef int first = (1 << prefix) - 1, shift = 0
    cdef uint64_t found
    cdef unsigned char byte
    if block.at == block.end:
        return 1
    found = block.at[0] & first
    block.at += 1
    if found == <uint64_t>first:
        while True:
            if block.at == block.end or shift > 28:
                return 1
            byte = block.at[0]
            block.at += 1
            found += <uint64_t>(byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if found > MOST:
            return 1
    value[0] = <Py_ssize_t>found
    return 0


cdef inline int read_string(Input* block, const unsigned char** data, Py_ssize_t* size, bint* coded) noexcept:
    """Find a string (section 5.2), as it is coded; return 1 where it is cut."""
    if block.at == block.end:
        return 1
    coded[0] = block.at[0] & HUFFMAN
    if read_integer(block, 7, size):
        return 1
    if size[0] > block.end - block.at:
        return 1
    data[0] = block.at
    block.at += size[0]
    return 0


cdef bytes decode_long(const unsigned char* data, Py_ssize_t size):
    """Return a string whatever its size, or None for what is not in Huffman code."""
    cdef PyObject* text = PyBytes_OfSize(NULL, decoded_room(size))
    cdef Py_ssize_t decoded = huffman_decode(data, size, <unsigned char*>PyBytes_AS_STRING(<object>text))
    if decoded >= 0:
        _PyBytes_Resize(&text, decoded)
    result = <object>text if decoded >= 0 else None
    Py_DECREF(<object>text)
    return result


cdef bytes read_value(const unsigned char* data, Py_ssize_t size, bint coded):
    """Return a string as an object, or None for what is not in Huffman code."""
    cdef unsigned char scratch[SCRATCH]
    if not coded:
        return PyBytes_FromStringAndSize(<const char*>data, size)
    if decoded_room(size) > SCRATCH:
        return decode_long(data, size)
    size = huffman_decode(data, size, scratch)
    return PyBytes_FromStringAndSize(<char*>scratch, size) if size >= 0 else None


cdef bytes read_name(const unsigned char* data, Py_ssize_t size, bint coded, int* kind):
    """Return a name as an object, and its kind, or None for what is not in Huffman code."""
    cdef unsigned char scratch[SCRATCH]
    cdef bytes name
    if not coded:
        return field_name(<const char*>data, size, kind)
    if decoded_room(size) > SCRATCH:
        name = decode_long(data, size)
        if name is not None:
            kind[0] = kind_of_name(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        return name
    size = huffman_decode(data, size, scratch)
    return field_name(<char*>scratch, size, kind) if size >= 0 else None


cdef class Decoder:
    def __cinit__(self):
        self.max_size = TABLE_SIZE

    def __dealloc__(self):
        self.evict(0)
        PyMem_Free(self.entries)

    cdef int decode(self, const unsigned char* block, Py_ssize_t size, FieldSink sink) except -1:
        """Give `sink` the fields of a whole block; return 1 where its coding is wrong, after which none can be read."""
        cdef Input input = Input(block, block + size)
        cdef bint begun = False, coded = False
        cdef unsigned char first
        cdef Py_ssize_t number = 0, length = 0
        cdef const unsigned char* data = NULL
        cdef Entry* entry
        cdef int kind = 0, name_kind = 0
        cdef bytes name, value
        cdef tuple field
        while input.at < input.end:
            first = input.at[0]
            if first & INDEXED:
                if read_integer(&input, 7, &number):
                    return self.fault(b"malformed index")
                entry = self.entry(number)
                if entry == NULL:
                    return self.fault(b"index beyond the tables")
                begun = True
                sink.add(<tuple>entry.field, entry.kind, entry.size)
                continue
            if first & 0xE0 == SIZE_UPDATE:
                if read_integer(&input, 5, &number) or begun or self.resize(number):
                    return self.fault(b"table size that is wrong here")
                continue
            begun = True
            if read_integer(&input, 6 if first & INCREMENTAL else 4, &number):
                return self.fault(b"malformed index")
            if number:
                entry = self.entry(number)
                if entry == NULL:
                    return self.fault(b"index beyond the tables")
                name = part(entry.field, 0)
                name_kind = entry.name_kind
            else:
                if read_string(&input, &data, &length, &coded):
                    return self.fault(b"incomplete field name")
                name = read_name(data, length, coded, &name_kind)
                if name is None:
                    return self.fault(b"malformed Huffman code")
            if read_string(&input, &data, &length, &coded):
                return self.fault(b"incomplete field value")
            value = read_value(data, length, coded)
            if value is None:
                return self.fault(b"malformed Huffman code")
            field = (name, value)
            kind = kind_of_field(name_kind, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
            length = PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value) + OVERHEAD
            if first & INCREMENTAL:
                self.insert(field, length, kind, name_kind)
            sink.add(field, kind, length)
        return 0

    cdef int fault(self, const char* reason) noexcept:
        self.reason = reason
        return 1

    cdef int resize(self, Py_ssize_t size) noexcept:
        """The encoder changes the size of its table (section 6.3); return 1 for one that it may not have."""
        if size > TABLE_SIZE:
            return 1
        self.max_size = size
        self.evict(size)
        return 0

    cdef Entry* entry(self, Py_ssize_t index) noexcept:
        """Return what an index stands for (section 2.3.3), NULL for nothing."""
        if index <= STATIC_COUNT:
            return &static_entries[index - 1] if index else NULL
        index -= STATIC_COUNT + 1
        if index >= self.count:
            return NULL
        return &self.entries[(self.newest - index) & (self.capacity - 1)]

    cdef int insert(self, tuple field, Py_ssize_t size, int kind, int name_kind) except -1:
        """Put a field into the table, or empty it for one larger than the table (section 4.4)."""
        cdef Entry* entry
        if size > self.max_size:
            self.evict(0)
            return 0
        self.evict(self.max_size - size)
        if self.count == self.capacity:
            self.grow()
        self.newest = (self.newest + 1) & (self.capacity - 1)
        entry = &self.entries[self.newest]
        Py_INCREF(field)
        entry.field = <PyObject*>field
        entry.size = <uint32_t>size
        entry.kind = <uint8_t>kind
        entry.name_kind = <uint8_t>name_kind
        self.size += size
        self.count += 1
        return 0

    cdef int grow(self) except -1:
        """Double the ring, with the oldest entry first."""
        cdef Py_ssize_t capacity = self.capacity * 2 if self.capacity else FIRST_CAPACITY, index
        cdef Entry* entries = <Entry*>PyMem_Malloc(capacity * sizeof(Entry))
        if entries == NULL:
            raise MemoryError
        for index in range(self.count):
            entries[index] = self.entries[(self.newest + 1 + index) & (self.capacity - 1)]
        PyMem_Free(self.entries)
        self.entries = entries
        self.capacity = capacity
        self.newest = (self.count - 1) & (capacity - 1)
        return 0

    cdef void evict(self, Py_ssize_t size) noexcept:
        """Drop the oldest entries until the rest have at most `size` bytes."""
        cdef Entry* oldest
        while self.size > size:
            oldest = &self.entries[(self.newest - self.count + 1) & (self.capacity - 1)]
            self.size -= oldest.size
            self.count -= 1
            Py_DECREF(<object>oldest.field)


# Writing


cdef enum:
    # How a field is sent that is not in a table.
    REMEMBER
    PLAINLY
    SECRETLY

cdef struct Name:
    # A name that has a static index, or its own way to be sent.
    PyObject* name
    int index  # of the first static entry with it, 0 for none
    uint8_t way
    uint8_t following  # 1 + the place of the next in the same bucket

cdef enum:
    NAMES = 128  # buckets, and room for names

# Fields that hold, or ask for, what proves who somebody is.
cdef frozenset SECRET = frozenset((
    b"authentication-info", b"authorization", b"cookie", b"proxy-authentication-info", b"proxy-authorization",
    b"set-cookie", b"x-api-key", b"x-auth-token", b"x-csrf-token", b"x-csrftoken", b"x-xsrf-token",
))
cdef frozenset CHANGING = frozenset((b"content-length",))

cdef Name names[NAMES]
cdef uint8_t name_buckets[NAMES]
cdef list status_values = [None] * 1000
cdef bytes status_name = b":status"


cdef inline uint64_t spread(uint64_t word) noexcept:
    return word * <uint64_t>0x9E3779B97F4A7C15  # odd, with its bits well spread


cdef inline uint64_t mix(uint64_t hash, uint64_t word) noexcept:
    hash = spread(hash ^ word)
    return hash ^ (hash >> 32)


cdef inline uint32_t hash_of(const char* text, Py_ssize_t size, uint32_t start) noexcept:
    """Return a hash; entries are compared whole, so nothing depends on how good it is but time."""
    cdef uint64_t hash = start ^ spread(<uint64_t>size), word
    cdef uint32_t half
    cdef const char* end = text + size
    if size >= 8:
        while end - text > 8:
            memcpy(&word, text, 8)
            hash = mix(hash, word)
            text += 8
        memcpy(&word, end - 8, 8)
    elif size >= 4:
        memcpy(&half, text, 4)
        word = half
        memcpy(&half, end - 4, 4)
        word |= <uint64_t>half << 32
    elif size:
        word = <unsigned char>text[0] | <uint64_t><unsigned char>text[size >> 1] << 8 | <uint64_t><unsigned char>text[size - 1] << 16
    else:
        word = 0
    return <uint32_t>(spread(mix(hash, word)) >> 32)


cdef inline bint same(PyObject* one, bytes other) noexcept:
    cdef Py_ssize_t size
    if one == <PyObject*>other:
        return True
    size = PyBytes_GET_SIZE(other)
    return (
        PyBytes_GET_SIZE(<object>one) == size
        and memcmp(PyBytes_AS_STRING(<object>one), PyBytes_AS_STRING(other), size) == 0
    )


cdef inline unsigned char* put_integer(unsigned char* to, int pattern, int prefix, Py_ssize_t value) noexcept:
    """Write an integer (section 5.1) into at most 6 bytes; return where it ends."""
    cdef int first = (1 << prefix) - 1
    if value < first:
        to[0] = <unsigned char>(pattern | value)
        return to + 1
    to[0] = <unsigned char>(pattern | first)
    to += 1
    value -= first
    while value >= 0x80:
        to[0] = <unsigned char>(value & 0x7F | 0x80)
        to += 1
        value >>= 7
    to[0] = <unsigned char>value
    return to + 1


cdef unsigned char* put_string(unsigned char* to, bytes text) noexcept:
    """Write a string (section 5.2), in Huffman code where that is shorter."""
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(text)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text), coded = huffman_size(data, size)
    if coded < size:
        to = put_integer(to, HUFFMAN, 7, coded)
        huffman_encode(data, size, to)
        return to + coded
    to = put_integer(to, 0, 7, size)
    memcpy(to, data, size)
    return to + size


cdef Name* find_name(bytes name, uint32_t hash) noexcept:
    cdef int place = name_buckets[hash & (NAMES - 1)]
    while place:
        if same(names[place - 1].name, name):
            return &names[place - 1]
        place = names[place - 1].following
    return NULL


cdef inline uint32_t hash_of_bytes(bytes text, uint32_t start) noexcept:
    return hash_of(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), start)


cdef class Encoder:
    def __cinit__(self):
        self.max_size = self.told_size = self.least_size = TABLE_SIZE

    def __dealloc__(self):
        self.evict(0)
        PyMem_Free(self.entries)
        PyMem_Free(self.buckets)
        PyMem_Free(self.seen)

    cdef void limit(self, Py_ssize_t size) noexcept:
        """The decoder allows a table of that size; of more than TABLE_SIZE, no more is used."""
        self.max_size = min(size, <Py_ssize_t>TABLE_SIZE)
        self.least_size = min(self.least_size, self.max_size)
        self.evict(self.max_size)

    cdef int begin(self, Buffer out) except -1:
        """Tell first how the table's size has changed since the last block (section 4.2)."""
        cdef unsigned char* to
        cdef unsigned char* end
        if self.least_size == self.told_size and self.max_size == self.told_size:
            return 0
        to = end = <unsigned char*>out.reserve(12)
        if self.least_size < self.told_size:
            end = put_integer(end, SIZE_UPDATE, 5, self.least_size)
            self.told_size = self.least_size
        if self.max_size != self.told_size:
            end = put_integer(end, SIZE_UPDATE, 5, self.max_size)
        self.told_size = self.least_size = self.max_size
        out.size += end - to
        return 0

    cdef int field(self, Buffer out, bytes name, bytes value) except -1:
        cdef uint32_t name_hash = hash_of_bytes(name, 0), hash = hash_of_bytes(value, name_hash)
        cdef Py_ssize_t name_index = 0, size
        cdef Py_ssize_t index = self.find(name, value, name_hash, hash, &name_index)
        cdef unsigned char* to
        cdef unsigned char* end
        cdef Name* known
        cdef int pattern = NOT_INDEXED, prefix = 4
        if index:
            to = <unsigned char*>out.reserve(6)
            out.size += put_integer(to, INDEXED, 7, index) - to
            return 0
        known = find_name(name, name_hash)
        size = PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value)
        to = <unsigned char*>out.reserve(size + 18)  # three integers; a string in Huffman code is not longer
        if known != NULL and known.index:
            name_index = index = known.index
            while index <= STATIC_COUNT and same(PyTuple_GET_ITEM(<object>static_entries[index - 1].field, 0), name):
                if same(PyTuple_GET_ITEM(<object>static_entries[index - 1].field, 1), value):
                    out.size += put_integer(to, INDEXED, 7, index) - to
                    return 0
                index += 1
        size += OVERHEAD
        if known != NULL and known.way == SECRETLY:
            pattern = NEVER_INDEXED
        elif (known == NULL or known.way == REMEMBER) and size <= self.max_size // 2 and self.was_seen(hash):
            # Half: what would push out most of the table is not worth it.
            self.insert(name, value, name_hash, hash, size)
            pattern = INCREMENTAL
            prefix = 6
        end = put_integer(to, pattern, prefix, name_index)
        if name_index == 0:
            end = put_string(end, name)
        out.size += put_string(end, value) - to
        return 0

    cdef int status(self, Buffer out, int status) except -1:
        cdef bytes value = status_values[status]
        if value is None:
            value = status_values[status] = b"%d" % status
        return self.field(out, status_name, value)

    cdef int content_length(self, Buffer out, long long length) except -1:
        """Append a Content-Length field, which no table is to have."""
        cdef char* to = out.reserve(3)
        cdef Py_ssize_t start
        to[0] = NOT_INDEXED | 15
        to[1] = CONTENT_LENGTH - 15
        out.size += 3
        start = out.size
        out.append_decimal(length)
        out.data[start - 1] = <char>(out.size - start)
        return 0

    cdef Py_ssize_t find(self, bytes name, bytes value, uint32_t name_hash, uint32_t hash, Py_ssize_t* name_index) noexcept:
        """Return the index of a field in the table, 0 for none, then with that of an entry with its name."""
        cdef uint32_t age, last = 0
        cdef Sent* entry
        if self.count == 0:
            return 0
        age = self.inserted - self.buckets[name_hash & (self.capacity - 1)]
        while age < self.count and age >= last:
            entry = &self.entries[(self.inserted - age) & (self.capacity - 1)]
            if entry.hash == hash and same(entry.value, value) and same(entry.name, name):
                return STATIC_COUNT + 1 + age
            if name_index[0] == 0 and entry.name_hash == name_hash and same(entry.name, name):
                name_index[0] = STATIC_COUNT + 1 + age
            last = age + 1
            age = self.inserted - entry.older
        return 0

    cdef bint was_seen(self, uint32_t hash) except -1:
        """Return whether a field of this hash was among the last four of its word, and remember it."""
        cdef uint64_t mark = hash >> 16 | 1, word  # never 0, which stands for nothing
        if self.seen == NULL:
            self.seen = <uint64_t*>PyMem_Calloc(SEEN, sizeof(uint64_t))
            if self.seen == NULL:
                raise MemoryError
        word = self.seen[hash & (SEEN - 1)]
        if word & 0xFFFF == mark or word >> 16 & 0xFFFF == mark or word >> 32 & 0xFFFF == mark or word >> 48 == mark:
            return True
        self.seen[hash & (SEEN - 1)] = word << 16 | mark
        return False

    cdef int insert(self, bytes name, bytes value, uint32_t name_hash, uint32_t hash, Py_ssize_t size) except -1:
        cdef Sent* entry
        cdef uint32_t* bucket
        self.evict(self.max_size - size)
        if self.count == self.capacity:
            self.grow()
        self.inserted += 1
        entry = &self.entries[self.inserted & (self.capacity - 1)]
        bucket = &self.buckets[name_hash & (self.capacity - 1)]
        Py_INCREF(name)
        Py_INCREF(value)
        entry.name = <PyObject*>name
        entry.value = <PyObject*>value
        entry.size = <uint32_t>size
        entry.hash = hash
        entry.name_hash = name_hash
        entry.older = bucket[0]
        bucket[0] = self.inserted
        self.size += size
        self.count += 1
        return 0

    cdef int grow(self) except -1:
        """Double the ring and the buckets, and chain the entries again."""
        cdef uint32_t capacity = self.capacity * 2 if self.capacity else FIRST_CAPACITY, number
        cdef Sent* entries = <Sent*>PyMem_Malloc(capacity * sizeof(Sent))
        cdef uint32_t* buckets = <uint32_t*>PyMem_Malloc(capacity * sizeof(uint32_t))
        cdef Sent* entry
        if entries == NULL or buckets == NULL:
            PyMem_Free(entries)
            PyMem_Free(buckets)
            raise MemoryError
        for number in range(capacity):
            buckets[number] = self.inserted - self.count  # older than all: nothing
        number = self.inserted - self.count
        while number != self.inserted:
            number += 1
            entry = &entries[number & (capacity - 1)]
            entry[0] = self.entries[number & (self.capacity - 1)]
            entry.older = buckets[entry.name_hash & (capacity - 1)]
            buckets[entry.name_hash & (capacity - 1)] = number
        PyMem_Free(self.entries)
        PyMem_Free(self.buckets)
        self.entries = entries
        self.buckets = buckets
        self.capacity = capacity
        return 0

    cdef void evict(self, Py_ssize_t size) noexcept:
        """Drop the oldest entries until the rest have at most `size` bytes."""
        cdef Sent* oldest
        while self.size > size:
            oldest = &self.entries[(self.inserted - self.count + 1) & (self.capacity - 1)]
            self.size -= oldest.size
            self.count -= 1
            Py_DECREF(<object>oldest.name)
            Py_DECREF(<object>oldest.value)


cdef int fill() except -1:
    """Make the tables that all connections share."""
    cdef int index = 0, count = 0, kind = 0
    cdef bytes name, value
    cdef Entry* entry
    for name, value in STATIC:
        name = field_name(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), &kind)
        field = (name, value)
        static_fields.append(field)
        entry = &static_entries[index]
        entry.field = <PyObject*>field
        entry.size = <uint32_t>(len(name) + len(value) + OVERHEAD)
        entry.name_kind = <uint8_t>kind
        entry.kind = <uint8_t>kind_of_field(kind, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
        index += 1
        if find_name(name, hash_of_bytes(name, 0)) == NULL:
            add_name(&count, name, index)
    for name in sorted(SECRET):
        if find_name(name, hash_of_bytes(name, 0)) == NULL:
            add_name(&count, name, 0)
    return 0


cdef list kept_names = []


cdef int add_name(int* count, bytes name, int index) except -1:
    cdef Name* entry = &names[count[0]]
    cdef uint8_t* bucket = &name_buckets[hash_of_bytes(name, 0) & (NAMES - 1)]
    kept_names.append(name)
    entry.name = <PyObject*>name
    entry.index = index
    entry.way = SECRETLY if name in SECRET else PLAINLY if name in CHANGING else REMEMBER
    entry.following = bucket[0]
    count[0] += 1
    bucket[0] = <uint8_t>count[0]
    return 0


fill()
