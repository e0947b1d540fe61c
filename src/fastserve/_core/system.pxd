"""System calls on sockets and files. Where the platform has none, each function says so, and the transport is used."""


cdef extern from "system.h":
    const bint FASTSERVE_DIRECT_WRITES  # false where only transports can write
    # All return how many bytes the kernel took (0: would block), or -errno.
    Py_ssize_t fastserve_send(int fd, const void* data, size_t size) nogil
    Py_ssize_t fastserve_send2(int fd, const void* first, size_t first_size,
                               const void* second, size_t second_size) nogil
    # `data` in slices, each after a head of its own: MOST_SLICES at most.
    Py_ssize_t fastserve_send_slices(int fd, const void* first, size_t first_size, const char* heads, size_t head_size,
                                     const char* data, size_t size, size_t slice) nogil
    enum:
        FASTSERVE_MOST_SLICES
    Py_ssize_t fastserve_send_more(int fd, const void* data, size_t size) nogil  # more follows at once
    # Bytes received; 0 or less if there are none, for any reason.
    Py_ssize_t fastserve_receive(int fd, void* data, size_t size) nogil
    const bint FASTSERVE_SENDFILE  # false without a sendfile(2) like that of Linux
    enum:
        FASTSERVE_END  # the file has ended
        FASTSERVE_FULL  # the socket takes no more for now
        FASTSERVE_CANNOT  # not this kind of file
    # Bytes sent, or one of these, or another negative number if the connection or the file is broken.
    long long fastserve_sendfile(int fd, int file, long long offset, long long size) nogil
    int fastserve_end_writing(int fd) nogil  # shutdown(2) of the writing side; -1 after an error
    bint fastserve_hung_up(int fd) nogil  # the connection is reset, or closed on both sides
    bint fastserve_peer_ended(int fd) nogil  # or by the peer, as far as that can be seen while nothing is read
    bint fastserve_ipv4(int fd, bint peer, unsigned char* host, int* port) nogil  # 4 bytes; false: no IPv4 address
    int fastserve_unacknowledged(int fd) nogil  # bytes in the kernel that the peer has not got; -1: unknown
    int fastserve_unread(int fd) nogil  # bytes received by the kernel and not read; -1: unknown
    double fastserve_silence(int fd) nogil  # seconds since data came from the peer; -1: unknown
    void fastserve_limit_unsent(int fd) nogil  # not writable while 64 KiB wait to be sent
    bint fastserve_wake_at(int fd, int size) nogil  # have poll() tell only of so many bytes; false where it cannot
    void fastserve_keep_freed() nogil  # have the C library keep what large reads take and free

    struct fastserve_identity:
        long long device
        long long number
        long long size
        long long modified  # ns
        long long changed
    const bint FASTSERVE_IDENTIFIES  # false where the next finds nothing
    # Of the regular file at `path`, or of `fd` if that is NULL. False if there is none.
    bint fastserve_identify(const char* path, int fd, fastserve_identity* found) nogil
    int fastserve_open(const char* path) nogil  # for reading; return a descriptor or -1
    enum:
        FASTSERVE_NO_BENEATH  # openat2(2) is missing
    # Open `path` for reading if it leads nowhere out of `directory`. Return a descriptor, -errno or the value above.
    int fastserve_open_beneath(const char* directory, const char* path) nogil
