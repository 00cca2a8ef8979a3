// SPDX-License-Identifier: GPL-2.0-only
/*
 * The linear map (csrc/arch/arm64/mmu.c): which leaves it is built of, and
 * what a split costs. Expected numbers are those of the rule: for an address,
 * stop at the first level to which it is aligned, and on the way down replace
 * what is in the way: a PUD leaf by a table of contPMDs (1 PTP), a contPMD
 * group by PMDs, a PMD by a table of contPTEs (1 PTP), a contPTE group by PTEs.
 */

#include "box.h"

#define TOP BOX_TOP_LEAF_SIZE

static void mmu_geometry_is_that_of_arm64(struct kunit *test)
{
	struct kpb_geometry g;

	kpb_geometry_fill(&g);
	KUNIT_EXPECT_EQ(test, g.page_shift, PAGE_SHIFT);
	/* 8 bytes an entry: 4 KB / 8, 16 KB / 8, 64 KB / 8 */
	KUNIT_EXPECT_EQ(test, g.ptrs_per_table, BOX_PICK(512, 2048, 8192));
	/* 64 KB, 2 MB, 2 MB */
	KUNIT_EXPECT_EQ(test, g.cont_pte_order, BOX_PICK(4, 7, 5));
	/* 2 MB, 32 MB, 512 MB */
	KUNIT_EXPECT_EQ(test, g.pmd_order, BOX_PICK(9, 11, 13));
	/* 32 MB, 1 GB, 16 GB */
	KUNIT_EXPECT_EQ(test, g.cont_pmd_order, BOX_PICK(13, 16, 18));
	/* 1 GB, none, none */
	KUNIT_EXPECT_EQ(test, g.pud_order, BOX_PICK(18, 0, 0));
	/* 4 MB, 32 MB, 512 MB */
	KUNIT_EXPECT_EQ(test, g.max_page_order, BOX_PICK(10, 11, 13));
	KUNIT_EXPECT_EQ(test, g.block_order, BOX_PICK(9, 11, 13));
	KUNIT_ASSERT_EQ(test, g.nr_refill_orders, 3);
	KUNIT_EXPECT_EQ(test, g.refill_orders[0], BOX_PICK(9, 11, 9));
	KUNIT_EXPECT_EQ(test, g.refill_orders[1], BOX_PICK(4, 7, 5));
	KUNIT_EXPECT_EQ(test, g.refill_orders[2], 2);
}

/* How the map of a machine looks before anything is split. */
struct mmu_build {
	const char *name;
	u64 ram_bytes;
	u64 phys_base;
	u64 nr_leaves[KPB_NR_LEAVES];
	unsigned long nr_ptps;
	u64 map_leaves;
};

#define MB(n) ((u64)(n) << 20)
#define GB(n) ((u64)(n) << 30)

static const struct mmu_build mmu_builds[] = {
	/*
	 * Two 1 GB blocks, 16 x 2 MB, 2 MB, 16 x 4 KB, 4 KB: tables for PUDs,
	 * for the PMDs of the third GB, for its last PTEs. At 16K and 64K
	 * 32 blocks in a group, one block, one group of PTEs, one PTE.
	 */
	{ "one of each leaf",
	  BOX_PICK(GB(2) + MB(34) + (68 << 10), GB(1) + MB(34) + (16 << 10),
		   GB(16) + MB(514) + (64 << 10)),
	  BOX_PHYS_BASE,
	  { BOX_PICK(2, 0, 0), BOX_PICK(16, 32, 32), 1, BOX_PICK(16, 128, 32),
	    1 },
	  BOX_PICK(3, 2, 2),
	  BOX_PICK(6, 4, 4) },
	/* 2 x 32 MB contPMD; 2 x 32 MB PMD; 32 x 2 MB contPTE */
	{ "64 MB",
	  MB(64),
	  BOX_PHYS_BASE,
	  { 0, BOX_PICK(32, 0, 0), BOX_PICK(0, 2, 0), BOX_PICK(0, 0, 1024), 0 },
	  BOX_PICK(2, 1, 2),
	  BOX_PICK(2, 2, 32) },
	/* a multiple of 1 GB is no multiple of 16 GB: no contPMD at 64K */
	{ "not aligned to the largest contPMD",
	  GB(16),
	  GB(1),
	  { BOX_PICK(16, 0, 0), BOX_PICK(0, 512, 0), BOX_PICK(0, 0, 32), 0, 0 },
	  1,
	  BOX_PICK(16, 16, 32) },
	{ "from frame zero",
	  GB(16),
	  0,
	  { BOX_PICK(16, 0, 0), BOX_PICK(0, 512, 32), 0, 0, 0 },
	  1,
	  BOX_PICK(16, 16, 1) },
	/* more than one PGD entry (512 GB, 64 GB, 4 TB): a table for each */
	{ "several PGD entries",
	  GB(1024),
	  BOX_PHYS_BASE,
	  { BOX_PICK(1024, 0, 0), BOX_PICK(0, 32768, 2048), 0, 0, 0 },
	  BOX_PICK(2, 16, 1),
	  BOX_PICK(1024, 1024, 64) },
};

KUNIT_ARRAY_PARAM(mmu_builds, mmu_builds)

static void mmu_build_uses_the_largest_leaves(struct kunit *test)
{
	const struct mmu_build *param = test->param_value;
	struct kpb_config config = box_config(BOX_PBA, param->ram_bytes);
	struct kpb_state state;
	struct kpb_machine *m;
	int leaf;

	config.phys_base = param->phys_base;
	m = box_create(test, &config);
	for (leaf = 0; leaf < KPB_NR_LEAVES; leaf++)
		KUNIT_EXPECT_EQ(test, m->nr_leaves[leaf],
				param->nr_leaves[leaf]);
	KUNIT_EXPECT_EQ(test, m->nr_early_ptps, param->nr_ptps);

	box_granule.state(&state);
	KUNIT_EXPECT_EQ(test, state.map_leaves, param->map_leaves);
	KUNIT_EXPECT_EQ(test,
			state.map_pud_kb + state.map_contpmd_kb +
				state.map_pmd_kb + state.map_contpte_kb +
				state.map_pte_kb,
			param->ram_bytes >> 10);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	BOX_EXPECT_CLEAN(test);
}

