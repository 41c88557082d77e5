/* See include/letterlock/pgp.h: keys into the ring and out of it. */
#include "lib/pgp/ring.h"

#include "lib/pgp/packet.h"

#include <stdlib.h>

/* The fingerprints in librnp's report: each is hexadecimal in quotes after this name. */
#define FINGERPRINT "fingerprint\":"

static bool next_fingerprint(struct ll_slice *json, struct ll_slice *ret)
{
    size_t at = ll_slice_search(*json, LL_LIT(FINGERPRINT));

    if (at == json->n)
        return false;
    *json = ll_slice_skip(*json, at + sizeof(FINGERPRINT) - 1);
    *json = ll_slice_skip(*json, ll_slice_find(*json, '"') + 1);
    return ll_slice_next(json, '"', ret);
}

static bool listed(const struct ll_slice *list, size_t n, struct ll_slice fingerprint)
{
    while (n--)
        if (ll_slice_caseeq(list[n], fingerprint))
            return true;
    return false;
}

/* The fingerprints of an import, each once. */
struct found {
    struct ll_slice *list;
    size_t n, room;
    struct ll_arena *arena;
};

static bool add(struct found *f, struct ll_slice fingerprint)
{
    if (f->n == f->room) {
        size_t room = f->room ? f->room * 2 : 8;
        struct ll_slice *list = ll_arena_alloc(f->arena, room * sizeof(*list));

        if (!list)
            return false;
        if (f->n)
            memcpy(list, f->list, f->n * sizeof(*list));
        f->list = list;
        f->room = room;
    }
    f->list[f->n++] = fingerprint;
    return fingerprint.p;
}

/* Adds the primary keys that a report names. */
static enum ll_seal_error read_report(struct ll_pgp *ring, const char *report, struct found *f)
{
    struct ll_slice json = ll_slice_str(report), fingerprint;
    rnp_key_handle_t key = NULL;

    while (next_fingerprint(&json, &fingerprint)) {
        bool primary = false, fits = true;

        if (ll_pgp_find(ring, fingerprint, &key))
            continue;
        rnp_key_is_primary(key, &primary);
        if (primary && !listed(f->list, f->n, fingerprint))
            fits = add(f, ll_pgp_fingerprint(f->arena, key));
        rnp_key_handle_destroy(key);
        if (!fits)
            return LL_SEAL_RESOURCE;
    }
    return LL_SEAL_OK;
}

/* One import of packets: keys, or signatures without a key, which are revocation certificates. */
static enum ll_seal_error import_packets(struct ll_pgp *ring, struct ll_slice packets,
                                         struct found *f)
{
    enum ll_seal_error error = LL_SEAL_OK;
    rnp_input_t input = NULL;
    char *report = NULL;
    struct ll_slice rest = packets;
    struct ll_pgp_packet first = {0};
    rnp_result_t code;
    uint32_t flags =
        RNP_LOAD_SAVE_PUBLIC_KEYS | RNP_LOAD_SAVE_SECRET_KEYS | RNP_LOAD_SAVE_PERMISSIVE;

    if (!ll_pgp_packet_next(&rest, &first))
        return LL_SEAL_OK;
    if (ll_pgp_input(packets, &input) != RNP_SUCCESS)
        return LL_SEAL_RESOURCE;
    if (first.tag == LL_PGP_TAG_SIGNATURE)
        code = rnp_import_signatures(ring->ffi, input, 0, &report);
    else
        code = rnp_import_keys(ring->ffi, input, flags, &report);
    if (code == RNP_SUCCESS)
        error = read_report(ring, report, f);
    rnp_input_destroy(input);
    rnp_buffer_destroy(report);
    return error;
}

/* All blocks of armor, or what is no armor as a whole. */
static enum ll_seal_error import_octets(struct ll_pgp *ring, struct ll_slice octets,
                                        struct found *f)
{
    struct ll_buf room = LL_BUF(octets.n);
    enum ll_seal_error error = LL_SEAL_OK;
    bool bad;

    if (octets.p[0] & 0x80)
        return import_packets(ring, octets, f);
    while (!error && ll_pgp_armor_next(&octets, &room, &bad))
        error = import_packets(ring, ll_buf_slice(&room), f);
    ll_buf_wipe(&room);
    return error;
}

/* GnuPG's keybox: read in a ring of its own, and taken over as packets. */
static enum ll_seal_error import_keybox(struct ll_pgp *ring, struct ll_slice octets, int64_t now,
                                        struct found *f)
{
    enum ll_seal_error error = LL_SEAL_OK;
    struct ll_pgp *box = ll_pgp_new();
    rnp_input_t input = NULL;
    rnp_output_t output = NULL;
    uint8_t *packets = NULL;
    size_t n = 0;

    if (!box)
        return LL_SEAL_RESOURCE;
    ll_pgp_begin(box, now);
    if (ll_pgp_input(octets, &input) == RNP_SUCCESS &&
        rnp_load_keys(box->ffi, "KBX", input, RNP_LOAD_SAVE_PUBLIC_KEYS) == RNP_SUCCESS &&
        rnp_output_to_memory(&output, LL_PGP_KEYS_ROOM) == RNP_SUCCESS &&
        rnp_save_keys(box->ffi, "GPG", output, RNP_LOAD_SAVE_PUBLIC_KEYS) == RNP_SUCCESS &&
        rnp_output_memory_get_buf(output, &packets, &n, false) == RNP_SUCCESS)
        error = import_packets(ring, ll_slice(packets, n), f);
    rnp_output_destroy(output);
    rnp_input_destroy(input);
    ll_pgp_end(box);
    ll_pgp_free(box);
    return error;
}

