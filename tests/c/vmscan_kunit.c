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
	{ 0 }
};

static struct kunit_suite vmscan_test_suite = {
	.name = BOX_SUITE("vmscan"),
	.test_cases = vmscan_test_cases,
};
kunit_test_suite(vmscan_test_suite);
