#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/keystore.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/letterlock-unit-XXXXXX";
static char path[128];
static struct ll_arena arena;

static void path_of(const char *name)
{
    assert_true(snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path));
}

static struct ll_keystore *opened(bool create)
{
    struct ll_keystore *k = NULL;
    struct ll_buf err = LL_BUF(4096);

    if (ll_keystore_open(path, create, &k, &err) != LL_KEYSTORE_OK)
        fail_msg("%s", ll_buf_str(&err));
    ll_buf_release(&err);
    return k;
}

static struct ll_keystore *fresh(void)
{
    path_of("keys.db");
    unlink(path);
    return opened(true);
}

/* A key of one or two addresses; its fingerprint is 40 times the digit. */
struct a_key {
    struct ll_keystore_key key;
    struct ll_slice address[2];
    char fingerprint[41];
};

static struct a_key *key(char digit, const char *one, const char *two)
{
    static struct a_key made[8];
    static unsigned at;
    struct a_key *a = &made[at++ % LL_COUNT(made)];

    memset(a, 0, sizeof(*a));
    memset(a->fingerprint, digit, 40);
    a->address[0] = ll_slice_str(one);
    a->address[1] = ll_slice_str(two);
    a->key = (struct ll_keystore_key){
        .kind = LL_SEAL_PGP,
        .fingerprint = ll_slice_str(a->fingerprint),
        .octets = LL_LIT("octets"),
        .name = ll_slice_str(one),
        .address = a->address,
        .n_address = two ? 2 : 1,
        .can_encrypt = true,
    };
    return a;
}

static enum ll_keystore_seen put(struct ll_keystore *k, const struct a_key *a, const char *secret,
                                 enum ll_keystore_source source, int64_t now,
                                 struct ll_slice *ret_other)
{
    enum ll_keystore_seen seen = LL_KEYSTORE_NEW;
    struct ll_buf err = LL_BUF(4096);
    struct ll_slice other;

    if (ll_keystore_put(k, &a->key, ll_slice_str(secret), source, LL_LIT("place"), now, &arena,
                        &seen, ret_other ? ret_other : &other, &err) != LL_KEYSTORE_OK)
        fail_msg("%s", ll_buf_str(&err));
    ll_buf_release(&err);
    return seen;
}

static char first_digit(struct ll_keystore *k, const char *address, enum ll_keystore_choice *ret,
                        char *ret_warn)
{
    struct ll_keystore_key best;
    const struct ll_keystore_key *warn;
    enum ll_keystore_result r = ll_keystore_best(k, ll_slice_str(address), LL_SEAL_PGP, 1000,
                                                 &arena, &best, ret, &warn, NULL);

    *ret_warn = warn ? (char)warn->fingerprint.p[0] : '-';
    if (r == LL_KEYSTORE_NONE)
        return '-';
    assert_int_equal(r, LL_KEYSTORE_OK);
    return (char)best.fingerprint.p[0];
}

static void round_trip(void **state)
{
    struct ll_keystore *k = fresh();
    struct a_key *a = key('a', "Ann@Alpha.Test", "ann@beta.test");
    struct ll_keystore_query q = {.address = LL_LIT("ANN@alpha.TEST")};
    struct ll_buf secret = LL_BUF(100);
    struct ll_keystore_key *v;
    struct stat st;
    size_t n;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    a->key.expires = 5000;
    a->key.created = 3;
    a->key.capabilities = LL_LIT("der");
    assert_int_equal(put(k, a, "secret", LL_KEYSTORE_MADE, 50, NULL), LL_KEYSTORE_NEW);
    a->key.capabilities = LL_LIT("");
    assert_int_equal(put(k, a, NULL, LL_KEYSTORE_WKD, 60, NULL), LL_KEYSTORE_SAME);
    ll_keystore_close(k);
    k = opened(false);
    assert_int_equal(ll_keystore_list(k, &q, &arena, &v, &n, NULL), LL_KEYSTORE_OK);
    assert_int_equal(n, 1);
    assert_true(v[0].own && v[0].is_default && v[0].can_encrypt && !v[0].ca && !v[0].revoked);
    assert_int_equal(v[0].n_address, 2);
    assert_true(ll_slice_eq(v[0].address[0], LL_LIT("ann@alpha.test")));
    assert_int_equal(v[0].first_seen, 50);
    assert_int_equal(v[0].last_seen, 60);
    assert_int_equal(v[0].created, 3);
    assert_int_equal(v[0].expires, 5000);
    assert_int_equal(v[0].n_found, 2);
    assert_int_equal(v[0].found[0].source, LL_KEYSTORE_MADE);
    assert_true(ll_slice_eq(v[0].found[1].place, LL_LIT("place")));
    assert_true(ll_slice_eq(v[0].octets, LL_LIT("octets")));
    assert_true(ll_slice_eq(v[0].capabilities, LL_LIT("der")));
    assert_int_equal(ll_keystore_secret(k, LL_SEAL_PGP, a->key.fingerprint, &secret, NULL),
                     LL_KEYSTORE_OK);
    assert_true(ll_slice_eq(ll_buf_slice(&secret), LL_LIT("secret")));
    assert_int_equal(ll_keystore_secret(k, LL_SEAL_SMIME, a->key.fingerprint, &secret, NULL),
                     LL_KEYSTORE_NONE);
    ll_buf_wipe(&secret);
    ll_keystore_close(k);
}

