/* See io/log.h. */
#include "io/log.h"

#include "io/clock.h"

#include <stdio.h>
#include <unistd.h>

static const char *const level_names[] = {
    [LL_LOG_ERROR] = "error",
    [LL_LOG_WARNING] = "warning",
    [LL_LOG_INFO] = "info",
    [LL_LOG_DEBUG] = "debug",
};

static char who[40] = "letterlock";
static bool json;
static enum ll_log_level most = LL_LOG_INFO;
static int log_fd = STDERR_FILENO;

void ll_log_init(const char *role, unsigned index)
{
    snprintf(who, sizeof(who), "%s.%u", role, index);
}

void ll_log_json(bool on)
{
    json = on;
}

void ll_log_level(enum ll_log_level level)
{
    most = level;
}

void ll_log_fd(int fd)
{
    log_fd = fd;
}

/* Escaped words, with the blanks between them kept: the caller puts quotes around. */
static void put_words(struct ll_buf *out, struct ll_slice s)
{
    bool cut = s.n > LL_LOG_VALUE_MAX;

    s = ll_slice_cut(s, 0, LL_LOG_VALUE_MAX);
    while (s.n) {
        size_t n = ll_slice_find(s, ' ');

        ll_escape(out, ll_slice_cut(s, 0, n), LL_LOG_VALUE_MAX);
        if (n < s.n)
            ll_buf_putc(out, ' ');
        s = ll_slice_skip(s, n + 1);
    }
    if (cut)
        ll_buf_puts(out, "...");
}

/* A JSON string. ll_escape leaves printable ASCII without '"', and '\' only before xHH, which JSON
 * does not know: the backslash is doubled. */
static void put_json(struct ll_buf *out, struct ll_slice s)
{
    struct ll_buf word = LL_BUF((size_t)LL_LOG_VALUE_MAX * 4 + 8);

    put_words(&word, s);
    ll_buf_putc(out, '"');
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] == '\\')
            ll_buf_putc(out, '\\');
        ll_buf_putc(out, word.p[i]);
    }
    ll_buf_putc(out, '"');
    ll_buf_release(&word);
}

static void put_field(struct ll_buf *out, const struct ll_log_field *f)
{
    ll_buf_puts(out, json ? ",\"" : " ");
    ll_buf_puts(out, f->key);
    ll_buf_puts(out, json ? "\":" : "=");
    if (f->kind == LL_LOG_NUMBER)
        ll_buf_put_uint(out, f->number, 1);
    else if (json)
        put_json(out, f->text);
    else if (f->text.n && ll_slice_find(f->text, ' ') == f->text.n)
        ll_escape(out, f->text, LL_LOG_VALUE_MAX);
    else {
        ll_buf_putc(out, '"');
        put_words(out, f->text);
        ll_buf_putc(out, '"');
    }
}

void ll_log_format(struct ll_buf *out, int64_t unix_ms, enum ll_log_level level, const char *event,
                   const struct ll_log_field *fields, size_t n)
{
    ll_buf_puts(out, json ? "{\"time\":\"" : "");
    ll_time_rfc3339_ms(out, unix_ms);
    ll_buf_puts(out, json ? "\",\"level\":\"" : " ");
    ll_buf_puts(out, level_names[level]);
    ll_buf_puts(out, json ? "\",\"role\":\"" : " ");
    ll_buf_puts(out, who);
    ll_buf_puts(out, json ? "\",\"event\":\"" : " ");
    ll_buf_puts(out, event);
    ll_buf_puts(out, json ? "\"" : "");
    for (size_t i = 0; i < n; i++) {
        size_t before = out->n;

        if (!fields[i].key)
            continue;
        put_field(out, &fields[i]);
        if (!out->failed)
            continue;
        /* The line is full: this field and the rest are left away, whole. */
        out->failed = false;
        out->n = before;
        break;
    }
    if (json)
        ll_buf_putc(out, '}');
}

void ll_log_write(enum ll_log_level level, const char *event, const struct ll_log_field *fields,
                  size_t n)
{
    struct ll_buf line = LL_BUF(LL_LOG_LINE_MAX - 2);

    if (level > most)
        return;
    ll_log_format(&line, ll_unix_ms(), level, event, fields, n);
    line.max = LL_LOG_LINE_MAX;
    line.failed = false;
    ll_buf_putc(&line, '\n');
    /* One write, so that lines of several processes do not mix; nothing can be done about an error.
     */
    if (line.n && write(log_fd, line.p, line.n) < 0) {
    }
    ll_buf_release(&line);
}
