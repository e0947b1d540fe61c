/* Opens WebSockets or event streams, and tells the server's control connection when all of them have a message.
 * receiver PORT CONTROL-PORT CLIENTS PATH WEBSOCKET BYTES ROUNDS FIRST; FIRST is what a client has to send, or empty.
 * Prints the milliseconds of each round. */
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
    int port = atoi(words[1]), clients = atoi(words[3]), websocket = atoi(words[5]), rounds = atoi(words[7]);
    long bytes = atol(words[6]) * clients, got = 0;
    int poll = epoll_create1(0), control = dial(atoi(words[2])), round, index;
    if (count != 9) return 2;
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", words[4],
             websocket ? "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" : "");
    long opening = !*words[8] ? 0
        : sprintf(first, "%c%c%c%c%c%c%s", 0x81, (int)(0x80 | strlen(words[8])), 0, 0, 0, 0, words[8]);
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
    for (round = 0; round < rounds; round++) {
        struct epoll_event events[512];
        double began = now();
        if (write(control, "g", 1) != 1) return 1;
        for (got = 0; got < bytes;) {
            int ready = epoll_wait(poll, events, 512, 60000);
            if (ready <= 0) return 1;
            for (index = 0; index < ready; index++) {
                ssize_t size;
                while ((size = read(events[index].data.fd, buffer, sizeof(buffer))) > 0) got += size;
            }
        }
        printf("%.3f\n", now() - began);
    }
    return write(control, "e", 1) != 1;
}
