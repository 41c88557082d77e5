/* A letter read once: its header kept and indexed, its body hashed. See letterlock/dkim.h. */
#include "lib/dkim/parts.h"

#include <stdlib.h>

struct ll_dkim_letter *ll_dkim_letter_new(void)
{
    struct ll_dkim_letter *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    ll_buf_init(&l->header, LL_DKIM_HEADER_MAX);
    ll_buf_init(&l->text, 2 * LL_DKIM_HEADER_MAX);
    return l;
}

void ll_dkim_letter_free(struct ll_dkim_letter *l)
{
    if (!l)
        return;
    ll_buf_release(&l->header);
    ll_buf_release(&l->text);
    ll_dkim_body_free(l->body[LL_DKIM_SIMPLE]);
    ll_dkim_body_free(l->body[LL_DKIM_RELAXED]);
    free(l->field);
    free(l->by_name);
    free(l->taken);
    free(l);
}

void ll_dkim_letter_keys(struct ll_dkim_letter *l, struct ll_dkim_keys *keys)
{
    l->keys = keys;
}

/* ---- the index ----------------------------------------------------------------------------------
 */

static int by_name(struct ll_slice a, struct ll_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;

    for (size_t i = 0; i < n; i++)
        if (ll_lower(a.p[i]) != ll_lower(b.p[i]))
            return ll_lower(a.p[i]) < ll_lower(b.p[i]) ? -1 : 1;
    return a.n < b.n ? -1 : a.n > b.n;
}

static int by_name_and_place(const void *a, const void *b)
{
    const struct ll_dkim_named *x = a, *y = b;
    int d = by_name(x->name, y->name);

    return d != 0 ? d : x->at < y->at ? -1 : x->at > y->at;
}

static bool index_fields(struct ll_dkim_letter *l)
{
    struct ll_slice rest = ll_buf_slice(&l->header);
    struct ll_msg_field f;
    size_t n = 0;

    while (ll_msg_field_next(&rest, &f))
        n++;
    l->field = calloc(n + 1, sizeof(*l->field));
    l->by_name = calloc(n + 1, sizeof(*l->by_name));
    l->taken = calloc(n + 1, sizeof(*l->taken));
    if (!l->field || !l->by_name || !l->taken)
        return false;
    rest = ll_buf_slice(&l->header);
    while (ll_msg_field_next(&rest, &f)) {
        if (f.bad)
            continue; /* no field, so no signature can name it */
        l->field[l->fields] = (struct ll_dkim_field){f.raw, f.name, f.body};
        l->by_name[l->fields] = (struct ll_dkim_named){f.name, (uint32_t)l->fields};
        l->fields++;
    }
    qsort(l->by_name, l->fields, sizeof(*l->by_name), by_name_and_place);
    return true;
}

