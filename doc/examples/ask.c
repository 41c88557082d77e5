/* See ask.h. */
#include "ask.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <resolv.h>
#include <stdlib.h>

static struct __res_state state;

bool ask_server(const char *address)
{
    const char *colon = address ? strrchr(address, ':') : NULL;
    struct sockaddr_in *server = &state.nsaddr_list[0];
    char host[64];

    if (res_ninit(&state) != 0)
        return false;
    state.retrans = 2; /* seconds before a question is asked again */
    state.retry = 2;
    if (!address)
        return true;
    if (!colon || (size_t)(colon - address) >= sizeof(host))
        return false;
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    *server = (struct sockaddr_in){.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10))};
    state.nscount = 1;
    return inet_pton(AF_INET, host, &server->sin_addr) == 1;
}

void ask(const struct ll_need *need, struct ll_arena *arena, struct ll_dns_answer *ret)
{
    static unsigned char packet[65536];
    int n =
        res_nquery(&state, need->dns.name.text, ns_c_in, need->dns.type, packet, sizeof(packet));
    struct ll_slice whole;

    *ret = (struct ll_dns_answer){.status = LL_DNS_STATUS_SERVFAIL, .type = need->dns.type};
    if (n < 0 && state.res_h_errno == HOST_NOT_FOUND)
        ret->status = LL_DNS_STATUS_NXDOMAIN;
    else if (n < 0 && state.res_h_errno == NO_DATA)
        ret->status = LL_DNS_STATUS_NODATA;
    if (n < 0)
        return;
    whole = ll_arena_dup(arena, ll_slice(packet, (size_t)n));
    if (!whole.p || !ll_dns_packet(whole, &need->dns.name, need->dns.type, arena, ret))
        *ret = (struct ll_dns_answer){.status = LL_DNS_STATUS_SERVFAIL, .type = need->dns.type};
}
