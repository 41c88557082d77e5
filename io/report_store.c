/* See io/report_store.h. */
#include "io/report_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#define DAY_S 86400

/* Who sent it is part of what makes a report the same: nobody can take another's place. */
#define REPORTS_COLUMNS                                                                            \
    "id INTEGER PRIMARY KEY, org TEXT NOT NULL, report TEXT NOT NULL,"                             \
    " domain TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, p TEXT NOT NULL,"       \
    " received INTEGER NOT NULL, reporter TEXT NOT NULL, proof TEXT NOT NULL,"                     \
    " UNIQUE (org, report, domain, first, reporter, proof)"

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE reports (" REPORTS_COLUMNS ");"
    "CREATE TABLE records (report INTEGER NOT NULL REFERENCES reports ON DELETE CASCADE,"
    " source TEXT NOT NULL, letters INTEGER NOT NULL, done TEXT NOT NULL, dkim INTEGER NOT NULL,"
    " spf INTEGER NOT NULL, reason TEXT NOT NULL, author TEXT NOT NULL, signer TEXT NOT NULL,"
    " sender TEXT NOT NULL);"
    "CREATE INDEX records_report ON records (report);"
    "CREATE TABLE failures (received INTEGER NOT NULL, type TEXT NOT NULL, domain TEXT NOT NULL,"
    " source TEXT NOT NULL, failure TEXT NOT NULL, sender TEXT NOT NULL, arrived TEXT NOT NULL,"
    " reporter TEXT NOT NULL DEFAULT '', proof TEXT NOT NULL DEFAULT 'import',"
    " UNIQUE (type, domain, source, failure, sender, arrived));"
    "CREATE INDEX reports_received ON reports (received);"
    "PRAGMA user_version = 2;"
    "COMMIT;";
/* Version 1 did not say who had sent a report. */
static const char from_1[] =
    "PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE;"
    "CREATE TABLE new (" REPORTS_COLUMNS ");"
    "INSERT INTO new SELECT id, org, report, domain, first, last, p, received, '', 'import'"
    " FROM reports;"
    "DROP TABLE reports; ALTER TABLE new RENAME TO reports;"
    "ALTER TABLE failures ADD COLUMN reporter TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE failures ADD COLUMN proof TEXT NOT NULL DEFAULT 'import';"
    "CREATE INDEX reports_received ON reports (received);"
    "PRAGMA user_version = 2;"
    "COMMIT; PRAGMA foreign_keys = ON";
_Static_assert(LL_REPORT_STORE_VERSION == 2, "the schema says so too");

static const char add_report[] =
    "INSERT OR IGNORE INTO reports (org, report, domain, first, last, p, received, reporter, proof)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
static const char add_record[] =
    "INSERT INTO records (report, source, letters, done, dkim, spf, reason, author, signer, sender)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
static const char add_failure[] =
    "INSERT OR IGNORE INTO failures (received, type, domain, source, failure, sender, arrived,"
    " reporter, proof) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

#define PROVED "'pass', 'login', 'import'" /* by DMARC, or an operator took it in */
#define FAILED "CASE WHEN r.dkim OR r.spf THEN '' ELSE "
static const char sources[] =
    "SELECT p.domain, r.source, max(r.author), p.p, sum(r.letters),"
    " sum((r.dkim OR r.spf) * r.letters), sum(r.dkim * r.letters), sum(r.spf * r.letters),"
    " sum((r.done = 'quarantine') * r.letters), sum((r.done = 'reject') * r.letters),"
    " count(DISTINCT p.org), min(p.first), max(p.last), max(" FAILED "r.reason END),"
    " max(" FAILED "r.signer END), max(" FAILED "r.sender END),"
    " sum((p.proof NOT IN (" PROVED ")) * r.letters)"
    " FROM records r JOIN reports p ON p.id = r.report"
    " WHERE p.last >= ?1 AND (?2 = '' OR p.domain = ?2 COLLATE NOCASE"
    " OR r.author = ?2 COLLATE NOCASE)"
    " GROUP BY p.domain, r.source"
    " ORDER BY p.domain, sum(r.letters) - sum((r.dkim OR r.spf) * r.letters) DESC,"
    " sum(r.letters) DESC, r.source";
