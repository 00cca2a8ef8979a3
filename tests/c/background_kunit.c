// SPDX-License-Identifier: GPL-2.0-only
/*
 * The background (csrc/lab/background.c): what each actor takes and leaves, when
 * it is his turn, and that pages are conserved whatever happens.
 */

#include "box.h"

/* A machine that has booted, with a background of which everything is said. */
static struct kpb_machine *
background_box(struct kunit *test, enum box_allocator allocator,
	       struct kpb_background_config background)
{
	struct kpb_config config = box_config(allocator, BOX_SMALL_BYTES);

	if (!background.life_ops)
		background.life_ops = 1;
	config.background = background;
	return box_boot(test, &config);
}

static unsigned long background_nr(enum kpb_system_kind kind)
{
	return kpb_this->system.nr_pages[kind];
}

/* Operations that do nothing but let time pass: null has nothing to shrink. */
static void background_pass_time(u32 nr_ops)
{
	while (nr_ops--)
		box_op(KPB_OP_SHRINK, 0, 0, 0);
}

/* What came is there, has gone by itself, or was reclaimed. */
static void background_expect_conserved(struct kunit *test)
{
	const struct kpb_counters *c = &kpb_this->counters;
	unsigned long nr_pages = 0;
	int kind;

	for (kind = 0; kind < KPB_NR_SYSTEM_KINDS; kind++)
		nr_pages += background_nr((enum kpb_system_kind)kind);
	KUNIT_EXPECT_EQ(test, c->background_alloc_pages,
			nr_pages + c->background_free_pages + c->pgsteal_file +
				c->pgsteal_slab);
}

static void background_none_takes_nothing(struct kunit *test)
{
	struct kpb_machine *m =
		background_box(test, BOX_NULL,
			       (struct kpb_background_config){ 0 });

	background_pass_time(3 * KPB_BACKGROUND_MAX_EVERY);
	KUNIT_EXPECT_FALSE(test, m->background.on);
	KUNIT_EXPECT_EQ(test, m->counters.background_turns, 0);
	KUNIT_EXPECT_EQ(test, m->counters.background_alloc_pages, 0);
	KUNIT_EXPECT_EQ(test, m->background.clock_ticks, 0);
}

static void background_has_a_turn_every_so_many_operations(struct kunit *test)
{
	struct kpb_machine *m =
		background_box(test, BOX_NULL,
			       (struct kpb_background_config){ .every = 10 });

	background_pass_time(9);
	KUNIT_EXPECT_EQ(test, m->counters.background_turns, 0);
	background_pass_time(1);
	KUNIT_EXPECT_EQ(test, m->counters.background_turns, 1);
	background_pass_time(95);
	KUNIT_EXPECT_EQ(test, m->counters.background_turns, 10);
}

/* Resident processes first, then page cache, down to the high watermark. */
static void background_start_fills_memory(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_NULL,
					       (struct kpb_background_config){
						       .every = 10,
						       .resident_percent = 50,
						       .cache_percent = 100 });
	unsigned long managed = m->zone.managed_pages;
	unsigned long nr_free = (unsigned long)kpb_nr_free_pages(&m->zone);

	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_ANON), managed / 2);
	/* but for a window, and what CPUs kept when the cache began to grow */
	KUNIT_EXPECT_LE(test, nr_free,
			high_wmark_pages(&m->zone) + VM_READAHEAD_PAGES +
				m->config.nr_cpus * 63);
	KUNIT_EXPECT_GE(test, nr_free + m->config.nr_cpus * 63,
			high_wmark_pages(&m->zone));
	KUNIT_EXPECT_EQ(test, m->counters.pageoutrun, 0);
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 0);
	background_expect_conserved(test);
	BOX_EXPECT_CLEAN(test);
}

/* Aged memory counts as free before it is looked at: the fill ends in time. */
static void background_start_knows_aged_memory(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NULL, BOX_SMALL_BYTES);
	struct kpb_machine *m;

	config.aged_ppm = 1000000;
	config.aged_pins = 8;
	config.background =
		(struct kpb_background_config){ .every = 1,
						.cache_percent = 100 };
	m = box_boot(test, &config);
	KUNIT_EXPECT_EQ(test, m->zone.nr_deferred_pages, 0);
	KUNIT_EXPECT_EQ(test, m->counters.pageoutrun, 0);
	KUNIT_EXPECT_EQ(test, m->counters.slowpath_entries, 0);
	BOX_EXPECT_CLEAN(test);
}

