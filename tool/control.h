/*
 * control: asks the running server, through its control socket.
 */
#ifndef LL_TOOL_CONTROL_H
#define LL_TOOL_CONTROL_H

#include "tool/tool.h"

#include <jansson.h>

#define LL_CONTROL_WAIT_S 60 /* seconds without a line after which the server counts as stuck */

struct ll_control;

/* Connects. NULL, said on stderr, with *ret_status: EX_UNAVAILABLE where no server runs, EX_NOPERM.
 */
struct ll_control *ll_control_open(const struct ll_conf *, int *ret_status);
void ll_control_close(struct ll_control *);

/* For each line of the answer; false: enough, the rest is not wanted. */
typedef bool (*ll_control_line_fn)(void *arg, struct ll_slice line);
/* Asks and waits for the end. Returns its status; *ret_text gets its sentence (release it). */
int ll_control_ask(struct ll_control *, const char *command, const char *const *args, size_t n_args,
                   ll_control_line_fn line, void *arg, struct ll_buf *ret_text);

/* The same with lines parsed; one that is no JSON object is said on stderr and left out. */
typedef bool (*ll_control_json_fn)(void *arg, json_t *object);

/* The usual command: reads the configuration, asks, prints. as_json: an array of the lines as they
 * came; else `show` prints each (NULL: lines are not shown) and the end's sentence is printed, on
 * stderr where the status is not 0. Returns the status. */
struct ll_control_run {
    const struct ll_where *where;
    const char *command;
    const char *const *args;
    size_t n_args;
    bool as_json;
    ll_control_json_fn show;
    void *arg;
};
int ll_control_run(const struct ll_control_run *);

/* Fields of an object: "" or 0 where it lacks them. */
const char *ll_js_text(const json_t *object, const char *key);
int64_t ll_js_int(const json_t *object, const char *key);

#endif
