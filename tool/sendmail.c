/*
 * See tool/sendmail.h and sendmail(1). The options are Sendmail's, of thirty years: the table below
 * is the only list. What a letter needs is the work of `letterlock send` (tool/client/send.h).
 *
 * Where the letter goes: to the server on this machine (tool/client/local.h), or, where a settings
 * file or an option says `server`, to that one.
 */
#include "tool/sendmail.h"

#include "letterlock/smtp.h"
#include "tool/client/send.h"

#include <stdlib.h>
#include <unistd.h>

#define SETTINGS_SYSTEM "/etc/letterlock/sendmail.conf"
#define SETTINGS_USER   ".config/letterlock/sendmail.conf"
#define SETTINGS_MAX    65536 /* octets of such a file */

/* ---- options --------------------------------------------------------------------------------- */

enum mode { MODE_SEND, MODE_SMTP, MODE_QUEUE, MODE_ALIASES, MODE_NOTHING };

struct run {
    struct ll_send send;
    enum mode mode;
    bool quiet, verbose, ignore_dots;
    const char *socket, *conf;
    struct ll_words words;
};

/* What follows a letter. */
enum takes {
    NOTHING,  /* -t */
    VALUE,    /* -f ADDR, -fADDR */
    ATTACHED, /* -oi, -q30m: in the same word, or nothing */
};

static const struct letter {
    char letter;
    enum takes takes;
} letters[] = {
    {'t', NOTHING},  {'i', NOTHING}, {'f', VALUE},   {'r', VALUE},    {'F', VALUE},
    {'N', VALUE},    {'R', VALUE},   {'V', VALUE},   {'b', ATTACHED}, {'o', ATTACHED},
    {'q', ATTACHED}, {'v', NOTHING}, {'B', VALUE},   {'C', VALUE},    {'O', VALUE},
    {'h', VALUE},    {'L', VALUE},   {'p', VALUE},   {'A', ATTACHED}, {'e', ATTACHED},
    {'d', ATTACHED}, {'G', NOTHING}, {'U', NOTHING}, {'m', NOTHING},  {'n', NOTHING},
    {'E', NOTHING},
};

/* Modes of -b; of the others (-bd, -bt, -bv ...) this program is none. */
static const struct {
    char letter;
    enum mode mode;
} modes[] = {{'m', MODE_SEND}, {'s', MODE_SMTP}, {'p', MODE_QUEUE}, {'i', MODE_ALIASES}};

static int take_mode(struct run *r, const char *value)
{
    for (size_t i = 0; i < LL_COUNT(modes); i++)
        if (value[0] == modes[i].letter && value[1] == '\0') {
            r->mode = modes[i].mode;
            return 0;
        }
    return ll_fail(EX_USAGE,
                   "-b%s: not here; -bm sends, -bs speaks SMTP, -bp lists the queue, -bi "
                   "reads the aliases",
                   value);
}

/* -oX: of Sendmail's short options those that ask for nothing that is not done anyway. */
static int take_short(struct run *r, const char *value)
{
    switch (value[0]) {
    case 'i':
        r->ignore_dots = true;
        return 0;
    case 'e': /* errors go to stderr and into the exit status; q: into that alone */
        r->quiet = value[1] == 'q';
        return 0;
    case 'd': /* delivery mode: the queue has it, whatever was asked */
    case 'o': /* old-style address lists */
    case 'm': /* "me too" */
    case 'A':
    case 'T':
        return 0;
    default:
        return ll_fail(EX_USAGE, "-o%s: this option is not known", value);
    }
}

