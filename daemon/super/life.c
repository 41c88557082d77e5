/* See super.h. */
#include "daemon/super/super.h"

#include "daemon/sandbox.h"
#include "io/clock.h"
#include "io/ipc.h"
#include "io/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#define LINE_MAX_OCTETS 60000 /* of a status line */

void super_fail(struct super *s, int status, const char *sentence)
{
    if (s->exit_status == 0)
        s->exit_status = status;
    fprintf(stderr, "letterlockd: %s\n", sentence);
    ll_log(LL_LOG_ERROR, "failed", LL_FS("why", sentence));
    event_base_loopbreak(s->base);
}

/* Sentences end in a line end on a terminal, not in the log. */
struct ll_slice super_sentence(const struct ll_buf *err)
{
    struct ll_slice s = ll_buf_slice(err);

    return s.n && s.p[s.n - 1] == '\n' ? ll_slice_cut(s, 0, s.n - 1) : s;
}

/* ---- log ------------------------------------------------------------------------------------- */

int super_open_log(struct super *s, struct ll_buf *err)
{
    int fd;

    if (s->foreground)
        fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, SUPER_FD_LOW);
    else
        fd = open(s->conf->log_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0 || (s->root && !s->foreground && getuid() == 0 &&
                   fchown(fd, s->uid[LL_ROLE_SUPER], s->gid[LL_ROLE_SUPER]) != 0)) {
        ll_buf_printf(err, "log_file %s cannot be opened: %s\n", s->conf->log_file,
                      strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if (s->log_fd >= 0)
        close(s->log_fd);
    s->log_fd = fd;
    ll_log_fd(fd);
    return 0;
}

void super_reopen_log(struct super *s)
{
    struct ll_buf err = LL_BUF(4096);

    if (super_open_log(s, &err) != 0) {
        ll_log(LL_LOG_ERROR, "log-not-reopened", LL_F("why", super_sentence(&err)));
    } else {
        for (size_t i = 0; i < s->n_children; i++)
            child_send(s->children[i], LL_MSG_REOPEN_LOG, s->log_fd);
        ll_log(LL_LOG_INFO, "log-reopened");
    }
    ll_buf_release(&err);
}

/* ---- up -------------------------------------------------------------------------------------- */

static int write_pid_file(struct super *s)
{
    char path[PATH_MAX];
    int fd;
    bool good;

    snprintf(path, sizeof(path), "%s/letterlockd.pid", s->conf->run_dir);
    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    good = fd >= 0 && dprintf(fd, "%d\n", (int)getpid()) > 0;
    if (fd >= 0)
        close(fd);
    if (!good)
        super_fail(s, EX_CANTCREAT,
                   "letterlockd.pid cannot be written in run_dir; it must belong "
                   "to the user of super");
    return good ? 0 : -1;
}

void super_started(struct super *s)
{
    char ok = 0;

    if (write_pid_file(s) != 0)
        return;
    s->stage = STAGE_UP;
    event_del(s->stage_timer);
    ll_log(LL_LOG_INFO, "started", LL_FU("pid", (uint64_t)getpid()),
           LL_FS("hostname", s->conf->hostname), LL_FU("processes", s->n_children));
    if (s->ready_fd < 0)
        return;
    dup2(s->log_fd, STDERR_FILENO);
    if (write(s->ready_fd, &ok, 1) != 1)
        ll_log(LL_LOG_WARNING, "nobody-waits");
    close(s->ready_fd);
    s->ready_fd = -1;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* At which stage a role is told to finish: letters stop coming before they stop going. */
static const enum stage stage_of[LL_ROLE_COUNT] = {
    [LL_ROLE_FRONT_MX] = STAGE_FRONTS, [LL_ROLE_FRONT_SUB] = STAGE_FRONTS,
    [LL_ROLE_RELAY] = STAGE_CARRIERS,  [LL_ROLE_LOCAL] = STAGE_CARRIERS,
    [LL_ROLE_POST] = STAGE_CARRIERS,   [LL_ROLE_QUEUE] = STAGE_QUEUE,
    [LL_ROLE_KEEPER] = STAGE_REST,     [LL_ROLE_AUTH] = STAGE_REST,
    [LL_ROLE_DNS] = STAGE_REST,        [LL_ROLE_CONTROL] = STAGE_REST,
    [LL_ROLE_TALLY] = STAGE_CARRIERS,  [LL_ROLE_REPORT] = STAGE_REST,
};
/* Per cent of the time `drain` by which a stage must have ended. */
static const unsigned stage_end[] = {
    [STAGE_FRONTS] = 60, [STAGE_CARRIERS] = 90, [STAGE_QUEUE] = 100, [STAGE_REST] = 110};

static bool stage_has(const struct super *s, enum stage stage)
{
    for (size_t i = 0; i < s->n_children; i++)
        if (s->children[i]->pid && stage_of[s->children[i]->role] == stage)
            return true;
    return false;
}

static void enter_stage(struct super *s, enum stage stage)
{
    uint64_t total = s->conf->drain > 2 ? (uint64_t)s->conf->drain * 1000 : 2000;
    uint64_t until = s->deadline_ms - total + total * stage_end[stage] / 100;
    uint64_t now = ll_now_ms();
    uint64_t left = until > now ? until - now : 1;
    struct timeval tv = {(time_t)(left / 1000), (suseconds_t)(left % 1000 * 1000)};

    s->stage = stage;
    for (size_t i = 0; i < s->n_children; i++) {
        struct child *c = s->children[i];
        struct ll_msg m = {.type = LL_MSG_DRAIN, .fd = -1};

        m.drain.seconds = (uint32_t)((left + 999) / 1000);
        if (c->pid && c->ipc && stage_of[c->role] == stage)
            ll_msg_send(c->ipc, &m);
    }
    event_add(s->stage_timer, &tv);
}

void super_stage_goes_on(struct super *s)
{
    while (s->stage > STAGE_UP && !stage_has(s, s->stage)) {
        if (s->stage == STAGE_REST) {
            event_base_loopbreak(s->base);
            return;
        }
        enter_stage(s, s->stage + 1);
    }
}

void super_stop(struct super *s)
{
    uint64_t total = s->conf->drain > 2 ? (uint64_t)s->conf->drain * 1000 : 2000;

    if (s->stage > STAGE_UP || s->stage == STAGE_STARTING) {
        event_base_loopbreak(s->base);
        return;
    }
    ll_log(LL_LOG_INFO, "stopping", LL_FU("seconds", total / 1000));
    s->deadline_ms = ll_now_ms() + total;
    enter_stage(s, STAGE_FRONTS);
    super_stage_goes_on(s);
}

/* ---- reload ---------------------------------------------------------------------------------- */

/* Settings that are built into running processes: their users, folders and sandboxes. */
static const char *needs_restart(const struct ll_conf *a, const struct ll_conf *b)
{
    const struct {
        const char *name;
        const char *a;
        const char *b;
    } texts[] = {
        {"state_dir", a->state_dir, b->state_dir}, {"spool_dir", a->spool_dir, b->spool_dir},
        {"run_dir", a->run_dir, b->run_dir},       {"mail_dir", a->mail_dir, b->mail_dir},
        {"accounts", a->accounts, b->accounts},    {"users", a->users, b->users},
    };

    for (size_t i = 0; i < LL_COUNT(texts); i++)
        if (strcmp(texts[i].a, texts[i].b) != 0)
            return texts[i].name;
    return a->uid_base != b->uid_base ? "uid_base" : NULL;
}

static bool same_paths(const struct ll_conf *a, const struct ll_conf *b, enum ll_role role)
{
    struct ll_sandbox_path *paths = calloc(2 * (size_t)LL_SANDBOX_PATHS_MAX, sizeof(*paths));
    struct ll_sandbox_path *other = paths ? paths + LL_SANDBOX_PATHS_MAX : NULL;
    struct ll_arena arena;
    bool same = paths != NULL;
    size_t n;

    ll_arena_init(&arena, 128u << 20);
    if (same) {
        n = ll_sandbox_paths(a, role, &arena, paths, LL_SANDBOX_PATHS_MAX);
        same = n == ll_sandbox_paths(b, role, &arena, other, LL_SANDBOX_PATHS_MAX);
        for (size_t i = 0; same && i < n; i++)
            same = paths[i].access == other[i].access && strcmp(paths[i].path, other[i].path) == 0;
    }
    ll_arena_release(&arena);
    free(paths);
    return same;
}

/* A sandbox cannot grow: a role that needs other files or ports now finishes and is started anew.
 */
static void renew_sandboxes(struct super *s, const struct ll_conf *old)
{
    bool resolver = strcmp(old->resolver, s->conf->resolver) != 0;

    for (size_t i = 0; i < s->n_children; i++) {
        struct child *c = s->children[i];

        if ((c->role != LL_ROLE_DNS || !resolver) && same_paths(old, s->conf, c->role))
            continue;
        ll_log(LL_LOG_INFO, "child-renewed", LL_FS("child", ll_role_name(c->role)),
               LL_FU("index", c->index), LL_FS("why", "its sandbox changes"));
        child_send(c, LL_MSG_DRAIN, -1);
    }
}

int super_reload(struct super *s, struct ll_buf *err)
{
    struct ll_conf *fresh = ll_conf_load(s->conf_path, err);
    struct ll_conf *old = s->conf;
    const char *setting;

    if (!fresh)
        return -1;
    setting = needs_restart(old, fresh);
    if (setting)
        ll_buf_printf(err, "`%s` has changed: that needs a restart; nothing was reloaded\n",
                      setting);
    if (setting || super_listen(s, fresh, err) != 0) {
        ll_conf_free(fresh);
        return -1;
    }
    s->conf = fresh;
    if (super_share_conf(s) != 0) {
        s->conf = old;
        super_listen_prune(s, old);
        ll_conf_free(fresh);
        ll_buf_puts(err, "no memory; nothing was reloaded\n");
        return -1;
    }
    super_listen_prune(s, fresh);
    ll_log_json(strcmp(fresh->log_format, "json") == 0);
    for (size_t i = 0; i < s->n_children; i++) {
        child_send_conf(s->children[i]);
        for (size_t k = 0; k < s->n_sockets; k++)
            if (s->sockets[k].fresh)
                child_send_listener(s->children[i], &s->sockets[k]);
    }
    for (size_t k = 0; k < s->n_sockets; k++)
        s->sockets[k].fresh = false;
    if (strcmp(old->log_file, fresh->log_file) != 0)
        super_reopen_log(s);
    renew_sandboxes(s, old);
    ll_conf_free(old);
    if (super_fit_children(s) != 0)
        ll_log(LL_LOG_ERROR, "not-all-started", LL_FS("why", strerror(errno)));
    ll_log(LL_LOG_INFO, "reloaded", LL_FU("generation", s->generation));
    return 0;
}

/* ---- what the children say ------------------------------------------------------------------- */

static void put_json(struct ll_buf *out, const char *s)
{
    ll_buf_putc(out, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            ll_buf_putc(out, '\\');
        if ((uint8_t)*s < 0x20)
            ll_buf_printf(out, "\\u%04x", (uint8_t)*s);
        else
            ll_buf_putc(out, (uint8_t)*s);
    }
    ll_buf_putc(out, '"');
}

static void send_line(struct child *to, uint64_t id, struct ll_buf *line)
{
    struct ll_msg m = {.type = LL_MSG_CTL_LINE, .id = id, .fd = -1};

    m.ctl_line.line = ll_buf_slice(line);
    if (!line->failed)
        ll_msg_send(to->ipc, &m);
    ll_buf_clear(line);
}

static void send_end(struct child *to, uint64_t id, int status, struct ll_slice text)
{
    struct ll_msg m = {.type = LL_MSG_CTL_END, .id = id, .fd = -1};

    m.ctl_end.status = (uint8_t)status;
    m.ctl_end.text = ll_slice_cut(text, 0, LINE_MAX_OCTETS);
    ll_msg_send(to->ipc, &m);
}

static void ctl_status(struct child *from, uint64_t id)
{
    struct super *s = from->super;
    struct ll_buf b = LL_BUF(LINE_MAX_OCTETS);

    for (size_t i = 0; i < s->n_children; i++) {
        const struct child *c = s->children[i];

        if (c->retired && !c->pid)
            continue;
        ll_buf_printf(&b,
                      "{\"role\":\"%s\",\"index\":%u,\"pid\":%d,\"up\":%s,\"started\":%lld,"
                      "\"restarts\":%u,\"missing\":",
                      ll_role_name(c->role), c->index, (int)c->pid, c->started ? "true" : "false",
                      (long long)c->since, c->restarts);
        put_json(&b, c->missing ? c->missing : "");
        ll_buf_putc(&b, '}');
        send_line(from, id, &b);
    }
    ll_buf_printf(&b,
                  "{\"server\":\"letterlockd\",\"version\":\"%s\",\"pid\":%d,\"uptime\":%lld,"
                  "\"generation\":%llu,\"root\":%s,\"hostname\":",
                  LL_VERSION, (int)getpid(), (long long)(ll_unix_s() - s->since),
                  (unsigned long long)s->generation, s->root ? "true" : "false");
    put_json(&b, s->conf->hostname);
    ll_buf_puts(&b, ",\"listeners\":[");
    for (size_t i = 0, shown = 0; i < s->n_sockets; i++) {
        if (s->sockets[i].worker != 0)
            continue;
        ll_buf_puts(&b, shown++ ? ",{\"title\":" : "{\"title\":");
        put_json(&b, s->sockets[i].title);
        ll_buf_puts(&b, ",\"address\":");
        put_json(&b, s->sockets[i].address);
        ll_buf_putc(&b, '}');
    }
    ll_buf_puts(&b, "]}");
    send_line(from, id, &b);
    ll_buf_release(&b);
    send_end(from, id, EX_OK, LL_LIT(""));
}

static void ctl_reload(struct child *from, uint64_t id)
{
    struct ll_buf err = LL_BUF(LINE_MAX_OCTETS);
    int r = super_reload(from->super, &err);

    send_end(from, id, r == 0 ? EX_OK : EX_CONFIG, ll_buf_slice(&err));
    if (r != 0)
        ll_log(LL_LOG_ERROR, "not-reloaded", LL_F("why", super_sentence(&err)));
    ll_buf_release(&err);
}

static void ctl_stop(struct child *from, uint64_t id)
{
    send_end(from, id, EX_OK, LL_LIT("stopping"));
    super_stop(from->super);
}

struct command {
    const char *name;
    void (*run)(struct child *from, uint64_t id);
};
static const struct command commands[] = {
    {"status", ctl_status}, {"reload", ctl_reload}, {"stop", ctl_stop}};

static int on_ctl_ask(struct child *c, const struct ll_msg *m)
{
    for (size_t i = 0; i < LL_COUNT(commands); i++)
        if (ll_slice_eq(m->ctl_ask.command, ll_slice_str(commands[i].name))) {
            commands[i].run(c, m->id);
            return 0;
        }
    send_end(c, m->id, EX_USAGE, LL_LIT("no such command"));
    return 0;
}

static int on_started(struct child *c, const struct ll_msg *m)
{
    struct super *s = c->super;

    free(c->missing);
    c->missing = ll_slice_dup(m->started.missing);
    c->started = true;
    if (m->started.missing.n)
        ll_log(LL_LOG_WARNING, "sandbox-incomplete", LL_FS("child", ll_role_name(c->role)),
               LL_FU("index", c->index), LL_F("missing", m->started.missing));
    if (!s->conf->sandbox_optional && s->stage == STAGE_STARTING &&
        ll_slice_search(m->started.missing, LL_LIT("seccomp")) != m->started.missing.n) {
        super_fail(s, EX_OSERR,
                   "this kernel has no seccomp filters, without which the roles are "
                   "not confined; set sandbox_optional = yes to start all the same");
        return 0;
    }
    if (s->stage == STAGE_STARTING && super_all_started(s))
        super_started(s);
    return 0;
}

/* Those that strangers talk to. */
static bool is_exposed(enum ll_role role)
{
    return role == LL_ROLE_FRONT_MX || role == LL_ROLE_FRONT_SUB || role == LL_ROLE_RELAY ||
           role == LL_ROLE_DNS;
}

/* Who gets a new life of the two. A hijacked front must not end the queue or the keeper by
 * complaints: where it blames one that no stranger talks to, it is itself that ends. */
static int on_bad_peer(struct child *c, const struct ll_msg *m)
{
    struct super *s = c->super;

    for (size_t i = 0; i < s->n_children; i++) {
        struct child *bad = s->children[i];

        if (bad->role != (enum ll_role)m->bad_peer.role || bad->index != m->bad_peer.index ||
            bad->life != m->id)
            continue;
        ll_log(LL_LOG_ERROR, "bad-peer", LL_FS("child", ll_role_name(bad->role)),
               LL_FU("index", bad->index), LL_FS("seen-by", ll_role_name(c->role)),
               LL_F("why", m->bad_peer.why));
        super_kill(s, is_exposed(c->role) && !is_exposed(bad->role) ? c : bad);
    }
    return 0;
}

static int (*const on[LL_MSG_COUNT])(struct child *, const struct ll_msg *) = {
    [LL_MSG_CTL_ASK] = on_ctl_ask,
    [LL_MSG_STARTED] = on_started,
    [LL_MSG_BAD_PEER] = on_bad_peer,
};

int super_child_message(struct child *c, const struct ll_msg *m)
{
    return on[m->type] ? on[m->type](c, m) : -1;
}
