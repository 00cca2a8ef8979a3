// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page table allocators of v6 (csrc/mm/kpkeys_hardened_pgtables.c): PBA
 * with its refills, reserve, early window and shrinker; noblock; PPA.
 */

#include "box.h"

#define TOP BOX_TOP_LEAF_SIZE
#define SPLIT (GFP_PGTABLE_KERNEL | __GFP_PGTABLE_SPLIT)
#define SHRINK_MIN (BLOCK_NR_PAGES / 8)

/*
 * Four of the largest leaves, and refills of whole blocks at all page sizes:
 * with 64K pages only this makes blocks of 512 MB.
 */
static struct kpb_config kpkeys_block_config(void)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);

	box_refill_orders(&config, BLOCK_ORDER, BOX_CONT_PTE_ORDER,
			  BOX_MIN_ORDER);
	return config;
}

static struct kpb_machine *kpkeys_boot_blocks(struct kunit *test)
{
	struct kpb_config config = kpkeys_block_config();

	return box_boot(test, &config);
}

static unsigned long kpkeys_alloc_pfn(gfp_t gfp)
{
	struct page *page = kpkeys_pgtable_alloc(gfp);

	return page ? page_to_pfn(page) : 0;
}

/* Take pages, the reserve included, until @nr are left in the cache. */
static void kpkeys_set_cached(struct kunit *test, unsigned long nr)
{
	KUNIT_ASSERT_GE(test, get_pba()->nr_cached, nr);
	while (get_pba()->nr_cached > nr)
		KUNIT_ASSERT_NOT_NULL(test, kpkeys_pgtable_alloc(SPLIT));
}

/* The n-th page of the cache. */
static struct page *kpkeys_cached(unsigned long n)
{
	struct page *page;

	list_for_each_entry(page, &get_pba()->cached_list, lru)
		if (!n--)
			return page;
	return NULL;
}

static unsigned long kpkeys_nr_in_block(struct page *head, unsigned long nr)
{
	unsigned long found = 0;

	for (; nr; nr--, head++)
		found += pba_page_data(head)->in_block;
	return found;
}

static unsigned long kpkeys_scan(unsigned long nr_to_scan)
{
	struct shrink_control sc = {
		.gfp_mask = GFP_KERNEL,
		.nr_to_scan = nr_to_scan,
		.nr_scanned = nr_to_scan,
	};

	return pba_shrink_scan(&kpb_this->shrinker, &sc);
}

/* Nothing is free any more, but what a test frees: see box_drain(). */
static void kpkeys_drain_buddy(struct kunit *test)
{
	box_drain();
	KUNIT_ASSERT_EQ(test, kpb_this->zone.nr_free_pages, 0);
}

/* Constants */

static void kpkeys_constants_are_those_of_v6(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, PBA_GFP_ALLOC, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, PBA_GFP_OPT_MASK,
			__GFP_ZERO | __GFP_ACCOUNT | __GFP_PGTABLE_SPLIT);
	KUNIT_EXPECT_EQ(test, PBA_NR_RESERVED_PAGES, 4);
	KUNIT_EXPECT_EQ(test, PBA_UNSHRINKABLE_PAGES, 16);
	KUNIT_EXPECT_EQ(test, BLOCK_ORDER, BOX_PICK(9, 11, 13));
	KUNIT_EXPECT_EQ(test, PBA_SHRINK_BLOCK_MIN_PAGES,
			BOX_PICK(64, 256, 1024));
	KUNIT_EXPECT_EQ(test, KPKEYS_PKEY_DEFAULT, 0);
	KUNIT_EXPECT_EQ(test, KPKEYS_PKEY_PGTABLES, 1);
}

/* Boot */

static void pba_init_refills_once_and_defers_the_pkey(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	const unsigned long nr = 1UL << BOX_LARGEST_ORDER;
	struct kpb_machine *m = box_create(test, &config);
	unsigned long first = box_start_pfn();

	KUNIT_EXPECT_FALSE(test, pba_enabled());
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_TRUE(test, pba_enabled());
	KUNIT_EXPECT_FALSE(test, pba_can_set_pkey());
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	KUNIT_EXPECT_EQ(test, m->counters.refills_order[BOX_LARGEST_ORDER], 1);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, nr);
	KUNIT_EXPECT_EQ(test, page_to_pfn(get_pba()->early_region.head), first);
	KUNIT_EXPECT_EQ(test, get_pba()->early_region.order, BOX_LARGEST_ORDER);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(first, nr, 1), 0);
	/* all of them, and the one table of the linear map */
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, nr + 1);
	KUNIT_EXPECT_FALSE(test, m->shrinker.registered);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	BOX_EXPECT_CLEAN(test);
}

/*
 * After boot. Late init gives the pkey to the first region, which is the first
 * of RAM, and to the one early table, which is the last page of RAM.
 *
 *   4K: region 2 MB: its end splits a PUD (1 table) and a contPMD; the page
 *	 splits another PUD (1), a contPMD, a PMD (1) and a contPTE
 *  16K: region 32 MB: its end splits a contPMD; the page a contPMD, a PMD (1)
 *	 and a contPTE
 *  64K: region 32 MB: its end splits a contPMD and a PMD (1); the page a
 *	 contPMD, a PMD (1) and a contPTE
 */
static void pba_boot_leaves_everything_protected(struct kunit *test)
{
	const unsigned long nr = 1UL << BOX_LARGEST_ORDER;
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	const struct kpb_map_counters *c =
		&m->map_counters[KPB_CAUSE_LATE_INIT];
	unsigned long first = box_start_pfn();
	unsigned long last = m->zone.zone_end_pfn - 1;

	KUNIT_EXPECT_EQ(test, c->split_pud, BOX_PICK(2, 0, 0));
	KUNIT_EXPECT_EQ(test, c->split_contpmd, 2);
	KUNIT_EXPECT_EQ(test, c->split_pmd, BOX_PICK(1, 1, 2));
	KUNIT_EXPECT_EQ(test, c->split_contpte, 1);
	KUNIT_EXPECT_EQ(test, c->split_ptps, BOX_PICK(3, 1, 2));
	KUNIT_EXPECT_EQ(test, c->set_pkey_calls, 2);
	KUNIT_EXPECT_EQ(test, c->set_pkey_pages, nr + 1);
	/* 512 and 2048 pages are a flush of everything, 512 of 64K are not */
	KUNIT_EXPECT_EQ(test, c->tlbi_full, BOX_PICK(1, 1, 0));
	KUNIT_EXPECT_EQ(test, c->tlbi_single, BOX_PICK(1, 1, 513));
	KUNIT_EXPECT_EQ(test, m->map_counters[KPB_CAUSE_BOOT].set_pkey_calls,
			0);

	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, nr - BOX_PICK(3, 1, 2));
	KUNIT_EXPECT_EQ(test, m->nr_early_ptps, 1);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, nr + 1);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(first, nr, 1), nr);
	KUNIT_EXPECT_EQ(test, box_pkey(first + nr), 0);
	KUNIT_EXPECT_EQ(test, box_pkey(last), 1);
	KUNIT_EXPECT_EQ(test, box_pkey(last - 1), 0);
	KUNIT_EXPECT_TRUE(test, PageBuddy(pfn_to_page(last - 1)));
	KUNIT_EXPECT_TRUE(test, m->shrinker.registered);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	BOX_EXPECT_CLEAN(test);
}

static void pba_boot_marks_whole_blocks_only(struct kunit *test)
{
	struct page *head;

	/* 64K: a refill of order 9 is no block of order 13 */
	box_boot_pba(test, BOX_LARGE_BYTES);
	head = get_pba()->early_region.head;
	KUNIT_EXPECT_EQ(test, kpkeys_nr_in_block(head, BLOCK_NR_PAGES),
			BOX_PICK(BLOCK_NR_PAGES, BLOCK_NR_PAGES, 0));
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free,
			BOX_PICK(512 - 3, 2048 - 1, 0));
}

static void pba_boot_phases_happen_once(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);

	box_create(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), -EALREADY);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, box_granule.init(), -EALREADY);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), -EALREADY);
	KUNIT_EXPECT_EQ(test, kpb_this->counters.refills, 1);
	BOX_EXPECT_CLEAN(test);
}

/* Late init of what was never initialised is nothing. */
static void pba_init_late_needs_init(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long nr_free = box_nr_free_pages();

	m->late_init_done = true; /* or else it could not even try */
	kpkeys_hardened_pgtables_init_late();
	KUNIT_EXPECT_FALSE(test, pba_can_set_pkey());
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, 0);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), nr_free);
}

/* Before pba_init() there is noblock, which a block map does not let split. */
static void pba_alloc_before_init_fails(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m = box_create(test, &config);

	KUNIT_EXPECT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
	KUNIT_EXPECT_GE(test, m->counters.warnings, 1);
	KUNIT_EXPECT_EQ(test, m->nr_held, 0);
	BOX_EXPECT_CLEAN(test);
}

/* Hand-out order */

/*
 * Pages are added in rising order to the head of the list, so the highest is
 * handed out first; boot has taken its tables from the top in the same way.
 * The request that has to refill gets the first page of the new region.
 */
