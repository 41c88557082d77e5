/* One letter: envelope, content, checks, and into the journal. See front.h. */
#include "daemon/front/front.h"
#include "io/clock.h"
#include "io/log.h"
#include "letterlock/authres.h"

#include <stdlib.h>
#include <sys/random.h>

#define TEXT_MAX  (2u << 20) /* octets of an envelope: 1000 recipients with all they may have */
#define BODY_MAX  (LL_SPOOL_INLINE_MAX + LL_MSG_HEADER_MAX + (128u << 10))
#define BODY_KEEP (64u << 10) /* octets of memory that a spare letter keeps */
#define FACTS_MAX 4096        /* octets */
#define RANDOM    16          /* octets in a Message-ID that we give */

/* ---- life ---------------------------------------------------------------------------------------
 */

/* Counts the body's memory in what all letters of this process take. */
static void count_memory(struct letter *l)
{
    l->front->gathered += l->body.cap;
    l->front->gathered -= l->counted;
    l->counted = l->body.cap;
}

static void drop_content(struct letter *l)
{
    ll_body_file_drop(l->file);
    l->file = NULL;
    if (l->body.cap > BODY_KEEP)
        ll_buf_release(&l->body);
    ll_buf_clear(&l->body);
    count_memory(l);
}

static void letter_delete(struct letter *l)
{
    ll_buf_release(&l->text);
    ll_buf_release(&l->body);
    count_memory(l);
    ll_buf_release(&l->tail);
    free(l->rcpts);
    free(l);
}

static void letter_free(struct letter *l)
{
    struct front *f = l->front;

    f->n_letters--;
    front_check_free(l);
    ll_dkim_signing_free(l->signing);
    l->signing = NULL;
    drop_content(l);
    if (f->n_spare >= FRONT_SPARE || l->text.cap > BODY_KEEP || l->cap_rcpts > 128) {
        letter_delete(l);
        return;
    }
    ll_buf_clear(&l->text);
    ll_buf_clear(&l->tail);
    l->next = f->spare;
    f->spare = l;
    f->n_spare++;
}

static struct letter *letter_new(struct front *f)
{
    struct letter *l = f->spare;
    struct letter kept = {0};

    if (l) {
        f->spare = l->next;
        f->n_spare--;
        kept = *l;
    } else {
        l = calloc(1, sizeof(*l));
        if (!l)
            return NULL;
        kept.text = LL_BUF(TEXT_MAX);
        kept.body = LL_BUF(BODY_MAX);
        kept.tail = LL_BUF(LL_SPOOL_PREPEND_MAX + FACTS_MAX);
    }
    *l = (struct letter){.front = f,
                         .text = kept.text,
                         .body = kept.body,
                         .tail = kept.tail,
                         .rcpts = kept.rcpts,
                         .cap_rcpts = kept.cap_rcpts,
                         .counted = kept.counted};
    f->n_letters++;
    return l;
}

void front_letters_release(struct front *f)
{
    while (f->spare) {
        struct letter *l = f->spare;

        f->spare = l->next;
        letter_delete(l);
    }
    f->n_spare = 0;
}

static void want_file(struct session *s, bool wanted)
{
    if (s->wants_file == wanted)
        return;
    s->wants_file = wanted;
    s->front->n_want_files += wanted ? 1 : -1u;
    s->deadline = ll_now_ms() + FRONT_FILE_MS;
}

void front_letter_forget(struct session *s)
{
    struct letter *l = s->letter;

    s->letter = NULL;
    want_file(s, false);
    s->at_end = false;
    if (!l)
        return;
    l->session = NULL;
    if (!l->handed) /* else the writer has it: it goes on, and `stored` frees it */
        letter_free(l);
}

/* ---- the envelope
 * --------------------------------------------------------------------------------
 */

struct ll_slice front_letter_reverse(const struct letter *l)
{
    return ll_slice(l->text.p, l->reverse_n);
}

bool front_letter_begin(struct session *s, const struct ll_smtp_mail *mail)
{
    struct letter *l = letter_new(s->front);

    front_letter_forget(s);
    if (!l)
        return false;
    ll_buf_put_slice(&l->text, ll_mailbox_text(&mail->from));
    ll_buf_put_slice(&l->text, mail->envid);
    l->reverse_n = (uint16_t)mail->from.n;
    l->envid_n = (uint16_t)mail->envid.n;
    l->ret = (uint8_t)mail->ret;
    l->declared = mail->size_given ? mail->size : 0;
    l->declared_utf8 = mail->utf8;
    l->utf8 = mail->from.utf8;
    l->session = s;
    s->letter = l;
    return !l->text.failed;
}

