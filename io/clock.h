/*
 * clock: the only place that reads one.
 */
#ifndef LL_IO_CLOCK_H
#define LL_IO_CLOCK_H

#include <stdint.h>

uint64_t ll_now_ms(void); /* monotonic, milliseconds; for engines' `now` and for timers */
int64_t ll_unix_s(void);  /* seconds since 1970, for dates */
int64_t ll_unix_ms(void); /* milliseconds since 1970 */

#endif
