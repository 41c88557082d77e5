/* The Sender Rewriting Scheme: both ways, forged, old, and what cannot be rewritten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/addr.h"
#include "letterlock/srs.h"

#define DAY ((int64_t)86400)
#define NOW (20000 * DAY + 5000)

static const char secret[] = "0123456789abcdef";

static enum ll_srs_error forward(const char *sender, int64_t now, struct ll_buf *out)
{
    ll_buf_clear(out);
    return ll_srs_forward(LL_LIT("0123456789abcdef"), ll_slice_str(sender), LL_LIT("fwd.test"), now,
                          out);
}

/* The local part of what forward made. */
static struct ll_slice local_of(const struct ll_buf *b)
{
    struct ll_slice s = ll_buf_slice(b);

    return ll_slice_cut(s, 0, ll_slice_rfind(s, '@'));
}

static enum ll_srs_error reverse(struct ll_slice local, int64_t now, struct ll_buf *out)
{
    ll_buf_clear(out);
    return ll_srs_reverse(ll_slice_str(secret), local, now, out);
}

/* What goes out comes back, in any case that servers make of it. */
static void there_and_back(void **state)
{
    static const struct {
        const char *sender, *form, *back; /* form: HHHHHHHH for the hash, DD for the day */
    } rows[] = {
        {"ann@a.test", "SRS0=HHHHHHHH=DD=a.test=ann@fwd.test", "ann@a.test"},
        {"Ann.B+c=d@a.test", "SRS0=HHHHHHHH=DD=a.test=Ann.B+c=d@fwd.test", "Ann.B+c=d@a.test"},
        {"SRS0=abcd=XY=o.test=joe@first.test",
         "SRS1=HHHHHHHH=first.test==abcd=XY=o.test=joe@fwd.test",
         "SRS0=abcd=XY=o.test=joe@first.test"},
        {"srs0+abcd-XY=o.test=joe@f.test", "SRS1=HHHHHHHH=f.test=+abcd-XY=o.test=joe@fwd.test",
         "SRS0+abcd-XY=o.test=joe@f.test"},
        {"SRS1=xxxx=first.test==ab=XY=o.test=j@second.test",
         "SRS1=HHHHHHHH=first.test==ab=XY=o.test=j@fwd.test", "SRS0=ab=XY=o.test=j@first.test"},
        {"SRS1-xx=f.test=-ab=XY=o.test=j@second.test",
         "SRS1=HHHHHHHH=f.test=-ab=XY=o.test=j@fwd.test", "SRS0-ab=XY=o.test=j@f.test"},
        /* only alike */
        {"SRS1=x@a.test", "SRS0=HHHHHHHH=DD=a.test=SRS1=x@fwd.test", "SRS1=x@a.test"},
        {"SRS1=xx=f.t+ab=.inc=j@s.test", "SRS0=HHHHHHHH=DD=s.test=SRS1=xx=f.t+ab=.inc=j@fwd.test",
         "SRS1=xx=f.t+ab=.inc=j@s.test"},
        {"SRS1=xx=f.t=.inc=j@s.test", "SRS0=HHHHHHHH=DD=s.test=SRS1=xx=f.t=.inc=j@fwd.test",
         "SRS1=xx=f.t=.inc=j@s.test"},
        {"SRS0@a.test", "SRS0=HHHHHHHH=DD=a.test=SRS0@fwd.test", "SRS0@a.test"},
        {"srs2=a=b=c@a.test", "SRS0=HHHHHHHH=DD=a.test=srs2=a=b=c@fwd.test", "srs2=a=b=c@a.test"},
    };
    struct ll_buf out = LL_BUF(1024), back = LL_BUF(1024), other = LL_BUF(1024);

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_slice s;
        struct ll_mailbox m;

        assert_int_equal(forward(rows[i].sender, NOW, &out), LL_SRS_OK);
        s = ll_buf_slice(&out);
        assert_int_equal(s.n, strlen(rows[i].form));
        for (size_t k = 0; k < s.n; k++)
            if (!strchr("HD", rows[i].form[k]))
                assert_int_equal(s.p[k], rows[i].form[k]);
        assert_int_equal(ll_mailbox_parse(s, false, &m), LL_ADDR_OK);
        assert_true(ll_srs_is(local_of(&out)));
        assert_int_equal(reverse(local_of(&out), NOW, &back), LL_SRS_OK);
        assert_string_equal(ll_buf_str(&back), rows[i].back);
        ll_buf_clear(&other);
        for (size_t k = 0; k < s.n; k++)
            ll_buf_putc(&other, ll_lower(s.p[k]));
        assert_int_equal(reverse(local_of(&other), NOW, &back), LL_SRS_OK);
        assert_true(ll_slice_caseeq(ll_buf_slice(&back), ll_slice_str(rows[i].back)));
    }
    ll_buf_release(&out);
    ll_buf_release(&back);
    ll_buf_release(&other);
}

