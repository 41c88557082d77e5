/* Protected header fields written and read (RFC 9788), and what attackers would make of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/compose.h"
#include "letterlock/msg.h"
#include "letterlock/protect.h"

static struct ll_arena arena;
static struct ll_buf inner, outer;

static int set_up(void **state)
{
    ll_arena_init(&arena, 64u << 20);
    ll_buf_init(&inner, 8u << 20);
    ll_buf_init(&outer, 8u << 20);
    return 0;
}

static int tear_down(void **state)
{
    ll_arena_release(&arena);
    ll_buf_release(&inner);
    ll_buf_release(&outer);
    return 0;
}

static void assert_text(struct ll_slice have, const char *want)
{
    if (!ll_slice_eq(have, ll_slice_str(want)))
        print_error("want \"%s\"\nhave \"%.*s\"\n", want, LL_FMT(have));
    assert_true(ll_slice_eq(have, ll_slice_str(want)));
}

/* ---- writing
 * ----------------------------------------------------------------------------------------
 */

#define FIELDS                                                                                     \
    "From: Ann <a@b.c>\r\nTo: Bob <d@e.f>\r\nSubject: Secret\r\nDate: Tue, 24 Nov 2026 03:07:34 "  \
    "+0100\r\nKeywords: k\r\n"
#define TEXT                                                                                       \
    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\nhi\r\n"