/*
 * 64 MB of PTEs: 32 tables and 2 above, 2 and 1, 1 and 1. Nothing is written
 * before it is looked up.
 */
static void mmu_build_of_ptes_has_no_hints(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, MB(64));
	struct kpb_machine *m = box_create(test, &config);
	unsigned long i;

	for (i = 0; i < KPB_LEAF_PTE; i++)
		KUNIT_EXPECT_EQ(test, m->nr_leaves[i], 0);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PTE], MB(64) >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, m->nr_early_ptps, BOX_PICK(34, 3, 2));
	BOX_EXPECT_CLEAN(test);
}

/* A table that is only partly in use is written at once. */
static void mmu_build_of_ptes_ends_anywhere(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_NOBLOCK, PMD_SIZE + MB(64) + 3 * PAGE_SIZE);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long addr = box_addr(config.ram_bytes - PAGE_SIZE);
	u64 desc = kpb_leaf_desc(page_to_pfn(virt_to_page((void *)addr)));

	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PTE],
			config.ram_bytes >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, kpb_desc_phys(desc),
			config.phys_base + config.ram_bytes - PAGE_SIZE);
	BOX_EXPECT_CLEAN(test);
}

/* Memory regions */

/*
 * A page is missing, the sixth of a PMD that follows a whole PMD at the start
 * of the second largest leaf: its PTEs are in one table, which two regions
 * share, without hints in the group of the hole; the PMDs of its contPMD have
 * none either, and what lies beyond is as large as ever.
 */
static void mmu_build_shares_tables_between_regions(struct kunit *test)
{
	const u64 hole = TOP + PMD_SIZE + 5 * PAGE_SIZE;
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m;
	const u64 *nr;

	config.nr_holes = 1;
	config.holes[0].base = config.phys_base + hole;
	config.holes[0].size = PAGE_SIZE;
	m = box_create(test, &config);
	nr = m->nr_leaves;
	KUNIT_EXPECT_EQ(test, nr[KPB_LEAF_PUD], BOX_PICK(3, 0, 0));
	KUNIT_EXPECT_EQ(test, nr[KPB_LEAF_CONT_PMD],
			BOX_PICK(512 - 16, 3 * 32, 3 * 32));
	KUNIT_EXPECT_EQ(test, nr[KPB_LEAF_PMD], CONT_PMDS - 1);
	KUNIT_EXPECT_EQ(test, nr[KPB_LEAF_CONT_PTE], PTRS_PER_PTE - CONT_PTES);
	KUNIT_EXPECT_EQ(test, nr[KPB_LEAF_PTE], CONT_PTES - 1);
	/* the PUDs' table with 4K pages, one of PMDs, one of PTEs */
	KUNIT_EXPECT_EQ(test, m->nr_early_ptps, BOX_PICK(3, 2, 2));
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(hole) - 1), 0);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(hole)), 255);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(hole) + 1), 0);
	BOX_EXPECT_CLEAN(test);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	BOX_EXPECT_CLEAN(test);
}

/* A hole of whole leaves costs nothing but what is at its ends. */
static void mmu_build_leaves_whole_holes_out(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	struct kpb_machine *m;

	config.nr_holes = 1;
	config.holes[0].base = config.phys_base + TOP;
	config.holes[0].size = 2 * TOP;
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PUD], BOX_PICK(2, 0, 0));
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_CONT_PMD],
			BOX_PICK(0, 64, 64));
	KUNIT_EXPECT_EQ(test, m->nr_early_ptps, 1);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(TOP) - 1), 0);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(TOP)), 255);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(3 * TOP) - 1), 255);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(3 * TOP)), 0);
	BOX_EXPECT_CLEAN(test);
}

/* A PTE table around a hole is written at once, the others wait. */
static void mmu_build_of_ptes_goes_around_holes(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, 4 * PMD_SIZE);
	struct kpb_machine *m;

	config.ram_bytes = max(config.ram_bytes, MB(64));
	config.nr_holes = 2;
	config.holes[0].base = config.phys_base;
	config.holes[0].size = 3 * PAGE_SIZE;
	config.holes[1].base = config.phys_base + PMD_SIZE - PAGE_SIZE;
	config.holes[1].size = 2 * PAGE_SIZE;
	m = box_create(test, &config);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PTE],
			(config.ram_bytes >> PAGE_SHIFT) - 5);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(0)), 255);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(3 * PAGE_SIZE)), 0);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(PMD_SIZE) - 1), 255);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(PMD_SIZE)), 255);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(PMD_SIZE) + 1), 0);
	BOX_EXPECT_CLEAN(test);
}

/* Without memory for a table, of whatever level, there is no machine. */
static void mmu_build_without_memory_stops(struct kunit *test)
{
	const u64 nr_tables = BOX_PICK(3, 2, 2);
	volatile u64 nr; /* kept over a longjmp() */

	for (nr = 0; nr < nr_tables; nr++) {
		/* one of each leaf: see mmu_builds[] */
		struct kpb_config config =
			box_config(BOX_PBA, mmu_builds[0].ram_bytes);
		struct kpb_machine *m = box_create(test, &config);

		memset(m->swapper_pg_dir, 0, sizeof(m->swapper_pg_dir));
		memset(&kpb_state()->ppa, 0, sizeof(kpb_state()->ppa));
		box_memblock_leave(nr);
		/* no table may hold what the first map left there */
		memset((void *)box_addr(0), 0, nr_tables * PAGE_SIZE);
		BOX_EXPECT_STOP(test, map_mem(),
				"no memory for the linear map's own tables");
	}
}

