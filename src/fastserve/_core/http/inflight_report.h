/* The signal handler that writes the list of exchanges in progress. */
#ifndef FASTSERVE_HTTP_INFLIGHT_REPORT_H
#define FASTSERVE_HTTP_INFLIGHT_REPORT_H

#include "http/inflight.h"
#include "loop/clock.h"
#include "threads.h"

static int fastserve_entries_lock; /* where threads run at the same moment */

#ifdef _WIN32
static int fastserve_report_on(int number, int fd, fastserve_entry *list) {
    (void)number; (void)fd; (void)list;
    return -1;
}
static void fastserve_report(int number) { (void)number; }
#else
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
enum { FASTSERVE_SHOWN = 100, FASTSERVE_TRIES = 1000000 };
static fastserve_entry *fastserve_list;
static int fastserve_report_fd = -1;

static void fastserve_put(const void *data, size_t size) {
    const char *from = data;
    while (size > 0) {
        ssize_t written = write(fastserve_report_fd, from, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return;
        from += written;
        size -= (size_t)written;
    }
}

static void fastserve_put_text(const char *text) { fastserve_put(text, strlen(text)); }

static void fastserve_put_number(unsigned long number) {
    char digits[24];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    fastserve_put(digits + at, sizeof(digits) - at);
}

/* Uses only what POSIX allows in a signal handler. */
static void fastserve_report(int number) {
    int error = errno, shown = 0;
    double now = fastserve_coarse();
    fastserve_entry *node;
    long tries = 0;
    (void)number;
    while (!fastserve_try_spin(&fastserve_entries_lock)) {
        if (++tries == FASTSERVE_TRIES) { /* it may be this thread that has been interrupted in the middle of a change */
            fastserve_put_text("Its requests were changing.\n");
            fastserve_put("\0", 1);
            errno = error;
            return;
        }
    }
    node = fastserve_list->next;
    fastserve_put_text(node == fastserve_list ? "It was working on no request.\n" : "It was working on:\n");
    for (; node != fastserve_list && shown < FASTSERVE_SHOWN; node = node->next, shown++) {
        double seconds = now - node->since;
        fastserve_put_text("  ");
        fastserve_put(PyUnicode_DATA(node->method), (size_t)PyUnicode_GET_LENGTH(node->method));
        fastserve_put_text(" ");
        fastserve_put(PyBytes_AS_STRING(node->path), (size_t)PyBytes_GET_SIZE(node->path));
        fastserve_put_text(" for ");
        fastserve_put_number((unsigned long)(seconds > 0 ? seconds : 0));
        fastserve_put_text(".");
        fastserve_put_number((unsigned long)(seconds > 0 ? seconds * 10 : 0) % 10);
        fastserve_put_text(" s\n");
    }
    if (node != fastserve_list) fastserve_put_text("  and more\n");
    fastserve_unspin(&fastserve_entries_lock);
    fastserve_put("\0", 1);
    errno = error;
}

static int fastserve_report_on(int number, int fd, fastserve_entry *list) {
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = fastserve_report;
    action.sa_flags = SA_RESTART;
    fastserve_list = list;
    fastserve_report_fd = fd;
    return sigaction(number, &action, NULL);
}
#endif

#endif
