/*
 * msg: the header section of a letter (RFC 5322): reading fields, building fields, and what a
 * submission server may put right (RFC 6409 8).
 *
 * A letter here is in wire form: lines end in CR LF, no bare CR or LF, no NUL (lib/smtp has seen to
 * it). "Header" always means the fields with their CR LF, without the empty line that ends them.
 * Readers give slices into the original and allocate nothing unless they take an arena. Nothing
 * recurses; all work is linear in the input.
 */
#ifndef LETTERLOCK_MSG_H
#define LETTERLOCK_MSG_H

#include "letterlock/base.h"

#define LL_MSG_HEADER_MAX    (256u * 1024) /* octets of a header; real ones have 2 to 20 KiB */
#define LL_MSG_FIELDS_MAX    1000          /* fields of a header */
#define LL_MSG_ADDRESSES_MAX 10000         /* mailboxes in one list */
#define LL_MSG_LINE_MAX      998           /* octets of a line without CR LF, RFC 5322 2.1.1 */
#define LL_MSG_LINE_GOOD     78            /* the same: where builders fold */

/* Rows: enum name, reply code, enhanced code, sentence. */
#define LL_MSG_ERRORS(ROW)                                                                         \
    ROW(OK, 250, "2.0.0", "no error")                                                              \
    ROW(HEADER_LONG, 552, "5.3.4", "the header section is over 256 KiB")                           \
    ROW(FIELDS_MANY, 552, "5.3.4", "the header section has over 1000 fields")                      \
    ROW(BAD_LINE, 550, "5.6.0", "a line of the header section is no header field")                 \
    ROW(NO_FROM, 550, "5.6.0", "the letter has no From field")                                     \
    ROW(MANY_FROM, 550, "5.6.0", "the letter has more than one From field")                        \
    ROW(BAD_FROM, 550, "5.6.0", "the From field does not hold exactly one address")                \
    ROW(MANY_RESENT, 550, "5.6.0",                                                                 \
        "the letter was sent again more than once: who gets it now does not show")                 \
    ROW(BAD_ADDRESS, 550, "5.1.3", "an address list is not well formed")                           \
    ROW(ADDRESSES_MANY, 552, "5.3.4", "an address list has over 10000 addresses")                  \
    ROW(BARE_CR, 550, "5.6.0", "the letter holds a CR that does not end a line")                   \
    ROW(NUL, 550, "5.6.0", "the letter holds a NUL")                                               \
    ROW(RESOURCE, 451, "4.3.0", "not enough memory")

enum ll_msg_error {
#define LL_MSG_ENUM(id, code, enhanced, text) LL_MSG_##id,
    LL_MSG_ERRORS(LL_MSG_ENUM)
#undef LL_MSG_ENUM
};

struct ll_msg_error_info {
    uint16_t code;
    const char *enhanced;
    const char *text;
};
const struct ll_msg_error_info *ll_msg_error_info(enum ll_msg_error);

/* ---- where the header ends --------------------------------------------------------------- */

/* Finds the end of the header in a letter that comes in parts. Zero it to begin. */
struct ll_msg_end {
    uint64_t seen;  /* octets of the header so far, the empty line not counted */
    unsigned state; /* of the last octets: CR, CR LF ... */
    bool found;     /* the empty line is complete */
};
/* Returns how many octets of `in` belong to the header or its empty line: all of them until
 * `found` is set, then those up to and with the empty line's LF. Before the end, a CR LF held over
 * is counted in `seen` when the next octet shows what it was. */
size_t ll_msg_end_feed(struct ll_msg_end *, struct ll_slice in);

/* Splits a whole letter: its header, and its body behind the empty line. Without an empty line
 * all is header. */
void ll_msg_split(struct ll_slice letter, struct ll_slice *ret_header, struct ll_slice *ret_body);

/* ---- fields ------------------------------------------------------------------------------ */

struct ll_msg_field {
    struct ll_slice raw;  /* the whole field with its CR LF */
    struct ll_slice name; /* as written, without blanks before the colon */
    struct ll_slice body; /* behind the colon, without the last CR LF; folds are still in it */
    bool obsolete;        /* blanks between name and colon (RFC 5322 4.5) */
    bool bad;             /* no field: no colon, an empty name, a name with other than 33..126, or a
                             line that begins with a blank and continues nothing. raw is the line */
};

