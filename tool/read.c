/* letterlock read: shows a letter, and says what is proven of it.
 *
 * Outside of the box: configuration, key store, passwords, the letter's octets. Within
 * (tool/read/): all that looks at them. */
#include "io/clock.h"
#include "letterlock/msg.h"
#include "tool/client/gnupg.h"
#include "tool/read/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct read {
    struct ll_read within;
    struct ll_config_from config_from;
    struct ll_config *config;
    const struct ll_account *account;
    const char *store_path;
    struct ll_words anchors;
    struct ll_password_from password;
    struct ll_keystore *store;
    int64_t number;
    bool newest, no_keep, list;
    int64_t columns;
};

/* ---- within the box -----------------------------------------------------------------------------
 */

static bool write_out(struct ll_buf *out)
{
    struct ll_slice s = ll_buf_slice(out);

    while (s.n > 0) {
        ssize_t n = write(STDOUT_FILENO, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s = ll_slice_skip(s, (size_t)n);
    }
    return true;
}

/* Keys that came along in the header verify this letter too, as what they are: found. */
static void meet(struct ll_read *r)
{
    struct ll_slice header, body, author;
    struct ll_autocrypt a;
    struct ll_slice *names;
    size_t n;

    ll_msg_split(r->letter, &header, &body);
    if (ll_autocrypt_letter(header, &r->arena, &author, &a) == LL_AUTOCRYPT_OK)
        ll_pgp_import(r->ring.pgp, a.keydata, r->ring.now, &r->arena, &names, &n);
}

static int unseal(struct ll_read *r)
{
    enum ll_mime_error why = LL_MIME_RESOURCE;
    enum ll_unseal_question q;
    struct ll_unseal_ask ask;

    r->engine = ll_unseal_new(r->letter);
    if (!r->engine)
        return ll_fail(EX_OSERR, "no memory");
    while ((q = ll_unseal_next(r->engine, &ask)) != LL_UNSEAL_DONE)
        ll_ring_answer(&r->ring, r->box, q, &ask, &r->arena, r->engine);
    r->found = ll_unseal_result(r->engine, &why);
    if (!r->found)
        return ll_fail(why == LL_MIME_RESOURCE ? EX_OSERR : EX_DATAERR,
                       "the letter cannot be shown: %s", ll_mime_error_text(why));
    for (size_t i = 0; i < r->found->n; i++)
        for (size_t k = 0; k < r->found->section[i].n_signatures; k++)
            ll_unseal_set_trust(r->engine, i, k,
                                ll_ring_trust(&r->ring, r->found->section[i].signature[k].method,
                                              r->found->section[i].signature[k].by,
                                              r->found->section[i].author));
    return 0;
}

/* A seal that stays closed, or a signature that does not fit, and none that proves the same text.
 */
static bool is_broken(const struct ll_unseal_section *s)
{
    bool broken = s->closed;

    for (size_t i = 0; i < s->n_signatures; i++) {
        if (s->signature[i].verdict == LL_UNSEAL_PROVEN && !s->closed)
            return false;
        broken = broken || s->signature[i].verdict == LL_UNSEAL_BROKEN;
    }
    return broken && s->place != LL_UNSEAL_FORWARDED;
}

static int tell(struct ll_read *r)
{
    struct ll_buf out = LL_BUF(LL_READ_OUT), warnings = LL_BUF(1u << 20);
    int status = 0;

    if (r->keep)
        ll_read_keep(r, &warnings);
    if (r->json)
        ll_read_json(r, ll_buf_slice(&warnings), &out);
    else
        ll_read_show(r, ll_buf_slice(&warnings), &out);
    for (size_t i = 0; i < r->found->n; i++)
        if (is_broken(&r->found->section[i]))
            status = EX_NOPERM;
    if (out.failed)
        status = ll_fail(EX_OSERR, "no memory to show the letter");
    else if (!write_out(&out))
        status = EX_IOERR;
    ll_buf_wipe(&out);
    ll_buf_release(&warnings);
    return r->status ? r->status : status;
}

/* A field that each letter has one of: more than two words with a colon between them. */
static bool is_letter(struct ll_slice letter)
{
    static const char *const names[] = {"From",     "To",         "Subject",      "Date",
                                        "Received", "Message-ID", "Content-Type", "MIME-Version"};
    struct ll_slice header, body;
    struct ll_msg_facts facts;
    struct ll_msg_field f;

    ll_msg_split(letter, &header, &body);
    for (size_t i = 0; ll_msg_facts(header, &facts) == LL_MSG_OK && i < LL_COUNT(names); i++)
        if (ll_msg_field_find(header, ll_slice_str(names[i]), &f))
            return true;
    return false;
}

static int show_one(void *data, struct ll_box *box)
{
    struct read *a = data;
    struct ll_read *r = &a->within;
    int status;

    r->box = box;
    ll_arena_init(&r->arena, LL_READ_ARENA);
    if (!ll_shelf_letter(&r->shelf, a->number, &r->letter, &status))
        return status;
    if (!is_letter(r->letter))
        return ll_fail(EX_DATAERR, "%s: not a letter: it has no header field", r->shelf.path);
    if (r->keep)
        meet(r);
    status = unseal(r);
    if (status == 0)
        status = tell(r);
    ll_unseal_free(r->engine);
    ll_arena_release(&r->arena);
    ll_ring_release(&r->ring);
    return status;
}

/* ---- the list ----------------------------------------------------------------------------------
 */

static void put_row(struct ll_read *r, struct ll_slice header, size_t number, struct ll_buf *out)
{
    static const char *const names[] = {"Date", "From", "Subject"};
    struct ll_buf value = LL_BUF(LL_READ_FIELD), line = LL_BUF(LL_READ_FIELD);
    struct ll_json json = LL_JSON(out);
    struct ll_msg_field f;

    if (r->json) {
        ll_json_open(&json, '{');
        ll_json_int(&json, "number", (int64_t)number);
    } else {
        ll_buf_printf(out, "%zu", number);
    }
    for (size_t i = 0; i < LL_COUNT(names); i++) {
        ll_buf_clear(&value);
        ll_buf_clear(&line);
        if (ll_msg_field_find(header, ll_slice_str(names[i]), &f))
            ll_charset_field(r->charset, f.body, &value);
        ll_clean(ll_buf_slice(&value), LL_CLEAN_LINE, &line);
        if (r->json)
            ll_json_str(&json, names[i], ll_buf_slice(&line));
        else
            ll_buf_printf(out, "\t%.*s", LL_FMT(ll_buf_slice(&line)));
    }
    if (r->json)
        ll_json_close(&json);
    ll_buf_putc(out, '\n');
    ll_buf_release(&value);
    ll_buf_release(&line);
}

static int show_list(void *data, struct ll_box *box)
{
    struct read *a = data;
    struct ll_read *r = &a->within;
    struct ll_buf head = LL_BUF(LL_SHELF_HEAD), wire = LL_BUF(2 * LL_SHELF_HEAD);
    struct ll_buf out = LL_BUF(LL_READ_OUT);
    size_t at = 0;

    while (ll_shelf_next(&r->shelf, &at, &head)) {
        struct ll_slice header, body, rest = ll_buf_slice(&head), line;

        ll_buf_clear(&wire);
        while (ll_slice_next(&rest, '\n', &line)) {
            ll_buf_put_slice(&wire, line.n > 0 && line.p[line.n - 1] == '\r'
                                        ? ll_slice_cut(line, 0, line.n - 1)
                                        : line);
            ll_buf_puts(&wire, "\r\n");
        }
        ll_msg_split(ll_buf_slice(&wire), &header, &body);
        put_row(r, header, at, &out);
    }
    write_out(&out);
    ll_buf_release(&head);
    ll_buf_release(&wire);
    ll_buf_release(&out);
    return 0;
}

/* ---- outside ------------------------------------------------------------------------------------
 */

/* PASSWORD: where the settings say, else from the terminal. 0: there is none. */
static bool give_password(struct read *a, struct ll_slice frame, struct ll_buf *answer)
{
    struct ll_password_from from = a->password;
    struct ll_buf password = LL_BUF(LL_PASSWORD_ROOM), name = LL_BUF(LL_READ_FIELD);
    struct ll_cursor c = ll_cursor(frame);
    struct ll_slice fingerprint, of;
    const struct ll_keystore_key *key;
    unsigned method = ll_cur_u8(&c);
    char *address;

    fingerprint = ll_cur_str16(&c);
    of = ll_cur_str16(&c);
    if (!ll_cur_end(&c))
        return false;
    ll_clean(of, LL_CLEAN_LINE, &name);
    key = ll_ring_key(&a->within.ring, (enum ll_seal_method)method, fingerprint);
    address = ll_slice_dup(key && key->n_address > 0 ? key->address[0] : LL_LIT(""));
    if (a->account && a->account->key_password && !from.file && !from.command)
        from = (struct ll_password_from){.keyring = {"service", "letterlock-key", "user", address}};
    if (!from.file && !from.command && !from.keyring[0])
        fprintf(stderr, "The letter is sealed to your key %.*s, which is locked.\n",
                LL_FMT(ll_buf_slice(&name)));
    ll_buf_room(&password, LL_PASSWORD_ROOM); /* never moved, so never left behind unwiped */
    ll_buf_room(answer, LL_PASSWORD_ROOM + 1);
    ll_buf_u8(answer, ll_password_get(&from, false, &password) == 0);
    if (answer->n == 1 && answer->p[0] == 1)
        ll_buf_put_slice(answer, ll_buf_slice(&password));
    free(address);
    ll_buf_wipe(&password);
    ll_buf_release(&name);
    return true;
}

/* SESSION: from a card. 0: none has it. */
static bool give_session_key(struct ll_slice frame, struct ll_buf *answer)
{
    struct ll_buf key = LL_BUF(LL_READ_SESSION_MAX);
    bool found = ll_gnupg_session_key(frame, &key) == LL_SEAL_OK;

    ll_buf_u8(answer, found);
    if (found)
        ll_buf_put_slice(answer, ll_buf_slice(&key));
    ll_buf_wipe(&key);
    return true;
}

static bool host(void *data, uint8_t type, struct ll_slice frame, struct ll_buf *answer)
{
    struct read *a = data;

    switch (type) {
    case LL_READ_PASSWORD:
        return give_password(a, frame, answer);
    case LL_READ_SESSION:
        return give_session_key(frame, answer);
    case LL_READ_KEY:
    case LL_READ_PEER:
        return ll_read_store(a->store, type, frame, a->within.ring.now);
    default:
        return false;
    }
}

static unsigned columns_of(const struct read *a)
{
    struct winsize w;
    int64_t n = a->columns;

    if (n == 0)
        n = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : LL_PAGE_WIDTH;
    return (unsigned)(n < LL_PAGE_WIDTH_MIN   ? LL_PAGE_WIDTH_MIN
                      : n > LL_PAGE_WIDTH_MAX ? LL_PAGE_WIDTH_MAX
                                              : n);
}

static int open_store(struct read *a)
{
    const char *path = a->store_path ? a->store_path : a->config->store;
    struct ll_buf own = LL_BUF(4096), err = LL_BUF(4096);
    int status = 0;

    if (!path && ll_keystore_path(&own))
        path = ll_buf_str(&own);
    if (path && ll_keystore_open(path, a->within.keep, &a->store, &err) != LL_KEYSTORE_OK)
        status = ll_fail_text(EX_UNAVAILABLE, &err);
    ll_buf_release(&own);
    ll_buf_release(&err);
    return status;
}

/* All that is needed, in memory. */
static int prepare(struct read *a, const char *path)
{
    struct ll_read *r = &a->within;
    int status = 0;
    size_t n = 0;

    a->config = ll_config_load(a->config_from.file, &status);
    if (!a->config)
        return status;
    a->account = ll_config_account(a->config, a->config_from.account, LL_LIT(""), &status);
    if (status != 0)
        return status;
    if (a->account && !a->password.file && !a->password.command) {
        a->password.file = a->account->key_password_file;
        a->password.command = a->account->key_password_command;
    }
    while (r->servers.n == 0 && a->config->trusted_server && a->config->trusted_server[n])
        n++;
    if (n > 0)
        r->servers = (struct ll_words){(const char **)a->config->trusted_server, n};
    r->width = columns_of(a);
    r->keep = !a->no_keep;
    r->charset = ll_charset_new();
    if (!r->charset)
        return ll_fail(EX_OSERR, "no memory");
    ll_charset_preload(r->charset);
    if (r->save)
        r->folder = open(r->save, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (r->save && r->folder < 0)
        return ll_fail(EX_CANTCREAT, "%s: %s; it must be a folder", r->save, strerror(errno));
    return ll_shelf_open(&r->shelf, path, a->number, &a->list);
}

static int run(struct read *a, const char *path)
{
    struct ll_read *r = &a->within;
    struct ll_box_rules rules = {NULL, NULL};
    int status = prepare(a, path);

    if (status == 0 && a->list) {
        rules.read = r->shelf.maildir ? path : NULL;
        return ll_box_run(&rules, show_list, a, host, a);
    }
    if (status == 0)
        status = open_store(a);
    if (status == 0)
        status = ll_ring_load(&r->ring, a->store, &a->anchors, ll_unix_s());
    rules.write = r->save;
    if (status == 0)
        status = ll_box_run(&rules, show_one, a, host, a);
    ll_ring_release(&r->ring);
    ll_keystore_close(a->store);
    return status;
}

int ll_cmd_read(int argc, char **argv)
{
    struct read a = {.within.folder = -1};
    const struct ll_opt opts[] = {
        {"save", 0, LL_OPT_TEXT, &a.within.save, "DIR", "save attachments there, under safe names"},
        {"newest", 0, LL_OPT_FLAG, &a.newest, NULL, "the newest letter of a mailbox"},
        {"trusted-server", 0, LL_OPT_LIST, &a.within.servers, "NAME",
         "believe what this server says of SPF, DKIM and DMARC"},
        {"anchor", 0, LL_OPT_LIST, &a.anchors, "FILE",
         "trust these authorities' certificates (PEM), this once"},
        {"store", 0, LL_OPT_TEXT, &a.store_path, "FILE", "keys and contacts"},
        {"key-password-file", 0, LL_OPT_TEXT, &a.password.file, "FILE",
         "the password of your keys is its first line"},
        {"key-password-command", 0, LL_OPT_TEXT, &a.password.command, "CMD",
         "... is the first line that it prints"},
        {"no-keep", 0, LL_OPT_FLAG, &a.no_keep, NULL,
         "put no keys that came with the letter into the store"},
        {"width", 0, LL_OPT_NUMBER, &a.columns, "N", "columns (the terminal's, else 80)"},
        LL_CONFIG_OPTS(a.config_from),
        LL_JSON_OPT(a.within.json),
    };
    const struct ll_usage usage = {
        "read [options] [FILE|-|MAILDIR|MBOX] [NUMBER]",
        "Shows a letter: opens its seal, checks its signatures, and says in plain words who is\n"
        "proven to have written what is shown, and what is not proven. Of a Maildir or an mbox "
        "with\n"
        "several letters: the list, or the letter of that number. Nothing is loaded from the\n"
        "network, and HTML is shown as text. The letter's own lines have a margin (\"| \").\n"
        "Exit status 0: shown; 65: not a letter; 77: its seal could not be opened, or its\n"
        "signature does not fit.",
        opts,
        LL_COUNT(opts),
        0,
        2};
    struct ll_words words;
    uint64_t number = 0;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    if (words.n == 2 &&
        (!ll_slice_u64(ll_slice_str(words.v[1]), &number) || number == 0 || number > LL_SHELF_MAX))
        return ll_fail(EX_USAGE, "%s: write the number of a letter, as in the list", words.v[1]);
    a.number = a.newest ? -1 : (int64_t)number;
    ll_box_keep_secrets();
    return run(&a, words.n > 0 ? words.v[0] : "-");
}
