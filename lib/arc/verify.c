/* Verifying a chain (RFC 8617 5.2). See letterlock/arc.h. */
#include "lib/arc/arc.h"

#include <stdlib.h>

static const char *const words[] = {
#define ROW(ID, word) [LL_ARC_##ID] = (word),
    LL_ARC_RESULTS(ROW)
#undef ROW
};

static const char *const faults[] = {
#define ROW(ID, text) [LL_ARC_FAULT_##ID] = (text),
    LL_ARC_FAULTS(ROW)
#undef ROW
};

const char *ll_arc_word(enum ll_arc_code code)
{
    return words[code];
}

const char *ll_arc_fault_text(enum ll_arc_fault fault)
{
    return faults[fault];
}

/* The first fault stays. */
static void fail(struct ll_arc *a, enum ll_arc_fault fault, unsigned instance,
                 enum ll_dkim_fault dkim)
{
    if (a->result.code == LL_ARC_FAIL)
        return;
    a->result.code = LL_ARC_FAIL;
    a->result.fault = fault;
    a->result.instance = instance;
    a->result.dkim = dkim;
}

/* ---- collecting ---------------------------------------------------------------------------------
 */

/* "i=N;" before an ARC-Authentication-Results payload (RFC 8617 4.1.1); 0: it is not there. */
static unsigned aar_instance(struct ll_slice body, struct ll_slice *ret_payload)
{
    size_t end = ll_slice_find(body, ';');
    struct ll_slice tag = ll_dkim_trim_fws(ll_slice_cut(body, 0, end)), value;
    size_t equals = ll_slice_find(tag, '=');
    uint64_t n;

    value = ll_dkim_trim_fws(ll_slice_skip(tag, equals + 1));
    value = ll_dkim_trim_fws(ll_slice_cut(value, 0, ll_slice_find(value, '('))); /* [CFWS] */
    if (end == body.n || equals == tag.n || value.n > 2 || !ll_slice_u64(value, &n) || n < 1 ||
        n > LL_ARC_SETS_MAX ||
        !ll_slice_eq(ll_dkim_trim_fws(ll_slice_cut(tag, 0, equals)), LL_LIT("i")))
        return 0;
    *ret_payload = ll_slice_skip(body, end + 1);
    return (unsigned)n;
}

static void collect(struct ll_arc *a, size_t at)
{
    const struct ll_dkim_field *f = &a->letter->field[at];
    struct ll_dkim_sig sig;
    struct ll_slice payload;
    enum ll_dkim_fault fault = LL_DKIM_FAULT_OK;
    unsigned i;
    int64_t *place;

    if (ll_slice_caseeq(f->name, LL_LIT("ARC-Authentication-Results"))) {
        i = aar_instance(f->body, &payload);
        place = &a->set[i].aar;
    } else if (ll_slice_caseeq(f->name, LL_LIT("ARC-Message-Signature"))) {
        ll_dkim_sig_parse(LL_DKIM_AMS, f->raw, f->body, &sig);
        i = sig.instance;
        place = &a->set[i].ams;
    } else if (ll_slice_caseeq(f->name, LL_LIT("ARC-Seal"))) {
        fault = ll_dkim_sig_parse(LL_DKIM_SEAL, f->raw, f->body, &sig);
        i = sig.instance;
        place = &a->set[i].seal;
        a->seal[i] = sig;
        a->seal_fault[i] = fault;
    } else {
        return;
    }
    a->result.code = a->result.code == LL_ARC_NONE ? LL_ARC_PASS : a->result.code;
    if (i == 0)
        fail(a, LL_ARC_FAULT_INSTANCE, 0, LL_DKIM_FAULT_OK);
    else if (*place >= 0)
        fail(a, LL_ARC_FAULT_TWICE, i, LL_DKIM_FAULT_OK);
    *place = (int64_t)at;
    if (i > a->highest)
        a->highest = i;
}

bool ll_arc_over(const struct ll_arc *a)
{
    return a->highest > 0 && a->set[a->highest].seal >= 0 &&
           ll_slice_eq(a->seal[a->highest].cv, LL_LIT("fail"));
}

/* RFC 8617 5.2, steps 2 and 3. */
static void check_structure(struct ll_arc *a)
{
    if (ll_arc_over(a))
        fail(a, LL_ARC_FAULT_CV_FAIL, a->highest, LL_DKIM_FAULT_OK);
    for (unsigned i = 1; i <= a->highest; i++) {
        const struct ll_arc_set *s = &a->set[i];

        if (s->aar < 0 || s->ams < 0 || s->seal < 0)
            fail(a, LL_ARC_FAULT_GAP, i, LL_DKIM_FAULT_OK);
        else if (a->seal_fault[i] != LL_DKIM_FAULT_OK)
            fail(a, LL_ARC_FAULT_SEAL, i, a->seal_fault[i]);
        else if (!ll_slice_eq(a->seal[i].cv, i == 1 ? LL_LIT("none") : LL_LIT("pass")))
            fail(a, LL_ARC_FAULT_CV, i, LL_DKIM_FAULT_OK);
    }
}

