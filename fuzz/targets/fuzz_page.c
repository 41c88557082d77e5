/* Text of strangers: what comes out is UTF-8 without controls, every line has its margin and fits
 * the page; a name for a file is one, and safe. */
#include <stdint.h>
#include <stdlib.h>

#include "tool/read/page.h"
#include "tool/read/save.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_clean(struct ll_slice s, bool line)
{
    CHECK(ll_utf8_valid(s));
    for (size_t i = 0; i < s.n; i++) {
        CHECK(s.p[i] >= ' ' || (!line && (s.p[i] == '\n' || s.p[i] == '\t')));
        CHECK(s.p[i] != 0x7f);
        CHECK(i == 0 || !(s.p[i - 1] == 0xc2 && s.p[i] < 0xa0)); /* C1 */
    }
}

static void check_lines(struct ll_slice page, unsigned width)
{
    struct ll_slice line;

    while (page.n > 0) {
        size_t columns = 0;

        CHECK(ll_slice_next(&page, '\n', &line));
        CHECK(line.n >= 1 && line.p[0] == '|' && (line.n == 1 || line.p[1] == ' '));
        for (size_t i = 0; i < line.n; i++)
            columns += (line.p[i] & 0xc0) != 0x80;
        CHECK(columns <= width);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size);
    struct ll_buf text = LL_BUF(4 * size + 16), line = LL_BUF(4 * size + 16);
    struct ll_buf out = LL_BUF(64u << 20), name = LL_BUF(4 * size + 64);
    struct ll_page page = {&out, LL_PAGE_WIDTH_MIN + (size > 0 ? data[0] % 64 : 0)};

    ll_clean(in, LL_CLEAN_TEXT, &text);
    check_clean(ll_buf_slice(&text), false);
    ll_clean(in, LL_CLEAN_LINE, &line);
    check_clean(ll_buf_slice(&line), true);
    ll_page_text(&page, "| ", ll_buf_slice(&text));
    if (!out.failed)
        check_lines(ll_buf_slice(&out), page.width);
    ll_buf_clear(&out);
    ll_page_field(&page, "Subject", ll_buf_slice(&line));
    ll_save_name(in, 1, &name);
    CHECK(name.n > 0 && name.n <= LL_SAVE_NAME_MAX + 1 && name.p[0] != '.' && name.p[0] != '-');
    CHECK(!memchr(name.p, '/', name.n) && !memchr(name.p, 0, name.n));
    check_clean(ll_buf_slice(&name), true);
    ll_buf_release(&text);
    ll_buf_release(&line);
    ll_buf_release(&out);
    ll_buf_release(&name);
    return 0;
}
