/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of linux/spinlock_types.h. */
#ifndef _LINUX_SPINLOCK_TYPES_H
#define _LINUX_SPINLOCK_TYPES_H

#include <linux/kernel.h>

/* CUSTOM: see linux/spinlock.h */
typedef struct {
	bool locked;
} spinlock_t;

#define __SPIN_LOCK_UNLOCKED(name) { .locked = false }
#define DEFINE_SPINLOCK(name) spinlock_t name = __SPIN_LOCK_UNLOCKED(name)

#endif
