// SPDX-License-Identifier: GPL-2.0-only
/*
 * Direct reclaim (csrc/mm/vmscan.c): how often a cache is asked, and when that
 * is enough; with a fake cache, and once with the real one.
 */

#include "box.h"

static struct {
	unsigned long nr_objects; /* 0: SHRINK_EMPTY */
	unsigned long returns;
	unsigned int nr_counts, nr_scans;
	unsigned int flags; /* of the task, while it was asked */
	gfp_t gfp;
	struct page *page; /* what an allocation within reclaim got */
	bool allocate;
} vmscan_cache;

static unsigned long vmscan_cache_count(struct shrinker *shrinker,
					struct shrink_control *sc)
{
	(void)shrinker;
	vmscan_cache.nr_counts++;
	vmscan_cache.gfp = sc->gfp_mask;
	return vmscan_cache.nr_objects ? vmscan_cache.nr_objects : SHRINK_EMPTY;
}

static unsigned long vmscan_cache_scan(struct shrinker *shrinker,
				       struct shrink_control *sc)
{
	(void)shrinker;
	(void)sc;
	vmscan_cache.nr_scans++;
	vmscan_cache.flags = kpb_this->curr->flags;
	if (vmscan_cache.allocate)
		vmscan_cache.page = box_alloc_mt(MIGRATE_UNMOVABLE, 0);
	return vmscan_cache.returns;
}

/* A cache of 1000 objects, of which half are asked for at once. */
static struct kpb_machine *vmscan_box(struct kunit *test, unsigned long returns)
{
	struct kpb_config config = box_config(BOX_NULL, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);

	memset(&vmscan_cache, 0, sizeof(vmscan_cache));
	vmscan_cache.nr_objects = 1000;
	vmscan_cache.returns = returns;
	m->shrinker = (struct shrinker){
		.count_objects = vmscan_cache_count,
		.scan_objects = vmscan_cache_scan,
		.batch = 500,
		.registered = true,
	};
	return m;
}

struct vmscan_enough {
	const char *name;
	unsigned long returns;
	unsigned int nr_rounds;
	unsigned long reclaimed;
};

/* 32 pages are enough; there are 13 priorities. */
static const struct vmscan_enough vmscan_enough[] = {
	{ "more than enough", 500, 1, 500 },
	{ "exactly enough", 32, 1, 32 },
	{ "one too few", 31, 2, 62 },
	{ "three rounds of 11", 11, 3, 33 },
	{ "in the last round", 3, 11, 33 },
	{ "never", 2, 13, 26 },
	{ "nothing", 0, 13, 0 },
};

KUNIT_ARRAY_PARAM(vmscan_enough, vmscan_enough)

static void vmscan_stops_when_it_is_enough(struct kunit *test)
{
	const struct vmscan_enough *param = test->param_value;
	struct kpb_machine *m = vmscan_box(test, param->returns);

	KUNIT_EXPECT_EQ(test, try_to_free_pages(0, GFP_KERNEL),
			param->reclaimed);
	KUNIT_EXPECT_EQ(test, m->counters.slab_shrinks, param->nr_rounds);
	KUNIT_EXPECT_EQ(test, vmscan_cache.nr_counts, param->nr_rounds);
	KUNIT_EXPECT_EQ(test, m->counters.shrink_scans, param->nr_rounds);
	KUNIT_EXPECT_EQ(test, m->counters.pgsteal_direct, param->reclaimed);
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 1);
	KUNIT_EXPECT_EQ(test, vmscan_cache.gfp, GFP_KERNEL);
}

