/* letterlock report dmarc: the reports that came, as a table: who sends with our domains, whether
 * it passes, and what to do. */
#include "daemon/roles.h"
#include "io/clock.h"
#include "io/report_out.h"
#include "io/report_store.h"
#include "tool/json_out.h"
#include "tool/report.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY_S      86400
#define SINCE_DAYS 30
#define JSON_MAX   (256u << 20)

struct dmarc {
    struct ll_where where;
    struct ll_words import;
    int64_t since; /* days */
    const char *domain;
    bool json, sent;
    struct ll_report_store *store;
    struct ll_buf err;
    size_t added, known;
};

/* ---- what to do ---------------------------------------------------------------------------------
 */

/* From the best state to the worst; the first row whose condition holds is the advice. */
static const char *advice(const struct ll_report_source *s, struct ll_buf *out)
{
    struct ll_slice other = s->signer.n > 0 ? s->signer : s->sender;
    bool forwarder = ll_slice_eq(s->reason, LL_LIT("mailing_list")) ||
                     ll_slice_eq(s->reason, LL_LIT("forwarded")) ||
                     ll_slice_eq(s->reason, LL_LIT("trusted_forwarder"));

    if (s->pass == s->letters && s->dkim == s->letters)
        return "nothing";
    if (s->pass == s->letters && s->dkim > 0)
        return "some letters pass by SPF alone: let all be signed with DKIM";
    if (s->pass == s->letters)
        return "sign with DKIM: SPF alone breaks when a letter is forwarded";
    if (forwarder)
        return "nothing: a mailing list or forwarder, which the receiver knows";
    if (s->pass > 0)
        return "some letters fail: forwarded ones, or a program here that does not sign";
    if (other.n > 0) {
        ll_buf_puts(out, "yours? let ");
        ll_escape(out, other, 255);
        ll_buf_puts(out, s->signer.n > 0 ? " sign with a DKIM key of your domain; else a forwarder"
                                         : " send with a reverse-path or DKIM key of your domain; "
                                           "else a forwarder");
        return ll_buf_str(out);
    }
    if (ll_slice_eq(s->p, LL_LIT("reject")) || ll_slice_eq(s->p, LL_LIT("quarantine")))
        return "yours? sign with DKIM or name it in SPF; else a forgery, which your policy stops";
    return "yours? sign with DKIM or name it in SPF; else a forgery, which p=none lets pass";
}

/* ---- showing ------------------------------------------------------------------------------------
 */

static void json_time(struct ll_json *j, const char *key, int64_t unix_s)
{
    struct ll_buf b = LL_BUF(64);

    ll_time_rfc3339(&b, unix_s);
    ll_json_str(j, key, ll_buf_slice(&b));
    ll_buf_release(&b);
}

static void json_source(struct ll_json *j, const struct ll_report_source *s, const char *what)
{
    ll_json_open(j, '{');
    ll_json_str(j, "domain", s->domain);
    ll_json_str(j, "source", s->source);
    ll_json_str(j, "author_domain", s->author);
    ll_json_str(j, "policy", s->p);
    ll_json_int(j, "letters", (int64_t)s->letters);
    ll_json_int(j, "pass", (int64_t)s->pass);
    ll_json_int(j, "fail", (int64_t)(s->letters - s->pass));
    ll_json_int(j, "dkim_pass", (int64_t)s->dkim);
    ll_json_int(j, "spf_pass", (int64_t)s->spf);
    ll_json_int(j, "quarantined", (int64_t)s->quarantined);
    ll_json_int(j, "rejected", (int64_t)s->rejected);
    ll_json_int(j, "reporters", (int64_t)s->reporters);
    ll_json_int(j, "unproved", (int64_t)s->unproved);
    json_time(j, "first", s->first);
    json_time(j, "last", s->last);
    ll_json_str(j, "override", s->reason);
    ll_json_str(j, "signer", s->signer);
    ll_json_str(j, "sender", s->sender);
    ll_json_cstr(j, "advice", what);
    ll_json_close(j);
}

static void print_cell(int width, struct ll_slice s)
{
    struct ll_buf b = LL_BUF(2048);

    ll_escape(&b, s.n > 0 ? s : LL_LIT("-"), 255);
    printf("%-*.*s ", width, LL_FMT(ll_buf_slice(&b)));
    ll_buf_release(&b);
}