/* Half of the way only: the rest stays free. */
static void background_cache_share_is_of_what_is_above(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_NULL,
					       (struct kpb_background_config){
						       .every = 10,
						       .cache_percent = 50 });
	unsigned long above = (unsigned long)kpb_nr_free_pages(&m->zone) +
			      background_nr(KPB_SYSTEM_FILE) -
			      high_wmark_pages(&m->zone);
	u32 cpu;

	for (cpu = 0; cpu < m->config.nr_cpus; cpu++)
		above += (unsigned long)m->pcp[cpu].count;

	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_FILE),
			ALIGN_DOWN(above / 2, VM_READAHEAD_PAGES));
	BOX_EXPECT_CLEAN(test);
}

/* Five pages with each user's PTE table, and with no other. */
static void background_anon_follows_pte_tables(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_PBA,
					       (struct kpb_background_config){
						       .every = 4,
						       .table_pages = 5 });

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(8), 0);
	box_op(KPB_OP_ALLOC, 0, KPB_LEVEL_PTE, 0);
	box_op(KPB_OP_ALLOC, 1, KPB_LEVEL_PTE, 1); /* a kernel table */
	box_op(KPB_OP_ALLOC, 2, KPB_LEVEL_PMD, 0);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_ANON), 0);
	box_op(KPB_OP_ALLOC, 3, KPB_LEVEL_PTE, 0);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_ANON), 10);
	box_op(KPB_OP_FREE, 0, 0, 0);
	box_op(KPB_OP_FREE, 1, 0, 0);
	box_op(KPB_OP_FREE, 2, 0, 0);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_ANON), 10);
	box_op(KPB_OP_ALLOC, 1, KPB_LEVEL_PTE, 0);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_ANON), 10);
	KUNIT_EXPECT_EQ(test, m->counters.background_alloc_pages, 15);
	KUNIT_EXPECT_EQ(test, m->counters.background_free_pages, 5);
	background_expect_conserved(test);
	BOX_EXPECT_CLEAN(test);
}

/* It comes and goes between two turns: both are followed, in order. */
static void background_short_life_leaves_nothing(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_PBA,
					       (struct kpb_background_config){
						       .every = 4,
						       .table_pages = 3 });
	const struct kpb_op ops[] = {
		{ .kind = KPB_OP_ALLOC, .slot = 0 },
		{ .kind = KPB_OP_FREE, .slot = 0 },
	};

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(8), 0);
	KUNIT_ASSERT_EQ(test, box_granule.replay(ops, 2, 10, NULL, NULL), 0);
	KUNIT_EXPECT_EQ(test, m->counters.background_turns, 5);
	KUNIT_EXPECT_EQ(test, m->counters.background_alloc_pages, 30);
	KUNIT_EXPECT_EQ(test, m->counters.background_free_pages, 30);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_ANON), 0);
}

/* How operations are cut into arrays changes nothing. */
static void background_arrays_do_not_matter(struct kunit *test)
{
	struct kpb_background_config config = {
		.every = 7,
		.cache_percent = 100,
		.table_pages = 4,
		.read_pages = 3000,
		.kernel_allocs = 500,
	};
	struct kpb_counters whole, pieces;
	struct kpb_machine *m;
	struct kpb_op ops[60];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		ops[i] = (struct kpb_op){ .slot = i / 2 % 20,
					  .kind = i % 2 ? KPB_OP_FREE :
							  KPB_OP_ALLOC };
	m = background_box(test, BOX_PBA, config);
	KUNIT_ASSERT_EQ(test, box_granule.set_slots(20), 0);
	KUNIT_ASSERT_EQ(test, box_granule.replay(ops, 60, 1, NULL, NULL), 0);
	whole = m->counters;
	m = background_box(test, BOX_PBA, config);
	KUNIT_ASSERT_EQ(test, box_granule.set_slots(20), 0);
	for (i = 0; i < ARRAY_SIZE(ops); i += 1 + i % 5)
		KUNIT_ASSERT_EQ(test,
				box_granule.replay(ops + i,
						   min(1 + i % 5, 60 - i), 1,
						   NULL, NULL),
				0);
	pieces = m->counters;
	KUNIT_EXPECT_GT(test, whole.background_alloc_pages, 100);
	KUNIT_EXPECT_EQ(test, memcmp(&whole, &pieces, sizeof(whole)), 0);
}

