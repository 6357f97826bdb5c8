/* Preloaded into a server: what makes a write durable takes longer by COMMIT_DELAY_US microseconds, as on a slower disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void wait_longer(void) {
    const char *given = getenv("COMMIT_DELAY_US");
    long us = given ? atol(given) : 0;
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&time, NULL);
}

#define SLOWER(name) \
    int name(int file) { \
        static int (*original)(int); \
        if (!original) original = (int (*)(int))dlsym(RTLD_NEXT, #name); \
        int done = original(file); \
        wait_longer(); \
        return done; \
    }

SLOWER(fsync)
SLOWER(fdatasync)