static const struct {
    const char *fields, *entity;
    bool cipher;
    enum ll_protect_policy policy;
    bool legacy;
    const char *hide, *inner, *outer;
} write_rows[] = {
    {FIELDS, TEXT, false, LL_PROTECT_POLICY_BASELINE, false, NULL,
     "Content-Type: text/plain; charset=utf-8;\r\n hp=\"clear\"\r\nContent-Transfer-Encoding: "
     "7bit\r\n" FIELDS "\r\nhi\r\n",
     FIELDS "MIME-Version: 1.0\r\n"},
    {FIELDS, TEXT, true, LL_PROTECT_POLICY_BASELINE, false, NULL,
     "Content-Type: text/plain; charset=utf-8;\r\n hp=\"cipher\"; "
     "protected-headers=\"v1\"\r\nContent-Transfer-Encoding: "
     "7bit\r\n" FIELDS "HP-Outer: From: Ann <a@b.c>\r\nHP-Outer: To: Bob <d@e.f>\r\n"
     "HP-Outer: Subject: [...]\r\nHP-Outer: Date: Tue, 24 Nov 2026 03:07:34 +0100\r\n\r\nhi\r\n",
     "From: Ann <a@b.c>\r\nTo: Bob <d@e.f>\r\nSubject: [...]\r\nDate: Tue, 24 Nov 2026 03:07:34 "
     "+0100\r\nMIME-Version: 1.0\r\n"},
    {FIELDS, TEXT, true, LL_PROTECT_POLICY_SHY, false, NULL,
     "Content-Type: text/plain; charset=utf-8;\r\n hp=\"cipher\"; "
     "protected-headers=\"v1\"\r\nContent-Transfer-Encoding: "
     "7bit\r\n" FIELDS "HP-Outer: From: a@b.c\r\nHP-Outer: To: d@e.f\r\n"
     "HP-Outer: Subject: [...]\r\nHP-Outer: Date: Tue, 24 Nov 2026 02:07:34 +0000\r\n\r\nhi\r\n",
     "From: a@b.c\r\nTo: d@e.f\r\nSubject: [...]\r\nDate: Tue, 24 Nov 2026 02:07:34 "
     "+0000\r\nMIME-Version: 1.0\r\n"},
    {FIELDS, TEXT, true, LL_PROTECT_POLICY_NONE, false, NULL,
     "Content-Type: text/plain; charset=utf-8;\r\n hp=\"cipher\"; "
     "protected-headers=\"v1\"\r\nContent-Transfer-Encoding: "
     "7bit\r\n" FIELDS "HP-Outer: From: Ann <a@b.c>\r\nHP-Outer: To: Bob <d@e.f>\r\n"
     "HP-Outer: Subject: Secret\r\nHP-Outer: Date: Tue, 24 Nov 2026 03:07:34 +0100\r\nHP-Outer: "
     "Keywords: k\r\n\r\nhi\r\n",
     FIELDS "MIME-Version: 1.0\r\n"},
    /* an answer hides what was hidden in what it answers; From is never left out */
    {"From: Ann <a@b.c>\r\nIn-Reply-To: <x@y>\r\n", TEXT, true, LL_PROTECT_POLICY_NONE, false,
     "In-Reply-To",
     "Content-Type: text/plain; charset=utf-8;\r\n hp=\"cipher\"; "
     "protected-headers=\"v1\"\r\nContent-Transfer-Encoding: "
     "7bit\r\nFrom: Ann <a@b.c>\r\nIn-Reply-To: <x@y>\r\nHP-Outer: From: Ann <a@b.c>\r\n\r\nhi\r\n",
     "From: Ann <a@b.c>\r\nMIME-Version: 1.0\r\n"},
    {"From: Ann <a@b.c>\r\nx-Bcc: <x@y>\r\nX: y\r\n", TEXT, true, LL_PROTECT_POLICY_NONE, false,
     "X-",
     "Content-Type: text/plain; charset=utf-8;\r\n hp=\"cipher\"; "
     "protected-headers=\"v1\"\r\nContent-Transfer-Encoding: "
     "7bit\r\nFrom: Ann <a@b.c>\r\nx-Bcc: <x@y>\r\nX: y\r\nHP-Outer: From: Ann "
     "<a@b.c>\r\nHP-Outer: X: y\r\n\r\nhi\r\n",
     "From: Ann <a@b.c>\r\nX: y\r\nMIME-Version: 1.0\r\n"},
    {"From: Ann <a@b.c>\r\n", TEXT, true, LL_PROTECT_POLICY_NONE, false, "from",
     "Content-Type: text/plain; charset=utf-8;\r\n hp=\"cipher\"; "
     "protected-headers=\"v1\"\r\nContent-Transfer-Encoding: "
     "7bit\r\nFrom: Ann <a@b.c>\r\nHP-Outer: From: a@b.c\r\n\r\nhi\r\n",
     "From: a@b.c\r\nMIME-Version: 1.0\r\n"},
    /* old marks and structural fields go; a long field is folded behind the colon */
    {"MIME-Version: 1.0\r\nHP-Outer: Subject: x\r\nContent-Type: a/b\r\nReferences: "
     "<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b>\r\n",
     "Content-Type: text/plain; hp=cipher; protected-headers=v1; hp-legacy-display=1\r\n\r\nhi",
     true, LL_PROTECT_POLICY_BASELINE, false, NULL,
     "Content-Type: text/plain;\r\n hp=\"cipher\"; protected-headers=\"v1\"\r\nReferences: "
     "<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b>\r\nHP-Outer:\r\n "
     "References: "
     "<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b>\r\n\r\nhi",
     "References: "
     "<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b>\r\nMIME-Version: "
     "1.0\r\n"},
    /* legacy display */
    {"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n", TEXT, true, LL_PROTECT_POLICY_BASELINE, true, NULL,
     "Content-Type: text/plain; charset=utf-8;\r\n hp=\"cipher\"; protected-headers=\"v1\"; "
     "hp-legacy-display=\"1\"\r\nSubject: "
     "=?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nHP-Outer: Subject: [...]\r\nContent-Transfer-Encoding: "
     "quoted-printable\r\n\r\nSubject: Gr=C3=BC=C3=9Fe\r\n\r\nhi\r\n",
     "Subject: [...]\r\nMIME-Version: 1.0\r\n"},
    {"Subject: a<b\r\n",
     "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: multipart/alternative; "
     "boundary=b\r\n\r\n--b\r\n\r\nplain\r\n--b\r\nContent-Type: text/html; "
     "charset=us-ascii\r\nContent-Id: "
     "<x>\r\n\r\n<body>html</body>\r\n--b--\r\n--m\r\nContent-Type: "
     "text/plain\r\n\r\nfile\r\n--m--\r\n",
     true, LL_PROTECT_POLICY_BASELINE, true, NULL,
     "Content-Type: multipart/mixed; boundary=m;\r\n hp=\"cipher\"; "
     "protected-headers=\"v1\"\r\nSubject: a<b\r\nHP-Outer: "
     "Subject: [...]\r\n\r\n--m\r\nContent-Type: multipart/alternative; "
     "boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; hp-legacy-display=\"1\"\r\n"
     "Content-Transfer-Encoding: 7bit\r\n\r\nSubject: a<b\r\n\r\nplain\r\n--b\r\nContent-Type: "
     "text/html; charset=us-ascii; hp-legacy-display=\"1\"\r\nContent-Id: "
     "<x>\r\nContent-Transfer-Encoding: 7bit\r\n\r\n<body><div "
     "class=\"header-protection-legacy-display\"><pre>\r\nSubject: "
     "a&lt;b\r\n</pre></div>\r\nhtml</body>\r\n--b--\r\n--m\r\nContent-Type: "
     "text/plain\r\n\r\nfile\r\n--m--\r\n",
     "Subject: [...]\r\nMIME-Version: 1.0\r\n"},
};

