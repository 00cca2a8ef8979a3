// SPDX-License-Identifier: GPL-2.0-only
/*
 * The checker (csrc/lab/check.c) must notice: each case breaks one thing on a
 * machine that is sound, and expects the message that names it.
 */

#include "box.h"

/* A booted machine with something of every owner. */
static struct kpb_machine *check_machine_with_pcp(struct kunit *test, bool pcp)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m;

	box_refill_orders(&config, BLOCK_ORDER, BOX_CONT_PTE_ORDER, 2);
	config.aged_ppm = 300000;
	config.aged_pins = 8;
	config.aged_seed = 1;
	config.no_pcp = !pcp;
	m = box_boot(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(8), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 1, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_PIN, 2, MIGRATE_MOVABLE, 3), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_PIN, 3, MIGRATE_UNMOVABLE, 0), 0);
	/* so that some frames are free in small blocks */
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_PIN, 4, MIGRATE_MOVABLE, 0), 0);
	BOX_EXPECT_CLEAN(test);
	return m;
}

/* The same without per-CPU lists: small blocks are in the buddy. */
static struct kpb_machine *check_machine(struct kunit *test)
{
	return check_machine_with_pcp(test, false);
}

#define CHECK_EXPECT(test, text)                                           \
	do {                                                               \
		char __msg[KPB_MSG_BYTES] = "";                            \
                                                                           \
		KUNIT_EXPECT_EQ(test, box_granule.check(__msg), -EUCLEAN); \
		KUNIT_EXPECT_CONTAINS(test, __msg, text);                  \
	} while (0)

/* The first free block of an order, of any type. */
static struct page *check_free_page(struct kunit *test, unsigned int order)
{
	unsigned long pfn = 0;
	int mt;

	for (mt = 0; mt < MIGRATE_TYPES && !pfn; mt++)
		pfn = box_free_pfn(order, mt, 0);
	KUNIT_ASSERT_TRUE(test, pfn != 0);
	return pfn_to_page(pfn);
}

/* A page that some CPU keeps. */
static struct page *check_cpus_page(struct kunit *test)
{
	const struct per_cpu_pages *pcp = kpb_this->pcp;
	unsigned int pindex = 0;

	while (pindex < NR_PCP_LISTS && list_empty(&pcp->lists[pindex]))
		pindex++;
	KUNIT_ASSERT_TRUE(test, pindex < NR_PCP_LISTS);
	return list_first_entry(&pcp->lists[pindex], struct page, pcp_list);
}

static int check_type_of(struct page *page)
{
	return get_pfnblock_migratetype(page_to_pfn(page));
}

/* The free lists */

static void check_notices_a_wrong_order(struct kunit *test)
{
	struct page *page;

	check_machine(test);
	page = check_free_page(test, 1);
	set_buddy_order(page, 2);
	CHECK_EXPECT(test, "is on the list of order 1 but marked 0x82");
	set_buddy_order(page, 1);
	BOX_EXPECT_CLEAN(test);
	__ClearPageBuddy(page);
	CHECK_EXPECT(test, "is on the list of order 1 but marked 0");
}

static void check_notices_an_unaligned_block(struct kunit *test)
{
	struct page *page;

	check_machine(test);
	/* what was pages 2n and 2n + 1 becomes 2n + 1 and 2n + 2 */
	page = check_free_page(test, 1);
	__del_page_from_free_list(page, &kpb_this->zone, 1);
	__add_to_free_list(page + 1, &kpb_this->zone, 1, check_type_of(page),
			   false);
	set_buddy_order(page + 1, 1);
	CHECK_EXPECT(test, "is not aligned to order 1");
}

static void check_notices_the_wrong_type(struct kunit *test)
{
	struct page *page;
	char text[64];
	int type;

	check_machine(test);
	page = check_free_page(test, MAX_PAGE_ORDER - 1);
	type = check_type_of(page);
	set_pageblock_migratetype(page, MIGRATE_RECLAIMABLE);
	snprintf(text, sizeof(text),
		 "is on the list of type %d, its pageblock has type 2", type);
	CHECK_EXPECT(test, text);
}

static void check_notices_buddies_that_did_not_merge(struct kunit *test)
{
	struct zone *zone;
	struct page *page;
	int type;

	check_machine(test);
	zone = &kpb_this->zone;
	page = check_free_page(test, 1);
	type = check_type_of(page);
	__del_page_from_free_list(page, zone, 1);
	__add_to_free_list(page, zone, 0, type, false);
	set_buddy_order(page, 0);
	__add_to_free_list(page + 1, zone, 0, type, false);
	set_buddy_order(page + 1, 0);
	CHECK_EXPECT(test, "are free at order 0 and did not merge");
}

