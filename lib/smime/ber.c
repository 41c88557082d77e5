/*
 * A look at a CMS object before libcrypto builds it in memory: how deep and how many its elements
 * are (tiny ones cost libcrypto a hundred times their octets), and what libcrypto does not tell:
 * the content's cipher, and the length of the mac, of which it would accept a single octet.
 *
 * BER, also of indefinite length, in one pass over the tags without recursion.
 */
#include "lib/smime/internal.h"

#define TAG_OCTETS   0x04
#define TAG_OID      0x06
#define TAG_SEQUENCE 0x30
#define CONSTRUCTED  0x20

struct open_element {
    uint8_t tag;
    bool indefinite;
    size_t end; /* where it ends, unless it is indefinite */
};

struct walk {
    struct ll_cursor c;
    struct open_element open[LL_SMIME_DEPTH_MAX];
    size_t level;
    size_t elements;
    struct ll_slice type, cipher; /* OIDs with tag and length */
    size_t mac_n;
};

/* A length (X.690 8.1.3). */
static size_t length(struct ll_cursor *c, bool *ret_indefinite)
{
    uint8_t first = ll_cur_u8(c);
    uint64_t n = first;

    *ret_indefinite = first == 0x80;
    if (first <= 0x80)
        return *ret_indefinite ? 0 : n;
    n = 0;
    if ((first & 0x7f) > 8)
        c->failed = true;
    for (unsigned i = first & 0x7f; i > 0 && !c->failed; i--)
        n = n << 8 | ll_cur_u8(c);
    return (size_t)n;
}

static uint8_t tag(struct ll_cursor *c)
{
    uint8_t first = ll_cur_u8(c);
    unsigned more = 0;

    if ((first & 0x1f) == 0x1f)
        while (!c->failed && (ll_cur_u8(c) & 0x80))
            if (++more == 4)
                c->failed = true;
    return first;
}

/*
 * Where things are: ContentInfo is level 0, its type and [0] level 1, the (Auth)EnvelopedData level
 * 2, its members level 3: the one SEQUENCE among them is the encrypted content, and an OCTET STRING
 * the mac; the algorithm lies at level 4, its OID at level 5.
 */
static void note(struct walk *w, uint8_t t, struct ll_slice whole, size_t content)
{
    if (t == TAG_OID && w->level == 1 && w->type.n == 0)
        w->type = whole;
    if (t == TAG_OID && w->level == 5 && w->open[3].tag == TAG_SEQUENCE &&
        w->open[4].tag == TAG_SEQUENCE && w->cipher.n == 0)
        w->cipher = whole;
    if (t == TAG_OCTETS && w->level == 3)
        w->mac_n = content;
}

/* One element's head; a primitive one is passed over. False: malformed or over a limit. */
static bool step(struct walk *w)
{
    size_t start = w->c.at, n;
    bool indefinite;
    uint8_t t = tag(&w->c);

    n = length(&w->c, &indefinite);
    if (w->c.failed || n > ll_cur_left(&w->c))
        return false;
    if (t == 0 && n == 0 && !indefinite) { /* end of contents */
        if (w->level == 0 || !w->open[w->level - 1].indefinite)
            return false;
        w->level--;
        return true;
    }
    if (w->level > 0 && !w->open[w->level - 1].indefinite &&
        n > w->open[w->level - 1].end - w->c.at)
        return false;
    if (!(t & CONSTRUCTED)) {
        if (indefinite)
            return false;
        ll_cur_bytes(&w->c, n);
        note(w, t, ll_slice_cut(w->c.in, start, w->c.at), n);
        return true;
    }
    if (w->level == LL_SMIME_DEPTH_MAX)
        return false;
    w->open[w->level++] = (struct open_element){t, indefinite, w->c.at + n};
    return true;
}

static int nid(struct ll_slice oid)
{
    const unsigned char *p = oid.p;
    ASN1_OBJECT *o = oid.n ? d2i_ASN1_OBJECT(NULL, &p, (long)oid.n) : NULL;
    int r = o ? OBJ_obj2nid(o) : NID_undef;

    ASN1_OBJECT_free(o);
    return r;
}

enum ll_seal_error ll_smime_outline(struct ll_slice der, struct ll_smime_outline *ret)
{
    struct walk w = {.c = ll_cursor(der)};

    if (der.n > LL_SMIME_CMS_MAX)
        return LL_SEAL_TOO_LARGE;
    do {
        if (++w.elements > LL_SMIME_ELEMENTS_MAX)
            return LL_SEAL_TOO_LARGE;
        if (!step(&w))
            return LL_SEAL_MALFORMED;
        while (w.level > 0 && !w.open[w.level - 1].indefinite &&
               w.c.at >= w.open[w.level - 1].end) {
            if (w.c.at > w.open[w.level - 1].end)
                return LL_SEAL_MALFORMED;
            w.level--;
        }
    } while (w.level > 0);
    if (!ll_cur_end(&w.c))
        return LL_SEAL_MALFORMED;
    ret->type = nid(w.type);
    ret->cipher = nid(w.cipher);
    ret->mac_n = w.mac_n;
    return ll_smime_failed(LL_SEAL_OK);
}

enum ll_seal_error ll_smime_parse(struct ll_slice der, struct ll_smime_outline *ret,
                                  CMS_ContentInfo **ret_cms)
{
    const unsigned char *p = der.p;
    enum ll_seal_error e = ll_smime_outline(der, ret);

    if (e != LL_SEAL_OK)
        return e;
    *ret_cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.n);
    return *ret_cms ? LL_SEAL_OK : ll_smime_failed(LL_SEAL_MALFORMED);
}
