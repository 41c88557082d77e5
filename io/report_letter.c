/* See io/report.h: the report in a letter. RFC 9990 4 sends an archive as the letter's content or
 * as an attachment, under many names of media types; what the part begins with decides. */
#include "io/report.h"

#include "letterlock/mime.h"
#include "letterlock/msg.h"

#define ARENA_MAX (8u << 20)

/* Lines that end in LF alone, as in files, become those of a letter. */
static bool wire_form(struct ll_slice in, struct ll_buf *out)
{
    struct ll_slice line;

    while (ll_slice_next(&in, '\n', &line)) {
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        ll_buf_put_slice(out, line);
        ll_buf_puts(out, "\r\n");
    }
    return !out->failed;
}

/* ---- feedback reports (RFC 5965 3) --------------------------------------------------------------
 */

/* What JSON shows of an address is the address, and of a name with a type ("dns; mx.example.org")
 * the name; comments behind an IP address go. */
static struct ll_slice tidy(enum ll_report_id id, struct ll_slice s)
{
    size_t semicolon = ll_slice_find(s, ';');

    if (id == LL_REPORT_N_REPORTING_MTA && semicolon < s.n)
        return ll_slice_trim(ll_slice_skip(s, semicolon + 1));
    if (id == LL_REPORT_N_FAILURE_SOURCE_IP)
        return ll_slice_cut(s, 0, ll_slice_find(s, ' '));
    return s;
}

static void put_field(struct ll_report_marks *m, const struct ll_msg_field *f, struct ll_buf *text)
{
    enum ll_report_id id = ll_report_row_find(LL_REPORT_N_FAILURE, f->name, true);

    /* MESSAGE and HEADERS are parts of the letter, no fields. */
    if (id == LL_REPORT_IDS || id == LL_REPORT_N_MESSAGE || id == LL_REPORT_N_HEADERS)
        return;
    ll_buf_clear(text);
    ll_msg_unfold(ll_slice_cut(f->body, 0, text->max), text);
    if (!text->failed)
        ll_report_put(m, id, tidy(id, ll_buf_slice(text)));
}

static enum ll_report_error read_failure(const struct ll_mime *mime,
                                         const struct ll_mime_part *part, struct ll_report_marks *m)
{
    struct ll_buf decoded = LL_BUF(part->body.n + 1), text = LL_BUF(64u << 10);
    struct ll_slice rest;
    struct ll_msg_field f;

    ll_mime_decode((enum ll_mime_encoding)part->encoding, part->body, &decoded);
    rest = ll_buf_slice(&decoded);
    ll_report_open(m, LL_REPORT_N_FAILURE);
    while (ll_msg_field_next(&rest, &f))
        if (!f.bad)
            put_field(m, &f, &text);
    for (const struct ll_mime_part *p = part + 1; p < mime->part + mime->n; p++) {
        bool headers = ll_mime_is(p, "text", "rfc822-headers");

        if (p->parent != part->parent || (!headers && !(p->flags & LL_MIME_MESSAGE)))
            continue;
        ll_buf_release(&decoded);
        ll_buf_init(&decoded, p->body.n + 1);
        ll_mime_decode((enum ll_mime_encoding)p->encoding, p->body, &decoded);
        ll_report_put(m, headers ? LL_REPORT_N_HEADERS : LL_REPORT_N_MESSAGE,
                      ll_slice_cut(ll_buf_slice(&decoded), 0, LL_REPORT_MESSAGE_MAX));
        break;
    }
    ll_report_close(m);
    ll_buf_release(&decoded);
    ll_buf_release(&text);
    return m->error;
}

/* ---- aggregate reports --------------------------------------------------------------------------
 */

static bool may_hold(const struct ll_mime_part *p)
{
    return p->n_children == 0 && !(p->flags & LL_MIME_MULTIPART) &&
           (ll_mime_is(p, "application", NULL) || ll_mime_is(p, "text", "xml"));
}

static enum ll_report_error read_parts(const struct ll_mime *mime, struct ll_report_marks *m,
                                       uint64_t *ret_line)
{
    enum ll_report_error e = LL_REPORT_NONE;

    for (size_t i = 0; i < mime->n && e == LL_REPORT_NONE; i++) {
        const struct ll_mime_part *p = &mime->part[i];

        if (ll_mime_is(p, "message", "feedback-report")) {
            e = read_failure(mime, p, m);
        } else if (may_hold(p)) {
            struct ll_buf decoded = LL_BUF(p->body.n + 1);

            ll_mime_decode((enum ll_mime_encoding)p->encoding, p->body, &decoded);
            if (ll_report_is_packed(ll_buf_slice(&decoded)))
                e = ll_report_unpack(ll_buf_slice(&decoded), m, ret_line);
            ll_buf_release(&decoded);
        }
    }
    return e;
}

enum ll_report_error ll_report_parse(struct ll_slice in, struct ll_report_marks *m,
                                     uint64_t *ret_line)
{
    struct ll_buf letter = LL_BUF(2 * (size_t)LL_REPORT_IN_MAX);
    enum ll_report_error e = LL_REPORT_RESOURCE;
    enum ll_mime_error parts;
    struct ll_arena arena;
    struct ll_mime mime;

    if (ll_report_is_packed(in))
        return ll_report_unpack(in, m, ret_line);
    ll_arena_init(&arena, ARENA_MAX);
    if (wire_form(in, &letter)) {
        parts = ll_mime_parse(ll_buf_slice(&letter), &arena, &mime);
        e = parts == LL_MIME_OK         ? read_parts(&mime, m, ret_line)
            : parts == LL_MIME_RESOURCE ? LL_REPORT_RESOURCE
                                        : LL_REPORT_LETTER;
    }
    ll_arena_release(&arena);
    ll_buf_release(&letter);
    return e;
}