static void check_notices_a_wrong_list_length(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);

	m->zone.free_area[1].nr_free++;
	CHECK_EXPECT(test, "order 1: nr_free is");
	m->zone.free_area[1].nr_free--;
	m->zone.free_area[MAX_PAGE_ORDER].nr_free--;
	CHECK_EXPECT(test, "nr_free is");
}

static void check_notices_a_wrong_sum_of_free_pages(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);

	m->zone.nr_free_pages++;
	CHECK_EXPECT(test, "free pages counted");
}

/* Owners */

static void check_notices_a_lost_page(struct kunit *test)
{
	char text[64];
	struct page *page;

	check_machine(test);
	page = box_alloc_mt(MIGRATE_UNMOVABLE, 0);
	snprintf(text, sizeof(text), "frame %#lx is lost", page_to_pfn(page));
	CHECK_EXPECT(test, text);
	___free_pages(page, 0, FPI_NONE);
	BOX_EXPECT_CLEAN(test);
}

/* A page of the PPA's rest and the last page that the buddy had at boot. */
static void check_notices_a_lost_page_at_the_end(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);
	unsigned long pfn = m->zone.zone_end_pfn - 1;
	struct page *page;

	/* the largest free block of the PPA's chunk */
	while (!PageBuddy(pfn_to_page(pfn)))
		pfn--;
	page = pfn_to_page(pfn);
	del_page_from_free_list(page, &m->zone, buddy_order(page));
	CHECK_EXPECT(test, "is lost");
}

static void check_notices_two_owners(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);
	struct page *page = m->slots[0].page;

	m->slots[0].page =
		list_first_entry(&get_pba()->cached_list, struct page, lru);
	CHECK_EXPECT(test, "belongs to the cache and to a slot");
	m->slots[0].page = m->slots[1].page;
	CHECK_EXPECT(test, "belongs to a slot and to a slot");
	m->slots[0].page = m->slots[2].page + 7;
	CHECK_EXPECT(test, "belongs to a slot and to a pin");
	m->slots[0].page = check_free_page(test, 2) + 3;
	CHECK_EXPECT(test, "belongs to the buddy and to a slot");
	/* the last page of RAM is a table of the linear map */
	m->slots[0].page = pfn_to_page(m->zone.zone_end_pfn - 1);
	CHECK_EXPECT(test, "belongs to a slot and to the linear map");
	m->slots[0].page = page;
	BOX_EXPECT_CLEAN(test);
}

/* Per-CPU lists */

static void check_notices_a_wrong_count_of_a_cpu(struct kunit *test)
{
	struct kpb_machine *m = check_machine_with_pcp(test, true);
	char text[64];

	check_cpus_page(test);
	snprintf(text, sizeof(text), "CPU 0 counts %d pages, its lists hold %d",
		 m->pcp[0].count + 1, m->pcp[0].count);
	m->pcp[0].count++;
	CHECK_EXPECT(test, text);
	m->pcp[0].count--;
	m->pcp[m->config.nr_cpus - 1].count++;
	CHECK_EXPECT(test, "CPU 3 counts");
}

static void check_notices_a_cpus_page_that_looks_in_use(struct kunit *test)
{
	struct page *page;

	check_machine_with_pcp(test, true);
	page = check_cpus_page(test);
	*kpb_page_type(page_to_pfn(page)) = KPB_PG_LRU;
	CHECK_EXPECT(test, "is on a list of CPU 0 but marked 0x40");
}

static void check_notices_two_owners_of_a_cpus_page(struct kunit *test)
{
	struct kpb_machine *m = check_machine_with_pcp(test, true);
	struct page *page = m->slots[0].page;

	m->slots[0].page = check_cpus_page(test);
	CHECK_EXPECT(test, "belongs to a per-CPU list and to a slot");
	m->slots[0].page = page;
	BOX_EXPECT_CLEAN(test);
}

/* What is not for anybody */

