/*
 * Jobs and their results, as they travel between processes. All numbers are big-endian.
 *
 * Job
 *     1  version, 2     8  letter     8  arrival, Unix time in ms     4  attempt
 *     1  kind           1  flags
 *  2 + n  destination   2 + n  reverse-path   2 + n  ENVID   2 + n  login   2 + n  prepended fields
 *     8  offset of the content   8  its octets   4  octets of its header section
 *     2  number of recipients, then each:
 *     4  index   1  kind   1  notify   1  flags   2 + n  address   2 + n  mailbox   2 + n  ORCPT
 *     1  outcome   2  code   2 + n  status   2 + n  text   2 + n  remote
 *
 * Result
 *     1  version, 2     8  letter     1  trouble     8  new letter     2 + n  facts
 *     2  number of recipients, then each:
 *     4  index   1  outcome   2  code   2 + n  status   2 + n  text   2 + n  remote
 */
#include "letterlock/spool.h"

#define JOB_VERSION 2

/* How a recipient fared, in both. Texts are cut here so that no sender can make them longer. */
static void put_reply(struct ll_buf *out, uint8_t outcome, uint16_t code, struct ll_slice status,
                      struct ll_slice text, struct ll_slice remote)
{
    ll_buf_u8(out, outcome);
    ll_buf_u16(out, code);
    ll_buf_str16(out, ll_slice_cut(status, 0, LL_DIAG_MAX));
    ll_buf_str16(out, ll_slice_cut(text, 0, LL_DIAG_MAX));
    ll_buf_str16(out, ll_slice_cut(remote, 0, LL_DIAG_MAX));
}

static bool get_reply(struct ll_cursor *c, uint8_t *outcome, uint16_t *code,
                      struct ll_slice *status, struct ll_slice *text, struct ll_slice *remote)
{
    *outcome = ll_cur_u8(c);
    *code = ll_cur_u16(c);
    *status = ll_cur_str16(c);
    *text = ll_cur_str16(c);
    *remote = ll_cur_str16(c);
    return *outcome < LL_OUTCOMES && status->n <= LL_DIAG_MAX && text->n <= LL_DIAG_MAX &&
           remote->n <= LL_DIAG_MAX;
}

void ll_job_encode(const struct ll_job *j, struct ll_buf *out)
{
    if (j->n_rcpt == 0 || j->n_rcpt > LL_JOB_RCPTS_MAX)
        out->failed = true;
    ll_buf_u8(out, JOB_VERSION);
    ll_buf_u64(out, j->letter);
    ll_buf_u64(out, (uint64_t)j->arrived_ms);
    ll_buf_u32(out, j->attempt);
    ll_buf_u8(out, j->kind);
    ll_buf_u8(out, j->flags);
    ll_buf_str16(out, j->destination);
    ll_buf_str16(out, j->reverse_path);
    ll_buf_str16(out, j->envid);
    ll_buf_str16(out, j->login);
    ll_buf_str16(out, j->prepend);
    ll_buf_u64(out, j->body_offset);
    ll_buf_u64(out, j->body_length);
    ll_buf_u32(out, j->header_length);
    ll_buf_u16(out, (uint16_t)j->n_rcpt);
    for (size_t i = 0; i < j->n_rcpt && !out->failed; i++) {
        const struct ll_job_rcpt *r = &j->rcpt[i];

        ll_buf_u32(out, r->index);
        ll_buf_u8(out, r->kind);
        ll_buf_u8(out, r->notify);
        ll_buf_u8(out, r->flags);
        ll_buf_str16(out, r->address);
        ll_buf_str16(out, r->mailbox);
        ll_buf_str16(out, r->orcpt);
        put_reply(out, r->outcome, r->code, r->status, r->text, r->remote);
    }
}

static bool get_job_rcpt(struct ll_cursor *c, struct ll_job_rcpt *r)
{
    r->index = ll_cur_u32(c);
    r->kind = ll_cur_u8(c);
    r->notify = ll_cur_u8(c);
    r->flags = ll_cur_u8(c);
    r->address = ll_cur_str16(c);
    r->mailbox = ll_cur_str16(c);
    r->orcpt = ll_cur_str16(c);
    return get_reply(c, &r->outcome, &r->code, &r->status, &r->text, &r->remote) && !c->failed &&
           r->kind < LL_RCPT_KINDS && r->address.n > 0 && r->index < LL_SPOOL_RCPTS_MAX;
}