static void test_write(void **state)
{
    for (size_t i = 0; i < LL_COUNT(write_rows); i++) {
        struct ll_slice hide = ll_slice_str(write_rows[i].hide);
        struct ll_protect p = {.fields = ll_slice_str(write_rows[i].fields),
                               .entity = ll_slice_str(write_rows[i].entity),
                               .cipher = write_rows[i].cipher,
                               .policy = write_rows[i].policy,
                               .hide = &hide,
                               .n_hide = hide.n > 0,
                               .legacy_display = write_rows[i].legacy};

        ll_buf_clear(&inner);
        ll_buf_clear(&outer);
        assert_int_equal(ll_protect_write(&p, &inner, &outer), LL_PROTECT_OK);
        assert_text(ll_buf_slice(&inner), write_rows[i].inner);
        assert_text(ll_buf_slice(&outer), write_rows[i].outer);
    }
}

static void test_write_refused(void **state)
{
    struct ll_protect p = {.fields = LL_LIT("no field\r\n"), .entity = LL_LIT(TEXT)};
    struct ll_buf many = LL_BUF(1u << 20);

    assert_int_equal(ll_protect_write(&p, &inner, &outer), LL_PROTECT_FIELD);
    for (int i = 0; i < LL_PROTECT_FIELDS_MAX; i++)
        ll_buf_puts(&many, "A: b\r\n");
    p.fields = ll_buf_slice(&many);
    assert_int_equal(ll_protect_write(&p, &inner, &outer), LL_PROTECT_OK);
    ll_buf_puts(&many, "A: b\r\n");
    p.fields = ll_buf_slice(&many);
    assert_int_equal(ll_protect_write(&p, &inner, &outer), LL_PROTECT_FIELDS);
    p.fields = LL_LIT("A: b\r\n");
    inner.max = inner.n + 10;
    assert_int_equal(ll_protect_write(&p, &inner, &outer), LL_PROTECT_RESOURCE);
    ll_buf_release(&many);
}

/* ---- reading
 * ----------------------------------------------------------------------------------------
 */

#define CT(hp) "Content-Type: text/plain; " hp "\r\n"
enum { E = 1, S = 2 }; /* encrypted, signed */

/* "subject=state" for each, in the order of the list; "!" behind: mismatch; "-": not inside. */
static void describe(const struct ll_protected *r, struct ll_buf *to)
{
    ll_buf_puts(to, ll_protect_kind_word(r->kind));
    for (size_t i = 0; i < r->n; i++) {
        const struct ll_protect_field *f = &r->field[i];

        ll_buf_putc(to, ' ');
        ll_buf_put_slice(to, f->name);
        ll_buf_printf(to, "=%s%s%s", ll_protect_state_word(f->state), f->mismatch ? "!" : "",
                      f->inner.p ? "" : "-");
    }
    if (r->flags)
        ll_buf_printf(to, " %02x", r->flags);
}

