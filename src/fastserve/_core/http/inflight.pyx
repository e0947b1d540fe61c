"""The exchanges under way, in a form that a signal handler can read.

A worker that holds the interpreter can run no Python code to say what it is working on: a handler in C can, as long as
it only reads. The list is changed in the thread of the event loop alone. A process without such a handler keeps no list.
"""

cdef extern from *:
    """
    #ifdef _WIN32
    static int fastserve_report_on(int number, int fd, void *list) {
        (void)number; (void)fd; (void)list;
        return -1;
    }
    static double fastserve_coarse_now(void) { return 0.0; }
    #else
    #include <signal.h>
    #include <stdio.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>
    #include <errno.h>
    #ifndef CLOCK_MONOTONIC_COARSE
    #define CLOCK_MONOTONIC_COARSE CLOCK_MONOTONIC
    #endif
    enum { FASTSERVE_SHOWN = 100 };
    struct fastserve_node {
        struct fastserve_node *next, *previous;
        PyObject *method, *path;
        double since;
    };
    static struct fastserve_node *fastserve_list;
    static int fastserve_report_fd = -1;

    static double fastserve_coarse_now(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    }

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

    /* Only what POSIX allows in a signal handler. */
    static void fastserve_report(int number) {
        int error = errno, shown = 0;
        double now = fastserve_coarse_now();
        struct fastserve_node *node = fastserve_list->next;
        (void)number;
        fastserve_put_text(node == fastserve_list ? "It was working on no request.\\n" : "It was working on:\\n");
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
            fastserve_put_text(" s\\n");
        }
        if (node != fastserve_list) fastserve_put_text("  and more\\n");
        fastserve_put("\\0", 1);
        errno = error;
    }

    static int fastserve_report_on(int number, int fd, void *list) {
        struct sigaction action;
        memset(&action, 0, sizeof(action));
        action.sa_handler = fastserve_report;
        action.sa_flags = SA_RESTART;
        fastserve_list = list;
        fastserve_report_fd = fd;
        return sigaction(number, &action, NULL);
    }
    #endif
    """
    int fastserve_report_on(int number, int fd, void* list)
    double fastserve_coarse_now() nogil

cdef Entry entries  # the head of a ring
entries.next = entries.previous = &entries


def write_on_signal(int number, int fd):
    """From now on, have this signal write the requests under way and a zero byte to `fd`. Raises OSError."""
    global enabled
    if fastserve_report_on(number, fd, &entries) < 0:
        raise OSError(f"signal {number} cannot be handled")
    enabled = True


cdef void track(Entry* entry, str method, bytes path) noexcept:
    entry.method = <void*>method
    entry.path = <void*>path
    entry.since = fastserve_coarse_now()
    entry.next = &entries
    entry.previous = entries.previous
    entries.previous.next = entry
    entries.previous = entry


cdef void stop_tracking(Entry* entry) noexcept:
    if entry.next != NULL:
        entry.next.previous = entry.previous
        entry.previous.next = entry.next
        entry.next = NULL
