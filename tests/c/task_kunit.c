// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks (csrc/lab/task.c): they are stopped where they were told to, wait for
 * a mutex and go on; what could never end is reported with who holds what.
 */

#include "box.h"

static struct kpb_machine *task_machine(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_SMALL_BYTES);

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(4096), 0);
	return m;
}

static int task_step(u32 task, u8 kind, u32 slot, u32 stop_at,
		     struct kpb_step_result *out)
{
	const struct kpb_step step = {
		.op = { .slot = slot, .kind = kind },
		.task = task,
		.stop_at = stop_at,
		.stop_nth = 1,
	};

	return box_granule.step(&step, out);
}

/* Ordinary allocations, until only the reserve is cached. */
static u32 task_drain_to_reserve(struct kunit *test)
{
	u32 slot = 100;

	while (kpb_cached_pages(kpb_this) > PBA_NR_RESERVED_PAGES)
		KUNIT_ASSERT_EQ(test, box_op(KPB_OP_ALLOC, slot++, 0, 1), 0);
	return slot;
}

static void task_runs_to_the_end(struct kunit *test)
{
	struct kpb_machine *m = task_machine(test);
	struct kpb_step_result res;
	u64 nr_ops = m->nr_ops;

	KUNIT_EXPECT_EQ(test, task_step(3, KPB_OP_ALLOC, 0, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_IDLE);
	KUNIT_EXPECT_EQ(test, res.path, KPB_PATH_ALLOC_FAST);
	KUNIT_EXPECT_FALSE(test, res.failed);
	KUNIT_EXPECT_EQ(test, m->nr_ops, nr_ops + 1);
	KUNIT_EXPECT_EQ(test, m->nr_live, 1);
	KUNIT_EXPECT_EQ(test, m->curr->pid, 0);
	BOX_EXPECT_CLEAN(test);
}

/* Two tasks miss; each has its region before either has the mutex. */
static void task_two_miss_at_the_same_time(struct kunit *test)
{
	struct kpb_machine *m = task_machine(test);
	struct kpb_step_result res;
	u64 refills;

	task_drain_to_reserve(test);
	refills = m->counters.refills;
	KUNIT_EXPECT_EQ(test,
			task_step(1, KPB_OP_ALLOC, 0, KPB_POINT_MUTEX_LOCK,
				  &res),
			0);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_STOPPED);
	KUNIT_EXPECT_EQ(test, res.point, KPB_POINT_MUTEX_LOCK);
	KUNIT_EXPECT_CONTAINS(test, res.lock, "alloc_mutex");
	KUNIT_EXPECT_EQ(test, m->counters.refills, refills + 1);
	KUNIT_EXPECT_EQ(test,
			task_step(2, KPB_OP_ALLOC, 1, KPB_POINT_MUTEX_LOCK,
				  &res),
			0);
	KUNIT_EXPECT_EQ(test, m->counters.refills, refills + 2);
	KUNIT_EXPECT_EQ(test, box_granule.resume(1, 0, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_IDLE);
	KUNIT_EXPECT_EQ(test, box_granule.resume(2, 0, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_IDLE);
	/* both regions but one page of each, and the reserve */
	KUNIT_EXPECT_EQ(test, kpb_cached_pages(m),
			2 * ((1UL << BOX_LARGEST_ORDER) - 1) +
				PBA_NR_RESERVED_PAGES);
	BOX_EXPECT_CLEAN(test);
}

static void task_waits_for_a_mutex(struct kunit *test)
{
	struct kpb_machine *m = task_machine(test);
	struct kpb_step_result res;

	task_drain_to_reserve(test);
	/* stopped with alloc_mutex taken */
	task_step(1, KPB_OP_ALLOC, 0, KPB_POINT_SET_PKEY, &res);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_STOPPED);
	KUNIT_EXPECT_EQ(test, task_step(2, KPB_OP_ALLOC, 1, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_BLOCKED);
	KUNIT_EXPECT_EQ(test, res.owner, 1);
	KUNIT_EXPECT_CONTAINS(test, res.lock, "alloc_mutex");
	KUNIT_EXPECT_EQ(test, m->counters.mutex_waits, 1);
	/* in vain, as long as it is held */
	KUNIT_EXPECT_EQ(test, box_granule.resume(2, 0, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_BLOCKED);
	KUNIT_EXPECT_EQ(test, m->counters.mutex_waits, 1);
	KUNIT_EXPECT_EQ(test, box_granule.resume(1, 0, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_IDLE);
	KUNIT_EXPECT_EQ(test, box_granule.resume(2, 0, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_IDLE);
	BOX_EXPECT_CLEAN(test);
}

static void task_stops_the_nth_time(struct kunit *test)
{
	const struct kpb_step step = {
		.op = { .kind = KPB_OP_ALLOC },
		.task = 1,
		.stop_at = KPB_POINT_ALLOC_PAGES,
		.stop_nth = 2,
	};
	struct kpb_machine *m = task_machine(test);
	struct kpb_step_result res;
	const struct kpb_fault fault = { .mode = KPB_FAULT_NTH,
					 .n = 1,
					 .pkey = -1 };

	task_drain_to_reserve(test);
	KUNIT_EXPECT_EQ(test,
			box_granule.set_fault(KPB_POINT_ALLOC_PAGES, &fault),
			0);
	/* the first order fails; the second attempt is about to begin */
	KUNIT_EXPECT_EQ(test, box_granule.step(&step, &res), 0);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_STOPPED);
	KUNIT_EXPECT_EQ(test, m->counters.faults_injected, 1);
	KUNIT_EXPECT_EQ(test, box_granule.resume(1, 0, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, m->counters.refill_fallbacks, 1);
}

static void task_of_its_own_mutex_stops_the_machine(struct kunit *test)
{
	struct kpb_machine *m = task_machine(test);
	DEFINE_MUTEX(one);

	KUNIT_EXPECT_NULL(test, mutex_get_owner(&one));
	mutex_lock(&one);
	BOX_EXPECT_STOP(test, mutex_lock(&one),
			"task 0 wants one, which it holds itself");
	KUNIT_EXPECT_PTR_EQ(test, mutex_get_owner(&one), m->curr);
	/* given back by somebody else: a warning */
	one.owner = &m->tasks[2];
	BOX_EXPECT_WARNINGS(test, 1, mutex_unlock(&one));
	KUNIT_EXPECT_NULL(test, mutex_get_owner(&one));
}

static void task_replay_cannot_wait(struct kunit *test)
{
	struct kpb_step_result res;

	task_machine(test);
	task_drain_to_reserve(test);
	task_step(1, KPB_OP_ALLOC, 0, KPB_POINT_SET_PKEY, &res);
	BOX_EXPECT_STOP(test, box_op(KPB_OP_ALLOC, 1, 0, 1),
			"a replay cannot wait for a stopped task");
	/* and says how it came there */
	KUNIT_EXPECT_CONTAINS(test, kpb_this->border.msg, "task 1 holds");
}

/* One has a and wants b, the other has b and wants a. */
static void task_circle_of_two_is_reported(struct kunit *test)
{
	struct kpb_machine *m = task_machine(test);
	struct mutex *split = &m->pgtable_split_lock;
	struct kpb_step_result res;

	task_drain_to_reserve(test);
	task_step(1, KPB_OP_ALLOC, 0, KPB_POINT_SET_PKEY, &res);
	KUNIT_ASSERT_EQ(test, res.state, KPB_TASK_STOPPED);
	/* task 2 holds the other lock and is made to want alloc_mutex */
	split->owner = &m->tasks[2];
	task_step(2, KPB_OP_ALLOC, 1, 0, &res);
	KUNIT_ASSERT_EQ(test, res.state, KPB_TASK_BLOCKED);
#if PAGE_SHIFT == 16
	/* its refill splits: order 9 is less than a block */
	KUNIT_EXPECT_EQ(test, box_granule.resume(1, 0, 0, &res), -EDEADLK);
	KUNIT_EXPECT_CONTAINS(
		test, m->border.msg,
		"task 1 wants pgtable_split_lock, which task 2 holds");
	KUNIT_EXPECT_CONTAINS(test, m->border.msg, "task 2 waits for");
	KUNIT_EXPECT_CONTAINS(test, m->border.msg, "path: ");
#else
	KUNIT_EXPECT_EQ(test, box_granule.resume(1, 0, 0, &res), -EDEADLK);
	KUNIT_EXPECT_CONTAINS(test, m->border.msg, "deadlock: task 1 wants");
	KUNIT_EXPECT_CONTAINS(test, m->border.msg, "set_memory_pkey");
#endif
}

/* A spinlock that is taken twice, or given back twice. */
static void task_spinlocks_are_checked(struct kunit *test)
{
	static DEFINE_SPINLOCK(lock);
	struct kpb_machine *m = task_machine(test);

	spin_lock(&lock);
	KUNIT_EXPECT_EQ(test, m->preempt_count, 1);
	BOX_EXPECT_STOP(test, spin_lock(&lock), "spin_lock() of a lock");
	lock.locked = false;
	m->border.stopped = false;
	BOX_EXPECT_STOP(test, spin_unlock(&lock), "spin_unlock() of a lock");
}

static void task_that_sleeps_under_a_spinlock_is_reported(struct kunit *test)
{
	static DEFINE_SPINLOCK(lock);
	struct kpb_machine *m = task_machine(test);
	struct kpb_warning warning;
	DEFINE_MUTEX(mutex);

	mutex_lock(&mutex);
	mutex_unlock(&mutex);
	KUNIT_EXPECT_EQ(test, m->counters.sleeps_in_atomic, 0);
	spin_lock_bh(&lock);
	mutex_lock(&mutex);
	mutex_unlock(&mutex);
	spin_unlock_bh(&lock);
	KUNIT_EXPECT_EQ(test, m->counters.sleeps_in_atomic, 1);
	/* reported, but it is no WARN_ON() */
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	KUNIT_EXPECT_EQ(test, box_granule.warnings(&warning, 1), 1);
	KUNIT_EXPECT_CONTAINS(test, warning.what, "mutex_lock");
}

static void task_in_atomic_context_must_not_refill(struct kunit *test)
{
	struct kpb_step step = {
		.op = { .kind = KPB_OP_ALLOC },
		.task = 1,
		.gfp = GFP_ATOMIC,
		.context = KPB_CONTEXT_ATOMIC,
	};
	struct kpb_machine *m = task_machine(test);
	struct kpb_step_result res;

	/* from the cache it may; the flags are not what PBA expects */
	BOX_EXPECT_WARNINGS(test, 1, box_granule.step(&step, &res));
	KUNIT_EXPECT_EQ(test, m->counters.sleeps_in_atomic, 0);
	task_drain_to_reserve(test);
	step.op.slot = 1;
	KUNIT_EXPECT_EQ(test, box_granule.step(&step, &res), 0);
	KUNIT_EXPECT_FALSE(test, res.failed);
	KUNIT_EXPECT_GT(test, m->counters.sleeps_in_atomic, 0);
	KUNIT_EXPECT_EQ(test, m->preempt_count, 0);
}

static void task_refuses_what_makes_no_sense(struct kunit *test)
{
	struct kpb_step_result res;

	task_machine(test);
	KUNIT_EXPECT_EQ(test,
			task_step(KPB_MAX_TASKS, KPB_OP_ALLOC, 0, 0, &res),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			task_step(1, KPB_OP_ALLOC, 0, KPB_NR_POINTS, &res),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, task_step(1, KPB_OP_FREE, 0, 0, &res), -EINVAL);
	KUNIT_EXPECT_EQ(test, task_step(1, KPB_OP_ALLOC, 5000, 0, &res),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, box_granule.resume(1, 0, 0, &res), -EINVAL);
	KUNIT_EXPECT_EQ(test, box_granule.resume(9, 0, 0, &res), -EINVAL);
	task_drain_to_reserve(test);
	task_step(1, KPB_OP_ALLOC, 0, KPB_POINT_MUTEX_LOCK, &res);
	KUNIT_EXPECT_EQ(test, task_step(1, KPB_OP_ALLOC, 1, 0, &res),
			-EALREADY);
	/* nor may anybody else use its slot, or move the slots */
	KUNIT_EXPECT_EQ(test, task_step(2, KPB_OP_ALLOC, 0, 0, &res), -EINVAL);
	KUNIT_EXPECT_EQ(test, task_step(2, KPB_OP_FREE, 0, 0, &res), -EINVAL);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(8192), -EALREADY);
	KUNIT_EXPECT_EQ(test, box_granule.resume(1, 0, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(8192), 0);
}

/* A page that is being given back is given back once. */
static void task_free_that_is_stopped_keeps_the_slot(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_boot(test, &config);
	struct kpb_step_result res;

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(2), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 0, 0, 1), 0);
	task_step(1, KPB_OP_FREE, 0, KPB_POINT_FREE_PAGES, &res);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_STOPPED);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_FREE, 0, 0, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, box_granule.resume(1, 0, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, m->counters.frees, 1);
	BOX_EXPECT_CLEAN(test);
}

/* An allocator that gives pages back under its lock, as the kernel allows. */
static void task_free_locked(struct page *page)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	__free_page(page);
	spin_unlock(&lock);
}

static const struct kpb_allocator_ops task_locking_ops = {
	.free = task_free_locked,
};

/*
 * A chain that ends at a mutex which is free again: whoever waited for it has
 * not gone on yet.
 */
static void task_chain_may_end_at_a_free_mutex(struct kunit *test)
{
	struct kpb_machine *m = task_machine(test);
	struct kpb_step_result res;

	task_drain_to_reserve(test);
	/* task 1 holds alloc_mutex and waits for a lock that task 2 had */
	task_step(1, KPB_OP_ALLOC, 0, KPB_POINT_SET_PKEY, &res);
	KUNIT_ASSERT_EQ(test, res.state, KPB_TASK_STOPPED);
	m->tasks[1].waits_for = &m->pgtable_split_lock;
	m->pgtable_split_lock.owner = NULL;
	BOX_EXPECT_STOP(test, box_op(KPB_OP_ALLOC, 1, 0, 1),
			"was waiting for pgtable_split_lock, which is free");
}

/* Under a spinlock nobody is stopped: the point after it is taken instead. */
static void task_is_not_stopped_under_a_spinlock(struct kunit *test)
{
	const struct kpb_step step = {
		.op = { .kind = KPB_OP_ALLOC },
		.task = 1,
		.gfp = GFP_ATOMIC,
		.context = KPB_CONTEXT_ATOMIC,
		.stop_at = KPB_POINT_ALLOC_PAGES,
		.stop_nth = 1,
	};
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_boot(test, &config);
	struct kpb_step_result res;

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(2), 0);
	/* in an atomic context of its own a task can be stopped */
	KUNIT_EXPECT_EQ(test, box_granule.step(&step, &res), 0);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_STOPPED);
	KUNIT_EXPECT_EQ(test, box_granule.resume(1, 0, 0, &res), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 1, 0, 1), 0);
	m->ops = &task_locking_ops;
	task_step(2, KPB_OP_FREE, 1, KPB_POINT_FREE_PAGES, &res);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_IDLE);
	m->ops = &kpb_v6_ops;
}

