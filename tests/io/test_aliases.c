#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/aliases.h"

#include <stdlib.h>

static struct ll_aliases *parse(struct ll_slice text, struct ll_buf *err)
{
    ll_buf_clear(err);
    return ll_aliases_parse(text, "l.test", NULL, err);
}

/* "a@x b@y": the targets of an entry, joined by blanks. */
static const char *targets(const struct ll_aliases *a, const char *name, struct ll_buf *out)
{
    struct ll_slice found;
    struct ll_cursor c;

    ll_buf_clear(out);
    if (!ll_aliases_find(a, ll_slice_str(name), &found))
        return "(none)";
    for (c = ll_cursor(found); ll_cur_left(&c) > 0;) {
        if (out->n > 0)
            ll_buf_putc(out, ' ');
        ll_buf_put_slice(out, ll_cur_str16(&c));
    }
    assert_true(ll_cur_end(&c));
    return ll_buf_str(out);
}

static void valid(void **state)
{
    static const struct {
        struct ll_slice text;
        const char *name, *targets;
    } rows[] = {
        {LL_LIT("info@a.test: bob@a.test"), "info@a.test", "bob@a.test"},
        {LL_LIT("Info@A.Test:Bob@B.Test\n"), "info@a.test", "Bob@b.test"},
        {LL_LIT("# one\r\n\r\ni@a.test: b@a.test,\r\n\tc@a.test\r\n"), "i@a.test",
         "b@a.test c@a.test"},
        {LL_LIT("i@a.test:\n  b@a.test\n  # not c\n  d@a.test,\nj@a.test: k@a.test\n"), "i@a.test",
         "(line 1)"},
        {LL_LIT("i@a.test:\n  b@a.test,\n  # not c\n  d@a.test,\nj@a.test: k@a.test\n"), "i@a.test",
         "b@a.test d@a.test"},
        {LL_LIT("@a.test: b@a.test\n"), "@a.test", "b@a.test"},
        {LL_LIT("\"a:b,c\"@a.test: \"x,y\"@a.test, z@a.test\n"), "\"a:b,c\"@a.test",
         "\"x,y\"@a.test z@a.test"},
        {LL_LIT("i@b\xc3\xbc"
                "cher.test: b@a.test"),
         "i@xn--bcher-kva.test", "b@a.test"},
        {LL_LIT("i@a.test: b@a.test\n"), "j@a.test", "(none)"},
        {LL_LIT(""), "j@a.test", "(none)"},
        {LL_LIT("i@a.test b@a.test\n"), "", "(line 1)"},
        {LL_LIT("\n\ni@: b@a.test\n"), "", "(line 3)"},
        {LL_LIT("root: ann, \\bob, carol@c.test\n"), "root@l.test",
         "ann@l.test bob@l.test carol@c.test"},
        {LL_LIT("\"a b\": \"c, d\"\n"), "\"a b\"@l.test", "\"c, d\"@l.test"},
        {LL_LIT("i: a\n  b\n"), "", "(line 1)"},
        {LL_LIT("i: |/bin/sh\n"), "", "(line 1)"},
        {LL_LIT("i: \"|/bin/sh -c x, y\"\n"), "", "(line 1)"},
        {LL_LIT("i: \"/etc/passwd\"\n"), "", "(line 1)"},
        {LL_LIT("i: ann, :include:/etc/list\n"), "", "(line 1)"},
        {LL_LIT("i: ann\n@l.test: ann\nI@l.test: b\n"), "", "(line 3)"},
        {LL_LIT("i@a.test: b@a.test\ni@A.TEST: c@a.test\n"), "", "(line 2)"},
        {LL_LIT("i@a.test: |/bin/sh\n"), "", "(line 1)"},
        {LL_LIT("i@a.test: /etc/passwd\n"), "", "(line 1)"},
        {LL_LIT("i@a.test:\n"), "", "(line 1)"},
        {LL_LIT("# x\n  i@a.test: b@a.test\n"), "", "(line 2)"},
        {LL_LIT("@: b@a.test\n"), "", "(line 1)"},
        {LL_LIT("i@[192.0.2.1]: b@a.test\n"), "", "(line 1)"},
    };
    struct ll_buf err = LL_BUF(65536), out = LL_BUF(65536);

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_aliases *a = parse(rows[i].text, &err);
        char line[32] = "";

        if (!a) {
            const char *e = ll_buf_str(&err);

            assert_non_null(e);
            strncat(line, "(", 2);
            strncat(line, e, strcspn(e, ":"));
            strncat(line, ")", 2);
        }
        assert_string_equal(a ? targets(a, rows[i].name, &out) : line, rows[i].targets);
        ll_aliases_free(a);
    }
    ll_buf_release(&err);
    ll_buf_release(&out);
}

