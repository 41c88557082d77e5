/* See io/report.h: an aggregate report's XML, by expat. Elements are found by where they are, not
 * in which order, for reports before RFC 9990 have every order; what the table does not know is
 * passed over with all that is in it. */
#include "io/report.h"

#include <expat.h>
#include <stdlib.h>

#define STACK 8 /* known elements within known elements */

struct ll_report_xml {
    XML_Parser expat;
    struct ll_report_marks *marks;
    struct ll_buf text; /* of the open text element */
    enum ll_report_id open[STACK];
    size_t depth;     /* of known elements */
    unsigned unknown; /* elements open within the first that is not known */
    enum ll_report_error error;
};

static void stop(struct ll_report_xml *x, enum ll_report_error e)
{
    if (x->error == LL_REPORT_OK)
        x->error = e;
    XML_StopParser(x->expat, XML_FALSE);
}

/* The name without a prefix for its name space: the prefix is the writer's choice. */
static struct ll_slice local_name(const char *name)
{
    struct ll_slice s = ll_slice_str(name);
    size_t colon = ll_slice_rfind(s, ':');

    return colon < s.n ? ll_slice_skip(s, colon + 1) : s;
}

static bool in_text(const struct ll_report_xml *x)
{
    enum ll_report_kind kind;

    if (x->depth == 0)
        return false;
    kind = (enum ll_report_kind)ll_report_rows[x->open[x->depth - 1]].kind;
    return kind != LL_REPORT_GROUP && kind != LL_REPORT_GROUPS;
}

static void attributes(struct ll_report_xml *x, enum ll_report_id id, const char **pairs)
{
    for (; pairs[0]; pairs += 2) {
        enum ll_report_id a = ll_report_row_find(id, local_name(pairs[0]), false);

        if (a != LL_REPORT_IDS && ll_report_rows[a].kind == LL_REPORT_TEXT)
            ll_report_put(x->marks, a, ll_slice_cut(ll_slice_str(pairs[1]), 0, LL_REPORT_TEXT_MAX));
    }
}

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **pairs)
{
    struct ll_report_xml *x = user;
    enum ll_report_id parent = x->depth > 0 ? x->open[x->depth - 1] : LL_REPORT_N_TOP;
    enum ll_report_id id;

    if (x->error != LL_REPORT_OK)
        return;
    if (x->depth + x->unknown >= LL_REPORT_DEPTH_MAX) {
        stop(x, LL_REPORT_DEPTH);
        return;
    }
    id = x->unknown > 0 || in_text(x) ? LL_REPORT_IDS
                                      : ll_report_row_find(parent, local_name(name), false);
    if (x->depth == 0 && id != LL_REPORT_N_FEEDBACK) {
        stop(x, LL_REPORT_ROOT);
    } else if (id == LL_REPORT_IDS || x->depth == STACK) {
        x->unknown++;
    } else {
        x->open[x->depth++] = id;
        ll_buf_clear(&x->text);
        if (!in_text(x)) {
            ll_report_open(x->marks, id);
            attributes(x, id, pairs);
        }
    }
    if (x->marks->error != LL_REPORT_OK)
        stop(x, x->marks->error);
}

static struct ll_slice trimmed(struct ll_slice s)
{
    while (s.n > 0 && s.p[0] <= ' ')
        s = ll_slice_skip(s, 1);
    while (s.n > 0 && s.p[s.n - 1] <= ' ')
        s.n--;
    return s;
}

static void XMLCALL on_end(void *user, const XML_Char *name)
{
    struct ll_report_xml *x = user;

    if (x->error != LL_REPORT_OK)
        return;
    if (x->unknown > 0) {
        x->unknown--;
        return;
    }
    if (in_text(x))
        ll_report_put(x->marks, x->open[x->depth - 1], trimmed(ll_buf_slice(&x->text)));
    else
        ll_report_close(x->marks);
    x->depth--;
    if (x->marks->error != LL_REPORT_OK)
        stop(x, x->marks->error);
}

static void XMLCALL on_text(void *user, const XML_Char *s, int len)
{
    struct ll_report_xml *x = user;
    size_t n = (size_t)len, room = x->text.max - x->text.n;

    if (x->error == LL_REPORT_OK && x->unknown == 0 && in_text(x))
        ll_buf_put(&x->text, s, n < room ? n : room);
}

/* Entities are declared in a DOCTYPE alone: without one there is nothing to expand, and no address
 * to fetch. */
static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *system,
                               const XML_Char *public, int internal)
{
    stop(user, LL_REPORT_DOCTYPE);
}

struct ll_report_xml *ll_report_xml_new(struct ll_report_marks *marks)
{
    struct ll_report_xml *x = calloc(1, sizeof(*x));

    if (!x)
        return NULL;
    x->marks = marks;
    ll_buf_init(&x->text, LL_REPORT_TEXT_MAX);
    x->expat = XML_ParserCreate(NULL);
    if (!x->expat) {
        free(x);
        return NULL;
    }
    XML_SetUserData(x->expat, x);
    XML_SetElementHandler(x->expat, on_start, on_end);
    XML_SetCharacterDataHandler(x->expat, on_text);
    XML_SetStartDoctypeDeclHandler(x->expat, on_doctype);
    return x;
}

void ll_report_xml_free(struct ll_report_xml *x)
{
    if (!x)
        return;
    XML_ParserFree(x->expat);
    ll_buf_release(&x->text);
    free(x);
}

enum ll_report_error ll_report_xml_feed(struct ll_report_xml *x, struct ll_slice part, bool last)
{
    if (x->error == LL_REPORT_OK &&
        XML_Parse(x->expat, (const char *)part.p, (int)part.n, last) != XML_STATUS_OK &&
        x->error == LL_REPORT_OK)
        x->error =
            XML_GetErrorCode(x->expat) == XML_ERROR_NO_MEMORY ? LL_REPORT_RESOURCE : LL_REPORT_XML;
    return x->error;
}

uint64_t ll_report_xml_line(const struct ll_report_xml *x)
{
    return XML_GetCurrentLineNumber(x->expat);
}
