/* See tool/init.h. */
#include "tool/init.h"

static void listener(const struct ll_init_plan *p, struct ll_buf *out, const char *why,
                     const char *title, unsigned port, const char *kind, const char *tls)
{
    ll_buf_printf(out, "\n# %s\nlistener \"%s\" {\n    address = {\"%s:%u\"", why, title,
                  p->loopback ? "127.0.0.1" : "0.0.0.0", p->port_base + port);
    if (p->ipv6)
        ll_buf_printf(out, ", \"[%s]:%u\"", p->loopback ? "::1" : "::", p->port_base + port);
    ll_buf_printf(out, "}\n    kind = \"%s\"\n    tls = \"%s\"\n}\n", kind, tls);
}

static void certificate(const struct ll_init_plan *p, struct ll_buf *out, const char *kind)
{
    const char *keys = p->in_dir ? "lib/keys" : p->keys;

    ll_buf_printf(out,
                  "certificate \"%s\" {\n    cert = \"%s/%s-%s.crt\"\n    key = \"%s/%s-%s.key\"\n"
                  "}\n",
                  kind, keys, p->hostname, kind, keys, p->hostname, kind);
}

static void folders(const struct ll_init_plan *p, struct ll_buf *out)
{
    const char *auth = p->in_dir ? "lib/auth" : p->auth;

    ll_buf_printf(out,
                  "\n# Where things are%s. Each folder belongs to the one process that uses it.\n"
                  "state_dir = \"%s\"\n"
                  "spool_dir = \"%s\"\n"
                  "run_dir = \"%s\"\n"
                  "mail_dir = \"%s\"\n"
                  "accounts = \"%s/accounts.db\"\n"
                  "aliases = \"%s/aliases\"\n",
                  p->in_dir ? ", beside this file" : "", p->in_dir ? "lib" : p->state,
                  p->in_dir ? "spool" : p->spool, p->in_dir ? "run" : p->run,
                  p->in_dir ? "mail" : p->mail, auth, auth);
    if (p->uid_base != 0)
        ll_buf_printf(
            out,
            "\n# The processes run under users of their own. The users letterlock-queue,\n"
            "# letterlock-auth ... do not exist here: these bare numbers, from this one\n"
            "# on, stand in for them.\n"
            "uid_base = %u\n",
            p->uid_base);
}

void ll_init_text(const struct ll_init_plan *p, struct ll_buf *out)
{
    ll_buf_printf(
        out,
        "# The configuration of letterlockd for %s.\n"
        "# letterlock.conf(5) explains every setting; what is not here has its default.\n"
        "# After a change: `letterlock check`, then `letterlock reload`.\n"
        "\n# The server's own name: greeting, EHLO, Received, and the MX record.\n"
        "hostname = \"%s\"\n"
        "\n# The account that gets mail for postmaster@ and abuse@. Without it, the oldest\n"
        "# account of the domain does.\n",
        p->domain, p->hostname);
    if (p->postmaster[0])
        ll_buf_printf(out, "postmaster = \"%s\"\n", p->postmaster);
    else
        ll_buf_printf(out, "# postmaster = \"you@%s\"\n", p->domain);
    folders(p, out);
    if (p->loopback)
        ll_buf_puts(out,
                    "\n# This server was made with --port-base, to try things out: letters may "
                    "go to\n# servers on loopback and private addresses too.\n"
                    "private_targets = true\n");
    listener(p, out, "Other servers bring mail here.", "mx", 25, "mx", "starttls");
    listener(p, out, "People send mail here, with a login: TLS from the first octet ...",
             "submissions", 465, "submission", "implicit");
    listener(p, out, "... or after STARTTLS; no login without it.", "submission", 587, "submission",
             "starttls");
    ll_buf_puts(
        out, "\n# Shown by the listeners. Self-signed: enough for other servers, which look at "
             "names only\n# where DANE or MTA-STS tells them to. For mail programs, put a "
             "certificate of a public CA\n# here (its files may be renewed at any time: `reload` "
             "reads them again).\n");
    certificate(p, out, "ecdsa");
    certificate(p, out, "rsa");
    ll_buf_printf(out,
                  "\n# Mail for these domains is accepted and delivered here.\n"
                  "domain \"%s\" {\n}\n",
                  p->domain);
    ll_buf_puts(out,
                "\n# Everything else leaves by its MX records, with TLS where it is offered. A "
                "route changes\n# that, for one domain or (\"*\") for all:\n"
                "# route \"example.net\" {\n"
                "#     tls = \"verify\"      # never without TLS and a valid certificate\n"
                "# }\n");
}
