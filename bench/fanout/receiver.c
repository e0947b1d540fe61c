/* Opens WebSockets or event streams, and tells the server's control connection when all of them have a message.
 * receiver PORT CONTROL-PORT CLIENTS PATH EXTENSIONS ROUNDS FIRST BARE; EXTENSIONS are header lines of a WebSocket, "-" for
 * event streams, FIRST what a client has to send, or empty. Each round is one by the server (g) and, where BARE is 1, one by
 * a bare loop of send(2) in its process (f and the bytes of each), in turns the one or the other first. Prints the
 * milliseconds of both, after a line when all are connected. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int dial(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static double now(void) {
    struct timespec when;
    clock_gettime(CLOCK_MONOTONIC, &when);
    return when.tv_sec * 1e3 + when.tv_nsec / 1e6;
}

int main(int count, char **words) {
    static char buffer[1 << 20];
    char request[512], first[64] = "";
    if (count != 9) return 2;
    int bare_too = atoi(words[8]), port = atoi(words[1]), clients = atoi(words[3]), rounds = atoi(words[6]);
    long bytes = 0, got;
    int poll = epoll_create1(0), control = dial(atoi(words[2])), round, turn, index, ready;
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n%s%s\r\n", words[4],
             *words[5] == '-' ? "" : "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
             *words[5] == '-' ? "" : words[5]);
    long opening = !*words[7] ? 0
        : sprintf(first, "%c%c%c%c%c%c%s", 0x81, (int)(0x80 | strlen(words[7])), 0, 0, 0, 0, words[7]);
    for (index = 0; index < clients; index++) {
        struct epoll_event event = {.events = EPOLLIN};
        size_t held = 0;
        long unsent = opening;
        event.data.fd = dial(port);
        if (write(event.data.fd, request, strlen(request)) < 0) return 1;
        while (memmem(buffer, held, "ready", 5) == NULL) { /* the first message of each */
            ssize_t size = read(event.data.fd, buffer + held, sizeof(buffer) - held);
            if (size <= 0) return 1;
            held += size;
            if (unsent && memmem(buffer, held, "\r\n\r\n", 4)) { /* uvicorn drops what comes before its response */
                if (write(event.data.fd, first, unsent) < 0) return 1;
                unsent = 0;
            }
        }
        fcntl(event.data.fd, F_SETFL, O_NONBLOCK);
        epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event);
    }
    do { /* what has come with the first messages, or after them */
        struct epoll_event event;
        if ((ready = epoll_wait(poll, &event, 1, 1000)) > 0 && read(event.data.fd, buffer, sizeof(buffer)) <= 0) return 1;
    } while (ready > 0);
    puts("connected");
    fflush(stdout);
    for (round = 0; round < rounds; round++) {
        double spent[2] = {0, 0};
        for (turn = 0; turn <= bare_too; turn++) {
            struct epoll_event events[512];
            int bare = bare_too && (round + turn) & 1, each = bytes / clients;
            double began = now();
            if (write(control, bare ? "f" : "g", 1) != 1 || (bare && write(control, &each, 4) != 4)) return 1;
            for (got = 0; bytes == 0 || got < bytes;) {
                /* The first round, which is the server's, tells how many bytes there are: until no more come. */
                if ((ready = epoll_wait(poll, events, 512, bytes || got == 0 ? 60000 : 1000)) < 0) return 1;
                if (ready == 0 && bytes == 0 && got && got % clients == 0) bytes = got;
                else if (ready == 0) return fprintf(stderr, "%ld bytes after %d rounds\n", got, round), 1;
                for (index = 0; index < ready; index++) {
                    ssize_t size;
                    while ((size = read(events[index].data.fd, buffer, sizeof(buffer))) > 0) got += size;
                }
            }
            spent[bare] = now() - began;
        }
        printf("%.3f %.3f\n", spent[0], spent[1]);
    }
    return write(control, "e", 1) != 1;
}
