// SPDX-License-Identifier: GPL-2.0-only
/*
 * What docs/facts.md says of the kernel and no other suite tests: mostly in
 * which order things are done, and what is held meanwhile.
 */

#include "box.h"

#define TOP BOX_TOP_LEAF_SIZE

/* Refills of whole blocks at all page sizes, and lists of CPUs or none. */
static struct kpb_machine *facts_boot(struct kunit *test, u32 no_pcp)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);

	box_refill_orders(&config, BLOCK_ORDER, BOX_CONT_PTE_ORDER,
			  BOX_MIN_ORDER);
	config.no_pcp = no_pcp;
	return box_boot(test, &config);
}

static void facts_set_cached(struct kunit *test, unsigned long nr)
{
	KUNIT_ASSERT_GE(test, get_pba()->nr_cached, nr);
	while (get_pba()->nr_cached > nr)
		KUNIT_ASSERT_NOT_NULL(test, kpkeys_pgtable_alloc(
						    GFP_KERNEL |
						    __GFP_PGTABLE_SPLIT));
}

static unsigned long facts_scan(unsigned long nr_to_scan)
{
	struct shrink_control sc = {
		.gfp_mask = GFP_KERNEL,
		.nr_to_scan = nr_to_scan,
		.nr_scanned = nr_to_scan,
	};

	return pba_shrink_scan(&kpb_this->shrinker, &sc);
}

/* Events of one kind that are still in the ring. */
static unsigned long facts_nr_events(enum kpb_event_kind kind)
{
	const struct kpb_recorder *rec = &kpb_this->recorder;
	unsigned long nr = 0;
	u64 i;

	for (i = 0; i < rec->nr; i++)
		nr += rec->events[i].kind == kind;
	return nr;
}

/* The n-th of them. */
static const struct kpb_event *facts_event(enum kpb_event_kind kind,
					   unsigned long n)
{
	const struct kpb_recorder *rec = &kpb_this->recorder;
	u64 i;

	for (i = 0; i < rec->nr; i++)
		if (rec->events[i].kind == kind && !n--)
			return &rec->events[i];
	return NULL;
}

/* Boot */

/* Off until pba_init(), and on for good; a PTE map needs no PBA. */
static void facts_keys_follow_the_map(struct kunit *test)
{
	enum box_allocator allocator;

	for (allocator = BOX_PBA; allocator <= BOX_NOBLOCK; allocator++) {
		struct kpb_config config =
			box_config(allocator, BOX_SMALL_BYTES);
		bool pba = allocator == BOX_PBA;

		box_create(test, &config);
		KUNIT_EXPECT_FALSE(test, static_branch_unlikely(
						 kpb_hardened_pgtables_key()));
		KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
		KUNIT_EXPECT_TRUE(test, static_branch_unlikely(
						kpb_hardened_pgtables_key()));
		KUNIT_EXPECT_EQ(test, pba_enabled(), pba);
		KUNIT_EXPECT_FALSE(test, pba_can_set_pkey());
		KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
		KUNIT_EXPECT_EQ(test, pba_enabled(), pba);
		KUNIT_EXPECT_EQ(test, pba_can_set_pkey(), pba);
	}
}

/* The first region, then the linear map's tables, then the static ones. */
static void facts_late_init_has_an_order(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m;
	unsigned long first;

	config.nr_static_pgtables = 3;
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	first = page_to_pfn(get_pba()->early_region.head);
	KUNIT_EXPECT_EQ(test, box_granule.record(4096), 0);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_ASSERT_EQ(test, facts_nr_events(KPB_EVENT_SET_PKEY), 3);
	KUNIT_EXPECT_EQ(test, facts_event(KPB_EVENT_SET_PKEY, 0)->a, first);
	KUNIT_EXPECT_EQ(test, facts_event(KPB_EVENT_SET_PKEY, 0)->b,
			1U << BOX_LARGEST_ORDER);
	/* one table: the last page of RAM */
	KUNIT_EXPECT_EQ(test, facts_event(KPB_EVENT_SET_PKEY, 1)->a,
			m->zone.zone_end_pfn - 1);
	KUNIT_EXPECT_EQ(test, facts_event(KPB_EVENT_SET_PKEY, 2)->a,
			box_start_pfn());
	KUNIT_EXPECT_EQ(test, facts_event(KPB_EVENT_SET_PKEY, 2)->b, 3);
}

