/*
 * letterlock init: makes a working server.
 *
 * Nothing that exists is overwritten: each file is opened with O_EXCL, each folder must be new or
 * ours to use, and what was made is taken away again when a later step fails.
 */
#include "tool/init.h"

#include "daemon/roles.h"
#include "io/accounts.h"
#include "io/cert.h"
#include "io/clock.h"
#include "tool/dkim.h"
#include "tool/records.h"
#include "tool/tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CERT_DAYS                                                                                  \
    3650 /* self-signed: opportunistic TLS looks at no date, people should not have to */
#define MADE_MAX   64
#define UIDS_FROM  60706 /* a range that systemd's table of users leaves free: up to 61183 */
#define UIDS_STEP  16
#define UIDS_SLOTS 29
_Static_assert(LL_ROLE_COUNT <= UIDS_STEP, "each server has a slot for its roles");

struct made {
    char *path;
    bool folder;
};

struct init {
    /* what was asked */
    const char *domain_text, *dir, *user;
    struct ll_password_from password;
    int64_t port_base;
    bool has_port_base;
    /* what follows from it */
    struct ll_init_plan plan;
    struct ll_conf owners; /* only what ll_role_uid asks */
    char domain[LL_DOMAIN_MAX + 1];
    char hostname[LL_DOMAIN_MAX + 4];
    struct ll_mailbox account;
    char hash[LL_HASH_TEXT_MAX];
    struct made made[MADE_MAX];
    size_t n_made;
};

/* ---- making things --------------------------------------------------------------------------- */

static int cannot(const char *path)
{
    int status = errno == EACCES || errno == EPERM || errno == EROFS ? EX_NOPERM : EX_CANTCREAT;

    return ll_fail(status, "%s: %s", path, strerror(errno));
}

static int remember(struct init *in, const char *path, bool folder)
{
    if (in->n_made == MADE_MAX || !(in->made[in->n_made].path = strdup(path)))
        return ll_fail(EX_OSERR, "no memory");
    in->made[in->n_made++].folder = folder;
    return 0;
}

static void take_away(struct init *in)
{
    while (in->n_made > 0) {
        struct made *m = &in->made[--in->n_made];

        if (m->folder)
            rmdir(m->path);
        else
            unlink(m->path);
        free(m->path);
    }
}

/* Gives a descriptor to a role's user. Without root, all is ours. */
static int give(struct init *in, int fd, const char *path, enum ll_role role)
{
    uid_t uid;
    gid_t gid;

    if (geteuid() != 0 || role == LL_ROLE_TOOL)
        return 0;
    if (ll_role_uid(&in->owners, role, &uid, &gid) < 0)
        return ll_fail(EX_CONFIG, "there is no user for %s", ll_role_name(role));
    return fchown(fd, uid, gid) < 0 ? cannot(path) : 0;
}

static bool is_empty(int fd)
{
    DIR *d = fdopendir(dup(fd));
    struct dirent *e;
    bool empty = d != NULL;

    while (empty && (e = readdir(d)))
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (d)
        closedir(d);
    return empty;
}

/* A folder and its owner. One that is there is taken over when it is empty, and left as it is when
 * it holds something or is `shared`. */
static int make_folder(struct init *in, const char *path, unsigned mode, enum ll_role role,
                       bool shared)
{
    bool made = mkdir(path, 0700) == 0;
    int fd, status;

    if (!made && errno != EEXIST)
        return cannot(path);
    if (!made && shared)
        return 0;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return cannot(path);
    status = made ? remember(in, path, true) : 0;
    if (!made && !is_empty(fd)) {
        close(fd);
        return 0;
    }
    if (status == 0 && fchmod(fd, mode) < 0)
        status = cannot(path);
    if (status == 0)
        status = give(in, fd, path, role);
    close(fd);
    return status;
}