static struct ll_slice rcpt_address(const struct letter *l, const struct rcpt *r)
{
    return ll_slice(l->text.p + r->at, r->address_n);
}

static bool has_rcpt(const struct letter *l, struct ll_slice address)
{
    for (size_t i = 0; i < l->n_rcpts; i++)
        if (ll_slice_eq(rcpt_address(l, &l->rcpts[i]), address))
            return true;
    return false;
}

bool front_letter_rcpt(struct letter *l, const struct ll_smtp_rcpt *in, uint8_t kind,
                       struct ll_slice mailbox)
{
    struct rcpt *r;

    if (has_rcpt(l, ll_mailbox_text(&in->to)))
        return true; /* once is enough */
    if (l->n_rcpts >= LL_SPOOL_RCPTS_MAX)
        return false;
    if (l->n_rcpts == l->cap_rcpts) {
        size_t cap = l->cap_rcpts ? l->cap_rcpts * 2 : 4;

        r = realloc(l->rcpts, cap * sizeof(*r));
        if (!r)
            return false;
        l->rcpts = r;
        l->cap_rcpts = cap;
    }
    r = &l->rcpts[l->n_rcpts];
    *r = (struct rcpt){
        .at = (uint32_t)l->text.n,
        .address_n = in->to.n,
        .mailbox_n = (uint16_t)(kind == LL_RCPT_MAILBOX || kind == LL_RCPT_REPORT ? mailbox.n : 0),
        .orcpt_n = (uint16_t)in->orcpt.n,
        .kind = kind,
        .notify = (uint8_t)in->notify};
    ll_buf_put_slice(&l->text, ll_mailbox_text(&in->to));
    ll_buf_put(&l->text, mailbox.p, r->mailbox_n);
    ll_buf_put_slice(&l->text, in->orcpt);
    if (l->text.failed)
        return false;
    l->utf8 = l->utf8 || in->to.utf8;
    l->n_rcpts++;
    return true;
}

/* ---- content -----------------------------------------------------------------------------------
 */

static void refuse(struct letter *l, struct ll_verdict v)
{
    if (l->verdict.code == 0)
        l->verdict = v;
    drop_content(l);
}

static struct ll_verdict verdict_of_msg(enum ll_msg_error e)
{
    const struct ll_msg_error_info *i = ll_msg_error_info(e);

    return (struct ll_verdict){i->code, i->enhanced, i->text};
}

struct ll_verdict front_letter_data(struct session *s)
{
    struct letter *l = s->letter;
    struct ll_verdict v;

    if (!l)
        return ll_verdict_later;
    if (s->front->gathered > FRONT_GATHER_MAX)
        return ll_verdict_busy;
    l->arrived_ms = ll_unix_ms();
    v = ll_policy_stored(ll_writer_ready(s->front->writer, 0));
    if (v.code == 0)
        front_check_begin(s, l);
    return v;
}

/* Replaces the header in front of the body by the one that the fix-up made. */
static bool replace_header(struct letter *l, struct ll_buf *header, size_t old_n)
{
    struct ll_buf whole = LL_BUF(BODY_MAX);

    ll_buf_put_slice(&whole, ll_buf_slice(header));
    ll_buf_put_slice(&whole, ll_slice_skip(ll_buf_slice(&l->body), old_n));
    if (whole.failed) {
        ll_buf_release(&whole);
        return false;
    }
    l->header_length = (uint32_t)(header->n + (l->header_length - old_n));
    ll_buf_release(&l->body);
    l->body = whole;
    count_memory(l);
    return true;
}

