/*
 * listen: a socket that a mail server's milter client connects to.
 */
#ifndef LL_TOOL_MILTER_LISTEN_H
#define LL_TOOL_MILTER_LISTEN_H

/* text: "unix:/PATH", "local:/PATH", "/PATH", "inet:PORT[@ADDRESS]", "inet6:PORT@ADDRESS" or
 * "ADDRESS:PORT"; without an address loopback. mode: octal, for a path (NULL: 660); group: its
 * group (NULL: as it is). A dead socket at the path is replaced. 0 and *ret_fd, not blocking; or a
 * sysexits status, said on stderr. */
int milter_listen(const char *text, const char *mode, const char *group, int *ret_fd);

#endif
