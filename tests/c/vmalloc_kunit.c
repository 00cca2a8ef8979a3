// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vmalloc area (csrc/mm/vmalloc.c): where areas come to lie, and how many
 * page tables that takes. Counts are worked out by hand in the comments.
 */

#include "box.h"

static u64 vmalloc_ptes(void)
{
	const struct kpb_boot *boot = &kpb_this->boot;

	return boot->counters.ptps[boot->phase][boot->cause][KPB_LEVEL_PTE];
}

/* A box in the early window: PBA works, vmalloc has given nothing yet. */
static struct kpb_machine *vmalloc_machine(struct kunit *test)
{
	struct kpb_machine *m = box_create_pba(test, BOX_SMALL_BYTES);

	KUNIT_ASSERT_EQ(test, box_granule.boot_phase(KPB_PHASE_LINEAR_MAP), 0);
	KUNIT_ASSERT_EQ(test, box_granule.boot_phase(KPB_PHASE_BUDDY), 0);
	return m;
}

static unsigned long vmalloc_at(unsigned long size, unsigned long align)
{
	return (unsigned long)__vmalloc_node_range(size, align, VMALLOC_START,
						   VMALLOC_END, GFP_KERNEL);
}

/* Two pages and a guard page; the next area begins after it. */
static void vmalloc_ends_with_a_guard_page(struct kunit *test)
{
	struct kpb_machine *m = vmalloc_machine(test);

	KUNIT_EXPECT_EQ(test, vmalloc_at(2 * PAGE_SIZE, 1), VMALLOC_START);
	KUNIT_EXPECT_EQ(test, vmalloc_at(1, 1), VMALLOC_START + 3 * PAGE_SIZE);
	/* nothing was ever mapped beyond the first table */
	KUNIT_EXPECT_NULL(test, kpb_vmalloc_pte(VMALLOC_START + PMD_SIZE));
	KUNIT_EXPECT_EQ(test,
			pte_val(*kpb_vmalloc_pte(VMALLOC_START + 2 * PAGE_SIZE)),
			0);
	KUNIT_EXPECT_EQ(test, m->nr_vmalloc_pages, 3);
	/* PTE, PMD and, with 4K pages, PUD table */
	KUNIT_EXPECT_EQ(test, m->nr_vmalloc_ptps, BOX_PICK(3, 2, 2));
	BOX_EXPECT_CLEAN(test);
}

/* What alignment cuts off is used by the next one that fits into it. */
static void vmalloc_takes_the_lowest_hole(struct kunit *test)
{
	vmalloc_machine(test);
	/* 0 .. 2 pages, then at 8, then at 16 */
	KUNIT_EXPECT_EQ(test, vmalloc_at(PAGE_SIZE, 1), VMALLOC_START);
	KUNIT_EXPECT_EQ(test, vmalloc_at(PAGE_SIZE, 8 * PAGE_SIZE),
			VMALLOC_START + 8 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vmalloc_at(PAGE_SIZE, 8 * PAGE_SIZE),
			VMALLOC_START + 16 * PAGE_SIZE);
	/* 2 .. 8: three pages and a guard page, then two more */
	KUNIT_EXPECT_EQ(test, vmalloc_at(3 * PAGE_SIZE, 1),
			VMALLOC_START + 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vmalloc_at(2 * PAGE_SIZE, 1),
			VMALLOC_START + 10 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vmalloc_at(PAGE_SIZE, 1),
			VMALLOC_START + 6 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vmalloc_at(PAGE_SIZE, 1),
			VMALLOC_START + 13 * PAGE_SIZE);
	BOX_EXPECT_CLEAN(test);
}

/* Against the plainest of searches: every multiple of the alignment. */
static void vmalloc_is_first_fit(struct kunit *test)
{
	static bool taken[4096];
	struct kpb_rng rng = kpb_rng_seed(7);
	unsigned int i;

	vmalloc_machine(test);
	memset(taken, 0, sizeof(taken));
	for (i = 0; i < 200; i++) {
		unsigned long nr = 1 + kpb_rng_below(&rng, 5);
		unsigned long align = 1UL << kpb_rng_below(&rng, 5);
		unsigned long at = 0, j = 0;

		for (; j <= nr; j++)
			if (taken[at + j]) {
				at += align;
				j = ~0UL;
			}
		for (j = 0; j <= nr; j++)
			taken[at + j] = true;
		KUNIT_ASSERT_EQ(test,
				vmalloc_at(nr << PAGE_SHIFT,
					   align << PAGE_SHIFT),
				VMALLOC_START + (at << PAGE_SHIFT));
	}
	BOX_EXPECT_CLEAN(test);
}

