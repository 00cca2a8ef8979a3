// SPDX-License-Identifier: GPL-2.0-only
/*
 * Changes of the linear map (csrc/arch/arm64/pageattr.c): which bits of which
 * descriptors, how the TLB is flushed, and what is counted under which cause.
 */

#include "box.h"

#define TOP BOX_TOP_LEAF_SIZE

/* The arm64 descriptor has the pkey in bits 60 to 62: three bits, 8 keys. */
#define PKEY_BITS (7ULL << 60)

/* A whole leaf of each size, which stays whole. */
struct pageattr_leaf {
	const char *name;
	u64 start;
	u64 size;
	u64 leaf_size;
};

static const struct pageattr_leaf pageattr_leaves[] = {
	{ "largest leaf", TOP, TOP, BOX_PICK(TOP, PMD_SIZE, PMD_SIZE) },
	{ "contPMD", TOP + CONT_PMD_SIZE % TOP, CONT_PMD_SIZE, PMD_SIZE },
	{ "PMD", TOP + PMD_SIZE, PMD_SIZE, PMD_SIZE },
	{ "contPTE", TOP + CONT_PTE_SIZE, CONT_PTE_SIZE, PAGE_SIZE },
	{ "PTE", TOP + PAGE_SIZE, PAGE_SIZE, PAGE_SIZE },
};

KUNIT_ARRAY_PARAM(pageattr_leaves, pageattr_leaves)

static void pageattr_pkey_is_in_bits_60_to_62(struct kunit *test)
{
	const struct pageattr_leaf *param = test->param_value;
	unsigned long nr = param->size >> PAGE_SHIFT, pfn, first;
	struct kpb_map_counters before, c;
	struct kpb_machine *m;
	int pkey;
	u64 old;

	m = box_boot_pba(test, BOX_LARGE_BYTES);
	first = box_pfn(param->start);
	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(box_addr(param->start),
						  box_addr(param->start +
							   param->size)),
			0);
	old = kpb_leaf_desc(first);
	KUNIT_EXPECT_EQ(test, old & PKEY_BITS, 0);
	for (pkey = 7; pkey >= 0; pkey--) {
		before = box_map_counters();
		KUNIT_EXPECT_EQ(test,
				set_memory_pkey(box_addr(param->start), (int)nr,
						pkey),
				0);
		KUNIT_EXPECT_EQ(test, kpb_leaf_desc(first),
				old | (u64)pkey << 60);
		for (pfn = first; pfn < first + nr; pfn++)
			if (box_pkey(pfn) != pkey)
				KUNIT_FAIL(test, "frame %#lx: pkey %d", pfn,
					   box_pkey(pfn));
		/* the neighbours keep theirs */
		KUNIT_EXPECT_EQ(test, box_pkey(first - 1), 0);
		KUNIT_EXPECT_EQ(test, box_pkey(first + nr), 0);
		/* no split; one write for each descriptor */
		c = box_map_since(&before);
		KUNIT_EXPECT_EQ(test, c.split_ptps, 0);
		KUNIT_EXPECT_EQ(test, c.descriptor_writes,
				param->size / param->leaf_size);
	}
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	BOX_EXPECT_CLEAN(test);
}

/* Frames with the page table pkey are counted, those with another are not. */
static void pageattr_counts_frames_with_the_pkey(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	unsigned long before = m->nr_pkey_pages;
	const int nr = TOP >> PAGE_SHIFT;

	set_memory_pkey(box_addr(TOP), nr, 1);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, before + nr);
	set_memory_pkey(box_addr(TOP), nr, 1);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, before + nr);
	/* one page of the leaf, then a PMD of it */
	set_memory_pkey(box_addr(TOP + PAGE_SIZE), 1, 0);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, before + nr - 1);
	set_memory_pkey(box_addr(TOP + PMD_SIZE), PTRS_PER_PTE, 2);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, before + nr - 1 - PTRS_PER_PTE);
	set_memory_pkey(box_addr(TOP), nr, 0);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, before);
	BOX_EXPECT_CLEAN(test);
}

