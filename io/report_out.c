/* See io/report_out.h. */
#include "io/report_out.h"

#include "letterlock/dmarc.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#define BUSY_MS   10000
#define ID_OCTETS 16
#define TEXT_MAX  4096
#define PAGES_MAX "65536" /* of 4 KiB: 256 MiB */

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE topics (id INTEGER PRIMARY KEY, begin INTEGER NOT NULL, end INTEGER NOT NULL,"
    " domain TEXT NOT NULL, org TEXT NOT NULL, rua TEXT NOT NULL, policy BLOB NOT NULL,"
    " report TEXT NOT NULL, UNIQUE (domain, end));"
    "CREATE TABLE rows (topic INTEGER NOT NULL REFERENCES topics ON DELETE CASCADE,"
    " row BLOB NOT NULL, letters INTEGER NOT NULL, PRIMARY KEY (topic, row)) WITHOUT ROWID;"
    "CREATE TABLE due (id INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER REFERENCES topics,"
    " kind INTEGER NOT NULL, domain TEXT NOT NULL, org TEXT NOT NULL, uri TEXT NOT NULL,"
    " most INTEGER NOT NULL, content BLOB NOT NULL, next INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL, expires INTEGER NOT NULL);"
    "CREATE INDEX due_next ON due (next);"
    "CREATE TABLE sent (time INTEGER NOT NULL, kind INTEGER NOT NULL, domain TEXT NOT NULL,"
    " address TEXT NOT NULL, host TEXT NOT NULL, result TEXT NOT NULL, why TEXT NOT NULL);"
    "CREATE INDEX sent_time ON sent (time);"
    "PRAGMA user_version = 1;"
    "COMMIT;";
_Static_assert(LL_REPORT_OUT_VERSION == 1, "the schema says so too");

/* Statements that are used again and again. */
#define STATEMENTS(ROW)                                                                            \
    ROW(FIND_TOPIC, "SELECT id, (SELECT count(*) FROM rows WHERE topic = id) FROM topics"          \
                    " WHERE end = 0 AND domain = ?1")                                              \
    ROW(ADD_TOPIC, "INSERT INTO topics (begin, end, domain, org, rua, policy, report)"             \
                   " VALUES (?1, 0, ?2, ?3, ?4, ?5, '')")                                          \
    ROW(SET_TOPIC, "UPDATE topics SET org = ?2, rua = ?3, policy = ?4 WHERE id = ?1")              \
    ROW(COUNT, "UPDATE rows SET letters = letters + 1 WHERE topic = ?1 AND row = ?2")              \
    ROW(ADD_ROW, "INSERT INTO rows (topic, row, letters) VALUES (?1, ?2, 1)")                      \
    ROW(TOTALS, "SELECT (SELECT count(*) FROM topics WHERE end = 0), (SELECT count(*) FROM rows"   \
                " JOIN topics ON id = topic WHERE end = 0), (SELECT coalesce(min(begin), 0)"       \
                " FROM topics WHERE end = 0)")                                                     \
    ROW(OPEN, "SELECT id, domain, org, rua FROM topics WHERE end = 0")                             \
    ROW(END_TOPIC, "UPDATE topics SET end = ?2, report = ?3 WHERE id = ?1")                        \
    ROW(ADD_DUE, "INSERT INTO due (topic, kind, domain, org, uri, most, content, next, attempts,"  \
                 " expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9)")                       \
    ROW(N_DUE, "SELECT count(*) FROM due")                                                         \
    ROW(NEXT,                                                                                      \
        "SELECT d.id, d.topic, d.kind, d.domain, d.org, d.uri, d.most, d.content, d.attempts,"     \
        " d.expires, t.report, t.policy, t.begin, t.end FROM due d LEFT JOIN topics t"             \
        " ON t.id = d.topic WHERE d.next <= ?1 ORDER BY d.next, d.id LIMIT ?2")                    \
    ROW(ROWS, "SELECT row, letters FROM rows WHERE topic = ?1")                                    \
    ROW(DONE, "DELETE FROM due WHERE id = ?1")                                                     \
    ROW(CLEAN, "DELETE FROM topics WHERE end > 0 AND NOT EXISTS"                                   \
               " (SELECT 1 FROM due WHERE topic = topics.id)")                                     \
    ROW(ADD_SENT, "INSERT INTO sent (time, kind, domain, address, host, result, why)"              \
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")                                          \
    ROW(FORGET, "DELETE FROM sent WHERE time < ?1")                                                \
    ROW(LATER, "UPDATE due SET next = ?2, attempts = attempts + ?3 WHERE id = ?1")                 \
    ROW(SENT, "SELECT count(*) FROM sent WHERE time >= ?1 AND kind = 0 AND result = 'sent'"        \
              " AND host = ?2")                                                                    \
    ROW(FAILURES,                                                                                  \
        "SELECT (SELECT count(*) FROM due WHERE kind = 1 AND (?2 = '' OR domain = ?2)) +"          \
        " (SELECT count(*) FROM sent WHERE time >= ?1 AND kind = 1"                                \
        " AND (?2 = '' OR domain = ?2))")                                                          \
    ROW(LINES, "SELECT time, kind, domain, address, result, why FROM sent WHERE time >= ?1"        \
               " AND (?2 = '' OR domain = ?2 COLLATE NOCASE) UNION ALL"                            \
               " SELECT next, kind, domain, uri, 'due', attempts || ' tries' FROM due"             \
               " WHERE ?2 = '' OR domain = ?2 COLLATE NOCASE ORDER BY 1 DESC")

enum {
#define LL_SQL(id, sql) SQL_##id,
    STATEMENTS(LL_SQL)
#undef LL_SQL
        SQL_COUNT_OF
};
static const char *const sql_text[] = {
#define LL_SQL(id, sql) sql,
    STATEMENTS(LL_SQL)
#undef LL_SQL
};

struct ll_report_out {
    sqlite3 *db;
    sqlite3_stmt *sql[SQL_COUNT_OF];
    bool counting; /* a transaction is open */
    int64_t n_topics, n_rows, begin;
};

static bool fault(struct ll_report_out *o, struct ll_buf *ret_err)
{
    ll_buf_printf(ret_err, "the counts for reports cannot be stored or read: %s\n",
                  o->db ? sqlite3_errmsg(o->db) : "no memory");
    return false;
}

static bool run(struct ll_report_out *o, const char *sql)
{
    return sqlite3_exec(o->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* Ready for its values; NULL: it cannot be made. */
static sqlite3_stmt *use(struct ll_report_out *o, int which)
{
    sqlite3_stmt **q = &o->sql[which];

    if (!*q && sqlite3_prepare_v2(o->db, sql_text[which], -1, q, NULL) != SQLITE_OK)
        return NULL;
    sqlite3_reset(*q);
    return *q;
}

static bool step(sqlite3_stmt *q)
{
    int rc = sqlite3_step(q);

    sqlite3_reset(q);
    return rc == SQLITE_DONE;
}

static void bind_text(sqlite3_stmt *q, int i, struct ll_slice s)
{
    bool good = ll_utf8_valid(s) && ll_slice_find(s, 0) == s.n && s.n <= TEXT_MAX;

    sqlite3_bind_text(q, i, good && s.n > 0 ? (const char *)s.p : "", good ? (int)s.n : 0,
                      SQLITE_TRANSIENT);
}

static void bind_blob(sqlite3_stmt *q, int i, struct ll_slice s)
{
    sqlite3_bind_blob(q, i, s.n > 0 ? (const void *)s.p : "", (int)s.n, SQLITE_TRANSIENT);
}

static struct ll_slice text(sqlite3_stmt *q, int i)
{
    const void *p = sqlite3_column_blob(q, i);

    return ll_slice(p, p ? (size_t)sqlite3_column_bytes(q, i) : 0);
}

static bool totals(struct ll_report_out *o)
{
    sqlite3_stmt *q = use(o, SQL_TOTALS);
    bool ok = q && sqlite3_step(q) == SQLITE_ROW;

    if (!ok)
        return false;
    o->n_topics = sqlite3_column_int64(q, 0);
    o->n_rows = sqlite3_column_int64(q, 1);
    o->begin = sqlite3_column_int64(q, 2);
    sqlite3_reset(q);
    return true;
}

static bool connect_file(struct ll_report_out *o, const char *path, bool write)
{
    sqlite3_stmt *q = NULL;
    int version = -1;

    if (sqlite3_open_v2(path, &o->db,
                        (write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
                            SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
                        NULL) != SQLITE_OK)
        return false;
    sqlite3_busy_timeout(o->db, BUSY_MS);
    sqlite3_db_config(o->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(o->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (!run(o, "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
                "PRAGMA max_page_count = " PAGES_MAX))
        return false;
    if (sqlite3_prepare_v2(o->db, "PRAGMA user_version", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW)
        version = sqlite3_column_int(q, 0);
    sqlite3_finalize(q);
    if (version == 0 && write)
        return run(o, schema) && totals(o);
    return version == LL_REPORT_OUT_VERSION && totals(o);
}

struct ll_report_out *ll_report_out_open(const char *path, bool write, struct ll_buf *ret_err)
{
    int fd = open(path, (write ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW, 0600);
    char *real = fd >= 0 ? realpath(path, NULL) : NULL; /* its folder may be reached by a link */
    struct ll_report_out *o = real ? calloc(1, sizeof(*o)) : NULL;

    if (fd >= 0)
        close(fd);
    if (!o)
        ll_buf_printf(ret_err, "%s: %s\n", path, strerror(errno));
    if (o && !connect_file(o, real, write)) {
        fault(o, ret_err);
        ll_report_out_close(o);
        o = NULL;
    }
    free(real);
    return o;
}

void ll_report_out_close(struct ll_report_out *o)
{
    if (!o)
        return;
    if (o->counting)
        run(o, "COMMIT");
    for (size_t i = 0; i < LL_COUNT(o->sql); i++)
        sqlite3_finalize(o->sql[i]);
    sqlite3_close(o->db);
    free(o);
}

/* ---- counting -----------------------------------------------------------------------------------
 */

bool ll_report_out_flush(struct ll_report_out *o, struct ll_buf *ret_err)
{
    if (!o->counting)
        return true;
    o->counting = false;
    if (run(o, "COMMIT"))
        return true;
    fault(o, ret_err);
    run(o, "ROLLBACK");
    totals(o);
    return false;
}

int64_t ll_report_out_begin(const struct ll_report_out *o)
{
    return o->begin;
}

/* The topic of that domain, made where there is none. 0: full; -1: it went wrong. */
static int64_t topic_of(struct ll_report_out *o, const struct ll_report_seen *s, int64_t begin,
                        int64_t *ret_rows)
{
    sqlite3_stmt *q = use(o, SQL_FIND_TOPIC);
    int64_t id = 0;
    int rc;

    if (!q)
        return -1;
    bind_text(q, 1, s->domain);
    rc = sqlite3_step(q);
    if (rc == SQLITE_ROW) {
        id = sqlite3_column_int64(q, 0);
        *ret_rows = sqlite3_column_int64(q, 1);
    }
    sqlite3_reset(q);
    if (rc != SQLITE_DONE)
        return rc == SQLITE_ROW ? id : -1;
    if (o->n_topics >= LL_REPORT_OUT_TOPICS_MAX)
        return 0;
    if (!(q = use(o, SQL_ADD_TOPIC)))
        return -1;
    sqlite3_bind_int64(q, 1, begin);
    bind_text(q, 2, s->domain);
    bind_text(q, 3, s->org);
    bind_text(q, 4, s->rua);
    bind_blob(q, 5, s->policy);
    if (!step(q))
        return -1;
    *ret_rows = 0;
    o->n_topics++;
    o->begin = o->begin == 0 ? begin : o->begin;
    return sqlite3_last_insert_rowid(o->db);
}

/* The last configuration is the one that is told (RFC 9990 3.1). */
static bool set_topic(struct ll_report_out *o, int64_t id, const struct ll_report_seen *s)
{
    sqlite3_stmt *q = use(o, SQL_SET_TOPIC);

    if (!q)
        return false;
    sqlite3_bind_int64(q, 1, id);
    bind_text(q, 2, s->org);
    bind_text(q, 3, s->rua);
    bind_blob(q, 4, s->policy);
    return step(q);
}

static enum ll_report_counted count_row(struct ll_report_out *o, int64_t topic, int64_t rows,
                                        struct ll_slice row)
{
    sqlite3_stmt *q = use(o, SQL_COUNT);

    if (!q)
        return LL_REPORT_NOT_COUNTED;
    sqlite3_bind_int64(q, 1, topic);
    bind_blob(q, 2, row);
    if (!step(q))
        return LL_REPORT_NOT_COUNTED;
    if (sqlite3_changes(o->db) > 0)
        return LL_REPORT_COUNTED;
    if (rows >= LL_REPORT_OUT_TOPIC_ROWS || o->n_rows >= LL_REPORT_OUT_ROWS_MAX)
        return LL_REPORT_FULL;
    if (!(q = use(o, SQL_ADD_ROW)))
        return LL_REPORT_NOT_COUNTED;
    sqlite3_bind_int64(q, 1, topic);
    bind_blob(q, 2, row);
    if (!step(q))
        return LL_REPORT_NOT_COUNTED;
    o->n_rows++;
    return LL_REPORT_COUNTED;
}

enum ll_report_counted ll_report_out_count(struct ll_report_out *o, const struct ll_report_seen *s,
                                           int64_t begin, struct ll_buf *ret_err)
{
    enum ll_report_counted r = LL_REPORT_NOT_COUNTED;
    int64_t topic, rows = 0;

    if (!o->counting && !run(o, "BEGIN IMMEDIATE")) {
        fault(o, ret_err);
        return r;
    }
    o->counting = true;
    topic = topic_of(o, s, begin, &rows);
    if (topic == 0)
        return LL_REPORT_FULL;
    if (topic > 0 && set_topic(o, topic, s))
        r = count_row(o, topic, rows, s->row);
    if (r == LL_REPORT_NOT_COUNTED) {
        fault(o, ret_err);
        run(o, "ROLLBACK");
        o->counting = false;
        totals(o);
    }
    return r;
}

/* ---- due ----------------------------------------------------------------------------------------
 */

/* One report for each of the first addresses of a list; -1, or how many. */
static int add_due(struct ll_report_out *o, int64_t topic, const struct ll_report_due *d,
                   struct ll_slice uris, int64_t now)
{
    struct ll_buf address = LL_BUF(1024);
    struct ll_slice uri;
    uint64_t most;
    int n = 0;

    while (n < LL_REPORT_OUT_URIS_MAX && ll_dmarc_uri_next_sized(&uris, &uri, &most)) {
        sqlite3_stmt *q = use(o, SQL_ADD_DUE);

        ll_buf_clear(&address);
        if (!ll_dmarc_report_mailto(uri, &address))
            continue;
        if (q) {
            sqlite3_bind_int64(q, 1, topic);
            if (topic == 0)
                sqlite3_bind_null(q, 1);
            sqlite3_bind_int(q, 2, d->kind);
            bind_text(q, 3, d->domain);
            bind_text(q, 4, d->org);
            bind_text(q, 5, uri);
            sqlite3_bind_int64(q, 6, most < INT64_MAX ? (int64_t)most : INT64_MAX);
            bind_blob(q, 7, d->content);
            sqlite3_bind_int64(q, 8, now);
            sqlite3_bind_int64(q, 9, now + LL_REPORT_OUT_LIFE_S);
        }
        if (!q || !step(q)) {
            n = -1;
            break;
        }
        n++;
    }
    ll_buf_release(&address);
    return n;
}

static bool end_topic(struct ll_report_out *o, int64_t id, int64_t end, struct ll_slice random)
{
    struct ll_buf report = LL_BUF(2 * ID_OCTETS + 32);
    sqlite3_stmt *q = use(o, SQL_END_TOPIC);

    ll_hex_encode(&report, ll_slice_cut(random, 0, ID_OCTETS));
    ll_buf_printf(&report, ".%lld", (long long)id);
    if (q) {
        sqlite3_bind_int64(q, 1, id);
        sqlite3_bind_int64(q, 2, end);
        bind_text(q, 3, ll_buf_slice(&report));
    }
    ll_buf_release(&report);
    return q && step(q);
}

static bool end_all(struct ll_report_out *o, int64_t end, int64_t now, struct ll_slice random)
{
    sqlite3_stmt *q = use(o, SQL_OPEN);
    int rc = SQLITE_ERROR;
    bool ok = q != NULL;

    while (ok && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct ll_report_due d = {.domain = text(q, 1), .org = text(q, 2)};

        ok = add_due(o, sqlite3_column_int64(q, 0), &d, text(q, 3), now) >= 0 &&
             end_topic(o, sqlite3_column_int64(q, 0), end, random);
    }
    if (q)
        sqlite3_reset(q);
    return ok && rc == SQLITE_DONE && (q = use(o, SQL_CLEAN)) && step(q);
}

/* Within a transaction of its own; false: it is undone. */
static bool finish(struct ll_report_out *o, bool ok, struct ll_buf *ret_err)
{
    if (ok && run(o, "COMMIT"))
        return true;
    fault(o, ret_err);
    run(o, "ROLLBACK");
    return false;
}

bool ll_report_out_end(struct ll_report_out *o, int64_t end, int64_t now, struct ll_slice random,
                       struct ll_buf *ret_err)
{
    if (!ll_report_out_flush(o, ret_err))
        return false;
    if (!run(o, "BEGIN IMMEDIATE"))
        return fault(o, ret_err);
    return finish(o, end_all(o, end, now, random), ret_err) && totals(o);
}

enum ll_report_counted ll_report_out_failed(struct ll_report_out *o, struct ll_slice domain,
                                            struct ll_slice org, struct ll_slice ruf,
                                            struct ll_slice content, int64_t now,
                                            struct ll_buf *ret_err)
{
    struct ll_report_due d = {
        .kind = LL_DUE_FAILURE, .domain = domain, .org = org, .content = content};
    sqlite3_stmt *q;
    int64_t n;

    if (!ll_report_out_flush(o, ret_err))
        return LL_REPORT_NOT_COUNTED;
    q = use(o, SQL_N_DUE);
    n = q && sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int64(q, 0) : -1;
    if (q)
        sqlite3_reset(q);
    if (n >= LL_REPORT_OUT_DUE_MAX)
        return LL_REPORT_FULL;
    if (n < 0 || !run(o, "BEGIN IMMEDIATE")) {
        fault(o, ret_err);
        return LL_REPORT_NOT_COUNTED;
    }
    return finish(o, add_due(o, 0, &d, ruf, now) >= 0, ret_err) ? LL_REPORT_COUNTED
                                                                : LL_REPORT_NOT_COUNTED;
}

static bool is_busy(int64_t id, const int64_t *busy, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (busy[i] == id)
            return true;
    return false;
}

static struct ll_slice kept(sqlite3_stmt *q, int i, struct ll_arena *arena)
{
    return ll_arena_dup(arena, text(q, i));
}

int ll_report_out_next(struct ll_report_out *o, int64_t now, const int64_t *busy, size_t n_busy,
                       struct ll_arena *arena, struct ll_report_due *ret, struct ll_buf *ret_err)
{
    sqlite3_stmt *q = use(o, SQL_NEXT);
    int rc;

    if (!q) {
        fault(o, ret_err);
        return -1;
    }
    sqlite3_bind_int64(q, 1, now);
    sqlite3_bind_int64(q, 2, (int64_t)n_busy + 1);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW &&
           is_busy(sqlite3_column_int64(q, 0), busy, n_busy))
        ;
    if (rc != SQLITE_ROW) {
        sqlite3_reset(q);
        if (rc != SQLITE_DONE)
            fault(o, ret_err);
        return rc == SQLITE_DONE ? 0 : -1;
    }
    *ret = (struct ll_report_due){.id = sqlite3_column_int64(q, 0),
                                  .topic = sqlite3_column_int64(q, 1),
                                  .kind = (uint8_t)sqlite3_column_int(q, 2),
                                  .domain = kept(q, 3, arena),
                                  .org = kept(q, 4, arena),
                                  .uri = kept(q, 5, arena),
                                  .most = (uint64_t)sqlite3_column_int64(q, 6),
                                  .content = kept(q, 7, arena),
                                  .attempts = sqlite3_column_int64(q, 8),
                                  .expires = sqlite3_column_int64(q, 9),
                                  .report = kept(q, 10, arena),
                                  .policy = kept(q, 11, arena),
                                  .begin = sqlite3_column_int64(q, 12),
                                  .end = sqlite3_column_int64(q, 13)};
    sqlite3_reset(q);
    return 1;
}

bool ll_report_out_rows(struct ll_report_out *o, int64_t topic, struct ll_buf *ret_err)
{
    sqlite3_stmt *q = use(o, SQL_ROWS);

    if (!q)
        return fault(o, ret_err);
    sqlite3_bind_int64(q, 1, topic);
    return true;
}

bool ll_report_out_next_row(struct ll_report_out *o, struct ll_slice *ret_row,
                            uint64_t *ret_letters)
{
    sqlite3_stmt *q = o->sql[SQL_ROWS];

    if (sqlite3_step(q) != SQLITE_ROW) {
        sqlite3_reset(q);
        return false;
    }
    *ret_row = text(q, 0);
    *ret_letters = (uint64_t)sqlite3_column_int64(q, 1);
    return true;
}

static bool log_sent(struct ll_report_out *o, const struct ll_report_due *d,
                     struct ll_slice address, const char *result, struct ll_slice why, int64_t now)
{
    sqlite3_stmt *q = use(o, SQL_ADD_SENT);

    if (!q)
        return false;
    sqlite3_bind_int64(q, 1, now);
    sqlite3_bind_int(q, 2, d->kind);
    bind_text(q, 3, d->domain);
    bind_text(q, 4, address);
    bind_text(q, 5, ll_slice_skip(address, ll_slice_rfind(address, '@') + 1));
    bind_text(q, 6, ll_slice_str(result));
    bind_text(q, 7, why);
    if (!step(q) || !(q = use(o, SQL_FORGET)))
        return false;
    sqlite3_bind_int64(q, 1, now - LL_REPORT_OUT_KEEP_S);
    return step(q);
}

bool ll_report_out_done(struct ll_report_out *o, const struct ll_report_due *d,
                        struct ll_slice address, const char *result, struct ll_slice why,
                        int64_t now, struct ll_buf *ret_err)
{
    sqlite3_stmt *q;
    bool ok;

    if (!ll_report_out_flush(o, ret_err))
        return false;
    if (!run(o, "BEGIN IMMEDIATE"))
        return fault(o, ret_err);
    ok = log_sent(o, d, address, result, why, now) && (q = use(o, SQL_DONE)) != NULL;
    if (ok) {
        sqlite3_bind_int64(q, 1, d->id);
        ok = step(q) && (q = use(o, SQL_CLEAN)) && step(q);
    }
    return finish(o, ok, ret_err);
}

bool ll_report_out_later(struct ll_report_out *o, int64_t id, int64_t next, bool attempt,
                         struct ll_buf *ret_err)
{
    sqlite3_stmt *q = use(o, SQL_LATER);

    if (!q)
        return fault(o, ret_err);
    sqlite3_bind_int64(q, 1, id);
    sqlite3_bind_int64(q, 2, next);
    sqlite3_bind_int(q, 3, attempt);
    return step(q) || fault(o, ret_err);
}

static int64_t count_since(struct ll_report_out *o, int which, struct ll_slice name, int64_t since,
                           struct ll_buf *ret_err)
{
    sqlite3_stmt *q = use(o, which);
    int64_t n = -1;

    if (q) {
        sqlite3_bind_int64(q, 1, since);
        bind_text(q, 2, name);
        if (sqlite3_step(q) == SQLITE_ROW)
            n = sqlite3_column_int64(q, 0);
        sqlite3_reset(q);
    }
    if (n < 0)
        fault(o, ret_err);
    return n;
}

int64_t ll_report_out_sent(struct ll_report_out *o, struct ll_slice host, int64_t since,
                           struct ll_buf *ret_err)
{
    return count_since(o, SQL_SENT, host, since, ret_err);
}

int64_t ll_report_out_failures(struct ll_report_out *o, struct ll_slice domain, int64_t since,
                               struct ll_buf *ret_err)
{
    return count_since(o, SQL_FAILURES, domain, since, ret_err);
}

/* ---- for people ---------------------------------------------------------------------------------
 */

bool ll_report_out_lines(struct ll_report_out *o, int64_t since, struct ll_slice domain,
                         struct ll_buf *ret_err)
{
    sqlite3_stmt *q = use(o, SQL_LINES);

    if (!q)
        return fault(o, ret_err);
    sqlite3_bind_int64(q, 1, since);
    bind_text(q, 2, domain);
    return true;
}

bool ll_report_out_next_line(struct ll_report_out *o, struct ll_report_line *ret)
{
    sqlite3_stmt *q = o->sql[SQL_LINES];

    if (sqlite3_step(q) != SQLITE_ROW) {
        sqlite3_reset(q);
        return false;
    }
    *ret = (struct ll_report_line){.time = sqlite3_column_int64(q, 0),
                                   .kind = (uint8_t)sqlite3_column_int(q, 1),
                                   .domain = text(q, 2),
                                   .address = text(q, 3),
                                   .result = text(q, 4),
                                   .why = text(q, 5)};
    return true;
}