static unsigned long mmu_nr_deferred_tables(void)
{
	unsigned long addr, nr = 0;
	u64 offset;

	for (offset = 0; offset < kpb_this->config.ram_bytes;
	     offset += PMD_SIZE) {
		addr = box_addr(offset);
		nr += !!(pmd_val(*pmd_offset(kpb_pud_of(addr), addr)) &
			 KPB_PMD_DEFERRED);
	}
	return nr;
}

/* Looking at a deferred table changes nothing; a walk writes that one. */
static void mmu_deferred_tables_are_written_one_by_one(struct kunit *test)
{
	struct kpb_config config =
		box_config(BOX_NOBLOCK, 8 * PMD_SIZE + MB(64));
	unsigned long nr, i;
	u64 offset = 3 * PMD_SIZE + 5 * PAGE_SIZE;

	config.ram_bytes = ALIGN_DOWN(config.ram_bytes, PMD_SIZE);
	box_create(test, &config);
	nr = mmu_nr_deferred_tables();
	KUNIT_EXPECT_EQ(test, nr, config.ram_bytes >> PMD_SHIFT);
	KUNIT_EXPECT_EQ(test, box_pkey(box_pfn(offset)), 0);
	KUNIT_EXPECT_EQ(test, mmu_nr_deferred_tables(), nr);

	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(offset), 1, 3), 0);
	KUNIT_EXPECT_EQ(test, mmu_nr_deferred_tables(), nr - 1);
	for (i = 0; i < PTRS_PER_PTE; i++) {
		unsigned long pfn = box_pfn(3 * PMD_SIZE) + i;
		u64 desc = kpb_leaf_desc(pfn);

		KUNIT_EXPECT_EQ(test, kpb_desc_phys(desc) >> PAGE_SHIFT, pfn);
		KUNIT_EXPECT_EQ(test, kpb_desc_pkey(desc), i == 5 ? 3 : 0);
		KUNIT_EXPECT_FALSE(test, desc & PTE_CONT);
	}
	KUNIT_EXPECT_EQ(test, kpb_this->nr_leaves[KPB_LEAF_PTE],
			config.ram_bytes >> PAGE_SHIFT);
}

/*
 * One split of a machine in which the second and third of the largest leaves
 * are whole; @start counts from the second.
 */
struct mmu_split {
	const char *name;
	u64 start;
	u64 size;
	unsigned int pud, contpmd, pmd, contpte, ptps;
};

#define P PAGE_SIZE
#define LARGEST (P << BOX_LARGEST_ORDER)
#define K4 BOX_PICK(1, 0, 0)

static const struct mmu_split mmu_splits[] = {
	/* 64K: a refill of 32 MB in a PMD of 512 MB must split that, too */
	{ "largest order, first of the leaf", 0, LARGEST, K4, 1,
	  BOX_PICK(0, 0, 1), 0, BOX_PICK(1, 0, 1) },
	{ "largest order, in the middle", 2 * LARGEST, LARGEST, K4, 1,
	  BOX_PICK(0, 0, 1), 0, BOX_PICK(1, 0, 1) },
	{ "largest order, last of a contPMD", CONT_PMD_SIZE - LARGEST, LARGEST,
	  K4, 1, BOX_PICK(0, 0, 1), 0, BOX_PICK(1, 0, 1) },
	{ "contpte order, first of the leaf", 0, CONT_PTE_SIZE, K4, 1, 1, 0,
	  1 + K4 },
	{ "contpte order, in the middle", PMD_SIZE + 3 * CONT_PTE_SIZE,
	  CONT_PTE_SIZE, K4, 1, 1, 0, 1 + K4 },
	{ "contpte order, last of a PMD", PMD_SIZE - CONT_PTE_SIZE,
	  CONT_PTE_SIZE, K4, 1, 1, 0, 1 + K4 },
	{ "order 2, first of the leaf", 0, 4 * P, K4, 1, 1, 1, 1 + K4 },
	{ "order 2, in the middle", PMD_SIZE + 4 * P, 4 * P, K4, 1, 1, 1,
	  1 + K4 },
	{ "order 2, last of a contPTE", CONT_PTE_SIZE - 4 * P, 4 * P, K4, 1, 1,
	  1, 1 + K4 },
	{ "order 2, last of a contPMD", CONT_PMD_SIZE - 4 * P, 4 * P, K4, 1, 1,
	  1, 1 + K4 },
	/* one page: the end is less aligned, then the start */
	{ "one page, first of the leaf", 0, P, K4, 1, 1, 1, 1 + K4 },
	{ "one page, second of the leaf", P, P, K4, 1, 1, 1, 1 + K4 },
	{ "one page, first of a contPTE", CONT_PTE_SIZE, P, K4, 1, 1, 1,
	  1 + K4 },
	{ "one page, last of a contPTE", CONT_PTE_SIZE - P, P, K4, 1, 1, 1,
	  1 + K4 },
	{ "one page, last of a PMD", PMD_SIZE - P, P, K4, 1, 1, 1, 1 + K4 },
	{ "one page, first of a PMD", PMD_SIZE, P, K4, 1, 1, 1, 1 + K4 },
	{ "one page, last of the leaf", TOP - P, P, K4, 1, 1, 1, 1 + K4 },
	/* both ends of a range cost */
	{ "two pages across a contPTE boundary", CONT_PTE_SIZE - P, 2 * P, K4,
	  1, 1, 2, 1 + K4 },
	{ "two pages across a PMD boundary", PMD_SIZE - P, 2 * P, K4, 1, 2, 2,
	  2 + K4 },
	{ "two pages across a contPMD boundary", CONT_PMD_SIZE - P, 2 * P, K4,
	  2, 2, 2, 2 + K4 },
	/* the worst there is: 4, 2, 2 tables */
	{ "two pages across the largest leaves", TOP - P, 2 * P, 2 * K4, 2, 2,
	  2, BOX_PICK(4, 2, 2) },
	{ "from one largest leaf into the next", P, TOP, 2 * K4, 2, 2, 2,
	  BOX_PICK(4, 2, 2) },
	/* nothing to do where both ends are boundaries already */
	{ "a whole largest leaf", 0, TOP, 0, 0, 0, 0, 0 },
	{ "two of them", 0, 2 * TOP, 0, 0, 0, 0, 0 },
	{ "a whole contPMD", CONT_PMD_SIZE, CONT_PMD_SIZE, K4, 0, 0, 0, K4 },
};

