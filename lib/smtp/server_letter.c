/* DATA and BDAT at the server. See include/letterlock/smtpd.h. */
#include "server.h"

#define SKIP_DEFAULT                                                                               \
    (50ull << 20)              /* octets of a refused letter that are read, without size_max       \
                                */
#define SKIP_MORE (1ull << 20) /* octets read above size_max, before the session ends */

static uint64_t skip_max(const struct ll_smtpd *s)
{
    return (s->conf->size_max ? s->conf->size_max : SKIP_DEFAULT) + SKIP_MORE;
}

/* Why no letter can begin now; code 0: it can. */
static struct refusal letter_gate(const struct ll_smtpd *s, bool by_bdat)
{
    if (!s->t)
        return (struct refusal){503, "5.5.1", "MAIL comes first"};
    if (s->t->begun && !by_bdat)
        return (struct refusal){503, "5.5.1", "The letter has begun with BDAT"};
    if (s->t->recipients == 0)
        return (struct refusal){554, "5.5.1", "No valid recipients"};
    return (struct refusal){0, NULL, NULL};
}

void srv_letter_begins(struct ll_smtpd *s, uint64_t now)
{
    struct txn *t = s->t;

    t->begun = true;
    t->ends = s->conf->letter_timeout ? now + s->conf->letter_timeout : UINT64_MAX;
    t->data.line_max = s->conf->line_max;
    t->bdat.line_max = s->conf->line_max;
    s->state = t->by_bdat ? ST_BDAT : ST_DATA;
    s->deadline = s->conf->data_timeout ? now + s->conf->data_timeout : t->ends;
}

/* The letter is over and refused. */
static void letter_refused(struct ll_smtpd *s, enum ll_smtp_error e)
{
    srv_txn_reset(s);
    s->state = ST_COMMAND;
    srv_refuse_error(s, e);
}

/* ---- DATA
 * --------------------------------------------------------------------------------------------- */

void srv_data_command(struct ll_smtpd *s, struct ll_slice args)
{
    struct refusal no = letter_gate(s, false);

    if (no.code) {
        srv_txn_reset(s);
        srv_refuse(s, no.code, no.enhanced, no.text);
        return;
    }
    srv_ask(s, LL_SMTPD_ASK_DATA);
}

size_t srv_data_step(struct ll_smtpd *s, struct ll_slice in)
{
    struct ll_smtp_data *d = &s->t->data;
    struct ll_slice content;
    size_t n = ll_smtp_data_read(d, in, &content);

    if (!d->c.error && s->conf->size_max && d->c.octets > s->conf->size_max)
        d->c.error = LL_SMTP_CONTENT_SIZE;
    if (d->c.error) {
        srv_txn_tell(s);
        s->t->skipped += n;
        if (s->t->skipped > skip_max(s) && !ll_smtp_data_done(d)) {
            srv_refuse_error(s, d->c.error);
            srv_end_session(s, "size");
            return n;
        }
    } else if (content.n > 0) {
        s->run = content;
        s->pending |= PEND_BODY;
    }
    if (ll_smtp_data_done(d)) {
        if (d->c.error)
            letter_refused(s, d->c.error);
        else
            srv_ask(s, LL_SMTPD_ASK_END);
    }
    return n;
}

/* ---- BDAT (RFC 3030 2)
 * ---------------------------------------------------------------------------------- */

/* "SIZE [LAST]". */
static bool bdat_args(struct ll_slice args, uint64_t *ret_n, bool *ret_last)
{
    size_t space = ll_slice_find(args, ' ');
    struct ll_slice word = ll_slice_trim(ll_slice_skip(args, space + 1));

    *ret_last = word.n > 0;
    return space <= 20 && ll_slice_u64(ll_slice_cut(args, 0, space), ret_n) &&
           (word.n == 0 || ll_slice_caseeq(word, LL_LIT("LAST")));
}

/* The chunk's octets are read whatever becomes of them: they must never be taken for commands. The
 * reply may go ahead of them. */
static void chunk_refused(struct ll_smtpd *s, uint64_t n, const struct refusal *why)
{
    srv_txn_reset(s);
    s->skip = n;
    s->state = n ? ST_SKIP : ST_COMMAND;
    srv_refuse(s, why->code, why->enhanced, why->text);
    if (n > skip_max(s))
        srv_end_session(s, "size");
}

void srv_bdat_command(struct ll_smtpd *s, struct ll_slice args, const struct refusal *gate)
{
    struct refusal no;
    uint64_t have;
    uint64_t n;
    bool last;

    if (!bdat_args(args, &n, &last)) {
        srv_reply(s, 501, "5.5.4", "BDAT takes a size and LAST");
        srv_end_session(s, "chunk"); /* what follows is of unknown length */
        return;
    }
    no = gate ? *gate : letter_gate(s, true);
    have = s->t ? s->t->bdat.c.octets : 0;
    if (!no.code && s->conf->size_max && (n > s->conf->size_max || have > s->conf->size_max - n)) {
        const struct ll_smtp_error_info *i = ll_smtp_error_info(LL_SMTP_CONTENT_SIZE);

        no = (struct refusal){i->code, i->enhanced, i->text};
    }
    if (!no.code && n == 0 && !last) {
        s->junk++;
        if (s->conf->junk_max && s->junk > s->conf->junk_max) {
            srv_reply(s, 421, "4.7.0", "Too many empty chunks");
            srv_end_session(s, "junk");
            return;
        }
    }
    if (no.code) {
        chunk_refused(s, n, &no);
        return;
    }
    s->t->bdat.left = n;
    s->t->last = last;
    if (!s->t->begun) {
        s->t->by_bdat = true;
        srv_ask(s, LL_SMTPD_ASK_DATA);
        return;
    }
    s->state = ST_BDAT;
    if (n == 0)
        srv_bdat_chunk_done(s);
}

void srv_bdat_chunk_done(struct ll_smtpd *s)
{
    struct txn *t = s->t;

    s->state = ST_COMMAND;
    if (t->bdat.c.error || (t->last && !ll_smtp_bdat_end(&t->bdat))) {
        letter_refused(s, t->bdat.c.error);
        return;
    }
    if (t->last)
        srv_ask(s, LL_SMTPD_ASK_END);
    else
        srv_reply(s, 250, "2.0.0", "Chunk taken");
}

size_t srv_bdat_step(struct ll_smtpd *s, struct ll_slice in)
{
    struct ll_smtp_bdat *b = &s->t->bdat;
    struct ll_slice content = ll_slice(NULL, 0);
    size_t n = b->left ? ll_smtp_bdat_read(b, in, &content) : 0;

    if (b->c.error) {
        srv_txn_tell(s);
    } else if (content.n > 0) {
        s->run = content;
        s->pending |= PEND_BODY;
        return n;
    }
    if (b->left == 0)
        srv_bdat_chunk_done(s);
    return n;
}
