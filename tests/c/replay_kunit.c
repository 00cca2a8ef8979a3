// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hot loop (csrc/lab/replay.c): what an operation does, which are refused,
 * what is counted and timed. At its end all short strings of operations are
 * tried on a tiny machine.
 */

#include "box.h"

#include <stdio.h>

#define TOP BOX_TOP_LEAF_SIZE

static const struct kpb_timing replay_untimed = { .mode = KPB_TIMING_NONE };

/* Slots 0 to 4: a PTP, an order-2 pin, nothing, a failed PTP, a failed pin. */
static struct kpb_machine *replay_machine(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);

	KUNIT_EXPECT_EQ(test, box_granule.set_slots(5), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_PIN, 1, MIGRATE_MOVABLE, 2), 0);
	m->slots[3].kind = KPB_SLOT_PTP_FAILED;
	m->slots[4].kind = KPB_SLOT_PIN_FAILED;
	return m;
}

struct replay_op {
	const char *name;
	struct kpb_op op;
	int ret;
};

#define OP(k, s, l, a) { .kind = (k), .slot = (s), .level = (l), .arg = (a) }

static const struct replay_op replay_ops[] = {
	{ "alloc, empty", OP(KPB_OP_ALLOC, 2, 0, 0), 0 },
	{ "alloc, PTP there", OP(KPB_OP_ALLOC, 0, 0, 0), -EINVAL },
	{ "alloc, pin there", OP(KPB_OP_ALLOC, 1, 0, 0), -EINVAL },
	{ "alloc, failed PTP", OP(KPB_OP_ALLOC, 3, 0, 0), -EINVAL },
	{ "alloc, failed pin", OP(KPB_OP_ALLOC, 4, 0, 0), -EINVAL },
	{ "alloc, first slot beyond", OP(KPB_OP_ALLOC, 5, 0, 0), -EINVAL },
	{ "alloc, last slot there is", OP(KPB_OP_ALLOC, ~0u, 0, 0), -EINVAL },
	{ "free, PTP", OP(KPB_OP_FREE, 0, 0, 0), 0 },
	{ "free, failed PTP", OP(KPB_OP_FREE, 3, 0, 0), 0 },
	{ "free, empty", OP(KPB_OP_FREE, 2, 0, 0), -EINVAL },
	{ "free, pin", OP(KPB_OP_FREE, 1, 0, 0), -EINVAL },
	{ "free, failed pin", OP(KPB_OP_FREE, 4, 0, 0), -EINVAL },
	{ "free, beyond", OP(KPB_OP_FREE, 5, 0, 0), -EINVAL },
	{ "pin, empty", OP(KPB_OP_PIN, 2, MIGRATE_UNMOVABLE, 0), 0 },
	{ "pin, largest order",
	  OP(KPB_OP_PIN, 2, MIGRATE_RECLAIMABLE, MAX_PAGE_ORDER), 0 },
	{ "pin, order too large",
	  OP(KPB_OP_PIN, 2, MIGRATE_UNMOVABLE, MAX_PAGE_ORDER + 1), -EINVAL },
	{ "pin, unknown type", OP(KPB_OP_PIN, 2, MIGRATE_TYPES, 0), -EINVAL },
	{ "pin, PTP there", OP(KPB_OP_PIN, 0, 0, 0), -EINVAL },
	{ "pin, pin there", OP(KPB_OP_PIN, 1, 0, 0), -EINVAL },
	{ "pin, failed pin", OP(KPB_OP_PIN, 4, 0, 0), -EINVAL },
	{ "unpin, pin", OP(KPB_OP_UNPIN, 1, 0, 0), 0 },
	{ "unpin, failed pin", OP(KPB_OP_UNPIN, 4, 0, 0), 0 },
	{ "unpin, empty", OP(KPB_OP_UNPIN, 2, 0, 0), -EINVAL },
	{ "unpin, PTP", OP(KPB_OP_UNPIN, 0, 0, 0), -EINVAL },
	{ "unpin, failed PTP", OP(KPB_OP_UNPIN, 3, 0, 0), -EINVAL },
	{ "split, first page of the pin", OP(KPB_OP_SPLIT_OTHER, 1, 0, 1), 0 },
	{ "split, last page of the pin", OP(KPB_OP_SPLIT_OTHER, 1, 3, 1), 0 },
	{ "split, all of the pin", OP(KPB_OP_SPLIT_OTHER, 1, 0, 4), 0 },
	{ "split, one page more", OP(KPB_OP_SPLIT_OTHER, 1, 0, 5), -EINVAL },
	{ "split, beyond the pin", OP(KPB_OP_SPLIT_OTHER, 1, 4, 1), -EINVAL },
	{ "split, no page", OP(KPB_OP_SPLIT_OTHER, 1, 0, 0), -EINVAL },
	{ "split, failed pin", OP(KPB_OP_SPLIT_OTHER, 4, 0, 1), 0 },
	{ "split, PTP", OP(KPB_OP_SPLIT_OTHER, 0, 0, 1), -EINVAL },
	{ "split, empty", OP(KPB_OP_SPLIT_OTHER, 2, 0, 1), -EINVAL },
	{ "shrink, a number that is a slot", OP(KPB_OP_SHRINK, 1, 0, 0), 0 },
	{ "shrink, a number that is none", OP(KPB_OP_SHRINK, 77, 0, 0), 0 },
	{ "shrink, a round", OP(KPB_OP_SHRINK, 0, 0, 12), 0 },
	{ "shrink, priority too low", OP(KPB_OP_SHRINK, 0, 0, 13), -EINVAL },
	{ "shrink, priority beyond slots", OP(KPB_OP_SHRINK, 77, 0, 13),
	  -EINVAL },
	{ "the first unknown kind", OP(KPB_NR_OP_KINDS, 2, 0, 0), -EINVAL },
	{ "the last unknown kind", OP(255, 2, 0, 0), -EINVAL },
};

