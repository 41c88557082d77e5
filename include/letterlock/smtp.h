/*
 * smtp: the grammar that server and client share: lines, content, commands, parameters, replies.
 *
 * Lines. Only CR LF ends a line. A CR without LF, an LF without CR and a NUL are errors, from
 * everyone, in commands, replies, DATA and BDAT (RFC 5321 2.3.8, 4.1.1.4). ll_smtp_line is the one
 * place that knows this; all others call it.
 *
 * Content. A letter's content is a sequence of such lines. DATA carries it dot-stuffed and ended
 * by the line "." (RFC 5321 4.5.2); BDAT carries it as it is (RFC 3030). Both readers accept
 * exactly the same letters. Content that does not end in CR LF cannot be sent by DATA; through
 * BDAT it is an error as well.
 */
#ifndef LETTERLOCK_SMTP_H
#define LETTERLOCK_SMTP_H

#include <letterlock/addr.h>
#include <letterlock/base.h>

/* Limits, in octets with CR LF unless it says otherwise. */
#define LL_SMTP_LINE_MAX     4096  /* a command: 512 (RFC 5321 4.5.3.1.4) and every extension's */
#define LL_SMTP_AUTH_MAX     12288 /* a line of an AUTH exchange (RFC 4954 4) */
#define LL_SMTP_REPLY_MAX    512   /* a reply line, sent (RFC 5321 4.5.3.1.5) */
#define LL_SMTP_REPLY_IN_MAX 2048  /* a reply line, received: lenient, some servers write more */
#define LL_SMTP_REPLY_LINES  64    /* lines of one received reply */
#define LL_SMTP_TEXT_MAX     1000  /* a line of content that others must take (4.5.3.1.6) */
#define LL_SMTP_ENVID_MAX    100   /* characters of ENVID, as written (RFC 3461 4.4) */
#define LL_SMTP_ORCPT_MAX    500   /* characters of ORCPT, as written (RFC 3461 4.2) */

/* ---- errors: one table for the grammar of both directions ---------------------------------- */

/* Rows: enum name, reply code, enhanced code, sentence. */
#define LL_SMTP_ERRORS(ROW)                                                                        \
    ROW(OK, 250, "2.0.0", "OK")                                                                    \
    ROW(BARE_CR, 500, "5.5.2", "Bare CR: lines end in CR LF")                                      \
    ROW(BARE_LF, 500, "5.5.2", "Bare LF: lines end in CR LF")                                      \
    ROW(NUL, 500, "5.5.2", "NUL is not allowed")                                                   \
    ROW(LINE_LONG, 500, "5.5.2", "Line too long")                                                  \
    ROW(CONTENT_BARE_CR, 550, "5.5.2", "Bare CR in the letter: lines end in CR LF")                \
    ROW(CONTENT_BARE_LF, 550, "5.5.2", "Bare LF in the letter: lines end in CR LF")                \
    ROW(CONTENT_NUL, 550, "5.6.0", "NUL in the letter")                                            \
    ROW(CONTENT_LINE_LONG, 550, "5.6.0", "Line too long in the letter")                            \
    ROW(CONTENT_NO_EOL, 550, "5.5.2", "The letter does not end with CR LF")                        \
    ROW(CONTENT_SIZE, 552, "5.3.4", "The letter is too large")                                     \
    ROW(UNKNOWN, 500, "5.5.1", "Command not recognised")                                           \
    ROW(NOT_ASCII, 500, "5.5.2", "Non-ASCII or control octets in a command")                       \
    ROW(NO_PARAMETERS, 501, "5.5.4", "This command takes no parameters")                           \
    ROW(ARGUMENT, 501, "5.5.4", "Bad or missing argument")                                         \
    ROW(PATH, 501, "5.1.3", "Bad address syntax")                                                  \
    ROW(PATH_SENDER, 501, "5.1.7", "Bad sender address syntax")                                    \
    ROW(ROUTE, 550, "5.1.3", "Only a plain user@domain is accepted")                               \
    ROW(NEEDS_UTF8, 553, "5.6.7", "Non-ASCII address needs SMTPUTF8")                              \
    ROW(PARAMETER, 501, "5.5.4", "Bad parameter syntax")                                           \
    ROW(PARAMETER_TWICE, 501, "5.5.4", "Parameter given twice")                                    \
    ROW(PARAMETER_UNKNOWN, 555, "5.5.4", "Parameter not recognised")                               \
    ROW(BODY_TYPE, 501, "5.5.4", "Unknown BODY type")                                              \
    ROW(BINARY, 555, "5.6.1", "BINARYMIME is not offered")