static void fingerprints(void **state)
{
    static const struct {
        const char *part;
        bool hit;
    } rows[] = {
        {"abababab", true},     {"ABAB ABAB", true},    {"0xabababab", true},
        {"ab:ab:ab:ab", true},  {"babababa", false}, /* neither at the beginning nor the end */
        {"ababababab01", true}, {"abababa", false},     {"", false},
        {"abababag", false},    {"' OR 1=1 --", false}, {"%%%%%%%%", false},
    };
    struct ll_keystore *k = fresh();
    struct a_key *a = key('a', "ann@alpha.test", NULL);

    for (int i = 1; i < 38; i += 2)
        a->fingerprint[i] = 'b';
    a->fingerprint[38] = '0';
    a->fingerprint[39] = '1';
    put(k, a, NULL, LL_KEYSTORE_IMPORT, 1, NULL);
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_keystore_query q = {.fingerprint = ll_slice_str(rows[i].part),
                                      .kind = LL_SEAL_PGP};
        struct ll_keystore_key *v;
        size_t n;

        if (rows[i].part[0] == '\0')
            q.fingerprint = LL_LIT("  ");
        assert_int_equal(ll_keystore_list(k, &q, &arena, &v, &n, NULL),
                         rows[i].hit ? LL_KEYSTORE_OK : LL_KEYSTORE_NONE);
    }
    ll_keystore_close(k);
}

/* A secret key in a file that somebody sent: nothing is sealed to it that was for another key. */
static void own_keys_take_nothing_over(void **state)
{
    struct ll_keystore *k = fresh();
    struct a_key *a = key('a', "ann@alpha.test", NULL), *b = key('b', "ann@alpha.test", NULL);
    struct a_key *c = key('c', "me@alpha.test", NULL), *d = key('d', "me@alpha.test", NULL);
    enum ll_keystore_choice choice;
    char warn;

    put(k, a, NULL, LL_KEYSTORE_WKD, 10, NULL);
    put(k, b, "secret", LL_KEYSTORE_IMPORT, 20, NULL);
    first_digit(k, "ann@alpha.test", &choice, &warn);
    assert_int_equal(choice, LL_KEYSTORE_CHOSE_BETTER); /* send stops */
    ll_keystore_decide(k, LL_SEAL_PGP, a->key.fingerprint, LL_KEYSTORE_VERIFIED, LL_LIT(""), 30,
                       NULL);
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), 'a');
    assert_int_equal(choice, LL_KEYSTORE_CHOSE_VERIFIED);
    assert_int_equal(warn, 'b');
    put(k, c, "secret", LL_KEYSTORE_MADE, 10, NULL);
    put(k, d, NULL, LL_KEYSTORE_AUTOCRYPT, 20, NULL);
    assert_int_equal(first_digit(k, "me@alpha.test", &choice, &warn), 'c');
    assert_int_equal(choice, LL_KEYSTORE_CHOSE_OWN);
    ll_keystore_close(k);
}

