/* WebSocket load: keeps one message under way on each of many connections and counts the echoes.

   wsload PORT CONNECTIONS SECONDS REQUEST FRAMES SIZE

   REQUEST is a file with the opening handshake, FRAMES one with whole client frames, already masked, which every
   connection sends in turn from the first. SIZE is the length of each message's payload before any compression. After
   SECONDS no message is sent any more, but those under way are awaited, so that what the server has done is what is
   counted. Prints one line of JSON; nothing is computed for a message beyond the header of its frame, to leave the
   server the limit. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 18, EVENTS = 256, HEAD_SIZE = 16384, DRAIN_US = 10000000 };
enum { FIN = 0x80, RSV1 = 0x40, OPCODE = 0x0f, CONTROL = 0x08, CLOSE = 0x08, MASKED = 0x80 };

typedef struct {
    const uint8_t *data;
    size_t size;
} Span;

typedef struct {
    int fd;
    bool busy;            /* a message is under way */
    bool waiting;         /* for the socket to take more */
    size_t next;          /* the frame to send */
    size_t sent;          /* bytes of it that the socket has taken */
    int64_t began;        /* when it was sent, in us */
    uint8_t header[10];   /* of the frame that is being read */
    unsigned have;
    uint64_t left;        /* of its payload */
    bool in_payload;
    bool compressed;      /* the message that is being read */
    uint64_t length;      /* of the message so far */
} Connection;

static struct {
    unsigned long connect, read, write, timeout, status;
} errors;
static Span *frames;
static size_t frame_count;
static uint64_t message_size;
static int poller;
static int64_t deadline;
static uint32_t *latencies;
static size_t messages, room, under_way;
static unsigned long compressed_echoes;
static unsigned long long bytes_back;

static void die(const char *what) {
    fprintf(stderr, "wsload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static Span read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) die(path);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, file) != (size_t)size) die(path);
    fclose(file);
    return (Span){data, size};
}

/* Length of a frame's header and, in `payload`, of its payload; 0 while `have` bytes do not tell. */
static unsigned header_size(const uint8_t *bytes, unsigned have, uint64_t *payload) {
    if (have < 2) return 0;
    unsigned size = 2, length = bytes[1] & 0x7f;
    if (length < 126) {
        *payload = length;
    } else {
        unsigned extra = length == 126 ? 2 : 8;
        size += extra;
        if (have < size) return 0;
        *payload = 0;
        for (unsigned i = 0; i < extra; i++) *payload = *payload << 8 | bytes[2 + i];
    }
    return size;
}

static void split_frames(Span file) {
    for (size_t at = 0; at < file.size;) {
        uint64_t payload;
        unsigned size = header_size(file.data + at, file.size - at > 10 ? 10 : file.size - at, &payload);
        if (!size || !(file.data[at + 1] & MASKED) || file.size - at < size + 4 + payload) {
            errno = EINVAL;
            die("frames");
        }
        frames = realloc(frames, (frame_count + 1) * sizeof *frames);
        if (!frames) die("frames");
        frames[frame_count++] = (Span){file.data + at, size + 4 + payload};
        at += size + 4 + payload;
    }
}

static void drop(Connection *c) {
    close(c->fd);
    c->fd = -1;
    if (c->busy) under_way--;
    c->busy = false;
}

static void watch(Connection *c, bool writable) {
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl");
    c->waiting = writable;
}

static void go_on_sending(Connection *c) {
    Span frame = frames[c->next];
    ssize_t n = send(c->fd, frame.data + c->sent, frame.size - c->sent, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN) {
            errors.write++;
            drop(c);
            return;
        }
        n = 0;
    }
    c->sent += n;
    bool more = c->sent < frame.size;
    if (more != c->waiting) watch(c, more);
}

static void start_message(Connection *c, int64_t now) {
    if (!c->busy) under_way++;
    c->busy = true;
    c->began = now;
    c->sent = 0;
    go_on_sending(c);
}

static void message_done(Connection *c, int64_t now) {
    if (!c->compressed && c->length != message_size) {
        errors.status++;
        drop(c);
        return;
    }
    if (messages == room) {
        room = room ? room * 2 : 1 << 20;
        latencies = realloc(latencies, room * sizeof *latencies);
        if (!latencies) die("latencies");
    }
    latencies[messages++] = now - c->began;
    compressed_echoes += c->compressed;
    c->length = 0;
    c->next = (c->next + 1) % frame_count;
    if (now < deadline) {
        start_message(c, now);
    } else {
        c->busy = false;
        under_way--;
    }
}

