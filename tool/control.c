/* See tool/control.h. */
#include "tool/control.h"

#include "daemon/msg.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct ll_control {
    struct event_base *base;
    struct ll_ipc *ipc;
    uint64_t id;
    /* the question that is asked now */
    ll_control_line_fn line;
    void *arg;
    struct ll_buf *text;
    int status;
    bool heard, ended;
};

static int on_frame(void *arg, const struct ll_frame *frame)
{
    struct ll_control *c = arg;
    struct ll_msg m;

    if (ll_msg_decode(frame, LL_ROLE_CONTROL, LL_ROLE_TOOL, &m) < 0)
        return -1;
    c->heard = true;
    if (m.id != c->id)
        return 0;
    if (m.type == LL_MSG_CTL_END) {
        c->status = m.ctl_end.status;
        ll_buf_put_slice(c->text, m.ctl_end.text);
        c->ended = true;
    } else if (m.type == LL_MSG_CTL_LINE && c->line && !c->line(c->arg, m.ctl_line.line)) {
        c->status = 0;
        c->ended = true;
    }
    if (c->ended)
        event_base_loopbreak(c->base);
    return 0;
}

static void on_gone(void *arg, const char *why)
{
    struct ll_control *c = arg;

    ll_ipc_free(c->ipc);
    c->ipc = NULL;
    event_base_loopbreak(c->base);
}

static int connect_to(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof(sun.sun_path)) {
        errno = fd < 0 ? errno : ENAMETOOLONG;
    } else {
        memcpy(sun.sun_path, path, strlen(path) + 1);
        if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
            return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

struct ll_control *ll_control_open(const struct ll_conf *conf, int *ret_status)
{
    struct ll_control *c = calloc(1, sizeof(*c));
    char *path = NULL;
    int fd = -1;

    if (!c || asprintf(&path, "%s/control.sock", conf->run_dir) < 0) {
        *ret_status = ll_fail(EX_OSERR, "no memory");
    } else if ((fd = connect_to(path)) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            *ret_status =
                ll_fail(EX_UNAVAILABLE, "letterlockd does not run (%s: %s)", path, strerror(errno));
        else
            *ret_status = ll_fail(errno == EACCES ? EX_NOPERM : EX_UNAVAILABLE, "%s: %s", path,
                                  strerror(errno));
    } else {
        c->base = event_base_new();
        c->ipc = c->base ? ll_ipc_new(c->base, fd, on_frame, on_gone, c) : NULL;
        if (!c->ipc) {
            close(fd);
            *ret_status = ll_fail(EX_OSERR, "no memory");
        }
    }
    free(path);
    if (c && c->ipc)
        return c;
    ll_control_close(c);
    return NULL;
}

void ll_control_close(struct ll_control *c)
{
    if (!c)
        return;
    ll_ipc_free(c->ipc);
    if (c->base)
        event_base_free(c->base);
    free(c);
}

/* Runs the loop until the answer ended, the server went, or it was silent for too long. */
static void wait_for_end(struct ll_control *c)
{
    const struct timeval patience = {LL_CONTROL_WAIT_S, 0};

    do {
        c->heard = false;
        event_base_loopexit(c->base, &patience);
        event_base_dispatch(c->base);
    } while (!c->ended && c->ipc && c->heard);
}

int ll_control_ask(struct ll_control *c, const char *command, const char *const *args,
                   size_t n_args, ll_control_line_fn line, void *arg, struct ll_buf *ret_text)
{
    struct ll_msg m = {.type = LL_MSG_CTL_ASK, .id = ++c->id, .fd = -1};
    struct ll_buf packed = LL_BUF(LL_IPC_FRAME_MAX - 1024);
    int sent = -1;

    for (size_t i = 0; i < n_args; i++)
        ll_buf_str16(&packed, ll_slice_str(args[i]));
    m.ctl_ask.command = ll_slice_str(command);
    m.ctl_ask.args = ll_buf_slice(&packed);
    c->line = line;
    c->arg = arg;
    c->text = ret_text;
    c->ended = false;
    c->status = EX_TEMPFAIL;
    if (packed.failed) {
        ll_buf_puts(ret_text, "too many words for one request");
        ll_buf_release(&packed);
        return EX_USAGE;
    }
    if (c->ipc)
        sent = ll_msg_send(c->ipc, &m);
    ll_buf_release(&packed);
    if (sent == 0)
        wait_for_end(c);
    if (!c->ended)
        ll_buf_puts(ret_text, c->ipc && sent == 0 ? "the server does not answer"
                                                  : "the server closed the connection");
    return c->status;
}

/* ---- the usual command ----------------------------------------------------------------------- */

struct printing {
    const struct ll_control_run *run;
    size_t n;
};

static bool print_line(void *arg, struct ll_slice line)
{
    struct printing *p = arg;
    json_error_t error;
    json_t *object;
    bool more = true;

    if (p->run->as_json) {
        printf("%s%.*s", p->n++ > 0 ? ",\n " : "[", LL_FMT(line));
        return !ferror(stdout);
    }
    p->n++;
    object = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object))
        ll_fail(0, "an answer that is no JSON object: %s", error.text);
    else if (p->run->show)
        more = p->run->show(p->run->arg, object);
    json_decref(object);
    return more && !ferror(stdout);
}

int ll_control_run(const struct ll_control_run *run)
{
    struct printing p = {run, 0};
    struct ll_buf text = LL_BUF(65536);
    struct ll_control *c = NULL;
    int status = 0;
    struct ll_conf *conf = ll_where_conf(run->where, &status);

    if (conf)
        c = ll_control_open(conf, &status);
    ll_conf_free(conf);
    if (!c)
        return status;
    status = ll_control_ask(c, run->command, run->args, run->n_args, print_line, &p, &text);
    ll_control_close(c);
    if (run->as_json && (status == 0 || p.n > 0))
        puts(p.n > 0 ? "]" : "[]");
    if (status != 0)
        ll_fail_text(status, &text);
    else if (!run->as_json && text.n > 0)
        printf("%.*s\n", LL_FMT(ll_buf_slice(&text)));
    ll_buf_release(&text);
    return status;
}

const char *ll_js_text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

int64_t ll_js_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}
