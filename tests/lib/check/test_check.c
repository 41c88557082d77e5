/*
 * check: the engines joined. Letters and a zone in; what is found must not depend on the pieces in
 * which the letter comes, nor on the order of answers; nobody's silence hides the author's policy.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "letterlock/authres.h"
#include "letterlock/check.h"
#include "tests/lib/zone.h"

#include <openssl/evp.h>

#define NOW 1700000000
#define TXT LL_DNS_TXT

/* ---- memory that fails: the n-th allocation of the library from now on, and all behind it -------
 */

static long allocations_left = -1; /* negative: all work */

static bool may_allocate(void)
{
    return allocations_left < 0 || (allocations_left > 0 && allocations_left-- > 0);
}

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);

void *__wrap_malloc(size_t n)
{
    return may_allocate() ? __real_malloc(n) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
    return may_allocate() ? __real_calloc(n, size) : NULL;
}

void *__wrap_realloc(void *p, size_t n)
{
    return may_allocate() ? __real_realloc(p, n) : NULL;
}

/* ---- the world --------------------------------------------------------------------------------
 */

static EVP_PKEY *key;
static char key_record[256];

static const struct zone_row rows[] = {
    {"good.test", TXT, "v=spf1 ip4:192.0.2.1 -all"},
    {"_dmarc.good.test", TXT, "v=DMARC1; p=reject"},
    {"s1._domainkey.good.test", TXT, key_record},
    {"bank.test", TXT, "v=spf1 ip4:198.51.100.1 -all"},
    {"_dmarc.bank.test", TXT, "v=DMARC1; p=reject"},
    {"s1._domainkey.bank.test", TXT, key_record},
    {"later._domainkey.bank.test", TXT, "!timeout"},
    {"lost.test", TXT, "!timeout"},
    {"later._domainkey.lost.test", TXT, "!timeout"},
    {"_dmarc.lost.test", TXT, "!timeout"},
    {"1.2.0.192.in-addr.arpa", LL_DNS_PTR, "client.test"},
    {"1.2.0.192.in-addr.arpa", LL_DNS_PTR, "other.test"},
    {"client.test", LL_DNS_A, "192.0.2.1"},
    {"other.test", LL_DNS_A, "192.0.2.9"},
    {"2.2.0.192.in-addr.arpa", LL_DNS_PTR, "other.test"},
    {"3.2.0.192.in-addr.arpa", LL_DNS_PTR, "!timeout"},
    {"nomail.test", LL_DNS_MX, "0 ."},
    {"twomx.test", LL_DNS_MX, "0 ."},
    {"twomx.test", LL_DNS_MX, "10 client.test"},
    {"latemx.test", LL_DNS_MX, "!timeout"},
    {NULL, 0, NULL},
};

static struct ll_check_input input(const char *ip, const char *from)
{
    struct ll_check_input in = {.helo = LL_LIT("client.test"),
                                .mail_from = ll_slice_str(from),
                                .receiver = LL_LIT("mx.here.test"),
                                .iprev = true,
                                .unix_s = NOW};

    in.ip_n = ip && ll_ipv4_parse(ll_slice_str(ip), in.ip) ? 4 : 0;
    return in;
}

/* How questions are answered. */
enum manner {
    IN_ORDER,
    BACKWARDS,  /* all that are open, the last one first */
    TWICE,      /* each answer again, with another status, and those to ids that nobody asked */
    AT_THE_END, /* none before the letter is over */
    MANNERS
};

struct asked {
    struct ll_need v[64];
    size_t n;
};

