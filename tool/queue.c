/* letterlock queue and trace: what the server still carries, and what became of it. */
#include "tool/control.h"
#include "tool/json_out.h"

#include <stdlib.h>

/* What an answer has shown so far. */
struct shown {
    size_t n;
    json_t *rcpts; /* trace: of the letter, which later events name by number */
};

/* ---- for people ------------------------------------------------------------------------------ */

static void print_octets(int64_t n)
{
    if (n < 10000)
        printf("%lld B", (long long)n);
    else if (n < 10000000)
        printf("%lld KiB", (long long)(n >> 10));
    else
        printf("%lld MiB", (long long)(n >> 20));
}

/* "5.1.1 no such user (mx.example.org [192.0.2.1]:25)": why a recipient is where it is. */
static void print_reason(const json_t *r)
{
    const char *text = ll_js_text(r, "text"), *remote = ll_js_text(r, "remote");

    if (ll_js_int(r, "code") > 0)
        printf(" %lld", (long long)ll_js_int(r, "code"));
    if (ll_js_text(r, "status")[0])
        printf(" %s", ll_js_text(r, "status"));
    if (text[0])
        printf(" %s", text);
    if (remote[0])
        printf(" (%s)", remote);
}

static void print_rcpt(const json_t *r)
{
    const char *next = ll_js_text(r, "next");

    printf("    to %s: %s", ll_js_text(r, "address"), ll_js_text(r, "state"));
    if (ll_js_int(r, "attempts") > 0)
        printf(" after %lld tr%s", (long long)ll_js_int(r, "attempts"),
               ll_js_int(r, "attempts") == 1 ? "y" : "ies");
    if (next[0])
        printf(", next at %s", next);
    if (json_is_true(json_object_get(r, "paused")))
        printf(", %s is paused", ll_js_text(r, "destination"));
    if (ll_js_text(r, "text")[0])
        putchar(':');
    print_reason(r);
    putchar('\n');
}

static bool show_letter(void *arg, json_t *o)
{
    const char *sender = ll_js_text(o, "sender");
    struct shown *shown = arg;
    size_t i;
    json_t *r;

    printf("%s  %s  ", ll_js_text(o, "id"), ll_js_text(o, "arrived"));
    print_octets(ll_js_int(o, "size"));
    printf("  from <%s>\n", sender);
    json_array_foreach(json_object_get(o, "rcpts"), i, r) print_rcpt(r);
    shown->n++;
    return true;
}

/* `queue show`: all that is known of one letter; its body stays private. */
static bool show_all(void *arg, json_t *o)
{
    static const char *const fields[] = {"origin", "login", "envid"};
    const json_t *facts = json_object_get(o, "facts");
    char *text;

    show_letter(arg, o);
    for (size_t i = 0; i < LL_COUNT(fields); i++)
        if (ll_js_text(o, fields[i])[0])
            printf("    %s: %s\n", fields[i], ll_js_text(o, fields[i]));
    text = json_is_string(facts) ? strdup(json_string_value(facts))
           : facts               ? json_dumps(facts, JSON_COMPACT)
                                 : NULL;
    if (text && text[0])
        printf("    facts: %s\n", text);
    free(text);
    printf("\n%s%s", ll_js_text(o, "prepend"), ll_js_text(o, "header"));
    return true;
}

static bool show_line(void *arg, json_t *o)
{
    struct shown *shown = arg;

    printf("%s\n", ll_js_text(o, "line"));
    shown->n++;
    return true;
}

static bool show_count(void *arg, json_t *o)
{
    struct shown *shown = arg;

    printf("letters: %lld\n", (long long)ll_js_int(o, "letters"));
    shown->n++;
    return true;
}

/* ---- queue ----------------------------------------------------------------------------------- */

struct filters {
    const char *domain, *sender, *recipient;
    bool held;
};

#define FILTERS_MAX 7

#define FILTER_OPTS(f)                                                                             \
    {"domain", 0, LL_OPT_TEXT, &(f).domain, "D", "letters with a recipient at this domain"},       \
        {"sender", 0, LL_OPT_TEXT, &(f).sender, "ADDR", "letters from this sender"},               \
        {"recipient", 0, LL_OPT_TEXT, &(f).recipient, "ADDR", "letters to this recipient"},        \
    {                                                                                              \
        "held", 0, LL_OPT_FLAG, &(f).held, NULL, "letters that are held, with the reason"          \
    }

static size_t put_filters(const struct filters *f, const char *args[FILTERS_MAX])
{
    const struct {
        const char *name, *value;
    } with[] = {{"--domain", f->domain}, {"--sender", f->sender}, {"--recipient", f->recipient}};
    size_t n = 0;

    for (size_t i = 0; i < LL_COUNT(with); i++)
        if (with[i].value) {
            args[n++] = with[i].name;
            args[n++] = with[i].value;
        }
    if (f->held)
        args[n++] = "--held";
    return n;
}

