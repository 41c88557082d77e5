/*
 * save: attachments as files, under names that a stranger proposed.
 *
 * Only the last part of a proposed name is used, without control and direction characters, without
 * what other systems forbid, never beginning with a dot or a dash, never a device's name. Files are
 * made below a folder's descriptor, anew (O_EXCL, mode 0600): nothing is overwritten, no link is
 * followed, and two of one name become "name-2".
 */
#ifndef LL_TOOL_READ_SAVE_H
#define LL_TOOL_READ_SAVE_H

#include "letterlock/base.h"

#define LL_SAVE_NAME_MAX 120 /* octets */
#define LL_SAVE_TRIES    100 /* files of one name */

/* Appends a safe name; `number` names what has none ("attachment-3"). */
void ll_save_name(struct ll_slice proposed, unsigned number, struct ll_buf *out);
/* Writes a file into the folder; *ret_name is the name it got. 0, or an errno value: then there is
 * no file. */
int ll_save_file(int folder, struct ll_slice name, struct ll_slice octets, struct ll_buf *ret_name);

#endif
