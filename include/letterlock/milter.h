/*
 * milter: the protocol between a mail server (MTA) and its filters, Sendmail's milter version 6, as
 * Sendmail's libmilter and Postfix speak it. Both sides: the MTA's messages and the filter's.
 *
 * A message is a length of four octets (big-endian), a code of one octet, and data. All that is
 * known of a code is its row below, and its data's layout.
 *
 *     ll_milter_reader_init(&r, LL_MILTER_FRAME_MAX);
 *     while ((got = ll_milter_read(&r, &in, &m)) == LL_MILTER_MSG)      in: octets, in any pieces
 *         ... m; its slices hold until the next call ...
 *     if (got == LL_MILTER_BAD) close the connection
 *     ll_milter_put(&m, &out);                                          the other way
 *
 * The MTA opens with OPTNEG, the filter answers with its own. Then for each session CONNECT, HELO,
 * and for each letter MAIL, RCPT ..., DATA, HEADER ..., EOH, BODY ..., EOB; ABORT ends a letter
 * early. Each but MACRO, ABORT, QUIT and QUIT_NC gets one answer, unless the steps say otherwise
 * (ll_milter_answers); EOB gets changes before it.
 *
 * Pure: no I/O, no clock. Memory: what has come of one message, its announced length counts for
 * nothing until the octets are there.
 */
#ifndef LETTERLOCK_MILTER_H
#define LETTERLOCK_MILTER_H

#include "letterlock/base.h"

#define LL_MILTER_VERSION     6
#define LL_MILTER_VERSION_MIN 2             /* older ones cannot leave steps out */
#define LL_MILTER_FRAME_MAX   (1024 * 1024) /* octets of a message behind its length */
#define LL_MILTER_CHUNK_MAX   65535 /* octets of one BODY or REPLBODY, unless more is agreed */

/* ROW(ID, code, layout, word). Commands are the MTA's, answers the filter's, OPTNEG both's. */
#define LL_MILTER_COMMANDS(ROW)                                                                    \
    ROW(ABORT, 'A', NONE, "abort")                                                                 \
    ROW(BODY, 'B', OCTETS, "body")                                                                 \
    ROW(CONNECT, 'C', CONNECT, "connect")                                                          \
    ROW(MACRO, 'D', MACRO, "macro")                                                                \
    ROW(EOB, 'E', OCTETS, "end of body")                                                           \
    ROW(HELO, 'H', STRING, "helo")                                                                 \
    ROW(QUIT_NC, 'K', NONE, "quit, new connection")                                                \
    ROW(HEADER, 'L', PAIR, "header")                                                               \
    ROW(MAIL, 'M', STRINGS, "mail")                                                                \
    ROW(EOH, 'N', NONE, "end of header")                                                           \
    ROW(OPTNEG, 'O', OPTNEG, "option negotiation")                                                 \
    ROW(QUIT, 'Q', NONE, "quit")                                                                   \
    ROW(RCPT, 'R', STRINGS, "rcpt")                                                                \
    ROW(DATA, 'T', NONE, "data")                                                                   \
    ROW(UNKNOWN, 'U', STRING, "unknown command")
#define LL_MILTER_ANSWERS(ROW)                                                                     \
    ROW(ADDRCPT, '+', STRING, "add recipient")                                                     \
    ROW(DELRCPT, '-', STRING, "delete recipient")                                                  \
    ROW(ADDRCPT_PAR, '2', STRINGS, "add recipient with parameters")                                \
    ROW(SHUTDOWN, '4', NONE, "421 and close")                                                      \
    ROW(ACCEPT, 'a', NONE, "accept")                                                               \
    ROW(REPLBODY, 'b', OCTETS, "replace body")                                                     \
    ROW(CONTINUE, 'c', NONE, "continue")                                                           \
    ROW(DISCARD, 'd', NONE, "discard")                                                             \
    ROW(CHGFROM, 'e', STRINGS, "change sender")                                                    \
    ROW(CONNFAIL, 'f', NONE, "connection failed")                                                  \
    ROW(ADDHEADER, 'h', PAIR, "add header")                                                        \
    ROW(INSHEADER, 'i', INDEXED, "insert header")                                                  \
    ROW(CHGHEADER, 'm', INDEXED, "change header")                                                  \
    ROW(PROGRESS, 'p', NONE, "progress")                                                           \
    ROW(QUARANTINE, 'q', STRING, "quarantine")                                                     \
    ROW(REJECT, 'r', NONE, "reject")                                                               \
    ROW(SKIP, 's', NONE, "skip")                                                                   \
    ROW(TEMPFAIL, 't', NONE, "tempfail")                                                           \
    ROW(REPLYCODE, 'y', STRING, "reply code")

enum ll_milter_type {
#define LL_MILTER_ENUM(ID, code, layout, word) LL_MILTER_##ID = (code),
    LL_MILTER_COMMANDS(LL_MILTER_ENUM) LL_MILTER_ANSWERS(LL_MILTER_ENUM)
#undef LL_MILTER_ENUM
};
const char *ll_milter_word(enum ll_milter_type);

