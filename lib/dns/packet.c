/*
 * See letterlock/dns.h: DNS messages (RFC 1035 4). Compression pointers must point backwards, so
 * that reading a name ends.
 */
#include "lib/dns/wire.h"

#define HEADER_LENGTH  12
#define CLASS_IN       1
#define SECTION_MAX    1024 /* records looked at: more than any answer of LL_DNS_ANSWER_MAX needs */
#define RCODE_NXDOMAIN 3

struct record {
    struct ll_dns_name owner;
    bool named; /* owner could be read; where not, the record is of no use and is passed by */
    uint16_t type, rclass;
    uint32_t ttl;
    size_t rdata_at, rdata_n;
};

/* Reads a name that may be compressed, from c on. false: the message is malformed. *ret_ok: the
 * name has a text form. */
static bool packed_name(struct ll_cursor *c, struct ll_dns_name *ret, bool *ret_ok)
{
    struct ll_cursor r = *c;
    size_t limit = c->at; /* a pointer must lead before this */
    bool jumped = false;
    struct ll_dns_name name = {.n = 0};

    *ret_ok = true;
    for (;;) {
        uint8_t n = ll_cur_u8(&r);

        if (r.failed)
            return false;
        if ((n & 0xc0) == 0xc0) {
            size_t to = (size_t)(n & 0x3f) << 8 | ll_cur_u8(&r);

            if (r.failed || to >= limit || to < HEADER_LENGTH)
                return false;
            if (!jumped)
                c->at = r.at;
            jumped = true;
            r.at = limit = to;
            continue;
        }
        if (n > 63)
            return false;
        if (n == 0)
            break;
        struct ll_slice label = ll_cur_bytes(&r, n);

        if (r.failed)
            return false;
        if (*ret_ok && !ll_dns_label_add(&name, label))
            *ret_ok = false;
    }
    if (!jumped)
        c->at = r.at;
    if (name.n == 0)
        ll_dns_name_root(&name);
    *ret = name;
    return true;
}

static bool read_record(struct ll_cursor *c, struct record *r)
{
    if (!packed_name(c, &r->owner, &r->named))
        return false;
    r->type = ll_cur_u16(c);
    r->rclass = ll_cur_u16(c);
    r->ttl = ll_cur_u32(c);
    r->rdata_n = ll_cur_u16(c);
    r->rdata_at = c->at;
    ll_cur_bytes(c, r->rdata_n);
    return !c->failed;
}

/* The wire form of a name, not compressed. */
static void put_name(struct ll_buf *out, const struct ll_dns_name *name)
{
    struct ll_slice rest = ll_dns_name_slice(name), label;

    if (name->n > 1 || name->text[0] != '.') {
        while (ll_slice_next(&rest, '.', &label)) {
            ll_buf_u8(out, (uint8_t)label.n);
            ll_buf_put_slice(out, label);
        }
    }
    ll_buf_u8(out, 0);
}

/* The octets before the name in the types whose RDATA holds one name at its end; -1: none does. */
static int name_offset(uint16_t type)
{
    static const struct {
        uint16_t type;
        int offset;
    } rows[] = {{LL_DNS_MX, 2}, {LL_DNS_CNAME, 0}, {LL_DNS_PTR, 0}, {LL_DNS_NS, 0}};

    for (size_t i = 0; i < LL_COUNT(rows); i++)
        if (rows[i].type == type)
            return rows[i].offset;
    return -1;
}

/* A copy of the record's data with its name written out. An empty slice (p NULL): no memory, or
 * a record that cannot be (then *ret_skip). */
static struct ll_slice copy_rdata(struct ll_slice packet, const struct record *r,
                                  struct ll_arena *arena, bool *ret_skip)
{
    struct ll_slice raw = ll_slice_cut(packet, r->rdata_at, r->rdata_at + r->rdata_n);
    struct ll_cursor c = ll_cursor(ll_slice_cut(packet, 0, r->rdata_at + r->rdata_n));
    struct ll_buf out = LL_BUF(LL_DNS_NAME_MAX + 8);
    int offset = name_offset(r->type);
    struct ll_dns_name name;
    bool ok;

    *ret_skip = false;
    if (offset < 0)
        return ll_arena_dup(arena, raw);
    c.at = r->rdata_at;
    ll_buf_put_slice(&out, ll_cur_bytes(&c, (size_t)offset));
    if (c.failed || !packed_name(&c, &name, &ok) || !ok || !ll_cur_end(&c)) {
        *ret_skip = true;
        ll_buf_release(&out);
        return (struct ll_slice){NULL, 0};
    }
    put_name(&out, &name);
    raw = out.failed ? (struct ll_slice){NULL, 0} : ll_arena_dup(arena, ll_buf_slice(&out));
    ll_buf_release(&out);
    return raw;
}

