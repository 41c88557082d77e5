/* See srs_store.h. */
#include "daemon/auth/srs_store.h"

#include "letterlock/srs.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DAY_S       86400
#define BUSY_MS     200
#define PATH_LENGTH 4096

static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567"; /* RFC 4648 6, lower case */

struct ll_srs_store {
    sqlite3 *db;
    sqlite3_stmt *find, *add, *get;
    int64_t cleaned; /* day of the last look for old ones */
};

static bool fault(struct ll_srs_store *s, struct ll_buf *err)
{
    ll_buf_printf(err, "%s: %s\n", LL_SRS_STORE_NAME, s->db ? sqlite3_errmsg(s->db) : "no memory");
    return false;
}

static bool prepare(struct ll_srs_store *s)
{
    return sqlite3_exec(s->db,
                        "CREATE TABLE IF NOT EXISTS senders (id INTEGER PRIMARY KEY AUTOINCREMENT,"
                        " day INTEGER NOT NULL, sender TEXT NOT NULL, UNIQUE (sender, day))",
                        NULL, NULL, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(s->db, "SELECT id FROM senders WHERE sender = ?1 AND day = ?2", -1,
                              &s->find, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(s->db,
                              "INSERT INTO senders (sender, day) SELECT ?1, ?2"
                              " WHERE (SELECT count(*) FROM senders) < ?3",
                              -1, &s->add, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(s->db, "SELECT sender FROM senders WHERE id = ?1", -1, &s->get,
                              NULL) == SQLITE_OK;
}

struct ll_srs_store *ll_srs_store_open(const char *accounts, struct ll_buf *err)
{
    struct ll_slice file = ll_slice_str(accounts);
    size_t slash = ll_slice_rfind(file, '/');
    struct ll_slice folder = slash < file.n ? ll_slice_cut(file, 0, slash) : LL_LIT(".");
    struct ll_srs_store *s = calloc(1, sizeof(*s));
    char path[PATH_LENGTH];
    int fd = -1, n = snprintf(path, sizeof(path), "%.*s/" LL_SRS_STORE_NAME, LL_FMT(folder));

    if (s && n > 0 && n < PATH_LENGTH)
        fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        ll_buf_printf(err, "%s: %s\n", path, strerror(errno));
        free(s);
        return NULL;
    }
    close(fd);
    if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
            SQLITE_OK ||
        sqlite3_busy_timeout(s->db, BUSY_MS) != SQLITE_OK || !prepare(s)) {
        fault(s, err);
        ll_srs_store_close(s);
        return NULL;
    }
    return s;
}

void ll_srs_store_close(struct ll_srs_store *s)
{
    if (!s)
        return;
    sqlite3_finalize(s->find);
    sqlite3_finalize(s->add);
    sqlite3_finalize(s->get);
    sqlite3_close(s->db);
    free(s);
}

static void drop_old(struct ll_srs_store *s, int64_t day)
{
    char sql[100];

    if (s->cleaned == day)
        return;
    s->cleaned = day;
    snprintf(sql, sizeof(sql), "DELETE FROM senders WHERE day < %lld",
             (long long)(day - LL_SRS_DAYS - 1));
    sqlite3_exec(s->db, sql, NULL, NULL, NULL);
}

static void bind(sqlite3_stmt *q, struct ll_slice sender, int64_t day)
{
    sqlite3_reset(q);
    sqlite3_bind_text(q, 1, (const char *)sender.p, (int)sender.n, SQLITE_STATIC);
    sqlite3_bind_int64(q, 2, day);
}

static int64_t find(struct ll_srs_store *s, struct ll_slice sender, int64_t day)
{
    int64_t id;

    bind(s->find, sender, day);
    id = sqlite3_step(s->find) == SQLITE_ROW ? sqlite3_column_int64(s->find, 0) : 0;
    sqlite3_reset(s->find);
    return id;
}

bool ll_srs_store_put(struct ll_srs_store *s, struct ll_slice sender, int64_t unix_s,
                      struct ll_buf *out, struct ll_buf *err)
{
    int64_t day = unix_s / DAY_S, id = find(s, sender, day);
    char text[16];
    size_t n = sizeof(text);

    if (id == 0) {
        drop_old(s, day);
        bind(s->add, sender, day);
        sqlite3_bind_int64(s->add, 3, LL_SRS_STORE_MAX);
        if (sqlite3_step(s->add) != SQLITE_DONE) {
            sqlite3_reset(s->add);
            return fault(s, err);
        }
        sqlite3_reset(s->add);
        if (sqlite3_changes(s->db) == 0) {
            ll_buf_printf(err, "%s: there are %d senders in it, and no more are taken\n",
                          LL_SRS_STORE_NAME, LL_SRS_STORE_MAX);
            return false;
        }
        id = sqlite3_last_insert_rowid(s->db);
    }
    for (; id > 0 && n > 0; id >>= 5)
        text[--n] = digits[id & 31];
    ll_buf_putc(out, '~');
    ll_buf_put(out, text + n, sizeof(text) - n);
    return !out->failed;
}

bool ll_srs_store_get(struct ll_srs_store *s, struct ll_slice name, struct ll_buf *out,
                      struct ll_buf *err)
{
    int64_t id = 0;
    int rc;

    if (name.n < 2 || name.n > 13 || name.p[0] != '~')
        return false;
    for (size_t i = 1; i < name.n; i++) {
        const char *at = memchr(digits, ll_lower(name.p[i]), 32);

        if (!at || id > INT64_MAX >> 5)
            return false;
        id = id << 5 | (at - digits);
    }
    sqlite3_reset(s->get);
    sqlite3_bind_int64(s->get, 1, id);
    rc = sqlite3_step(s->get);
    if (rc == SQLITE_ROW)
        ll_buf_put(out, sqlite3_column_text(s->get, 0), (size_t)sqlite3_column_bytes(s->get, 0));
    sqlite3_reset(s->get);
    return rc == SQLITE_ROW ? !out->failed : rc == SQLITE_DONE ? false : fault(s, err);
}
