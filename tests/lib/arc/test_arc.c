/* ARC: chains sealed here, of every length, whole and damaged. (What others sealed: interop.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/arc.h"
#include "tests/lib/dkim/zone.h"

#define NOW 1600000000

static struct zone zone;
static struct keys keys;

static const char letter[] = "From: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>\r\n"
                             "Subject: chain\r\n\r\nHello  Bob.\r\n";

static void answer(void *a, const struct ll_need_answer *n)
{
    ll_arc_answer(a, n);
}

/* A letter and its chain, looked at. */
struct look {
    struct ll_dkim_letter *letter;
    struct ll_arc *arc;
    struct ll_arc_sealer *sealer;
};

static void look_end(struct look *l)
{
    ll_arc_sealer_free(l->sealer);
    ll_arc_free(l->arc);
    ll_dkim_letter_free(l->letter);
}

static struct look look(struct ll_slice in, const struct ll_arc_seal_options *o)
{
    struct look l = {.letter = ll_dkim_letter_new()};
    struct ll_need need;

    while (in.n > 0 && !ll_dkim_letter_ready(l.letter))
        in = ll_slice_skip(in, ll_dkim_letter_feed(l.letter, ll_slice_cut(in, 0, 50)));
    if (in.n == 0)
        ll_dkim_letter_end(l.letter);
    l.arc = ll_arc_new(l.letter, NOW);
    assert_non_null(l.arc);
    if (o)
        l.sealer = ll_arc_sealer_new(l.letter, l.arc, o);
    ll_dkim_letter_feed(l.letter, in);
    ll_dkim_letter_end(l.letter);
    while (ll_arc_need(l.arc, &need))
        zone_answer(&zone, &need, answer, l.arc);
    assert_true(ll_arc_done(l.arc));
    return l;
}

static const struct ll_arc_seal_options options = {
    .domain = {(const uint8_t *)"example.org", 11},
    .selector = {(const uint8_t *)"ed", 2},
    .algorithm = LL_DKIM_ED25519,
    .id = {(const uint8_t *)"mx.example.org", 14},
    .results = {(const uint8_t *)"spf=pass smtp.mailfrom=ann@example.org; dkim=none (x; y)", 56},
    .now = NOW,
};

/* Puts a set on the letter in *io; false where none may be. */
static bool seal(struct ll_buf *io, const struct ll_arc_seal_options *o)
{
    struct ll_buf out = LL_BUF(1 << 20), b = LL_BUF(1024);
    struct look l = look(ll_buf_slice(io), o);
    struct ll_need need;
    bool any = false;

    assert_non_null(l.sealer);
    while (ll_arc_sealer_need(l.sealer, &need)) {
        any = true;
        ll_buf_clear(&b);
        assert_int_equal(need.kind, LL_NEED_SIGN);
        assert_true(
            ll_dkim_key_sign(o->algorithm == LL_DKIM_RSA ? keys.rsa : keys.ed, need.sign.text, &b));
        ll_arc_sealer_answer(
            l.sealer, &(struct ll_need_answer){.id = need.id, .signature = ll_buf_slice(&b)});
    }
    assert_int_equal(ll_arc_sealer_set(l.sealer, &out), any);
    ll_buf_put_slice(&out, ll_buf_slice(io));
    ll_buf_release(io);
    ll_buf_release(&b);
    *io = out;
    look_end(&l);
    return any;
}

static struct ll_arc_result verdict(const struct ll_buf *in)
{
    struct look l = look(ll_buf_slice(in), NULL);
    struct ll_arc_result r = *ll_arc_result(l.arc);

    r.domain = r.selector = r.algorithm = r.results = ll_slice(NULL, 0);
    look_end(&l);
    return r;
}

/* Changes the first `from` into `to` (as long). */
static void change(struct ll_buf *b, const char *from, const char *to)
{
    size_t at = ll_slice_search(ll_buf_slice(b), ll_slice_str(from));

    assert_true(at < b->n && strlen(from) == strlen(to));
    memcpy(b->p + at, to, strlen(to));
}

