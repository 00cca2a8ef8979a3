// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory images (csrc/lab/image.c, image_save.c): what a machine is like that
 * begins with one, what is refused, and what a machine gives back.
 */

#include "box.h"

#define IMAGE_MAX_RUNS 256
#define IMAGE_CHUNK (1u << default_refill_orders[0])
/* frames of a machine; the last two chunks are reserved */
#define IMAGE_FRAMES ((u32)(BOX_SMALL_BYTES >> PAGE_SHIFT))
#define IMAGE_RESERVED (2 * IMAGE_CHUNK)
#define IMAGE_MAX_BLOCKS 256

static struct kpb_run image_runs[IMAGE_MAX_RUNS];
static struct kpb_place image_places[IMAGE_MAX_RUNS];
static u8 image_types[IMAGE_MAX_BLOCKS];
static struct kpb_image image_input;

static u32 image_end(void)
{
	const struct kpb_run *last;

	if (!image_input.nr_runs)
		return 0;
	last = &image_runs[image_input.nr_runs - 1];
	return last->first + (last->nr << last->order);
}

static void image_add(u8 kind, u8 order, u32 nr)
{
	struct kpb_run *last = &image_runs[image_input.nr_runs];

	if (image_input.nr_runs && last[-1].kind == kind &&
	    last[-1].order == order) {
		last[-1].nr += nr;
		return;
	}
	VM_BUG_ON(image_input.nr_runs == IMAGE_MAX_RUNS);
	image_runs[image_input.nr_runs] = (struct kpb_run){
		.first = image_end(),
		.nr = nr,
		.kind = kind,
		.order = order,
	};
	image_input.nr_runs++;
}

static void image_place(u32 first, u16 cpu, u8 type)
{
	image_places[image_input.nr_places++] = (struct kpb_place){
		.first = first,
		.cpu = cpu,
		.type = type,
	};
}

static void image_begin(void)
{
	image_input = (struct kpb_image){
		.runs = image_runs,
		.places = image_places,
		.block_types = image_types,
		.nr_blocks = IMAGE_FRAMES >> pageblock_order,
	};
	memset(image_types, MIGRATE_MOVABLE, sizeof(image_types));
}

/* Free blocks of the largest order up to a frame, and those below it. */
static void image_free_to(u32 end)
{
	u8 order;

	while (image_end() < end) {
		u32 at = image_end();

		order = MAX_PAGE_ORDER;
		while (at & ((1u << order) - 1) || at + (1u << order) > end)
			order--;
		image_add(KPB_RUN_FREE, order, 1);
	}
}

/* The rest of memory: free, and what is reserved at its end. */
static void image_finish(void)
{
	image_free_to(IMAGE_FRAMES - IMAGE_RESERVED);
	image_add(KPB_RUN_RESERVED, 0, IMAGE_RESERVED);
}

static struct kpb_config image_config(enum box_allocator allocator)
{
	struct kpb_config config = box_config(allocator, BOX_SMALL_BYTES);

	config.image = &image_input;
	return config;
}

/* Every kind, in the first block of the largest order. */
static void image_all_kinds(void)
{
	image_begin();
	image_add(KPB_RUN_KERNEL, 0, 1);
	image_add(KPB_RUN_FREE, 0, 1);
	image_add(KPB_RUN_FREE, 1, 1);
	image_add(KPB_RUN_ANON, 2, 1);
	image_add(KPB_RUN_FILE, 0, 4);
	image_add(KPB_RUN_SLAB, 0, 1);
	image_add(KPB_RUN_PGTABLE, 0, 2);
	image_add(KPB_RUN_PCP, 0, 1);
	image_add(KPB_RUN_SYSTEM_KERNEL, 0, 1);
	image_add(KPB_RUN_SYSTEM_SLAB, 0, 1);
	image_add(KPB_RUN_RESERVED, 0, 1);
	image_add(KPB_RUN_KERNEL, 0, 1);
	image_place(15, 1, MIGRATE_UNMOVABLE);
}

static u64 image_nr_free(unsigned int order)
{
	u64 counts[KPB_MAX_ORDERS][KPB_MIGRATE_TYPES], sum = 0;
	int type;

	kpb_granule_buddyinfo(&counts[0][0]);
	for (type = 0; type < KPB_MIGRATE_TYPES; type++)
		sum += counts[order][type];
	return sum;
}

