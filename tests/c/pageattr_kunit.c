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
	pmdp = pmd_offset(kpb_pud_of(hole), hole);
	WRITE_ONCE(pmdp->pmd, 0);
	BOX_EXPECT_WARNINGS(test, 0,
			    ret = set_memory_pkey(box_addr(TOP + 2 * PMD_SIZE),
						  2 * PTRS_PER_PTE, 1));
	KUNIT_EXPECT_EQ(test, ret, -EINVAL);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(TOP + 2 * PMD_SIZE)), 1);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(TOP + 4 * PMD_SIZE)), 0);
}

/* The same where a table of any level is missing; with 52 bits all are there. */
static void pageattr_stops_at_a_missing_table(struct kunit *test)
{
	static const unsigned long sizes[] = { PUD_SIZE, P4D_SIZE, PGDIR_SIZE };
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	size_t i;
	int ret;

	config.boot.va_bits = 52;
	box_boot(test, &config);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned long addr = kpb_this->linear_start + 4 * sizes[i];

		if (4 * sizes[i] <= BOX_LARGE_BYTES)
			continue;
		BOX_EXPECT_WARNINGS(test, 0,
				    ret = set_memory_pkey(addr + PAGE_SIZE, 1,
							  1));
		KUNIT_EXPECT_EQ(test, ret, -EINVAL);
		KUNIT_EXPECT_EQ(test, kpb_leaf_end(addr), addr + PAGE_SIZE);
	}
	BOX_EXPECT_CLEAN(test);
}

/* So does one where no table is at all. */
static void pageattr_refuses_what_is_not_ram(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	unsigned long nr_pkey_pages = m->nr_pkey_pages;

	/* no PMD table (16K: no PGD entry), and no PGD entry */
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(100ULL << 30), 1, 1),
			-EINVAL);
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

/*
 * The worst there is, as an operation: 60,003 pages of which the ends lie in
 * different largest leaves, both untouched: 4, 2, 2 tables. What lies between
 * is changed in leaves as large as they are.
 */
static void pageattr_changes_an_arbitrary_range(struct kunit *test)
{
	const unsigned long nr = 60003, below = 20001;
	struct kpb_machine *m = box_boot_pba(test, 2 * BOX_LARGE_BYTES);
	unsigned long first = box_pfn(2 * TOP) - below, pfn;
	struct kpb_map_counters before = box_map_counters(), c;

	KUNIT_EXPECT_EQ(test,
			box_op(KPB_OP_SET_MEMORY,
			       (u32)(first - box_start_pfn()), nr >> 8,
			       nr & 0xff),
			0);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.split_ptps, BOX_PICK(4, 2, 2));
	KUNIT_EXPECT_EQ(test, c.split_pud, BOX_PICK(2, 0, 0));
	KUNIT_EXPECT_EQ(test, c.split_contpmd, 2);
	KUNIT_EXPECT_EQ(test, c.split_pmd, 2);
	KUNIT_EXPECT_EQ(test, c.split_contpte, 2);
	KUNIT_EXPECT_EQ(test, c.tlbi_full, 1);
	KUNIT_EXPECT_EQ(test, c.set_pkey_calls, 0);
	KUNIT_EXPECT_EQ(test, m->counters.range_changes, 1);
	KUNIT_EXPECT_EQ(test, m->counters.failed_range_changes, 0);
	for (pfn = first - 64; pfn < first + nr + 64; pfn++) {
		bool inside = pfn >= first && pfn < first + nr;

		if (!!(kpb_leaf_desc(pfn) & PTE_RDONLY) != inside)
			KUNIT_FAIL(test, "frame %#lx: wrong permission", pfn);
	}
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	BOX_EXPECT_CLEAN(test);
}