static void put(struct ll_check *c, struct zone *z, const struct ll_need *need, enum manner m)
{
    const uint32_t strange[] = {0x00ffffff, 0x06000000, 0xff000000, UINT32_MAX};
    struct ll_dns_answer a, none = {.status = LL_DNS_STATUS_NXDOMAIN};

    zone_answer(z, need, &a);
    ll_check_answer(c, &(struct ll_need_answer){.id = need->id, .dns = &a});
    if (m != TWICE)
        return;
    ll_check_answer(c, &(struct ll_need_answer){.id = need->id, .dns = &none});
    ll_check_answer(c, &(struct ll_need_answer){.id = need->id}); /* no answer in it */
    for (size_t i = 0; i < LL_COUNT(strange); i++)
        ll_check_answer(c, &(struct ll_need_answer){.id = strange[i], .dns = &none});
}

static void serve(struct ll_check *c, struct zone *z, enum manner m)
{
    struct asked open = {.n = 0};

    for (;;) {
        while (open.n < LL_COUNT(open.v) && ll_check_need(c, &open.v[open.n]))
            open.n++;
        if (open.n == 0)
            return;
        if (m == BACKWARDS) {
            put(c, z, &open.v[--open.n], m);
        } else {
            put(c, z, &open.v[0], m);
            memmove(open.v, open.v + 1, --open.n * sizeof(open.v[0]));
        }
    }
}

static struct ll_check *look(const struct ll_check_input *in, struct ll_slice letter, size_t first,
                             enum manner m, struct zone *z)
{
    struct ll_check *c = ll_check_new(in);

    assert_non_null(c);
    if (m != AT_THE_END)
        serve(c, z, m);
    ll_check_feed(c, ll_slice_cut(letter, 0, first));
    if (m != AT_THE_END)
        serve(c, z, m);
    ll_check_feed(c, ll_slice_skip(letter, first));
    assert_false(ll_check_done(c)); /* the letter is not over */
    ll_check_end(c);
    serve(c, z, m);
    assert_true(ll_check_done(c));
    assert_true(z->asked <= LL_CHECK_NEEDS_MAX);
    assert_int_equal(ll_check_result(c)->needs, z->asked);
    return c;
}

/* Signs, and appends the signed letter. */
static void sign(const char *domain, const char *selector, const char *letter, struct ll_buf *out)
{
    const struct ll_dkim_sign_options o = {.domain = ll_slice_str(domain),
                                           .selector = ll_slice_str(selector),
                                           .algorithm = LL_DKIM_ED25519,
                                           .now = NOW};
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    struct ll_buf b = LL_BUF(LL_DKIM_SIGNATURE_ROOM);
    struct ll_slice rest = ll_slice_str(letter);
    struct ll_dkim_signer *s;
    struct ll_need need;

    rest = ll_slice_skip(rest, ll_dkim_letter_feed(l, rest));
    s = ll_dkim_signer_new(l, &o);
    assert_non_null(s);
    ll_dkim_letter_feed(l, rest);
    ll_dkim_letter_end(l);
    assert_true(ll_dkim_signer_need(s, &need));
    assert_true(ll_dkim_key_sign(key, need.sign.text, &b));
    ll_dkim_signer_answer(s,
                          &(struct ll_need_answer){.id = need.id, .signature = ll_buf_slice(&b)});
    assert_true(ll_dkim_signer_field(s, out));
    ll_buf_puts(out, letter);
    ll_buf_release(&b);
    ll_dkim_signer_free(s);
    ll_dkim_letter_free(l);
}

