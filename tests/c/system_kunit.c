// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rest of the system (csrc/lab/system.c): its books, what compaction does
 * with it, and what the checker says when they are wrong.
 */

#include "box.h"

static struct kpb_machine *system_box(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NULL, BOX_SMALL_BYTES);

	return box_create(test, &config);
}

static unsigned long system_add(int migratetype, unsigned int order,
				enum kpb_system_kind kind)
{
	struct page *page = box_alloc_mt(migratetype, order);

	kpb_system_add(page, order, kind);
	return page_to_pfn(page);
}

static void system_free(unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);
	unsigned int order = kpb_system_order(page);

	kpb_system_del(page);
	box_free(pfn, order);
}

static void system_books_count_kinds_and_orders(struct kunit *test)
{
	struct kpb_machine *m = system_box(test);
	unsigned long before = box_nr_free_pages();
	unsigned long file, anon, slab, kernel;

	file = system_add(MIGRATE_MOVABLE, 0, KPB_SYSTEM_FILE);
	anon = system_add(MIGRATE_MOVABLE, 3, KPB_SYSTEM_ANON);
	slab = system_add(MIGRATE_RECLAIMABLE, 1, KPB_SYSTEM_SLAB);
	kernel = system_add(MIGRATE_UNMOVABLE, 2, KPB_SYSTEM_KERNEL);
	KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_FILE], 1);
	KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_ANON], 8);
	KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_SLAB], 2);
	KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_KERNEL], 4);
	KUNIT_EXPECT_EQ(test, m->zone.nr_movable_pages, 9);
	KUNIT_EXPECT_TRUE(test, kpb_system_is_head(pfn_to_page(anon)));
	KUNIT_EXPECT_FALSE(test, kpb_system_is_head(pfn_to_page(anon + 1)));
	KUNIT_EXPECT_EQ(test, kpb_system_order(pfn_to_page(anon)), 3);
	KUNIT_EXPECT_EQ(test, kpb_system_kind(pfn_to_page(slab)),
			KPB_SYSTEM_SLAB);
	BOX_EXPECT_CLEAN(test);

	system_free(anon);
	system_free(kernel);
	system_free(file);
	system_free(slab);
	KUNIT_EXPECT_EQ(test, m->zone.nr_movable_pages, 0);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), before);
	BOX_EXPECT_CLEAN(test);
}

/* A free page is nobody's, whatever its number of order looks like. */
static void system_free_page_is_no_head(struct kunit *test)
{
	unsigned int order;
	unsigned long pfn;

	system_box(test);
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		pfn = page_to_pfn(box_alloc_mt(MIGRATE_MOVABLE, order));
		KUNIT_EXPECT_FALSE(test, kpb_system_is_head(pfn_to_page(pfn)));
		box_free(pfn, order);
		KUNIT_EXPECT_FALSE(test, kpb_system_is_head(pfn_to_page(pfn)));
	}
}