/* A table is asked for where none is, and only there. */
static void vmalloc_shares_tables(struct kunit *test)
{
	struct kpb_machine *m = vmalloc_machine(test);
	u64 ptes = vmalloc_ptes();

	vmalloc_at(PAGE_SIZE, 1);
	KUNIT_EXPECT_EQ(test, vmalloc_ptes() - ptes, 1);
	vmalloc_at(PAGE_SIZE, 1);
	KUNIT_EXPECT_EQ(test, vmalloc_ptes() - ptes, 1);
	/* the second table, then an area across the border of it and a third */
	KUNIT_EXPECT_EQ(test, vmalloc_at(PAGE_SIZE, PMD_SIZE),
			VMALLOC_START + PMD_SIZE);
	KUNIT_EXPECT_EQ(test, vmalloc_ptes() - ptes, 2);
	KUNIT_EXPECT_EQ(test,
			vmap_pages_range(VMALLOC_START + 3 * PMD_SIZE -
						 PAGE_SIZE,
					 VMALLOC_START + 3 * PMD_SIZE +
						 PAGE_SIZE,
					 (struct page *[]){
						 pfn_to_page(box_start_pfn()),
						 pfn_to_page(box_start_pfn()) }),
			0);
	KUNIT_EXPECT_EQ(test, vmalloc_ptes() - ptes, 4);
	KUNIT_EXPECT_EQ(test, m->nr_vmalloc_ptps, BOX_PICK(6, 5, 5));
}

/* Everything is mapped to a page of its own, and to the right one. */
static void vmalloc_maps_what_the_buddy_gave(struct kunit *test)
{
	struct kpb_machine *m = vmalloc_machine(test);
	unsigned long free_before = box_nr_free_pages();
	unsigned long addr = vmalloc_at(20 * PAGE_SIZE, 1), i;

	KUNIT_EXPECT_EQ(test, free_before - box_nr_free_pages(), 20);
	for (i = 0; i < 20; i++) {
		u64 desc = pte_val(*kpb_vmalloc_pte(addr + i * PAGE_SIZE));

		KUNIT_EXPECT_TRUE(test, kpb_desc_present(desc));
		KUNIT_EXPECT_EQ(test, kpb_desc_pkey(desc), 0);
		/* neither the buddy's nor the allocator's */
		KUNIT_EXPECT_EQ(test,
				*kpb_page_type(kpb_desc_phys(desc) >>
					       PAGE_SHIFT),
				0);
	}
	KUNIT_EXPECT_EQ(test, m->nr_vmalloc_pages, 20);
	BOX_EXPECT_CLEAN(test);
}

/* A device is aligned to its size, and costs no page. */
static void vmalloc_ioremap_is_aligned_to_its_size(struct kunit *test)
{
	struct kpb_machine *m = vmalloc_machine(test);
	phys_addr_t device = 1ULL << 40;
	unsigned long addr;

	vmalloc_at(PAGE_SIZE, 1);
	addr = (unsigned long)ioremap_prot(device, 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, addr, VMALLOC_START + 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test,
			kpb_desc_phys(pte_val(
				*kpb_vmalloc_pte(addr + 2 * PAGE_SIZE))),
			device + 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, m->nr_vmalloc_pages, 1);
	BOX_EXPECT_CLEAN(test);
}

