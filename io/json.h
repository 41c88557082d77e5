/*
 * json: a writer that cannot write bad JSON text by mistake of quoting. (Reading is jansson's.)
 *
 * Commas and colons come by themselves. Strings that are not valid UTF-8 are written with each bad
 * octet as U+FFFD, for what we show is often what a stranger sent.
 *
 *   struct ll_json j = LL_JSON(&buf);
 *   ll_json_open(&j, '{');
 *   ll_json_str(&j, "domain", LL_LIT("example.org"));
 *   ll_json_key(&j, "mx"); ll_json_open(&j, '['); ... ll_json_close(&j);
 *   ll_json_close(&j);
 */
#ifndef LL_IO_JSON_H
#define LL_IO_JSON_H

#include "letterlock/base.h"

#define LL_JSON_DEPTH 16 /* open objects and arrays; deeper is our bug */

struct ll_json {
    struct ll_buf *out;
    char open[LL_JSON_DEPTH];
    unsigned depth;
    bool comma; /* the next value needs one before it */
};

#define LL_JSON(out_) ((struct ll_json){.out = (out_)})

void ll_json_open(struct ll_json *, char brace); /* '{' or '[' */
void ll_json_close(struct ll_json *);
void ll_json_key(struct ll_json *, const char *key);
/* key NULL: the value of an array, or after ll_json_key. */
void ll_json_str(struct ll_json *, const char *key, struct ll_slice value);
void ll_json_cstr(struct ll_json *, const char *key, const char *value); /* NULL: null */
void ll_json_int(struct ll_json *, const char *key, int64_t value);
void ll_json_bool(struct ll_json *, const char *key, bool value);
/* value is JSON text already. */
void ll_json_raw(struct ll_json *, const char *key, struct ll_slice value);

#endif
