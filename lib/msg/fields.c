/* Header sections: where they end, their fields, what they tell. See include/letterlock/msg.h. */
#include "letterlock/msg.h"

static const struct ll_msg_error_info errors[] = {
#define LL_MSG_ROW(id, code, enhanced, text) [LL_MSG_##id] = {code, enhanced, text},
    LL_MSG_ERRORS(LL_MSG_ROW)
#undef LL_MSG_ROW
};

const struct ll_msg_error_info *ll_msg_error_info(enum ll_msg_error error)
{
    return &errors[(size_t)error < LL_COUNT(errors) ? error : LL_MSG_RESOURCE];
}

/* ---- where the header ends --------------------------------------------------------------- */

enum end_state {
    END_LINE_START, /* also the very start: a letter may begin with its empty line */
    END_TEXT,
    END_TEXT_CR, /* a CR inside or at the end of a line */
    END_EMPTY_CR /* a CR as the line's first octet */
};

static unsigned end_next(unsigned state, uint8_t c)
{
    if (c == '\r')
        return state == END_LINE_START ? END_EMPTY_CR : END_TEXT_CR;
    if (c == '\n' && state == END_TEXT_CR)
        return END_LINE_START;
    return END_TEXT;
}

size_t ll_msg_end_feed(struct ll_msg_end *e, struct ll_slice in)
{
    size_t i = 0;

    while (i < in.n && !e->found) {
        if (e->state == END_TEXT) { /* most octets: on to the next CR */
            size_t skip = ll_slice_find(ll_slice_skip(in, i), '\r');

            e->seen += skip;
            i += skip;
            if (i == in.n)
                break;
        }
        if (e->state == END_EMPTY_CR && in.p[i] == '\n') {
            e->found = true;
            i++;
            break;
        }
        if (e->state == END_EMPTY_CR)
            e->seen++; /* the CR began no empty line after all */
        e->state = end_next(e->state, in.p[i++]);
        if (e->state != END_EMPTY_CR)
            e->seen++;
    }
    return i;
}

void ll_msg_split(struct ll_slice letter, struct ll_slice *ret_header, struct ll_slice *ret_body)
{
    struct ll_msg_end e = {0};
    size_t n = ll_msg_end_feed(&e, letter);

    *ret_header = ll_slice_cut(letter, 0, e.found ? (size_t)e.seen : letter.n);
    *ret_body = ll_slice_skip(letter, e.found ? n : letter.n);
}

/* ---- fields ------------------------------------------------------------------------------ */

/* The octets of the line that s begins with, its CR LF included. Wire form: LF follows CR. */
static size_t line_length(struct ll_slice s)
{
    size_t at = ll_slice_find(s, '\n');

    return at == s.n ? s.n : at + 1;
}

static struct ll_slice without_crlf(struct ll_slice s)
{
    if (s.n && s.p[s.n - 1] == '\n')
        s.n--;
    if (s.n && s.p[s.n - 1] == '\r')
        s.n--;
    return s;
}

static bool name_ok(struct ll_slice name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= 32 || name.p[i] >= 127)
            return false;
    return name.n > 0;
}

bool ll_msg_field_next(struct ll_slice *rest, struct ll_msg_field *ret)
{
    struct ll_slice text;
    size_t n, colon;

    if (rest->n == 0)
        return false;
    *ret = (struct ll_msg_field){0};
    n = line_length(*rest);
    ret->bad = ll_is_blank(rest->p[0]);
    while (n < rest->n && ll_is_blank(rest->p[n]))
        n += line_length(ll_slice_skip(*rest, n));
    ret->raw = ll_slice_cut(*rest, 0, n);
    *rest = ll_slice_skip(*rest, n);
    text = without_crlf(ret->raw);
    colon = ll_slice_find(text, ':');
    ret->name = ll_slice_trim(ll_slice_cut(text, 0, colon));
    ret->obsolete = ret->name.n != colon;
    if (ret->bad || colon == text.n || !name_ok(ret->name)) {
        *ret = (struct ll_msg_field){.raw = ret->raw, .bad = true};
        return true;
    }
    ret->body = ll_slice_skip(text, colon + 1);
    return true;
}

bool ll_msg_field_find(struct ll_slice header, struct ll_slice name, struct ll_msg_field *ret)
{
    struct ll_msg_field f;

    while (ll_msg_field_next(&header, &f)) {
        if (!f.bad && ll_slice_caseeq(f.name, name)) {
            *ret = f;
            return true;
        }
    }
    return false;
}

void ll_msg_unfold(struct ll_slice body, struct ll_buf *out)
{
    struct ll_slice line;

    while (body.n && (ll_is_blank(body.p[0]) || body.p[0] == '\r' || body.p[0] == '\n'))
        body = ll_slice_skip(body, 1);
    while (body.n && (ll_is_blank(body.p[body.n - 1]) || body.p[body.n - 1] == '\r' ||
                      body.p[body.n - 1] == '\n'))
        body.n--;
    while (body.n && ll_slice_next(&body, '\n', &line))
        ll_buf_put_slice(out, without_crlf(line));
}

/* Which counter of the facts a field's name moves. */
static uint32_t *counter(struct ll_msg_facts *f, struct ll_slice name)
{
    const struct {
        struct ll_slice name;
        uint32_t *count;
    } known[] = {
        {LL_LIT("Received"), &f->received},
        {LL_LIT("From"), &f->from},
        {LL_LIT("Sender"), &f->sender},
        {LL_LIT("Date"), &f->date},
        {LL_LIT("Message-ID"), &f->message_id},
        {LL_LIT("Subject"), &f->subject},
        {LL_LIT("To"), &f->to},
        {LL_LIT("Cc"), &f->to},
        {LL_LIT("Bcc"), &f->bcc},
        {LL_LIT("Resent-Bcc"), &f->bcc},
        {LL_LIT("Return-Path"), &f->return_path},
        {LL_LIT("Delivered-To"), &f->delivered_to},
        {LL_LIT("Authentication-Results"), &f->authres},
    };

    for (size_t i = 0; i < LL_COUNT(known); i++)
        if (ll_slice_caseeq(name, known[i].name))
            return known[i].count;
    return NULL;
}

enum ll_msg_error ll_msg_facts(struct ll_slice header, struct ll_msg_facts *ret)
{
    struct ll_msg_facts facts = {0};
    struct ll_msg_field f;

    if (header.n > LL_MSG_HEADER_MAX)
        return LL_MSG_HEADER_LONG;
    facts.eight_bit = !ll_is_ascii(header);
    while (ll_msg_field_next(&header, &f)) {
        uint32_t *count;

        if (++facts.fields > LL_MSG_FIELDS_MAX)
            return LL_MSG_FIELDS_MANY;
        if (f.bad) {
            facts.bad++;
            continue;
        }
        facts.obsolete |= f.obsolete;
        count = counter(&facts, f.name);
        if (count)
            (*count)++;
    }
    facts.to += facts.bcc;
    *ret = facts;
    return LL_MSG_OK;
}

bool ll_msg_delivered_to(struct ll_slice header, struct ll_slice address)
{
    struct ll_msg_field f;

    while (ll_msg_field_next(&header, &f)) {
        struct ll_slice body = f.body;

        if (f.bad || !ll_slice_caseeq(f.name, LL_LIT("Delivered-To")))
            continue;
        while (body.n && (ll_is_blank(body.p[0]) || body.p[0] == '\r' || body.p[0] == '\n'))
            body = ll_slice_skip(body, 1);
        if (ll_slice_caseeq(ll_slice_trim(body), address))
            return true;
    }
    return false;
}
