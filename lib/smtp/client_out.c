/* What the client engine writes. See client.h and include/letterlock/smtpc.h. */
#include "client.h"

/* A command goes behind the part of a body that is still on its way, if there is one. */
void out_put(struct ll_smtpc *c, struct ll_slice s)
{
    struct ll_buf *b = &c->cmd[c->body_out ? 1 : 0];

    ll_buf_put_slice(b, s);
    c->cmd_queued += s.n;
}

void out_puts(struct ll_smtpc *c, const char *s)
{
    out_put(c, ll_slice_str(s));
}

/* All commands so far have left: the buffer begins anew. */
static void out_turn(struct ll_smtpc *c)
{
    struct ll_buf front = c->cmd[0];

    if (c->cmd_at < c->cmd[0].n)
        return;
    c->cmd_at = 0;
    ll_buf_clear(&front);
    if (c->body_out || c->cmd[1].n == 0) {
        c->cmd[0].n = 0;
        return;
    }
    c->cmd[0] = c->cmd[1];
    c->cmd[1] = front;
}

/* Plans the next parts of the body. A bare CR, bare LF or NUL ends the session here, without
 * a final dot: what is planned before it does no harm. */
static void plan(struct ll_smtpc *c)
{
    static const struct ll_slice dot = {(const uint8_t *)".", 1};

    if (c->part_at < c->part_n)
        return;
    c->part_at = c->part_n = 0;
    if (!c->stuffing && c->body_at < c->body.n) {
        c->parts[c->part_n++] = ll_slice_skip(c->body, c->body_at);
        c->body_at = c->body.n;
    }
    while (c->body_at < c->body.n && c->part_n + 2 <= LL_SMTPC_OUT_PARTS) {
        struct ll_slice run = {NULL, 0};
        bool with_dot = false, ok = false;
        size_t took =
            ll_smtp_stuff(&c->stuff, ll_slice_skip(c->body, c->body_at), &with_dot, &run, &ok);

        if (!ok || took == 0) {
            letter_bad_body(c, LL_SMTPC_REFUSED,
                            LL_LIT("the letter holds a bare CR, a bare LF or a NUL"));
            return;
        }
        if (with_dot)
            c->parts[c->part_n++] = dot;
        if (run.n)
            c->parts[c->part_n++] = run;
        c->body_at += took;
    }
}

void out_body(struct ll_smtpc *c, struct ll_slice part, bool stuffing)
{
    c->body = part;
    c->body_at = 0;
    c->part_at = c->part_n = 0;
    c->stuffing = stuffing;
    c->body_out = true;
    c->chunks_queued++;
    plan(c);
}

size_t ll_smtpc_out(struct ll_smtpc *c, struct ll_slice *ret_parts, size_t max)
{
    size_t n = 0;

    if (c->state == CLIENT_END)
        return 0;
    if (n < max && c->cmd_at < c->cmd[0].n)
        ret_parts[n++] = ll_slice_skip(ll_buf_slice(&c->cmd[0]), c->cmd_at);
    if (!c->body_out)
        return n;
    for (size_t i = c->part_at; i < c->part_n && n < max; i++)
        ret_parts[n++] = c->parts[i];
    if (n < max && c->body_at == c->body.n && c->cmd[1].n &&
        n >= c->part_n - c->part_at + (c->cmd_at < c->cmd[0].n))
        ret_parts[n++] = ll_buf_slice(&c->cmd[1]);
    return n;
}

/* Takes written octets off the planned parts; returns what is left of n. */
static size_t body_written(struct ll_smtpc *c, size_t n)
{
    while (c->part_at < c->part_n) {
        struct ll_slice *part = &c->parts[c->part_at];

        if (n < part->n) {
            *part = ll_slice_skip(*part, n);
            return 0;
        }
        n -= part->n;
        c->part_at++;
    }
    if (c->body_at < c->body.n) {
        plan(c);
    } else {
        c->body_out = false;
        c->body = (struct ll_slice){NULL, 0};
        c->chunks_written++;
    }
    return n;
}

static size_t cmd_written(struct ll_smtpc *c, size_t n)
{
    size_t left = c->cmd[0].n - c->cmd_at;
    size_t took = n < left ? n : left;

    c->cmd_at += took;
    c->cmd_written += took;
    return n - took;
}

void ll_smtpc_out_done(struct ll_smtpc *c, size_t n, uint64_t now)
{
    c->now = now;
    if (c->state == CLIENT_END)
        return;
    if (n)
        c->progress = now;
    n = cmd_written(c, n);
    if (c->body_out && c->cmd_at == c->cmd[0].n)
        n = body_written(c, n);
    out_turn(c);
    if (n)
        cmd_written(c, n);
    out_turn(c);
    letter_advance(c);
}

bool out_empty(const struct ll_smtpc *c)
{
    return c->cmd_at == c->cmd[0].n && !c->body_out && c->cmd[1].n == 0;
}

void out_wipe(struct ll_smtpc *c)
{
    if (out_empty(c))
        out_release(c);
}

void out_release(struct ll_smtpc *c)
{
    ll_buf_wipe(&c->cmd[0]);
    ll_buf_wipe(&c->cmd[1]);
    c->cmd_at = 0;
    c->body_out = false;
    c->body = (struct ll_slice){NULL, 0};
    c->part_at = c->part_n = 0;
}