static int take(struct run *r, char letter, const char *value)
{
    switch (letter) {
    case 't':
        r->send.from_header = true;
        return 0;
    case 'i':
        r->ignore_dots = true;
        return 0;
    case 'f':
    case 'r':
        r->send.from_text = value;
        return 0;
    case 'F':
        r->send.full_name = value;
        return 0;
    case 'N':
        return ll_send_notify(&r->send, "-N", value);
    case 'R':
        return ll_send_return(&r->send, "-R", value);
    case 'V':
        return ll_send_envid(&r->send, "-V", value);
    case 'b':
        return take_mode(r, value);
    case 'o':
        return take_short(r, value);
    case 'q': /* the queue runs by itself */
        r->mode = r->mode == MODE_SEND ? MODE_NOTHING : r->mode;
        return 0;
    case 'v':
        r->verbose = true;
        return 0;
    case 'C':
        r->conf = value;
        return 0;
    case 'e':
        r->quiet = value[0] == 'q';
        return 0;
    default: /* harmless */
        return 0;
    }
}

/* The short options of one word. *at: the next word. */
static int take_letters(struct run *r, char **argv, int argc, int *at, const char *word)
{
    int status = 0;

    for (const char *p = word + 1; *p && status == 0; p++) {
        const struct letter *l = letters;
        const char *value = NULL;

        while (l < letters + LL_COUNT(letters) && l->letter != *p)
            l++;
        if (l == letters + LL_COUNT(letters))
            return ll_fail(EX_USAGE, "%s: this option is not known (see sendmail(1))", word);
        if (l->takes != NOTHING) {
            value = p + 1;
            p += strlen(p) - 1;
        }
        if (l->takes == VALUE && value[0] == '\0') {
            if (*at >= argc)
                return ll_fail(EX_USAGE, "%s needs a value", word);
            value = argv[(*at)++];
        }
        status = take(r, l->letter, value);
    }
    return status;
}

/* Long options are those of `letterlock send` that name a server, and --socket. `word` may be a
 * line of a settings file made into one. */
static int take_long(struct run *r, const char *where, const char *word, const char *next,
                     bool *ret_used)
{
    struct ll_opt opts[] = {
        LL_SEND_OPTS(r->send),
        {"socket", 0, LL_OPT_TEXT, &r->socket, "FILE", "the server's socket"},
        {"from", 0, LL_OPT_TEXT, &r->send.from_text, "ADDR", "envelope sender"},
    };
    const struct ll_usage usage = {"", NULL, opts, LL_COUNT(opts), 0, 0};
    char *argv[] = {(char *)"sendmail", (char *)word, (char *)next, NULL};
    struct ll_buf err = LL_BUF(1024);
    struct ll_words none;
    int status = 0;

    *ret_used = false;
    if (!ll_args_parse(&usage, 2, argv, &none, &err)) {
        ll_buf_clear(&err);
        *ret_used = next != NULL && !strchr(word, '=');
        if (!*ret_used || !ll_args_parse(&usage, 3, argv, &none, &err)) {
            if (err.n == 0)
                ll_args_parse(&usage, 2, argv, &none, &err);
            status = ll_fail(EX_USAGE, "%s%.*s", where, LL_FMT(ll_buf_slice(&err)));
        }
    }
    ll_buf_release(&err);
    return status;
}

static int take_words(struct run *r, int argc, char **argv)
{
    const char **words = calloc((size_t)argc + 1, sizeof(*words));
    bool options = true, used;
    int status = words ? 0 : ll_fail(EX_OSERR, "no memory");

    r->words.v = words;
    for (int at = 1; at < argc && status == 0;) {
        const char *word = argv[at++];

        if (options && strcmp(word, "--") == 0) {
            options = false;
        } else if (options && word[0] == '-' && word[1] == '-') {
            status = take_long(r, "", word, at < argc ? argv[at] : NULL, &used);
            at += used;
        } else if (options && word[0] == '-' && word[1]) {
            status = take_letters(r, argv, argc, &at, word);
        } else {
            words[r->words.n++] = word;
        }
    }
    return status;
}

/* ---- settings file --------------------------------------------------------------------------- */

