/* See io/keystore.h. What changes the store. */
#include "io/keystore_internal.h"

static int note_event(struct ll_keystore *k, enum ll_seal_method kind, struct ll_slice fingerprint,
                      enum ll_keystore_event event, struct ll_slice note, int64_t now)
{
    return ll_keystore_do(k,
                          "INSERT INTO history (at, kind, fingerprint, event, note)"
                          " VALUES (?1, ?2, ?3, ?4, ?5)",
                          "iitib", now, (int64_t)kind, fingerprint, (int64_t)event, note);
}

/* The row of a key, and whether its octets are these. SQLITE_DONE: there is none. */
static int row_of(struct ll_keystore *k, enum ll_seal_method kind, struct ll_slice fingerprint,
                  struct ll_slice octets, int64_t *ret_id, bool *ret_same)
{
    int rc;
    sqlite3_stmt *s =
        ll_keystore_sql(k, &rc, "SELECT id, octets FROM keys WHERE kind = ?1 AND fingerprint = ?2",
                        "it", (int64_t)kind, fingerprint);

    if (s && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        *ret_id = sqlite3_column_int64(s, 0);
        *ret_same = ll_slice_eq(ll_keystore_column(s, 1), octets);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(s);
    return rc;
}

static int64_t flags_of(const struct ll_keystore_key *key)
{
    return (key->ca ? LL_KEYSTORE_CA : 0) | (key->revoked ? LL_KEYSTORE_REVOKED : 0) |
           (key->can_encrypt ? LL_KEYSTORE_ENCRYPTS : 0);
}

static int insert_key(struct ll_keystore *k, const struct ll_keystore_key *key, int64_t now,
                      int64_t *ret_id)
{
    int rc = ll_keystore_do(
        k,
        "INSERT INTO keys (kind, fingerprint, octets, name, capabilities, created, expires, flags, "
        "trust,"
        " decided, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, ?9, ?9)",
        "itbbbiiii", (int64_t)key->kind, key->fingerprint, key->octets, key->name,
        key->capabilities, key->created, key->expires, flags_of(key), now);

    *ret_id = sqlite3_last_insert_rowid(k->db);
    return rc;
}

static int update_key(struct ll_keystore *k, const struct ll_keystore_key *key, int64_t id,
                      int64_t now)
{
    return ll_keystore_do(k,
                          "UPDATE keys SET octets = ?2, name = ?3, created = ?4, expires = ?5,"
                          " flags = (flags & 8) | ?6, last_seen = max(last_seen, ?7),"
                          " capabilities = CASE WHEN length(?8) THEN ?8 ELSE capabilities END"
                          " WHERE id = ?1",
                          "ibbiiiib", id, key->octets, key->name, key->created, key->expires,
                          flags_of(key), now, key->capabilities);
}

/* The key of this kind that an address had: it counts first, is not this one, and not rejected. */
static int other_of(struct ll_keystore *k, enum ll_seal_method kind, struct ll_slice address,
                    int64_t id, struct ll_arena *arena, struct ll_slice *ret_other)
{
    int rc;
    sqlite3_stmt *s = ll_keystore_sql(
        k, &rc,
        "SELECT k.fingerprint FROM addresses a JOIN keys k ON k.id = a.key WHERE a.address = ?1"
        " AND k.kind = ?2 AND k.id != ?3 AND k.trust != 2 AND k.flags & 1 = 0"
        " ORDER BY k.secret IS NULL, k.trust DESC, k.last_seen DESC LIMIT 1",
        "tii", address, (int64_t)kind, id);

    if (s && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        *ret_other = ll_arena_dup(arena, ll_keystore_column(s, 0));
        rc = ret_other->p ? SQLITE_OK : SQLITE_NOMEM;
    } else if (rc == SQLITE_DONE) {
        rc = SQLITE_OK;
    }
    sqlite3_finalize(s);
    return rc;
}

/* Adds one address; where it is new to this key, looks whether it had another key. */
static int put_address(struct ll_keystore *k, const struct ll_keystore_key *key, int64_t id,
                       struct ll_slice address, struct ll_arena *arena, struct ll_slice *ret_other)
{
    struct ll_buf canonical = LL_BUF(1024);
    int rc = SQLITE_OK;

