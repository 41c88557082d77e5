/*
 * needs: drives an engine whose questions (letterlock/need.h) are answered by DNS.
 *
 *     LL_NEEDS_ENGINE(spf)                    at file level, once an engine
 *     ll_needs_run_spf(spf, resolver);        until the engine has no question left
 *
 * LL_NEED_SIGN is answered with no signature: commands that sign hold the key themselves, and look
 * at such a need before they call ll_needs_answer.
 */
#ifndef LL_TOOL_CLIENT_NEEDS_H
#define LL_TOOL_CLIENT_NEEDS_H

#include "letterlock/need.h"
#include "tool/client/resolve.h"

struct ll_needs {
    void *engine;
    bool (*need)(void *engine, struct ll_need *ret);
    void (*answer)(void *engine, const struct ll_need_answer *);
    void (*time)(void *engine, uint64_t now); /* told after each answer; NULL: it has no deadline */
    uint64_t (*deadline)(void *engine); /* ms; no question goes on beyond it; NULL, or 0: none */
};

/* Asks and answers until the engine asks no more. */
void ll_needs_run(const struct ll_needs *, struct ll_resolver *);

/* Defines ll_needs_run_X(struct ll_X *, struct ll_resolver *) out of ll_X_need and ll_X_answer. */
#define LL_NEEDS_ENGINE(X) LL_NEEDS_ENGINE_(X, NULL, NULL)
/* As that, for an engine with ll_X_time and ll_X_deadline. */
#define LL_NEEDS_TIMED_ENGINE(X)                                                                   \
    static void ll_needs_time_##X(void *e, uint64_t now)                                           \
    {                                                                                              \
        ll_##X##_time(e, now);                                                                     \
    }                                                                                              \
    static uint64_t ll_needs_deadline_##X(void *e)                                                 \
    {                                                                                              \
        return ll_##X##_deadline(e);                                                               \
    }                                                                                              \
    LL_NEEDS_ENGINE_(X, ll_needs_time_##X, ll_needs_deadline_##X)

#define LL_NEEDS_ENGINE_(X, time_fn, until)                                                        \
    static bool ll_needs_need_##X(void *e, struct ll_need *ret)                                    \
    {                                                                                              \
        return ll_##X##_need(e, ret);                                                              \
    }                                                                                              \
    static void ll_needs_answer_##X(void *e, const struct ll_need_answer *a)                       \
    {                                                                                              \
        ll_##X##_answer(e, a);                                                                     \
    }                                                                                              \
    static void ll_needs_run_##X(struct ll_##X *e, struct ll_resolver *r)                          \
    {                                                                                              \
        const struct ll_needs n = {e, ll_needs_need_##X, ll_needs_answer_##X, (time_fn), (until)}; \
                                                                                                   \
        ll_needs_run(&n, r);                                                                       \
    }

#endif