/* 100 pages for 1000 operations, in windows of read-ahead. */
static void background_reads_in_windows(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_NULL,
					       (struct kpb_background_config){
						       .every = 10,
						       .read_pages = 100 });
	u32 nr_ops = 10 * VM_READAHEAD_PAGES; /* for a window */

	background_pass_time(nr_ops - 10);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_FILE),
			VM_READAHEAD_PAGES * (nr_ops - 10) / nr_ops /
				VM_READAHEAD_PAGES * VM_READAHEAD_PAGES);
	background_pass_time(10);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_FILE),
			VM_READAHEAD_PAGES);
	background_pass_time(3 * nr_ops);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_FILE),
			4 * VM_READAHEAD_PAGES);
	KUNIT_EXPECT_EQ(test, m->counters.pgsteal_file, 0);
}

static void background_burst_comes_every_so_often(struct kunit *test)
{
	struct kpb_machine *m =
		background_box(test, BOX_NULL,
			       (struct kpb_background_config){
				       .every = 10,
				       .burst_pages =
					       3 * VM_READAHEAD_PAGES + 1,
				       .burst_ops = 50 });

	background_pass_time(49);
	KUNIT_EXPECT_EQ(test, m->counters.background_bursts, 0);
	background_pass_time(101);
	KUNIT_EXPECT_EQ(test, m->counters.background_bursts, 3);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_FILE),
			9 * VM_READAHEAD_PAGES);
}

/* Unmovable allocations live for at least two turns here, and most not long. */
static void background_kernel_allocations_die(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_NULL,
					       (struct kpb_background_config){
						       .every = 10,
						       .kernel_allocs = 1000,
						       .life_ops = 20 });

	background_pass_time(20);
	KUNIT_EXPECT_EQ(test, m->counters.background_free_pages, 0);
	KUNIT_EXPECT_GE(test, background_nr(KPB_SYSTEM_KERNEL), 20);
	background_pass_time(10000);
	/*
	 * Of 10 a turn the share 2 / t is alive after t turns: of 1000 turns
	 * 20 + 20 * (H(1000) - 1.5), some 140, of 1.75 pages on average.
	 */
	KUNIT_EXPECT_GT(test, background_nr(KPB_SYSTEM_KERNEL), 120);
	KUNIT_EXPECT_LT(test, background_nr(KPB_SYSTEM_KERNEL), 500);
	KUNIT_EXPECT_GT(test, m->counters.background_free_pages, 15000);
	background_expect_conserved(test);
	BOX_EXPECT_CLEAN(test);
}

/* 1000 pages of slab for 1000 operations, however large a slab is. */
static void background_slab_grows_until_reclaim(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_NULL,
					       (struct kpb_background_config){
						       .every = 10,
						       .slab_pages = 1000 });

	background_pass_time(1000);
	KUNIT_EXPECT_GE(test, background_nr(KPB_SYSTEM_SLAB), 1000);
	KUNIT_EXPECT_LT(test, background_nr(KPB_SYSTEM_SLAB), 1008);
	/* at priority 9 the first page: 1000 >> 9 = 1, twice that for 2 seeks */
	box_op(KPB_OP_RECLAIM, 0, 0, 0);
	KUNIT_EXPECT_GE(test, m->counters.pgsteal_slab, 32);
	background_expect_conserved(test);
	BOX_EXPECT_CLEAN(test);
}

/* A huge page where the buddy could have one. */
static void background_thp_is_one_block(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_NULL,
					       (struct kpb_background_config){
						       .every = 1000,
						       .thp_allocs = 1000,
						       .life_ops = 1000000 });
	bool is_block = PMD_ORDER <= MAX_PAGE_ORDER;

	background_pass_time(1000);
	KUNIT_EXPECT_EQ(test, m->counters.thp_fault_alloc, is_block);
	KUNIT_EXPECT_EQ(test, m->counters.thp_fault_fallback, !is_block);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_ANON),
			is_block ? 1UL << PMD_ORDER : 512);
	BOX_EXPECT_CLEAN(test);
}