static struct kpb_machine *check_machine_with_holes(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, 2 * BOX_SMALL_BYTES);
	u64 block = (u64)PAGE_SIZE << MAX_PAGE_ORDER;
	struct kpb_machine *m;

	config.nr_static_pgtables = 4;
	config.nr_holes = 1;
	config.holes[0] =
		(struct kpb_region){ config.phys_base + 8 * block, 2 * block };
	config.nr_reserved = 1;
	config.reserved[0] = (struct kpb_region){
		config.phys_base + 4 * block + 3 * PAGE_SIZE, PAGE_SIZE
	};
	m = box_boot(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(8), 0);
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, 0, 0, 0), 0);
	BOX_EXPECT_CLEAN(test);
	return m;
}

static void check_notices_owners_of_what_is_not_free(struct kunit *test)
{
	struct kpb_machine *m = check_machine_with_holes(test);
	struct page *page = m->slots[0].page;

	m->slots[0].page = pfn_to_page(box_block_pfn(9));
	CHECK_EXPECT(test, "belongs to a hole and to a slot");
	m->slots[0].page = pfn_to_page(box_block_pfn(4) + 3);
	CHECK_EXPECT(test, "belongs to reserved memory and to a slot");
	m->slots[0].page = pfn_to_page(box_start_pfn() + 3);
	CHECK_EXPECT(test, "belongs to the kernel image and to a slot");
	m->slots[0].page = page;
	BOX_EXPECT_CLEAN(test);
}

static void check_notices_a_hole_that_is_mapped(struct kunit *test)
{
	struct kpb_machine *m = check_machine_with_holes(test);
	unsigned long hole =
		(unsigned long)page_address(pfn_to_page(box_block_pfn(8)));
	pmd_t *pmdp = pmd_offset(kpb_pud_of(hole), hole);

	/* RAM after the hole is a block; the hole has no entry */
	KUNIT_EXPECT_EQ(test, pmd_val(*pmdp), 0);
	WRITE_ONCE(pmdp->pmd,
		   __pa((void *)hole) | PAGE_KERNEL_ATTRS | PTE_TYPE_BLOCK);
	m->nr_leaves[KPB_LEAF_PMD]++;
	CHECK_EXPECT(test, "maps a hole");
}

static void check_notices_an_unprotected_static_table(struct kunit *test)
{
	struct kpb_machine *m = check_machine_with_holes(test);

	KUNIT_EXPECT_EQ(test,
			set_memory_pkey(box_addr(PAGE_SIZE), 2,
					KPKEYS_PKEY_DEFAULT),
			0);
	kpb_note_unprotected(m);
	CHECK_EXPECT(test, "2 PTPs do not carry the page table pkey");
}

/* Memory that the buddy does not have yet may be lost nevertheless. */
static void check_notices_lost_memory_between_ranges(struct kunit *test)
{
	struct kpb_machine *m = check_machine_with_holes(test);
	char text[64];

	KUNIT_ASSERT_EQ(test,
			memblock_remove_range(&m->memblock.reserved,
					      (box_block_pfn(4) + 3)
						      << PAGE_SHIFT,
					      PAGE_SIZE),
			0);
	/* reserved as the user wants it: it has an owner */
	BOX_EXPECT_CLEAN(test);
	m->config.nr_reserved = 0;
	snprintf(text, sizeof(text), "frame %#lx is lost",
		 box_block_pfn(4) + 3);
	CHECK_EXPECT(test, text);
}

static void check_notices_two_owners_of_an_aged_page(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);

	*kpb_page_type(page_to_pfn(m->slots[3].page)) = KPB_PG_AGED;
	CHECK_EXPECT(test, "belongs to the aged state and to a pin");
}

static void check_notices_a_frame_beyond_ram(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);
	struct page *page = m->slots[0].page;

	m->slots[0].page = pfn_to_page(m->zone.zone_end_pfn);
	CHECK_EXPECT(test, "of a slot is not RAM");
	m->slots[0].page = pfn_to_page(m->zone.zone_start_pfn - 1);
	CHECK_EXPECT(test, "of a slot is not RAM");
	m->slots[0].page = page;
	BOX_EXPECT_CLEAN(test);
}

static void check_notices_a_wrong_balance_of_the_cache(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);

	m->nr_live++;
	CHECK_EXPECT(test, "pages cached by the balance");
	m->nr_live--;
	m->nr_held++;
	CHECK_EXPECT(test, "pages held by the balance");
	m->nr_held--;
	BOX_EXPECT_CLEAN(test);
}

static void check_notices_a_wrong_number_in_flight(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);

	KUNIT_EXPECT_EQ(test, m->nr_in_flight, 0);
	m->nr_in_flight++;
	CHECK_EXPECT(test, "1 pages in flight counted, 0 say so");
	m->nr_in_flight--;
	BOX_EXPECT_CLEAN(test);
}