static const struct {
    const char *outer, *payload;
    unsigned how;
    const char *want;
} read_rows[] = {
    /* nothing said: nothing inside counts */
    {"From: a@b.c\r\nSubject: o\r\n", "Content-Type: text/plain\r\nSubject: i\r\n\r\nx", S,
     "none From=unprotected- Subject=unprotected-"},
    {"", "", 0, "none"},
    /* as the author made it */
    {"From: a@b.c\r\nSubject: s\r\n", CT("hp=clear") "From: a@b.c\r\nSubject: s\r\n\r\n", S,
     "clear From=signed-only Subject=signed-only"},
    {"From: a@b.c\r\nSubject: [...]\r\n",
     CT("hp=\"cipher\"") "From: a@b.c\r\nSubject: s\r\nHP-Outer: From: a@b.c\r\nHP-Outer: Subject: "
                         "[...]\r\n\r\n",
     E | S, "cipher From=signed-only Subject=signed-and-encrypted!"},
    {"From: a@b.c\r\nSubject: [...]\r\n",
     CT("hp=\"cipher\"") "From: a@b.c\r\nSubject: s\r\nHP-Outer: From: a@b.c\r\nHP-Outer: Subject: "
                         "[...]\r\n\r\n",
     E, "cipher From=unprotected Subject=encrypted-only!"},
    /* no valid signature: hp="clear" protects nothing */
    {"From: a@b.c\r\n", CT("hp=clear") "From: a@b.c\r\n\r\n", 0, "clear From=unprotected"},
    /* folds on the way change nothing */
    {"From: a@b.c\r\nSubject: one\r\n  two\r\n",
     CT("hp=clear") "From: a@b.c\r\nSubject:\r\n one two\r\n\r\n", S,
     "clear From=signed-only Subject=signed-only"},
    {"From: a@b.c\r\nSubject: [...]\r\n",
     CT("hp=cipher") "From: a@b.c\r\nSubject: s\r\nHP-Outer:\r\n From: \r\n a@b.c\r\nhp-outer: "
                     "subject: [...]\r\n\r\n",
     E | S, "cipher From=signed-only Subject=signed-and-encrypted!"},
    /* fields of servers are not the author's; what was put in outside is not either */
    {"Received: x\r\nFrom: a@b.c\r\nTo: evil@x.y\r\n", CT("hp=clear") "From: a@b.c\r\n\r\n", S,
     "clear From=signed-only Received=unprotected- To=unprotected-"},
    /* From inside and outside differ: both signed and not */
    {"From: boss@evil.x\r\n", CT("hp=clear") "From: boss@good.x\r\n\r\n", S,
     "clear From=signed-only! 40"},
    {"From: evil <x@evil.x>\r\n",
     CT("hp=cipher") "From: boss@good.x\r\nHP-Outer: From: "
                     "x@evil.x\r\n\r\n",
     E, "cipher From=encrypted-only! c0"},
    {"", CT("hp=clear") "From: a@b.c\r\n\r\n", S, "clear From=signed-only 40"},
    /* a name alone, the domain's case and A-labels make no other mailbox */
    {"From: \"x\" <a@B.c>\r\n", CT("hp=clear") "From: Ann <a@b.C>\r\n\r\n", S,
     "clear From=signed-only!"},
    {"From: <a@xn--nxasmq6b.x>\r\n", CT("hp=clear") "From: Ann <a@xn--nxasmq6b.X>\r\n\r\n", S,
     "clear From=signed-only!"},
    {"From: A@b.c\r\n", CT("hp=clear") "From: a@b.c\r\n\r\n", S, "clear From=signed-only! 40"},
    /* two inside, two outside, none inside */
    {"From: a@b.c\r\n", CT("hp=clear") "From: a@b.c\r\nFrom: d@e.f\r\n\r\n", S,
     "clear From=signed-only From=signed-only 20"},
    {"From: a@b.c\r\nFrom: d@e.f\r\n", CT("hp=clear") "From: d@e.f\r\n\r\n", S,
     "clear From=signed-only! From=unprotected- 40"},
    {"From: a@b.c\r\n", CT("hp=clear") "Subject: x\r\n\r\n", S,
     "clear Subject=signed-only From=unprotected- 20"},
    /* hp="cipher" in what came in the open: opened and passed on, or lifted out */
    {"From: a@b.c\r\nSubject: s\r\n",
     CT("hp=cipher") "From: a@b.c\r\nSubject: s\r\nHP-Outer: From: a@b.c\r\nHP-Outer: Subject: "
                     "[...]\r\n\r\n",
     S, "cipher From=signed-only Subject=signed-only 81"},
    /* hp="clear" under encryption: nothing was secret */
    {"From: a@b.c\r\nSubject: [...]\r\n", CT("hp=clear") "From: a@b.c\r\nSubject: s\r\n\r\n", E | S,
     "clear From=signed-only Subject=signed-only! 02"},
    /* without HP-Outer all counts as secret: the answer hides too much rather than too little */
    {"From: a@b.c\r\nSubject: s\r\n", CT("hp=cipher") "From: a@b.c\r\nSubject: s\r\n\r\n", E | S,
     "cipher From=signed-and-encrypted Subject=signed-and-encrypted 04"},
    /* a guess written outside makes nothing public */
    {"From: a@b.c\r\nSubject: s\r\n",
     CT("hp=cipher") "From: a@b.c\r\nSubject: s\r\nHP-Outer: From: a@b.c\r\nHP-Outer: Subject: "
                     "[...]\r\n\r\n",
     E | S, "cipher From=signed-only Subject=signed-and-encrypted 80"},
    /* HP-Outer twice, of a Content- field, without a name, in hp="clear", outside */
    {"From: a@b.c\r\nSubject: [...]\r\n",
     CT("hp=cipher") "From: a@b.c\r\nSubject: s\r\nHP-Outer: Subject: [...]\r\nHP-Outer: Subject: "
                     "s\r\nHP-Outer: From: a@b.c\r\n\r\n",
     E | S, "cipher From=signed-only Subject=signed-only! 88"},
    {"From: a@b.c\r\n", CT("hp=cipher") "From: a@b.c\r\nHP-Outer: Content-Type: x\r\n\r\n", E,
     "cipher From=encrypted-only 88"},
    {"From: a@b.c\r\n", CT("hp=cipher") "From: a@b.c\r\nHP-Outer: junk\r\n\r\n", E,
     "cipher From=encrypted-only 88"},
    {"From: a@b.c\r\n", CT("hp=clear") "From: a@b.c\r\nHP-Outer: From: a@b.c\r\n\r\n", S,
     "clear From=signed-only 08"},
    {"From: a@b.c\r\nHP-Outer: Subject: s\r\n",
     CT("hp=cipher") "From: a@b.c\r\nSubject: s\r\nHP-Outer: From: a@b.c\r\n\r\n", E,
     "cipher From=unprotected Subject=encrypted-only"},
    /* a letter within that has marks of its own: the root alone counts */
    {"From: a@b.c\r\nSubject: o\r\n",
     "Content-Type: message/rfc822\r\n\r\n" CT("hp=cipher") "From: x@y.z\r\nSubject: i\r\n\r\n",
     E | S, "none From=unprotected- Subject=unprotected-"},
    {"From: a@b.c\r\n", CT("hp=nonsense") "From: x@y.z\r\n\r\n", S, "none From=unprotected- 10"},
    /* two Content-Type fields: the first counts; two hp: the first */
    {"From: a@b.c\r\n", CT("x=y") CT("hp=clear") "From: x@y.z\r\n\r\n", S,
     "none From=unprotected-"},
    {"From: a@b.c\r\n", CT("hp=clear; hp=cipher") "From: a@b.c\r\n\r\n", S,
     "clear From=signed-only"},
    /* older programs */
    {"From: a@b.c\r\nSubject: ...\r\n",
     CT("protected-headers=\"v1\"") "Subject: s\r\nFrom: a@b.c\r\n\r\n", E | S,
     "v1 Subject=signed-and-encrypted! From=signed-only"},
    {"From: a@b.c\r\nSubject: ...\r\n", CT("protected-headers=v1") "Subject: s\r\n\r\n", E,
     "v1 Subject=encrypted-only! From=unprotected-"},
    {"From: a@b.c\r\n", CT("protected-headers=v2") "From: a@b.c\r\n\r\n", S,
     "none From=unprotected-"},
    {"From: a@b.c\r\n", CT("protected-headers=v1; hp=clear") "From: a@b.c\r\n\r\n", S,
     "clear From=signed-only"},
    {"From: a@b.c\r\n", CT("protected-headers=v1") "From: a@b.c\r\nFrom: d@e.f\r\n\r\n", S,
     "v1 From=signed-only From=signed-only 20"},
    /* lines that are no fields are passed over */
    {"junk\r\nFrom: a@b.c\r\n", CT("hp=clear") "junk\r\nFrom: a@b.c\r\n\r\n", S,
     "clear From=signed-only"},
};