/* What an attack looks like, and what each decision makes of it. */
static void changed_keys(void **state)
{
    struct ll_keystore *k = fresh();
    struct a_key *a = key('a', "ann@alpha.test", NULL), *b = key('b', "ann@alpha.test", NULL);
    enum ll_keystore_choice choice;
    struct ll_slice other;
    char warn;

    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), '-');
    assert_int_equal(choice, LL_KEYSTORE_HAVE_NONE);
    assert_int_equal(put(k, a, NULL, LL_KEYSTORE_WKD, 10, &other), LL_KEYSTORE_NEW);
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), 'a');
    assert_int_equal(choice, LL_KEYSTORE_CHOSE_ONLY);
    assert_int_equal(put(k, b, NULL, LL_KEYSTORE_AUTOCRYPT, 20, &other), LL_KEYSTORE_CHANGED);
    assert_true(ll_slice_eq(other, a->key.fingerprint));
    /* A letter does not beat what the domain says, but it is told. */
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), 'a');
    assert_int_equal(choice, LL_KEYSTORE_CHOSE_BETTER);
    assert_int_equal(warn, 'b');
    /* The domain says the new one: it is later, and counts. */
    put(k, b, NULL, LL_KEYSTORE_WKD, 30, &other);
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), 'b');
    /* Verified: nothing beats it. */
    ll_keystore_decide(k, LL_SEAL_PGP, a->key.fingerprint, LL_KEYSTORE_VERIFIED, LL_LIT("phone"),
                       40, NULL);
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), 'a');
    assert_int_equal(choice, LL_KEYSTORE_CHOSE_VERIFIED);
    assert_int_equal(warn, 'b');
    ll_keystore_decide(k, LL_SEAL_PGP, b->key.fingerprint, LL_KEYSTORE_REJECTED, LL_LIT(""), 41,
                       NULL);
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), 'a');
    assert_int_equal(warn, '-');
    /* A rejected key that comes again stays rejected. */
    put(k, b, NULL, LL_KEYSTORE_WKD, 50, &other);
    ll_keystore_decide(k, LL_SEAL_PGP, a->key.fingerprint, LL_KEYSTORE_REJECTED, LL_LIT(""), 51,
                       NULL);
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), '-');
    assert_int_equal(choice, LL_KEYSTORE_HAVE_REJECTED);
    ll_keystore_close(k);
}

static void expired_after_verified(void **state)
{
    struct ll_keystore *k = fresh();
    struct a_key *a = key('a', "ann@alpha.test", NULL), *b = key('b', "ann@alpha.test", NULL);
    enum ll_keystore_choice choice;
    char warn;

    a->key.expires = 1000; /* first_digit asks at 1000: that is over */
    put(k, a, NULL, LL_KEYSTORE_IMPORT, 1, NULL);
    ll_keystore_decide(k, LL_SEAL_PGP, a->key.fingerprint, LL_KEYSTORE_VERIFIED, LL_LIT(""), 2,
                       NULL);
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), '-');
    assert_int_equal(choice, LL_KEYSTORE_HAVE_UNUSABLE);
    put(k, b, NULL, LL_KEYSTORE_WKD, 3, NULL);
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), 'b');
    assert_int_equal(choice, LL_KEYSTORE_CHOSE_AFTER);
    ll_keystore_close(k);
}

/* Mallory's key is verified for Mallory; then she writes Ann's address into it. */
static void addresses_after_the_decision(void **state)
{
    struct ll_keystore *k = fresh();
    struct a_key *a = key('a', "ann@alpha.test", NULL), *m = key('c', "mallory@alpha.test", NULL);
    struct a_key *evil = key('c', "mallory@alpha.test", "ann@alpha.test");
    struct ll_keystore_query q = {.kind = LL_SEAL_PGP, .fingerprint = m->key.fingerprint};
    struct ll_keystore_key *v;
    enum ll_keystore_choice choice;
    struct ll_slice other;
    char warn;
    size_t n;

    put(k, a, NULL, LL_KEYSTORE_WKD, 1, NULL);
    put(k, m, NULL, LL_KEYSTORE_WKD, 2, NULL);
    ll_keystore_decide(k, LL_SEAL_PGP, m->key.fingerprint, LL_KEYSTORE_VERIFIED, LL_LIT(""), 3,
                       NULL);
    assert_int_equal(put(k, evil, NULL, LL_KEYSTORE_AUTOCRYPT, 4, &other), LL_KEYSTORE_CHANGED);
    assert_true(ll_slice_eq(other, a->key.fingerprint));
    assert_int_equal(first_digit(k, "mallory@alpha.test", &choice, &warn), 'c');
    assert_int_equal(choice, LL_KEYSTORE_CHOSE_VERIFIED);
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), 'c'); /* as good a place */
    assert_int_equal(choice, LL_KEYSTORE_CHOSE_BETTER);                      /* but not verified */
    assert_int_equal(ll_keystore_list(k, &q, &arena, &v, &n, NULL), LL_KEYSTORE_OK);
    assert_int_equal(v[0].n_address, 2);
    assert_int_equal(v[0].n_vouched, 1);
    assert_true(ll_slice_eq(v[0].address[0], LL_LIT("mallory@alpha.test")));
    ll_keystore_close(k);
}