/* Takes the next field off *rest; false at the end of the header. */
bool ll_msg_field_next(struct ll_slice *rest, struct ll_msg_field *ret);
/* The first field of this name (any case) in header; false: none. */
bool ll_msg_field_find(struct ll_slice header, struct ll_slice name, struct ll_msg_field *ret);
/* Appends a field's body unfolded (RFC 5322 2.2.3) and without blanks at its ends. */
void ll_msg_unfold(struct ll_slice body, struct ll_buf *out);

/* What one walk over a header tells. */
struct ll_msg_facts {
    uint32_t fields;
    uint32_t bad; /* lines that are no fields */
    uint32_t received;
    uint32_t from;
    uint32_t sender;
    uint32_t date;
    uint32_t message_id;
    uint32_t subject;
    uint32_t to;  /* To, Cc and Bcc */
    uint32_t bcc; /* Resent-Bcc too */
    uint32_t return_path;
    uint32_t delivered_to;
    uint32_t authres; /* Authentication-Results */
    bool eight_bit;   /* octets above 127 in the header: it needs SMTPUTF8 */
    bool obsolete;    /* a field written as `Name :` */
};
/* Counts; HEADER_LONG and FIELDS_MANY above the limits, BAD_LINE is left to the caller (bad). */
enum ll_msg_error ll_msg_facts(struct ll_slice header, struct ll_msg_facts *ret);
/* A Delivered-To field holds this address (ASCII case ignored): the letter has been here before. */
bool ll_msg_delivered_to(struct ll_slice header, struct ll_slice address);

/* ---- addresses ----------------------------------------------------------------------------- */

struct ll_msg_address {
    struct ll_slice spec; /* local@domain without comments and folds, in the arena. Quotes are kept;
                             ll_mailbox_parse says whether it is a mailbox */
    bool in_group;
    /* ll_msg_named_addresses alone: what people read, quotes undone; encoded words (RFC 2047) still
     * in them. In the arena; empty where there is none. */
    struct ll_slice name;
    struct ll_slice group;
};

/* Reads a mailbox, address or list of them (RFC 5322 3.4, obsolete routes and empty elements
 * too) out of a field's body. Display names and comments are skipped. */
enum ll_msg_error ll_msg_addresses(struct ll_slice body, struct ll_arena *arena,
                                   struct ll_msg_address **ret, size_t *ret_count);
/* The same with names: the words before "<", or else a comment, as in "ann@b.c (Ann)". */
enum ll_msg_error ll_msg_named_addresses(struct ll_slice body, struct ll_arena *arena,
                                         struct ll_msg_address **ret, size_t *ret_count);
/* The author: the header has one From field with one mailbox outside any group; a line that is no
 * field, but would be From to a lenient reader, counts. *ret_spec is in the
 * arena. NO_FROM, MANY_FROM, BAD_FROM, RESOURCE. */
enum ll_msg_error ll_msg_author(struct ll_slice header, struct ll_arena *arena,
                                struct ll_slice *ret_spec);
/* All addresses of To, Cc and Bcc, for `send -t`; of Resent-To, Resent-Cc and Resent-Bcc alone
 * where there is one of them (RFC 5322 3.6.6). MANY_RESENT: with several Resent-From fields they
 * belong to several occasions. */
enum ll_msg_error ll_msg_recipients(struct ll_slice header, struct ll_arena *arena,
                                    struct ll_msg_address **ret, size_t *ret_count);

/* ---- identifiers and traces --------------------------------------------------------------------
 */

/* The message identifiers in Message-ID, In-Reply-To or References (RFC 5322 3.6.4): what stands
 * between "<" and ">", as it is; where a field has no "<" at all, its words. At most
 * LL_MSG_ADDRESSES_MAX. Slices of body. RESOURCE. */
enum ll_msg_error ll_msg_ids(struct ll_slice body, struct ll_arena *arena, struct ll_slice **ret,
                             size_t *ret_count);

/* What a Received field says (RFC 5321 4.4), as far as it keeps to the form: the first word behind
 * each keyword. Anyone may have written it: nothing here is proven. Slices of body; p NULL: not
 * there. */
struct ll_msg_trace {
    struct ll_slice from, by, via, with, id, recipient; /* without < > */
    struct ll_slice from_comment; /* behind from: "(mx.example [192.0.2.1])" without brackets */
    struct ll_slice from_ip; /* the first address literal in from or from_comment, without [ ] */
    struct ll_slice date;    /* behind the last ";": for ll_msg_date */
};
void ll_msg_trace_read(struct ll_slice body, struct ll_msg_trace *ret);

/* ---- dates ---------------------------------------------------------------------------------- */

