/* The end of the process by a signal's default action. */
#ifndef FASTSERVE_ENDING_H
#define FASTSERVE_ENDING_H

#ifdef _WIN32
static int fastserve_end_by(int number, double seconds) { (void)number; (void)seconds; return -1; }
static int fastserve_is_default(int number) { (void)number; return 0; }
static size_t fastserve_handler_of(int number) { (void)number; return 0; }
#else
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <errno.h>
static int fastserve_ending;
static pid_t fastserve_ending_pid;  /* children that are forked on the way end in their own ways */
static double fastserve_ending_seconds;
static const char fastserve_ending_late[] =
    "The process is ended: a thread or an exit handler kept it from ending by itself.\n";

static void fastserve_take_action(void) {
    sigset_t set;
    signal(fastserve_ending, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, fastserve_ending);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(fastserve_ending);
    /* The first process of a container has no default action: there the exit code says it. */
}

static void fastserve_last_act(void) {
    if (getpid() != fastserve_ending_pid || fastserve_ending == 0) return;
    fflush(NULL);
    fastserve_take_action();
}

#if PY_VERSION_HEX >= 0x030D0000
#define fastserve_taken_down Py_IsFinalizing
#else
#define fastserve_taken_down _Py_IsFinalizing
#endif

/* Of a large program Python takes down modules and objects for many seconds, which nobody needs to wait for. */
#define FASTSERVE_TAKE_DOWN_SECONDS 0.5
#define FASTSERVE_STEP_SECONDS 0.02

static void *fastserve_end_late(void *nothing) {
    double left = fastserve_ending_seconds;
    int taken_down = 0;
    while (left > 0) {
        struct timespec rest = {0, (long)(FASTSERVE_STEP_SECONDS * 1e9)};
        while (nanosleep(&rest, &rest) < 0 && errno == EINTR) {}
        left -= FASTSERVE_STEP_SECONDS;
        if (!taken_down && fastserve_taken_down()) {  /* threads have ended and exit handlers have run */
            taken_down = 1;
            if (left > FASTSERVE_TAKE_DOWN_SECONDS) left = FASTSERVE_TAKE_DOWN_SECONDS;
        }
    }
    if (!taken_down && write(STDERR_FILENO, fastserve_ending_late, sizeof(fastserve_ending_late) - 1) < 0) {}
    if (fastserve_ending != 0) fastserve_take_action();
    _exit(fastserve_ending != 0 ? 128 + fastserve_ending : 0);
    return nothing;
}

static int fastserve_end_by(int number, double seconds) {
    pthread_t thread;
    sigset_t all, before;
    int failed;
    if (fastserve_ending_pid == getpid()) return 0;  /* the first one counts */
    fastserve_ending = number;
    fastserve_ending_pid = getpid();
    fastserve_ending_seconds = seconds;
    if (number != 0 && Py_AtExit(fastserve_last_act) < 0) return -1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  /* no signal is ever handled in that thread */
    failed = pthread_create(&thread, NULL, fastserve_end_late, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) return -1;
    pthread_detach(thread);
    return 0;
}

static int fastserve_is_default(int number) {
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_DFL;
}

static size_t fastserve_handler_of(int number) {
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 ? (size_t)action.sa_handler : 0;
}
#endif

#endif