/* What the runs say, and nothing else, is what the machine has. */
static void image_expect_counts(struct kunit *test)
{
	u64 nr[NR_PAGE_ORDERS] = { 0 };
	unsigned int order;
	u64 i;

	for (i = 0; i < image_input.nr_runs; i++)
		if (image_runs[i].kind == KPB_RUN_FREE)
			nr[image_runs[i].order] += image_runs[i].nr;
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		KUNIT_EXPECT_EQ(test, image_nr_free(order), nr[order]);
}

static void image_machine_has_what_the_runs_say(struct kunit *test)
{
	enum box_allocator allocators[] = { BOX_PBA, BOX_NOBLOCK, BOX_NULL,
					    BOX_DEFERRED_LIST };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(allocators); i++) {
		struct kpb_config config = image_config(allocators[i]);
		struct kpb_machine *m;
		unsigned long pfn;

		image_all_kinds();
		image_finish();
		m = box_create(test, &config);
		pfn = box_start_pfn();
		image_expect_counts(test);
		BOX_EXPECT_CLEAN(test);
		KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_ANON], 4);
		KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_FILE], 4);
		KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_SLAB], 1);
		KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_KERNEL], 1);
		KUNIT_EXPECT_EQ(test, m->zone.nr_movable_pages, 8);
		KUNIT_EXPECT_EQ(test, kpb_system_order(pfn_to_page(pfn + 4)),
				2);
		KUNIT_EXPECT_EQ(test, m->pcp[1].count, 1);
		/* seven of the runs, and what the tables did not take */
		KUNIT_EXPECT_EQ(test, m->image.nr_kept,
				6 + IMAGE_RESERVED - m->nr_early_ptps);
		KUNIT_EXPECT_EQ(test, kpb_image_is_lent(pfn, IMAGE_FRAMES),
				m->nr_early_ptps != 0);
	}
}

/* The linear map's own tables are counted before they are asked for. */
static void image_loan_is_what_the_linear_map_takes(struct kunit *test)
{
	static const u32 holes[] = { 0, 1, 3, 7 };
	int allocator;
	size_t i;

	for (allocator = BOX_PBA; allocator <= BOX_NOBLOCK; allocator++)
		for (i = 0; i < ARRAY_SIZE(holes); i++) {
			struct kpb_config config =
				image_config((enum box_allocator)allocator);
			struct kpb_machine *m;
			u32 n;

			image_begin();
			for (n = 0; n < holes[i]; n++) {
				image_free_to((2 * n + 1) * 3u << 6);
				image_add(KPB_RUN_HOLE, 0, 5 + n);
			}
			image_finish();
			m = box_create(test, &config);
			KUNIT_EXPECT_EQ(test, kpb_count_early_tables(),
					m->nr_early_ptps);
			KUNIT_EXPECT_EQ(test,
					kpb_memblock_bytes(
						&m->memblock.reserved) >>
						PAGE_SHIFT,
					m->nr_early_ptps);
			image_expect_counts(test);
			BOX_EXPECT_CLEAN(test);
			KUNIT_ASSERT_EQ(test, box_granule.init(), 0);
			KUNIT_ASSERT_EQ(test, box_granule.init_late(), 0);
			BOX_EXPECT_CLEAN(test);
			KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
		}
}

/* Where nothing is in use for good, free memory gives what is needed. */
static void image_without_reserved_lends_free_memory(struct kunit *test)
{
	struct kpb_config config = image_config(BOX_PBA);
	struct kpb_machine *m;

	image_begin();
	image_free_to(IMAGE_FRAMES);
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(),
			IMAGE_FRAMES - m->nr_early_ptps);
	KUNIT_EXPECT_EQ(test, m->image.nr_kept, 0);
	BOX_EXPECT_CLEAN(test);
	KUNIT_ASSERT_EQ(test, box_granule.init(), 0);
	KUNIT_ASSERT_EQ(test, box_granule.init_late(), 0);
	BOX_EXPECT_CLEAN(test);
}

struct image_wrong {
	const char *name;
	const char *text;
	void (*spoil)(struct kpb_config *config);
};

static void image_spoil_gap(struct kpb_config *config)
{
	(void)config;
	image_runs[3].first++;
}

static void image_spoil_empty(struct kpb_config *config)
{
	(void)config;
	image_runs[3].nr = 0;
}

