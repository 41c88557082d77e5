/*
 * addr: mailboxes, domains and paths (RFC 5321 4.1.2 and 4.1.3, RFC 6531 3.3).
 *
 * One parser for every address that letterlock reads from an envelope, a configuration or a
 * command line. What it yields is canonical, so that two spellings of one mailbox are equal
 * octets:
 *   - the domain is lower case and in A-labels (RFC 5891; U-labels go in, `xn--` comes out);
 *   - an address literal is rewritten from its binary form: "[192.0.2.1]", "[ipv6:2001:db8::1]";
 *   - the local part keeps its case, and loses quotes and backslashes that it does not need:
 *     "\"a.b\"@X.Org" becomes "a.b@x.org".
 * Comments, white space, groups and display names are no part of a path and are refused.
 */
#ifndef LETTERLOCK_ADDR_H
#define LETTERLOCK_ADDR_H

#include <letterlock/base.h>

#define LL_LOCAL_MAX   64  /* octets, as written (RFC 5321 4.5.3.1.1) */
#define LL_DOMAIN_MAX  255 /* octets (RFC 5321 4.5.3.1.2) */
#define LL_PATH_MAX    256 /* octets, with "<" and ">" (RFC 5321 4.5.3.1.3) */
#define LL_LABEL_MAX   63  /* octets (RFC 1035 2.3.4) */
#define LL_MAILBOX_MAX (LL_LOCAL_MAX + 1 + LL_DOMAIN_MAX)

/* Rows: enum name, one sentence for logs and people. */
#define LL_ADDR_ERRORS(ROW)                                                                        \
    ROW(OK, "no error")                                                                            \
    ROW(SYNTAX, "bad address syntax")                                                              \
    ROW(ROUTE, "source routes are not accepted")                                                   \
    ROW(LOCAL_LONG, "local part longer than 64 octets")                                            \
    ROW(DOMAIN_LONG, "domain longer than 255 octets")                                              \
    ROW(PATH_LONG, "path longer than 256 octets")                                                  \
    ROW(DOMAIN, "not a valid domain name")                                                         \
    ROW(LITERAL, "not a valid address literal")                                                    \
    ROW(NO_DOMAIN, "the address has no domain")                                                    \
    ROW(NEEDS_UTF8, "non-ASCII address without SMTPUTF8")                                          \
    ROW(BAD_UTF8, "address is not valid UTF-8")

enum ll_addr_error {
#define LL_ADDR_ENUM(id, text) LL_ADDR_##id,
    LL_ADDR_ERRORS(LL_ADDR_ENUM)
#undef LL_ADDR_ENUM
};

const char *ll_addr_error_text(enum ll_addr_error);

enum ll_domain_kind {
    LL_DOMAIN_NONE, /* no domain: the null path, or bare <postmaster> */
    LL_DOMAIN_NAME,
    LL_DOMAIN_IPV4, /* [192.0.2.1] */
    LL_DOMAIN_IPV6, /* [ipv6:2001:db8::1] */
};

/* A canonical mailbox; all zeros is the null path. Holds no pointers: copy it freely. */
struct ll_mailbox {
    uint16_t n;       /* octets of text; 0: the null path "<>" */
    uint16_t local_n; /* octets of text that are the local part */
    uint8_t kind;     /* enum ll_domain_kind */
    bool utf8;        /* the local part is not ASCII: the letter needs SMTPUTF8 */
    /* The local part asks another server to route (RFC 5321 appendix F.3 and older): it holds
     * '%', '!', '@', or begins with '@'. Refuse such recipients with 5.1.3. */
    bool indirect;
    char text[LL_MAILBOX_MAX + 1]; /* local@domain, NUL-terminated */
};

static inline struct ll_slice ll_mailbox_text(const struct ll_mailbox *m)
{
    return ll_slice(m->text, m->n);
}
static inline struct ll_slice ll_mailbox_local(const struct ll_mailbox *m)
{
    return ll_slice(m->text, m->local_n);
}
/* The canonical domain or literal; empty for LL_DOMAIN_NONE. */
static inline struct ll_slice ll_mailbox_domain(const struct ll_mailbox *m)
{
    return ll_slice_skip(ll_mailbox_text(m), (size_t)m->local_n + 1);
}
static inline bool ll_mailbox_null(const struct ll_mailbox *m)
{
    return m->n == 0;
}

/* Parses local@domain, without angle brackets. utf8: non-ASCII is allowed (RFC 6531).
 * *ret is written on LL_ADDR_OK alone. */
enum ll_addr_error ll_mailbox_parse(struct ll_slice text, bool utf8, struct ll_mailbox *ret);

/* Parses a path with its angle brackets from the front of text; *ret_used says where it ended.
 * "<>" gives the null path; "<postmaster>" (any case) a mailbox without a domain; whether either
 * is allowed is the caller's to say. A source route "<@a,@b:c@d>" is LL_ADDR_ROUTE. */
enum ll_addr_error ll_path_parse(struct ll_slice text, bool utf8, struct ll_mailbox *ret,
                                 size_t *ret_used);

/* Appends the canonical form of a domain name: A-labels, lower case, no trailing dot. utf8:
 * U-labels are allowed. Only letters, digits and hyphens, labels of 1 to 63 octets, and a last
 * label that is not all digits (that would be an address without brackets). */
enum ll_addr_error ll_domain_canonical(struct ll_slice domain, bool utf8, struct ll_buf *out);

/* IP addresses as text: four numbers below 256 without leading zeros; RFC 4291 2.2. */
bool ll_ipv4_parse(struct ll_slice text, uint8_t ret[4]);
bool ll_ipv6_parse(struct ll_slice text, uint8_t ret[16]);
/* Appends "192.0.2.1" (n 4) or, in the form of RFC 5952 4, "2001:db8::1" (n 16). */
void ll_ip_put(const uint8_t *address, size_t n, struct ll_buf *out);

/* Appends the canonical form of an address literal, brackets included. General literals other
 * than IPv6 (RFC 5321 4.1.3) are refused. */
enum ll_addr_error ll_literal_canonical(struct ll_slice literal, struct ll_buf *out,
                                        enum ll_domain_kind *ret_kind);

/* Appends a local part given by its meaning (without quotes), quoted where the grammar demands
 * it. False: CR, LF, NUL or another control inside, or longer than 64 octets when written. */
bool ll_local_quote(struct ll_slice local, struct ll_buf *out);
/* Appends the meaning of a canonical local part: quotes and backslashes taken away. */
void ll_local_unquote(struct ll_slice local, struct ll_buf *out);

/* Splits user+detail at the first octet out of `delimiters` that is not the first octet of the
 * local part. Without one, or for a quoted local part: *ret_user is all of it, *ret_detail is
 * empty. False when there was no detail. Both are borrowed from m. */
bool ll_mailbox_split(const struct ll_mailbox *m, const char *delimiters, struct ll_slice *ret_user,
                      struct ll_slice *ret_detail);

/* Writes the local part in ASCII lower case: for what is looked up by address whatever its case. */
void ll_mailbox_lower(struct ll_mailbox *);

/* Equal domains, and equal local parts but for ASCII case: what our own users count as one. */
bool ll_mailbox_same(const struct ll_mailbox *, const struct ll_mailbox *);

#endif