static void test_read(void **state)
{
    for (size_t i = 0; i < LL_COUNT(read_rows); i++) {
        struct ll_buf have = LL_BUF(4096);
        struct ll_protected r;

        assert_int_equal(ll_protect_read(ll_slice_str(read_rows[i].outer),
                                         ll_slice_str(read_rows[i].payload), read_rows[i].how & E,
                                         read_rows[i].how & S, &arena, &r),
                         LL_PROTECT_OK);
        describe(&r, &have);
        if (!ll_slice_eq(ll_buf_slice(&have), ll_slice_str(read_rows[i].want)))
            print_error("row %zu\n", i);
        assert_text(ll_buf_slice(&have), read_rows[i].want);
        ll_buf_release(&have);
    }
}

static const struct {
    const char *outer, *payload;
    bool bound;
    const char *from;
    enum ll_protect_state state;
} from_rows[] = {
    {"From: a@b.c\r\n", CT("hp=clear") "From: Ann <a@b.c>\r\n\r\n", false, " Ann <a@b.c>",
     LL_PROTECT_STATE_SIGNED},
    {"From: x@evil.x\r\n", CT("hp=clear") "From: a@b.c\r\n\r\n", false, " x@evil.x",
     LL_PROTECT_STATE_UNPROTECTED},
    {"From: x@evil.x\r\n", CT("hp=clear") "From: a@b.c\r\n\r\n", true, " a@b.c",
     LL_PROTECT_STATE_SIGNED},
    {"From: x@evil.x\r\n", CT("hp=clear") "From: a@b.c\r\nFrom: d@e.f\r\n\r\n", true, " x@evil.x",
     LL_PROTECT_STATE_UNPROTECTED},
    {"From: x@evil.x\r\n", CT("protected-headers=v1") "Subject: s\r\n\r\n", true, " x@evil.x",
     LL_PROTECT_STATE_UNPROTECTED},
    {"Subject: x\r\n", CT("x=y") "From: a@b.c\r\n\r\n", true, "", LL_PROTECT_STATE_UNPROTECTED},
};