/*
 * From PTRS_PER_PTE pages on (512, 2048, 8192) it is one flush of everything.
 * A 4K order-9 and a 16K order-11 change are exactly there; orders 4 and 2 are
 * 16 and 4 single invalidations; 64K order 9 is 512 of them.
 */
struct pageattr_tlb {
	const char *name;
	unsigned long nr_pages;
	u64 single;
	u64 full;
};

#define PTRS BOX_PICK(512, 2048, 8192)

static const struct pageattr_tlb pageattr_tlbs[] = {
	{ "one page", 1, 1, 0 },
	{ "order 2", 4, 4, 0 },
	{ "order 4", 16, 16, 0 },
	{ "the largest refill order", BOX_PICK(512, 2048, 512),
	  BOX_PICK(0, 0, 512), BOX_PICK(1, 1, 0) },
	{ "one page less than a table", PTRS - 1, PTRS - 1, 0 },
	{ "a table", PTRS, 0, 1 },
	{ "one page more than a table", PTRS + 1, 0, 1 },
	{ "two tables", 2 * PTRS, 0, 1 },
};

KUNIT_ARRAY_PARAM(pageattr_tlbs, pageattr_tlbs)

static void pageattr_flushes_the_tlb(struct kunit *test)
{
	const struct pageattr_tlb *param = test->param_value;
	enum box_allocator allocator;

	for (allocator = BOX_PBA; allocator <= BOX_NOBLOCK; allocator++) {
		struct kpb_config config =
			box_config(allocator, 4 * PMD_SIZE + BOX_SMALL_BYTES);
		struct kpb_map_counters before, c;

		box_boot(test, &config);
		before = box_map_counters();
		KUNIT_EXPECT_EQ(test,
				set_memory_pkey(box_addr(PMD_SIZE),
						(int)param->nr_pages, 1),
				0);
		c = box_map_since(&before);
		KUNIT_EXPECT_EQ(test, c.tlbi_single, param->single);
		KUNIT_EXPECT_EQ(test, c.tlbi_full, param->full);
		KUNIT_EXPECT_EQ(test, c.set_pkey_calls, 1);
		KUNIT_EXPECT_EQ(test, c.set_pkey_pages, param->nr_pages);
		/* permissions follow the same rule, and are no pkey changes */
		before = box_map_counters();
		KUNIT_EXPECT_EQ(test,
				set_memory_ro(box_addr(PMD_SIZE),
					      (int)param->nr_pages),
				0);
		c = box_map_since(&before);
		KUNIT_EXPECT_EQ(test, c.tlbi_single, param->single);
		KUNIT_EXPECT_EQ(test, c.tlbi_full, param->full);
		KUNIT_EXPECT_EQ(test, c.set_pkey_calls, 0);
		KUNIT_EXPECT_EQ(test, c.set_pkey_pages, 0);
	}
}

static void pageattr_read_only_is_bit_7_without_bit_51(struct kunit *test)
{
	u64 old, new;

	box_boot_pba(test, BOX_LARGE_BYTES);
	set_memory_pkey(box_addr(TOP), 1, 6);
	old = kpb_leaf_desc(box_pfn(TOP));
	KUNIT_EXPECT_FALSE(test, old & BIT_ULL(7));
	KUNIT_EXPECT_TRUE(test, old & BIT_ULL(51));
	KUNIT_EXPECT_EQ(test, set_memory_ro(box_addr(TOP), 1), 0);
	new = kpb_leaf_desc(box_pfn(TOP));
	KUNIT_EXPECT_EQ(test, new, (old | BIT_ULL(7)) & ~BIT_ULL(51));
	/* the next page has not changed */
	KUNIT_EXPECT_EQ(test,
			kpb_leaf_desc(box_pfn(TOP) + 1) &
				(BIT_ULL(7) | BIT_ULL(51)),
			BIT_ULL(51));
}

