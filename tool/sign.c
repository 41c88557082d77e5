/* letterlock sign: DKIM signatures, or an ARC set, on a letter. */
#include "io/clock.h"
#include "letterlock/arc.h"
#include "letterlock/dkim.h"
#include "tool/client/key.h"
#include "tool/client/letters.h"
#include "tool/client/needs.h"
#include "tool/json_out.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdlib.h>

LL_NEEDS_ENGINE(arc)

#define KEYS_MAX 8 /* signatures put on at once */

struct sign {
    struct ll_resolver_from from;
    const char *domain, *canon, *fields, *identity, *arc_id, *results;
    struct ll_words selector, key;
    int64_t at, expire;
    bool json, sorted;
    EVP_PKEY *pkey[KEYS_MAX];
    enum ll_dkim_algorithm algorithm[KEYS_MAX];
    struct ll_dkim_letter *letter;
    struct ll_dkim_signer *signer[KEYS_MAX];
    struct ll_arc *arc;
    struct ll_arc_sealer *sealer;
};

/* ---- keys ---------------------------------------------------------------------------------------
 */

static bool answer_sign(struct sign *s, size_t i, const struct ll_need *need, struct ll_buf *b,
                        struct ll_need_answer *ret)
{
    ll_buf_clear(b);
    if (!ll_dkim_key_sign(s->pkey[i], need->sign.text, b))
        return false;
    *ret = (struct ll_need_answer){.id = need->id, .signature = ll_buf_slice(b)};
    return true;
}

/* ---- DKIM ---------------------------------------------------------------------------------------
 */

static bool take_canon(const char *text, struct ll_dkim_sign_options *o)
{
    static const struct {
        const char *text;
        enum ll_dkim_canon header, body;
    } rows[] = {{"relaxed/relaxed", LL_DKIM_RELAXED, LL_DKIM_RELAXED},
                {"relaxed/simple", LL_DKIM_RELAXED, LL_DKIM_SIMPLE},
                {"simple/relaxed", LL_DKIM_SIMPLE, LL_DKIM_RELAXED},
                {"simple/simple", LL_DKIM_SIMPLE, LL_DKIM_SIMPLE}};

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        if (strcmp(text ? text : rows[0].text, rows[i].text) == 0) {
            o->header = rows[i].header;
            o->body = rows[i].body;
            return true;
        }
    }
    return false;
}

static int make_signers(struct sign *s)
{
    struct ll_dkim_sign_options o = {.domain = ll_slice_str(s->domain),
                                     .identity = ll_slice_str(s->identity),
                                     .fields = ll_slice_str(s->fields),
                                     .now = s->at,
                                     .expire_s = (uint32_t)s->expire};

    if (!take_canon(s->canon, &o))
        return ll_fail(EX_USAGE, "--canon %s: relaxed or simple, twice, with a \"/\"", s->canon);
    for (size_t i = 0; i < s->key.n; i++) {
        o.selector = ll_slice_str(s->selector.v[i]);
        o.algorithm = s->algorithm[i];
        s->signer[i] = ll_dkim_signer_new(s->letter, &o);
        if (!s->signer[i])
            return ll_fail(EX_DATAERR,
                           "cannot sign: the letter needs a From field and a header of "
                           "at most 1 MiB, --domain and --selector must be names, "
                           "--fields must name From, --identity must lie in the domain");
    }
    return 0;
}

static int put_signatures(struct sign *s, struct ll_buf *out)
{
    struct ll_buf b = LL_BUF(LL_DKIM_SIGNATURE_ROOM);
    bool ok = true;

    for (size_t i = 0; i < s->key.n && ok; i++) {
        struct ll_need_answer answer;
        struct ll_need need;

        ok = ll_dkim_signer_need(s->signer[i], &need) && answer_sign(s, i, &need, &b, &answer);
        if (ok)
            ll_dkim_signer_answer(s->signer[i], &answer);
        ok = ok && ll_dkim_signer_field(s->signer[i], out);
    }
    ll_buf_release(&b);
    return ok ? 0 : ll_fail(EX_SOFTWARE, "the letter could not be signed");
}

/* ---- ARC ----------------------------------------------------------------------------------------
 */

static int make_sealer(struct sign *s)
{
    struct ll_arc_seal_options o = {.domain = ll_slice_str(s->domain),
                                    .selector = ll_slice_str(s->selector.v[0]),
                                    .algorithm = s->algorithm[0],
                                    .fields = ll_slice_str(s->fields),
                                    .id = ll_slice_str(s->arc_id),
                                    .results = ll_slice_str(s->results),
                                    .now = s->at,
                                    .sorted = s->sorted};

    s->arc = ll_arc_new(s->letter, s->at);
    if (!s->arc)
        return ll_fail(EX_OSERR, "no memory");
    s->sealer = ll_arc_sealer_new(s->letter, s->arc, &o);
    if (!s->sealer)
        return ll_fail(EX_DATAERR, "cannot seal: --domain, --selector and --arc must be names, and "
                                   "--fields may name neither ARC fields nor "
                                   "Authentication-Results");
    return 0;
}

