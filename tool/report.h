/*
 * report: what the files of `letterlock report` share.
 */
#ifndef LL_TOOL_REPORT_H
#define LL_TOOL_REPORT_H

#include "io/report.h"
#include "tool/tool.h"

/* What each report is used for. `use` says itself what went wrong and gives a status. */
struct ll_reports {
    int (*use)(struct ll_reports *, const char *path, const struct ll_report_node *top);
    size_t done; /* reports read and used */
    bool json;
    void *state;
};

/* Reads every file, "-" for stdin; of a folder, every file in it and in its new and cur (so a
 * Maildir is read whole). The first status that is not 0 is the command's; the rest is read all the
 * same. */
int ll_reports_read(struct ll_reports *, const struct ll_words *paths);

/* report_dmarc.c */
int ll_report_dmarc(int argc, char **argv);

#endif
