/* A job's way to a server. See relay.h. */
#include "daemon/relay/relay.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/clock.h"
#include "io/log.h"

static void next_host(struct job *);

void fault_set(struct fault *f, enum ll_outcome outcome, uint8_t rank, const char *status,
               const char *remote, const char *fmt, ...)
{
    va_list ap;

    *f = (struct fault){.outcome = outcome, .rank = rank};
    snprintf(f->status, sizeof(f->status), "%s", status);
    snprintf(f->remote, sizeof(f->remote), "%s", remote ? remote : "");
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof(f->text), fmt, ap);
    va_end(ap);
}

/* What is told in the end is the most telling failure, of two alike the later. */
static void note(struct job *j, const struct fault *f)
{
    if (f->outcome == LL_OUTCOME_DEFERRED)
        j->temporary = true;
    if (f->rank >= j->fault.rank)
        j->fault = *f;
}

/* ---- the end ------------------------------------------------------------------------------------
 */

/* No server is left: each recipient gets what was said of it, else what went wrong at last. */
static void give_up(struct job *j)
{
    struct fault *f = &j->fault;
    enum ll_outcome outcome = j->temporary ? LL_OUTCOME_DEFERRED : f->outcome;

    if (outcome == LL_OUTCOME_DEFERRED && f->status[0] == '5')
        f->status[0] = '4'; /* refused here, but another server was only out of reach */
    for (size_t i = 0; i < j->job.n_rcpt; i++) {
        struct job_rcpt *r = &j->rcpt[i];

        if (r->settled || !r->provisional)
            continue;
        r->settled = true;
    }
    job_settle_all(j, outcome, f->code, f->status, ll_slice_str(f->text), f->remote);
    ll_log(LL_LOG_INFO, "relay-failed", LL_F("to", j->job.destination), LL_FS("remote", f->remote),
           LL_FU("code", f->code), LL_FS("why", f->text));
    job_end(j);
}

static void fail_now(struct job *, enum ll_outcome, uint16_t code, const char *status,
                     const char *fmt, ...) LL_PRINTF(5, 6);

static void fail_now(struct job *j, enum ll_outcome outcome, uint16_t code, const char *status,
                     const char *fmt, ...)
{
    struct fault f = {.outcome = outcome, .rank = RANK_SESSION, .code = code};
    va_list ap;

    snprintf(f.status, sizeof(f.status), "%s", status);
    va_start(ap, fmt);
    vsnprintf(f.text, sizeof(f.text), fmt, ap);
    va_end(ap);
    note(j, &f);
    give_up(j);
}

void hunt_cancel(struct job *j)
{
    for (size_t i = 0; i < LL_COUNT(j->ask); i++) {
        ask_cancel(j->relay, j->ask[i]);
        j->ask[i] = NULL;
    }
}

/* ---- addresses
 * ------------------------------------------------------------------------------------ */

/* A connection to the next address of the present host that can at least be begun. */
static void next_address(struct job *j)
{
    const uint64_t late = j->started_ms + RELAY_HUNT_MS;

    while (j->address_at < j->n_address && j->tries < RELAY_TRIES_MAX && ll_now_ms() < late) {
        const struct address *a = &j->address[j->address_at++];
        struct fault f;

        j->tries++;
        j->in_clear = false;
        if (conn_open(j, a, j->plan->port, false, &f))
            return;
        j->trouble = LL_TROUBLE_FAILED;
        note(j, &f);
    }
    if (j->tries >= RELAY_TRIES_MAX || ll_now_ms() >= late) {
        give_up(j);
        return;
    }
    j->host_at++;
    next_host(j);
}

static void add_address(struct job *j, const uint8_t *octets, uint8_t n)
{
    struct address *a = &j->address[j->n_address];

    if (j->n_address == RELAY_ADDRESSES_MAX)
        return;
    a->n = n;
    memcpy(a->octets, octets, n);
    j->n_address++;
}

/* Of each family at most half, in turns, the preferred one first: one family that does not work
 * costs one connection, not all of them. */
