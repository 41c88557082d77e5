/*
 * local: the server on this machine, through the socket at which it takes letters of local users.
 */
#ifndef LL_TOOL_CLIENT_LOCAL_H
#define LL_TOOL_CLIENT_LOCAL_H

#include "letterlock/base.h"

#define LL_LOCAL_SOCKET  "/run/letterlock/sendmail.sock"
#define LL_LOCAL_WAIT_MS 60000 /* for the greeting: a server that starts answers late */

struct ll_local {
    const char *path;
    int fd;
    struct ll_buf greeting; /* as it came, one line */
    char domain[256];       /* that completes names without one: the greeting tells it */
};

/* Connects and reads the greeting. 0; else EX_TEMPFAIL, said on stderr: no server, or it refuses.
 */
int ll_local_open(const char *path, struct ll_local *ret);
void ll_local_close(struct ll_local *);
/* sendmail -bs: standard input and output become a session. Where there is no server, 421 is said
 * on standard output too. 0 or EX_TEMPFAIL. */
int ll_local_talk(const char *path);

#endif
