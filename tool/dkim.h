/*
 * dkim: DKIM keys of a server, for `init` and `dkim`.
 */
#ifndef LL_TOOL_DKIM_H
#define LL_TOOL_DKIM_H

#include "io/dkim_keys.h"

/* Makes a key: the private one in PEM form (wipe it), and p= of its record. */
bool ll_dkim_generate(enum ll_dkim_algorithm, struct ll_buf *ret_pem, struct ll_buf *ret_public);
/* The selector of a key that signs from then on: "20261125r" or "20261125e". */
void ll_dkim_selector(enum ll_dkim_algorithm, int64_t from, struct ll_buf *out);
/* The value of the TXT record, in zone-file form: strings of at most 255 octets in quotes. */
void ll_dkim_value(const struct ll_dkim_entry *, struct ll_buf *out);

#endif
