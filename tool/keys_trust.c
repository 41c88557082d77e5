/* letterlock keys trust, distrust, default, delete: what the user decides. */
#include "tool/keys.h"

#include <fcntl.h>
#include <unistd.h>

struct decide {
    const char *note, *fingerprint;
    bool undo, secret_only;
};

/* Both read their fingerprint out, and say whether they are the same. */
static int compare_on_terminal(const struct ll_keystore_key *key)
{
    struct ll_buf b = LL_BUF(65536);
    char answer[8] = "";
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    bool yes = false;

    if (tty < 0)
        return ll_fail(EX_USAGE, "no terminal to compare at: give --fingerprint, as its owner "
                                 "told it to you");
    ll_buf_puts(&b, "The key of ");
    ll_keys_put_text(&b, key->name);
    ll_buf_puts(&b, "\n\n    ");
    ll_keys_put_fingerprint(&b, key->fingerprint);
    ll_buf_puts(&b, "\n\nAsk its owner, by voice or in person and not by mail, to read out their "
                    "fingerprint.\nIs it the same? (yes/no) ");
    if (write(tty, b.p, b.n) == (ssize_t)b.n && read(tty, answer, sizeof(answer) - 1) > 0)
        yes = strncmp(answer, "yes\n", 4) == 0;
    close(tty);
    ll_buf_release(&b);
    return yes ? 0 : ll_fail(EX_NOPERM, "nothing was changed (only \"yes\" means yes)");
}

static bool same_fingerprint(const char *text, struct ll_slice fingerprint)
{
    size_t n = 0;

    for (; *text; text++) {
        if (*text == ' ' || *text == ':')
            continue;
        if (n >= fingerprint.n || ll_lower((uint8_t)*text) != fingerprint.p[n])
            return false;
        n++;
    }
    return n == fingerprint.n;
}

static int agree(const struct decide *d, const char *word, const struct ll_keystore_key *key)
{
    if (d->fingerprint)
        return same_fingerprint(d->fingerprint, key->fingerprint)
                   ? 0
                   : ll_fail(EX_DATAERR, "that is NOT the fingerprint of this key: the one that is "
                                         "here may be forged. Nothing was changed");
    if (same_fingerprint(word, key->fingerprint))
        return 0; /* the whole of it was typed: that is the comparison */
    return compare_on_terminal(key);
}

/* All four take one key, and do one thing to it. */
static int act(const struct ll_usage *usage, struct ll_keys *k, struct decide *d, int argc,
               char **argv,
               int (*fn)(struct ll_keys *, const struct decide *, const char *word,
                         const struct ll_keystore_key *))
{
    struct ll_keystore_key key;
    struct ll_words words;
    int status;

    if (!ll_args_take(usage, argc, argv, &words, &status))
        return status;
    status = ll_keys_open(k, false);
    if (status == 0)
        status = ll_keys_pick(k, words.v[0], false, &key);
    if (status == 0)
        status = fn(k, d, words.v[0], &key);
    ll_keys_close(k);
    return status;
}

static int decided(struct ll_keys *k, const struct decide *d, const struct ll_keystore_key *key,
                   enum ll_keystore_trust trust)
{
    return ll_keys_told(k,
                        ll_keystore_decide(k->store, key->kind, key->fingerprint, trust,
                                           ll_slice_str(d->note), k->now, &k->err),
                        "");
}

static int do_trust(struct ll_keys *k, const struct decide *d, const char *word,
                    const struct ll_keystore_key *key)
{
    int status;

    if (d->undo)
        return decided(k, d, key, LL_KEYSTORE_UNDECIDED);
    if (key->own)
        return ll_fail(EX_DATAERR, "that is your own key");
    status = agree(d, word, key);
    return status ? status : decided(k, d, key, LL_KEYSTORE_VERIFIED);
}

