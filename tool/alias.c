/* letterlock alias: the file of aliases. */
#include "io/accounts.h"
#include "io/aliases.h"
#include "tool/control.h"
#include "tool/json_out.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdlib.h>

struct run {
    struct ll_where where;
    bool json;
    struct ll_conf *conf;
    struct ll_buf text; /* of the file */
    struct ll_buf err;
};

static int open_aliases(struct run *r, struct ll_aliases **ret)
{
    int status = 0;

    r->conf = ll_where_conf(&r->where, &status);
    if (!r->conf)
        return status;
    if (!r->conf->aliases[0])
        return ll_fail(EX_CONFIG, "no file of aliases is configured (`aliases = \"FILE\"`)");
    status = ll_read_file(r->conf->aliases, &r->text);
    if (status != 0)
        return status;
    *ret =
        ll_aliases_parse(ll_buf_slice(&r->text), r->conf->local_domain, r->conf->aliases, &r->err);
    if (*ret)
        return 0;
    return ll_fail_text(EX_DATAERR, &r->err);
}

static void end(struct run *r, struct ll_aliases *a)
{
    ll_aliases_free(a);
    ll_conf_free(r->conf);
    ll_buf_release(&r->text);
    ll_buf_release(&r->err);
}

static void print_entry(struct ll_json *j, struct ll_slice name, struct ll_slice targets)
{
    struct ll_cursor c = ll_cursor(targets);
    const char *between = "";

    if (j) {
        ll_json_open(j, '{');
        ll_json_str(j, "name", name);
        ll_json_key(j, "targets");
        ll_json_open(j, '[');
        while (ll_cur_left(&c) > 0)
            ll_json_str(j, NULL, ll_cur_str16(&c));
        ll_json_close(j);
        ll_json_close(j);
        return;
    }
    printf("%.*s: ", LL_FMT(name));
    for (; ll_cur_left(&c) > 0; between = ", ") {
        struct ll_slice target = ll_cur_str16(&c);

        printf("%s%.*s", between, LL_FMT(target));
    }
    putchar('\n');
}

static int alias_list(int argc, char **argv)
{
    struct run r = {.text = LL_BUF(LL_ALIAS_FILE_MAX), .err = LL_BUF(4096)};
    const struct ll_opt opts[] = {LL_WHERE_OPTS(r.where), LL_JSON_OPT(r.json)};
    const struct ll_usage usage = {
        "alias list [options]", "Lists the aliases.", opts, LL_COUNT(opts), 0, 0};
    struct ll_buf out = LL_BUF((size_t)1 << 30);
    struct ll_json j = LL_JSON(&out);
    struct ll_aliases *a = NULL;
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = open_aliases(&r, &a);
    if (status == 0) {
        ll_json_open(&j, '[');
        for (size_t i = 0; i < ll_aliases_count(a); i++) {
            struct ll_slice name, targets;

            ll_aliases_entry(a, i, &name, &targets);
            print_entry(r.json ? &j : NULL, name, targets);
        }
        ll_json_close(&j);
        if (r.json)
            status = ll_json_print(&out);
    }
    ll_buf_release(&out);
    end(&r, a);
    return status;
}

/* Canonical name of a left side: address or @domain. */
static int canonical(const char *text, struct ll_buf *ret)
{
    struct ll_mailbox m;

    if (text[0] == '@') {
        ll_buf_putc(ret, '@');
        if (ll_domain_canonical(ll_slice_str(text + 1), true, ret) == LL_ADDR_OK)
            return 0;
    } else if (ll_account_name(ll_slice_str(text), &m)) {
        ll_buf_put_slice(ret, ll_mailbox_text(&m));
        return 0;
    }
    return ll_fail(EX_DATAERR, "\"%s\" is neither an address nor @domain", text);
}

/* An alias must be at a domain of ours, and no account may have the name: the account would win. */
static int check_new(struct run *r, struct ll_slice name)
{
    struct ll_slice domain = ll_slice_skip(name, ll_slice_rfind(name, '@') + 1);
    const struct ll_conf_domain *d = ll_conf_domain(r->conf, domain);
    struct ll_accounts *accounts;
    enum ll_accounts_result found = LL_ACCOUNTS_NONE;

    if (!d || ll_conf_carried(d))
        return ll_fail(EX_DATAERR, "%.*s is %s", LL_FMT(domain),
                       d ? "relayed: its aliases are elsewhere" : "no domain of this server");
    if (ll_accounts_open(r->conf->accounts, false, 1000, &accounts, &r->err) == LL_ACCOUNTS_OK) {
        found = ll_accounts_find(accounts, name, NULL, NULL);
        ll_accounts_close(accounts);
    }
    if (found == LL_ACCOUNTS_OK)
        return ll_fail(EX_DATAERR, "%.*s is an account; its mail goes to its mailbox",
                       LL_FMT(name));
    return 0;
}