static void pba_hands_out_the_highest_page_first(struct kunit *test)
{
	const unsigned long nr = 1UL << BOX_LARGEST_ORDER;
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	unsigned long first = box_start_pfn(), region, i;
	unsigned long nr_left = get_pba()->nr_cached;

	for (i = nr_left; i > 4; i--)
		KUNIT_EXPECT_EQ(test, kpkeys_alloc_pfn(GFP_PGTABLE_KERNEL),
				first + i - 1);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 4);

	region = kpkeys_alloc_pfn(GFP_PGTABLE_KERNEL);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 2);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(region, nr));
	KUNIT_EXPECT_EQ(test, box_nr_pkey(region, nr, 1), nr);
	KUNIT_EXPECT_EQ(test, page_to_pfn(kpkeys_cached(0)), region + nr - 1);
	for (i = nr; i > 1; i--)
		KUNIT_EXPECT_EQ(test, kpkeys_alloc_pfn(GFP_PGTABLE_KERNEL),
				region + i - 1);
	/* below the new region lie the pages of the old one */
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 4);
	KUNIT_EXPECT_EQ(test, page_to_pfn(kpkeys_cached(0)), first + 3);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

static void pba_hands_out_the_last_freed_first(struct kunit *test)
{
	struct page *a, *b, *c;

	box_boot_pba(test, BOX_LARGE_BYTES);
	a = kpkeys_pgtable_alloc(GFP_PGTABLE_USER);
	b = kpkeys_pgtable_alloc(GFP_PGTABLE_USER);
	c = kpkeys_pgtable_alloc(GFP_PGTABLE_USER);
	kpkeys_pgtable_free(b);
	kpkeys_pgtable_free(a);
	kpkeys_pgtable_free(c);
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_pgtable_alloc(GFP_PGTABLE_USER), c);
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_pgtable_alloc(GFP_PGTABLE_USER), a);
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_pgtable_alloc(GFP_PGTABLE_USER), b);
}

static void pba_free_keeps_the_page(struct kunit *test)
{
	unsigned long nr_free, nr_cached;
	struct page *head, *page;
	u32 block_nr_free;

	kpkeys_boot_blocks(test);
	nr_free = box_nr_free_pages();
	nr_cached = get_pba()->nr_cached;
	head = get_pba()->early_region.head;
	block_nr_free = pba_page_data(head)->block_nr_free;
	page = kpkeys_pgtable_alloc(GFP_PGTABLE_USER);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, nr_cached - 1);
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free,
			block_nr_free - 1);
	kpkeys_pgtable_free(page);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, nr_cached);
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free,
			block_nr_free);
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_cached(0), page);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), nr_free);
	KUNIT_EXPECT_EQ(test, box_pkey(page_to_pfn(page)), 1);
	BOX_EXPECT_CLEAN(test);
}

/* Reserve */

static void pba_reserve_of_four_is_not_for_ordinary_requests(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	struct page *last;

	kpkeys_set_cached(test, 5);
	last = kpkeys_cached(0);
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_pgtable_alloc(GFP_PGTABLE_USER), last);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 4);
	/* four are left: these stay, and a refill serves the request */
	KUNIT_EXPECT_NOT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_USER));
	KUNIT_EXPECT_EQ(test, m->counters.refills, 2);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached,
			4 + (1UL << BOX_LARGEST_ORDER) - 1 -
				m->map_counters[KPB_CAUSE_REFILL].split_ptps);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

static void pba_reserve_serves_splits_down_to_nothing(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	struct page *page;
	unsigned long i;

	kpkeys_set_cached(test, 4);
	for (i = 4; i; i--) {
		page = kpkeys_cached(0);
		KUNIT_EXPECT_PTR_EQ(test, kpkeys_pgtable_alloc(SPLIT), page);
		KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, i - 1);
	}
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	/* an empty list warns and yields nothing ... */
	BOX_EXPECT_WARNINGS(test, 1, page = pba_take_cached_page(SPLIT));
	KUNIT_EXPECT_NULL(test, page);
	/* ... to an ordinary request it is nothing special */
	BOX_EXPECT_WARNINGS(test, 0,
			    page = pba_take_cached_page(GFP_PGTABLE_USER));
	KUNIT_EXPECT_NULL(test, page);
	KUNIT_EXPECT_FALSE(test, get_pba()->lock.locked);
}

static void pba_ready_needs_the_reserve_or_the_mutex(struct kunit *test)
{
	struct pkeys_block_allocator *pba;

	box_boot_pba(test, BOX_LARGE_BYTES);
	pba = get_pba();
	kpkeys_set_cached(test, 4);
	KUNIT_EXPECT_TRUE(test, kpkeys_ready_for_direct_map_split());
	kpkeys_set_cached(test, 3);
	KUNIT_EXPECT_FALSE(test, kpkeys_ready_for_direct_map_split());
	mutex_lock(&pba->alloc_mutex);
	KUNIT_EXPECT_TRUE(test, kpkeys_ready_for_direct_map_split());
	kpkeys_set_cached(test, 0);
	KUNIT_EXPECT_TRUE(test, kpkeys_ready_for_direct_map_split());
	mutex_unlock(&pba->alloc_mutex);
	KUNIT_EXPECT_FALSE(test, kpkeys_ready_for_direct_map_split());
}

static void pba_prepare_refills_without_taking_a_page(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	struct page *head;

	kpkeys_set_cached(test, 4);
	KUNIT_EXPECT_EQ(test, kpkeys_prepare_direct_map_split(), 0);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	kpkeys_set_cached(test, 3);
	KUNIT_EXPECT_EQ(test, kpkeys_prepare_direct_map_split(), 0);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 2);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 3 + BLOCK_NR_PAGES);
	head = block_head_page(kpkeys_cached(0));
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_cached(BLOCK_NR_PAGES - 1), head);
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free,
			BLOCK_NR_PAGES);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

static void pba_prepare_without_memory_fails(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_SMALL_BYTES);
	unsigned long addr = box_addr(BOX_SMALL_BYTES / 2 + PAGE_SIZE);
	int ret;

	kpkeys_set_cached(test, 3);
	kpkeys_drain_buddy(test);
	KUNIT_EXPECT_EQ(test, kpkeys_prepare_direct_map_split(), -ENOMEM);
	/* which is what the caller of a split gets */
	KUNIT_EXPECT_EQ(test, split_kernel_leaf_mapping(addr, addr + PAGE_SIZE),
			-ENOMEM);
	BOX_EXPECT_WARNINGS(test, 1, ret = set_memory_ro(addr, 1));
	KUNIT_EXPECT_EQ(test, ret, -ENOMEM);
	KUNIT_EXPECT_NULL(test, m->pgtable_split_lock.owner);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 3);
}

/* Somebody else's split fills the reserve first, then takes from it. */
static void pba_split_by_others_fills_the_reserve_first(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	u64 other, refill;

	kpkeys_set_cached(test, 3);
	KUNIT_EXPECT_EQ(test, set_memory_ro(box_addr(TOP + PAGE_SIZE), 1), 0);
	other = m->map_counters[KPB_CAUSE_OTHER].split_ptps;
	refill = m->map_counters[KPB_CAUSE_REFILL].split_ptps;
	KUNIT_EXPECT_EQ(test, m->counters.refills, 2);
	KUNIT_EXPECT_EQ(test, other, BOX_PICK(2, 1, 1));
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached,
			3 + (1UL << BOX_LARGEST_ORDER) - other - refill);
	/* with four cached there is none */
	kpkeys_set_cached(test, 4);
	KUNIT_EXPECT_EQ(test,
			set_memory_ro(box_addr(TOP + PMD_SIZE + PAGE_SIZE), 1),
			0);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 2);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 3);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

/* Refill */

static void pba_refill_marks_a_block(struct kunit *test)
{
	struct page *head, *taken;

	kpkeys_boot_blocks(test);
	kpkeys_set_cached(test, 4);
	taken = kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL);
	head = block_head_page(taken);
	KUNIT_EXPECT_PTR_EQ(test, head, taken);
	/* every page, the one in use included; it does not count as free */
	KUNIT_EXPECT_EQ(test, kpkeys_nr_in_block(head, BLOCK_NR_PAGES),
			BLOCK_NR_PAGES);
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free,
			BLOCK_NR_PAGES - 1);
	KUNIT_EXPECT_FALSE(test,
			   pba_page_data(head + BLOCK_NR_PAGES)->in_block);
	kpkeys_pgtable_free(taken);
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free,
			BLOCK_NR_PAGES);
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL),
			    taken);
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free,
			BLOCK_NR_PAGES - 1);
}

/* The buddy has only this: which order is fetched, what is cached? */
struct pba_fallback {
	const char *name;
	unsigned int free_order;
	int refill_order;
	u64 nr_failed;
};

static const struct pba_fallback pba_fallbacks[] = {
	{ "a block", BLOCK_ORDER, BLOCK_ORDER, 0 },
	{ "one order less than a block", BLOCK_ORDER - 1, BOX_CONT_PTE_ORDER,
	  1 },
	{ "the contpte order", BOX_CONT_PTE_ORDER, BOX_CONT_PTE_ORDER, 1 },
	{ "one order less than contpte", BOX_CONT_PTE_ORDER - 1, 2, 1 },
	{ "order 2", 2, 2, 1 },
	{ "order 1", 1, -1, 0 },
};

