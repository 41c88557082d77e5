#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "letterlock/autocrypt.h"
#include "letterlock/msg.h"

#include <stdio.h>
#include <stdlib.h>

static struct ll_arena arena;

#define KEY "keydata=a2V5" /* "key" */

static void fields(void **state)
{
    static const struct {
        const char *body;
        enum ll_autocrypt_error error;
        bool mutual;
        const char *address;
    } rows[] = {
        {"addr=a@b.test; " KEY, LL_AUTOCRYPT_OK, false, "a@b.test"},
        {" addr=A@B.Test;prefer-encrypt=mutual;keydata=\r\n a2\r\n V5", LL_AUTOCRYPT_OK, true,
         "a@b.test"},
        {"prefer-encrypt = mutual ; addr = a@b.test ; " KEY, LL_AUTOCRYPT_OK, true, "a@b.test"},
        {"addr=a@b.test; prefer-encrypt=nopreference; " KEY, LL_AUTOCRYPT_OK, false, "a@b.test"},
        {"addr=a@b.test; prefer-encrypt=; " KEY, LL_AUTOCRYPT_OK, false, "a@b.test"},
        {"addr=a@b.test; _new=x=y; " KEY, LL_AUTOCRYPT_OK, false, "a@b.test"},
        {"addr=a@b.test; new=x; " KEY, LL_AUTOCRYPT_CRITICAL, false, NULL},
        {"addr=a@b.test; addr=c@b.test; " KEY, LL_AUTOCRYPT_ADDRESS, false, NULL},
        {"addr=nobody; " KEY, LL_AUTOCRYPT_ADDRESS, false, NULL},
        {"addr=<a@b.test>; " KEY, LL_AUTOCRYPT_ADDRESS, false, NULL},
        {KEY, LL_AUTOCRYPT_ADDRESS, false, NULL},
        {"addr=a@b.test", LL_AUTOCRYPT_KEYDATA, false, NULL},
        {"addr=a@b.test; keydata=", LL_AUTOCRYPT_KEYDATA, false, NULL},
        {"addr=a@b.test; keydata=a2V", LL_AUTOCRYPT_KEYDATA, false, NULL},
        {"addr=a@b.test; keydata=a2V5!", LL_AUTOCRYPT_KEYDATA, false, NULL},
        {"addr=a@b.test; " KEY "; _x=y", LL_AUTOCRYPT_KEYDATA, false, NULL},
        {KEY "; addr=a@b.test", LL_AUTOCRYPT_KEYDATA, false, NULL},
        {"addr=a@b.test; " KEY "; " KEY, LL_AUTOCRYPT_KEYDATA, false, NULL},
        {"addr=a@b.test; mutual; " KEY, LL_AUTOCRYPT_SYNTAX, false, NULL},
        {"addr=a@b.test; =x; " KEY, LL_AUTOCRYPT_SYNTAX, false, NULL},
        {"addr=a@b.test;; " KEY, LL_AUTOCRYPT_SYNTAX, false, NULL},
        {"", LL_AUTOCRYPT_SYNTAX, false, NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_autocrypt a;
        enum ll_autocrypt_error e = ll_autocrypt_field(ll_slice_str(rows[i].body), &arena, &a);

        if (e != rows[i].error)
            fail_msg("%s: %s", rows[i].body, ll_autocrypt_error_text(e));
        if (e != LL_AUTOCRYPT_OK)
            continue;
        assert_true(ll_slice_eq(a.keydata, LL_LIT("key")));
        assert_int_equal(a.mutual, rows[i].mutual);
        assert_true(ll_slice_eq(a.address, ll_slice_str(rows[i].address)));
    }
}

#define FROM "From: Ann <ann@a.test>\r\n"
#define ANN  "Autocrypt: addr=ann@a.test; " KEY "\r\n"

static void letters(void **state)
{
    static const struct {
        const char *header;
        enum ll_autocrypt_error error;
    } rows[] = {
        {FROM ANN, LL_AUTOCRYPT_OK},
        {"From: Ann <ANN@a.test>\r\n" ANN, LL_AUTOCRYPT_OK},
        {FROM, LL_AUTOCRYPT_NONE},
        {FROM ANN ANN, LL_AUTOCRYPT_SEVERAL},
        {FROM ANN "Autocrypt: addr=ann@a.test; v2=1; " KEY "\r\n", LL_AUTOCRYPT_OK},
        {FROM ANN "Autocrypt: addr=bob@a.test; " KEY "\r\n", LL_AUTOCRYPT_OK},
        {FROM "Autocrypt: addr=bob@a.test; " KEY "\r\n", LL_AUTOCRYPT_OTHER},
        {"From: ann@a.test, bob@a.test\r\n" ANN, LL_AUTOCRYPT_AUTHOR},
        {"From: ann@a.test\r\nFrom: ann@a.test\r\n" ANN, LL_AUTOCRYPT_AUTHOR},
        {ANN, LL_AUTOCRYPT_AUTHOR},
        {FROM ANN "Content-Type: multipart/report; report-type=x\r\n", LL_AUTOCRYPT_AUTOMATIC},
        {FROM ANN "Content-Type: MULTIPART/Report\r\n", LL_AUTOCRYPT_AUTOMATIC},
        {FROM ANN "Auto-Submitted: auto-replied (holidays)\r\n", LL_AUTOCRYPT_AUTOMATIC},
        {FROM ANN "Auto-Submitted: auto-generated\r\n", LL_AUTOCRYPT_OK},
        {FROM "Autocrypt-Gossip: addr=ann@a.test; " KEY "\r\n", LL_AUTOCRYPT_NONE},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_slice author;
        struct ll_autocrypt a;
        enum ll_autocrypt_error e =
            ll_autocrypt_letter(ll_slice_str(rows[i].header), &arena, &author, &a);

        if (e != rows[i].error)
            fail_msg("%s: %s", rows[i].header, ll_autocrypt_error_text(e));
        if (ll_autocrypt_counts(e))
            assert_true(ll_slice_eq(author, LL_LIT("ann@a.test")));
    }
}

static void round_trip(void **state)
{
    uint8_t octets[600];
    struct ll_autocrypt a = {LL_LIT("ann@a.test"), ll_slice(octets, 0), true}, b;
    struct ll_buf out = LL_BUF(1 << 16);

    for (size_t i = 0; i < sizeof(octets); i++)
        octets[i] = (uint8_t)(i * 31);
    for (size_t n = 1; n <= sizeof(octets); n += 7) {
        struct ll_msg_field f;
        struct ll_slice rest, line;

        a.keydata.n = n;
        a.mutual = n & 1;
        ll_buf_clear(&out);
        assert_true(ll_autocrypt_put(&out, "Autocrypt", &a));
        rest = ll_buf_slice(&out);
        while (ll_slice_next(&rest, '\n', &line))
            assert_true(line.n <= LL_MSG_LINE_GOOD);
        assert_true(ll_msg_field_find(ll_buf_slice(&out), LL_LIT("Autocrypt"), &f));
        assert_int_equal(f.raw.n, out.n);
        assert_int_equal(ll_autocrypt_field(f.body, &arena, &b), LL_AUTOCRYPT_OK);
        assert_true(ll_slice_eq(a.keydata, b.keydata) && a.mutual == b.mutual);
    }
    ll_buf_clear(&out);
    a.mutual = true;
    assert_true(ll_autocrypt_put(&out, "Autocrypt-Gossip", &a));
    assert_int_equal(ll_slice_search(ll_buf_slice(&out), LL_LIT("mutual")), out.n);
    a.address = LL_LIT("\"a;b\"@a.test");
    ll_buf_clear(&out);
    assert_false(ll_autocrypt_put(&out, "Autocrypt", &a));
    assert_int_equal(out.n, 0);
    ll_buf_release(&out);
}

/* The limit, at n and n + 1: of what is read and of what is written. */
static void sizes(void **state)
{
    static uint8_t octets[LL_AUTOCRYPT_FIELD_MAX];
    struct ll_autocrypt a = {LL_LIT("ann@a.test"), ll_slice(octets, 0), false}, b;
    struct ll_buf out = LL_BUF(1 << 16), header = LL_BUF(1 << 16);
    struct ll_slice author;

    for (a.keydata.n = 7000; ll_autocrypt_put(&out, "Autocrypt", &a); a.keydata.n++) {
        ll_buf_clear(&header);
        ll_buf_puts(&header, FROM);
        ll_buf_put_slice(&header, ll_buf_slice(&out));
        assert_int_equal(ll_autocrypt_letter(ll_buf_slice(&header), &arena, &author, &b),
                         LL_AUTOCRYPT_OK);
        ll_buf_clear(&out);
    }
    assert_true(header.n > LL_AUTOCRYPT_FIELD_MAX - 10 && a.keydata.n < 8000);
    header.n -= 2; /* blanks before its end */
    while (header.n < sizeof(FROM) - 1 + LL_AUTOCRYPT_FIELD_MAX - 2)
        ll_buf_putc(&header, ' ');
    ll_buf_puts(&header, "\r\n");
    assert_int_equal(ll_autocrypt_letter(ll_buf_slice(&header), &arena, &author, &b),
                     LL_AUTOCRYPT_OK);
    header.n -= 2;
    ll_buf_puts(&header, " \r\n");
    assert_int_equal(ll_autocrypt_letter(ll_buf_slice(&header), &arena, &author, &b),
                     LL_AUTOCRYPT_TOO_LARGE);
    ll_buf_release(&out);
    ll_buf_release(&header);
}

static void gossip(void **state)
{
    static const char inner[] = "Autocrypt-Gossip: addr=bob@a.test; " KEY "\r\n"
                                "Autocrypt-Gossip: addr=carol@a.test; " KEY "\r\n"
                                "Autocrypt-Gossip: addr=dave@a.test; " KEY "\r\n"
                                "Autocrypt-Gossip: addr=eve@a.test; " KEY "\r\n"
                                "Autocrypt-Gossip: addr=bob@a.test; bad=1; " KEY "\r\n"
                                "Content-Type: text/plain\r\n";
    static const char outer[] = FROM "To: x@a.test, Bob <BOB@a.test>\r\nCc: carol@a.test\r\n"
                                     "Reply-To: dave@a.test\r\nBcc: eve@a.test\r\n";
    struct ll_autocrypt *v;
    size_t n;

    assert_true(ll_autocrypt_gossip(ll_slice_str(inner), ll_slice_str(outer), &arena, &v, &n));
    assert_int_equal(n, 3);
    assert_true(ll_slice_eq(v[0].address, LL_LIT("bob@a.test")));
    assert_true(ll_slice_eq(v[2].address, LL_LIT("dave@a.test")));
    assert_true(ll_autocrypt_gossip(ll_slice_str(inner), ll_slice_str(FROM), &arena, &v, &n));
    assert_int_equal(n, 0);
}

static void updates(void **state)
{
    struct ll_autocrypt_peer p = {0};
    const struct ll_slice none = {NULL, 0}, one = LL_LIT("1"), two = LL_LIT("2");

    assert_true(ll_autocrypt_update(&p, 100, none, false)); /* no header yet */
    assert_true(p.last_seen == 100 && p.timestamp == 0 && p.key.n == 0);
    assert_true(ll_autocrypt_update(&p, 50, one, true)); /* older, but the first header */
    assert_true(p.last_seen == 100 && p.timestamp == 50 && p.mutual);
    assert_false(ll_autocrypt_update(&p, 49, two, false)); /* older than the header */
    assert_false(ll_autocrypt_update(&p, 60, none, false));
    assert_true(p.timestamp == 50 && ll_slice_eq(p.key, one));
    assert_true(ll_autocrypt_update(&p, 200, none, false)); /* a letter without: key stays */
    assert_true(p.last_seen == 200 && p.timestamp == 50 && ll_slice_eq(p.key, one) && p.mutual);
    assert_true(ll_autocrypt_update(&p, 300, two, false));
    assert_true(p.last_seen == 300 && p.timestamp == 300 && ll_slice_eq(p.key, two) && !p.mutual);
    assert_true(ll_autocrypt_update_gossip(&p, 10, one));
    assert_false(ll_autocrypt_update_gossip(&p, 9, two));
    assert_false(ll_autocrypt_update_gossip(&p, 11, none));
    assert_true(ll_slice_eq(p.gossip_key, one) && p.gossip_timestamp == 10);
}

static void advice(void **state)
{
    const struct ll_slice k = LL_LIT("k"), g = LL_LIT("g"), no = {NULL, 0};
    const struct {
        struct ll_autocrypt_peer peer; /* last_seen, timestamp, key, mutual, gossip */
        struct ll_autocrypt_question q;
        enum ll_autocrypt_advice advice;
        const char *key;
    } rows[] = {
        {{0}, {true, true, true, true}, LL_AUTOCRYPT_DISABLE, ""},
        {{9, 9, k, false, 0, no}, {true, true, false, false}, LL_AUTOCRYPT_AVAILABLE, "k"},
        {{9, 9, k, false, 0, no}, {false, true, false, false}, LL_AUTOCRYPT_DISABLE, ""},
        {{9, 9, k, true, 0, no}, {true, true, false, false}, LL_AUTOCRYPT_AVAILABLE, "k"},
        {{9, 9, k, false, 0, no}, {true, true, true, false}, LL_AUTOCRYPT_AVAILABLE, "k"},
        {{9, 9, k, true, 0, no}, {true, true, true, false}, LL_AUTOCRYPT_ENCRYPT, "k"},
        {{9, 9, k, false, 0, no}, {true, true, false, true}, LL_AUTOCRYPT_ENCRYPT, "k"},
        {{9, 0, no, false, 9, g}, {true, true, true, false}, LL_AUTOCRYPT_DISCOURAGE, "g"},
        {{9, 0, no, false, 9, g}, {true, true, true, true}, LL_AUTOCRYPT_ENCRYPT, "g"},
        {{9, 9, k, true, 9, g}, {false, true, true, false}, LL_AUTOCRYPT_DISCOURAGE, "g"},
        {{9, 9, k, true, 9, g}, {false, false, true, true}, LL_AUTOCRYPT_DISABLE, ""},
        {{1 + LL_AUTOCRYPT_STALE_S, 1, k, true, 0, no},
         {true, true, true, false},
         LL_AUTOCRYPT_ENCRYPT,
         "k"},
        {{2 + LL_AUTOCRYPT_STALE_S, 1, k, true, 0, no},
         {true, true, true, false},
         LL_AUTOCRYPT_DISCOURAGE,
         "k"},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_slice key;

        assert_int_equal(ll_autocrypt_advise(&rows[i].peer, &rows[i].q, &key), rows[i].advice);
        assert_true(ll_slice_eq(key, ll_slice_str(rows[i].key)));
    }
}

#define D LL_AUTOCRYPT_DISABLE
#define C LL_AUTOCRYPT_DISCOURAGE
#define A LL_AUTOCRYPT_AVAILABLE
#define E LL_AUTOCRYPT_ENCRYPT

static void advice_for_several(void **state)
{
    static const struct {
        enum ll_autocrypt_advice of[3], all;
    } rows[] = {{{E, E, E}, E}, {{E, E, A}, A}, {{E, C, A}, C}, {{E, C, E}, C},
                {{D, E, E}, D}, {{C, A, D}, D}, {{A, A, A}, A}, {{C, C, C}, C}};

    for (size_t i = 0; i < LL_COUNT(rows); i++)
        assert_int_equal(ll_autocrypt_advise_all(rows[i].of, 3), rows[i].all);
}

static void dates(void **state)
{
    static const char header[] = FROM "Date: Tue, 22 Jan 2019 12:56:25 +0100\r\n";

    assert_int_equal(ll_autocrypt_date(ll_slice_str(header), 2000000000), 1548158185);
    assert_int_equal(ll_autocrypt_date(ll_slice_str(header), 1500000000), 1500000000);
    assert_int_equal(ll_autocrypt_date(ll_slice_str(FROM), 7), 7);
}

/* ---- setup messages
 * ------------------------------------------------------------------------------ */

static void codes(void **state)
{
    uint8_t random[128];
    char code[LL_AUTOCRYPT_CODE_N + 1];

    for (size_t i = 0; i < sizeof(random); i++)
        random[i] = (uint8_t)(i & 1 ? 255 : i % 100);
    assert_true(ll_autocrypt_code(ll_slice(random, sizeof(random)), code));
    assert_string_equal(code, "0246-8024-6802-4680-2468-0246-8024-6802-4680");
    memset(random, 250, sizeof(random));
    assert_false(ll_autocrypt_code(ll_slice(random, sizeof(random)), code));
}

#define ARMORED "-----BEGIN PGP MESSAGE-----\n\njA0EBwMC\n=abcd\n-----END PGP MESSAGE-----\n"

static void setup_round_trip(void **state)
{
    struct ll_autocrypt_setup s = {LL_LIT("ann@a.test"), LL_LIT(ARMORED), true, LL_LIT("17")}, got;
    struct ll_buf out = LL_BUF(1 << 16), key = LL_BUF(1 << 16);
    static const char secret[] = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\nabcd\n"
                                 "-----END PGP PRIVATE KEY BLOCK-----\n";
    struct ll_slice armored;
    bool mutual = false;

    assert_true(ll_autocrypt_setup_put(&out, &s, 1548158185, LL_LIT("b0undary"),
                                       LL_LIT("0123456789abcdef")));
    assert_int_equal(ll_autocrypt_setup_read(ll_buf_slice(&out), &arena, &got),
                     LL_AUTOCRYPT_SETUP_OK);
    assert_true(ll_slice_eq(got.address, s.address) && got.numeric);
    assert_true(ll_slice_eq(got.begin, LL_LIT("17")));
    assert_true(ll_slice_starts(got.message, LL_LIT("-----BEGIN PGP MESSAGE-----\r\n"
                                                    "Passphrase-Format: numeric9x4\r\n"
                                                    "Passphrase-Begin: 17\r\n\r\njA0EBwMC\r\n")));
    assert_true(ll_autocrypt_setup_key(ll_slice_str(secret), true, &key));
    ll_buf_puts(&key, "trailing text");
    assert_true(ll_autocrypt_setup_opened(ll_buf_slice(&key), &armored, &mutual));
    assert_true(mutual);
    assert_true(ll_slice_ends(armored, LL_LIT("abcd\r\n-----END PGP PRIVATE KEY BLOCK-----")));
    assert_false(ll_autocrypt_setup_opened(LL_LIT("x" ARMORED), &armored, &mutual));
    assert_false(ll_autocrypt_setup_key(LL_LIT(ARMORED), true, &key));
    ll_buf_release(&out);
    ll_buf_release(&key);
}

#define SETUP  "Autocrypt-Setup-Message: v1\r\n"
#define SELF   "From: ann@a.test\r\nTo: ANN@a.test\r\n"
#define MIXED  "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
#define FIRST  "--b\r\n\r\ntext\r\n"
#define SECOND "--b\r\nContent-Type: application/autocrypt-setup\r\n\r\n"

static void setup_letters(void **state)
{
    static const struct {
        const char *letter;
        enum ll_autocrypt_setup_error error;
    } rows[] = {
        {SETUP SELF MIXED FIRST SECOND "<pre>" ARMORED "</pre>\r\n--b--\r\n",
         LL_AUTOCRYPT_SETUP_OK},
        {SELF MIXED FIRST SECOND ARMORED "\r\n--b--\r\n", LL_AUTOCRYPT_SETUP_NOT},
        {"Autocrypt-Setup-Message: v2\r\n" SELF MIXED FIRST SECOND ARMORED "\r\n--b--\r\n",
         LL_AUTOCRYPT_SETUP_VERSION},
        {SETUP "From: ann@a.test\r\nTo: bob@a.test\r\n" MIXED FIRST SECOND ARMORED "\r\n--b--\r\n",
         LL_AUTOCRYPT_SETUP_STRANGER},
        {SETUP "From: ann@a.test\r\nTo: ann@a.test, bob@a.test\r\n" MIXED FIRST SECOND ARMORED
               "\r\n--b--\r\n",
         LL_AUTOCRYPT_SETUP_STRANGER},
        {SETUP SELF MIXED SECOND ARMORED "\r\n--b--\r\n", LL_AUTOCRYPT_SETUP_PARTS},
        {SETUP SELF MIXED SECOND ARMORED "\r\n" FIRST "\r\n--b--\r\n", LL_AUTOCRYPT_SETUP_PARTS},
        {SETUP SELF "\r\n" ARMORED, LL_AUTOCRYPT_SETUP_PARTS},
        {SETUP SELF MIXED FIRST SECOND "-----BEGIN PGP MESSAGE-----\r\n\r\nx\r\n--b--\r\n",
         LL_AUTOCRYPT_SETUP_ARMOR},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_autocrypt_setup s = {0};
        struct ll_buf wire = LL_BUF(1 << 16);
        struct ll_msg_wire w = {0};
        enum ll_autocrypt_setup_error e;

        assert_int_equal(ll_msg_to_wire(&w, ll_slice_str(rows[i].letter), &wire), LL_MSG_OK);
        e = ll_autocrypt_setup_read(ll_buf_slice(&wire), &arena, &s);
        if (e != rows[i].error)
            fail_msg("row %zu: %s", i, ll_autocrypt_setup_error_text(e));
        ll_buf_release(&wire);
    }
}

/* ---- the suite of KDE's messagelib
 * ------------------------------------------------------------------
 */

/* The tests run in the source tree or in its build folder. */
static bool suite(const char *name, struct ll_buf *ret)
{
    const char *roots[] = {getenv("LETTERLOCK_TESTDATA"), "../shared/testdata",
                           "../../shared/testdata"};
    char path[1000], line[5000];
    FILE *f = NULL;

    for (size_t i = 0; !f && i < LL_COUNT(roots); i++) {
        snprintf(path, sizeof(path), "%s/autocrypt-kde/messages/%s", roots[i] ? roots[i] : "",
                 name);
        f = fopen(path, "re");
    }
    if (!f)
        return false;
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\r\n")] = '\0';
        ll_buf_printf(ret, "%s\r\n", line);
    }
    fclose(f);
    return true;
}

