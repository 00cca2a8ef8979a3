// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks and what they sleep on. A replay is task 0 from end to end. A step
 * (kpb_step()) runs on a stack of its own, so that it can be stopped at a
 * point, or wait for a mutex, while other tasks go on: the caller decides who
 * runs when, and nothing else does. Whatever could hang ends the machine with
 * a report of who holds what, and of how it came there.
 */

#include <linux/kpkeys.h>
#include <linux/mm.h>
#include <linux/mutex.h>

#include <sys/mman.h>
#include <ucontext.h>

#include "machine.h"

#if defined(__SANITIZE_ADDRESS__)
#define KPB_ASAN_FIBERS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KPB_ASAN_FIBERS 1
#endif
#endif
#ifdef KPB_ASAN_FIBERS
void __sanitizer_start_switch_fiber(void **save, const void *bottom,
				    size_t size);
void __sanitizer_finish_switch_fiber(void *save, const void **bottom,
				     size_t *size);
#endif

#define KPB_TASK_STACK_BYTES (256UL << 10)

/* A task that is stepped: its stack, and what is its own while it does not run. */
struct kpb_task {
	ucontext_t context;
	ucontext_t *back; /* to whom a switch returns */
	void *stack;
	struct kpb_step step;
	struct kpb_frame *frames;
	enum kpb_cause cause;
	unsigned int preempt_count;
	unsigned int shrink_depth;
	unsigned int op_events;
	u64 hold_steps;
	u8 cpu;
	enum kpb_task_state state;
	enum kpb_point point;
	const char *lock;
	int path;
	bool failed;
#ifdef KPB_ASAN_FIBERS
	const void *back_bottom;
	size_t back_size;
#endif
};

/* The kernel functions that are open, innermost first: "a <- b <- c". */
static void kpb_path_text(char *out, size_t size)
{
	const struct kpb_frame *frame = kpb_this->frames;
	size_t used = 0;

	out[0] = '\0';
	for (; frame && used < size; frame = frame->up)
		used += (size_t)snprintf(out + used, size - used, "%s%s",
					 used ? " <- " : "", frame->what);
}

static struct kpb_task *kpb_running_task(void)
{
	struct kpb_task *task = kpb_this->task_stacks[kpb_this->curr->pid];

	return task && task->back ? task : NULL;
}

/* A task that has not finished what it does, or -1. */
static int kpb_task_under_way(void)
{
	int i;

	for (i = 0; i < KPB_MAX_TASKS; i++) {
		const struct kpb_task *task = kpb_this->task_stacks[i];

		if (task && task->state != KPB_TASK_IDLE)
			return i;
	}
	return -1;
}

/* Leave the running task's stack; back here when somebody lets it go on. */
static void kpb_task_switch_out(struct kpb_task *task,
				enum kpb_task_state state)
{
	ucontext_t *back = task->back;

	task->state = state;
	task->back = NULL;
#ifdef KPB_ASAN_FIBERS
	void *fake = NULL;

	__sanitizer_start_switch_fiber(state == KPB_TASK_IDLE ? NULL : &fake,
				       task->back_bottom, task->back_size);
#endif
	swapcontext(&task->context, back);
#ifdef KPB_ASAN_FIBERS
	__sanitizer_finish_switch_fiber(fake, &task->back_bottom,
					&task->back_size);
#endif
}

void kpb_point_reached(enum kpb_point point, const char *lock)
{
	struct kpb_task *task = kpb_running_task();

	/* whoever holds a spinlock goes on until he has given it back */
	if (!task || kpb_this->preempt_count >
			     (task->step.context == KPB_CONTEXT_ATOMIC))
		return;
	if (--kpb_this->stop_nth)
		return;
	task->point = point;
	task->lock = lock;
	kpb_task_switch_out(task, KPB_TASK_STOPPED);
}

void kpb_sleep_in_atomic(const char *file, int line, const char *what)
{
	struct kpb_machine *m = kpb_this;
	char path[80], msg[160];

	kpb_path_text(path, sizeof(path));
	snprintf(msg, sizeof(msg), "sleeping in atomic context: %s() <- %s",
		 what, path);
	m->counters.sleeps_in_atomic++;
	kpb_event(KPB_EVENT_SLEEP_IN_ATOMIC, kpb_note_site(file, line, msg), 0,
		  0);
}

/* Is the owner of @lock, by way of others, waiting for the task that runs? */
static bool kpb_mutex_is_cycle(const struct mutex *lock)
{
	const struct task_struct *task = lock->owner;
	int i;

	for (i = 0; i < KPB_MAX_TASKS && task && task->waits_for; i++) {
		task = task->waits_for->owner;
		if (task == kpb_this->curr)
			return true;
	}
	return false;
}