/* Chunks of per-CPU memory come from the other end, without a guard page. */
static void vmalloc_percpu_comes_from_the_top(struct kunit *test)
{
	struct kpb_machine *m = vmalloc_machine(test);
	u64 ptes = vmalloc_ptes();

	KUNIT_EXPECT_EQ(test, pcpu_get_vm_areas(4 * PAGE_SIZE, PAGE_SIZE),
			VMALLOC_END - 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, pcpu_get_vm_areas(4 * PAGE_SIZE, PAGE_SIZE),
			VMALLOC_END - 8 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vmalloc_ptes() - ptes, 0);
	KUNIT_EXPECT_EQ(test,
			kpb_vmap_new_pages(VMALLOC_END - 4 * PAGE_SIZE, 1,
					   GFP_KERNEL),
			0);
	KUNIT_EXPECT_EQ(test, vmalloc_ptes() - ptes, 1);
	KUNIT_EXPECT_EQ(test, m->nr_vmalloc_pages, 1);
	BOX_EXPECT_CLEAN(test);
}

/* No page for it: nothing of it stays. The tables do. */
static void vmalloc_that_fails_gives_back_its_pages(struct kunit *test)
{
	struct kpb_machine *m = vmalloc_machine(test);
	const struct kpb_fault fault = { .mode = KPB_FAULT_EVERY, .n = 1 };
	unsigned long free_before;

	vmalloc_at(PAGE_SIZE, 1);
	/* an area across two tables, of which the second one is refused */
	while (kpb_cached_pages(m) > PBA_NR_RESERVED_PAGES)
		kpb_alloc_table(TABLE_PTE);
	free_before = box_nr_free_pages();
	KUNIT_ASSERT_EQ(test,
			box_granule.set_fault(KPB_POINT_ALLOC_PAGES, &fault),
			0);
	KUNIT_EXPECT_EQ(test, vmalloc_at(PMD_SIZE, 1), 0);
	KUNIT_EXPECT_EQ(test, m->nr_vmalloc_pages, 1);
	KUNIT_EXPECT_EQ(test, m->boot.counters.failed_ptps, 1);
	KUNIT_EXPECT_EQ(test, box_nr_free_pages(), free_before);
	KUNIT_EXPECT_EQ(test,
			pte_val(*kpb_vmalloc_pte(VMALLOC_START + 2 * PAGE_SIZE)),
			0);
}

static const struct vmalloc_va_bits {
	const char *name;
	u32 va_bits;
	u32 nr_tables;
} vmalloc_va_bits[] = {
	{ "as few levels as there are", BOX_PICK(39, 36, 42),
	  BOX_PICK(2, 1, 1) },
	{ "default", 0, BOX_PICK(3, 2, 2) },
	{ "52 bits", 52, BOX_PICK(4, 3, 2) },
};

KUNIT_ARRAY_PARAM(vmalloc_va_bits, vmalloc_va_bits)

/* A table is missing, of each level in turn: the area is not there. */
static void vmalloc_without_a_table_fails(struct kunit *test)
{
	const struct vmalloc_va_bits *param = test->param_value;
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	u64 nr_tables = param->nr_tables, i;

	config.boot.va_bits = param->va_bits;
	for (i = 1; i <= nr_tables + 1; i++) {
		const struct kpb_fault fault = { .mode = KPB_FAULT_NTH,
						 .n = i };
		struct kpb_machine *m = box_create(test, &config);
		u64 nr_free;

		box_granule.boot_phase(KPB_PHASE_LINEAR_MAP);
		box_granule.boot_phase(KPB_PHASE_BUDDY);
		nr_free = box_nr_free_pages();
		box_granule.set_fault(KPB_POINT_ALLOC_PAGES, &fault);
		/* noblock asks for each table by itself */
		if (i <= nr_tables) {
			KUNIT_EXPECT_EQ(test, vmalloc_at(PAGE_SIZE, 1), 0);
			KUNIT_EXPECT_EQ(test, m->boot.counters.failed_ptps, 1);
			/* the tables above it stay */
			KUNIT_EXPECT_EQ(test, m->nr_vmalloc_ptps, i - 1);
			KUNIT_EXPECT_EQ(test, box_nr_free_pages(),
					nr_free - (i - 1));
			KUNIT_EXPECT_EQ(test, m->nr_vmalloc_pages, 0);
		} else {
			KUNIT_EXPECT_NE(test, vmalloc_at(PAGE_SIZE, 1), 0);
			KUNIT_EXPECT_NE(test, (unsigned long)ioremap_prot(0, 1),
					0);
			KUNIT_EXPECT_EQ(test, m->boot.counters.failed_ptps, 0);
		}
		BOX_EXPECT_CLEAN(test);
	}
}