/* ---- what is asked for --------------------------------------------------------------------------
 */

static void want_key(struct ll_arc *a, unsigned i, const struct ll_dkim_sig *sig)
{
    a->key[i] = ll_dkim_ring_want(&a->ring, &sig->domain, &sig->selector);
    if (a->key[i] < 0)
        fail(a, i == 0 ? LL_ARC_FAULT_MESSAGE : LL_ARC_FAULT_SEAL, i == 0 ? a->highest : i,
             a->key[i] == -1 ? LL_DKIM_FAULT_KEYS_MANY : LL_DKIM_FAULT_NO_KEY);
}

static void begin(struct ll_arc *a, int64_t now)
{
    const struct ll_dkim_field *f = &a->letter->field[a->set[a->highest].ams];
    enum ll_dkim_fault fault = ll_dkim_sig_parse(LL_DKIM_AMS, f->raw, f->body, &a->ams);

    a->ams.field = (uint32_t)a->set[a->highest].ams;
    a->result.from_signed = ll_dkim_list_has(a->ams.h, "from");
    if (fault == LL_DKIM_FAULT_OK && a->ams.x >= 0 && a->ams.x < now)
        fault = LL_DKIM_FAULT_EXPIRED;
    if (fault == LL_DKIM_FAULT_OK &&
        !ll_dkim_letter_want(a->letter, a->ams.body, a->ams.partial, a->ams.length))
        fault = LL_DKIM_FAULT_RESOURCE;
    if (fault != LL_DKIM_FAULT_OK) {
        fail(a, LL_ARC_FAULT_MESSAGE, a->highest, fault);
        return;
    }
    want_key(a, 0, &a->ams);
    for (unsigned i = 1; i <= a->highest && a->result.code != LL_ARC_FAIL; i++)
        want_key(a, i, &a->seal[i]);
}

struct ll_arc *ll_arc_new(struct ll_dkim_letter *letter, int64_t now)
{
    struct ll_arc *a;

    if (!letter->ready)
        return NULL;
    a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->letter = letter;
    a->ring.keys = letter->keys;
    for (unsigned i = 0; i < LL_COUNT(a->set); i++)
        a->set[i] = (struct ll_arc_set){-1, -1, -1};
    for (size_t i = 0; i < letter->fields; i++)
        collect(a, i);
    check_structure(a);
    a->result.sets = a->highest;
    if (a->highest > 0 && a->set[a->highest].seal >= 0) {
        a->result.domain = ll_dns_name_slice(&a->seal[a->highest].domain);
        a->result.selector = ll_dns_name_slice(&a->seal[a->highest].selector);
        a->result.algorithm = a->seal[a->highest].a;
    }
    if (a->highest > 0 && a->set[a->highest].aar >= 0)
        aar_instance(letter->field[a->set[a->highest].aar].body, &a->result.results);
    if (a->result.code == LL_ARC_PASS) {
        begin(a, now);
        if (a->result.code == LL_ARC_PASS)
            a->result.fault = LL_ARC_FAULT_WAITS;
    }
    return a;
}

void ll_arc_free(struct ll_arc *a)
{
    if (!a)
        return;
    ll_dkim_ring_release(&a->ring);
    free(a);
}

bool ll_arc_need(struct ll_arc *a, struct ll_need *ret)
{
    if (a->result.fault != LL_ARC_FAULT_WAITS || !ll_dkim_ring_need(&a->ring, ret))
        return false;
    a->letter->work.lookups++;
    return true;
}

void ll_arc_answer(struct ll_arc *a, const struct ll_need_answer *answer)
{
    ll_dkim_ring_answer(&a->ring, answer);
}

/* ---- verifying ----------------------------------------------------------------------------------
 */

static void count(struct ll_dkim_letter *l, uint64_t octets)
{
    l->work.header_hashes++;
    l->work.key_operations++;
    l->work.octets += octets;
}

static enum ll_dkim_fault verify_fields(struct ll_arc *a, enum ll_dkim_canon canon)
{
    struct ll_dkim_letter *l = a->letter;
    uint8_t hash[LL_DKIM_HASH];

