/* Delivery reports. See include/letterlock/dsn.h. */
#include "letterlock/dsn.h"
#include "letterlock/mime.h"
#include "letterlock/msg.h"
#include "letterlock/smtp.h"

static const char *const action_words[LL_DSN_ACTIONS] = {
    [LL_DSN_FAILED] = "failed",   [LL_DSN_DELAYED] = "delayed",   [LL_DSN_DELIVERED] = "delivered",
    [LL_DSN_RELAYED] = "relayed", [LL_DSN_EXPANDED] = "expanded",
};

/* ---- small writers ------------------------------------------------------------------------ */

/* Printable ASCII and blanks; all else becomes '?'. */
static void clean(struct ll_buf *out, struct ll_slice s, size_t max)
{
    for (size_t i = 0; i < s.n && i < max; i++)
        ll_buf_putc(out, ll_is_print(s.p[i]) ? s.p[i] : '?');
}

/* A field of facts; one that the builder refuses (a word without end) is left out. */
static void field(struct ll_buf *out, const char *name, struct ll_buf *body)
{
    if (!body->failed)
        ll_msg_field_put(out, name, ll_buf_slice(body), true);
    ll_buf_clear(body);
}

static void date_field(struct ll_buf *out, const char *name, int64_t unix_s)
{
    if (unix_s == 0)
        return;
    ll_buf_printf(out, "%s: ", name);
    ll_time_rfc5322(out, unix_s);
    ll_buf_puts(out, "\r\n");
}

/* Appends text, whose lines end in LF or CR LF, as quoted-printable; the last line is ended. */
static void quoted_printable(struct ll_buf *out, struct ll_slice s)
{
    ll_mime_qp_encode(out, s);
    if (s.n && out->n && out->p[out->n - 1] != '\n')
        ll_buf_puts(out, "\r\n");
}

