/* What is left of a session in a letter: Received, the receipt's facts, the log line. front.h. */
#include "daemon/front/front.h"
#include "io/json.h"
#include "io/log.h"

bool front_trace_received(struct session *s, struct letter *l, struct ll_buf *out)
{
    const struct ll_smtpd_tls *tls = ll_smtpd_tls(s->smtpd);
    struct ll_msg_received r = {.helo = ll_smtpd_helo(s->smtpd),
                                .by = ll_slice_str(s->service->hostname),
                                .with = ll_slice_str(ll_smtpd_with(s->smtpd)),
                                .hide_client = s->service->hide_client,
                                .local = s->local != NULL,
                                .uid = s->local ? s->local->uid : 0,
                                .utf8 = l->declared_utf8,
                                .unix_s = l->arrived_ms / 1000};
    uint64_t next = ll_writer_next_id(s->front->writer);
    struct ll_buf id = LL_BUF(32);
    char ip[LL_IP_TEXT];

    if (next == 0)
        return false;
    ll_letter_id_format(&id, next);
    r.id = ll_buf_slice(&id);
    if (s->local)
        r.with = LL_LIT("");
    r.ip = ll_slice_str(front_client(s, ip));
    if (l->n_rcpts == 1)
        r.recipient = ll_slice(l->text.p + l->rcpts[0].at, l->rcpts[0].address_n);
    if (tls) {
        r.tls_version = ll_slice_str(tls->version);
        r.tls_cipher = ll_slice_str(tls->cipher);
    }
    ll_msg_received_put(out, &r);
    ll_buf_release(&id);
    return !out->failed;
}

void front_trace_facts(struct session *s, struct letter *l, struct ll_buf *out)
{
    const struct ll_smtpd_tls *tls = ll_smtpd_tls(s->smtpd);
    struct ll_json j = LL_JSON(out);
    char ip[LL_IP_TEXT];

    ll_json_open(&j, '{');
    ll_json_cstr(&j, "client", front_client(s, ip));
    if (!s->local)
        ll_json_int(&j, "port", s->ip.port);
    ll_json_cstr(&j, "listener", s->service->title);
    ll_json_str(&j, "helo", ll_smtpd_helo(s->smtpd));
    ll_json_cstr(&j, "protocol", s->local ? "local" : ll_smtpd_with(s->smtpd));
    if (tls) {
        ll_json_cstr(&j, "tls", tls->version);
        ll_json_cstr(&j, "cipher", tls->cipher);
        if (tls->client_name)
            ll_json_cstr(&j, "client_certificate", tls->client_name);
    }
    if (s->login)
        ll_json_str(&j, "login", ll_smtpd_user(s->smtpd));
    else if (s->trusted)
        ll_json_bool(&j, "trusted_network", true);
    front_check_facts(l, &j);
    ll_json_int(&j, "size", (int64_t)l->octets);
    ll_json_close(&j);
}

void front_trace_log(const struct letter *l, uint64_t id)
{
    const struct session *s = l->session;
    const struct ll_smtpd_tls *tls = s ? ll_smtpd_tls(s->smtpd) : NULL;
    struct ll_buf name = LL_BUF(32);
    char ip[LL_IP_TEXT] = "";

    ll_letter_id_format(&name, id);
    ll_log(LL_LOG_INFO, "letter", LL_F("id", ll_buf_slice(&name)),
           LL_F("from", front_letter_reverse(l)), LL_FU("recipients", l->n_rcpts),
           LL_FU("size", l->octets), LL_FS("client", s ? front_client(s, ip) : "gone"),
           LL_FS("tls", tls ? tls->version : ""), LL_FS("dmarc", front_check_dmarc(l)),
           LL_F("login", s && s->login ? ll_smtpd_user(s->smtpd) : LL_LIT("")),
           LL_FU("session", s ? s->id : 0));
    ll_buf_release(&name);
}
