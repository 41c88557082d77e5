/* The machine: who is checked, questions, limits, records, the result. See letterlock/spf.h. */
#include "letterlock/addr.h"
#include "lib/spf/internal.h"

#include <stdlib.h>

static const char *const words[] = {
#define ROW(ID, word) word,
    LL_SPF_RESULTS(ROW)
#undef ROW
};

const char *ll_spf_word(enum ll_spf_code code)
{
    return words[code];
}

struct ll_spf_values ll_spf_values(const struct ll_spf *s)
{
    struct ll_slice sender = ll_buf_slice(&s->sender);
    struct ll_slice receiver = ll_buf_slice(&s->receiver);
    struct ll_slice domain =
        ll_dns_name_slice(s->depth > 0 ? &s->frame[s->depth - 1].domain : &s->domain);

    return (struct ll_spf_values){
        .sender = sender,
        .local = ll_slice_cut(sender, 0, s->local_n),
        .origin = ll_slice_skip(sender, s->local_n + 1),
        .domain = domain,
        .ip = s->ip,
        .ip_n = s->ip_n,
        .validated = ll_spf_ptr_name(s, domain),
        .helo = ll_buf_slice(&s->helo),
        .receiver = receiver.n ? receiver : LL_LIT("unknown"),
        .unix_s = s->unix_s,
    };
}

/* ---- questions, limits -------------------------------------------------------------------------
 */

void ll_spf_ask(struct ll_spf *s, const struct ll_dns_name *name, uint16_t type,
                ll_spf_answer_fn fn)
{
    s->need.id++;
    s->need.kind = LL_NEED_DNS;
    s->need.dns.type = type;
    s->need.dns.name = *name;
    s->on_answer = fn;
    s->needs++;
    s->state = LL_SPF_S_ASK;
}

bool ll_spf_count_term(struct ll_spf *s)
{
    if (s->term_counted)
        return true;
    s->term_counted = true;
    if (++s->terms <= LL_SPF_TERMS_MAX)
        return true;
    ll_spf_end(s, LL_SPF_PERMERROR, "more than %d terms ask DNS (RFC 7208 4.6.4)",
               LL_SPF_TERMS_MAX);
    return false;
}

bool ll_spf_count_void(struct ll_spf *s)
{
    if (s->term_void)
        return true;
    s->term_void = true;
    if (++s->voids <= LL_SPF_VOID_MAX)
        return true;
    ll_spf_end(s, LL_SPF_PERMERROR, "more than %d terms find nothing in DNS (RFC 7208 4.6.4)",
               LL_SPF_VOID_MAX);
    return false;
}

/* ---- the result --------------------------------------------------------------------------------
 */

/* Keeps the sentence to printable ASCII: it may quote a stranger's record. */
static void put_printable(struct ll_slice s, struct ll_buf *out)
{
    s = ll_slice_cut(s, 0, out->max - out->n);
    for (size_t i = 0; i < s.n; i++)
        ll_buf_putc(out, ll_is_print(s.p[i]) ? s.p[i] : '?');
}

void ll_spf_end(struct ll_spf *s, enum ll_spf_code code, const char *fmt, ...)
{
    struct ll_buf text = LL_BUF(4 * LL_SPF_PROBLEM_MAX);
    va_list ap;

    s->state = LL_SPF_S_DONE;
    s->code = code;
    va_start(ap, fmt);
    ll_buf_vprintf(&text, fmt, ap);
    va_end(ap);
    put_printable(ll_buf_slice(&text), &s->problem);
    ll_buf_release(&text);
}

/* RFC 7208 6.2: where the domain has no explanation, ours. */
static void explain_by_default(struct ll_spf *s)
{
    ll_buf_clear(&s->explanation);
    ll_ip_put(s->ip, s->ip_n, &s->explanation);
    ll_buf_printf(&s->explanation, " is not allowed to send mail from %s", s->domain.text);
    s->state = LL_SPF_S_DONE;
}

static void on_explanation(struct ll_spf *s, const struct ll_dns_answer *a)
{
    struct ll_slice text;

    if (a->status == LL_DNS_STATUS_OK && a->n_rdata == 1 &&
        ll_dns_rdata_txt(a->rdata[0], &s->exp_text)) {
        text = ll_buf_slice(&s->exp_text);
        if (text.n > 0 && !ll_spf_macro_check(text, LL_SPF_EXPLAIN_STRING)) {
            s->state = LL_SPF_S_EXPLAIN;
            return;
        }
    }
    explain_by_default(s);
}

