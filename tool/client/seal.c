/* See tool/client/seal.h: the letters are built. Everything happens in memory that is wiped. */
#include "tool/client/seal.h"

#include "io/clock.h"
#include "letterlock/autocrypt.h"
#include "letterlock/compose.h"
#include "letterlock/msg.h"
#include "letterlock/protect.h"
#include "tool/client/gnupg.h"
#include "tool/client/people.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#define ROOM        (2ul * LL_SEND_LETTER_MAX)
#define BOUNDARY_N  32 /* characters, of 16 random octets */
#define AUTOCRYPT_N 16384

/* The letter in its parts. */
struct parts {
    struct ll_buf trace, fields, entity;
};

static int fault(const char *what, enum ll_seal_error e)
{
    return ll_fail(e == LL_SEAL_RESOURCE ? EX_OSERR : EX_DATAERR, "%s: %s", what,
                   ll_seal_error_text(e));
}

/* ---- what signs --------------------------------------------------------------------------------
 */

static int key_password(struct ll_sealing *g, struct ll_buf *ret)
{
    const struct ll_account *a = g->s->account;
    struct ll_password_from from = g->s->key_from;

    if (!from.file && !from.command && a) {
        from.file = a->key_password_file;
        from.command = a->key_password_command;
        if (a->key_password)
            from =
                (struct ll_password_from){.keyring = {"service", "letterlock-key", "user",
                                                      ll_arena_str(&g->s->arena, g->own.address)}};
    }
    if (!from.file && !from.command && !from.keyring[0])
        ll_fail(0, "the secret key of %.*s is locked with a password", LL_FMT(g->own.address));
    return ll_password_get(&from, false, ret);
}

static enum ll_seal_error unlock(struct ll_sealing *g, struct ll_slice password)
{
    struct ll_slice fingerprint = g->own.by[g->sign].key.fingerprint;

    return g->sign == LL_SEAL_PGP ? ll_pgp_unlock(g->pgp, fingerprint, password)
                                  : ll_smime_unlock(g->smime, fingerprint, password);
}

/* Does no secret part that signs lie here, but a stub of one on a card? */
static bool signs_by_card(struct ll_sealing *g)
{
    struct ll_slice fingerprint = g->own.by[g->sign].key.fingerprint;
    struct ll_buf probe = LL_BUF(4096);
    struct ll_pgp_key key;
    bool card = g->sign == LL_SEAL_PGP &&
                ll_pgp_key(g->pgp, fingerprint, g->now, &g->s->arena, &key) == LL_SEAL_OK &&
                key.elsewhere &&
                ll_pgp_sign(g->pgp, fingerprint, LL_LIT(""), g->now, &probe) == LL_SEAL_NO_KEY;

    ll_buf_release(&probe);
    return card;
}

/* Without a password first: many secret keys have none. */
static int open_signer(struct ll_sealing *g)
{
    struct ll_buf password = LL_BUF(1);
    const struct ll_keystore_key *key = &g->own.by[g->sign].key;
    enum ll_seal_error e = LL_SEAL_OK;
    int status = ll_seal_load(g, key, true);

    if (status == 0)
        e = unlock(g, LL_LIT(""));
    if (e == LL_SEAL_LOCKED || e == LL_SEAL_PASSWORD) {
        status = key_password(g, &password);
        if (status == 0)
            e = unlock(g, ll_buf_slice(&password));
    }
    g->card = status == 0 && (e == LL_SEAL_OK || e == LL_SEAL_NO_KEY) && signs_by_card(g);
    if (status == 0 && e != LL_SEAL_OK && !g->card)
        status = ll_fail(e == LL_SEAL_PASSWORD ? EX_NOPERM : EX_DATAERR, "the secret key %.*s: %s",
                         LL_FMT(key->fingerprint), ll_seal_error_text(e));
    ll_buf_wipe(&password);
    return status;
}

/* ---- one letter --------------------------------------------------------------------------------
 */