/* No block is left: 512 single pages at most, and all go together. */
static void background_thp_falls_back(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_NULL,
					       (struct kpb_background_config){
						       .every = 1000,
						       .cache_percent = 100,
						       .thp_allocs = 1000,
						       .life_ops = 1000000 });

	background_pass_time(1000);
	KUNIT_EXPECT_EQ(test, m->counters.thp_fault_alloc, 0);
	KUNIT_EXPECT_EQ(test, m->counters.thp_fault_fallback, 1);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_ANON),
			min(1UL << PMD_ORDER, 512UL));
	/* it was tried without any effort */
	KUNIT_EXPECT_EQ(test, m->counters.compact_stall, 0);
	background_expect_conserved(test);
	BOX_EXPECT_CLEAN(test);
}

/* Processes stop growing where page cache is nearly gone. */
static void background_anon_is_capped(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_NULL,
					       (struct kpb_background_config){
						       .every = 1,
						       .resident_percent = 95,
						       .table_pages = 512 });
	u32 i;

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(200), 0);
	for (i = 0; i < 200; i++)
		box_op(KPB_OP_ALLOC, i, KPB_LEVEL_PTE, 0);
	KUNIT_EXPECT_GT(test, m->counters.background_capped, 0);
	/* the last page that there was room for may be missing, with a batch */
	KUNIT_EXPECT_GE(test,
			(unsigned long)kpb_nr_free_pages(&m->zone) + 2 * 63,
			2 * high_wmark_pages(&m->zone));
	KUNIT_EXPECT_EQ(test, m->counters.oom_kills, 0);
	background_expect_conserved(test);
	BOX_EXPECT_CLEAN(test);
}

/* What compaction has moved is still found when its time comes. */
static void background_moved_page_is_still_owned(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_NULL,
					       (struct kpb_background_config){
						       .every = 1,
						       .table_pages = 3 });
	struct page *page, *dst;

	KUNIT_ASSERT_EQ(test, box_granule.set_slots(1), 0);
	box_op(KPB_OP_ALLOC, 0, KPB_LEVEL_PTE, 0);
	page = list_first_entry(&m->system.pages[KPB_SYSTEM_ANON], struct page,
				lru);
	dst = box_alloc_mt(MIGRATE_MOVABLE, 0);
	/* as migrate_page() does */
	dst->mapping = page->mapping;
	kpb_system_move(page, dst);
	KUNIT_EXPECT_PTR_EQ(test, page->mapping, NULL);
	box_free(page_to_pfn(page), 0);
	BOX_EXPECT_CLEAN(test);
	box_op(KPB_OP_FREE, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, background_nr(KPB_SYSTEM_ANON), 0);
	KUNIT_EXPECT_EQ(test, m->counters.background_free_pages, 3);
	BOX_EXPECT_CLEAN(test);
}

/*
 * Whoever wakes kswapd, it runs before the next operation and in none, and the
 * turn comes when it would have come.
 */
static void background_kswapd_runs_between_operations(struct kunit *test)
{
	struct kpb_machine *m = background_box(test, BOX_NULL,
					       (struct kpb_background_config){
						       .every = 1000,
						       .cache_percent = 100 });
	unsigned long nr_free = (unsigned long)kpb_nr_free_pages(&m->zone);
	struct kpb_step step = {
		.op = { .kind = KPB_OP_PIN, .level = MIGRATE_MOVABLE },
	};
	struct kpb_step_result result;

	m->zone._watermark[WMARK_MIN] = 0;
	m->zone._watermark[WMARK_LOW] = nr_free;
	m->zone._watermark[WMARK_HIGH] = nr_free + 100;
	KUNIT_ASSERT_EQ(test, box_granule.set_slots(1), 0);
	background_pass_time(300);
	KUNIT_ASSERT_EQ(test, box_granule.step(&step, &result), 0);
	KUNIT_EXPECT_EQ(test, m->counters.kswapd_wakes, 1);
	KUNIT_EXPECT_EQ(test, m->counters.pageoutrun, 0);
	background_pass_time(1);
	KUNIT_EXPECT_EQ(test, m->counters.pageoutrun, 1);
	KUNIT_EXPECT_GT(test, kpb_nr_free_pages(&m->zone), nr_free + 100);
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 0);
	background_pass_time(698);
	KUNIT_EXPECT_EQ(test, m->counters.background_turns, 0);
	background_pass_time(1);
	KUNIT_EXPECT_EQ(test, m->counters.background_turns, 1);
	BOX_EXPECT_CLEAN(test);
}

struct background_wrong {
	const char *name;
	struct kpb_background_config config;
	const char *says;
};

