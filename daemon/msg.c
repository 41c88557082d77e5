/* See daemon/msg.h. On the wire numbers are big-endian, STR is a 32-bit length and the octets. */
#include "daemon/msg.h"

#include <unistd.h>

#define R(role) (1u << LL_ROLE_##role)

struct row {
    const char *name;
    uint32_t from;
    uint32_t to;
    uint8_t fds;
    void (*encode)(const struct ll_msg *, struct ll_buf *);
    void (*decode)(struct ll_cursor *, struct ll_msg *);
};

/* The two halves of the codec, one function a row. */
#define U8(x)  ll_buf_u8(out, v->x);
#define U16(x) ll_buf_u16(out, v->x);
#define U32(x) ll_buf_u32(out, v->x);
#define U64(x) ll_buf_u64(out, v->x);
#define STR(x) ll_buf_str32(out, v->x);
#define MSG(ID, id, from, to, fds, fields)                                                         \
    static void encode_##id(const struct ll_msg *m, struct ll_buf *out)                            \
    {                                                                                              \
        const struct ll_m_##id *v = &m->id;                                                        \
                                                                                                   \
        (void)v;                                                                                   \
        fields                                                                                     \
    }
#include "daemon/msgs.def"
#undef MSG
#undef U8
#undef U16
#undef U32
#undef U64
#undef STR

#define U8(x)  v->x = ll_cur_u8(c);
#define U16(x) v->x = ll_cur_u16(c);
#define U32(x) v->x = ll_cur_u32(c);
#define U64(x) v->x = ll_cur_u64(c);
#define STR(x) v->x = ll_cur_str32(c);
#define MSG(ID, id, from, to, fds, fields)                                                         \
    static void decode_##id(struct ll_cursor *c, struct ll_msg *m)                                 \
    {                                                                                              \
        struct ll_m_##id *v = &m->id;                                                              \
                                                                                                   \
        (void)v;                                                                                   \
        fields                                                                                     \
    }
#include "daemon/msgs.def"
#undef MSG
#undef U8
#undef U16
#undef U32
#undef U64
#undef STR

static const struct row rows[LL_MSG_COUNT] = {
#define MSG(ID, id, from, to, fds, fields)                                                         \
    [LL_MSG_##ID] = {#ID, from, to, fds, encode_##id, decode_##id},
#include "daemon/msgs.def"
#undef MSG
};

const char *ll_msg_name(enum ll_msg_type type)
{
    return type > LL_MSG_NONE && type < LL_MSG_COUNT ? rows[type].name : "unknown";
}

bool ll_msg_allowed(enum ll_msg_type type, enum ll_role from, enum ll_role to)
{
    return type > LL_MSG_NONE && type < LL_MSG_COUNT && from < LL_ROLE_COUNT &&
           to < LL_ROLE_COUNT && from != to && (rows[type].from & (1u << from)) &&
           (rows[type].to & (1u << to));
}

bool ll_msg_channel(enum ll_role a, enum ll_role b)
{
    if (a == b)
        return false;
    for (unsigned t = LL_MSG_NONE + 1; t < LL_MSG_COUNT; t++)
        if (ll_msg_allowed((enum ll_msg_type)t, a, b) || ll_msg_allowed((enum ll_msg_type)t, b, a))
            return true;
    return false;
}

int ll_msg_decode(const struct ll_frame *f, enum ll_role from, enum ll_role to, struct ll_msg *ret)
{
    struct ll_cursor c = ll_cursor(f->body);
    struct ll_msg m = {.type = (enum ll_msg_type)f->type, .id = f->id, .fd = f->fd};

    if (ll_msg_allowed(m.type, from, to) && rows[m.type].fds == (f->fd >= 0 ? 1 : 0)) {
        rows[m.type].decode(&c, &m);
        if (ll_cur_end(&c)) {
            *ret = m;
            return 0;
        }
    }
    if (f->fd >= 0)
        close(f->fd);
    return -1;
}

void ll_msg_encode(const struct ll_msg *m, struct ll_buf *out)
{
    rows[m->type].encode(m, out);
}

int ll_msg_send(struct ll_ipc *ipc, const struct ll_msg *m)
{
    static _Thread_local uint8_t raw[LL_IPC_FRAME_MAX];
    struct ll_buf b = {raw, 0, sizeof(raw), sizeof(raw), false};
    int r = -1;

    ll_msg_encode(m, &b);
    if (!b.failed)
        r = ll_ipc_send(ipc, (uint16_t)m->type, m->id, ll_buf_slice(&b),
                        rows[m->type].fds ? m->fd : -1);
    if (b.n <= 4096) /* passwords travel in small messages */
        explicit_bzero(raw, b.n);
    return r;
}