KUNIT_ARRAY_PARAM(mmu_splits, mmu_splits)

static void mmu_expect_leaves(struct kunit *test, const u64 *before,
			      const struct mmu_split *split)
{
	const u64 *after = kpb_this->nr_leaves;

	KUNIT_EXPECT_EQ(test, after[KPB_LEAF_PUD],
			before[KPB_LEAF_PUD] - split->pud);
	KUNIT_EXPECT_EQ(test, after[KPB_LEAF_CONT_PMD],
			before[KPB_LEAF_CONT_PMD] + split->pud * PTRS_PER_PMD -
				split->contpmd * CONT_PMDS);
	KUNIT_EXPECT_EQ(test, after[KPB_LEAF_PMD],
			before[KPB_LEAF_PMD] + split->contpmd * CONT_PMDS -
				split->pmd);
	KUNIT_EXPECT_EQ(test, after[KPB_LEAF_CONT_PTE],
			before[KPB_LEAF_CONT_PTE] + split->pmd * PTRS_PER_PTE -
				split->contpte * CONT_PTES);
	KUNIT_EXPECT_EQ(test, after[KPB_LEAF_PTE],
			before[KPB_LEAF_PTE] + split->contpte * CONT_PTES);
}

static void mmu_split_costs_what_the_rule_says(struct kunit *test)
{
	const struct mmu_split *param = test->param_value;
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	struct kpb_map_counters before = box_map_counters(), c;
	unsigned long nr_cached = kpb_cached_pages(m);
	unsigned long start = box_addr(TOP + param->start);
	u64 leaves[KPB_NR_LEAVES];

	memcpy(leaves, m->nr_leaves, sizeof(leaves));
	m->op_events = 0;
	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(start, start + param->size),
			0);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.split_pud, param->pud);
	KUNIT_EXPECT_EQ(test, c.split_contpmd, param->contpmd);
	KUNIT_EXPECT_EQ(test, c.split_pmd, param->pmd);
	KUNIT_EXPECT_EQ(test, c.split_contpte, param->contpte);
	KUNIT_EXPECT_EQ(test, c.split_ptps, param->ptps);
	KUNIT_EXPECT_EQ(test, kpb_cached_pages(m), nr_cached - param->ptps);
	/* a full table and the entry that leads to it, or a group's entries */
	KUNIT_EXPECT_EQ(test, c.descriptor_writes,
			(param->pud + param->pmd) * (PTRS_PER_PTE + 1) +
				param->contpmd * CONT_PMDS +
				param->contpte * CONT_PTES);
	/* the split itself flushes nothing */
	KUNIT_EXPECT_EQ(test, c.tlbi_single, 0);
	KUNIT_EXPECT_EQ(test, c.tlbi_full, 0);
	KUNIT_EXPECT_EQ(test, !!(m->op_events & KPB_EV_SPLIT),
			param->contpmd != 0 || param->pud != 0);
	KUNIT_EXPECT_NULL(test, m->pgtable_split_lock.owner);
	mmu_expect_leaves(test, leaves, param);
	BOX_EXPECT_CLEAN(test);

	/* what is split stays so, and splitting again costs nothing */
	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(start, start + param->size),
			0);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.split_ptps, param->ptps);
	mmu_expect_leaves(test, leaves, param);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

/* Tables that a region of an order costs at most, wherever it lies. */
struct mmu_worst {
	const char *name;
	unsigned int order;
	unsigned int ptps;
};

static const struct mmu_worst mmu_worsts[] = {
	{ "largest refill order", BOX_LARGEST_ORDER, BOX_PICK(1, 0, 1) },
	{ "contpte order", BOX_CONT_PTE_ORDER, BOX_PICK(2, 1, 1) },
	{ "order 2", 2, BOX_PICK(2, 1, 1) },
	{ "one page", 0, BOX_PICK(2, 1, 1) },
};

KUNIT_ARRAY_PARAM(mmu_worsts, mmu_worsts)

/* Fresh leaves, one after the other, with the region moving through them. */
static void mmu_split_never_costs_more_than_the_worst(struct kunit *test)
{
	const struct mmu_worst *param = test->param_value;
	struct kpb_machine *m = box_boot_pba(test, 64 * TOP);
	u64 size = PAGE_SIZE << param->order, nr_places = TOP / size;
	struct kpb_rng rng = kpb_rng_seed(param->order);
	u64 worst = 0, place;
	unsigned int i;

	for (i = 1; i < 63; i++) {
		struct kpb_map_counters before = box_map_counters(), c;
		unsigned long start;

		/* the first and the last ones, then any */
		place = i <= 20 ? i - 1 :
			i <= 40 ? nr_places - (i - 20) :
				  kpb_rng_below(&rng, nr_places);
		start = box_addr(i * TOP + place * size);
		KUNIT_EXPECT_EQ(test,
				split_kernel_leaf_mapping(start, start + size),
				0);
		c = box_map_since(&before);
		worst = max(worst, c.split_ptps);
	}
	KUNIT_EXPECT_EQ(test, worst, param->ptps);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

/* Permissions and pkey of a leaf are those of the leaves it becomes. */
static void mmu_split_inherits_attributes(struct kunit *test)
{
	const unsigned long nr = TOP >> PAGE_SHIFT;
	unsigned long pfn;
	u64 attrs;

	box_boot_pba(test, BOX_LARGE_BYTES);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(TOP), (int)nr, 5), 0);
	KUNIT_EXPECT_EQ(test, set_memory_ro(box_addr(TOP), (int)nr), 0);
	attrs = kpb_leaf_desc(box_pfn(TOP)) & PTE_ATTR_MASK & ~PTE_CONT;
	KUNIT_EXPECT_EQ(test, kpb_desc_pkey(attrs), 5);
	KUNIT_EXPECT_TRUE(test, attrs & PTE_RDONLY);

	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(box_addr(TOP + PMD_SIZE +
							   PAGE_SIZE),
						  box_addr(TOP + PMD_SIZE +
							   3 * PAGE_SIZE)),
			0);
	for (pfn = box_pfn(TOP); pfn < box_pfn(2 * TOP); pfn++)
		if ((kpb_leaf_desc(pfn) & PTE_ATTR_MASK & ~PTE_CONT) != attrs)
			KUNIT_FAIL(test, "frame %#lx has lost attributes", pfn);
	BOX_EXPECT_CLEAN(test);
}