/* Nothing is mapped in a hole, be it a page or more. */
static void pageattr_stops_at_a_hole_in_memory(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_LARGE_BYTES);
	const u64 hole = TOP + 5 * PAGE_SIZE;
	struct kpb_machine *m;

	config.nr_holes = 2;
	config.holes[0].base = config.phys_base + hole;
	config.holes[0].size = PAGE_SIZE;
	config.holes[1].base = config.phys_base + 2 * TOP;
	config.holes[1].size = PMD_SIZE;
	m = box_boot(test, &config);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(hole), 1, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, set_memory_ro(box_addr(hole - 2 * PAGE_SIZE), 4),
			-EINVAL);
	KUNIT_EXPECT_TRUE(test, kpb_leaf_desc(box_pfn(hole) - 1) & PTE_RDONLY);
	KUNIT_EXPECT_FALSE(test, kpb_leaf_desc(box_pfn(hole) + 1) & PTE_RDONLY);
	KUNIT_EXPECT_EQ(test, kpb_leaf_desc(box_pfn(hole)), 0);
	KUNIT_EXPECT_EQ(test, set_memory_ro(box_addr(2 * TOP), 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	BOX_EXPECT_CLEAN(test);
}

/* Injected faults */

static void pageattr_fail(u32 mode, u64 n, u32 half, int pkey)
{
	const struct kpb_fault fault = {
		.mode = mode,
		.n = n,
		.half = half,
		.pkey = pkey,
	};

	box_granule.set_fault(KPB_POINT_SET_PKEY, &fault);
}

/* Before anything is done, but the attempt counts. */
static void pageattr_injected_error_comes_first(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	struct kpb_map_counters before = box_map_counters(), c;

	pageattr_fail(KPB_FAULT_NTH, 2, 0, -1);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(TOP), 1, 1), 0);
	before = box_map_counters();
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(TOP + PMD_SIZE), 4, 1),
			-ENOMEM);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.set_pkey_calls, 1);
	KUNIT_EXPECT_EQ(test, c.set_pkey_pages, 4);
	KUNIT_EXPECT_EQ(test, c.descriptor_writes, 0);
	KUNIT_EXPECT_EQ(test, c.split_ptps, 0);
	KUNIT_EXPECT_EQ(test, c.tlbi_single, 0);
	KUNIT_EXPECT_EQ(test, m->counters.faults_injected, 1);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	KUNIT_EXPECT_EQ(test, m->cause, KPB_CAUSE_OTHER);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(TOP + PMD_SIZE), 4, 1),
			0);
	/* permissions are not this point's */
	pageattr_fail(KPB_FAULT_EVERY, 1, 0, -1);
	KUNIT_EXPECT_EQ(test, set_memory_ro(box_addr(TOP), 1), 0);
}

static void pageattr_injected_error_is_for_one_pkey(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);

	box_boot(test, &config);
	pageattr_fail(KPB_FAULT_EVERY, 2, 0, KPKEYS_PKEY_DEFAULT);
	/* only these are numbered */
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(0), 1, 1), 0);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(0), 1, 0), 0);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(0), 1, 1), 0);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(0), 1, 0), -ENOMEM);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(0), 1, 2), 0);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(0), 1, 0), 0);
	pageattr_fail(KPB_FAULT_OFF, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(0), 1, 0), 0);
	KUNIT_EXPECT_EQ(test, kpb_this->counters.faults_injected, 1);
}

/* Half of a range in a fresh largest leaf: how many pages have the pkey? */
struct pageattr_half {
	const char *name;
	u64 size;
	unsigned long changed;
};

static const struct pageattr_half pageattr_halves[] = {
	{ "one page", PAGE_SIZE, 1 },
	{ "two pages", 2 * PAGE_SIZE, 1 },
	/* the second of three begins before the middle */
	{ "three pages", 3 * PAGE_SIZE, 2 },
	{ "four pages", 4 * PAGE_SIZE, 2 },
	/* a group of PTEs is as many leaf entries */
	{ "a contPTE group", CONT_PTE_SIZE, CONT_PTES / 2 },
	{ "one PMD", PMD_SIZE, PTRS_PER_PTE },
	{ "two PMDs", 2 * PMD_SIZE, PTRS_PER_PTE },
	{ "three PMDs", 3 * PMD_SIZE, 2 * PTRS_PER_PTE },
	/* one PUD, or 32 PMDs */
	{ "the largest leaf", TOP,
	  BOX_PICK(1 << 18, 16 * PTRS_PER_PTE, 16 * PTRS_PER_PTE) },
};

KUNIT_ARRAY_PARAM(pageattr_halves, pageattr_halves)

static void pageattr_injected_error_half_way(struct kunit *test)
{
	const struct pageattr_half *param = test->param_value;
	unsigned long nr = param->size >> PAGE_SHIFT, first;
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	struct kpb_map_counters before = box_map_counters(), c;
	unsigned long start = box_addr(TOP);
	u64 nr_pkey_pages = m->nr_pkey_pages;

	first = box_pfn(TOP);
	pageattr_fail(KPB_FAULT_NTH, 1, 1, 1);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(start, (int)nr, 1), -ENOMEM);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(first, nr, 1), param->changed);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(first, param->changed, 1),
			param->changed);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, nr_pkey_pages + param->changed);
	/* no flush; and both ends are split, which is not done again */
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.tlbi_single, 0);
	KUNIT_EXPECT_EQ(test, c.tlbi_full, 0);
	KUNIT_EXPECT_EQ(test, c.set_pkey_calls, 1);
	before = box_map_counters();
	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(start, start + param->size),
			0);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.descriptor_writes, 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

/* If not even the split is possible, that is the error, and it warns. */
static void pageattr_injected_error_half_way_without_split(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	int ret;

	box_create(test, &config);
	pageattr_fail(KPB_FAULT_NTH, 1, 1, -1);
	BOX_EXPECT_WARNINGS(test, 2,
			    ret = set_memory_pkey(box_addr(TOP), 4, 1));
	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(box_pfn(TOP), 4, 0), 4);
}

