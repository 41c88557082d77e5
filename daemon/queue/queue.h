/*
 * queue: the inside of the role. One process, one loop, one thread (of the outcome log).
 *
 *   queue.c     role ops: peers come and go, messages, draining
 *   segment.c   the files of the spool: segments, body files, free space
 *   scan.c      records -> index, at start and behind each APPENDED
 *   index.c     letters, pairs, destinations: what is known of a letter, and who waits for what
 *   store.c     the tables and pools that they are kept in
 *   dest.c      destinations: how many at a time, how fast;  pause.c  those that are paused
 *   outlog.c    the outcome log: appending, flushing, checkpoints;  replay.c reads it at start
 *   dispatch.c  jobs out;  result.c  results in, deferral, failure
 *   report.c    what senders are told of success, delay and failure
 *   copy.c      empties segments that are mostly dead
 *   answer.c    control's questions;  show.c  what is shown;  change.c  what the operator changes
 *   receipt.c   the receipts
 *
 * Memory: a letter with one recipient takes 80 octets, its pair 48, its place in the table 8; see
 * PAIR_MEMORY. Addresses and content are read from the journal when they are needed.
 */
#ifndef LL_DAEMON_QUEUE_H
#define LL_DAEMON_QUEUE_H

#include "daemon/proc.h"
#include "daemon/queue/store.h"
#include "letterlock/spool.h"

#include <pthread.h>
#include <semaphore.h>

#define WHEEL_SLOTS       4096 /* of one second each */
#define JOBS_MAX          4096 /* jobs out at a time, all carriers together */
#define RECORD_MAX        (LL_RECORD_HEAD + LL_SPOOL_META_MAX + LL_SPOOL_INLINE_MAX + LL_RECORD_END)
#define LETTER_ARENA_MAX  (1u << 20) /* of one decoded envelope */
#define DEATHS_MAX        3          /* carriers that a letter may take with it */
#define DESTINATION_FIRST 5          /* jobs to a destination at first */
#define PAIR_MEMORY       160 /* octets that a letter of one recipient may take, all in all */
#define HELD_BY_OPERATOR  "held by the operator"
#define PAIR_OCTETS_MAX   (24u << 10) /* of the addresses in one job: it must fit a frame */

struct event;
struct queue;

/* ---- lists: circular, the head is a link itself ---------------------------------------------- */

struct link {
    struct link *prev, *next;
};

static inline void link_init(struct link *l)
{
    l->prev = l->next = l;
}
static inline bool link_empty(const struct link *head)
{
    return head->next == head;
}
static inline void link_out(struct link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    link_init(l);
}
static inline void link_last(struct link *head, struct link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}
static inline void link_first(struct link *head, struct link *l)
{
    link_last(head->next, l);
}
#define LINK_OF(type, member, l) ((type *)((char *)(l)-offsetof(type, member)))

/* ---- what is known --------------------------------------------------------------------------- */

/* What a server or mailbox last said; shared by all recipients to whom it said the same. */
struct reply {
    struct node node; /* of q->replies */
    uint32_t refs;
    uint32_t hash;
    uint16_t code;
    uint16_t n_text, n_remote;
    uint8_t n_status;
    uint8_t bytes[]; /* status, text, remote */
};

struct reply_view {
    uint16_t code;
    struct ll_slice status, text, remote;
};

enum carrier { CARRIER_LOCAL, CARRIER_RELAY, CARRIER_POST, CARRIER_TALLY, CARRIERS };

/* Where letters go next: a domain or route by relay, the mailboxes here, or post. */
struct dest {
    struct node node;    /* of q->dests */
    struct link ready;   /* pairs that may go now */
    struct link turn;    /* among those of its carrier that have some ready */
    struct link rest;    /* among those that back off */
    struct pair *last;   /* newest pair, while its letter is being indexed */
    struct reply *why;   /* the trouble */
    int64_t until_s;     /* back-off: nothing goes before; 0: none */
    int64_t looked_s;    /* when its waiting letters were last looked through for late ones */
    struct link pace;    /* among those whose credit is not full */
    int64_t paced_s;     /* when it last grew */
    uint32_t credit;     /* see dest.c */
    uint32_t rate;       /* letters a minute; 0: no limit */
    int64_t lifetime_s;  /* how long letters are tried */
    uint16_t most;       /* jobs out, at most */
    uint16_t recipients; /* of one letter, at most */
    uint16_t good;       /* successes since the limit last grew, when throttled */
    bool throttled;      /* it has asked for less */
    bool paused;         /* by the operator */
    uint32_t pairs;
    uint32_t hash;
    uint16_t running;
    uint16_t limit;
    uint8_t carrier;
    uint8_t trouble; /* back-offs in a row */
    uint16_t n;
    char name[];
};

