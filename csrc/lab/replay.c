// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hot loop: replays an array of operations on one machine. It is a closed
 * loop: an operation starts when the one before has ended, so what is timed is
 * service time. Counts do not depend on how, or whether, time is taken.
 */

#include <linux/kpkeys.h>
#include <linux/mm.h>
#include <linux/set_memory.h>

#include "../allocators/allocators.h"
#include "../mm/internal.h"
#include "clock.h"
#include "hist.h"

/* An operation that belongs to no path: somebody else's pages. */
#define KPB_PATH_NONE KPB_NR_PATHS
#define KPB_DEF_PRIORITY 12

static __always_inline int kpb_alloc_into(struct kpb_machine *m, gfp_t gfp,
					  struct kpb_slot *slot)
{
	struct page *page;

	/* if it is stopped on its way, nobody else may use the slot */
	slot->kind = KPB_SLOT_BUSY;
	page = m->ops->alloc(gfp);
	m->counters.allocs++;
	if (unlikely(!page)) {
		m->counters.failed_allocs++;
		slot->kind = KPB_SLOT_PTP_FAILED;
		return KPB_PATH_NONE;
	}
	slot->page = page;
	slot->kind = KPB_SLOT_PTP;
	if (++m->nr_live > m->counters.live_peak_pages)
		m->counters.live_peak_pages = m->nr_live;
	return KPB_PATH_ALLOC_FAST;
}

static __always_inline int kpb_do_alloc(struct kpb_machine *m,
					const struct kpb_op *op,
					struct kpb_slot *slot)
{
	if (unlikely(slot->kind != KPB_SLOT_EMPTY))
		return -EINVAL;
	return kpb_alloc_into(m,
			      op->arg & 1 ? GFP_PGTABLE_KERNEL :
					    GFP_PGTABLE_USER,
			      slot);
}

static __always_inline int kpb_do_free(struct kpb_machine *m,
				       struct kpb_slot *slot)
{
	if (unlikely(slot->kind != KPB_SLOT_PTP)) {
		if (slot->kind != KPB_SLOT_PTP_FAILED)
			return -EINVAL;
		slot->kind = KPB_SLOT_EMPTY;
		return KPB_PATH_NONE;
	}
	slot->kind = KPB_SLOT_BUSY;
	m->ops->free(slot->page);
	m->counters.frees++;
	m->nr_live--;
	slot->page = NULL;
	slot->kind = KPB_SLOT_EMPTY;
	return KPB_PATH_FREE;
}

static noinline int kpb_do_pin(struct kpb_machine *m, const struct kpb_op *op,
			       struct kpb_slot *slot)
{
	static const gfp_t gfp_of_type[MIGRATE_TYPES] = {
		[MIGRATE_UNMOVABLE] = GFP_KERNEL,
		[MIGRATE_MOVABLE] = GFP_KERNEL | __GFP_MOVABLE,
		[MIGRATE_RECLAIMABLE] = GFP_KERNEL | __GFP_RECLAIMABLE,
	};
	struct page *page;

	if (slot->kind != KPB_SLOT_EMPTY || op->arg > MAX_PAGE_ORDER ||
	    op->level >= MIGRATE_TYPES)
		return -EINVAL;
	slot->kind = KPB_SLOT_BUSY;
	page = __alloc_pages_noprof(gfp_of_type[op->level], op->arg);
	m->counters.pins++;
	slot->kind = KPB_SLOT_PIN_FAILED;
	if (!page) {
		m->counters.failed_pins++;
		return KPB_PATH_NONE;
	}
	if (op->level == MIGRATE_MOVABLE)
		kpb_movable_add(page, op->arg, op->slot);
	slot->page = page;
	slot->kind = KPB_SLOT_PIN;
	slot->order = op->arg;
	m->nr_pinned += 1UL << op->arg;
	return KPB_PATH_NONE;
}

static noinline int kpb_do_unpin(struct kpb_machine *m, struct kpb_slot *slot)
{
	if (slot->kind == KPB_SLOT_PIN_FAILED) {
		slot->kind = KPB_SLOT_EMPTY;
		return KPB_PATH_NONE;
	}
	if (slot->kind != KPB_SLOT_PIN)
		return -EINVAL;
	kpb_movable_del(slot->page, slot->order);
	___free_pages(slot->page, slot->order, FPI_NONE);
	m->counters.unpins++;
	m->nr_pinned -= 1UL << slot->order;
	slot->page = NULL;
	slot->kind = KPB_SLOT_EMPTY;
	return KPB_PATH_NONE;
}

static noinline int kpb_do_split_other(struct kpb_machine *m,
				       const struct kpb_op *op,
				       struct kpb_slot *slot)
{
	unsigned long addr;
	bool movable;