KUNIT_ARRAY_PARAM(replay_ops, replay_ops)

/* A refused operation is named and changes nothing. */
static void replay_refuses_what_makes_no_sense(struct kunit *test)
{
	const struct replay_op *param = test->param_value;
	struct kpb_machine *m = replay_machine(test);
	struct kpb_counters counters = m->counters;
	struct kpb_map_counters map = box_map_counters(), map_after;
	struct kpb_slot slots[5];
	struct kpb_state before, after;

	memcpy(slots, m->slots, sizeof(slots));
	box_granule.state(&before);
	m->border.failed_op = 99;
	KUNIT_EXPECT_EQ(test, box_granule.replay(&param->op, 1, 1, NULL, NULL),
			param->ret);
	box_granule.state(&after);
	map_after = box_map_counters();
	if (!param->ret) {
		KUNIT_EXPECT_EQ(test, after.ops, before.ops + 1);
		return;
	}
	KUNIT_EXPECT_EQ(test, m->border.failed_op, 0);
	KUNIT_EXPECT_TRUE(test, !memcmp(&before, &after, sizeof(before)));
	KUNIT_EXPECT_TRUE(test,
			  !memcmp(&counters, &m->counters, sizeof(counters)));
	KUNIT_EXPECT_TRUE(test, !memcmp(&map, &map_after, sizeof(map)));
	KUNIT_EXPECT_TRUE(test, !memcmp(slots, m->slots, sizeof(slots)));
}

static void replay_names_the_refused_operation(struct kunit *test)
{
	static const struct kpb_op ops[] = {
		OP(KPB_OP_ALLOC, 0, 0, 0), OP(KPB_OP_ALLOC, 1, 0, 0),
		OP(KPB_OP_FREE, 0, 0, 0),  OP(KPB_OP_FREE, 0, 0, 0),
		OP(KPB_OP_FREE, 1, 0, 0),
	};
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);

	KUNIT_EXPECT_EQ(test, box_granule.set_slots(2), 0);
	KUNIT_EXPECT_EQ(test, box_granule.replay(ops, 5, 1, NULL, NULL),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, m->border.failed_op, 3);
	/* what came before it has been done, what comes after has not */
	KUNIT_EXPECT_EQ(test, m->nr_ops, 3);
	KUNIT_EXPECT_EQ(test, m->nr_live, 1);
	/* counted from the start of the replay, through all repetitions */
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_FREE, 1, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, box_granule.replay(ops, 2, 3, NULL, NULL),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, m->border.failed_op, 2);
	KUNIT_EXPECT_EQ(test, m->nr_live, 2);
	BOX_EXPECT_CLEAN(test);
}

/* In whatever way time is taken. */
static void replay_names_the_refused_operation_when_timed(struct kunit *test)
{
	static struct kpb_path_times times[KPB_NR_PATHS];
	static const struct kpb_op ops[] = {
		OP(KPB_OP_ALLOC, 0, 0, 0),
		OP(KPB_OP_ALLOC, 1, 0, 0),
		OP(KPB_OP_FREE, 2, 0, 0),
	};
	struct kpb_timing timing = { .every = 2 };

	for (timing.mode = KPB_TIMING_NONE; timing.mode <= KPB_TIMING_MODEL;
	     timing.mode++) {
		struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);

		KUNIT_EXPECT_EQ(test, box_granule.set_slots(3), 0);
		KUNIT_EXPECT_EQ(test,
				box_granule.replay(ops, 3, 1, &timing, times),
				-EINVAL);
		KUNIT_EXPECT_EQ(test, m->border.failed_op, 2);
		KUNIT_EXPECT_EQ(test, m->counters.allocs, 2);
	}
}

static void replay_repeats(struct kunit *test)
{
	static const struct kpb_op ops[] = {
		OP(KPB_OP_ALLOC, 0, 0, 0),
		OP(KPB_OP_FREE, 0, 0, 0),
	};
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);

	KUNIT_EXPECT_EQ(test, box_granule.set_slots(1), 0);
	KUNIT_EXPECT_EQ(test, box_granule.replay(ops, 2, 5, NULL, NULL), 0);
	KUNIT_EXPECT_EQ(test, m->counters.allocs, 5);
	KUNIT_EXPECT_EQ(test, m->counters.frees, 5);
	KUNIT_EXPECT_EQ(test, m->nr_ops, 10);
	KUNIT_EXPECT_EQ(test, box_granule.replay(ops, 2, 0, NULL, NULL), 0);
	KUNIT_EXPECT_EQ(test, box_granule.replay(ops, 0, 7, NULL, NULL), 0);
	KUNIT_EXPECT_EQ(test, m->nr_ops, 10);
}

/* Room for slots is made and never taken away. */
static void replay_slots_stay(struct kunit *test)
{
	struct kpb_machine *m = replay_machine(test);
	u64 before[5], after[8];
	u32 i;

	KUNIT_EXPECT_EQ(test, box_granule.slot_pfns(before, 5), 5);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(3), 0);
	KUNIT_EXPECT_EQ(test, m->nr_slots, 5);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(8), 0);
	KUNIT_EXPECT_EQ(test, box_granule.slot_pfns(after, 8), 8);
	for (i = 0; i < 5; i++)
		KUNIT_EXPECT_EQ(test, after[i], before[i]);
	KUNIT_EXPECT_EQ(test, after[5], 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 7, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(KPB_MAX_SLOTS + 1),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, m->nr_slots, 8);
	/* a short array gets what fits, and the number there is */
	after[1] = 77;
	KUNIT_EXPECT_EQ(test, box_granule.slot_pfns(after, 1), 8);
	KUNIT_EXPECT_EQ(test, after[1], 77);
}