enum ll_smtp_error {
#define LL_SMTP_ENUM(id, code, enhanced, text) LL_SMTP_##id,
    LL_SMTP_ERRORS(LL_SMTP_ENUM)
#undef LL_SMTP_ENUM
};

struct ll_smtp_error_info {
    uint16_t code;
    const char *enhanced;
    const char *text;
};
const struct ll_smtp_error_info *ll_smtp_error_info(enum ll_smtp_error);

/* ---- lines ---------------------------------------------------------------------------------- */

enum ll_smtp_line {
    LL_SMTP_LINE_PART, /* no end yet: all octets of in are part of the line */
    LL_SMTP_LINE_END,  /* *ret_n octets, CR LF included */
    LL_SMTP_LINE_BAD,  /* *ret_n octets up to and with the offending one; *ret_error says why */
};

/* Looks for the end of the line that in begins or continues. *cr: the octet before in was a CR
 * that waits for its LF; kept up to date, so a line may be split anywhere. After LINE_BAD the
 * caller may go on behind the offending octet, with *cr as it was left. */
enum ll_smtp_line ll_smtp_line(struct ll_slice in, bool *cr, size_t *ret_n,
                               enum ll_smtp_error *ret_error);

/* ---- content: readers ------------------------------------------------------------------------ */

/* What was seen in a letter's content; zero it to begin. */
struct ll_smtp_content {
    uint64_t octets; /* decoded: without stuffed dots and the final line */
    uint64_t lines;
    uint64_t line_octets; /* of the present line, without CR LF */
    uint64_t longest;     /* octets of the longest line, without CR LF */
    bool eight_bit;       /* an octet above 127 was seen */
    enum ll_smtp_error
        error; /* the first one; LL_SMTP_OK: none. Set: runs are empty from then on */
};

enum ll_smtp_data_state {
    LL_SMTP_DATA_LINE,   /* expects the first octet of a line */
    LL_SMTP_DATA_TEXT,   /* inside a line */
    LL_SMTP_DATA_CR,     /* a CR was the last octet */
    LL_SMTP_DATA_DOT,    /* a line's first octet was a dot */
    LL_SMTP_DATA_DOT_CR, /* a dot and a CR */
    LL_SMTP_DATA_END,    /* the final line was read */
};

/* DATA. Zero it to begin (LL_SMTP_DATA_LINE is 0). */
struct ll_smtp_data {
    struct ll_smtp_content c;
    enum ll_smtp_data_state state;
    uint64_t line_max; /* octets of a line without CR LF; 0: no limit */
};

/* Takes octets and yields the next run of decoded content in *ret_run, borrowed from in (or, for
 * a CR that was held back, static); runs are as long as the input allows. Returns the octets
 * taken: more than 0 unless in is empty or the end was read. A run may be empty. Only CR LF . CR LF
 * (or . CR LF at the very start) ends the letter; octets behind it are not taken. After an error
 * it reads on to that end. */
size_t ll_smtp_data_read(struct ll_smtp_data *, struct ll_slice in, struct ll_slice *ret_run);
static inline bool ll_smtp_data_done(const struct ll_smtp_data *d)
{
    return d->state == LL_SMTP_DATA_END;
}