static const char failures[] =
    "SELECT received, type, domain, source, failure, sender, arrived, reporter, proof FROM failures"
    " WHERE received >= ?1 AND (?2 = '' OR domain = ?2 COLLATE NOCASE)"
    " ORDER BY received DESC, rowid DESC";

static const char reporters[] =
    "SELECT reporter, proof, max(org), count(*), sum(letters), max(received) FROM ("
    "SELECT p.reporter, p.proof, p.org, p.received,"
    " (SELECT total(letters) FROM records r WHERE r.report = p.id) AS letters"
    " FROM reports p WHERE p.last >= ?1 AND (?2 = '' OR p.domain = ?2 COLLATE NOCASE))"
    " GROUP BY reporter, proof, CASE WHEN reporter = '' THEN org END"
    " ORDER BY count(*) DESC, reporter, max(org)";
static const char came[] =
    "SELECT (SELECT count(*) FROM reports WHERE received >= ?1 AND (?2 = '*' OR"
    " CASE WHEN proof IN (" PROVED ") THEN reporter = ?2 ELSE ?2 = '' END)) +"
    " (SELECT count(*) FROM failures WHERE received >= ?1 AND (?2 = '*' OR"
    " CASE WHEN proof IN (" PROVED ") THEN reporter = ?2 ELSE ?2 = '' END))";

struct ll_report_store {
    sqlite3 *db;
    sqlite3_stmt *rows; /* of the present question */
    int rc;             /* of its last step */
};

static bool fault(struct ll_report_store *s, struct ll_buf *ret_err)
{
    ll_buf_printf(ret_err, "the reports cannot be stored or read: %s\n",
                  s->db ? sqlite3_errmsg(s->db) : "no memory");
    return false;
}

static int get_version(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    int version = -1;

    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        version = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    return version;
}

static bool connect_file(struct ll_report_store *s, const char *path, bool write,
                         struct ll_buf *ret_err)
{
    int version;

    if (sqlite3_open_v2(path, &s->db,
                        (write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
                            SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
                        NULL) != SQLITE_OK)
        return fault(s, ret_err);
    sqlite3_busy_timeout(s->db, LL_REPORT_BUSY_MS);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (sqlite3_exec(s->db,
                     "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
                     "PRAGMA max_page_count = 262144" /* of 4 KiB: LL_REPORT_STORE_OCTETS */,
                     NULL, NULL, NULL) != SQLITE_OK)
        return fault(s, ret_err);
    version = get_version(s->db);
    if (version == 1 && !write) {
        sqlite3_close(s->db);
        return connect_file(s, path, true, ret_err);
    }
    if (version == 1) {
        if (sqlite3_exec(s->db, from_1, NULL, NULL, NULL) != SQLITE_OK)
            sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        version = get_version(s->db);
    }
    if (version == 0 && write) { /* new; another command may make it at the same time */
        if (sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK)
            sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        version = get_version(s->db);
    }
    if (version == LL_REPORT_STORE_VERSION)
        return true;
    if (version <= 0)
        return fault(s, ret_err);
    ll_buf_printf(ret_err, "%s: reports of version %d, this program reads version %d\n", path,
                  version, LL_REPORT_STORE_VERSION);
    return false;
}

struct ll_report_store *ll_report_store_open(const char *path, bool write, struct ll_buf *ret_err)
{
    int fd = open(path, (write ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW, 0600);
    char *real = fd >= 0 ? realpath(path, NULL) : NULL; /* its folder may be reached by a link */
    struct ll_report_store *s = real ? calloc(1, sizeof(*s)) : NULL;

    if (fd >= 0)
        close(fd);
    if (!s) {
        ll_buf_printf(ret_err, "%s: %s\n", path, strerror(errno));
        free(real);
        return NULL;
    }
    if (!connect_file(s, real, write, ret_err)) {
        ll_report_store_close(s);
        s = NULL;
    }
    free(real);
    return s;
}

void ll_report_store_close(struct ll_report_store *s)
{
    if (!s)
        return;
    sqlite3_finalize(s->rows);
    sqlite3_close(s->db);
    free(s);
}

/* ---- adding -------------------------------------------------------------------------------------
 */

static struct ll_slice deep(const struct ll_report_node *n, enum ll_report_id a,
                            enum ll_report_id b, enum ll_report_id c)
{
    return ll_report_text(ll_report_child(n, a), b, c);
}

/* Octets that are not UTF-8, and NUL, are not what SQLite holds as text. */
static void bind_text(sqlite3_stmt *q, int i, struct ll_slice s)
{
    bool good = ll_utf8_valid(s) && ll_slice_find(s, 0) == s.n;

    s = ll_slice_cut(s, 0, LL_REPORT_TEXT_MAX);
    sqlite3_bind_text(q, i, good && s.n > 0 ? (const char *)s.p : "", good ? (int)s.n : 0,
                      SQLITE_TRANSIENT);
}

#define NUMBER_MAX UINT32_MAX /* sums of a billion such numbers still fit */

static int64_t number(struct ll_slice s)
{
    uint64_t n;

    return ll_slice_u64(s, &n) && n <= NUMBER_MAX ? (int64_t)n : 0;
}

static bool step(sqlite3_stmt *q)
{
    return sqlite3_step(q) == SQLITE_DONE;
}

/* A domain that passed by itself, whosever it is: for DKIM or SPF. */
static struct ll_slice passed(const struct ll_report_node *record, enum ll_report_id group,
                              enum ll_report_id domain, enum ll_report_id result)
{
    const struct ll_report_node *n = ll_report_child(record, LL_REPORT_N_AUTH_RESULTS), *text;

