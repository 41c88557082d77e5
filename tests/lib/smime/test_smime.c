/* S/MIME: letters signed and sealed with each kind of key and read again, changed, by others' eyes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/smime/pki.h"

static const char *const kinds[] = {"RSA2048", "P-256", "P-384"};

static struct ll_arena arena;
static struct ll_smime *s;
static struct party ca, me[3], other;
static char text[3000];

static int set_up(void **state)
{
    struct ll_buf der = LL_BUF(1 << 16);

    (void)state;
    ll_arena_init(&arena, 64 << 20);
    s = ll_smime_new();
    assert_non_null(s);
    ca = pki_issue(NULL, &(struct wish){.name = "Test CA", .ca = true});
    pki_der(&ca, &der);
    assert_int_equal(ll_smime_add_anchor(s, ll_buf_slice(&der), NULL), LL_SEAL_OK);
    for (size_t i = 0; i < LL_COUNT(kinds); i++) {
        me[i] = pki_issue(&ca,
                          &(struct wish){.name = "Ann", .address = "ann@a.test", .kind = kinds[i]});
        pki_enroll(s, &me[i], true, &arena);
    }
    other = pki_issue(&ca, &(struct wish){.name = "Bob", .address = "bob@b.test"});
    pki_enroll(s, &other, false, &arena);
    for (size_t i = 0; i + 1 < sizeof(text); i++)
        text[i] = (char)(i % 64 == 63 ? '\n' : i % 64 == 62 ? '\r' : 'a' + (int)(i % 26));
    text[sizeof(text) - 1] = '\0';
    ll_buf_release(&der);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pki_free(&ca);
    pki_free(&other);
    for (size_t i = 0; i < LL_COUNT(me); i++)
        pki_free(&me[i]);
    ll_smime_free(s);
    ll_arena_release(&arena);
    return 0;
}

/* ---- signatures
 * ------------------------------------------------------------------------------------ */

static void assert_signed(const struct ll_opened *o, const struct party *by)
{
    assert_int_equal(o->n_signature, 1);
    assert_string_equal(ll_signature_state_word(o->signature[0].state), "good");
    assert_true(ll_slice_eq(o->signature[0].fingerprint, by->fingerprint));
    assert_int_equal(o->signature[0].made, NOW);
    assert_int_equal(o->signature[0].n_address, 1);
    assert_true(ll_slice_eq(o->signature[0].address[0], LL_LIT("ann@a.test")));
    assert_true(ll_slice_eq(o->signature[0].name, LL_LIT("Ann")));
    assert_true(o->signature[0].cert.n > 0);
}

static void signs(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(kinds); i++)
        for (int detached = 0; detached < 2; detached++) {
            struct ll_buf der = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
            struct ll_opened o = {0};

            assert_int_equal(
                ll_smime_sign(s, me[i].fingerprint, ll_slice_str(text), NOW, detached, &der),
                LL_SEAL_OK);
            if (detached) {
                assert_int_equal(
                    ll_smime_verify(s, ll_slice_str(text), ll_buf_slice(&der), NOW, &arena, &o),
                    LL_SEAL_OK);
                /* no text inside: nothing to open */
                assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o),
                                 LL_SEAL_MALFORMED);
                assert_int_equal(
                    ll_smime_verify(s, ll_slice_str(text), ll_buf_slice(&der), NOW, &arena, &o),
                    LL_SEAL_OK);
            } else {
                assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o),
                                 LL_SEAL_OK);
                assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(text)));
                assert_false(o.encrypted);
            }
            assert_signed(&o, &me[i]);
            ll_buf_release(&der);
            ll_buf_release(&out);
        }
}

static void seals(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(kinds); i++)
        for (int content = LL_SMIME_AUTO; content <= LL_SMIME_GCM; content++) {
            struct ll_slice to[] = {me[i].fingerprint, other.fingerprint};
            struct ll_buf der = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
            struct ll_opened o;

            assert_int_equal(ll_smime_encrypt(s, to, 2, ll_slice_str(text), NOW,
                                              (enum ll_smime_content)content, &der),
                             LL_SEAL_OK);
            assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o),
                             LL_SEAL_OK);
            assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(text)));
            assert_true(o.encrypted);
            assert_int_equal(o.authenticated, content == LL_SMIME_GCM);
            assert_int_equal(o.n_recipient, 2);
            assert_int_equal(o.n_signature, 0);
            ll_buf_release(&der);
            ll_buf_release(&out);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs),
        cmocka_unit_test(seals),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
