/*
 * sendmail: the door for sendmail(1). Every local user may knock: the kernel says who it is
 * (SO_PEERCRED), auth says what that user is called and whether it is trusted, and a submission
 * front gets the connection and speaks SMTP with it. Nothing is read from it here.
 *
 * One user always gets the same front, which so can count its sessions and letters. While auth or
 * the front are not there (a start, a restart), callers wait up to SENDMAIL_WAIT_MS, then 421.
 */
#ifndef LL_CONTROL_SENDMAIL_H
#define LL_CONTROL_SENDMAIL_H

#include "daemon/proc.h"

#define SENDMAIL_WAITING     64 /* callers between the door and their front ... */
#define SENDMAIL_WAITING_UID 16 /* ... of one user */
#define SENDMAIL_WAIT_MS     10000

struct sendmail;

/* NULL without memory. */
struct sendmail *sendmail_new(struct ll_proc *);
/* The listening socket; it becomes the door's. */
void sendmail_listen(struct sendmail *, int fd);
/* LOCAL_ANSWER. */
int sendmail_answer(struct sendmail *, const struct ll_msg *);
void sendmail_peer_up(struct sendmail *, const struct ll_peer *);
void sendmail_peer_down(struct sendmail *, const struct ll_peer *);

#endif
