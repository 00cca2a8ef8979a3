/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of linux/spinlock.h. */
#ifndef _LINUX_SPINLOCK_H
#define _LINUX_SPINLOCK_H

#include <linux/kernel.h>

/* STUB: no contention is simulated; a recursive lock is a programmer error */
typedef struct {
	bool locked;
} spinlock_t;

static inline void spin_lock_init(spinlock_t *lock)
{
	lock->locked = false;
}

static inline void spin_lock_bh(spinlock_t *lock)
{
	VM_BUG_ON(lock->locked);
	lock->locked = true;
}

static inline void spin_unlock_bh(spinlock_t *lock)
{
	VM_BUG_ON(!lock->locked);
	lock->locked = false;
}

#endif