static int setup(void **state)
{
    struct ll_buf text = LL_BUF(200);

    (void)state;
    key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (!key || !ll_dkim_key_record(key, &text))
        return -1;
    snprintf(key_record, sizeof(key_record), "%s", ll_buf_str(&text));
    ll_buf_release(&text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    return 0;
}

/* ---- what is found ------------------------------------------------------------------------------
 */

#define BANK "From: The Boss <boss@bank.test>\r\nSubject: s\r\n\r\nhello\r\n"
#define GOOD "From: joe@good.test\r\nSubject: s\r\n\r\nhello\r\n"

static const struct row {
    const char *what;
    const char *ip; /* NULL: not known */
    const char *from;
    const char *signer, *selector; /* NULL: unsigned */
    const char *letter;
    int spf; /* -1: none was made */
    enum ll_dmarc_code dmarc;
    enum ll_msg_error author;
    enum ll_check_iprev iprev;
    bool proved;
} table[] = {
    {"genuine by SPF", "192.0.2.1", "joe@good.test", NULL, NULL, GOOD, LL_SPF_PASS, LL_DMARC_PASS,
     LL_MSG_OK, LL_CHECK_IPREV_PASS, true},
    {"forged", "192.0.2.1", "joe@good.test", NULL, NULL, BANK, LL_SPF_PASS, LL_DMARC_FAIL,
     LL_MSG_OK, LL_CHECK_IPREV_PASS, true},
    {"genuine by DKIM", "192.0.2.2", "x@bank.test", "bank.test", "s1", BANK, LL_SPF_FAIL,
     LL_DMARC_PASS, LL_MSG_OK, LL_CHECK_IPREV_FAIL, true},
    {"signed by another", "192.0.2.3", "x@bank.test", "good.test", "s1", BANK, LL_SPF_FAIL,
     LL_DMARC_FAIL, LL_MSG_OK, LL_CHECK_IPREV_TEMPERROR, false},
    {"its key does not come", "192.0.2.4", "x@bank.test", "bank.test", "later", BANK, LL_SPF_FAIL,
     LL_DMARC_TEMPERROR, LL_MSG_OK, LL_CHECK_IPREV_PERMERROR, false},
    {"another's key does not come", "192.0.2.1", "x@lost.test", "lost.test", "later", BANK,
     LL_SPF_TEMPERROR, LL_DMARC_FAIL, LL_MSG_OK, LL_CHECK_IPREV_PASS, false},
    {"nobody knows the client", NULL, "joe@good.test", NULL, NULL, GOOD, -1, LL_DMARC_FAIL,
     LL_MSG_OK, LL_CHECK_IPREV_NONE, false},
    {"no record", "192.0.2.1", "a@none.test", NULL, NULL, "From: a@none.test\r\n\r\n", LL_SPF_NONE,
     LL_DMARC_NONE, LL_MSG_OK, LL_CHECK_IPREV_PASS, false},
    {"null reverse-path", "192.0.2.1", "", NULL, NULL, GOOD, LL_SPF_NONE, LL_DMARC_FAIL, LL_MSG_OK,
     LL_CHECK_IPREV_PASS, false},
    {"no From", "192.0.2.1", "joe@good.test", NULL, NULL, "To: a@b.test\r\n\r\nx\r\n", LL_SPF_PASS,
     LL_DMARC_PERMERROR, LL_MSG_NO_FROM, LL_CHECK_IPREV_PASS, true},
    {"two From", "192.0.2.1", "joe@good.test", NULL, NULL,
     "From: joe@good.test\r\nFrom: boss@bank.test\r\n\r\n", LL_SPF_PASS, LL_DMARC_PERMERROR,
     LL_MSG_MANY_FROM, LL_CHECK_IPREV_PASS, true},
    {"a From with a fold before its colon", "192.0.2.1", "joe@good.test", NULL, NULL,
     "From: joe@good.test\r\nFrOm\r\n : boss@bank.test\r\n\r\n", LL_SPF_PASS, LL_DMARC_PERMERROR,
     LL_MSG_MANY_FROM, LL_CHECK_IPREV_PASS, true},
    {"a From with a blank in front", "192.0.2.1", "joe@good.test", NULL, NULL,
     " From: boss@bank.test\r\nFrom: joe@good.test\r\n\r\n", LL_SPF_PASS, LL_DMARC_PERMERROR,
     LL_MSG_MANY_FROM, LL_CHECK_IPREV_PASS, true},
    {"a line of mbox is no author", "192.0.2.1", "joe@good.test", NULL, NULL,
     "From boss@bank.test Wed Nov 25 10:00:00 2026\r\nFrom: joe@good.test\r\n\r\n", LL_SPF_PASS,
     LL_DMARC_PASS, LL_MSG_OK, LL_CHECK_IPREV_PASS, true},
    {"two mailboxes", "192.0.2.1", "joe@good.test", NULL, NULL,
     "From: joe@good.test, boss@bank.test\r\n\r\n", LL_SPF_PASS, LL_DMARC_PERMERROR,
     LL_MSG_BAD_FROM, LL_CHECK_IPREV_PASS, true},
    {"all header", "192.0.2.1", "joe@good.test", NULL, NULL, "From: joe@good.test\r\n", LL_SPF_PASS,
     LL_DMARC_PASS, LL_MSG_OK, LL_CHECK_IPREV_PASS, true},
    {"all header, its last line open", "192.0.2.1", "joe@good.test", NULL, NULL,
     "From: joe@good.test", LL_SPF_PASS, LL_DMARC_PASS, LL_MSG_OK, LL_CHECK_IPREV_PASS, true},
    {"no octet", "192.0.2.1", "joe@good.test", NULL, NULL, "", LL_SPF_PASS, LL_DMARC_PERMERROR,
     LL_MSG_NO_FROM, LL_CHECK_IPREV_PASS, true},
};

static void letter_of(const struct row *row, struct ll_buf *out)
{
    if (row->signer)
        sign(row->signer, row->selector, row->letter, out);
    else
        ll_buf_puts(out, row->letter);
}

static void check_row(const struct row *row, const struct ll_check *c, const char *how, size_t at)
{
    const struct ll_check_result *r = ll_check_result(c);
    int spf = r->have_spf ? (int)r->spf.code : -1;
    bool proved = ll_check_proves(c, ll_slice_str(row->from));

    if (spf != row->spf || r->dmarc.code != row->dmarc || r->author_error != row->author ||
        r->iprev != row->iprev || proved != row->proved)
        fail_msg("%s (%s %zu): spf=%d dmarc=%s (%.*s) author=%d iprev=%s proved=%d", row->what, how,
                 at, spf, ll_dmarc_word(r->dmarc.code), LL_FMT(r->dmarc.reason), r->author_error,
                 ll_check_iprev_word(r->iprev), proved);
}

/* Every row, in every manner, whole and split at every octet. */
static void found(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(table); i++) {
        struct ll_check_input in = input(table[i].ip, table[i].from);
        struct ll_buf letter = LL_BUF(1 << 16);

        letter_of(&table[i], &letter);
        for (size_t at = 0; at <= letter.n; at++) {
            enum manner m = (enum manner)(at % MANNERS);
            struct zone z = {.rows = rows};
            struct ll_check *c = look(&in, ll_buf_slice(&letter), at, m, &z);

            check_row(&table[i], c, "split", at);
            ll_check_free(c);
            ll_buf_release(&z.rdata);
        }
        ll_buf_release(&letter);
    }
}

