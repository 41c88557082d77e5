/*
 * super: letterlockd itself. Opens what needs privilege, starts the roles, connects them, and
 * starts again what dies. It reads its configuration, its children's messages and signals; never a
 * byte from the network, never mail.
 *
 *   main.c      command line, going to the background, signals
 *   child.c     one role process: start, death, restart
 *   wire.c      what a child is given: configuration, listeners, channels
 *   listen.c    listening sockets and the control socket
 *   life.c      reload, draining, the answers to `status`, `reload`, `stop`
 *   user.c      leaving root
 *   stem.c      the same where user namespaces are off
 */
#ifndef LL_DAEMON_SUPER_H
#define LL_DAEMON_SUPER_H

#include "daemon/msg.h"
#include "daemon/roles.h"
#include "io/conf.h"

#include <event2/event.h>
#include <limits.h>
#include <sys/types.h>

#define SUPER_CHILDREN_MAX 256       /* processes: workers are at most 64 a role */
#define SUPER_SOCKETS_MAX  1024      /* listening sockets: each address once a worker */
#define SUPER_FAST_MS      1000      /* a role that dies sooner than this after its start waits */
#define SUPER_BACKOFF_MAX  30        /* seconds: longest wait before a restart */
#define SUPER_START_MAX    60        /* seconds until every role must have said STARTED */
#define SUPER_FD_LOW       10        /* our descriptors lie above those that a child gets */
#define SUPER_CONTROL      "control" /* titles of control's sockets among the listeners */
#define SUPER_SENDMAIL     "sendmail"

struct super;

struct child {
    struct super *super;
    enum ll_role role;
    unsigned index;
    pid_t pid;          /* 0: does not run now */
    struct ll_ipc *ipc; /* NULL: not connected */
    bool wired;         /* has its channels: those that come later connect to it */
    bool started;       /* has said STARTED */
    bool retired;       /* not wanted any more: is not started again */
    int64_t since;      /* unix seconds of the last start */
    uint64_t since_ms;  /* the same by the monotonic clock */
    unsigned restarts;
    uint64_t life;       /* counts its starts: complaints about an earlier life are void */
    unsigned fast;       /* early deaths in a row */
    char *missing;       /* what its sandbox lacks */
    struct event *timer; /* restart after a wait */
};

struct listening {
    char *title;   /* of the listener section, or SUPER_CONTROL */
    char *address; /* as configured; the control socket's path */
    enum ll_role role;
    unsigned worker; /* each has a socket of its own: the kernel shares connections out */
    int fd;
    bool fresh; /* opened by the reload that is under way */
};

enum stage { STAGE_STARTING, STAGE_UP, STAGE_FRONTS, STAGE_CARRIERS, STAGE_QUEUE, STAGE_REST };

struct super {
    char conf_path[PATH_MAX];
    bool foreground;
    bool root;                /* started as root: roles have users of their own */
    uid_t uid[LL_ROLE_COUNT]; /* those users */
    gid_t gid[LL_ROLE_COUNT];
    int stems[LL_ROLE_COUNT]; /* sockets to processes that start and kill for us; -1: none */
    struct ll_conf *conf;
    uint64_t generation;
    int conf_fd;  /* sealed memfd with the encoded configuration */
    int log_fd;   /* what the children get as stderr */
    int ready_fd; /* the waiting foreground process; -1: none */
    struct event_base *base;
    struct child *children[SUPER_CHILDREN_MAX];
    size_t n_children;
    struct listening sockets[SUPER_SOCKETS_MAX];
    size_t n_sockets;
    int programs[LL_ROLE_COUNT]; /* O_PATH descriptors */
    enum stage stage;
    struct event *stage_timer;
    uint64_t deadline_ms; /* of the whole end */
    int64_t since;
    int exit_status;
};

/* ---- user.c ---- */
/* As root: finds the user of each role. -1 with a sentence in *err. */
int super_find_users(struct super *, struct ll_buf *err);
/* As root: enters the user namespace and becomes the user of super. -1 with a sentence in *err.
 * Does nothing when not started as root. */
int super_leave_root(struct super *, struct ll_buf *err);
/* In a forked child: becomes the user of that role. */
int super_become(const struct super *, enum ll_role);
/* Ends a child at once, whatever its user. */
void super_kill(const struct super *, const struct child *);
/* Makes the folders of the configuration that are not there. -1 with a sentence in *err. */
int super_folders(const struct super *, struct ll_buf *err);

/* ---- stem.c ---- */
/* Still as root: forks the stem of a role; those of all that have none. 0 or -1. */
int super_make_stem(struct super *, enum ll_role);
int super_make_stems(struct super *);
/* Starts a worker of that role with this end of its channel; its pid, or -1. */
pid_t stem_start(const struct super *, enum ll_role, unsigned index, int channel);
void stem_kill(const struct super *, enum ll_role, pid_t);

/* ---- listen.c ---- */
/* Result: something else has the address now. */
#define SUPER_BUSY (-2)
/* Opens what `conf` wants and is not open; `fresh` marks the new ones. -1 or BUSY with a sentence
 * in *err: nothing stays open of what this call opened. */
int super_listen(struct super *, const struct ll_conf *conf, struct ll_buf *err);
/* The sockets of control. -1 or BUSY with a sentence in *err. */
int super_listen_control(struct super *, struct ll_buf *err);
void super_unlink_control(const struct super *);
/* Closes the sockets that `conf` does not want. */
void super_listen_prune(struct super *, const struct ll_conf *conf);

/* ---- child.c ---- */
int super_open_programs(struct super *, struct ll_buf *err);
/* Makes the table of children fit the configuration: new ones are started, superfluous retired. */
int super_fit_children(struct super *);
/* In a forked process: turns into the role's program. */
_Noreturn void child_become_role(struct child *, int channel);
int child_start(struct child *); /* fork and connect; not yet wired */
void super_reap(struct super *);
bool super_all_started(const struct super *);
size_t super_running(const struct super *);

/* ---- wire.c ---- */
int super_share_conf(struct super *); /* encodes s->conf into a fresh memfd */
void child_greet(struct child *);     /* configuration and listeners */
void child_wire(struct child *);      /* channels to all that run */
void child_send_conf(struct child *);
void child_send_listener(struct child *, const struct listening *);
void child_send(struct child *, enum ll_msg_type, int fd);

/* ---- life.c ---- */
int super_child_message(struct child *, const struct ll_msg *);
void super_started(struct super *);       /* every role is up for the first time */
void super_stop(struct super *);          /* begins the end; a second time: at once */
void super_stage_goes_on(struct super *); /* a child has ended while stopping */
int super_reload(struct super *, struct ll_buf *err);
void super_reopen_log(struct super *);
int super_open_log(struct super *, struct ll_buf *err);
struct ll_slice super_sentence(const struct ll_buf *err);
void super_fail(struct super *, int status, const char *sentence);

#endif
