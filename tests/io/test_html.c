/* HTML as text: what is shown, what is left out, what is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "io/html.h"

static const struct {
    const char *page, *text;
} text_rows[] = {
    {"", ""},
    {"hi", "hi\n"},
    {"<p>one<p>two", "one\n\ntwo\n"},
    {"a<br>b<br><br>c", "a\nb\n\nc\n"},
    {"<div>a</div><div>b</div>", "a\nb\n"},
    {"  a \n\t b  ", "a b\n"},
    {"a<b>b</b> c", "ab c\n"},
    {"&lt;b&gt; &amp; &eacute;", "<b> & \xc3\xa9\n"},
    {"<pre>a\n  b\n</pre>c", "a\n  b\n\nc\n"},
    {"<ul><li>one<li>two</ul>x", "- one\n- two\n\nx\n"},
    {"<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a  b\nc\n"},
    {"<blockquote>q<br>r<blockquote>s</blockquote></blockquote>t", "> q\n> r\n> \n> > s\n\nt\n"},
    {"a<hr>b", "a\n\n----\n\nb\n"},
    {"<title>t</title><body>b", "b\n"},
    /* links have their real target */
    {"<a href=\"https://example.org/x\">here</a>.", "here [https://example.org/x].\n"},
    {"<a href='https://example.org/'>https://example.org/</a>", "https://example.org/\n"},
    {"<a href='mailto:a@example.org'>a@example.org</a>", "a@example.org\n"},
    {"<a href='#top'>up</a>", "up\n"},
    {"<a href='https://evil.test/'>https://bank.test/</a>",
     "https://bank.test/ [NOT what it says, but https://evil.test/]\n"},
    {"<a href='https://evil.test/'>www.bank.test</a>",
     "www.bank.test [NOT what it says, but https://evil.test/]\n"},
    {"<a href='https://bank.test@evil.test/'>bank.test</a>",
     "bank.test [NOT what it says, but https://bank.test@evil.test/]\n"},
    {"<a href='https://www.example.org/a'>example.org</a>",
     "example.org [https://www.example.org/a]\n"},
    {"<a href='javascript:alert(1)'>x</a>", "x [a link that is no address]\n"},
    {"<a href='data:text/html,x'>x</a>", "x [a link that is no address]\n"},
    {"<a href=' https://evil.test/'><img src=cid:x alt=\"bank.test\"></a>",
     "[image: bank.test] [https://evil.test/]\n"},
    /* nothing runs, nothing loads */
    {"<script>document.write('x')</script>a", "a\n"},
    {"<img src=\"https://t.test/p.gif\">a", "a\n"},
    {"<img src=\"https://t.test/p.gif\" alt=\"Logo of us\">", "[image: Logo of us]\n"},
    {"<iframe src=https://x.test>i</iframe><object data=https://x.test>o</object>a", "a\n"},
    {"<form action=https://x.test>Name <input name=n> <button>Go</button></form>", "Name Go\n"},
    {"<svg><text>s</text></svg><noscript>n</noscript><template>t</template>a", "a\n"},
    {"<meta charset=utf-16><meta http-equiv=refresh content='0;url=http://x'>\xc3\xa9",
     "\xc3\xa9\n"},
    /* what is hidden is not shown */
    {"<p style='display:none'>no</p>a", "a\n"},
    {"<p style='DISPLAY : NONE !important'>no</p>a", "a\n"},
    {"<p style='d\\69splay:none'>no</p>a", "a\n"},
    {"<p style='display:/**/none'>no</p>a", "a\n"},
    {"<p hidden>no</p>a", "a\n"},
    {"<span style='visibility:hidden'>no<b>no</b></span>a", "a\n"},
    {"<span style='font-size:0'>no</span>a", "a\n"},
    {"<span style='font-size:1px'>no</span>a", "a\n"},
    {"<span style='font-size:12px'>yes</span>", "yes\n"},
    {"<span style='font-size:0.9em'>yes</span>", "yes\n"},
    {"<span style='opacity:0.01'>no</span>a", "a\n"},
    {"<span style='opacity:0.9'>yes</span>", "yes\n"},
    {"<span style='color:#ffffff'>no</span>a", "a\n"},
    {"<span style='color:#fefefe'>no</span>a", "a\n"},
    {"<font color=white>no</font>a", "a\n"},
    {"<td bgcolor=black><font color=white>yes</font></td>", "yes\n"},
    {"<div style='background:#000'>no<span style='color:rgb(255,255,255)'>yes</span></div>",
     "yes\n"},
    {"<div style='max-height:0'>no</div>a", "a\n"},
    {"<div style='height:0;overflow:hidden'>no</div>a", "a\n"},
    {"<div style='width:100%;overflow:hidden'>yes</div>", "yes\n"},
    {"<div style='position:absolute;left:-9999px'>no</div>a", "a\n"},
    {"<div style='text-indent:-9999px'>no</div>a", "a\n"},
    {"<div style='mso-hide:all'>no</div>a", "a\n"},
    {"<style>.x { color: red; display: none }</style><p class='y x'>no</p><p class=y>a", "a\n"},
    {"<p class=x>no</p><style>td.x, #i { visibility: hidden }</style><p id=i>no</p>a", "a\n"},
    {"<style>@media (max-width: 1px) { .x { display: none } }</style><p class=x>yes", "yes\n"},
    {"<style><!-- .x{display:none} --></style><p class=x>no</p>a", "a\n"},
};

