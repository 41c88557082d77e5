/*
 * log: one line an event, written by one write(2) to the descriptor that the process inherited.
 *
 *   2026-11-24T03:07:34.123Z info front-mx.0 connect id=4f2a peer=[192.0.2.1]:4711
 *   {"time":"...","level":"info","role":"front-mx.0","event":"connect","id":"4f2a",...}
 *
 * Call it with an event (a literal of lower-case words and hyphens, stable: people grep for it) and
 * any number of fields:
 *
 *   ll_log(LL_LOG_INFO, "login-failed", LL_F("user", m->user), LL_FS("why", "unknown user"),
 *          LL_FU("port", 587));
 *
 * Every value is escaped (ll_escape) and cut at LL_LOG_VALUE_MAX octets, so nothing that a remote
 * side wrote can begin a line or a field. Lines end at LL_LOG_LINE_MAX octets. Never log a secret
 * or the text of a letter. lib never logs.
 */
#ifndef LL_IO_LOG_H
#define LL_IO_LOG_H

#include "letterlock/base.h"

#define LL_LOG_LINE_MAX  4096 /* octets of a line, end included: one atomic append */
#define LL_LOG_VALUE_MAX 1024 /* octets of a value before escaping */

enum ll_log_level { LL_LOG_ERROR, LL_LOG_WARNING, LL_LOG_INFO, LL_LOG_DEBUG };

enum ll_log_kind { LL_LOG_TEXT, LL_LOG_NUMBER };

struct ll_log_field {
    const char *key; /* a literal; NULL: no field */
    enum ll_log_kind kind;
    struct ll_slice text;
    uint64_t number;
};

/* Fields: a slice, a C string (NULL: empty), an unsigned number. */
#define LL_F(key, slice)   ((struct ll_log_field){(key), LL_LOG_TEXT, (slice), 0})
#define LL_FS(key, string) ((struct ll_log_field){(key), LL_LOG_TEXT, ll_slice_str(string), 0})
#define LL_FU(key, number) ((struct ll_log_field){(key), LL_LOG_NUMBER, {NULL, 0}, (number)})

#define ll_log(level, event, ...)                                                                  \
    ll_log_write(                                                                                  \
        (level), (event),                                                                          \
        (const struct ll_log_field[]){{NULL, LL_LOG_TEXT, {NULL, 0}, 0}, ##__VA_ARGS__},           \
        sizeof((const struct ll_log_field[]){{NULL, LL_LOG_TEXT, {NULL, 0}, 0}, ##__VA_ARGS__}) /  \
            sizeof(struct ll_log_field))

void ll_log_write(enum ll_log_level, const char *event, const struct ll_log_field *, size_t n);

/* The line without its end, for tests: what ll_log_write writes. */
void ll_log_format(struct ll_buf *out, int64_t unix_ms, enum ll_log_level, const char *event,
                   const struct ll_log_field *, size_t n);

/* Who writes: role name and worker number; copied. Before this call: "letterlock". */
void ll_log_init(const char *role, unsigned index);
void ll_log_json(bool on);
/* The most talkative level that is written; LL_LOG_INFO at first. */
void ll_log_level(enum ll_log_level most);
/* Writes to this descriptor from now on (2 at first); it stays the caller's. */
void ll_log_fd(int fd);

#endif
