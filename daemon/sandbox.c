/* See daemon/sandbox.h. */
#include "daemon/sandbox.h"

#include "io/log.h"

#include <errno.h>
#include <stdlib.h>

#define PORTS_MAX 4

/* What the paths of a role are made from. */
struct paths {
    struct ll_arena *arena;
    struct ll_sandbox_path *to;
    size_t n;
    size_t max;
};

static void add(struct paths *p, const char *path, enum ll_sandbox_access access)
{
    if (!path || !path[0] || p->n == p->max)
        return;
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->to[i].path, path) == 0 && p->to[i].access >= access)
            return;
    p->to[p->n++] = (struct ll_sandbox_path){path, access};
}

/* The folder of a file: editors and SQLite put new files beside the old one. */
static void add_folder_of(struct paths *p, const char *file, enum ll_sandbox_access access)
{
    const char *slash = file ? strrchr(file, '/') : NULL;

    if (slash && slash != file)
        add(p, ll_arena_str(p->arena, ll_slice(file, (size_t)(slash - file))), access);
}

static void no_paths(struct paths *p, const struct ll_conf *c) {}

static void keeper_paths(struct paths *p, const struct ll_conf *c)
{
    for (size_t i = 0; i < c->n_certificate; i++) {
        add_folder_of(p, c->certificate[i].cert, LL_ACCESS_READ);
        add_folder_of(p, c->certificate[i].key, LL_ACCESS_READ);
    }
    for (size_t i = 0; i < c->n_listener; i++)
        if (c->listener[i].client_ca[0])
            add_folder_of(p, c->listener[i].client_ca, LL_ACCESS_READ);
    add(p, c->state_dir, LL_ACCESS_READ); /* dkim/ may be made later */
}

static void auth_paths(struct paths *p, const struct ll_conf *c)
{
    add_folder_of(p, c->accounts, LL_ACCESS_WRITE);
    add_folder_of(p, c->aliases, LL_ACCESS_READ);
    add(p, "/etc", LL_ACCESS_READ); /* passwd and group: files that others replace */
}

static void dns_paths(struct paths *p, const struct ll_conf *c)
{
    add(p, "/etc/resolv.conf", LL_ACCESS_READ);
    add(p, "/etc/hosts", LL_ACCESS_READ);
    add(p, "/etc/unbound", LL_ACCESS_READ);
    add(p, "/var/lib/unbound", LL_ACCESS_READ);
    add_folder_of(p, c->trust_anchor, LL_ACCESS_READ);
}

static void queue_paths(struct paths *p, const struct ll_conf *c)
{
    add(p, c->spool_dir, LL_ACCESS_WRITE);
}

static void tally_paths(struct paths *p, const struct ll_conf *c)
{
    struct ll_buf path = LL_BUF(4096);

    ll_buf_printf(&path, "%s/reports", c->state_dir);
    if (!path.failed)
        add(p, ll_arena_str(p->arena, ll_buf_slice(&path)), LL_ACCESS_WRITE);
    ll_buf_release(&path);
}

static void local_paths(struct paths *p, const struct ll_conf *c)
{
    add(p, c->mail_dir, LL_ACCESS_WRITE);
}

static void relay_paths(struct paths *p, const struct ll_conf *c)
{
    add_folder_of(p, c->ca_file, LL_ACCESS_READ);
    for (size_t i = 0; i < c->n_route; i++) {
        add_folder_of(p, c->route[i].ca_file, LL_ACCESS_READ);
        add_folder_of(p, c->route[i].password_file, LL_ACCESS_READ);
    }
}

/* Libraries read these while they start. */
static const struct ll_sandbox_path system_paths[] = {
    {"/usr", LL_ACCESS_READ},           {"/lib", LL_ACCESS_READ},
    {"/lib64", LL_ACCESS_READ},         {"/etc/ssl", LL_ACCESS_READ},
    {"/etc/localtime", LL_ACCESS_READ}, {"/dev/null", LL_ACCESS_WRITE},
    {"/dev/urandom", LL_ACCESS_READ},
};

struct row {
    unsigned calls;                                        /* groups of ll_sandbox_calls */
    void (*paths)(struct paths *, const struct ll_conf *); /* NULL: no file at all */
    bool connect;                                          /* TCP to any port */
    bool dns_ports;                                        /* TCP to the ports of DNS */
    unsigned files;                                        /* descriptors */
    bool per_session;                                      /* and so many again a session */
};