/* One letter for one destination: up to LL_JOB_RCPTS_MAX recipients that go together. */
struct pair {
    struct letter *letter;
    struct dest *dest;
    struct link link; /* ready, wheel, suspects or running */
    uint32_t until_s;
    uint16_t n_rcpt;
    uint8_t kind; /* enum ll_job_kind */
    uint8_t deaths;
    uint8_t where; /* enum pair_place */
};

enum pair_place { PAIR_NOWHERE, PAIR_READY, PAIR_WHEEL, PAIR_SUSPECT, PAIR_RUNNING };

enum { /* rcpt.flags */
       RCPT_NULL_REVERSE = 1 << 0,
       RCPT_NO_FAILURE = 1 << 1, /* NOTIFY is given without FAILURE */
       RCPT_NO_DELAY = 1 << 2,   /* NOTIFY is given without DELAY */
       RCPT_SUCCESS = 1 << 3,    /* NOTIFY with SUCCESS */
       RCPT_WARNED = 1 << 4,     /* the sender was told of the delay */
       RCPT_HOLD = 1 << 5,       /* to be held when it comes back undelivered */
};

struct rcpt {
    struct pair *pair;   /* NULL: held, or over */
    struct reply *reply; /* last one, or NULL */
    uint16_t attempts;
    uint8_t state; /* enum ll_rcpt_state */
    uint8_t deaths;
    uint8_t kind; /* enum ll_rcpt_kind */
    uint8_t flags;
};

struct letter {
    struct node node; /* of q->letters */
    uint64_t id;
    struct segment *segment; /* where it lies now */
    uint64_t body_file;
    uint32_t offset;
    uint32_t length; /* of the record */
    uint32_t arrived_s;
    uint16_t n_rcpt;
    uint16_t alive; /* recipients that are not over */
    uint8_t flags;  /* of the letter */
    uint8_t origin;
    struct rcpt rcpt[];
};

struct segment {
    struct link link; /* by number */
    uint32_t number;
    uint64_t generation;
    uint8_t writer;
    uint16_t index;
    int fd;
    uint64_t size;    /* octets of the file, when last looked at */
    uint64_t upto;    /* records before this are indexed */
    uint64_t until;   /* scan to here; UINT64_MAX: to the end of the file */
    uint32_t letters; /* alive */
    uint64_t octets;  /* of their records */
    uint64_t *over;   /* letters in it that are over */
    size_t n_over, cap_over;
    bool ours;  /* given out, or announced, in this life of the queue */
    bool given; /* in this life: we write zeros ahead of its writer */
    bool final; /* nobody writes to it any more: once scanned to `until`, it is closed */
    bool closed;
    bool doubles;     /* records of letters that lie elsewhere too */
    bool tail;        /* found at start: the last octets may be torn, check contents too */
    bool unreadable;  /* the disk refused to give octets of it: it is kept for a later start */
    int64_t closed_s; /* since when */
    struct link scan; /* among those to be scanned */
};

/* ---- parts of the queue ---------------------------------------------------------------------- */

struct slot { /* a job that is out */
    struct pair *pair;
    struct ll_peer *peer;
    uint64_t id;
    uint64_t began_ms;
};

struct side {             /* one carrier */
    struct link turn;     /* destinations with pairs ready, round robin */
    struct link suspects; /* pairs whose carrier died: one at a time */
    struct pair *suspect; /* the one that is out */
    unsigned running;
};

struct writer_state { /* peer->data of a writer */
    bool segment_asked;
    bool files_asked;
    bool files_given; /* once */
    bool met;         /* has said what it still writes to */
};

struct given_file {
    struct given_file *next;
    uint64_t number;
    uint8_t role;
    uint16_t index;
};

/* A file to be removed once what made it needless is durable. */
struct removal {
    int dir;         /* descriptor */
    int flush_first; /* a folder whose earlier removals must be durable before; or -1 */
    char name[24];
};