static void take_addresses(struct job *j, const struct address *v6, size_t n6,
                           const struct address *v4, size_t n4)
{
    enum prefer prefer = j->plan->prefer;
    bool first4 = prefer == PREFER_IPV4;

    n6 = prefer == ONLY_IPV4 ? 0 : n6;
    n4 = prefer == ONLY_IPV6 ? 0 : n4;
    j->n_address = j->address_at = 0;
    for (size_t i = 0; i < n6 || i < n4; i++) {
        if (i < n4 && first4)
            add_address(j, v4[i].octets, 4);
        if (i < n6)
            add_address(j, v6[i].octets, 16);
        if (i < n4 && !first4)
            add_address(j, v4[i].octets, 4);
    }
}

/* Leaves out where no letter may go. true: one of them is our own listener. */
static bool filter_addresses(struct job *j)
{
    const char *name = j->host[j->host_at].name.text;
    bool private_ok = j->relay->proc->conf->private_targets;
    size_t kept = 0;
    bool own = false;

    for (size_t i = 0; i < j->n_address; i++) {
        const struct address *a = &j->address[i];
        const char *what = ll_target_refused(a->octets, a->n, private_ok);
        struct fault f;

        if (relay_is_own(j->relay, a, j->plan->port)) {
            own = true;
            continue;
        }
        if (!what) {
            j->address[kept++] = *a;
            continue;
        }
        fault_set(&f, LL_OUTCOME_FAILED, RANK_LOOKUP, "5.4.4", NULL,
                  "%s has %s: no letter is sent there", name, what);
        note(j, &f);
    }
    j->n_address = kept;
    return own;
}

/* We are a backup MX of it (RFC 5321 5.1), and no better host is left. */
static bool is_backup(const struct job *j)
{
    const struct ll_conf_domain *d = ll_conf_domain(j->relay->proc->conf, j->job.destination);

    return d && d->backup;
}

static void loops_back(struct job *j)
{
    if (j->host_at == 0 && is_backup(j)) {
        fail_now(j, LL_OUTCOME_DEFERRED, 451, "4.4.6",
                 "we are a backup of %.*s, but its MX records name no host that is better than us",
                 LL_FMT(j->job.destination));
        return;
    }
    if (j->host_at == 0) {
        fail_now(j, LL_OUTCOME_FAILED, 554, "5.4.6",
                 "mail for %.*s loops back to this server, which does not take it",
                 LL_FMT(j->job.destination));
        return;
    }
    give_up(j); /* the better ones were out of reach */
}

static void addresses_known(struct job *j)
{
    if (j->plan->via == VIA_MX && filter_addresses(j)) {
        loops_back(j);
        return;
    }
    next_address(j);
}

static bool gather(const struct ll_dns_answer *a, struct address *ret, size_t *ret_n)
{
    for (size_t i = 0; i < a->n_rdata && *ret_n < RELAY_ADDRESSES_MAX / 2; i++) {
        struct address *to = &ret[*ret_n];
        bool ok = a->type == LL_DNS_A ? ll_dns_rdata_a(a->rdata[i], to->octets)
                                      : ll_dns_rdata_aaaa(a->rdata[i], to->octets);

        to->n = a->type == LL_DNS_A ? 4 : 16;
        *ret_n += ok;
    }
    return a->n_rdata > 0;
}

/* Both questions about a host are answered. */
static void host_answered(struct job *j)
{
    const char *name = j->host[j->host_at].name.text;
    struct address v6[RELAY_ADDRESSES_MAX / 2], v4[RELAY_ADDRESSES_MAX / 2];
    size_t n6 = 0, n4 = 0;
    struct fault f;

    for (size_t i = 0; i < j->n_address; i++) /* where the call-backs left them */
        if (j->address[i].n == 16)
            v6[n6++] = j->address[i];
        else
            v4[n4++] = j->address[i];
    take_addresses(j, v6, n6, v4, n4);
    if (j->n_address == 0) {
        const struct ll_dns_answer *a = &j->lookup[ll_dns_later(j->lookup[0].status) ? 0 : 1];

        if (ll_dns_later(a->status)) {
            fault_set(&f, LL_OUTCOME_DEFERRED, RANK_LOOKUP, "4.4.3", NULL,
                      "the address of %s could not be looked up (%s)", name,
                      ll_dns_status_name(a->status));
            j->trouble = LL_TROUBLE_FAILED;
        } else {
            fault_set(&f, LL_OUTCOME_FAILED, RANK_LOOKUP, "5.4.4", NULL, "%s has no %saddress%s",
                      name,
                      j->plan->prefer == ONLY_IPV4   ? "IPv4 "
                      : j->plan->prefer == ONLY_IPV6 ? "IPv6 "
                                                     : "",
                      n4 + n6 > 0 ? ", and its route uses no other" : "");
        }
        note(j, &f);
        j->host_at++;
        next_host(j);
        return;
    }
    addresses_known(j);
}