	if (slot->kind == KPB_SLOT_PIN_FAILED)
		return KPB_PATH_NONE;
	if (slot->kind != KPB_SLOT_PIN || !op->arg ||
	    op->level + op->arg > 1 << slot->order)
		return -EINVAL;
	/* a page whose permissions change must not be moved meanwhile */
	movable = *kpb_page_type(page_to_pfn(slot->page)) & KPB_PG_LRU;
	if (movable)
		kpb_movable_del(slot->page, slot->order);
	slot->kind = KPB_SLOT_BUSY;
	addr = (unsigned long)page_address(slot->page + op->level);
	m->counters.other_splits++;
	m->op_failed = set_memory_ro(addr, op->arg) != 0;
	if (movable)
		kpb_movable_add(slot->page, slot->order, op->slot);
	slot->kind = KPB_SLOT_PIN;
	m->counters.failed_other_splits += m->op_failed;
	return KPB_PATH_SPLIT_OTHER;
}

static noinline int kpb_do_shrink(struct kpb_machine *m,
				  const struct kpb_op *op)
{
	struct shrink_control sc = {
		.gfp_mask = GFP_KERNEL,
		.nr_to_scan = op->slot,
		.nr_scanned = op->slot,
	};

	if (op->arg > KPB_DEF_PRIORITY)
		return -EINVAL;
	m->counters.shrinks++;
	if (!m->shrinker.registered)
		return KPB_PATH_SHRINK;
	if (op->slot)
		kpb_scan_objects(&m->shrinker, &sc);
	else
		do_shrink_slab(&sc, &m->shrinker, op->arg);
	return KPB_PATH_SHRINK;
}

/* A permission change on any range of RAM, whoever uses it. */
static noinline int kpb_do_set_memory(struct kpb_machine *m,
				      const struct kpb_op *op)
{
	unsigned long nr = (unsigned long)op->level << 8 | op->arg;
	unsigned long pfn = m->zone.zone_start_pfn + op->slot;

	if (!nr || pfn + nr > m->zone.zone_end_pfn)
		return -EINVAL;
	m->counters.range_changes++;
	m->op_failed =
		set_memory_ro((unsigned long)page_address(pfn_to_page(pfn)),
			      (int)nr) != 0;
	m->counters.failed_range_changes += m->op_failed;
	return KPB_PATH_SPLIT_OTHER;
}

/* Operations that name no slot. */
static noinline int kpb_do_system(struct kpb_machine *m,
				  const struct kpb_op *op)
{
	switch (op->kind) {
	case KPB_OP_SHRINK:
		return kpb_do_shrink(m, op);
	case KPB_OP_SET_MEMORY:
		return kpb_do_set_memory(m, op);
	case KPB_OP_DRAIN:
		drain_all_pages();
		return KPB_PATH_NONE;
	case KPB_OP_RECLAIM:
		if (op->arg > MAX_PAGE_ORDER)
			return -EINVAL;
		__perform_reclaim(GFP_KERNEL, op->arg);
		return KPB_PATH_NONE;
	case KPB_OP_COMPACT:
		if (op->arg > MAX_PAGE_ORDER)
			return -EINVAL;
		kpb_compact_node(op->arg);
		return KPB_PATH_NONE;
	default:
		return -EINVAL;
	}
}

/* The path of an operation, or -EINVAL. */
static __always_inline int kpb_do_op(struct kpb_machine *m,
				     const struct kpb_op *op)
{
	struct kpb_slot *slot;

	m->op_events = 0;
	m->cpu = m->cpu_of[op->cpu];
	if (unlikely(op->kind >= KPB_OP_SHRINK))
		return kpb_do_system(m, op);
	if (unlikely(op->slot >= m->nr_slots))
		return -EINVAL;
	slot = &m->slots[op->slot];
	switch (op->kind) {
	case KPB_OP_ALLOC:
		return kpb_do_alloc(m, op, slot);
	case KPB_OP_FREE:
		return kpb_do_free(m, slot);
	case KPB_OP_PIN:
		return kpb_do_pin(m, op, slot);
	case KPB_OP_UNPIN:
		return kpb_do_unpin(m, slot);
	case KPB_OP_SPLIT_OTHER:
		return kpb_do_split_other(m, op, slot);
	default:
		return -EINVAL;
	}
}