KUNIT_ARRAY_PARAM(pba_fallbacks, pba_fallbacks)

/*
 * The region lies in the first largest leaf, whose first contPMD was split at
 * boot: an order below that of a PMD costs one table (the PTEs).
 */
static void pba_refill_tries_the_orders_in_turn(struct kunit *test)
{
	const struct pba_fallback *param = test->param_value;
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	unsigned long p = box_block_pfn(3), nr_held, nr_ptps;
	struct page *page;
	u64 warnings;

	kpkeys_set_cached(test, 4);
	kpkeys_drain_buddy(test);
	box_free(p, param->free_order);
	nr_held = m->nr_held;
	warnings = m->counters.warnings;
	page = kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL);
	KUNIT_EXPECT_EQ(test, m->counters.refill_fallbacks, param->nr_failed);
	KUNIT_EXPECT_NULL(test, get_pba()->alloc_mutex.owner);
	if (param->refill_order < 0) {
		KUNIT_EXPECT_NULL(test, page);
		/* one warning for the request */
		KUNIT_EXPECT_EQ(test, m->counters.warnings, warnings + 1);
		KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
		KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 4);
		return;
	}
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, page_to_pfn(page), p);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, warnings);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 2);
	KUNIT_EXPECT_EQ(test, m->nr_held - nr_held, 1UL << param->refill_order);
	nr_ptps = param->refill_order < (int)PMD_ORDER;
	KUNIT_EXPECT_EQ(test, m->map_counters[KPB_CAUSE_REFILL].split_ptps,
			nr_ptps);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached,
			4 - nr_ptps + (1UL << param->refill_order) - 1);
	KUNIT_EXPECT_EQ(test, pba_page_data(page)->in_block,
			param->refill_order == BLOCK_ORDER);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(p, 1UL << param->refill_order, 1),
			1UL << param->refill_order);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
}

/* Nobody looks again whether the refill is still needed (D3). */
static void pba_refill_does_not_look_again(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	unsigned long nr_cached = get_pba()->nr_cached;

	KUNIT_EXPECT_NOT_NULL(test, pba_refill(false));
	KUNIT_EXPECT_NOT_NULL(test, pba_refill(false));
	KUNIT_EXPECT_EQ(test, m->counters.refills, 3);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached,
			nr_cached + 2 * BLOCK_NR_PAGES);
	BOX_EXPECT_CLEAN(test);
}

/* An error of set_memory_pkey() gives the region back. */
static void pba_refill_without_pkey_gives_the_region_back(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	unsigned long nr_held, nr_free;

	kpkeys_set_cached(test, 4);
	nr_held = m->nr_held;
	nr_free = box_nr_free_pages();
	m->late_init_done = false; /* splits are refused with -EBUSY */
	KUNIT_EXPECT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
	m->late_init_done = true;
	/* the split, the change, and the request */
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 3);
	KUNIT_EXPECT_EQ(test, m->nr_held, nr_held);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), nr_free);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 4);
	KUNIT_EXPECT_NULL(test, get_pba()->alloc_mutex.owner);
	KUNIT_EXPECT_NOT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
}

/* D18: an error half way returns a region that is partly protected. */
static void pba_refill_half_way_returns_protected_pages(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m;
	unsigned long p, hole;
	pmd_t *pmdp;

	/* a region of two PMDs there is with 4K pages only */
	if (PMD_ORDER == MAX_PAGE_ORDER)
		return;
	box_refill_orders(&config, MAX_PAGE_ORDER, BOX_MIN_ORDER, 0);
	m = box_boot(test, &config);
	kpkeys_set_cached(test, 4);
	kpkeys_drain_buddy(test);
	p = box_block_pfn(3);
	hole = (unsigned long)page_address(pfn_to_page(p)) + PMD_SIZE;
	pmdp = pmd_offset(kpb_pud_of(hole), hole);
	WRITE_ONCE(pmdp->pmd, 0);
	box_free(p, MAX_PAGE_ORDER);

	KUNIT_EXPECT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
	KUNIT_EXPECT_TRUE(test, PageBuddy(pfn_to_page(p)));
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, MAX_ORDER_NR_PAGES);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(p, PTRS_PER_PTE, 1), PTRS_PER_PTE);
}

/* D5: the reserve is gone, and the refill must split. */
static void
pba_refill_that_must_split_without_reserve_deadlocks(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	unsigned long p = box_block_pfn(3);

	kpkeys_set_cached(test, 0);
	kpkeys_drain_buddy(test);
	/* one region for the request, one for the split inside it */
	box_free(p, 2);
	box_free(p + 8, 2);
	BOX_EXPECT_STOP(
		test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL),
		"deadlock: task 0 wants pba.alloc_mutex, which it holds itself");
	/* the empty list has warned; the mutex is the refill's own */
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 1);
	KUNIT_EXPECT_NOT_NULL(test, get_pba()->alloc_mutex.owner);
}

/* The same without memory for the inner refill fails, and does not hang. */
static void pba_refill_without_reserve_and_memory_fails(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	unsigned long p = box_block_pfn(3);

	kpkeys_set_cached(test, 0);
	kpkeys_drain_buddy(test);
	box_free(p, 2);
	KUNIT_EXPECT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 4);
	/* in a leaf of the largest size, too */
	kpkeys_drain_buddy(test);
	box_free(box_pfn(TOP), 2);
	KUNIT_EXPECT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
	KUNIT_EXPECT_EQ(test, m->zone.nr_free_pages, 4);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 0);
	KUNIT_EXPECT_NULL(test, get_pba()->alloc_mutex.owner);
	KUNIT_EXPECT_NULL(test, m->pgtable_split_lock.owner);
}

/* A refill that need not split does not need the reserve either. */
static void
pba_refill_that_need_not_split_does_without_reserve(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);

	kpkeys_set_cached(test, 0);
	/* the block after the first: in the contPMD that boot has split */
	KUNIT_EXPECT_NOT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, BLOCK_NR_PAGES - 1);
}

/*
 * D5 as it can happen: with four cached a permission change on two pages that
 * lie in different largest leaves is let through. It uses 4, 2, 2 tables; with
 * 4K pages nothing is left, and a refill in a whole 1 GB leaf never ends.
 */
static void pba_reserve_does_not_cover_an_arbitrary_range(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, 2 * BOX_LARGE_BYTES);
	struct kpb_machine *m = box_boot(test, &config);

	kpkeys_set_cached(test, 4);
	KUNIT_EXPECT_EQ(test, set_memory_ro(box_addr(2 * TOP - PAGE_SIZE), 2),
			0);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, BOX_PICK(0, 2, 2));
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	kpkeys_drain_buddy(test);
	box_free(box_pfn(5 * TOP), MAX_PAGE_ORDER);
	box_free(box_pfn(5 * TOP) + 2 * MAX_ORDER_NR_PAGES, MAX_PAGE_ORDER);
	if (PAGE_SHIFT == 12)
		BOX_EXPECT_STOP(
			test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL),
			"deadlock: task 0 wants pba.alloc_mutex, which it holds itself");
	else
		KUNIT_EXPECT_NOT_NULL(test,
				      kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
}

/* Early window */

/* Ordinary requests that the first region serves: all but the reserve. */
struct pba_window {
	const char *name;
	u8 orders[3];
	unsigned long capacity;
};

static const struct pba_window pba_windows[] = {
	{ "largest order",
	  { BOX_LARGEST_ORDER, BOX_CONT_PTE_ORDER, 2 },
	  BOX_PICK(508, 2044, 508) },
	{ "contpte order", { BOX_CONT_PTE_ORDER, 2 }, BOX_PICK(12, 124, 28) },
	{ "order 2", { 2 }, 0 },
};

KUNIT_ARRAY_PARAM(pba_windows, pba_windows)

static void pba_window_ends_with_the_first_region(struct kunit *test)
{
	const struct pba_window *param = test->param_value;
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	const unsigned long nr = 1UL << param->orders[0];
	unsigned long i, second, first;
	struct kpb_machine *m;

	box_refill_orders(&config, param->orders[0], param->orders[1],
			  param->orders[2]);
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	first = page_to_pfn(get_pba()->early_region.head);
	for (i = 0; i < param->capacity; i++)
		KUNIT_EXPECT_NE(test, kpkeys_alloc_pfn(GFP_PGTABLE_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 1);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);

	/* one more: a second region, which nobody keeps in mind (D9) */
	second = kpkeys_alloc_pfn(GFP_PGTABLE_KERNEL);
	KUNIT_EXPECT_NE(test, second, 0);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 2);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 1);
	KUNIT_EXPECT_EQ(test, page_to_pfn(get_pba()->early_region.head), first);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(first, nr, 1), nr);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(second, nr, 0), nr);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, nr);

	/* for good: free and reuse change nothing */
	kpkeys_pgtable_free(pfn_to_page(second));
	KUNIT_EXPECT_EQ(test, kpkeys_alloc_pfn(SPLIT), second);
	KUNIT_EXPECT_EQ(test, box_pkey(second), 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 1);
}

