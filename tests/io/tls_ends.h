/* Two ends of a TLS connection over a socket pair, for tests. */
#ifndef LL_TESTS_TLS_ENDS_H
#define LL_TESTS_TLS_ENDS_H

#include "tests/io/tls_keys.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/tls.h"

struct ends {
    int fd[2];
    struct ll_tls_conn *s, *c;
};

static inline struct ll_tls_cert *cert_of(struct pair *p)
{
    struct ll_buf err = LL_BUF(512);
    struct ll_tls_cert *c = ll_tls_cert_pem(ll_buf_slice(&p->cert), ll_buf_slice(&p->key), &err);
    if (!c)
        fail_msg("%s", ll_buf_str(&err));
    return c;
}

static inline struct ll_tls_trust *trust_of(struct pair *p)
{
    struct ll_buf err = LL_BUF(512);
    struct ll_tls_trust *t = ll_tls_trust_parse(ll_buf_slice(&p->cert), &err);
    if (!t)
        fail_msg("%s", ll_buf_str(&err));
    return t;
}

static inline struct ll_tls_client *client_of(struct ll_tls_client_opts o)
{
    struct ll_buf err = LL_BUF(512);
    struct ll_tls_client *c = ll_tls_client_new(&o, &err);
    if (!c)
        fail_msg("%s", ll_buf_str(&err));
    return c;
}

static inline void set_certs(struct ll_tls_server *s, struct ll_tls_cert *a, struct ll_tls_cert *b)
{
    struct ll_tls_cert *certs[] = {a, b};
    struct ll_buf err = LL_BUF(512);
    if (ll_tls_server_certs(s, certs, b ? 2 : 1, &err) < 0)
        fail_msg("%s", ll_buf_str(&err));
}

static inline struct ends open_ends(struct ll_tls_server *s, struct ll_tls_client *c,
                                    const struct ll_tls_target *t)
{
    struct ends e;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, e.fd), 0);
    e.s = s ? ll_tls_accept(s, e.fd[0]) : NULL;
    e.c = c ? ll_tls_connect(c, e.fd[1], t) : NULL;
    assert_true(!s || e.s);
    assert_true(!c || e.c);
    return e;
}

static inline void close_ends(struct ends *e)
{
    ll_tls_free(e->s);
    ll_tls_free(e->c);
    close(e->fd[0]);
    close(e->fd[1]);
}

/* Both to the end of the handshake, or until one fails. The client then reads once, to take the
 * tickets in. */
static inline bool shake(struct ends *e)
{
    enum ll_tls_result s = LL_TLS_WANT_READ, c = LL_TLS_WANT_READ;
    uint8_t octet;
    size_t n;
    for (int i = 0; i < 30 && (s != LL_TLS_OK || c != LL_TLS_OK); i++) {
        if (c != LL_TLS_ERROR)
            c = ll_tls_handshake(e->c);
        if (s != LL_TLS_ERROR)
            s = ll_tls_handshake(e->s);
    }
    if (s != LL_TLS_OK || c != LL_TLS_OK)
        return false;
    return ll_tls_read(e->c, &octet, 1, &n) == LL_TLS_WANT_READ;
}

#endif