/* A new PMD table is of contPMDs, a new PTE table of contPTEs. */
static void mmu_split_leaves_hints_beside_it(struct kunit *test)
{
	box_boot_pba(test, BOX_LARGE_BYTES);
	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(box_addr(TOP + PAGE_SIZE),
						  box_addr(TOP + 2 * PAGE_SIZE)),
			0);
	/* the group of the page has no hint, the next one has */
	KUNIT_EXPECT_FALSE(test, kpb_leaf_desc(box_pfn(TOP)) & PTE_CONT);
	KUNIT_EXPECT_FALSE(test,
			   kpb_leaf_desc(box_pfn(TOP + CONT_PTE_SIZE) - 1) &
				   PTE_CONT);
	KUNIT_EXPECT_TRUE(test, kpb_leaf_desc(box_pfn(TOP + CONT_PTE_SIZE)) &
					PTE_CONT);
	KUNIT_EXPECT_TRUE(test, kpb_leaf_desc(box_pfn(TOP + PMD_SIZE) - 1) &
					PTE_CONT);
	/* nor have the PMDs around it, but the next group's */
	KUNIT_EXPECT_FALSE(test,
			   kpb_leaf_desc(box_pfn(TOP + PMD_SIZE)) & PTE_CONT);
	KUNIT_EXPECT_FALSE(test,
			   kpb_leaf_desc(box_pfn(TOP + CONT_PMD_SIZE) - 1) &
				   PTE_CONT);
	if (CONT_PMD_SIZE < TOP)
		KUNIT_EXPECT_TRUE(test,
				  kpb_leaf_desc(box_pfn(TOP + CONT_PMD_SIZE)) &
					  PTE_CONT);
}

/* New tables carry the page table pkey themselves. */
static void mmu_split_tables_are_ptps(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	unsigned long addr = box_addr(TOP + PAGE_SIZE);
	pud_t *pudp;
	pmd_t *pmdp;

	KUNIT_EXPECT_EQ(test, split_kernel_leaf_mapping(addr, addr + PAGE_SIZE),
			0);
	pudp = kpb_pud_of(addr);
	pmdp = pmd_offset(pudp, addr);
	KUNIT_EXPECT_EQ(test,
			box_pkey(kpb_desc_phys(pud_val(*pudp)) >> PAGE_SHIFT),
			KPKEYS_PKEY_PGTABLES);
	KUNIT_EXPECT_EQ(test,
			box_pkey(kpb_desc_phys(pmd_val(*pmdp)) >> PAGE_SHIFT),
			KPKEYS_PKEY_PGTABLES);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
}

static void mmu_split_is_busy_before_late_init(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	unsigned long addr;
	int ret;

	box_create(test, &config);
	addr = box_addr(TOP);
	BOX_EXPECT_WARNINGS(test, 1,
			    ret = split_kernel_leaf_mapping(addr, addr + P));
	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	/* also if nothing would have to be split, or if the range is odd */
	BOX_EXPECT_WARNINGS(test, 1,
			    ret = split_kernel_leaf_mapping(addr, addr + TOP));
	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	BOX_EXPECT_WARNINGS(test, 1,
			    ret = split_kernel_leaf_mapping(addr + 1,
							    addr + P));
	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	BOX_EXPECT_WARNINGS(test, 0,
			    ret = split_kernel_leaf_mapping(addr, addr + P));
	KUNIT_EXPECT_EQ(test, ret, 0);
}

static void mmu_split_refuses_unaligned_ranges(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	struct kpb_map_counters before = box_map_counters(), c;
	unsigned long addr = box_addr(TOP);

	KUNIT_EXPECT_EQ(test, split_kernel_leaf_mapping(addr + 1, addr + P),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, split_kernel_leaf_mapping(addr, addr + P - 1),
			-EINVAL);
	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(addr + P / 2,
						  addr + P / 2 + P),
			-EINVAL);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.descriptor_writes, 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

/* A PTE map needs no BBML2: everything is done before it begins. */
static void mmu_split_of_a_pte_map_is_nothing(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long addr = box_addr(PMD_SIZE);

	KUNIT_EXPECT_EQ(test, split_kernel_leaf_mapping(addr, addr + P), 0);
	KUNIT_EXPECT_EQ(test, split_kernel_leaf_mapping(addr + 1, addr + 2), 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	KUNIT_EXPECT_EQ(test, box_map_counters().descriptor_writes, 0);
}

/* What is absent needs no boundary: the range may end with RAM. */
static void mmu_split_at_the_end_of_ram_is_nothing(struct kunit *test)
{
	static const u64 tails[] = { PMD_SIZE, PMD_SIZE + CONT_PTE_SIZE,
				     PMD_SIZE + 5 * PAGE_SIZE };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		struct kpb_config config =
			box_config(BOX_PBA, 2 * TOP + tails[i]);
		unsigned long end;
		struct kpb_map_counters before, c;

		/* small chunks for the PPA, so that the tail is its own */
		box_refill_orders(&config, BOX_MIN_ORDER, 0, 0);
		box_boot(test, &config);
		end = box_addr(config.ram_bytes);
		before = box_map_counters();
		KUNIT_EXPECT_EQ(test,
				split_kernel_leaf_mapping(end - tails[i], end),
				0);
		c = box_map_since(&before);
		KUNIT_EXPECT_EQ(test, c.descriptor_writes, 0);
		KUNIT_EXPECT_EQ(test, c.split_ptps, 0);
	}
}

