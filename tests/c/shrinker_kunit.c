// SPDX-License-Identifier: GPL-2.0-only
/*
 * How reclaim asks a cache (csrc/mm/shrinker.c): the arithmetic, with a fake
 * cache, and once with the real one.
 */

#include "box.h"

#define FAKE_MAX_CALLS 16

static struct {
	struct shrinker shrinker;
	unsigned long nr_objects;
	unsigned long stop_at; /* the call that returns SHRINK_STOP; 0: none */
	unsigned int
		scan_step; /* what a call says it scanned; 0: all asked for */
	unsigned int nr_calls;
	bool says_zero; /* and not SHRINK_EMPTY */
	unsigned long asked[FAKE_MAX_CALLS];
} fake;

static unsigned long fake_count(struct shrinker *shrinker,
				struct shrink_control *sc)
{
	(void)shrinker;
	(void)sc;
	if (fake.says_zero)
		return 0;
	return fake.nr_objects ? fake.nr_objects : SHRINK_EMPTY;
}

static unsigned long fake_scan(struct shrinker *shrinker,
			       struct shrink_control *sc)
{
	unsigned int call = fake.nr_calls++;

	(void)shrinker;
	if (call < FAKE_MAX_CALLS)
		fake.asked[call] = sc->nr_to_scan;
	if (fake.stop_at && fake.stop_at == fake.nr_calls)
		return SHRINK_STOP;
	if (fake.scan_step)
		sc->nr_scanned = fake.scan_step;
	/* one object in two can be freed */
	return sc->nr_to_scan / 2;
}

static void fake_init(struct kunit *test, unsigned long nr_objects, int seeks,
		      long batch)
{
	struct kpb_config config = box_config(BOX_NULL, BOX_SMALL_BYTES);

	/* somebody must count the scans */
	if (!kpb_this)
		box_create(test, &config);
	memset(&fake, 0, sizeof(fake));
	fake.shrinker.count_objects = fake_count;
	fake.shrinker.scan_objects = fake_scan;
	fake.shrinker.seeks = seeks;
	fake.shrinker.batch = batch;
	fake.nr_objects = nr_objects;
}

static unsigned long fake_shrink(int priority)
{
	struct shrink_control sc = { .gfp_mask = GFP_KERNEL };

	fake.nr_calls = 0;
	return do_shrink_slab(&sc, &fake.shrinker, priority);
}

static void shrinker_seeks_zero_asks_for_half(struct kunit *test)
{
	static const int priorities[] = { 12, 6, 0 };
	size_t i;

	/* half of 1000 in batches of 100, whatever the priority */
	for (i = 0; i < ARRAY_SIZE(priorities); i++) {
		fake_init(test, 1000, 0, 100);
		KUNIT_EXPECT_EQ(test, fake_shrink(priorities[i]), 5 * 50);
		KUNIT_EXPECT_EQ(test, fake.nr_calls, 5);
		KUNIT_EXPECT_EQ(test, fake.asked[0], 100);
		KUNIT_EXPECT_EQ(test, fake.asked[4], 100);
		KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 0);
	}
}

static void shrinker_less_than_a_batch_is_deferred(struct kunit *test)
{
	fake_init(test, 1000, 0, 300);
	/* 500: one batch of 300, and 200 for later */
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 150);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 1);
	KUNIT_EXPECT_EQ(test, fake.asked[0], 300);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 200);
	/* 200 + 500: two batches, 100 for later */
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 300);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 2);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 100);
}

/* Nothing is done before a batch has come together. */
static void shrinker_small_targets_wait_for_a_batch(struct kunit *test)
{
	fake_init(test, 700, 0, 512);
	/* 350, then 350 + 350 = 700: a batch, and 188 for later */
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 0);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 0);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 350);
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 256);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 1);
	KUNIT_EXPECT_EQ(test, fake.asked[0], 512);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 188);
}

/* Or as much as there is at all, which may be less than a batch. */
static void shrinker_small_caches_are_scanned_whole(struct kunit *test)
{
	fake_init(test, 100, 0, 512);
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 0);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 50);
	/* 50 + 50 is everything */
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 50);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 1);
	KUNIT_EXPECT_EQ(test, fake.asked[0], 100);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 0);
}

/* Old work counts less the lighter the pressure, and stays deferred. */
static void shrinker_deferred_work_is_scaled_by_priority(struct kunit *test)
{
	fake_init(test, 1000, 0, 100);
	fake.shrinker.nr_deferred = 800;
	/* (800 >> 3) + 500 = 600: six batches; 800 + 500 - 600 for later */
	KUNIT_EXPECT_EQ(test, fake_shrink(3), 300);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 6);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 700);
}

static void shrinker_target_is_capped_at_twice_the_count(struct kunit *test)
{
	fake_init(test, 200, 0, 100);
	fake.shrinker.nr_deferred = 100000;
	/* 400: four batches; what is left is capped, too */
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 200);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 4);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 400);
}

static void shrinker_stop_ends_the_round(struct kunit *test)
{
	fake_init(test, 1000, 0, 100);
	fake.stop_at = 3;
	/* two batches of five; the third is not counted as done */
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 100);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 3);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 300);
	/* at once */
	fake_init(test, 1000, 0, 100);
	fake.stop_at = 1;
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 0);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 1);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 500);
}