struct verb {
    const char *command; /* to the server */
    const char *synopsis, *text;
    bool filters;
    bool demands; /* an ID, a filter or `all` must be given */
    size_t min, max;
    ll_control_json_fn show;
    const char *none; /* said when there was nothing to show */
};

static int run(const struct verb *v, int argc, char **argv)
{
    struct ll_where where = {0};
    struct filters f = {0};
    bool json = false;
    const struct ll_opt opts[] = {LL_WHERE_OPTS(where), LL_JSON_OPT(json), FILTER_OPTS(f)};
    const struct ll_usage usage = {v->synopsis, v->text,
                                   opts,        v->filters ? LL_COUNT(opts) : LL_COUNT(opts) - 4,
                                   v->min,      v->max};
    const char *args[FILTERS_MAX + 1];
    struct shown shown = {0};
    size_t n;
    struct ll_control_run r = {
        .where = &where, .command = v->command, .args = args, .show = v->show, .arg = &shown};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    n = put_filters(&f, args);
    if (v->demands && n == 0 && words.n == 0)
        return ll_fail(EX_USAGE, "which letters? An ID, filters, or `all`");
    if (words.n > 0)
        args[n++] = words.v[0];
    r.n_args = n;
    r.as_json = json;
    status = ll_control_run(&r);
    json_decref(shown.rcpts);
    if (status == 0 && shown.n == 0 && !json && v->none)
        puts(v->none);
    return status;
}

static int queue_list(int argc, char **argv)
{
    static const struct verb v = {
        .command = "queue list",
        .synopsis = "queue list [options]",
        .text = "Lists the letters that are not done yet, with each recipient's state.",
        .filters = true,
        .show = show_letter,
        .none = "The queue is empty."};

    return run(&v, argc, argv);
}

static int queue_show(int argc, char **argv)
{
    static const struct verb v = {.command = "queue show",
                                  .synopsis = "queue show [options] ID",
                                  .text = "Shows all that is known of one letter, and its header.",
                                  .min = 1,
                                  .max = 1,
                                  .show = show_all};

    return run(&v, argc, argv);
}

static int queue_why(int argc, char **argv)
{
    static const struct verb one = {
        .command = "queue why",
        .synopsis = "queue why [options] [ID]",
        .text = "Says why a letter, or each letter, is still here, and what happens next.",
        .filters = true,
        .max = 1,
        .show = show_line};
    struct ll_where where;
    struct filters f;
    bool json, id = false;
    const struct ll_opt opts[] = {LL_WHERE_OPTS(where), LL_JSON_OPT(json), FILTER_OPTS(f)};
    struct ll_buf err = LL_BUF(1024);
    struct verb all = one;
    struct ll_words words;

    if (ll_args_parse(&(struct ll_usage){.opt = opts, .n_opt = LL_COUNT(opts), .max = 1}, argc,
                      argv, &words, &err))
        id = words.n > 0; /* wrong usage is said by run() */
    ll_buf_release(&err);
    all.command = "queue list";
    all.show = show_letter; /* each recipient with its reason */
    all.none = "The queue is empty.";
    return run(id ? &one : &all, argc, argv);
}

static int queue_retry(int argc, char **argv)
{
    static const struct verb v = {.command = "queue retry",
                                  .synopsis = "queue retry [options] [ID|all]",
                                  .text = "Tries letters again now.",
                                  .filters = true,
                                  .demands = true,
                                  .max = 1,
                                  .show = show_count};

    return run(&v, argc, argv);
}

static int queue_hold(int argc, char **argv)
{
    static const struct verb v = {
        .command = "queue hold",
        .synopsis = "queue hold [options] [ID|all]",
        .text =
            "Keeps letters here until `queue release` or `queue drop`: nothing is tried, and they\n"
            "do not grow too old. What is being delivered right now is held when it comes back.",
        .filters = true,
        .demands = true,
        .max = 1,
        .show = show_count};

    return run(&v, argc, argv);
}

static int queue_release(int argc, char **argv)
{
    static const struct verb v = {.command = "queue release",
                                  .synopsis = "queue release [options] [ID|all]",
                                  .text = "Lets held letters go on their way again, at once.",
                                  .filters = true,
                                  .demands = true,
                                  .max = 1,
                                  .show = show_count};

    return run(&v, argc, argv);
}

static bool show_paused(void *arg, json_t *o)
{
    struct shown *shown = arg;

    printf("paused: %s\n", ll_js_text(o, "paused"));
    shown->n++;
    return true;
}

/* Without a word: what is paused. */
static int queue_pause(int argc, char **argv)
{
    static const struct verb one = {
        .command = "queue pause",
        .synopsis = "queue pause [options] [DESTINATION|all]",
        .text =
            "Sends nothing to a destination until `queue resume`: a domain, the title of a route\n"
            "with one server, `local` (the mailboxes here) or `all`. Letters wait, and are not\n"
            "returned meanwhile. Without a word: shows what is paused.",
        .max = 1,
        .show = show_paused,
        .none = "Nothing is paused."};
    struct verb all = one;

    all.command = "queue pauses";
    for (int i = 1; i < argc; i++) {
        bool value = argv[i][0] == '-' && (!strcmp(argv[i], "-c") || !strcmp(argv[i], "--dir"));

        if (argv[i][0] != '-')
            return run(&one, argc, argv);
        i += value;
    }
    return run(&all, argc, argv);
}

