/* Dates from seconds: arithmetic only. See include/letterlock/base.h. */
#include "letterlock/base.h"

struct civil {
    int64_t year;
    unsigned month; /* 1..12 */
    unsigned day;   /* 1..31 */
    unsigned hour, minute, second;
    unsigned weekday; /* 0 = Sunday */
};

/* Days are counted in 400-year eras from 0000-03-01, so that leap days fall at a year's end. */
static struct civil civil_from_unix(int64_t t)
{
    int64_t days = t / 86400 - (t % 86400 < 0);
    unsigned rest = (unsigned)(t - days * 86400);
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    struct civil c = {.month = mp < 10 ? mp + 3 : mp - 9,
                      .day = doy - (153 * mp + 2) / 5 + 1,
                      .hour = rest / 3600,
                      .minute = rest / 60 % 60,
                      .second = rest % 60,
                      .weekday = (unsigned)(((days + 4) % 7 + 7) % 7)};

    c.year = (int64_t)yoe + era * 400 + (c.month <= 2);
    return c;
}

/* At least four digits, of which the sign is one: as printf would. */
static void put_year(struct ll_buf *out, int64_t year)
{
    if (year < 0)
        ll_buf_putc(out, '-');
    ll_buf_put_uint(out, year < 0 ? 0 - (uint64_t)year : (uint64_t)year, year < 0 ? 3 : 4);
}

static void put_clock(struct ll_buf *out, const struct civil *c)
{
    ll_buf_put_uint(out, c->hour, 2);
    ll_buf_putc(out, ':');
    ll_buf_put_uint(out, c->minute, 2);
    ll_buf_putc(out, ':');
    ll_buf_put_uint(out, c->second, 2);
}

void ll_time_rfc5322(struct ll_buf *out, int64_t unix_s)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct civil c = civil_from_unix(unix_s);

    ll_buf_puts(out, days[c.weekday]);
    ll_buf_puts(out, ", ");
    ll_buf_put_uint(out, c.day, 1);
    ll_buf_putc(out, ' ');
    ll_buf_puts(out, months[c.month - 1]);
    ll_buf_putc(out, ' ');
    put_year(out, c.year);
    ll_buf_putc(out, ' ');
    put_clock(out, &c);
    ll_buf_puts(out, " +0000");
}

/* Without the zone. */
static void put_rfc3339(struct ll_buf *out, int64_t unix_s)
{
    struct civil c = civil_from_unix(unix_s);

    put_year(out, c.year);
    ll_buf_putc(out, '-');
    ll_buf_put_uint(out, c.month, 2);
    ll_buf_putc(out, '-');
    ll_buf_put_uint(out, c.day, 2);
    ll_buf_putc(out, 'T');
    put_clock(out, &c);
}

void ll_time_rfc3339(struct ll_buf *out, int64_t unix_s)
{
    put_rfc3339(out, unix_s);
    ll_buf_putc(out, 'Z');
}

void ll_time_rfc3339_ms(struct ll_buf *out, int64_t unix_ms)
{
    int64_t ms = ((unix_ms % 1000) + 1000) % 1000;

    put_rfc3339(out, (unix_ms - ms) / 1000);
    ll_buf_putc(out, '.');
    ll_buf_put_uint(out, (uint64_t)ms, 3);
    ll_buf_putc(out, 'Z');
}

void ll_time_day(struct ll_buf *out, int64_t unix_s)
{
    struct civil c = civil_from_unix(unix_s);

    ll_buf_printf(out, "%04lld%02u%02u", (long long)c.year, c.month, c.day);
}