/* User tables are charged, kernel tables are not; both are cleared. */
static void replay_alloc_of_user_and_kernel_tables(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);

	KUNIT_EXPECT_EQ(test, box_granule.set_slots(2), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_charges, 1);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 1, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_charges, 1);
	KUNIT_EXPECT_EQ(test, m->counters.zeroed_pages, 2);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

static void replay_pin_takes_what_was_asked_for(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	unsigned long nr_free = box_nr_free_pages(), pfn;
	u32 type;

	KUNIT_EXPECT_EQ(test, box_granule.set_slots(MIGRATE_TYPES), 0);
	for (type = 0; type < MIGRATE_TYPES; type++) {
		KUNIT_EXPECT_EQ(test, box_op(KPB_OP_PIN, type, (u8)type, 3), 0);
		KUNIT_EXPECT_EQ(test, m->nr_pinned, 8 * (type + 1));
		pfn = page_to_pfn(m->slots[type].page);
		KUNIT_EXPECT_EQ(test, get_pfnblock_migratetype(pfn), type);
		/* movable pages are seen by whoever claims the block */
		KUNIT_EXPECT_EQ(test, *kpb_page_type(pfn + 7),
				type == MIGRATE_MOVABLE ? KPB_PG_LRU : 0);
	}
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), nr_free - 24);
	/* they are nothing to the allocator under test */
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	KUNIT_EXPECT_EQ(test, m->counters.pins, 3);
	pfn = page_to_pfn(m->slots[MIGRATE_MOVABLE].page);
	for (type = 0; type < MIGRATE_TYPES; type++)
		KUNIT_EXPECT_EQ(test, box_op(KPB_OP_UNPIN, type, 0, 0), 0);
	KUNIT_EXPECT_FALSE(test, *kpb_page_type(pfn + 7) & KPB_PG_LRU);
	KUNIT_EXPECT_EQ(test, m->nr_pinned, 0);
	KUNIT_EXPECT_EQ(test, m->counters.unpins, 3);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), nr_free);
	BOX_EXPECT_CLEAN(test);
}

/* Without memory an operation fails and is counted; its end is skipped. */
static void replay_goes_on_without_memory(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	struct kpb_machine *m;
	u64 frees;

	/* eight pages are meant for two requests, not for a list */
	config.no_pcp = 1;
	m = box_boot(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(2), 0);
	box_drain();
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, m->counters.allocs, 1);
	KUNIT_EXPECT_EQ(test, m->counters.failed_allocs, 1);
	KUNIT_EXPECT_EQ(test, m->nr_live, 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_PIN, 1, 0, 4), 0);
	KUNIT_EXPECT_EQ(test, m->counters.pins, 1);
	KUNIT_EXPECT_EQ(test, m->counters.failed_pins, 1);
	KUNIT_EXPECT_EQ(test, m->nr_pinned, 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SPLIT_OTHER, 1, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, m->counters.other_splits, 0);

	frees = m->counters.path_ops[KPB_PATH_FREE];
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_FREE, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_UNPIN, 1, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, m->counters.frees, 0);
	KUNIT_EXPECT_EQ(test, m->counters.unpins, 0);
	KUNIT_EXPECT_EQ(test, m->counters.path_ops[KPB_PATH_FREE], frees);
	/* both slots can be used again */
	box_free(box_block_pfn(2), 3);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_PIN, 1, 0, 2), 0);
	KUNIT_EXPECT_EQ(test, m->nr_live, 1);
	KUNIT_EXPECT_EQ(test, m->nr_pinned, 4);
}

static void replay_failed_requests_of_pba_are_counted(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_SMALL_BYTES);
	unsigned long nr = get_pba()->nr_cached - 4, i;

	KUNIT_EXPECT_EQ(test, box_granule.set_slots((u32)nr + 3), 0);
	box_drain();
	for (i = 0; i < nr + 3; i++)
		KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, (u32)i, 0, 0), 0);
	/* all but the reserve, then three that fail and warn once each */
	KUNIT_EXPECT_EQ(test, m->counters.allocs, nr + 3);
	KUNIT_EXPECT_EQ(test, m->counters.failed_allocs, 3);
	KUNIT_EXPECT_EQ(test, m->counters.failed_refills, 3);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 3);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	KUNIT_EXPECT_EQ(test, m->nr_live, nr);
	KUNIT_EXPECT_EQ(test, m->counters.live_peak_pages, nr);
	/* what failed was on no path */
	KUNIT_EXPECT_EQ(test, m->counters.path_ops[KPB_PATH_ALLOC_FAST], nr);
}

/*
 * Sums over operations: three of them with 1, 2, 1 pages in use. Boot has left
 * 509, 2047, 510 pages in the cache and nothing unprotected.
 */
