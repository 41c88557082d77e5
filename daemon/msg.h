/*
 * msg: the typed messages of msgs.def. Struct, codec and permission table are made from the rows.
 */
#ifndef LL_DAEMON_MSG_H
#define LL_DAEMON_MSG_H

#include "io/ipc.h"
#include "letterlock/base.h"

enum ll_role {
#define ROLE(ID, name, program, workers, life) LL_ROLE_##ID,
#include "daemon/roles.def"
#undef ROLE
    LL_ROLE_COUNT
};

const char *ll_role_name(enum ll_role);

enum ll_msg_type {
    LL_MSG_NONE,
#define MSG(ID, id, from, to, fds, fields) LL_MSG_##ID,
#include "daemon/msgs.def"
#undef MSG
    LL_MSG_COUNT
};

#define U8(x)  uint8_t x;
#define U16(x) uint16_t x;
#define U32(x) uint32_t x;
#define U64(x) uint64_t x;
#define STR(x) struct ll_slice x;
#define MSG(ID, id, from, to, fds, fields)                                                         \
    struct ll_m_##id {                                                                             \
        fields                                                                                     \
    };
#include "daemon/msgs.def"
#undef MSG
#undef U8
#undef U16
#undef U32
#undef U64
#undef STR

struct ll_msg {
    enum ll_msg_type type;
    uint64_t id;
    int fd; /* -1 where the type carries none; the handler owns it */
    union {
#define MSG(ID, id, from, to, fds, fields) struct ll_m_##id id;
#include "daemon/msgs.def"
#undef MSG
    };
};

const char *ll_msg_name(enum ll_msg_type);
/* May a process of role `from` send this type to one of role `to`? Never to one of its own role. */
bool ll_msg_allowed(enum ll_msg_type, enum ll_role from, enum ll_role to);
/* Is there any message between the two, in either direction? Then super makes a channel. */
bool ll_msg_channel(enum ll_role a, enum ll_role b);

/* Checks type, permission, descriptor and fields; every octet of the body must be used. Slices in
 * *ret borrow from the frame. Returns 0, or -1 (the frame's descriptor is then closed). */
int ll_msg_decode(const struct ll_frame *, enum ll_role from, enum ll_role to, struct ll_msg *ret);
/* Encodes the member of the union that m->type names. */
void ll_msg_encode(const struct ll_msg *m, struct ll_buf *out);
/* Encodes and sends; m->fd stays the caller's. Returns as ll_ipc_send. */
int ll_msg_send(struct ll_ipc *, const struct ll_msg *m);

/* ---- closed sets that travel in messages -------------------------------------------------- */

enum ll_login { LL_LOGIN_OK, LL_LOGIN_REFUSED, LL_LOGIN_LATER };

enum ll_addr_kind {
    LL_ADDR_MAILBOX, /* lives here */
    LL_ADDR_ALIAS,   /* known here, goes elsewhere: post expands it */
    LL_ADDR_RELAY,   /* a relayed domain, and the recipient is on its list */
    LL_ADDR_PROBE,   /* a relayed domain whose inner server must be asked */
    LL_ADDR_UNKNOWN, /* our domain, no such recipient */
    LL_ADDR_OUTSIDE, /* not a domain of ours */
    LL_ADDR_BOUNCE, /* an SRS address of ours that holds: post sends reports on, and nothing else */
    LL_ADDR_REPORT, /* a report_address: tally takes the letter in; mailbox: of the same name */
    LL_ADDR_LATER,  /* could not be found out now */
};

/* ALIAS_ANSWER. OK: `targets` are all final, none is an alias (expanded here, each address once):
 * mailboxes of ours, addresses elsewhere, or unknown ones, for the asker to find out. */
enum ll_alias_result {
    LL_ALIAS_OK,
    LL_ALIAS_NONE,  /* no alias: a mailbox, an address elsewhere, or unknown */
    LL_ALIAS_LOOP,  /* the aliases only name each other: nobody is left */
    LL_ALIAS_MANY,  /* over LL_ALIAS_TARGETS_MAX targets, or too deep */
    LL_ALIAS_LATER, /* could not be found out now */
};

/* CTL_FLOW, with the id of a question whose answer is long. */
enum ll_flow {
    LL_FLOW_GO,
    LL_FLOW_WAIT, /* the asker has not read what there is */
    LL_FLOW_GONE, /* nobody reads any more */
};

/* DUE_DONE */
enum ll_due_result {
    LL_DUE_SENT,  /* the letter is in the journal */
    LL_DUE_LATER, /* not now */
    LL_DUE_NEVER, /* the address does not take it */
    LL_DUE_RESULTS
};

enum ll_space { LL_SPACE_OK, LL_SPACE_FULL, LL_SPACE_BROKEN };

#endif