/* Every octet counts: with another in its place, or under another secret, nothing comes back. */
static void forged(void **state)
{
    static const char *const senders[] = {"ann@a.test", "SRS0=abcd=XY=o.test=joe@f.test"};
    struct ll_buf out = LL_BUF(1024), back = LL_BUF(1024);

    for (size_t i = 0; i < LL_COUNT(senders); i++) {
        struct ll_slice local;

        assert_int_equal(forward(senders[i], NOW, &out), LL_SRS_OK);
        local = local_of(&out);
        for (size_t k = 0; k < local.n; k++) {
            uint8_t kept = out.p[k];

            out.p[k] = kept == 'x' || kept == 'X' ? 'y' : 'x';
            assert_int_not_equal(reverse(local, NOW, &back), LL_SRS_OK);
            assert_int_equal(back.n, 0);
            out.p[k] = kept;
            assert_int_not_equal(reverse(ll_slice_cut(local, 0, k), NOW, &back), LL_SRS_OK);
        }
        assert_int_equal(ll_srs_reverse(LL_LIT("0123456789abcdeg"), local, NOW, &back),
                         LL_SRS_FORGED);
    }
    ll_buf_release(&out);
    ll_buf_release(&back);
}

static void age(void **state)
{
    static const struct {
        int64_t after; /* seconds */
        enum ll_srs_error e;
    } rows[] = {
        {0, LL_SRS_OK},           {21 * DAY, LL_SRS_OK},   {22 * DAY, LL_SRS_AGE},
        {-DAY, LL_SRS_AGE},                                /* of tomorrow */
        {1023 * DAY, LL_SRS_AGE}, {1024 * DAY, LL_SRS_OK}, /* days come round: that is what ten bits
                                                              can tell */
    };
    static const int64_t from[] = {NOW, 20479 * DAY, 20480 * DAY, 1024 * DAY};
    struct ll_buf out = LL_BUF(1024), back = LL_BUF(1024);

    for (size_t k = 0; k < LL_COUNT(from); k++)
        for (size_t i = 0; i < LL_COUNT(rows); i++) {
            assert_int_equal(forward("ann@a.test", from[k], &out), LL_SRS_OK);
            assert_int_equal(reverse(local_of(&out), from[k] + rows[i].after, &back), rows[i].e);
        }
    /* The first forwarder looks at the age of its own. */
    assert_int_equal(forward("SRS0=abcd=XY=o.test=joe@f.test", NOW, &out), LL_SRS_OK);
    assert_int_equal(reverse(local_of(&out), NOW + 100 * DAY, &back), LL_SRS_OK);
    ll_buf_release(&out);
    ll_buf_release(&back);
}

static void not_possible(void **state)
{
    static const struct {
        const char *sender;
        enum ll_srs_error e;
    } rows[] = {
        {"\"a b\"@a.test", LL_SRS_LOCAL},
        {"J\xc3\xb6rg@a.test", LL_SRS_LOCAL},
        {"ann", LL_SRS_LOCAL},
        {"@a.test", LL_SRS_LOCAL},
        {"ann@", LL_SRS_LOCAL},
        {".ann@a.test", LL_SRS_LOCAL},
        {"a..b@a.test", LL_SRS_LOCAL},
        {"ann@[192.0.2.1]", LL_SRS_LOCAL},
        {"ann@a=b.test", LL_SRS_LOCAL},
        {"", LL_SRS_LOCAL},
        /* "SRS0=HHHHHHHH=DD=a.test=" takes 24 of 64 octets */
        {"1234567890123456789012345678901234567890@a.test", LL_SRS_OK},
        {"12345678901234567890123456789012345678901@a.test", LL_SRS_LONG},
    };
    struct ll_buf out = LL_BUF(1024), small = LL_BUF(20);

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        assert_int_equal(forward(rows[i].sender, NOW, &out), rows[i].e);
        assert_true(rows[i].e == LL_SRS_OK ? out.n > 0 : out.n == 0);
    }
    assert_int_equal(forward("ann@a.test", NOW, &small), LL_SRS_RESOURCE);
    assert_int_equal(small.n, 0);
    ll_buf_clear(&out);
    assert_int_equal(ll_srs_forward(LL_LIT("0123456789abcde"), LL_LIT("ann@a.test"),
                                    LL_LIT("fwd.test"), NOW, &out),
                     LL_SRS_RESOURCE); /* a secret that is too short */
    ll_buf_release(&out);
}

static void syntax(void **state)
{
    static const struct {
        const char *local;
        enum ll_srs_error e;
    } rows[] = {
        {"", LL_SRS_NOT_SRS},
        {"ann", LL_SRS_NOT_SRS},
        {"SRS0", LL_SRS_NOT_SRS},
        {"SRS2=a=b=c=d", LL_SRS_NOT_SRS},
        {"xSRS0=a=b=c=d", LL_SRS_NOT_SRS},
        {"SRS0=", LL_SRS_SYNTAX},
        {"SRS0==", LL_SRS_SYNTAX},
        {"SRS0=AAAAAAAA", LL_SRS_SYNTAX},
        {"SRS0+AAAAAAAA=AA=a.test=ann", LL_SRS_SYNTAX}, /* not as we write it */
        {"SRS0=AAAAAAAA=", LL_SRS_FORGED},
        {"SRS0=AAAAAAA=AA=a.test=ann", LL_SRS_FORGED}, /* a hash of seven */
        {"SRS0=AAAAAAAA=AA=a.test=ann", LL_SRS_FORGED},
        {"srs1=AAAAAAAA=a.test==AA=b.test=ann", LL_SRS_FORGED},
    };
    struct ll_buf out = LL_BUF(1024);

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        assert_int_equal(reverse(ll_slice_str(rows[i].local), NOW, &out), rows[i].e);
        assert_int_equal(out.n, 0);
        assert_true(*ll_srs_error_text(rows[i].e) != '?');
    }
    ll_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(forged), cmocka_unit_test(age),
        cmocka_unit_test(not_possible),   cmocka_unit_test(syntax),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