static void pba_window_third_region_warns_too(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m;
	unsigned int i;

	box_refill_orders(&config, BOX_MIN_ORDER, 0, 0);
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	/* order 2: four pages are the reserve, each further region gives four */
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_NE(test, kpkeys_alloc_pfn(GFP_PGTABLE_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 3);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 2);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 8);
}

/* With no memory at all in the window, the key still goes on. */
static void pba_init_without_memory_goes_on(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);

	kpkeys_drain_buddy(test);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	KUNIT_EXPECT_TRUE(test, pba_enabled());
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 0);
	KUNIT_EXPECT_NULL(test, get_pba()->early_region.head);
}

/* Requests */

struct pba_gfp {
	const char *name;
	gfp_t gfp;
	u64 warnings;
};

static const struct pba_gfp pba_gfps[] = {
	{ "GFP_KERNEL", GFP_KERNEL, 0 },
	{ "with ZERO", GFP_KERNEL | __GFP_ZERO, 0 },
	{ "with ACCOUNT", GFP_KERNEL | __GFP_ACCOUNT, 0 },
	{ "with SPLIT", GFP_KERNEL | __GFP_PGTABLE_SPLIT, 0 },
	{ "with all three",
	  GFP_KERNEL | __GFP_ZERO | __GFP_ACCOUNT | __GFP_PGTABLE_SPLIT, 0 },
	{ "GFP_ATOMIC", GFP_ATOMIC, 1 },
	{ "without IO", GFP_KERNEL & ~__GFP_IO, 1 },
	{ "without FS", GFP_KERNEL & ~__GFP_FS, 1 },
	{ "without DIRECT_RECLAIM", GFP_KERNEL & ~__GFP_DIRECT_RECLAIM, 1 },
	{ "with NOWARN", GFP_KERNEL | __GFP_NOWARN, 1 },
	{ "with NORETRY", GFP_KERNEL | __GFP_NORETRY, 1 },
	{ "with MOVABLE", GFP_KERNEL | __GFP_MOVABLE, 1 },
	{ "with COMP", GFP_KERNEL | __GFP_COMP, 1 },
};

KUNIT_ARRAY_PARAM(pba_gfps, pba_gfps)

/* Warning only: the page is handed out all the same. */
static void pba_alloc_warns_about_flags(struct kunit *test)
{
	const struct pba_gfp *param = test->param_value;
	struct page *page;

	box_boot_pba(test, BOX_LARGE_BYTES);
	BOX_EXPECT_WARNINGS(test, param->warnings,
			    page = kpkeys_pgtable_alloc(param->gfp));
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, box_pkey(page_to_pfn(page)), 1);
}

static void pba_alloc_prepares_the_page(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m;
	struct page *page;
	u8 *bytes;

	config.zero_pages = 1;
	m = box_boot(test, &config);
	page = kpkeys_cached(0);
	bytes = page_address(page);
	bytes[0] = bytes[PAGE_SIZE - 1] = 0xff;
	set_page_private(page, 7);

	/* no zeroing, no level switch, no charge */
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_pgtable_alloc(GFP_KERNEL), page);
	KUNIT_EXPECT_EQ(test, page_private(page), 0);
	KUNIT_EXPECT_EQ(test, bytes[0], 0xff);
	KUNIT_EXPECT_EQ(test, m->counters.zeroed_pages, 0);
	KUNIT_EXPECT_EQ(test, m->counters.pkey_reg_writes, 0);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_charges, 0);
	kpkeys_pgtable_free(page);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_uncharges, 0);

	/* raise, clear, restore: two register writes */
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL),
			    page);
	KUNIT_EXPECT_EQ(test, bytes[0], 0);
	KUNIT_EXPECT_EQ(test, bytes[PAGE_SIZE - 1], 0);
	KUNIT_EXPECT_EQ(test, m->counters.zeroed_pages, 1);
	KUNIT_EXPECT_EQ(test, m->counters.pkey_reg_writes, 2);
	KUNIT_EXPECT_EQ(test, m->kpkeys_level, KPKEYS_LVL_DEFAULT);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_charges, 0);
	kpkeys_pgtable_free(page);

	KUNIT_EXPECT_PTR_EQ(test, kpkeys_pgtable_alloc(GFP_PGTABLE_USER), page);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_charges, 1);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_uncharges, 0);
	kpkeys_pgtable_free(page);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_uncharges, 1);
	/* D15: what is cached is charged to nobody */
	KUNIT_EXPECT_EQ(test, m->counters.memcg_charges, 1);
}

/* Plain out-of-memory: one warning for each request (D14). */
static void pba_alloc_without_memory_warns_once_a_request(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_SMALL_BYTES);
	unsigned int i;

	kpkeys_set_cached(test, 4);
	kpkeys_drain_buddy(test);
	for (i = 1; i <= 3; i++) {
		KUNIT_EXPECT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_USER));
		KUNIT_EXPECT_EQ(test, m->counters.warnings, i);
	}
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 4);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_charges, 0);
}

/* Shrinker */

static void pba_shrinker_is_registered_late(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m = box_create(test, &config);

	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_FALSE(test, m->shrinker.registered);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_TRUE(test, m->shrinker.registered);
	KUNIT_EXPECT_EQ(test, m->shrinker.seeks, 0);
	KUNIT_EXPECT_EQ(test, m->shrinker.batch, BOX_PICK(512, 2048, 8192));
}

static void pba_shrink_count_leaves_sixteen(struct kunit *test)
{
	struct shrink_control sc = { .gfp_mask = GFP_KERNEL };
	struct shrinker *shrinker;

	box_boot_pba(test, BOX_LARGE_BYTES);
	shrinker = &kpb_this->shrinker;
	kpkeys_set_cached(test, 100);
	KUNIT_EXPECT_EQ(test, shrinker->count_objects(shrinker, &sc), 84);
	kpkeys_set_cached(test, 17);
	KUNIT_EXPECT_EQ(test, shrinker->count_objects(shrinker, &sc), 1);
	kpkeys_set_cached(test, 16);
	KUNIT_EXPECT_EQ(test, shrinker->count_objects(shrinker, &sc),
			SHRINK_EMPTY);
	kpkeys_set_cached(test, 0);
	KUNIT_EXPECT_EQ(test, shrinker->count_objects(shrinker, &sc),
			SHRINK_EMPTY);
}

/* A whole block goes with one change of pkey, and without a split. */
static void pba_shrink_whole_block(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	const struct kpb_map_counters *c = &m->map_counters[KPB_CAUSE_RELEASE];
	struct page *head;
	unsigned long p;

	/* 16 others: nr_cached is a block + 16, of which a block may go */
	kpkeys_set_cached(test, 16);
	head = pba_refill(false);
	p = page_to_pfn(head);
	/* the number asked for does not matter */
	KUNIT_EXPECT_EQ(test, kpkeys_scan(1), BLOCK_NR_PAGES);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 16);
	KUNIT_EXPECT_EQ(test, c->set_pkey_calls, 1);
	KUNIT_EXPECT_EQ(test, c->set_pkey_pages, BLOCK_NR_PAGES);
	KUNIT_EXPECT_EQ(test, c->split_ptps, 0);
	KUNIT_EXPECT_EQ(test, c->split_pmd, 0);
	KUNIT_EXPECT_EQ(test, c->descriptor_writes, 1);
	KUNIT_EXPECT_EQ(test, c->tlbi_full, 1);
	KUNIT_EXPECT_EQ(test, c->tlbi_single, 0);
	KUNIT_EXPECT_EQ(test, m->counters.released_pages, BLOCK_NR_PAGES);
	KUNIT_EXPECT_EQ(test, kpkeys_nr_in_block(head, BLOCK_NR_PAGES), 0);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(p, BLOCK_NR_PAGES, 0),
			BLOCK_NR_PAGES);
	/* the buddy has it back as one block, merged with what was beside it */
	KUNIT_EXPECT_TRUE(test,
			  PageBuddy(head) && buddy_order(head) >= BLOCK_ORDER);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

/* A lone free block stays unless nr_cached is at least a block + 16 (D6). */
static void pba_shrink_whole_block_needs_sixteen_more(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	struct page *head;

	kpkeys_set_cached(test, 15);
	head = pba_refill(false);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, BLOCK_NR_PAGES + 15);
	KUNIT_EXPECT_EQ(test, kpkeys_scan(BLOCK_NR_PAGES), SHRINK_STOP);
	KUNIT_EXPECT_EQ(test, kpkeys_scan(1), SHRINK_STOP);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, BLOCK_NR_PAGES + 15);
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free,
			BLOCK_NR_PAGES);
	KUNIT_EXPECT_EQ(test, kpkeys_nr_in_block(head, BLOCK_NR_PAGES),
			BLOCK_NR_PAGES);
	KUNIT_EXPECT_FALSE(test, get_pba()->lock.locked);
	KUNIT_EXPECT_EQ(test, m->counters.released_pages, 0);
}

