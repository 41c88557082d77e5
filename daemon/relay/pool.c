/* Idle connections, and TLS sessions to resume. See relay.h. */
#include "daemon/relay/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "io/clock.h"

/* FNV-1a over the letters' lower case. */
static uint32_t hash(struct ll_slice s)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ ll_lower(s.p[i])) * 16777619u;
    return h;
}

static struct conn **bucket(struct relay *r, struct ll_slice destination)
{
    return &r->pool[hash(destination) % POOL_BUCKETS];
}

void pool_put(struct conn *c)
{
    struct conn **b = bucket(c->relay, ll_slice_str(c->destination));

    c->idle_prev = NULL;
    c->idle_next = *b;
    if (*b)
        (*b)->idle_prev = c;
    *b = c;
    c->pooled = true;
}

void pool_take_out(struct conn *c)
{
    if (!c->pooled)
        return;
    if (c->idle_prev)
        c->idle_prev->idle_next = c->idle_next;
    else
        *bucket(c->relay, ll_slice_str(c->destination)) = c->idle_next;
    if (c->idle_next)
        c->idle_next->idle_prev = c->idle_prev;
    c->pooled = false;
}

struct ll_slice pool_key(const struct job *j)
{
    return j->plan->via == VIA_MX ? j->job.destination : LL_LIT("");
}

struct conn *pool_find(struct relay *r, const struct job *j)
{
    struct ll_slice destination = pool_key(j);
    uint64_t now = ll_now_ms();

    for (struct conn *c = *bucket(r, destination); c; c = c->idle_next) {
        if (c->plan != j->plan || now - c->opened_ms > RELAY_CONN_AGE_MS ||
            !ll_slice_caseeq(ll_slice_str(c->destination), destination))
            continue;
        pool_take_out(c);
        return c;
    }
    return NULL;
}

void pool_close_all(struct relay *r)
{
    for (size_t i = 0; i < POOL_BUCKETS; i++)
        while (r->pool[i]) {
            struct conn *c = r->pool[i];

            pool_take_out(c);
            conn_quit(c);
        }
}

/* ---- TLS sessions
 * -------------------------------------------------------------------------------- */

/* Of one server under one route: a session is never taken to another. */
static void session_key(const struct conn *c, char *out, size_t n)
{
    snprintf(out, n, "%s|%s", c->plan->title, c->remote);
}

static struct session_slot *session_slot(struct relay *r, const char *key)
{
    return &r->sessions[hash(ll_slice_str(key)) % SESSIONS_SLOTS];
}

void session_keep(struct conn *c)
{
    char key[RELAY_REMOTE_MAX + LL_DNS_NAME_MAX + 2];
    struct ll_tls_session *s = c->tls ? ll_tls_session(c->tls) : NULL;
    struct session_slot *slot;

    if (!s)
        return;
    session_key(c, key, sizeof(key));
    slot = session_slot(c->relay, key);
    ll_tls_session_free(slot->session);
    free(slot->key);
    slot->key = strdup(key);
    slot->session = s;
    c->session_kept = true;
}

const struct ll_tls_session *session_for(struct relay *r, const struct conn *c)
{
    char key[RELAY_REMOTE_MAX + LL_DNS_NAME_MAX + 2];
    struct session_slot *slot;

    session_key(c, key, sizeof(key));
    slot = session_slot(r, key);
    return slot->key && strcmp(slot->key, key) == 0 ? slot->session : NULL;
}