static void check_notices_a_wrong_number_of_tables(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);

	m->nr_early_ptps++;
	CHECK_EXPECT(test, "tables of the linear map counted");
}

/* The allocator under test */

static void check_notices_a_wrong_nr_cached(struct kunit *test)
{
	check_machine(test);
	get_pba()->nr_cached++;
	CHECK_EXPECT(test, "nr_cached is not the length of the list");
	get_pba()->nr_cached -= 2;
	CHECK_EXPECT(test, "nr_cached is not the length of the list");
}

static void check_notices_a_page_that_left_the_cache(struct kunit *test)
{
	struct page *page;

	check_machine(test);
	page = list_first_entry(&get_pba()->cached_list, struct page, lru);
	list_del(&page->lru);
	CHECK_EXPECT(test, "block_nr_free is not the number of cached pages");
	pba_page_data(block_head_page(page))->block_nr_free--;
	CHECK_EXPECT(test, "nr_cached is not the length of the list");
	get_pba()->nr_cached--;
	CHECK_EXPECT(test, "1 pages are lost: the allocator holds them");
}

static void check_notices_a_wrong_block_nr_free(struct kunit *test)
{
	struct page *head;

	check_machine(test);
	head = get_pba()->early_region.head;
	pba_page_data(head)->block_nr_free++;
	CHECK_EXPECT(test, "block_nr_free is not the number of cached pages");
	pba_page_data(head)->block_nr_free -= 2;
	CHECK_EXPECT(test, "block_nr_free is not the number of cached pages");
}

/* Of two blocks each is looked at, whichever lies first in the list. */
static void check_notices_a_wrong_block_nr_free_of_any_block(struct kunit *test)
{
	struct page *first, *second;

	check_machine(test);
	first = get_pba()->early_region.head;
	second = pba_refill(false);
	BOX_EXPECT_CLEAN(test);
	pba_page_data(first)->block_nr_free++;
	CHECK_EXPECT(test, "block_nr_free is not the number of cached pages");
	pba_page_data(first)->block_nr_free--;
	pba_page_data(second)->block_nr_free--;
	CHECK_EXPECT(test, "block_nr_free is not the number of cached pages");
}

/* "For every marked block": also for one of which nothing is cached. */
static void
check_notices_a_wrong_block_nr_free_of_a_full_block(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);
	unsigned long nr_taken = get_pba()->nr_cached - 4, i;
	struct page *head;

	/* fill a second block completely: its pages lie on top */
	KUNIT_EXPECT_EQ(test,
			box_granule.set_slots(
				(u32)(8 + nr_taken + BLOCK_NR_PAGES)),
			0);
	for (i = 0; i < nr_taken + BLOCK_NR_PAGES; i++)
		KUNIT_EXPECT_EQ(test, box_op(KPB_OP_ALLOC, (u32)(8 + i), 0, 0),
				0);
	head = m->slots[8 + nr_taken].page;
	KUNIT_ASSERT_TRUE(test, pba_page_data(head)->in_block);
	KUNIT_EXPECT_EQ(test, pba_page_data(head)->block_nr_free, 0);
	BOX_EXPECT_CLEAN(test);
	pba_page_data(head)->block_nr_free = 5;
	CHECK_EXPECT(test, "block_nr_free is not the number of cached pages");
}

/* Nor is any place too high: with 4K pages the last block lies apart. */
static void check_notices_a_wrong_block_nr_free_at_the_end(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct page *head, *last;
	struct kpb_machine *m;

	if (PAGE_SHIFT == 16)
		return;
	config.no_pcp = 1;
	m = box_boot(test, &config);
	last = get_pba()->early_region.head;
	/* refill with all that there is; the highest block is the last one */
	m->shrinker.registered = false;
	box_no_watermarks();
	while ((head = pba_refill(false)))
		if (pba_page_data(head)->in_block && head > last)
			last = head;
	KUNIT_EXPECT_EQ(test, page_to_pfn(last),
			(kpb_state()->ppa.chunk.start >> PAGE_SHIFT) -
				BLOCK_NR_PAGES);
	BOX_EXPECT_CLEAN(test);
	pba_page_data(last)->block_nr_free--;
	CHECK_EXPECT(test, "block_nr_free is not the number of cached pages");
}

/* pkeys */