static void test_from(void **state)
{
    for (size_t i = 0; i < LL_COUNT(from_rows); i++) {
        enum ll_protect_state s;
        struct ll_protected r;

        assert_int_equal(ll_protect_read(ll_slice_str(from_rows[i].outer),
                                         ll_slice_str(from_rows[i].payload), false, true, &arena,
                                         &r),
                         LL_PROTECT_OK);
        assert_text(ll_protect_from(&r, from_rows[i].bound, &s), from_rows[i].from);
        assert_int_equal(s, from_rows[i].state);
    }
}

static void test_value(void **state)
{
    enum ll_protect_state s;
    struct ll_protected r;

    ll_protect_read(LL_LIT("To: evil@x.y\r\nSubject: o\r\n"),
                    LL_LIT(CT("hp=clear") "From: a@b.c\r\nSubject: i\r\nCc:\r\n\r\n"), false, true,
                    &arena, &r);
    assert_text(ll_protect_value(&r, "subject", &s), " i");
    assert_int_equal(s, LL_PROTECT_STATE_SIGNED);
    assert_null(ll_protect_value(&r, "To", &s).p); /* somebody on the way put it there */
    assert_int_equal(s, LL_PROTECT_STATE_UNPROTECTED);
    assert_non_null(ll_protect_value(&r, "Cc", &s).p);
    ll_protect_read(LL_LIT("To: d@e.f\r\nSubject: o\r\n"),
                    LL_LIT(CT("protected-headers=v1") "Subject: i\r\n\r\n"), false, true, &arena,
                    &r);
    assert_text(ll_protect_value(&r, "Subject", NULL), " i");
    assert_text(ll_protect_value(&r, "To", &s), " d@e.f");
    assert_int_equal(s, LL_PROTECT_STATE_UNPROTECTED);
}