/* The walk stops at the first block that is wholly free. */
static void pba_shrink_takes_the_first_whole_block(struct kunit *test)
{
	struct page *older, *newer;

	kpkeys_boot_blocks(test);
	older = pba_refill(false);
	newer = pba_refill(false);
	KUNIT_EXPECT_EQ(test, kpkeys_scan(1), BLOCK_NR_PAGES);
	KUNIT_EXPECT_FALSE(test, pba_page_data(newer)->in_block);
	KUNIT_EXPECT_TRUE(test, pba_page_data(older)->in_block);
	KUNIT_EXPECT_EQ(test, kpkeys_scan(1), BLOCK_NR_PAGES);
	KUNIT_EXPECT_FALSE(test, pba_page_data(older)->in_block);
	BOX_EXPECT_CLEAN(test);
}

/* Of two partial blocks the one with more free pages is the target. */
static void pba_shrink_takes_the_emptiest_block(struct kunit *test)
{
	/* of the older and of the newer one, which lies first in the list */
	static const unsigned long nr_free[2][2] = {
		{ SHRINK_MIN + 8, SHRINK_MIN + 9 },
		{ SHRINK_MIN + 9, SHRINK_MIN + 8 },
	};
	struct page *block[2];
	int i;

	for (i = 0; i < 2; i++) {
		const unsigned long *nr = nr_free[i];
		int emptier = nr[1] > nr[0];

		kpkeys_boot_blocks(test);
		block[0] = get_pba()->early_region.head;
		kpkeys_set_cached(test, nr[0]);
		block[1] = pba_refill(false);
		kpkeys_set_cached(test, nr[0] + nr[1]);
		KUNIT_EXPECT_EQ(test, kpkeys_scan(1), 1);
		KUNIT_EXPECT_FALSE(test,
				   pba_page_data(block[emptier])->in_block);
		KUNIT_EXPECT_TRUE(test,
				  pba_page_data(block[!emptier])->in_block);
	}
}

/*
 * @nonblock loose pages and a block of which @in_block are cached. What is
 * freed for @nr_to_scan, and is it from the block? M is the eighth of a block
 * below which a block is not worth it.
 */
struct pba_shrink {
	const char *name;
	unsigned long nonblock;
	unsigned long in_block;
	unsigned long nr_to_scan;
	unsigned long freed;
	bool from_block;
};

#define M SHRINK_MIN

static const struct pba_shrink pba_shrinks[] = {
	{ "partial: all limits just met", M - 1, M, M, M, true },
	{ "loose: as many as in the block", M, M, 2 * M, M, false },
	{ "loose: as many as asked for", M - 1, M, M - 1, M - 1, false },
	{ "loose: the block is one below the minimum", M - 2, M - 1, 2 * M,
	  M - 2, false },
	{ "stop: the block is one below and nothing is loose", 0, M - 1, 2 * M,
	  SHRINK_STOP, false },
	{ "partial: the smallest step", 0, M, 1, 1, true },
	{ "partial: as many as asked for", 0, 3 * M, M, M, true },
	{ "partial: sixteen stay", 0, 3 * M, 16 * M, 3 * M - 16, true },
	{ "partial: all of the block, others are sixteen", 16, M, 16 * M, M,
	  true },
	{ "loose: all of them", 2 * M, M - 14, 16 * M, 2 * M, false },
	{ "loose: sixteen stay", M, 10, 16 * M, M - 6, false },
	{ "loose: as few as asked for", 2 * M, 0, 3, 3, false },
	{ "stop: sixteen are left", 16, 0, 10, SHRINK_STOP, false },
	{ "stop: sixteen are left in a block", 0, 16, 10, SHRINK_STOP, false },
	{ "loose: the last above sixteen", 17, 0, 10, 1, false },
	{ "stop: nothing asked for", 2 * M, 10, 0, SHRINK_STOP, false },
};

#undef M

KUNIT_ARRAY_PARAM(pba_shrinks, pba_shrinks)

static void pba_shrink_partial_or_loose(struct kunit *test)
{
	const struct pba_shrink *param = test->param_value;
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	const struct kpb_map_counters *c = &m->map_counters[KPB_CAUSE_RELEASE];
	bool stop = param->freed == SHRINK_STOP;
	unsigned long nr_freed = stop ? 0 : param->freed;
	struct page *loose, *head, *page;
	unsigned long nr_left = 0;

	/* the first block's pages become loose, as a partial shrink does it */
	loose = get_pba()->early_region.head;
	kpkeys_set_cached(test, param->nonblock);
	unmark_block(loose);
	head = pba_refill(false);
	kpkeys_set_cached(test, param->nonblock + param->in_block);

	KUNIT_EXPECT_EQ(test, kpkeys_scan(param->nr_to_scan), param->freed);
	KUNIT_EXPECT_EQ(test, m->counters.released_pages, nr_freed);
	KUNIT_EXPECT_EQ(test, c->set_pkey_calls, nr_freed);
	KUNIT_EXPECT_EQ(test, c->set_pkey_pages, nr_freed);
	KUNIT_EXPECT_EQ(test, c->tlbi_single, nr_freed);
	/* the first page splits the block, at the cost of a table (D8) */
	KUNIT_EXPECT_EQ(test, c->split_pmd, !stop);
	KUNIT_EXPECT_EQ(test, c->split_ptps, !stop);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached,
			param->nonblock + param->in_block - nr_freed - !stop);
	/* the marks of the target are gone, of pages in use, too */
	KUNIT_EXPECT_EQ(test, kpkeys_nr_in_block(head, BLOCK_NR_PAGES),
			param->from_block ? 0 : BLOCK_NR_PAGES);
	list_for_each_entry(page, &get_pba()->cached_list, lru)
		nr_left += block_head_page(page) == head;
	/* the table came from the head of the list, which is the block's */
	if (param->from_block)
		KUNIT_EXPECT_LE(test, param->in_block - nr_freed - nr_left, 1);
	else
		KUNIT_EXPECT_LE(test, param->in_block - nr_left, 1);
	if (!param->from_block)
		KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free,
				nr_left);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	KUNIT_EXPECT_FALSE(test, get_pba()->lock.locked);
}

/* Pages go in the order of the list: the one that came last goes first. */
static void pba_shrink_releases_from_the_head(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	struct page *head = get_pba()->early_region.head;
	unsigned long top = get_pba()->nr_cached;

	/* the first block's pages lie with the highest at the head */
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_cached(0), head + top - 1);
	KUNIT_EXPECT_EQ(test, kpkeys_scan(3), 3);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(page_to_pfn(head) + top - 3, 3, 0),
			3);
	KUNIT_EXPECT_EQ(test, box_pkey(page_to_pfn(head) + top - 4), 1);
	/* all three in one contPTE group of one PMD */
	KUNIT_EXPECT_EQ(test, m->map_counters[KPB_CAUSE_RELEASE].split_contpte,
			1);
	KUNIT_EXPECT_EQ(test, m->map_counters[KPB_CAUSE_RELEASE].split_pmd, 1);
	/* a page that comes back from the lost block is just a page */
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free, 0);
	BOX_EXPECT_CLEAN(test);
}

/* D13: with the default orders nothing is ever a block at 64K. */
static void pba_shrink_without_blocks_releases_single_pages(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);

	if (BOX_LARGEST_ORDER == BLOCK_ORDER)
		return;
	KUNIT_EXPECT_NOT_NULL(test, pba_refill(false));
	KUNIT_EXPECT_EQ(test, kpkeys_scan(100), 100);
	KUNIT_EXPECT_EQ(test, m->map_counters[KPB_CAUSE_RELEASE].set_pkey_calls,
			100);
	BOX_EXPECT_CLEAN(test);
}

/* D1: an error loses what is left of the private list. */
static void pba_shrink_error_loses_the_rest(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	struct page *a, *b, *fourth;
	unsigned long addr, nr_held;
	pmd_t *pmdp;

	/* 30 loose pages of one block below 5 of another */
	a = get_pba()->early_region.head;
	kpkeys_set_cached(test, 30);
	unmark_block(a);
	b = pba_refill(false);
	kpkeys_set_cached(test, 35);
	unmark_block(b);
	/* the fifth becomes a table: no other is taken later */
	split_kernel_leaf_mapping((unsigned long)page_address(b + 1),
				  (unsigned long)page_address(b + 2));
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 34);
	addr = (unsigned long)page_address(b);
	pmdp = pmd_offset(kpb_pud_of(addr), addr);
	WRITE_ONCE(pmdp->pmd, 0);

	nr_held = m->nr_held;
	fourth = kpkeys_cached(3);
	/*
	 * 4 of b and 6 of a are taken, and released from the last to the
	 * first: those of a go, and cost a table for the split; then the
	 * fourth of b fails and is put back, the other 3 are nowhere.
	 */
	KUNIT_EXPECT_EQ(test, kpkeys_scan(10), 6);
	KUNIT_EXPECT_EQ(test, m->nr_held, nr_held - 6);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 34 - 10 - 1 + 1);
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_cached(0), fourth);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