static void check_notices_a_free_page_with_the_pkey(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);
	struct page *page = check_free_page(test, MAX_PAGE_ORDER - 1);

	KUNIT_EXPECT_EQ(test,
			set_memory_pkey((unsigned long)page_address(page), 1,
					KPKEYS_PKEY_PGTABLES),
			0);
	CHECK_EXPECT(test, "1 free pages carry the page table pkey");
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

/* A page on a per-CPU list is as free as one in the buddy. */
static void check_notices_a_cpus_page_with_the_pkey(struct kunit *test)
{
	struct page *page;

	check_machine_with_pcp(test, true);
	page = check_cpus_page(test);
	KUNIT_EXPECT_EQ(test,
			set_memory_pkey((unsigned long)page_address(page), 1,
					KPKEYS_PKEY_PGTABLES),
			0);
	CHECK_EXPECT(test, "1 free pages carry the page table pkey");
}

static void check_notices_a_pin_with_the_pkey(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);

	KUNIT_EXPECT_EQ(test,
			set_memory_pkey((unsigned long)page_address(
						m->slots[2].page),
					8, KPKEYS_PKEY_PGTABLES),
			0);
	CHECK_EXPECT(test, "8 frames carry the page table pkey and are no PTP");
}

static void check_notices_a_ptp_without_the_pkey(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);

	KUNIT_EXPECT_EQ(test,
			set_memory_pkey((unsigned long)page_address(
						m->slots[0].page),
					1, KPKEYS_PKEY_DEFAULT),
			0);
	CHECK_EXPECT(test, "0 unprotected PTPs counted, 1 found");
	/* after the next operation it is counted, and still wrong */
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_PIN, 5, 0, 0), 0);
	kpb_note_unprotected(m);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 1);
	CHECK_EXPECT(test, "1 PTPs do not carry the page table pkey");
}

static u64 *check_desc(struct page *page)
{
	unsigned long addr = (unsigned long)page_address(page);
	pud_t *pudp = kpb_pud_of(addr);
	pmd_t *pmdp;

	if (pud_leaf(*pudp))
		return &pudp->pud;
	pmdp = pmd_offset(pudp, addr);
	return pmd_leaf(*pmdp) ? &pmdp->pmd :
				 &pte_offset_kernel(pmdp, addr)->pte;
}

static void check_notices_a_pkey_that_was_not_counted(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);
	u64 *desc = check_desc(m->slots[0].page);

	*desc &= ~PTE_PO_IDX_MASK;
	CHECK_EXPECT(test, "frames with the pkey counted");
}

/* The linear map */

static void check_notices_a_hole_in_the_map(struct kunit *test)
{
	u64 *desc;

	check_machine(test);
	desc = check_desc(check_free_page(test, MAX_PAGE_ORDER - 1));
	*desc &= ~PTE_VALID;
	CHECK_EXPECT(test, "the leaves map");
}

static void check_notices_a_wrong_address(struct kunit *test)
{
	u64 *desc;

	check_machine(test);
	desc = check_desc(check_free_page(test, MAX_PAGE_ORDER - 1));
	*desc += PMD_SIZE;
	CHECK_EXPECT(test, "linear address of");
}

static void check_notices_a_hint_that_was_not_counted(struct kunit *test)
{
	u64 *desc;

	check_machine(test);
	desc = check_desc(check_free_page(test, MAX_PAGE_ORDER - 1));
	*desc ^= PTE_CONT;
	CHECK_EXPECT(test, "leaf size");
}

static void check_notices_a_wrong_number_of_leaves(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);
	int leaf;

	for (leaf = 0; leaf < KPB_NR_LEAVES; leaf++) {
		char text[32];

		snprintf(text, sizeof(text), "leaf size %d:", leaf);
		m->nr_leaves[leaf]++;
		CHECK_EXPECT(test, text);
		m->nr_leaves[leaf]--;
	}
	BOX_EXPECT_CLEAN(test);
}

/* What goes wrong by itself: D1 loses pages, and the balance shows it. */
static void check_notices_pages_that_a_failed_shrink_lost(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);

	m->late_init_done = false; /* splits are refused with -EBUSY */
	KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SHRINK, 10, 0, 0), 0);
	m->late_init_done = true;
	CHECK_EXPECT(test, "9 pages are lost");
}

/* Tasks */

