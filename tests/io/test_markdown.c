/* Markdown as HTML that fetches nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "io/markdown.h"

#define HEAD "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head><body>\n"
#define FOOT "</body></html>\n"

static const struct {
    const char *markdown, *html;
} rows[] = {
    {"", ""},
    {"Hello *you* **there** ~~x~~ `<c>`\n",
     "<p>Hello <em>you</em> <strong>there</strong> <del>x</del> "
     "<code>&lt;c&gt;</code></p>\n"},
    {"# A & B\n", "<h1>A &amp; B</h1>\n"},
    {"- [x] done\n- [ ] not\n", "<ul>\n<li>☑ done</li>\n<li>☐ not</li>\n</ul>\n"},
    {"3. a\n4. b\n", "<ol start=\"3\">\n<li>a</li>\n<li>b</li>\n</ol>\n"},
    {"> q\n\n---\n", "<blockquote>\n<p>q</p>\n</blockquote>\n<hr>\n"},
    {"```\n<x>\n```\n", "<pre><code>&lt;x&gt;\n</code></pre>\n"},
    {"|a|b|\n|---|---|\n|c|d|\n",
     "<table>\n<thead>\n<tr><th>a</th><th>b</th></tr>\n</thead>\n<tbody>\n"
     "<tr><td>c</td><td>d</td></tr>\n</tbody>\n</table>\n"},
    {"[x](https://a.b/?c&d \"t\")\n", "<p><a href=\"https://a.b/?c&amp;d\">x</a></p>\n"},
    {"me@example.org\n", "<p><a href=\"mailto:me@example.org\">me@example.org</a></p>\n"},
    /* raw HTML is text; images are links; other schemes are text */
    {"<script>x</script>\n", "<p>&lt;script&gt;x&lt;/script&gt;</p>\n"},
    {"a <img src=http://a.b/c> b\n", "<p>a &lt;img src=http://a.b/c&gt; b</p>\n"},
    {"![alt](http://a.b/c.png)\n", "<p><a href=\"http://a.b/c.png\">alt</a></p>\n"},
    {"[![alt](http://a.b/c.png)](http://d.e)\n", "<p><a href=\"http://d.e\">alt</a></p>\n"},
    {"[x](javascript:alert(1))\n", "<p>x</p>\n"},
    {"[x](data:text/html,y) [y](cid:z)\n", "<p>x y</p>\n"},
    {"[x](&#106;avascript:y)\n", "<p>x</p>\n"},
    {"[x](http://a.b/\"onclick=\"y)\n",
     "<p><a href=\"http://a.b/&quot;onclick=&quot;y\">x</a></p>\n"},
    {"a &lt;b&gt; &amp; &#60;\n", "<p>a &lt;b&gt; &amp; &#60;</p>\n"},
};

static void test_rows(void **state)
{
    struct ll_buf out = LL_BUF(1u << 16), want = LL_BUF(1u << 16);

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        ll_buf_clear(&out);
        ll_buf_clear(&want);
        ll_buf_printf(&want, "%s%s%s", HEAD, rows[i].html, FOOT);
        assert_true(ll_markdown_to_html(ll_slice_str(rows[i].markdown), &out));
        assert_string_equal(ll_buf_str(&out), ll_buf_str(&want));
    }
    ll_buf_release(&out);
    ll_buf_release(&want);
}

static void test_limits(void **state)
{
    static char big[LL_MARKDOWN_MAX + 1];
    struct ll_buf out = LL_BUF(8u << 20);

    memset(big, '[', sizeof(big));
    assert_false(ll_markdown_to_html(ll_slice(big, sizeof(big)), &out));
    assert_true(ll_markdown_to_html(ll_slice(big, sizeof(big) - 1), &out));
    assert_false(ll_markdown_to_html(LL_LIT("\xff"), &out));
    out.max = 50;
    ll_buf_clear(&out);
    assert_false(ll_markdown_to_html(LL_LIT("some text"), &out));
    ll_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests_name("markdown", tests, NULL, NULL);
}
