/*
 * auth: verifies passwords, and says who lives here.
 *
 * A login is answered the same way, and after the same work, whether the account is unknown, locked
 * or the password wrong; only the log tells them apart (promise 11). One line a failed login, for
 * people and programs that count them:
 *   login-failed user=ann@example.org client=192.0.2.1 why="wrong password"
 */
#include "daemon/auth/directory.h"
#include "daemon/auth/hasher.h"
#include "daemon/auth/local_user.h"
#include "daemon/proc.h"
#include "io/json.h"
#include "io/log.h"

#include <stdlib.h>
#include <sysexits.h>

#define CLIENT_MAX 128 /* octets kept of what the front says about the client, for the log */

/* A login whose password is being checked. */
struct login {
    uint64_t ticket; /* 0: free */
    uint64_t id;     /* of the question */
    uint64_t asker;  /* serial of the peer */
    enum ll_role role;
    unsigned index;
    const char *refused; /* whatever the password: unknown user, locked */
    struct ll_mailbox name;
    char user[LL_MAILBOX_MAX + 1]; /* as typed, for the log */
    char client[CLIENT_MAX + 1];
};

struct auth {
    struct ll_proc *proc;
    struct ll_directory *directory;
    struct ll_hasher *hasher;
    uint64_t serial; /* of the newest peer */
    struct login login[LL_HASHER_WAITING + LL_HASHER_THREADS];
};

static int send_to(struct ll_peer *peer, const struct ll_msg *m)
{
    ll_msg_send(peer->ipc, m); /* a peer that cannot be reached goes down by itself */
    return 0;
}

/* ---- logins ---------------------------------------------------------------------------------- */

static int answer_login(struct ll_peer *peer, uint64_t id, enum ll_login result,
                        struct ll_slice user)
{
    struct ll_msg m = {.type = LL_MSG_LOGIN_ANSWER, .id = id, .fd = -1};

    m.login_answer.result = (uint8_t)result;
    m.login_answer.user = user;
    return send_to(peer, &m);
}

static void on_checked(void *arg, uint64_t ticket, bool ok)
{
    struct auth *a = arg;
    struct login *l = a->login;
    struct ll_peer *peer;
    const char *why;

    while (l < a->login + LL_COUNT(a->login) && l->ticket != ticket)
        l++;
    if (l == a->login + LL_COUNT(a->login))
        abort();
    l->ticket = 0;
    why = l->refused ? l->refused : ok ? NULL : "wrong password";
    if (why)
        ll_log(LL_LOG_WARNING, "login-failed", LL_FS("user", l->user), LL_FS("client", l->client),
               LL_FS("why", why));
    else
        ll_log(LL_LOG_INFO, "login", LL_FS("user", l->name.text), LL_FS("client", l->client));
    peer = ll_proc_peer(a->proc, l->role, l->index);
    if (peer && (uint64_t)(uintptr_t)peer->data == l->asker)
        answer_login(peer, l->id, why ? LL_LOGIN_REFUSED : LL_LOGIN_OK,
                     why ? ll_slice(NULL, 0) : ll_mailbox_text(&l->name));
}

static void copy_text(char *to, size_t room, struct ll_slice from)
{
    size_t n = from.n < room - 1 ? from.n : room - 1;

    if (n > 0)
        memcpy(to, from.p, n);
    to[n] = '\0';
}

static int on_login_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct auth *a = peer->proc->state;
    struct ll_account account;
    enum ll_accounts_result r = ll_directory_account(a->directory, m->login_ask.user, &account);
    struct login *l = a->login;

    while (l < a->login + LL_COUNT(a->login) && l->ticket != 0)
        l++;
    if ((r != LL_ACCOUNTS_OK && r != LL_ACCOUNTS_NONE) || l == a->login + LL_COUNT(a->login)) {
        ll_log(LL_LOG_WARNING, "login-later", LL_F("user", m->login_ask.user),
               LL_F("client", m->login_ask.client),
               LL_FS("why", l == a->login + LL_COUNT(a->login) ? "too many logins at once"
                                                               : "accounts cannot be read"));
        return answer_login(peer, m->id, LL_LOGIN_LATER, ll_slice(NULL, 0));
    }
    l->refused = r != LL_ACCOUNTS_OK ? "unknown user" : account.locked ? "locked" : NULL;
    if (r == LL_ACCOUNTS_OK && !ll_account_name(ll_slice_str(account.address), &l->name))
        l->refused = "bad account";
    l->ticket = ll_hasher_check(a->hasher, r == LL_ACCOUNTS_OK ? account.hash : NULL,
                                m->login_ask.password);
    explicit_bzero(account.hash, sizeof(account.hash));
    if (l->ticket == 0) /* cannot be: it has as many places as we have */
        return answer_login(peer, m->id, LL_LOGIN_LATER, ll_slice(NULL, 0));
    l->id = m->id;
    l->role = peer->role;
    l->index = peer->index;
    l->asker = (uint64_t)(uintptr_t)peer->data;
    copy_text(l->user, sizeof(l->user), m->login_ask.user);
    copy_text(l->client, sizeof(l->client), m->login_ask.client);
    return 0;
}