static void on_address(struct job *j, unsigned which, const struct ll_dns_answer *a)
{
    struct address found[RELAY_ADDRESSES_MAX / 2];
    size_t n = 0;

    j->ask[which] = NULL;
    j->lookup[which] = (struct ll_dns_answer){.status = a->status, .type = a->type};
    if (a->status == LL_DNS_STATUS_OK && gather(a, found, &n)) {
        j->host_secure = j->host_secure && a->secure;
        for (size_t i = 0; i < n; i++)
            add_address(j, found[i].octets, found[i].n);
    }
    if (!j->ask[0] && !j->ask[1])
        host_answered(j);
}

static void on_aaaa(void *arg, const struct ll_dns_answer *a)
{
    on_address(arg, 0, a);
}

static void on_a(void *arg, const struct ll_dns_answer *a)
{
    on_address(arg, 1, a);
}

/* ---- hosts
 * ------------------------------------------------------------------------------------------ */

static void next_host(struct job *j)
{
    const struct ll_dns_name *name = &j->host[j->host_at].name;
    uint8_t literal[16];
    size_t n;

    if (j->host_at >= j->n_host) {
        give_up(j);
        return;
    }
    j->n_address = j->address_at = 0;
    n = ll_target_address(ll_dns_name_slice(name), literal);
    /* In an MX record a name that reads as an address is a name, and has no address. */
    if (n > 0 && (j->plan->via != VIA_MX || name->text[0] == '[')) {
        add_address(j, literal, (uint8_t)n);
        addresses_known(j);
        return;
    }
    j->host_secure = true;
    j->ask[0] = ask_dns(j->relay, LL_DNS_AAAA, name, on_aaaa, j);
    j->ask[1] = ask_dns(j->relay, LL_DNS_A, name, on_a, j);
    if (!j->ask[0] || !j->ask[1]) {
        hunt_cancel(j);
        fail_now(j, LL_OUTCOME_DEFERRED, 451, "4.3.0", "out of memory");
    }
}

static void one_host(struct job *j, const struct ll_dns_name *name)
{
    j->host[0] = (struct ll_mx_host){0, *name};
    j->n_host = 1;
    j->host_at = 0;
    next_host(j);
}

static void mx_found(struct job *j, const struct ll_dns_answer *a)
{
    const struct ll_slice own = ll_slice_str(j->relay->proc->conf->hostname);
    const struct ll_slice destination = j->job.destination;

    switch (ll_mx_select(a, &own, 1, relay_random(j->relay), j->host, &j->n_host)) {
    case LL_MX_HOSTS:
        j->host_at = 0;
        next_host(j);
        return;
    case LL_MX_NULL: /* RFC 7505 */
        fail_now(j, LL_OUTCOME_FAILED, 556, "5.1.10", "the domain %.*s takes no mail (null MX)",
                 LL_FMT(destination));
        return;
    case LL_MX_SELF:
        loops_back(j);
        return;
    case LL_MX_UNUSABLE:
        fail_now(j, LL_OUTCOME_FAILED, 550, "5.4.4", "none of the MX records of %.*s names a host",
                 LL_FMT(destination));
        return;
    }
}