/* Nor does it matter at which level nothing is there. */
static void mmu_split_beyond_ram_is_nothing(struct kunit *test)
{
	/* no PMD table (16K: no PGD entry), or no PGD entry */
	static const u64 places[] = { GB(100), GB(600), GB(5 << 10) };
	struct kpb_map_counters before, c;
	size_t i;

	box_boot_pba(test, BOX_LARGE_BYTES);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		before = box_map_counters();
		KUNIT_EXPECT_EQ(test,
				split_kernel_leaf_mapping(box_addr(places[i] +
								   P),
							  box_addr(places[i] +
								   3 * P)),
				0);
		c = box_map_since(&before);
		KUNIT_EXPECT_EQ(test, c.descriptor_writes, 0);
		KUNIT_EXPECT_EQ(test, c.split_ptps, 0);
	}
}

/* Two entries of the root (4K: 512 GB, 16K: 64 GB each) meet inside one range. */
static void mmu_split_across_root_entries(struct kunit *test)
{
	u64 middle = BOX_PICK(P4D_SIZE, PUD_SIZE, PGDIR_SIZE);
	struct kpb_machine *m;
	struct kpb_map_counters before, c;

	if (2 * middle > KPB_MAX_RAM_BYTES)
		return;
	m = box_boot_pba(test, 2 * middle);
	before = box_map_counters();
	KUNIT_EXPECT_EQ(test,
			set_memory_pkey(box_addr(middle - P), 2,
					KPKEYS_PKEY_PGTABLES),
			0);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.split_ptps, BOX_PICK(4, 2, 2));
	KUNIT_EXPECT_EQ(test, box_nr_pkey(box_pfn(middle - P), 2, 1), 2);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(box_pfn(middle - 3 * P), 2, 0), 2);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(box_pfn(middle + P), 2, 0), 2);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	/* the boundary itself is one */
	before = box_map_counters();
	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(box_addr(middle),
						  box_addr(middle + TOP)),
			0);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.split_ptps, 0);
}

/*
 * Refills of two pages, which no rule allows: with one page in the reserve it
 * takes two of them before the lock may be kept.
 */
static void mmu_split_retries_until_the_reserve_is_full(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	unsigned long p = box_pfn(TOP);

	/* what will be fetched is leaves of its own already: no split */
	KUNIT_EXPECT_EQ(test, set_memory_ro(box_addr(TOP + P), 1), 0);
	while (get_pba()->nr_cached > 1)
		kpkeys_pgtable_alloc(GFP_KERNEL | __GFP_PGTABLE_SPLIT);
	box_drain();
	m->config.refill_orders[0] = 1;
	m->config.nr_refill_orders = 1;
	box_free(p, 1);
	box_free(p + 4, 1);
	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(box_addr(2 * TOP + P),
						  box_addr(2 * TOP + 2 * P)),
			0);
	KUNIT_EXPECT_EQ(test, m->counters.refills, 3);
	KUNIT_EXPECT_NULL(test, m->pgtable_split_lock.owner);
}

/* An error at the start is the result: the end is not even looked at. */
static unsigned int mmu_nr_alloc_calls;

static struct page *mmu_alloc_nothing(gfp_t gfp)
{
	(void)gfp;
	mmu_nr_alloc_calls++;
	return NULL;
}

static int mmu_prepare_well(void)
{
	return 0;
}

static bool mmu_always_ready(void)
{
	return true;
}

static void mmu_split_ends_with_the_first_error(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	static struct kpb_allocator_ops ops;
	u64 leaves[KPB_NR_LEAVES];

	ops = *m->ops;
	ops.alloc = mmu_alloc_nothing;
	ops.prepare_direct_map_split = mmu_prepare_well;
	ops.ready_for_direct_map_split = mmu_always_ready;
	m->ops = &ops;
	mmu_nr_alloc_calls = 0;
	/* both ends need tables, in different largest leaves */
	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(box_addr(TOP + P),
						  box_addr(2 * TOP + P)),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, mmu_nr_alloc_calls, 1);
	KUNIT_EXPECT_NULL(test, m->pgtable_split_lock.owner);
	/* the end alone */
	memcpy(leaves, m->nr_leaves, sizeof(leaves));
	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(box_addr(TOP),
						  box_addr(2 * TOP + P)),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, mmu_nr_alloc_calls, 2);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PUD], leaves[KPB_LEAF_PUD]);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_CONT_PTE],
			leaves[KPB_LEAF_CONT_PTE]);
}

/* Whoever wants no hints gets none: nobody does after boot. */
static void mmu_split_without_hints(struct kunit *test)
{
	const gfp_t gfp = GFP_PGTABLE_KERNEL | __GFP_PGTABLE_SPLIT;
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	unsigned long addr = box_addr(TOP + PMD_SIZE);
	u64 nr[KPB_NR_LEAVES];
	pud_t *pudp;
	pmd_t *pmdp;

	memcpy(nr, m->nr_leaves, sizeof(nr));
	pudp = kpb_pud_of(box_addr(2 * TOP));
	if (PAGE_SHIFT == 12) {
		KUNIT_EXPECT_EQ(test, split_pud(pudp, *pudp, gfp, false), 0);
		KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PMD],
				nr[KPB_LEAF_PMD] + PTRS_PER_PMD);
		KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_CONT_PMD],
				nr[KPB_LEAF_CONT_PMD]);
		KUNIT_EXPECT_FALSE(test,
				   kpb_leaf_desc(box_pfn(2 * TOP)) & PTE_CONT);
	} else {
		KUNIT_EXPECT_EQ(test, split_pud(pudp, *pudp, gfp, false),
				-EINVAL);
	}

	/* one PMD by itself */
	KUNIT_EXPECT_EQ(test, split_kernel_leaf_mapping(addr, addr + PMD_SIZE),
			0);
	memcpy(nr, m->nr_leaves, sizeof(nr));
	pudp = kpb_pud_of(addr);
	pmdp = pmd_offset(pudp, addr);
	KUNIT_EXPECT_EQ(test, split_pmd(pmdp, *pmdp, gfp, false), 0);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PMD], nr[KPB_LEAF_PMD] - 1);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PTE],
			nr[KPB_LEAF_PTE] + PTRS_PER_PTE);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_CONT_PTE],
			nr[KPB_LEAF_CONT_PTE]);
	KUNIT_EXPECT_FALSE(test,
			   kpb_leaf_desc(box_pfn(TOP + PMD_SIZE)) & PTE_CONT);
	BOX_EXPECT_CLEAN(test);
}

