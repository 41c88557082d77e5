/* letterlock check: can letters leave as the routes say? */
#include "tool/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* 0, or the errno of binding to it. */
static int try_source(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    bool is4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;
    int fd, error = 0;

    if (!is4 && inet_pton(AF_INET6, text, &v6.sin6_addr) != 1)
        return EINVAL;
    fd = socket(is4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    if (bind(fd, is4 ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6,
             is4 ? sizeof(v4) : sizeof(v6)) != 0)
        error = errno;
    close(fd);
    return error;
}

/* where: "", or "route x: ". */
static void check_source(struct ll_check *c, const char *where, const char *text)
{
    int error = text[0] ? try_source(text) : 0;

    if (error)
        ll_check_say(c, LL_FINDING_FAULT, "route",
                     "%s%s cannot be a source address here: %s; nothing leaves that way", where,
                     text, strerror(error));
}

static void check_family(struct ll_check *c, const char *where, const char *prefer, const char *v4,
                         const char *v6)
{
    const char *useless = strcmp(prefer, "ipv4-only") == 0   ? v6
                          : strcmp(prefer, "ipv6-only") == 0 ? v4
                                                             : "";

    if (useless[0])
        ll_check_say(c, LL_FINDING_NOTE, "route",
                     "%sprefer = %s: the source address %s is not used", where, prefer, useless);
}

void ll_check_routes(struct ll_check *c)
{
    const struct ll_conf *conf = c->conf;

    check_source(c, "", conf->source_ipv4);
    check_source(c, "", conf->source_ipv6);
    check_family(c, "", conf->prefer, conf->source_ipv4, conf->source_ipv6);
    for (size_t i = 0; i < conf->n_route; i++) {
        const struct ll_conf_route *r = &conf->route[i];
        char where[300];

        snprintf(where, sizeof(where), "route %s: ", r->title);
        check_source(c, where, r->source_ipv4);
        check_source(c, where, r->source_ipv6);
        check_family(c, where, r->prefer, r->source_ipv4, r->source_ipv6);
    }
    for (size_t i = 0; i < conf->n_domain; i++)
        if (conf->domain[i].backup && !conf->domain[i].recipients[0])
            ll_check_say(c, LL_FINDING_NOTE, "domain",
                         "%s: no recipients are listed, so letters for it are put off while its "
                         "primary is away",
                         conf->domain[i].title);
}