/* BDAT: the same policy over chunks; a chunk's edge may fall anywhere. Zero it to begin. */
struct ll_smtp_bdat {
    struct ll_smtp_content c;
    bool cr;           /* a CR waits for its LF */
    uint64_t left;     /* octets of the present chunk still to come: the caller sets it */
    uint64_t line_max; /* as above */
};
/* Takes at most `left` octets; *ret_run is what is content among them. */
size_t ll_smtp_bdat_read(struct ll_smtp_bdat *, struct ll_slice in, struct ll_slice *ret_run);
/* The last chunk was read: true when the content is a sequence of whole lines. */
bool ll_smtp_bdat_end(struct ll_smtp_bdat *);

/* ---- content: writer --------------------------------------------------------------------------
 */

/* Dot-stuffing. Zero it to begin. */
struct ll_smtp_stuff {
    bool mid_line; /* the octet before was not the LF of a CR LF */
    bool cr;
};
/* Yields the next run to send for content `in`: *ret_dot says that one "." goes before the run.
 * Returns the octets taken (the run's own length). The content must keep the line policy: false in
 * *ret_ok (and 0 taken) at a bare CR, bare LF or NUL, and nothing more may be sent then but the end
 * of the connection. */
size_t ll_smtp_stuff(struct ll_smtp_stuff *, struct ll_slice in, bool *ret_dot,
                     struct ll_slice *ret_run, bool *ret_ok);
/* What ends the letter: ".\r\n", or "\r\n.\r\n" when the last line was not ended. */
struct ll_slice ll_smtp_stuff_end(const struct ll_smtp_stuff *);

/* ---- ESMTP parameters ----------------------------------------------------------------------- */

enum ll_smtp_body { LL_SMTP_BODY_NONE, LL_SMTP_BODY_7BIT, LL_SMTP_BODY_8BITMIME };
enum ll_smtp_ret { LL_SMTP_RET_NONE, LL_SMTP_RET_FULL, LL_SMTP_RET_HDRS }; /* RFC 3461 4.3 */
enum { /* RFC 3461 4.1; 0: not given */
       LL_SMTP_NOTIFY_NEVER = 1,
       LL_SMTP_NOTIFY_SUCCESS = 2,
       LL_SMTP_NOTIFY_FAILURE = 4,
       LL_SMTP_NOTIFY_DELAY = 8,
};

/* Which extensions are on: a parameter of another one is PARAMETER_UNKNOWN. */
enum {
    LL_SMTP_EXT_SIZE = 1,
    LL_SMTP_EXT_8BITMIME = 2,
    LL_SMTP_EXT_SMTPUTF8 = 4,
    LL_SMTP_EXT_AUTH = 8,
    LL_SMTP_EXT_DSN = 16,
    LL_SMTP_EXT_CHUNKING = 32,
    LL_SMTP_EXT_STARTTLS = 64,
    LL_SMTP_EXT_PIPELINING = 128,
};

/* The argument of MAIL. Slices are borrowed from the line; ENVID and ORCPT are kept as written
 * (xtext), and decode to printable ASCII. */
struct ll_smtp_mail {
    struct ll_mailbox from; /* null for <> */
    bool size_given;
    uint64_t size; /* SIZE=, octets */
    enum ll_smtp_body body;
    bool utf8; /* SMTPUTF8 */
    enum ll_smtp_ret ret;
    struct ll_slice envid;
    struct ll_slice auth; /* AUTH= as written (xtext), "<>" included; p NULL: not given */
};

/* The argument of RCPT. */
struct ll_smtp_rcpt {
    struct ll_mailbox to;  /* kind LL_DOMAIN_NONE: bare <postmaster> */
    unsigned notify;       /* LL_SMTP_NOTIFY_*, 0: not given */
    struct ll_slice orcpt; /* type;xtext as written; p NULL: not given */
};

/* Parse what follows "MAIL" and "RCPT" on the line (" FROM:<...> ..."). exts: LL_SMTP_EXT_*.
 * With EXT_SMTPUTF8, RCPT's path may be non-ASCII if utf8 was given with MAIL. *ret is complete on
 * LL_SMTP_OK alone. */
enum ll_smtp_error ll_smtp_mail_parse(struct ll_slice args, unsigned exts,
                                      struct ll_smtp_mail *ret);