/* What a cache says it scanned counts, not what it was asked for. */
static void shrinker_counts_what_was_scanned(struct kunit *test)
{
	fake_init(test, 1000, 0, 100);
	fake.scan_step = 150;
	/* 500, 350, 200, 50: three calls; 500 - 450 for later */
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 150);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 3);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 50);
}

static void shrinker_empty_cache_is_left_alone(struct kunit *test)
{
	fake_init(test, 0, 0, 100);
	fake.shrinker.nr_deferred = 77;
	KUNIT_EXPECT_EQ(test, fake_shrink(0), SHRINK_EMPTY);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 0);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 77);
	/* a cache may also say that it has nothing at the moment */
	fake.says_zero = true;
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 0);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 0);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 77);
	/* one object: half of it is nothing */
	fake_init(test, 1, 0, 100);
	KUNIT_EXPECT_EQ(test, fake_shrink(0), 0);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 0);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 0);
}

/* With seeks the target is 4 / seeks of the count, shifted by priority. */
static void shrinker_seeks_follow_the_priority(struct kunit *test)
{
	fake_init(test, 8192, DEFAULT_SEEKS, 0);
	/* (8192 >> 4) * 4 / 2 = 1024, in batches of 128 */
	KUNIT_EXPECT_EQ(test, fake_shrink(4), 8 * 64);
	KUNIT_EXPECT_EQ(test, fake.nr_calls, 8);
	KUNIT_EXPECT_EQ(test, fake.asked[0], 128);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 0);
	/* (8192 >> 12) * 4 / 2 = 4 waits */
	KUNIT_EXPECT_EQ(test, fake_shrink(12), 0);
	KUNIT_EXPECT_EQ(test, fake.shrinker.nr_deferred, 4);
}

static void shrinker_alloc_has_defaults(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	struct shrinker *shrinker = shrinker_alloc(0, "test");

	KUNIT_EXPECT_PTR_EQ(test, shrinker, &m->shrinker);
	KUNIT_EXPECT_EQ(test, shrinker->seeks, 2);
	KUNIT_EXPECT_FALSE(test, shrinker->registered);
	shrinker_register(shrinker);
	KUNIT_EXPECT_TRUE(test, m->shrinker.registered);
}

/*
 * PBA's own: seeks 0, batches of a block (B pages). Nearly two blocks cached
 * are a target of nearly one, which waits; with the deferred half of the first
 * round the second one reaches a batch and releases a block.
 */
/* What was freed is asked no more. */
static void shrinker_free_ends_it(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_SMALL_BYTES);

	KUNIT_EXPECT_TRUE(test, m->shrinker.registered);
	shrinker_free(&m->shrinker);
	KUNIT_EXPECT_FALSE(test, m->shrinker.registered);
	KUNIT_EXPECT_TRUE(test, !m->shrinker.scan_objects);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SHRINK, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, m->counters.shrink_scans, 0);
}

static void shrinker_round_of_pba_releases_a_block(struct kunit *test)
{
	const unsigned long B = BLOCK_NR_PAGES;
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct shrink_control sc = { .gfp_mask = GFP_KERNEL };
	unsigned long count, delta;
	struct kpb_machine *m;

	box_refill_orders(&config, BLOCK_ORDER, BOX_CONT_PTE_ORDER, 2);
	m = box_boot(test, &config);
	KUNIT_EXPECT_NOT_NULL(test, pba_refill(false));
	/* boot has used 3, 1, 1 pages as tables */
	count = 2 * B - BOX_PICK(3, 1, 1) - 16;
	delta = count / 2;
	KUNIT_EXPECT_EQ(test, pba_shrink_count(&m->shrinker, &sc), count);
	KUNIT_EXPECT_EQ(test, do_shrink_slab(&sc, &m->shrinker, 0), 0);
	KUNIT_EXPECT_EQ(test, m->shrinker.nr_deferred, delta);
	KUNIT_EXPECT_EQ(test, do_shrink_slab(&sc, &m->shrinker, 0), B);
	KUNIT_EXPECT_EQ(test, m->shrinker.nr_deferred, 2 * delta - B);
	BOX_EXPECT_CLEAN(test);
}

static const struct kunit_case shrinker_test_cases[] = {
	KUNIT_CASE(shrinker_seeks_zero_asks_for_half),
	KUNIT_CASE(shrinker_less_than_a_batch_is_deferred),
	KUNIT_CASE(shrinker_small_targets_wait_for_a_batch),
	KUNIT_CASE(shrinker_small_caches_are_scanned_whole),
	KUNIT_CASE(shrinker_deferred_work_is_scaled_by_priority),
	KUNIT_CASE(shrinker_target_is_capped_at_twice_the_count),
	KUNIT_CASE(shrinker_stop_ends_the_round),
	KUNIT_CASE(shrinker_counts_what_was_scanned),
	KUNIT_CASE(shrinker_empty_cache_is_left_alone),
	KUNIT_CASE(shrinker_seeks_follow_the_priority),
	KUNIT_CASE(shrinker_alloc_has_defaults),
	KUNIT_CASE(shrinker_free_ends_it),
	KUNIT_CASE(shrinker_round_of_pba_releases_a_block),
	{ 0 }
};

static struct kunit_suite shrinker_test_suite = {
	.name = BOX_SUITE("shrinker"),
	.test_cases = shrinker_test_cases,
};
kunit_test_suite(shrinker_test_suite);

#undef FAKE_MAX_CALLS
