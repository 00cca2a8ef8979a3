/* SPDX-License-Identifier: GPL-2.0-only */
/* Sleeping locks with an owner; namesake of linux/mutex.h, linux/sched.h. */
#ifndef _LINUX_MUTEX_H
#define _LINUX_MUTEX_H

#include <linux/kernel.h>

/* CUSTOM: a simulated task */
struct task_struct {
	int pid;
};

struct mutex {
	struct task_struct *owner;
};

#define __MUTEX_INITIALIZER(name) { .owner = NULL }
#define DEFINE_MUTEX(name) struct mutex name = __MUTEX_INITIALIZER(name)

KPB_LOCAL struct task_struct *kpb_current(void);
#define current kpb_current()

/*
 * CUSTOM: only one simulated task runs at a time, so a mutex that is taken
 * already is held by somebody who can never give it back: the machine stops
 * with a report instead of hanging.
 */
static inline void mutex_lock(struct mutex *lock)
{
	if (unlikely(lock->owner))
		kpb_stop(__FILE__, __LINE__,
			 lock->owner == current ?
				 "deadlock: mutex_lock() by its owner" :
				 "deadlock: mutex held by another task");
	lock->owner = current;
}

static inline void mutex_unlock(struct mutex *lock)
{
	WARN_ON(lock->owner != current);
	lock->owner = NULL;
}

static inline struct task_struct *mutex_get_owner(const struct mutex *lock)
{
	return lock->owner;
}

#endif