static void on_mx(void *arg, const struct ll_dns_answer *a)
{
    struct job *j = arg;
    const struct ll_slice destination = j->job.destination;
    const struct ll_slice why = a->why.n ? a->why : ll_slice_str(ll_dns_status_name(a->status));
    struct ll_dns_name name;

    j->ask[0] = NULL;
    j->mx_secure = a->secure;
    if (a->status == LL_DNS_STATUS_OK) {
        mx_found(j, a);
    } else if (a->status == LL_DNS_STATUS_NXDOMAIN) {
        fail_now(j, LL_OUTCOME_FAILED, 550, "5.1.2", "the domain %.*s does not exist",
                 LL_FMT(destination));
    } else if (a->status == LL_DNS_STATUS_NODATA && ll_dns_name_parse(destination, &name)) {
        one_host(j, &name); /* RFC 5321 5.1: the implicit MX */
    } else {
        j->trouble = LL_TROUBLE_FAILED;
        fail_now(j, LL_OUTCOME_DEFERRED, 451, "4.4.3",
                 "the MX records of %.*s could not be looked up: %.*s", LL_FMT(destination),
                 LL_FMT(why));
    }
}

/* ---- begin
 * ------------------------------------------------------------------------------------------ */

static void hunt(struct job *j)
{
    struct ll_dns_name name;

    if (j->plan->via != VIA_MX) {
        one_host(j, &j->plan->host);
        return;
    }
    if (!ll_dns_name_parse(j->job.destination, &name)) {
        fail_now(j, LL_OUTCOME_FAILED, 550, "5.1.2", "\"%.*s\" is not a domain",
                 LL_FMT(j->job.destination));
        return;
    }
    if (name.text[0] == '[') {
        one_host(j, &name);
        return;
    }
    j->ask[0] = ask_dns(j->relay, LL_DNS_MX, &name, on_mx, j);
    if (!j->ask[0])
        fail_now(j, LL_OUTCOME_DEFERRED, 451, "4.3.0", "out of memory");
}

void hunt_begin(struct job *j)
{
    struct plan *p = j->plan;
    struct conn *c;

    if (p->via == VIA_DISCARD) {
        job_settle_all(j, LL_OUTCOME_DELIVERED, 250, "2.0.0", LL_LIT("discarded by its route"), "");
        job_end(j);
        return;
    }
    j->parked = !p->broken && !p->tls && !ll_keeper_client_known(j->relay->keeper);
    if (j->parked)
        return;
    if (p->broken || !p->tls) {
        struct ll_slice why =
            p->broken ? ll_slice_str(p->broken) : LL_LIT("its client certificate is not there");

        j->trouble = LL_TROUBLE_FAILED;
        fail_now(j, LL_OUTCOME_DEFERRED, 451, "4.3.5", "the route for %.*s cannot be used: %.*s",
                 LL_FMT(j->job.destination), LL_FMT(why));
        return;
    }
    c = j->fresh ? NULL : pool_find(j->relay, j);
    if (c) {
        conn_give(c, j);
        return;
    }
    if (j->relay->n_conns >= RELAY_CONNS_MAX) {
        job_settle_all(j, LL_OUTCOME_AGAIN, 0, "4.3.2", LL_LIT("too many connections"), "");
        job_end(j);
        return;
    }
    hunt(j);
}

/* ---- after a connection
 * ------------------------------------------------------------------------------ */

void hunt_failed(struct job *j, const struct fault *f, bool again_in_clear)
{
    struct fault second;

    j->conn = NULL;
    if (f->code == 421 || (f->code / 100 == 4 && f->status[2] == '7'))
        j->trouble = LL_TROUBLE_THROTTLED;
    else if (j->trouble == LL_TROUBLE_NONE)
        j->trouble = LL_TROUBLE_FAILED;
    note(j, f);
    /* RFC 7435: TLS that fails is no worse than no TLS, where nobody asked for it. */
    if (again_in_clear && !j->in_clear && j->address_at > 0 && j->tries < RELAY_TRIES_MAX) {
        j->tries++;
        j->in_clear = true;
        if (conn_open(j, &j->address[j->address_at - 1], j->plan->port, true, &second))
            return;
    }
    if (j->n_host == 0 && !j->fresh) { /* from the pool: nothing is looked up yet */
        j->fresh = true;
        j->fault = (struct fault){0};
        j->temporary = false;
        j->trouble = LL_TROUBLE_NONE;
        hunt_begin(j);
        return;
    }
    next_address(j);
}

