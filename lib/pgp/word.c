/* See ring.h: what librnp says, as slices; user ids and addresses; where librnp writes. */
#include "lib/pgp/ring.h"

#include <stdlib.h>

#include "letterlock/addr.h"

static void lower(char *word)
{
    for (; *word; word++)
        *word = (char)ll_lower((uint8_t)*word);
}

struct ll_slice ll_pgp_word(struct ll_arena *arena, char *word)
{
    struct ll_slice copy = ll_slice(NULL, 0);

    if (word) {
        lower(word);
        copy = ll_arena_dup(arena, ll_slice_str(word));
        rnp_buffer_destroy(word);
    }
    return copy;
}

void ll_pgp_put_word(struct ll_buf *out, char *word)
{
    if (word) {
        lower(word);
        ll_buf_puts(out, word);
        rnp_buffer_destroy(word);
    }
}

void ll_pgp_put_algorithm(struct ll_buf *out, rnp_key_handle_t key)
{
    char *curve = NULL, *algorithm = NULL;
    uint32_t bits = 0;

    if (rnp_key_get_curve(key, &curve) == RNP_SUCCESS) {
        ll_pgp_put_word(out, curve);
        return;
    }
    if (rnp_key_get_alg(key, &algorithm) == RNP_SUCCESS)
        ll_pgp_put_word(out, algorithm);
    if (rnp_key_get_bits(key, &bits) == RNP_SUCCESS && bits)
        ll_buf_printf(out, "%u", (unsigned)bits);
}

struct ll_slice ll_pgp_fingerprint(struct ll_arena *arena, rnp_key_handle_t key)
{
    char *hex = NULL;

    rnp_key_get_fprint(key, &hex);
    return ll_pgp_word(arena, hex);
}

bool ll_pgp_user_id_address(struct ll_slice user_id, struct ll_buf *out)
{
    struct ll_slice address = ll_slice_trim(user_id);
    size_t open = ll_slice_find(address, '<');
    struct ll_mailbox m;

    if (open < address.n) {
        /* One pair, at the end: "a@b <c@d> <e@f>" speaks for nobody. */
        if (open != ll_slice_rfind(address, '<') || ll_slice_find(address, '>') != address.n - 1)
            return false;
        address = ll_slice_cut(address, open + 1, address.n - 1);
    }
    if (ll_mailbox_parse(address, true, &m) != LL_ADDR_OK || m.kind == LL_DOMAIN_NONE)
        return false;
    ll_buf_put_slice(out, ll_mailbox_text(&m));
    return !out->failed;
}

/* Adds the address of a user id that holds. */
static void add_address(rnp_uid_handle_t uid, struct ll_arena *arena, struct ll_signature *sig)
{
    struct ll_buf address = LL_BUF(LL_MAILBOX_MAX);
    uint32_t type = 0;
    bool valid = false;
    void *data = NULL;
    size_t n = 0;

    if (rnp_uid_get_type(uid, &type) == RNP_SUCCESS && type == RNP_USER_ID &&
        rnp_uid_is_valid(uid, &valid) == RNP_SUCCESS && valid &&
        rnp_uid_get_data(uid, &data, &n) == RNP_SUCCESS) {
        bool primary = false;

        rnp_uid_is_primary(uid, &primary);
        if (primary || !sig->name.n)
            sig->name = ll_arena_dup(arena, ll_slice(data, n));
        if (ll_pgp_user_id_address(ll_slice(data, n), &address))
            sig->address[sig->n_address++] = ll_arena_dup(arena, ll_buf_slice(&address));
        rnp_buffer_destroy(data);
    }
    ll_buf_release(&address);
}

void ll_pgp_names(rnp_key_handle_t primary, struct ll_arena *arena, struct ll_signature *sig)
{
    rnp_uid_handle_t uid = NULL;
    size_t n = 0;

    rnp_key_get_uid_count(primary, &n);
    n = n < LL_PGP_USER_IDS_MAX ? n : LL_PGP_USER_IDS_MAX;
    sig->address = ll_arena_alloc(arena, (n + 1) * sizeof(*sig->address));
    for (size_t i = 0; sig->address && i < n; i++)
        if (rnp_key_get_uid_handle_at(primary, i, &uid) == RNP_SUCCESS) {
            add_address(uid, arena, sig);
            rnp_uid_handle_destroy(uid);
        }
}

bool ll_pgp_secret_str(struct ll_slice secret, struct ll_buf *ret)
{
    ll_buf_init(ret, LL_PGP_PASSWORD_MAX + 1);
    if (ll_slice_find(secret, '\0') < secret.n || secret.n > LL_PGP_PASSWORD_MAX)
        return false;
    ll_buf_put_slice(ret, secret);
    ll_buf_putc(ret, 0);
    return !ret->failed;
}

/* ---- what librnp reads, and where it writes ---- */

static bool read_nothing(void *ctx, void *buf, size_t n, size_t *ret_n)
{
    *ret_n = 0;
    return true;
}

rnp_result_t ll_pgp_input(struct ll_slice octets, rnp_input_t *ret)
{
    if (octets.n == 0) /* librnp has no memory of that size */
        return rnp_input_from_callback(ret, read_nothing, NULL, NULL);
    return rnp_input_from_memory(ret, octets.p, octets.n, false);
}

static bool sink_write(void *ctx, const void *octets, size_t n)
{
    struct ll_pgp_sink *s = ctx;

    if (n > s->max - (s->buf->n - s->start)) {
        s->full = true;
        return false;
    }
    ll_buf_put(s->buf, octets, n);
    s->full = s->buf->failed;
    return !s->full;
}

rnp_result_t ll_pgp_sink_open(struct ll_pgp_sink *s, struct ll_buf *buf, size_t max)
{
    *s = (struct ll_pgp_sink){.buf = buf, .start = buf->n, .max = max};
    return rnp_output_to_callback(&s->output, sink_write, NULL, s);
}

enum ll_seal_error ll_pgp_sink_close(struct ll_pgp_sink *s, enum ll_seal_error error)
{
    if (s->output) {
        /* It holds some octets back until now. */
        if (!error && rnp_output_finish(s->output) != RNP_SUCCESS)
            error = LL_SEAL_RESOURCE;
        rnp_output_destroy(s->output);
        s->output = NULL;
    }
    if (s->full)
        error = LL_SEAL_TOO_LARGE;
    if (!error)
        return LL_SEAL_OK;
    if (s->buf->n > s->start)
        explicit_bzero(s->buf->p + s->start, s->buf->n - s->start);
    s->buf->n = s->start;
    s->buf->failed = false;
    return error;
}