struct outlog {
    int fd;
    uint32_t number;
    uint32_t oldest; /* logs from here on exist */
    uint64_t generation;
    uint64_t size;
    struct ll_buf gather, flight;
    struct ll_buf receipts, receipts_flight;
    struct removal *removals, *removals_flight;
    size_t n_removals, cap_removals, n_removals_flight, cap_removals_flight;
    int receipts_fd;
    uint32_t receipts_day;
    bool broken;     /* a write or flush failed: nothing is handed out until a new log is whole */
    bool busy;       /* the thread is at work */
    sem_t loaded;    /* there is work for the thread */
    int error;       /* of the thread's last round */
    uint64_t rounds; /* of the thread that ended well */
    pthread_t thread;
    int wake;
    struct event *wake_event, *kick;
    uint64_t flushed_size;
    bool checkpoint_due;  /* one begins when the thread rests */
    bool checkpoint;      /* one is being written */
    bool checkpoint_last; /* its last octets are in flight */
    size_t at_bucket;     /* how far it is */
    struct segment *at_segment;
    size_t at_over;
    uint64_t checkpoint_size;
};

struct past {         /* what the logs say of a letter not yet found in a segment */
    struct node node; /* of q->past */
    uint64_t id;
    struct reply *reply;
    uint32_t until_s;
    uint16_t rcpt; /* PAST_ALL: the letter is over */
    uint16_t attempts;
    uint8_t state;
    uint8_t deaths;
    bool warned;
};
#define PAST_ALL UINT16_MAX

struct queue {
    struct ll_proc *proc;
    int dir, segments_dir, bodies_dir, log_dir, receipts_dir, aside_dir, lock;
    int64_t now_s; /* Unix time, once a turn of the timer */
    /* index */
    struct table letters, dests, replies;
    struct pieces letter_pieces,
        pair_pieces; /* letters of one recipient; the others are malloc's */
    size_t reply_octets;
    size_t n_rcpt[LL_RCPT_STATES]; /* of letters in the index */
    struct link wheel[WHEEL_SLOTS];
    int64_t wheel_s; /* the second that was last turned */
    struct side side[CARRIERS];
    struct link resting; /* destinations that back off */
    struct link paced;   /* destinations with a rate that have sent something lately */
    char **pauses;       /* names of destinations that the operator paused */
    size_t n_pauses;
    struct slot slots[JOBS_MAX];
    size_t n_running;
    uint32_t slot_seq;
    size_t slot_at;
    /* files */
    struct link segments;
    uint32_t next_segment;
    uint64_t next_body;
    uint64_t first_body; /* of this life */
    uint64_t segment_limit;
    struct given_file *given;
    struct segment *copy; /* the queue's own, open for copies */
    enum ll_space space;
    uint64_t free_files; /* inodes; UINT64_MAX where the file system does not count them */
    uint64_t taken;      /* octets appended since the disk was last looked at */
    uint64_t free_octets, low_octets; /* on the disk; below which it is full */
    bool swept;                       /* body files that nobody refers to are gone */
    /* scan */
    struct link to_scan;
    struct event *scan_event;
    bool scanning; /* the scan of what was there at start */
    uint8_t *scan_buf;
    struct table past; /* while `scanning` */
    struct pieces past_pieces;
    bool old_ids;    /* letters may lie elsewhere than their numbers say */
    bool unreadable; /* a segment is there whose letters nobody knows: no body is needless */
    int64_t copied_s;
    struct outlog log;
    struct event *tick;    /* once a second */
    struct event *pump;    /* hands out */
    uint8_t *record;       /* RECORD_MAX octets: the letter in hand */
    struct ll_arena arena; /* of the letter in hand */
    struct ll_buf out;
    struct ll_buf line;
    struct link answers; /* of control's questions that go on */
    struct event *answer_event;
    uint64_t damaged, accepted, delivered, returned;
    bool draining;
};

/* ---- index.c --------------------------------------------------------------------------------- */

int index_init(struct queue *);
struct letter *letter_find(const struct queue *, uint64_t id);
/* Takes a decoded letter into the index. 0; -1 without memory. */
int letter_add(struct queue *, const struct ll_letter *, struct segment *, uint32_t offset,
               uint32_t length);
/* A copy of its record lies there, and is durable: the letter is that from now on. */
void letter_move(struct queue *, struct letter *, struct segment *, uint32_t offset,
                 uint32_t length);