    for (n = n ? n->child : NULL; n; n = n->next) {
        text = n->id == group ? ll_report_child(n, result) : NULL;
        if (text && ll_slice_caseeq(text->text, LL_LIT("pass")) && ll_report_child(n, domain))
            return ll_report_child(n, domain)->text;
    }
    return LL_LIT("");
}

static bool put_record(sqlite3_stmt *q, int64_t report, const struct ll_report_node *r)
{
    const struct ll_report_node *done =
        ll_report_child(ll_report_child(r, LL_REPORT_N_ITEM), LL_REPORT_N_EVALUATED);
    struct ll_slice dkim =
        deep(r, LL_REPORT_N_ITEM, LL_REPORT_N_EVALUATED, LL_REPORT_N_EVALUATED_DKIM);
    struct ll_slice spf =
        deep(r, LL_REPORT_N_ITEM, LL_REPORT_N_EVALUATED, LL_REPORT_N_EVALUATED_SPF);

    sqlite3_reset(q);
    sqlite3_bind_int64(q, 1, report);
    bind_text(q, 2, ll_report_text(r, LL_REPORT_N_ITEM, LL_REPORT_N_SOURCE_IP));
    sqlite3_bind_int64(q, 3, number(ll_report_text(r, LL_REPORT_N_ITEM, LL_REPORT_N_COUNT)));
    bind_text(q, 4, deep(r, LL_REPORT_N_ITEM, LL_REPORT_N_EVALUATED, LL_REPORT_N_DISPOSITION));
    sqlite3_bind_int(q, 5, ll_slice_caseeq(dkim, LL_LIT("pass")));
    sqlite3_bind_int(q, 6, ll_slice_caseeq(spf, LL_LIT("pass")));
    bind_text(q, 7, ll_report_text(done, LL_REPORT_N_REASON, LL_REPORT_N_REASON_TYPE));
    bind_text(q, 8, ll_report_text(r, LL_REPORT_N_IDENTIFIERS, LL_REPORT_N_HEADER_FROM));
    bind_text(q, 9, passed(r, LL_REPORT_N_DKIM, LL_REPORT_N_DKIM_DOMAIN, LL_REPORT_N_DKIM_RESULT));
    bind_text(q, 10, passed(r, LL_REPORT_N_SPF, LL_REPORT_N_SPF_DOMAIN, LL_REPORT_N_SPF_RESULT));
    return step(q);
}

static bool put_records(struct ll_report_store *s, const struct ll_report_node *top)
{
    int64_t report = sqlite3_last_insert_rowid(s->db);
    sqlite3_stmt *q = NULL;
    bool ok = sqlite3_prepare_v2(s->db, add_record, -1, &q, NULL) == SQLITE_OK;

    for (const struct ll_report_node *r = top->child; r && ok; r = r->next)
        if (r->id == LL_REPORT_N_RECORD)
            ok = put_record(q, report, r);
    sqlite3_finalize(q);
    return ok;
}

static void bind_origin(sqlite3_stmt *q, const struct ll_report_origin *from)
{
    bind_text(q, 8, from->reporter);
    bind_text(q, 9, ll_slice_str(from->proof));
}

static bool put_dmarc(struct ll_report_store *s, const struct ll_report_node *top,
                      const struct ll_report_origin *from, int64_t now)
{
    sqlite3_stmt *q = NULL;
    bool ok = sqlite3_prepare_v2(s->db, add_report, -1, &q, NULL) == SQLITE_OK;

    if (ok) {
        bind_text(q, 1, ll_report_text(top, LL_REPORT_N_METADATA, LL_REPORT_N_ORG_NAME));
        bind_text(q, 2, ll_report_text(top, LL_REPORT_N_METADATA, LL_REPORT_N_REPORT_ID));
        bind_text(q, 3, ll_report_text(top, LL_REPORT_N_POLICY, LL_REPORT_N_DOMAIN));
        for (int i = 0; i < 2; i++)
            sqlite3_bind_int64(q, 4 + i,
                               number(deep(top, LL_REPORT_N_METADATA, LL_REPORT_N_DATE_RANGE,
                                           i ? LL_REPORT_N_END : LL_REPORT_N_BEGIN)));
        bind_text(q, 6, ll_report_text(top, LL_REPORT_N_POLICY, LL_REPORT_N_P));
        sqlite3_bind_int64(q, 7, now);
        bind_origin(q, from);
        ok = step(q);
    }
    sqlite3_finalize(q);
    return ok && (sqlite3_changes(s->db) == 0 || put_records(s, top));
}

static struct ll_slice field(const struct ll_report_node *top, enum ll_report_id id)
{
    const struct ll_report_node *n = ll_report_child(top, id);