enum ll_seal_error ll_pgp_import(struct ll_pgp *ring, struct ll_slice octets, int64_t now,
                                 struct ll_arena *arena, struct ll_slice **ret_fingerprints,
                                 size_t *ret_n)
{
    struct found f = {.arena = arena};
    enum ll_seal_error error;

    if (octets.n == 0)
        return LL_SEAL_MALFORMED;
    if (octets.n > LL_PGP_KEYS_ROOM)
        return LL_SEAL_TOO_LARGE;
    ll_pgp_begin(ring, now);
    if (ll_slice_starts(ll_slice_skip(octets, 8), LL_LIT("KBXf")))
        error = import_keybox(ring, octets, now, &f);
    else
        error = import_octets(ring, octets, &f);
    ll_pgp_end(ring);
    if (!error && f.n == 0)
        error = ll_pgp_key_version(octets) > 4 ? LL_SEAL_UNSUPPORTED : LL_SEAL_MALFORMED;
    if (!error) {
        *ret_fingerprints = f.list;
        *ret_n = f.n;
    }
    return error;
}

/* ---- export ---- */

/* The whole user id that holds and has the address: librnp takes it as a C string. */
static char *user_id_of(rnp_key_handle_t key, struct ll_slice address)
{
    struct ll_buf want = LL_BUF(LL_PGP_USER_ID_MAX), have = LL_BUF(LL_PGP_USER_ID_MAX);
    char *found = NULL;
    size_t n = 0;

    if (ll_pgp_user_id_address(address, &want))
        rnp_key_get_uid_count(key, &n);
    for (size_t i = 0; !found && i < n && i < LL_PGP_USER_IDS_MAX; i++) {
        rnp_uid_handle_t uid = NULL;
        bool valid = false;
        char *text = NULL;

        if (rnp_key_get_uid_handle_at(key, i, &uid) != RNP_SUCCESS)
            continue;
        ll_buf_clear(&have);
        if (rnp_uid_is_valid(uid, &valid) == RNP_SUCCESS && valid &&
            rnp_key_get_uid_at(key, i, &text) == RNP_SUCCESS &&
            ll_pgp_user_id_address(ll_slice_str(text), &have) &&
            ll_slice_caseeq(ll_buf_slice(&have), ll_buf_slice(&want)))
            found = text;
        else
            rnp_buffer_destroy(text);
        rnp_uid_handle_destroy(uid);
    }
    ll_buf_release(&want);
    ll_buf_release(&have);
    return found;
}

static enum ll_seal_error export_minimal(rnp_key_handle_t key, struct ll_slice address,
                                         rnp_output_t output)
{
    char *user_id = user_id_of(key, address);
    rnp_result_t code;

    if (!user_id)
        return LL_SEAL_NO_KEY;
    code = rnp_key_export_autocrypt(key, NULL, user_id, output, 0);
    rnp_buffer_destroy(user_id);
    return code == RNP_SUCCESS ? LL_SEAL_OK : LL_SEAL_UNUSABLE_KEY;
}

static enum ll_seal_error export_form(rnp_key_handle_t key, enum ll_pgp_form form,
                                      struct ll_slice address, rnp_output_t output)
{
    uint32_t part = form == LL_PGP_SECRET ? RNP_KEY_EXPORT_SECRET : RNP_KEY_EXPORT_PUBLIC;
    bool secret = false;

    if (form == LL_PGP_MINIMAL)
        return export_minimal(key, address, output);
    if (form == LL_PGP_SECRET && (rnp_key_have_secret(key, &secret) != RNP_SUCCESS || !secret))
        return LL_SEAL_NO_KEY;
    return ll_pgp_error(rnp_key_export(key, output, part | RNP_KEY_EXPORT_SUBKEYS));
}

enum ll_seal_error ll_pgp_export(struct ll_pgp *ring, struct ll_slice fingerprint,
                                 enum ll_pgp_form form, bool armor, struct ll_slice address,
                                 struct ll_buf *out)
{
    const char *type = form == LL_PGP_SECRET ? "secret key" : "public key";
    rnp_output_t armored = NULL;
    rnp_key_handle_t key = NULL;
    struct ll_pgp_sink sink;
    enum ll_seal_error error = ll_pgp_find(ring, fingerprint, &key);

    if (error)
        return error;
    ll_pgp_begin(ring, 0);
    if (ll_pgp_sink_open(&sink, out, LL_PGP_KEYS_ROOM) != RNP_SUCCESS ||
        (armor && rnp_output_to_armor(sink.output, &armored, type) != RNP_SUCCESS))
        error = LL_SEAL_RESOURCE;
    if (!error)
        error = export_form(key, form, address, armor ? armored : sink.output);
    if (!error && armor && rnp_output_finish(armored) != RNP_SUCCESS)
        error = LL_SEAL_RESOURCE;
    rnp_output_destroy(armored);
    error = ll_pgp_sink_close(&sink, error);
    rnp_key_handle_destroy(key);
    ll_pgp_end(ring);
    return error;
}