/* A chain that must not go on gets no set: then nothing is put on, and that is no fault. */
static int put_set(struct sign *s, struct ll_buf *out)
{
    struct ll_resolver *resolver = ll_resolver_new(&s->from);
    struct ll_buf b = LL_BUF(LL_DKIM_SIGNATURE_ROOM);
    struct ll_need_answer answer;
    struct ll_need need;
    bool any = false, ok = true;

    if (!resolver)
        return EX_CONFIG;
    ll_needs_run_arc(s->arc, resolver);
    ll_resolver_free(resolver);
    ll_arc_done(s->arc);
    while (ok && ll_arc_sealer_need(s->sealer, &need)) {
        any = true;
        ok = answer_sign(s, 0, &need, &b, &answer);
        if (ok)
            ll_arc_sealer_answer(s->sealer, &answer);
    }
    ll_buf_release(&b);
    if (!any) {
        ll_fail(0, "no ARC set was added: the chain has ended (RFC 8617 5.1)");
        return 0;
    }
    return ok && ll_arc_sealer_set(s->sealer, out)
               ? 0
               : ll_fail(EX_SOFTWARE, "the letter could not be sealed");
}

/* ---- the command --------------------------------------------------------------------------------
 */

static int sign_letter(struct sign *s, struct ll_slice in, struct ll_buf *out)
{
    int status;

    s->letter = ll_dkim_letter_new();
    if (!s->letter)
        return ll_fail(EX_OSERR, "no memory");
    while (in.n > 0 && !ll_dkim_letter_ready(s->letter))
        in = ll_slice_skip(in, ll_dkim_letter_feed(s->letter, in));
    if (!ll_dkim_letter_ready(s->letter))
        return ll_fail(EX_DATAERR, "the letter has no empty line behind its header");
    status = s->arc_id ? make_sealer(s) : make_signers(s);
    if (status != 0)
        return status;
    ll_dkim_letter_feed(s->letter, in);
    ll_dkim_letter_end(s->letter);
    return s->arc_id ? put_set(s, out) : put_signatures(s, out);
}

static int print_json(const struct sign *s, struct ll_slice fields)
{
    struct ll_buf b = LL_BUF(1 << 20);
    struct ll_json j = LL_JSON(&b);

    ll_json_open(&j, '{');
    ll_json_str(&j, "fields", fields);
    ll_json_cstr(&j, "domain", s->domain);
    ll_json_key(&j, "keys");
    ll_json_open(&j, '[');
    for (size_t i = 0; i < s->key.n; i++) {
        ll_json_open(&j, '{');
        ll_json_cstr(&j, "selector", s->selector.v[i]);
        ll_json_cstr(&j, "algorithm", ll_dkim_algorithm_name(s->algorithm[i]));
        ll_json_close(&j);
    }
    ll_json_close(&j);
    ll_json_close(&j);
    return ll_json_print(&b);
}

/* Lines as the file has them. */
static void put_lines(const struct ll_letters *l, struct ll_slice text)
{
    while (text.n > 0) {
        size_t n = ll_slice_find(text, '\n'), crlf = n > 0 && n < text.n && text.p[n - 1] == '\r';
        size_t quotes = 0;

        while (l->mbox && quotes < n && text.p[quotes] == '>')
            quotes++;
        if (l->mbox && ll_slice_starts(ll_slice_skip(text, quotes), LL_LIT("From ")))
            putchar('>');
        fwrite(text.p, 1, n - (crlf && !l->crlf), stdout);
        if (n < text.n)
            putchar('\n');
        text = ll_slice_skip(text, n + 1);
    }
}

static int print(const struct sign *s, const struct ll_letters *l, struct ll_slice fields,
                 struct ll_slice letter)
{
    const char *end = l->crlf ? "\r\n" : "\n";

    if (s->json)
        return print_json(s, fields);
    if (l->mbox)
        printf("From MAILER-DAEMON Thu Jan  1 00:00:00 1970%s", end);
    put_lines(l, fields);
    if (l->mbox)
        put_lines(l, letter);
    else /* as it came, octet by octet */
        fwrite(l->file.p, 1, l->file.n, stdout);
    if (l->mbox)
        fputs(end, stdout);
    return ferror(stdout) ? ll_fail(EX_IOERR, "standard output: %s", strerror(errno)) : 0;
}

