/* letterlock status, reload, stop: the running server. */
#include "tool/control.h"
#include "tool/json_out.h"

/* "3 d 4 h", "12 s": the two largest units. */
static void print_age(int64_t s)
{
    static const struct {
        int64_t s;
        const char *unit;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
    size_t i = 0;

    while (i + 1 < LL_COUNT(units) && s < units[i].s)
        i++;
    printf("%lld %s", (long long)(s / units[i].s), units[i].unit);
    if (i + 1 < LL_COUNT(units) && s % units[i].s >= units[i + 1].s)
        printf(" %lld %s", (long long)(s % units[i].s / units[i + 1].s), units[i + 1].unit);
}

struct status {
    bool all_up;
    struct ll_buf roles; /* their lines come before the server's own, and are shown below it */
};

/* What the sandbox lacks is said, never passed over. */
static bool note_role(struct status *s, const json_t *o)
{
    bool up = json_is_true(json_object_get(o, "up"));
    char name[64];

    s->all_up = s->all_up && up;
    snprintf(name, sizeof(name), "%s.%lld", ll_js_text(o, "role"),
             (long long)ll_js_int(o, "index"));
    ll_buf_printf(&s->roles, "  %-14s pid %-8lld %s", name, (long long)ll_js_int(o, "pid"),
                  up ? "up" : "DOWN");
    if (ll_js_int(o, "restarts") > 0)
        ll_buf_printf(&s->roles, ", restarted %lld time%s", (long long)ll_js_int(o, "restarts"),
                      ll_js_int(o, "restarts") == 1 ? "" : "s");
    if (ll_js_text(o, "missing")[0])
        ll_buf_printf(&s->roles, ", sandbox lacks: %s", ll_js_text(o, "missing"));
    ll_buf_putc(&s->roles, '\n');
    return true;
}

static bool show_status(void *arg, json_t *o)
{
    struct status *s = arg;
    size_t i;
    json_t *l;

    if (json_object_get(o, "role"))
        return note_role(s, o);
    printf("%s: letterlockd %s, pid %lld, up for ", ll_js_text(o, "hostname"),
           ll_js_text(o, "version"), (long long)ll_js_int(o, "pid"));
    print_age(ll_js_int(o, "uptime"));
    putchar('\n');
    json_array_foreach(json_object_get(o, "listeners"), i, l)
        printf("  listens at %-24s %s\n", ll_js_text(l, "address"), ll_js_text(l, "title"));
    printf("%.*s", LL_FMT(ll_buf_slice(&s->roles)));
    return true;
}

/* What the operator might have forgotten. */
static bool show_paused(void *arg, json_t *o)
{
    printf("paused: nothing goes to %s until `letterlock queue resume`\n", ll_js_text(o, "paused"));
    return true;
}

int ll_cmd_status(int argc, char **argv)
{
    struct ll_where where = {0};
    struct status state = {true, LL_BUF(65536)};
    bool json = false;
    const struct ll_opt opts[] = {LL_WHERE_OPTS(where), LL_JSON_OPT(json)};
    const struct ll_usage usage = {
        "status [options]",
        "Is the server running? Its processes, and what their sandbox lacks. Exit status 69\n"
        "where it does not run, 75 where a process is down.",
        opts,
        LL_COUNT(opts),
        0,
        0};
    const struct ll_control_run run = {&where, "status", NULL, 0, false, show_status, &state};
    struct ll_control_run r = run;
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    r.as_json = json;
    status = ll_control_run(&r);
    ll_buf_release(&state.roles);
    if (status == 0 && !json && state.all_up) {
        r.command = "queue pauses";
        r.show = show_paused;
        ll_control_run(&r);
    }
    return status == 0 && !state.all_up ? EX_TEMPFAIL : status;
}

static int plain(const char *command, const char *text, int argc, char **argv)
{
    struct ll_where where = {0};
    const struct ll_opt opts[] = {LL_WHERE_OPTS(where)};
    char synopsis[64];
    const struct ll_usage usage = {synopsis, text, opts, LL_COUNT(opts), 0, 0};
    const struct ll_control_run run = {&where, command, NULL, 0, false, NULL, NULL};
    struct ll_words words;
    int status;

    snprintf(synopsis, sizeof(synopsis), "%s [options]", command);
    return ll_args_take(&usage, argc, argv, &words, &status) ? ll_control_run(&run) : status;
}

int ll_cmd_reload(int argc, char **argv)
{
    static const char text[] =
        "Reads configuration, certificates and aliases again. Sessions go on; when something is\n"
        "wrong, it is said, and what was good stays in force.";
    int status = plain("reload", text, argc, argv);

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return status;
    return status == 0 ? plain("alias reload", text, argc, argv) : status;
}

int ll_cmd_stop(int argc, char **argv)
{
    return plain("stop", "Ends the server: running sessions may finish (setting `drain`).", argc,
                 argv);
}
