/* See tool/args.h. */
#include "tool/args.h"

#include <stdlib.h>
#include <sysexits.h>

struct state {
    const struct ll_usage *usage;
    int argc;
    char **argv;
    int at;
    struct ll_words *words;
    struct ll_buf *err;
};

static bool wrong(struct state *s, const char *what, const char *which)
{
    ll_buf_printf(s->err, "%s%s", what, which);
    return false;
}

static bool push(struct state *s, struct ll_words *list, const char *value)
{
    const char **v;

    if (list->n >= LL_ARGS_LIST_MAX)
        return wrong(s, "too many values: ", value);
    v = reallocarray(list->v, list->n + 1, sizeof(*v));
    if (!v)
        return wrong(s, "no memory", "");
    v[list->n++] = value;
    list->v = v;
    return true;
}

static const struct ll_opt *by_name(const struct ll_usage *u, struct ll_slice name)
{
    for (size_t i = 0; i < u->n_opt; i++)
        if (u->opt[i].name && ll_slice_eq(ll_slice_str(u->opt[i].name), name))
            return &u->opt[i];
    return NULL;
}

static const struct ll_opt *by_letter(const struct ll_usage *u, char letter)
{
    for (size_t i = 0; i < u->n_opt; i++)
        if (u->opt[i].letter && u->opt[i].letter == letter)
            return &u->opt[i];
    return NULL;
}

/* value NULL: it is the next word. */
static bool set(struct state *s, const struct ll_opt *o, const char *value, const char *shown)
{
    uint64_t number;

    if (o->kind == LL_OPT_FLAG) {
        *(bool *)o->to = true;
        return value ? wrong(s, "takes no value: ", shown) : true;
    }
    if (!value && s->at < s->argc)
        value = s->argv[s->at++];
    if (!value)
        return wrong(s, "needs a value: ", shown);
    if (o->kind == LL_OPT_LIST)
        return push(s, o->to, value);
    if (o->kind == LL_OPT_TEXT) {
        *(const char **)o->to = value;
        return true;
    }
    if (!ll_slice_u64(ll_slice_str(value), &number) || number > INT64_MAX)
        return wrong(s, "not a number: ", value);
    *(int64_t *)o->to = (int64_t)number;
    return true;
}

static bool take_long(struct state *s, char *arg)
{
    struct ll_slice name = ll_slice_str(arg + 2);
    size_t eq = ll_slice_find(name, '=');
    const struct ll_opt *o = by_name(s->usage, ll_slice_cut(name, 0, eq));

    if (!o)
        return wrong(s, "no such option: ", arg);
    return set(s, o, eq < name.n ? arg + 2 + eq + 1 : NULL, arg);
}

static bool take_letters(struct state *s, char *arg)
{
    for (char *p = arg + 1; *p; p++) {
        const struct ll_opt *o = by_letter(s->usage, *p);

        if (!o)
            return wrong(s, "no such option: ", arg);
        if (o->kind != LL_OPT_FLAG)
            return set(s, o, p[1] ? p + 1 : NULL, arg);
        *(bool *)o->to = true;
    }
    return true;
}

bool ll_args_parse(const struct ll_usage *usage, int argc, char **argv, struct ll_words *ret_words,
                   struct ll_buf *err)
{
    struct state s = {usage, argc, argv, 1, ret_words, err};
    bool options = true;

    *ret_words = (struct ll_words){NULL, 0};
    while (s.at < argc) {
        char *arg = argv[s.at++];
        bool ok;

        if (options && strcmp(arg, "--") == 0) {
            options = false;
            continue;
        }
        if (options && arg[0] == '-' && arg[1] == '-')
            ok = take_long(&s, arg);
        else if (options && arg[0] == '-' && arg[1])
            ok = take_letters(&s, arg);
        else
            ok = push(&s, ret_words, arg);
        if (!ok)
            return false;
    }
    if (ret_words->n > usage->max)
        return wrong(&s, "one word too many: ", ret_words->v[usage->max]);
    return ret_words->n >= usage->min || wrong(&s, "a word is missing", "");
}

void ll_args_help(const struct ll_usage *usage, FILE *out)
{
    fprintf(out, "usage: letterlock %s\n", usage->synopsis);
    if (usage->text)
        fprintf(out, "\n%s\n", usage->text);
    if (usage->n_opt > 0)
        fputs("\noptions:\n", out);
    for (size_t i = 0; i < usage->n_opt; i++) {
        const struct ll_opt *o = &usage->opt[i];
        struct ll_buf b = LL_BUF(256);
        const char *s;

        if (o->letter)
            ll_buf_printf(&b, "-%c%s", o->letter, o->name ? ", " : "");
        if (o->name)
            ll_buf_printf(&b, "--%s", o->name);
        if (o->arg)
            ll_buf_printf(&b, " %s", o->arg);
        s = ll_buf_str(&b);
        fprintf(out, "  %-26s %s%s\n", s ? s : "",
                b.n > 26 ? "\n                             " : "", o->doc);
        ll_buf_release(&b);
    }
}

bool ll_args_take(const struct ll_usage *usage, int argc, char **argv, struct ll_words *ret_words,
                  int *ret_status)
{
    struct ll_buf err = LL_BUF(1024);
    const char *s;

    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            ll_args_help(usage, stdout);
            *ret_status = 0;
            return false;
        }
    if (ll_args_parse(usage, argc, argv, ret_words, &err))
        return true;
    s = ll_buf_str(&err);
    fprintf(stderr, "letterlock: %s\nusage: letterlock %s\n", s ? s : "bad usage", usage->synopsis);
    ll_buf_release(&err);
    *ret_status = EX_USAGE;
    return false;
}