    return n ? n->text : LL_LIT("");
}

static bool put_failure(struct ll_report_store *s, const struct ll_report_node *top,
                        const struct ll_report_origin *from, int64_t now)
{
    static const enum ll_report_id columns[] = {
        LL_REPORT_N_FEEDBACK_TYPE, LL_REPORT_N_REPORTED_DOMAIN, LL_REPORT_N_FAILURE_SOURCE_IP,
        LL_REPORT_N_AUTH_FAILURE,  LL_REPORT_N_MAIL_FROM,       LL_REPORT_N_ARRIVAL_DATE};
    sqlite3_stmt *q = NULL;
    bool ok = sqlite3_prepare_v2(s->db, add_failure, -1, &q, NULL) == SQLITE_OK;

    if (ok) {
        sqlite3_bind_int64(q, 1, now);
        for (int i = 0; i < (int)LL_COUNT(columns); i++)
            bind_text(q, 2 + i, field(top, columns[i]));
        bind_origin(q, from);
        ok = step(q);
    }
    sqlite3_finalize(q);
    return ok;
}

static bool drop_old(struct ll_report_store *s, int64_t now)
{
    struct ll_buf sql = LL_BUF(256);
    const char *text;
    bool ok;

    ll_buf_printf(&sql,
                  "DELETE FROM reports WHERE received < %lld;"
                  "DELETE FROM failures WHERE received < %lld",
                  (long long)(now - LL_REPORT_KEEP_DAYS * DAY_S),
                  (long long)(now - LL_REPORT_KEEP_DAYS * DAY_S));
    text = ll_buf_str(&sql);
    ok = text && sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK;
    ll_buf_release(&sql);
    return ok;
}

enum ll_report_added ll_report_store_add(struct ll_report_store *s,
                                         const struct ll_report_node *top,
                                         const struct ll_report_origin *from, int64_t unix_s,
                                         struct ll_buf *ret_err)
{
    int before;
    bool ok = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;

    ok = ok && drop_old(s, unix_s);
    before = sqlite3_total_changes(s->db);
    ok = ok && (top->id == LL_REPORT_N_FEEDBACK ? put_dmarc(s, top, from, unix_s)
                                                : put_failure(s, top, from, unix_s));
    if (ok && sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        return sqlite3_total_changes(s->db) > before ? LL_REPORT_ADDED : LL_REPORT_KNOWN;
    fault(s, ret_err);
    sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return LL_REPORT_NOT_ADDED;
}

/* ---- asking -------------------------------------------------------------------------------------
 */

static bool ask(struct ll_report_store *s, const char *sql, int64_t since, struct ll_slice domain,
                struct ll_buf *ret_err)
{
    sqlite3_finalize(s->rows);
    s->rows = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &s->rows, NULL) != SQLITE_OK)
        return fault(s, ret_err);
    sqlite3_bind_int64(s->rows, 1, since);
    bind_text(s->rows, 2, domain);
    return true;
}

static struct ll_slice column_text(sqlite3_stmt *q, int i)
{
    const unsigned char *p = sqlite3_column_text(q, i);