static void print_source(const struct ll_report_source *s, const char *what, struct ll_buf *domain)
{
    if (!ll_slice_eq(s->domain, ll_buf_slice(domain)) || domain->n == 0) {
        printf("%s", domain->n ? "\n" : "");
        print_cell(0, s->domain);
        printf("(p=");
        print_cell(0, s->p);
        printf("as last told)\n%-39s %8s %8s %8s %8s  %s\n", "source", "letters", "fail", "dkim",
               "spf", "what to do");
        ll_buf_clear(domain);
        ll_buf_put_slice(domain, s->domain);
    }
    print_cell(39, s->source);
    printf("%8llu %8llu %8llu %8llu  %s", (unsigned long long)s->letters,
           (unsigned long long)(s->letters - s->pass), (unsigned long long)s->dkim,
           (unsigned long long)s->spf, what);
    if (s->unproved > 0)
        printf(" (%llu of the letters are told by reporters that are not proved)",
               (unsigned long long)s->unproved);
    putchar('\n');
}

static bool show_sources(struct dmarc *d, int64_t since, struct ll_json *j)
{
    struct ll_buf domain = LL_BUF(LL_REPORT_TEXT_MAX);
    struct ll_report_source s;
    size_t n = 0;

    if (!ll_report_store_sources(d->store, since, ll_slice_str(d->domain), &d->err))
        return false;
    for (; ll_report_store_next_source(d->store, &s); n++) {
        struct ll_buf text = LL_BUF(4096);
        const char *what = advice(&s, &text);

        if (j)
            json_source(j, &s, what ? what : "");
        else
            print_source(&s, what ? what : "", &domain);
        ll_buf_release(&text);
    }
    ll_buf_release(&domain);
    if (n == 0 && !j)
        printf("no aggregate report of that time%s\n", d->domain ? " and domain" : "");
    return ll_report_store_end(d->store, &d->err);
}

static bool show_failures(struct dmarc *d, int64_t since, struct ll_json *j)
{
    struct ll_report_failure f;
    size_t n = 0;

    if (!ll_report_store_failures(d->store, since, ll_slice_str(d->domain), &d->err))
        return false;
    for (; ll_report_store_next_failure(d->store, &f); n++) {
        const struct {
            const char *key;
            struct ll_slice value;
            int width;
        } cells[] = {{"type", f.type, 12},     {"failure", f.failure, 10},
                     {"domain", f.domain, 24}, {"source", f.source, 39},
                     {"sender", f.sender, 24}, {"reporter", f.reporter, 16},
                     {"proof", f.proof, 0},    {"arrived", f.arrived, 0}};

        if (j)
            ll_json_open(j, '{');
        else if (n == 0)
            printf("\nfailure and abuse reports\n");
        for (size_t i = 0; i < LL_COUNT(cells); i++)
            if (j)
                ll_json_str(j, cells[i].key, cells[i].value);
            else if (i + 1 < LL_COUNT(cells))
                print_cell(cells[i].width, cells[i].value);
        if (j) {
            json_time(j, "received", f.received);
            ll_json_close(j);
        } else {
            putchar('\n');
        }
    }
    return ll_report_store_end(d->store, &d->err);
}

/* Who says all that: the sender of each report's letter, and whether it is proved. */
static bool show_reporters(struct dmarc *d, int64_t since, struct ll_json *j)
{
    struct ll_report_reporter r;
    size_t n = 0;

    if (!ll_report_store_reporters(d->store, since, ll_slice_str(d->domain), &d->err))
        return false;
    for (; ll_report_store_next_reporter(d->store, &r); n++) {
        if (j) {
            ll_json_open(j, '{');
            ll_json_str(j, "reporter", r.reporter);
            ll_json_str(j, "proof", r.proof);
            ll_json_str(j, "org", r.org);
            ll_json_int(j, "reports", (int64_t)r.reports);
            ll_json_int(j, "letters", (int64_t)r.letters);
            json_time(j, "last", r.last);
            ll_json_close(j);
            continue;
        }
        if (n == 0)
            printf("\n%-24s %-10s %8s %8s  %s\n", "told by", "DMARC", "reports", "letters",
                   "which calls itself");
        print_cell(24, r.reporter);
        print_cell(10, r.proof);
        printf("%8llu %8llu  ", (unsigned long long)r.reports, (unsigned long long)r.letters);
        print_cell(0, r.org);
        putchar('\n');
    }
    return ll_report_store_end(d->store, &d->err);
}