static void image_spoil_kind(struct kpb_config *config)
{
	(void)config;
	image_runs[3].kind = KPB_NR_RUN_KINDS;
}

static void image_spoil_order(struct kpb_config *config)
{
	(void)config;
	image_runs[0].order = 1;
}

static void image_spoil_alignment(struct kpb_config *config)
{
	(void)config;
	image_runs[1].order = 3;
}

static void image_spoil_size(struct kpb_config *config)
{
	(void)config;
	image_runs[image_input.nr_runs - 1].nr = ~0u;
}

static void image_spoil_end(struct kpb_config *config)
{
	(void)config;
	image_input.nr_runs--;
}

static void image_spoil_types(struct kpb_config *config)
{
	(void)config;
	image_types[2] = MIGRATE_TYPES;
}

static void image_spoil_nr_types(struct kpb_config *config)
{
	(void)config;
	image_input.nr_blocks++;
}

static void image_spoil_buddies(struct kpb_config *config)
{
	(void)config;
	image_runs[0].kind = KPB_RUN_FREE;
}

static void image_spoil_place_outside(struct kpb_config *config)
{
	(void)config;
	image_place(IMAGE_FRAMES, 0, 0);
}

static void image_spoil_place_of_none(struct kpb_config *config)
{
	(void)config;
	image_place(0, 0, 0);
}

static void image_spoil_place_within(struct kpb_config *config)
{
	(void)config;
	image_place(5, 0, 0);
}

static void image_spoil_place_twice(struct kpb_config *config)
{
	(void)config;
	image_place(15, 0, 0);
}

static void image_spoil_free_twice(struct kpb_config *config)
{
	(void)config;
	image_place(1, 0, 0);
	image_place(1, 0, 0);
}

static void image_spoil_place_type(struct kpb_config *config)
{
	(void)config;
	image_places[0].type = MIGRATE_TYPES;
}

static void image_spoil_no_place(struct kpb_config *config)
{
	(void)config;
	image_input.nr_places = 0;
}

static void image_spoil_pcp_order(struct kpb_config *config)
{
	(void)config;
	image_runs[3].kind = KPB_RUN_PCP;
	image_runs[3].order = 4;
}

static void image_spoil_beside(struct kpb_config *config)
{
	config->nr_static_pgtables = 1;
}

static const struct image_wrong image_wrongs[] = {
	{ "a gap", "where the one before ends", image_spoil_gap },
	{ "an empty run", "one block or more", image_spoil_empty },
	{ "an unknown kind", "a kind that exists", image_spoil_kind },
	{ "an order of kernel pages", "an order that", image_spoil_order },
	{ "a block out of place", "must be aligned", image_spoil_alignment },
	{ "a run that never ends", "within RAM", image_spoil_size },
	{ "no end", "give all", image_spoil_end },
	{ "an unknown type", "migratetype 3", image_spoil_types },
	{ "too many types", "pageblock types", image_spoil_nr_types },
	{ "buddies apart", "must be one block", image_spoil_buddies },
	{ "a place outside", "not in RAM", image_spoil_place_outside },
	{ "a place of none", "no block of a list", image_spoil_place_of_none },
	{ "a place within", "no block of a list", image_spoil_place_within },
	{ "a place twice", "on a list already", image_spoil_place_twice },
	{ "free twice", "on a list already", image_spoil_free_twice },
	{ "a list of no type", "no such migratetype", image_spoil_place_type },
	{ "kept without a place", "has no place", image_spoil_no_place },
	{ "kept in too large a block", "no CPU keeps", image_spoil_pcp_order },
	{ "tables beside it", "give none beside it", image_spoil_beside },
};

KUNIT_ARRAY_PARAM(image_wrongs, image_wrongs)

static void image_that_is_wrong_is_refused(struct kunit *test)
{
	const struct image_wrong *param = test->param_value;
	struct kpb_config config = image_config(BOX_PBA);
	struct kpb_machine *m = NULL;
	char msg[KPB_MSG_BYTES] = "";

	image_all_kinds();
	image_finish();
	param->spoil(&config);
	KUNIT_EXPECT_EQ(test, box_granule.create(&config, &m, msg), -EINVAL);
	KUNIT_EXPECT_CONTAINS(test, msg, param->text);
	KUNIT_EXPECT_TRUE(test, m == NULL);
	kpb_this = NULL;
}