static void whole_lists(void **state)
{
    struct ll_keystore *k = fresh();
    struct a_key *two = key('a', "ann@alpha.test", "ann@beta.test");
    struct a_key *one = key('a', "ann@beta.test", NULL);
    enum ll_keystore_choice choice;
    char warn;

    put(k, two, NULL, LL_KEYSTORE_IMPORT, 1, NULL);
    put(k, one, NULL, LL_KEYSTORE_WKD, 2, NULL);
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), 'a');
    one->key.whole = true;
    put(k, one, NULL, LL_KEYSTORE_WKD, 3, NULL);
    assert_int_equal(first_digit(k, "ann@alpha.test", &choice, &warn), '-');
    assert_int_equal(first_digit(k, "ann@beta.test", &choice, &warn), 'a');
    ll_keystore_close(k);
}

static void own_keys(void **state)
{
    struct ll_keystore *k = fresh();
    struct a_key *a = key('a', "ann@alpha.test", NULL), *b = key('b', "ann@alpha.test", NULL);
    struct ll_keystore_query q = {.own = true};
    struct ll_keystore_key *v;
    size_t n;

    put(k, a, "s", LL_KEYSTORE_MADE, 1, NULL);
    put(k, b, "s", LL_KEYSTORE_MADE, 2, NULL);
    put(k, key('c', "bob@alpha.test", NULL), NULL, LL_KEYSTORE_WKD, 3, NULL);
    ll_keystore_list(k, &q, &arena, &v, &n, NULL);
    assert_int_equal(n, 2);
    assert_int_equal(v[0].fingerprint.p[0], 'a');
    assert_int_equal(ll_keystore_set_default(k, LL_SEAL_PGP, b->key.fingerprint, 4, NULL),
                     LL_KEYSTORE_OK);
    ll_keystore_list(k, &q, &arena, &v, &n, NULL);
    assert_int_equal(v[0].fingerprint.p[0], 'b');
    assert_false(v[1].is_default);
    assert_int_equal(ll_keystore_set_default(k, LL_SEAL_PGP, LL_LIT("cccc"), 4, NULL),
                     LL_KEYSTORE_NONE);
    assert_int_equal(ll_keystore_delete(k, LL_SEAL_PGP, b->key.fingerprint, true, 5, NULL),
                     LL_KEYSTORE_OK);
    ll_keystore_list(k, &q, &arena, &v, &n, NULL);
    assert_int_equal(n, 1);
    q = (struct ll_keystore_query){.others = true};
    ll_keystore_list(k, &q, &arena, &v, &n, NULL);
    assert_int_equal(n, 2);
    assert_int_equal(ll_keystore_delete(k, LL_SEAL_PGP, b->key.fingerprint, false, 6, NULL),
                     LL_KEYSTORE_OK);
    assert_int_equal(ll_keystore_delete(k, LL_SEAL_PGP, b->key.fingerprint, false, 6, NULL),
                     LL_KEYSTORE_NONE);
    ll_keystore_close(k);
}