static bool printable(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ll_is_print(s.p[i]))
            return false;
    return s.n > 0;
}

/* The text is there, or the name of it. Comes again after the client's names were looked for. */
static void explain(struct ll_spf *s)
{
    struct ll_slice exp = s->frame[s->depth - 1].exp;
    struct ll_slice text = ll_buf_slice(&s->exp_text);
    struct ll_spf_values v = ll_spf_values(s);
    struct ll_dns_name name;

    if (ll_spf_macro_uses(text.n ? text : exp, "p") && !s->ptr.ready) {
        ll_spf_ptr_start(s);
    } else if (text.n == 0) {
        if ((ll_is_ascii(v.local) || !ll_spf_macro_uses(exp, "sl")) &&
            ll_spf_macro_name(&v, exp, &name))
            ll_spf_ask(s, &name, LL_DNS_TXT, on_explanation);
        else
            explain_by_default(s);
    } else {
        ll_spf_macro_expand(&v, text, &s->explanation);
        s->explanation_theirs = !s->explanation.failed && printable(ll_buf_slice(&s->explanation));
        s->state = LL_SPF_S_DONE;
        if (!s->explanation_theirs)
            explain_by_default(s);
    }
}

/* The first record decided. */
static void decided(struct ll_spf *s, enum ll_spf_code code)
{
    struct ll_slice term = s->term.text;

    s->code = code;
    put_printable(ll_slice_cut(term, 0, LL_SPF_TERM_MAX), &s->decided);
    if (code != LL_SPF_FAIL) {
        s->state = LL_SPF_S_DONE;
    } else if (s->frame[0].exp.n > 0) {
        s->explaining = true;
        s->state = LL_SPF_S_EXPLAIN;
    } else {
        explain_by_default(s);
    }
}

void ll_spf_frame_result(struct ll_spf *s, enum ll_spf_code code)
{
    struct ll_spf_frame *f = &s->frame[s->depth - 1];

    if (code == LL_SPF_NONE && (s->depth > 1 || f->redirected)) {
        ll_spf_end(s, LL_SPF_PERMERROR, "%s, which the record refers to, has no SPF record",
                   f->domain.text);
        return;
    }
    if (code == LL_SPF_NONE) {
        ll_spf_end(s, code, "%s has no SPF record", f->domain.text);
        return;
    }
    while (s->depth > 1) {
        f = &s->frame[--s->depth];
        s->term = f->include;
        ll_buf_release(&f->record);
        if (code != LL_SPF_PASS) { /* the include does not match (5.2) */
            s->state = LL_SPF_S_TERM;
            return;
        }
        code = s->term.match;
    }
    decided(s, code);
}

/* ---- records -----------------------------------------------------------------------------------
 */

/* Reads all of the record before any of it counts (4.6). */
static bool read_record(struct ll_spf *s, struct ll_spf_frame *f)
{
    struct ll_slice record = ll_buf_slice(&f->record);
    struct ll_spf_term term;
    const char *what;
    size_t at = 0;

    if (!ll_spf_record_check(record, &at, &what)) {
        struct ll_slice rest = ll_slice_cut(record, at, at + 60);

        rest = ll_slice_cut(rest, 0, ll_slice_find(rest, ' '));
        ll_spf_end(s, LL_SPF_PERMERROR, "in the record of %s, at \"%.*s\": %s", f->domain.text,
                   LL_FMT(rest), what);
        return false;
    }
    f->at = at = 0;
    f->redirect = f->exp = ll_slice(NULL, 0);
    while (ll_spf_term_next(record, &at, &term, &what)) {
        if (term.kind == LL_SPF_K_REDIRECT)
            f->redirect = term.spec;
        else if (term.kind == LL_SPF_K_EXP)
            f->exp = term.spec;
    }
    return true;
}