/* D2: a failed release of a whole block makes loose pages of it. */
static void
pba_shrink_error_on_a_whole_block_keeps_it_unmarked(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	unsigned long nr_cached, nr_held;
	struct page *head = pba_refill(false);

	nr_cached = get_pba()->nr_cached;
	nr_held = m->nr_held;
	m->late_init_done = false; /* splits are refused with -EBUSY */
	KUNIT_EXPECT_EQ(test, kpkeys_scan(1), SHRINK_STOP);
	m->late_init_done = true;
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, nr_cached);
	KUNIT_EXPECT_EQ(test, m->nr_held, nr_held);
	KUNIT_EXPECT_EQ(test, kpkeys_nr_in_block(head, BLOCK_NR_PAGES), 0);
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free, 0);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(page_to_pfn(head), BLOCK_NR_PAGES, 1),
			BLOCK_NR_PAGES);
	BOX_EXPECT_CLEAN(test);
	/* the block is still intact, and the next scan splits it */
	KUNIT_EXPECT_EQ(test, kpkeys_scan(1), 1);
	KUNIT_EXPECT_EQ(test, m->map_counters[KPB_CAUSE_RELEASE].split_pmd, 1);
}

/*
 * The weak points of v6, with errors that were asked for: the mirror must show
 * them, so each has its number here.
 */

static void kpkeys_fail_set_pkey(u64 nth, u32 half, int pkey)
{
	const struct kpb_fault fault = {
		.mode = KPB_FAULT_NTH,
		.n = nth,
		.half = half,
		.pkey = pkey,
	};

	box_granule.set_fault(KPB_POINT_SET_PKEY, &fault);
}

static struct kpb_audit kpkeys_audit(void)
{
	struct kpb_audit audit;

	box_granule.audit(&audit);
	return audit;
}

static void kpkeys_expect_check(struct kunit *test, const char *text)
{
	char msg[KPB_MSG_BYTES] = "";

	KUNIT_EXPECT_EQ(test, box_granule.check(msg), -EUCLEAN);
	KUNIT_EXPECT_CONTAINS(test, msg, text);
}

/* D1: the fourth of ten fails: it is cached again, six are nowhere. */
static void pba_shrink_fault_loses_pages(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	unsigned long nr_held = m->nr_held, nr_cached = get_pba()->nr_cached;
	u64 nr_tables = m->nr_split_ptps;

	kpkeys_fail_set_pkey(4, 0, KPKEYS_PKEY_DEFAULT);
	BOX_EXPECT_WARNINGS(test, 0, KUNIT_EXPECT_EQ(test, kpkeys_scan(10), 3));
	/* the first one has split its block, which takes a table */
	KUNIT_EXPECT_EQ(test, m->nr_split_ptps, nr_tables + 1);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, nr_cached - 10 - 1 + 1);
	KUNIT_EXPECT_EQ(test, m->nr_held, nr_held - 3);
	KUNIT_EXPECT_EQ(test, kpkeys_audit().lost_pages, 6);
	/* and carry the pkey for ever */
	KUNIT_EXPECT_EQ(test, kpkeys_audit().unprotected_pages, 0);
	KUNIT_EXPECT_EQ(test, kpkeys_audit().free_pkey_pages, 0);
	kpkeys_expect_check(test, "6 pages are lost");
}

/* D2: a block that stays whole and is one no more. */
static void pba_shrink_fault_unmarks_a_whole_block(struct kunit *test)
{
	struct kpb_audit audit;

	kpkeys_boot_blocks(test);
	pba_refill(false);
	audit = kpkeys_audit();
	KUNIT_EXPECT_EQ(test, audit.marked_blocks, 2);
	KUNIT_EXPECT_EQ(test, audit.idle_blocks, 1);
	kpkeys_fail_set_pkey(1, 0, KPKEYS_PKEY_DEFAULT);
	BOX_EXPECT_WARNINGS(test, 0,
			    KUNIT_EXPECT_EQ(test, kpkeys_scan(1), SHRINK_STOP));
	audit = kpkeys_audit();
	KUNIT_EXPECT_EQ(test, audit.marked_blocks, 1);
	KUNIT_EXPECT_EQ(test, audit.idle_blocks, 0);
	KUNIT_EXPECT_EQ(test, audit.lost_pages, 0);
	BOX_EXPECT_CLEAN(test);
}

/* D9: a second region in the window is unprotected at the end of boot. */
static void pba_window_leaves_pages_unprotected(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	unsigned int i;

	box_refill_orders(&config, BOX_MIN_ORDER, 0, 0);
	box_create(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(2), 0);
	for (i = 0; i < 2; i++)
		KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, i, 0, 1), 0);
	BOX_EXPECT_CLEAN(test);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, kpkeys_audit().unprotected_pages, 4);
	kpkeys_expect_check(test, "4 PTPs do not carry the page table pkey");
}

/* D18: half of an order-2 refill has its pkey, and all of it is free again. */
static void pba_refill_fault_frees_protected_pages(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m;
	unsigned long nr_held;
	struct page *page;

	box_refill_orders(&config, BOX_MIN_ORDER, 0, 0);
	m = box_boot(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(64), 0);
	while (get_pba()->nr_cached > 4)
		KUNIT_ASSERT_EQ(test,
				box_op(KPB_OP_ALLOC, (u32)m->nr_live, 0, 0), 0);
	BOX_EXPECT_CLEAN(test);
	nr_held = m->nr_held;
	kpkeys_fail_set_pkey(1, 1, KPKEYS_PKEY_PGTABLES);
	/* of the request */
	BOX_EXPECT_WARNINGS(test, 1,
			    page = kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
	KUNIT_EXPECT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, m->nr_held, nr_held);
	KUNIT_EXPECT_EQ(test, m->nr_in_flight, 0);
	KUNIT_EXPECT_EQ(test, kpkeys_audit().free_pkey_pages, 2);
	kpkeys_expect_check(test, "2 free pages carry the page table pkey");
}

/* D14: a refill for a request whose charge fails leaves a region cached. */
static void pba_alloc_charge_fault_keeps_the_refill(struct kunit *test)
{
	const struct kpb_fault fault = { .mode = KPB_FAULT_NTH, .n = 1 };
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	struct page *page;

	kpkeys_set_cached(test, 4);
	KUNIT_EXPECT_EQ(test, box_granule.set_fault(KPB_POINT_CHARGE, &fault),
			0);
	BOX_EXPECT_WARNINGS(test, 0,
			    page = kpkeys_pgtable_alloc(GFP_PGTABLE_USER));
	KUNIT_EXPECT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 2);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached, 4 + BLOCK_NR_PAGES);
	KUNIT_EXPECT_EQ(test, m->nr_charged, 0);
}

/* The mutex is named as the kernel's lockdep would. */
static void pba_mutex_has_its_name(struct kunit *test)
{
	box_boot_pba(test, BOX_LARGE_BYTES);
	KUNIT_EXPECT_STREQ(test, get_pba()->alloc_mutex.name,
			   "pba.alloc_mutex");
}

/* D3: two tasks that miss at the same time fetch two regions. */
static void pba_refill_by_two_tasks_happens_twice(struct kunit *test)
{
	struct kpb_machine *m = kpkeys_boot_blocks(test);
	struct kpb_step step = {
		.op = { .kind = KPB_OP_ALLOC },
		.task = 1,
		.stop_at = KPB_POINT_MUTEX_LOCK,
	};
	struct kpb_step_result result;

	KUNIT_EXPECT_EQ(test, box_granule.set_slots(2), 0);
	kpkeys_set_cached(test, 4);
	/* both have their region, neither has the mutex */
	KUNIT_EXPECT_EQ(test, box_granule.step(&step, &result), 0);
	KUNIT_ASSERT_EQ(test, result.state, KPB_TASK_STOPPED);
	KUNIT_EXPECT_STREQ(test, result.lock, "pba.alloc_mutex");
	step.task = 2;
	step.op.slot = 1;
	KUNIT_EXPECT_EQ(test, box_granule.step(&step, &result), 0);
	KUNIT_ASSERT_EQ(test, result.state, KPB_TASK_STOPPED);
	KUNIT_EXPECT_EQ(test, box_granule.resume(1, 0, 0, &result), 0);
	KUNIT_EXPECT_EQ(test, result.state, KPB_TASK_IDLE);
	KUNIT_EXPECT_EQ(test, box_granule.resume(2, 0, 0, &result), 0);
	KUNIT_EXPECT_EQ(test, result.state, KPB_TASK_IDLE);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 3);
	KUNIT_EXPECT_EQ(test, get_pba()->nr_cached,
			4 + 2 * (BLOCK_NR_PAGES - 1));
}

/* noblock */

