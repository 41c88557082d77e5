/*
 * The outcome log, octet by octet. All numbers are big-endian.
 *
 * Head (LL_OUTLOG_HEAD octets)
 *    0   4  "LLO2"
 *    4   4  CRC32C of octets 8..31
 *    8   4  number of the log
 *   12   8  generation
 *   20  12  0
 *
 * Record
 *    0   4  CRC32C of the generation (8 octets), then octets 4..(6 + N)
 *    4   2  N, octets behind the kind
 *    6   1  kind
 *    7   N  fields:
 *  STATE    8  letter   1  state   2  attempts   1  deaths   1  flags   8  until, Unix time in s
 *           2  code   1 + n  status   2 + n  text   2 + n  remote
 *           2  number of recipients, 4 each: their indexes
 *  OVER     2  number of letters, 8 each
 *  SEGMENT  4  segment
 *  CLOSED   4  segment   8  octets that count
 *  PAUSE    1  paused: 1 or 0   2 + n  name of the destination
 */
#include "letterlock/spool.h"

#define OUTLOG_MAGIC 0x4c4c4f32u
#define RECORD_FIXED 7
#define STATUS_MAX   16
#define REMOTE_MAX   300

static const char *const state_names[LL_RCPT_STATES] = {
    [LL_RCPT_WAITING] = "waiting",     [LL_RCPT_TRYING] = "trying",
    [LL_RCPT_DEFERRED] = "deferred",   [LL_RCPT_HELD] = "held",
    [LL_RCPT_FAILED] = "failed",       [LL_RCPT_CONFIRMING] = "confirming",
    [LL_RCPT_DELIVERED] = "delivered", [LL_RCPT_RETURNED] = "returned",
    [LL_RCPT_DROPPED] = "dropped",
};

const char *ll_rcpt_state_name(enum ll_rcpt_state s)
{
    return (unsigned)s < LL_RCPT_STATES ? state_names[s] : "?";
}

static uint32_t crc_with(uint64_t generation, struct ll_slice bytes)
{
    uint8_t raw[8];

    for (int i = 0; i < 8; i++)
        raw[i] = (uint8_t)(generation >> (56 - 8 * i));
    return ll_crc32c(ll_crc32c(0, raw, sizeof(raw)), bytes.p, bytes.n);
}

