/*
 * report: what others tell about letters that bear our domains: DMARC aggregate reports (RFC 9990,
 * and those of RFC 7489's time), failure reports (RFC 9991, 6591) and abuse reports (RFC 5965).
 *
 * A report comes from a stranger, packed: only a process of its own that can reach nothing reads it
 * (ll_report_read forks it). That process writes down what it found as plain marks ("node, text,
 * end"), and the caller builds the tree from those, checked again. So no expat, libarchive or MIME
 * runs over a stranger's octets in a process that has files or a network.
 *
 * What is known, and what must be inside what, is one table: XML elements, fields of a
 * feedback report and the keys of the JSON that shows them are its rows.
 */
#ifndef LL_IO_REPORT_H
#define LL_IO_REPORT_H

#include "io/json.h"
#include "letterlock/base.h"

#define LL_REPORT_IN_MAX      (32u << 20) /* octets of a letter or archive that is looked at */
#define LL_REPORT_OUT_MAX     (16u << 20) /* octets of XML that come out of an archive */
#define LL_REPORT_RATIO_MAX   200         /* times as much XML as archive; real ones have 5 to 40 */
#define LL_REPORT_RATIO_FREE  (64u << 10) /* octets for which nobody looks at the ratio */
#define LL_REPORT_DEPTH_MAX   32          /* elements within elements; the schema has 6 */
#define LL_REPORT_TEXT_MAX    4096        /* octets of one text; what is longer is cut */
#define LL_REPORT_MESSAGE_MAX (1u << 20)  /* the same of a letter that a failure report carries */
#define LL_REPORT_NODES_MAX   500000      /* elements of a report: about 25,000 rows */
#define LL_REPORT_MARKS_MAX   (24u << 20) /* octets that the reading process may answer */
#define LL_REPORT_MEMORY      (192u << 20) /* octets that the reading process may have */
#define LL_REPORT_CPU_S       2            /* seconds of work that it may take */
#define LL_REPORT_WAIT_MS     30000        /* after which it is ended, however slow the machine */

/* ROW(ID, sentence) */
#define LL_REPORT_ERRORS(ROW)                                                                      \
    ROW(OK, "no error")                                                                            \
    ROW(NONE, "there is no report in it")                                                          \
    ROW(XML, "the XML is not well formed")                                                         \
    ROW(DOCTYPE, "it has a DOCTYPE, which no report has and which can do harm")                    \
    ROW(DEPTH, "elements lie more than 32 deep")                                                   \
    ROW(ROOT, "it is XML, but no DMARC report: the outermost element is not feedback")             \
    ROW(MANY, "it has more than 500000 elements")                                                  \
    ROW(ARCHIVE, "the archive is damaged, encrypted or of an unknown kind")                        \
    ROW(MEMBERS, "the archive has not exactly one file in it")                                     \
    ROW(NESTED, "the archive holds another archive")                                               \
    ROW(RATIO, "it grows to more than 200 times its size when it is unpacked")                     \
    ROW(LONG, "it is longer than 16 MiB when it is unpacked")                                      \
    ROW(BIG, "the letter or archive is longer than 32 MiB")                                        \
    ROW(LETTER, "the letter's parts are over the limits")                                          \
    ROW(TLS, "it is a TLS report (JSON), not a DMARC one")                                         \
    ROW(PROCESS, "the process that read it broke its limits and was ended")                        \
    ROW(RESOURCE, "not enough memory, or no process could be started")

enum ll_report_error {
#define LL_REPORT_ENUM(id, text) LL_REPORT_##id,
    LL_REPORT_ERRORS(LL_REPORT_ENUM)
#undef LL_REPORT_ENUM
        LL_REPORT_ERRORS_N
};

const char *ll_report_error_text(enum ll_report_error);

/* What a node is, and how JSON shows it. */
enum ll_report_kind {
    LL_REPORT_GROUP,  /* holds other nodes */
    LL_REPORT_GROUPS, /* the same, any number of them */
    LL_REPORT_TEXT,
    LL_REPORT_TEXTS,
    LL_REPORT_NUMBER, /* text that should be a decimal number */
};