static void frame_done(Connection *c, int64_t now) {
    uint8_t first = c->header[0];
    c->in_payload = false;
    c->have = 0;
    if (!(first & CONTROL) && first & FIN) message_done(c, now);
}

static void take(Connection *c, const uint8_t *data, size_t size) {
    int64_t now = now_us();
    bytes_back += size;
    while (size) {
        if (!c->in_payload) {
            c->header[c->have++] = *data++;
            size--;
            if (!header_size(c->header, c->have, &c->left)) continue;
            c->in_payload = true;
            if (!(c->header[0] & CONTROL)) {
                if (c->header[0] & OPCODE) c->compressed = c->header[0] & RSV1;
                c->length += c->left;
            }
            if (c->header[1] & MASKED || (c->header[0] & OPCODE) == CLOSE || !c->busy) {
                errors.status++;
                drop(c);
                return;
            }
        }
        size_t n = c->left < size ? c->left : size;
        data += n;
        size -= n;
        c->left -= n;
        if (!c->left) frame_done(c, now);
        if (c->fd < 0) return;
    }
}

/* The handshake, one connection after the other; false when it was refused or failed. */
static bool open_connection(Connection *c, int port, Span request) {
    static uint8_t head[HEAD_SIZE + 1];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 10};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) ||
        send(c->fd, request.data, request.size, MSG_NOSIGNAL) != (ssize_t)request.size) {
        errors.connect++;
        return false;
    }
    size_t have = 0;
    for (;;) {
        ssize_t n = recv(c->fd, head + have, HEAD_SIZE - have, 0);
        if (n <= 0) {
            errors.connect++;
            return false;
        }
        have += n;
        head[have] = 0;
        if (strstr((char *)head, "\r\n\r\n")) break;
    }
    if (strncmp((char *)head, "HTTP/1.1 101 ", 13) || memcmp(head + have - 4, "\r\n\r\n", 4)) {
        errors.status++;
        return false;
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    return true;
}

static void on_readable(Connection *c) {
    static uint8_t buffer[READ_SIZE];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n > 0) {
        take(c, buffer, n);
    } else if (n == 0 || errno != EAGAIN) {
        errors.read++;
        drop(c);
    }
}

static int by_value(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static unsigned long percentile(double share) {
    return messages ? latencies[(size_t)(share * (messages - 1))] : 0;
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: wsload PORT CONNECTIONS SECONDS REQUEST FRAMES SIZE\n");
        return 2;
    }
    int count = atoi(argv[2]);
    Span request = read_file(argv[4]);
    split_frames(read_file(argv[5]));
    message_size = strtoull(argv[6], NULL, 10);
    Connection *connections = calloc(count, sizeof *connections);
    poller = epoll_create1(0);
    if (!connections || poller < 0 || !frame_count) die("start");
    for (int i = 0; i < count; i++)
        if (!open_connection(&connections[i], atoi(argv[1]), request)) drop(&connections[i]);

    int64_t begin = now_us(), last = begin;
    deadline = begin + (int64_t)(atof(argv[3]) * 1e6);
    for (int i = 0; i < count; i++)
        if (connections[i].fd >= 0) start_message(&connections[i], begin);
    while (under_way && last < deadline + DRAIN_US) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poller, events, EVENTS, 100);
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT && c->fd >= 0) go_on_sending(c);
            if (events[i].events & ~EPOLLOUT && c->fd >= 0) on_readable(c);
        }
        last = now_us();
    }
    errors.timeout = under_way;
    qsort(latencies, messages, sizeof *latencies, by_value);
    printf("figures {\"requests\": %zu, \"microseconds\": %lld, \"p50\": %lu, \"p99\": %lu, \"p999\": %lu, "
           "\"connect\": %lu, \"read\": %lu, \"write\": %lu, \"timeout\": %lu, \"status\": %lu, "
           "\"compressed\": %lu, \"bytes\": %llu}\n",
           messages, (long long)(last - begin), percentile(0.5), percentile(0.99), percentile(0.999),
           errors.connect, errors.read, errors.write, errors.timeout, errors.status, compressed_echoes, bytes_back);
    return 0;
}
