/*
 * send: what `letterlock send` knows, and how letters find their servers.
 */
#ifndef LL_TOOL_CLIENT_SEND_H
#define LL_TOOL_CLIENT_SEND_H

#include "letterlock/addr.h"
#include "tool/client/config.h"
#include "tool/client/local.h"
#include "tool/client/session.h"
#include "tool/tool.h"

#define LL_SEND_LETTER_MAX (256u << 20) /* octets read */
#define LL_SEND_PINS_MAX   8
#define LL_SEND_ARENA      ((size_t)64 << 20) /* octets of addresses and keys */

struct ll_sealing; /* tool/client/seal.h */
struct ll_compose_part;

/* One letter as it goes out: what is sealed goes once to those who see each other, and once to each
 * hidden recipient. */
struct ll_outgoing {
    struct ll_buf text; /* wire form */
    bool eightbit, smtputf8;
    struct ll_sent *rcpt; /* some of ll_send.rcpt */
    size_t n_rcpt;
};

struct ll_send {
    /* as settled: options count first */
    struct ll_config_from config_from;
    struct ll_config *config;
    const struct ll_account *account; /* NULL: none */
    bool direct;                      /* to MX, whatever the account says */
    /* as asked */
    const char *server, *user, *tls_word, *ca, *from_text;
    struct ll_password_from from_where;
    struct ll_resolver_from resolver;
    struct ll_words pins;
    int64_t mx_port;
    bool insecure, from_header, dry_run, json;
    /* what is composed; nothing of it: standard input is a ready letter */
    const char *subject;
    struct ll_words to, cc, bcc, attach, header;
    bool is_text, is_markdown;
    /* seals */
    const char *seal_word, *store, *find_ca;
    bool sign, no_sign, no_find, find_private;
    int64_t find_port;
    struct ll_password_from key_from;
    /* as sendmail(1): local text is mended as programs expect it, names may lack their domain */
    bool sendmail, dots;      /* dots: a line of one dot ends the letter */
    const char *full_name;    /* for a From that is missing; NULL: the user's */
    const char *notify, *ret; /* RFC 3461 NOTIFY and RET, or NULL */
    struct ll_buf envid;      /* xtext */
    struct ll_local *local;   /* the server on this machine instead of --server and MX */
    /* what follows */
    struct ll_slice host; /* with --server */
    uint16_t port;
    enum ll_smtpc_tls tls;
    struct ll_tls_client *client;
    uint8_t pin[LL_SEND_PINS_MAX][LL_TLS_PIN];
    size_t n_pin;
    struct ll_buf password;
    char own_name[256]; /* "" where this machine has none that is good for EHLO */
    /* the letter */
    struct ll_buf raw;  /* the text that a letter is composed of */
    struct ll_buf text; /* the letter as it was read or composed, in wire form */
    struct ll_mailbox from;
    struct ll_sent *rcpt;
    size_t n_rcpt;
    struct ll_sealing *sealing; /* NULL: it is neither sealed nor signed */
    struct ll_outgoing *out;
    size_t n_out;
    struct ll_arena arena;
};

/* Rows for an option table; s: struct ll_send. */
#define LL_COMPOSE_OPTS(s)                                                                         \
    {"to", 0, LL_OPT_LIST, &(s).to, "ADDR", "To: \"Name <address>\", or a list"},                  \
        {"cc", 0, LL_OPT_LIST, &(s).cc, "ADDR", "Cc"},                                             \
        {"bcc", 0, LL_OPT_LIST, &(s).bcc, "ADDR", "recipients that the others do not see"},        \
        {"subject", 's', LL_OPT_TEXT, &(s).subject, "TEXT", "Subject"},                            \
        {"header", 0, LL_OPT_LIST, &(s).header, "NAME: VALUE", "one more field"},                  \
        {"text", 0, LL_OPT_FLAG, &(s).is_text, NULL, "standard input is text, not a letter"},      \
        {"markdown", 0, LL_OPT_FLAG, &(s).is_markdown, NULL, "it is Markdown: HTML goes along"},   \
    {                                                                                              \
        "attach", 0, LL_OPT_LIST, &(s).attach, "FILE", "attach a file"                             \
    }

