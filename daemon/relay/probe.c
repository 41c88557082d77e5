/*
 * Does a recipient exist at the inner server of a relayed domain? Asked by a front at RCPT, found
 * out by MAIL FROM:<> and RCPT TO, and kept for a while. See relay.h.
 */
#include "daemon/relay/relay.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/clock.h"
#include "letterlock/addr.h"

#define SLOTS       4096   /* answers kept; a new one takes the place of another */
#define KEEP_YES_MS 900000 /* an accepted recipient */
#define KEEP_NO_MS  60000  /* a refused one: someone may be making the account just now */
#define TEXT_MAX    200

struct slot {
    uint64_t until;
    uint16_t code;
    char address[LL_MAILBOX_MAX + 1];
    char text[TEXT_MAX + 1];
};

struct probes {
    struct slot slot[SLOTS];
};

struct probes *probes_new(void)
{
    return calloc(1, sizeof(struct probes));
}

static struct slot *slot_of(struct probes *p, struct ll_slice address)
{
    return &p->slot[ll_crc32c(0, address.p, address.n) % SLOTS];
}

static void send_answer(struct ll_peer *peer, uint64_t id, uint16_t code, struct ll_slice text)
{
    struct ll_msg m = {.type = LL_MSG_PROBE_ANSWER, .id = id, .fd = -1};

    m.probe_answer.code = code;
    m.probe_answer.text = text;
    ll_msg_send(peer->ipc, &m);
}

static bool make_job(struct job *j, const struct ll_mailbox *box)
{
    char *domain = ll_arena_str(&j->arena, ll_mailbox_domain(box));
    struct ll_slice address = ll_arena_dup(&j->arena, ll_mailbox_text(box));

    j->probe = true;
    j->job.rcpt = ll_arena_alloc(&j->arena, sizeof(j->job.rcpt[0]));
    j->rcpt = ll_arena_alloc(&j->arena, sizeof(j->rcpt[0]));
    j->to = ll_arena_alloc(&j->arena, sizeof(j->to[0]));
    j->to_index = ll_arena_alloc(&j->arena, sizeof(j->to_index[0]));
    if (!domain || !address.p || !j->job.rcpt || !j->rcpt || !j->to || !j->to_index)
        return false;
    j->job.destination = ll_slice_str(domain);
    j->job.rcpt[0].address = address;
    j->job.n_rcpt = 1;
    return true;
}

int probe_asked(struct relay *r, struct ll_peer *peer, const struct ll_msg *m)
{
    struct ll_slice address = m->probe_ask.address;
    struct slot *s = slot_of(r->probes, address);
    struct ll_mailbox box;
    struct job *j;

    if (s->until > ll_now_ms() && ll_slice_eq(ll_slice_str(s->address), address)) {
        send_answer(peer, m->id, s->code, ll_slice_str(s->text));
        return 0;
    }
    if (ll_mailbox_parse(address, true, &box) != LL_ADDR_OK || box.kind == LL_DOMAIN_NONE)
        return -1;
    j = job_new(r, peer, m->id, -1);
    if (!j || !make_job(j, &box)) {
        if (j)
            job_free(j);
        send_answer(peer, m->id, 0, LL_LIT("out of memory"));
        return 0;
    }
    j->plan = plan_ref(plan_of(r, j->job.destination));
    job_recipients(j);
    hunt_begin(j);
    return 0;
}

/* What is certain is kept; a server that is out of reach is asked again by the next one. */
void probe_ended(struct job *j)
{
    const struct ll_job_result_rcpt *result = &j->rcpt[0].result;
    struct ll_slice address = j->job.rcpt[0].address;
    struct slot *s = slot_of(j->relay->probes, address);
    bool yes = result->outcome == LL_OUTCOME_DELIVERED;
    bool no = result->outcome == LL_OUTCOME_FAILED && result->code / 100 == 5;
    uint16_t code = yes && result->code == 0 ? 250 : result->code;

    if ((yes || no) && address.n < sizeof(s->address)) {
        s->until = ll_now_ms() + (yes ? KEEP_YES_MS : KEEP_NO_MS);
        s->code = code;
        snprintf(s->address, sizeof(s->address), "%.*s", LL_FMT(address));
        snprintf(s->text, sizeof(s->text), "%.*s", LL_FMT(result->text));
    }
    if (j->asker)
        send_answer(j->asker, j->id, yes || no || code / 100 == 4 ? code : 0,
                    ll_slice_cut(result->text, 0, TEXT_MAX));
}
