/* System calls on sockets and files. Where the platform has none, each function says so. */
#ifndef FASTSERVE_SYSTEM_H
#define FASTSERVE_SYSTEM_H

#include <stdlib.h>

enum { FASTSERVE_MOST_SLICES = 62 };

#ifdef _WIN32
enum { FASTSERVE_DIRECT_WRITES = 0 };
static CYTHON_INLINE Py_ssize_t fastserve_send_slices(int fd, const void *first, size_t first_size, const char *heads,
                                                      size_t head_size, const char *data, size_t size, size_t slice) {
    (void)fd; (void)first; (void)first_size; (void)heads; (void)head_size; (void)data; (void)size; (void)slice;
    return -1;
}
static CYTHON_INLINE Py_ssize_t fastserve_send(int fd, const void *data, size_t size) {
    (void)fd; (void)data; (void)size;
    return -1;
}
static CYTHON_INLINE Py_ssize_t fastserve_send2(int fd, const void *first, size_t first_size,
                                                const void *second, size_t second_size) {
    (void)fd; (void)first; (void)first_size; (void)second; (void)second_size;
    return -1;
}
static CYTHON_INLINE Py_ssize_t fastserve_send_more(int fd, const void *data, size_t size) {
    (void)fd; (void)data; (void)size;
    return -1;
}
static CYTHON_INLINE Py_ssize_t fastserve_receive(int fd, void *data, size_t size) {
    (void)fd; (void)data; (void)size;
    return -1;
}
static CYTHON_INLINE int fastserve_end_writing(int fd) { (void)fd; return -1; }
static CYTHON_INLINE int fastserve_unacknowledged(int fd) { (void)fd; return -1; }
static CYTHON_INLINE int fastserve_unread(int fd) { (void)fd; return -1; }
static CYTHON_INLINE double fastserve_silence(int fd) { (void)fd; return -1; }
static CYTHON_INLINE void fastserve_limit_unsent(int fd) { (void)fd; }
static CYTHON_INLINE int fastserve_wake_at(int fd, int size) { (void)fd; (void)size; return 0; }
static CYTHON_INLINE int fastserve_hung_up(int fd) { (void)fd; return 0; }
static CYTHON_INLINE int fastserve_peer_ended(int fd) { (void)fd; return 0; }
static CYTHON_INLINE int fastserve_ipv4(int fd, int peer, unsigned char *host, int *port) {
    (void)fd; (void)peer; (void)host; (void)port;
    return 0;
}
#else
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#ifdef __linux__
#include <linux/sockios.h>
#include <netinet/tcp.h>
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
enum { FASTSERVE_DIRECT_WRITES = 1 };
static CYTHON_INLINE Py_ssize_t fastserve_result(Py_ssize_t sent) {
    if (sent >= 0) return sent;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS) return 0;
    return -(Py_ssize_t)errno;
}
static CYTHON_INLINE Py_ssize_t fastserve_send(int fd, const void *data, size_t size) {
    return fastserve_result(send(fd, data, size, MSG_NOSIGNAL));
}
#ifndef MSG_DONTWAIT
#define MSG_DONTWAIT 0
#endif
static CYTHON_INLINE Py_ssize_t fastserve_receive(int fd, void *data, size_t size) {
    return recv(fd, data, size, MSG_DONTWAIT);
}
#ifndef MSG_MORE
#define MSG_MORE 0
#endif
static CYTHON_INLINE Py_ssize_t fastserve_send_more(int fd, const void *data, size_t size) {
    return fastserve_result(send(fd, data, size, MSG_NOSIGNAL | MSG_MORE));
}
static CYTHON_INLINE Py_ssize_t fastserve_send2(int fd, const void *first, size_t first_size,
                                                const void *second, size_t second_size) {
    struct iovec parts[2];
    struct msghdr message;
    memset(&message, 0, sizeof(message));
    parts[0].iov_base = (void *)first;
    parts[0].iov_len = first_size;
    parts[1].iov_base = (void *)second;
    parts[1].iov_len = second_size;
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    return fastserve_result(sendmsg(fd, &message, MSG_NOSIGNAL));
}
static CYTHON_INLINE Py_ssize_t fastserve_send_slices(int fd, const void *first, size_t first_size, const char *heads,
                                                      size_t head_size, const char *data, size_t size, size_t slice) {
    struct iovec parts[1 + 2 * FASTSERVE_MOST_SLICES];
    struct msghdr message;
    size_t count = 0, part;
    memset(&message, 0, sizeof(message));
    if (first_size) {
        parts[count].iov_base = (void *)first;
        parts[count++].iov_len = first_size;
    }
    while (size && count + 1 < sizeof(parts) / sizeof(parts[0])) {
        part = size < slice ? size : slice;
        parts[count].iov_base = (void *)heads;
        parts[count++].iov_len = head_size;
        parts[count].iov_base = (void *)data;
        parts[count++].iov_len = part;
        heads += head_size;
        data += part;
        size -= part;
    }
    message.msg_iov = parts;
    message.msg_iovlen = count;
    return fastserve_result(sendmsg(fd, &message, MSG_NOSIGNAL));
}
static CYTHON_INLINE int fastserve_end_writing(int fd) { return shutdown(fd, SHUT_WR); }
static CYTHON_INLINE int fastserve_hung_up(int fd) {
    struct pollfd polled = {fd, 0, 0};
    return poll(&polled, 1, 0) > 0 && (polled.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}
#ifndef POLLRDHUP
#define POLLRDHUP 0
#endif
static CYTHON_INLINE int fastserve_peer_ended(int fd) {
    struct pollfd polled = {fd, POLLRDHUP, 0};
    return poll(&polled, 1, 0) > 0 && (polled.revents & (POLLERR | POLLHUP | POLLNVAL | POLLRDHUP)) != 0;
}
static CYTHON_INLINE int fastserve_ipv4(int fd, int peer, unsigned char *host, int *port) {
    struct sockaddr_storage name;
    struct sockaddr_in *address = (struct sockaddr_in *)&name;
    struct sockaddr_in6 *longer = (struct sockaddr_in6 *)&name;
    socklen_t size = sizeof(name);
    struct sockaddr *to = (struct sockaddr *)&name;
    if ((peer ? getpeername(fd, to, &size) : getsockname(fd, to, &size)) != 0) return 0;
    if (size >= sizeof(*longer) && name.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&longer->sin6_addr)) {
        memcpy(host, &longer->sin6_addr.s6_addr[12], 4);
        *port = ntohs(longer->sin6_port);
        return 1;
    }
    if (size < sizeof(*address) || name.ss_family != AF_INET) return 0;
    memcpy(host, &address->sin_addr, 4);
    *port = ntohs(address->sin_port);
    return 1;
}
static CYTHON_INLINE int fastserve_unacknowledged(int fd) {
    int count = 0;
#if defined(SIOCOUTQ)
    return ioctl(fd, SIOCOUTQ, &count) < 0 ? -1 : count;
#elif defined(SO_NWRITE)
    socklen_t size = sizeof(count);
    return getsockopt(fd, SOL_SOCKET, SO_NWRITE, &count, &size) < 0 ? -1 : count;
#else
    (void)fd; (void)count;
    return -1;
#endif
}
static CYTHON_INLINE int fastserve_unread(int fd) {
    int count = 0;
    return ioctl(fd, FIONREAD, &count) < 0 ? -1 : count;
}
static CYTHON_INLINE double fastserve_silence(int fd) {
#if defined(__linux__) && defined(TCP_INFO)
    struct tcp_info info;
    socklen_t size = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0) return info.tcpi_last_data_recv / 1000.0;