    if (ll_keystore_address(address, &canonical)) { /* what is no mailbox is never asked for */
        rc = ll_keystore_do(k,
                            "INSERT OR IGNORE INTO addresses (address, key, vouched)"
                            " SELECT ?1, ?2, secret IS NOT NULL FROM keys WHERE id = ?2",
                            "ti", ll_buf_slice(&canonical), id);
        if (rc == SQLITE_OK && sqlite3_changes(k->db) > 0 && ret_other->n == 0 && !key->ca)
            rc = other_of(k, key->kind, ll_buf_slice(&canonical), id, arena, ret_other);
    }
    ll_buf_release(&canonical);
    return rc;
}

static int drop_addresses(struct ll_keystore *k, const struct ll_keystore_key *key, int64_t id)
{
    int rc =
        ll_keystore_do(k, "UPDATE addresses SET vouched = vouched + 2 WHERE key = ?1", "i", id);

    for (size_t i = 0; rc == SQLITE_OK && i < key->n_address; i++) {
        struct ll_buf b = LL_BUF(1024);

        if (ll_keystore_address(key->address[i], &b))
            rc = ll_keystore_do(k,
                                "UPDATE addresses SET vouched = vouched & 1"
                                " WHERE key = ?1 AND address = ?2",
                                "it", id, ll_buf_slice(&b));
        ll_buf_release(&b);
    }
    return rc == SQLITE_OK
               ? ll_keystore_do(k, "DELETE FROM addresses WHERE key = ?1 AND vouched > 1", "i", id)
               : rc;
}

static int put_found(struct ll_keystore *k, int64_t id, enum ll_keystore_source source,
                     struct ll_slice place, int64_t now)
{
    return ll_keystore_do(k,
                          "INSERT INTO found (key, source, place, first, last)"
                          " VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (key, source) DO UPDATE SET"
                          " place = excluded.place, last = max(last, excluded.last)",
                          "iibi", id, (int64_t)source, place, now);
}

static int put_secret(struct ll_keystore *k, const struct ll_keystore_key *key, int64_t id,
                      struct ll_slice secret, int64_t now)
{
    int rc;

    if (secret.n == 0)
        return SQLITE_OK;
    rc = ll_keystore_do(k,
                        "UPDATE keys SET secret = ?2, flags = CASE WHEN secret IS NULL AND NOT"
                        " EXISTS (SELECT 1 FROM keys o WHERE o.kind = keys.kind AND o.flags & 8)"
                        " THEN flags | 8 ELSE flags END WHERE id = ?1",
                        "ib", id, secret);
    if (rc == SQLITE_OK)
        rc = ll_keystore_do(k, "UPDATE addresses SET vouched = 1 WHERE key = ?1", "i", id);
    return rc == SQLITE_OK ? note_event(k, key->kind, key->fingerprint, LL_KEYSTORE_EVENT_SECRET,
                                        LL_LIT(""), now)
                           : rc;
}

enum ll_keystore_result ll_keystore_put(struct ll_keystore *k, const struct ll_keystore_key *key,
                                        struct ll_slice secret, enum ll_keystore_source source,
                                        struct ll_slice place, int64_t now, struct ll_arena *arena,
                                        enum ll_keystore_seen *ret_seen, struct ll_slice *ret_other,
                                        struct ll_buf *ret_err)
{
    struct ll_slice other = {NULL, 0};
    bool mine, known = false, same = false;
    int64_t id = 0;
    int rc = ll_keystore_enter(k, &mine);

    if (rc == SQLITE_OK)
        rc = row_of(k, key->kind, key->fingerprint, key->octets, &id, &same);
    known = rc == SQLITE_OK;
    if (known)
        rc = update_key(k, key, id, now);
    else if (rc == SQLITE_DONE)
        rc = insert_key(k, key, now, &id);
    if (rc == SQLITE_OK && key->whole)
        rc = drop_addresses(k, key, id);
    for (size_t i = 0; rc == SQLITE_OK && i < key->n_address && i < LL_KEYSTORE_ADDRESSES_MAX; i++)
        rc = put_address(k, key, id, key->address[i], arena, &other);
    if (rc == SQLITE_OK)
        rc = put_found(k, id, source, place, now);
    if (rc == SQLITE_OK && !same)
        rc = note_event(k, key->kind, key->fingerprint,
                        known ? LL_KEYSTORE_EVENT_UPDATED : LL_KEYSTORE_EVENT_ADDED, place, now);
    if (rc == SQLITE_OK && other.n > 0)
        rc = note_event(k, key->kind, key->fingerprint, LL_KEYSTORE_EVENT_CHANGE, other, now);
    if (rc == SQLITE_OK)
        rc = put_secret(k, key, id, secret, now);
    rc = ll_keystore_leave(k, mine, rc);
    if (rc != SQLITE_OK)
        return ll_keystore_fault(k, rc, ret_err);
    *ret_seen = other.n > 0 ? LL_KEYSTORE_CHANGED : known ? LL_KEYSTORE_SAME : LL_KEYSTORE_NEW;
    *ret_other = other;
    return LL_KEYSTORE_OK;
}

/* ---- decisions
 * ----------------------------------------------------------------------------------- */

/* Runs one change of one key and notes it: NONE where no row changed. */
static enum ll_keystore_result change(struct ll_keystore *k, enum ll_seal_method kind,
                                      struct ll_slice fingerprint, const char *const sql[],
                                      int64_t value, enum ll_keystore_event event,
                                      struct ll_slice note, int64_t now, struct ll_buf *ret_err)
{
    bool mine, hit = true;
    int rc = ll_keystore_enter(k, &mine);

