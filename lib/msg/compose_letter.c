/* A ready letter taken apart. See include/letterlock/compose.h. */
#include "compose_write.h"

/* What becomes of a field: the first row whose name it has, or begins with where it ends in "-". */
enum fate {
    AUTHOR,  /* the author's: protected */
    TRACE,   /* stays outside */
    CONTENT, /* goes with the content */
    GONE
};

static const struct {
    const char *name;
    enum fate fate;
} fates[] = {
    {"Content-Length", GONE}, /* of a mailbox */
    {"Content-", CONTENT},
    {"MIME-Version", GONE},
    {"Received", TRACE},
    {"Resent-Bcc", GONE},
    {"Resent-", TRACE}, /* RFC 5322 3.6.6: by who sends it again */
    {"Bcc", GONE},      /* RFC 5322 3.6.3 */
    {"Return-Path", GONE},
    {"Delivered-To", GONE},
    {"X-Original-To", GONE},
    {"Envelope-To", GONE},
    {"Received-SPF", GONE},
    {"Authentication-Results", GONE},
    {"ARC-", GONE}, /* signatures that sealing breaks */
    {"DKIM-Signature", GONE},
    {"DomainKey-Signature", GONE},
    {"HP-Outer", GONE}, /* RFC 9788 2.2: only the one who seals writes it */
    {"Status", GONE},
    {"X-Status", GONE},
    {"X-Mozilla-Status", GONE},
    {"X-Mozilla-Status2", GONE},
    {"X-UID", GONE},
    {"X-UIDL", GONE},
    {"X-Keywords", GONE},
    {"Lines", GONE},
};

static enum fate fate_of(struct ll_slice name)
{
    for (size_t i = 0; i < LL_COUNT(fates); i++) {
        struct ll_slice row = ll_slice_str(fates[i].name);

        if (row.p[row.n - 1] == '-' ? ll_slice_casestarts(name, row) : ll_slice_caseeq(name, row))
            return fates[i].fate;
    }
    return AUTHOR;
}

/* ---- fields made ASCII --------------------------------------------------------------------------
 */

static bool is_without(const char *const *without, struct ll_slice name)
{
    for (; without && *without; without++)
        if (ll_slice_eq(name, ll_slice_str(*without)))
            return true;
    return false;
}

enum ll_compose_error ll_compose_put_value(struct ll_buf *out, const char *name,
                                           const struct ll_mime_value *v,
                                           const char *const *without)
{
    struct ll_buf text = LL_BUF(256);
    enum ll_compose_error e;

    ll_buf_put_slice(&text, v->type);
    if (v->subtype.n) {
        ll_buf_putc(&text, '/');
        ll_buf_put_slice(&text, v->subtype);
    }
    e = text.failed ? LL_COMPOSE_TYPE : ll_compose_field_begin(out, name, ll_buf_slice(&text));
    ll_buf_release(&text);
    for (size_t i = 0; i < v->n_param && !e; i++) {
        const struct ll_mime_param *p = &v->param[i];
        struct ll_buf param = LL_BUF(64);
        const char *key;
        struct ll_slice charset = p->charset;

        if (is_without(without, p->name))
            continue;
        /* Octets that nobody named: RFC 1428 3. */
        if (charset.n == 0 && !ll_utf8_valid(p->value))
            charset = LL_LIT("unknown-8bit");
        ll_buf_put_slice(&param, p->name);
        key = ll_buf_str(&param);
        /* A parameter that cannot be written is lost, as it would be on many readers. */
        if (key)
            ll_compose_param(out, key, p->value, charset);
        ll_buf_release(&param);
        e = out->failed ? LL_COMPOSE_RESOURCE : LL_COMPOSE_OK;
    }
    return e;
}

static const char *const with_params[] = {"Content-Type", "Content-Disposition"};
static const char *const texts[] = {"Content-Description", "Subject", "Comments"};