static void image_damage(struct kpb_rng *rng)
{
	struct kpb_run *run =
		&image_runs[kpb_rng_below(rng, image_input.nr_runs)];
	struct kpb_run *next = run + 1;
	u32 by;

	switch (kpb_rng_below(rng, 8)) {
	case 0:
		run->kind = (u8)kpb_rng_below(rng, KPB_NR_RUN_KINDS + 1);
		break;
	case 1:
		run->order = (u8)kpb_rng_below(rng, MAX_PAGE_ORDER + 2);
		break;
	case 2:
		run->nr = (u32)kpb_rng_next(rng);
		break;
	case 3:
		/* twice as many of half the size: the sum stays what it was */
		if (run->order) {
			run->order--;
			run->nr *= 2;
		}
		break;
	case 4:
		/* some frames change sides */
		by = (u32)kpb_rng_below(rng, run->nr);
		if (next < image_runs + image_input.nr_runs && !run->order &&
		    !next->order) {
			run->nr -= by;
			next->nr += by;
			next->first -= by;
		}
		break;
	case 5:
		image_types[kpb_rng_below(rng, image_input.nr_blocks)] =
			(u8)kpb_rng_below(rng, MIGRATE_TYPES + 1);
		break;
	case 6:
		image_places[kpb_rng_below(rng, image_input.nr_places)].first =
			(u32)kpb_rng_below(rng, 32);
		break;
	default:
		image_place((u32)kpb_rng_below(rng, 32), (u16)kpb_rng_next(rng),
			    (u8)kpb_rng_below(rng, MIGRATE_TYPES + 1));
	}
}

/* Whatever is wrong with an image: it is refused, or the machine is sound. */
static void image_random_damage_is_refused_or_harmless(struct kunit *test)
{
	struct kpb_rng rng = kpb_rng_seed(1);
	unsigned int nr_made = 0, i, n;

	for (i = 0; i < 600; i++) {
		struct kpb_config config =
			image_config(i & 1 ? BOX_PBA : BOX_NOBLOCK);
		struct kpb_machine *m = NULL;
		char msg[KPB_MSG_BYTES] = "";
		int ret;

		image_all_kinds();
		image_finish();
		for (n = 0; n <= i % 3; n++)
			image_damage(&rng);
		ret = box_granule.create(&config, &m, msg);
		if (ret) {
			KUNIT_EXPECT_TRUE(test,
					  ret == -EINVAL || ret == -ENOMEM);
			KUNIT_EXPECT_NE(test, msg[0], '\0');
			kpb_this = NULL;
			continue;
		}
		nr_made++;
		kpb_this = m;
		KUNIT_EXPECT_EQ(test, box_granule.check(msg), 0);
		KUNIT_EXPECT_STREQ(test, msg, "");
		box_destroy(m);
	}
	KUNIT_EXPECT_GE(test, nr_made, 50);
}

/* Only movable blocks of the largest order come later, in rising order. */
static void image_defers_large_movable_blocks_alone(struct kunit *test)
{
	struct kpb_config config = image_config(BOX_NULL);
	struct kpb_machine *m;
	unsigned long pfn;
	u32 i;

	image_all_kinds();
	image_free_to(1u << MAX_PAGE_ORDER);
	image_add(KPB_RUN_FREE, MAX_PAGE_ORDER, 3);
	image_add(KPB_RUN_KERNEL, 0, 1);
	image_finish();
	for (i = 0; i < 1u << (MAX_PAGE_ORDER - pageblock_order); i++)
		image_types[(2u << (MAX_PAGE_ORDER - pageblock_order)) + i] =
			MIGRATE_UNMOVABLE;
	m = box_create(test, &config);
	pfn = box_start_pfn();
	KUNIT_EXPECT_EQ(test,
			box_free_pfn(MAX_PAGE_ORDER, MIGRATE_UNMOVABLE, 0),
			pfn + (2UL << MAX_PAGE_ORDER));
	KUNIT_EXPECT_EQ(test, box_free_pfn(MAX_PAGE_ORDER, MIGRATE_MOVABLE, 0),
			pfn + (1UL << MAX_PAGE_ORDER));
	image_expect_counts(test);
	box_grow_all();
	KUNIT_EXPECT_EQ(test, m->zone.nr_deferred_pages, 0);
	image_expect_counts(test);
	for (i = 1; box_free_pfn(MAX_PAGE_ORDER, MIGRATE_MOVABLE, i); i++)
		KUNIT_EXPECT_GT(test,
				box_free_pfn(MAX_PAGE_ORDER, MIGRATE_MOVABLE,
					     i),
				box_free_pfn(MAX_PAGE_ORDER, MIGRATE_MOVABLE,
					     i - 1));
	BOX_EXPECT_CLEAN(test);
}