#define LL_SEAL_OPTS(s)                                                                            \
    {"seal", 0, LL_OPT_TEXT, &(s).seal_word, "HOW", "auto, smime, pgp or none"},                   \
        {"sign", 0, LL_OPT_FLAG, &(s).sign, NULL, "sign the letter"},                              \
        {"no-sign",    0,    LL_OPT_FLAG,                                                          \
         &(s).no_sign, NULL, "do not, though it is sealed or the account says so"},                \
        {"no-find", 0, LL_OPT_FLAG, &(s).no_find, NULL, "use the keys that are here, ask nobody"}, \
        {"find-ca", 0, LL_OPT_TEXT, &(s).find_ca, "FILE", "web servers are proven by these CAs"},  \
        {"find-private",    0,    LL_OPT_FLAG,                                                     \
         &(s).find_private, NULL, "ask web servers in private networks too"},                      \
        {"find-port", 0, LL_OPT_NUMBER, &(s).find_port, "N", "web servers listen there, not 443"}, \
        {"store", 0, LL_OPT_TEXT, &(s).store, "FILE", "keys (~/.local/share/letterlock/keys.db)"}, \
        {"key-password-file", 0,      LL_OPT_TEXT,                                                 \
         &(s).key_from.file,  "FILE", "password of the secret key"},                               \
    {                                                                                              \
        "key-password-command", 0, LL_OPT_TEXT, &(s).key_from.command, "CMD",                      \
            "the same, printed by CMD"                                                             \
    }

#define LL_SEND_OPTS(s)                                                                            \
    {"server",      0,                                                                             \
     LL_OPT_TEXT,   &(s).server,                                                                   \
     "HOST[:PORT]", "submission server (587; 465 is implicit TLS); else direct to MX"},            \
        {"user", 0, LL_OPT_TEXT, &(s).user, "NAME", "login at the server"},                        \
        {"password-file",      0,      LL_OPT_TEXT,                                                \
         &(s).from_where.file, "FILE", "password in the first line of FILE"},                      \
        {"password-command",      0,     LL_OPT_TEXT,                                              \
         &(s).from_where.command, "CMD", "password in the first line that CMD prints"},            \
        {"tls", 0, LL_OPT_TEXT, &(s).tls_word, "MODE", "opportunistic, forced or implicit"},       \
        {"ca", 0, LL_OPT_TEXT, &(s).ca, "FILE", "trust these certificates, not the system's"},     \
        {"pin", 0, LL_OPT_LIST, &(s).pins, "SHA256", "trust this public key"},                     \
    {                                                                                              \
        "insecure", 0, LL_OPT_FLAG, &(s).insecure, NULL, "TLS, but no look at the certificate"     \
    }

/* Reads the letter from stdin. 0 or a status. */
int ll_send_read(struct ll_send *);
/* Reads the settings, chooses the account (by --account, else --from, else the letter's From) and
 * fills in what no option says. 0 or a status. */
int ll_send_account(struct ll_send *);
/* What is asked about the server: address, TLS, login. 0 or a status. */
int ll_send_connection(struct ll_send *);
/* Finds sender and recipients (words, and with from_header its fields), and mends the header of
 * the letter that was read. 0 or a status. */
int ll_send_letter(struct ll_send *, const struct ll_words *);
/* Is the letter made of options and a text? Else standard input is a ready one. */
bool ll_send_composes(const struct ll_send *);
/* Makes the letter, or puts files to a ready one. words: the recipients that were named without an
 * option: without --to, --cc and --bcc they are To. 0 or a status. */
int ll_send_compose(struct ll_send *, const struct ll_words *words);
/* Signs and seals what was asked to be, and gives ll_send what goes out. 0 or a status; then
 * nothing may be sent. */
int ll_send_seal(struct ll_send *);
void ll_send_seal_release(struct ll_send *);
/* "pgp", "smime", or "none". */
const char *ll_send_seal_word(const struct ll_send *);
const char *ll_send_sign_word(const struct ll_send *);
/* Takes text (and leaves it empty) as what goes out to those recipients. 0 or a status. */
int ll_send_add(struct ll_send *, struct ll_buf *text, struct ll_sent *rcpt, size_t n_rcpt);
void ll_send_release(struct ll_send *);

/* Options of RFC 3461; `option` is how the user wrote it, for the sentence on what is wrong. They
 * count where the server offers DSN. 0 or EX_USAGE. */
int ll_send_notify(struct ll_send *, const char *option, const char *value);
int ll_send_return(struct ll_send *, const char *option, const char *value);
int ll_send_envid(struct ll_send *, const char *option, const char *value);

/* Carries the letter; each recipient's result is known then. 0, or a status where nothing could be
 * tried. */
int ll_send_all(struct ll_send *);
/* Says what ll_send_all would do. */
int ll_send_plan(struct ll_send *);

#endif