static bool boundary(char ret[BOUNDARY_N + 1])
{
    struct ll_buf hex = LL_BUF(BOUNDARY_N);
    uint8_t random[BOUNDARY_N / 2];
    bool ok = getrandom(random, sizeof(random), 0) == sizeof(random);

    ll_hex_encode(&hex, ll_slice(random, sizeof(random)));
    snprintf(ret, BOUNDARY_N + 1, "%.*s", LL_FMT(ll_buf_slice(&hex)));
    ll_buf_release(&hex);
    return ok;
}

/* The card signs, through GnuPG; what is encrypted is encrypted here. */
static enum ll_seal_error seal_by_card(struct ll_sealing *g, const struct ll_slice *to, size_t n,
                                       struct ll_slice inner, struct ll_slice word,
                                       struct ll_buf *out)
{
    struct ll_buf signed_ = LL_BUF(ROOM);
    enum ll_seal_error e =
        ll_gnupg_sign(g->own.by[LL_SEAL_PGP].key.fingerprint, inner, n == 0, &signed_);

    if (!e && n > 0)
        e = ll_pgp_mime_encrypt_signed(g->pgp, to, n, ll_buf_slice(&signed_), word, g->now, out);
    else if (!e)
        e = ll_pgp_mime_signed(ll_buf_slice(&signed_), inner, word, out);
    ll_buf_wipe(&signed_);
    return e;
}

static enum ll_seal_error seal_pgp(struct ll_sealing *g, const struct ll_slice *to, size_t n,
                                   struct ll_slice inner, struct ll_buf *out)
{
    struct ll_slice signer =
        g->sign == LL_SEAL_PGP ? g->own.by[LL_SEAL_PGP].key.fingerprint : LL_LIT("");
    char word[BOUNDARY_N + 1];

    if (!boundary(word))
        return LL_SEAL_RESOURCE;
    if (g->card && g->sign == LL_SEAL_PGP)
        return seal_by_card(g, to, n, inner, ll_slice_str(word), out);
    return n > 0
               ? ll_pgp_mime_encrypt(g->pgp, to, n, signer, inner, ll_slice_str(word), g->now, out)
               : ll_pgp_mime_sign(g->pgp, signer, inner, ll_slice_str(word), g->now, out);
}

/* Signed first, then sealed: the seal hides who signed. */
static enum ll_seal_error seal_smime(struct ll_sealing *g, const struct ll_slice *to, size_t n,
                                     struct ll_slice inner, struct ll_buf *out)
{
    struct ll_buf signed_ = LL_BUF(ROOM);
    enum ll_seal_error e = LL_SEAL_OK;
    char word[BOUNDARY_N + 1];

    if (!boundary(word))
        return LL_SEAL_RESOURCE;
    if (g->sign == LL_SEAL_SMIME)
        e = ll_smime_mime_sign(g->smime, g->own.by[LL_SEAL_SMIME].key.fingerprint, inner,
                               ll_slice_str(word), g->now, n > 0 ? &signed_ : out);
    if (e == LL_SEAL_OK && n > 0)
        e = ll_smime_mime_encrypt(g->smime, to, n,
                                  g->sign == LL_SEAL_SMIME ? ll_buf_slice(&signed_) : inner, g->now,
                                  LL_SMIME_AUTO, out);
    ll_buf_wipe(&signed_);
    return e;
}

/* The letter for some of the recipients: to[0..n), which are the keys of those and of who writes.
 */
static int build(struct ll_sealing *g, const struct parts *p, const struct ll_slice *to, size_t n,
                 struct ll_sent *rcpt, size_t n_rcpt)
{
    /* Thread-Topic: Outlook writes the Subject there too. X-: whatever programs think of. */
    static const struct ll_slice inside[] = {LL_LIT("Autocrypt-Gossip"), LL_LIT("Thread-Topic"),
                                             LL_LIT("X-")};
    struct ll_protect protect = {.fields = ll_buf_slice(&p->fields),
                                 .entity = ll_buf_slice(&p->entity),
                                 .cipher = n > 0,
                                 .policy = LL_PROTECT_POLICY_BASELINE,
                                 .hide = inside,
                                 .n_hide = LL_COUNT(inside),
                                 .legacy_display = n > 0};
    struct ll_buf inner = LL_BUF(ROOM), outer = LL_BUF(LL_MSG_HEADER_MAX), sealed = LL_BUF(ROOM);
    struct ll_buf letter = LL_BUF(ROOM);
    enum ll_protect_error pe = ll_protect_write(&protect, &inner, &outer);
    enum ll_seal_error e = LL_SEAL_OK;
    enum ll_seal_method m = n > 0 ? g->seal : g->sign;
    int status = 0;

