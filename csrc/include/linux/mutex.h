/* SPDX-License-Identifier: GPL-2.0-only */
/* Sleeping locks with an owner; namesake of linux/mutex.h, linux/sched.h. */
#ifndef _LINUX_MUTEX_H
#define _LINUX_MUTEX_H

#include <linux/cleanup.h>
#include <linux/kernel.h>

/* DUPLICATED: inside reclaim, or on its behalf */
#define PF_MEMALLOC 0x00000800

struct mutex;

/* CUSTOM: a simulated task; it has no stack unless it is stepped (lab/task.c) */
struct task_struct {
	int pid; /* its number in the machine */
	unsigned int flags;
	struct mutex *waits_for;
};

/* CUSTOM: a mutex knows its owner and its name, and nothing else */
struct mutex {
	struct task_struct *owner;
	const char *name;
};

#define __MUTEX_INITIALIZER(lockname) { .owner = NULL, .name = #lockname }
#define DEFINE_MUTEX(name) struct mutex name = __MUTEX_INITIALIZER(name)
#define mutex_init(lock) \
	(*(lock) = (struct mutex){ .owner = NULL, .name = #lock })

KPB_LOCAL struct task_struct *kpb_current(void);
#define current kpb_current()

/*
 * CUSTOM: lab/task.c. One simulated task runs at a time. A task that finds a
 * mutex taken waits if it can be stepped; if nobody can ever give the mutex
 * back, the machine stops with a report instead of hanging.
 */
KPB_LOCAL void mutex_lock(struct mutex *lock);
KPB_LOCAL void mutex_unlock(struct mutex *lock);

/* STUB: nothing is checked */
#define lockdep_assert_held(lock) ((void)(lock))

static inline bool mutex_is_locked(const struct mutex *lock)
{
	return lock->owner;
}

/* added by the kpkeys series */
static inline struct task_struct *mutex_get_owner(const struct mutex *lock)
{
	return lock->owner;
}

DEFINE_GUARD(mutex, struct mutex *, mutex_lock(_T), mutex_unlock(_T))

#endif