/* "name = value", "name = "value"", "# ..." One setting becomes one long option. */
static int take_line(struct run *r, const char *path, unsigned number, struct ll_slice line)
{
    size_t eq = ll_slice_find(line, '=');
    struct ll_slice name = ll_slice_trim(ll_slice_cut(line, 0, eq));
    struct ll_slice value = ll_slice_trim(ll_slice_skip(line, eq + 1));
    struct ll_buf word = LL_BUF(SETTINGS_MAX), where = LL_BUF(4096 + 64);
    bool flag = ll_slice_eq(value, LL_LIT("yes")), used;
    int status;

    if (eq == line.n)
        return ll_fail(EX_CONFIG, "%s:%u: expected `name = value`", path, number);
    if (value.n > 1 && value.p[0] == '"' && value.p[value.n - 1] == '"')
        value = ll_slice_cut(value, 1, value.n - 1);
    ll_buf_puts(&word, "--");
    for (size_t i = 0; i < name.n; i++)
        ll_buf_putc(&word, name.p[i] == '_' ? '-' : name.p[i]);
    if (!flag)
        ll_buf_printf(&word, "=%.*s", LL_FMT(value));
    ll_buf_printf(&where, "%s:%u: ", path, number);
    /* The words live as long as the process, as those of the command line do. */
    status = word.failed || where.failed
                 ? ll_fail(EX_CONFIG, "%s:%u: too long", path, number)
                 : take_long(r, ll_buf_str(&where), strdup(ll_buf_str(&word)), NULL, &used);
    ll_buf_release(&word);
    ll_buf_release(&where);
    return status == EX_USAGE ? EX_CONFIG : status;
}

static int take_settings(struct run *r, const char *path)
{
    struct ll_buf text = LL_BUF(SETTINGS_MAX);
    struct ll_slice rest, line;
    unsigned number = 0;
    int status = ll_read_file(path, &text);

    rest = ll_buf_slice(&text);
    while (status == 0 && ll_slice_next(&rest, '\n', &line)) {
        line = ll_slice_trim(line);
        number++;
        if (line.n > 0 && line.p[0] != '#')
            status = take_line(r, path, number, line);
    }
    ll_buf_release(&text);
    return status;
}

/* The user's own file, else the machine's; neither need be there. */
static int find_settings(struct run *r)
{
    const char *home = getenv("HOME");
    char *path = NULL;
    int status = 0;

    if (home && home[0] == '/' && asprintf(&path, "%s/%s", home, SETTINGS_USER) < 0)
        return ll_fail(EX_OSERR, "no memory");
    if (path && access(path, F_OK) == 0)
        status = take_settings(r, path);
    else if (access(SETTINGS_SYSTEM, F_OK) == 0)
        status = take_settings(r, SETTINGS_SYSTEM);
    free(path);
    return status;
}

/* ---- the letter ------------------------------------------------------------------------------ */

/* What sysexits.h has for a recipient's end; 0: accepted. */
static int status_of(const struct ll_sent *r)
{
    if (r->outcome == LL_SMTPC_DELIVERED)
        return 0;
    if (r->outcome != LL_SMTPC_REFUSED)
        return EX_TEMPFAIL;
    if (r->phase == LL_SMTPC_AUTH || r->phase == LL_SMTPC_MAIL)
        return EX_NOPERM;
    if (r->phase == LL_SMTPC_RCPT && r->enhanced[1] == 1)
        return EX_NOUSER;
    return r->phase == LL_SMTPC_FINAL || r->phase == LL_SMTPC_LOCAL ? EX_DATAERR : EX_UNAVAILABLE;
}

/* Says what was not taken. The letter's status: a refusal of one counts more than a delay. */
static int report(const struct run *r)
{
    int status = 0;

    for (size_t i = 0; i < r->send.n_rcpt; i++) {
        const struct ll_sent *one = &r->send.rcpt[i];
        int s = status_of(one);

        if (s != 0 && (status == 0 || status == EX_TEMPFAIL))
            status = s;
        if (s != 0 && !r->quiet)
            ll_fail(0, "%.*s: %s: %u %u.%u.%u %s", LL_FMT(one->address),
                    s == EX_TEMPFAIL ? "not taken now, try again later" : "refused", one->code,
                    one->enhanced[0], one->enhanced[1], one->enhanced[2], one->text);
        else if (s == 0 && r->verbose)
            printf("%.*s: %u %s\n", LL_FMT(one->address), one->code, one->text);
    }
    return status;
}