/* What a filter may do at EOB (actions), as bits of OPTNEG. */
enum ll_milter_action {
    LL_MILTER_MAY_ADD_HEADERS = 0x1, /* ADDHEADER, INSHEADER */
    LL_MILTER_MAY_CHANGE_BODY = 0x2,
    LL_MILTER_MAY_ADD_RCPT = 0x4,
    LL_MILTER_MAY_DELETE_RCPT = 0x8,
    LL_MILTER_MAY_CHANGE_HEADERS = 0x10, /* CHGHEADER */
    LL_MILTER_MAY_QUARANTINE = 0x20,
    LL_MILTER_MAY_CHANGE_FROM = 0x40,
    LL_MILTER_MAY_ADD_RCPT_PAR = 0x80,
    LL_MILTER_MAY_SET_MACROS = 0x100, /* name the macros it wants, in OPTNEG */
};

/* How the two talk (steps). NO_: the MTA does not send it. NR_: the filter does not answer it. */
enum ll_milter_step {
    LL_MILTER_NO_CONNECT = 0x1,
    LL_MILTER_NO_HELO = 0x2,
    LL_MILTER_NO_MAIL = 0x4,
    LL_MILTER_NO_RCPT = 0x8,
    LL_MILTER_NO_BODY = 0x10,
    LL_MILTER_NO_HEADER = 0x20,
    LL_MILTER_NO_EOH = 0x40,
    LL_MILTER_NR_HEADER = 0x80,
    LL_MILTER_NO_UNKNOWN = 0x100,
    LL_MILTER_NO_DATA = 0x200,
    LL_MILTER_CAN_SKIP = 0x400, /* SKIP may answer BODY: no more of it is sent */
    LL_MILTER_RCPT_REJECTED = 0x800,
    LL_MILTER_NR_CONNECT = 0x1000,
    LL_MILTER_NR_HELO = 0x2000,
    LL_MILTER_NR_MAIL = 0x4000,
    LL_MILTER_NR_RCPT = 0x8000,
    LL_MILTER_NR_DATA = 0x10000,
    LL_MILTER_NR_UNKNOWN = 0x20000,
    LL_MILTER_NR_EOH = 0x40000,
    LL_MILTER_NR_BODY = 0x80000,
    LL_MILTER_LEADING_SPACE = 0x100000, /* values are all octets behind the colon, both ways */
};

struct ll_milter_options {
    uint32_t version;
    uint32_t actions;
    uint32_t steps;
};

struct ll_milter_msg {
    enum ll_milter_type type;
    /* STRING: the text; OCTETS: the octets; PAIR and INDEXED: the field's value, its folds LF alone
     * (an empty one in CHGHEADER deletes the field); CONNECT: the address. */
    struct ll_slice text;
    struct ll_slice name; /* PAIR, INDEXED: the field's name; CONNECT: the client's host name */
    struct ll_slice
        strings;     /* STRINGS, MACRO, OPTNEG (macros wanted): strings, each with its NUL */
    uint32_t index;  /* INSHEADER: place, 0 the top; CHGHEADER: which of that name, from 1 */
    uint8_t family;  /* CONNECT: '4', '6', 'L' (a path), 'U' (unknown: no port, no text) */
    uint16_t port;   /* CONNECT */
    uint8_t command; /* MACRO: code of the command that they belong to */
    struct ll_milter_options options; /* OPTNEG */
};

/* ---- reading -------------------------------------------------------------------------------- */

struct ll_milter_reader {
    struct ll_buf frame;
    size_t max;
    bool whole; /* the frame is, and was given out */
    bool bad;
};

enum ll_milter_got {
    LL_MILTER_MORE, /* *in is used up */
    LL_MILTER_MSG,
    LL_MILTER_BAD, /* empty or over max, an unknown code, data not of its layout, no memory: for
                      good */
};

/* max: octets of a message, LL_MILTER_FRAME_MAX at most. */
void ll_milter_reader_init(struct ll_milter_reader *, size_t max);
void ll_milter_reader_release(struct ll_milter_reader *);
/* Takes octets from *in up to the end of one message. */
enum ll_milter_got ll_milter_read(struct ll_milter_reader *, struct ll_slice *in,
                                  struct ll_milter_msg *ret);

/* The first string of *rest, without its NUL; false: there is none. */
bool ll_milter_string(struct ll_slice *rest, struct ll_slice *ret);
/* A macro of a MACRO message, by the name that the MTA uses: "i", "{auth_authen}"; a name of one
 * letter may stand in braces. */
bool ll_milter_macro(const struct ll_milter_msg *, struct ll_slice name, struct ll_slice *ret);

/* ---- writing -------------------------------------------------------------------------------- */

/* Appends the message. out->failed: it is full, a string has a NUL inside, `strings` does not end
 * in one, or the message is over LL_MILTER_FRAME_MAX. */
void ll_milter_put(const struct ll_milter_msg *, struct ll_buf *out);

/* ---- options -------------------------------------------------------------------------------- */

/* The filter's side: the answer to an offer. wanted: actions it cannot do without, steps it would
 * like. False: the MTA's version is too old, or it lacks an action; then close. */
bool ll_milter_negotiate(const struct ll_milter_options *offered,
                         const struct ll_milter_options *wanted, struct ll_milter_options *ret);
/* The MTA's side: is the answer within what was offered? */
bool ll_milter_agreed(const struct ll_milter_options *offered,
                      const struct ll_milter_options *answered);
/* Does the filter answer that command under these steps? */
bool ll_milter_answers(enum ll_milter_type command, uint32_t steps);

#endif