static void replay_integrates_over_operations(struct kunit *test)
{
	const u64 c = BOX_PICK(509, 2047, 510);
	struct kpb_counters counters;
	struct kpb_machine *m;

	/* before there is a cache its lowest level is nothing */
	box_create_pba(test, BOX_LARGE_BYTES);
	box_granule.counters(&counters);
	KUNIT_EXPECT_EQ(test, counters.reserve_low_water_pages, 0);
	m = box_boot_pba(test, BOX_LARGE_BYTES);
	KUNIT_EXPECT_EQ(test, m->counters.cached_peak_pages,
			1 << BOX_LARGEST_ORDER);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(2), 0);
	box_op(KPB_OP_ALLOC, 0, 0, 0);
	box_op(KPB_OP_ALLOC, 1, 0, 0);
	box_op(KPB_OP_FREE, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, m->counters.cached_page_ops,
			(c - 1) + (c - 2) + (c - 1));
	KUNIT_EXPECT_EQ(test, m->counters.unprotected_page_ops, 0);
	KUNIT_EXPECT_EQ(test, m->counters.live_peak_pages, 2);
	KUNIT_EXPECT_EQ(test, m->counters.path_ops[KPB_PATH_ALLOC_FAST], 2);
	KUNIT_EXPECT_EQ(test, m->counters.path_ops[KPB_PATH_FREE], 1);
	/* the lowest that the cache was when a split took a page */
	KUNIT_EXPECT_EQ(test, m->counters.reserve_low_water_pages, c);
}

/* In the early window a whole region and the map's table are unprotected. */
static void replay_integrates_unprotected_pages(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	u64 nr = (1 << BOX_LARGEST_ORDER) + 1;

	KUNIT_EXPECT_EQ(test, box_granule.set_slots(2), 0);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	box_op(KPB_OP_ALLOC, 0, 0, 0);
	box_op(KPB_OP_ALLOC, 1, 0, 0);
	KUNIT_EXPECT_EQ(test, m->counters.unprotected_page_ops, 2 * nr);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	box_op(KPB_OP_FREE, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, m->counters.unprotected_page_ops, 2 * nr);
	/* late init took 3, 1, 2 tables when two pages were in use */
	KUNIT_EXPECT_EQ(test, m->counters.reserve_low_water_pages,
			nr - 1 - 2 - BOX_PICK(3, 1, 2));
}

/*
 * Refills of the contpte order. The first PMD (32, 16, 256 regions) is split
 * at late init; its other regions need no split, and the next PMD's first one
 * does.
 */
static void replay_tells_the_paths_apart(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	const u64 nr_regions = BOX_PICK(32, 16, 256);
	const u64 *path_ops;
	struct kpb_machine *m;
	u32 i = 0;

	box_refill_orders(&config, BOX_CONT_PTE_ORDER, BOX_MIN_ORDER, 0);
	m = box_boot(test, &config);
	path_ops = m->counters.path_ops;
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(40000), 0);
	while (!path_ops[KPB_PATH_ALLOC_REFILL_SPLIT] && i < 39000)
		KUNIT_ASSERT_EQ(test, box_op(KPB_OP_ALLOC, i++, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, m->counters.refills, nr_regions + 1);
	KUNIT_EXPECT_EQ(test, path_ops[KPB_PATH_ALLOC_REFILL], nr_regions - 1);
	KUNIT_EXPECT_EQ(test, path_ops[KPB_PATH_ALLOC_REFILL_SPLIT], 1);
	KUNIT_EXPECT_EQ(test, path_ops[KPB_PATH_ALLOC_FAST], i - nr_regions);
	KUNIT_EXPECT_EQ(test, m->counters.refilled_pages,
			(nr_regions + 1) << BOX_CONT_PTE_ORDER);

	/* a shrink or a split by others is no refill path, even if it refills */
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SHRINK, 1, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, path_ops[KPB_PATH_SHRINK], 1);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_PIN, 39999, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SPLIT_OTHER, 39999, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, path_ops[KPB_PATH_SPLIT_OTHER], 1);
	KUNIT_EXPECT_EQ(test, m->counters.other_splits, 1);
	KUNIT_EXPECT_EQ(test, m->counters.failed_other_splits, 0);
	KUNIT_EXPECT_EQ(test, m->nr_ops,
			path_ops[KPB_PATH_ALLOC_FAST] +
				path_ops[KPB_PATH_ALLOC_REFILL] +
				path_ops[KPB_PATH_ALLOC_REFILL_SPLIT] + 3);
	BOX_EXPECT_CLEAN(test);
}

/* A permission change on the pages that were asked for, and no others. */
static void replay_split_other_changes_permissions(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	unsigned long pfn;

	KUNIT_EXPECT_EQ(test, box_granule.set_slots(1), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_PIN, 0, MIGRATE_UNMOVABLE, 4), 0);
	pfn = page_to_pfn(m->slots[0].page);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SPLIT_OTHER, 0, 5, 2), 0);
	KUNIT_EXPECT_FALSE(test, kpb_leaf_desc(pfn + 4) & PTE_RDONLY);
	KUNIT_EXPECT_TRUE(test, kpb_leaf_desc(pfn + 5) & PTE_RDONLY);
	KUNIT_EXPECT_TRUE(test, kpb_leaf_desc(pfn + 6) & PTE_RDONLY);
	KUNIT_EXPECT_FALSE(test, kpb_leaf_desc(pfn + 7) & PTE_RDONLY);
	KUNIT_EXPECT_EQ(test, m->map_counters[KPB_CAUSE_OTHER].tlbi_single, 2);
	/* before late init it fails, and that is counted */
	m->late_init_done = false;
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SPLIT_OTHER, 0, 9, 1), 0);
	m->late_init_done = true;
	KUNIT_EXPECT_EQ(test, m->counters.other_splits, 2);
	KUNIT_EXPECT_EQ(test, m->counters.failed_other_splits, 1);
}

/* A number asks the cache directly; 0 is a round of do_shrink_slab(). */
static void replay_shrink_scans_or_does_a_round(struct kunit *test)
{
	const u64 c = BOX_PICK(509, 2047, 510);
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);

	/* half of the count waits for a batch */
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SHRINK, 0, 0, 12), 0);
	KUNIT_EXPECT_EQ(test, m->counters.released_pages, 0);
	KUNIT_EXPECT_EQ(test, m->shrinker.nr_deferred, (c - 16) / 2);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SHRINK, 5, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, m->counters.released_pages, 5);
	KUNIT_EXPECT_EQ(test, m->shrinker.nr_deferred, (c - 16) / 2);
	KUNIT_EXPECT_EQ(test, m->counters.shrinks, 2);
	BOX_EXPECT_CLEAN(test);
}

