/* See tool/client/send.h: a letter made of options and of the text on standard input. */
#include "letterlock/compose.h"

#include "io/clock.h"
#include "io/filetype.h"
#include "io/markdown.h"
#include "letterlock/msg.h"
#include "tool/client/people.h"
#include "tool/client/send.h"

#include <stdlib.h>
#include <sys/random.h>

struct making {
    struct ll_send *s;
    struct ll_compose c;
    struct ll_compose_part *part;
    struct ll_buf *file; /* what the parts lie in */
    size_t n_file;
    struct ll_buf html;
    struct ll_filetype *types;
    uint8_t random[LL_COMPOSE_RANDOM];
};

bool ll_send_composes(const struct ll_send *s)
{
    return s->subject || s->to.n > 0 || s->cc.n > 0 || s->header.n > 0 || s->is_text ||
           s->is_markdown;
}

/* ---- people ------------------------------------------------------------------------------------
 */

static int put_people(struct ll_send *s, struct ll_buf *out, const char *field, const char *option,
                      const struct ll_words *w)
{
    struct ll_compose_address *v = NULL;
    enum ll_compose_error e;
    size_t n = 0;

    for (size_t i = 0; i < w->n; i++)
        if (!ll_people(ll_slice_str(w->v[i]), &s->arena, &v, &n)) {
            free(v);
            return ll_fail(EX_DATAERR, "%s: %s is no list of addresses", option, w->v[i]);
        }
    for (size_t i = 0; i < n; i++) {
        struct ll_mailbox m;
        enum ll_addr_error bad = ll_mailbox_parse(v[i].spec, true, &m);

        if (bad != LL_ADDR_OK) {
            ll_fail(0, "%s: %.*s: %s", option, LL_FMT(v[i].spec), ll_addr_error_text(bad));
            free(v);
            return EX_DATAERR;
        }
    }
    e = n > 0 ? ll_compose_field_addresses(out, field, v, n) : LL_COMPOSE_OK;
    free(v);
    return e == LL_COMPOSE_OK ? 0 : ll_fail(EX_DATAERR, "%s: %s", option, ll_compose_error_text(e));
}

/* ---- fields ------------------------------------------------------------------------------------
 */

/* Fields that have an option of their own, or that only the program can write. */
static bool is_taken(struct ll_slice name)
{
    static const char *const taken[] = {"From",        "To",       "Cc",        "Bcc",
                                        "Subject",     "Sender",   "Autocrypt", "MIME-Version",
                                        "Return-Path", "Received", "HP-Outer",  "DKIM-Signature"};
    bool is = ll_slice_casestarts(name, LL_LIT("Content-"));

    for (size_t i = 0; i < LL_COUNT(taken); i++)
        is = is || ll_slice_caseeq(name, ll_slice_str(taken[i]));
    return is;
}

/* --header "Name: value" */
static int put_header(struct ll_send *s, struct ll_buf *out, const char *text)
{
    struct ll_slice all = ll_slice_str(text), name, value;
    size_t colon = ll_slice_find(all, ':');
    const char *field;
    bool ok;

    name = ll_slice_trim(ll_slice_cut(all, 0, colon));
    value = ll_slice_trim(ll_slice_skip(all, colon + 1));
    field = ll_arena_str(&s->arena, name);
    if (colon == all.n || name.n == 0 || !field)
        return ll_fail(EX_USAGE, "--header \"%s\": write \"Name: value\"", text);
    if (is_taken(name))
        return ll_fail(EX_USAGE, "--header %s: that field is not yours to write this way", field);
    if (ll_slice_caseeq(name, LL_LIT("Reply-To")))
        return put_people(s, out, field, "--header Reply-To",
                          &(struct ll_words){(const char *[]){text + colon + 1}, 1});
    ok = ll_is_ascii(value) ? ll_msg_field_put(out, field, value, false)
                            : ll_compose_field_text(out, field, value) == LL_COMPOSE_OK;
    return ok ? 0 : ll_fail(EX_DATAERR, "--header \"%s\" cannot be written as a field", text);
}