static const enum ll_outcome outcomes[] = {
    [LL_SMTPC_DELIVERED] = LL_OUTCOME_DELIVERED,
    [LL_SMTPC_DEFERRED] = LL_OUTCOME_DEFERRED,
    [LL_SMTPC_REFUSED] = LL_OUTCOME_FAILED,
    [LL_SMTPC_AGAIN] = LL_OUTCOME_AGAIN,
};

/* What a temporary failure says of the server. */
static void job_trouble(struct job *j, uint16_t code, uint16_t subject)
{
    if (code == 421 || (code / 100 == 4 && subject == 7))
        j->trouble = LL_TROUBLE_THROTTLED;
    else if (code == 0 && j->trouble == LL_TROUBLE_NONE)
        j->trouble = LL_TROUBLE_FAILED;
}

/* The session broke, before the letter's end may have reached the server. */
static bool broke(const struct ll_smtpc_result *r)
{
    return r->outcome == LL_SMTPC_DEFERRED && (r->code == 0 || r->code == 421) &&
           r->phase != LL_SMTPC_FINAL && r->phase != LL_SMTPC_BODY;
}

/* Another server may take what this one puts off; a broken session is no answer at all. */
static bool other_may_help(const struct job *j, const struct ll_smtpc_result *r)
{
    if (r->outcome != LL_SMTPC_DEFERRED)
        return false;
    if (broke(r))
        return true;
    return (r->phase == LL_SMTPC_MAIL || r->phase == LL_SMTPC_RCPT) &&
           j->sessions < RELAY_SESSIONS_MAX && j->host_at + 1 < j->n_host;
}

static void take_result(struct job *j, struct conn *c, size_t i, const struct ll_smtpc_result *r)
{
    enum ll_outcome outcome = outcomes[r->outcome];
    char status[20];
    struct ll_slice text = r->text;
    struct ll_buf sentence = LL_BUF(LL_DIAG_MAX);

    snprintf(status, sizeof(status), "%u.%u.%u", r->enhanced[0] % 10u, r->enhanced[1] % 1000u,
             r->enhanced[2] % 1000u);
    if (r->code == 0 && r->outcome != LL_SMTPC_DELIVERED) {
        ll_buf_printf(&sentence, "%s: ", c->remote);
        ll_buf_put_slice(&sentence, ll_slice_cut(text, 0, LL_DIAG_MAX - sentence.n));
        text = ll_buf_slice(&sentence);
    }
    if (r->outcome == LL_SMTPC_DELIVERED && !j->probe && ll_smtpc_peer(c->engine)->dsn)
        outcome = LL_OUTCOME_PASSED;
    job_settle(j, i, outcome, r->code, status, text, c->remote);
    ll_buf_release(&sentence);
}

void hunt_results(struct job *j, struct conn *c, const struct ll_smtpc_result *results, size_t n)
{
    bool stale = false, more = false, again = false, session = false;

    job_facts(j, c);
    for (size_t k = 0; k < n; k++) {
        const struct ll_smtpc_result *r = &results[k];
        size_t i = j->to_index[k];

        if (r->outcome == LL_SMTPC_DEFERRED)
            job_trouble(j, r->code, r->enhanced[1]);
        if (r->outcome == LL_SMTPC_AGAIN) {
            again = true;
            continue;
        }
        if (broke(r) && c->reused && c->letters > 0) {
            stale = true;
            continue;
        }
        take_result(j, c, i, r);
        if (other_may_help(j, r)) {
            j->rcpt[i].settled = false;
            j->rcpt[i].provisional = true;
            more = true;
            session |= broke(r);
        }
    }
    if (n == 0) /* the engine had no memory */
        job_settle_all(j, LL_OUTCOME_DEFERRED, 451, "4.3.0", LL_LIT("out of memory"), c->remote);
    if (again && !more && !stale)
        return; /* conn.c gives the rest to the same connection */
    if (!job_recipients(j)) {
        job_end(j);
        return;
    }
    c->job = NULL;
    j->conn = NULL;
    j->sessions++;
    if (stale || j->n_host == 0) {
        j->fresh = true;
        j->n_host = 0;
        j->trouble = LL_TROUBLE_NONE;
        hunt_begin(j);
        return;
    }
    if (session) { /* the host's other addresses may be fine */
        next_address(j);
        return;
    }
    j->host_at++;
    next_host(j);
}