static void kde(void **state)
{
    static const struct {
        const char *name, *author;
        enum ll_autocrypt_error error;
        size_t keydata;
        bool mutual;
    } rows[] = {
        {"header.mbox", "alice@autocrypt.example", LL_AUTOCRYPT_OK, 410, true},
        {"gossipheader.mbox", "alice@autocrypt.example", LL_AUTOCRYPT_OK, 410, true},
        {"gossipheader-nonencrypted.mbox", "alice@autocrypt.example", LL_AUTOCRYPT_NONE, 0, false},
        {"alice_gossip.mbox", "bob@autocrypt.example", LL_AUTOCRYPT_OK, 408, false},
        {"draft.mbox", "alice@autocrypt.example", LL_AUTOCRYPT_NONE, 0, false},
        {"mdn.mbox", NULL, LL_AUTOCRYPT_AUTOMATIC, 0, false},
        {"multiple_autocryptheaders.mbox", "alice@autocrypt.example", LL_AUTOCRYPT_SEVERAL, 0,
         false},
        /* A character of the base64 is missing in these two. */
        {"multiple_autocryptheaders_invalid.mbox", "alice@autocrypt.example", LL_AUTOCRYPT_KEYDATA,
         0, false},
        {"multiple_autocryptheaders_invalid_from.mbox", "alice@autocrypt.example",
         LL_AUTOCRYPT_KEYDATA, 0, false},
        {"multiple_from.mbox", NULL, LL_AUTOCRYPT_AUTHOR, 0, false},
        {"setupmessage.mbox", "alice@autocrypt.example", LL_AUTOCRYPT_NONE, 0, false},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf letter = LL_BUF(1 << 20);
        struct ll_slice header, body, author = {NULL, 0};
        struct ll_autocrypt a = {0};
        enum ll_autocrypt_error e;

        if (!suite(rows[i].name, &letter)) {
            print_message("# skipped: the suite autocrypt-kde is not here\n");
            ll_buf_release(&letter);
            skip();
        }
        ll_msg_split(ll_buf_slice(&letter), &header, &body);
        e = ll_autocrypt_letter(header, &arena, &author, &a);
        if (e != rows[i].error || a.keydata.n != rows[i].keydata || a.mutual != rows[i].mutual)
            fail_msg("%s: %s, %zu octets", rows[i].name, ll_autocrypt_error_text(e), a.keydata.n);
        if (rows[i].author)
            assert_true(ll_slice_eq(author, ll_slice_str(rows[i].author)));
        ll_buf_release(&letter);
    }
}

