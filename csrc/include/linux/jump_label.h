/* SPDX-License-Identifier: GPL-2.0-only */
/* Static keys; namesake of linux/jump_label.h. */
#ifndef _LINUX_JUMP_LABEL_H
#define _LINUX_JUMP_LABEL_H

#include <linux/kernel.h>

/* STUB: a plain flag, so a branch costs a load that the kernel has patched out */
struct static_key_false {
	bool enabled;
};

#define STATIC_KEY_FALSE_INIT { .enabled = false }
#define DEFINE_STATIC_KEY_FALSE(name) \
	struct static_key_false name = STATIC_KEY_FALSE_INIT
#define DEFINE_STATIC_KEY_FALSE_RO(name) DEFINE_STATIC_KEY_FALSE(name)
#define DECLARE_STATIC_KEY_FALSE(name) extern struct static_key_false name

#define static_branch_likely(key) likely((key)->enabled)
#define static_branch_unlikely(key) unlikely((key)->enabled)
#define static_key_enabled(key) ((key)->enabled)

static inline void static_branch_enable(struct static_key_false *key)
{
	key->enabled = true;
}

static inline void static_branch_disable(struct static_key_false *key)
{
	key->enabled = false;
}

#endif