/* Puts the one SPF record of the answer into the frame (4.5). False: all is over. */
static bool select_record(struct ll_spf *s, struct ll_spf_frame *f, const struct ll_dns_answer *a)
{
    struct ll_buf text = LL_BUF(LL_SPF_RECORD_MAX);
    unsigned n = 0;
    bool long_one = false;

    for (size_t i = 0; i < a->n_rdata; i++) {
        bool whole;

        ll_buf_clear(&text);
        whole = ll_dns_rdata_txt(a->rdata[i], &text);
        if (!ll_spf_record_is(ll_buf_slice(&text)))
            continue;
        n++;
        long_one = long_one || !whole;
        ll_buf_clear(&f->record);
        ll_buf_put_slice(&f->record, ll_buf_slice(&text));
    }
    ll_buf_release(&text);
    if (n > 1)
        ll_spf_end(s, LL_SPF_PERMERROR, "%s has %u SPF records", f->domain.text, n);
    else if (long_one || f->record.failed)
        ll_spf_end(s, LL_SPF_PERMERROR, "the record of %s is longer than %d octets", f->domain.text,
                   LL_SPF_RECORD_MAX);
    else if (n == 0 && a->cut)
        ll_spf_end(s, LL_SPF_PERMERROR, "%s has too many TXT records", f->domain.text);
    else if (n == 0)
        ll_spf_frame_result(s, LL_SPF_NONE);
    else
        return true;
    return false;
}

static void on_record(struct ll_spf *s, const struct ll_dns_answer *a)
{
    struct ll_spf_frame *f = &s->frame[s->depth - 1];

    if (ll_dns_later(a->status))
        ll_spf_end(s, LL_SPF_TEMPERROR, "DNS does not answer for TXT of %s", f->domain.text);
    else if (select_record(s, f, a) && read_record(s, f))
        s->state = LL_SPF_S_TERM;
}

void ll_spf_load(struct ll_spf *s, const struct ll_dns_name *domain)
{
    struct ll_spf_frame *f = &s->frame[s->depth - 1];

    f->domain = *domain;
    ll_buf_release(&f->record);
    ll_buf_init(&f->record, LL_SPF_RECORD_MAX);
    ll_spf_ask(s, domain, LL_DNS_TXT, on_record);
}

/* The next mechanism of the record on top; at its end `redirect`, or neutral (4.7). (That `all`
 * makes `redirect` void, 5.1, needs no care: a record with `all` has no end to be reached.) */
static void next_term(struct ll_spf *s)
{
    struct ll_spf_frame *f = &s->frame[s->depth - 1];
    const char *what;

    s->term_counted = s->term_void = false;
    do {
        if (!ll_spf_term_next(ll_buf_slice(&f->record), &f->at, &s->term, &what)) {
            s->term = (struct ll_spf_term){
                .kind = LL_SPF_K_REDIRECT, .text = LL_LIT("default"), .spec = f->redirect};
            if (s->term.spec.n == 0)
                ll_spf_frame_result(s, LL_SPF_NEUTRAL);
            else
                ll_spf_evaluate(s);
            return;
        }
    } while (ll_spf_is_modifier(s->term.kind));
    ll_spf_evaluate(s);
}

/* Works until a question is to be asked, or the result is there. */
static void run(struct ll_spf *s)
{
    while (s->state < LL_SPF_S_ASK) {
        enum ll_spf_state was = s->state;

        if (was == LL_SPF_S_TERM)
            next_term(s);
        else if (was == LL_SPF_S_EXPLAIN)
            explain(s);
        else if (was == LL_SPF_S_PTR_HOST)
            ll_spf_ptr_next(s);
        else
            ll_spf_evaluate(s);
    }
}

/* ---- from outside ------------------------------------------------------------------------------
 */

/* <domain>: several labels, the last one not a number (4.3). */
static bool domain_of(struct ll_slice text, struct ll_dns_name *ret)
{
    struct ll_dns_name name;
    struct ll_slice last;
    uint64_t number;

    if (!ll_dns_name_of(text, &name))
        return false;
    text = ll_dns_name_slice(&name);
    last = ll_slice_skip(text, ll_slice_rfind(text, '.') + 1);
    if (last.n == 0 || ll_slice_u64(last, &number))
        return false;
    *ret = name;
    return true;
}

/* Sets sender and domain. False: there is no domain that could have a record. */
static bool set_identity(struct ll_spf *s, const struct ll_spf_check *c)
{
    struct ll_slice from = c->mail_from;
    size_t at = ll_slice_rfind(from, '@');
    struct ll_slice local = at < from.n ? ll_slice_cut(from, 0, at) : ll_slice(NULL, 0);
    struct ll_slice domain = at < from.n ? ll_slice_skip(from, at + 1) : from;
    bool ok;

    s->helo_identity = from.n == 0;
    if (s->helo_identity)
        domain = c->helo;
    if (local.n == 0)
        local = LL_LIT("postmaster");
    ok = domain_of(domain, &s->domain);
    ll_buf_put_slice(&s->sender, local);
    ll_buf_putc(&s->sender, '@');
    ll_buf_put_slice(&s->sender, ok ? ll_dns_name_slice(&s->domain) : domain);
    s->local_n = local.n;
    return ok && !s->sender.failed && !s->helo.failed;
}

