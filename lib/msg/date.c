/* Dates read (RFC 5322 3.3 and 4.3). See include/letterlock/msg.h. */
#include "letterlock/msg.h"

struct reader {
    struct ll_slice in;
    size_t i;
};

/* White space, comments with their inner ones, and commas behind the day's name. false: a comment
 * without end. */
static bool skip(struct reader *r)
{
    size_t depth = 0;

    for (; r->i < r->in.n; r->i++) {
        uint8_t c = r->in.p[r->i];

        if (c == '\\' && depth)
            r->i++;
        else if (c == '(')
            depth++;
        else if (c == ')' && depth)
            depth--;
        else if (!depth && !ll_is_blank(c) && c != '\r' && c != '\n' && c != ',')
            return true;
    }
    return depth == 0;
}

/* A run of letters, or of digits with a sign or without. */
static struct ll_slice word(struct reader *r)
{
    size_t from = r->i;
    bool letters;

    if (!skip(r) || r->i >= r->in.n)
        return (struct ll_slice){0};
    from = r->i;
    letters = ll_is_alpha(r->in.p[r->i]);
    if (r->in.p[r->i] == '+' || r->in.p[r->i] == '-')
        r->i++;
    while (r->i < r->in.n &&
           (letters ? ll_is_alnum(r->in.p[r->i]) : (bool)ll_is_digit(r->in.p[r->i])))
        r->i++;
    return ll_slice_cut(r->in, from, r->i);
}

static bool number(struct reader *r, size_t digits, unsigned *ret)
{
    struct ll_slice w = word(r);
    uint64_t v;

    if (w.n == 0 || w.n > digits || !ll_slice_u64(w, &v))
        return false;
    *ret = (unsigned)v;
    return true;
}

static bool colon(struct reader *r)
{
    if (!skip(r) || r->i >= r->in.n || r->in.p[r->i] != ':')
        return false;
    r->i++;
    return true;
}

/* 1..12; 0: none. */
static unsigned month(struct ll_slice w)
{
    static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";

    for (unsigned i = 0; i < 12 && w.n == 3; i++)
        if (ll_slice_caseeq(w, ll_slice(names + (size_t)i * 3, 3)))
            return i + 1;
    return 0;
}

/* Minutes east of Greenwich. RFC 5322 4.3: a name that says nothing certain counts as none. */
static bool zone(struct reader *r, int *ret)
{
    static const struct {
        char name[4];
        int hours;
    } names[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5},
                 {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}};
    struct ll_slice w = word(r);
    uint64_t v;

    *ret = 0;
    if (w.n && (w.p[0] == '+' || w.p[0] == '-')) {
        if (w.n != 5 || !ll_slice_u64(ll_slice_skip(w, 1), &v) || v % 100 > 59 || v > 2359)
            return false;
        *ret = (int)(v / 100 * 60 + v % 100) * (w.p[0] == '-' ? -1 : 1);
        return true;
    }
    for (size_t i = 0; i < LL_COUNT(names); i++)
        if (ll_slice_caseeq(w, ll_slice_str(names[i].name)))
            *ret = names[i].hours * 60;
    return w.n == 0 || ll_is_alpha(w.p[0]);
}

/* Days from 1970-01-01, counted in years that begin in March. */
static int64_t days(int64_t year, unsigned m, unsigned d)
{
    int64_t y = year - (m <= 2), era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400), doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;

    return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

static unsigned days_of(unsigned year, unsigned m)
{
    static const unsigned n[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return n[m - 1] + (m == 2 && (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)));
}

bool ll_msg_date(struct ll_slice body, int64_t *ret_unix_s, int *ret_offset_min)
{
    struct reader r = {body, 0};
    unsigned day, mon, year, hour, minute, second = 0;
    struct ll_slice w;
    int offset;

    if (!skip(&r))
        return false;
    if (r.i < body.n && ll_is_alpha(body.p[r.i]))
        word(&r); /* the day's name: what the date says counts */
    if (!number(&r, 2, &day))
        return false;
    mon = month(word(&r));
    w = (skip(&r), ll_slice_skip(body, r.i));
    if (mon == 0 || !number(&r, 4, &year))
        return false;
    /* RFC 5322 4.3: years of two and three digits. */
    if (!ll_is_digit(w.n > 2 ? w.p[2] : 0))
        year += year < 50 ? 2000 : 1900;
    else if (!ll_is_digit(w.n > 3 ? w.p[3] : 0))
        year += 1900;
    if (!number(&r, 2, &hour) || !colon(&r) || !number(&r, 2, &minute) || !skip(&r))
        return false;
    if (r.i < body.n && body.p[r.i] == ':' && (r.i++, !number(&r, 2, &second)))
        return false;
    if (!zone(&r, &offset) || !skip(&r) || day < 1 || day > days_of(year, mon) || hour > 23 ||
        minute > 59 || second > 60)
        return false;
    *ret_unix_s = days(year, mon, day) * 86400 + (int64_t)hour * 3600 + (int64_t)minute * 60 +
                  second - (int64_t)offset * 60;
    if (ret_offset_min)
        *ret_offset_min = offset;
    return true;
}
