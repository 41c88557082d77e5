/* maildir: names, contents, batches, repeats, hostile mailboxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/maildir.h"

static char root[64];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int make_root(void **state)
{
    snprintf(root, sizeof(root), "/tmp/letterlock-maildir-XXXXXX");
    *state = mkdtemp(root) ? ll_maildir_open(root, "mx.alpha.test") : NULL;
    return *state ? 0 : -1;
}

static int drop_root(void **state)
{
    ll_maildir_close(*state);
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The number of letters in a folder of a mailbox, and the text of the last one seen. */
static size_t letters(const char *folder, char *text, size_t max)
{
    char path[512];
    struct dirent *e;
    size_t n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "%s/%s", root, folder);
    d = opendir(path);
    while (d && (e = readdir(d)) != NULL) {
        char file[1024];
        FILE *f;

        if (e->d_name[0] == '.')
            continue;
        n++;
        snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
        f = fopen(file, "rb");
        assert_non_null(f);
        text[fread(text, 1, max - 1, f)] = '\0';
        fclose(f);
    }
    if (d)
        closedir(d);
    return n;
}

static struct ll_maildir_item item(const char *mailbox, uint64_t letter, struct ll_slice body,
                                   uint32_t header)
{
    return (struct ll_maildir_item){.mailbox = ll_slice_str(mailbox),
                                    .address = ll_slice_str(mailbox),
                                    .reverse_path = LL_LIT("bob@beta.test"),
                                    .prepend = LL_LIT("Received: by us\r\n"),
                                    .body = body,
                                    .fd = -1,
                                    .body_length = body.n,
                                    .header_length = header,
                                    .letter = letter,
                                    .arrived_ms = 1795489654000};
}

#define HEADER "Subject: x\r\nReturn-Path: <forged@evil.test>\r\n\tfolded\r\nTo: a\r\n\r\n"
#define BODY   HEADER "one\r\nReturn-Path: stays in the body\r\n..two\r\n"
#define WANT                                                                                       \
    "Return-Path: <bob@beta.test>\nDelivered-To: ann@alpha.test\nReceived: by us\n"                \
    "Subject: x\nTo: a\n\none\nReturn-Path: stays in the body\n..two\n"

static void delivers_once(void **state)
{
    struct ll_maildir_item it = item("ann@alpha.test", 7, LL_LIT(BODY), sizeof(HEADER) - 1);
    char text[1024];

    ll_maildir_deliver(*state, &it, 1);
    assert_int_equal(it.error, 0);
    assert_false(it.duplicate);
    assert_int_equal(letters("alpha.test/ann/new", text, sizeof(text)), 1);
    assert_string_equal(text, WANT);
    assert_int_equal(letters("alpha.test/ann/tmp", text, sizeof(text)), 0);
    /* The same letter again, as after a crash: no second copy. */
    ll_maildir_deliver(*state, &it, 1);
    assert_int_equal(it.error, 0);
    assert_true(it.duplicate);
    assert_int_equal(letters("alpha.test/ann/new", text, sizeof(text)), 1);
}

static void delivers_from_a_file(void **state)
{
    FILE *f = tmpfile();
    struct ll_maildir_item it = item("ann@alpha.test", 8, (struct ll_slice){NULL, 0}, 0);
    char text[1024];
    uint64_t n = 0;

    assert_non_null(f);
    fputs("other letter", f);
    fputs(HEADER, f);
    /* Lines of a length that puts CR and LF on both sides of every chunk's edge. */
    for (; n < 200000; n += 13)
        fputs("twelve chars\r\n", f);
    fflush(f);
    it.fd = fileno(f);
    it.body_offset = 12;
    it.body_length = (uint64_t)ftell(f) - 12;
    it.header_length = sizeof(HEADER) - 1;
    ll_maildir_deliver(*state, &it, 1);
    fclose(f);
    assert_int_equal(it.error, 0);

    char *big = malloc(1 << 20);

    assert_int_equal(letters("alpha.test/ann/new", big, 1 << 20), 1);
    assert_null(strchr(big, '\r'));
    assert_int_equal(strlen(strstr(big, "To: a\n\n")), 7 + n / 13 * 13);
    free(big);
    (void)text;
}

