/*
 * ipc: framed messages between processes, over a SOCK_SEQPACKET socket pair, in the manner of
 * imsg: fixed header, size cap, descriptors by SCM_RIGHTS only where the type says so.
 *
 * This file knows frames; daemon/msg.h knows what they mean. A channel never blocks but in
 * ll_ipc_call: what the peer does not take is queued, up to LL_IPC_QUEUE_MAX octets.
 */
#ifndef LL_IO_IPC_H
#define LL_IO_IPC_H

#include "letterlock/base.h"

#define LL_IPC_FRAME_MAX 65536       /* octets of one frame, header included */
#define LL_IPC_QUEUE_MAX (64u << 20) /* octets queued to a peer that does not read */

struct event_base;
struct ll_ipc;

struct ll_frame {
    uint16_t type;
    uint64_t id;
    struct ll_slice body; /* borrowed: valid until the handler returns */
    int fd;               /* -1 where none came; the receiver owns it and closes it */
};

/* Called for each frame. Returns 0, or -1 when the frame is not acceptable: the channel is then
 * closed and `gone` called. The handler may send on the channel, but must not free it. */
typedef int (*ll_ipc_frame_fn)(void *arg, const struct ll_frame *);
/* What `why` points to where the peer went without a fault. */
extern const char ll_ipc_closed[];

/* Called once when the peer has closed, broken the rules or let its queue overflow; `why` is a
 * static sentence. The owner may free the channel here. */
typedef void (*ll_ipc_gone_fn)(void *arg, const char *why);

/* Takes the descriptor over. NULL without memory. */
struct ll_ipc *ll_ipc_new(struct event_base *, int fd, ll_ipc_frame_fn, ll_ipc_gone_fn, void *arg);
void ll_ipc_free(struct ll_ipc *);
/* Breaks the channel from this side: nothing more is sent or handed out, and `gone` is called from
 * the loop with `why` (a static sentence). */
void ll_ipc_break(struct ll_ipc *, const char *why);

/* Reads nothing more from the peer until it is switched off again: for those who pass on what they
 * get to somebody slower. The peer's own queue grows then, and ll_ipc_queued tells it. */
void ll_ipc_pause(struct ll_ipc *, bool on);

/* Sends or queues one frame. fd (or -1) stays the caller's: a copy travels. Returns 0; -1 when the
 * frame is too long, the queue is full or the channel is closed (nothing was sent). */
int ll_ipc_send(struct ll_ipc *, uint16_t type, uint64_t id, struct ll_slice body, int fd);

/* Octets that the peer has not taken yet: for senders that can wait. */
size_t ll_ipc_queued(const struct ll_ipc *);

/* Sends one frame and waits, blocking, at most timeout_ms for the frame that repeats its id; other
 * frames that arrive meanwhile are handed out by the loop later, in order. The answer's body is
 * appended to ret_body. Returns the answer's type, or -1 (time-out, closed, not sent). For the
 * private-key operation inside a handshake, and nothing else. */
int ll_ipc_call(struct ll_ipc *, uint16_t type, uint64_t id, struct ll_slice body, int timeout_ms,
                struct ll_buf *ret_body);

/* A pair of connected SEQPACKET sockets, close-on-exec, non-blocking; -1 and errno on failure. */
int ll_ipc_pair(int ret_fd[2]);

#endif