/* Whoever allocates cannot tell whether sections were left for later. */
static void image_allocations_are_the_same_when_deferred(struct kunit *test)
{
	struct kpb_config config = image_config(BOX_NULL);
	u32 n;

	/* in every block of the largest order but each third a page in use */
	image_begin();
	for (n = 1; n < 13; n += 1 + (n & 1)) {
		image_free_to((n << MAX_PAGE_ORDER) + n * 37);
		image_add(KPB_RUN_KERNEL, 0, 1 + n);
	}
	image_finish();
	box_compare_with_eager(test, &config, 1, MAX_PAGE_ORDER);
	box_compare_with_eager(test, &config, 2, 3);
}

/* The order of a list is that of its places. */
static void image_places_give_the_order_of_lists(struct kunit *test)
{
	struct kpb_config config = image_config(BOX_NULL);
	const u32 large = 1u << MAX_PAGE_ORDER;
	struct kpb_machine *m;
	struct page *page;

	image_all_kinds();
	image_place(11, 0, 0);
	image_place(8, 0, 0);
	image_place(3 * large, 0, 0);
	image_place(2 * large, 0, 0);
	image_finish();
	m = box_create(test, &config);
	page = list_first_entry(&m->system.pages[KPB_SYSTEM_FILE], struct page,
				lru);
	KUNIT_EXPECT_EQ(test, page_to_pfn(page), box_start_pfn() + 11);
	KUNIT_EXPECT_EQ(test, box_free_pfn(MAX_PAGE_ORDER, MIGRATE_MOVABLE, 0),
			box_start_pfn() + 3 * large);
	KUNIT_EXPECT_EQ(test, box_free_pfn(MAX_PAGE_ORDER, MIGRATE_MOVABLE, 1),
			box_start_pfn() + 2 * large);
	image_expect_counts(test);
	BOX_EXPECT_CLEAN(test);
}

static void image_watermarks_are_those_recorded(struct kunit *test)
{
	struct kpb_config config = image_config(BOX_PBA);
	struct kpb_machine *m;

	image_all_kinds();
	image_finish();
	image_input.managed_pages = 12345;
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, m->zone.managed_pages, 12345);
	KUNIT_EXPECT_GT(test, min_wmark_pages(&m->zone), 0);
	image_input.watermarks[0] = 7;
	image_input.watermarks[1] = 8;
	image_input.watermarks[2] = 9;
	image_input.compact_order_failed = 5;
	image_input.compact_defer_shift = 99;
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, min_wmark_pages(&m->zone), 7);
	KUNIT_EXPECT_EQ(test, high_wmark_pages(&m->zone), 9);
	KUNIT_EXPECT_EQ(test, m->zone.compact_order_failed, 5);
	KUNIT_EXPECT_EQ(test, m->zone.compact_defer_shift,
			COMPACT_MAX_DEFER_SHIFT);
}

/* Without per-CPU lists what a CPU kept is in the buddy. */
static void image_without_pcp_frees_what_cpus_kept(struct kunit *test)
{
	struct kpb_config config = image_config(BOX_PBA);
	struct kpb_machine *m;

	image_all_kinds();
	image_finish();
	config.no_pcp = 1;
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, m->pcp[1].count, 0);
	KUNIT_EXPECT_EQ(test, *kpb_page_type(box_start_pfn() + 15),
			KPB_PG_BUDDY);
	BOX_EXPECT_CLEAN(test);
}