static void replay_shrink_without_a_shrinker_does_nothing(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_boot(test, &config);

	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SHRINK, 5, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SHRINK, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, m->counters.shrinks, 2);
	KUNIT_EXPECT_EQ(test, m->counters.path_ops[KPB_PATH_SHRINK], 2);
	BOX_EXPECT_CLEAN(test);
}

static void replay_null_has_nothing(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NULL, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_boot(test, &config);
	struct kpb_counters counters;
	struct kpb_state state;

	KUNIT_EXPECT_EQ(test, box_granule.set_slots(2), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 1, 0, 0), 0);
	KUNIT_EXPECT_PTR_EQ(test, m->slots[0].page, m->slots[1].page);
	box_granule.counters(&counters);
	box_granule.state(&state);
	KUNIT_EXPECT_EQ(test, counters.allocs, 2);
	KUNIT_EXPECT_EQ(test, counters.cached_page_ops, 0);
	KUNIT_EXPECT_EQ(test, counters.cached_peak_pages, 0);
	KUNIT_EXPECT_EQ(test, counters.refilled_pages, 0);
	KUNIT_EXPECT_EQ(test, state.cached_pages, 0);
	KUNIT_EXPECT_EQ(test, state.live_pages, 2);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_FREE, 1, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_FREE, 0, 0, 0), 0);
	BOX_EXPECT_CLEAN(test);
}

/* Timing */

#define NR_TIMED 3000

static void replay_fill(struct kpb_op *ops)
{
	static u8 used[700];
	struct kpb_rng rng = kpb_rng_seed(11);
	unsigned int i;

	memset(used, 0, sizeof(used));
	for (i = 0; i < NR_TIMED; i++) {
		u32 slot = (u32)kpb_rng_below(&rng, 700);
		bool pin = slot % 16 == 0;
		struct kpb_op op = OP(KPB_OP_SHRINK, 1 + i % 64, 0, 0);

		if (i % 50) {
			op.slot = slot;
			op.kind = pin ? used[slot] ? KPB_OP_UNPIN : KPB_OP_PIN :
				  used[slot] ? KPB_OP_FREE :
					       KPB_OP_ALLOC;
			used[slot] = !used[slot];
		}
		ops[i] = op;
	}
}

/* Counts are the same whether, and how, time is taken. */
static void replay_counts_do_not_depend_on_timing(struct kunit *test)
{
	static struct kpb_path_times times[KPB_NR_PATHS];
	static struct kpb_op ops[NR_TIMED];
	struct kpb_counters expected = { 0 };
	struct kpb_map_counters map = { 0 }, c;
	u32 mode;

	replay_fill(ops);
	for (mode = KPB_TIMING_NONE; mode <= KPB_TIMING_MODEL; mode++) {
		const struct kpb_timing timing = { .mode = mode, .every = 7 };
		struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
		u64 nr_timed = 0, nr_paths = 0;
		int path;

		memset(times, 0, sizeof(times));
		KUNIT_EXPECT_EQ(test, box_granule.set_slots(700), 0);
		KUNIT_EXPECT_EQ(test,
				box_granule.replay(ops, NR_TIMED, 1, &timing,
						   times),
				0);
		c = box_map_counters();
		if (mode == KPB_TIMING_NONE) {
			expected = m->counters;
			map = c;
		}
		KUNIT_EXPECT_TRUE(test, !memcmp(&expected, &m->counters,
						sizeof(expected)));
		KUNIT_EXPECT_TRUE(test, !memcmp(&map, &c, sizeof(c)));
		for (path = 0; path < KPB_NR_PATHS; path++) {
			u64 sum = 0, i;

			for (i = 0; i < KPB_HIST_BUCKETS; i++)
				sum += times[path].hist[i];
			KUNIT_EXPECT_EQ(test, sum, times[path].count);
			nr_timed += times[path].count;
			nr_paths += m->counters.path_ops[path];
			if (mode == KPB_TIMING_CHAINED ||
			    mode == KPB_TIMING_BRACKET ||
			    mode == KPB_TIMING_MODEL)
				KUNIT_EXPECT_EQ(test, times[path].count,
						m->counters.path_ops[path]);
		}
		if (mode == KPB_TIMING_NONE)
			KUNIT_EXPECT_EQ(test, nr_timed, 0);
		/* every seventh operation, of which pins have no path */
		if (mode == KPB_TIMING_SAMPLE) {
			KUNIT_EXPECT_LE(test, nr_timed, NR_TIMED / 7);
			KUNIT_EXPECT_GE(test, nr_timed,
					NR_TIMED / 7 - (NR_TIMED - nr_paths));
			KUNIT_EXPECT_GT(test, nr_timed, 0);
		}
		BOX_EXPECT_CLEAN(test);
	}
}