static void vmscan_empty_cache_is_no_progress(struct kunit *test)
{
	struct kpb_machine *m = vmscan_box(test, 100);

	vmscan_cache.nr_objects = 0;
	KUNIT_EXPECT_EQ(test, try_to_free_pages(0, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, m->counters.slab_shrinks, 13);
	KUNIT_EXPECT_EQ(test, m->counters.shrink_scans, 0);
	KUNIT_EXPECT_EQ(test, m->counters.pgsteal_direct, 0);
}

/* A cache that refuses is asked again with more pressure. */
static void vmscan_refusing_cache_is_asked_again(struct kunit *test)
{
	struct kpb_machine *m = vmscan_box(test, SHRINK_STOP);

	KUNIT_EXPECT_EQ(test, try_to_free_pages(0, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, m->counters.shrink_scans, 13);
}

static void vmscan_without_a_cache_has_nothing(struct kunit *test)
{
	struct kpb_machine *m = vmscan_box(test, 100);

	m->shrinker.registered = false;
	KUNIT_EXPECT_EQ(test, try_to_free_pages(0, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 1);
	KUNIT_EXPECT_EQ(test, m->counters.slab_shrinks, 0);
	KUNIT_EXPECT_EQ(test, vmscan_cache.nr_counts, 0);
}

/* The pressure rises: with seeks the first round that asks for 500 is the 8th. */
static void vmscan_pressure_rises(struct kunit *test)
{
	struct kpb_machine *m = vmscan_box(test, 100);

	/* 8192 >> 5 = 256, times 4 / 2 = 512; before that, and deferred: */
	m->shrinker.seeks = DEFAULT_SEEKS;
	vmscan_cache.nr_objects = 8192;
	KUNIT_EXPECT_EQ(test, try_to_free_pages(0, GFP_KERNEL), 100);
	KUNIT_EXPECT_EQ(test, m->counters.slab_shrinks, 8);
	KUNIT_EXPECT_EQ(test, m->counters.shrink_scans, 1);
}

/* The task inside may take the last page, and is what it was afterwards. */
static void vmscan_reclaim_runs_with_memalloc(struct kunit *test)
{
	struct kpb_machine *m = vmscan_box(test, 100);

	box_drain();
	box_free(box_block_pfn(1), 0);
	m->zone._watermark[WMARK_MIN] = 8;
	m->zone._watermark[WMARK_LOW] = 10;
	vmscan_cache.allocate = true;
	KUNIT_EXPECT_EQ(test, __perform_reclaim(GFP_KERNEL, 0), 100);
	KUNIT_EXPECT_EQ(test, vmscan_cache.flags, PF_MEMALLOC);
	KUNIT_EXPECT_PTR_EQ(test, vmscan_cache.page,
			    pfn_to_page(box_block_pfn(1)));
	KUNIT_EXPECT_EQ(test, m->counters.memalloc_allocs, 1);
	/* no reclaim within reclaim */
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 1);
	KUNIT_EXPECT_EQ(test, m->curr->flags, 0);

	m->curr->flags = PF_MEMALLOC;
	__perform_reclaim(GFP_KERNEL, 0);
	KUNIT_EXPECT_EQ(test, m->curr->flags, PF_MEMALLOC);
	m->curr->flags = 0;
}

static void vmscan_reclaim_tells(struct kunit *test)
{
	struct kpb_event events[8];

	vmscan_box(test, 100);
	KUNIT_ASSERT_EQ(test, box_granule.record(8), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_RECLAIM, 0, 0, 2), 0);
	KUNIT_ASSERT_EQ(test, box_granule.events(events, 8), 4);
	KUNIT_EXPECT_EQ(test, events[0].kind, KPB_EVENT_RECLAIM);
	KUNIT_EXPECT_EQ(test, events[0].b, 2);
	KUNIT_EXPECT_EQ(test, events[1].kind, KPB_EVENT_SHRINK);
	KUNIT_EXPECT_EQ(test, events[2].kind, KPB_EVENT_SHRINK_END);
	KUNIT_EXPECT_EQ(test, events[3].kind, KPB_EVENT_RECLAIM_END);
	KUNIT_EXPECT_EQ(test, events[3].a, 100);
}

/*
 * PBA's own: B pages a block, and a batch of as many. With nearly two blocks
 * cached a round asks for nearly one, d, which waits. What has come together,
 * at most 4 d, counts the more the greater the pressure: 10, 9, 9 pages are
 * missing to a batch, and there are
 *   4K: 502 a round: 1004 >> 10 = 0, 1506 >> 9 = 2, 2008 >> 8 = 7, 15
 *  16K: 2039: 2039 >> 11 = 0, 4078 >> 10 = 3, 6117 >> 9 = 11
 *  64K: 8183: 8183 >> 11 = 3, 16366 >> 10 = 15
 */
static void vmscan_reclaim_gets_a_block_from_pba(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m;

	box_refill_orders(&config, BLOCK_ORDER, BOX_CONT_PTE_ORDER, 2);
	m = box_boot(test, &config);
	KUNIT_EXPECT_NOT_NULL(test, pba_refill(false));
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_RECLAIM, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, m->counters.slab_shrinks, BOX_PICK(6, 4, 3));
	KUNIT_EXPECT_EQ(test, m->counters.shrink_scans, 1);
	KUNIT_EXPECT_EQ(test, m->counters.pgsteal_direct, BLOCK_NR_PAGES);
	BOX_EXPECT_CLEAN(test);
}

/* Every other page if there are few, so that no two come free together. */
#define VMSCAN_STRIDE(nr_file) ((nr_file) > 4096 ? 1 : 2)

