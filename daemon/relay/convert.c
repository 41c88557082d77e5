/* A letter that starts here, for a server without 8BITMIME (RFC 6152 3): converted, and signed
 * anew, since our signatures were about octets that change. See relay.h. */
#include "daemon/relay/relay.h"

#include <errno.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/log.h"
#include "letterlock/mime.h"
#include "letterlock/msg.h"

#define TREE_MAX (1u << 20) /* octets of the tree of a letter's parts */

/* What the author wrote, without the fields that we prepended. */
static bool read_content(const struct job *j, struct ll_buf *out)
{
    uint64_t at = 0, total = j->job.body_length;

    if (j->fd < 0) {
        ll_buf_put_slice(out, ll_slice_skip(j->content, j->job.prepend.n));
        return !out->failed;
    }
    while (at < total) {
        size_t n = total - at < RELAY_CHUNK ? (size_t)(total - at) : RELAY_CHUNK;
        uint8_t *to = ll_buf_room(out, n);
        ssize_t r = to ? pread(j->fd, to, n, (off_t)(j->job.body_offset + at)) : -1;

        if (r < 0 && errno == EINTR && to)
            continue;
        if (r <= 0)
            return false;
        ll_buf_grew(out, (size_t)r);
        at += (uint64_t)r;
    }
    return true;
}

static bool is_ascii(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] > 127)
            return false;
    return true;
}

/* All signatures and seals among the prepended fields are ours; a body that changes breaks them. */
static void put_unsigned(struct ll_slice prepend, struct ll_buf *out)
{
    struct ll_msg_field f;

    while (ll_msg_field_next(&prepend, &f))
        if (f.bad || (!ll_slice_caseeq(f.name, LL_LIT("DKIM-Signature")) &&
                      !ll_slice_casestarts(f.name, LL_LIT("ARC-"))))
            ll_buf_put_slice(out, f.raw);
}

/* True: every signature that should be there is in out. */
static bool sign(struct relay *r, struct ll_slice content, struct ll_buf *out)
{
    struct ll_dkim_signing *s;
    bool ok;

    if (!ll_dkim_client_known(r->dkim))
        return false;
    if (!ll_dkim_client_signs(r->dkim))
        return true;
    s = ll_dkim_signing_new(r->dkim, ll_unix_s());
    if (!s)
        return false;
    ll_dkim_signing_feed(s, content);
    ok = ll_dkim_signing_finish(s, out);
    ll_dkim_signing_free(s);
    return ok;
}

static enum ll_mime_error to_7bit(struct ll_slice content, struct ll_buf *out)
{
    struct ll_arena arena;
    struct ll_mime mime;
    enum ll_mime_error e;

    ll_arena_init(&arena, TREE_MAX);
    e = ll_mime_parse(content, &arena, &mime);
    if (e == LL_MIME_OK)
        e = ll_mime_to_7bit(content, &mime, out);
    ll_arena_release(&arena);
    return e;
}

/* Why it cannot be done; OK: ret is untouched. */
static bool made(struct job *j, const char *remote, enum ll_mime_error e, struct fault *ret)
{
    static const char lacks[] = "does not offer 8BITMIME, and the letter cannot be converted";

    if (e == LL_MIME_RESOURCE)
        fault_set(ret, LL_OUTCOME_DEFERRED, RANK_SESSION, "4.3.0", remote,
                  "%s %s now: out of memory", remote, lacks);
    else if (e != LL_MIME_OK)
        fault_set(ret, LL_OUTCOME_FAILED, RANK_SESSION, "5.6.3", remote, "%s %s: %s", remote, lacks,
                  ll_mime_error_text(e));
    else if (!is_ascii(ll_buf_slice(&j->seven)))
        fault_set(ret, LL_OUTCOME_FAILED, RANK_SESSION, "5.6.3", remote,
                  "%s %s: its header holds octets above 127", remote, lacks);
    else if (!sign(j->relay, ll_buf_slice(&j->seven), &j->head))
        fault_set(ret, LL_OUTCOME_DEFERRED, RANK_SESSION, "4.7.5", remote,
                  "%s does not offer 8BITMIME, and the converted letter cannot be signed now",
                  remote);
    else
        return true;
    return false;
}

/* Room for one more, so that many long letters cannot take all memory. */
static bool has_room(struct job *j, const char *remote, struct fault *ret)
{
    if (j->job.body_length > RELAY_CONVERT_MAX)
        fault_set(ret, LL_OUTCOME_FAILED, RANK_SESSION, "5.6.3", remote,
                  "%s does not offer 8BITMIME, and the letter is too long to be converted (more "
                  "than %u MiB)",
                  remote, RELAY_CONVERT_MAX >> 20);
    else if (j->relay->converted > RELAY_CONVERTED_SUM)
        fault_set(ret, LL_OUTCOME_DEFERRED, RANK_SESSION, "4.3.2", remote,
                  "%s does not offer 8BITMIME, and too many letters are being converted now",
                  remote);
    else
        return true;
    return false;
}

bool job_convert(struct job *j, const char *remote, struct fault *ret)
{
    struct ll_buf content = LL_BUF(RELAY_CONVERT_MAX + RELAY_CHUNK);
    enum ll_mime_error e = LL_MIME_RESOURCE;
    bool ok;

    if (!has_room(j, remote, ret))
        return false;
    ll_buf_init(&j->seven, RELAY_CONVERTED_MAX);
    ll_buf_init(&j->head, 2 * LL_SPOOL_PREPEND_MAX);
    if (read_content(j, &content))
        e = to_7bit(ll_buf_slice(&content), &j->seven);
    ll_buf_release(&content);
    ok = made(j, remote, e, ret);
    put_unsigned(j->job.prepend, &j->head);
    if (!ok || j->head.failed) {
        if (ok)
            fault_set(ret, LL_OUTCOME_DEFERRED, RANK_SESSION, "4.3.0", remote, "out of memory");
        ll_buf_release(&j->seven);
        ll_buf_release(&j->head);
        return false;
    }
    j->relay->converted += j->seven.cap;
    j->job.flags &= (uint8_t)~LL_LETTER_8BIT;
    ll_log(LL_LOG_INFO, "converted", LL_FU("letter", j->job.letter), LL_FS("for", remote),
           LL_FU("octets", j->seven.n));
    return true;
}

uint64_t job_size(const struct job *j)
{
    return j->seven.n > 0 ? j->head.n + j->seven.n : j->job.prepend.n + j->job.body_length;
}

struct ll_slice job_converted_part(const struct job *j)
{
    bool head = j->body_at < j->head.n;
    struct ll_slice from = ll_buf_slice(head ? &j->head : &j->seven);
    size_t at = (size_t)j->body_at - (head ? 0 : j->head.n);

    return ll_slice_cut(from, at, at + RELAY_CHUNK);
}

void job_unconvert(struct job *j)
{
    j->relay->converted -= j->seven.cap;
    ll_buf_release(&j->seven);
    ll_buf_release(&j->head);
}
