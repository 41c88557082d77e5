/*
 * The journal's segment and record, octet by octet. All numbers are big-endian.
 *
 * Segment head (LL_SEGMENT_HEAD octets)
 *    0   4  "LLS1"
 *    4   4  CRC32C of octets 8..31
 *    8   4  number of the segment
 *   12   8  generation
 *   20   1  role of its writer
 *   21   1  0
 *   22   2  which worker of that role
 *   24   8  0
 *
 * Record, at once behind the head or the record before it
 *    0   4  "LLJ1"
 *    4   4  CRC32C of the generation (8 octets), then octets 8..(31 + M)
 *    8   1  version, 1
 *    9   1  kind, 1: a letter
 *   10   2  0
 *   12   4  M, octets of the envelope
 *   16   4  B, octets of the content in this record (0: it has a file, or is empty)
 *   20   4  CRC32C of the content, in either place
 *   24   8  number of the letter
 *   32   M  envelope
 *        B  content
 *        4  "LLJE"
 *        4  the checksum of octet 4 again
 *
 * Behind the last record there may be zeros, up to where its writer was expected to come.
 *
 * Envelope
 *        8  arrival, Unix time in ms
 *        1  origin          1  flags
 *        8  number of the body's file, or 0
 *        8  octets of the content
 *        4  octets of its header section
 *   2 + n   reverse-path    2 + n  ENVID   2 + n  login
 *        4  number of recipients, then each:
 *        1  kind   1  notify   1  flags; bit 7: the reverse-path is the letter's, none follows
 *   2 + n   address   2 + n  mailbox   [2 + n  reverse-path]   2 + n  ORCPT
 *   4 + n   facts           4 + n  prepended fields
 *
 * A head-only scan reads head and envelope, whose checksum covers the content's, and skips the
 * content; whoever hands a letter out checks the content too.
 */
#include "letterlock/spool.h"

#define SEGMENT_MAGIC   0x4c4c5331u
#define RECORD_MAGIC    0x4c4c4a31u
#define END_MAGIC       0x4c4c4a45u
#define RECORD_VERSION  1
#define RECORD_LETTER   1
#define SAME_REVERSE    0x80
#define CRC_FROM        8    /* the first octet that a checksum covers */
#define PATH_MAX_OCTETS 1000 /* a path or an xtext; RFC 5321 4.5.3.1.3 asks for 256 */