/* ---- silence ------------------------------------------------------------------------------------
 */

/* Answers so many questions; the rest is taken, and never answered. */
static void serve_some(struct ll_check *c, struct zone *z, unsigned *left)
{
    struct ll_need need;

    while (ll_check_need(c, &need)) {
        if (*left == 0)
            continue;
        --*left;
        put(c, z, &need, IN_ORDER);
    }
}

/* Gives up after so many answers; before the letter, in it, or behind it. */
static struct ll_check *silent(const struct row *row, struct ll_slice letter, unsigned answers,
                               unsigned when, struct zone *z)
{
    struct ll_check_input in = input(row->ip, row->from);
    struct ll_check *c = ll_check_new(&in);
    struct ll_need need;

    assert_non_null(c);
    serve_some(c, z, &answers);
    if (when == 0)
        ll_check_give_up(c);
    ll_check_feed(c, letter);
    serve_some(c, z, &answers);
    if (when == 1)
        ll_check_give_up(c);
    assert_false(ll_check_done(c));
    ll_check_end(c);
    serve_some(c, z, &answers);
    if (when == 2)
        ll_check_give_up(c);
    assert_true(ll_check_done(c));
    assert_false(ll_check_need(c, &need));
    return c;
}

/* Whenever it is given up: it is done, and what it says is what it would have said or temperror. */
static void given_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(table); i++) {
        struct ll_buf letter = LL_BUF(1 << 16);

        letter_of(&table[i], &letter);
        for (unsigned n = 0; n < 3 * 12; n++) {
            struct zone z = {.rows = rows};
            struct ll_check *c = silent(&table[i], ll_buf_slice(&letter), n / 3, n % 3, &z);
            const struct ll_check_result *r = ll_check_result(c);

            if (r->dmarc.code != table[i].dmarc && r->dmarc.code != LL_DMARC_TEMPERROR)
                fail_msg("%s, given up (%u) after %u answers: dmarc=%s", table[i].what, n % 3,
                         n / 3, ll_dmarc_word(r->dmarc.code));
            assert_int_equal(r->author_error, table[i].author);
            ll_check_free(c);
            ll_buf_release(&z.rdata);
        }
        ll_buf_release(&letter);
    }
}