static const char *kpb_mutex_name(const struct mutex *lock)
{
	return lock->name ? lock->name : "a mutex";
}

static __cold void kpb_deadlock(const struct mutex *lock, const char *why)
{
	const struct task_struct *task = lock->owner;
	char path[160], msg[KPB_MSG_BYTES];
	int used, i;

	kpb_path_text(path, sizeof(path));
	used = snprintf(msg, sizeof(msg), "deadlock: task %d wants %s, which ",
			kpb_this->curr->pid, kpb_mutex_name(lock));
	if (task == kpb_this->curr)
		used += snprintf(msg + used, sizeof(msg) - (size_t)used,
				 "it holds itself");
	else
		used += snprintf(msg + used, sizeof(msg) - (size_t)used,
				 "task %d holds", task->pid);
	for (i = 0; i < KPB_MAX_TASKS && task->waits_for &&
		    task != kpb_this->curr && used < (int)sizeof(msg);
	     i++) {
		if (!task->waits_for->owner) {
			used += snprintf(
				msg + used, sizeof(msg) - (size_t)used,
				"; task %d was waiting for %s, which is free, and has not gone on yet",
				task->pid, kpb_mutex_name(task->waits_for));
			break;
		}
		used += snprintf(msg + used, sizeof(msg) - (size_t)used,
				 "; task %d waits for %s, which task %d holds",
				 task->pid, kpb_mutex_name(task->waits_for),
				 task->waits_for->owner->pid);
		task = task->waits_for->owner;
	}
	if (used < (int)sizeof(msg))
		snprintf(msg + used, sizeof(msg) - (size_t)used, "%s; path: %s",
			 why, path);
	kpb_stop_msg(msg);
}

/* Somebody else holds it: wait, if that can ever end. */
static __cold void kpb_mutex_contended(struct mutex *lock)
{
	struct kpb_machine *m = kpb_this;
	struct task_struct *self = m->curr;
	struct kpb_task *task = kpb_running_task();

	if (lock->owner == self)
		kpb_deadlock(lock, "");
	self->waits_for = lock;
	if (kpb_mutex_is_cycle(lock))
		kpb_deadlock(lock, "");
	if (!task)
		kpb_deadlock(lock, "; a replay cannot wait for a stopped task");
	m->counters.mutex_waits++;
	while (lock->owner) {
		kpb_event(KPB_EVENT_MUTEX_WAIT, (u64)lock->owner->pid, 0, 0);
		task->lock = lock->name;
		kpb_task_switch_out(task, KPB_TASK_BLOCKED);
	}
	self->waits_for = NULL;
}

void mutex_lock(struct mutex *lock)
{
	might_sleep();
	kpb_point(KPB_POINT_MUTEX_LOCK, lock->name);
	if (unlikely(lock->owner))
		kpb_mutex_contended(lock);
	lock->owner = kpb_this->curr;
}

void mutex_unlock(struct mutex *lock)
{
	WARN_ON(lock->owner != kpb_this->curr);
	lock->owner = NULL;
	kpb_point(KPB_POINT_MUTEX_UNLOCK, lock->name);
}

struct task_struct *kpb_current(void)
{
	return kpb_this->curr;
}

/* What a task's stack begins with. */
static void kpb_task_main(void)
{
	struct kpb_task *task = kpb_running_task();

#ifdef KPB_ASAN_FIBERS
	__sanitizer_finish_switch_fiber(NULL, &task->back_bottom,
					&task->back_size);
#endif
	kpb_step_op(&task->step, &task->path, &task->failed);
	kpb_task_switch_out(task, KPB_TASK_IDLE);
}

/* What the linear map is touched for, unless an operation says more. */
static enum kpb_cause kpb_idle_cause(void)
{
	return kpb_this->late_init_done ? KPB_CAUSE_OTHER : KPB_CAUSE_BOOT;
}

