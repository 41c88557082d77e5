/*
 * sendmail: letterlock(1) called as sendmail, mailq or newaliases.
 */
#ifndef LL_TOOL_SENDMAIL_H
#define LL_TOOL_SENDMAIL_H

/* Is the program called by one of those names? */
int ll_is_sendmail(const char *argv0);
/* See sendmail(1). Returns a sysexits status. */
int ll_sendmail(int argc, char **argv);

#endif
