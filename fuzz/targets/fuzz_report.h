/* What the three targets of reports share: what is written down must be a tree, or an error said.
 */
#ifndef LL_FUZZ_REPORT_H
#define LL_FUZZ_REPORT_H

#include "io/report.h"

#include <stdlib.h>

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void check_marks(enum ll_report_error e, struct ll_buf *marks)
{
    struct ll_buf text = LL_BUF(256u << 20);
    struct ll_json j = LL_JSON(&text);
    struct ll_report_node *top;
    struct ll_arena arena;

    ll_arena_init(&arena, 64u << 20);
    if (e == LL_REPORT_OK) {
        CHECK(ll_report_tree(ll_buf_slice(marks), &arena, &top));
        CHECK(top->id == LL_REPORT_N_FEEDBACK || top->id == LL_REPORT_N_FAILURE);
        ll_report_json(&j, top);
        CHECK(!text.failed && j.depth == 0);
    }
    ll_arena_release(&arena);
    ll_buf_release(&text);
}

#endif