    return ll_slice(p, p ? (size_t)sqlite3_column_bytes(q, i) : 0);
}

bool ll_report_store_sources(struct ll_report_store *s, int64_t since, struct ll_slice domain,
                             struct ll_buf *ret_err)
{
    return ask(s, sources, since, domain, ret_err);
}

bool ll_report_store_next_source(struct ll_report_store *s, struct ll_report_source *ret)
{
    sqlite3_stmt *q = s->rows;
    uint64_t *numbers[] = {&ret->letters,     &ret->pass,     &ret->dkim,     &ret->spf,
                           &ret->quarantined, &ret->rejected, &ret->reporters};

    if ((s->rc = sqlite3_step(q)) != SQLITE_ROW)
        return false;
    ret->domain = column_text(q, 0);
    ret->source = column_text(q, 1);
    ret->author = column_text(q, 2);
    ret->p = column_text(q, 3);
    for (int i = 0; i < (int)LL_COUNT(numbers); i++)
        *numbers[i] = (uint64_t)sqlite3_column_int64(q, 4 + i);
    ret->first = sqlite3_column_int64(q, 11);
    ret->last = sqlite3_column_int64(q, 12);
    ret->reason = column_text(q, 13);
    ret->signer = column_text(q, 14);
    ret->sender = column_text(q, 15);
    ret->unproved = (uint64_t)sqlite3_column_int64(q, 16);
    return true;
}

bool ll_report_store_failures(struct ll_report_store *s, int64_t since, struct ll_slice domain,
                              struct ll_buf *ret_err)
{
    return ask(s, failures, since, domain, ret_err);
}

bool ll_report_store_next_failure(struct ll_report_store *s, struct ll_report_failure *ret)
{
    sqlite3_stmt *q = s->rows;

    if ((s->rc = sqlite3_step(q)) != SQLITE_ROW)
        return false;
    ret->received = sqlite3_column_int64(q, 0);
    ret->type = column_text(q, 1);
    ret->domain = column_text(q, 2);
    ret->source = column_text(q, 3);
    ret->failure = column_text(q, 4);
    ret->sender = column_text(q, 5);
    ret->arrived = column_text(q, 6);
    ret->reporter = column_text(q, 7);
    ret->proof = column_text(q, 8);
    return true;
}

bool ll_report_store_reporters(struct ll_report_store *s, int64_t since, struct ll_slice domain,
                               struct ll_buf *ret_err)
{
    return ask(s, reporters, since, domain, ret_err);
}

bool ll_report_store_next_reporter(struct ll_report_store *s, struct ll_report_reporter *ret)
{
    sqlite3_stmt *q = s->rows;

    if ((s->rc = sqlite3_step(q)) != SQLITE_ROW)
        return false;
    ret->reporter = column_text(q, 0);
    ret->proof = column_text(q, 1);
    ret->org = column_text(q, 2);
    ret->reports = (uint64_t)sqlite3_column_int64(q, 3);
    ret->letters = (uint64_t)sqlite3_column_int64(q, 4);
    ret->last = sqlite3_column_int64(q, 5);
    return true;
}

bool ll_report_store_came(struct ll_report_store *s, int64_t since, struct ll_slice reporter,
                          uint64_t *ret, struct ll_buf *ret_err)
{
    bool ok = ask(s, came, since, reporter, ret_err) && sqlite3_step(s->rows) == SQLITE_ROW;

    if (ok)
        *ret = (uint64_t)sqlite3_column_int64(s->rows, 0);
    sqlite3_finalize(s->rows);
    s->rows = NULL;
    return ok || fault(s, ret_err);
}

bool ll_report_store_end(struct ll_report_store *s, struct ll_buf *ret_err)
{
    return s->rc == SQLITE_DONE || fault(s, ret_err);
}