/* A machine may go while tasks are stopped: sanitizers watch over this one. */
static void task_stopped_ones_are_freed_with_the_machine(struct kunit *test)
{
	struct kpb_step_result res;

	task_machine(test);
	task_drain_to_reserve(test);
	task_step(1, KPB_OP_ALLOC, 0, KPB_POINT_MUTEX_LOCK, &res);
	KUNIT_EXPECT_EQ(test, res.state, KPB_TASK_STOPPED);
}

static const struct kunit_case task_test_cases[] = {
	KUNIT_CASE(task_runs_to_the_end),
	KUNIT_CASE(task_two_miss_at_the_same_time),
	KUNIT_CASE(task_waits_for_a_mutex),
	KUNIT_CASE(task_stops_the_nth_time),
	KUNIT_CASE(task_of_its_own_mutex_stops_the_machine),
	KUNIT_CASE(task_replay_cannot_wait),
	KUNIT_CASE(task_circle_of_two_is_reported),
	KUNIT_CASE(task_spinlocks_are_checked),
	KUNIT_CASE(task_that_sleeps_under_a_spinlock_is_reported),
	KUNIT_CASE(task_in_atomic_context_must_not_refill),
	KUNIT_CASE(task_refuses_what_makes_no_sense),
	KUNIT_CASE(task_free_that_is_stopped_keeps_the_slot),
	KUNIT_CASE(task_chain_may_end_at_a_free_mutex),
	KUNIT_CASE(task_is_not_stopped_under_a_spinlock),
	KUNIT_CASE(task_stopped_ones_are_freed_with_the_machine),
	{ 0 }
};

static struct kunit_suite task_test_suite = {
	.name = BOX_SUITE("task"),
	.test_cases = task_test_cases,
};
kunit_test_suite(task_test_suite);
