/* See tool/json_out.h. */
#include "tool/json_out.h"

#include "tool/tool.h"

int ll_json_print(struct ll_buf *b)
{
    bool ok = !b->failed && fwrite(b->p, 1, b->n, stdout) == b->n && putchar('\n') != EOF;

    ll_buf_release(b);
    return ok ? 0 : ll_fail(EX_OSERR, "the answer is too long, or cannot be written");
}