static void history(void **state)
{
    static const enum ll_keystore_event want[] = {
        LL_KEYSTORE_EVENT_ADDED, LL_KEYSTORE_EVENT_DECIDED_VERIFIED, LL_KEYSTORE_EVENT_UPDATED,
        LL_KEYSTORE_EVENT_DELETED};
    struct ll_keystore *k = fresh();
    struct a_key *a = key('a', "ann@alpha.test", NULL);
    struct ll_keystore_entry *v;
    size_t n;

    put(k, a, NULL, LL_KEYSTORE_IMPORT, 1, NULL);
    put(k, a, NULL, LL_KEYSTORE_IMPORT, 2, NULL); /* nothing new: no entry */
    ll_keystore_decide(k, LL_SEAL_PGP, a->key.fingerprint, LL_KEYSTORE_VERIFIED,
                       LL_LIT("on the phone"), 3, NULL);
    a->key.octets = LL_LIT("more");
    put(k, a, NULL, LL_KEYSTORE_IMPORT, 4, NULL);
    ll_keystore_delete(k, LL_SEAL_PGP, a->key.fingerprint, false, 5, NULL);
    assert_int_equal(ll_keystore_history(k, LL_SEAL_PGP, a->key.fingerprint, &arena, &v, &n, NULL),
                     LL_KEYSTORE_OK);
    assert_int_equal(n, LL_COUNT(want));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(v[i].event, want[i]);
    assert_int_equal(v[1].at, 3);
    assert_true(ll_slice_eq(v[1].note, LL_LIT("on the phone")));
    ll_keystore_close(k);
}

static void peers(void **state)
{
    struct ll_keystore *k = fresh();
    const struct ll_slice ann = LL_LIT("Ann@Alpha.Test");
    struct ll_autocrypt_peer p = {.last_seen = 5,
                                  .timestamp = 4,
                                  .key = LL_LIT("aa"),
                                  .mutual = true,
                                  .gossip_timestamp = 3,
                                  .gossip_key = LL_LIT("bb")},
                             got;

    assert_int_equal(ll_keystore_peer(k, ann, &arena, &got, NULL), LL_KEYSTORE_NONE);
    assert_int_equal(got.last_seen, 0);
    assert_int_equal(ll_keystore_set_peer(k, ann, &p, NULL), LL_KEYSTORE_OK);
    p.last_seen = 6;
    assert_int_equal(ll_keystore_set_peer(k, ann, &p, NULL), LL_KEYSTORE_OK);
    assert_int_equal(ll_keystore_set_peer(k, LL_LIT("no address"), &p, NULL), LL_KEYSTORE_NONE);
    assert_int_equal(ll_keystore_peer(k, LL_LIT("ann@alpha.test"), &arena, &got, NULL),
                     LL_KEYSTORE_OK);
    assert_int_equal(got.last_seen, 6);
    assert_int_equal(got.timestamp, 4);
    assert_true(got.mutual && ll_slice_eq(got.key, LL_LIT("aa")));
    assert_true(got.gossip_timestamp == 3 && ll_slice_eq(got.gossip_key, LL_LIT("bb")));
    ll_keystore_close(k);
}

static void transactions(void **state)
{
    struct ll_keystore *k = fresh();
    struct ll_keystore_query q = {.kind = LL_SEAL_NONE};
    struct ll_keystore_key *v;
    size_t n;

    assert_int_equal(ll_keystore_begin(k, NULL), LL_KEYSTORE_OK);
    put(k, key('a', "ann@alpha.test", NULL), NULL, LL_KEYSTORE_IMPORT, 1, NULL);
    assert_int_equal(ll_keystore_end(k, false, NULL), LL_KEYSTORE_OK);
    assert_int_equal(ll_keystore_list(k, &q, &arena, &v, &n, NULL), LL_KEYSTORE_NONE);
    assert_int_equal(ll_keystore_begin(k, NULL), LL_KEYSTORE_OK);
    put(k, key('a', "ann@alpha.test", NULL), NULL, LL_KEYSTORE_IMPORT, 1, NULL);
    assert_int_equal(ll_keystore_end(k, true, NULL), LL_KEYSTORE_OK);
    assert_int_equal(ll_keystore_list(k, &q, &arena, &v, &n, NULL), LL_KEYSTORE_OK);
    ll_keystore_close(k);
}

