/* letterlock keys import: keys out of files, letters and GnuPG. */
#include "letterlock/msg.h"
#include "tool/client/autocrypt.h"
#include "tool/keys.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_MAX ((size_t)64 << 20)

struct import {
    struct ll_keys keys;
    struct ll_password_from password;
    bool gnupg;
    struct ll_stored stored;
};

static int told(struct import *im, const char *name, int status)
{
    if (status && im->keys.err.n > 0)
        ll_fail(0, "%s: no key was taken from it", name);
    return ll_keys_failed(&im->keys, status);
}

/* ---- what it is
 * ---------------------------------------------------------------------------------- */

enum content { OPENPGP, CERTIFICATES, PRIVATE_KEY, DER, LETTER, NOTHING };

static bool holds(struct ll_slice s, const char *text)
{
    return ll_slice_search(s, ll_slice_str(text)) < s.n;
}

static enum content content_of(struct ll_slice s)
{
    struct ll_slice header, body;

    if (s.n > 12 && memcmp(s.p + 8, "KBXf", 4) == 0)
        return OPENPGP;
    if (s.n > 0 && (s.p[0] & 0x80)) /* RFC 4880 4.2: what a packet begins with */
        return OPENPGP;
    if (s.n > 1 && s.p[0] == 0x30)
        return DER;
    ll_msg_split(s, &header, &body);
    if (holds(header, "Autocrypt")) /* in a letter with LF lines all is header: good enough here */
        return LETTER;
    if (holds(s, "PRIVATE KEY-----"))
        return holds(s, "BEGIN PGP PRIVATE KEY") ? OPENPGP : PRIVATE_KEY;
    if (holds(s, "-----BEGIN PGP "))
        return OPENPGP;
    return holds(s, "-----BEGIN CERTIFICATE-----") || holds(s, "-----BEGIN TRUSTED CERT")
               ? CERTIFICATES
               : NOTHING;
}

/* ---- what is done with it
 * ------------------------------------------------------------------------ */

static int import_identity(struct import *im, struct ll_slice octets, bool pkcs12)
{
    struct ll_buf password = LL_BUF(0);
    int status;

    if (pkcs12) { /* is it a certificate? Then no password is asked for. */
        size_t before = im->keys.err.n;

        if (ll_stored_certs(&im->stored, octets) == 0)
            return 0;
        im->keys.err.n = before;
    } else if (!holds(octets, "ENCRYPTED")) {
        return ll_stored_identity(&im->stored, octets, false, LL_LIT(""));
    }
    status = ll_password_get(&im->password, false, &password);
    if (status == 0)
        status = ll_stored_identity(&im->stored, octets, pkcs12, ll_buf_slice(&password));
    ll_buf_wipe(&password);
    return status;
}

static int import_setup(struct import *im, const struct ll_autocrypt_setup *setup)
{
    struct ll_buf code = LL_BUF(0), text = LL_BUF(LL_KEYSTORE_KEY_MAX);
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_opened opened;
    struct ll_slice armored;
    enum ll_seal_error e = LL_SEAL_RESOURCE;
    bool mutual;
    int status;

    if (setup->begin.n > 0)
        ll_fail(0, "the setup code begins with %.*s", LL_FMT(setup->begin));
    status = ll_password_get(&im->password, false, &code);
    if (status == 0 && ring)
        e = ll_pgp_open(ring, setup->message, ll_buf_slice(&code), im->keys.now, &text,
                        &im->keys.arena, &opened);
    if (status == 0 && e)
        status = ll_fail(EX_DATAERR, "the setup message: %s",
                         e == LL_SEAL_PASSWORD || e == LL_SEAL_NO_KEY ? "the code is wrong"
                                                                      : ll_seal_error_text(e));
    if (status == 0 && !ll_autocrypt_setup_opened(ll_buf_slice(&text), &armored, &mutual))
        status = ll_fail(EX_DATAERR, "the setup message holds no secret key");
    if (status == 0)
        status = ll_stored_pgp(&im->stored, armored);
    ll_buf_wipe(&code);
    ll_buf_wipe(&text);
    ll_pgp_free(ring);
    return status;
}