static void many(void **state)
{
    struct ll_buf text = LL_BUF(1 << 20), err = LL_BUF(65536), out = LL_BUF(64);

    for (int i = 0; i < 5000; i++)
        ll_buf_printf(&text, "name%d@a.test: target%d@a.test\n", i, i);
    struct ll_aliases *a = parse(ll_buf_slice(&text), &err);
    assert_non_null(a);
    assert_int_equal(ll_aliases_count(a), 5000);
    assert_string_equal(targets(a, "name0@a.test", &out), "target0@a.test");
    assert_string_equal(targets(a, "name4999@a.test", &out), "target4999@a.test");
    assert_string_equal(targets(a, "name5000@a.test", &out), "(none)");
    ll_aliases_free(a);

    for (int n = LL_ALIAS_TARGETS_MAX; n <= LL_ALIAS_TARGETS_MAX + 1; n++) {
        ll_buf_clear(&text);
        ll_buf_puts(&text, "all@a.test:");
        for (int i = 0; i < n; i++)
            ll_buf_printf(&text, "\n t%d@a.test,", i);
        a = parse(ll_buf_slice(&text), &err);
        assert_int_equal(a != NULL, n == LL_ALIAS_TARGETS_MAX);
        ll_aliases_free(a);
    }
    ll_buf_clear(&text);
    for (int i = 0; i < 1000; i++)
        ll_buf_puts(&text, "wrong\n");
    assert_null(parse(ll_buf_slice(&text), &err));
    assert_true(err.n < 4096);
    ll_buf_release(&text);
    ll_buf_release(&err);
    ll_buf_release(&out);
}

static void edit(void **state)
{
    struct ll_slice text =
        LL_LIT("# head\na@x.test: b@x.test,\n  c@x.test\n# d\nd@x.test: e@x.test");
    struct ll_buf out = LL_BUF(4096);

    assert_true(ll_aliases_text_add(text, "l.test", LL_LIT("n@x.test"), LL_LIT("m@x.test"), &out));
    assert_string_equal(ll_buf_str(&out), "# head\na@x.test: b@x.test,\n  c@x.test\n# d\n"
                                          "d@x.test: e@x.test\nn@x.test: m@x.test\n");
    ll_buf_clear(&out);
    assert_false(ll_aliases_text_add(text, "l.test", LL_LIT("a@x.test"), LL_LIT("m@x.test"), &out));
    assert_true(ll_aliases_text_del(text, "l.test", LL_LIT("a@x.test"), &out));
    assert_string_equal(ll_buf_str(&out), "# head\n# d\nd@x.test: e@x.test");
    ll_buf_clear(&out);
    assert_true(ll_aliases_text_del(text, "l.test", LL_LIT("d@x.test"), &out));
    assert_string_equal(ll_buf_str(&out), "# head\na@x.test: b@x.test,\n  c@x.test\n# d\n");
    assert_false(ll_aliases_text_del(text, "l.test", LL_LIT("c@x.test"), &out));
    ll_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(valid), cmocka_unit_test(many),
                                       cmocka_unit_test(edit)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