/* A device far from all others wants a table, and there is none. */
static void vmalloc_ioremap_without_a_table_fails(struct kunit *test)
{
	const struct kpb_fault fault = { .mode = KPB_FAULT_EVERY, .n = 1 };
	struct kpb_config config = box_config(BOX_NOBLOCK, BOX_SMALL_BYTES);
	struct kpb_machine *m = box_create(test, &config);

	box_granule.boot_phase(KPB_PHASE_LINEAR_MAP);
	box_granule.boot_phase(KPB_PHASE_BUDDY);
	box_granule.set_fault(KPB_POINT_ALLOC_PAGES, &fault);
	KUNIT_EXPECT_NULL(test, ioremap_prot(0, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, m->boot.counters.failed_ptps, 1);
	KUNIT_EXPECT_EQ(test, m->nr_vmalloc_ptps, 0);
	BOX_EXPECT_CLEAN(test);
}

/* Sizes and limits for which there is no place; a range that is used up. */
static void vmalloc_without_a_place_fails(struct kunit *test)
{
	unsigned long all;

	vmalloc_machine(test);
	/* the area is as large as the machine says */
	all = VMALLOC_END - VMALLOC_START;
	KUNIT_EXPECT_EQ(test, vmalloc_at(0, 1), 0);
	KUNIT_EXPECT_EQ(test, vmalloc_at(all, 1), 0);
	/* a page and its guard page do not end below the limit */
	KUNIT_EXPECT_NULL(test,
			  __vmalloc_node_range(PAGE_SIZE, 1, VMALLOC_START,
					       VMALLOC_START + PAGE_SIZE,
					       GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, ioremap_prot(0, all));
	KUNIT_EXPECT_EQ(test, pcpu_get_vm_areas(all + PAGE_SIZE, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, kpb_this->boot.counters.vmalloc_areas, 0);
	/* all of it, without a guard page, and then nothing is left */
	KUNIT_EXPECT_EQ(test, pcpu_get_vm_areas(all, PAGE_SIZE), VMALLOC_START);
	KUNIT_EXPECT_EQ(test, pcpu_get_vm_areas(PAGE_SIZE, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, vmalloc_at(PAGE_SIZE, 1), 0);
	BOX_EXPECT_CLEAN(test);
}

/* Areas begin where the machine was told to. */
static void vmalloc_offset_moves_the_first_area(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);

	config.boot.vmalloc_offset_bytes = PMD_SIZE - PAGE_SIZE;
	box_create(test, &config);
	box_granule.boot_phase(KPB_PHASE_LINEAR_MAP);
	box_granule.boot_phase(KPB_PHASE_BUDDY);
	KUNIT_EXPECT_EQ(test, vmalloc_at(PAGE_SIZE, 1),
			VMALLOC_START + PMD_SIZE - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vmalloc_at(PAGE_SIZE, 1),
			VMALLOC_START + PMD_SIZE + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vmalloc_ptes(), 2);
	BOX_EXPECT_CLEAN(test);
}

static const struct kunit_case vmalloc_cases[] = {
	KUNIT_CASE(vmalloc_ends_with_a_guard_page),
	KUNIT_CASE(vmalloc_takes_the_lowest_hole),
	KUNIT_CASE(vmalloc_is_first_fit),
	KUNIT_CASE(vmalloc_shares_tables),
	KUNIT_CASE(vmalloc_maps_what_the_buddy_gave),
	KUNIT_CASE(vmalloc_ioremap_is_aligned_to_its_size),
	KUNIT_CASE(vmalloc_percpu_comes_from_the_top),
	KUNIT_CASE(vmalloc_that_fails_gives_back_its_pages),
	KUNIT_CASE_PARAM(vmalloc_without_a_table_fails,
			 vmalloc_va_bits_gen_params),
	KUNIT_CASE(vmalloc_ioremap_without_a_table_fails),
	KUNIT_CASE(vmalloc_without_a_place_fails),
	KUNIT_CASE(vmalloc_offset_moves_the_first_area),
	{ 0 },
};

static struct kunit_suite vmalloc_suite = {
	.name = BOX_SUITE("vmalloc"),
	.test_cases = vmalloc_cases,
};
kunit_test_suite(vmalloc_suite);
