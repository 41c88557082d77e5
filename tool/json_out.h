/*
 * json_out: JSON that a command prints.
 */
#ifndef LL_TOOL_JSON_OUT_H
#define LL_TOOL_JSON_OUT_H

#include "io/json.h"
#include "tool/args.h"

#define LL_JSON_OPT(flag)                                                                          \
    {                                                                                              \
        "json", 0, LL_OPT_FLAG, &(flag), NULL, "print JSON"                                        \
    }

/* Prints the text and a line end, and releases it. 0, or a status. */
int ll_json_print(struct ll_buf *);

#endif