/* Static page tables */

/* One change of the first pages of RAM, after everything else. */
static void mmu_static_pgtables_get_the_pkey_last(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_LARGE_BYTES);
	const unsigned long nr = 1UL << BOX_LARGEST_ORDER;
	struct kpb_machine *m;
	const struct kpb_map_counters *c;
	struct kpb_event events[256];
	int64_t nr_events, i;
	u64 last = 0;

	config.nr_static_pgtables = 5;
	m = box_create(test, &config);
	c = &m->map_counters[KPB_CAUSE_LATE_INIT];
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, m->nr_early_ptps + 5);
	KUNIT_EXPECT_EQ(test, box_granule.init(), 0);
	KUNIT_EXPECT_EQ(test, box_granule.record(256), 0);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), 0);
	/* the first region, the chunk's used part, and these */
	KUNIT_EXPECT_EQ(test, c->set_pkey_calls, 3);
	KUNIT_EXPECT_EQ(test, c->set_pkey_pages, nr + m->nr_early_ptps + 5);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(box_start_pfn(), 6, 1), 5);
	KUNIT_EXPECT_EQ(test, m->nr_unprotected, 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	nr_events = box_granule.events(events, 256);
	for (i = 0; i < nr_events; i++)
		if (events[i].kind == KPB_EVENT_SET_PKEY)
			last = events[i].a;
	KUNIT_EXPECT_EQ(test, last, box_start_pfn());
	BOX_EXPECT_CLEAN(test);
}

static void mmu_static_pgtables_of_none_are_nothing(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	struct kpb_map_counters before = box_map_counters(), c;

	arch_kpkeys_protect_static_pgtables();
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.set_pkey_calls, 0);
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
}

/* Reports */

static bool mmu_never_ready(void)
{
	return false;
}

static void mmu_split_that_is_never_ready_stops(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	static struct kpb_allocator_ops ops;
	unsigned long addr = box_addr(TOP + P);

	ops = *m->ops;
	ops.prepare_direct_map_split = mmu_prepare_well;
	ops.ready_for_direct_map_split = mmu_never_ready;
	m->ops = &ops;
	BOX_EXPECT_STOP(test, split_kernel_leaf_mapping(addr, addr + P),
			"livelock: kpkeys_prepare_direct_map_split() succeeds");
	KUNIT_EXPECT_CONTAINS(test, m->border.msg,
			      "path: split_kernel_leaf_mapping");
	KUNIT_EXPECT_NULL(test, m->pgtable_split_lock.owner);
}

/* Ready at the last try that there is. */
static unsigned int mmu_nr_not_ready;

static bool mmu_ready_in_the_end(void)
{
	return !mmu_nr_not_ready || !mmu_nr_not_ready--;
}

static void mmu_split_is_tried_a_thousand_times(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	static struct kpb_allocator_ops ops;
	unsigned long addr = box_addr(TOP + P);

	ops = *m->ops;
	ops.prepare_direct_map_split = mmu_prepare_well;
	ops.ready_for_direct_map_split = mmu_ready_in_the_end;
	m->ops = &ops;
	mmu_nr_not_ready = 999;
	KUNIT_EXPECT_EQ(test, split_kernel_leaf_mapping(addr, addr + P), 0);
	KUNIT_EXPECT_EQ(test, mmu_nr_not_ready, 0);
}

/* A task can be stopped with the lock in its hands, before anything is split. */
static void mmu_split_can_be_stopped_at(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	const struct kpb_step step = {
		.op = { .kind = KPB_OP_SET_MEMORY,
			.slot = (u32)(TOP >> PAGE_SHIFT) + 1,
			.arg = 1 },
		.task = 3,
		.stop_at = KPB_POINT_SPLIT,
	};
	struct kpb_map_counters before = box_map_counters(), c;
	struct kpb_step_result result;

	KUNIT_EXPECT_EQ(test, box_granule.step(&step, &result), 0);
	KUNIT_EXPECT_EQ(test, result.state, KPB_TASK_STOPPED);
	KUNIT_EXPECT_EQ(test, result.point, KPB_POINT_SPLIT);
	KUNIT_EXPECT_PTR_EQ(test, m->pgtable_split_lock.owner, &m->tasks[3]);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.descriptor_writes, 0);
	KUNIT_EXPECT_EQ(test, box_granule.resume(3, 0, 0, &result), 0);
	KUNIT_EXPECT_EQ(test, result.state, KPB_TASK_IDLE);
	KUNIT_EXPECT_NULL(test, m->pgtable_split_lock.owner);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.split_contpte, 1);
	BOX_EXPECT_CLEAN(test);
}