/* Four commands at once, the file not made yet: every key of every one is in. */
static void several_at_once(void **state)
{
    enum { WRITERS = 4, KEYS = 12 };
    struct ll_keystore_query q = {.kind = LL_SEAL_NONE};
    struct ll_keystore_key *v;
    struct ll_keystore *k;
    pid_t pid[WRITERS];
    size_t n;

    path_of("shared/deep/keys.db");
    for (int w = 0; w < WRITERS; w++) {
        pid[w] = fork();
        if (pid[w] == 0) {
            struct ll_keystore *mine = NULL;
            struct a_key *a = key('a', "ann@alpha.test", NULL);
            enum ll_keystore_seen seen;
            struct ll_slice other;

            if (ll_keystore_open(path, true, &mine, NULL) != LL_KEYSTORE_OK)
                _exit(1);
            for (int i = 0; i < KEYS; i++) {
                snprintf(a->fingerprint, sizeof(a->fingerprint), "%08x%08x", w, i);
                a->key.fingerprint = ll_slice_str(a->fingerprint);
                if (ll_keystore_put(mine, &a->key, LL_LIT(""), LL_KEYSTORE_IMPORT, LL_LIT(""), 1,
                                    &arena, &seen, &other, NULL) != LL_KEYSTORE_OK)
                    _exit(2);
            }
            _exit(0);
        }
    }
    for (int w = 0; w < WRITERS; w++) {
        int status = 1;

        assert_int_equal(waitpid(pid[w], &status, 0), pid[w]);
        assert_int_equal(status, 0);
    }
    k = opened(false);
    assert_int_equal(ll_keystore_list(k, &q, &arena, &v, &n, NULL), LL_KEYSTORE_OK);
    assert_int_equal(n, WRITERS * KEYS);
    ll_keystore_close(k);
}

static void spoil(const char *octets, size_t n, off_t at)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0 && pwrite(fd, octets, n, at) == (ssize_t)n);
    close(fd);
}

static void sql(const char *text)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void refused(bool create, enum ll_keystore_result want, const char *word)
{
    struct ll_keystore *k = NULL;
    struct ll_buf err = LL_BUF(4096);

    assert_int_equal(ll_keystore_open(path, create, &k, &err), want);
    assert_non_null(strstr(ll_buf_str(&err), path));
    if (!strstr(ll_buf_str(&err), word))
        fail_msg("%s", ll_buf_str(&err));
    ll_buf_release(&err);
}

static void bad_files(void **state)
{
    struct stat before, after;
    struct ll_keystore *k = fresh();
    char junk[4000];

    for (char c = 'a'; c < 'g'; c++) {
        struct a_key *a = key(c, "ann@alpha.test", NULL);

        memset(junk, c, sizeof(junk));
        a->key.octets = ll_slice(junk, sizeof(junk));
        put(k, a, NULL, LL_KEYSTORE_IMPORT, 1, NULL);
    }
    ll_keystore_close(k);
    chmod(path, 0640);
    refused(false, LL_KEYSTORE_REFUSED, "chmod 600");
    chmod(path, 0600);
    sql("PRAGMA user_version = 99");
    refused(false, LL_KEYSTORE_BROKEN, "newer letterlock");
    sql("PRAGMA user_version = 1");
    memset(junk, 0xff, sizeof(junk));
    assert_int_equal(stat(path, &before), 0);
    spoil(junk, sizeof(junk), 4096 * 3); /* a page of the tables */
    refused(true, LL_KEYSTORE_BROKEN, "is damaged");
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    spoil("not a database at all", 21, 0);
    refused(true, LL_KEYSTORE_BROKEN, "no key store");
    unlink(path);
    sql("CREATE TABLE theirs (x)");
    chmod(path, 0600);
    refused(true, LL_KEYSTORE_REFUSED, "another program");
    path_of(".");
    refused(true, LL_KEYSTORE_REFUSED, "no file");
    path_of("open");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0777), 0);
    path_of("open/keys.db");
    refused(true, LL_KEYSTORE_REFUSED, "folder");
}

static void missing_file(void **state)
{
    struct ll_keystore_query q = {.kind = LL_SEAL_NONE};
    struct ll_buf err = LL_BUF(4096);
    struct a_key *a = key('a', "ann@alpha.test", NULL);
    enum ll_keystore_seen seen;
    struct ll_keystore_key *v;
    struct ll_slice other;
    struct ll_keystore *k;
    size_t n;

    path_of("none.db");
    k = opened(false);
    assert_int_equal(ll_keystore_list(k, &q, &arena, &v, &n, NULL), LL_KEYSTORE_NONE);
    assert_int_equal(ll_keystore_put(k, &a->key, LL_LIT(""), LL_KEYSTORE_IMPORT, LL_LIT(""), 1,
                                     &arena, &seen, &other, &err),
                     LL_KEYSTORE_REFUSED);
    assert_non_null(strstr(ll_buf_str(&err), "no key store yet"));
    ll_keystore_close(k);
    assert_int_equal(access(path, F_OK), -1);
    ll_buf_release(&err);
}

