/*
 * srs_secret: the secret that signs SRS addresses (letterlock/srs.h), in a file of auth's own
 * beside the accounts: "srs.secret", one line. auth makes it where there is none: nobody must
 * choose it, and no other role has any use for it.
 *
 * To change it: rename the file to "srs.secret.old" and reload. auth makes a new one, and what the
 * old one signed is good until LL_SRS_DAYS days after that: as long as addresses are good at all.
 */
#ifndef LL_DAEMON_AUTH_SRS_SECRET_H
#define LL_DAEMON_AUTH_SRS_SECRET_H

#include "letterlock/base.h"

#define LL_SRS_SECRET_NAME   "srs.secret"
#define LL_SRS_SECRET_RANDOM 32  /* octets of a new one, written as twice as many hex digits */
#define LL_SRS_SECRET_LINE   256 /* octets of a line, at most; at least LL_SRS_SECRET_RANDOM */

/* Reads the secret beside the file `accounts`, or makes it; replaces what is in ret. False: *err
 * says why, ret is as it was. Wipe it with ll_buf_wipe. */
bool ll_srs_secret_read(const char *accounts, struct ll_buf *ret, struct ll_buf *err);
/* Reads the one before it; *ret_until: seconds since 1970 until which it counts. False: there is
 * none, or it cannot be read (then *err says why); ret is empty. */
bool ll_srs_secret_old(const char *accounts, struct ll_buf *ret, int64_t *ret_until,
                       struct ll_buf *err);

#endif
