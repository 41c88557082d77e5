/*
 * ask: answers an engine's question (letterlock/need.h) with the C library's resolver. The library
 * itself asks nobody; this is the part that a program brings along.
 */
#ifndef EXAMPLES_ASK_H
#define EXAMPLES_ASK_H

#include <letterlock/need.h>

/* The DNS server to ask, "127.0.0.1:53"; NULL: as /etc/resolv.conf says. False: not an address. */
bool ask_server(const char *address);
/* Asks. Everything in *ret lies in the arena. */
void ask(const struct ll_need *, struct ll_arena *, struct ll_dns_answer *ret);

#endif