/* What a change is counted under: the phase, then the direction. */
static void pageattr_counts_by_cause(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	const struct kpb_map_counters *c = m->map_counters;

	set_memory_pkey(box_addr(0), 1, KPKEYS_PKEY_PGTABLES);
	set_memory_pkey(box_addr(0), 1, KPKEYS_PKEY_DEFAULT);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_BOOT].set_pkey_calls, 2);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_BOOT].set_pkey_calls, 2);
	/* the tables of the PTE map, in one range: see mmu_kunit.c */
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_LATE_INIT].set_pkey_calls, 1);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_LATE_INIT].set_pkey_pages,
			m->nr_early_ptps);

	set_memory_pkey(box_addr(0), 3, KPKEYS_PKEY_PGTABLES);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_REFILL].set_pkey_calls, 1);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_REFILL].set_pkey_pages, 3);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_REFILL].descriptor_writes, 3);
	set_memory_pkey(box_addr(0), 2, KPKEYS_PKEY_DEFAULT);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_RELEASE].set_pkey_calls, 1);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_RELEASE].set_pkey_pages, 2);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_RELEASE].tlbi_single, 2);
	set_memory_ro(box_addr(0), 1);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_OTHER].set_pkey_calls, 0);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_OTHER].descriptor_writes, 1);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_BOOT].set_pkey_calls, 2);
}

/* The splits of a change are counted under the cause of the change. */
static void pageattr_counts_splits_by_cause(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	const struct kpb_map_counters *c = m->map_counters;
	struct kpb_map_counters late = c[KPB_CAUSE_LATE_INIT];

	set_memory_ro(box_addr(TOP + PAGE_SIZE), 1);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_OTHER].split_pmd, 1);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_OTHER].split_contpte, 1);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_OTHER].split_ptps, BOX_PICK(2, 1, 1));
	set_memory_pkey(box_addr(TOP + PMD_SIZE + PAGE_SIZE), 1,
			KPKEYS_PKEY_PGTABLES);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_REFILL].split_pmd, 1);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_REFILL].split_contpte, 1);
	set_memory_pkey(box_addr(TOP + 2 * PMD_SIZE + PAGE_SIZE), 1,
			KPKEYS_PKEY_DEFAULT);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_RELEASE].split_pmd, 1);
	KUNIT_EXPECT_EQ(test, c[KPB_CAUSE_RELEASE].split_contpte, 1);
	KUNIT_EXPECT_EQ(test, m->cause, KPB_CAUSE_OTHER);
	KUNIT_EXPECT_TRUE(test, !memcmp(&late, &c[KPB_CAUSE_LATE_INIT],
					sizeof(late)));
}

/* An error of the split is the result, and nothing has changed. */
static void pageattr_stops_when_the_split_fails(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_map_counters before, c;
	int ret;

	box_create(test, &config);
	before = box_map_counters();
	BOX_EXPECT_WARNINGS(test, 2,
			    ret = set_memory_pkey(box_addr(TOP), 1, 1));
	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.descriptor_writes, 0);
	KUNIT_EXPECT_EQ(test, c.tlbi_single, 0);
	KUNIT_EXPECT_EQ(test, c.tlbi_full, 0);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(TOP)), 0);
	KUNIT_EXPECT_EQ(test, kpb_this->cause, KPB_CAUSE_BOOT);
}

/* A leaf that is only partly in the range is an error. */
static void pageattr_refuses_a_part_of_a_leaf(struct kunit *test)
{
	const struct page_change_data data = { .set_mask = PTE_RDONLY };
	unsigned long start, size;
	int ret;

	box_boot_pba(test, BOX_LARGE_BYTES);
	start = box_addr(TOP);
	size = kpb_leaf_desc(box_pfn(TOP)) & PTE_CONT ? PMD_SIZE : TOP;
	/* its first page, its last one, all but one */
	BOX_EXPECT_WARNINGS(test, 1,
			    ret = walk_kernel_page_table_range(start,
							       start + PAGE_SIZE,
							       &data));
	KUNIT_EXPECT_EQ(test, ret, -EINVAL);
	BOX_EXPECT_WARNINGS(test, 1,
			    ret = walk_kernel_page_table_range(start + size -
								       PAGE_SIZE,
							       start + size,
							       &data));
	KUNIT_EXPECT_EQ(test, ret, -EINVAL);
	BOX_EXPECT_WARNINGS(test, 1,
			    ret = walk_kernel_page_table_range(start,
							       start + size -
								       PAGE_SIZE,
							       &data));
	KUNIT_EXPECT_EQ(test, ret, -EINVAL);
	KUNIT_EXPECT_FALSE(test, kpb_leaf_desc(box_pfn(TOP)) & PTE_RDONLY);
	BOX_EXPECT_WARNINGS(test, 0,
			    ret = walk_kernel_page_table_range(start,
							       start + size,
							       &data));
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_TRUE(test, kpb_leaf_desc(box_pfn(TOP)) & PTE_RDONLY);
}