/*
 * A boot without memory for the first region: there is none to protect, and no
 * reserve. The linear map's own table must be split off, so there is a refill
 * first; where that must split, too, it waits for itself. With 16K pages it
 * is a PMD of a contPMD and needs no table.
 */
static void facts_late_init_without_a_region(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	const struct kpb_fault fault = { .mode = KPB_FAULT_EVERY, .n = 1 };
	const struct kpb_fault off = { 0 };
	struct kpb_machine *m = box_create(test, &config);

	box_granule.set_fault(KPB_POINT_ALLOC_PAGES, &fault);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	box_granule.set_fault(KPB_POINT_ALLOC_PAGES, &off);
	KUNIT_EXPECT_EQ(test, m->counters.faults_injected, 3);
	KUNIT_EXPECT_NULL(test, get_pba()->early_region.head);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 0);
	if (PAGE_SHIFT != 14) {
		BOX_EXPECT_STOP(
			test, box_granule.init_late(),
			"deadlock: task 0 wants pba.alloc_mutex, which it holds itself");
		return;
	}
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	BOX_EXPECT_CLEAN(test);
}

/* Refill */

/* Outside every lock for the region, under the mutex for its pkey. */
static void facts_refill_takes_the_mutex_after_the_region(struct kunit *test)
{
	struct kpb_machine *m = facts_boot(test, 1);
	struct pkeys_block_allocator *pba = get_pba();
	const struct kpb_step step = {
		.op = { .kind = KPB_OP_ALLOC, .arg = 1 },
		.task = 2,
		.stop_at = KPB_POINT_ALLOC_PAGES,
	};
	struct kpb_step_result result;

	facts_set_cached(test, 4);
	KUNIT_ASSERT_EQ(test, box_granule.set_slots(1), 0);
	KUNIT_EXPECT_EQ(test, box_granule.step(&step, &result), 0);
	KUNIT_EXPECT_EQ(test, result.point, KPB_POINT_ALLOC_PAGES);
	KUNIT_EXPECT_NULL(test, pba->alloc_mutex.owner);
	KUNIT_EXPECT_FALSE(test, pba->lock.locked);

	KUNIT_EXPECT_EQ(test,
			box_granule.resume(2, KPB_POINT_MUTEX_LOCK, 1, &result),
			0);
	KUNIT_EXPECT_STREQ(test, result.lock, "pba.alloc_mutex");
	KUNIT_EXPECT_EQ(test, m->counters.refills, 2);
	KUNIT_EXPECT_NULL(test, pba->alloc_mutex.owner);

	KUNIT_EXPECT_EQ(test,
			box_granule.resume(2, KPB_POINT_SET_PKEY, 1, &result),
			0);
	KUNIT_EXPECT_EQ(test, result.point, KPB_POINT_SET_PKEY);
	KUNIT_EXPECT_PTR_EQ(test, pba->alloc_mutex.owner, &m->tasks[2]);
	/* the region is not in the cache yet, nor marked */
	KUNIT_EXPECT_EQ(test, pba->nr_cached, 4);
	KUNIT_EXPECT_FALSE(test, pba->lock.locked);

	/* when the mutex goes, all of it is there */
	KUNIT_EXPECT_EQ(test,
			box_granule.resume(2, KPB_POINT_MUTEX_UNLOCK, 2,
					   &result),
			0);
	KUNIT_EXPECT_STREQ(test, result.lock, "pba.alloc_mutex");
	KUNIT_EXPECT_EQ(test, pba->nr_cached, 4 + BLOCK_NR_PAGES - 1);
	KUNIT_EXPECT_EQ(test, box_granule.resume(2, 0, 1, &result), 0);
	KUNIT_EXPECT_EQ(test, result.state, KPB_TASK_IDLE);
	KUNIT_EXPECT_NULL(test, pba->alloc_mutex.owner);
}

/*
 * GFP_KERNEL for each order, with no bit to make it cheaper: each one wakes
 * kswapd, reclaims and complains; the last, which is not costly, kills.
 */
