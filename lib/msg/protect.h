/* What the writer and the reader of protected fields share. */
#ifndef LETTERLOCK_LIB_MSG_PROTECT_H
#define LETTERLOCK_LIB_MSG_PROTECT_H

#include "letterlock/msg.h"
#include "letterlock/protect.h"

/* Content-..., MIME-Version (RFC 9787 1.1.1), and HP-Outer, which speaks of others. */
bool ll_protect_is_structural(struct ll_slice name);
/* Fields that people look at (RFC 9787 1.1.2). */
bool ll_protect_is_user_facing(struct ll_slice name);
/* Equal but for folds, the length of white space, and white space at the ends. */
bool ll_protect_same(struct ll_slice a, struct ll_slice b);

#define LL_PROTECT_DISPLAY_CLASS "header-protection-legacy-display"

#endif