    if (pe != LL_PROTECT_OK) {
        status = ll_fail(EX_DATAERR, "%s", ll_protect_error_text(pe));
    } else {
        e = m == LL_SEAL_PGP ? seal_pgp(g, to, n, ll_buf_slice(&inner), &sealed)
                             : seal_smime(g, to, n, ll_buf_slice(&inner), &sealed);
        if (e != LL_SEAL_OK)
            status =
                fault(n > 0 ? "the letter cannot be sealed" : "the letter cannot be signed", e);
    }
    if (status == 0) {
        ll_buf_put_slice(&letter, ll_buf_slice(&p->trace));
        ll_buf_put_slice(&letter, ll_buf_slice(&outer));
        ll_buf_put_slice(&letter, ll_buf_slice(&sealed));
        status = ll_send_add(g->s, &letter, rcpt, n_rcpt);
    }
    ll_buf_wipe(&inner);
    ll_buf_release(&outer);
    ll_buf_release(&sealed);
    ll_buf_release(&letter);
    return status;
}

/* ---- all letters -------------------------------------------------------------------------------
 */

/* What we look like to OpenPGP users: our key travels in the header (Autocrypt level 1, 2.1). A
 * letter that has such a field keeps it. */
static void put_autocrypt(struct ll_sealing *g, struct ll_slice header, struct ll_buf *out)
{
    const struct ll_account *account = g->s->account;
    const char *wish = account && account->autocrypt ? account->autocrypt : "yes";
    struct ll_seal_key *own = &g->own.by[LL_SEAL_PGP];
    struct ll_buf key = LL_BUF(LL_AUTOCRYPT_FIELD_MAX);
    struct ll_autocrypt a = {.address = g->own.address, .mutual = strcmp(wish, "mutual") == 0};
    struct ll_msg_field f;

    if (own->found && strcmp(wish, "no") != 0 &&
        !ll_msg_field_find(header, LL_LIT("Autocrypt"), &f) &&
        ll_seal_load(g, &own->key, false) == 0 &&
        ll_pgp_export(g->pgp, own->key.fingerprint, LL_PGP_MINIMAL, false, g->own.address, &key) ==
            LL_SEAL_OK) {
        a.keydata = ll_buf_slice(&key);
        ll_autocrypt_put(out, "Autocrypt", &a);
    }
    ll_buf_release(&key);
}

/* Those who see each other learn each other's keys, under the seal, so that all can answer all
 * (Autocrypt level 1, 2.2). */
static void put_gossip(struct ll_sealing *g, struct ll_buf *out)
{
    size_t seen = 0;

    for (size_t i = 0; i < g->n_to; i++)
        seen += !g->to[i].hidden;
    for (size_t i = 0; i < g->n_to && seen > 1 && g->seal == LL_SEAL_PGP; i++) {
        struct ll_buf key = LL_BUF(LL_AUTOCRYPT_FIELD_MAX);
        struct ll_autocrypt a = {.address = g->to[i].address};

        if (!g->to[i].hidden &&
            ll_pgp_export(g->pgp, g->to[i].by[LL_SEAL_PGP].key.fingerprint, LL_PGP_MINIMAL, false,
                          a.address, &key) == LL_SEAL_OK) {
            a.keydata = ll_buf_slice(&key);
            ll_autocrypt_put(out, "Autocrypt-Gossip", &a);
        }
        ll_buf_release(&key);
    }
}

static bool is_hidden(const struct ll_sealing *g, const struct ll_sent *r)
{
    const struct ll_seal_person *p = ll_seal_person(g, r->address);

    return p && p->hidden;
}

/* Those who see each other get one letter, each other one of its own: the keys of a letter tell
 * whom it is for. */