int ll_keys_trust(int argc, char **argv)
{
    struct ll_keys k = {0};
    struct decide d = {0};
    const struct ll_opt opts[] = {
        {"fingerprint", 0, LL_OPT_TEXT, &d.fingerprint, "HEX",
         "the fingerprint that you were told"},
        {"note", 0, LL_OPT_TEXT, &d.note, "TEXT", "how you know; kept in the history"},
        {"undo", 0, LL_OPT_FLAG, &d.undo, NULL, "take an earlier decision back, whichever it was"},
        LL_KEYS_KIND_OPTS(k),
        LL_KEYS_OPTS(k),
    };
    const struct ll_usage usage = {
        "keys trust [options] ADDRESS|FINGERPRINT",
        "You have compared the fingerprint with the key's owner, by voice or in person. From then\n"
        "on letters to the addresses that it has now are sealed to this key and no other. Shows\n"
        "the fingerprint and asks, unless you type the whole of it, or give --fingerprint. Of a\n"
        "certificate that issues others (an authority): what it has issued is good.",
        opts,
        LL_COUNT(opts),
        1,
        1};

    return act(&usage, &k, &d, argc, argv, do_trust);
}

static int do_distrust(struct ll_keys *k, const struct decide *d, const char *word,
                       const struct ll_keystore_key *key)
{
    return decided(k, d, key, LL_KEYSTORE_REJECTED);
}

int ll_keys_distrust(int argc, char **argv)
{
    struct ll_keys k = {0};
    struct decide d = {0};
    const struct ll_opt opts[] = {
        {"note", 0, LL_OPT_TEXT, &d.note, "TEXT", "why; kept in the history"},
        LL_KEYS_KIND_OPTS(k),
        LL_KEYS_OPTS(k),
    };
    const struct ll_usage usage = {"keys distrust [options] ADDRESS|FINGERPRINT",
                                   "This key is never used, wherever it is found again. "
                                   "`keys trust --undo` takes that back.",
                                   opts,
                                   LL_COUNT(opts),
                                   1,
                                   1};

    return act(&usage, &k, &d, argc, argv, do_distrust);
}

static int do_default(struct ll_keys *k, const struct decide *d, const char *word,
                      const struct ll_keystore_key *key)
{
    if (!key->own)
        return ll_fail(EX_DATAERR, "\"%s\": its secret key is not here", word);
    return ll_keys_told(
        k, ll_keystore_set_default(k->store, key->kind, key->fingerprint, k->now, &k->err), word);
}

int ll_keys_default(int argc, char **argv)
{
    struct ll_keys k = {0};
    struct decide d = {0};
    const struct ll_opt opts[] = {LL_KEYS_KIND_OPTS(k), LL_KEYS_OPTS(k)};
    const struct ll_usage usage = {"keys default [options] ADDRESS|FINGERPRINT",
                                   "Of several own keys of a kind, the one that counts first.",
                                   opts,
                                   LL_COUNT(opts),
                                   1,
                                   1};

    return act(&usage, &k, &d, argc, argv, do_default);
}

static int do_delete(struct ll_keys *k, const struct decide *d, const char *word,
                     const struct ll_keystore_key *key)
{
    if (key->own && !d->undo)
        return ll_fail(EX_NOPERM,
                       "\"%s\" is your own key, and letters sealed to it could never be "
                       "read again: export it, then say --own too",
                       word);
    if (!key->own && d->secret_only)
        return ll_fail(EX_DATAERR, "\"%s\": its secret key is not here", word);
    return ll_keys_told(
        k,
        ll_keystore_delete(k->store, key->kind, key->fingerprint, d->secret_only, k->now, &k->err),
        word);
}

int ll_keys_delete(int argc, char **argv)
{
    struct ll_keys k = {0};
    struct decide d = {0};
    const struct ll_opt opts[] = {
        {"own", 0, LL_OPT_FLAG, &d.undo, NULL, "even if it is an own key"},
        {"secret-only", 0, LL_OPT_FLAG, &d.secret_only, NULL, "the secret part; the public stays"},
        LL_KEYS_KIND_OPTS(k),
        LL_KEYS_OPTS(k),
    };
    const struct ll_usage usage = {"keys delete [options] ADDRESS|FINGERPRINT",
                                   "Takes a key out of the store, and overwrites it. Its history "
                                   "stays.",
                                   opts,
                                   LL_COUNT(opts),
                                   1,
                                   1};

    return act(&usage, &k, &d, argc, argv, do_delete);
}