#define STORE (LL_CALLS_OPEN | LL_CALLS_CHANGE | LL_CALLS_SETFL)

static const struct row rows[LL_ROLE_COUNT] = {
    [LL_ROLE_KEEPER] = {LL_CALLS_OPEN | LL_CALLS_SETFL, keeper_paths, false, false, 512, false},
    [LL_ROLE_AUTH] = {STORE, auth_paths, false, false, 512, false},
    [LL_ROLE_DNS] = {LL_CALLS_OPEN | LL_CALLS_CONNECT | LL_CALLS_SETFL, dns_paths, false, true,
                     8192, false},
    [LL_ROLE_QUEUE] = {STORE | LL_CALLS_MEMFD, queue_paths, false, false, 16384, false},
    [LL_ROLE_POST] = {LL_CALLS_FLUSH, no_paths, false, false, 512, false},
    [LL_ROLE_LOCAL] = {STORE, local_paths, false, false, 4096, false},
    [LL_ROLE_RELAY] = {LL_CALLS_OPEN | LL_CALLS_CONNECT | LL_CALLS_SETFL, relay_paths, true, false,
                       16384, false},
    [LL_ROLE_FRONT_MX] = {LL_CALLS_ACCEPT | LL_CALLS_FLUSH, no_paths, false, false, 1024, true},
    [LL_ROLE_FRONT_SUB] = {LL_CALLS_ACCEPT | LL_CALLS_FLUSH, no_paths, false, false, 1024, true},
    [LL_ROLE_CONTROL] = {LL_CALLS_ACCEPT, no_paths, false, false, 512, false},
    [LL_ROLE_TALLY] = {STORE | LL_CALLS_MEMFD, tally_paths, false, false, 512, false},
    [LL_ROLE_REPORT] = {LL_CALLS_MEMFD, NULL, false, false, 32, false},
};

size_t ll_sandbox_paths(const struct ll_conf *conf, enum ll_role role, struct ll_arena *arena,
                        struct ll_sandbox_path *ret, size_t max)
{
    struct paths p = {arena, ret, 0, max};

    if (rows[role].paths)
        rows[role].paths(&p, conf);
    return p.n;
}

/* Port of "ADDRESS:PORT" or "[ADDRESS]:PORT" where the resolver names one. */
static uint16_t resolver_port(const char *resolver)
{
    const char *colon = strrchr(resolver, ':');
    bool port = colon && (resolver[0] == '[' || strchr(resolver, ':') == colon);
    unsigned long n = port ? strtoul(colon + 1, NULL, 10) : 0;

    return n <= UINT16_MAX ? (uint16_t)n : 0;
}

int ll_sandbox_before_start(const struct ll_conf *conf, enum ll_role role,
                            struct ll_buf *ret_missing)
{
    const struct row *row = &rows[role];
    uint16_t ports[PORTS_MAX] = {53, 853, resolver_port(conf->resolver)};
    struct ll_sandbox_net net = {row->connect, ports, row->dns_ports ? (ports[2] ? 3 : 2) : 0};
    uint64_t files = row->files + (row->per_session ? 2 * (uint64_t)conf->sessions_max : 0);
    struct ll_sandbox_path *paths = calloc(LL_SANDBOX_PATHS_MAX, sizeof(*paths));
    struct ll_arena arena;
    size_t n = row->paths ? LL_COUNT(system_paths) : 0;
    int r;

    if (!paths)
        return -1;
    memcpy(paths, system_paths, n * sizeof(*paths));
    ll_arena_init(&arena, 64u << 20);
    n += ll_sandbox_paths(conf, role, &arena, paths + n, LL_SANDBOX_PATHS_MAX - n);
    r = ll_sandbox_limits(files);
    if (r == 0)
        r = ll_sandbox_files(paths, n, &net, ret_missing);
    if (r != 0)
        ll_log(LL_LOG_ERROR, "no-sandbox", LL_FS("part", "files"), LL_FS("why", strerror(errno)));
    ll_arena_release(&arena);
    free(paths);
    return r;
}

int ll_sandbox_after_start(const struct ll_conf *conf, enum ll_role role,
                           struct ll_buf *ret_missing)
{
    int r = ll_sandbox_calls(rows[role].calls, ret_missing);

    if (r != 0)
        ll_log(LL_LOG_ERROR, "no-sandbox", LL_FS("part", "calls"), LL_FS("why", strerror(errno)));
    return r;
}