/* What is deleted leaves no trace in the file: a secret that fills pages of its own. */
static void deleted_is_gone(void **state)
{
    static const char canary[] = "CANARY-4f1d-of-a-secret-key;";
    struct ll_keystore *k = fresh();
    struct a_key *a = key('a', "ann@alpha.test", NULL);
    struct ll_buf secret = LL_BUF(1 << 16), all = LL_BUF(1 << 20);
    int fd;

    while (secret.n < 20000)
        ll_buf_puts(&secret, canary);
    put(k, a, ll_buf_str(&secret), LL_KEYSTORE_MADE, 1, NULL);
    for (int round = 0; round < 2; round++) {
        ll_buf_clear(&all);
        fd = open(path, O_RDONLY);
        ll_buf_grew(&all, (size_t)read(fd, ll_buf_room(&all, 1 << 19), 1 << 19));
        close(fd);
        assert_int_equal(ll_slice_search(ll_buf_slice(&all), ll_slice_str(canary)) < all.n,
                         round == 0);
        ll_keystore_delete(k, LL_SEAL_PGP, a->key.fingerprint, true, 2, NULL);
    }
    ll_buf_release(&secret);
    ll_buf_release(&all);
    ll_keystore_close(k);
}

static void limits(void **state)
{
    struct ll_keystore *k = fresh();
    struct a_key *a = key('a', "ann@alpha.test", NULL);
    uint8_t *big = calloc(1, LL_KEYSTORE_KEY_MAX + 1);
    enum ll_keystore_seen seen;
    struct ll_slice other;

    a->key.octets = ll_slice(big, LL_KEYSTORE_KEY_MAX);
    put(k, a, NULL, LL_KEYSTORE_IMPORT, 1, NULL);
    a->key.octets = ll_slice(big, LL_KEYSTORE_KEY_MAX + 1);
    assert_int_equal(ll_keystore_put(k, &a->key, LL_LIT(""), LL_KEYSTORE_IMPORT, LL_LIT(""), 1,
                                     &arena, &seen, &other, NULL),
                     LL_KEYSTORE_RESOURCE);
    free(big);
    ll_keystore_close(k);
}

static void default_path(void **state)
{
    static const struct {
        const char *data, *home, *want;
    } rows[] = {
        {"/x/data", "/home/ann", "/x/data/letterlock/keys.db"},
        {NULL, "/home/ann", "/home/ann/.local/share/letterlock/keys.db"},
        {"relative", "/home/ann", "/home/ann/.local/share/letterlock/keys.db"},
        {NULL, NULL, NULL},
        {NULL, "relative", NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf b = LL_BUF(4096);

        rows[i].data ? setenv("XDG_DATA_HOME", rows[i].data, 1) : unsetenv("XDG_DATA_HOME");
        rows[i].home ? setenv("HOME", rows[i].home, 1) : unsetenv("HOME");
        assert_int_equal(ll_keystore_path(&b), rows[i].want != NULL);
        if (rows[i].want)
            assert_string_equal(ll_buf_str(&b), rows[i].want);
        ll_buf_release(&b);
    }
}

static int set_up(void **state)
{
    ll_arena_init(&arena, 64 << 20);
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = {
        "keys.db", "shared/deep/keys.db", "shared/deep", "shared", "open", ""};

    for (size_t i = 0; i < LL_COUNT(names); i++) {
        path_of(names[i]);
        if (unlink(path) < 0)
            rmdir(path);
    }
    ll_arena_release(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(fingerprints),
        cmocka_unit_test(own_keys_take_nothing_over),
        cmocka_unit_test(changed_keys),
        cmocka_unit_test(expired_after_verified),
        cmocka_unit_test(addresses_after_the_decision),
        cmocka_unit_test(whole_lists),
        cmocka_unit_test(own_keys),
        cmocka_unit_test(history),
        cmocka_unit_test(peers),
        cmocka_unit_test(transactions),
        cmocka_unit_test(several_at_once),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(missing_file),
        cmocka_unit_test(deleted_is_gone),
        cmocka_unit_test(limits),
        cmocka_unit_test(default_path),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
