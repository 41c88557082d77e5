/* See io/clock.h. */
#include "io/clock.h"

#include <time.h>

static int64_t read_ms(clockid_t clock)
{
    struct timespec t = {0, 0};

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

uint64_t ll_now_ms(void)
{
    return (uint64_t)read_ms(CLOCK_MONOTONIC);
}

int64_t ll_unix_s(void)
{
    return read_ms(CLOCK_REALTIME) / 1000;
}

int64_t ll_unix_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}
