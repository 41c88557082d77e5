/*
 * box: the process that reads a letter.
 *
 * It is forked with all it needs in memory (the letter, the keys), and loses what else a program
 * has before it looks at the first octet: no network, no new program, no file but the folders that
 * are named, no core dump, bounded time. What it shows it writes to stdout itself. What must be
 * kept (keys found in the letter), and what only a person can say (a password), goes through a pair
 * of pipes to the process outside, as frames of bounded length; that one never sees the letter.
 */
#ifndef LL_TOOL_READ_BOX_H
#define LL_TOOL_READ_BOX_H

#include "letterlock/base.h"

#define LL_BOX_FRAME_MAX  (2u * 1024 * 1024) /* octets of one frame: keys have up to 1 MiB */
#define LL_BOX_FRAMES_MAX 200 /* frames of one letter; more, and the process is ended */
#define LL_BOX_CPU_S      120
#define LL_BOX_FILES      16

struct ll_box {
    int to, from; /* of the process within: frames out, answers in */
};

struct ll_box_rules {
    const char *read;  /* a folder whose files may be read, or NULL */
    const char *write; /* a folder that files may be made in, or NULL */
};

/* Outside: a frame came; an answer, if the frame asks for one, goes to *answer. False: the process
 * within is ended. */
typedef bool (*ll_box_host_fn)(void *host, uint8_t type, struct ll_slice frame,
                               struct ll_buf *answer);
/* Within: the work; returns a sysexits status. */
typedef int (*ll_box_work_fn)(void *work, struct ll_box *);

/* Runs work in a process of its own. Returns its status, or one of ours (said on stderr): 70 where
 * it died, 71 where it could not be made or confined. */
int ll_box_run(const struct ll_box_rules *, ll_box_work_fn work, void *work_data,
               ll_box_host_fn host, void *host_data);

/* Within: sends a frame; with `answer`, waits for what comes back. False: nobody is there. */
bool ll_box_send(struct ll_box *, uint8_t type, struct ll_slice frame);
bool ll_box_ask(struct ll_box *, uint8_t type, struct ll_slice frame, struct ll_buf *answer);

/* No core file, and no other process of this user may look into this one's memory. */
void ll_box_keep_secrets(void);

#endif