static void test_read_limits(void **state)
{
    struct ll_buf many = LL_BUF(1u << 20);
    struct ll_protected r;

    ll_buf_puts(&many, CT("hp=cipher"));
    for (int i = 1; i < LL_PROTECT_FIELDS_MAX; i++)
        ll_buf_printf(&many, "HP-Outer: A: %d\r\n", i);
    assert_int_equal(ll_protect_read(LL_LIT(""), ll_buf_slice(&many), true, true, &arena, &r),
                     LL_PROTECT_OK);
    assert_int_equal(ll_protect_read(ll_buf_slice(&many), LL_LIT(""), true, true, &arena, &r),
                     LL_PROTECT_OK);
    ll_buf_puts(&many, "A: b\r\n");
    assert_int_equal(ll_protect_read(LL_LIT(""), ll_buf_slice(&many), true, true, &arena, &r),
                     LL_PROTECT_FIELDS);
    assert_int_equal(ll_protect_read(ll_buf_slice(&many), LL_LIT(""), true, true, &arena, &r),
                     LL_PROTECT_FIELDS);
    ll_arena_release(&arena);
    ll_arena_init(&arena, 100);
    assert_int_equal(
        ll_protect_read(LL_LIT("A: b\r\n"), LL_LIT("A: b\r\n\r\n"), true, true, &arena, &r),
        LL_PROTECT_RESOURCE);
    ll_buf_release(&many);
}

/* What is written is read as what was meant, under each policy. */
static void test_round(void **state)
{
    static const char fields[] = "From: Ann <a@b.c>\r\nTo: Bob <d@e.f>, \"x, y\" <g@h.i>\r\n"
                                 "Subject: =?utf-8?q?=C3=A4?=\r\nDate: Tue, 24 Nov 2026 03:07:34 "
                                 "+0100\r\nKeywords: k\r\nMessage-ID: <x@y>\r\n";

    for (int policy = 0; policy <= LL_PROTECT_POLICY_NONE; policy++) {
        struct ll_protect p = {.fields = ll_slice_str(fields),
                               .entity = LL_LIT(TEXT),
                               .cipher = true,
                               .policy = (enum ll_protect_policy)policy,
                               .legacy_display = policy == LL_PROTECT_POLICY_SHY};
        struct ll_protected r;

        ll_buf_clear(&inner);
        ll_buf_clear(&outer);
        assert_int_equal(ll_protect_write(&p, &inner, &outer), LL_PROTECT_OK);
        assert_int_equal(
            ll_protect_read(ll_buf_slice(&outer), ll_buf_slice(&inner), true, true, &arena, &r),
            LL_PROTECT_OK);
        assert_int_equal(r.kind, LL_PROTECT_KIND_CIPHER);
        assert_int_equal(r.flags, 0);
        assert_int_equal(r.n, 6);
        assert_int_equal(ll_protect_field(&r, "Subject")->state, policy == LL_PROTECT_POLICY_NONE
                                                                     ? LL_PROTECT_STATE_SIGNED
                                                                     : LL_PROTECT_STATE_BOTH);
        assert_int_equal(ll_protect_field(&r, "To")->state, policy == LL_PROTECT_POLICY_SHY
                                                                ? LL_PROTECT_STATE_BOTH
                                                                : LL_PROTECT_STATE_SIGNED);
        assert_int_equal(ll_protect_field(&r, "Message-ID")->state, LL_PROTECT_STATE_SIGNED);
    }
}