static void none(void **state)
{
    struct ll_buf in = LL_BUF(1 << 20);

    ll_buf_puts(&in, letter);
    assert_int_equal(verdict(&in).code, LL_ARC_NONE);
    ll_buf_clear(&in);
    assert_int_equal(verdict(&in).code, LL_ARC_NONE);
    ll_buf_release(&in);
}

/* Fifty sets pass; there is no fifty-first. The work grows as the chain. */
static void fifty(void **state)
{
    struct ll_arc_seal_options o = options;
    struct ll_buf in = LL_BUF(1 << 20);
    struct ll_dkim_work work;
    struct look l;

    ll_buf_puts(&in, letter);
    for (unsigned i = 1; i <= LL_ARC_SETS_MAX; i++) {
        o.sorted = i % 2;
        assert_true(seal(&in, &o));
        if (i < 4 || i == LL_ARC_SETS_MAX) {
            struct ll_arc_result r = verdict(&in);

            assert_int_equal(r.code, LL_ARC_PASS);
            assert_int_equal(r.sets, i);
            assert_true(r.from_signed);
        }
    }
    assert_false(seal(&in, &o));
    l = look(ll_buf_slice(&in), NULL);
    ll_dkim_letter_work(l.letter, &work);
    assert_int_equal(work.lookups, 1);
    assert_int_equal(work.key_operations, LL_ARC_SETS_MAX + 1);
    assert_true(work.octets < 3 * in.n);
    assert_true(ll_slice_eq(ll_arc_result(l.arc)->domain, LL_LIT("example.org")));
    assert_true(ll_slice_starts(ll_slice_trim(ll_arc_result(l.arc)->results),
                                LL_LIT("mx.example.org;\r\n\tspf=pass")));
    look_end(&l);
    ll_buf_release(&in);
}

static void rsa(void **state)
{
    struct ll_arc_seal_options o = options;
    struct ll_buf in = LL_BUF(1 << 20);

    o.algorithm = LL_DKIM_RSA;
    o.selector = LL_LIT("rsa");
    ll_buf_puts(&in, letter);
    assert_true(seal(&in, &o));
    assert_true(seal(&in, &options));
    assert_int_equal(verdict(&in).code, LL_ARC_PASS);
    ll_buf_release(&in);
}