static void facts_refill_tries_hard_for_every_order(struct kunit *test)
{
	struct kpb_machine *m = facts_boot(test, 1);
	const struct kpb_counters *c = &m->counters;
	struct page *page;

	facts_set_cached(test, 4);
	box_drain();
	memset(&m->counters, 0, sizeof(m->counters));
	BOX_EXPECT_WARNINGS(test, 1, page = kpkeys_pgtable_alloc(GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, c->slowpath_entries, 3);
	KUNIT_EXPECT_EQ(test, c->slowpath_order[BLOCK_ORDER], 1);
	KUNIT_EXPECT_EQ(test, c->slowpath_order[BOX_CONT_PTE_ORDER], 1);
	KUNIT_EXPECT_EQ(test, c->slowpath_order[2], 1);
	KUNIT_EXPECT_EQ(test, c->kswapd_wakes, 3);
	KUNIT_EXPECT_EQ(test, c->allocstall, 3);
	KUNIT_EXPECT_EQ(test, c->alloc_failures, 3);
	KUNIT_EXPECT_EQ(test, c->oom_kills, 1);
}

/* Pages */

/*
 * What the allocator knows of a page lies over page->mapping and leaves
 * page->private, which overlaps the page table lock, to whoever uses the page.
 */
static void facts_page_data_lies_over_the_mapping(struct kunit *test)
{
	struct page *page, *head;

	facts_boot(test, 1);
	page = kpkeys_pgtable_alloc(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	head = block_head_page(page);
	KUNIT_EXPECT_TRUE(test, (void *)pba_page_data(page) ==
					(void *)&page->mapping);
	KUNIT_EXPECT_EQ(test, page_private(page), 0);
	set_page_private(page, 7);
	set_page_private(head, 8);
	unmark_block(head);
	mark_block(head, 5);
	KUNIT_EXPECT_EQ(test, page_private(page), 7);
	KUNIT_EXPECT_EQ(test, page_private(head), 8);
	kpkeys_pgtable_free(page);
	KUNIT_EXPECT_EQ(test, page_private(page), 7);
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free, 6);
	/* the first page of a block belongs to it, and so does the last */
	KUNIT_EXPECT_PTR_EQ(test, block_head_page(head), head);
	KUNIT_EXPECT_PTR_EQ(test, block_head_page(head + BLOCK_NR_PAGES - 1),
			    head);
	KUNIT_EXPECT_PTR_EQ(test, block_head_page(head + BLOCK_NR_PAGES),
			    head + BLOCK_NR_PAGES);
}

/* The caller's level, whatever it was, is what it gets back. */
static void facts_level_is_restored(struct kunit *test)
{
	struct kpb_machine *m = facts_boot(test, 1);

	m->kpkeys_level = 5;
	KUNIT_EXPECT_NOT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
	KUNIT_EXPECT_EQ(test, m->kpkeys_level, 5);
	KUNIT_EXPECT_EQ(test, m->counters.pkey_reg_writes, 2);
}

/* Shrinker */

/* One change of pkey, then every page on its own. */
static void facts_whole_block_goes_page_by_page(struct kunit *test)
{
	struct page *head;
	unsigned long i;

	facts_boot(test, 1);
	facts_set_cached(test, 16);
	head = pba_refill(false);
	KUNIT_EXPECT_EQ(test, box_granule.record(5 * BLOCK_NR_PAGES), 0);
	KUNIT_EXPECT_EQ(test, facts_scan(1), BLOCK_NR_PAGES);
	KUNIT_EXPECT_EQ(test, kpb_this->recorder.events[0].kind,
			KPB_EVENT_SET_PKEY);
	KUNIT_EXPECT_EQ(test, kpb_this->recorder.events[0].a,
			page_to_pfn(head));
	KUNIT_EXPECT_EQ(test, facts_nr_events(KPB_EVENT_SET_PKEY), 1);
	KUNIT_ASSERT_EQ(test, facts_nr_events(KPB_EVENT_RELEASE),
			BLOCK_NR_PAGES);
	for (i = 0; i < kpb_this->recorder.nr; i++)
		if (kpb_this->recorder.events[i].kind == KPB_EVENT_RELEASE &&
		    kpb_this->recorder.events[i].b)
			KUNIT_FAIL(test, "event %lu releases order %u", i,
				   kpb_this->recorder.events[i].b);
}

/* Otherwise each page loses its pkey and goes, before the next one's turn. */
static void facts_pages_are_released_one_by_one(struct kunit *test)
{
	const struct kpb_recorder *rec;
	u64 i, pfn = 0;
	unsigned int nr = 0;

	facts_boot(test, 1);
	KUNIT_EXPECT_EQ(test, box_granule.record(4096), 0);
	KUNIT_EXPECT_EQ(test, facts_scan(3), 3);
	rec = &kpb_this->recorder;
	for (i = 0; i < rec->nr; i++) {
		const struct kpb_event *ev = &rec->events[i];

		if (ev->kind == KPB_EVENT_SET_PKEY) {
			KUNIT_EXPECT_EQ(test, ev->b, 1);
			KUNIT_EXPECT_EQ(test, ev->c, KPKEYS_PKEY_DEFAULT);
			KUNIT_EXPECT_EQ(test, pfn, 0);
			pfn = ev->a;
		} else if (ev->kind == KPB_EVENT_RELEASE) {
			KUNIT_EXPECT_EQ(test, ev->a, pfn);
			KUNIT_EXPECT_EQ(test, ev->b, 0);
			pfn = 0;
			nr++;
		}
	}
	KUNIT_EXPECT_EQ(test, nr, 3);
}

/* D12: all of the list is walked under the spinlock, for one page, too. */
static void facts_scan_walks_the_list_under_the_lock(struct kunit *test)
{
	struct kpb_machine *m = facts_boot(test, 1);
	unsigned long nr;

	/* no block is whole, so nothing ends the walk early */
	facts_set_cached(test, 100);
	unmark_block(get_pba()->early_region.head);
	nr = get_pba()->nr_cached;
	m->counters.lock_hold_max_steps = 0;
	KUNIT_EXPECT_EQ(test, facts_scan(1), 1);
	KUNIT_EXPECT_GE(test, m->counters.lock_hold_max_steps, nr);
	KUNIT_EXPECT_LE(test, m->counters.lock_hold_max_steps, nr + 4);
	KUNIT_EXPECT_FALSE(test, get_pba()->lock.locked);
}

/* A whole block ends the first walk at once; the second takes its pages. */
static void facts_scan_stops_at_a_whole_block(struct kunit *test)
{
	struct kpb_machine *m = facts_boot(test, 1);

	/* a long list, and the whole block at its head */
	KUNIT_EXPECT_GE(test, get_pba()->nr_cached, BLOCK_NR_PAGES - 4);
	KUNIT_EXPECT_NOT_NULL(test, pba_refill(false));
	m->counters.lock_hold_max_steps = 0;
	KUNIT_EXPECT_EQ(test, facts_scan(1), BLOCK_NR_PAGES);
	KUNIT_EXPECT_GE(test, m->counters.lock_hold_max_steps, BLOCK_NR_PAGES);
	KUNIT_EXPECT_LE(test, m->counters.lock_hold_max_steps,
			BLOCK_NR_PAGES + 4);
}

/* A block that was given back is pages on a CPU's list until a drain. */
static void facts_shrunk_block_waits_for_a_drain(struct kunit *test)
{
	struct kpb_machine *m = facts_boot(test, 0);
	struct page *head;

	facts_set_cached(test, 16);
	head = pba_refill(false);
	drain_all_pages();
	KUNIT_EXPECT_EQ(test, m->pcp[0].count, 0);
	KUNIT_EXPECT_EQ(test, facts_scan(1), BLOCK_NR_PAGES);
	/* as many as fit below the mark at which a batch leaves */
	KUNIT_EXPECT_GT(test, m->pcp[0].count, 0);
	KUNIT_EXPECT_LT(test, m->pcp[0].count, m->pcp[0].high);
	KUNIT_EXPECT_FALSE(test,
			   PageBuddy(head) && buddy_order(head) >= BLOCK_ORDER);
	drain_all_pages();
	KUNIT_EXPECT_TRUE(test,
			  PageBuddy(head) && buddy_order(head) >= BLOCK_ORDER);
}

/*
 * D10: pages of 14 blocks that are still whole: each one costs a table, and
 * when three of the 16 that stay are left there is a refill, inside the scan.
 */
static void facts_shrink_that_runs_out_of_tables_refills(struct kunit *test)
{
	struct kpb_machine *m = facts_boot(test, 1);
	struct page *block[14];
	u64 nr_refills;
	unsigned int i;

	facts_set_cached(test, 0);
	for (i = 0; i < 14; i++) {
		block[i] = pba_refill(false);
		KUNIT_ASSERT_NOT_NULL(test, block[i]);
		facts_set_cached(test, 0);
		unmark_block(block[i]);
	}
	for (i = 1; i <= 16; i++)
		kpkeys_pgtable_free(block[0] + i);
	for (i = 0; i < 14; i++)
		kpkeys_pgtable_free(block[i]);
	nr_refills = m->counters.refills;
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SHRINK, 14, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, m->counters.released_pages, 14);
	KUNIT_EXPECT_EQ(test, m->map_counters[KPB_CAUSE_RELEASE].split_pmd, 14);
	KUNIT_EXPECT_EQ(test, m->counters.refills, nr_refills + 1);
	KUNIT_EXPECT_EQ(test, m->counters.refills_in_shrink, 1);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 16 + BLOCK_NR_PAGES - 14);
}