/* One page of a fresh largest leaf: every split there is, from the top. */
static void mmu_split_events_name_the_leaves(struct kunit *test)
{
	const u64 start = TOP + CONT_PMD_SIZE % TOP + PMD_SIZE + CONT_PTE_SIZE +
			  PAGE_SIZE;
	const struct kpb_event wanted[] = {
		{ .kind = KPB_EVENT_SPLIT_PTP },
		{ .kind = KPB_EVENT_SPLIT,
		  .b = KPB_SIZE_PUD,
		  .a = TOP >> PAGE_SHIFT },
		{ .kind = KPB_EVENT_SPLIT,
		  .b = KPB_SIZE_CONTPMD,
		  .a = (TOP + CONT_PMD_SIZE % TOP) >> PAGE_SHIFT },
		{ .kind = KPB_EVENT_SPLIT_PTP },
		{ .kind = KPB_EVENT_SPLIT,
		  .b = KPB_SIZE_PMD,
		  .a = (TOP + CONT_PMD_SIZE % TOP + PMD_SIZE) >> PAGE_SHIFT },
		{ .kind = KPB_EVENT_SPLIT,
		  .b = KPB_SIZE_CONTPTE,
		  .a = (start - PAGE_SIZE) >> PAGE_SHIFT },
	};
	/* without PUD leaves the first two do not happen */
	size_t skip = BOX_PICK(0, 2, 2), nr = ARRAY_SIZE(wanted) - skip, i;
	struct kpb_event events[ARRAY_SIZE(wanted) + 1];
	unsigned long head;

	box_boot_pba(test, BOX_LARGE_BYTES);
	head = page_to_pfn(
		list_first_entry(&get_pba()->cached_list, struct page, lru));
	KUNIT_EXPECT_EQ(test, box_granule.record(16), 0);
	KUNIT_EXPECT_EQ(test,
			split_kernel_leaf_mapping(box_addr(start),
						  box_addr(start + P)),
			0);
	KUNIT_ASSERT_EQ(test, box_granule.events(events, nr + 1), (int64_t)nr);
	for (i = 0; i < nr; i++) {
		const struct kpb_event *want = &wanted[i + skip];

		KUNIT_EXPECT_EQ(test, events[i].kind, want->kind);
		if (want->kind == KPB_EVENT_SPLIT_PTP) {
			KUNIT_EXPECT_EQ(test, events[i].a, head--);
			continue;
		}
		KUNIT_EXPECT_EQ(test, events[i].a, box_start_pfn() + want->a);
		KUNIT_EXPECT_EQ(test, events[i].b, want->b);
	}
}

/* Every split, wherever it happens, keeps the sum of all leaves. */
static void mmu_split_conserves_memory(struct kunit *test)
{
	struct kpb_machine *m = box_boot_pba(test, BOX_LARGE_BYTES);
	struct kpb_rng rng = kpb_rng_seed(3);
	u64 nr_pages = BOX_LARGE_BYTES >> PAGE_SHIFT;
	unsigned int i;

	for (i = 0; i < 100; i++) {
		u64 start = kpb_rng_below(&rng, nr_pages);
		u64 nr = 1 + kpb_rng_below(&rng, i % 2 ? 3 : PTRS_PER_PTE * 3);
		struct kpb_state state;

		nr = min(nr, nr_pages - start);
		KUNIT_EXPECT_EQ(test,
				split_kernel_leaf_mapping(box_addr(
								  start
								  << PAGE_SHIFT),
							  box_addr(
								  (start + nr)
								  << PAGE_SHIFT)),
				0);
		box_granule.state(&state);
		KUNIT_EXPECT_EQ(test,
				state.map_pud_kb + state.map_contpmd_kb +
					state.map_pmd_kb +
					state.map_contpte_kb + state.map_pte_kb,
				BOX_LARGE_BYTES >> 10);
	}
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 0);
	BOX_EXPECT_CLEAN(test);
}

static const struct kunit_case mmu_test_cases[] = {
	KUNIT_CASE(mmu_geometry_is_that_of_arm64),
	KUNIT_CASE_PARAM(mmu_build_uses_the_largest_leaves,
			 mmu_builds_gen_params),
	KUNIT_CASE(mmu_build_of_ptes_has_no_hints),
	KUNIT_CASE(mmu_build_of_ptes_ends_anywhere),
	KUNIT_CASE(mmu_build_shares_tables_between_regions),
	KUNIT_CASE(mmu_build_leaves_whole_holes_out),
	KUNIT_CASE(mmu_build_of_ptes_goes_around_holes),
	KUNIT_CASE(mmu_build_without_memory_stops),
	KUNIT_CASE(mmu_deferred_tables_are_written_one_by_one),
	KUNIT_CASE_PARAM(mmu_split_costs_what_the_rule_says,
			 mmu_splits_gen_params),
	KUNIT_CASE_PARAM(mmu_split_never_costs_more_than_the_worst,
			 mmu_worsts_gen_params),
	KUNIT_CASE(mmu_split_inherits_attributes),
	KUNIT_CASE(mmu_split_leaves_hints_beside_it),
	KUNIT_CASE(mmu_split_tables_are_ptps),
	KUNIT_CASE(mmu_split_is_busy_before_late_init),
	KUNIT_CASE(mmu_split_refuses_unaligned_ranges),
	KUNIT_CASE(mmu_split_of_a_pte_map_is_nothing),
	KUNIT_CASE(mmu_split_at_the_end_of_ram_is_nothing),
	KUNIT_CASE(mmu_split_beyond_ram_is_nothing),
	KUNIT_CASE(mmu_split_retries_until_the_reserve_is_full),
	KUNIT_CASE(mmu_split_across_root_entries),
	KUNIT_CASE(mmu_split_ends_with_the_first_error),
	KUNIT_CASE(mmu_split_without_hints),
	KUNIT_CASE(mmu_static_pgtables_get_the_pkey_last),
	KUNIT_CASE(mmu_static_pgtables_of_none_are_nothing),
	KUNIT_CASE(mmu_split_that_is_never_ready_stops),
	KUNIT_CASE(mmu_split_is_tried_a_thousand_times),
	KUNIT_CASE(mmu_split_can_be_stopped_at),
	KUNIT_CASE(mmu_split_events_name_the_leaves),
	KUNIT_CASE(mmu_split_conserves_memory),
	{ 0 }
};

static struct kunit_suite mmu_test_suite = {
	.name = BOX_SUITE("mmu"),
	.suite_init = box_pcp_off,
	.suite_exit = box_pcp_on,
	.test_cases = mmu_test_cases,
};
kunit_test_suite(mmu_test_suite);

#undef TOP
#undef MB
#undef GB
#undef P
#undef LARGEST
#undef K4