/* From: --from, or the account's address and name. */
static int put_author(struct ll_send *s, struct ll_buf *out)
{
    const struct ll_account *a = s->account;
    struct ll_compose_address from = {.name = LL_LIT("")}, *v = NULL;
    enum ll_compose_error e;
    size_t n = 0;

    if (s->from_text && s->from_text[0] && strcmp(s->from_text, "<>") != 0) {
        if (!ll_people(ll_slice_str(s->from_text), &s->arena, &v, &n) || n != 1) {
            free(v);
            return ll_fail(EX_DATAERR, "--from: one address, with a name or without");
        }
        from = v[0];
        free(v);
    } else if (a && a->from)
        from.spec = ll_slice_str(a->from);
    else if (s->user && strchr(s->user, '@'))
        from.spec = ll_slice_str(s->user);
    else
        return ll_fail(EX_USAGE, "who writes? --from ADDRESS, or `from` in your settings");
    if (from.name.n == 0 && a && a->name && ll_slice_caseeq(from.spec, ll_slice_str(a->from)))
        from.name = ll_slice_str(a->name);
    e = ll_compose_field_addresses(out, "From", &from, 1);
    return e == LL_COMPOSE_OK ? 0 : ll_fail(EX_DATAERR, "--from: %s", ll_compose_error_text(e));
}

static int put_fields(struct ll_send *s, const struct ll_words *words, struct ll_buf *out)
{
    bool named = s->to.n + s->cc.n + s->bcc.n > 0;
    int status = put_author(s, out);

    if (status == 0)
        status = put_people(s, out, "To", named ? "--to" : "recipient", named ? &s->to : words);
    if (status == 0)
        status = put_people(s, out, "Cc", "--cc", &s->cc);
    if (status == 0)
        status = put_people(s, out, "Bcc", "--bcc", &s->bcc);
    if (status == 0 && s->subject) {
        enum ll_compose_error e = ll_compose_field_text(out, "Subject", ll_slice_str(s->subject));

        if (e != LL_COMPOSE_OK)
            status = ll_fail(EX_DATAERR, "--subject: %s", ll_compose_error_text(e));
    }
    for (size_t i = 0; i < s->header.n && status == 0; i++)
        status = put_header(s, out, s->header.v[i]);
    return status;
}

/* ---- content -----------------------------------------------------------------------------------
 */

/* A file's name as others may use it: no path, no controls, UTF-8. */
static struct ll_slice safe_name(struct ll_send *s, const char *path)
{
    const char *slash = strrchr(path, '/');
    struct ll_slice name = ll_slice_str(slash ? slash + 1 : path);
    struct ll_buf safe = LL_BUF(4096);
    bool utf8 = ll_utf8_valid(name);

    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];

        ll_buf_putc(&safe, c < 0x20 || c == 0x7f || (c > 0x7f && !utf8) ? '_' : c);
    }
    name = ll_arena_dup(&s->arena, ll_buf_slice(&safe));
    ll_buf_release(&safe);
    return name;
}

/* A letter that is passed on is a part in wire form. */
static void to_wire(struct ll_buf *file, struct ll_slice *type)
{
    struct ll_buf wire = LL_BUF(LL_SEND_LETTER_MAX);
    struct ll_msg_wire w = {0};

    if (ll_msg_to_wire(&w, ll_buf_slice(file), &wire) == LL_MSG_OK &&
        ll_msg_to_wire_end(&w, &wire) == LL_MSG_OK && !wire.failed) {
        ll_buf_release(file);
        *file = wire;
    } else {
        ll_buf_release(&wire);
        *type = LL_LIT("application/octet-stream");
    }
}

static int take_file(struct making *m, const char *path)
{
    struct ll_buf *file = &m->file[m->n_file];
    struct ll_compose_part *part = &m->part[m->n_file++];
    struct ll_buf type = LL_BUF(256);
    int status;

    *file = LL_BUF(LL_SEND_LETTER_MAX);
    if (strcmp(path, "-") == 0)
        return ll_fail(EX_USAGE, "--attach -: standard input is the text of the letter");
    status = ll_read_file(path, file);
    if (status != 0)
        return status;
    part->name = safe_name(m->s, path);
    ll_filetype_of(m->types, ll_buf_slice(file), part->name, &type);
    part->type = ll_arena_dup(&m->s->arena, ll_buf_slice(&type));
    ll_buf_release(&type);
    if (ll_filetype_is_active(part->type, part->name))
        ll_fail(0,
                "warning: %s could run as a program where it is opened; many servers refuse such "
                "attachments",
                path);
    if (ll_slice_casestarts(part->type, LL_LIT("text/")) && ll_utf8_valid(ll_buf_slice(file)))
        part->charset = ll_is_ascii(ll_buf_slice(file)) ? LL_LIT("us-ascii") : LL_LIT("utf-8");
    if (ll_slice_caseeq(part->type, LL_LIT("message/rfc822")))
        to_wire(file, &part->type);
    part->octets = ll_slice(file->p ? file->p : (const uint8_t *)"", file->n);
    return part->type.p ? 0 : ll_fail(EX_OSERR, "no memory");
}

