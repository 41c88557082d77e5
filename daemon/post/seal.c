/*
 * ARC (RFC 8617) for letters that an alias sends outside, where `arc_seal` says so: the chain that
 * the letter brought is verified, and a set of ours goes on top. What we found of the letter is in
 * the Authentication-Results field that our front put there. See post.h.
 */
#include "daemon/post/post.h"

#include "io/clock.h"
#include "io/log.h"
#include "letterlock/authres.h"
#include "letterlock/msg.h"

#define CHUNK       (64u << 10) /* octets read at a time */
#define RESULTS_MAX 16384       /* octets of our results */
#define SET_MAX     (24u << 10) /* octets of three fields */

bool seal_wanted(const struct job *j)
{
    if (j->seal.tried || !j->post->proc->conf->arc_seal[0])
        return false;
    for (size_t i = 0; i < j->n_targets; i++)
        if (j->targets[i].kind == LL_ADDR_OUTSIDE)
            return true;
    return false;
}

void seal_release(struct job *j)
{
    ll_arc_sealer_free(j->seal.sealer);
    ll_arc_free(j->seal.arc);
    ll_dkim_letter_free(j->seal.letter);
    ll_buf_release(&j->seal.set);
    j->seal = (struct seal){.tried = true};
}

static struct ll_slice authserv_id(const struct job *j)
{
    const struct ll_conf *c = j->post->proc->conf;

    return ll_slice_str(c->authserv_id[0] ? c->authserv_id : c->hostname);
}

/* Our own results; nobody else's field is in what we prepended. */
static void find_results(const struct job *j, struct ll_buf *out)
{
    struct ll_msg_field f;

    if (ll_msg_field_find(j->job.prepend, LL_LIT("Authentication-Results"), &f) &&
        ll_authres_claims(f.body, authserv_id(j)) && !ll_authres_payload(f.body, out))
        ll_buf_clear(out);
}

/* The header; then the verifier and the sealer, made before the body comes; then that. */
static bool read_letter(struct job *j, const struct ll_arc_seal_options *how)
{
    struct ll_buf chunk = LL_BUF(CHUNK + 65536);
    struct seal *s = &j->seal;
    bool ok = true;

    for (uint64_t at = 0; ok && at < j->job.body_length;) {
        uint64_t left = j->job.body_length - at;
        size_t n = left < CHUNK ? (size_t)left : CHUNK;

        ll_buf_clear(&chunk);
        ok = post_read(j, at, n, &chunk);
        for (struct ll_slice in = ll_buf_slice(&chunk); ok && in.n > 0;) {
            in = ll_slice_skip(in, ll_dkim_letter_feed(s->letter, in));
            if (!s->arc && ll_dkim_letter_ready(s->letter)) {
                s->arc = ll_arc_new(s->letter, how->now);
                s->sealer = s->arc ? ll_arc_sealer_new(s->letter, s->arc, how) : NULL;
                ok = s->sealer != NULL;
            }
        }
        at += n;
    }
    ll_dkim_letter_end(s->letter);
    ll_buf_release(&chunk);
    return ok && s->sealer;
}

/* The chain is verified: our set, where there may be one. */
static void finish(struct job *j)
{
    struct seal *s = &j->seal;
    struct ll_need need;
    bool ok = ll_arc_done(s->arc);

    while (ok && ll_arc_sealer_need(s->sealer, &need)) {
        struct ll_buf signature = LL_BUF(LL_DKIM_SIGNATURE_ROOM);
        struct ll_need_answer a = {.id = need.id};

        ok = ll_dkim_client_sign(j->post->dkim, &need, &signature);
        a.signature = ll_buf_slice(&signature);
        ll_arc_sealer_answer(s->sealer, &a);
        ll_buf_release(&signature);
    }
    if (!ok || !ll_arc_sealer_set(s->sealer, &s->set))
        ll_log(
            ok ? LL_LOG_INFO : LL_LOG_ERROR, "arc-unsealed", LL_F("to", j->targets[0].address),
            LL_FS("why", ok ? "the chain is broken, or full" : "the keeper is away, or refused"));
    forward_known(j);
}

static void pump(struct job *j)
{
    struct ll_dns_answer none = {.status = LL_DNS_STATUS_SERVFAIL};
    struct ll_need need;

    while (ll_arc_need(j->seal.arc, &need)) {
        if (post_ask_dns(j, &need))
            j->waiting++;
        else
            ll_arc_answer(j->seal.arc, &(struct ll_need_answer){.id = need.id, .dns = &none});
    }
    if (j->waiting == 0)
        finish(j);
}

void seal_begin(struct job *j)
{
    struct ll_slice domain = ll_slice_str(j->post->proc->conf->arc_seal);
    struct ll_buf results = LL_BUF(RESULTS_MAX);
    struct ll_dkim_entry key;
    struct ll_arc_seal_options how = {.id = authserv_id(j), .now = ll_unix_s()};
    bool ok = ll_dkim_client_key(j->post->dkim, domain, how.now, &key);

    j->seal = (struct seal){.tried = true, .set = LL_BUF(SET_MAX)};
    if (!ok) {
        ll_log(LL_LOG_ERROR, "arc-unsealed", LL_F("domain", domain),
               LL_FS("why", "the domain has no DKIM key that signs now"));
        forward_known(j);
        return;
    }
    find_results(j, &results);
    how.domain = ll_dns_name_slice(&key.domain);
    how.selector = ll_dns_name_slice(&key.selector);
    how.algorithm = key.algorithm;
    how.results = ll_buf_slice(&results);
    j->seal.letter = ll_dkim_letter_new();
    ok = j->seal.letter && read_letter(j, &how);
    ll_buf_release(&results);
    if (ok)
        pump(j);
    else
        forward_known(j); /* a letter without header, or no memory */
}

void seal_on_dns(struct job *j, uint32_t need, const struct ll_dns_answer *a)
{
    j->waiting--;
    ll_arc_answer(j->seal.arc, &(struct ll_need_answer){.id = need, .dns = a});
    pump(j);
}
