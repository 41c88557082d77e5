/* Every row of msgs.def: round trip, permissions, lengths one octet off, descriptors. The rows come
 * from the table, so a new message is tested the moment it is written. */
#include "daemon/msg.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#define R(role) (1u << LL_ROLE_##role)

struct row {
    enum ll_msg_type type;
    uint32_t from;
    uint32_t to;
    int fds;
    void (*fill)(struct ll_msg *);
    bool (*same)(const struct ll_msg *, const struct ll_msg *);
};

#define U8(x)  v->x = 0xf1;
#define U16(x) v->x = 0xf1f2;
#define U32(x) v->x = 0xf1f2f3f4;
#define U64(x) v->x = 0xf1f2f3f4f5f6f7f8;
#define STR(x) v->x = LL_LIT("a\0 string of " #x);
#define MSG(ID, id, from, to, fds, fields)                                                         \
    static void fill_##id(struct ll_msg *m)                                                        \
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

#define U8(x)  good = good && v->x == w->x;
#define U16(x) good = good && v->x == w->x;
#define U32(x) good = good && v->x == w->x;
#define U64(x) good = good && v->x == w->x;
#define STR(x) good = good && ll_slice_eq(v->x, w->x);
#define MSG(ID, id, from, to, fds, fields)                                                         \
    static bool same_##id(const struct ll_msg *a, const struct ll_msg *b)                          \
    {                                                                                              \
        const struct ll_m_##id *v = &a->id;                                                        \
        const struct ll_m_##id *w = &b->id;                                                        \
        bool good = true;                                                                          \
                                                                                                   \
        (void)v;                                                                                   \
        (void)w;                                                                                   \
        fields return good;                                                                        \
    }
#include "daemon/msgs.def"
#undef MSG

static const struct row rows[] = {
#define MSG(ID, id, from, to, fds, fields) {LL_MSG_##ID, from, to, fds, fill_##id, same_##id},
#include "daemon/msgs.def"
#undef MSG
};

/* Decodes with a descriptor or without; a refused frame must have closed it. */
static int decode(const struct row *r, struct ll_slice body, bool with_fd, enum ll_role from,
                  enum ll_role to, struct ll_msg *ret)
{
    int fd = with_fd ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
    struct ll_frame f = {(uint16_t)r->type, 99, body, fd};
    int result = ll_msg_decode(&f, from, to, ret);

    if (result != 0 && fd >= 0)
        assert_int_equal(fcntl(fd, F_GETFD), -1);
    if (result == 0 && fd >= 0)
        assert_int_equal(ret->fd, fd);
    if (result == 0 && fd >= 0)
        close(fd);
    return result;
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        const struct row *r = &rows[i];
        struct ll_buf b = LL_BUF(LL_IPC_FRAME_MAX);
        struct ll_msg m = {.type = r->type, .fd = -1};
        size_t n;

        r->fill(&m);
        ll_msg_encode(&m, &b);
        assert_false(b.failed);
        n = b.n;
        ll_buf_putc(&b, 0);
        for (unsigned from = 0; from < LL_ROLE_COUNT; from++)
            for (unsigned to = 0; to < LL_ROLE_COUNT; to++) {
                bool allowed = from != to && (r->from & (1u << from)) && (r->to & (1u << to));
                struct ll_msg got;

                assert_int_equal(ll_msg_allowed(r->type, from, to), allowed);
                if (decode(r, ll_slice(b.p, n), r->fds == 1, from, to, &got) != (allowed ? 0 : -1))
                    fail_msg("%s: %s to %s", ll_msg_name(r->type), ll_role_name(from),
                             ll_role_name(to));
                if (!allowed)
                    continue;
                assert_int_equal(got.id, 99);
                assert_true(r->same(&m, &got));
                assert_int_equal(decode(r, ll_slice(b.p, n), r->fds != 1, from, to, &got), -1);
                assert_int_equal(decode(r, ll_slice(b.p, n + 1), r->fds == 1, from, to, &got), -1);
                for (size_t k = 0; k < n; k++)
                    assert_int_equal(decode(r, ll_slice(b.p, k), r->fds == 1, from, to, &got), -1);
                assert_true(ll_msg_channel(from, to) && ll_msg_channel(to, from));
            }
        ll_buf_release(&b);
    }
}

static void test_unknown_types(void **state)
{
    struct ll_msg m;

    for (unsigned type = LL_MSG_COUNT; type < 70000; type += 61) {
        struct ll_frame f = {(uint16_t)type, 1, {NULL, 0}, -1};

        if (f.type > LL_MSG_NONE && f.type < LL_MSG_COUNT)
            continue;
        assert_int_equal(ll_msg_decode(&f, LL_ROLE_SUPER, LL_ROLE_QUEUE, &m), -1);
    }
    assert_string_equal(ll_msg_name(LL_MSG_COUNT), "unknown");
    assert_string_equal(ll_role_name(LL_ROLE_COUNT), "unknown");
}

/* Promises of the plan that are rows of the table: who is connected to whom. */
static void test_channels(void **state)
{
    assert_false(ll_msg_channel(LL_ROLE_FRONT_MX, LL_ROLE_FRONT_SUB));
    assert_false(ll_msg_channel(LL_ROLE_FRONT_MX, LL_ROLE_LOCAL));
    assert_false(ll_msg_channel(LL_ROLE_FRONT_SUB, LL_ROLE_POST));
    assert_false(ll_msg_channel(LL_ROLE_RELAY, LL_ROLE_AUTH));
    assert_false(ll_msg_channel(LL_ROLE_KEEPER, LL_ROLE_AUTH));
    assert_false(ll_msg_allowed(LL_MSG_LOGIN_ASK, LL_ROLE_FRONT_MX, LL_ROLE_AUTH));
    assert_false(ll_msg_channel(LL_ROLE_QUEUE, LL_ROLE_QUEUE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_unknown_types),
        cmocka_unit_test(test_channels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