/* Splits by others */

/* Every entry of such a table is about to be written anyway. */
static void facts_split_tables_are_not_cleared(struct kunit *test)
{
	struct kpb_machine *m = facts_boot(test, 1);

	facts_set_cached(test, 4);
	KUNIT_EXPECT_EQ(test, set_memory_ro(box_addr(TOP + PAGE_SIZE), 1), 0);
	/* from the reserve, so they were asked for as what they are */
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, BOX_PICK(2, 3, 3));
	KUNIT_EXPECT_EQ(test, m->counters.zeroed_pages, 0);
	KUNIT_EXPECT_EQ(test, m->counters.pkey_reg_writes, 0);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_charges, 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

/* The reserve is filled before pgtable_split_lock is taken, not under it. */
static void facts_split_fills_the_reserve_before_the_lock(struct kunit *test)
{
	struct kpb_machine *m = facts_boot(test, 1);
	const struct kpb_step step = {
		.op = { .kind = KPB_OP_SET_MEMORY,
			.slot = (u32)(TOP >> PAGE_SHIFT) + 1,
			.arg = 1 },
		.task = 1,
		.stop_at = KPB_POINT_ALLOC_PAGES,
	};
	struct kpb_step_result result;

	facts_set_cached(test, 3);
	KUNIT_EXPECT_EQ(test, box_granule.step(&step, &result), 0);
	KUNIT_EXPECT_EQ(test, result.point, KPB_POINT_ALLOC_PAGES);
	KUNIT_EXPECT_NULL(test, m->pgtable_split_lock.owner);
	/* the refill's own split may come first: ours has a full reserve */
	do {
		KUNIT_ASSERT_EQ(test,
				box_granule.resume(1, KPB_POINT_SPLIT, 1,
						   &result),
				0);
		KUNIT_ASSERT_EQ(test, result.point, KPB_POINT_SPLIT);
	} while (get_pba()->alloc_mutex.owner);
	KUNIT_EXPECT_PTR_EQ(test, m->pgtable_split_lock.owner, &m->tasks[1]);
	KUNIT_EXPECT_GE(test, get_pba()->nr_cached, 4);
	KUNIT_EXPECT_EQ(test, box_granule.resume(1, 0, 1, &result), 0);
	KUNIT_EXPECT_EQ(test, result.state, KPB_TASK_IDLE);
	KUNIT_EXPECT_NULL(test, m->pgtable_split_lock.owner);
}

