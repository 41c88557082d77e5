/* See io/keystore.h. Opening, transactions and the way to SQLite. */
#include "io/keystore_internal.h"

#include "letterlock/addr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x6c6c6b73 /* "llks": file(1) and we know our files by it */
#define PATH_ROOM      4096

/* The step from each version to the next. What stands here never changes again: a new version is a
 * new row. */
static const char *const steps[] = {
    "CREATE TABLE keys (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, fingerprint TEXT NOT NULL,"
    " octets BLOB NOT NULL, secret BLOB, capabilities BLOB NOT NULL, name BLOB NOT NULL, created "
    "INTEGER NOT NULL,"
    " expires INTEGER NOT NULL, flags INTEGER NOT NULL, trust INTEGER NOT NULL,"
    " decided INTEGER NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,"
    " UNIQUE (kind, fingerprint)) STRICT;"
    "CREATE TABLE addresses (address TEXT NOT NULL,"
    " key INTEGER NOT NULL REFERENCES keys (id) ON DELETE CASCADE, vouched INTEGER NOT NULL,"
    " PRIMARY KEY (address, key)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX addresses_key ON addresses (key);"
    "CREATE TABLE found (key INTEGER NOT NULL REFERENCES keys (id) ON DELETE CASCADE,"
    " source INTEGER NOT NULL, place BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"
    " PRIMARY KEY (key, source)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE history (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " fingerprint TEXT NOT NULL, event INTEGER NOT NULL, note BLOB NOT NULL) STRICT;"
    "CREATE INDEX history_key ON history (kind, fingerprint);"
    "CREATE TABLE peers (address TEXT PRIMARY KEY NOT NULL, last_seen INTEGER NOT NULL,"
    " timestamp INTEGER NOT NULL, fingerprint TEXT NOT NULL, mutual INTEGER NOT NULL,"
    " gossip_timestamp INTEGER NOT NULL, gossip_fingerprint TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "PRAGMA application_id = 1819044723;"
    "PRAGMA user_version = 1;",
};
_Static_assert(LL_COUNT(steps) == LL_KEYSTORE_VERSION, "a version is a row");
_Static_assert(APPLICATION_ID == 1819044723, "the schema says so too");

/* ---- the way to SQLite ------------------------------------------------------------------------
 */

enum ll_keystore_result ll_keystore_fault(const struct ll_keystore *k, int rc,
                                          struct ll_buf *ret_err)
{
    static const struct {
        int code;
        enum ll_keystore_result result;
        const char *text; /* NULL: SQLite's */
    } rows[] = {
        {SQLITE_BUSY, LL_KEYSTORE_BUSY, "another command holds the key store; try again"},
        {SQLITE_LOCKED, LL_KEYSTORE_BUSY, "another command holds the key store; try again"},
        {SQLITE_NOMEM, LL_KEYSTORE_RESOURCE, "no memory"},
        {SQLITE_TOOBIG, LL_KEYSTORE_RESOURCE, "a key over 1 MiB is not stored"},
        {SQLITE_READONLY, LL_KEYSTORE_REFUSED, "the key store cannot be written"},
        {SQLITE_PERM, LL_KEYSTORE_REFUSED, "no permission"},
        {SQLITE_CANTOPEN, LL_KEYSTORE_REFUSED, NULL},
        {SQLITE_FULL, LL_KEYSTORE_BROKEN, "the disk is full"},
        {SQLITE_NOTADB, LL_KEYSTORE_BROKEN, "is no key store (not an SQLite file)"},
        {SQLITE_CORRUPT, LL_KEYSTORE_BROKEN,
         "is damaged, and was left as it is; bring back a copy, or save what can be read with "
         "`sqlite3 FILE .recover`"},
    };
    enum ll_keystore_result result = LL_KEYSTORE_BROKEN;
    const char *text = NULL;

