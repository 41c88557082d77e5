/*
 * Local users: sessions that control hands over (LOCAL), whose user the kernel has proved. They are
 * submissions like others: the same grammar, limits and fix-ups; besides, one user's sessions and
 * letters a minute are counted. See front.h.
 */
#include "daemon/front/front.h"
#include "io/clock.h"
#include "io/log.h"

#include <stdlib.h>
#include <unistd.h>

#define MINUTE_MS 60000

/* ---- users ----------------------------------------------------------------------------------- */

/* Letters come back with time, up to a minute's. */
static void refill(struct local_user *u, int64_t rate, uint64_t now)
{
    uint64_t gone = now - u->since;
    uint64_t letters;

    if (gone > MINUTE_MS)
        gone = MINUTE_MS;
    letters = gone * (uint64_t)rate / MINUTE_MS;
    if (letters == 0 && u->since != 0)
        return;
    u->letters = u->since == 0 || u->letters + letters > (uint64_t)rate ? (uint64_t)rate
                                                                        : u->letters + letters;
    u->since = now;
}

/* The user's entry; a new one takes the place of one that could start afresh as well. NULL: all
 * are in use. */
static struct local_user *user_of(struct front *f, uint32_t uid)
{
    int64_t rate = f->proc->conf->local_rate;
    uint64_t now = ll_now_ms();
    struct local_user *spare = NULL;

    for (size_t i = 0; i < FRONT_LOCAL_USERS; i++) {
        struct local_user *u = &f->local_users[i];

        if (u->since != 0 && u->uid == uid)
            return u;
        if (u->sessions == 0 && (!spare || u->since < spare->since))
            spare = u;
    }
    if (!spare || (spare->since != 0 && now - spare->since < MINUTE_MS))
        return NULL;
    *spare = (struct local_user){.uid = uid};
    refill(spare, rate, now);
    return spare;
}

bool front_local_may_send(struct session *s)
{
    struct local_user *u = s->local;

    if (s->local_trusted)
        return true;
    refill(u, s->front->proc->conf->local_rate, ll_now_ms());
    if (u->letters == 0) {
        ll_log(LL_LOG_WARNING, "local-rate", LL_FU("uid", u->uid),
               LL_FU("letters_a_minute", (uint64_t)s->front->proc->conf->local_rate));
        return false;
    }
    u->letters--;
    return true;
}

bool front_local_any(const struct session *s, const struct ll_mailbox *from)
{
    const struct ll_conf *conf = s->front->proc->conf;
    struct ll_slice own, user, detail;

    if (!s->local)
        return false;
    if (s->local_trusted || conf->local_any_sender)
        return true;
    own = ll_smtpd_user(s->smtpd);
    if (ll_slice_caseeq(own, ll_mailbox_text(from)))
        return true;
    return conf->plus[0] && ll_mailbox_split(from, conf->plus, &user, &detail) &&
           ll_slice_caseeq(ll_slice_cut(own, 0, ll_slice_rfind(own, '@')), user) &&
           ll_slice_caseeq(ll_slice_skip(own, ll_slice_rfind(own, '@') + 1),
                           ll_mailbox_domain(from));
}

/* ---- what names them ------------------------------------------------------------------------- */

const char *front_client(const struct session *s, char text[LL_IP_TEXT])
{
    if (!s->local)
        return ll_ip_text(&s->ip, text);
    snprintf(text, LL_IP_TEXT, "uid:%u", s->local->uid);
    return text;
}

static bool is_author(struct ll_slice header, struct ll_slice one, struct ll_slice other)
{
    struct ll_arena arena;
    struct ll_slice author;
    bool is = false;

    ll_arena_init(&arena, 4 * LL_MSG_HEADER_MAX);
    if (ll_msg_author(header, &arena, &author) == LL_MSG_OK)
        is = ll_slice_caseeq(author, one) || (other.n > 0 && ll_slice_caseeq(author, other));
    ll_arena_release(&arena);
    return is;
}

struct ll_slice front_local_sender(const struct letter *l, struct ll_slice header)
{
    const struct session *s = l->session;
    struct ll_slice own, proven = LL_LIT("");

    if (!s || !s->local || s->local_trusted)
        return LL_LIT("");
    own = ll_smtpd_user(s->smtpd);
    if (!s->front->proc->conf->local_any_sender) /* then auth has allowed the reverse-path */
        proven = front_letter_reverse(l);
    return is_author(header, own, proven) ? LL_LIT("") : own;
}

/* ---- sessions -------------------------------------------------------------------------------- */

void front_local_reconf(struct front *f)
{
    front_service_unref(f->local_service);
    f->local_service = f->submission ? front_service_local(f->proc->conf) : NULL;
}

static void begin(struct front *f, int fd, uint32_t uid, bool trusted, struct ll_slice address)
{
    const struct ll_ip nowhere = {0};
    struct local_client c = {user_of(f, uid), trusted, address};

    if (f->proc->draining || !f->local_service) {
        front_refuse(fd, "421 4.3.2 The server is being stopped, try again later\r\n");
    } else if (!c.user || c.user->sessions >= (uint64_t)f->proc->conf->local_sessions) {
        ll_log(LL_LOG_WARNING, "local-sessions", LL_FU("uid", uid));
        front_refuse(fd, "421 4.7.0 Too many sessions of this user, try again later\r\n");
    } else {
        front_session_new(f, f->local_service, fd, &nowhere, &c);
    }
}

/* At the start there is no segment yet: a letter would be put off, and the programs that call
 * sendmail seldom try again. */
static bool too_early(const struct front *f)
{
    return !f->stored_once && !f->proc->draining && ll_now_ms() - f->began <= FRONT_KEEPER_MS &&
           ll_writer_ready(f->writer, 0) != LL_STORED;
}

void front_local_update(struct front *f)
{
    size_t n = f->n_local_early;

    if (n == 0 || too_early(f))
        return;
    f->n_local_early = 0;
    for (size_t i = 0; i < n; i++) {
        struct local_early *e = &f->local_early[i];

        begin(f, e->fd, e->uid, e->trusted, ll_slice(e->address, e->address_n));
    }
}

int front_on_local(struct ll_peer *peer, const struct ll_msg *m)
{
    struct front *f = peer->proc->state;
    struct ll_slice address = m->local.user;
    struct local_early *e = &f->local_early[f->n_local_early];

    if (!f->submission || address.n == 0 || address.n > LL_MAILBOX_MAX) {
        close(m->fd);
        return -1;
    }
    if (f->n_local_early == FRONT_LOCAL_EARLY || !too_early(f)) {
        begin(f, m->fd, m->local.uid, m->local.trusted != 0, address);
        return 0;
    }
    *e = (struct local_early){.fd = m->fd,
                              .uid = m->local.uid,
                              .trusted = m->local.trusted != 0,
                              .address_n = (uint16_t)address.n};
    memcpy(e->address, address.p, address.n);
    f->n_local_early++;
    return 0;
}