/* Memory that is all taken, and @nr_file pages of page cache in it. */
static struct kpb_machine *vmscan_cache_box(struct kunit *test,
					    unsigned long nr_file)
{
	struct kpb_config config = box_config(BOX_NULL, BOX_SMALL_BYTES);
	struct kpb_machine *m;
	unsigned long pfn, i;

	config.no_pcp = 1;
	m = box_create(test, &config);
	box_drain();
	pfn = box_start_pfn();
	for (i = 0; i < nr_file; i++)
		kpb_system_add(pfn_to_page(pfn + i * VMSCAN_STRIDE(nr_file)), 0,
			       KPB_SYSTEM_FILE);
	return m;
}

struct vmscan_share {
	const char *name;
	unsigned long nr_file;
	unsigned int order;
	unsigned long taken;
};

/*
 * The share of what is left at priority 12, 11, and so on, until it is 32:
 * 1 1 3 7 15 31, and 2 4 8 16 33, of which the last are too many and stop
 * after a batch. For a block of order 4 it goes on at priority 11, a page at a
 * time, until compaction has its 32 free pages and one more; for one of order 3
 * from priority 9 on, so that it is 1 1 3 7 7 15.
 */
static const struct vmscan_share vmscan_share[] = {
	{ "none", 0, 0, 0 },
	{ "few", 20, 0, 20 },
	{ "4096", 4096, 0, 58 },
	{ "a batch is enough", 8600, 0, 62 },
	{ "order 3 for compaction", 4096, 3, 34 },
	{ "order 4 for compaction", 4096, 4, 33 },
};

KUNIT_ARRAY_PARAM(vmscan_share, vmscan_share)

static void vmscan_takes_the_oldest_page_cache(struct kunit *test)
{
	const struct vmscan_share *param = test->param_value;
	struct kpb_machine *m = vmscan_cache_box(test, param->nr_file);
	unsigned long left = param->nr_file - param->taken;

	KUNIT_EXPECT_EQ(test, try_to_free_pages(param->order, GFP_KERNEL),
			param->taken);
	KUNIT_EXPECT_EQ(test, m->counters.pgscan_direct, param->taken);
	KUNIT_EXPECT_EQ(test, m->counters.pgsteal_file, param->taken);
	KUNIT_EXPECT_EQ(test, m->counters.pgsteal_direct, param->taken);
	KUNIT_EXPECT_EQ(test, m->counters.pgscan_kswapd, 0);
	KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_FILE], left);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), param->taken);
	if (left)
		KUNIT_EXPECT_PTR_EQ(test,
				    list_first_entry(&m->system.pages
							      [KPB_SYSTEM_FILE],
						     struct page, lru),
				    pfn_to_page(
					    box_start_pfn() +
					    param->taken *
						    VMSCAN_STRIDE(
							    param->nr_file)));
}

/* With more page cache than 4096 * 32 pages the first round takes its share. */
static void vmscan_least_pressure_takes_the_whole_share(struct kunit *test)
{
	struct kpb_machine *m = vmscan_cache_box(test, 4096);
	struct scan_control sc = {
		.priority = DEF_PRIORITY,
		.nr_to_reclaim = SWAP_CLUSTER_MAX,
	};

	/* as if there were 160 times 4096 of them */
	m->system.nr_pages[KPB_SYSTEM_FILE] = 160 * 4096;
	shrink_lruvec(&sc);
	KUNIT_EXPECT_EQ(test, sc.nr_reclaimed, 160);
	sc.kswapd = true;
	m->system.nr_pages[KPB_SYSTEM_FILE] = 160 * 4096;
	shrink_lruvec(&sc);
	KUNIT_EXPECT_EQ(test, sc.nr_reclaimed, 192);
	KUNIT_EXPECT_EQ(test, m->counters.pgscan_kswapd, 32);
}

/* Twice the share that falls to a priority, as of every cache with two seeks. */
static void vmscan_asks_the_slab_caches(struct kunit *test)
{
	struct kpb_machine *m = vmscan_cache_box(test, 0);
	unsigned long i;

	for (i = 0; i < 64; i++)
		kpb_system_add(pfn_to_page(box_start_pfn() + i), 0,
			       KPB_SYSTEM_SLAB);
	/* 64 >> 6 = 1, 62 >> 5 = 1, 60 >> 4 = 3, 54 >> 3 = 6, 42 >> 2 = 10 */
	KUNIT_EXPECT_EQ(test, try_to_free_pages(0, GFP_KERNEL),
			2 + 2 + 6 + 12 + 20);
	KUNIT_EXPECT_EQ(test, m->counters.pgsteal_slab, 42);
	KUNIT_EXPECT_EQ(test, m->counters.pgsteal_file, 0);
	KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_SLAB], 22);
}

struct vmscan_kswapd {
	const char *name;
	unsigned int order;
	unsigned long high;
	unsigned long taken;
};