static int import_letter(struct import *im, struct ll_slice octets)
{
    struct ll_buf wire = LL_BUF(FILE_MAX * 2);
    struct ll_msg_wire w = {0};
    struct ll_autocrypt_setup setup;
    struct ll_slice header, body;
    enum ll_autocrypt_setup_error e;
    enum ll_autocrypt_error why = LL_AUTOCRYPT_OK;
    int status;

    if (ll_slice_starts(octets, LL_LIT("From "))) /* an mbox of one letter */
        octets = ll_slice_skip(octets, ll_slice_find(octets, '\n') + 1);
    if (ll_msg_to_wire(&w, octets, &wire) != LL_MSG_OK ||
        ll_msg_to_wire_end(&w, &wire) != LL_MSG_OK) {
        ll_buf_release(&wire);
        return ll_fail(EX_DATAERR, "it is no letter");
    }
    ll_msg_split(ll_buf_slice(&wire), &header, &body);
    e = ll_autocrypt_setup_read(ll_buf_slice(&wire), &im->keys.arena, &setup);
    if (e == LL_AUTOCRYPT_SETUP_OK) {
        status = import_setup(im, &setup);
    } else if (e != LL_AUTOCRYPT_SETUP_NOT) {
        status = ll_fail(EX_DATAERR, "%s", ll_autocrypt_setup_error_text(e));
    } else {
        struct ll_stored *s = &im->stored;
        struct ll_slice place = s->place;

        status = ll_autocrypt_take(s, header, &why);
        s->only = LL_LIT("");
        s->source = LL_KEYSTORE_IMPORT;
        s->place = place;
        if (status == 0 && why != LL_AUTOCRYPT_OK)
            status = ll_fail(EX_DATAERR, "%s", ll_autocrypt_error_text(why));
    }
    ll_buf_release(&wire);
    return status;
}

static int import_file(struct import *im, const char *name)
{
    struct ll_buf b = LL_BUF(FILE_MAX);
    struct ll_slice s;
    int status = ll_read_file(name, &b);

    s = ll_buf_slice(&b);
    im->stored.place = ll_slice_str(name);
    if (status == 0)
        switch (content_of(s)) {
        case OPENPGP:
            status = told(im, name, ll_stored_pgp(&im->stored, s));
            break;
        case CERTIFICATES:
            status = told(im, name, ll_stored_certs(&im->stored, s));
            break;
        case PRIVATE_KEY:
            status = told(im, name, import_identity(im, s, false));
            break;
        case DER:
            status = told(im, name, import_identity(im, s, true));
            break;
        case LETTER:
            status = told(im, name, import_letter(im, s));
            break;
        case NOTHING:
            status = ll_fail(EX_DATAERR,
                             "%s: neither a key (OpenPGP, PEM, DER, PKCS#12) nor a letter with one",
                             name);
            break;
        }
    ll_buf_wipe(&b);
    return status;
}

/* ---- GnuPG
 * ------------------------------------------------------------------------------------------ */

