/* See io/aliases.h. */
#include "io/aliases.h"

#include "io/accounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ERRORS_MAX 20 /* sentences about one file */

struct entry {
    struct ll_slice name;
    struct ll_slice targets; /* each str16 */
    uint32_t hash;
};

struct ll_aliases {
    struct ll_arena arena;
    struct entry *entry;
    size_t n;
    size_t cap;
    uint32_t *slot; /* index + 1; the table is a power of two, at most half full */
    size_t slots;
};

/* ---- the text -------------------------------------------------------------------------------- */

struct scan {
    struct ll_slice text;
    size_t at;
    unsigned line; /* of text[at], from 1 */
};

/* One entry as it stands in the text. */
struct span {
    size_t from, to; /* octets of whole lines */
    unsigned line;
};

static struct ll_slice peek_line(const struct scan *s, size_t *ret_next)
{
    struct ll_slice rest = ll_slice_skip(s->text, s->at);
    size_t n = ll_slice_find(rest, '\n');

    *ret_next = s->at + (n < rest.n ? n + 1 : n);
    if (n > 0 && rest.p[n - 1] == '\r')
        n--;
    return ll_slice_cut(rest, 0, n);
}

/* The next entry, its lines joined by blanks in `joined`. 1; 0 at the end; -1 with *ret_why. */
static int next_entry(struct scan *s, struct ll_buf *joined, struct span *ret, const char **ret_why)
{
    bool begun = false;

    ll_buf_clear(joined);
    while (s->at < s->text.n) {
        size_t next;
        struct ll_slice raw = peek_line(s, &next), line = ll_slice_trim(raw);
        bool blank = line.n == 0, comment = !blank && line.p[0] == '#';
        bool indented = raw.n > 0 && ll_is_blank(raw.p[0]);

        if (begun && (blank || !indented))
            break;
        if (!begun && !blank && !comment) {
            *ret = (struct span){s->at, next, s->line};
            begun = true;
            if (indented) {
                *ret_why = "this line begins with a blank, but there is nothing to continue";
                s->at = next;
                s->line++;
                return -1;
            }
        }
        s->at = next;
        s->line++;
        if (begun) {
            ret->to = next;
            if (!comment) {
                ll_buf_put_slice(joined, line);
                ll_buf_putc(joined, ' ');
            }
        }
    }
    if (joined->failed) {
        *ret_why = "the entry is too long";
        return -1;
    }
    return begun;
}