/*
 * 4096 pages: 1 1 3 7 15 31 63 ..., until more than the high watermark are
 * free. For order 4 no block comes of every other page: at priority 11 it takes a
 * page at a time until compaction has its 32 and one more, and then looks at the
 * watermark alone, at priority 10 and so on: 3 7 15.
 */
static const struct vmscan_kswapd vmscan_kswapd[] = {
	{ "at once", 0, 0, 1 },
	{ "in the last round", 0, 26, 27 },
	{ "one more round", 0, 27, 58 },
	{ "for a block", 4, 0, 33 },
	{ "for a block and 50", 4, 50, 33 + 3 + 7 + 15 },
};

KUNIT_ARRAY_PARAM(vmscan_kswapd, vmscan_kswapd)

static void vmscan_kswapd_stops_at_the_high_watermark(struct kunit *test)
{
	const struct vmscan_kswapd *param = test->param_value;
	struct kpb_machine *m = vmscan_cache_box(test, 4096);

	m->zone._watermark[WMARK_HIGH] = param->high;
	m->zone.kswapd_order = param->order;
	kpb_kswapd_run();
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), param->taken);
	KUNIT_EXPECT_EQ(test, m->counters.pgsteal_kswapd, param->taken);
	KUNIT_EXPECT_EQ(test, m->counters.pgscan_kswapd, param->taken);
	KUNIT_EXPECT_EQ(test, m->counters.pageoutrun, 1);
	KUNIT_EXPECT_EQ(test, m->counters.allocstall, 0);
	KUNIT_EXPECT_EQ(test, m->zone.kswapd_order, 0);
	KUNIT_EXPECT_EQ(test, m->curr->flags, 0);
	KUNIT_EXPECT_EQ(test, m->cpu, m->config.nr_cpus - 1);
}

/* After 16 runs for nothing only direct reclaim brings it back. */
static void vmscan_kswapd_gives_up(struct kunit *test)
{
	struct kpb_machine *m = vmscan_cache_box(test, 0);
	unsigned int i;

	m->zone._watermark[WMARK_HIGH] = 100;
	m->background.on = true;
	m->background_left = 1;
	for (i = 0; i < 20; i++) {
		m->background.kswapd_woken = false;
		wakeup_kswapd(&m->zone, 0);
		KUNIT_EXPECT_EQ(test, m->background.kswapd_woken,
				i < MAX_RECLAIM_RETRIES);
		if (m->background.kswapd_woken)
			kpb_kswapd_run();
	}
	kpb_system_add(pfn_to_page(box_start_pfn()), 0, KPB_SYSTEM_FILE);
	KUNIT_EXPECT_EQ(test, try_to_free_pages(0, GFP_KERNEL), 1);
	wakeup_kswapd(&m->zone, 0);
	KUNIT_EXPECT_TRUE(test, m->background.kswapd_woken);
}

/* Nobody runs it where there is no background: it is counted, as ever. */
static void vmscan_kswapd_is_not_woken_without_a_background(struct kunit *test)
{
	struct kpb_machine *m = vmscan_cache_box(test, 100);

	m->zone._watermark[WMARK_HIGH] = 100;
	wakeup_kswapd(&m->zone, 0);
	KUNIT_EXPECT_FALSE(test, m->background.kswapd_woken);
	KUNIT_EXPECT_EQ(test, m->background_left, 0);
}

static const struct kunit_case vmscan_test_cases[] = {
	KUNIT_CASE_PARAM(vmscan_stops_when_it_is_enough,
			 vmscan_enough_gen_params),
	KUNIT_CASE(vmscan_empty_cache_is_no_progress),
	KUNIT_CASE(vmscan_refusing_cache_is_asked_again),
	KUNIT_CASE(vmscan_without_a_cache_has_nothing),
	KUNIT_CASE(vmscan_pressure_rises),
	KUNIT_CASE(vmscan_reclaim_runs_with_memalloc),
	KUNIT_CASE(vmscan_reclaim_tells),
	KUNIT_CASE(vmscan_reclaim_gets_a_block_from_pba),
	KUNIT_CASE_PARAM(vmscan_takes_the_oldest_page_cache,
			 vmscan_share_gen_params),
	KUNIT_CASE(vmscan_least_pressure_takes_the_whole_share),
	KUNIT_CASE(vmscan_asks_the_slab_caches),
	KUNIT_CASE_PARAM(vmscan_kswapd_stops_at_the_high_watermark,
			 vmscan_kswapd_gen_params),
	KUNIT_CASE(vmscan_kswapd_gives_up),
	KUNIT_CASE(vmscan_kswapd_is_not_woken_without_a_background),
	{ 0 }
};

static struct kunit_suite vmscan_test_suite = {
	.name = BOX_SUITE("vmscan"),
	.test_cases = vmscan_test_cases,
};
kunit_test_suite(vmscan_test_suite);
