/* See io/accounts.h. */
#include "io/accounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHANGE_COUNTER_AT 24 /* in the file's header: sqlite.org/fileformat2.html 1.3.7 */

enum statement { FIND, FIRST, EACH, ADD, SET_HASH, SET_LOCKED, DEL, STATEMENTS };

#define COLUMNS "SELECT address, hash, locked, created FROM users "
static const char *const statements[STATEMENTS] = {
    [FIND] = COLUMNS "WHERE address = ?1",
    [FIRST] = COLUMNS "WHERE domain = ?1 ORDER BY created, address LIMIT 1",
    [EACH] = "SELECT address, '', locked, created FROM users ORDER BY domain, address",
    [ADD] = "INSERT INTO users (address, domain, hash, created, locked) VALUES (?1, ?2, ?3, ?4, 0)",
    [SET_HASH] = "UPDATE users SET hash = ?2 WHERE address = ?1",
    [SET_LOCKED] = "UPDATE users SET locked = ?2 WHERE address = ?1",
    [DEL] = "DELETE FROM users WHERE address = ?1",
};

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE users (address TEXT PRIMARY KEY NOT NULL, domain TEXT NOT NULL,"
    " hash TEXT NOT NULL, locked INTEGER NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX users_domain ON users (domain, created);"
    "PRAGMA user_version = 1;"
    "COMMIT;";
_Static_assert(LL_ACCOUNTS_VERSION == 1, "the schema says so too");

struct ll_accounts {
    sqlite3 *db;
    sqlite3_stmt *statement[STATEMENTS];
    char *path;
    dev_t dev;
    ino_t ino;
};

/* ---- opening -------------------------------------------------------------------------------- */

static enum ll_accounts_result fault(struct ll_accounts *a, const char *path, int rc,
                                     struct ll_buf *ret_err)
{
    bool busy = (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED;

    if (ret_err)
        ll_buf_printf(ret_err, "%s: %s\n", path,
                      busy                 ? "another process holds the accounts, try again"
                      : a != NULL && a->db ? sqlite3_errmsg(a->db)
                                           : sqlite3_errstr(rc));
    return busy ? LL_ACCOUNTS_BUSY : LL_ACCOUNTS_BROKEN;
}

static int get_version(sqlite3 *db, int *ret)
{
    sqlite3_stmt *s;
    int rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        *ret = sqlite3_column_int(s, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(s);
    return rc;
}

/* The connection, with what does not depend on the file's content. */
static int connect_file(struct ll_accounts *a, bool write, int busy_ms)
{
    int rc = sqlite3_open_v2(a->path, &a->db,
                             (write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
                                 SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE,
                             NULL);

    if (rc != SQLITE_OK)
        return rc;
    sqlite3_busy_timeout(a->db, busy_ms);
    sqlite3_db_config(a->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(a->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return sqlite3_exec(a->db, "PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY", NULL, NULL,
                        NULL);
}

static struct ll_accounts *accounts_new(const char *path)
{
    struct ll_accounts *a = calloc(1, sizeof(*a));
    char *real = realpath(path, NULL); /* its folder may be reached through a link, it may not */

    if (a && real && (a->path = real))
        return a;
    free(real);
    free(a);
    return NULL;
}

enum ll_accounts_result ll_accounts_open(const char *path, bool write, int busy_ms,
                                         struct ll_accounts **ret, struct ll_buf *ret_err)
{
    struct ll_accounts *a;
    struct stat st;
    enum ll_accounts_result r;
    int version = 0, rc = SQLITE_OK;

    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || !(a = accounts_new(path))) {
        if (ret_err)
            ll_buf_printf(ret_err, "%s: %s\n", path,
                          errno ? strerror(errno) : "not a file of accounts");
        return LL_ACCOUNTS_BROKEN;
    }
    a->dev = st.st_dev;
    a->ino = st.st_ino;
    rc = connect_file(a, write, busy_ms);
    if (rc == SQLITE_OK)
        rc = get_version(a->db, &version);
    if (rc == SQLITE_OK && version != LL_ACCOUNTS_VERSION) {
        if (ret_err)
            ll_buf_printf(ret_err, "%s: accounts of version %d, this program reads version %d\n",
                          path, version, LL_ACCOUNTS_VERSION);
        ll_accounts_close(a);
        return LL_ACCOUNTS_BROKEN;
    }
    for (int i = 0; rc == SQLITE_OK && i < STATEMENTS; i++)
        rc = sqlite3_prepare_v3(a->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                &a->statement[i], NULL);
    if (rc != SQLITE_OK) {
        r = fault(a, path, rc, ret_err);
        ll_accounts_close(a);
        return r;
    }
    *ret = a;
    return LL_ACCOUNTS_OK;
}

void ll_accounts_close(struct ll_accounts *a)
{
    if (!a)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(a->statement[i]);
    sqlite3_close(a->db);
    free(a->path);
    free(a);
}

enum ll_accounts_result ll_accounts_create(const char *path, struct ll_buf *ret_err)
{
    struct ll_accounts *a;
    enum ll_accounts_result r = LL_ACCOUNTS_OK;
    int rc, fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0) {
        if (ret_err)
            ll_buf_printf(ret_err, "%s: %s\n", path, strerror(errno));
        return errno == EEXIST ? LL_ACCOUNTS_EXISTS : LL_ACCOUNTS_BROKEN;
    }
    close(fd);
    if (!(a = accounts_new(path)))
        return LL_ACCOUNTS_BROKEN;
    rc = connect_file(a, true, 0);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(a->db, schema, NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        r = fault(a, path, rc, ret_err);
        unlink(path);
    }
    ll_accounts_close(a);
    return r;
}

/* ---- change ---------------------------------------------------------------------------------- */

uint64_t ll_accounts_generation(struct ll_accounts *a)
{
    sqlite3_file *f = NULL;
    uint8_t b[4];

    /* Through SQLite's own descriptor: closing one of ours would drop its locks. */
    if (sqlite3_file_control(a->db, "main", SQLITE_FCNTL_FILE_POINTER, &f) != SQLITE_OK || !f ||
        !f->pMethods || f->pMethods->xRead(f, b, sizeof(b), CHANGE_COUNTER_AT) != SQLITE_OK)
        return 0;
    return 1 + (((uint64_t)b[0] << 24) | ((uint64_t)b[1] << 16) | ((uint64_t)b[2] << 8) | b[3]);
}

bool ll_accounts_replaced(struct ll_accounts *a)
{
    struct stat st;

    return stat(a->path, &st) < 0 || st.st_dev != a->dev || st.st_ino != a->ino;
}

/* ---- statements ------------------------------------------------------------------------------ */

static void bind_text(sqlite3_stmt *s, int at, struct ll_slice text)
{
    sqlite3_bind_text(s, at, (const char *)text.p, (int)text.n, SQLITE_STATIC);
}

static bool copy_column(sqlite3_stmt *s, int column, char *to, size_t size)
{
    const unsigned char *p = sqlite3_column_text(s, column);
    size_t n = (size_t)sqlite3_column_bytes(s, column);

    if (!p || n >= size || memchr(p, 0, n))
        return false;
    memcpy(to, p, n);
    to[n] = '\0';
    return true;
}

static bool row(sqlite3_stmt *s, struct ll_account *ret)
{
    ret->locked = sqlite3_column_int(s, 2) != 0;
    ret->created = sqlite3_column_int64(s, 3);
    return copy_column(s, 0, ret->address, sizeof(ret->address)) &&
           copy_column(s, 1, ret->hash, sizeof(ret->hash));
}

/* Runs a statement that yields one row or none. */
static enum ll_accounts_result one(struct ll_accounts *a, enum statement which, struct ll_slice key,
                                   struct ll_account *ret, struct ll_buf *ret_err)
{
    sqlite3_stmt *s = a->statement[which];
    enum ll_accounts_result r = LL_ACCOUNTS_OK;
    struct ll_account found;
    int rc;

    bind_text(s, 1, key);
    rc = sqlite3_step(s);
    if (rc == SQLITE_DONE)
        r = LL_ACCOUNTS_NONE;
    else if (rc != SQLITE_ROW)
        r = fault(a, a->path, rc, ret_err);
    else if (!row(s, &found))
        r = fault(NULL, a->path, SQLITE_CORRUPT, ret_err);
    else if (ret)
        *ret = found;
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return r;
}

enum ll_accounts_result ll_accounts_find(struct ll_accounts *a, struct ll_slice name,
                                         struct ll_account *ret, struct ll_buf *ret_err)
{
    return one(a, FIND, name, ret, ret_err);
}

enum ll_accounts_result ll_accounts_first(struct ll_accounts *a, struct ll_slice domain,
                                          struct ll_account *ret, struct ll_buf *ret_err)
{
    return one(a, FIRST, domain, ret, ret_err);
}

enum ll_accounts_result ll_accounts_each(struct ll_accounts *a,
                                         bool (*each)(void *arg, const struct ll_account *),
                                         void *arg, struct ll_buf *ret_err)
{
    sqlite3_stmt *s = a->statement[EACH];
    enum ll_accounts_result r = LL_ACCOUNTS_OK;
    struct ll_account found;
    int rc;

    while ((rc = sqlite3_step(s)) == SQLITE_ROW && row(s, &found))
        if (!each(arg, &found)) {
            rc = SQLITE_DONE;
            break;
        }
    if (rc != SQLITE_DONE)
        r = fault(rc == SQLITE_ROW ? NULL : a, a->path, rc == SQLITE_ROW ? SQLITE_CORRUPT : rc,
                  ret_err);
    sqlite3_reset(s);
    return r;
}

/* Runs a statement that changes one row. */
static enum ll_accounts_result change(struct ll_accounts *a, enum statement which,
                                      struct ll_buf *ret_err)
{
    sqlite3_stmt *s = a->statement[which];
    enum ll_accounts_result r;
    int rc = sqlite3_step(s);

    if (rc == SQLITE_DONE)
        r = sqlite3_changes(a->db) > 0 ? LL_ACCOUNTS_OK : LL_ACCOUNTS_NONE;
    else if (rc == SQLITE_CONSTRAINT_PRIMARYKEY)
        r = LL_ACCOUNTS_EXISTS;
    else
        r = fault(a, a->path, rc, ret_err);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return r;
}

enum ll_accounts_result ll_accounts_add(struct ll_accounts *a, struct ll_slice name,
                                        const char *hash, int64_t now_s, struct ll_buf *ret_err)
{
    sqlite3_stmt *s = a->statement[ADD];

    bind_text(s, 1, name);
    bind_text(s, 2, ll_slice_skip(name, ll_slice_rfind(name, '@') + 1));
    bind_text(s, 3, ll_slice_str(hash));
    sqlite3_bind_int64(s, 4, now_s);
    return change(a, ADD, ret_err);
}

enum ll_accounts_result ll_accounts_set_hash(struct ll_accounts *a, struct ll_slice name,
                                             const char *hash, struct ll_buf *ret_err)
{
    bind_text(a->statement[SET_HASH], 1, name);
    bind_text(a->statement[SET_HASH], 2, ll_slice_str(hash));
    return change(a, SET_HASH, ret_err);
}

enum ll_accounts_result ll_accounts_set_locked(struct ll_accounts *a, struct ll_slice name,
                                               bool locked, struct ll_buf *ret_err)
{
    bind_text(a->statement[SET_LOCKED], 1, name);
    sqlite3_bind_int(a->statement[SET_LOCKED], 2, locked);
    return change(a, SET_LOCKED, ret_err);
}

enum ll_accounts_result ll_accounts_del(struct ll_accounts *a, struct ll_slice name,
                                        struct ll_buf *ret_err)
{
    bind_text(a->statement[DEL], 1, name);
    return change(a, DEL, ret_err);
}

/* ---- passwords ------------------------------------------------------------------------------- */

_Static_assert(LL_HASH_TEXT_MAX >= crypto_pwhash_STRBYTES, "a hash fits");

bool ll_hash_make(struct ll_slice password, char ret[LL_HASH_TEXT_MAX])
{
    return password.n >= LL_PASSWORD_MIN && password.n <= LL_PASSWORD_MAX && sodium_init() >= 0 &&
           crypto_pwhash_str_alg(ret, (const char *)password.p, password.n, LL_HASH_OPS,
                                 LL_HASH_MEM, crypto_pwhash_ALG_ARGON2ID13) == 0;
}

bool ll_hash_check(const char *hash, struct ll_slice password)
{
    /* Of 32 random octets that nobody kept, at the cost of every other hash. */
    static const char nobody[] = "$argon2id$v=19$m=19456,t=2,p=1$E7xV7C4MSGjTcmXLI87nlw$"
                                 "QvZoZdW6MZYHDm96FRlTDziPUMux9TQ5N2ME7RxZzAQ";
    char text[LL_HASH_TEXT_MAX] = "";
    bool ok;

    if (password.n > LL_PASSWORD_MAX || sodium_init() < 0)
        return false;
    snprintf(text, sizeof(text), "%s", hash ? hash : nobody);
    ok = crypto_pwhash_str_verify(text, (const char *)password.p, password.n) == 0;
    return ok && hash;
}