    for (size_t i = 0; i < LL_COUNT(rows); i++)
        if ((rc & 0xff) == rows[i].code) {
            result = rows[i].result;
            text = rows[i].text;
        }
    if (ret_err)
        ll_buf_printf(ret_err, "%s: %s\n", k->path,
                      k->absent ? "there is no key store yet"
                      : text    ? text
                      : k->db   ? sqlite3_errmsg(k->db)
                                : sqlite3_errstr(rc));
    return result;
}

static int bind(sqlite3_stmt *s, int at, char type, va_list *ap)
{
    struct ll_slice v;

    if (type == 'i')
        return sqlite3_bind_int64(s, at, va_arg(*ap, int64_t));
    v = va_arg(*ap, struct ll_slice);
    if (v.n > LL_KEYSTORE_KEY_MAX)
        return SQLITE_TOOBIG;
    if (type == 't')
        return sqlite3_bind_text(s, at, v.n ? (const char *)v.p : "", (int)v.n, SQLITE_TRANSIENT);
    if (type == 'B' && v.n == 0)
        return sqlite3_bind_null(s, at);
    return sqlite3_bind_blob(s, at, v.n ? (const void *)v.p : "", (int)v.n, SQLITE_TRANSIENT);
}

static sqlite3_stmt *prepare(struct ll_keystore *k, int *ret_rc, const char *sql, const char *types,
                             va_list *ap)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(k->db, sql, -1, &s, NULL);

    for (int i = 0; rc == SQLITE_OK && types[i]; i++)
        rc = bind(s, i + 1, types[i], ap);
    if (rc != SQLITE_OK) {
        sqlite3_finalize(s);
        s = NULL;
    }
    *ret_rc = rc;
    return s;
}

sqlite3_stmt *ll_keystore_sql(struct ll_keystore *k, int *ret_rc, const char *sql,
                              const char *types, ...)
{
    sqlite3_stmt *s;
    va_list ap;

    va_start(ap, types);
    s = prepare(k, ret_rc, sql, types, &ap);
    va_end(ap);
    return s;
}