/* Let @task run until it is done, stopped or blocked. */
static int kpb_task_run(struct kpb_task *task, struct task_struct *self,
			u32 stop_at, u32 stop_nth, struct kpb_step_result *out)
{
	struct kpb_machine *m = kpb_this;
	struct task_struct *before = m->curr;
	ucontext_t here;

	m->curr = self;
	m->frames = task->frames;
	m->cause = task->cause;
	m->preempt_count = task->preempt_count;
	m->shrink_depth = task->shrink_depth;
	m->op_events = task->op_events;
	m->hold_steps = task->hold_steps;
	m->cpu = task->cpu;
	m->stop_armed = stop_at ? (u32)BIT(stop_at) : 0;
	m->stop_nth = stop_nth ? stop_nth : 1;
	task->back = &here;
#ifdef KPB_ASAN_FIBERS
	void *fake = NULL;

	__sanitizer_start_switch_fiber(&fake, task->stack,
				       KPB_TASK_STACK_BYTES);
#endif
	swapcontext(&here, &task->context);
#ifdef KPB_ASAN_FIBERS
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
	m->stop_armed = 0;
	task->frames = m->frames;
	task->cause = m->cause;
	task->preempt_count = m->preempt_count;
	task->shrink_depth = m->shrink_depth;
	task->op_events = m->op_events;
	task->hold_steps = m->hold_steps;
	task->cpu = m->cpu;
	/* the context was the step's, not the task's */
	if (task->state == KPB_TASK_IDLE)
		self->flags = 0;
	m->curr = before;
	m->frames = NULL;
	m->cause = kpb_idle_cause();
	m->preempt_count = 0;
	m->shrink_depth = 0;
	m->op_events = 0;
	m->hold_steps = 0;
	if (m->border.stopped)
		return -EDEADLK;

	memset(out, 0, sizeof(*out));
	out->state = task->state;
	out->point = task->state == KPB_TASK_STOPPED ? task->point :
						       KPB_POINT_NONE;
	out->path = task->state == KPB_TASK_IDLE ? task->path : KPB_NR_PATHS;
	out->failed = task->state == KPB_TASK_IDLE && task->failed;
	if (task->state != KPB_TASK_IDLE && task->lock)
		snprintf(out->lock, sizeof(out->lock), "%s", task->lock);
	if (self->waits_for && self->waits_for->owner)
		out->owner = (u32)self->waits_for->owner->pid;
	return task->state == KPB_TASK_IDLE && task->path < 0 ? task->path : 0;
}

static struct kpb_task *kpb_task_get(struct kpb_machine *m, u32 nr)
{
	struct kpb_task *task = m->task_stacks[nr];

	if (task)
		return task;
	task = calloc(1, sizeof(*task));
	if (!task)
		return NULL;
	task->stack = mmap(NULL, KPB_TASK_STACK_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (task->stack == MAP_FAILED) {
		free(task);
		return NULL;
	}
	m->task_stacks[nr] = task;
	return task;
}

/* Whatever the task did before, it is at the beginning of @step now. */
static void kpb_task_prepare(struct kpb_task *task, struct task_struct *self,
			     const struct kpb_step *step)
{
	task->step = *step;
	task->frames = NULL;
	task->cause = kpb_idle_cause();
	task->preempt_count = step->context == KPB_CONTEXT_ATOMIC;
	task->shrink_depth = 0;
	task->op_events = 0;
	task->hold_steps = 0;
	self->flags = step->context == KPB_CONTEXT_MEMALLOC ? PF_MEMALLOC : 0;
	getcontext(&task->context);
	task->context.uc_stack.ss_sp = task->stack;
	task->context.uc_stack.ss_size = KPB_TASK_STACK_BYTES;
	task->context.uc_link = NULL;
	makecontext(&task->context, kpb_task_main, 0);
}

static int kpb_granule_step(const struct kpb_step *step,
			    struct kpb_step_result *out)
{
	struct kpb_machine *m = kpb_this;
	struct kpb_task *task;

	if (step->task >= KPB_MAX_TASKS || step->context >= KPB_NR_CONTEXTS ||
	    step->stop_at >= KPB_NR_POINTS)
		return -EINVAL;
	task = kpb_task_get(m, step->task);
	if (!task)
		return -ENOMEM;
	if (task->state != KPB_TASK_IDLE)
		return -EALREADY;
	kpb_task_prepare(task, &m->tasks[step->task], step);
	return kpb_task_run(task, &m->tasks[step->task], step->stop_at,
			    step->stop_nth, out);
}

static int kpb_granule_continue(uint32_t nr, uint32_t stop_at,
				uint32_t stop_nth, struct kpb_step_result *out)
{
	struct kpb_machine *m = kpb_this;

	if (nr >= KPB_MAX_TASKS || stop_at >= KPB_NR_POINTS ||
	    !m->task_stacks[nr] || m->task_stacks[nr]->state == KPB_TASK_IDLE)
		return -EINVAL;
	return kpb_task_run(m->task_stacks[nr], &m->tasks[nr], stop_at,
			    stop_nth, out);
}

static void kpb_tasks_free(struct kpb_machine *m)
{
	int i;

	for (i = 0; i < KPB_MAX_TASKS; i++) {
		if (!m->task_stacks[i])
			continue;
		munmap(m->task_stacks[i]->stack, KPB_TASK_STACK_BYTES);
		free(m->task_stacks[i]);
	}
}