/* ---- addresses ------------------------------------------------------------------------------- */

static int on_addr_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct auth *a = peer->proc->state;
    struct ll_msg out = {.type = LL_MSG_ADDR_ANSWER, .id = m->id, .fd = -1};
    struct ll_mailbox mailbox;

    out.addr_answer.kind = (uint8_t)ll_directory_find(a->directory, m->addr_ask.address, &mailbox);
    out.addr_answer.mailbox = ll_mailbox_text(&mailbox);
    return send_to(peer, &out);
}

static int on_sender_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct auth *a = peer->proc->state;
    struct ll_msg out = {.type = LL_MSG_SENDER_ANSWER, .id = m->id, .fd = -1};

    out.sender_answer.allowed =
        ll_directory_sender(a->directory, m->sender_ask.user, m->sender_ask.address);
    return send_to(peer, &out);
}

static int on_local_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct auth *a = peer->proc->state;
    struct ll_msg out = {.type = LL_MSG_LOCAL_ANSWER, .id = m->id, .fd = -1};
    struct ll_mailbox user;

    out.local_answer.trusted = ll_local_user(a->proc->conf, m->local_ask.uid, &user);
    out.local_answer.user = ll_mailbox_text(&user);
    return send_to(peer, &out);
}

static int on_alias_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct auth *a = peer->proc->state;
    struct ll_msg out = {.type = LL_MSG_ALIAS_ANSWER, .id = m->id, .fd = -1};
    struct ll_buf targets = LL_BUF(LL_ALIAS_ANSWER_MAX), sender = LL_BUF(LL_MAILBOX_MAX);

    out.alias_answer.result =
        (uint8_t)ll_directory_expand(a->directory, m->alias_ask.address, &targets);
    if (out.alias_answer.result == LL_ALIAS_OK &&
        !ll_directory_srs(a->directory, m->alias_ask.sender, &sender))
        out.alias_answer.result = LL_ALIAS_LATER;
    out.alias_answer.targets = ll_buf_slice(&targets);
    out.alias_answer.sender = ll_buf_slice(&sender);
    send_to(peer, &out);
    ll_buf_release(&targets);
    ll_buf_release(&sender);
    return 0;
}

/* ---- control: "test ADDRESS" ----------------------------------------------------------------- */

static const char *const kinds[] = {
    [LL_ADDR_MAILBOX] = "mailbox", [LL_ADDR_ALIAS] = "alias",     [LL_ADDR_RELAY] = "relay",
    [LL_ADDR_PROBE] = "probe",     [LL_ADDR_UNKNOWN] = "unknown", [LL_ADDR_OUTSIDE] = "outside",
    [LL_ADDR_BOUNCE] = "bounce",   [LL_ADDR_REPORT] = "report",   [LL_ADDR_LATER] = "later",
};

static const char *const alias_results[] = {
    [LL_ALIAS_OK] = "ok",     [LL_ALIAS_NONE] = "none",   [LL_ALIAS_LOOP] = "loop",
    [LL_ALIAS_MANY] = "many", [LL_ALIAS_LATER] = "later",
};

