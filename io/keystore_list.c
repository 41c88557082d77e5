/* See io/keystore.h. What reads the store. */
#include "io/keystore_internal.h"

#define FINGERPRINT_MIN 8 /* digits of a part of a fingerprint */
#define FINGERPRINT_MAX 128

const char *ll_keystore_source_word(enum ll_keystore_source source)
{
    switch (source) {
#define ROW(ID, number, word, text, rank)                                                          \
    case LL_KEYSTORE_##ID:                                                                         \
        return word;
        LL_KEYSTORE_SOURCES(ROW)
#undef ROW
    }
    return "unknown";
}

const char *ll_keystore_source_text(enum ll_keystore_source source)
{
    switch (source) {
#define ROW(ID, number, word, text, rank)                                                          \
    case LL_KEYSTORE_##ID:                                                                         \
        return text;
        LL_KEYSTORE_SOURCES(ROW)
#undef ROW
    }
    return "at an unknown place";
}

const char *ll_keystore_trust_word(enum ll_keystore_trust trust)
{
    static const char *const words[] = {
#define ROW(ID, number, word) [number] = word,
        LL_KEYSTORE_TRUSTS(ROW)
#undef ROW
    };

    return (size_t)trust < LL_COUNT(words) ? words[trust] : "undecided";
}

const char *ll_keystore_choice_text(enum ll_keystore_choice choice)
{
    static const char *const texts[] = {
#define ROW(ID, text) text,
        LL_KEYSTORE_CHOICES(ROW)
#undef ROW
    };

    return texts[choice];
}

const char *ll_keystore_event_text(enum ll_keystore_event event)
{
    static const char *const texts[] = {
#define ROW(ID, number, text) [number] = text,
        LL_KEYSTORE_EVENTS(ROW)
#undef ROW
    };

    return (size_t)event < LL_COUNT(texts) && texts[event] ? texts[event] : "something unknown";
}

/* ---- keys
 * ---------------------------------------------------------------------------------------- */

/* The rank of a source, in SQL: the table of sources again. */
#define RANK(ID, number, word, text, rank) " WHEN " #number " THEN " #rank
#define RANKED                                                                                     \
    "(SELECT max(CASE f.source" LL_KEYSTORE_SOURCES(                                               \
        RANK) " ELSE 0 END) FROM found f WHERE f.key = k.id)"

/* ?1 kind or 0, ?2 address or '', ?3 fingerprint part or '', ?4 own, ?5 others, ?6 ca or -1 */
static const char list_sql[] =
    "SELECT k.id, k.kind, k.fingerprint, k.octets, k.name, k.created, k.expires, k.flags,"
    " CASE WHEN k.trust = 1 AND a.vouched = 0 THEN 0 ELSE k.trust END AS counts, k.decided,"
    " k.first_seen, k.last_seen, k.secret IS NOT NULL, k.capabilities"
    " FROM keys k LEFT JOIN addresses a ON a.key = k.id AND a.address = ?2"
    " WHERE (?1 = 0 OR k.kind = ?1) AND (?2 = '' OR a.key IS NOT NULL)"
    " AND (?3 = '' OR substr(k.fingerprint, 1, length(?3)) = ?3"
    "  OR substr(k.fingerprint, -length(?3)) = ?3)"
    " AND (NOT ?4 OR k.secret IS NOT NULL) AND (NOT ?5 OR k.secret IS NULL)"
    " AND (?6 < 0 OR (k.flags & 1) = ?6)"
    " ORDER BY k.secret IS NULL, k.flags & 8 DESC, counts = 2, counts DESC, " RANKED " DESC,"
    " k.last_seen DESC, k.id DESC";

/* Digits alone, lower case. False: other octets, too few or too many. */
static bool fingerprint_part(struct ll_slice in, struct ll_buf *out)
{
    if (ll_slice_casestarts(in, LL_LIT("0x")))
        in = ll_slice_skip(in, 2);
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = ll_lower(in.p[i]);

        if (c == ' ' || c == ':')
            continue;
        if (!ll_is_digit(c) && !(c >= 'a' && c <= 'f'))
            return false;
        ll_buf_putc(out, c);
    }
    return !out->failed && out->n >= FINGERPRINT_MIN && out->n <= FINGERPRINT_MAX;
}

static int read_addresses(struct ll_keystore *k, int64_t id, struct ll_arena *arena,
                          struct ll_keystore_key *key)
{
    int rc;
    sqlite3_stmt *s = ll_keystore_sql(k, &rc,
                                      "SELECT address, vouched FROM addresses WHERE key = ?1"
                                      " ORDER BY vouched DESC, address LIMIT 100",
                                      "i", id);