static void fix_up(struct letter *l, struct ll_slice header)
{
    uint8_t random[RANDOM];
    struct ll_buf out = LL_BUF(LL_MSG_HEADER_MAX + 4096);
    struct ll_msg_fixup how = {.unix_s = l->arrived_ms / 1000,
                               .random = ll_slice(random, sizeof(random)),
                               .host = ll_slice_str(l->front->proc->conf->hostname),
                               .sender = front_local_sender(l, header)};
    bool changed = false;
    enum ll_msg_error e = LL_MSG_RESOURCE;

    if (getrandom(random, sizeof(random), 0) == (ssize_t)sizeof(random))
        e = ll_msg_fixup(header, &how, &out, &changed);
    if (e == LL_MSG_OK && changed && !replace_header(l, &out, header.n))
        e = LL_MSG_RESOURCE;
    if (e != LL_MSG_OK)
        refuse(l, verdict_of_msg(e));
    ll_buf_release(&out);
}

/* Authentication-Results in our name that we did not write (RFC 8601 5). */
static void strip_forged(struct letter *l, size_t header_n)
{
    struct ll_slice header = ll_slice(l->body.p, header_n), id = front_authserv_id(l->front);
    struct ll_buf out = LL_BUF(LL_MSG_HEADER_MAX + 4096);
    unsigned removed = 0;

    if (!ll_authres_strip(header, &id, 1, &out, &removed) ||
        (removed > 0 && !replace_header(l, &out, header_n)))
        refuse(l, ll_verdict_later);
    if (removed > 0)
        ll_log(LL_LOG_INFO, "forged-results", LL_FU("fields", removed),
               LL_F("from", front_letter_reverse(l)));
    ll_buf_release(&out);
}

/* Recipients to whom this letter was delivered before (RFC 5321 6.3). */
static void find_loops(struct letter *l, struct ll_slice header)
{
    size_t loops = 0;

    for (size_t i = 0; i < l->n_rcpts; i++) {
        struct rcpt *r = &l->rcpts[i];

        if (ll_msg_delivered_to(header, rcpt_address(l, r)) ||
            (r->mailbox_n > 0 &&
             ll_msg_delivered_to(header,
                                 ll_slice(l->text.p + r->at + r->address_n, r->mailbox_n)))) {
            r->flags |= LL_RCPT_LOOPS;
            loops++;
        }
    }
    if (loops > 0 && loops == l->n_rcpts)
        refuse(l, ll_verdict_loop);
}

/* Letters that start here are signed as they will be sent: the header that is final now, what has
 * come of the body, and the rest as it comes. */
static void begin_signing(struct letter *l)
{
    l->signing = ll_dkim_signing_new(l->front->dkim, l->arrived_ms / 1000);
    if (l->signing)
        ll_dkim_signing_feed(l->signing, ll_buf_slice(&l->body));
    else if (ll_dkim_client_signs(l->front->dkim))
        refuse(l, ll_verdict_later);
}

/* The header section is whole: `length` octets of the gathered content, the empty line included
 * where there was one. */
static void check_header(struct letter *l, size_t length, size_t header_n)
{
    struct ll_slice header = ll_slice(l->body.p, header_n);
    int64_t received_max = l->front->proc->conf->received_max;
    enum ll_msg_error e;

    l->header_done = true;
    l->header_length = (uint32_t)length;
    e = ll_msg_facts(header, &l->facts);
    if (e != LL_MSG_OK) {
        refuse(l, verdict_of_msg(e));
        return;
    }
    if (received_max > 0 && l->facts.received >= (uint64_t)received_max) {
        refuse(l, ll_verdict_received);
        return;
    }
    if (l->facts.delivered_to > 0)
        find_loops(l, header);
    if (l->verdict.code != 0)
        return;
    if (l->facts.from > 1 && !(l->session && l->session->service->submission)) {
        refuse(l, ll_verdict_many_from);
        return;
    }
    if (l->facts.authres > 0)
        strip_forged(l, header_n);
    if (l->verdict.code == 0 && l->session && l->session->service->submission)
        fix_up(l, ll_slice(l->body.p, header_n - (length - l->header_length)));
    if (l->verdict.code == 0 && l->session && l->session->service->submission)
        begin_signing(l);
}

static void flush_chunk(struct letter *l)
{
    struct ll_verdict v = ll_policy_stored(ll_body_file_write(l->file, ll_buf_slice(&l->body)));

    l->octets += l->body.n;
    ll_buf_clear(&l->body);
    if (v.code != 0)
        refuse(l, v);
}