static int build_sealed(struct ll_sealing *g, const struct parts *p)
{
    struct ll_send *s = g->s;
    struct ll_slice *to = calloc(s->n_rcpt + 1, sizeof(*to));
    size_t n = 0, seen = 0;
    int status = to ? 0 : ll_fail(EX_OSERR, "no memory");

    for (size_t i = 0; i < s->n_rcpt; i++) /* the visible ones come first */
        if (!is_hidden(g, &s->rcpt[i])) {
            struct ll_sent r = s->rcpt[seen];

            s->rcpt[seen++] = s->rcpt[i];
            s->rcpt[i] = r;
        }
    for (size_t i = 0, k; i < s->n_rcpt && status == 0; i = k) {
        struct ll_slice own = g->own.by[g->seal].key.fingerprint;

        n = 0;
        k = i < seen ? seen : i + 1;
        for (size_t j = i; j < k; j++) {
            struct ll_slice f = ll_seal_person(g, s->rcpt[j].address)->by[g->seal].key.fingerprint;
            bool there = false;

            for (size_t d = 0; d < n; d++)
                there = there || ll_slice_eq(to[d], f);
            if (!there && !ll_slice_eq(f, own))
                to[n++] = f;
        }
        if (g->own.by[g->seal].found) /* last: programs try keys in this order */
            to[n++] = own;
        status = build(g, p, to, n, &s->rcpt[i], k - i);
    }
    free(to);
    return status;
}

/* What is under the seal is 7-bit; a ready letter may have UTF-8 in its fields (RFC 6532). */
static int make_ascii(struct ll_sealing *g, struct ll_buf *fields)
{
    struct ll_buf ascii = LL_BUF(2 * LL_MSG_HEADER_MAX);
    struct ll_slice rest = ll_buf_slice(fields);
    struct ll_msg_field f;
    int status = 0;

    if (ll_is_ascii(rest))
        return 0;
    while (status == 0 && ll_msg_field_next(&rest, &f)) {
        enum ll_compose_error e = LL_COMPOSE_OK;

        if (ll_is_ascii(f.raw))
            ll_buf_put_slice(&ascii, f.raw);
        else
            e = ll_people_ascii_field(f.name, f.body, &g->s->arena, &ascii);
        if (e != LL_COMPOSE_OK)
            status =
                ll_fail(EX_DATAERR, "the field %.*s cannot go under a seal: %s", LL_FMT(f.name),
                        e == LL_COMPOSE_ADDRESS ? "an address in it is not ASCII"
                                                : ll_compose_error_text(e));
    }
    ll_buf_wipe(fields);
    *fields = ascii;
    return status;
}

int ll_seal_build(struct ll_sealing *g)
{
    struct parts p = {LL_BUF(2 * LL_MSG_HEADER_MAX), LL_BUF(2 * LL_MSG_HEADER_MAX), LL_BUF(ROOM)};
    struct ll_send *s = g->s;
    enum ll_compose_error e =
        ll_compose_from_letter(ll_buf_slice(&s->text), &p.trace, &p.fields, &p.entity);
    int status = 0;

    if (e != LL_COMPOSE_OK)
        status = ll_fail(EX_DATAERR, "%s", ll_compose_error_text(e));
    if (status == 0)
        status = make_ascii(g, &p.fields);
    if (status == 0 && g->sign != LL_SEAL_NONE)
        status = open_signer(g);
    if (status == 0)
        put_autocrypt(g, ll_buf_slice(&p.fields), &p.fields);
    if (status == 0)
        put_gossip(g, &p.fields);
    if (status == 0 && g->seal != LL_SEAL_NONE && g->own.by[g->seal].found)
        status = ll_seal_load(g, &g->own.by[g->seal].key, false);
    if (status == 0)
        status = g->seal != LL_SEAL_NONE ? build_sealed(g, &p)
                                         : build(g, &p, NULL, 0, s->rcpt, s->n_rcpt);
    ll_buf_release(&p.trace);
    ll_buf_wipe(&p.fields);
    ll_buf_wipe(&p.entity);
    return status;
}

/* ---- what send asks ----------------------------------------------------------------------------
 */