/* The n-th, 2n-th ... operation, through the whole array. */
static void replay_samples_every_nth_operation(struct kunit *test)
{
	static struct kpb_path_times times[KPB_NR_PATHS];
	struct kpb_timing timing = { .mode = KPB_TIMING_SAMPLE, .every = 4 };
	struct kpb_op ops[8];
	u32 i;

	box_boot_pba(test, BOX_LARGE_BYTES);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(8), 0);
	/* three allocations and a shrink, twice */
	for (i = 0; i < 8; i++) {
		ops[i] = (struct kpb_op)OP(KPB_OP_ALLOC, i, 0, 0);
		if (i % 4 == 3)
			ops[i] = (struct kpb_op)OP(KPB_OP_SHRINK, 1, 0, 0);
	}
	memset(times, 0, sizeof(times));
	KUNIT_EXPECT_EQ(test, box_granule.replay(ops, 8, 1, &timing, times), 0);
	KUNIT_EXPECT_EQ(test, times[KPB_PATH_SHRINK].count, 2);
	KUNIT_EXPECT_EQ(test, times[KPB_PATH_ALLOC_FAST].count, 0);

	/* in pieces of any size: the count goes on */
	box_boot_pba(test, BOX_LARGE_BYTES);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(8), 0);
	memset(times, 0, sizeof(times));
	KUNIT_EXPECT_EQ(test, box_granule.replay(ops, 3, 1, &timing, times), 0);
	KUNIT_EXPECT_EQ(test, box_granule.replay(ops + 3, 2, 1, &timing, times),
			0);
	KUNIT_EXPECT_EQ(test, box_granule.replay(ops + 5, 3, 1, &timing, times),
			0);
	KUNIT_EXPECT_EQ(test, times[KPB_PATH_SHRINK].count, 2);
	KUNIT_EXPECT_EQ(test, times[KPB_PATH_ALLOC_FAST].count, 0);
}

static void replay_refuses_timing_that_makes_no_sense(struct kunit *test)
{
	static struct kpb_path_times times[KPB_NR_PATHS];
	static const struct kpb_op op = OP(KPB_OP_ALLOC, 0, 0, 0);
	struct kpb_timing timing = { .mode = KPB_TIMING_SAMPLE, .every = 0 };
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	u32 mode;

	KUNIT_EXPECT_EQ(test, box_granule.set_slots(1), 0);
	KUNIT_EXPECT_EQ(test, box_granule.replay(&op, 1, 1, &timing, times),
			-EINVAL);
	timing.every = 1;
	for (mode = KPB_TIMING_CHAINED; mode <= KPB_TIMING_MODEL; mode++) {
		timing.mode = mode;
		KUNIT_EXPECT_EQ(test,
				box_granule.replay(&op, 1, 1, &timing, NULL),
				-EINVAL);
	}
	timing.mode = KPB_TIMING_MODEL + 1;
	KUNIT_EXPECT_EQ(test, box_granule.replay(&op, 1, 1, &timing, times),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, m->counters.allocs, 0);
	KUNIT_EXPECT_EQ(test,
			box_granule.replay(&op, 1, 1, &replay_untimed, NULL),
			0);
	KUNIT_EXPECT_EQ(test, m->counters.allocs, 1);
}

/*
 * Stated costs instead of a clock. An allocation from the cache is two writes
 * of the pkey register and a cleared page. A refill from the second region
 * adds one flush of everything and one descriptor (4K, 16K: one PMD leaf), or
 * 512 of each (64K: PTEs).
 */
static void replay_model_adds_up_stated_costs(struct kunit *test)
{
	static struct kpb_path_times times[KPB_NR_PATHS];
	const struct kpb_timing timing = {
		.mode = KPB_TIMING_MODEL,
		.costs = { .tlbi_single_ps = 3,
			   .tlbi_full_ps = 100000,
			   .descriptor_write_ps = 7,
			   .pkey_reg_write_ps = 10,
			   .zeroed_page_ps = 1000 },
	};
	const u64 fast = 2 * 10 + 1000;
	const u64 refill =
		fast + BOX_PICK(100000 + 7, 100000 + 7, 512 * 3 + 512 * 7);
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	u32 nr = (u32)get_pba()->nr_cached - 4, i;

	KUNIT_EXPECT_EQ(test, box_granule.set_slots(nr + 2), 0);
	memset(times, 0, sizeof(times));
	for (i = 0; i <= nr; i++) {
		const struct kpb_op op = OP(KPB_OP_ALLOC, i, 0, 0);

		KUNIT_EXPECT_EQ(test,
				box_granule.replay(&op, 1, 1, &timing, times),
				0);
	}
	KUNIT_EXPECT_EQ(test, times[KPB_PATH_ALLOC_FAST].count, nr);
	KUNIT_EXPECT_EQ(test, times[KPB_PATH_ALLOC_FAST].sum_ticks, nr * fast);
	KUNIT_EXPECT_EQ(test, times[KPB_PATH_ALLOC_FAST].max_ticks, fast);
	KUNIT_EXPECT_EQ(test, times[KPB_PATH_ALLOC_REFILL].count, 1);
	KUNIT_EXPECT_EQ(test, times[KPB_PATH_ALLOC_REFILL].sum_ticks, refill);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 2);
	{
		const struct kpb_op op = OP(KPB_OP_FREE, 0, 0, 0);

		KUNIT_EXPECT_EQ(test,
				box_granule.replay(&op, 1, 1, &timing, times),
				0);
	}
	KUNIT_EXPECT_EQ(test, times[KPB_PATH_FREE].count, 1);
	KUNIT_EXPECT_EQ(test, times[KPB_PATH_FREE].sum_ticks, 0);
}

#if PAGE_SHIFT == 12
/*
 * All strings of operations up to a length, on 64 MB. A string is replayed
 * from the start on a fresh machine for each of its extensions, and every
 * invariant is checked after its last operation: so after each operation of
 * every string.
 */
enum small_op {
	SMALL_ALLOC,
	SMALL_FREE_OLDEST,
	SMALL_FREE_NEWEST,
	SMALL_PIN_0_UNMOVABLE,
	SMALL_PIN_0_MOVABLE,
	SMALL_PIN_2_UNMOVABLE,
	SMALL_PIN_2_MOVABLE,
	SMALL_PIN_9_UNMOVABLE,
	SMALL_PIN_9_MOVABLE,
	SMALL_UNPIN,
	SMALL_SHRINK_1,
	SMALL_SHRINK_64,
	SMALL_SHRINK_BLOCK,
	SMALL_SPLIT_OTHER,
	NR_SMALL_OPS,
};

