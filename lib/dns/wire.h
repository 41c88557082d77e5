/* What the files of lib/dns share. */
#ifndef LL_LIB_DNS_WIRE_H
#define LL_LIB_DNS_WIRE_H

#include "letterlock/dns.h"

/* Appends one label; false: not a label of a text form, or the name grows too long. */
bool ll_dns_label_add(struct ll_dns_name *, struct ll_slice label);
void ll_dns_name_root(struct ll_dns_name *);
/* Reads a name without compression; c->failed on any fault. */
void ll_dns_wire_name(struct ll_cursor *c, struct ll_dns_name *ret);

#endif