/* Reads a date-time (RFC 5322 3.3, and 4.3: comments, years of two digits, zones by name; one that
 * says nothing is taken for UTC). *ret_offset_min (may be NULL): the zone, minutes east of
 * Greenwich. false: it is none, or no day of the calendar. What stands behind it is not looked at.
 */
bool ll_msg_date(struct ll_slice body, int64_t *ret_unix_s, int *ret_offset_min);

/* ---- builders ------------------------------------------------------------------------------ */

/* Appends "Name: body CR LF", folded at blanks before LL_MSG_LINE_GOOD where it can be. False, and
 * nothing appended: CR, LF, NUL or another control (but HTAB) in the body, octets above 127 without
 * utf8, a name that is none, or a word that cannot be kept under LL_MSG_LINE_MAX. */
bool ll_msg_field_put(struct ll_buf *out, const char *name, struct ll_slice body, bool utf8);

/* Appends a Date field. */
void ll_msg_date_put(struct ll_buf *out, int64_t unix_s);
/* Appends "<words@host>" made of the time and `random` (16 octets or more from a good source). */
void ll_msg_id_put(struct ll_buf *out, int64_t unix_s, struct ll_slice random,
                   struct ll_slice host);

/* The facts of a Received field (RFC 5321 4.4). Empty slices leave their part out. */
struct ll_msg_received {
    struct ll_slice helo; /* clean (ll_smtp_helo_clean); empty: the address literal stands in */
    struct ll_slice rdns; /* the verified name of the address; clean domain or empty */
    struct ll_slice ip;   /* "192.0.2.1", "2001:db8::1"; brackets are added */
    struct ll_slice by;   /* own host name */
    struct ll_slice with; /* "ESMTPS": RFC 3848, RFC 6531 4.3 */
    struct ll_slice id;   /* the letter's id: an atom */
    struct ll_slice recipient;   /* for <...>: only where there is exactly one recipient */
    struct ll_slice tls_version; /* "TLSv1.3" */
    struct ll_slice tls_cipher;  /* "TLS_AES_256_GCM_SHA384" */
    bool hide_client; /* submission: "from [127.0.0.1]" style facts are left out: the field begins
                         with "by" (RFC 5321 4.4 allows it where the client is not SMTP's business;
                         RFC 6409 8 leaves privacy to the server) */
    bool local; /* by a user of this machine: "by HOST (local uid 1000)", and no from and with */
    uint32_t uid;
    bool utf8; /* recipient may hold UTF-8 */
    int64_t unix_s;
};
/* Appends the field; whatever is not clean in a part is left out or replaced by '?', so that no
 * part can end the field or open a comment. */
void ll_msg_received_put(struct ll_buf *out, const struct ll_msg_received *);

/* ---- submission fix-up ----------------------------------------------------------------------- */

struct ll_msg_fixup {
    int64_t unix_s;
    struct ll_slice random; /* for a Message-ID: 16 octets or more */
    struct ll_slice host;   /* own host name, for a Message-ID */
    struct ll_slice sender; /* address that replaces what Sender says; empty: it is left alone */
    bool keep_bcc;          /* false: Bcc and Resent-Bcc are removed (RFC 5322 3.6.3) */
};
/* RFC 6409 8: adds Date and Message-ID where they are missing, removes Bcc and Return-Path, refuses
 * a letter without exactly one From with one mailbox (several mailboxes in From are allowed where a
 * Sender field names one: RFC 5322 3.6.2), and header lines that are no fields. *ret_changed false:
 * nothing had to be done and out is untouched; else the whole new header was appended to out.
 * The order of what stays is kept; what is added goes to the end. */
enum ll_msg_error ll_msg_fixup(struct ll_slice header, const struct ll_msg_fixup *,
                               struct ll_buf *out, bool *ret_changed);

/* ---- local text to wire form -------------------------------------------------------------------
 */

/* Zero it to begin. */
struct ll_msg_wire {
    bool cr;       /* a CR waits for its LF */
    bool mid_line; /* the last line is not ended yet */
};
/* Appends text whose lines end in LF or CR LF as lines that end in CR LF. BARE_CR, NUL: refused,
 * out holds what came before; RESOURCE: out is full. */
enum ll_msg_error ll_msg_to_wire(struct ll_msg_wire *, struct ll_slice in, struct ll_buf *out);
/* The text is over: ends an unended last line. */
enum ll_msg_error ll_msg_to_wire_end(struct ll_msg_wire *, struct ll_buf *out);

#endif