static void noblock_sets_and_resets_one_pkey(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_boot(test, &config);
	unsigned long nr_free = box_nr_free_pages();
	struct kpb_map_counters c;
	struct page *page;

	KUNIT_EXPECT_FALSE(test, pba_enabled());
	KUNIT_EXPECT_FALSE(test, m->shrinker.registered);
	KUNIT_EXPECT_EQ(test, m->nr_held, 0);
	page = kpkeys_pgtable_alloc(GFP_PGTABLE_USER);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, box_pkey(page_to_pfn(page)), 1);
	KUNIT_EXPECT_EQ(test, box_pkey(page_to_pfn(page) + 1), 0);
	KUNIT_EXPECT_EQ(test, m->nr_held, 1);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_charges, 1);
	KUNIT_EXPECT_EQ(test, m->counters.zeroed_pages, 1);
	c = m->map_counters[KPB_CAUSE_REFILL];
	KUNIT_EXPECT_EQ(test, c.set_pkey_calls, 1);
	KUNIT_EXPECT_EQ(test, c.set_pkey_pages, 1);
	KUNIT_EXPECT_EQ(test, c.descriptor_writes, 1);
	KUNIT_EXPECT_EQ(test, c.tlbi_single, 1);
	KUNIT_EXPECT_EQ(test, c.split_ptps, 0);

	kpkeys_pgtable_free(page);
	KUNIT_EXPECT_EQ(test, box_pkey(page_to_pfn(page)), 0);
	KUNIT_EXPECT_EQ(test, m->nr_held, 0);
	KUNIT_EXPECT_EQ(test, m->counters.memcg_uncharges, 1);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), nr_free);
	c = m->map_counters[KPB_CAUSE_RELEASE];
	KUNIT_EXPECT_EQ(test, c.set_pkey_calls, 1);
	KUNIT_EXPECT_EQ(test, c.tlbi_single, 1);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	/* splits by others need no page from it */
	KUNIT_EXPECT_EQ(test, kpkeys_prepare_direct_map_split(), 0);
	KUNIT_EXPECT_TRUE(test, kpkeys_ready_for_direct_map_split());
	BOX_EXPECT_CLEAN(test);
}

/* A PTE map needs no late init: every PTP is protected from the start. */
static void noblock_protects_in_the_early_window(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	struct page *page;

	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	page = kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_EQ(test, box_pkey(page_to_pfn(page)), 1);
	/* the tables of the map itself have to wait */
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, 1);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, 1 + m->nr_early_ptps);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

static void noblock_without_memory_fails_quietly(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_boot(test, &config);

	kpkeys_drain_buddy(test);
	KUNIT_EXPECT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	KUNIT_EXPECT_EQ(test, m->nr_held, 0);
}

/* The hole is where the next page will be: setting its pkey fails. */
static void noblock_gives_back_a_page_without_pkey(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_LARGE_BYTES);
	struct kpb_machine *m = box_boot(test, &config);
	unsigned long nr_free = box_nr_free_pages(), addr;
	struct page *page = box_alloc_mt(MIGRATE_UNMOVABLE, 0);
	pmd_t *pmdp, pmd;

	___free_pages(page, 0, FPI_NONE);
	addr = (unsigned long)page_address(page);
	pmdp = pmd_offset(kpb_pud_of(addr), addr);
	pmd = *pmdp;
	WRITE_ONCE(pmdp->pmd, 0);
	KUNIT_EXPECT_NULL(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL));
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), nr_free);
	KUNIT_EXPECT_EQ(test, m->nr_held, 0);
	WRITE_ONCE(pmdp->pmd, pmd_val(pmd));
	KUNIT_EXPECT_PTR_EQ(test, kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL),
			    page);
}

/* PPA */

static void ppa_hands_out_from_the_top_of_a_chunk(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	struct pkeys_physmem_allocator *ppa = &kpb_state()->ppa;
	phys_addr_t end = config.phys_base + config.ram_bytes;
	phys_addr_t chunk = PAGE_SIZE << BOX_LARGEST_ORDER;

	/* the machine's only table so far is the last page of RAM */
	KUNIT_EXPECT_EQ(test, ppa->chunk.start, end - chunk);
	KUNIT_EXPECT_EQ(test, ppa->chunk.end, end);
	KUNIT_EXPECT_EQ(test, ppa->next, end - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, ppa->nr_ranges, 0);
	KUNIT_EXPECT_EQ(test, m->memblock.reserved.cnt, 1);
	KUNIT_EXPECT_EQ(test, m->memblock.reserved.regions[0].base,
			end - chunk);
	KUNIT_EXPECT_EQ(test, kpkeys_physmem_pgtable_alloc(),
			end - 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, kpkeys_physmem_pgtable_alloc(),
			end - 3 * PAGE_SIZE);
}

/*
 * Tables for 2 chunks and 3 pages, with chunks of the contpte size (16, 128,
 * 32 pages): 35 = 33 tables of PTEs (66 MB) and 2 above; 259 = 258 (8256 MB)
 * and 1; 67 = 66 (33 GB) and 1.
 */
static void ppa_protects_what_is_used_and_frees_the_rest(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_NOBLOCK,
			   BOX_PICK(66ULL << 20, 8256ULL << 20, 33ULL << 30));
	const unsigned long chunk = 1UL << BOX_CONT_PTE_ORDER;
	const unsigned long nr = 2 * chunk + 3;
	struct pkeys_physmem_allocator *ppa;
	unsigned long end, nr_free;
	struct kpb_machine *m;

	box_refill_orders(&config, BOX_CONT_PTE_ORDER, BOX_MIN_ORDER, 0);
	m = box_create(test, &config);
	ppa = &kpb_state()->ppa;
	end = m->zone.zone_end_pfn;
	KUNIT_EXPECT_EQ(test, m->nr_early_ptps, nr);
	/* full chunks that touch are one range */
	KUNIT_EXPECT_EQ(test, ppa->nr_ranges, 1);
	KUNIT_EXPECT_EQ(test, ppa->ranges[0].start >> PAGE_SHIFT,
			end - 2 * chunk);
	KUNIT_EXPECT_EQ(test, ppa->ranges[0].end >> PAGE_SHIFT, end);
	nr_free = box_nr_free_pages();

	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, 0);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, nr);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(end - nr, nr, 1), nr);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(end - 3 * chunk, chunk - 3, 0),
			chunk - 3);
	KUNIT_EXPECT_EQ(test,
			m->map_counters[KPB_CAUSE_LATE_INIT].set_pkey_calls, 2);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), nr_free + chunk - 3);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
	BOX_EXPECT_CLEAN(test);
}

/* A chunk that is used up exactly leaves nothing to give back. */
static void ppa_full_chunk_leaves_nothing(struct kunit *test)
{
	/*
	 * 68 MB need 34 tables of PTEs and 2 above, in 9 chunks of 4 pages;
	 * 4064 MB need 127 and 1, in 32 chunks; 64 MB need 1 and 1, in one
	 * chunk of 2 pages.
	 */
	struct kpb_config config =
		box_config(BOX_NOBLOCK,
			   BOX_PICK(68ULL << 20, 4064ULL << 20, 64ULL << 20));
	struct kpb_machine *m;
	unsigned long nr_free;

	config.allow_any_orders = 1;
	box_refill_orders(&config, BOX_PICK(2, 2, 1), 0, 0);
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, m->nr_early_ptps, BOX_PICK(36, 128, 2));
	nr_free = box_nr_free_pages();
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), nr_free);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, m->nr_early_ptps);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
	BOX_EXPECT_CLEAN(test);
}

static void ppa_ranges_merge_when_adjacent(struct kunit *test)
{
	static struct pkeys_physmem_allocator ppa;
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	unsigned int i;

	memset(&ppa, 0, sizeof(ppa));
	ppa_record_range(&ppa, 0x8000, 0x9000);
	ppa_record_range(&ppa, 0x7000, 0x8000); /* below the last one */
	ppa_record_range(&ppa, 0x9000, 0xb000); /* above it */
	KUNIT_EXPECT_EQ(test, ppa.nr_ranges, 1);
	KUNIT_EXPECT_EQ(test, ppa.ranges[0].start, 0x7000);
	KUNIT_EXPECT_EQ(test, ppa.ranges[0].end, 0xb000);
	ppa_record_range(&ppa, 0x5000, 0x6000);
	KUNIT_EXPECT_EQ(test, ppa.nr_ranges, 2);
	KUNIT_EXPECT_EQ(test, ppa.ranges[1].start, 0x5000);
	/* only the last range is looked at */
	ppa_record_range(&ppa, 0xb000, 0xc000);
	KUNIT_EXPECT_EQ(test, ppa.nr_ranges, 3);

	/* as many as memblock's static array holds */
	for (i = 3; i < 128; i++)
		ppa_record_range(&ppa, 0x100000 + i * 0x2000,
				 0x101000 + i * 0x2000);
	KUNIT_EXPECT_EQ(test, ppa.nr_ranges, 128);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	ppa_record_range(&ppa, 0x1000, 0x2000);
	KUNIT_EXPECT_EQ(test, ppa.nr_ranges, 128);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 1);
	/* what extends the last one still fits */
	ppa_record_range(&ppa, ppa.ranges[127].end, 0x300000);
	KUNIT_EXPECT_EQ(test, ppa.ranges[127].end, 0x300000);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 1);
}

/* Memory too small for a chunk: single pages, which nobody keeps in mind. */
static void ppa_without_a_chunk_takes_unprotected_pages(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	phys_addr_t chunk = PAGE_SIZE << BOX_LARGEST_ORDER;
	struct pkeys_physmem_allocator *ppa;

	box_create(test, &config);
	ppa = &kpb_state()->ppa;
	/* three pages below a whole chunk are left of RAM, and no chunk */
	ppa->next = ppa->chunk.start;
	box_memblock_leave((chunk >> PAGE_SHIFT) - 3);
	KUNIT_EXPECT_EQ(test, kpkeys_physmem_pgtable_alloc(),
			config.phys_base + chunk - 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, kpkeys_physmem_pgtable_alloc(),
			config.phys_base + chunk - 5 * PAGE_SIZE);
	/* the full chunk before them is a range, they are in none */
	KUNIT_EXPECT_EQ(test, ppa->nr_ranges, 1);
	KUNIT_EXPECT_EQ(test, ppa->chunk.end, 0);
	box_memblock_leave(0);
	KUNIT_EXPECT_EQ(test, kpkeys_physmem_pgtable_alloc(), 0);
}