static size_t utf8_length(uint8_t lead)
{
    return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* Printable ASCII, blanks and, where all is valid, UTF-8; all else becomes '?'. */
static void put_address(struct ll_buf *text, struct ll_slice a)
{
    bool utf8 = ll_utf8_valid(a);

    for (size_t i = 0; i < a.n && i < 512; i++)
        ll_buf_putc(text, ll_is_print(a.p[i]) || (utf8 && a.p[i] > 0x7f) ? a.p[i] : '?');
}

/* "rfc822;x@y", or for UTF-8 "utf-8;" and the address itself (global) or its ASCII form, RFC 6533
 * 3: "utf-8;\x{E4}@y". */
static void typed_address(struct ll_buf *out, struct ll_slice a, bool global)
{
    if (ll_is_ascii(a) || !ll_utf8_valid(a)) {
        ll_buf_puts(out, "rfc822; ");
        clean(out, a, 512);
        return;
    }
    ll_buf_puts(out, "utf-8; ");
    if (global) {
        put_address(out, a);
        return;
    }
    for (size_t i = 0; i < a.n;) {
        size_t n = utf8_length(a.p[i]);
        uint32_t v = n == 1 ? a.p[i] : a.p[i] & (0xffu >> (n + 1));

        for (size_t k = 1; k < n; k++)
            v = v << 6 | (a.p[i + k] & 0x3fu);
        /* RFC 6533 3, QCHAR: '\', '+' and '=' are written as numbers too. */
        if (n == 1 && ll_is_print(a.p[i]) && strchr("\\+= ", a.p[i]) == NULL)
            ll_buf_putc(out, a.p[i]);
        else
            ll_buf_printf(out, "\\x{%02X}", (unsigned)v);
        i += n;
    }
}

/* xtext, decoded where that is clean (RFC 3464 2.3.1, RFC 3461 6.3). */
static void put_xtext(struct ll_buf *out, struct ll_slice s)
{
    for (size_t i = 0; i < s.n && i < 512; i++) {
        struct ll_buf octet = LL_BUF(1);

        if (s.p[i] == '+' && ll_hex_decode(&octet, ll_slice_cut(s, i + 1, i + 3)) && octet.n == 1 &&
            ll_is_print(octet.p[0])) {
            ll_buf_putc(out, octet.p[0]);
            i += 2;
        } else {
            ll_buf_putc(out, ll_is_print(s.p[i]) ? s.p[i] : '?');
        }
        ll_buf_release(&octet);
    }
}

/* ORCPT of type utf-8, which is an address that this type can hold. */
static bool is_utf8_orcpt(struct ll_slice orcpt)
{
    return ll_orcpt_utf8(orcpt) && ll_orcpt_ok(orcpt, true);
}

/* ORCPT: of type utf-8 as itself (global) or in its ASCII form (RFC 6533 3), else decoded from
 * xtext. */
static void original_recipient(struct ll_buf *out, struct ll_slice orcpt, bool global)
{
    size_t at = ll_slice_find(orcpt, ';');
    struct ll_slice address = ll_slice_skip(orcpt, at + 1);

    clean(out, ll_slice_cut(orcpt, 0, at), 64);
    ll_buf_puts(out, "; ");
    if (is_utf8_orcpt(orcpt) && global)
        ll_orcpt_utf8_put(out, address);
    else if (is_utf8_orcpt(orcpt))
        ll_orcpt_ascii_put(out, address);
    else
        put_xtext(out, address);
}

/* ---- the part for people --------------------------------------------------------------------- */

/* What an enhanced code means to the sender, and what can be done: first row that fits. Detail 0:
 * any. Sentences are for people who never heard of SMTP. */
static const struct {
    uint16_t subject, detail;
    const char *wrong, *advice;
} meanings[] = {
    {1, 1, "There is no such mailbox.", "Check the spelling of the address in front of the @."},
    {1, 2, "The part of the address behind the @ does not exist.",
     "Check the spelling of the address behind the @."},
    {1, 10, "The address's domain says that it takes no mail.", "Use another address."},
    {1, 0, "The address is not valid.", "Check the spelling of the address."},
    {2, 1, "The mailbox is switched off.", "Reach the recipient in another way."},
    {2, 2, "The recipient's mailbox is full.",
     "Try again later, or reach the recipient in another way."},
    {2, 3, "The letter is too large for the recipient's mailbox.", "Send a smaller letter."},
    {2, 0, "The recipient's mailbox did not take the letter.",
     "Reach the recipient in another way."},
    {3, 4, "The letter is too large for the recipient's server.", "Send a smaller letter."},
    {4, 1, "The recipient's server did not answer.", "Try again later."},
    {4, 4, "No way to the recipient's server could be found.",
     "Check the spelling of the address behind the @."},
    {4, 6, "The letter went in a circle between servers.",
     "Tell the administrator of the recipient's mail."},
    {4, 7, "The letter could not be handed over for as long as we try.",
     "Try again later, or reach the recipient in another way."},
    {4, 0, "The recipient's server could not be reached properly.", "Try again later."},
    {5, 3, "The letter has more recipients than the server takes.",
     "Send it to fewer recipients at a time."},
    {6, 3, "The letter holds characters that the recipient's server cannot take.",
     "Send it with simpler characters."},
    {6, 7, "The recipient's server cannot handle addresses with these characters.",
     "Use an address of plain ASCII letters."},
    {6, 0, "The recipient's server cannot take the letter's content.",
     "Send the letter in a simpler form."},
    {7, 10,
     "The letter must travel encrypted, and the recipient's server does not do that properly.",
     "Tell the administrator of the recipient's mail."},
    {7, 0, "The recipient's server refused the letter by its rules.",
     "Read what the server said below; its administrator can tell more."},
    {0, 0, "The recipient's server did not take the letter.", "Read what the server said below."},
};

static void explain(struct ll_buf *text, const struct ll_dsn_recipient *r)
{
    static const char *const done[LL_DSN_ACTIONS] = {
        [LL_DSN_DELIVERED] = "The letter was delivered.",
        [LL_DSN_RELAYED] =
            "The letter was handed to the recipient's server, which sends no reports.",
        [LL_DSN_EXPANDED] = "The letter was sent on to those whom this address stands for.",
    };
    size_t i = 0;

    if (done[r->action]) {
        ll_buf_printf(text, "  %s\n", done[r->action]);
        return;
    }
    while (i + 1 < LL_COUNT(meanings) &&
           !(meanings[i].subject == r->status[1] &&
             (meanings[i].detail == r->status[2] || meanings[i].detail == 0)))
        i++;
    ll_buf_printf(text, "  %s\n", meanings[i].wrong);
    if (r->action == LL_DSN_DELAYED)
        ll_buf_puts(text, "  Nothing needs to be done: we keep trying.\n");
    else
        ll_buf_printf(text, "  What you can do: %s\n", meanings[i].advice);
    if (r->action == LL_DSN_DELAYED && r->retry_until) {
        ll_buf_puts(text, "  If it still cannot be delivered by ");
        ll_time_rfc5322(text, r->retry_until);
        ll_buf_puts(text, ", we give up and tell you.\n");
    }
}

static void said(struct ll_buf *text, const struct ll_dsn_recipient *r)
{
    if (r->diagnostic.n == 0 && r->code == 0)
        return;
    if (r->code && r->remote_mta.n) {
        ll_buf_puts(text, "  The server ");
        clean(text, r->remote_mta, 255);
        ll_buf_puts(text, " said: ");
    } else {
        ll_buf_puts(text, r->code ? "  The server said: " : "  In detail: ");
    }
    if (r->code)
        ll_buf_printf(text, "%u %u.%u.%u ", r->code, r->status[0], r->status[1], r->status[2]);
    clean(text, r->diagnostic, LL_DSN_DIAGNOSTIC_MAX);
    ll_buf_putc(text, '\n');
}

static bool only(const struct ll_dsn *d, enum ll_dsn_action action)
{
    for (size_t i = 0; i < d->recipient_count; i++)
        if (d->recipients[i].action != action)
            return false;
    return true;
}

static const char *subject_of(const struct ll_dsn *d)
{
    if (only(d, LL_DSN_FAILED))
        return "Your letter could not be delivered";
    if (only(d, LL_DSN_DELAYED))
        return "Your letter is delayed";
    if (only(d, LL_DSN_DELIVERED))
        return "Your letter was delivered";
    if (only(d, LL_DSN_RELAYED) || only(d, LL_DSN_EXPANDED))
        return "Your letter was handed on";
    return "What became of your letter";
}

/* The original's own subject, if it is there, helps to know which letter is meant. */
static void put_subject(struct ll_buf *text, const struct ll_dsn *d)
{
    struct ll_msg_field f;
    struct ll_buf line = LL_BUF(LL_MSG_HEADER_MAX);

    if (!ll_msg_field_find(d->header, LL_LIT("Subject"), &f))
        return;
    ll_msg_unfold(f.body, &line);
    if (line.n && !line.failed) {
        ll_buf_puts(text, "Its subject was: ");
        put_address(text, ll_slice_cut(ll_buf_slice(&line), 0, 200));
        ll_buf_putc(text, '\n');
    }
    ll_buf_release(&line);
}

static void people_part(struct ll_buf *out, const struct ll_dsn *d)
{
    struct ll_buf text = LL_BUF(LL_DSN_MAX);

    ll_buf_puts(&text, "This is the mail server ");
    clean(&text, d->reporting_mta, 255);
    ll_buf_puts(&text, ".\n\n");
    ll_buf_printf(&text, "%s%s\n", subject_of(d),
                  only(d, LL_DSN_FAILED) ? " to everyone it was meant for." : ".");
    if (d->arrival) {
        ll_buf_puts(&text, "You sent it on ");
        ll_time_rfc5322(&text, d->arrival);
        ll_buf_puts(&text, ".\n");
    }
    put_subject(&text, d);
    for (size_t i = 0; i < d->recipient_count; i++) {
        const struct ll_dsn_recipient *r = &d->recipients[i];

        ll_buf_putc(&text, '\n');
        put_address(&text, r->address);
        ll_buf_printf(&text, " (%s)\n", action_words[r->action]);
        explain(&text, r);
        said(&text, r);
    }
    ll_buf_puts(out, "Content-Type: text/plain; charset=utf-8\r\n"
                     "Content-Transfer-Encoding: quoted-printable\r\n"
                     "Content-Description: Notification\r\n\r\n");
    quoted_printable(out, ll_buf_slice(&text));
    out->failed |= text.failed;
    ll_buf_release(&text);
}

/* ---- the part for machines ----------------------------------------------------------------------
 */

static void recipient_fields(struct ll_buf *out, const struct ll_dsn_recipient *r, bool global,
                             struct ll_buf *body)
{
    ll_buf_puts(out, "\r\n");
    if (r->orcpt.n && ll_slice_find(r->orcpt, ';') < r->orcpt.n) {
        original_recipient(body, r->orcpt, global);
        field(out, "Original-Recipient", body);
    }
    typed_address(body, r->address, global);
    field(out, "Final-Recipient", body);
    ll_buf_printf(out, "Action: %s\r\n", action_words[r->action]);
    ll_buf_printf(out, "Status: %u.%u.%u\r\n", r->status[0], r->status[1], r->status[2]);
    if (r->remote_mta.n) {
        ll_buf_puts(body, "dns; ");
        clean(body, r->remote_mta, 255);
        field(out, "Remote-MTA", body);
    }
    if (r->code || r->diagnostic.n) {
        ll_buf_puts(body, r->code ? "smtp; " : "X-letterlock; ");
        if (r->code)
            ll_buf_printf(body, "%u %u.%u.%u ", r->code, r->status[0], r->status[1], r->status[2]);
        clean(body, r->diagnostic, LL_DSN_DIAGNOSTIC_MAX);
        field(out, "Diagnostic-Code", body);
    }
    date_field(out, "Last-Attempt-Date", r->last_attempt);
    if (r->action == LL_DSN_DELAYED)
        date_field(out, "Will-Retry-Until", r->retry_until);
}

static void status_fields(struct ll_buf *out, const struct ll_dsn *d, bool global)
{
    struct ll_buf body = LL_BUF(8192);

    if (d->envid.n) {
        put_xtext(&body, d->envid);
        field(out, "Original-Envelope-Id", &body);
    }
    ll_buf_puts(&body, "dns; ");
    clean(&body, d->reporting_mta, 255);
    field(out, "Reporting-MTA", &body);
    date_field(out, "Arrival-Date", d->arrival);
    for (size_t i = 0; i < d->recipient_count; i++)
        recipient_fields(out, &d->recipients[i], global, &body);
    ll_buf_release(&body);
}

/* Is there an address in UTF-8, and would the reader understand it? */
static bool is_global_status(const struct ll_dsn *d)
{
    for (size_t i = 0; d->utf8 && i < d->recipient_count; i++) {
        const struct ll_dsn_recipient *r = &d->recipients[i];
        struct ll_buf address = LL_BUF(LL_SMTP_ORCPT_MAX);
        bool global = !ll_is_ascii(r->address) && ll_utf8_valid(r->address);

        if (!global && is_utf8_orcpt(r->orcpt)) {
            ll_orcpt_utf8_put(&address, r->orcpt);
            global = !ll_is_ascii(ll_buf_slice(&address));
        }
        ll_buf_release(&address);
        if (global)
            return true;
    }
    return false;
}

/* RFC 6533 4.1, 4.5: a message/global-delivery-status goes as it is where every server on the way
 * must take UTF-8 anyway, for it goes to such an address; else encoded. */
static void machine_part(struct ll_buf *out, const struct ll_dsn *d, unsigned *needs)
{
    struct ll_buf status = LL_BUF(LL_DSN_MAX);

    if (!is_global_status(d)) {
        ll_buf_puts(out, "Content-Type: message/delivery-status\r\n"
                         "Content-Description: Delivery report\r\n\r\n");
        status_fields(out, d, false);
        return;
    }
    status_fields(&status, d, true);
    ll_buf_puts(out, "Content-Type: message/global-delivery-status\r\n"
                     "Content-Description: Delivery report\r\n");
    if (ll_is_ascii(d->to)) {
        ll_buf_puts(out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        quoted_printable(out, ll_buf_slice(&status));
    } else {
        ll_buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n\r\n");
        ll_buf_put_slice(out, ll_buf_slice(&status));
        *needs |= LL_DSN_NEEDS_8BIT;
    }
    out->failed |= status.failed;
    ll_buf_release(&status);
}

/* ---- the original's header
 * -------------------------------------------------------------------------- */

static bool needs_quoting(struct ll_slice header)
{
    size_t line = 0;

    for (size_t i = 0; i < header.n; i++) {
        uint8_t c = header.p[i];
        bool eol = c == '\n';

        if (c > 0x7e || (c < 0x20 && c != '\t' && c != '\r' && c != '\n'))
            return true;
        if (c == '\r' && (i + 1 == header.n || header.p[i + 1] != '\n'))
            return true;
        if (eol && (i == 0 || header.p[i - 1] != '\r'))
            return true;
        if (line == 0 && (c == '-' || c == '.'))
            return true;
        line = eol ? 0 : line + 1;
        if (line > LL_MSG_LINE_MAX + 1)
            return true;
    }
    return header.n > 0 && header.p[header.n - 1] != '\n';
}

/* RFC 6533 6: a header in UTF-8 has a type of its own. */
static bool is_global(struct ll_slice header)
{
    return !ll_is_ascii(header) && ll_utf8_valid(header);
}

static void header_part(struct ll_buf *out, const struct ll_dsn *d)
{
    struct ll_slice rest = d->header;
    struct ll_msg_field f;
    size_t n = 0;

    while (ll_msg_field_next(&rest, &f) && n + f.raw.n <= LL_DSN_HEADER_MAX)
        n += f.raw.n;
    rest = ll_slice_cut(d->header, 0, n);
    ll_buf_printf(out, "Content-Type: %s\r\nContent-Description: Header of your letter\r\n",
                  is_global(rest) ? "message/global-headers" : "text/rfc822-headers");
    if (needs_quoting(rest)) {
        ll_buf_puts(out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        quoted_printable(out, rest);
    } else {
        ll_buf_puts(out, "\r\n");
        ll_buf_put_slice(out, rest);
    }
}

/* Lines of CR LF that every server takes, of which none can end our part. */
static bool may_return(const struct ll_dsn *d)
{
    struct ll_slice s = d->content;
    size_t line = 0;

    if (s.n == 0 || !ll_slice_ends(s, LL_LIT("\r\n")))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];

        if (c == 0 || (c == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n')) ||
            (c == '\n' && (i == 0 || s.p[i - 1] != '\r')))
            return false;
        if (line == 0 && c == '-' && ll_slice_starts(ll_slice_skip(s, i), LL_LIT("--")) &&
            ll_slice_starts(ll_slice_skip(s, i + 2), d->boundary))
            return false;
        line = c == '\n' ? 0 : line + 1;
        if (line > LL_MSG_LINE_MAX + 1)
            return false;
    }
    return true;
}

/* message/rfc822 may be 7bit or 8bit (RFC 2045 6.4); message/global whatever is best (RFC 6532
 * 3.7), so that UTF-8 in the header asks no server for SMTPUTF8. */
static void whole_part(struct ll_buf *out, const struct ll_dsn *d, unsigned *needs)
{
    ll_buf_puts(out, "Content-Description: Your letter\r\n");
    if (is_global(d->header)) {
        ll_buf_puts(out, "Content-Type: message/global\r\n"
                         "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        quoted_printable(out, d->content);
        return;
    }
    ll_buf_puts(out, "Content-Type: message/rfc822\r\n");
    if (!ll_is_ascii(d->content)) {
        ll_buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n");
        *needs |= LL_DSN_NEEDS_8BIT;
    }
    ll_buf_puts(out, "\r\n");
    ll_buf_put_slice(out, d->content);
}

/* ---- the letter
 * ---------------------------------------------------------------------------------------- */

static bool name_clean(struct ll_slice s, size_t max, bool utf8)
{
    if (s.n == 0 || s.n > max || (utf8 && !ll_utf8_valid(s)))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] == 0x7f || (s.p[i] > 0x7f && !utf8))
            return false;
    return true;
}

static bool input_ok(const struct ll_dsn *d)
{
    if (d->recipient_count == 0 || d->recipient_count > LL_DSN_RECIPIENTS_MAX)
        return false;
    for (size_t i = 0; i < d->boundary.n; i++)
        if (!ll_is_alnum(d->boundary.p[i]))
            return false;
    for (size_t i = 0; i < d->recipient_count; i++)
        if ((unsigned)d->recipients[i].action >= LL_DSN_ACTIONS)
            return false;
    return name_clean(d->boundary, 60, false) && name_clean(d->reporting_mta, 255, false) &&
           name_clean(d->from, 320, false) && name_clean(d->message_id, 320, false) && d->to.n &&
           d->to.n <= 512 && ll_utf8_valid(d->to);
}

static void letter_fields(struct ll_buf *out, const struct ll_dsn *d)
{
    struct ll_buf body = LL_BUF(1024);

    ll_buf_puts(&body, "Mail delivery <");
    ll_buf_put_slice(&body, d->from);
    ll_buf_putc(&body, '>');
    out->failed |= !ll_msg_field_put(out, "From", ll_buf_slice(&body), false);
    ll_buf_clear(&body);
    ll_buf_putc(&body, '<');
    ll_buf_put_slice(&body, d->to);
    ll_buf_putc(&body, '>');
    out->failed |= !ll_msg_field_put(out, "To", ll_buf_slice(&body), true);
    ll_buf_release(&body);
    ll_buf_printf(out, "Subject: %s\r\n", subject_of(d));
    ll_msg_date_put(out, d->date);
    out->failed |= !ll_msg_field_put(out, "Message-ID", d->message_id, false);
    ll_buf_puts(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
    ll_buf_printf(out,
                  "Content-Type: multipart/report; report-type=delivery-status;\r\n"
                  "\tboundary=\"%.*s\"\r\n\r\n",
                  LL_FMT(d->boundary));
}

static void boundary(struct ll_buf *out, const struct ll_dsn *d, const char *end)
{
    ll_buf_printf(out, "\r\n--%.*s%s\r\n", LL_FMT(d->boundary), end);
}

bool ll_dsn_build(const struct ll_dsn *d, struct ll_buf *out, unsigned *ret_needs)
{
    size_t start = out->n;
    unsigned needs = 0;

    if (!input_ok(d))
        return false;
    letter_fields(out, d);
    ll_buf_puts(out, "This is a report about a letter, in MIME form.\r\n");
    boundary(out, d, "");
    people_part(out, d);
    boundary(out, d, "");
    machine_part(out, d, &needs);
    boundary(out, d, "");
    if (may_return(d))
        whole_part(out, d, &needs);
    else
        header_part(out, d);
    boundary(out, d, "--");
    if (out->failed || out->n - start > LL_DSN_MAX)
        return false;
    *ret_needs = needs | (ll_is_ascii(d->to) ? 0 : LL_DSN_NEEDS_UTF8);
    return true;
}