/* Two allocations in a window move up, keep their kind, order and age. */
static void system_compaction_keeps_kind_and_age(struct kunit *test)
{
	struct kpb_machine *m = system_box(test);
	unsigned long p = box_block_pfn(1), q = box_block_pfn(2);
	struct page *page;

	box_drain();
	box_free(p, 0);
	KUNIT_ASSERT_EQ(test, system_add(MIGRATE_MOVABLE, 0, KPB_SYSTEM_FILE),
			p);
	box_free(p + 2, 1);
	KUNIT_ASSERT_EQ(test, system_add(MIGRATE_MOVABLE, 1, KPB_SYSTEM_ANON),
			p + 2);
	box_free(q, 0);
	KUNIT_ASSERT_EQ(test, system_add(MIGRATE_MOVABLE, 0, KPB_SYSTEM_FILE),
			q);
	box_free(p + 1, 0);
	box_free(q + 4, 2);
	KUNIT_EXPECT_EQ(test, compact_zone_order(&m->zone, 2), COMPACT_SUCCESS);

	/* there was a block of order 2 above already: nothing had to move */
	KUNIT_EXPECT_EQ(test, m->counters.pgmigrate_success, 0);
	KUNIT_ASSERT_EQ(test,
			system_add(MIGRATE_UNMOVABLE, 1, KPB_SYSTEM_KERNEL),
			q + 4);
	KUNIT_EXPECT_EQ(test, compact_zone_order(&m->zone, 2),
			COMPACT_COMPLETE);
	/* room for the pair, none for the single page: half way, and it shows */
	KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_FILE], 2);
	KUNIT_EXPECT_EQ(test, m->system.nr_pages[KPB_SYSTEM_ANON], 2);
	KUNIT_EXPECT_EQ(test, m->zone.nr_movable_pages, 4);
	page = list_first_entry(&m->system.pages[KPB_SYSTEM_FILE], struct page,
				lru);
	/* the older one was moved to the highest free page and is still older */
	KUNIT_EXPECT_EQ(test, page_to_pfn(page), q + 7);
	KUNIT_EXPECT_EQ(test, kpb_system_order(page), 0);
	KUNIT_EXPECT_EQ(test, kpb_system_kind(page), KPB_SYSTEM_FILE);
	page = list_first_entry(&m->system.pages[KPB_SYSTEM_ANON], struct page,
				lru);
	KUNIT_EXPECT_EQ(test, page_to_pfn(page), p + 2);
	KUNIT_EXPECT_EQ(test, *kpb_page_type(p), KPB_PG_BUDDY | 1);
	box_free(q + 8, 1);
	KUNIT_EXPECT_EQ(test, compact_zone_order(&m->zone, 2), COMPACT_SUCCESS);
	page = list_first_entry(&m->system.pages[KPB_SYSTEM_ANON], struct page,
				lru);
	KUNIT_EXPECT_EQ(test, page_to_pfn(page), q + 8);
	KUNIT_EXPECT_TRUE(test, kpb_system_is_head(page));
	KUNIT_EXPECT_FALSE(test, kpb_system_is_head(page + 1));
	KUNIT_EXPECT_EQ(test, box_free_pfn(2, MIGRATE_MOVABLE, 0), p);
	KUNIT_EXPECT_EQ(test, m->zone.nr_movable_pages, 4);
	box_expect_buddy_clean(test);
}

/* Expect the checker to say @text, after @stmt broke something. */
static void system_expect_broken(struct kunit *test, const char *text)
{
	char msg[KPB_MSG_BYTES] = "";

	KUNIT_EXPECT_NE(test, box_granule.check(msg), 0);
	KUNIT_EXPECT_TRUE(test, strstr(msg, text) != NULL);
}

static void system_check_notices_wrong_books(struct kunit *test)
{
	struct kpb_machine *m = system_box(test);
	unsigned long pfn = system_add(MIGRATE_MOVABLE, 2, KPB_SYSTEM_ANON);

	m->system.nr_pages[KPB_SYSTEM_ANON]++;
	system_expect_broken(test, "counts 5 pages, its list holds 4");
	m->system.nr_pages[KPB_SYSTEM_ANON]--;
	*kpb_page_type(pfn + 3) = KPB_PG_LRU;
	system_expect_broken(test, "in an allocation of order 2");
	*kpb_page_type(pfn + 3) = KPB_PG_LRU | KPB_PG_SYSTEM | KPB_PG_TAIL;
	*kpb_page_type(pfn) = 0;
	system_expect_broken(test, "listed as kind 1");
	*kpb_page_type(pfn) = KPB_PG_LRU | KPB_PG_SYSTEM;
	BOX_EXPECT_CLEAN(test);
}

static const struct kunit_case system_test_cases[] = {
	KUNIT_CASE(system_books_count_kinds_and_orders),
	KUNIT_CASE(system_free_page_is_no_head),
	KUNIT_CASE(system_compaction_keeps_kind_and_age),
	KUNIT_CASE(system_check_notices_wrong_books),
	{ 0 }
};

static struct kunit_suite system_test_suite = {
	.name = BOX_SUITE("system"),
	.test_cases = system_test_cases,
};
kunit_test_suite(system_test_suite);