int ll_keystore_do(struct ll_keystore *k, const char *sql, const char *types, ...)
{
    sqlite3_stmt *s;
    va_list ap;
    int rc;

    va_start(ap, types);
    s = prepare(k, &rc, sql, types, &ap);
    va_end(ap);
    if (!s)
        return rc;
    rc = sqlite3_step(s);
    sqlite3_finalize(s);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

struct ll_slice ll_keystore_column(sqlite3_stmt *s, int at)
{
    const void *p = sqlite3_column_blob(s, at); /* before its length: SQLite's order */

    return ll_slice(p, (size_t)sqlite3_column_bytes(s, at));
}

int ll_keystore_enter(struct ll_keystore *k, bool *ret_mine)
{
    *ret_mine = false;
    if (k->absent)
        return SQLITE_READONLY;
    if (k->within)
        return SQLITE_OK;
    *ret_mine = true;
    return sqlite3_exec(k->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
}

int ll_keystore_leave(struct ll_keystore *k, bool mine, int rc)
{
    if (!mine)
        return rc;
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(k->db, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(k->db))
        sqlite3_exec(k->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

enum ll_keystore_result ll_keystore_begin(struct ll_keystore *k, struct ll_buf *ret_err)
{
    bool mine;
    int rc = ll_keystore_enter(k, &mine);

    k->within = rc == SQLITE_OK;
    return rc == SQLITE_OK ? LL_KEYSTORE_OK : ll_keystore_fault(k, rc, ret_err);
}

enum ll_keystore_result ll_keystore_end(struct ll_keystore *k, bool commit, struct ll_buf *ret_err)
{
    int rc;

    if (!k->within)
        return LL_KEYSTORE_OK;
    k->within = false;
    rc = ll_keystore_leave(k, true, commit ? SQLITE_OK : SQLITE_ABORT);
    return rc == SQLITE_OK || !commit ? LL_KEYSTORE_OK : ll_keystore_fault(k, rc, ret_err);
}

/* ---- opening ------------------------------------------------------------------------------------
 */

bool ll_keystore_path(struct ll_buf *out)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

    if (data && data[0] == '/')
        ll_buf_printf(out, "%s/letterlock/keys.db", data);
    else if (home && home[0] == '/')
        ll_buf_printf(out, "%s/.local/share/letterlock/keys.db", home);
    else
        return false;
    return !out->failed;
}

static enum ll_keystore_result refuse(const char *path, struct ll_buf *ret_err, const char *why)
{
    if (ret_err)
        ll_buf_printf(ret_err, "%s: %s\n", path, why);
    return LL_KEYSTORE_REFUSED;
}

/* The folders above path, each 0700 where it is new. False: errno. */
static bool make_folders(const char *path)
{
    char *copy = strdup(path);
    bool ok = copy != NULL;

    for (char *p = copy ? strchr(copy + 1, '/') : NULL; ok && p; p = strchr(p + 1, '/')) {
        *p = '\0';
        ok = mkdir(copy, 0700) == 0 || errno == EEXIST;
        *p = '/';
    }
    free(copy);
    return ok;
}

/* Whoever can write the folder can put another store in its place. */
static bool folder_is_ours(const char *path, struct stat *st)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    bool ok = folder && stat(folder, st) == 0;

    free(folder);
    return ok && (!(st->st_mode & 022) || (st->st_mode & S_ISVTX)) &&
           (st->st_uid == geteuid() || st->st_uid == 0 || geteuid() == 0);
}

static enum ll_keystore_result make_file(const char *path, struct ll_buf *ret_err)
{
    int fd;

    if (!make_folders(path))
        return refuse(path, ret_err, strerror(errno));
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST) /* another command may have been faster */
        return refuse(path, ret_err, strerror(errno));
    if (fd >= 0)
        close(fd);
    return LL_KEYSTORE_OK;
}

static enum ll_keystore_result check_file(const char *path, bool create, bool *ret_absent,
                                          struct ll_buf *ret_err)
{
    enum ll_keystore_result r = LL_KEYSTORE_OK;
    struct stat st;

    *ret_absent = false;
    if (stat(path, &st) < 0 && errno == ENOENT) {
        *ret_absent = !create;
        if (!create || (r = make_file(path, ret_err)) != LL_KEYSTORE_OK)
            return r;
    }
    if (stat(path, &st) < 0)
        return refuse(path, ret_err, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return refuse(path, ret_err, "is no file");
    if (st.st_uid != geteuid() && geteuid() != 0)
        return refuse(path, ret_err, "belongs to another user");
    if (st.st_mode & 077)
        return refuse(path, ret_err,
                      "others can read or write this file, and it may hold secret keys: "
                      "`chmod 600` it first");
    if (!folder_is_ours(path, &st))
        return refuse(path, ret_err,
                      "others can write the folder that it lies in; a key store "
                      "wants a folder of its own (`chmod go-w`)");
    return LL_KEYSTORE_OK;
}

static int get_int(struct ll_keystore *k, const char *sql, int64_t *ret)
{
    int rc;
    sqlite3_stmt *s = ll_keystore_sql(k, &rc, sql, "");

    if (s && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        *ret = sqlite3_column_int64(s, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(s);
    return rc;
}

/* From whatever version it has to ours, in one transaction. */
static int migrate(struct ll_keystore *k, bool *ret_foreign, int64_t *ret_version)
{
    int64_t objects = 0, id = 0;
    int rc = sqlite3_exec(k->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (rc == SQLITE_OK)
        rc = get_int(k, "PRAGMA user_version", ret_version);
    if (rc == SQLITE_OK)
        rc = get_int(k, "PRAGMA application_id", &id);
    if (rc == SQLITE_OK)
        rc = get_int(k, "SELECT count(*) FROM sqlite_master", &objects);
    *ret_foreign = rc == SQLITE_OK && (objects > 0 || *ret_version != 0) && id != APPLICATION_ID;
    for (int64_t v = *ret_version;
         rc == SQLITE_OK && !*ret_foreign && v >= 0 && v < LL_KEYSTORE_VERSION; v++)
        rc = sqlite3_exec(k->db, steps[v], NULL, NULL, NULL);
    return ll_keystore_leave(k, true, rc);
}

/* Is the whole of it sound? A store is small: a thousand keys are checked in a few ms. */
static int check_pages(struct ll_keystore *k)
{
    int rc;
    sqlite3_stmt *s = ll_keystore_sql(k, &rc, "PRAGMA quick_check(1)", "");

    if (s && (rc = sqlite3_step(s)) == SQLITE_ROW)
        rc = ll_slice_eq(ll_keystore_column(s, 0), LL_LIT("ok")) ? SQLITE_OK : SQLITE_CORRUPT;
    sqlite3_finalize(s);
    return rc;
}

static int connect_file(struct ll_keystore *k)
{
    char *real = k->absent ? NULL : realpath(k->path, NULL); /* then nothing is followed any more */
    const char *name = k->absent ? ":memory:" : real ? real : k->path;
    int rc = sqlite3_open_v2(name, &k->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
                                 SQLITE_OPEN_EXRESCODE,
                             NULL);

    free(real);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_busy_timeout(k->db, LL_KEYSTORE_BUSY_MS);
    sqlite3_db_config(k->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(k->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return sqlite3_exec(k->db,
                        "PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;"
                        "PRAGMA temp_store = MEMORY",
                        NULL, NULL, NULL);
}

static enum ll_keystore_result set_up(struct ll_keystore *k, struct ll_buf *ret_err)
{
    bool foreign = false;
    int64_t version = 0;
    int rc = connect_file(k);

    /* Read first: a store on a read-only disk is a store. */
    if (rc == SQLITE_OK)
        rc = get_int(k, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK && version != LL_KEYSTORE_VERSION)
        rc = migrate(k, &foreign, &version);
    if (rc == SQLITE_OK && foreign)
        return refuse(k->path, ret_err, "is no key store (an SQLite file of another program)");
    if (rc == SQLITE_OK && version > LL_KEYSTORE_VERSION) {
        if (ret_err)
            ll_buf_printf(ret_err,
                          "%s: a key store of version %lld, and this program reads up to version "
                          "%d: use the newer letterlock\n",
                          k->path, (long long)version, LL_KEYSTORE_VERSION);
        return LL_KEYSTORE_BROKEN;
    }
    if (rc == SQLITE_OK)
        rc = check_pages(k);
    return rc == SQLITE_OK ? LL_KEYSTORE_OK : ll_keystore_fault(k, rc, ret_err);
}

enum ll_keystore_result ll_keystore_open(const char *path, bool create, struct ll_keystore **ret,
                                         struct ll_buf *ret_err)
{
    struct ll_keystore *k;
    enum ll_keystore_result r;
    bool absent;

    if (!path[0] || strlen(path) > PATH_ROOM)
        return refuse(path, ret_err, "no usable path");
    r = check_file(path, create, &absent, ret_err);
    if (r != LL_KEYSTORE_OK)
        return r;
    k = calloc(1, sizeof(*k));
    if (!k || !(k->path = strdup(path))) {
        free(k);
        return LL_KEYSTORE_RESOURCE;
    }
    k->absent = absent;
    r = set_up(k, ret_err);
    if (r == LL_KEYSTORE_OK)
        *ret = k;
    else
        ll_keystore_close(k);
    return r;
}

void ll_keystore_close(struct ll_keystore *k)
{
    if (!k)
        return;
    sqlite3_close(k->db);
    free(k->path);
    free(k);
}

bool ll_keystore_address(struct ll_slice text, struct ll_buf *out)
{
    struct ll_mailbox m;

    if (ll_mailbox_parse(text, true, &m) != LL_ADDR_OK || m.kind == LL_DOMAIN_NONE)
        return false;
    ll_mailbox_lower(&m);
    ll_buf_put_slice(out, ll_mailbox_text(&m));
    return !out->failed;
}