static const char *const small_names[NR_SMALL_OPS] = {
	"alloc",    "free-oldest", "free-newest", "pin-0u",	"pin-0m",
	"pin-2u",   "pin-2m",	   "pin-9u",	  "pin-9m",	"unpin",
	"shrink-1", "shrink-64",   "shrink-512",  "split-other"
};

#define SMALL_MAX_DEPTH 8
/* slots: what the start state holds, then PTPs, then pins of the string */
#define SMALL_PTPS 1100
#define SMALL_PINS (SMALL_PTPS + SMALL_MAX_DEPTH)
#define SMALL_SLOTS (SMALL_PINS + SMALL_MAX_DEPTH)

struct small_scope {
	const char *name;
	u8 orders[3];
	/* start: allocate so many after boot, then free the first ones */
	u32 nr_alloc;
	u32 nr_free;
	unsigned int depth;
	/* a bit for each enum small_op */
	u32 alphabet;
};

#define SMALL_ALL (BIT(NR_SMALL_OPS) - 1)
#define SMALL_FEW                                                             \
	(BIT(SMALL_ALLOC) | BIT(SMALL_FREE_OLDEST) |                          \
	 BIT(SMALL_PIN_9_MOVABLE) | BIT(SMALL_UNPIN) | BIT(SMALL_SHRINK_64) | \
	 BIT(SMALL_SPLIT_OTHER))

static const struct small_scope small_scopes[] = {
	{ "9-4-2", { 9, 4, 2 }, 0, 0, 3, SMALL_ALL },
	/* boot leaves 511: these are all but the reserve and one */
	{ "9-4-2, almost drained", { 9, 4, 2 }, 506, 0, 4, SMALL_ALL },
	{ "9-4-2, two blocks", { 9, 4, 2 }, 508, 506, 3, SMALL_ALL },
	{ "4-2", { 4, 2 }, 0, 0, 4, SMALL_ALL },
	{ "2", { 2 }, 0, 0, 4, SMALL_ALL },
	{ "2, longer", { 2 }, 0, 0, 7, SMALL_FEW },
};

KUNIT_ARRAY_PARAM(small_scopes, small_scopes)

struct small_walk {
	struct kunit *test;
	const struct small_scope *scope;
	struct kpb_op ops[SMALL_MAX_DEPTH];
	u8 names[SMALL_MAX_DEPTH];
	/* what the string holds at its end */
	u32 ptps[SMALL_MAX_DEPTH];
	u32 pins[SMALL_MAX_DEPTH];
	u8 pin_order[SMALL_MAX_DEPTH];
	unsigned int nr_ptps, nr_pins;
	u64 nr_strings;
};

static void small_fail(const struct small_walk *walk, unsigned int length,
		       const char *why)
{
	char text[SMALL_MAX_DEPTH * 16] = "";
	unsigned int i;

	for (i = 0; i < length; i++) {
		strcat(text, " ");
		strcat(text, small_names[walk->names[i]]);
	}
	KUNIT_FAIL(walk->test, "%s:%s: %s", walk->scope->name, text, why);
}

/* The operation that comes next in the string; false: it makes no sense. */
static bool small_op(struct small_walk *walk, unsigned int length, u8 name)
{
	static const u8 orders[] = { 0, 0, 2, 2, 9, 9 };
	struct kpb_op op = OP(KPB_OP_SHRINK, 0, 0, 0);
	u32 *ptps = walk->ptps, *pins = walk->pins;

	switch (name) {
	case SMALL_ALLOC:
		op.kind = KPB_OP_ALLOC;
		op.slot = SMALL_PTPS + length;
		ptps[walk->nr_ptps++] = op.slot;
		break;
	case SMALL_FREE_OLDEST:
		if (!walk->nr_ptps)
			return false;
		op.kind = KPB_OP_FREE;
		op.slot = ptps[0];
		memmove(ptps, ptps + 1, --walk->nr_ptps * sizeof(*ptps));
		break;
	case SMALL_FREE_NEWEST:
		/* one alone is the oldest, too */
		if (walk->nr_ptps < 2)
			return false;
		op.kind = KPB_OP_FREE;
		op.slot = ptps[--walk->nr_ptps];
		break;
	case SMALL_UNPIN:
		if (!walk->nr_pins)
			return false;
		op.kind = KPB_OP_UNPIN;
		op.slot = pins[0];
		walk->nr_pins--;
		memmove(pins, pins + 1, walk->nr_pins * sizeof(*pins));
		memmove(walk->pin_order, walk->pin_order + 1, walk->nr_pins);
		break;
	case SMALL_SPLIT_OTHER:
		if (!walk->nr_pins)
			return false;
		op.kind = KPB_OP_SPLIT_OTHER;
		op.slot = pins[walk->nr_pins - 1];
		/* a page, or two with both ends inside the pin */
		op.level = walk->pin_order[walk->nr_pins - 1] ? 1 : 0;
		op.arg = walk->pin_order[walk->nr_pins - 1] ? 2 : 1;
		break;
	case SMALL_SHRINK_1:
		op.slot = 1;
		break;
	case SMALL_SHRINK_64:
		op.slot = 64;
		break;
	case SMALL_SHRINK_BLOCK:
		op.slot = 512;
		break;
	default:
		op.kind = KPB_OP_PIN;
		op.slot = SMALL_PINS + length;
		op.arg = orders[name - SMALL_PIN_0_UNMOVABLE];
		op.level = (name - SMALL_PIN_0_UNMOVABLE) % 2 ?
				   MIGRATE_MOVABLE :
				   MIGRATE_UNMOVABLE;
		walk->pin_order[walk->nr_pins] = op.arg;
		pins[walk->nr_pins++] = op.slot;
	}
	walk->ops[length] = op;
	walk->names[length] = name;
	return true;
}