/* An entry that maps nothing ends the walk; what came before is changed. */
static void pageattr_stops_at_a_hole(struct kunit *test)
{
	unsigned long hole;
	pmd_t *pmdp;
	int ret;

	box_boot_pba(test, BOX_LARGE_BYTES);
	/* so that there is a table of PMDs */
	set_memory_ro(box_addr(TOP + PAGE_SIZE), 1);
	hole = box_addr(TOP + 3 * PMD_SIZE);
	pmdp = pmd_offset(pud_offset(pgd_offset_k(hole), hole), hole);
	WRITE_ONCE(pmdp->pmd, 0);
	BOX_EXPECT_WARNINGS(test, 0,
			    ret = set_memory_pkey(box_addr(TOP + 2 * PMD_SIZE),
						  2 * PTRS_PER_PTE, 1));
	KUNIT_EXPECT_EQ(test, ret, -EINVAL);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(TOP + 2 * PMD_SIZE)), 1);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(TOP + 4 * PMD_SIZE)), 0);
}

/* So does one where no table is at all. */
static void pageattr_refuses_what_is_not_ram(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	unsigned long nr_pkey_pages = m->nr_pkey_pages;

	/* no PMD table (16K, 64K: no PGD entry), and no PGD entry */
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(600ULL << 30), 1, 1),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(5ULL << 40), 1, 1),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, nr_pkey_pages);
	BOX_EXPECT_CLEAN(test);
}

/* A long range: PTEs, PMDs, groups and whole leaves in one walk. */
static void pageattr_walks_leaves_of_all_sizes(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	unsigned long first = box_pfn(PMD_SIZE + 3 * PAGE_SIZE);
	unsigned long end = box_pfn(2 * TOP + PMD_SIZE + 7 * PAGE_SIZE);

	KUNIT_EXPECT_EQ(test,
			set_memory_pkey(box_addr(PMD_SIZE + 3 * PAGE_SIZE),
					(int)(end - first), 4),
			0);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(first, end - first, 4), end - first);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(first - 16, 16, 4), 0);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(end, 16, 4), 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

static const struct kunit_case pageattr_test_cases[] = {
	KUNIT_CASE_PARAM(pageattr_pkey_is_in_bits_60_to_62,
			 pageattr_leaves_gen_params),
	KUNIT_CASE(pageattr_counts_frames_with_the_pkey),
	KUNIT_CASE_PARAM(pageattr_flushes_the_tlb, pageattr_tlbs_gen_params),
	KUNIT_CASE(pageattr_read_only_is_bit_7_without_bit_51),
	KUNIT_CASE(pageattr_counts_by_cause),
	KUNIT_CASE(pageattr_counts_splits_by_cause),
	KUNIT_CASE(pageattr_stops_when_the_split_fails),
	KUNIT_CASE(pageattr_refuses_a_part_of_a_leaf),
	KUNIT_CASE(pageattr_stops_at_a_hole),
	KUNIT_CASE(pageattr_refuses_what_is_not_ram),
	KUNIT_CASE(pageattr_walks_leaves_of_all_sizes),
	{ 0 }
};

static struct kunit_suite pageattr_test_suite = {
	.name = BOX_SUITE("pageattr"),
	.test_cases = pageattr_test_cases,
};
kunit_test_suite(pageattr_test_suite);

#undef TOP
#undef PKEY_BITS
#undef PTRS
