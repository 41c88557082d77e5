/*
 * need: what an engine asks of the world.
 *
 * Engines (spf, dkim, dmarc, arc ...) have no I/O. Where one cannot go on without an outside answer
 * it offers needs; whoever drives it (a front, letterlock(1), a test, a fuzzer) answers them in any
 * order, by id. Every engine has the same two functions, so that drivers treat all alike:
 *
 *     bool ll_X_need(struct ll_X *, struct ll_need *ret);
 *         Takes the next question that was not taken yet; false: none now. After the last answer
 *         ask again: an answer may raise new questions.
 *     void ll_X_answer(struct ll_X *, const struct ll_need_answer *);
 *         An answer to a need that was taken. Unknown and repeated ids are ignored. What the answer
 *         points at is copied or used up before this returns.
 *
 * An engine's number of needs is bounded by a limit with a name (DESIGN's promise 9).
 */
#ifndef LETTERLOCK_NEED_H
#define LETTERLOCK_NEED_H

#include "letterlock/dns.h"

enum ll_need_kind {
    LL_NEED_DNS,  /* the records of one type under one name */
    LL_NEED_SIGN, /* a signature, by whoever holds the key */
};

struct ll_need {
    uint32_t id; /* the engine's; the answer carries it back */
    enum ll_need_kind kind;
    struct {
        uint16_t type; /* enum ll_dns_type */
        struct ll_dns_name name;
    } dns;
    struct {
        struct ll_dns_name domain;   /* d= */
        struct ll_dns_name selector; /* s= */
        struct ll_slice algorithm;   /* "rsa-sha256", "ed25519-sha256" */
        struct ll_slice text;        /* what is hashed and signed; borrowed until the answer */
    } sign;
};

struct ll_need_answer {
    uint32_t id;
    const struct ll_dns_answer *dns; /* to LL_NEED_DNS; SERVFAIL where nobody could be asked */
    struct ll_slice signature;       /* to LL_NEED_SIGN; empty: refused, or the key is not there */
};

#endif