/* The start state, then the string. */
static int small_replay(const struct small_walk *walk, unsigned int length)
{
	struct kpb_op op = OP(KPB_OP_ALLOC, 0, 0, 0);
	int ret = 0;

	for (; op.slot < walk->scope->nr_alloc && !ret; op.slot++)
		ret = box_granule.replay(&op, 1, 1, NULL, NULL);
	op.kind = KPB_OP_FREE;
	for (op.slot = 0; op.slot < walk->scope->nr_free && !ret; op.slot++)
		ret = box_granule.replay(&op, 1, 1, NULL, NULL);
	if (!ret)
		ret = box_granule.replay(walk->ops, length, 1, NULL, NULL);
	return ret;
}

/* A fresh machine, the string, all invariants; did its last shrink do a thing? */
static bool small_run(struct small_walk *walk, unsigned int length)
{
	struct kpb_config config = box_config(BOX_PBA, 64ULL << 20);
	char msg[KPB_MSG_BYTES] = "";
	struct kpb_machine *m;
	bool changed;

	box_refill_orders(&config, walk->scope->orders[0],
			  walk->scope->orders[1], walk->scope->orders[2]);
	KUNIT_ASSERT_EQ(walk->test, box_granule.create(&config, &m, msg), 0);
	kpb_this = m;
	walk->nr_strings++;
	if (setjmp(m->border.escape)) {
		small_fail(walk, length, m->border.msg);
		box_destroy(m);
		return false;
	}
	box_granule.init();
	box_granule.init_late();
	box_granule.set_slots(SMALL_SLOTS);
	if (small_replay(walk, length))
		small_fail(walk, length, "an operation was refused");
	if (box_granule.check(msg))
		small_fail(walk, length, msg);
	if (m->counters.warnings)
		small_fail(walk, length, m->warnings[0].what);
	if (m->nr_unprotected)
		small_fail(walk, length, "unprotected pages");
	if (m->counters.failed_allocs || m->counters.failed_pins)
		small_fail(walk, length, "out of memory");
	if (get_pba()->alloc_mutex.owner || m->pgtable_split_lock.owner)
		small_fail(walk, length, "a lock is still held");
	changed = length && walk->ops[length - 1].kind == KPB_OP_SHRINK ?
			  m->op_events != 0 :
			  true;
	box_destroy(m);
	return changed;
}

static void small_extend(struct small_walk *walk, unsigned int length)
{
	struct small_walk before = *walk;
	u8 name;

	if (length == walk->scope->depth)
		return;
	for (name = 0; name < NR_SMALL_OPS; name++) {
		u64 nr_strings = walk->nr_strings;

		if (!(walk->scope->alphabet & BIT(name)))
			continue;
		*walk = before;
		walk->nr_strings = nr_strings;
		if (!small_op(walk, length, name))
			continue;
		/* a shrink that did nothing leads nowhere else */
		if (small_run(walk, length + 1))
			small_extend(walk, length + 1);
	}
}

static void replay_all_short_strings_are_sound(struct kunit *test)
{
	static struct small_walk walk;

	memset(&walk, 0, sizeof(walk));
	walk.test = test;
	walk.scope = test->param_value;
	small_run(&walk, 0);
	small_extend(&walk, 0);
	/* at least those of allocations, pins and splits */
	KUNIT_EXPECT_GT(test, walk.nr_strings, 500);
}
#endif

static const struct kunit_case replay_test_cases[] = {
	KUNIT_CASE_PARAM(replay_refuses_what_makes_no_sense,
			 replay_ops_gen_params),
	KUNIT_CASE(replay_names_the_refused_operation),
	KUNIT_CASE(replay_names_the_refused_operation_when_timed),
	KUNIT_CASE(replay_repeats),
	KUNIT_CASE(replay_slots_stay),
	KUNIT_CASE(replay_alloc_of_user_and_kernel_tables),
	KUNIT_CASE(replay_pin_takes_what_was_asked_for),
	KUNIT_CASE(replay_goes_on_without_memory),
	KUNIT_CASE(replay_failed_requests_of_pba_are_counted),
	KUNIT_CASE(replay_integrates_over_operations),
	KUNIT_CASE(replay_integrates_unprotected_pages),
	KUNIT_CASE(replay_tells_the_paths_apart),
	KUNIT_CASE(replay_split_other_changes_permissions),
	KUNIT_CASE(replay_shrink_scans_or_does_a_round),
	KUNIT_CASE(replay_shrink_without_a_shrinker_does_nothing),
	KUNIT_CASE(replay_null_has_nothing),
	KUNIT_CASE(replay_counts_do_not_depend_on_timing),
	KUNIT_CASE(replay_samples_every_nth_operation),
	KUNIT_CASE(replay_refuses_timing_that_makes_no_sense),
	KUNIT_CASE(replay_model_adds_up_stated_costs),
#if PAGE_SHIFT == 12
	KUNIT_CASE_PARAM(replay_all_short_strings_are_sound,
			 small_scopes_gen_params),
#endif
	{ 0 }
};

static struct kunit_suite replay_test_suite = {
	.name = BOX_SUITE("replay"),
	.test_cases = replay_test_cases,
};
kunit_test_suite(replay_test_suite);

#undef TOP
#undef OP
#undef NR_TIMED