/* ROW(ID, parent's ID, name, kind). Names of a feedback report's fields are compared without regard
 * to case; JSON has them in lower case with "_" for "-". */
#define LL_REPORT_TABLE(ROW)                                                                       \
    ROW(TOP, TOP, "", GROUP)                                                                       \
    /* RFC 9990 3.1; pct is RFC 7489's */                                                          \
    ROW(FEEDBACK, TOP, "feedback", GROUP)                                                          \
    ROW(VERSION, FEEDBACK, "version", TEXT)                                                        \
    ROW(METADATA, FEEDBACK, "report_metadata", GROUP)                                              \
    ROW(ORG_NAME, METADATA, "org_name", TEXT)                                                      \
    ROW(EMAIL, METADATA, "email", TEXT)                                                            \
    ROW(CONTACT, METADATA, "extra_contact_info", TEXT)                                             \
    ROW(REPORT_ID, METADATA, "report_id", TEXT)                                                    \
    ROW(DATE_RANGE, METADATA, "date_range", GROUP)                                                 \
    ROW(BEGIN, DATE_RANGE, "begin", NUMBER)                                                        \
    ROW(END, DATE_RANGE, "end", NUMBER)                                                            \
    ROW(PROBLEM, METADATA, "error", TEXTS)                                                         \
    ROW(GENERATOR, METADATA, "generator", TEXT)                                                    \
    ROW(POLICY, FEEDBACK, "policy_published", GROUP)                                               \
    ROW(DOMAIN, POLICY, "domain", TEXT)                                                            \
    ROW(DISCOVERY, POLICY, "discovery_method", TEXT)                                               \
    ROW(P, POLICY, "p", TEXT)                                                                      \
    ROW(SP, POLICY, "sp", TEXT)                                                                    \
    ROW(NP, POLICY, "np", TEXT)                                                                    \
    ROW(FO, POLICY, "fo", TEXT)                                                                    \
    ROW(ADKIM, POLICY, "adkim", TEXT)                                                              \
    ROW(ASPF, POLICY, "aspf", TEXT)                                                                \
    ROW(TESTING, POLICY, "testing", TEXT)                                                          \
    ROW(PCT, POLICY, "pct", TEXT)                                                                  \
    ROW(VERSION_PUBLISHED, POLICY, "version_published", TEXT)                                      \
    ROW(RECORD, FEEDBACK, "record", GROUPS)                                                        \
    ROW(ITEM, RECORD, "row", GROUP)                                                                \
    ROW(SOURCE_IP, ITEM, "source_ip", TEXT)                                                        \
    ROW(COUNT, ITEM, "count", NUMBER)                                                              \
    ROW(EVALUATED, ITEM, "policy_evaluated", GROUP)                                                \
    ROW(DISPOSITION, EVALUATED, "disposition", TEXT)                                               \
    ROW(EVALUATED_DKIM, EVALUATED, "dkim", TEXT)                                                   \
    ROW(EVALUATED_SPF, EVALUATED, "spf", TEXT)                                                     \
    ROW(REASON, EVALUATED, "reason", GROUPS)                                                       \
    ROW(REASON_TYPE, REASON, "type", TEXT)                                                         \
    ROW(REASON_COMMENT, REASON, "comment", TEXT)                                                   \
    ROW(IDENTIFIERS, RECORD, "identifiers", GROUP)                                                 \
    ROW(HEADER_FROM, IDENTIFIERS, "header_from", TEXT)                                             \
    ROW(ENVELOPE_FROM, IDENTIFIERS, "envelope_from", TEXT)                                         \
    ROW(ENVELOPE_TO, IDENTIFIERS, "envelope_to", TEXT)                                             \
    ROW(AUTH_RESULTS, RECORD, "auth_results", GROUP)                                               \
    ROW(DKIM, AUTH_RESULTS, "dkim", GROUPS)                                                        \
    ROW(DKIM_DOMAIN, DKIM, "domain", TEXT)                                                         \
    ROW(DKIM_SELECTOR, DKIM, "selector", TEXT)                                                     \
    ROW(DKIM_RESULT, DKIM, "result", TEXT)                                                         \
    ROW(DKIM_HUMAN, DKIM, "human_result", TEXT)                                                    \
    ROW(SPF, AUTH_RESULTS, "spf", GROUPS)                                                          \
    ROW(SPF_DOMAIN, SPF, "domain", TEXT)                                                           \
    ROW(SPF_SCOPE, SPF, "scope", TEXT)                                                             \
    ROW(SPF_RESULT, SPF, "result", TEXT)                                                           \
    ROW(SPF_HUMAN, SPF, "human_result", TEXT)                                                      \
    ROW(RECORD_EXTENSIONS, RECORD, "extensions", GROUP)                                            \
    ROW(RECORD_EXTENSION, RECORD_EXTENSIONS, "extension", GROUPS)                                  \
    ROW(RECORD_EXTENSION_NAME, RECORD_EXTENSION, "name", TEXT)                                     \
    ROW(RECORD_EXTENSION_DEFINITION, RECORD_EXTENSION, "definition", TEXT)                         \
    ROW(EXTENSIONS, FEEDBACK, "extensions", GROUP)                                                 \
    ROW(EXTENSION, EXTENSIONS, "extension", GROUPS)                                                \
    ROW(EXTENSION_NAME, EXTENSION, "name", TEXT)                                                   \
    ROW(EXTENSION_DEFINITION, EXTENSION, "definition", TEXT)                                       \
    /* RFC 5965 3, RFC 6591 3, RFC 9991 4 */                                                       \
    ROW(FAILURE, TOP, "feedback-report", GROUP)                                                    \
    ROW(FEEDBACK_TYPE, FAILURE, "Feedback-Type", TEXT)                                             \
    ROW(USER_AGENT, FAILURE, "User-Agent", TEXT)                                                   \
    ROW(FAILURE_VERSION, FAILURE, "Version", TEXT)                                                 \
    ROW(ENVELOPE_ID, FAILURE, "Original-Envelope-Id", TEXT)                                        \
    ROW(MAIL_FROM, FAILURE, "Original-Mail-From", TEXT)                                            \
    ROW(RCPT_TO, FAILURE, "Original-Rcpt-To", TEXTS)                                               \
    ROW(ARRIVAL_DATE, FAILURE, "Arrival-Date", TEXT)                                               \
    ROW(RECEIVED_DATE, FAILURE, "Received-Date", TEXT)                                             \
    ROW(REPORTING_MTA, FAILURE, "Reporting-MTA", TEXT)                                             \
    ROW(FAILURE_SOURCE_IP, FAILURE, "Source-IP", TEXT)                                             \
    ROW(SOURCE_PORT, FAILURE, "Source-Port", NUMBER)                                               \
    ROW(INCIDENTS, FAILURE, "Incidents", NUMBER)                                                   \
    ROW(AUTHRES, FAILURE, "Authentication-Results", TEXTS)                                         \
    ROW(REPORTED_DOMAIN, FAILURE, "Reported-Domain", TEXTS)                                        \
    ROW(REPORTED_URI, FAILURE, "Reported-URI", TEXTS)                                              \
    ROW(AUTH_FAILURE, FAILURE, "Auth-Failure", TEXT)                                               \
    ROW(DELIVERY_RESULT, FAILURE, "Delivery-Result", TEXT)                                         \
    ROW(IDENTITY_ALIGNMENT, FAILURE, "Identity-Alignment", TEXT)                                   \
    ROW(DKIM_ADSP_DNS, FAILURE, "DKIM-ADSP-DNS", TEXT)                                             \
    ROW(DKIM_BODY, FAILURE, "DKIM-Canonicalized-Body", TEXT)                                       \
    ROW(DKIM_HEADER, FAILURE, "DKIM-Canonicalized-Header", TEXT)                                   \
    ROW(DKIM_D, FAILURE, "DKIM-Domain", TEXT)                                                      \
    ROW(DKIM_I, FAILURE, "DKIM-Identity", TEXT)                                                    \
    ROW(DKIM_S, FAILURE, "DKIM-Selector", TEXT)                                                    \
    ROW(DKIM_S_DNS, FAILURE, "DKIM-Selector-DNS", TEXT)                                            \
    ROW(SPF_DNS, FAILURE, "SPF-DNS", TEXTS)                                                        \
    ROW(MESSAGE, FAILURE, "message", TEXT)                                                         \
    ROW(HEADERS, FAILURE, "headers", TEXT)

