/* Takes the place of what makes a process unrepeatable: random octets and the clocks. The simulation
 * loads it into its own process (LD_PRELOAD) before it runs a scenario. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* 2026-01-01. The virtual time is tokio's; nothing in a scenario waits for this clock. */
static const time_t WALL = 1767225600;
static const time_t MONOTONIC = 1000;
/* A scenario takes milliseconds. One that turns in a circle is ended by SIGALRM. */
static const unsigned LONGEST = 120;

static uint64_t state;

__attribute__((constructor)) static void begin(void) {
    const char *seed = getenv("AMQP_SIMULATION_SEED");
    state = seed ? strtoull(seed, NULL, 10) : 0;
    unsetenv("LD_PRELOAD");
    alarm(LONGEST);
}

/* splitmix64 */
static uint64_t next(void) {
    uint64_t z = __atomic_add_fetch(&state, 0x9e3779b97f4a7c15, __ATOMIC_RELAXED);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
    unsigned char *to = buffer;
    (void)flags;
    for (size_t at = 0; at < length;) {
        uint64_t octets = next();
        size_t count = length - at < sizeof octets ? length - at : sizeof octets;
        memcpy(to + at, &octets, count);
        at += count;
    }
    return length;
}

int getentropy(void *buffer, size_t length) {
    getrandom(buffer, length, 0);
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        now->tv_sec = WALL;
        break;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
        now->tv_sec = MONOTONIC;
        break;
    default:
        return (int)syscall(SYS_clock_gettime, clock, now);
    }
    now->tv_nsec = 0;
    return 0;
}

time_t time(time_t *now) {
    if (now)
        *now = WALL;
    return WALL;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    now->tv_sec = WALL;
    now->tv_usec = 0;
    return 0;
}
