/* PLAIN and LOGIN. See include/letterlock/sasl.h. */
#include "letterlock/sasl.h"

static const struct ll_slice mech_names[LL_SASL_MECHS] = {
    [LL_SASL_PLAIN] = {(const uint8_t *)"PLAIN", 5},
    [LL_SASL_LOGIN] = {(const uint8_t *)"LOGIN", 5},
};

/* The challenges that clients of LOGIN know; some compare them. */
#define ASK_USER     LL_LIT("VXNlcm5hbWU6") /* Username: */
#define ASK_PASSWORD LL_LIT("UGFzc3dvcmQ6") /* Password: */

#define PLAIN_MAX (LL_SASL_USER_MAX + 1 + LL_SASL_USER_MAX + 1 + LL_SASL_PASSWORD_MAX)

struct ll_slice ll_sasl_mech_name(enum ll_sasl_mech mech)
{
    return mech_names[mech];
}

bool ll_sasl_mech_find(struct ll_slice name, enum ll_sasl_mech *ret)
{
    for (size_t i = 0; i < LL_SASL_MECHS; i++) {
        if (ll_slice_caseeq(name, mech_names[i])) {
            *ret = (enum ll_sasl_mech)i;
            return true;
        }
    }
    return false;
}

/* ---- server ------------------------------------------------------------------------------ */

void ll_sasl_server_init(struct ll_sasl_server *s, enum ll_sasl_mech mech)
{
    *s = (struct ll_sasl_server){
        .mech = mech,
        .user = LL_BUF(LL_SASL_USER_MAX),
        .password = LL_BUF(LL_SASL_PASSWORD_MAX),
    };
}

void ll_sasl_server_release(struct ll_sasl_server *s)
{
    ll_buf_wipe(&s->user);
    ll_buf_wipe(&s->password);
    s->has_user = false;
}

static enum ll_sasl_step ask(struct ll_buf *challenge, struct ll_slice text)
{
    ll_buf_clear(challenge);
    ll_buf_put_slice(challenge, text);
    return challenge->failed ? LL_SASL_RESOURCE : LL_SASL_CHALLENGE;
}

/* A name or password that may be kept: its length, UTF-8, no NUL (RFC 4616 2). */
static enum ll_sasl_step keep(struct ll_buf *to, struct ll_slice text, enum ll_sasl_step next)
{
    if (text.n == 0 || text.n > to->max || ll_slice_find(text, 0) != text.n || !ll_utf8_valid(text))
        return LL_SASL_MALFORMED;
    ll_buf_clear(to);
    /* Room for all that it may hold at once: growing would leave copies behind. */
    if (!ll_buf_room(to, to->max))
        return LL_SASL_RESOURCE;
    ll_buf_put_slice(to, text);
    return to->failed ? LL_SASL_RESOURCE : next;
}

/* RFC 4616 2: [authzid] NUL authcid NUL passwd, and no NUL elsewhere. */
static enum ll_sasl_step take_plain(struct ll_sasl_server *s, struct ll_slice message)
{
    struct ll_slice authzid, authcid;
    size_t first = ll_slice_find(message, 0);
    enum ll_sasl_step step;

    if (first == message.n)
        return LL_SASL_MALFORMED;
    authzid = ll_slice_cut(message, 0, first);
    message = ll_slice_skip(message, first + 1);
    first = ll_slice_find(message, 0);
    if (first == message.n)
        return LL_SASL_MALFORMED;
    authcid = ll_slice_cut(message, 0, first);
    message = ll_slice_skip(message, first + 1);
    if (authzid.n > LL_SASL_USER_MAX || !ll_utf8_valid(authzid))
        return LL_SASL_MALFORMED;
    step = keep(&s->user, authcid, LL_SASL_CREDENTIALS);
    if (step == LL_SASL_CREDENTIALS)
        step = keep(&s->password, message, LL_SASL_CREDENTIALS);
    if (step == LL_SASL_CREDENTIALS && authzid.n && !ll_slice_eq(authzid, authcid))
        step = LL_SASL_REFUSED;
    return step;
}

static enum ll_sasl_step take(struct ll_sasl_server *s, struct ll_slice message,
                              struct ll_buf *challenge)
{
    enum ll_sasl_step step;

    if (s->mech == LL_SASL_PLAIN)
        return take_plain(s, message);
    if (s->has_user)
        return keep(&s->password, message, LL_SASL_CREDENTIALS);
    step = keep(&s->user, message, LL_SASL_CHALLENGE);
    if (step != LL_SASL_CHALLENGE)
        return step;
    s->has_user = true;
    return ask(challenge, ASK_PASSWORD);
}

enum ll_sasl_step ll_sasl_server_line(struct ll_sasl_server *s, struct ll_slice line,
                                      struct ll_buf *challenge)
{
    struct ll_buf message = LL_BUF(PLAIN_MAX);
    enum ll_sasl_step step;

    if (ll_slice_eq(line, LL_LIT("*")))
        return LL_SASL_CANCELLED;
    if (line.n > LL_SASL_LINE_MAX)
        return LL_SASL_MALFORMED;
    if (!ll_buf_room(&message, PLAIN_MAX))
        return LL_SASL_RESOURCE;
    step = ll_base64_decode(&message, line) ? take(s, ll_buf_slice(&message), challenge)
                                            : LL_SASL_MALFORMED;
    ll_buf_wipe(&message);
    return step;
}

enum ll_sasl_step ll_sasl_server_start(struct ll_sasl_server *s, bool has_initial,
                                       struct ll_slice initial, struct ll_buf *challenge)
{
    if (!has_initial)
        return ask(challenge, s->mech == LL_SASL_LOGIN ? ASK_USER : LL_LIT(""));
    if (ll_slice_eq(initial, LL_LIT("=")))
        initial = LL_LIT(""); /* RFC 4954 4: an initial response of no octets */
    return ll_sasl_server_line(s, initial, challenge);
}

/* ---- client ------------------------------------------------------------------------------ */

void ll_sasl_client_init(struct ll_sasl_client *c, enum ll_sasl_mech mech, struct ll_slice user,
                         struct ll_slice password)
{
    *c = (struct ll_sasl_client){mech, 0, user, password};
}

static void put_plain(const struct ll_sasl_client *c, struct ll_buf *out)
{
    struct ll_buf message = LL_BUF(2 + c->user.n + c->password.n);

    if (!ll_buf_room(&message, message.max)) {
        out->failed = true;
        return;
    }
    ll_buf_putc(&message, 0);
    ll_buf_put_slice(&message, c->user);
    ll_buf_putc(&message, 0);
    ll_buf_put_slice(&message, c->password);
    ll_base64_encode(out, ll_buf_slice(&message));
    ll_buf_wipe(&message);
}

bool ll_sasl_client_start(struct ll_sasl_client *c, struct ll_buf *out)
{
    if (c->mech != LL_SASL_PLAIN)
        return false;
    put_plain(c, out);
    c->sent = 1;
    return true;
}

/* The challenge's words are not looked at: servers of LOGIN ask in many languages. */
bool ll_sasl_client_answer(struct ll_sasl_client *c, struct ll_slice challenge, struct ll_buf *out)
{
    unsigned rounds = c->mech == LL_SASL_LOGIN ? 2 : 1;

    if (c->sent >= rounds)
        return false;
    if (c->mech == LL_SASL_PLAIN)
        put_plain(c, out);
    else
        ll_base64_encode(out, c->sent == 0 ? c->user : c->password);
    c->sent++;
    return true;
}