static void describe(struct auth *a, struct ll_slice address, struct ll_buf *line)
{
    struct ll_json j = LL_JSON(line);
    struct ll_buf targets = LL_BUF(LL_ALIAS_ANSWER_MAX);
    struct ll_mailbox mailbox;
    enum ll_addr_kind kind = ll_directory_find(a->directory, address, &mailbox);

    ll_json_open(&j, '{');
    ll_json_str(&j, "address", address);
    ll_json_cstr(&j, "kind", kinds[kind]);
    if (kind == LL_ADDR_MAILBOX || (kind == LL_ADDR_REPORT && mailbox.n > 0))
        ll_json_str(&j, "mailbox", ll_mailbox_text(&mailbox));
    if (kind == LL_ADDR_ALIAS || kind == LL_ADDR_BOUNCE) {
        struct ll_cursor c;

        ll_json_cstr(&j, "expansion",
                     alias_results[ll_directory_expand(a->directory, address, &targets)]);
        ll_json_key(&j, "targets");
        ll_json_open(&j, '[');
        for (c = ll_cursor(ll_buf_slice(&targets)); ll_cur_left(&c) > 0;)
            ll_json_str(&j, NULL, ll_cur_str16(&c));
        ll_json_close(&j);
    }
    ll_json_close(&j);
    ll_buf_release(&targets);
}

static int reload_aliases(struct ll_peer *peer, uint64_t id)
{
    struct auth *a = peer->proc->state;
    struct ll_msg end = {.type = LL_MSG_CTL_END, .id = id, .fd = -1};
    struct ll_buf text = LL_BUF(16384);
    size_t n = 0;

    if (!ll_directory_reload(a->directory, &n, &text))
        end.ctl_end.status = EX_DATAERR;
    else
        ll_buf_printf(&text, "%zu aliases", n);
    end.ctl_end.text = ll_buf_slice(&text);
    send_to(peer, &end);
    ll_buf_release(&text);
    return 0;
}

static int on_ctl_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct auth *a = peer->proc->state;
    struct ll_cursor args = ll_cursor(m->ctl_ask.args);
    struct ll_slice address = ll_cur_str16(&args);
    struct ll_msg end = {.type = LL_MSG_CTL_END, .id = m->id, .fd = -1};
    struct ll_msg line = {.type = LL_MSG_CTL_LINE, .id = m->id, .fd = -1};
    struct ll_buf text = LL_BUF(LL_IPC_FRAME_MAX - 256);

    if (ll_slice_eq(m->ctl_ask.command, LL_LIT("alias reload")))
        return reload_aliases(peer, m->id);
    if (!ll_slice_eq(m->ctl_ask.command, LL_LIT("test")) || !ll_cur_end(&args)) {
        end.ctl_end.status = EX_USAGE;
        end.ctl_end.text = LL_LIT("auth knows `test ADDRESS` and `alias reload` alone");
        return send_to(peer, &end);
    }
    describe(a, address, &text);
    if (text.failed) {
        end.ctl_end.status = EX_DATAERR;
        end.ctl_end.text = LL_LIT("the alias comes to more addresses than one answer can hold");
    } else {
        line.ctl_line.line = ll_buf_slice(&text);
        send_to(peer, &line);
    }
    send_to(peer, &end);
    ll_buf_release(&text);
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int start(struct ll_proc *proc)
{
    struct auth *a = calloc(1, sizeof(*a));

    if (!a)
        return -1;
    a->proc = proc;
    a->directory = ll_directory_new();
    a->hasher = ll_hasher_new(proc->base, on_checked, a);
    if (!a->directory || !a->hasher)
        return -1;
    proc->state = a;
    ll_directory_conf(a->directory, proc->conf);
    return 0;
}

static void reconf(struct ll_proc *proc, const struct ll_conf *old)
{
    struct auth *a = proc->state;

    ll_directory_conf(a->directory, proc->conf);
}

static void peer_up(struct ll_peer *peer)
{
    struct auth *a = peer->proc->state;

    peer->data = (void *)(uintptr_t)++a->serial;
}

const struct ll_role_ops ll_role_auth = {
    .start = start,
    .reconf = reconf,
    .peer_up = peer_up,
    .on = {[LL_MSG_LOGIN_ASK] = on_login_ask,
           [LL_MSG_ADDR_ASK] = on_addr_ask,
           [LL_MSG_SENDER_ASK] = on_sender_ask,
           [LL_MSG_LOCAL_ASK] = on_local_ask,
           [LL_MSG_ALIAS_ASK] = on_alias_ask,
           [LL_MSG_CTL_ASK] = on_ctl_ask},
};