enum ll_smtp_error ll_smtp_rcpt_parse(struct ll_slice args, unsigned exts, bool utf8,
                                      struct ll_smtp_rcpt *ret);

/* xtext (RFC 3461 4): decoding refuses all but ' '..'~' in the result ("printable (graphic and
 * white space)", 4.2 and 4.4; a tab is of no use to anybody); false leaves out dirty. */
bool ll_xtext_decode(struct ll_slice in, struct ll_buf *out);
void ll_xtext_encode(struct ll_slice in, struct ll_buf *out);

/* ORCPT, "type;address" as written. Of type utf-8 (RFC 6533 3) the address is unitext, in which
 * SP, '+', '=', '\' and what lies beyond ASCII stand as "\x{HEX}", or with utf8 (SMTPUTF8 was
 * given) as themselves; of any other type it is xtext. What either decodes to holds no control
 * character. At most LL_SMTP_ORCPT_MAX octets. */
bool ll_orcpt_ok(struct ll_slice orcpt, bool utf8);
bool ll_orcpt_utf8(struct ll_slice orcpt); /* its type is utf-8 */
/* Appends valid UTF-8 (an ORCPT that is ok) with "\x{HEX}" for all that is not ASCII:
 * utf-8-addr-xtext, which every server can take. */
void ll_orcpt_ascii_put(struct ll_buf *out, struct ll_slice orcpt);
/* Appends the address of an ORCPT of type utf-8 that is ok, without its "\x{HEX}": utf-8-address.
 */
void ll_orcpt_utf8_put(struct ll_buf *out, struct ll_slice address);

/* ---- commands: the one table ----------------------------------------------------------------- */

enum {                        /* flags of a verb */
       LL_SMTP_ARGS_NONE = 1, /* no argument allowed */
       LL_SMTP_ARGS_NEED = 2, /* an argument required */
       LL_SMTP_LAST = 4, /* must be the last of a pipelined group: octets behind it are refused */
       LL_SMTP_JUNK = 8, /* does not bring mail forward: counted */
       LL_SMTP_BEFORE_EHLO = 16, /* allowed before EHLO or HELO */
       LL_SMTP_FOREIGN = 32,     /* another protocol's: ends the session */
       LL_SMTP_BEFORE_AUTH = 64, /* allowed before a login where one is required */
};

/* Rows: enum name, verb, flags, HELP text. */
#define LL_SMTP_VERBS(ROW)                                                                         \
    ROW(EHLO, "EHLO",                                                                              \
        LL_SMTP_ARGS_NEED | LL_SMTP_LAST | LL_SMTP_JUNK | LL_SMTP_BEFORE_EHLO |                    \
            LL_SMTP_BEFORE_AUTH)                                                                   \
    ROW(HELO, "HELO",                                                                              \
        LL_SMTP_ARGS_NEED | LL_SMTP_LAST | LL_SMTP_JUNK | LL_SMTP_BEFORE_EHLO |                    \
            LL_SMTP_BEFORE_AUTH)                                                                   \
    ROW(STARTTLS, "STARTTLS", LL_SMTP_ARGS_NONE | LL_SMTP_BEFORE_AUTH | LL_SMTP_JUNK)              \
    ROW(AUTH, "AUTH", LL_SMTP_ARGS_NEED | LL_SMTP_LAST | LL_SMTP_JUNK | LL_SMTP_BEFORE_AUTH)       \
    ROW(MAIL, "MAIL", LL_SMTP_ARGS_NEED)                                                           \
    ROW(RCPT, "RCPT", LL_SMTP_ARGS_NEED)                                                           \
    ROW(DATA, "DATA", LL_SMTP_ARGS_NONE | LL_SMTP_LAST)                                            \
    ROW(BDAT, "BDAT", LL_SMTP_ARGS_NEED)                                                           \
    ROW(RSET, "RSET",                                                                              \
        LL_SMTP_ARGS_NONE | LL_SMTP_JUNK | LL_SMTP_BEFORE_EHLO | LL_SMTP_BEFORE_AUTH)              \
    ROW(NOOP, "NOOP", LL_SMTP_JUNK | LL_SMTP_BEFORE_EHLO | LL_SMTP_BEFORE_AUTH)                    \
    ROW(QUIT, "QUIT", LL_SMTP_ARGS_NONE | LL_SMTP_BEFORE_EHLO | LL_SMTP_BEFORE_AUTH)               \
    ROW(VRFY, "VRFY", LL_SMTP_ARGS_NEED | LL_SMTP_JUNK)                                            \
    ROW(HELP, "HELP", LL_SMTP_JUNK | LL_SMTP_BEFORE_EHLO | LL_SMTP_BEFORE_AUTH)                    \
    ROW(GET, "GET", LL_SMTP_FOREIGN)                                                               \
    ROW(POST, "POST", LL_SMTP_FOREIGN)                                                             \
    ROW(PUT, "PUT", LL_SMTP_FOREIGN)                                                               \
    ROW(HEAD, "HEAD", LL_SMTP_FOREIGN)                                                             \
    ROW(OPTIONS, "OPTIONS", LL_SMTP_FOREIGN)                                                       \
    ROW(CONNECT, "CONNECT", LL_SMTP_FOREIGN)