/* Takes the records of the type at `owner`, and finds the CNAME there. *ret_bad: some record could
 * not be read. false: no memory. */
static bool gather(struct ll_slice packet, const struct record *records, size_t n,
                   const struct ll_dns_name *owner, struct ll_arena *arena, struct ll_dns_answer *a,
                   const struct record **ret_cname, bool *ret_bad)
{
    *ret_cname = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct record *r = &records[i];
        bool skip;

        if (!r->named || r->rclass != CLASS_IN ||
            !ll_slice_eq(ll_dns_name_slice(&r->owner), ll_dns_name_slice(owner)))
            continue;
        if (r->type != a->type) {
            if (r->type == LL_DNS_CNAME)
                *ret_cname = r;
            continue;
        }
        if (a->n_rdata == LL_DNS_RECORDS_MAX) {
            a->cut = true;
            break;
        }
        a->rdata[a->n_rdata] = copy_rdata(packet, r, arena, &skip);
        if (skip) {
            *ret_bad = true;
            continue;
        }
        if (!a->rdata[a->n_rdata].p)
            return false;
        a->n_rdata++;
        a->ttl = r->ttl < a->ttl ? r->ttl : a->ttl;
    }
    return true;
}

static bool follow(struct ll_slice packet, const struct record *records, size_t n,
                   const struct ll_dns_name *name, struct ll_arena *arena, struct ll_dns_answer *a)
{
    struct ll_dns_name at = *name;
    const struct record *cname;
    bool bad = false;

    for (unsigned steps = 0; steps <= LL_DNS_CHAIN_MAX; steps++) {
        struct ll_cursor c = ll_cursor(packet);
        bool ok;

        if (!gather(packet, records, n, &at, arena, a, &cname, &bad))
            return false;
        if (a->n_rdata == 0 && bad)
            return false; /* records that cannot be read are not the same as none */
        if (a->n_rdata > 0 || !cname)
            break;
        c.at = cname->rdata_at;
        if (!packed_name(&c, &at, &ok) || !ok)
            return false;
        a->ttl = cname->ttl < a->ttl ? cname->ttl : a->ttl;
    }
    a->canonical = ll_arena_dup(arena, ll_dns_name_slice(&at));
    return a->canonical.p != NULL;
}

bool ll_dns_packet(struct ll_slice packet, const struct ll_dns_name *name, uint16_t type,
                   struct ll_arena *arena, struct ll_dns_answer *ret)
{
    struct ll_dns_answer a = {.type = type, .ttl = UINT32_MAX};
    struct ll_cursor c = ll_cursor(packet);
    struct record *records;
    struct ll_dns_name ignored;
    size_t questions, answers;
    unsigned rcode;
    bool ok;

    ll_cur_u16(&c);
    rcode = ll_cur_u16(&c) & 15;
    questions = ll_cur_u16(&c);
    answers = ll_cur_u16(&c);
    ll_cur_u32(&c);
    if (c.failed || questions > 1 || answers > SECTION_MAX)
        return false;
    if (questions == 1 && (!packed_name(&c, &ignored, &ok) || ll_cur_left(&c) < 4))
        return false;
    if (questions == 1)
        ll_cur_u32(&c);
    records = ll_arena_alloc(arena, (answers + 1) * sizeof(records[0]));
    a.rdata = ll_arena_alloc(arena, LL_DNS_RECORDS_MAX * sizeof(a.rdata[0]));
    if (!records || !a.rdata)
        return false;
    for (size_t i = 0; i < answers; i++)
        if (!read_record(&c, &records[i]))
            return false;
    if (!follow(packet, records, answers, name, arena, &a))
        return false;
    if (rcode != 0 && rcode != RCODE_NXDOMAIN)
        a.status = LL_DNS_STATUS_SERVFAIL;
    else if (a.n_rdata > 0)
        a.status = LL_DNS_STATUS_OK;
    else
        a.status = rcode == RCODE_NXDOMAIN ? LL_DNS_STATUS_NXDOMAIN : LL_DNS_STATUS_NODATA;
    if (a.status != LL_DNS_STATUS_OK)
        a.n_rdata = 0;
    if (a.ttl == UINT32_MAX)
        a.ttl = 0;
    *ret = a;
    return true;
}