struct ll_spf *ll_spf_new(const struct ll_spf_check *c)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct ll_spf *s = c->ip_n == 4 || c->ip_n == 16 ? calloc(1, sizeof(*s)) : NULL;
    bool four;

    if (!s)
        return NULL;
    four = c->ip_n == 16 && memcmp(c->ip, mapped, sizeof(mapped)) == 0;
    s->ip_n = four ? 4 : c->ip_n;
    memcpy(s->ip, c->ip + (four ? 12 : 0), s->ip_n);
    s->start = c->now;
    s->unix_s = c->unix_s;
    ll_buf_init(&s->helo, LL_SPF_VALUE_MAX);
    ll_buf_init(&s->sender, LL_SPF_VALUE_MAX);
    ll_buf_init(&s->receiver, LL_SPF_VALUE_MAX);
    ll_buf_init(&s->explanation, LL_SPF_EXPLANATION_MAX);
    ll_buf_init(&s->problem, LL_SPF_PROBLEM_MAX);
    ll_buf_init(&s->decided, LL_SPF_TERM_MAX);
    ll_buf_init(&s->exp_text, LL_SPF_RECORD_MAX);
    ll_buf_put_slice(&s->helo, c->helo);
    ll_buf_put_slice(&s->receiver, c->receiver);
    if (!set_identity(s, c)) {
        ll_spf_end(s, LL_SPF_NONE, "the %s names no domain that could have an SPF record",
                   s->helo_identity ? "HELO argument" : "sender");
        return s;
    }
    s->depth = 1;
    ll_spf_load(s, &s->domain);
    return s;
}

void ll_spf_free(struct ll_spf *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < FRAMES_MAX; i++)
        ll_buf_release(&s->frame[i].record);
    ll_buf_release(&s->helo);
    ll_buf_release(&s->sender);
    ll_buf_release(&s->receiver);
    ll_buf_release(&s->explanation);
    ll_buf_release(&s->problem);
    ll_buf_release(&s->decided);
    ll_buf_release(&s->exp_text);
    free(s);
}

bool ll_spf_need(struct ll_spf *s, struct ll_need *ret)
{
    if (s->state != LL_SPF_S_ASK)
        return false;
    *ret = s->need;
    s->state = LL_SPF_S_ASKED;
    return true;
}

void ll_spf_answer(struct ll_spf *s, const struct ll_need_answer *a)
{
    static const struct ll_dns_answer none = {.status = LL_DNS_STATUS_SERVFAIL};

    if (s->state != LL_SPF_S_ASKED || a->id != s->need.id)
        return;
    s->on_answer(s, a->dns ? a->dns : &none);
    run(s);
}

void ll_spf_time(struct ll_spf *s, uint64_t now)
{
    if (s->state == LL_SPF_S_DONE || now - s->start < LL_SPF_TIME_MAX)
        return;
    if (s->explaining)
        explain_by_default(s);
    else
        ll_spf_end(s, LL_SPF_TEMPERROR, "DNS took longer than %d s", LL_SPF_TIME_MAX / 1000);
}

uint64_t ll_spf_deadline(const struct ll_spf *s)
{
    return s->start + LL_SPF_TIME_MAX;
}

bool ll_spf_result(const struct ll_spf *s, struct ll_spf_result *ret)
{
    if (s->state != LL_SPF_S_DONE)
        return false;
    *ret = (struct ll_spf_result){
        .code = s->code,
        .helo = s->helo_identity,
        .domain = ll_dns_name_slice(&s->domain),
        .sender = ll_buf_slice(&s->sender),
        .explanation = ll_buf_slice(&s->explanation),
        .explanation_theirs = s->explanation_theirs,
        .term = ll_buf_slice(&s->decided),
        .problem = ll_buf_slice(&s->problem),
        .record = ll_buf_slice(&s->frame[0].record),
        .from = ll_dns_name_slice(&s->frame[0].domain),
        .terms = s->terms,
        .voids = s->voids,
        .needs = s->needs,
    };
    return true;
}
