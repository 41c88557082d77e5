/* The file of aliases. What is read can be found and taken out again, and only that goes. */
#include "io/aliases.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take_out(struct ll_slice text, struct ll_slice name, size_t before)
{
    struct ll_buf less = LL_BUF(text.n), err = LL_BUF(65536);
    struct ll_aliases *a;

    if (!ll_aliases_text_del(text, "l.test", name, &less) || less.failed)
        abort();
    a = ll_aliases_parse(ll_buf_slice(&less), "l.test", NULL, &err);
    if (!a || ll_aliases_count(a) != before - 1 || ll_aliases_find(a, name, NULL))
        abort();
    ll_aliases_free(a);
    ll_buf_release(&less);
    ll_buf_release(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_buf err = LL_BUF(65536);
    struct ll_aliases *a = ll_aliases_parse(ll_slice(data, size), "l.test", NULL, &err);
    size_t n = a ? ll_aliases_count(a) : 0;

    if (!a && err.n == 0)
        abort();
    for (size_t i = 0; i < n; i++) {
        struct ll_slice name, targets;
        struct ll_cursor c;

        ll_aliases_entry(a, i, &name, &targets);
        if (!ll_aliases_find(a, name, NULL))
            abort();
        for (c = ll_cursor(targets); ll_cur_left(&c) > 0;)
            if (ll_cur_str16(&c).n == 0)
                abort();
        if (!ll_cur_end(&c))
            abort();
        if (i < 2)
            take_out(ll_slice(data, size), name, n);
    }
    ll_aliases_free(a);
    ll_buf_release(&err);
    return 0;
}
