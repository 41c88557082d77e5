/* See tool/client/send.h: what the settings of an account add to the options. */
#include "letterlock/msg.h"
#include "tool/client/send.h"

/* With --server the account's server, and what belongs to it, do not count: a login there is none
 * here. */
static int take_server_of(struct ll_send *s, const struct ll_account *a)
{
    struct ll_password_from *from = &s->from_where;
    size_t n = 0;

    if (s->direct || !a->server || (s->server && !s->config_from.account))
        return 0;
    if (!from->file && !from->command) {
        from->file = a->password_file;
        from->command = a->password_command;
        if (a->password) {
            struct ll_slice host = ll_slice_str(s->server ? s->server : a->server);

            host = ll_slice_cut(host, 0, ll_slice_find(host, ':'));
            *from = (struct ll_password_from){.keyring = {"host", ll_arena_str(&s->arena, host),
                                                          "service", "smtp", "user",
                                                          s->user ? s->user : a->user}};
        }
    }
    if (!s->server)
        s->server = a->server;
    if (!s->user)
        s->user = a->user;
    if (!s->tls_word)
        s->tls_word = a->tls;
    if (s->pins.n == 0 && !s->ca && !s->insecure) {
        s->ca = a->ca;
        s->insecure = a->insecure;
        while (a->pin[n])
            n++;
        s->pins = (struct ll_words){(const char **)a->pin, n};
    }
    return 0;
}

/* The account is that of the author, and says how the letter is sealed: the envelope's sender,
 * which programs set to where bounces go, counts only where the author has no account here. */
static int choose(struct ll_send *s)
{
    struct ll_slice header, body, author = LL_LIT(""), address = ll_slice_str(s->from_text);
    int status;

    if (s->from_text && ll_slice_ends(address, LL_LIT(">"))) /* "Ann <ann@example.org>" */
        address = ll_slice_cut(address, ll_slice_rfind(address, '<') + 1, address.n - 1);
    ll_msg_split(ll_buf_slice(&s->text), &header, &body);
    if (ll_msg_author(header, &s->arena, &author) != LL_MSG_OK) /* or it is not composed yet */
        author = address;
    s->account = ll_config_account(s->config, s->config_from.account, author, &status);
    if (status == 0 && !s->config_from.account && s->account && s->from_text &&
        !ll_slice_caseeq(ll_slice_str(s->account->from), author))
        s->account = ll_config_account(s->config, NULL, address, &status);
    return status;
}

int ll_send_account(struct ll_send *s)
{
    int status;

    s->config = ll_config_load(s->config_from.file, &status);
    if (!s->config)
        return status;
    if (s->direct && s->server)
        return ll_fail(EX_USAGE, "--direct goes to MX, --server does not: give one of them");
    status = choose(s);
    if (status == 0 && s->account)
        status = take_server_of(s, s->account);
    if (!s->resolver.resolver)
        s->resolver.resolver = s->config->resolver;
    if (!s->resolver.trust_anchor)
        s->resolver.trust_anchor = s->config->trust_anchor;
    return status;
}