static void put_u32_at(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

void ll_outlog_head_encode(uint32_t number, uint64_t generation, struct ll_buf *out)
{
    size_t at = out->n;

    ll_buf_u32(out, OUTLOG_MAGIC);
    ll_buf_u32(out, 0);
    ll_buf_u32(out, number);
    ll_buf_u64(out, generation);
    ll_buf_u64(out, 0);
    ll_buf_u32(out, 0);
    if (!out->failed)
        put_u32_at(out->p + at + 4, ll_crc32c(0, out->p + at + 8, LL_OUTLOG_HEAD - 8));
}

bool ll_outlog_head_decode(struct ll_slice in, uint32_t *ret_number, uint64_t *ret_generation)
{
    struct ll_cursor c = ll_cursor(in);
    uint32_t magic = ll_cur_u32(&c);
    uint32_t crc = ll_cur_u32(&c);
    uint32_t number = ll_cur_u32(&c);
    uint64_t generation = ll_cur_u64(&c);

    if (in.n != LL_OUTLOG_HEAD || magic != OUTLOG_MAGIC ||
        crc != ll_crc32c(0, in.p + 8, LL_OUTLOG_HEAD - 8))
        return false;
    *ret_number = number;
    *ret_generation = generation;
    return true;
}

/* ---- one function a kind, both ways ---------------------------------------------------------- */

static void put_state(const struct ll_outlog_record *r, struct ll_buf *out)
{
    struct ll_slice status = ll_slice_cut(r->status, 0, STATUS_MAX);

    ll_buf_u64(out, r->letter);
    ll_buf_u8(out, r->state);
    ll_buf_u16(out, r->attempts);
    ll_buf_u8(out, r->deaths);
    ll_buf_u8(out, r->flags);
    ll_buf_u64(out, (uint64_t)r->until_s);
    ll_buf_u16(out, r->code);
    ll_buf_u8(out, (uint8_t)status.n);
    ll_buf_put_slice(out, status);
    ll_buf_str16(out, ll_slice_cut(r->text, 0, LL_DIAG_MAX));
    ll_buf_str16(out, ll_slice_cut(r->remote, 0, REMOTE_MAX));
    ll_buf_u16(out, (uint16_t)r->n);
    for (size_t i = 0; i < r->n; i++)
        ll_buf_u32(out, r->rcpt[i]);
}

static void put_over(const struct ll_outlog_record *r, struct ll_buf *out)
{
    ll_buf_u16(out, (uint16_t)r->n);
    for (size_t i = 0; i < r->n; i++)
        ll_buf_u64(out, r->over[i]);
}

static void put_segment(const struct ll_outlog_record *r, struct ll_buf *out)
{
    ll_buf_u32(out, r->segment);
}

static void put_closed(const struct ll_outlog_record *r, struct ll_buf *out)
{
    ll_buf_u32(out, r->segment);
    ll_buf_u64(out, r->length);
}

static void put_pause(const struct ll_outlog_record *r, struct ll_buf *out)
{
    ll_buf_u8(out, r->paused);
    ll_buf_str16(out, ll_slice_cut(r->name, 0, LL_OUTLOG_NAME_MAX));
}

static bool get_state(struct ll_cursor *c, struct ll_arena *arena, struct ll_outlog_record *r)
{
    uint32_t *rcpt;

    r->letter = ll_cur_u64(c);
    r->state = ll_cur_u8(c);
    r->attempts = ll_cur_u16(c);
    r->deaths = ll_cur_u8(c);
    r->flags = ll_cur_u8(c);
    r->until_s = (int64_t)ll_cur_u64(c);
    r->code = ll_cur_u16(c);
    r->status = ll_cur_bytes(c, ll_cur_u8(c));
    r->text = ll_cur_str16(c);
    r->remote = ll_cur_str16(c);
    r->n = ll_cur_u16(c);
    if (c->failed || r->state >= LL_RCPT_STATES || r->flags > LL_OUTLOG_WARNED || r->n == 0 ||
        r->n > LL_OUTLOG_LIST_MAX || r->status.n > STATUS_MAX || r->text.n > LL_DIAG_MAX ||
        r->remote.n > REMOTE_MAX)
        return false;
    rcpt = ll_arena_alloc(arena, r->n * sizeof(*rcpt));
    for (size_t i = 0; rcpt && i < r->n; i++) {
        rcpt[i] = ll_cur_u32(c);
        if (rcpt[i] >= LL_SPOOL_RCPTS_MAX)
            return false;
    }
    r->rcpt = rcpt;
    return rcpt != NULL;
}

static bool get_over(struct ll_cursor *c, struct ll_arena *arena, struct ll_outlog_record *r)
{
    uint64_t *over;

    r->n = ll_cur_u16(c);
    if (c->failed || r->n == 0 || r->n > LL_OUTLOG_LIST_MAX)
        return false;
    over = ll_arena_alloc(arena, r->n * sizeof(*over));
    for (size_t i = 0; over && i < r->n; i++)
        over[i] = ll_cur_u64(c);
    r->over = over;
    return over != NULL;
}

static bool get_segment(struct ll_cursor *c, struct ll_arena *arena, struct ll_outlog_record *r)
{
    r->segment = ll_cur_u32(c);
    return true;
}

static bool get_closed(struct ll_cursor *c, struct ll_arena *arena, struct ll_outlog_record *r)
{
    r->segment = ll_cur_u32(c);
    r->length = ll_cur_u64(c);
    return true;
}

static bool get_pause(struct ll_cursor *c, struct ll_arena *arena, struct ll_outlog_record *r)
{
    uint8_t paused = ll_cur_u8(c);

    r->paused = paused == 1;
    r->name = ll_cur_str16(c);
    return paused <= 1 && r->name.n > 0 && r->name.n <= LL_OUTLOG_NAME_MAX;
}

static const struct {
    void (*put)(const struct ll_outlog_record *, struct ll_buf *);
    bool (*get)(struct ll_cursor *, struct ll_arena *, struct ll_outlog_record *);
} kinds[] = {
    [LL_OUTLOG_STATE] = {put_state, get_state},       [LL_OUTLOG_OVER] = {put_over, get_over},
    [LL_OUTLOG_SEGMENT] = {put_segment, get_segment}, [LL_OUTLOG_CLOSED] = {put_closed, get_closed},
    [LL_OUTLOG_PAUSE] = {put_pause, get_pause},
};

void ll_outlog_encode(const struct ll_outlog_record *r, uint64_t generation, struct ll_buf *out)
{
    size_t at = out->n;
    size_t n;

    if (r->kind >= LL_COUNT(kinds) || !kinds[r->kind].put || r->n > LL_OUTLOG_LIST_MAX) {
        out->failed = true;
        return;
    }
    ll_buf_u32(out, 0);
    ll_buf_u16(out, 0);
    ll_buf_u8(out, r->kind);
    kinds[r->kind].put(r, out);
    if (out->failed)
        return;
    n = out->n - at - RECORD_FIXED;
    out->p[at + 4] = (uint8_t)(n >> 8);
    out->p[at + 5] = (uint8_t)n;
    put_u32_at(out->p + at, crc_with(generation, ll_slice(out->p + at + 4, RECORD_FIXED - 4 + n)));
}

size_t ll_outlog_decode(struct ll_slice in, uint64_t generation, struct ll_arena *arena,
                        struct ll_outlog_record *ret)
{
    struct ll_outlog_record r = {0};
    struct ll_cursor c = ll_cursor(in);
    uint32_t crc = ll_cur_u32(&c);
    uint16_t n = ll_cur_u16(&c);
    struct ll_slice fields;

    r.kind = ll_cur_u8(&c);
    fields = ll_cur_bytes(&c, n);
    if (c.failed || n > LL_OUTLOG_RECORD_MAX ||
        crc != crc_with(generation, ll_slice(in.p + 4, RECORD_FIXED - 4 + (size_t)n)) ||
        r.kind >= LL_COUNT(kinds) || !kinds[r.kind].get)
        return 0;
    c = ll_cursor(fields);
    if (!kinds[r.kind].get(&c, arena, &r) || !ll_cur_end(&c))
        return 0;
    *ret = r;
    return RECORD_FIXED + (size_t)n;
}