static const struct kunit_case facts_test_cases[] = {
	KUNIT_CASE(facts_keys_follow_the_map),
	KUNIT_CASE(facts_late_init_has_an_order),
	KUNIT_CASE(facts_late_init_without_a_region),
	KUNIT_CASE(facts_refill_takes_the_mutex_after_the_region),
	KUNIT_CASE(facts_refill_tries_hard_for_every_order),
	KUNIT_CASE(facts_page_data_lies_over_the_mapping),
	KUNIT_CASE(facts_level_is_restored),
	KUNIT_CASE(facts_whole_block_goes_page_by_page),
	KUNIT_CASE(facts_pages_are_released_one_by_one),
	KUNIT_CASE(facts_scan_walks_the_list_under_the_lock),
	KUNIT_CASE(facts_scan_stops_at_a_whole_block),
	KUNIT_CASE(facts_shrunk_block_waits_for_a_drain),
	KUNIT_CASE(facts_shrink_that_runs_out_of_tables_refills),
	KUNIT_CASE(facts_split_tables_are_not_cleared),
	KUNIT_CASE(facts_split_fills_the_reserve_before_the_lock),
	{ 0 }
};

static struct kunit_suite facts_test_suite = {
	.name = BOX_SUITE("facts"),
	.test_cases = facts_test_cases,
};
kunit_test_suite(facts_test_suite);

#undef TOP