static int queue_resume(int argc, char **argv)
{
    static const struct verb v = {.command = "queue resume",
                                  .synopsis = "queue resume [options] DESTINATION|all",
                                  .text = "Ends what `queue pause` of the same word began.",
                                  .min = 1,
                                  .max = 1,
                                  .show = show_paused,
                                  .none = "Nothing is paused any more."};

    return run(&v, argc, argv);
}

static int queue_drop(int argc, char **argv)
{
    static const struct verb v = {.command = "queue drop",
                                  .synopsis = "queue drop [options] [ID|all]",
                                  .text =
                                      "Throws letters away: nobody gets them, and nobody is told.",
                                  .filters = true,
                                  .demands = true,
                                  .max = 1,
                                  .show = show_count};

    return run(&v, argc, argv);
}

int ll_cmd_queue(int argc, char **argv)
{
    static const struct ll_sub subs[] = {
        {"list", queue_list, "the letters that are not done yet"},
        {"show", queue_show, "all that is known of one letter"},
        {"why", queue_why, "why a letter is still here"},
        {"retry", queue_retry, "try letters again now"},
        {"hold", queue_hold, "keep letters here until they are released"},
        {"release", queue_release, "let held letters go on"},
        {"drop", queue_drop, "throw letters away"},
        {"pause", queue_pause, "send nothing to a destination, or anywhere"},
        {"resume", queue_resume, "send again"},
        {"unpause", queue_resume, "the same as resume"},
    };

    return ll_sub_run("queue", subs, LL_COUNT(subs), argc, argv);
}

/* ---- trace ----------------------------------------------------------------------------------- */

/* Addresses, or numbers of addresses in `all`. */
static void print_list(const char *label, const json_t *list, const json_t *all)
{
    size_t i;
    json_t *v;

    if (json_array_size(list) > 0)
        printf(" %s", label);
    json_array_foreach(list, i, v)
    {
        const json_t *named =
            json_is_integer(v) ? json_array_get(all, (size_t)json_integer_value(v)) : v;

        printf("%s %s", i > 0 ? "," : "",
               json_is_string(named) ? json_string_value(named) : ll_js_text(named, "address"));
    }
}

/* Facts of a hop: "client=[192.0.2.1]:4711 tls=TLSv1.3 ...", nested objects as "tls.version=". */
static void print_facts(const char *prefix, const json_t *facts, int depth)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)facts, key, v)
    {
        char name[128];

        snprintf(name, sizeof(name), "%s%s%s", prefix, prefix[0] ? "." : "", key);
        if (json_is_object(v) && depth < 4)
            print_facts(name, v, depth + 1);
        else if (json_is_string(v))
            printf("    %s: %s\n", name, json_string_value(v));
        else if (json_is_integer(v))
            printf("    %s: %lld\n", name, (long long)json_integer_value(v));
        else if (json_is_boolean(v))
            printf("    %s: %s\n", name, json_is_true(v) ? "yes" : "no");
    }
}

static bool show_event(void *arg, json_t *o)
{
    const char *sender = json_string_value(json_object_get(o, "sender"));
    json_t *facts = json_object_get(o, "facts"), *parsed = NULL;
    struct shown *shown = arg;

    printf("%s %s", ll_js_text(o, "time"), ll_js_text(o, "event"));
    if (sender)
        printf(" from <%s>", sender);
    if (sender && !shown->rcpts)
        shown->rcpts = json_incref(json_object_get(o, "rcpts"));
    print_list("to", json_object_get(o, "rcpts"), shown->rcpts);
    if (ll_js_int(o, "attempt") > 0)
        printf(" (try %lld)", (long long)ll_js_int(o, "attempt"));
    print_reason(o);
    if (ll_js_text(o, "next")[0])
        printf(", next at %s", ll_js_text(o, "next"));
    if (ll_js_text(o, "new_id")[0])
        printf(", goes on as %s", ll_js_text(o, "new_id"));
    putchar('\n');
    if (json_is_string(facts))
        facts = parsed = json_loads(json_string_value(facts), 0, NULL);
    if (json_is_object(facts))
        print_facts("", facts, 0);
    json_decref(parsed);
    shown->n++;
    return true;
}

int ll_cmd_trace(int argc, char **argv)
{
    static const struct verb v = {
        .command = "trace",
        .synopsis = "trace [options] ID",
        .text = "The security receipt of one letter: every step, who took it, over which TLS.",
        .min = 1,
        .max = 1,
        .show = show_event,
        .none = "Nothing is known of this letter."};

    return run(&v, argc, argv);
}
