/* letterlock report: what others report about mail with our domains. */
#include "tool/json_out.h"
#include "tool/report.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define JSON_MAX  (256u << 20)
#define ARENA_MAX (64u << 20)

/* ---- read ---------------------------------------------------------------------------------------
 */

static void print_word(const char *name, struct ll_slice value)
{
    struct ll_buf b = LL_BUF(8 * LL_REPORT_TEXT_MAX);

    if (value.n == 0)
        return;
    for (size_t i = 0; i < value.n && i < LL_REPORT_TEXT_MAX; i++)
        ll_buf_putc(&b, ll_is_print(value.p[i]) ? value.p[i] : '?');
    printf("%s: %.*s\n", name, LL_FMT(ll_buf_slice(&b)));
    ll_buf_release(&b);
}

static struct ll_slice deep(const struct ll_report_node *n, enum ll_report_id a,
                            enum ll_report_id b, enum ll_report_id c)
{
    return ll_report_text(ll_report_child(n, a), b, c);
}

static void print_row(const struct ll_report_node *r)
{
    static const struct {
        enum ll_report_id group, text;
        int width;
    } columns[] = {{LL_REPORT_N_ITEM, LL_REPORT_N_SOURCE_IP, 39},
                   {LL_REPORT_N_ITEM, LL_REPORT_N_COUNT, 7},
                   {LL_REPORT_N_EVALUATED, LL_REPORT_N_DISPOSITION, 10},
                   {LL_REPORT_N_EVALUATED, LL_REPORT_N_EVALUATED_DKIM, 5},
                   {LL_REPORT_N_EVALUATED, LL_REPORT_N_EVALUATED_SPF, 5},
                   {LL_REPORT_N_IDENTIFIERS, LL_REPORT_N_HEADER_FROM, 0}};

    for (size_t i = 0; i < LL_COUNT(columns); i++) {
        struct ll_buf b = LL_BUF(4 * LL_REPORT_TEXT_MAX);
        struct ll_slice s = columns[i].group == LL_REPORT_N_EVALUATED
                                ? deep(r, LL_REPORT_N_ITEM, columns[i].group, columns[i].text)
                                : ll_report_text(r, columns[i].group, columns[i].text);

        ll_escape(&b, s, 255);
        printf("%-*.*s%s", columns[i].width, LL_FMT(ll_buf_slice(&b)),
               i + 1 < LL_COUNT(columns) ? " " : "\n");
        ll_buf_release(&b);
    }
}

static void print_dmarc(const struct ll_report_node *top)
{
    static const struct {
        const char *name;
        enum ll_report_id group, text;
    } head[] = {{"from", LL_REPORT_N_METADATA, LL_REPORT_N_ORG_NAME},
                {"contact", LL_REPORT_N_METADATA, LL_REPORT_N_EMAIL},
                {"report", LL_REPORT_N_METADATA, LL_REPORT_N_REPORT_ID},
                {"domain", LL_REPORT_N_POLICY, LL_REPORT_N_DOMAIN},
                {"policy", LL_REPORT_N_POLICY, LL_REPORT_N_P}};
    struct ll_buf when = LL_BUF(128);
    uint64_t t;

    for (size_t i = 0; i < LL_COUNT(head); i++)
        print_word(head[i].name, ll_report_text(top, head[i].group, head[i].text));
    for (unsigned i = 0; i < 2; i++)
        if (ll_slice_u64(deep(top, LL_REPORT_N_METADATA, LL_REPORT_N_DATE_RANGE,
                              i ? LL_REPORT_N_END : LL_REPORT_N_BEGIN),
                         &t) &&
            t < 1ull << 40) {
            ll_buf_puts(&when, when.n ? " to " : "");
            ll_time_rfc3339(&when, (int64_t)t);
        }
    print_word("time", ll_buf_slice(&when));
    ll_buf_release(&when);
    printf("%-39s %-7s %-10s %-5s %-5s %s\n", "source", "letters", "done", "dkim", "spf", "from");
    for (const struct ll_report_node *r = top->child; r; r = r->next)
        if (r->id == LL_REPORT_N_RECORD)
            print_row(r);
}

static void print_failure(const struct ll_report_node *top)
{
    for (const struct ll_report_node *n = top->child; n; n = n->next)
        if (n->id != LL_REPORT_N_MESSAGE && n->id != LL_REPORT_N_HEADERS)
            print_word(ll_report_rows[n->id].name, n->text);
}