    for (size_t i = 0; rc == SQLITE_OK && hit && sql[i]; i++) {
        rc = ll_keystore_do(k, sql[i], "itii", (int64_t)kind, fingerprint, value, now);
        if (i == 0)
            hit = sqlite3_changes(k->db) > 0;
    }
    if (rc == SQLITE_OK && hit)
        rc = note_event(k, kind, fingerprint, event, note, now);
    rc = ll_keystore_leave(k, mine, rc);
    return rc != SQLITE_OK ? ll_keystore_fault(k, rc, ret_err)
           : hit           ? LL_KEYSTORE_OK
                           : LL_KEYSTORE_NONE;
}

enum ll_keystore_result ll_keystore_decide(struct ll_keystore *k, enum ll_seal_method kind,
                                           struct ll_slice fingerprint,
                                           enum ll_keystore_trust trust, struct ll_slice note,
                                           int64_t now, struct ll_buf *ret_err)
{
    static const char *const sql[] = {
        "UPDATE keys SET trust = ?3, decided = ?4 WHERE kind = ?1 AND fingerprint = ?2",
        /* What is verified is the key with the addresses that it has now. ?4 is not used. */
        "UPDATE addresses SET vouched = (?3 = 1 OR k.secret IS NOT NULL) FROM keys k WHERE"
        " k.id = addresses.key AND k.kind = ?1 AND k.fingerprint = ?2 AND ?4 IS NOT NULL",
        NULL};
    static const enum ll_keystore_event events[] = {
        [LL_KEYSTORE_UNDECIDED] = LL_KEYSTORE_EVENT_DECIDED_UNDECIDED,
        [LL_KEYSTORE_VERIFIED] = LL_KEYSTORE_EVENT_DECIDED_VERIFIED,
        [LL_KEYSTORE_REJECTED] = LL_KEYSTORE_EVENT_DECIDED_REJECTED,
    };

    return change(k, kind, fingerprint, sql, (int64_t)trust, events[trust], note, now, ret_err);
}

enum ll_keystore_result ll_keystore_set_default(struct ll_keystore *k, enum ll_seal_method kind,
                                                struct ll_slice fingerprint, int64_t now,
                                                struct ll_buf *ret_err)
{
    static const char *const sql[] = {
        "UPDATE keys SET flags = flags | 8 WHERE kind = ?1 AND fingerprint = ?2"
        " AND secret IS NOT NULL AND ?3 IS NOT NULL AND ?4 IS NOT NULL",
        "UPDATE keys SET flags = flags & ~8 WHERE kind = ?1 AND fingerprint != ?2"
        " AND ?3 IS NOT NULL AND ?4 IS NOT NULL",
        NULL};

    return change(k, kind, fingerprint, sql, 0, LL_KEYSTORE_EVENT_DEFAULT, LL_LIT(""), now,
                  ret_err);
}

enum ll_keystore_result ll_keystore_delete(struct ll_keystore *k, enum ll_seal_method kind,
                                           struct ll_slice fingerprint, bool secret_only,
                                           int64_t now, struct ll_buf *ret_err)
{
    static const char *const whole[] = {"DELETE FROM keys WHERE kind = ?1 AND fingerprint = ?2"
                                        " AND ?3 IS NOT NULL AND ?4 IS NOT NULL",
                                        NULL};
    static const char *const secret[] = {
        "UPDATE keys SET secret = NULL, flags = flags & ~8 WHERE kind = ?1 AND fingerprint = ?2"
        " AND secret IS NOT NULL AND ?3 IS NOT NULL AND ?4 IS NOT NULL",
        NULL};

    return change(k, kind, fingerprint, secret_only ? secret : whole, 0,
                  secret_only ? LL_KEYSTORE_EVENT_SECRET_DELETED : LL_KEYSTORE_EVENT_DELETED,
                  LL_LIT(""), now, ret_err);
}

/* ---- peers
 * ----------------------------------------------------------------------------------------
 */

enum ll_keystore_result ll_keystore_set_peer(struct ll_keystore *k, struct ll_slice whose,
                                             const struct ll_autocrypt_peer *p,
                                             struct ll_buf *ret_err)
{
    struct ll_buf address = LL_BUF(1024);
    bool mine;
    int rc;

    if (!ll_keystore_address(whose, &address)) {
        ll_buf_release(&address);
        return LL_KEYSTORE_NONE;
    }
    rc = ll_keystore_enter(k, &mine);
    if (rc == SQLITE_OK)
        rc = ll_keystore_do(k,
                            "INSERT OR REPLACE INTO peers (address, last_seen, timestamp,"
                            " fingerprint, mutual, gossip_timestamp, gossip_fingerprint)"
                            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                            "tiitiit", ll_buf_slice(&address), p->last_seen, p->timestamp, p->key,
                            (int64_t)p->mutual, p->gossip_timestamp, p->gossip_key);
    rc = ll_keystore_leave(k, mine, rc);
    ll_buf_release(&address);
    return rc == SQLITE_OK ? LL_KEYSTORE_OK : ll_keystore_fault(k, rc, ret_err);
}