/* One past the last entry of by_name with this name: the lowest such field is before it. */
static size_t name_end(const struct ll_dkim_letter *l, struct ll_slice name)
{
    size_t low = 0, high = l->fields;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (by_name(l->by_name[middle].name, name) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t ll_dkim_letter_count(const struct ll_dkim_letter *l, struct ll_slice name)
{
    size_t end = name_end(l, name), n = 0;

    while (n < end && by_name(l->by_name[end - 1 - n].name, name) == 0)
        n++;
    return n;
}

void ll_dkim_letter_fields(struct ll_dkim_letter *l, enum ll_dkim_canon canon, struct ll_slice list,
                           uint32_t own, struct ll_buf *out)
{
    struct ll_slice name;

    memset(l->taken, 0, (l->fields + 1) * sizeof(*l->taken));
    while (ll_slice_next(&list, ':', &name)) {
        size_t end;

        name = ll_dkim_trim_fws(name);
        end = name_end(l, name);
        /* RFC 6376 5.4.2: from the bottom up, each field once; a name without a field left is the
         * empty string. `taken` of the lowest field counts for its name. */
        while (end > 0) {
            size_t at = end - 1 - l->taken[end - 1];

            if (l->taken[end - 1] >= end || by_name(l->by_name[at].name, name) != 0)
                break;
            l->taken[end - 1]++;
            if (l->by_name[at].at == own)
                continue;
            ll_dkim_canon_field(canon, l->field[l->by_name[at].at].raw, out);
            break;
        }
    }
}

/* ---- octets -------------------------------------------------------------------------------------
 */

static void header_over(struct ll_dkim_letter *l)
{
    l->ready = true;
    if (!index_fields(l)) {
        l->fault = LL_DKIM_FAULT_RESOURCE;
        l->fields = 0;
    }
}

size_t ll_dkim_letter_feed(struct ll_dkim_letter *l, struct ll_slice in)
{
    size_t n;

    if (l->ended)
        return in.n;
    if (l->ready) {
        for (size_t i = 0; i < LL_COUNT(l->body); i++)
            if (l->body[i])
                ll_dkim_body_feed(l->body[i], in);
        return in.n;
    }
    n = ll_msg_end_feed(&l->end, in);
    if (n > l->header.max - l->header.n) {
        ll_buf_put_slice(&l->header, ll_slice_cut(in, 0, l->header.max - l->header.n));
        l->fault = LL_DKIM_FAULT_HEADER_LONG;
    } else {
        ll_buf_put_slice(&l->header, ll_slice_cut(in, 0, n));
    }
    if (l->header.failed)
        l->fault = LL_DKIM_FAULT_RESOURCE;
    if (l->end.found) {
        if (l->header.n > l->end.seen)
            l->header.n = (size_t)l->end.seen; /* without the empty line */
        header_over(l);
    }
    return n;
}

bool ll_dkim_letter_ready(const struct ll_dkim_letter *l)
{
    return l->ready;
}

struct ll_slice ll_dkim_letter_header(const struct ll_dkim_letter *l)
{
    return ll_buf_slice(&l->header);
}

enum ll_dkim_fault ll_dkim_letter_fault(const struct ll_dkim_letter *l)
{
    return l->fault;
}

void ll_dkim_letter_end(struct ll_dkim_letter *l)
{
    if (l->ended)
        return;
    if (!l->ready)
        header_over(l);
    for (size_t i = 0; i < LL_COUNT(l->body); i++) {
        if (!l->body[i])
            continue;
        ll_dkim_body_end(l->body[i]);
        if (l->body[i]->failed)
            l->fault = LL_DKIM_FAULT_RESOURCE;
    }
    l->ended = true;
}

/* ---- the body's hashes --------------------------------------------------------------------------
 */

bool ll_dkim_letter_want(struct ll_dkim_letter *l, enum ll_dkim_canon canon, bool partial,
                         uint64_t length)
{
    struct ll_dkim_body **b = &l->body[canon];

    if (!*b) {
        *b = ll_dkim_body_new(canon);
        if (!*b)
            return false;
        l->work.body_hashes++;
        if (l->ended) /* a letter without a body */
            ll_dkim_body_end(*b);
    }
    return !partial || l->ended || ll_dkim_body_mark(*b, length);
}

/* The mark at this length, if the body reached it. */
static const struct ll_dkim_mark *mark(const struct ll_dkim_body *b, uint64_t at)
{
    for (size_t i = 0; i < b->marks; i++)
        if (b->mark[i].at == at && b->mark[i].reached)
            return &b->mark[i];
    return NULL;
}

enum ll_dkim_fault ll_dkim_letter_body(const struct ll_dkim_letter *l,
                                       const struct ll_dkim_sig *sig)
{
    const struct ll_dkim_body *b = l->body[sig->body];
    const struct ll_dkim_mark *m;

    if (!b)
        return LL_DKIM_FAULT_RESOURCE;
    if (!sig->partial || sig->length == b->hashed)
        return memcmp(b->hash, sig->bh, LL_DKIM_HASH) == 0 ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_BODY;
    if (sig->length > b->hashed)
        return LL_DKIM_FAULT_BODY_SHORT;
    m = mark(b, sig->length);
    if (!m || memcmp(m->hash, sig->bh, LL_DKIM_HASH) != 0)
        return LL_DKIM_FAULT_BODY;
    return LL_DKIM_FAULT_UNSIGNED_REST;
}

void ll_dkim_letter_work(const struct ll_dkim_letter *l, struct ll_dkim_work *ret)
{
    *ret = l->work;
    for (size_t i = 0; i < LL_COUNT(l->body); i++)
        if (l->body[i])
            ret->octets += l->body[i]->hashed;
}
