/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of linux/spinlock.h. */
#ifndef _LINUX_SPINLOCK_H
#define _LINUX_SPINLOCK_H

#include <lab/machine.h>
#include <linux/cleanup.h>
#include <linux/spinlock_types.h>

/*
 * CUSTOM: nobody ever spins, since one simulated task runs at a time and none
 * is stopped while it holds one. Taking a lock twice stops the machine; under
 * a lock a task is in atomic context.
 */
static inline void spin_lock_init(spinlock_t *lock)
{
	lock->locked = false;
}

static inline void spin_lock(spinlock_t *lock)
{
	if (unlikely(lock->locked))
		kpb_stop(__FILE__, __LINE__,
			 "deadlock: spin_lock() of a lock that is held");
	lock->locked = true;
	kpb_this->preempt_count++;
}

static inline void spin_unlock(spinlock_t *lock)
{
	struct kpb_machine *m = kpb_this;

	if (unlikely(!lock->locked))
		kpb_stop(__FILE__, __LINE__,
			 "BUG: spin_unlock() of a lock that is free");
	lock->locked = false;
	m->preempt_count--;
	/* only walks of lists are long */
	if (unlikely(m->hold_steps)) {
		if (m->hold_steps > m->counters.lock_hold_max_steps)
			m->counters.lock_hold_max_steps = m->hold_steps;
		m->hold_steps = 0;
	}
}

/* STUB: there are no bottom halves; what counts is the lock */
static inline void spin_lock_bh(spinlock_t *lock)
{
	spin_lock(lock);
}

static inline void spin_unlock_bh(spinlock_t *lock)
{
	spin_unlock(lock);
}

DEFINE_GUARD(spinlock, spinlock_t *, spin_lock(_T), spin_unlock(_T))
DEFINE_GUARD(spinlock_bh, spinlock_t *, spin_lock_bh(_T), spin_unlock_bh(_T))

#endif