/* Where a letter becomes too long for the segment, it goes on in a file of its own. */
static void to_file(struct letter *l)
{
    size_t chunk = l->front->gathered > FRONT_GATHER_SOFT ? FRONT_CHUNK_LOW : FRONT_CHUNK;
    size_t most = LL_SPOOL_INLINE_MAX;

    if (l->declared > LL_SPOOL_INLINE_MAX || l->front->gathered > FRONT_GATHER_SOFT)
        most = chunk;
    if (!l->file) {
        if (!l->header_done || l->body.n <= most)
            return;
        l->file = ll_body_file_take(l->front->writer);
        if (!l->file) { /* the queue sends more: until then the client waits */
            want_file(l->session, true);
            return;
        }
    }
    if (l->body.n >= chunk)
        flush_chunk(l);
}

void front_letter_body(struct letter *l, struct ll_slice in)
{
    l->received += in.n;
    if (l->verdict.code != 0)
        return;
    front_check_feed(l, in);
    if (!l->header_done)
        ll_msg_end_feed(&l->end, in);
    if (l->signing)
        ll_dkim_signing_feed(l->signing, in);
    ll_buf_put_slice(&l->body, in);
    if (l->body.cap != l->counted)
        count_memory(l);
    if (l->body.failed) {
        refuse(l, ll_verdict_later);
        return;
    }
    if (!l->header_done && l->end.found)
        check_header(l, (size_t)l->end.seen + 2, (size_t)l->end.seen);
    else if (!l->header_done && l->body.n > LL_MSG_HEADER_MAX + 2)
        refuse(l, verdict_of_msg(LL_MSG_HEADER_LONG));
    if (l->verdict.code == 0)
        to_file(l);
}

/* ---- into the journal
 * ----------------------------------------------------------------------------
 */

static void stored(void *arg, enum ll_stored result, uint64_t id)
{
    struct letter *l = arg;
    struct session *s = l->session;
    struct ll_verdict v = ll_policy_stored(result);
    struct ll_buf text = LL_BUF(64);
    bool now = l->handing;

    l->handed = false;
    if (result == LL_STORED) {
        front_trace_log(l, id);
        ll_buf_puts(&text, "queued as ");
        ll_letter_id_format(&text, id);
        v = (struct ll_verdict){250, "2.0.0", ll_buf_str(&text)};
    }
    if (s)
        s->letter = NULL;
    letter_free(l);
    if (s && now)
        front_reply(s, &v);
    else if (s)
        front_answer(s, &v);
    ll_buf_release(&text);
}

static uint8_t letter_flags(const struct session *s, const struct letter *l)
{
    uint8_t flags = s->login || s->trusted || s->named_peer ? LL_LETTER_TRUSTED : 0;

    if (s->service->submission)
        flags |= LL_LETTER_OURS;
    if (front_check_proves(l))
        flags |= LL_LETTER_PROVED;
    if (l->eight_bit)
        flags |= LL_LETTER_8BIT;
    if (l->utf8 || (l->declared_utf8 && l->facts.eight_bit))
        flags |= LL_LETTER_UTF8;
    if (l->ret == LL_SMTP_RET_HDRS)
        flags |= LL_LETTER_RET_HDRS;
    if (l->ret == LL_SMTP_RET_FULL)
        flags |= LL_LETTER_RET_FULL;
    return flags;
}