    ll_buf_clear(&l->text);
    ll_dkim_letter_fields(l, canon, a->ams.h, a->ams.field, &l->text);
    ll_dkim_canon_own(canon, a->ams.raw, a->ams.b_raw, &l->text);
    if (l->text.failed || !ll_dkim_sha256(ll_buf_slice(&l->text), hash))
        return LL_DKIM_FAULT_RESOURCE;
    count(l, l->text.n);
    return ll_dkim_verify_hash(a->ring.v[a->key[0]].key, &a->ams, hash);
}

/* Step 4: the newest message signature. Without c= it is simple/simple (RFC 6376 3.5), but there
 * are sealers that leave c= out and mean relaxed: either proves as much. */
static enum ll_dkim_fault verify_message(struct ll_arc *a)
{
    enum ll_dkim_fault fault = ll_dkim_ring_fits(&a->ring.v[a->key[0]], &a->ams);

    if (fault == LL_DKIM_FAULT_OK)
        fault = a->letter->fault;
    if (fault == LL_DKIM_FAULT_OK)
        fault = ll_dkim_letter_body(a->letter, &a->ams);
    if (fault == LL_DKIM_FAULT_OK)
        fault = verify_fields(a, a->ams.header);
    if (fault == LL_DKIM_FAULT_SIGNATURE && !a->ams.canon_said)
        fault = verify_fields(a, LL_DKIM_RELAXED);
    return fault;
}

static bool put(EVP_MD_CTX *md, struct ll_buf *text)
{
    return !text->failed && EVP_DigestUpdate(md, text->p, text->n);
}

/* One seal. `all` holds the hash of all sets below, and of this one afterwards: so that the work
 * for a chain grows as its length, not as its square. */
static enum ll_dkim_fault verify_seal(struct ll_arc *a, unsigned i, EVP_MD_CTX *all)
{
    const struct ll_dkim_ring_key *key = &a->ring.v[a->key[i]];
    const struct ll_dkim_field *field = a->letter->field;
    struct ll_buf *text = &a->letter->text;
    enum ll_dkim_fault fault = ll_dkim_ring_fits(key, &a->seal[i]);
    EVP_MD_CTX *own = EVP_MD_CTX_new();
    uint8_t hash[LL_DKIM_HASH];
    bool ok;

    ll_buf_clear(text);
    ll_dkim_canon_field(LL_DKIM_RELAXED, field[a->set[i].aar].raw, text);
    ll_dkim_canon_field(LL_DKIM_RELAXED, field[a->set[i].ams].raw, text);
    ok = own && put(all, text) && EVP_MD_CTX_copy_ex(own, all);
    ll_buf_clear(text);
    ll_dkim_canon_own(LL_DKIM_RELAXED, a->seal[i].raw, a->seal[i].b_raw, text);
    ok = ok && put(own, text) && EVP_DigestFinal_ex(own, hash, NULL);
    count(a->letter, text->n);
    ll_buf_clear(text);
    ll_dkim_canon_field(LL_DKIM_RELAXED, a->seal[i].raw, text);
    ok = ok && put(all, text);
    EVP_MD_CTX_free(own);
    if (!ok)
        return LL_DKIM_FAULT_RESOURCE;
    return fault != LL_DKIM_FAULT_OK ? fault : ll_dkim_verify_hash(key->key, &a->seal[i], hash);
}

/* Step 6. */
static void verify_seals(struct ll_arc *a)
{
    EVP_MD_CTX *all = EVP_MD_CTX_new();

    if (!all || !EVP_DigestInit_ex(all, EVP_sha256(), NULL))
        fail(a, LL_ARC_FAULT_RESOURCE, 0, LL_DKIM_FAULT_RESOURCE);
    for (unsigned i = 1; i <= a->highest && a->result.code != LL_ARC_FAIL; i++) {
        enum ll_dkim_fault fault = verify_seal(a, i, all);

        if (fault != LL_DKIM_FAULT_OK)
            fail(a, LL_ARC_FAULT_SEAL, i, fault);
    }
    EVP_MD_CTX_free(all);
}

bool ll_arc_done(struct ll_arc *a)
{
    enum ll_dkim_fault fault;

    if (a->result.fault != LL_ARC_FAULT_WAITS)
        return true;
    if (!a->letter->ended || !ll_dkim_ring_complete(&a->ring))
        return false;
    a->result.fault = LL_ARC_FAULT_OK;
    fault = verify_message(a);
    if (fault != LL_DKIM_FAULT_OK)
        fail(a, LL_ARC_FAULT_MESSAGE, a->highest, fault);
    else
        verify_seals(a);
    return true;
}

const struct ll_arc_result *ll_arc_result(const struct ll_arc *a)
{
    return &a->result;
}