bool ll_job_decode(struct ll_slice in, struct ll_arena *arena, struct ll_job *ret)
{
    struct ll_cursor c = ll_cursor(in);
    uint8_t version = ll_cur_u8(&c);
    struct ll_job j = {0};

    j.letter = ll_cur_u64(&c);
    j.arrived_ms = (int64_t)ll_cur_u64(&c);
    j.attempt = ll_cur_u32(&c);
    j.kind = ll_cur_u8(&c);
    j.flags = ll_cur_u8(&c);
    j.destination = ll_cur_str16(&c);
    j.reverse_path = ll_cur_str16(&c);
    j.envid = ll_cur_str16(&c);
    j.login = ll_cur_str16(&c);
    j.prepend = ll_cur_str16(&c);
    j.body_offset = ll_cur_u64(&c);
    j.body_length = ll_cur_u64(&c);
    j.header_length = ll_cur_u32(&c);
    j.n_rcpt = ll_cur_u16(&c);
    if (c.failed || version != JOB_VERSION || j.kind >= LL_JOB_KINDS || j.n_rcpt == 0 ||
        j.n_rcpt > LL_JOB_RCPTS_MAX || j.prepend.n > LL_SPOOL_PREPEND_MAX ||
        j.header_length > j.body_length || j.body_offset > UINT64_MAX - j.body_length)
        return false;
    j.rcpt = ll_arena_alloc(arena, j.n_rcpt * sizeof(*j.rcpt));
    if (!j.rcpt)
        return false;
    for (size_t i = 0; i < j.n_rcpt; i++)
        if (!get_job_rcpt(&c, &j.rcpt[i]))
            return false;
    if (!ll_cur_end(&c))
        return false;
    *ret = j;
    return true;
}

void ll_job_result_encode(const struct ll_job_result *r, struct ll_buf *out)
{
    if (r->n_rcpt == 0 || r->n_rcpt > LL_JOB_RCPTS_MAX)
        out->failed = true;
    ll_buf_u8(out, JOB_VERSION);
    ll_buf_u64(out, r->letter);
    ll_buf_u8(out, r->trouble);
    ll_buf_u64(out, r->new_letter);
    ll_buf_str16(out, r->facts);
    ll_buf_u16(out, (uint16_t)r->n_rcpt);
    for (size_t i = 0; i < r->n_rcpt && !out->failed; i++) {
        const struct ll_job_result_rcpt *one = &r->rcpt[i];

        ll_buf_u32(out, one->index);
        put_reply(out, one->outcome, one->code, one->status, one->text, one->remote);
    }
}

bool ll_job_result_decode(struct ll_slice in, struct ll_arena *arena, struct ll_job_result *ret)
{
    struct ll_cursor c = ll_cursor(in);
    uint8_t version = ll_cur_u8(&c);
    struct ll_job_result r = {0};

    r.letter = ll_cur_u64(&c);
    r.trouble = ll_cur_u8(&c);
    r.new_letter = ll_cur_u64(&c);
    r.facts = ll_cur_str16(&c);
    r.n_rcpt = ll_cur_u16(&c);
    if (c.failed || version != JOB_VERSION || r.trouble >= LL_TROUBLES || r.n_rcpt == 0 ||
        r.n_rcpt > LL_JOB_RCPTS_MAX)
        return false;
    r.rcpt = ll_arena_alloc(arena, r.n_rcpt * sizeof(*r.rcpt));
    if (!r.rcpt)
        return false;
    for (size_t i = 0; i < r.n_rcpt; i++) {
        struct ll_job_result_rcpt *one = &r.rcpt[i];

        one->index = ll_cur_u32(&c);
        if (!get_reply(&c, &one->outcome, &one->code, &one->status, &one->text, &one->remote) ||
            one->index >= LL_SPOOL_RCPTS_MAX)
            return false;
    }
    if (!ll_cur_end(&c))
        return false;
    *ret = r;
    return true;
}