static const struct background_wrong background_wrong[] = {
	{ "every", { .every = 1025 }, "every 1025: give at most 1024" },
	{ "resident", { .every = 1, .resident_percent = 96 }, "at most 95" },
	{ "burst", { .every = 1, .burst_pages = 1 }, "give burst_ops" },
	{ "thp", { .every = 1, .thp_allocs = 10001 }, "thp_allocs 10001" },
};

KUNIT_ARRAY_PARAM(background_wrong, background_wrong)

static void background_out_of_range_is_refused(struct kunit *test)
{
	const struct background_wrong *param = test->param_value;
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	char msg[KPB_MSG_BYTES] = "";
	struct kpb_machine *m;

	config.background = param->config;
	KUNIT_EXPECT_EQ(test, box_granule.create(&config, &m, msg), -EINVAL);
	KUNIT_EXPECT_TRUE(test, strstr(msg, param->says) != NULL);
}

/* Everything at once, for every allocator, on aged memory: nothing is lost. */
static void background_random_operations_keep_the_books(struct kunit *test)
{
	static const enum box_allocator allocators[] = { BOX_PBA, BOX_NOBLOCK };
	struct kpb_rng rng = kpb_rng_seed(7);
	u32 round, i;

	for (round = 0; round < 4; round++) {
		struct kpb_config config =
			box_config(allocators[round % 2], BOX_SMALL_BYTES);
		struct kpb_machine *m;

		config.aged_ppm = round < 2 ? 0 : 500000;
		config.aged_pins = 8;
		config.background = (struct kpb_background_config){
			.every = 16,
			.resident_percent = round % 2 ? 60 : 10,
			.cache_percent = 100,
			.table_pages = 8,
			.read_pages = 3000,
			.slab_pages = 200,
			.kernel_allocs = 200,
			.thp_allocs = 3000,
			.life_ops = 100,
			.burst_pages = 256,
			.burst_ops = 1000,
			.seed = round,
		};
		m = box_boot(test, &config);
		KUNIT_ASSERT_EQ(test, box_granule.set_slots(400), 0);
		for (i = 0; i < 6000; i++) {
			u32 slot = (u32)kpb_rng_below(&rng, 400);
			u8 cpu = (u8)kpb_rng_below(&rng, 4);
			bool is_free = m->slots[slot].kind != KPB_SLOT_EMPTY;
			const struct kpb_op op = {
				.slot = slot,
				.cpu = cpu,
				.kind = is_free ? KPB_OP_FREE : KPB_OP_ALLOC,
			};

			KUNIT_ASSERT_EQ(test,
					box_granule.replay(&op, 1, 1, NULL,
							   NULL),
					0);
			if (i % 500 == 0)
				BOX_EXPECT_CLEAN(test);
		}
		KUNIT_EXPECT_GT(test, m->counters.pgsteal_kswapd, 0);
		KUNIT_EXPECT_EQ(test, m->counters.failed_allocs, 0);
		background_expect_conserved(test);
		BOX_EXPECT_CLEAN(test);
	}
}

static const struct kunit_case background_test_cases[] = {
	KUNIT_CASE(background_none_takes_nothing),
	KUNIT_CASE(background_has_a_turn_every_so_many_operations),
	KUNIT_CASE(background_start_fills_memory),
	KUNIT_CASE(background_start_knows_aged_memory),
	KUNIT_CASE(background_cache_share_is_of_what_is_above),
	KUNIT_CASE(background_anon_follows_pte_tables),
	KUNIT_CASE(background_short_life_leaves_nothing),
	KUNIT_CASE(background_arrays_do_not_matter),
	KUNIT_CASE(background_reads_in_windows),
	KUNIT_CASE(background_burst_comes_every_so_often),
	KUNIT_CASE(background_kernel_allocations_die),
	KUNIT_CASE(background_slab_grows_until_reclaim),
	KUNIT_CASE(background_thp_is_one_block),
	KUNIT_CASE(background_thp_falls_back),
	KUNIT_CASE(background_anon_is_capped),
	KUNIT_CASE(background_moved_page_is_still_owned),
	KUNIT_CASE(background_kswapd_runs_between_operations),
	KUNIT_CASE_PARAM(background_out_of_range_is_refused,
			 background_wrong_gen_params),
	KUNIT_CASE(background_random_operations_keep_the_books),
	{ 0 }
};

static struct kunit_suite background_test_suite = {
	.name = BOX_SUITE("background"),
	.test_cases = background_test_cases,
};
kunit_test_suite(background_test_suite);