static void put_u32_at(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get_u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t crc_with(uint64_t generation, struct ll_slice bytes)
{
    uint8_t raw[8];

    for (int i = 0; i < 8; i++)
        raw[i] = (uint8_t)(generation >> (56 - 8 * i));
    return ll_crc32c(ll_crc32c(0, raw, sizeof(raw)), bytes.p, bytes.n);
}

void ll_segment_head_encode(const struct ll_segment_head *h, struct ll_buf *out)
{
    size_t at = out->n;

    ll_buf_u32(out, SEGMENT_MAGIC);
    ll_buf_u32(out, 0);
    ll_buf_u32(out, h->segment);
    ll_buf_u64(out, h->generation);
    ll_buf_u8(out, h->writer);
    ll_buf_u8(out, 0);
    ll_buf_u16(out, h->index);
    ll_buf_u64(out, 0);
    if (!out->failed)
        put_u32_at(out->p + at + 4,
                   ll_crc32c(0, out->p + at + CRC_FROM, LL_SEGMENT_HEAD - CRC_FROM));
}

bool ll_segment_head_decode(struct ll_slice in, struct ll_segment_head *ret)
{
    struct ll_cursor c = ll_cursor(in);
    uint32_t magic = ll_cur_u32(&c);
    uint32_t crc = ll_cur_u32(&c);
    struct ll_segment_head h;

    h.segment = ll_cur_u32(&c);
    h.generation = ll_cur_u64(&c);
    h.writer = ll_cur_u8(&c);
    ll_cur_u8(&c);
    h.index = ll_cur_u16(&c);
    ll_cur_u64(&c);
    if (!ll_cur_end(&c) || magic != SEGMENT_MAGIC ||
        crc != ll_crc32c(0, in.p + CRC_FROM, LL_SEGMENT_HEAD - CRC_FROM))
        return false;
    *ret = h;
    return true;
}

/* ---- encoding -------------------------------------------------------------------------------- */

static void put_rcpt(const struct ll_letter *l, const struct ll_rcpt *r, struct ll_buf *out)
{
    bool same = ll_slice_eq(r->reverse_path, l->reverse_path);

    if (r->address.n > PATH_MAX_OCTETS || r->mailbox.n > PATH_MAX_OCTETS ||
        r->reverse_path.n > PATH_MAX_OCTETS || r->orcpt.n > PATH_MAX_OCTETS)
        out->failed = true;
    ll_buf_u8(out, r->kind);
    ll_buf_u8(out, r->notify);
    ll_buf_u8(out, (uint8_t)((r->flags & ~SAME_REVERSE) | (same ? SAME_REVERSE : 0)));
    ll_buf_str16(out, r->address);
    ll_buf_str16(out, r->mailbox);
    if (!same)
        ll_buf_str16(out, r->reverse_path);
    ll_buf_str16(out, r->orcpt);
}

static void put_envelope(const struct ll_letter *l, struct ll_buf *out)
{
    if (l->n_rcpt == 0 || l->n_rcpt > LL_SPOOL_RCPTS_MAX || l->prepend.n > LL_SPOOL_PREPEND_MAX ||
        l->facts.n > LL_SPOOL_FACTS_MAX || l->reverse_path.n > PATH_MAX_OCTETS ||
        l->envid.n > PATH_MAX_OCTETS || l->login.n > PATH_MAX_OCTETS ||
        (!l->body_file && l->body.n > LL_SPOOL_INLINE_MAX))
        out->failed = true;
    ll_buf_u64(out, (uint64_t)l->arrived_ms);
    ll_buf_u8(out, l->origin);
    ll_buf_u8(out, l->flags);
    ll_buf_u64(out, l->body_file);
    ll_buf_u64(out, l->body_file ? l->body_length : l->body.n);
    ll_buf_u32(out, l->header_length);
    ll_buf_str16(out, l->reverse_path);
    ll_buf_str16(out, l->envid);
    ll_buf_str16(out, l->login);
    ll_buf_u32(out, (uint32_t)l->n_rcpt);
    for (size_t i = 0; i < l->n_rcpt && !out->failed; i++)
        put_rcpt(l, &l->rcpt[i], out);
    ll_buf_str32(out, l->facts);
    ll_buf_str32(out, l->prepend);
}

void ll_record_encode(const struct ll_letter *l, uint64_t generation, uint32_t body_crc,
                      struct ll_buf *out)
{
    struct ll_slice body = l->body_file ? ll_slice(NULL, 0) : l->body;
    size_t at = out->n;
    size_t meta;
    uint32_t crc;

    if (!l->body_file)
        body_crc = ll_crc32c(0, body.p, body.n);
    ll_buf_u32(out, RECORD_MAGIC);
    ll_buf_u32(out, 0);
    ll_buf_u8(out, RECORD_VERSION);
    ll_buf_u8(out, RECORD_LETTER);
    ll_buf_u16(out, 0);
    ll_buf_u32(out, 0);
    ll_buf_u32(out, (uint32_t)body.n);
    ll_buf_u32(out, body_crc);
    ll_buf_u64(out, l->id);
    put_envelope(l, out);
    if (out->failed)
        return;
    meta = out->n - at - LL_RECORD_HEAD;
    if (meta > LL_SPOOL_META_MAX) {
        out->failed = true;
        return;
    }
    put_u32_at(out->p + at + 12, (uint32_t)meta);
    crc = crc_with(generation, ll_slice(out->p + at + CRC_FROM, LL_RECORD_HEAD - CRC_FROM + meta));
    put_u32_at(out->p + at + 4, crc);
    ll_buf_put_slice(out, body);
    ll_buf_u32(out, END_MAGIC);
    ll_buf_u32(out, crc);
}

void ll_record_rebind(uint8_t *record, size_t n, uint64_t generation)
{
    size_t meta = get_u32_at(record + 12);
    uint32_t crc =
        crc_with(generation, ll_slice(record + CRC_FROM, LL_RECORD_HEAD - CRC_FROM + meta));

    put_u32_at(record + 4, crc);
    put_u32_at(record + n - 4, crc);
}

/* ---- decoding -------------------------------------------------------------------------------- */

bool ll_record_head_decode(struct ll_slice in, struct ll_record_head *ret)
{
    struct ll_cursor c = ll_cursor(ll_slice_cut(in, 0, LL_RECORD_HEAD));
    struct ll_record_head h;
    uint32_t magic = ll_cur_u32(&c);
    uint8_t version, kind;

    h.head_crc = ll_cur_u32(&c);
    version = ll_cur_u8(&c);
    kind = ll_cur_u8(&c);
    ll_cur_u16(&c);
    h.meta_length = ll_cur_u32(&c);
    h.body_length = ll_cur_u32(&c);
    h.body_crc = ll_cur_u32(&c);
    h.id = ll_cur_u64(&c);
    if (c.failed || magic != RECORD_MAGIC || version != RECORD_VERSION || kind != RECORD_LETTER ||
        h.meta_length > LL_SPOOL_META_MAX || h.body_length > LL_SPOOL_INLINE_MAX)
        return false;
    *ret = h;
    return true;
}

static bool short_enough(struct ll_slice s)
{
    return s.n <= PATH_MAX_OCTETS;
}

static bool get_rcpt(struct ll_cursor *c, const struct ll_letter *l, struct ll_rcpt *r)
{
    r->kind = ll_cur_u8(c);
    r->notify = ll_cur_u8(c);
    r->flags = ll_cur_u8(c);
    r->address = ll_cur_str16(c);
    r->mailbox = ll_cur_str16(c);
    r->reverse_path = r->flags & SAME_REVERSE ? l->reverse_path : ll_cur_str16(c);
    r->flags &= (uint8_t)~SAME_REVERSE;
    r->orcpt = ll_cur_str16(c);
    return !c->failed && r->kind < LL_RCPT_KINDS && r->address.n > 0 && short_enough(r->address) &&
           short_enough(r->mailbox) && short_enough(r->reverse_path) && short_enough(r->orcpt);
}

static bool get_envelope(struct ll_cursor *c, const struct ll_record_head *h,
                         struct ll_arena *arena, struct ll_letter *l)
{
    l->arrived_ms = (int64_t)ll_cur_u64(c);
    l->origin = ll_cur_u8(c);
    l->flags = ll_cur_u8(c);
    l->body_file = ll_cur_u64(c);
    l->body_length = ll_cur_u64(c);
    l->header_length = ll_cur_u32(c);
    l->reverse_path = ll_cur_str16(c);
    l->envid = ll_cur_str16(c);
    l->login = ll_cur_str16(c);
    l->n_rcpt = ll_cur_u32(c);
    if (c->failed || l->origin > LL_ORIGIN_POST || l->n_rcpt == 0 ||
        l->n_rcpt > LL_SPOOL_RCPTS_MAX || !short_enough(l->reverse_path) ||
        !short_enough(l->envid) || !short_enough(l->login) || l->header_length > l->body_length ||
        (l->body_file ? h->body_length != 0 : l->body_length != h->body_length))
        return false;
    l->rcpt = ll_arena_alloc(arena, l->n_rcpt * sizeof(*l->rcpt));
    if (!l->rcpt)
        return false;
    for (size_t i = 0; i < l->n_rcpt; i++)
        if (!get_rcpt(c, l, &l->rcpt[i]))
            return false;
    l->facts = ll_cur_str32(c);
    l->prepend = ll_cur_str32(c);
    return ll_cur_end(c) && l->facts.n <= LL_SPOOL_FACTS_MAX &&
           l->prepend.n <= LL_SPOOL_PREPEND_MAX;
}

bool ll_record_decode(struct ll_slice in, uint64_t generation, struct ll_arena *arena,
                      struct ll_letter *ret)
{
    struct ll_letter l = {0};
    struct ll_record_head h;
    struct ll_cursor c;

    if (!ll_record_head_decode(in, &h) || in.n != (size_t)LL_RECORD_HEAD + h.meta_length ||
        h.head_crc != crc_with(generation, ll_slice_skip(in, CRC_FROM)))
        return false;
    c = ll_cursor(ll_slice_skip(in, LL_RECORD_HEAD));
    l.id = h.id;
    if (!get_envelope(&c, &h, arena, &l))
        return false;
    *ret = l;
    return true;
}

bool ll_record_body_ok(const struct ll_record_head *h, struct ll_slice body)
{
    return body.n == h->body_length && ll_crc32c(0, body.p, body.n) == h->body_crc;
}

bool ll_record_end_ok(const struct ll_record_head *h, struct ll_slice end)
{
    return end.n == LL_RECORD_END && get_u32_at(end.p) == END_MAGIC &&
           get_u32_at(end.p + 4) == h->head_crc;
}
