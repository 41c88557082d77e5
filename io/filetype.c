/* Types of files. See filetype.h. */
#include "io/filetype.h"

#include <magic.h>
#include <stdlib.h>

struct ll_filetype {
    magic_t magic;
};

/* ROW: what the content alone does not tell. */
static const struct {
    const char *ending, *type;
} endings[] = {
    {".txt", "text/plain"},
    {".md", "text/markdown"},
    {".csv", "text/csv"},
    {".html", "text/html"},
    {".htm", "text/html"},
    {".css", "text/css"},
    {".ics", "text/calendar"},
    {".vcf", "text/vcard"},
    {".json", "application/json"},
    {".xml", "application/xml"},
    {".patch", "text/x-diff"},
    {".diff", "text/x-diff"},
    {".c", "text/x-c"},
    {".h", "text/x-c"},
    {".py", "text/x-python"},
    {".asc", "text/plain"},
    {".tsv", "text/tab-separated-values"},
    {".js", "text/javascript"},
    {".svg", "image/svg+xml"},
    {".eml", "message/rfc822"},
};

struct ll_filetype *ll_filetype_new(const char **ret_why)
{
    struct ll_filetype *f = calloc(1, sizeof(*f));
    size_t look = LL_FILETYPE_LOOK, few = 64;

    *ret_why = "not enough memory";
    if (!f)
        return NULL;
    f->magic = magic_open(MAGIC_MIME_TYPE | MAGIC_NO_CHECK_COMPRESS | MAGIC_NO_CHECK_TAR);
    if (!f->magic) {
        free(f);
        return NULL;
    }
    magic_setparam(f->magic, MAGIC_PARAM_BYTES_MAX, &look);
    magic_setparam(f->magic, MAGIC_PARAM_ELF_PHNUM_MAX, &few);
    magic_setparam(f->magic, MAGIC_PARAM_ELF_SHNUM_MAX, &few);
    magic_setparam(f->magic, MAGIC_PARAM_ELF_NOTES_MAX, &few);
    if (magic_load(f->magic, NULL) != 0) {
        *ret_why = "the data base of file types cannot be read (Debian: libmagic-mgc)";
        ll_filetype_free(f);
        return NULL;
    }
    return f;
}

void ll_filetype_free(struct ll_filetype *f)
{
    if (!f)
        return;
    magic_close(f->magic);
    free(f);
}

static bool ends(struct ll_slice name, const char *ending)
{
    struct ll_slice e = ll_slice_str(ending);

    return name.n >= e.n && ll_slice_caseeq(ll_slice_skip(name, name.n - e.n), e);
}

/* RFC 2045 5.1: type "/" subtype, tokens. libmagic has said other things. */
static bool is_type(struct ll_slice s)
{
    size_t slash = ll_slice_find(s, '/');

    for (size_t i = 0; i < s.n; i++)
        if (i != slash && !ll_is_alnum(s.p[i]) && !(s.p[i] && strchr("-.+_", s.p[i])))
            return false;
    return slash > 0 && slash + 1 < s.n && s.n < 128;
}

/* A text of a kind that its name knows better. */
static bool is_vague(struct ll_slice type)
{
    return ll_slice_casestarts(type, LL_LIT("text/")) ||
           ll_slice_caseeq(type, LL_LIT("application/json")) ||
           ll_slice_caseeq(type, LL_LIT("application/xml")) ||
           ll_slice_caseeq(type, LL_LIT("message/rfc822"));
}

void ll_filetype_of(struct ll_filetype *f, struct ll_slice octets, struct ll_slice name,
                    struct ll_buf *out)
{
    const char *said = NULL;
    struct ll_slice type;

    if (octets.n)
        said = magic_buffer(f->magic, octets.p,
                            octets.n < LL_FILETYPE_LOOK ? octets.n : LL_FILETYPE_LOOK);
    type = octets.n ? ll_slice_str(said) : LL_LIT("text/plain");
    if (!is_type(type) || ll_slice_starts(type, LL_LIT("inode/")))
        type = LL_LIT("application/octet-stream");
    for (size_t i = 0; is_vague(type) && i < LL_COUNT(endings); i++)
        if (ends(name, endings[i].ending)) {
            type = ll_slice_str(endings[i].type);
            break;
        }
    ll_buf_put_slice(out, type);
}

bool ll_filetype_is_active(struct ll_slice type, struct ll_slice name)
{
    static const char *const types[] = {
        "application/x-executable",
        "application/x-pie-executable",
        "application/x-sharedlib",
        "application/x-dosexec",
        "application/x-mach-binary",
        "application/java-archive",
        "application/x-java-applet",
        "application/x-ms-shortcut",
        "application/javascript",
        "application/x-desktop",
        "application/x-msi",
        "application/hta",
        "text/javascript",
        "text/x-shellscript",
        "text/x-msdos-batch",
        "text/x-python",
        "text/x-perl",
        "text/x-php",
        "text/html",
        "image/svg+xml",
        "application/xhtml+xml",
        "application/x-msdownload",
    };
    static const char *const active[] = {
        ".exe",  ".com",     ".scr",      ".pif",  ".bat",  ".cmd",   ".ps1",  ".vbs", ".vbe",
        ".js",   ".jse",     ".wsf",      ".wsh",  ".hta",  ".msi",   ".msp",  ".jar", ".lnk",
        ".url",  ".scf",     ".reg",      ".cpl",  ".dll",  ".sh",    ".run",  ".py",  ".pl",
        ".rb",   ".desktop", ".appimage", ".app",  ".dmg",  ".pkg",   ".deb",  ".rpm", ".apk",
        ".docm", ".xlsm",    ".pptm",     ".dotm", ".xltm", ".xlam",  ".ppam", ".iso", ".img",
        ".vhd",  ".chm",     ".html",     ".htm",  ".svg",  ".xhtml",
    };

    for (size_t i = 0; i < LL_COUNT(types); i++)
        if (ll_slice_caseeq(type, ll_slice_str(types[i])))
            return true;
    /* Blanks and dots at the end are lost when some systems save a file. */
    while (name.n && (ll_is_blank(name.p[name.n - 1]) || name.p[name.n - 1] == '.'))
        name.n--;
    for (size_t i = 0; i < LL_COUNT(active); i++)
        if (ends(name, active[i]))
            return true;
    return false;
}