#else
    (void)fd;
#endif
    return -1;
}
static CYTHON_INLINE void fastserve_limit_unsent(int fd) {
#ifdef TCP_NOTSENT_LOWAT
    int limit = 65536;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &limit, sizeof(limit)); /* fails on a UNIX socket */
#else
    (void)fd;
#endif
}
static CYTHON_INLINE int fastserve_wake_at(int fd, int size) {
#ifdef __linux__
    return setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &size, sizeof(size)) == 0;
#else
    (void)fd; (void)size;
    return 0;
#endif
}
#endif
#ifdef __GLIBC__
/* Reads of up to 256 KB are memory that comes and goes. By default the C library gives 512 KB at the end of its heap back to
   the kernel, which then clears each page anew: of an upload that is a third of the cost. Once a block of 1 MiB has been
   freed, it keeps 2 MiB. mallopt() would do the same, and end the adjusting to what the program does. */
static CYTHON_INLINE void fastserve_keep_freed(void) {
    void *volatile block = malloc(1 << 20);
    free(block);
}
#else
static CYTHON_INLINE void fastserve_keep_freed(void) {}
#endif
enum { FASTSERVE_END = 0, FASTSERVE_FULL = -1, FASTSERVE_CANNOT = -2, FASTSERVE_GONE = -3 };
#ifdef __linux__
#include <sys/sendfile.h>
enum { FASTSERVE_SENDFILE = 1 };
static CYTHON_INLINE long long fastserve_sendfile(int fd, int file, long long offset, long long size) {
    off_t from = (off_t)offset;
    ssize_t sent = sendfile(fd, file, &from, (size_t)size);
    if (sent >= 0) return (long long)sent;
    switch (errno) {
    case EAGAIN: case EINTR: case ENOMEM: return FASTSERVE_FULL;
    case EINVAL: case ENOSYS: case EOVERFLOW: return FASTSERVE_CANNOT;
    default: return FASTSERVE_GONE;
    }
}
#else
enum { FASTSERVE_SENDFILE = 0 };
static CYTHON_INLINE long long fastserve_sendfile(int fd, int file, long long offset, long long size) {
    (void)fd; (void)file; (void)offset; (void)size;
    return FASTSERVE_CANNOT;
}
#endif

