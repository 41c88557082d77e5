/* Names in address lists, message identifiers, Received fields read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/msg.h"

static struct ll_arena arena;
static struct ll_buf have;

static int set_up(void **state)
{
    ll_arena_init(&arena, 16u << 20);
    ll_buf_init(&have, 1u << 20);
    return 0;
}

static int tear_down(void **state)
{
    ll_arena_release(&arena);
    ll_buf_release(&have);
    return 0;
}

static void assert_have(const char *want)
{
    if (!ll_slice_eq(ll_buf_slice(&have), ll_slice_str(want)))
        print_error("want \"%s\"\nhave \"%.*s\"\n", want, LL_FMT(ll_buf_slice(&have)));
    assert_true(ll_slice_eq(ll_buf_slice(&have), ll_slice_str(want)));
}

static const struct {
    const char *body, *want; /* "{group}name<spec>"; NULL: refused */
} name_rows[] = {
    {"a@b.c", "{}<a@b.c>"},
    {"Ann  X. Smith <a@b.c>", "{}Ann X. Smith<a@b.c>"},
    {"\"A \\\"q\\\" <x@y>\" <a@b.c>, D <d@e.f>", "{}A \"q\" <x@y><a@b.c>{}D<d@e.f>"},
    {"a@b.c (Ann (the) First)", "{}Ann (the) First<a@b.c>"},
    {"Ann (c) <a@b.c> (d)", "{}Ann<a@b.c>"},
    {"(c) <a@b.c>", "{}c<a@b.c>"},
    {"\"\" <a@b.c>", "{}<a@b.c>"},
    {"x@y.z <a@b.c>", "{}x@y.z<a@b.c>"},
    {"Ann<@r,@s:a@b.c>", "{}Ann<a@b.c>"},
    {"The \"Gr\"oup (x): A <a@b.c>, d@e.f;, g@h.i",
     "{The Group}A<a@b.c>{The Group}<d@e.f>{}<g@h.i>"},
    {"=?utf-8?q?=C3=A4?= =?utf-8?q?b?= <a@b.c>", "{}=?utf-8?q?=C3=A4?= =?utf-8?q?b?=<a@b.c>"},
    {"\"a\r\n b\" <a@b.c>", "{}a b<a@b.c>"},
    {"Ann <a@b.c> Smith", NULL},
};

static void test_names(void **state)
{
    for (size_t i = 0; i < LL_COUNT(name_rows); i++) {
        struct ll_msg_address *a = NULL, *bare = NULL;
        struct ll_slice body = ll_slice_str(name_rows[i].body);
        size_t n = 0, n_bare = 0;
        enum ll_msg_error e = ll_msg_named_addresses(body, &arena, &a, &n);

        assert_int_equal(e == LL_MSG_OK, name_rows[i].want != NULL);
        assert_int_equal(ll_msg_addresses(body, &arena, &bare, &n_bare), e);
        assert_int_equal(n, n_bare);
        ll_buf_clear(&have);
        for (size_t k = 0; k < n; k++) {
            ll_buf_printf(&have, "{%.*s}%.*s<%.*s>", LL_FMT(a[k].group), LL_FMT(a[k].name),
                          LL_FMT(a[k].spec));
            assert_true(ll_slice_eq(a[k].spec, bare[k].spec) && bare[k].name.n == 0);
        }
        assert_have(name_rows[i].want ? name_rows[i].want : "");
    }
}

static const struct {
    const char *body, *want;
} id_rows[] = {
    {"", ""},
    {" <a@b>", "[a@b]"},
    {"<a@b> (c <d>)\r\n <e@f><g>", "[a@b][e@f][g]"},
    {"<>", ""},
    {"a@b c@d (e)", "[a@b][c@d]"},
    {"<a@b", ""},
    {"junk <a@b> junk", "[a@b]"},
    {"(a <b>", ""},
};

static void test_ids(void **state)
{
    for (size_t i = 0; i < LL_COUNT(id_rows); i++) {
        struct ll_slice *id;
        size_t n;

        assert_int_equal(ll_msg_ids(ll_slice_str(id_rows[i].body), &arena, &id, &n), LL_MSG_OK);
        ll_buf_clear(&have);
        for (size_t k = 0; k < n; k++)
            ll_buf_printf(&have, "[%.*s]", LL_FMT(id[k]));
        assert_have(id_rows[i].want);
    }
}

static void test_ids_limit(void **state)
{
    struct ll_slice *id;
    size_t n;

    for (size_t i = 0; i < LL_MSG_ADDRESSES_MAX + 1; i++)
        ll_buf_puts(&have, "<a> ");
    assert_int_equal(ll_msg_ids(ll_buf_slice(&have), &arena, &id, &n), LL_MSG_OK);
    assert_int_equal(n, LL_MSG_ADDRESSES_MAX);
}

static const struct {
    const char *body, *want;
} trace_rows[] = {
    {"", "from= ()[] by= via= with= id= for= date="},
    {"from a.b (c.d [192.0.2.1]) (TLS) by e.f (Postfix)\r\n with ESMTPS id X/1 for <g@h.i>; Tue",
     "from=a.b (c.d [192.0.2.1])[192.0.2.1] by=e.f via= with=ESMTPS id=X/1 for=g@h.i date= Tue"},
    {"from [IPv6:2001:db8::1] by e.f; d",
     "from=[IPv6:2001:db8::1] ()[2001:db8::1] by=e.f via= with= id= for= date= d"},
    {"from x ([192.0.2.1:25] helo=y) by e.f",
     "from=x ([192.0.2.1:25] helo=y)[192.0.2.1] by=e.f via= "
     "with= id= for= date="},
    {"from ([192.0.2.9]) by e.f",
     "from= ([192.0.2.9])[192.0.2.9] by=e.f via= with= id= for= date="},
    {"by e.f, with local; a; b", "from= ()[] by=e.f via= with=local id= for= date= b"},
    {"from a by b by c", "from=a ()[] by=b via= with= id= for= date="},
    {"from a (unended", "from=a ((unended)[] by= via= with= id= for= date="},
    {"from", "from= ()[] by= via= with= id= for= date="},
    {"( ) ; ;", "from= ()[] by= via= with= id= for= date="},
};

static void test_trace(void **state)
{
    for (size_t i = 0; i < LL_COUNT(trace_rows); i++) {
        struct ll_msg_trace t;

        ll_msg_trace_read(ll_slice_str(trace_rows[i].body), &t);
        ll_buf_clear(&have);
        ll_buf_printf(
            &have, "from=%.*s (%.*s)[%.*s] by=%.*s via=%.*s with=%.*s id=%.*s for=%.*s date=%.*s",
            LL_FMT(t.from), LL_FMT(t.from_comment), LL_FMT(t.from_ip), LL_FMT(t.by), LL_FMT(t.via),
            LL_FMT(t.with), LL_FMT(t.id), LL_FMT(t.recipient), LL_FMT(t.date));
        assert_have(trace_rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ids, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ids_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_trace, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