/* What the mirrors raised while the operation ran. */
static __always_inline int kpb_op_events(struct kpb_machine *m, int path)
{
	unsigned int events = m->op_events;

	if (events & KPB_EV_PAGES)
		kpb_note_unprotected(m);
	if (unlikely(events & KPB_EV_REFILL_FAILED))
		m->counters.failed_refills++;
	if (unlikely(events & KPB_EV_REFILL) && path == KPB_PATH_ALLOC_FAST)
		path = events & KPB_EV_SPLIT ? KPB_PATH_ALLOC_REFILL_SPLIT :
					       KPB_PATH_ALLOC_REFILL;
	return path;
}

/* After each operation: what is summed over operations, and peaks. */
static __always_inline void kpb_op_account(struct kpb_machine *m, int path)
{
	long nr_cached = (long)kpb_cached_pages(m);

	m->nr_ops++;
	m->counters.cached_page_ops += (u64)nr_cached;
	m->counters.unprotected_page_ops += m->nr_unprotected;
	if (unlikely(nr_cached > (long)m->counters.cached_peak_pages))
		m->counters.cached_peak_pages = (u64)nr_cached;
	if (likely(path < KPB_PATH_NONE))
		m->counters.path_ops[path]++;
}

static noinline void kpb_op_digest(struct kpb_machine *m,
				   const struct kpb_op *op, int path)
{
	kpb_digest_op(path, op->kind < KPB_OP_SHRINK ? m->slots[op->slot].page :
						       NULL);
}

/* An allocation whose gfp flags were chosen freely. */
static int kpb_step_alloc(struct kpb_machine *m, const struct kpb_op *op,
			  gfp_t gfp)
{
	if (op->slot >= m->nr_slots ||
	    m->slots[op->slot].kind != KPB_SLOT_EMPTY)
		return -EINVAL;
	m->op_events = 0;
	m->cpu = m->cpu_of[op->cpu];
	return kpb_alloc_into(m, gfp, &m->slots[op->slot]);
}

/* Did the operation itself fail? Asked right after it. */
static bool kpb_step_failed(struct kpb_machine *m, const struct kpb_op *op)
{
	switch (op->kind) {
	case KPB_OP_ALLOC:
		return m->slots[op->slot].kind == KPB_SLOT_PTP_FAILED;
	case KPB_OP_PIN:
		return m->slots[op->slot].kind == KPB_SLOT_PIN_FAILED;
	case KPB_OP_SPLIT_OTHER:
	case KPB_OP_SET_MEMORY:
		return m->op_failed;
	default:
		return false;
	}
}

/* What a step does (lab/task.c): one operation, as the replay would. */
static void kpb_step_op(const struct kpb_step *step, int *path, bool *failed)
{
	struct kpb_machine *m = kpb_this;
	const struct kpb_op *op = &step->op;

	*failed = false;
	if (op->kind == KPB_OP_ALLOC && step->gfp)
		*path = kpb_step_alloc(m, op, step->gfp);
	else
		*path = kpb_do_op(m, op);
	if (*path < 0)
		return;
	*failed = kpb_step_failed(m, op);
	if (m->op_events)
		*path = kpb_op_events(m, *path);
	if (m->recorder.on)
		kpb_op_digest(m, op, *path);
	kpb_op_account(m, *path);
}

/* Between two operations; how long it takes is kept apart from theirs. */
static noinline void kpb_replay_background(struct kpb_machine *m,
					   const struct kpb_op *end)
{
	u64 start = kpb_clock_read();

	m->op_events = 0;
	kpb_background_run(end);
	if (m->op_events)
		kpb_op_events(m, KPB_PATH_NONE);
	m->background.clock_ticks += kpb_clock_read() - start;
}

static __always_inline int kpb_replay_loop(const struct kpb_op *ops, u64 nr_ops,
					   u32 mode, u32 every,
					   struct kpb_path_times *times)
{
	struct kpb_machine *m = kpb_this;
	u64 start = 0, end = 0, i;

	if (mode == KPB_TIMING_CHAINED)
		start = kpb_clock_read();
	for (i = 0; i < nr_ops; i++) {
		bool timed = mode != KPB_TIMING_NONE;
		int path;

		if (mode == KPB_TIMING_SAMPLE) {
			/* goes on where the last array ended */
			timed = ++m->nr_untimed >= every;
			if (timed)
				m->nr_untimed = 0;
		}
		if (timed && mode != KPB_TIMING_CHAINED)
			start = kpb_clock_read();
		path = kpb_do_op(m, &ops[i]);
		if (timed)
			end = mode == KPB_TIMING_CHAINED ? kpb_clock_read() :
							   kpb_clock_read_end();
		if (unlikely(path < 0)) {
			m->border.failed_op = m->nr_ops - m->replay_start;
			return path;
		}
		if (unlikely(m->op_events))
			path = kpb_op_events(m, path);
		if (unlikely(m->recorder.on))
			kpb_op_digest(m, &ops[i], path);
		if (timed && path != KPB_PATH_NONE)
			kpb_times_add(&times[path], end - start);
		if (mode == KPB_TIMING_CHAINED)
			start = end;
		kpb_op_account(m, path);
		if (unlikely(!--m->background_left)) {
			kpb_replay_background(m, &ops[i + 1]);
			if (mode == KPB_TIMING_CHAINED)
				start = kpb_clock_read();
		}
	}
	return 0;
}