/* The same for a while: the second chunk fails, the third does not. */
static void ppa_goes_on_after_an_error_of_memblock(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	const struct kpb_fault fault = { .mode = KPB_FAULT_NTH, .n = 1 };
	phys_addr_t chunk = PAGE_SIZE << BOX_LARGEST_ORDER;
	struct pkeys_physmem_allocator *ppa;
	phys_addr_t old;

	box_create(test, &config);
	ppa = &kpb_state()->ppa;
	old = ppa->chunk.start;
	ppa->next = old;
	box_granule.set_fault(KPB_POINT_MEMBLOCK, &fault);
	/* the page below the chunk */
	KUNIT_EXPECT_EQ(test, kpkeys_physmem_pgtable_alloc(), old - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, ppa->nr_ranges, 1);
	/* a chunk again, below the page */
	KUNIT_EXPECT_EQ(test, kpkeys_physmem_pgtable_alloc(),
			ALIGN_DOWN(old - PAGE_SIZE, chunk) - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, ppa->nr_ranges, 1);
}

/* Chunks on both sides of a hole are two ranges. */
static void ppa_chunks_go_around_holes(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_NOBLOCK,
			   BOX_PICK(66ULL << 20, 8256ULL << 20, 33ULL << 30));
	const u64 chunk = PAGE_SIZE << BOX_CONT_PTE_ORDER;
	struct pkeys_physmem_allocator *ppa;
	struct kpb_machine *m;
	u64 end;

	box_refill_orders(&config, BOX_CONT_PTE_ORDER, BOX_MIN_ORDER, 0);
	end = config.phys_base + config.ram_bytes;
	/* room for one chunk above it */
	config.nr_holes = 1;
	config.holes[0].base = end - 2 * chunk - PAGE_SIZE;
	config.holes[0].size = 2 * PAGE_SIZE;
	m = box_create(test, &config);
	ppa = &kpb_state()->ppa;
	KUNIT_EXPECT_EQ(test, m->nr_early_ptps, 2 * (chunk >> PAGE_SHIFT) + 3);
	KUNIT_EXPECT_EQ(test, ppa->nr_ranges, 2);
	KUNIT_EXPECT_EQ(test, ppa->ranges[0].start, end - chunk);
	KUNIT_EXPECT_EQ(test, ppa->ranges[0].end, end);
	KUNIT_EXPECT_EQ(test, ppa->ranges[1].start, end - 4 * chunk);
	KUNIT_EXPECT_EQ(test, ppa->chunk.start, end - 5 * chunk);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
	KUNIT_EXPECT_EQ(test,
			m->map_counters[KPB_CAUSE_LATE_INIT].set_pkey_calls, 3);
	BOX_EXPECT_CLEAN(test);
}

#if PAGE_SHIFT == 16
/* The whole machine is smaller than its first refill order (512 MB). */
static void
ppa_without_a_chunk_leaves_its_tables_unprotected(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, 64ULL << 20);
	struct kpb_machine *m;

	box_refill_orders(&config, 13, 5, 2);
	m = box_boot(test, &config);
	KUNIT_EXPECT_EQ(test, m->nr_early_ptps, 2);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 2);
	KUNIT_EXPECT_EQ(test, m->counters.refills_order[5], 1);
	kpkeys_expect_check(test, "2 PTPs do not carry the page table pkey");
}
#endif

static const struct kunit_case kpkeys_test_cases[] = {
	KUNIT_CASE(kpkeys_constants_are_those_of_v6),
	KUNIT_CASE(pba_init_refills_once_and_defers_the_pkey),
	KUNIT_CASE(pba_boot_leaves_everything_protected),
	KUNIT_CASE(pba_boot_marks_whole_blocks_only),
	KUNIT_CASE(pba_boot_phases_happen_once),
	KUNIT_CASE(pba_init_late_needs_init),
	KUNIT_CASE(pba_alloc_before_init_fails),
	KUNIT_CASE(pba_hands_out_the_highest_page_first),
	KUNIT_CASE(pba_hands_out_the_last_freed_first),
	KUNIT_CASE(pba_free_keeps_the_page),
	KUNIT_CASE(pba_reserve_of_four_is_not_for_ordinary_requests),
	KUNIT_CASE(pba_reserve_serves_splits_down_to_nothing),
	KUNIT_CASE(pba_ready_needs_the_reserve_or_the_mutex),
	KUNIT_CASE(pba_prepare_refills_without_taking_a_page),
	KUNIT_CASE(pba_prepare_without_memory_fails),
	KUNIT_CASE(pba_split_by_others_fills_the_reserve_first),
	KUNIT_CASE(pba_refill_marks_a_block),
	KUNIT_CASE_PARAM(pba_refill_tries_the_orders_in_turn,
			 pba_fallbacks_gen_params),
	KUNIT_CASE(pba_refill_does_not_look_again),
	KUNIT_CASE(pba_refill_without_pkey_gives_the_region_back),
	KUNIT_CASE(pba_refill_half_way_returns_protected_pages),
	KUNIT_CASE(pba_refill_that_must_split_without_reserve_deadlocks),
	KUNIT_CASE(pba_refill_without_reserve_and_memory_fails),
	KUNIT_CASE(pba_refill_that_need_not_split_does_without_reserve),
	KUNIT_CASE(pba_reserve_does_not_cover_an_arbitrary_range),
	KUNIT_CASE_PARAM(pba_window_ends_with_the_first_region,
			 pba_windows_gen_params),
	KUNIT_CASE(pba_window_third_region_warns_too),
	KUNIT_CASE(pba_init_without_memory_goes_on),
	KUNIT_CASE_PARAM(pba_alloc_warns_about_flags, pba_gfps_gen_params),
	KUNIT_CASE(pba_alloc_prepares_the_page),
	KUNIT_CASE(pba_alloc_without_memory_warns_once_a_request),
	KUNIT_CASE(pba_shrinker_is_registered_late),
	KUNIT_CASE(pba_shrink_count_leaves_sixteen),
	KUNIT_CASE(pba_shrink_whole_block),
	KUNIT_CASE(pba_shrink_whole_block_needs_sixteen_more),
	KUNIT_CASE(pba_shrink_takes_the_first_whole_block),
	KUNIT_CASE(pba_shrink_takes_the_emptiest_block),
	KUNIT_CASE_PARAM(pba_shrink_partial_or_loose, pba_shrinks_gen_params),
	KUNIT_CASE(pba_shrink_releases_from_the_head),
	KUNIT_CASE(pba_shrink_without_blocks_releases_single_pages),
	KUNIT_CASE(pba_shrink_error_loses_the_rest),
	KUNIT_CASE(pba_shrink_error_on_a_whole_block_keeps_it_unmarked),
	KUNIT_CASE(pba_shrink_fault_loses_pages),
	KUNIT_CASE(pba_shrink_fault_unmarks_a_whole_block),
	KUNIT_CASE(pba_window_leaves_pages_unprotected),
	KUNIT_CASE(pba_refill_fault_frees_protected_pages),
	KUNIT_CASE(pba_alloc_charge_fault_keeps_the_refill),
	KUNIT_CASE(pba_mutex_has_its_name),
	KUNIT_CASE(pba_refill_by_two_tasks_happens_twice),
	KUNIT_CASE(noblock_sets_and_resets_one_pkey),
	KUNIT_CASE(noblock_protects_in_the_early_window),
	KUNIT_CASE(noblock_without_memory_fails_quietly),
	KUNIT_CASE(noblock_gives_back_a_page_without_pkey),
	KUNIT_CASE(ppa_hands_out_from_the_top_of_a_chunk),
	KUNIT_CASE(ppa_protects_what_is_used_and_frees_the_rest),
	KUNIT_CASE(ppa_full_chunk_leaves_nothing),
	KUNIT_CASE(ppa_ranges_merge_when_adjacent),
	KUNIT_CASE(ppa_without_a_chunk_takes_unprotected_pages),
	KUNIT_CASE(ppa_goes_on_after_an_error_of_memblock),
	KUNIT_CASE(ppa_chunks_go_around_holes),
#if PAGE_SHIFT == 16
	KUNIT_CASE(ppa_without_a_chunk_leaves_its_tables_unprotected),
#endif
	{ 0 }
};

static struct kunit_suite kpkeys_test_suite = {
	.name = BOX_SUITE("kpkeys_hardened_pgtables"),
	.suite_init = box_pcp_off,
	.suite_exit = box_pcp_on,
	.test_cases = kpkeys_test_cases,
};
kunit_test_suite(kpkeys_test_suite);

#undef TOP
#undef SPLIT
#undef SHRINK_MIN
