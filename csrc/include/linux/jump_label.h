/* SPDX-License-Identifier: GPL-2.0-only */
/* Static keys; namesake of linux/jump_label.h. */
#ifndef _LINUX_JUMP_LABEL_H
#define _LINUX_JUMP_LABEL_H

#include <linux/kernel.h>

/* STUB: a plain flag, so a branch costs a load that the kernel has patched out */
struct static_key_false {
	bool enabled;
};

#define static_branch_likely(key) likely((key)->enabled)
#define static_branch_unlikely(key) unlikely((key)->enabled)

static inline void static_branch_enable(struct static_key_false *key)
{
	key->enabled = true;
}

#endif