/* The file must still be good before it replaces the old one. */
static int replace(struct run *r, struct ll_buf *text)
{
    struct ll_aliases *a =
        text->failed ? NULL
                     : ll_aliases_parse(ll_buf_slice(text), r->conf->local_domain, NULL, &r->err);

    if (!a)
        return text->failed ? ll_fail(EX_DATAERR, "the file of aliases would be too long")
                            : ll_fail_text(EX_DATAERR, &r->err);
    ll_aliases_free(a);
    return ll_replace_file(r->conf->aliases, ll_buf_slice(text), 0600);
}

static int alias_add(int argc, char **argv)
{
    struct run r = {.text = LL_BUF(LL_ALIAS_FILE_MAX), .err = LL_BUF(4096)};
    const struct ll_opt opts[] = {LL_WHERE_OPTS(r.where)};
    const struct ll_usage usage = {
        "alias add [options] NAME TARGET...",
        "Mail for NAME (an address, or @domain for all that nobody else has) goes to the\n"
        "targets.",
        opts,
        LL_COUNT(opts),
        2,
        1 + LL_ALIAS_TARGETS_MAX};
    struct ll_buf name = LL_BUF(LL_MAILBOX_MAX + 1), targets = LL_BUF(LL_ALIAS_LINE_MAX);
    struct ll_buf out = LL_BUF(LL_ALIAS_FILE_MAX);
    struct ll_aliases *a = NULL;
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = open_aliases(&r, &a);
    if (status == 0)
        status = canonical(words.v[0], &name);
    if (status == 0)
        status = check_new(&r, ll_buf_slice(&name));
    for (size_t i = 1; i < words.n && status == 0; i++) {
        struct ll_mailbox m;

        if (ll_mailbox_parse(ll_slice_str(words.v[i]), true, &m) != LL_ADDR_OK)
            status = ll_fail(EX_DATAERR, "\"%s\" is no mail address", words.v[i]);
        else
            ll_buf_printf(&targets, "%s%s", i > 1 ? ", " : "", m.text);
    }
    if (status == 0 && !ll_aliases_text_add(ll_buf_slice(&r.text), r.conf->local_domain,
                                            ll_buf_slice(&name), ll_buf_slice(&targets), &out))
        status = ll_fail(EX_DATAERR, "there is an alias %.*s already (`alias del` first)",
                         LL_FMT(ll_buf_slice(&name)));
    if (status == 0)
        status = replace(&r, &out);
    ll_buf_release(&name);
    ll_buf_release(&targets);
    ll_buf_release(&out);
    end(&r, a);
    return status;
}

static int alias_del(int argc, char **argv)
{
    struct run r = {.text = LL_BUF(LL_ALIAS_FILE_MAX), .err = LL_BUF(4096)};
    const struct ll_opt opts[] = {LL_WHERE_OPTS(r.where)};
    const struct ll_usage usage = {
        "alias del [options] NAME", "Takes an alias away.", opts, LL_COUNT(opts), 1, 1};
    struct ll_buf name = LL_BUF(LL_MAILBOX_MAX + 1), out = LL_BUF(LL_ALIAS_FILE_MAX);
    struct ll_aliases *a = NULL;
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = open_aliases(&r, &a);
    if (status == 0)
        status = canonical(words.v[0], &name);
    if (status == 0 && !ll_aliases_text_del(ll_buf_slice(&r.text), r.conf->local_domain,
                                            ll_buf_slice(&name), &out))
        status = ll_fail(EX_NOUSER, "there is no alias %.*s", LL_FMT(ll_buf_slice(&name)));
    if (status == 0)
        status = replace(&r, &out);
    ll_buf_release(&name);
    ll_buf_release(&out);
    end(&r, a);
    return status;
}

/* The server looks at the file by itself; this is for who wants to know now whether it is good. */
static int alias_reload(int argc, char **argv)
{
    struct ll_where where = {0};
    const struct ll_opt opts[] = {LL_WHERE_OPTS(where)};
    const struct ll_usage usage = {
        "alias reload [options]",
        "Reads the file of aliases again, all or nothing: where a line is "
        "wrong, it is said,\nand the old aliases stay in force.",
        opts,
        LL_COUNT(opts),
        0,
        0};
    const struct ll_control_run run = {&where, "alias reload", NULL, 0, false, NULL, NULL};
    struct ll_words words;
    int status;

    return ll_args_take(&usage, argc, argv, &words, &status) ? ll_control_run(&run) : status;
}

int ll_cmd_alias(int argc, char **argv)
{
    static const struct ll_sub subs[] = {
        {"list", alias_list, "list the aliases"},
        {"add", alias_add, "send mail for an address elsewhere"},
        {"del", alias_del, "take an alias away"},
        {"reload", alias_reload, "read the file again, and say whether it is good"},
    };

    return ll_sub_run("alias", subs, LL_COUNT(subs), argc, argv);
}
