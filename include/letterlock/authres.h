/*
 * authres: Authentication-Results fields (RFC 8601): reading them, taking those out that claim to
 * be ours, and writing ours.
 *
 * A field body is what stands behind "Authentication-Results:"; the payload of an
 * ARC-Authentication-Results field is the same behind its "i=N;" (RFC 8617 4.1.1).
 */
#ifndef LETTERLOCK_AUTHRES_H
#define LETTERLOCK_AUTHRES_H

#include "letterlock/arc.h"
#include "letterlock/base.h"
#include "letterlock/dkim.h"
#include "letterlock/dmarc.h"
#include "letterlock/spf.h"

#define LL_AUTHRES_RESULTS_MAX    100  /* results in one field */
#define LL_AUTHRES_PROPERTIES_MAX 1000 /* properties in one field */
#define LL_AUTHRES_VALUE_MAX      320  /* octets of a value that we write; the rest is cut off */
#define LL_AUTHRES_DEPTH_MAX      50   /* comments inside comments; deeper is no field */

/* ---- reading ------------------------------------------------------------------------------- */

struct ll_authres_property {
    struct ll_slice type;  /* "smtp", "header", "body", "policy" or another */
    struct ll_slice name;  /* "mailfrom" */
    struct ll_slice value; /* quotes and backslashes taken away */
};

struct ll_authres_result {
    struct ll_slice method; /* "dkim" */
    uint64_t version;       /* 1 unless the field says another */
    struct ll_slice result; /* "pass" */
    struct ll_slice reason; /* empty: none */
    struct ll_authres_property *property;
    size_t properties;
};

struct ll_authres {
    struct ll_slice id; /* authserv-id, quotes and backslashes taken away */
    uint64_t version;   /* 1 unless the field says another */
    struct ll_authres_result *result;
    size_t results; /* 0: "none" */
};

/* Reads a field body. Comments and folds are passed over. False: a syntax error, too much of it, or
 * no memory; *ret_at (may be NULL) is where. Slices are the arena's or borrow from body. Beyond the
 * grammar, a pvalue may be any octets without blanks, ";", "(" and quotes, for such are in use; and
 * a ";" may stand at the end. */
bool ll_authres_parse(struct ll_slice body, struct ll_arena *, struct ll_authres *ret,
                      size_t *ret_at);

/* Does a field body have that result of that method? False where it cannot be read. */
bool ll_authres_has(struct ll_slice body, struct ll_slice method, struct ll_slice result);

/* Reads the authserv-id alone; *ret_rest is what stands behind it (with its version). False: there
 * is none that could be read. */
bool ll_authres_id(struct ll_slice body, struct ll_arena *, struct ll_slice *ret_id,
                   struct ll_slice *ret_rest);

/* Appends the results of a field ("spf=pass ...; dkim=..."), unfolded, without the authserv-id and
 * with comments, as ARC wants them (RFC 8617 4.1.1, 5.1). False: not such a field. */
bool ll_authres_payload(struct ll_slice body, struct ll_buf *out);

/* ---- stripping (RFC 8601 5) ------------------------------------------------------------------ */

/* Does this field body claim to be written by `id`? Case, comments, folds, quotes, backslashes, a
 * dot at the end, A- and U-labels make no difference. A field whose authserv-id cannot be read
 * claims everything: who reads it more loosely than we do may find our name in it. */
bool ll_authres_claims(struct ll_slice body, struct ll_slice id);

/* Takes every Authentication-Results field out of a header that claims one of ids. *ret_removed 0:
 * there was none and out is untouched; else the whole new header was appended to out. False: out is
 * full. */
bool ll_authres_strip(struct ll_slice header, const struct ll_slice *ids, size_t n_ids,
                      struct ll_buf *out, unsigned *ret_removed);

/* ---- writing -----------------------------------------------------------------------------------
 */

/* A field being written; zero it but for `out`. Nothing in a value can end it, open a comment or
 * begin a result: what is no token is quoted, controls and octets above 127 become "?". */
struct ll_authres_out {
    struct ll_buf *out;
    bool any;      /* a result was written */
    size_t column; /* octets in the line so far */
};

/* "Authentication-Results: id". */
void ll_authres_begin(struct ll_authres_out *, struct ll_slice id);
/* "; method=result" on a line of its own. */
void ll_authres_put(struct ll_authres_out *, const char *method, const char *result);
void ll_authres_comment(struct ll_authres_out *, struct ll_slice text);
void ll_authres_reason(struct ll_authres_out *, struct ll_slice text); /* right behind put */
/* " type.name=value"; an empty value writes nothing. */
void ll_authres_property(struct ll_authres_out *, const char *type, const char *name,
                         struct ll_slice value);
/* "; none" where no result was written, and CR LF. */
void ll_authres_end(struct ll_authres_out *);

/* Our own methods, out of the engines' results. */
void ll_authres_spf(struct ll_authres_out *, const struct ll_spf_result *);
/* One result for each signature; "dkim=none" where there is none. */
void ll_authres_dkim(struct ll_authres_out *, const struct ll_dkim_result *, size_t n);
void ll_authres_dmarc(struct ll_authres_out *, const struct ll_dmarc_result *);
void ll_authres_arc(struct ll_authres_out *, const struct ll_arc_result *);
/* RFC 8601 2.7.3. result: "pass", "fail", "temperror", "permerror"; name: the verified one, or
 * empty. */
void ll_authres_iprev(struct ll_authres_out *, const char *result, struct ll_slice ip,
                      struct ll_slice name);
/* RFC 8601 2.7.4: a login; user may be empty. */
void ll_authres_auth(struct ll_authres_out *, const char *result, struct ll_slice user);
/* Method x-tls, for there is no registered one. An empty version: the session was in clear. */
void ll_authres_tls(struct ll_authres_out *, struct ll_slice version, struct ll_slice cipher);

#endif