/* What is gathered for one write ends at every place of a line once. */
static void edges_of_what_is_gathered(void **state)
{
    enum { LINES = 6000, LINE = 14 }; /* over 64 KiB */
    static char body[sizeof(HEADER) + 16 + LINES * LINE];
    char *text = malloc(1 << 20);

    for (unsigned shift = 0; shift < LINE; shift++) {
        size_t n = (size_t)snprintf(body, sizeof(body), "%s%.*s\r\n", HEADER, (int)shift,
                                    "twelve chars, and");
        struct ll_maildir_item it;
        char box[32];
        size_t lines = 0;

        for (int i = 0; i < LINES; i++)
            n += (size_t)snprintf(body + n, sizeof(body) - n, "twelve chars\r\n");
        snprintf(box, sizeof(box), "edge%u@alpha.test", shift);
        it = item(box, 20 + shift, ll_slice(body, n), sizeof(HEADER) - 1);
        ll_maildir_deliver(*state, &it, 1);
        assert_int_equal(it.error, 0);
        snprintf(box, sizeof(box), "alpha.test/edge%u/new", shift);
        assert_int_equal(letters(box, text, 1 << 20), 1);
        assert_null(strchr(text, '\r'));
        for (const char *p = text; (p = strstr(p, "\ntwelve chars\n")) != NULL; p += LINE - 1)
            lines++;
        assert_int_equal(lines, LINES + (shift == 12));
    }
    free(text);
}

static void a_file_shorter_than_promised_is_an_error(void **state)
{
    FILE *f = tmpfile();
    struct ll_maildir_item it = item("ann@alpha.test", 9, (struct ll_slice){NULL, 0}, 0);
    char text[64];

    fputs("short\r\n", f);
    fflush(f);
    it.fd = fileno(f);
    it.body_length = 100;
    ll_maildir_deliver(*state, &it, 1);
    fclose(f);
    assert_int_equal(it.error, EIO);
    assert_int_equal(letters("alpha.test/ann/new", text, sizeof(text)), 0);
    assert_int_equal(letters("alpha.test/ann/tmp", text, sizeof(text)), 0);
}

static void batches_share_flushes_not_fates(void **state)
{
    struct ll_maildir_item items[40];
    char name[40][32];
    char text[1024];

    for (unsigned i = 0; i < LL_COUNT(items); i++) {
        snprintf(name[i], sizeof(name[i]), "u%u@alpha.test", i % 20);
        items[i] = item(name[i], i, LL_LIT(BODY), sizeof(HEADER) - 1);
    }
    items[5].mailbox = LL_LIT("no-domain");
    ll_maildir_deliver(*state, items, LL_COUNT(items));
    for (unsigned i = 0; i < LL_COUNT(items); i++)
        assert_int_equal(items[i].error, i == 5 ? EINVAL : 0);
    assert_int_equal(letters("alpha.test/u4/new", text, sizeof(text)), 2);
    assert_int_equal(letters("alpha.test/u5/new", text, sizeof(text)), 1);
}

static void hostile_mailboxes_stay_inside(void **state)
{
    static const struct {
        const char *mailbox;
        const char *path; /* NULL: refused */
    } rows[] = {
        {"ann@alpha.test", "alpha.test/ann"},
        {"ANN@Alpha.TEST", "alpha.test/ann"},
        {"a.b@alpha.test", "alpha.test/a.b"},
        {"../../etc/passwd@alpha.test", "alpha.test/%2e.%2f..%2fetc%2fpasswd"},
        {"..@..", "%2e./%2e."},
        {".@alpha.test", "alpha.test/%2e"},
        {"a/b@alpha.test", "alpha.test/a%2fb"},
        {"a%2fb@alpha.test", "alpha.test/a%252fb"},
        {"\xc3\xa9@alpha.test", "alpha.test/%c3%a9"},
        {"x@y@alpha.test", "alpha.test/x%40y"},
        {"@alpha.test", NULL},
        {"ann@", NULL},
        {"ann", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf b = LL_BUF(1000);

        assert_int_equal(ll_maildir_path(&b, ll_slice_str(rows[i].mailbox)), rows[i].path != NULL);
        if (rows[i].path)
            assert_string_equal(ll_buf_str(&b), rows[i].path);
        ll_buf_release(&b);
    }
}

static void symbolic_links_are_not_followed(void **state)
{
    struct ll_maildir_item it = item("ann@alpha.test", 7, LL_LIT(BODY), sizeof(HEADER) - 1);
    char path[128];
    char text[64];

    snprintf(path, sizeof(path), "%s/alpha.test", root);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/alpha.test/ann", root);
    assert_int_equal(symlink("/tmp", path), 0);
    ll_maildir_deliver(*state, &it, 1);
    assert_int_equal(it.error, ELOOP);
    assert_int_equal(letters("alpha.test/ann/new", text, sizeof(text)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(delivers_once, make_root, drop_root),
        cmocka_unit_test_setup_teardown(edges_of_what_is_gathered, make_root, drop_root),
        cmocka_unit_test_setup_teardown(delivers_from_a_file, make_root, drop_root),
        cmocka_unit_test_setup_teardown(a_file_shorter_than_promised_is_an_error, make_root,
                                        drop_root),
        cmocka_unit_test_setup_teardown(batches_share_flushes_not_fates, make_root, drop_root),
        cmocka_unit_test(hostile_mailboxes_stay_inside),
        cmocka_unit_test_setup_teardown(symbolic_links_are_not_followed, make_root, drop_root),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