static int send_letter(struct run *r)
{
    struct ll_local local = {.fd = -1};
    int status;

    r->send.sendmail = true;
    r->send.dots = !r->ignore_dots;
    if (r->send.server)
        status = ll_send_connection(&r->send);
    else
        status = ll_local_open(r->socket, &local);
    if (status == 0) {
        r->send.local = r->send.server ? NULL : &local;
        status = ll_send_read(&r->send);
    }
    if (status == 0)
        status = ll_send_letter(&r->send, &r->words);
    if (status == 0)
        status = ll_send_add(&r->send, &r->send.text, r->send.rcpt, r->send.n_rcpt);
    if (status == 0)
        status = ll_send_all(&r->send);
    if (status == 0)
        status = report(r);
    if (local.fd >= 0)
        ll_local_close(&local);
    return status;
}

/* ---- the program ----------------------------------------------------------------------------- */

static int run_command(struct run *r, ll_command_fn fn, const char *a, const char *b)
{
    char *argv[5] = {(char *)a, (char *)b};
    int argc = b ? 2 : 1;

    if (r->conf) {
        argv[argc++] = (char *)"-c";
        argv[argc++] = (char *)r->conf;
    }
    return fn(argc, argv);
}

static int speak_smtp(const struct run *r)
{
    if (!r->send.server)
        return ll_local_talk(r->socket);
    fputs("421 4.3.2 There is no mail server here to speak SMTP with\r\n", stdout);
    return ll_fail(EX_UNAVAILABLE, "-bs speaks with the server on this machine, not with %s",
                   r->send.server);
}

static const struct {
    const char *name;
    enum mode mode;
} names[] = {{"sendmail", MODE_SEND}, {"mailq", MODE_QUEUE}, {"newaliases", MODE_ALIASES}};

static size_t name_of(const char *argv0)
{
    const char *slash = strrchr(argv0, '/');
    size_t i = 0;

    while (i < LL_COUNT(names) && strcmp(names[i].name, slash ? slash + 1 : argv0) != 0)
        i++;
    return i;
}

int ll_is_sendmail(const char *argv0)
{
    return name_of(argv0) < LL_COUNT(names);
}

static void help(void)
{
    fputs(
        "usage: sendmail [-t] [-i] [-f ADDR] [-F NAME] [-N WHEN] [-R full|hdrs] [-V ID] [RCPT...]\n"
        "       sendmail -bs | -bp | -bi;  mailq;  newaliases\n\n"
        "Gives a letter to the mail server on this machine, or to the one that\n" SETTINGS_SYSTEM
        " or ~/" SETTINGS_USER " names. See sendmail(1).\n",
        stdout);
}

int ll_sendmail(int argc, char **argv)
{
    struct run r = {.send = {.text = LL_BUF(LL_SEND_LETTER_MAX + (LL_SEND_LETTER_MAX >> 2)),
                             .envid = LL_BUF(100)}, /* RFC 3461 4.4 */
                    .mode = names[name_of(argv[0])].mode,
                    .socket = LL_LOCAL_SOCKET};
    int status;

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "--version") == 0)) {
        if (strcmp(argv[1], "--help") == 0)
            help();
        else
            puts("letterlock sendmail");
        return 0;
    }
    ll_arena_init(&r.send.arena, LL_SEND_ARENA);
    status = find_settings(&r);
    if (status == 0)
        status = take_words(&r, argc, argv);
    if (status == 0) {
        switch (r.mode) {
        case MODE_SEND:
            status = send_letter(&r);
            break;
        case MODE_SMTP:
            status = speak_smtp(&r);
            break;
        case MODE_QUEUE:
            status = run_command(&r, ll_cmd_queue, "queue", "list");
            break;
        case MODE_ALIASES:
            status = run_command(&r, ll_cmd_alias, "alias", "reload");
            break;
        case MODE_NOTHING:
            break;
        }
    }
    free(r.words.v);
    ll_send_release(&r.send);
    return status;
}