    key->address = ll_arena_alloc(arena, LL_KEYSTORE_ADDRESSES_MAX * sizeof(*key->address));
    if (s && !key->address)
        rc = SQLITE_NOMEM;
    while (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct ll_slice a = ll_arena_dup(arena, ll_keystore_column(s, 0));

        key->n_vouched += sqlite3_column_int(s, 1) != 0;
        key->address[key->n_address++] = a;
        rc = a.p ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(s);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int read_found(struct ll_keystore *k, int64_t id, struct ll_arena *arena,
                      struct ll_keystore_key *key)
{
    enum { ROOM = 16 }; /* one a source */
    int rc;
    sqlite3_stmt *s = ll_keystore_sql(k, &rc,
                                      "SELECT source, place, first, last FROM found WHERE"
                                      " key = ?1 ORDER BY CASE source" LL_KEYSTORE_SOURCES(
                                          RANK) " ELSE 0 END DESC, last DESC LIMIT 16",
                                      "i", id);

    key->found = ll_arena_alloc(arena, ROOM * sizeof(*key->found));
    if (s && !key->found)
        rc = SQLITE_NOMEM;
    while (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct ll_keystore_found *f = &key->found[key->n_found++];

        f->source = (enum ll_keystore_source)sqlite3_column_int(s, 0);
        f->place = ll_arena_dup(arena, ll_keystore_column(s, 1));
        f->first = sqlite3_column_int64(s, 2);
        f->last = sqlite3_column_int64(s, 3);
        rc = f->place.p ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(s);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int read_key(struct ll_keystore *k, sqlite3_stmt *s, struct ll_arena *arena,
                    struct ll_keystore_key *ret)
{
    int64_t id = sqlite3_column_int64(s, 0), flags = sqlite3_column_int64(s, 7);
    int rc;

    *ret = (struct ll_keystore_key){
        .kind = (enum ll_seal_method)sqlite3_column_int(s, 1),
        .fingerprint = ll_arena_dup(arena, ll_keystore_column(s, 2)),
        .octets = ll_arena_dup(arena, ll_keystore_column(s, 3)),
        .name = ll_arena_dup(arena, ll_keystore_column(s, 4)),
        .created = sqlite3_column_int64(s, 5),
        .expires = sqlite3_column_int64(s, 6),
        .ca = flags & LL_KEYSTORE_CA,
        .revoked = flags & LL_KEYSTORE_REVOKED,
        .can_encrypt = flags & LL_KEYSTORE_ENCRYPTS,
        .is_default = flags & LL_KEYSTORE_DEFAULT_KEY,
        .trust = (enum ll_keystore_trust)sqlite3_column_int(s, 8),
        .decided = sqlite3_column_int64(s, 9),
        .first_seen = sqlite3_column_int64(s, 10),
        .last_seen = sqlite3_column_int64(s, 11),
        .own = sqlite3_column_int(s, 12) != 0,
        .capabilities = ll_arena_dup(arena, ll_keystore_column(s, 13)),
    };
    if (!ret->fingerprint.p || !ret->capabilities.p || !ret->octets.p || !ret->name.p)
        return SQLITE_NOMEM;
    rc = read_addresses(k, id, arena, ret);
    return rc == SQLITE_OK ? read_found(k, id, arena, ret) : rc;
}

/* Doubles the room in the arena: a list is short, and what is left behind is freed with it. */
static bool more_room(struct ll_arena *arena, struct ll_keystore_key **v, size_t n, size_t *room)
{
    size_t want = *room ? *room * 2 : 8;
    struct ll_keystore_key *bigger;

    if (n < *room)
        return true;
    if (n >= LL_KEYSTORE_LIST_MAX || !(bigger = ll_arena_alloc(arena, want * sizeof(*bigger))))
        return false;
    if (n > 0)
        memcpy(bigger, *v, n * sizeof(*bigger));
    *v = bigger;
    *room = want;
    return true;
}

static int read_list(struct ll_keystore *k, sqlite3_stmt *s, struct ll_arena *arena,
                     struct ll_keystore_key **ret, size_t *ret_n)
{
    struct ll_keystore_key *v = NULL;
    size_t n = 0, room = 0;
    int rc = SQLITE_OK;

    while (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW)
        rc = more_room(arena, &v, n, &room) ? read_key(k, s, arena, &v[n++]) : SQLITE_NOMEM;
    *ret = v;
    *ret_n = n;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

enum ll_keystore_result ll_keystore_list(struct ll_keystore *k, const struct ll_keystore_query *q,
                                         struct ll_arena *arena, struct ll_keystore_key **ret,
                                         size_t *ret_n, struct ll_buf *ret_err)
{
    struct ll_buf address = LL_BUF(1024), part = LL_BUF(FINGERPRINT_MAX + 1);
    bool possible = (q->address.n == 0 || ll_keystore_address(q->address, &address)) &&
                    (q->fingerprint.n == 0 || fingerprint_part(q->fingerprint, &part));
    int64_t ca = q->any_ca || (q->fingerprint.n > 0 && !q->ca) ? -1 : q->ca;
    sqlite3_stmt *s = NULL;
    int rc = SQLITE_OK;

    *ret = NULL;
    *ret_n = 0;
    if (possible)
        s = ll_keystore_sql(k, &rc, list_sql, "ittiii", (int64_t)q->kind, ll_buf_slice(&address),
                            ll_buf_slice(&part), (int64_t)q->own, (int64_t)q->others, ca);
    if (s)
        rc = read_list(k, s, arena, ret, ret_n);
    sqlite3_finalize(s);
    ll_buf_release(&address);
    ll_buf_release(&part);
    if (rc != SQLITE_OK)
        return ll_keystore_fault(k, rc, ret_err);
    return *ret_n > 0 ? LL_KEYSTORE_OK : LL_KEYSTORE_NONE;
}

/* ---- the best
 * ------------------------------------------------------------------------------------- */

static bool usable(const struct ll_keystore_key *key, int64_t now)
{
    return key->trust != LL_KEYSTORE_REJECTED && !key->revoked && key->can_encrypt &&
           (key->expires == 0 || key->expires > now);
}

/* Somebody else's key was here before this own one: a secret key that came in a file, whose maker
 * has it too, takes no address over. */
static bool takes_over(const struct ll_keystore_key *v, size_t n, size_t chosen, int64_t now)
{
    for (size_t i = 0; i < n; i++)
        if (!v[i].own && usable(&v[i], now) && v[i].first_seen < v[chosen].first_seen)
            return true;
    return false;
}

static enum ll_keystore_choice why(const struct ll_keystore_key *v, size_t n, size_t chosen,
                                   size_t others, int64_t now)
{
    if (v[chosen].own && v[chosen].trust != LL_KEYSTORE_VERIFIED && takes_over(v, n, chosen, now))
        return LL_KEYSTORE_CHOSE_BETTER;
    if (v[chosen].own)
        return LL_KEYSTORE_CHOSE_OWN;
    if (v[chosen].trust == LL_KEYSTORE_VERIFIED)
        return LL_KEYSTORE_CHOSE_VERIFIED;
    for (size_t i = 0; i < n; i++)
        if (v[i].trust == LL_KEYSTORE_VERIFIED)
            return LL_KEYSTORE_CHOSE_AFTER;
    return others > 0 ? LL_KEYSTORE_CHOSE_BETTER : LL_KEYSTORE_CHOSE_ONLY;
}

enum ll_keystore_result ll_keystore_best(struct ll_keystore *k, struct ll_slice address,
                                         enum ll_seal_method kind, int64_t now,
                                         struct ll_arena *arena, struct ll_keystore_key *ret,
                                         enum ll_keystore_choice *ret_choice,
                                         const struct ll_keystore_key **ret_warn,
                                         struct ll_buf *ret_err)
{
    const struct ll_keystore_query q = {.kind = kind, .address = address};
    struct ll_keystore_key *v = NULL;
    size_t n = 0, chosen, rejected = 0, others = 0;
    enum ll_keystore_result r =
        address.n ? ll_keystore_list(k, &q, arena, &v, &n, ret_err) : LL_KEYSTORE_NONE;

    *ret_warn = NULL;
    if (r != LL_KEYSTORE_OK && r != LL_KEYSTORE_NONE)
        return r;
    for (chosen = 0; chosen < n && !usable(&v[chosen], now); chosen++)
        rejected += v[chosen].trust == LL_KEYSTORE_REJECTED;
    if (chosen == n) {
        *ret_choice = n == 0          ? LL_KEYSTORE_HAVE_NONE
                      : rejected == n ? LL_KEYSTORE_HAVE_REJECTED
                                      : LL_KEYSTORE_HAVE_UNUSABLE;
        return LL_KEYSTORE_NONE;
    }
    for (size_t i = chosen + 1, own = chosen; v[own].own && i < n && own == chosen; i++)
        if (usable(&v[i], now) && v[i].trust == LL_KEYSTORE_VERIFIED &&
            v[own].trust != LL_KEYSTORE_VERIFIED) {
            *ret_warn = &v[own];
            chosen = i;
        }
    for (size_t i = chosen + 1; i < n; i++)
        if (usable(&v[i], now) && v[i].trust == LL_KEYSTORE_UNDECIDED && !v[i].own) {
            others++;
            if (!*ret_warn && v[i].first_seen >= v[chosen].first_seen)
                *ret_warn = &v[i];
        }
    *ret = v[chosen];
    *ret_choice = why(v, n, chosen, others, now);
    return LL_KEYSTORE_OK;
}

/* ---- the rest
 * ------------------------------------------------------------------------------------- */

enum ll_keystore_result ll_keystore_secret(struct ll_keystore *k, enum ll_seal_method kind,
                                           struct ll_slice fingerprint, struct ll_buf *ret,
                                           struct ll_buf *ret_err)
{
    int rc;
    sqlite3_stmt *s = ll_keystore_sql(k, &rc,
                                      "SELECT secret FROM keys WHERE kind = ?1 AND"
                                      " fingerprint = ?2 AND secret IS NOT NULL",
                                      "it", (int64_t)kind, fingerprint);

    if (s && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        ll_buf_put_slice(ret, ll_keystore_column(s, 0));
        rc = ret->failed ? SQLITE_NOMEM : SQLITE_OK;
    }
    sqlite3_finalize(s);
    return rc == SQLITE_OK     ? LL_KEYSTORE_OK
           : rc == SQLITE_DONE ? LL_KEYSTORE_NONE
                               : ll_keystore_fault(k, rc, ret_err);
}

enum ll_keystore_result ll_keystore_history(struct ll_keystore *k, enum ll_seal_method kind,
                                            struct ll_slice fingerprint, struct ll_arena *arena,
                                            struct ll_keystore_entry **ret, size_t *ret_n,
                                            struct ll_buf *ret_err)
{
    enum { ROOM = 1000 }; /* the oldest; nobody reads more */
    struct ll_keystore_entry *v = ll_arena_alloc(arena, ROOM * sizeof(*v));
    size_t n = 0;
    int rc;
    sqlite3_stmt *s = ll_keystore_sql(k, &rc,
                                      "SELECT at, event, note FROM history WHERE kind = ?1 AND"
                                      " fingerprint = ?2 ORDER BY id LIMIT 1000",
                                      "it", (int64_t)kind, fingerprint);

    if (s && !v)
        rc = SQLITE_NOMEM;
    while (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        v[n].at = sqlite3_column_int64(s, 0);
        v[n].event = (enum ll_keystore_event)sqlite3_column_int(s, 1);
        v[n].note = ll_arena_dup(arena, ll_keystore_column(s, 2));
        rc = v[n++].note.p ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(s);
    if (rc != SQLITE_DONE)
        return ll_keystore_fault(k, rc, ret_err);
    *ret = v;
    *ret_n = n;
    return n > 0 ? LL_KEYSTORE_OK : LL_KEYSTORE_NONE;
}

enum ll_keystore_result ll_keystore_peer(struct ll_keystore *k, struct ll_slice address,
                                         struct ll_arena *arena, struct ll_autocrypt_peer *ret,
                                         struct ll_buf *ret_err)
{
    struct ll_buf canonical = LL_BUF(1024);
    int rc = SQLITE_DONE;
    sqlite3_stmt *s = NULL;

    *ret = (struct ll_autocrypt_peer){0};
    if (ll_keystore_address(address, &canonical))
        s = ll_keystore_sql(k, &rc,
                            "SELECT last_seen, timestamp, fingerprint, mutual, gossip_timestamp,"
                            " gossip_fingerprint FROM peers WHERE address = ?1",
                            "t", ll_buf_slice(&canonical));
    if (s && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        *ret = (struct ll_autocrypt_peer){
            .last_seen = sqlite3_column_int64(s, 0),
            .timestamp = sqlite3_column_int64(s, 1),
            .key = ll_arena_dup(arena, ll_keystore_column(s, 2)),
            .mutual = sqlite3_column_int(s, 3) != 0,
            .gossip_timestamp = sqlite3_column_int64(s, 4),
            .gossip_key = ll_arena_dup(arena, ll_keystore_column(s, 5)),
        };
        rc = ret->key.p && ret->gossip_key.p ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(s);
    ll_buf_release(&canonical);
    return rc == SQLITE_OK     ? LL_KEYSTORE_OK
           : rc == SQLITE_DONE ? LL_KEYSTORE_NONE
                               : ll_keystore_fault(k, rc, ret_err);
}