/* Sealed letters are not sealed once more; what is signed may be. */
static int check_letter(struct ll_sealing *g, bool seals)
{
    static const char *const types[] = {"multipart/encrypted", "application/pkcs7-mime",
                                        "application/x-pkcs7-mime"};
    struct ll_mime mime;
    const struct ll_mime_part *root;

    if (ll_mime_parse(ll_buf_slice(&g->s->text), &g->s->arena, &mime) != LL_MIME_OK)
        return ll_fail(EX_DATAERR, "the parts of the letter are over the limits");
    root = &mime.part[0];
    for (size_t i = 0; i < LL_COUNT(types); i++) {
        const char *slash = strchr(types[i], '/');
        struct ll_slice type = ll_slice(types[i], (size_t)(slash - types[i]));

        if (ll_slice_caseeq(root->type.type, type) &&
            ll_slice_caseeq(root->type.subtype, ll_slice_str(slash + 1)))
            return ll_fail(EX_DATAERR, "the letter is sealed already; send it with --seal none "
                                       "--no-sign");
    }
    if (!seals && ll_mime_is(root, "multipart", "signed"))
        return ll_fail(EX_DATAERR, "the letter is signed already; send it with --no-sign");
    return 0;
}

static int list_people(struct ll_sealing *g)
{
    struct ll_send *s = g->s;
    struct ll_slice header, body;
    struct ll_msg_field f;
    bool *seen = calloc(s->n_rcpt + 1, sizeof(*seen));
    int status = 0;

    g->to = calloc(s->n_rcpt + 1, sizeof(*g->to));
    if (!g->to || !seen)
        status = ll_fail(EX_OSERR, "no memory");
    ll_msg_split(ll_buf_slice(&s->text), &header, &body);
    while (status == 0 && ll_msg_field_next(&header, &f)) {
        struct ll_msg_address *list = NULL;
        size_t n = 0;

        if (f.bad ||
            (!ll_slice_caseeq(f.name, LL_LIT("To")) && !ll_slice_caseeq(f.name, LL_LIT("Cc"))))
            continue;
        if (ll_msg_addresses(f.body, &s->arena, &list, &n) != LL_MSG_OK)
            continue;
        for (size_t i = 0; i < n; i++) {
            struct ll_mailbox m;

            if (ll_mailbox_parse(list[i].spec, true, &m) != LL_ADDR_OK)
                continue;
            for (size_t k = 0; k < s->n_rcpt; k++)
                seen[k] = seen[k] || ll_slice_caseeq(s->rcpt[k].address, ll_mailbox_text(&m));
        }
    }
    for (size_t i = 0; status == 0 && i < s->n_rcpt; i++)
        g->to[g->n_to++] =
            (struct ll_seal_person){.address = s->rcpt[i].address, .hidden = !seen[i]};
    free(seen);
    return status;
}

/* Who signs is who wrote: From, not the envelope. */
static enum ll_msg_error take_author(struct ll_sealing *g)
{
    struct ll_slice header, body, author;
    struct ll_mailbox m;
    enum ll_msg_error e;

    ll_msg_split(ll_buf_slice(&g->s->text), &header, &body);
    e = ll_msg_author(header, &g->s->arena, &author);
    if (e == LL_MSG_OK && ll_mailbox_parse(author, true, &m) != LL_ADDR_OK)
        e = LL_MSG_BAD_FROM;
    if (e == LL_MSG_OK)
        g->own.address = ll_arena_dup(&g->s->arena, ll_mailbox_text(&m));
    return e == LL_MSG_OK && !g->own.address.p ? LL_MSG_RESOURCE : e;
}

/* --store, the settings, the user's own; false: there is no home. */
static bool store_path(const struct ll_send *s, struct ll_buf *out)
{
    const char *file = s->store ? s->store : s->config ? s->config->store : NULL;

    if (file)
        ll_buf_puts(out, file);
    return file || ll_keystore_path(out);
}

static bool has_store(const struct ll_send *s)
{
    struct ll_buf path = LL_BUF(4096);
    bool has = store_path(s, &path) && ll_buf_str(&path) && access(ll_buf_str(&path), R_OK) == 0;

    ll_buf_release(&path);
    return has;
}