/* ---- legacy display
 * --------------------------------------------------------------------------------
 */

static const struct {
    const char *text, *want;
} display_rows[] = {
    {"Subject: x\r\n\r\nhi", "hi"},
    {"Subject: x\n\nhi", "hi"},
    {"Subject: x\r\n folded\r\nFrom: y\r\n\r\n\r\nhi", "\r\nhi"},
    {"hi\r\n\r\nthere", "hi\r\n\r\nthere"},
    {"Subject: x\r\nDear Bob: hi\r\n\r\nthere", "Subject: x\r\nDear Bob: hi\r\n\r\nthere"},
    {"\r\nhi", "\r\nhi"},
    {"Subject: x\r\n", "Subject: x\r\n"},
    {"", ""},
    {" \r\n\r\nhi", " \r\n\r\nhi"},
};

static const struct {
    const char *html, *want; /* what is left */
} html_rows[] = {
    {"<html><body><div class=\"header-protection-legacy-display\"><pre>Subject: "
     "x</pre></div>hi</body></html>",
     "<html><body>hi</body></html>"},
    {"<div class='header-protection-legacy-display'><div>x</div></div><p>hi", "<p>hi"},
    {"<BODY bgcolor=x>\r\n <DIV class=\"header-protection-legacy-display\">x</DIV >hi",
     "<BODY bgcolor=x>\r\n hi"},
    {"<p>hi</p><div class=\"header-protection-legacy-display\">x</div>",
     "<p>hi</p><div class=\"header-protection-legacy-display\">x</div>"},
    {"<div class=\"other\">x</div>", "<div class=\"other\">x</div>"},
    {"<div class=\"header-protection-legacy-display\">x",
     "<div class=\"header-protection-legacy-display\">x"},
    {"<div class=\"header-protection-legacy-display\"",
     "<div class=\"header-protection-legacy-display\""},
    {"<body", "<body"},
    {"<div", "<div"},
    {"", ""},
};

static void test_display(void **state)
{
    for (size_t i = 0; i < LL_COUNT(display_rows); i++)
        assert_text(ll_protect_skip_display(ll_slice_str(display_rows[i].text)),
                    display_rows[i].want);
    for (size_t i = 0; i < LL_COUNT(html_rows); i++) {
        struct ll_slice html = ll_slice_str(html_rows[i].html);
        size_t from = 0, to = 0;

        ll_buf_clear(&inner);
        ll_protect_find_display_html(html, &from, &to);
        ll_buf_put_slice(&inner, ll_slice_cut(html, 0, from));
        ll_buf_put_slice(&inner, ll_slice_skip(html, to));
        assert_text(ll_buf_slice(&inner), html_rows[i].want);
    }
}

static void test_display_part(void **state)
{
    static const char letter[] =
        "Content-Type: multipart/mixed; boundary=b; "
        "protected-headers=v1\r\n\r\n--b\r\nContent-Type: "
        "text/rfc822-headers; protected-headers=v1\r\n\r\nSubject: x\r\n--b\r\nContent-Type: "
        "text/plain; protected-headers=v1; hp-legacy-display=1\r\n\r\nhi\r\n--b--\r\n";
    struct ll_mime m;

    assert_int_equal(ll_mime_parse(ll_slice_str(letter), &arena, &m), LL_MIME_OK);
    assert_false(ll_protect_is_display_part(&m, 0));
    assert_true(ll_protect_is_display_part(&m, 1));
    assert_false(ll_protect_is_display_part(&m, 2));
    assert_false(ll_protect_has_display(&m.part[1]));
    assert_true(ll_protect_has_display(&m.part[2]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_from, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_value, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_round, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_display, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_display_part, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("protect", tests, NULL, NULL);
}