/* What a task has in its hands belongs to nobody. */
static void check_waits_for_tasks(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);
	const struct kpb_step step = {
		.op = { .kind = KPB_OP_ALLOC, .slot = 5 },
		.task = 2,
		.stop_at = KPB_POINT_SET_PKEY,
	};
	struct kpb_step_result result;
	struct kpb_audit audit;

	/* the next request must refill */
	while (get_pba()->nr_cached > 4)
		pba_take_cached_page(__GFP_PGTABLE_SPLIT);
	KUNIT_EXPECT_EQ(test, box_granule.audit(&audit), 0);
	KUNIT_EXPECT_GT(test, audit.lost_pages, 0);
	KUNIT_EXPECT_EQ(test, box_granule.step(&step, &result), 0);
	KUNIT_ASSERT_EQ(test, result.state, KPB_TASK_STOPPED);
	CHECK_EXPECT(test, "task 2 is under way");
	KUNIT_EXPECT_EQ(test, box_granule.audit(&audit), 0);
	KUNIT_EXPECT_EQ(test, audit.lost_pages, 0);
	/* the buddy can be judged all the same */
	m->zone.nr_free_pages++;
	CHECK_EXPECT(test, "free pages counted");
	m->zone.nr_free_pages--;
	KUNIT_EXPECT_EQ(test, box_granule.resume(2, 0, 0, &result), 0);
	KUNIT_EXPECT_EQ(test, result.state, KPB_TASK_IDLE);
	CHECK_EXPECT(test, "pages are lost");
}

/* Allocators that cannot be asked */

struct check_pfns {
	unsigned long pfn[64];
	unsigned int nr;
};

static int check_collect(struct page *page, void *data)
{
	struct check_pfns *pfns = data;

	if (pfns->nr < ARRAY_SIZE(pfns->pfn))
		pfns->pfn[pfns->nr] = page_to_pfn(page);
	pfns->nr++;
	return 0;
}

static int check_stop(struct page *page, void *data)
{
	(void)page;
	return ++*(int *)data == 3 ? 7 : 0;
}

/* Its cache is what it holds, less what is in use; in rising order. */
static void check_sees_the_cache_from_outside(struct kunit *test)
{
	struct kpb_machine *m = check_machine(test);
	const struct kpb_allocator_ops *hooks = m->ops;
	struct kpb_allocator_ops ops = *m->ops;
	unsigned long nr_cached, i;
	struct check_pfns pfns;
	struct kpb_audit audit;
	uint64_t first[4];
	int calls = 0;

	/* tables of the map are not in the cache either */
	KUNIT_EXPECT_EQ(test, set_memory_ro(box_addr(PAGE_SIZE), 1), 0);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(8 + PTRS_PER_PTE), 0);
	for (i = 8; get_pba()->nr_cached > 20; i++)
		KUNIT_ASSERT_EQ(test, box_op(KPB_OP_ALLOC, (u32)i, 0, 0), 0);
	nr_cached = get_pba()->nr_cached;
	ops.nr_cached = NULL;
	ops.for_each_cached = NULL;
	ops.check = NULL;
	ops.in_block = NULL;
	m->ops = &ops;
	BOX_EXPECT_CLEAN(test);
	pfns.nr = 0;
	KUNIT_EXPECT_EQ(test, kpb_for_each_cached(check_collect, &pfns), 0);
	KUNIT_EXPECT_EQ(test, pfns.nr, nr_cached);
	for (i = 1; i < min(nr_cached, ARRAY_SIZE(pfns.pfn)); i++)
		KUNIT_EXPECT_GT(test, pfns.pfn[i], pfns.pfn[i - 1]);
	KUNIT_EXPECT_EQ(test, box_granule.cached_pfns(first, 4),
			(int64_t)nr_cached);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, first[i], pfns.pfn[i]);
	KUNIT_EXPECT_EQ(test, kpb_for_each_cached(check_stop, &calls), 7);
	KUNIT_EXPECT_EQ(test, calls, 3);

	KUNIT_EXPECT_EQ(test, box_granule.audit(&audit), 0);
	KUNIT_EXPECT_EQ(test, audit.knows_blocks, 0);
	KUNIT_EXPECT_EQ(test, audit.lost_pages, 0);
	KUNIT_EXPECT_EQ(test, audit.marked_blocks, 0);
	KUNIT_EXPECT_EQ(test, audit.unprotected_pages, 0);
	m->ops = hooks;
	BOX_EXPECT_CLEAN(test);
}

/* The audit */