static int open_store(struct ll_sealing *g, bool create)
{
    struct ll_buf path = LL_BUF(4096), err = LL_BUF(4096);
    enum ll_keystore_result r;
    int status = 0;

    if (!store_path(g->s, &path))
        status = ll_fail(EX_CONFIG, "there is no HOME: --store FILE says where your keys are");
    if (status == 0) {
        r = ll_keystore_open(ll_buf_str(&path), create, &g->store, &err);
        if (r != LL_KEYSTORE_OK)
            status = ll_fail_text(r == LL_KEYSTORE_BUSY      ? EX_TEMPFAIL
                                  : r == LL_KEYSTORE_REFUSED ? EX_NOPERM
                                                             : EX_UNAVAILABLE,
                                  &err);
    }
    ll_buf_release(&path);
    ll_buf_release(&err);
    return status;
}

static bool is_asked(const struct ll_send *s, bool *ret_seals)
{
    const char *word = s->seal_word ? s->seal_word : s->account ? s->account->seal : NULL;

    *ret_seals = word && strcmp(word, "none") != 0;
    return *ret_seals || (!s->no_sign && (s->sign || (s->account && s->account->sign)));
}

static void release(struct ll_sealing *g)
{
    ll_keystore_close(g->store);
    ll_resolver_free(g->resolver);
    ll_pgp_free(g->pgp);
    ll_smime_free(g->smime);
    free(g->to);
    free(g);
}

void ll_send_seal_release(struct ll_send *s)
{
    if (s->sealing)
        release(s->sealing);
    s->sealing = NULL;
}

const char *ll_send_seal_word(const struct ll_send *s)
{
    return ll_seal_method_word(s->sealing ? s->sealing->seal : LL_SEAL_NONE);
}

const char *ll_send_sign_word(const struct ll_send *s)
{
    return ll_seal_method_word(s->sealing ? s->sealing->sign : LL_SEAL_NONE);
}

static int begin(struct ll_send *s)
{
    struct ll_sealing *g = calloc(1, sizeof(*g));

    if (!g)
        return ll_fail(EX_OSERR, "no memory");
    *g = (struct ll_sealing){
        .s = s, .now = ll_unix_s(), .pgp = ll_pgp_new(), .smime = ll_smime_new()};
    s->sealing = g;
    return g->pgp && g->smime ? 0 : ll_fail(EX_OSERR, "no memory");
}

/* A letter in clear: the own key goes along, where there is one. What hinders that hinders no
 * letter.
 */
static int send_plain(struct ll_send *s)
{
    struct ll_buf whole = LL_BUF(2ul * LL_SEND_LETTER_MAX);
    struct ll_slice header, body;
    size_t n;

    if (has_store(s) && begin(s) == 0 && take_author(s->sealing) == LL_MSG_OK &&
        open_store(s->sealing, false) == 0 && ll_seal_own(s->sealing) == 0) {
        ll_msg_split(ll_buf_slice(&s->text), &header, &body);
        ll_buf_put_slice(&whole, header);
        n = whole.n;
        put_autocrypt(s->sealing, header, &whole);
        ll_buf_puts(&whole, "\r\n");
        ll_buf_put_slice(&whole, body);
        if (whole.n > n + 2 + body.n && !whole.failed) {
            ll_buf_release(&s->text);
            s->text = whole;
            whole = LL_BUF(0);
        }
    }
    ll_buf_release(&whole);
    ll_send_seal_release(s);
    return ll_send_add(s, &s->text, s->rcpt, s->n_rcpt);
}

int ll_send_seal(struct ll_send *s)
{
    enum ll_msg_error e = LL_MSG_OK;
    struct ll_sealing *g;
    bool seals;
    int status;

    if (!is_asked(s, &seals))
        return send_plain(s);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* neither keys nor text may end in a core file */
    status = begin(s);
    g = s->sealing;
    if (status == 0)
        status = check_letter(g, seals);
    if (status == 0 && (e = take_author(g)) != LL_MSG_OK)
        status = ll_fail(EX_DATAERR, "%s", ll_msg_error_info(e)->text);
    if (status == 0)
        status = list_people(g);
    if (status == 0)
        status = open_store(g, seals);
    if (status == 0)
        status = ll_seal_choose(g);
    if (status == 0 && (g->seal != LL_SEAL_NONE || g->sign != LL_SEAL_NONE) && !s->dry_run)
        status = ll_seal_build(g);
    return status;
}