static void kde_gossip_and_setup(void **state)
{
    struct ll_buf letter = LL_BUF(1 << 20);
    struct ll_slice header, body;
    struct ll_autocrypt_setup s = {0};
    struct ll_autocrypt *v;
    size_t n;

    if (!suite("composer-autocryptgossipheader.mbox", &letter)) {
        print_message("# skipped: the suite autocrypt-kde is not here\n");
        ll_buf_release(&letter);
        skip();
    }
    ll_msg_split(ll_buf_slice(&letter), &header, &body);
    assert_true(ll_autocrypt_gossip(header,
                                    LL_LIT("To: bob@autocrypt.example\r\n"
                                           "Cc: carol@autocrypt.example\r\n"),
                                    &arena, &v, &n));
    assert_int_equal(n, 2);
    assert_true(ll_slice_eq(v[0].address, LL_LIT("carol@autocrypt.example")));
    assert_true(ll_slice_eq(v[1].address, LL_LIT("bob@autocrypt.example")));
    ll_buf_clear(&letter);
    assert_true(suite("setupmessage.mbox", &letter));
    assert_int_equal(ll_autocrypt_setup_read(ll_buf_slice(&letter), &arena, &s),
                     LL_AUTOCRYPT_SETUP_OK);
    assert_true(s.numeric && ll_slice_eq(s.begin, LL_LIT("17")));
    assert_true(ll_slice_eq(s.address, LL_LIT("alice@autocrypt.example")));
    ll_buf_clear(&letter);
    assert_true(suite("header.mbox", &letter));
    assert_int_equal(ll_autocrypt_setup_read(ll_buf_slice(&letter), &arena, &s),
                     LL_AUTOCRYPT_SETUP_NOT);
    ll_buf_release(&letter);
}

static int set_up(void **state)
{
    ll_arena_init(&arena, 256 << 20);
    return 0;
}

static int tear_down(void **state)
{
    ll_arena_release(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
        cmocka_unit_test(letters),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(sizes),
        cmocka_unit_test(gossip),
        cmocka_unit_test(updates),
        cmocka_unit_test(advice),
        cmocka_unit_test(advice_for_several),
        cmocka_unit_test(dates),
        cmocka_unit_test(codes),
        cmocka_unit_test(setup_round_trip),
        cmocka_unit_test(setup_letters),
        cmocka_unit_test(kde),
        cmocka_unit_test(kde_gossip_and_setup),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