/* What belongs to one letter. */
static void forget(struct sign *s)
{
    for (size_t i = 0; i < KEYS_MAX; i++) {
        ll_dkim_signer_free(s->signer[i]);
        s->signer[i] = NULL;
    }
    ll_arc_sealer_free(s->sealer);
    ll_arc_free(s->arc);
    ll_dkim_letter_free(s->letter);
    s->sealer = NULL;
    s->arc = NULL;
    s->letter = NULL;
}

static int sign(struct sign *s, const char *path)
{
    struct ll_buf fields = LL_BUF(1 << 20);
    struct ll_letters letters;
    struct ll_slice letter;
    int status = ll_letters_open(&letters, path);

    for (size_t i = 0; status == 0 && i < s->key.n; i++)
        status = ll_dkim_key_file(s->key.v[i], &s->pkey[i], &s->algorithm[i]);
    while (status == 0 && ll_letters_next(&letters, &letter, &status)) {
        ll_buf_clear(&fields);
        status = sign_letter(s, letter, &fields);
        if (status == 0)
            status = print(s, &letters, ll_buf_slice(&fields), letter);
        forget(s);
    }
    for (size_t i = 0; i < KEYS_MAX; i++)
        EVP_PKEY_free(s->pkey[i]);
    ll_letters_release(&letters);
    ll_buf_release(&fields);
    return status;
}

static int check_options(const struct sign *s)
{
    if (!s->domain || s->selector.n == 0 || s->key.n == 0)
        return ll_fail(EX_USAGE, "sign needs --domain, --selector and --key");
    if (s->selector.n != s->key.n || s->key.n > KEYS_MAX)
        return ll_fail(EX_USAGE, "each --key needs its --selector, and there are at most %d",
                       KEYS_MAX);
    if (s->arc_id && (s->key.n > 1 || s->canon || s->identity))
        return ll_fail(EX_USAGE, "--arc takes one key, and neither --canon nor --identity");
    if (!s->arc_id && (s->results || s->sorted))
        return ll_fail(EX_USAGE, "--results and --sorted mean something with --arc alone");
    if (s->expire > UINT32_MAX)
        return ll_fail(EX_USAGE, "--expire %lld is too long", (long long)s->expire);
    return 0;
}

int ll_cmd_sign(int argc, char **argv)
{
    struct sign s = {.at = -1, .expire = LL_DKIM_EXPIRE_S};
    const struct ll_opt opts[] = {
        {"domain", 'd', LL_OPT_TEXT, &s.domain, "D", "the signing domain (d=)"},
        {"selector", 's', LL_OPT_LIST, &s.selector, "S", "where its key is published (s=)"},
        {"key", 'k', LL_OPT_LIST, &s.key, "PEM",
         "the private key: RSA or Ed25519; may be repeated"},
        {"canon", 0, LL_OPT_TEXT, &s.canon, "H/B", "canonicalisation (relaxed/relaxed)"},
        {"fields", 0, LL_OPT_TEXT, &s.fields, "LIST", "fields to sign, as from:to:subject"},
        {"identity", 0, LL_OPT_TEXT, &s.identity, "ID", "the signer in the domain (i=)"},
        {"expire", 0, LL_OPT_NUMBER, &s.expire, "SECONDS", "valid that long (7 days); 0: for ever"},
        {"at", 0, LL_OPT_NUMBER, &s.at, "TIME", "signed then (seconds since 1970)"},
        {"arc", 0, LL_OPT_TEXT, &s.arc_id, "ID", "add an ARC set instead; ID: our authserv-id"},
        {"results", 0, LL_OPT_TEXT, &s.results, "TEXT", "for ARC: our results, as spf=pass; ..."},
        {"sorted", 0, LL_OPT_FLAG, &s.sorted, NULL, "for ARC: tags sorted by name"},
        LL_RESOLVER_OPTS(s.from),
        LL_JSON_OPT(s.json),
    };
    const struct ll_usage usage = {
        "sign --domain D --selector S --key PEM [options] FILE|-",
        "Puts DKIM signatures on a letter and prints it; one for each --key with its --selector.\n"
        "With --arc ID it verifies the letter's ARC chain by DNS and adds a set to it. With "
        "--json\n"
        "only the new fields are printed. Line ends stay as they are. The file may be an mbox.",
        opts,
        LL_COUNT(opts),
        1,
        1};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = check_options(&s);
    if (status != 0)
        return status;
    if (s.at < 0)
        s.at = ll_unix_s();
    return sign(&s, words.v[0]);
}