static int show(struct dmarc *d)
{
    int64_t since = d->since > 0 ? ll_unix_s() - d->since * DAY_S : 0;
    struct ll_buf out = LL_BUF(JSON_MAX);
    struct ll_json json = LL_JSON(&out), *j = d->json ? &json : NULL;
    bool ok;

    if (!j) {
        ok = show_sources(d, since, NULL) && show_failures(d, since, NULL) &&
             show_reporters(d, since, NULL);
        return ok ? 0 : ll_fail_text(EX_DATAERR, &d->err);
    }
    ll_json_open(j, '{');
    ll_json_key(j, "sources");
    ll_json_open(j, '[');
    ok = show_sources(d, since, j);
    ll_json_close(j);
    ll_json_key(j, "failures");
    ll_json_open(j, '[');
    ok = ok && show_failures(d, since, j);
    ll_json_close(j);
    ll_json_key(j, "reporters");
    ll_json_open(j, '[');
    ok = ok && show_reporters(d, since, j);
    ll_json_close(j);
    ll_json_close(j);
    if (ok)
        return ll_json_print(&out);
    ll_buf_release(&out);
    return ll_fail_text(EX_DATAERR, &d->err);
}

/* ---- taking reports in --------------------------------------------------------------------------
 */

static int use_add(struct ll_reports *r, const char *path, const struct ll_report_node *top)
{
    const struct ll_report_origin origin = {LL_LIT(""), "import"};
    struct dmarc *d = r->state;

    switch (ll_report_store_add(d->store, top, &origin, ll_unix_s(), &d->err)) {
    case LL_REPORT_ADDED:
        d->added++;
        return 0;
    case LL_REPORT_KNOWN:
        d->known++;
        return 0;
    case LL_REPORT_NOT_ADDED:
        break;
    }
    return ll_fail_text(EX_IOERR, &d->err);
}

static int import(struct dmarc *d)
{
    struct ll_reports r = {.use = use_add, .state = d};
    int status = ll_reports_read(&r, &d->import);

    printf("%zu reports taken in, %zu were there already\n", d->added, d->known);
    return status;
}

/* ---- what we send -------------------------------------------------------------------------------
 */

static void show_line(struct ll_json *j, const struct ll_report_line *l)
{
    static const char *const kinds[LL_DUE_KINDS] = {
        [LL_DUE_AGGREGATE] = "aggregate", [LL_DUE_FAILURE] = "failure"};
    const char *kind = l->kind < LL_DUE_KINDS ? kinds[l->kind] : "unknown";
    struct ll_buf when = LL_BUF(64);

    if (j) {
        ll_json_open(j, '{');
        json_time(j, "time", l->time);
        ll_json_cstr(j, "type", kind);
        ll_json_str(j, "domain", l->domain);
        ll_json_str(j, "to", l->address);
        ll_json_str(j, "result", l->result);
        ll_json_str(j, "why", l->why);
        ll_json_close(j);
        return;
    }
    ll_time_rfc3339(&when, l->time);
    print_cell(20, ll_buf_slice(&when));
    print_cell(9, ll_slice_str(kind));
    print_cell(24, l->domain);
    print_cell(28, l->address);
    print_cell(7, l->result);
    for (size_t i = 0; i < l->why.n; i++)
        putchar(ll_is_print(l->why.p[i]) ? l->why.p[i] : '?');
    putchar('\n');
    ll_buf_release(&when);
}

static int show_sent(struct dmarc *d, struct ll_report_out *o)
{
    int64_t since = d->since > 0 ? ll_unix_s() - d->since * DAY_S : 0;
    struct ll_buf out = LL_BUF(JSON_MAX);
    struct ll_json json = LL_JSON(&out), *j = d->json ? &json : NULL;
    struct ll_report_line l;
    size_t n = 0;

    if (!ll_report_out_lines(o, since, ll_slice_str(d->domain), &d->err))
        return ll_fail_text(EX_DATAERR, &d->err);
    if (j)
        ll_json_open(j, '[');
    for (; ll_report_out_next_line(o, &l); n++)
        show_line(j, &l);
    if (!j) {
        if (n == 0)
            printf("no report was sent or is due%s\n", d->domain ? " about that domain" : "");
        return 0;
    }
    ll_json_close(j);
    return ll_json_print(&out);
}