/* Nor does it matter if nothing is mapped there. */
static void pageattr_injected_error_half_way_of_nothing(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	unsigned long nr_pkey_pages = m->nr_pkey_pages;

	pageattr_fail(KPB_FAULT_EVERY, 1, 1, -1);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(100ULL << 30), 4, 1),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(600ULL << 30), 4, 1),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(5ULL << 40), 4, 1),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, m->nr_pkey_pages, nr_pkey_pages);
}

/* What was fetched is in flight until its pkey is set. */
static void pageattr_success_lands_pages(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	struct page *page = alloc_pages(GFP_KERNEL, 2);
	unsigned long addr = (unsigned long)page_address(page);

	KUNIT_EXPECT_EQ(test, m->nr_in_flight, 4);
	pageattr_fail(KPB_FAULT_NTH, 1, 0, -1);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(addr, 4, 1), -ENOMEM);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(addr, 4, 0), 0);
	KUNIT_EXPECT_EQ(test, m->nr_in_flight, 4);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(addr, 3, 1), 0);
	KUNIT_EXPECT_EQ(test, m->nr_in_flight, 1);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(addr, 4, 1), 0);
	KUNIT_EXPECT_EQ(test, m->nr_in_flight, 0);
}

/* Events */

static void pageattr_expect_event(struct kunit *test,
				  const struct kpb_event *ev, u8 kind, u64 a,
				  u32 b, u32 c)
{
	KUNIT_EXPECT_EQ(test, ev->kind, kind);
	KUNIT_EXPECT_EQ(test, ev->a, a);
	KUNIT_EXPECT_EQ(test, ev->b, b);
	KUNIT_EXPECT_EQ(test, ev->c, c);
}

static void pageattr_events_tell_what_happened(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_LARGE_BYTES);
	unsigned long pfn;
	struct kpb_event ev[16];

	box_boot(test, &config);
	pfn = box_pfn(TOP);
	KUNIT_EXPECT_EQ(test, box_granule.record(16), 0);
	set_memory_pkey(box_addr(TOP), 3, 1);
	set_memory_ro(box_addr(TOP + PAGE_SIZE), PTRS_PER_PTE);
	pageattr_fail(KPB_FAULT_NTH, 1, 0, -1);
	set_memory_pkey(box_addr(TOP), 2, 0);
	set_memory_ro(VMALLOC_END, 1);
	KUNIT_ASSERT_EQ(test, box_granule.events(ev, 16), 9);
	pageattr_expect_event(test, &ev[0], KPB_EVENT_SET_PKEY, pfn, 3, 1);
	pageattr_expect_event(test, &ev[1], KPB_EVENT_TLBI, pfn, 3, 0);
	pageattr_expect_event(test, &ev[2], KPB_EVENT_SET_MEMORY, pfn + 1,
			      PTRS_PER_PTE, 0);
	pageattr_expect_event(test, &ev[3], KPB_EVENT_TLBI, pfn + 1,
			      PTRS_PER_PTE, 1);
	pageattr_expect_event(test, &ev[4], KPB_EVENT_SET_PKEY, pfn, 2, 0);
	pageattr_expect_event(test, &ev[5], KPB_EVENT_FAULT, KPB_POINT_SET_PKEY,
			      0, 0);
	pageattr_expect_event(test, &ev[6], KPB_EVENT_SET_FAILED, pfn, 2,
			      ENOMEM);
	KUNIT_EXPECT_EQ(test, ev[7].kind, KPB_EVENT_SET_MEMORY);
	KUNIT_EXPECT_EQ(test, ev[8].kind, KPB_EVENT_SET_FAILED);
	KUNIT_EXPECT_EQ(test, ev[8].c, EINVAL);
	KUNIT_EXPECT_EQ(test, ev[0].cause, KPB_CAUSE_REFILL);
	KUNIT_EXPECT_EQ(test, ev[2].cause, KPB_CAUSE_OTHER);
	KUNIT_EXPECT_EQ(test, ev[4].cause, KPB_CAUSE_RELEASE);
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
	KUNIT_CASE(pageattr_stops_at_a_missing_table),
	KUNIT_CASE(pageattr_refuses_what_is_not_ram),
	KUNIT_CASE(pageattr_walks_leaves_of_all_sizes),
	KUNIT_CASE(pageattr_changes_an_arbitrary_range),
	KUNIT_CASE(pageattr_stops_at_a_hole_in_memory),
	KUNIT_CASE(pageattr_injected_error_comes_first),
	KUNIT_CASE(pageattr_injected_error_is_for_one_pkey),
	KUNIT_CASE_PARAM(pageattr_injected_error_half_way,
			 pageattr_halves_gen_params),
	KUNIT_CASE(pageattr_injected_error_half_way_without_split),
	KUNIT_CASE(pageattr_injected_error_half_way_of_nothing),
	KUNIT_CASE(pageattr_success_lands_pages),
	KUNIT_CASE(pageattr_events_tell_what_happened),
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