/* To be called when a letter may have ended: frees it when nothing of it is alive or out. */
void letter_settle(struct queue *, struct letter *);
/* Reads record and envelope into q->record and q->arena; *ret borrows from them until the next
 * call. With `body`, ret->body is there too (NULL p where it has a file). False: errno is EBADMSG
 * where the record is damaged, and else says why it could not be read now. */
bool letter_read(struct queue *, const struct letter *, bool body, struct ll_letter *ret);
/* ll_record_decode into q->arena. A sound record is never called damaged for want of memory. */
bool record_decode(struct queue *, struct ll_slice in, uint64_t generation, struct ll_letter *ret);
void rcpt_set(struct queue *, struct letter *, struct rcpt *, enum ll_rcpt_state);
void rcpt_reply(struct queue *, struct rcpt *, const struct reply_view *);
/* Puts a recipient of the letter in hand among those that wait for its destination. */
int rcpt_schedule(struct queue *, struct letter *, size_t i, const struct ll_rcpt *,
                  uint8_t job_kind, int64_t until_s);
/* The kind of job that such a recipient (enum ll_rcpt_kind) begins with. */
static inline uint8_t job_kind_of(uint8_t rcpt_kind)
{
    return rcpt_kind == LL_RCPT_ALIAS    ? LL_JOB_FORWARD
           : rcpt_kind == LL_RCPT_REPORT ? LL_JOB_READ
                                         : LL_JOB_DELIVER;
}
void pair_ready(struct queue *, struct pair *);
void pair_wait(struct queue *, struct pair *, int64_t until_s);
void pair_take(struct queue *, struct pair *); /* out of whatever list it is in */
void pair_free(struct queue *, struct pair *);
void wheel_turn(struct queue *);
struct reply *reply_hold(struct queue *, const struct reply_view *);
void reply_drop(struct queue *, struct reply *);
struct reply_view reply_view(const struct reply *);
uint64_t hash_bytes(const void *p, size_t n);
static inline uint64_t hash_u64(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9e3779b97f4a7c15u;
    return x ^ x >> 29;
}

/* ---- segment.c ------------------------------------------------------------------------------- */

int segments_open(struct queue *); /* folders, lock, what is there */
struct segment *segment_find(const struct queue *, uint32_t number);
struct segment *segment_new(struct queue *, enum ll_role writer, unsigned index);
int segment_fd(struct queue *, struct segment *);
void segment_over(struct queue *, struct segment *, uint64_t id); /* one of its letters is over */
void segment_settle(struct queue *, struct segment *);
void segment_ahead(struct queue *, struct segment *); /* room in front of its writer */
void give(struct queue *); /* segments and files to writers that wait for them */
int on_segment_ask(struct ll_peer *, const struct ll_msg *);
int on_files_ask(struct ll_peer *, const struct ll_msg *);
int on_file_gone(struct ll_peer *, const struct ll_msg *);
void writer_gone(struct queue *, enum ll_role, unsigned index);
void body_remove(struct queue *, uint64_t number);
void body_name(char name[24], uint64_t number);
void given_taken(struct queue *, uint64_t number);
void space_look(struct queue *);
void space_tell(struct queue *, struct ll_peer *);
void bodies_sweep(struct queue *);

/* ---- scan.c ---------------------------------------------------------------------------------- */

int scan_init(struct queue *);
void scan_begin(struct queue *, struct segment *);
int on_appended(struct ll_peer *, const struct ll_msg *);

/* ---- outlog.c, replay.c ---------------------------------------------------------------------- */

int outlog_init(struct queue *);
int outlog_replay(struct queue *); /* fills q->past */
struct past *past_find(const struct queue *, uint64_t id);
struct past *past_next(const struct past *); /* another entry of the same letter, or NULL */
void past_forget(struct queue *);
/* The state of these recipients, as it is now. */
void outlog_state(struct queue *, const struct letter *, const uint32_t *rcpt, size_t n);
void outlog_segment(struct queue *); /* a number was given */
void outlog_pause(struct queue *, struct ll_slice destination, bool paused);
void outlog_closed(struct queue *, uint32_t segment, uint64_t length);
void outlog_remove(struct queue *, int dir, const char *name);
void outlog_kick(struct queue *);
/* More waits for the disk than it takes at once: whoever makes much of it pauses. */
bool outlog_behind(const struct queue *);
/* Octets that the log may yet need before old ones go: kept back on the disk. */
uint64_t outlog_reserve(const struct queue *);
bool outlog_idle(const struct queue *);
void outlog_checkpoint(struct queue *);
void outlog_tick(struct queue *);