enum ll_smtp_verb {
#define LL_SMTP_ENUM(id, verb, flags) LL_SMTP_V_##id,
    LL_SMTP_VERBS(LL_SMTP_ENUM)
#undef LL_SMTP_ENUM
        LL_SMTP_V_COUNT
};

struct ll_smtp_command {
    enum ll_smtp_verb verb;
    unsigned flags;
    struct ll_slice args; /* behind the verb and one SP, trailing blanks cut; borrowed */
};

/* Recognises a command; line is without its CR LF. Only ASCII printable octets (and octets above
 * 127 where utf8) are let through. *ret is set for every verb of the table, also where its argument
 * is an error: what follows a bad BDAT is no command. */
enum ll_smtp_error ll_smtp_command_parse(struct ll_slice line, bool utf8,
                                         struct ll_smtp_command *ret);

/* ---- replies --------------------------------------------------------------------------------- */

/* Appends a reply: "CODE[-| ][X.Y.Z ]text CR LF". enhanced may be NULL (greeting, EHLO, 3xx); its
 * first digit is replaced by the code's when they differ. text: lines divided by LF; whatever is
 * not printable ASCII becomes '?'; lines too long for 512 octets are broken into several. */
void ll_smtp_reply_put(struct ll_buf *out, unsigned code, const char *enhanced,
                       struct ll_slice text);

/* One received reply. Zero it to begin, ll_smtp_reply_release at the end. */
struct ll_smtp_reply {
    uint16_t code;        /* 200..599 */
    uint16_t enhanced[3]; /* 5, 7, 1; all 0: none was given (RFC 2034) */
    uint16_t lines;
    bool done;          /* whole: code and text may be read */
    bool bad;           /* not a reply: the connection is of no use any more */
    struct ll_buf text; /* the lines, LF between them, without code and enhanced code; clean
                         * ASCII: all else became '?'; cut at 8 KiB */
    struct ll_buf line; /* a line not yet whole */
    bool cr;            /* of the line recogniser */
};

/* Takes octets up to and with the reply's end; then `done` (or `bad`) is set, and octets left
 * belong to the next reply. Lines must end in CR LF, begin with the same code, and have SP, "-" or
 * the end behind it; more than LL_SMTP_REPLY_LINES lines or LL_SMTP_REPLY_IN_MAX octets in one are
 * bad. */
size_t ll_smtp_reply_feed(struct ll_smtp_reply *, struct ll_slice in);
/* Ready for the next reply; keeps memory. */
void ll_smtp_reply_clear(struct ll_smtp_reply *);
void ll_smtp_reply_release(struct ll_smtp_reply *);

/* ---- names ------------------------------------------------------------------------------------
 */

/* Appends an EHLO name that is safe in a Received field: letters, digits, '-', '.', '_' or an
 * address literal, at most 255 octets; false, and nothing appended, for all else. */
bool ll_smtp_helo_clean(struct ll_slice name, struct ll_buf *out);

#endif