/* One fresh block beside the first one, of which three tables were taken. */
static void check_audit_counts_blocks(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_audit audit;
	struct page *block;

	box_refill_orders(&config, BLOCK_ORDER, BOX_CONT_PTE_ORDER, 2);
	box_boot(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.audit(&audit), 0);
	KUNIT_EXPECT_EQ(test, audit.knows_blocks, 1);
	KUNIT_EXPECT_EQ(test, audit.marked_blocks, 1);
	KUNIT_EXPECT_EQ(test, audit.mapped_blocks, 1);
	KUNIT_EXPECT_EQ(test, audit.idle_blocks, 0);
	block = pba_refill(false);
	KUNIT_EXPECT_EQ(test, box_granule.audit(&audit), 0);
	KUNIT_EXPECT_EQ(test, audit.marked_blocks, 2);
	KUNIT_EXPECT_EQ(test, audit.mapped_blocks, 2);
	KUNIT_EXPECT_EQ(test, audit.idle_blocks, 1);
	/* D8: split by somebody, and still taken for a block */
	KUNIT_EXPECT_EQ(test,
			set_memory_ro((unsigned long)page_address(block + 1),
				      1),
			0);
	KUNIT_EXPECT_EQ(test, box_granule.audit(&audit), 0);
	KUNIT_EXPECT_EQ(test, audit.marked_blocks, 2);
	KUNIT_EXPECT_EQ(test, audit.mapped_blocks, 1);
	/* the table came from that very block */
	KUNIT_EXPECT_EQ(test, audit.idle_blocks, 0);
	KUNIT_EXPECT_EQ(test, audit.lost_pages, 0);
	KUNIT_EXPECT_EQ(test, audit.free_pkey_pages, 0);
	KUNIT_EXPECT_EQ(test, audit.unprotected_pages, 0);
	BOX_EXPECT_CLEAN(test);
}

/* Before late initialisation all that is held, and the early tables. */
static void check_audit_counts_unprotected_pages(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_audit audit;
	struct kpb_machine *m;

	config.nr_static_pgtables = 3;
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.audit(&audit), 0);
	KUNIT_EXPECT_EQ(test, audit.unprotected_pages, m->nr_early_ptps + 3);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, box_granule.audit(&audit), 0);
	KUNIT_EXPECT_EQ(test, audit.unprotected_pages,
			m->nr_early_ptps + 3 + (1 << BOX_LARGEST_ORDER));
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, audit.unprotected_pages);
	BOX_EXPECT_CLEAN(test);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, box_granule.audit(&audit), 0);
	KUNIT_EXPECT_EQ(test, audit.unprotected_pages, 0);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(box_start_pfn(), 3, 1), 3);
	BOX_EXPECT_CLEAN(test);
}

/* Sound machines */

struct check_sound {
	const char *name;
	enum box_allocator allocator;
	u32 aged_ppm;
	u64 phys_base;
};

static const struct check_sound check_sounds[] = {
	{ "pba", BOX_PBA, 0, BOX_PHYS_BASE },
	{ "pba, aged", BOX_PBA, 700000, BOX_PHYS_BASE },
	{ "pba, from frame zero", BOX_PBA, 0, 0 },
	{ "pba, at 64 TB", BOX_PBA, 0, 1ULL << 46 },
	{ "noblock", BOX_NOBLOCK, 0, BOX_PHYS_BASE },
	{ "noblock, aged", BOX_NOBLOCK, 1000000, BOX_PHYS_BASE },
	{ "noblock, from frame zero", BOX_NOBLOCK, 0, 0 },
	{ "null", BOX_NULL, 0, BOX_PHYS_BASE },
	{ "null, aged", BOX_NULL, 500000, BOX_PHYS_BASE },
};

KUNIT_ARRAY_PARAM(check_sounds, check_sounds)