/* What tells one state of a regular file from another. */
struct fastserve_identity { long long device, number, size, modified, changed; };
#ifdef _WIN32
enum { FASTSERVE_IDENTIFIES = 0 };
static CYTHON_INLINE int fastserve_identify(const char *path, int fd, struct fastserve_identity *found) {
    (void)path; (void)fd; (void)found;
    return 0;
}
#else
#include <sys/stat.h>
enum { FASTSERVE_IDENTIFIES = 1 };
#ifdef __APPLE__
#define FASTSERVE_TIME(status, which) ((status).st_##which##timespec)
#else
#define FASTSERVE_TIME(status, which) ((status).st_##which##tim)
#endif
static CYTHON_INLINE int fastserve_identify(const char *path, int fd, struct fastserve_identity *found) {
    struct stat status;
    if ((path ? stat(path, &status) : fstat(fd, &status)) != 0 || !S_ISREG(status.st_mode)) return 0;
    found->device = (long long)status.st_dev;
    found->number = (long long)status.st_ino;
    found->size = (long long)status.st_size;
    found->modified = FASTSERVE_TIME(status, m).tv_sec * 1000000000LL + FASTSERVE_TIME(status, m).tv_nsec;
    found->changed = FASTSERVE_TIME(status, c).tv_sec * 1000000000LL + FASTSERVE_TIME(status, c).tv_nsec;
    return 1;
}
#endif
#ifdef _WIN32
static CYTHON_INLINE int fastserve_open(const char *path) { (void)path; return -1; }
#else
#include <fcntl.h>
static CYTHON_INLINE int fastserve_open(const char *path) {
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}
#endif
enum { FASTSERVE_NO_BENEATH = -1000000 };
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__linux__) && !defined(__alpha__)
/* As in linux/openat2.h, which is younger than the headers of many systems that programs are built on. */
struct fastserve_open_how { unsigned long long flags, mode, resolve; };
enum { FASTSERVE_OPENAT2 = 437, FASTSERVE_NO_MAGICLINKS = 0x02, FASTSERVE_BENEATH = 0x08 };
static CYTHON_INLINE int fastserve_open_beneath(const char *directory, const char *path) {
    struct fastserve_open_how how;
    int fd, base = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC), tries = 16;
    if (base < 0) return -errno;
    memset(&how, 0, sizeof(how));
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    how.resolve = FASTSERVE_BENEATH | FASTSERVE_NO_MAGICLINKS;
    do { /* EAGAIN: a rename elsewhere on the system left the kernel unsure */
        fd = (int)syscall(FASTSERVE_OPENAT2, base, path, &how, sizeof(how));
    } while (fd < 0 && (errno == EAGAIN || errno == EINTR) && --tries);
    /* EPERM is what filters of system calls say that do not know this one. */
    if (fd < 0) fd = errno == ENOSYS || errno == EPERM ? FASTSERVE_NO_BENEATH : -errno;
    close(base);
    return fd;
}
#else
static CYTHON_INLINE int fastserve_open_beneath(const char *directory, const char *path) {
    (void)directory; (void)path;
    return FASTSERVE_NO_BENEATH;
}
#endif

#endif