static void damaged(void **state)
{
    static const struct {
        const char *from, *to;
        enum ll_arc_fault fault;
    } rows[] = {
        {"Hello  Bob", "Hello  Eve", LL_ARC_FAULT_MESSAGE},
        {"Subject: chain", "Subject: Chain", LL_ARC_FAULT_MESSAGE},
        {"spf=pass", "spf=fail", LL_ARC_FAULT_SEAL},
        {"cv=pass", "cv=none", LL_ARC_FAULT_CV},
        {"cv=pass", "cv=fail", LL_ARC_FAULT_CV_FAIL},
        {"cv=pass", "cv=pase", LL_ARC_FAULT_SEAL},
        {"cv=none", "cv=pass", LL_ARC_FAULT_CV},
        {"ARC-Seal: i=2", "ARC-Seal: i=0", LL_ARC_FAULT_INSTANCE},
        {"ARC-Seal: i=2", "ARC-Seal: i=1", LL_ARC_FAULT_TWICE},
        {"ARC-Seal: i=2", "ARC-Seal: i=3", LL_ARC_FAULT_GAP},
        {"ARC-Seal: i=2", "XXX-Seal: i=2", LL_ARC_FAULT_GAP},
        {"ARC-Message-Signature: i=2", "ARC-Message-Signature: i=1", LL_ARC_FAULT_TWICE},
        {"ARC-Authentication-Results: i=1", "ARC-Authentication-Results: i=x",
         LL_ARC_FAULT_INSTANCE},
        {"ARC-Authentication-Results: i=1;", "ARC-Authentication-Results: i=1 ",
         LL_ARC_FAULT_INSTANCE},
        {"s=ed", "s=no", LL_ARC_FAULT_SEAL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf in = LL_BUF(1 << 20);
        struct ll_arc_result r;

        ll_buf_puts(&in, letter);
        assert_true(seal(&in, &options));
        assert_true(seal(&in, &options));
        change(&in, rows[i].from, rows[i].to);
        r = verdict(&in);
        if (r.code != LL_ARC_FAIL || r.fault != rows[i].fault)
            fail_msg("row %zu: %s: \"%s\" %s", i, rows[i].to, ll_arc_fault_text(r.fault),
                     ll_dkim_fault_text(r.dkim));
        ll_buf_release(&in);
    }
}

/* A broken chain gets one set that says so, verifiable alone, and then no more (RFC 8617 5.1.2). */
static void broken(void **state)
{
    struct ll_buf in = LL_BUF(1 << 20);
    struct ll_arc_result r;

    ll_buf_puts(&in, letter);
    assert_true(seal(&in, &options));
    change(&in, "Hello  Bob", "Hello  Eve");
    assert_true(seal(&in, &options));
    assert_true(ll_slice_search(ll_buf_slice(&in), LL_LIT("cv=fail")) < in.n);
    r = verdict(&in);
    assert_int_equal(r.code, LL_ARC_FAIL);
    assert_int_equal(r.fault, LL_ARC_FAULT_CV_FAIL);
    assert_int_equal(r.instance, 2);
    assert_false(seal(&in, &options));
    ll_buf_release(&in);
}

/* More different keys than are asked for; and DNS that fails, which is for ever (RFC 8617 5.2.1).
 */
static void keys_and_dns(void **state)
{
    struct ll_arc_seal_options o = options;
    struct ll_buf in = LL_BUF(1 << 20);
    struct ll_arc_result r;
    char selector[8];

    ll_buf_puts(&in, letter);
    for (unsigned i = 0; i < LL_DKIM_KEYS_MAX; i++) {
        snprintf(selector, sizeof(selector), "k%u", i);
        o.selector = ll_slice_str(selector);
        assert_true(seal(&in, &o));
        assert_int_equal(verdict(&in).code, LL_ARC_PASS);
    }
    assert_true(seal(&in, &options));
    r = verdict(&in);
    assert_int_equal(r.code, LL_ARC_FAIL);
    assert_int_equal(r.dkim, LL_DKIM_FAULT_KEYS_MANY);
    ll_buf_clear(&in);
    ll_buf_puts(&in, letter);
    o.selector = LL_LIT("later");
    assert_true(seal(&in, &o));
    r = verdict(&in);
    assert_int_equal(r.code, LL_ARC_FAIL);
    assert_int_equal(r.dkim, LL_DKIM_FAULT_DNS_LATER);
    ll_buf_release(&in);
}

static void refused(void **state)
{
    struct ll_arc_seal_options o;
    struct look l;

#define REFUSED(member, value)                                                                     \
    o = options;                                                                                   \
    o.member = LL_LIT(value);                                                                      \
    l = look(ll_slice_str(letter), &o);                                                            \
    assert_null(l.sealer);                                                                         \
    look_end(&l)
    REFUSED(domain, "org");
    REFUSED(selector, "");
    REFUSED(id, "");
    REFUSED(id, "mx.example.org; spf=pass");
    REFUSED(results, "spf=pass\r\nX: y");
    REFUSED(fields, "from:arc-seal");
    REFUSED(fields, "from:Authentication-Results");
    REFUSED(fields, "from:a b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none),    cmocka_unit_test(fifty),  cmocka_unit_test(rsa),
        cmocka_unit_test(damaged), cmocka_unit_test(broken), cmocka_unit_test(keys_and_dns),
        cmocka_unit_test(refused),
    };
    int status;

    keys = keys_new(&zone);
    for (unsigned i = 0; i < LL_DKIM_KEYS_MAX; i++) {
        char name[64];

        snprintf(name, sizeof(name), "k%u._domainkey.example.org", i);
        zone_put(&zone, name, zone.v[1].txt);
    }
    zone_fail(&zone, "later._domainkey.example.org", LL_DNS_STATUS_TIMEOUT);
    status = cmocka_run_group_tests(tests, NULL, NULL);
    keys_free(&keys);
    return status;
}