/* ---- dispatch.c, result.c -------------------------------------------------------------------- */

int dispatch_init(struct queue *);
void pump(struct queue *); /* soon */
void carrier_gone(struct queue *, struct ll_peer *);
int on_job_result(struct ll_peer *, const struct ll_msg *);
/* Ends recipients that cannot be delivered: a report, or held, or over. Logs it. */
void rcpts_failed(struct queue *, struct letter *, const struct ll_letter *, const uint32_t *rcpt,
                  size_t n);
void letter_hold(struct queue *, struct letter *, const char *why);
/* Some of the letters whose time is over while their destination rests. */
void dest_expire(struct queue *, struct dest *);
/* Its last answer, behind the reason why it is held. */
void held_reply(struct queue *, struct rcpt *, const char *why);
/* Seconds for which this recipient is tried. */
int64_t rcpt_lifetime(const struct queue *, const struct rcpt *);
/* Seconds until this recipient's next try, or -1: its time is over. */
int64_t retry_after(struct queue *, const struct letter *, const struct rcpt *);

/* ---- dest.c ---------------------------------------------------------------------------------- */

struct ll_slice domain_of(struct ll_slice address);
/* Of a recipient, for a job of this kind. A destination of a smarthost's route is the route. NULL
 * without memory. */
struct dest *dest_for(struct queue *, const struct ll_rcpt *, uint8_t job_kind);
void dest_turn(struct queue *, struct dest *);   /* in or out of its carrier's round */
void dest_settle(struct queue *, struct dest *); /* frees it when nobody needs it */
void dest_sent(struct queue *, struct dest *);   /* a letter went there */
void dest_good(struct queue *, struct dest *);   /* and well */
void dest_trouble(struct queue *, struct dest *, enum ll_trouble, struct reply *why);
void dests_tick(struct queue *);
void dests_conf(struct queue *); /* limits or pauses have changed */

/* ---- pause.c --------------------------------------------------------------------------------- */

bool pause_covers(const struct queue *, const struct dest *);
int pause_set(struct queue *, struct ll_slice name, bool paused); /* -1: no memory, or too many */
void pauses_log(struct queue *);
/* NULL: a name that can be paused; or a sentence on what to name instead. */
const char *pause_wrong(const struct queue *, struct ll_slice name);

/* ---- report.c -------------------------------------------------------------------------------- */

/* Reports on this letter may go out at all. */
bool report_may(const struct letter *);
/* rcpt.flags of a recipient as its envelope has it. */
uint8_t report_flags(const struct ll_rcpt *);
bool report_success_due(const struct letter *, const struct rcpt *);
/* What a job of kind REPORT says of the recipient. */
enum ll_outcome report_outcome(const struct queue *, const struct rcpt *, const struct ll_rcpt *);
/* Seconds until the sender is to be told of the delay; 0: now; -1: never. */
int64_t report_delay_wait(const struct queue *, const struct letter *, const struct rcpt *);
/* Hands a recipient that waits to post, if it is time for that. The caller's pair loses it. */
bool report_delay(struct queue *, struct letter *, const struct ll_letter *, uint32_t rcpt);
/* Back from post. */
void report_delay_done(struct queue *, struct letter *, const struct ll_letter *, uint32_t rcpt,
                       bool made);
/* Tells of the delay of letters that wait for a destination which rests. */
void dest_warn(struct queue *, struct dest *);

/* ---- copy.c, answer.c, receipt.c ------------------------------------------------------------- */

void copy_tick(struct queue *);
int answers_init(struct queue *);
int on_ctl_ask(struct ll_peer *, const struct ll_msg *);
int on_ctl_flow(struct ll_peer *, const struct ll_msg *);
void answers_gone(struct queue *, struct ll_peer *);
void receipt_accepted(struct queue *, const struct ll_letter *);
void receipt_event(struct queue *, const char *event, const struct letter *, const uint32_t *rcpt,
                   size_t n, struct ll_slice facts, uint64_t new_letter);
void receipts_tick(struct queue *);
const char *origin_name(uint8_t origin);

#endif