static void texts(void **state)
{
    for (size_t i = 0; i < LL_COUNT(text_rows); i++) {
        struct ll_buf out = LL_BUF(1 << 20);
        struct ll_html_facts f;

        assert_true(ll_html_text(ll_slice_str(text_rows[i].page), &out, &f));
        if (!ll_slice_eq(ll_buf_slice(&out), ll_slice_str(text_rows[i].text)))
            print_error("%s\nwant \"%s\"\nhave \"%.*s\"\n", text_rows[i].page, text_rows[i].text,
                        LL_FMT(ll_buf_slice(&out)));
        assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(text_rows[i].text)));
        ll_buf_release(&out);
    }
}

static struct ll_html_facts facts_of(const char *page)
{
    struct ll_buf out = LL_BUF(1 << 20);
    struct ll_html_facts f;

    assert_true(ll_html_text(ll_slice_str(page), &out, &f));
    ll_buf_release(&out);
    return f;
}

static void facts(void **state)
{
    assert_int_equal(facts_of("<img src=https://a.test/x><img src=cid:y>").remote, 1);
    assert_int_equal(facts_of("<body background='//a.test/x'>a").remote, 1);
    assert_int_equal(facts_of("<p style='background:url(http://a.test/x)'>a").remote, 1);
    assert_int_equal(facts_of("<link rel=stylesheet href=http://a.test/x>a").remote, 1);
    assert_int_equal(facts_of("<a href=https://a.test>https://b.test</a>").lies, 1);
    assert_int_equal(facts_of("<a href=https://a.test>a.test</a>").lies, 0);
    assert_int_equal(facts_of("<form></form>").forms, 1);
    assert_int_equal(facts_of("<p onclick=x()>a<script>y</script>").scripts, 2);
    assert_int_equal(facts_of("<p style='display:none'>abc d").hidden, 4);
}

static void limits_hold(void **state)
{
    struct ll_buf page = LL_BUF(LL_HTML_IN_MAX + 1), out = LL_BUF(1000);
    struct ll_html_facts f;

    for (int i = 0; i < 100000; i++)
        ll_buf_puts(&page, "<div><b>");
    ll_buf_puts(&page, "deep");
    assert_true(ll_html_text(ll_buf_slice(&page), &out, &f)); /* no deep stack, no long time */
    ll_buf_clear(&page);
    ll_buf_clear(&out);
    for (int i = 0; i < 1000; i++)
        ll_buf_puts(&page, "<p>more than fits");
    assert_true(ll_html_text(ll_buf_slice(&page), &out, &f));
    assert_true(f.cut && out.n <= 1000);
    ll_buf_clear(&out);
    assert_false(ll_html_text(LL_LIT("\xff"), &out, &f)); /* not UTF-8 */
    ll_buf_release(&page);
    ll_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(facts),
        cmocka_unit_test(limits_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