/* A forger's own zones do not answer: the policy of whom he forges is asked for all the same. */
static void hurried(void **state)
{
    struct ll_check_input in = input("192.0.2.1", "x@lost.test");
    struct ll_buf letter = LL_BUF(1 << 16);
    struct zone z = {.rows = rows};
    struct ll_check *c = ll_check_new(&in);
    struct ll_need need;
    unsigned silence = 0;

    (void)state;
    sign("lost.test", "later", BANK, &letter);
    ll_check_feed(c, ll_buf_slice(&letter));
    ll_check_end(c);
    while (ll_check_need(c, &need))
        silence++;
    assert_true(silence >= 3); /* the PTR, SPF, DKIM */
    assert_false(ll_check_done(c));
    ll_check_hurry(c);
    assert_false(ll_check_done(c));
    assert_true(ll_check_at_dmarc(c));
    serve(c, &z, IN_ORDER);
    assert_true(ll_check_done(c));
    assert_int_equal(ll_check_result(c)->spf.code, LL_SPF_TEMPERROR);
    assert_int_equal(ll_check_result(c)->iprev, LL_CHECK_IPREV_TEMPERROR);
    assert_int_equal(ll_check_result(c)->dmarc.code, LL_DMARC_FAIL);
    assert_int_equal(ll_check_result(c)->dmarc.disposition, LL_DMARC_P_REJECT);
    ll_check_free(c);
    ll_buf_release(&letter);
    ll_buf_release(&z.rdata);
}

/* SPF ends after its 20 s though nobody gives up; an answer that comes later changes nothing. */
static void spf_time(void **state)
{
    struct ll_check_input in = input("192.0.2.1", "x@lost.test");
    struct zone z = {.rows = rows};
    struct ll_check *c = ll_check_new(&in);
    struct ll_need need, spf = {.id = 0};

    (void)state;
    ll_check_feed(c, LL_LIT(BANK));
    ll_check_end(c);
    while (ll_check_need(c, &need)) {
        if (ll_dns_name_eq(LL_LIT("lost.test"), ll_dns_name_slice(&need.dns.name)))
            spf = need;
        else
            put(c, &z, &need, IN_ORDER);
    }
    assert_true(spf.id != 0);
    ll_check_time(c, LL_SPF_TIME_MAX - 1);
    assert_false(ll_check_done(c));
    ll_check_time(c, LL_SPF_TIME_MAX);
    put(c, &z, &spf, TWICE);
    serve(c, &z, IN_ORDER);
    assert_true(ll_check_done(c));
    assert_int_equal(ll_check_result(c)->dmarc.code, LL_DMARC_FAIL);
    ll_check_free(c);
    ll_buf_release(&z.rdata);
}

/* ---- limits -------------------------------------------------------------------------------------
 */