/* Index of c outside of quotes, or s.n. */
static size_t find_unquoted(struct ll_slice s, uint8_t c)
{
    bool quoted = false;

    for (size_t i = 0; i < s.n; i++) {
        if (quoted && s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            quoted = !quoted;
        else if (!quoted && s.p[i] == c)
            return i;
    }
    return s.n;
}

/* A name as classic files write it, with the domain that it lacks: in `full`, or as it was. */
static struct ll_slice complete(struct ll_slice name, const char *domain, struct ll_buf *full)
{
    if (name.n > 1 && name.p[0] == '\\')
        name = ll_slice_skip(name, 1);
    if (!domain || name.n == 0 || find_unquoted(name, '@') < name.n)
        return name;
    ll_buf_clear(full);
    ll_buf_printf(full, "%.*s@%s", LL_FMT(name), domain);
    return full->failed ? name : ll_buf_slice(full);
}

/* Canonical left side: local@domain in lower case, or @domain. */
static bool name_canonical(struct ll_slice name, const char *domain, struct ll_buf *out)
{
    struct ll_buf full = LL_BUF(LL_MAILBOX_MAX + 1);
    struct ll_mailbox m;
    bool ok;

    if (name.n > 1 && name.p[0] == '@') {
        ll_buf_putc(out, '@');
        return ll_domain_canonical(ll_slice_skip(name, 1), true, out) == LL_ADDR_OK;
    }
    ok = ll_account_name(complete(name, domain, &full), &m);
    if (ok)
        ll_buf_put_slice(out, ll_mailbox_text(&m));
    ll_buf_release(&full);
    return ok;
}

/* What classic files may name and this server never follows: NULL, or why not. */
static const char *no_data(struct ll_slice target)
{
    if (target.p[0] == '"' && target.n > 1 && find_unquoted(target, '@') == target.n)
        target = ll_slice_skip(target, 1);
    if (target.p[0] == '|')
        return "a pipe: no letter is given to a program here; deliver to an account, or by LMTP";
    if (target.p[0] == '/')
        return "a file: letters are written into Maildirs alone; name an account";
    if (ll_slice_casestarts(target, LL_LIT(":include:")))
        return ":include: is not followed; put the addresses of that file here";
    return NULL;
}

/* All targets of one entry, canonical, each str16. NULL, or what is wrong with them. */
static const char *targets_canonical(struct ll_slice text, const char *domain, struct ll_buf *out)
{
    struct ll_buf full = LL_BUF(LL_MAILBOX_MAX + 1);
    const char *why = NULL;
    size_t count = 0;

    while (!why && text.n > 0) {
        size_t n = find_unquoted(text, ',');
        struct ll_slice t = ll_slice_trim(ll_slice_cut(text, 0, n));
        struct ll_mailbox m;
        enum ll_addr_error e;

        text = ll_slice_skip(text, n + 1);
        if (t.n == 0)
            continue;
        why = no_data(t);
        e = why ? LL_ADDR_OK : ll_mailbox_parse(complete(t, domain, &full), true, &m);
        if (e != LL_ADDR_OK)
            why = ll_addr_error_text(e);
        else if (++count > LL_ALIAS_TARGETS_MAX)
            why = "more than 1000 targets";
        else if (!why)
            ll_buf_str16(out, ll_mailbox_text(&m));
    }
    ll_buf_release(&full);
    return why ? why : out->failed ? "no memory" : count == 0 ? "no target" : NULL;
}

/* ---- the table ------------------------------------------------------------------------------- */

static size_t probe(const struct ll_aliases *a, struct ll_slice name, uint32_t hash)
{
    size_t i = hash & (a->slots - 1);

    while (a->slot[i] && !(a->entry[a->slot[i] - 1].hash == hash &&
                           ll_slice_eq(a->entry[a->slot[i] - 1].name, name)))
        i = (i + 1) & (a->slots - 1);
    return i;
}

static bool grow(struct ll_aliases *a)
{
    size_t cap = a->cap ? a->cap * 2 : 64;
    struct entry *entry = reallocarray(a->entry, cap, sizeof(*entry));
    uint32_t *slot;

    if (!entry)
        return false;
    a->entry = entry;
    slot = calloc(cap * 2, sizeof(*slot));
    if (!slot)
        return false;
    free(a->slot);
    a->slot = slot;
    a->slots = cap * 2;
    a->cap = cap;
    for (size_t i = 0; i < a->n; i++)
        a->slot[probe(a, a->entry[i].name, a->entry[i].hash)] = (uint32_t)i + 1;
    return true;
}

static const char *add(struct ll_aliases *a, struct ll_slice name, struct ll_slice targets)
{
    uint32_t hash = ll_crc32c(0, name.p, name.n);
    struct entry *e;
    size_t at;

    if (a->n == a->cap && !grow(a))
        return "no memory";
    at = probe(a, name, hash);
    if (a->slot[at])
        return "this name stands twice";
    e = &a->entry[a->n];
    e->hash = hash;
    e->name = ll_arena_dup(&a->arena, name);
    e->targets = ll_arena_dup(&a->arena, targets);
    if (!e->name.p || !e->targets.p)
        return "no memory";
    a->slot[at] = (uint32_t)++a->n;
    return NULL;
}

/* NULL, or what is wrong with the entry. */
static const char *take_entry(struct ll_aliases *a, const char *domain, struct ll_slice text,
                              struct ll_buf *name, struct ll_buf *targets)
{
    size_t colon = find_unquoted(text, ':');
    const char *why;

    ll_buf_clear(name);
    ll_buf_clear(targets);
    if (colon == text.n)
        return "expected `name@domain: target[, target...]`";
    if (!name_canonical(ll_slice_trim(ll_slice_cut(text, 0, colon)), domain, name))
        return "left of the colon belongs an address, a name of a local user, or @ and a domain";
    why = targets_canonical(ll_slice_skip(text, colon + 1), domain, targets);
    return why ? why : add(a, ll_buf_slice(name), ll_buf_slice(targets));
}

struct ll_aliases *ll_aliases_parse(struct ll_slice text, const char *domain, const char *file,
                                    struct ll_buf *ret_err)
{
    struct ll_aliases *a = calloc(1, sizeof(*a));
    struct ll_buf joined = LL_BUF(LL_ALIAS_LINE_MAX), name = LL_BUF(LL_MAILBOX_MAX + 1);
    struct ll_buf targets = LL_BUF(LL_ALIAS_TARGETS_MAX * (LL_MAILBOX_MAX + 2));
    struct scan s = {text, 0, 1};
    struct span span;
    const char *why = NULL;
    unsigned errors = 0;
    int r = 0;

    if (!a || text.n > LL_ALIAS_FILE_MAX) {
        ll_buf_printf(ret_err, "%s\n", a ? "the file is larger than 16 MiB" : "no memory");
        free(a);
        return NULL;
    }
    ll_arena_init(&a->arena, (size_t)4 * LL_ALIAS_FILE_MAX);
    if (!grow(a))
        errors++;
    while (errors < ERRORS_MAX && (r = next_entry(&s, &joined, &span, &why)) != 0) {
        why = r < 0 ? why
                    : take_entry(a, domain, ll_slice_trim(ll_buf_slice(&joined)), &name, &targets);
        if (why) {
            ll_buf_printf(ret_err, "%s%s%u: %s\n", file ? file : "line ", file ? ":" : "",
                          span.line, why);
            errors++;
        }
    }
    ll_buf_release(&joined);
    ll_buf_release(&name);
    ll_buf_release(&targets);
    if (errors == 0)
        return a;
    ll_aliases_free(a);
    return NULL;
}

struct ll_aliases *ll_aliases_load(const char *path, const char *domain, struct ll_buf *ret_err)
{
    struct ll_buf text = LL_BUF(LL_ALIAS_FILE_MAX + 1);
    struct ll_aliases *a = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    uint8_t *room;
    ssize_t n = 0;

    if (fd < 0) {
        if (errno != ENOENT)
            ll_buf_printf(ret_err, "%s: %s\n", path, strerror(errno));
        return NULL;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        ll_buf_printf(ret_err, "%s: not a file\n", path);
        close(fd);
        errno = EINVAL;
        return NULL;
    }
    while (text.n <= LL_ALIAS_FILE_MAX) {
        size_t want =
            LL_ALIAS_FILE_MAX + 1 - text.n < 65536 ? LL_ALIAS_FILE_MAX + 1 - text.n : 65536;

        room = ll_buf_room(&text, want);
        n = room ? read(fd, room, want) : 0;
        if (n <= 0)
            break;
        ll_buf_grew(&text, (size_t)n);
    }
    close(fd);
    if (n < 0 || text.failed)
        ll_buf_printf(ret_err, "%s: %s\n", path, text.failed ? "no memory" : strerror(errno));
    else
        a = ll_aliases_parse(ll_buf_slice(&text), domain, path, ret_err);
    ll_buf_release(&text);
    if (!a)
        errno = EINVAL;
    return a;
}

void ll_aliases_free(struct ll_aliases *a)
{
    if (!a)
        return;
    ll_arena_release(&a->arena);
    free(a->entry);
    free(a->slot);
    free(a);
}

size_t ll_aliases_count(const struct ll_aliases *a)
{
    return a->n;
}

bool ll_aliases_find(const struct ll_aliases *a, struct ll_slice name, struct ll_slice *ret_targets)
{
    size_t at = probe(a, name, ll_crc32c(0, name.p, name.n));

    if (!a->slot[at])
        return false;
    if (ret_targets)
        *ret_targets = a->entry[a->slot[at] - 1].targets;
    return true;
}

void ll_aliases_entry(const struct ll_aliases *a, size_t i, struct ll_slice *ret_name,
                      struct ll_slice *ret_targets)
{
    *ret_name = a->entry[i].name;
    *ret_targets = a->entry[i].targets;
}

/* ---- editing --------------------------------------------------------------------------------- */

/* Where the entry of that name stands; false: nowhere. */
static bool find_span(struct ll_slice text, const char *domain, struct ll_slice name,
                      struct span *ret)
{
    struct ll_buf joined = LL_BUF(LL_ALIAS_LINE_MAX), found = LL_BUF(LL_MAILBOX_MAX + 1);
    struct scan s = {text, 0, 1};
    const char *why;
    bool is = false;
    int r;

    while (!is && (r = next_entry(&s, &joined, ret, &why)) != 0) {
        struct ll_slice e = ll_buf_slice(&joined);

        ll_buf_clear(&found);
        is = r > 0 &&
             name_canonical(ll_slice_trim(ll_slice_cut(e, 0, find_unquoted(e, ':'))), domain,
                            &found) &&
             ll_slice_eq(ll_buf_slice(&found), name);
    }
    ll_buf_release(&joined);
    ll_buf_release(&found);
    return is;
}

bool ll_aliases_text_add(struct ll_slice text, const char *domain, struct ll_slice name,
                         struct ll_slice targets, struct ll_buf *out)
{
    struct span span;

    if (find_span(text, domain, name, &span))
        return false;
    ll_buf_put_slice(out, text);
    if (text.n > 0 && text.p[text.n - 1] != '\n')
        ll_buf_putc(out, '\n');
    ll_buf_put_slice(out, name);
    ll_buf_puts(out, ": ");
    ll_buf_put_slice(out, targets);
    ll_buf_putc(out, '\n');
    return true;
}

bool ll_aliases_text_del(struct ll_slice text, const char *domain, struct ll_slice name,
                         struct ll_buf *out)
{
    struct span span;

    if (!find_span(text, domain, name, &span))
        return false;
    ll_buf_put_slice(out, ll_slice_cut(text, 0, span.from));
    ll_buf_put_slice(out, ll_slice_skip(text, span.to));
    return true;
}