/* What gpg prints, of the user's own installation; it asks for passwords by itself. */
static int run_gpg(const char *home, const char *what, struct ll_buf *ret)
{
    char *argv[] = {(char *)"gpg",     (char *)"--homedir", (char *)home, (char *)"--batch",
                    (char *)"--quiet", (char *)what,        NULL};
    int out[2], status = 0;
    ssize_t n = 1;
    pid_t pid;

    if (pipe(out) < 0 || (pid = fork()) < 0)
        return ll_fail(EX_OSERR, "%s", strerror(errno));
    if (pid == 0) {
        close(out[0]);
        if (dup2(out[1], STDOUT_FILENO) >= 0)
            execvp(argv[0], argv);
        _exit(127);
    }
    close(out[1]);
    while (n > 0 || (n < 0 && errno == EINTR)) {
        uint8_t *room = ll_buf_room(ret, 65536);

        if (!room)
            break;
        n = read(out[0], room, 65536);
        if (n > 0)
            ll_buf_grew(ret, (size_t)n);
    }
    close(out[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return ll_fail(EX_UNAVAILABLE, "gpg is not there: secret keys of GnuPG come through it");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 && !ret->failed
               ? 0
               : ll_fail(EX_UNAVAILABLE, "gpg %s failed", what);
}

/* Public keys out of the keybox, or through gpg where there is none (a keyboxd, an old ring). */
static int import_gnupg(struct import *im, const char *home)
{
    struct ll_buf b = LL_BUF(FILE_MAX), path = LL_BUF(8192);
    int status = 0;

    ll_buf_printf(&path, "%s/pubring.kbx", home);
    im->stored.place = ll_slice_str(home);
    if (ll_buf_str(&path) && access(ll_buf_str(&path), R_OK) == 0)
        status = ll_read_file(ll_buf_str(&path), &b);
    else
        status = run_gpg(home, "--export", &b);
    if (status == 0 && b.n > 0)
        status = told(im, home, ll_stored_pgp(&im->stored, ll_buf_slice(&b)));
    ll_buf_clear(&b);
    if (status == 0)
        status = run_gpg(home, "--export-secret-keys", &b);
    if (status == 0 && b.n > 0)
        status = told(im, home, ll_stored_pgp(&im->stored, ll_buf_slice(&b)));
    ll_buf_wipe(&b);
    ll_buf_release(&path);
    return status;
}

static char *gnupg_home(const struct ll_words *words)
{
    const char *env = getenv("GNUPGHOME"), *home = getenv("HOME");
    char *path = NULL;

    if (words->n > 0)
        return strdup(words->v[0]);
    if (env && env[0] == '/')
        return strdup(env);
    return home && asprintf(&path, "%s/.gnupg", home) >= 0 ? path : NULL;
}

int ll_keys_import(int argc, char **argv)
{
    struct import im = {0};
    const struct ll_opt opts[] = {
        {"gnupg", 0, LL_OPT_FLAG, &im.gnupg, NULL, "the keys of a GnuPG home (~/.gnupg)"},
        LL_KEYS_PASSWORD_OPTS(im.password),
        LL_KEYS_OPTS(im.keys),
        LL_JSON_OPT(im.keys.json),
    };
    const struct ll_usage usage = {
        "keys import [options] FILE...|-\n"
        "       letterlock keys import --gnupg [options] [DIR]",
        "Takes keys in: OpenPGP keys and revocations, certificates (PEM, DER), private keys (PEM,\n"
        "PKCS#12), and letters: the key in an Autocrypt field, or an Autocrypt setup message. "
        "What\n"
        "a file is, it shows by itself. Passwords (a setup code is one) are asked for.",
        opts,
        LL_COUNT(opts),
        0,
        LL_ARGS_LIST_MAX};
    struct ll_words words;
    char *home = NULL;
    int status, one;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    if (im.gnupg ? words.n > 1 : words.n == 0)
        return ll_fail(EX_USAGE,
                       im.gnupg ? "one folder at a time" : "which file? (- is standard input)");
    status = ll_keys_open(&im.keys, true);
    im.stored = (struct ll_stored){.store = im.keys.store,
                                   .arena = &im.keys.arena,
                                   .now = im.keys.now,
                                   .source = LL_KEYSTORE_IMPORT,
                                   .err = &im.keys.err};
    if (status == 0 && im.gnupg) {
        home = gnupg_home(&words);
        status = home ? import_gnupg(&im, home) : ll_fail(EX_USAGE, "which folder?");
    }
    for (size_t i = 0; im.keys.store && !im.gnupg && i < words.n; i++) {
        one = import_file(&im, words.v[i]);
        status = status ? status : one;
        ll_buf_clear(&im.keys.err);
    }
    if (im.keys.store && im.stored.n > 0) {
        one = ll_keys_report(&im.keys, &im.stored);
        status = status ? status : one;
    }
    ll_keys_close(&im.keys);
    free(home);
    return status;
}