/* 1,000 signatures: ten are looked at, and no more keys asked for. */
static void many_signatures(void **state)
{
    struct ll_check_input in = input("192.0.2.1", "joe@good.test");
    struct ll_buf letter = LL_BUF(1 << 20);
    struct zone z = {.rows = rows};
    const struct ll_check_result *r;
    struct ll_dkim_work work;
    struct ll_check *c;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        ll_buf_printf(&letter,
                      "DKIM-Signature: v=1; a=ed25519-sha256; d=d%u.test; s=s; h=from; "
                      "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n",
                      i);
    ll_buf_puts(&letter, GOOD);
    c = look(&in, ll_buf_slice(&letter), 0, IN_ORDER, &z);
    r = ll_check_result(c);
    ll_dkim_letter_work(ll_check_letter(c), &work);
    assert_int_equal(r->n_dkim, LL_DKIM_SIGNATURES_MAX);
    assert_int_equal(r->dkim_skipped, 1000 - LL_DKIM_SIGNATURES_MAX);
    assert_int_equal(work.lookups, LL_DKIM_KEYS_MAX);
    assert_true(work.body_hashes <= 2);
    assert_true(z.asked < 40);
    assert_int_equal(r->dmarc.code, LL_DMARC_PASS);
    ll_check_free(c);
    ll_buf_release(&letter);
    ll_buf_release(&z.rdata);
}

/* A second From behind the limit of the header is not overlooked: nothing passes. */
static void header_over_limit(void **state)
{
    struct ll_check_input in = input("192.0.2.1", "joe@good.test");
    struct ll_buf letter = LL_BUF(4 << 20);
    struct zone z = {.rows = rows};
    struct ll_check *c;

    (void)state;
    ll_buf_puts(&letter, "From: joe@good.test\r\n");
    while (letter.n <= LL_DKIM_HEADER_MAX)
        ll_buf_puts(&letter, "X-Filler: 0123456789012345678901234567890123456789\r\n");
    ll_buf_puts(&letter, BANK);
    c = look(&in, ll_buf_slice(&letter), 1000, IN_ORDER, &z);
    assert_int_equal(ll_check_result(c)->author_error, LL_MSG_HEADER_LONG);
    assert_int_equal(ll_check_result(c)->dmarc.code, LL_DMARC_PERMERROR);
    ll_check_free(c);
    ll_buf_release(&letter);
    ll_buf_release(&z.rdata);
}

/* With less and less memory: no check at all, or the result of the row, or temperror. A genuine
 * letter never fails for good because of it, and a forged one never passes. */
static void no_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(table); i++) {
        struct ll_check_input in = input(table[i].ip, table[i].from);
        struct ll_buf letter = LL_BUF(1 << 16);
        bool enough = false;

        letter_of(&table[i], &letter);
        for (long n = 0; !enough; n++) {
            struct ll_check *c;
            struct ll_need need;

            assert_true(n < 10000);
            allocations_left = n;
            c = ll_check_new(&in);
            if (c) {
                enum ll_dmarc_code code;
                enum ll_msg_error error;

                ll_check_feed(c, ll_buf_slice(&letter));
                ll_check_end(c);
                while (ll_check_need(c, &need)) {
                    struct zone z = {.rows = rows};
                    struct ll_dns_answer a;
                    long left = allocations_left;

                    allocations_left = -1;
                    zone_answer(&z, &need, &a);
                    allocations_left = left;
                    ll_check_answer(c, &(struct ll_need_answer){.id = need.id, .dns = &a});
                    left = allocations_left;
                    allocations_left = -1;
                    ll_buf_release(&z.rdata);
                    allocations_left = left;
                }
                assert_true(ll_check_done(c));
                code = ll_check_result(c)->dmarc.code;
                error = ll_check_result(c)->author_error;
                if ((code != table[i].dmarc && code != LL_DMARC_TEMPERROR) ||
                    (error != table[i].author && error != LL_MSG_RESOURCE))
                    fail_msg("%s, %ld allocations: dmarc=%s author=%d", table[i].what, n,
                             ll_dmarc_word(code), error);
                enough = allocations_left > 0;
                ll_check_free(c);
            }
            allocations_left = -1;
        }
        ll_buf_release(&letter);
    }
}