bool ll_compose_field_to_ascii(struct ll_buf *out, const struct ll_msg_field *f)
{
    size_t start = out->n;
    struct ll_mime_value v;
    struct ll_arena arena;
    bool done = false;

    if (ll_is_ascii(f->raw))
        return false;
    ll_arena_init(&arena, 1u << 20);
    for (size_t i = 0; i < LL_COUNT(with_params) && !done; i++)
        if (ll_slice_caseeq(f->name, ll_slice_str(with_params[i])) &&
            ll_mime_value(f->body, &arena, &v))
            done = ll_compose_put_value(out, with_params[i], &v, NULL) == LL_COMPOSE_OK;
    if (done)
        ll_buf_puts(out, "\r\n");
    ll_arena_release(&arena);
    for (size_t i = 0; i < LL_COUNT(texts) && !done; i++) {
        struct ll_buf plain = LL_BUF(f->body.n + 1);

        if (ll_slice_caseeq(f->name, ll_slice_str(texts[i]))) {
            ll_msg_unfold(f->body, &plain);
            done = ll_compose_field_text(out, texts[i], ll_buf_slice(&plain)) == LL_COMPOSE_OK;
        }
        ll_buf_release(&plain);
    }
    if (!done && !out->failed)
        out->n = start;
    return done;
}

/* ---- the letter
 * -----------------------------------------------------------------------------------
 */

void ll_compose_put_fields(struct ll_buf *out, struct ll_slice fields)
{
    while (fields.n) {
        size_t lf = ll_slice_find(fields, '\n'), n;
        struct ll_slice line = ll_slice_cut(fields, 0, lf);

        fields = ll_slice_skip(fields, lf + 1);
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        for (n = line.n; n && ll_is_blank(line.p[n - 1]);)
            n--;
        if (n == 0)
            continue;
        ll_buf_put_slice(out, ll_slice_cut(line, 0, n));
        ll_buf_puts(out, "\r\n");
    }
}

static void put_raw(struct ll_buf *out, const struct ll_msg_field *f)
{
    if (out)
        ll_compose_put_fields(out, f->raw);
}

/* The content alone, as it came, then made safe. */
static enum ll_compose_error put_entity(struct ll_slice content, struct ll_slice body,
                                        struct ll_buf *out)
{
    static const enum ll_compose_error errors[] = {[LL_MIME_OK] = LL_COMPOSE_OK,
                                                   [LL_MIME_DEPTH] = LL_COMPOSE_MIME,
                                                   [LL_MIME_PARTS] = LL_COMPOSE_MIME,
                                                   [LL_MIME_HEADER] = LL_COMPOSE_MIME,
                                                   [LL_MIME_SIGNED] = LL_COMPOSE_SIGNED,
                                                   [LL_MIME_BINARY] = LL_COMPOSE_BINARY,
                                                   [LL_MIME_RESOURCE] = LL_COMPOSE_RESOURCE};
    struct ll_buf whole = LL_BUF(content.n + body.n + 64);
    enum ll_mime_error e;
    struct ll_arena arena;
    struct ll_mime m;

    if (content.n == 0 && ll_compose_safe(body, LL_MSG_LINE_MAX))
        content = LL_LIT("Content-Type: text/plain; charset=us-ascii\r\n");
    ll_buf_put_slice(&whole, content);
    ll_buf_puts(&whole, "\r\n");
    ll_buf_put_slice(&whole, body);
    ll_arena_init(&arena, 16u << 20);
    e = whole.failed ? LL_MIME_RESOURCE : ll_mime_parse(ll_buf_slice(&whole), &arena, &m);
    if (!e) {
        m.part[0].depth = 1; /* a part of what is built: MIME-Version is not its own */
        e = ll_mime_to_safe(ll_buf_slice(&whole), &m, out);
    }
    ll_arena_release(&arena);
    ll_buf_release(&whole);
    return errors[e];
}

enum ll_compose_error ll_compose_from_letter(struct ll_slice letter, struct ll_buf *trace,
                                             struct ll_buf *fields, struct ll_buf *entity)
{
    struct ll_buf content = LL_BUF(LL_MSG_HEADER_MAX + 2);
    enum ll_compose_error e = LL_COMPOSE_OK;
    struct ll_slice header, body;
    struct ll_msg_field f;

    ll_msg_split(letter, &header, &body);
    while (!e && ll_msg_field_next(&header, &f)) {
        enum fate fate = f.bad ? GONE : fate_of(f.name);

        if (f.bad)
            e = LL_COMPOSE_FIELD;
        else if (fate != GONE)
            put_raw(fate == TRACE ? trace : fate == CONTENT ? &content : fields, &f);
    }
    if (content.failed || (trace && trace->failed) || (fields && fields->failed))
        e = LL_COMPOSE_RESOURCE;
    if (!e && entity)
        e = put_entity(ll_buf_slice(&content), body, entity);
    ll_buf_release(&content);
    return e;
}