enum ll_report_id {
#define LL_REPORT_ENUM(id, parent, name, kind) LL_REPORT_N_##id,
    LL_REPORT_TABLE(LL_REPORT_ENUM)
#undef LL_REPORT_ENUM
        LL_REPORT_IDS
};

struct ll_report_row {
    const char *name;
    uint8_t parent; /* enum ll_report_id */
    uint8_t kind;   /* enum ll_report_kind */
};
extern const struct ll_report_row ll_report_rows[LL_REPORT_IDS];

/* The row of this name within this group; LL_REPORT_IDS: none. */
enum ll_report_id ll_report_row_find(enum ll_report_id parent, struct ll_slice name, bool any_case);

/* ---- reading ------------------------------------------------------------------------------------
 */

struct ll_report_node {
    struct ll_slice text; /* of TEXT, TEXTS, NUMBER; octets that a stranger chose */
    struct ll_report_node *child, *next;
    uint8_t id; /* enum ll_report_id */
};

struct ll_report {
    struct ll_report_node *top; /* FEEDBACK or FAILURE; in the arena */
    uint64_t line;              /* of the XML at which it went wrong; 0: not known */
};

/* Reads a report: a letter that holds one, or the archive (gzip, zip) or XML itself; a process is
 * forked for it that ends with it. The caller has one thread. marks: keeps what the texts borrow
 * from, empty, with LL_REPORT_MARKS_MAX. On an error ret->line alone is set. */