/* Movable pages of an image get out of the way as those of a slot do. */
static void image_movable_pages_are_compacted(struct kunit *test)
{
	struct kpb_config config = image_config(BOX_NULL);
	struct kpb_machine *m;

	image_begin();
	image_add(KPB_RUN_ANON, 0, 1);
	image_add(KPB_RUN_FREE, 0, 1);
	image_add(KPB_RUN_FREE, 1, 1);
	image_add(KPB_RUN_KERNEL, 0, 4);
	image_add(KPB_RUN_FREE, 0, 1);
	image_add(KPB_RUN_KERNEL, 0, IMAGE_FRAMES - 9 - IMAGE_RESERVED);
	image_add(KPB_RUN_RESERVED, 0, IMAGE_RESERVED);
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, compact_zone_order(&m->zone, 2), COMPACT_SUCCESS);
	KUNIT_EXPECT_EQ(test, image_nr_free(2), 1);
	KUNIT_EXPECT_TRUE(test,
			  kpb_system_is_head(pfn_to_page(box_start_pfn() + 8)));
	BOX_EXPECT_CLEAN(test);
}

/* What a machine gives back is what it was made of. */
static void image_of_a_machine_is_its_own(struct kunit *test)
{
	static struct kpb_run runs[IMAGE_MAX_RUNS];
	static struct kpb_place places[4 * IMAGE_MAX_RUNS];
	struct kpb_config config = image_config(BOX_PBA);
	struct kpb_image saved = { 0 };
	int64_t nr, i;

	image_all_kinds();
	image_finish();
	box_create(test, &config);
	nr = kpb_granule_runs(runs, IMAGE_MAX_RUNS);
	KUNIT_ASSERT_EQ(test, nr, (int64_t)image_input.nr_runs);
	for (i = 0; i < nr; i++)
		KUNIT_EXPECT_EQ(test,
				memcmp(&runs[i], &image_runs[i], sizeof(*runs)),
				0);
	nr = kpb_granule_places(places, ARRAY_SIZE(places));
	KUNIT_ASSERT_GE(test, (int64_t)ARRAY_SIZE(places), nr);
	kpb_granule_image(&saved);
	saved.runs = runs;
	saved.nr_runs = image_input.nr_runs;
	saved.places = places;
	saved.nr_places = (u64)nr;
	saved.block_types = image_types;
	saved.nr_blocks = image_input.nr_blocks;
	config.image = &saved;
	box_create(test, &config);
	image_expect_counts(test);
	BOX_EXPECT_CLEAN(test);
	/* the sum of all places, each of which is on a list */
	KUNIT_EXPECT_EQ(test, kpb_granule_places(NULL, 0), nr);
}

static void image_check_notices_a_lost_frame(struct kunit *test)
{
	struct kpb_config config = image_config(BOX_PBA);
	struct kpb_machine *m;
	char msg[KPB_MSG_BYTES] = "";

	image_all_kinds();
	image_finish();
	m = box_create(test, &config);
	m->image.nr_kept++;
	KUNIT_EXPECT_NE(test, box_granule.check(msg), 0);
	KUNIT_EXPECT_CONTAINS(test, msg, "of the image in use for good");
	m->image.nr_kept--;
	kpb_system_del(pfn_to_page(box_start_pfn() + 8));
	KUNIT_EXPECT_NE(test, box_granule.check(msg), 0);
	KUNIT_EXPECT_CONTAINS(test, msg, "is lost");
}

static const struct kunit_case image_test_cases[] = {
	KUNIT_CASE(image_machine_has_what_the_runs_say),
	KUNIT_CASE(image_loan_is_what_the_linear_map_takes),
	KUNIT_CASE(image_without_reserved_lends_free_memory),
	KUNIT_CASE_PARAM(image_that_is_wrong_is_refused,
			 image_wrongs_gen_params),
	KUNIT_CASE(image_random_damage_is_refused_or_harmless),
	KUNIT_CASE(image_defers_large_movable_blocks_alone),
	KUNIT_CASE(image_allocations_are_the_same_when_deferred),
	KUNIT_CASE(image_places_give_the_order_of_lists),
	KUNIT_CASE(image_watermarks_are_those_recorded),
	KUNIT_CASE(image_without_pcp_frees_what_cpus_kept),
	KUNIT_CASE(image_movable_pages_are_compacted),
	KUNIT_CASE(image_of_a_machine_is_its_own),
	KUNIT_CASE(image_check_notices_a_lost_frame),
	{ 0 }
};

static struct kunit_suite image_test_suite = {
	.name = BOX_SUITE("image"),
	.test_cases = image_test_cases,
};
kunit_test_suite(image_test_suite);

#undef IMAGE_MAX_RUNS
#undef IMAGE_CHUNK
#undef IMAGE_FRAMES
#undef IMAGE_RESERVED
#undef IMAGE_MAX_BLOCKS