/* The field that is made of it says what was found. */
static void field(void **state)
{
    struct ll_check_input in = input("192.0.2.1", "joe@good.test");
    struct ll_buf out = LL_BUF(1 << 16);
    struct ll_authres_out a = {.out = &out};
    struct zone z = {.rows = rows};
    struct ll_check *c = look(&in, LL_LIT(GOOD), 0, IN_ORDER, &z);

    (void)state;
    ll_authres_begin(&a, LL_LIT("mx.here.test"));
    ll_check_authres(c, &a);
    ll_authres_end(&a);
    assert_non_null(strstr(ll_buf_str(&out), "spf=pass"));
    assert_non_null(strstr(ll_buf_str(&out), "dkim=none"));
    assert_non_null(strstr(ll_buf_str(&out), "dmarc=pass"));
    assert_string_equal(ll_check_iprev_word((enum ll_check_iprev)99), "none");
    assert_true(ll_slice_eq(ll_check_result(c)->iprev_name, LL_LIT("client.test")));
    assert_int_equal(ll_arc_result(ll_check_arc(c))->code, LL_ARC_NONE);
    assert_false(ll_check_proves(c, LL_LIT("")));
    ll_check_free(c);
    ll_buf_release(&out);
    ll_buf_release(&z.rdata);
}

/* RFC 7505: a null MX of the reverse-path's domain, alone, and only where it is asked for. */
static void null_mx(void **state)
{
    static const struct {
        const char *from;
        bool asked, null;
    } senders[] = {
        {"joe@nomail.test", true, true},  {"joe@nomail.test", false, false},
        {"joe@twomx.test", true, false},  {"joe@latemx.test", true, false},
        {"joe@good.test", true, false},   {"", true, false},
        {"joe@[192.0.2.1]", true, false}, {"\"a@nomail.test\"@good.test", true, false},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(senders); i++)
        for (int m = 0; m < MANNERS; m++) {
            struct ll_check_input in = input("192.0.2.1", senders[i].from);
            struct zone z = {.rows = rows};
            struct ll_check *c;

            in.sender_mx = senders[i].asked;
            c = look(&in, LL_LIT(GOOD), 9, (enum manner)m, &z);
            assert_int_equal(ll_check_result(c)->sender_null_mx, senders[i].null);
            ll_check_free(c);
            ll_buf_release(&z.rdata);
        }
}

/* One field where SPF was asked, none where there was no client. */
static void received_spf(void **state)
{
    static const char *const ips[] = {"192.0.2.1", NULL};

    (void)state;
    for (size_t i = 0; i < LL_COUNT(ips); i++) {
        struct ll_check_input in = input(ips[i], "joe@good.test");
        struct ll_buf out = LL_BUF(1 << 16);
        struct zone z = {.rows = rows};
        struct ll_check *c = look(&in, LL_LIT(GOOD), 0, IN_ORDER, &z);

        ll_check_received_spf(c, LL_LIT("mx.here.test"), &out);
        if (ips[i])
            assert_true(ll_slice_starts(ll_buf_slice(&out), LL_LIT("Received-SPF: pass (mx.here")));
        else
            assert_int_equal(out.n, 0);
        ll_check_free(c);
        ll_buf_release(&out);
        ll_buf_release(&z.rdata);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found),           cmocka_unit_test(given_up),
        cmocka_unit_test(hurried),         cmocka_unit_test(spf_time),
        cmocka_unit_test(many_signatures), cmocka_unit_test(header_over_limit),
        cmocka_unit_test(no_memory),       cmocka_unit_test(field),
        cmocka_unit_test(null_mx),         cmocka_unit_test(received_spf),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