static int make_file(struct init *in, const char *path, unsigned mode, enum ll_role role,
                     struct ll_slice content)
{
    int status, fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return errno == EEXIST
                   ? ll_fail(EX_CANTCREAT, "%s is there already; nothing was changed", path)
                   : cannot(path);
    status = remember(in, path, false);
    if (status == 0 && write(fd, content.p, content.n) != (ssize_t)content.n)
        status = cannot(path);
    if (status == 0)
        status = give(in, fd, path, role);
    if (status == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
        status = cannot(path);
    close(fd);
    return status;
}

static char *join(const char *folder, const char *name)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* ---- the parts ------------------------------------------------------------------------------- */

static int make_certificate(struct init *in, const char *kind, enum ll_cert_key key)
{
    struct ll_slice names[4] = {ll_slice_str(in->hostname), LL_LIT("localhost"),
                                LL_LIT("127.0.0.1"), LL_LIT("::1")};
    struct ll_buf cert = LL_BUF(65536), secret = LL_BUF(65536), err = LL_BUF(1024);
    char name[LL_DOMAIN_MAX + 32], *path;
    int status = 0;

    ll_buf_room(&secret, 16384); /* never moved while it grows */
    if (ll_cert_make_self_signed(key, names, in->has_port_base ? LL_COUNT(names) : 1, CERT_DAYS,
                                 ll_unix_s(), &cert, &secret, &err) < 0)
        status = ll_fail_text(EX_SOFTWARE, &err);
    for (int part = 0; status == 0 && part < 2; part++) {
        snprintf(name, sizeof(name), "%s-%s.%s", in->hostname, kind, part == 0 ? "crt" : "key");
        path = join(in->plan.keys, name);
        status = !path ? ll_fail(EX_OSERR, "no memory")
                       : make_file(in, path, part == 0 ? 0644 : 0600, LL_ROLE_KEEPER,
                                   ll_buf_slice(part == 0 ? &cert : &secret));
        free(path);
    }
    ll_buf_release(&cert);
    ll_buf_wipe(&secret);
    ll_buf_release(&err);
    return status;
}

static const char aliases_text[] =
    "# Aliases: addresses that are known here and go elsewhere. `letterlock alias` edits this "
    "file.\n"
    "#\n"
    "#   name@domain: target, target, ...   (a line that begins with a blank continues)\n"
    "#   @domain: target                    (all addresses of the domain that nobody else has)\n"
    "#\n"
    "# postmaster@ and abuse@ of each domain arrive without an entry: see `postmaster` in\n"
    "# letterlock.conf.\n";

static int make_accounts(struct init *in)
{
    struct ll_buf err = LL_BUF(4096);
    struct ll_accounts *a = NULL;
    char *path = join(in->plan.auth, "accounts.db");
    int fd, status = 0;

    if (!path)
        return ll_fail(EX_OSERR, "no memory");
    if (ll_accounts_create(path, &err) != LL_ACCOUNTS_OK)
        status = ll_fail_text(EX_CANTCREAT, &err);
    else
        status = remember(in, path, false);
    if (status == 0 && in->user &&
        (ll_accounts_open(path, true, 0, &a, &err) != LL_ACCOUNTS_OK ||
         ll_accounts_add(a, ll_mailbox_text(&in->account), in->hash, ll_unix_s(), &err) !=
             LL_ACCOUNTS_OK))
        status = ll_fail_text(EX_CANTCREAT, &err);
    ll_accounts_close(a);
    if (status == 0) {
        fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        status = fd < 0 ? cannot(path) : give(in, fd, path, LL_ROLE_AUTH);
        if (fd >= 0)
            close(fd);
    }
    free(path);
    ll_buf_release(&err);
    if (status == 0 && (path = join(in->plan.auth, "aliases"))) {
        status = make_file(in, path, 0600, LL_ROLE_AUTH, ll_slice_str(aliases_text));
        free(path);
    }
    return status;
}

/* Keys that sign from now on: the records to publish are printed at the end. */
static int make_dkim(struct init *in)
{
    struct ll_conf conf = {.state_dir = in->plan.state};
    struct ll_dkim_entry entry[] = {{.algorithm = LL_DKIM_RSA}, {.algorithm = LL_DKIM_ED25519}};
    struct ll_dkim_table table = {.entry = entry, .n = LL_COUNT(entry)};
    struct ll_buf path = LL_BUF(4096), text = LL_BUF(65536), public[LL_COUNT(entry)];
    int status = 0;

    for (size_t i = 0; i < table.n; i++) {
        struct ll_buf pem = LL_BUF(16384), selector = LL_BUF(64);
        struct ll_dkim_entry *e = &entry[i];

        public[i] = LL_BUF(4096);
        ll_buf_clear(&path);
        ll_buf_room(&pem, 8192); /* never moved while it grows */
        e->from = ll_unix_s();
        ll_dkim_selector(e->algorithm, e->from, &selector);
        if (status == 0 && (!ll_dns_name_parse(ll_slice_str(in->domain), &e->domain) ||
                            !ll_dns_name_parse(ll_buf_slice(&selector), &e->selector) ||
                            !ll_dkim_key_path(&conf, e, &path) ||
                            !ll_dkim_generate(e->algorithm, &pem, &public[i])))
            status = ll_fail(EX_SOFTWARE, "OpenSSL could not make a DKIM key");
        e->public_key = ll_buf_slice(&public[i]);
        if (status == 0)
            status = make_file(in, ll_buf_str(&path), 0600, LL_ROLE_KEEPER, ll_buf_slice(&pem));
        ll_buf_wipe(&pem);
        ll_buf_release(&selector);
    }
    ll_buf_clear(&path);
    ll_dkim_table_path(&conf, &path);
    ll_dkim_table_put(&table, &text);
    if (status == 0)
        status = make_file(in, ll_buf_str(&path), 0644, LL_ROLE_KEEPER, ll_buf_slice(&text));
    for (size_t i = 0; i < table.n; i++)
        ll_buf_release(&public[i]);
    ll_buf_release(&path);
    ll_buf_release(&text);
    return status;
}

static int make_conf(struct init *in)
{
    struct ll_buf text = LL_BUF(65536);
    char *path = join(in->plan.etc, "letterlock.conf");
    uid_t uid;
    gid_t gid;
    int status;

    ll_init_text(&in->plan, &text);
    status = !path || text.failed ? ll_fail(EX_OSERR, "no memory")
                                  : make_file(in, path, 0640, LL_ROLE_TOOL, ll_buf_slice(&text));
    if (status == 0 && geteuid() == 0 && ll_role_uid(&in->owners, LL_ROLE_SUPER, &uid, &gid) == 0 &&
        chown(path, 0, gid) < 0)
        status = cannot(path);
    ll_buf_release(&text);
    free(path);
    return status;
}

static int make_all(struct init *in)
{
    const struct ll_init_plan *p = &in->plan;
    const struct {
        const char *path;
        unsigned mode;
        enum ll_role role;
        bool shared;
    } folders[] = {
        {p->etc, 0755, LL_ROLE_TOOL, true},     {p->state, 0711, LL_ROLE_SUPER, false},
        {p->keys, 0755, LL_ROLE_KEEPER, false}, {p->dkim, 0755, LL_ROLE_KEEPER, false},
        {p->auth, 0700, LL_ROLE_AUTH, false},   {p->spool, 0700, LL_ROLE_QUEUE, false},
        {p->run, 0755, LL_ROLE_SUPER, false},   {p->mail, 0700, LL_ROLE_LOCAL, false},
    };
    int status = 0;

    for (size_t i = 0; status == 0 && i < LL_COUNT(folders); i++)
        status =
            make_folder(in, folders[i].path, folders[i].mode, folders[i].role, folders[i].shared);
    if (status == 0)
        status = make_certificate(in, "ecdsa", LL_CERT_P256);
    if (status == 0)
        status = make_certificate(in, "rsa", LL_CERT_RSA2048);
    if (status == 0)
        status = make_dkim(in);
    if (status == 0)
        status = make_accounts(in);
    return status ? status : make_conf(in);
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* Has the machine the service users that a package makes? */
static bool service_users(void)
{
    return getpwnam("letterlock-super") && getpwnam("letterlock-queue") &&
           getpwnam("letterlock-front-mx");
}

/* A run of user numbers that nobody has, the same one for the same folder. 0: none. */
static uint32_t choose_uids(const char *dir)
{
    uint32_t first = ll_crc32c(0, dir, strlen(dir)) % UIDS_SLOTS;

    for (uint32_t i = 0; i < UIDS_SLOTS; i++) {
        uint32_t base = UIDS_FROM + (first + i) % UIDS_SLOTS * UIDS_STEP, k = 0;

        while (k < UIDS_STEP && !getpwuid(base + k))
            k++;
        if (k == UIDS_STEP)
            return base;
    }
    return 0;
}

/* Started by root, the roles run under users of their own, who must be able to get there. */
static int check_way(const char *dir)
{
    char *path = strdup(dir);
    struct stat st;
    int status = 0;

    for (char *slash = path ? strrchr(path, '/') : NULL; slash && slash != path && status == 0;
         slash = strrchr(path, '/')) {
        *slash = '\0';
        if (stat(path, &st) < 0)
            status = cannot(path);
        else if (!(st.st_mode & 01))
            status = ll_fail(EX_NOPERM,
                             "%s is closed to the service users (mode %03o): choose another folder "
                             "(chmod o+x opens the way), or run init without root",
                             path, (unsigned)st.st_mode & 0777);
    }
    free(path);
    return status;
}

static int check_new(const char *etc)
{
    char *path = join(etc, "letterlock.conf");
    int status = !path                     ? ll_fail(EX_OSERR, "no memory")
                 : access(path, F_OK) == 0 ? ll_fail(EX_CANTCREAT,
                                                     "%s is there already; nothing "
                                                     "was changed",
                                                     path)
                                           : 0;

    free(path);
    return status;
}

/* Is there IPv6 on this machine's loopback? */
static bool has_ipv6(void)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

static int check_words(struct init *in)
{
    struct ll_buf domain = LL_BUF(LL_DOMAIN_MAX);

    if (ll_domain_canonical(ll_slice_str(in->domain_text), true, &domain) != LL_ADDR_OK ||
        domain.failed || domain.n + 3 > 253)
        return ll_fail(EX_DATAERR, "\"%s\" is no domain name; write it like example.org",
                       in->domain_text);
    memcpy(in->domain, domain.p, domain.n);
    in->domain[domain.n] = '\0';
    ll_buf_release(&domain);
    snprintf(in->hostname, sizeof(in->hostname), "mx.%s", in->domain);
    if (in->port_base > 65535 - 587)
        return ll_fail(EX_USAGE, "--port-base: at most %d", 65535 - 587);
    if (!in->user)
        return in->password.file || in->password.from_stdin
                   ? ll_fail(EX_USAGE, "a password, but no --user")
                   : 0;
    if (!ll_account_name(ll_slice_str(in->user), &in->account) || in->account.indirect ||
        strcspn(in->account.text, "+") < in->account.local_n)
        return ll_fail(EX_DATAERR,
                       "\"%s\" is no mail address for an account; write it like "
                       "ann@%s",
                       in->user, in->domain);
    if (!ll_slice_eq(ll_mailbox_domain(&in->account), ll_slice_str(in->domain)))
        return ll_fail(EX_DATAERR, "the account must be at %s", in->domain);
    return 0;
}

static int get_hash(struct init *in)
{
    struct ll_buf password = LL_BUF(0);
    int status = ll_password_get(&in->password, true, &password);

    if (status == 0 && (password.n < LL_PASSWORD_MIN || password.n > LL_PASSWORD_MAX))
        status =
            ll_fail(EX_DATAERR, "a password has %d to %d octets", LL_PASSWORD_MIN, LL_PASSWORD_MAX);
    if (status == 0 && !ll_hash_make(ll_buf_slice(&password), in->hash))
        status = ll_fail(EX_OSERR, "no memory to hash the password");
    ll_buf_wipe(&password);
    return status;
}

/* Absolute, for a folder that need not exist yet. */
static char *absolute(const char *dir)
{
    char *cwd, *path = NULL;
    size_t n;

    if (dir[0] == '/') {
        path = strdup(dir);
    } else if ((cwd = getcwd(NULL, 0))) {
        path = join(cwd, dir);
        free(cwd);
    }
    for (n = path ? strlen(path) : 0; n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = '\0';
    return path;
}

static int make_plan(struct init *in)
{
    struct ll_init_plan *p = &in->plan;
    bool root = geteuid() == 0;
    char *dir = in->dir ? absolute(in->dir) : NULL;
    int status = 0;

    if (in->dir && !dir)
        return ll_fail(EX_OSERR, "no memory");
    p->domain = in->domain;
    p->hostname = in->hostname;
    p->postmaster = in->user ? in->account.text : "";
    p->in_dir = dir != NULL;
    p->port_base = in->has_port_base ? (unsigned)in->port_base : 0;
    p->loopback = in->has_port_base;
    p->ipv6 = has_ipv6();
    p->etc = dir ? dir : strdup("/etc/letterlock");
    p->state = dir ? join(dir, "lib") : strdup("/var/lib/letterlock");
    p->spool = dir ? join(dir, "spool") : strdup("/var/spool/letterlock");
    p->run = dir ? join(dir, "run") : strdup("/run/letterlock");
    p->mail = dir ? join(dir, "mail") : strdup("/var/mail/letterlock");
    p->keys = p->state ? join(p->state, "keys") : NULL;
    p->dkim = p->state ? join(p->state, "dkim") : NULL;
    p->auth = p->state ? join(p->state, "auth") : NULL;
    if (!p->etc || !p->spool || !p->run || !p->mail || !p->keys || !p->dkim || !p->auth)
        return ll_fail(EX_OSERR, "no memory");
    status = check_new(p->etc);
    if (status == 0 && root && dir)
        status = check_way(dir);
    if (status == 0 && root && !service_users()) {
        p->uid_base = choose_uids(p->etc);
        if (p->uid_base == 0)
            status = ll_fail(EX_UNAVAILABLE, "no run of free user numbers was found; make the "
                                             "service users first");
    }
    in->owners =
        (struct ll_conf){.users = (char *)(uintptr_t) "letterlock", .uid_base = p->uid_base};
    return status;
}

static void release(struct init *in)
{
    struct ll_init_plan *p = &in->plan;

    for (size_t i = 0; i < in->n_made; i++)
        free(in->made[i].path);
    free(p->etc);
    free(p->state);
    free(p->spool);
    free(p->run);
    free(p->mail);
    free(p->keys);
    free(p->dkim);
    free(p->auth);
    explicit_bzero(in->hash, sizeof(in->hash));
}

/* ---- the command ----------------------------------------------------------------------------- */

static int tell(struct init *in)
{
    struct ll_where where = {.dir = in->plan.in_dir ? in->plan.etc : NULL};
    struct ll_records records;
    int status = 0;
    struct ll_conf *conf = ll_where_conf(&where, &status); /* what we wrote must be right */

    if (!conf)
        return status;
    printf("; %s/letterlock.conf is made. Next:\n", in->plan.etc);
    if (!in->user)
        printf(";   letterlock user add you@%s%s%s\n", in->domain, where.dir ? " --dir " : "",
               where.dir ? where.dir : "");
    printf(";   letterlockd -c %s/letterlock.conf\n", in->plan.etc);
    puts(";\n; DNS records to publish (`letterlock dns` prints them again):\n");
    if (ll_records_of(conf, &records)) {
        ll_records_print(&records, stdout);
        ll_records_release(&records);
    } else {
        status = ll_fail(EX_OSERR, "no memory");
    }
    ll_conf_free(conf);
    return status;
}

int ll_cmd_init(int argc, char **argv)
{
    struct init in = {.port_base = -1};
    const struct ll_opt opts[] = {
        {"dir", 0, LL_OPT_TEXT, &in.dir, "DIR", "put all of it below DIR; needs no root"},
        {"port-base", 0, LL_OPT_NUMBER, &in.port_base, "N",
         "listen on loopback alone, at N+25, N+465, N+587"},
        {"user", 0, LL_OPT_TEXT, &in.user, "ADDR", "make this account (and postmaster)"},
        {"password-file", 0, LL_OPT_TEXT, &in.password.file, "FILE",
         "its password, in the first line of FILE"},
        {"password-stdin", 0, LL_OPT_FLAG, &in.password.from_stdin, NULL,
         "its password, in the first line of stdin"},
    };
    const struct ll_usage usage = {
        "init [options] DOMAIN",
        "Makes a working server for the mail of DOMAIN: configuration, self-signed\n"
        "certificates for mx.DOMAIN, folders, the first account; prints the DNS records\n"
        "to publish. Never overwrites anything.",
        opts,
        LL_COUNT(opts),
        1,
        1};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    in.domain_text = words.v[0];
    in.has_port_base = in.port_base >= 0;
    status = check_words(&in);
    if (status == 0)
        status = make_plan(&in);
    if (status == 0 && in.user)
        status = get_hash(&in);
    umask(022);
    if (status == 0)
        status = make_all(&in);
    if (status == 0)
        status = tell(&in);
    if (status != 0)
        take_away(&in);
    release(&in);
    return status;
}