static int print_report(const struct ll_report_node *top, bool json, bool again)
{
    struct ll_buf b = LL_BUF(JSON_MAX);
    struct ll_json j = LL_JSON(&b);

    if (json) {
        ll_json_open(&j, '{');
        ll_json_key(&j, top->id == LL_REPORT_N_FEEDBACK ? "feedback" : "feedback_report");
        ll_report_json(&j, top);
        ll_json_close(&j);
        return ll_json_print(&b);
    }
    if (again)
        putchar('\n');
    if (top->id == LL_REPORT_N_FEEDBACK)
        print_dmarc(top);
    else
        print_failure(top);
    return 0;
}

static int read_one(struct ll_reports *e, const char *path)
{
    struct ll_buf in = LL_BUF(LL_REPORT_IN_MAX), marks = LL_BUF(LL_REPORT_MARKS_MAX);
    enum ll_report_error error;
    struct ll_report report;
    struct ll_arena arena;
    int status = ll_read_file(path, &in);

    ll_arena_init(&arena, ARENA_MAX);
    if (status == 0) {
        fflush(NULL); /* the process that reads inherits what is buffered */
        error = ll_report_read(ll_buf_slice(&in), &marks, &arena, &report);
        if (error == LL_REPORT_OK)
            status = e->use(e, path, report.top);
        else if (report.line > 0)
            status = ll_fail(EX_DATAERR, "%s: %s (line %llu)", path, ll_report_error_text(error),
                             (unsigned long long)report.line);
        else
            status = ll_fail(error == LL_REPORT_RESOURCE ? EX_OSERR : EX_DATAERR, "%s: %s", path,
                             ll_report_error_text(error));
    }
    e->done += status == 0;
    ll_arena_release(&arena);
    ll_buf_release(&marks);
    ll_buf_release(&in);
    return status;
}

/* The files of one folder; what is no file is passed over, and so is what cannot be a name of ours.
 */
static int read_folder(struct ll_reports *e, const char *path)
{
    DIR *d = opendir(path);
    struct dirent *entry;
    int status = 0;

    if (!d)
        return ll_fail(EX_NOINPUT, "%s: %s", path, strerror(errno));
    while ((entry = readdir(d))) {
        struct ll_buf file = LL_BUF(PATH_MAX);
        const char *name;
        struct stat st;
        int s = 0;

        ll_buf_printf(&file, "%s/%s", path, entry->d_name);
        name = ll_buf_str(&file);
        if (name && entry->d_name[0] != '.' && lstat(name, &st) == 0 && S_ISREG(st.st_mode))
            s = read_one(e, name);
        status = status ? status : s;
        ll_buf_release(&file);
    }
    closedir(d);
    return status;
}

static int read_path(struct ll_reports *e, const char *path)
{
    static const char *const below[] = {"", "/new", "/cur"};
    struct stat st;
    int status = 0;

    if (strcmp(path, "-") == 0 || stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return read_one(e, path);
    for (size_t i = 0; i < LL_COUNT(below); i++) {
        struct ll_buf folder = LL_BUF(PATH_MAX);
        const char *name;
        int s = 0;

        ll_buf_printf(&folder, "%s%s", path, below[i]);
        name = ll_buf_str(&folder);
        if (name && stat(name, &st) == 0 && S_ISDIR(st.st_mode))
            s = read_folder(e, name);
        status = status ? status : s;
        ll_buf_release(&folder);
    }
    return status;
}

int ll_reports_read(struct ll_reports *e, const struct ll_words *paths)
{
    int status = 0;

    for (size_t i = 0; i < paths->n; i++) {
        int s = read_path(e, paths->v[i]);

        status = status ? status : s;
    }
    return status;
}

static int use_print(struct ll_reports *e, const char *path, const struct ll_report_node *top)
{
    return print_report(top, e->json, e->done > 0);
}

static int report_read(int argc, char **argv)
{
    struct ll_reports e = {.use = use_print};
    const struct ll_opt opts[] = {LL_JSON_OPT(e.json)};
    const struct ll_usage usage = {
        "report read [options] FILE|-...",
        "Shows a DMARC aggregate report, a failure report or an abuse report: the letter that\n"
        "brought it, or the archive or XML in it. A process without files and network reads it;\n"
        "what unpacks to over 16 MiB or 200 times its size, or has a DOCTYPE, is refused. With\n"
        "--json each report is one line. Exit status 65: a file that is no such report.",
        opts,
        LL_COUNT(opts),
        1,
        LL_ARGS_LIST_MAX};
    struct ll_words words;
    int status;

    return ll_args_take(&usage, argc, argv, &words, &status) ? ll_reports_read(&e, &words) : status;
}

int ll_cmd_report(int argc, char **argv)
{
    static const struct ll_sub subs[] = {
        {"dmarc", ll_report_dmarc, "who sends with our domains, as receivers tell"},
        {"read", report_read, "show reports from files"},
    };

    return ll_sub_run("report", subs, LL_COUNT(subs), argc, argv);
}
