/*
 * ask-dns: runs the role dns with a configuration of its own, asks it and prints the answers, one
 * line each: "NAME TYPE status secure|insecure ttl canonical rdata-in-hex ...". For tests that
 * bring their own name server.
 *
 *   ask-dns RESOLVER TRUST-ANCHOR DELAY_MS [LOCAL-DATA ...] -- NAME TYPE-NUMBER ...
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/proc.h"
#include "letterlock/dns.h"

static size_t awaited;
static char **names;

static int on_answer_frame(void *arg, const struct ll_frame *f)
{
    struct event_base *base = arg;
    struct ll_dns_answer a;
    struct ll_arena arena;
    struct ll_msg m;

    ll_arena_init(&arena, 1 << 20);
    if (ll_msg_decode(f, LL_ROLE_DNS, LL_ROLE_CONTROL, &m) != 0 || m.type != LL_MSG_DNS_ANSWER ||
        !ll_dns_answer_decode(m.dns_answer.answer, &arena, &a)) {
        fprintf(stderr, "bad answer\n");
        exit(1);
    }
    printf("%s %s %s %s %u %.*s", names[m.id * 2], ll_dns_type_name(a.type),
           ll_dns_status_name(a.status), a.secure ? "secure" : "insecure", a.ttl,
           a.canonical.n ? (int)a.canonical.n : 1,
           a.canonical.n ? (const char *)a.canonical.p : "-");
    for (size_t i = 0; i < a.n_rdata; i++) {
        struct ll_buf hex = LL_BUF(1 << 17);

        ll_hex_encode(&hex, a.rdata[i]);
        printf(" %.*s", LL_FMT(ll_buf_slice(&hex)));
        ll_buf_release(&hex);
    }
    printf("\n");
    fflush(stdout);
    ll_arena_release(&arena);
    if (--awaited == 0)
        event_base_loopbreak(base);
    return 0;
}

static int on_ask_frame(void *arg, const struct ll_frame *f)
{
    struct ll_peer *peer = arg;
    struct ll_msg m;

    if (ll_msg_decode(f, LL_ROLE_CONTROL, LL_ROLE_DNS, &m) != 0)
        return -1;
    return ll_role_dns.on[m.type](peer, &m);
}

static void gone(void *arg, const char *why)
{
    fprintf(stderr, "channel: %s\n", why);
    exit(1);
}

static void ask_all(evutil_socket_t fd, short what, void *arg)
{
    struct ll_ipc *asker = arg;

    for (size_t i = 0; i < awaited; i++) {
        struct ll_msg m = {.type = LL_MSG_DNS_ASK, .id = i, .fd = -1};

        m.dns_ask.name = ll_slice_str(names[2 * i]);
        m.dns_ask.rtype = (uint16_t)strtol(names[2 * i + 1], NULL, 10);
        ll_msg_send(asker, &m);
    }
}

int main(int argc, char **argv)
{
    struct ll_proc proc = {.role = LL_ROLE_DNS, .base = event_base_new()};
    struct ll_peer peer = {.proc = &proc, .role = LL_ROLE_CONTROL};
    struct timeval delay = {0, 0};
    struct ll_conf conf = {.n_route = 0};
    struct ll_ipc *asker;
    int fd[2], i = 4;

    if (argc < 7 || ll_ipc_pair(fd) != 0)
        return 64;
    conf.resolver = argv[1];
    conf.trust_anchor = argv[2];
    delay.tv_sec = (int)strtol(argv[3], NULL, 10) / 1000;
    delay.tv_usec = (int)strtol(argv[3], NULL, 10) % 1000 * 1000;
    conf.local_data = argv + 4;
    while (i < argc && strcmp(argv[i], "--") != 0)
        i++;
    if (i >= argc)
        return 64;
    argv[i] = NULL;
    names = argv + i + 1;
    awaited = (size_t)(argc - i - 1) / 2;
    proc.conf = &conf;
    peer.ipc = ll_ipc_new(proc.base, fd[0], on_ask_frame, gone, &peer);
    asker = ll_ipc_new(proc.base, fd[1], on_answer_frame, gone, proc.base);
    if (!peer.ipc || !asker || ll_role_dns.start(&proc) != 0)
        return 1;
    event_base_once(proc.base, -1, EV_TIMEOUT, ask_all, asker, &delay);
    event_base_dispatch(proc.base);
    return 0;
}
