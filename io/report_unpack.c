/* See io/report.h: gzip and zip by libarchive, in parts, straight into the XML reader: nothing is
 * held that was unpacked. */
#include "io/report.h"

#include <archive.h>
#include <archive_entry.h>

#define PART         65536
#define GZIP_FILTERS 2 /* gzip, and libarchive's reader of memory */

static const struct ll_slice zip = {(const uint8_t *)"PK\003\004", 4};
static const struct ll_slice gzip = {(const uint8_t *)"\037\213", 2};

static bool is_archive(struct ll_slice in)
{
    return ll_slice_starts(in, zip) || ll_slice_starts(in, gzip);
}

static struct ll_slice without_blanks(struct ll_slice in)
{
    if (ll_slice_starts(in, LL_LIT("\xef\xbb\xbf"))) /* a byte order mark in UTF-8 */
        in = ll_slice_skip(in, 3);
    while (in.n > 0 && (ll_is_blank(in.p[0]) || in.p[0] == '\r' || in.p[0] == '\n'))
        in = ll_slice_skip(in, 1);
    return in;
}

/* UTF-16 has its mark, and expat reads it. */
static bool is_xml(struct ll_slice in)
{
    struct ll_slice s = without_blanks(in);

    return ll_slice_starts(s, LL_LIT("<")) || ll_slice_starts(in, LL_LIT("\xff\xfe<")) ||
           (ll_slice_starts(in, LL_LIT("\xfe\xff")) && in.n > 3 && in.p[3] == '<');
}

bool ll_report_is_packed(struct ll_slice in)
{
    return is_archive(in) || is_xml(in);
}

/* Reports with an empty line before the XML declaration are sent, and XML forbids it. */
static enum ll_report_error feed(struct ll_report_xml *x, struct ll_slice part, uint64_t at)
{
    if (at == 0) {
        if (is_archive(part))
            return LL_REPORT_NESTED;
        if (ll_slice_starts(without_blanks(part), LL_LIT("{")))
            return LL_REPORT_TLS;
        if (ll_slice_starts(without_blanks(part), LL_LIT("<?xml")))
            part = without_blanks(part);
    }
    return ll_report_xml_feed(x, part, false);
}

/* The open member. */
static enum ll_report_error read_member(struct archive *a, size_t packed, struct ll_report_xml *x)
{
    static uint8_t part[PART]; /* one report a process, see header */
    uint64_t out = 0;
    enum ll_report_error e;
    la_ssize_t n;

    while ((n = archive_read_data(a, part, sizeof(part))) > 0) {
        if (out + (uint64_t)n > LL_REPORT_OUT_MAX)
            return LL_REPORT_LONG;
        if (out + (uint64_t)n > LL_REPORT_RATIO_FREE &&
            (out + (uint64_t)n) / LL_REPORT_RATIO_MAX > packed)
            return LL_REPORT_RATIO;
        e = feed(x, ll_slice(part, (size_t)n), out);
        if (e != LL_REPORT_OK)
            return e;
        out += (uint64_t)n;
    }
    return n < 0 ? LL_REPORT_ARCHIVE : LL_REPORT_OK;
}

static bool next_header(struct archive *a, struct archive_entry **entry, int *rc)
{
    *rc = archive_read_next_header(a, entry);
    return *rc == ARCHIVE_OK || *rc == ARCHIVE_WARN; /* of a name in a foreign charset */
}

static enum ll_report_error read_archive(struct archive *a, struct ll_slice in,
                                         struct ll_report_xml *x)
{
    bool zipped = ll_slice_starts(in, zip);
    struct archive_entry *entry;
    enum ll_report_error e;
    int rc;

    if ((zipped ? archive_read_support_format_zip_seekable(a)
                : archive_read_support_filter_gzip(a) | archive_read_support_format_raw(a)) <
            ARCHIVE_WARN ||
        archive_read_open_memory(a, in.p, in.n) != ARCHIVE_OK || !next_header(a, &entry, &rc))
        return LL_REPORT_ARCHIVE;
    if (zipped && archive_entry_filetype(entry) != AE_IFREG)
        return LL_REPORT_MEMBERS;
    if (!zipped && archive_filter_count(a) != GZIP_FILTERS)
        return archive_filter_count(a) > GZIP_FILTERS ? LL_REPORT_NESTED : LL_REPORT_ARCHIVE;
    e = read_member(a, in.n, x);
    if (e == LL_REPORT_OK && next_header(a, &entry, &rc))
        return LL_REPORT_MEMBERS;
    return e == LL_REPORT_OK && rc != ARCHIVE_EOF ? LL_REPORT_ARCHIVE : e;
}

static enum ll_report_error read_plain(struct ll_slice in, struct ll_report_xml *x)
{
    enum ll_report_error e = LL_REPORT_OK;
    struct ll_slice part;

    if (in.n > LL_REPORT_OUT_MAX)
        return LL_REPORT_LONG;
    for (uint64_t at = 0; in.n > 0 && e == LL_REPORT_OK; at += part.n) {
        part = ll_slice_cut(in, 0, PART);
        e = feed(x, part, at);
        in = ll_slice_skip(in, part.n);
    }
    return e;
}

enum ll_report_error ll_report_unpack(struct ll_slice in, struct ll_report_marks *marks,
                                      uint64_t *ret_line)
{
    struct ll_report_xml *x = ll_report_xml_new(marks);
    struct archive *a = is_archive(in) ? archive_read_new() : NULL;
    enum ll_report_error e = LL_REPORT_RESOURCE;

    if (x && (a || !is_archive(in)))
        e = a ? read_archive(a, in, x) : read_plain(in, x);
    if (e == LL_REPORT_OK)
        e = ll_report_xml_feed(x, (struct ll_slice){NULL, 0}, true);
    if (x && (e == LL_REPORT_XML || e == LL_REPORT_DOCTYPE || e == LL_REPORT_DEPTH))
        *ret_line = ll_report_xml_line(x);
    archive_read_free(a);
    ll_report_xml_free(x);
    return e;
}