static void hand_over(struct session *s, struct letter *l)
{
    static struct ll_rcpt rcpts[LL_SPOOL_RCPTS_MAX]; /* the loop's alone */
    struct ll_letter out = {.arrived_ms = l->arrived_ms,
                            .origin = s->service->submission ? LL_ORIGIN_SUBMISSION : LL_ORIGIN_MX,
                            .flags = letter_flags(s, l),
                            .reverse_path = front_letter_reverse(l),
                            .envid = ll_slice(l->text.p + l->reverse_n, l->envid_n),
                            .login = s->login ? ll_smtpd_user(s->smtpd) : LL_LIT(""),
                            .body = l->file ? LL_LIT("") : ll_buf_slice(&l->body),
                            .body_length = l->octets,
                            .header_length = l->header_length,
                            .rcpt = rcpts,
                            .n_rcpt = l->n_rcpts};
    struct ll_body_file *file = l->file;
    size_t prepend_n;

    front_check_fields(s, l, &l->tail);
    if (l->signing && !ll_dkim_signing_finish(l->signing, &l->tail)) {
        refuse(l, ll_verdict_unsigned);
        return;
    }
    if (!front_trace_received(s, l, &l->tail)) {
        refuse(l, ll_verdict_later);
        return;
    }
    prepend_n = l->tail.n;
    front_trace_facts(s, l, &l->tail);
    if (l->tail.failed) {
        refuse(l, ll_verdict_later);
        return;
    }
    out.prepend = ll_slice_cut(ll_buf_slice(&l->tail), 0, prepend_n);
    out.facts = ll_slice_skip(ll_buf_slice(&l->tail), prepend_n);
    for (size_t i = 0; i < l->n_rcpts; i++) {
        const struct rcpt *r = &l->rcpts[i];
        const uint8_t *p = l->text.p + r->at;

        rcpts[i] = (struct ll_rcpt){.address = ll_slice(p, r->address_n),
                                    .mailbox = ll_slice(p + r->address_n, r->mailbox_n),
                                    .reverse_path = out.reverse_path,
                                    .orcpt = ll_slice(p + r->address_n + r->mailbox_n, r->orcpt_n),
                                    .kind = r->kind,
                                    .notify = r->notify,
                                    .flags = r->flags};
    }
    l->file = NULL;
    l->handed = true;
    l->handing = true;
    s->asked = ASKED_STORE;
    ll_writer_alone(s->front->writer, s->front->n_sessions == 1);
    ll_writer_append(s->front->writer, &out, file, stored, l);
}

static void log_refused(const struct session *s, const struct letter *l)
{
    char ip[LL_IP_TEXT];

    ll_log(LL_LOG_INFO, "letter-refused", LL_F("from", front_letter_reverse(l)),
           LL_FU("recipients", l->n_rcpts), LL_FU("size", l->received),
           LL_FS("client", front_client(s, ip)), LL_FU("code", l->verdict.code),
           LL_FS("why", l->verdict.text), LL_FU("session", s->id));
}

/* The letter is whole and checked: into the journal with it. */
static void finish(struct session *s, struct letter *l)
{
    struct ll_verdict v;

    if (l->verdict.code == 0)
        to_file(l);
    s->at_end = s->wants_file;
    if (s->wants_file)
        return;
    if (l->verdict.code == 0 && l->file)
        flush_chunk(l);
    else
        l->octets = l->body.n;
    if (l->verdict.code == 0)
        hand_over(s, l);
    if (s->letter != l) /* stored, or failed, at once */
        return;
    l->handing = false;
    if (l->handed) { /* the writer has its copy */
        drop_content(l);
        return;
    }
    v = l->verdict;
    log_refused(s, l);
    front_letter_forget(s);
    front_reply(s, &v);
}

static void decide(struct session *s, struct letter *l)
{
    struct ll_verdict v = {0};

    if (l->verdict.code == 0)
        v = front_check_decide(s, l);
    if (v.code != 0)
        refuse(l, v);
}

void front_letter_end(struct session *s, const struct ll_smtp_content *content)
{
    struct letter *l = s->letter;

    if (!l) {
        front_reply(s, &ll_verdict_later);
        return;
    }
    l->eight_bit = content->eight_bit;
    if (l->verdict.code == 0 && !l->header_done) /* all of it is header */
        check_header(l, l->body.n, l->body.n);
    if (l->verdict.code == 0 && !front_check_end(s, l)) {
        s->asked = ASKED_CHECK;
        return;
    }
    decide(s, l);
    finish(s, l);
}

void front_checked(struct session *s)
{
    s->asked = ASKED_NOTHING;
    decide(s, s->letter);
    finish(s, s->letter);
    front_resume(s);
}

/* ---- waiting for a body file
 * ---------------------------------------------------------------------
 */

static void go_on(struct session *s)
{
    struct letter *l = s->letter;

    want_file(s, false);
    if (s->at_end)
        finish(s, l);
    else if (l->verdict.code == 0)
        to_file(l);
    if (!s->wants_file)
        front_resume(s);
}

void front_letters_files(struct front *f)
{
    struct session *s, *next;

    for (s = TAILQ_FIRST(&f->sessions); s && f->n_want_files > 0; s = next) {
        next = TAILQ_NEXT(s, all);
        if (s->wants_file)
            go_on(s);
    }
}

void front_letter_no_file(struct session *s)
{
    refuse(s->letter, ll_verdict_full);
    go_on(s);
}