/* What everything so far would have cost; a clock that only counts move. */
static u64 kpb_model_clock(const struct kpb_machine *m,
			   const struct kpb_costs *costs)
{
	u64 ps = m->counters.pkey_reg_writes * costs->pkey_reg_write_ps +
		 m->counters.zeroed_pages * costs->zeroed_page_ps;
	int cause;

	for (cause = 0; cause < KPB_NR_CAUSES; cause++) {
		const struct kpb_map_counters *c = &m->map_counters[cause];

		ps += c->tlbi_single * costs->tlbi_single_ps +
		      c->tlbi_full * costs->tlbi_full_ps +
		      c->descriptor_writes * costs->descriptor_write_ps;
	}
	return ps;
}

static noinline int kpb_replay_model(const struct kpb_op *ops, u64 nr_ops,
				     const struct kpb_costs *costs,
				     struct kpb_path_times *times)
{
	struct kpb_machine *m = kpb_this;
	u64 start = kpb_model_clock(m, costs), i;

	for (i = 0; i < nr_ops; i++) {
		int path = kpb_do_op(m, &ops[i]);
		u64 end = kpb_model_clock(m, costs);

		if (unlikely(path < 0)) {
			m->border.failed_op = m->nr_ops - m->replay_start;
			return path;
		}
		if (m->op_events)
			path = kpb_op_events(m, path);
		if (m->recorder.on)
			kpb_op_digest(m, &ops[i], path);
		if (path != KPB_PATH_NONE)
			kpb_times_add(&times[path], end - start);
		start = end;
		kpb_op_account(m, path);
		if (!--m->background_left) {
			kpb_replay_background(m, &ops[i + 1]);
			start = kpb_model_clock(m, costs);
		}
	}
	return 0;
}

/* One copy of the loop for each way to take time. */
static noinline int kpb_replay_none(const struct kpb_op *ops, u64 nr_ops)
{
	return kpb_replay_loop(ops, nr_ops, KPB_TIMING_NONE, 0, NULL);
}

static noinline int kpb_replay_chained(const struct kpb_op *ops, u64 nr_ops,
				       struct kpb_path_times *times)
{
	return kpb_replay_loop(ops, nr_ops, KPB_TIMING_CHAINED, 0, times);
}

static noinline int kpb_replay_bracket(const struct kpb_op *ops, u64 nr_ops,
				       struct kpb_path_times *times)
{
	return kpb_replay_loop(ops, nr_ops, KPB_TIMING_BRACKET, 0, times);
}

static noinline int kpb_replay_sample(const struct kpb_op *ops, u64 nr_ops,
				      u32 every, struct kpb_path_times *times)
{
	return kpb_replay_loop(ops, nr_ops, KPB_TIMING_SAMPLE, every, times);
}

static int kpb_granule_replay(const struct kpb_op *ops, uint64_t nr_ops,
			      uint64_t repeat, const struct kpb_timing *timing,
			      struct kpb_path_times *times)
{
	u32 mode = timing ? timing->mode : KPB_TIMING_NONE;
	int ret = 0;

	if (mode != KPB_TIMING_NONE && !times)
		return -EINVAL;
	if (mode == KPB_TIMING_SAMPLE && !timing->every)
		return -EINVAL;
	if (!nr_ops)
		return 0;
	kpb_this->replay_start = kpb_this->nr_ops;
	while (repeat-- && !ret) {
		u64 first = kpb_this->nr_ops;

		switch (mode) {
		case KPB_TIMING_NONE:
			ret = kpb_replay_none(ops, nr_ops);
			break;
		case KPB_TIMING_CHAINED:
			ret = kpb_replay_chained(ops, nr_ops, times);
			break;
		case KPB_TIMING_BRACKET:
			ret = kpb_replay_bracket(ops, nr_ops, times);
			break;
		case KPB_TIMING_SAMPLE:
			ret = kpb_replay_sample(ops, nr_ops, timing->every,
						times);
			break;
		case KPB_TIMING_MODEL:
			ret = kpb_replay_model(ops, nr_ops, &timing->costs,
					       times);
			break;
		default:
			ret = -EINVAL;
		}
		kpb_background_keep(ops, kpb_this->nr_ops - first);
	}
	return ret;
}
