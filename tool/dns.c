/* letterlock dns: the records to publish. */
#include "tool/json_out.h"
#include "tool/records.h"
#include "tool/tool.h"

static void print_json(const struct ll_records *r)
{
    struct ll_buf b = LL_BUF(1 << 20);
    struct ll_json j = LL_JSON(&b);

    ll_json_open(&j, '[');
    for (size_t i = 0; i < r->n; i++) {
        ll_json_open(&j, '{');
        ll_json_cstr(&j, "name", r->v[i].name);
        ll_json_cstr(&j, "type", r->v[i].type);
        ll_json_cstr(&j, "value", r->v[i].value);
        ll_json_cstr(&j, "why", r->v[i].why);
        ll_json_bool(&j, "only_if_signed", r->v[i].only_signed);
        ll_json_close(&j);
    }
    ll_json_close(&j);
    ll_json_print(&b);
}

int ll_cmd_dns(int argc, char **argv)
{
    struct ll_where where = {0};
    bool json = false;
    const struct ll_opt opts[] = {LL_WHERE_OPTS(where), LL_JSON_OPT(json)};
    const struct ll_usage usage = {
        "dns [options]",
        "Prints the records to publish, in zone-file form, each with its reason.",
        opts,
        LL_COUNT(opts),
        0,
        0};
    struct ll_words words;
    struct ll_records records;
    struct ll_conf *conf;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    conf = ll_where_conf(&where, &status);
    if (!conf)
        return status;
    if (!ll_records_of(conf, &records)) {
        status = ll_fail(EX_OSERR, "no memory");
    } else {
        if (json)
            print_json(&records);
        else
            ll_records_print(&records, stdout);
        ll_records_release(&records);
        status = 0;
    }
    ll_conf_free(conf);
    return status;
}