enum ll_report_error ll_report_read(struct ll_slice in, struct ll_buf *marks, struct ll_arena *,
                                    struct ll_report *ret);

/* The first child with this ID, or NULL; node may be NULL. */
const struct ll_report_node *ll_report_child(const struct ll_report_node *, enum ll_report_id);
/* The text at the end of a way from node, as LL_REPORT_N_ITEM, LL_REPORT_N_COUNT: the empty slice
 * where a part of it is not there. */
struct ll_slice ll_report_text(const struct ll_report_node *, enum ll_report_id first,
                               enum ll_report_id second);
/* The node as a JSON value (after ll_json_key, or in an array): each row of the table is a key;
 * TEXT that is not there is null. */
void ll_report_json(struct ll_json *, const struct ll_report_node *);

/* Sets the limits of memory and processor time of a process that reads a report. */
bool ll_report_limits(void);

/* ---- within the process: for it, and for fuzzing ------------------------------------------------
 */

/* A writer of marks. Groups are opened and closed, texts put; what is over a limit sets error. */
struct ll_report_marks {
    struct ll_buf *out;
    size_t nodes;
    enum ll_report_error error;
};
void ll_report_open(struct ll_report_marks *, enum ll_report_id);
void ll_report_close(struct ll_report_marks *);
void ll_report_put(struct ll_report_marks *, enum ll_report_id, struct ll_slice text);

/* An aggregate report in XML that comes in parts. */
struct ll_report_xml;
struct ll_report_xml *ll_report_xml_new(struct ll_report_marks *); /* NULL: no memory */
void ll_report_xml_free(struct ll_report_xml *);
/* OK: go on. The last part may be empty. */
enum ll_report_error ll_report_xml_feed(struct ll_report_xml *, struct ll_slice part, bool last);
uint64_t ll_report_xml_line(const struct ll_report_xml *);

/* XML, or an archive with it. */
enum ll_report_error ll_report_unpack(struct ll_slice in, struct ll_report_marks *,
                                      uint64_t *ret_line);
/* Octets that begin as XML or as an archive that unpack knows. */
bool ll_report_is_packed(struct ll_slice in);
/* Any of it: a letter too. */
enum ll_report_error ll_report_parse(struct ll_slice in, struct ll_report_marks *,
                                     uint64_t *ret_line);
/* The tree of the marks; texts borrow from them. False: they are not well formed, or no memory. */
bool ll_report_tree(struct ll_slice marks, struct ll_arena *, struct ll_report_node **ret_top);

#endif