static int sent(struct dmarc *d)
{
    struct ll_buf path = LL_BUF(4096);
    struct ll_report_out *o = NULL;
    int status = 0;
    struct ll_conf *conf = ll_where_conf(&d->where, &status);

    if (!conf)
        return status;
    ll_buf_printf(&path, "%s/reports/out.db", conf->state_dir);
    if (!ll_buf_str(&path) || access(ll_buf_str(&path), F_OK) != 0)
        status =
            ll_fail(EX_NOINPUT, "nothing was counted yet: dmarc_reports is off, or no letter came "
                                "whose domain asks for reports");
    else if (!(o = ll_report_out_open(ll_buf_str(&path), false, &d->err)))
        status = ll_fail_text(EX_NOPERM, &d->err);
    if (o)
        status = show_sent(d, o);
    ll_report_out_close(o);
    ll_buf_release(&path);
    ll_conf_free(conf);
    return status;
}

/* What root makes must be the server's: it writes there when reports arrive. */
static int give(const struct ll_conf *conf, const char *path)
{
    uid_t uid;
    gid_t gid;

    if (geteuid() != 0 || ll_role_uid(conf, LL_ROLE_TALLY, &uid, &gid) != 0 ||
        lchown(path, uid, gid) == 0)
        return 0;
    return ll_fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
}

/* reports/reports.db in state_dir; its folder is made by the first import. */
static int open_store(struct dmarc *d)
{
    struct ll_buf path = LL_BUF(4096);
    struct ll_conf *conf;
    const char *folder;
    int status = 0;

    conf = ll_where_conf(&d->where, &status);
    if (!conf)
        return status;
    ll_buf_printf(&path, "%s/reports", conf->state_dir);
    folder = ll_buf_str(&path);
    if (folder && d->import.n > 0 && mkdir(folder, 0700) != 0 && errno != EEXIST)
        status = ll_fail(EX_CANTCREAT, "%s: %s", folder, strerror(errno));
    if (folder && d->import.n > 0 && status == 0)
        status = give(conf, folder);
    ll_buf_puts(&path, "/reports.db");
    if (status == 0 && d->import.n == 0 && ll_buf_str(&path) &&
        access(ll_buf_str(&path), F_OK) != 0 && errno == ENOENT)
        status = ll_fail(EX_NOINPUT,
                         "%s: there are no reports yet: set report_address, or take them in with "
                         "`letterlock report dmarc --import FILE`",
                         ll_buf_str(&path));
    if (status == 0 && ll_buf_str(&path))
        d->store = ll_report_store_open(ll_buf_str(&path), d->import.n > 0, &d->err);
    if (status == 0 && !d->store)
        status = ll_fail_text(EX_NOPERM, &d->err);
    if (status == 0 && d->import.n > 0)
        status = give(conf, ll_buf_str(&path));
    ll_buf_release(&path);
    ll_conf_free(conf);
    return status;
}

int ll_report_dmarc(int argc, char **argv)
{
    struct dmarc d = {.since = SINCE_DAYS, .err = LL_BUF(8192)};
    const struct ll_opt opts[] = {
        LL_WHERE_OPTS(d.where),
        {"import", 0, LL_OPT_LIST, &d.import, "FILE",
         "take in reports: letters, archives, XML, Maildirs"},
        {"since", 0, LL_OPT_NUMBER, &d.since, "DAYS", "reports of the last DAYS (30; 0: all)"},
        {"domain", 0, LL_OPT_TEXT, &d.domain, "DOMAIN", "of this domain alone"},
        {"sent", 0, LL_OPT_FLAG, &d.sent, NULL,
         "instead: the reports that we sent, or that are due"},
        LL_JSON_OPT(d.json),
    };
    const struct ll_usage usage = {
        "report dmarc [options]",
        "Shows who sent letters with our domains in From, by the reports of those who got them:\n"
        "each source with its letters, how many failed DMARC, passed DKIM and SPF, and what to do\n"
        "about it. With --import it takes reports in instead; one that comes again counts once.",
        opts,
        LL_COUNT(opts),
        0,
        0};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = d.sent ? sent(&d) : open_store(&d);
    if (status == 0 && !d.sent)
        status = d.import.n > 0 ? import(&d) : show(&d);
    ll_report_store_close(d.store);
    ll_buf_release(&d.err);
    return status;
}