/* The text, and what belongs to it, as the content entity. */
static int put_content(struct making *m, struct ll_buf *out)
{
    struct ll_send *s = m->s;
    enum ll_compose_error e;

    m->c.text = ll_buf_slice(&s->raw);
    m->c.flowed = !s->is_markdown;
    if (!ll_utf8_valid(m->c.text))
        return ll_fail(EX_DATAERR, "the text on standard input is not UTF-8; `iconv -t UTF-8` "
                                   "makes it so");
    if (s->is_markdown && !ll_markdown_to_html(m->c.text, &m->html))
        return ll_fail(EX_DATAERR, "--markdown: the text cannot be made into HTML");
    m->c.html = ll_buf_slice(&m->html);
    e = ll_compose_entity(&m->c, out);
    return e == LL_COMPOSE_OK ? 0 : ll_fail(EX_DATAERR, "%s", ll_compose_error_text(e));
}

static int take_files(struct making *m)
{
    const char *why = "";
    size_t n = m->s->attach.n;
    int status = 0;

    m->part = calloc(n + 1, sizeof(*m->part));
    m->file = calloc(n + 1, sizeof(*m->file));
    if (!m->part || !m->file)
        return ll_fail(EX_OSERR, "no memory");
    m->types = n > 0 ? ll_filetype_new(&why) : NULL;
    if (n > 0 && !m->types)
        return ll_fail(EX_OSERR, "--attach: %s", why);
    for (size_t i = 0; i < n && status == 0; i++)
        status = take_file(m, m->s->attach.v[i]);
    m->c.part = m->part;
    m->c.n_part = m->n_file;
    if (status == 0 && getrandom(m->random, sizeof(m->random), 0) != sizeof(m->random))
        status = ll_fail(EX_OSERR, "no random numbers");
    m->c.random = m->random;
    return status;
}

static void release(struct making *m)
{
    for (size_t i = 0; i < m->n_file; i++)
        ll_buf_release(&m->file[i]);
    ll_buf_release(&m->html);
    ll_filetype_free(m->types);
    free(m->part);
    free(m->file);
}

/* A ready letter: its own fields, and its content before the files. */
static int add_files(struct making *m, struct ll_buf *fields, struct ll_buf *out)
{
    struct ll_buf entity = LL_BUF(2ul * LL_SEND_LETTER_MAX);
    enum ll_compose_error e =
        ll_compose_from_letter(ll_buf_slice(&m->s->text), fields, fields, &entity);

    if (e == LL_COMPOSE_OK) {
        m->c.entity = ll_buf_slice(&entity);
        e = ll_compose_entity(&m->c, out);
    }
    ll_buf_release(&entity);
    return e == LL_COMPOSE_OK ? 0 : ll_fail(EX_DATAERR, "--attach: %s", ll_compose_error_text(e));
}

int ll_send_compose(struct ll_send *s, const struct ll_words *words)
{
    struct making m = {.s = s, .html = LL_BUF(LL_SEND_LETTER_MAX)};
    struct ll_buf fields = LL_BUF(2 * LL_MSG_HEADER_MAX), entity = LL_BUF(2ul * LL_SEND_LETTER_MAX);
    int status;

    if (!ll_send_composes(s) && s->attach.n == 0)
        return 0;
    status = take_files(&m);
    if (status == 0 && ll_send_composes(s)) {
        status = put_fields(s, words, &fields);
        if (status == 0)
            status = put_content(&m, &entity);
        s->from_header = true;
    } else if (status == 0) {
        status = add_files(&m, &fields, &entity);
    }
    if (status == 0) {
        ll_buf_puts(&fields, "MIME-Version: 1.0\r\n");
        ll_buf_clear(&s->text);
        ll_buf_put_slice(&s->text, ll_buf_slice(&fields));
        ll_buf_put_slice(&s->text, ll_buf_slice(&entity));
        if (fields.failed || entity.failed || s->text.failed)
            status =
                ll_fail(EX_DATAERR, "the letter is larger than %d MiB", LL_SEND_LETTER_MAX >> 20);
    }
    release(&m);
    ll_buf_release(&fields);
    ll_buf_release(&entity);
    return status;
}