static void check_passes_sound_machines(struct kunit *test)
{
	const struct check_sound *param = test->param_value;
	struct kpb_config config =
		box_config(param->allocator, BOX_SMALL_BYTES);
	struct kpb_rng rng = kpb_rng_seed(param->allocator);
	struct kpb_state before, after;
	struct kpb_machine *m;
	u32 i;

	config.phys_base = param->phys_base;
	config.aged_ppm = param->aged_ppm;
	config.aged_pins = 4;
	m = box_create(test, &config);
	BOX_EXPECT_CLEAN(test);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	BOX_EXPECT_CLEAN(test);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	BOX_EXPECT_CLEAN(test);
	KUNIT_EXPECT_EQ(test, box_granule.set_slots(600), 0);
	for (i = 0; i < 2000; i++) {
		u32 slot = (u32)kpb_rng_below(&rng, 600);
		u8 kind = m->slots[slot].kind;
		bool pin = slot % 8 == 0;

		if (kind == KPB_SLOT_EMPTY)
			box_op(pin ? KPB_OP_PIN : KPB_OP_ALLOC, slot,
			       pin ? slot % 3 : 0, pin ? (u8)(slot % 10) : 0);
		else
			box_op(pin ? KPB_OP_UNPIN : KPB_OP_FREE, slot, 0, 0);
		if (i % 500 == 499)
			box_op(KPB_OP_SHRINK, 1 + i % 100, 0, 0);
		if (i % 100 == 0)
			BOX_EXPECT_CLEAN(test);
	}
	/* looking changes nothing */
	box_granule.state(&before);
	BOX_EXPECT_CLEAN(test);
	box_granule.state(&after);
	KUNIT_EXPECT_TRUE(test, !memcmp(&before, &after, sizeof(before)));
}

static const struct kunit_case check_test_cases[] = {
	KUNIT_CASE(check_notices_a_wrong_order),
	KUNIT_CASE(check_notices_an_unaligned_block),
	KUNIT_CASE(check_notices_the_wrong_type),
	KUNIT_CASE(check_notices_buddies_that_did_not_merge),
	KUNIT_CASE(check_notices_a_wrong_list_length),
	KUNIT_CASE(check_notices_a_wrong_sum_of_free_pages),
	KUNIT_CASE(check_notices_a_lost_page),
	KUNIT_CASE(check_notices_a_lost_page_at_the_end),
	KUNIT_CASE(check_notices_two_owners),
	KUNIT_CASE(check_notices_a_wrong_count_of_a_cpu),
	KUNIT_CASE(check_notices_a_cpus_page_that_looks_in_use),
	KUNIT_CASE(check_notices_two_owners_of_a_cpus_page),
	KUNIT_CASE(check_notices_owners_of_what_is_not_free),
	KUNIT_CASE(check_notices_a_hole_that_is_mapped),
	KUNIT_CASE(check_notices_an_unprotected_static_table),
	KUNIT_CASE(check_notices_lost_memory_between_ranges),
	KUNIT_CASE(check_notices_two_owners_of_an_aged_page),
	KUNIT_CASE(check_notices_a_frame_beyond_ram),
	KUNIT_CASE(check_notices_a_wrong_balance_of_the_cache),
	KUNIT_CASE(check_notices_a_wrong_number_in_flight),
	KUNIT_CASE(check_notices_a_wrong_number_of_tables),
	KUNIT_CASE(check_notices_a_wrong_nr_cached),
	KUNIT_CASE(check_notices_a_page_that_left_the_cache),
	KUNIT_CASE(check_notices_a_wrong_block_nr_free),
	KUNIT_CASE(check_notices_a_wrong_block_nr_free_of_any_block),
	KUNIT_CASE(check_notices_a_wrong_block_nr_free_of_a_full_block),
	KUNIT_CASE(check_notices_a_wrong_block_nr_free_at_the_end),
	KUNIT_CASE(check_notices_a_free_page_with_the_pkey),
	KUNIT_CASE(check_notices_a_cpus_page_with_the_pkey),
	KUNIT_CASE(check_notices_a_pin_with_the_pkey),
	KUNIT_CASE(check_notices_a_ptp_without_the_pkey),
	KUNIT_CASE(check_notices_a_pkey_that_was_not_counted),
	KUNIT_CASE(check_notices_a_hole_in_the_map),
	KUNIT_CASE(check_notices_a_wrong_address),
	KUNIT_CASE(check_notices_a_hint_that_was_not_counted),
	KUNIT_CASE(check_notices_a_wrong_number_of_leaves),
	KUNIT_CASE(check_notices_pages_that_a_failed_shrink_lost),
	KUNIT_CASE(check_waits_for_tasks),
	KUNIT_CASE(check_sees_the_cache_from_outside),
	KUNIT_CASE(check_audit_counts_blocks),
	KUNIT_CASE(check_audit_counts_unprotected_pages),
	KUNIT_CASE_PARAM(check_passes_sound_machines, check_sounds_gen_params),
	{ 0 }
};

static struct kunit_suite check_test_suite = {
	.name = BOX_SUITE("check"),
	.test_cases = check_test_cases,
};
kunit_test_suite(check_test_suite);

#undef CHECK_EXPECT
