// SPDX-License-Identifier: GPL-2.0-only
/*
 * Boot in phases (csrc/lab/boot.c), with what irq.c and cpufeature.c of arm64
 * add to it. The numbers are those of the rule and worked out by hand: stacks
 * lie 2 x THREAD_SIZE apart, a PTE table maps a PMD block, and the first
 * refill serves all of its pages but four.
 */

#include "box.h"

#define KB(n) ((u64)(n) << 10)
#define MB(n) ((u64)(n) << 20)
#define GB(n) ((u64)(n) << 30)

/* Enough for 4096 stacks of 32 KB and more. */
#define BOOT_RAM_BYTES BOX_PICK(GB(4), GB(4), GB(8))

static struct kpb_config boot_config(enum box_allocator allocator,
				     u32 nr_possible_cpus)
{
	struct kpb_config config = box_config(allocator, BOOT_RAM_BYTES);

	config.boot.nr_possible_cpus = nr_possible_cpus;
	config.boot.threads_per_cpu = 4;
	return config;
}

static void boot_phases(struct kunit *test, enum kpb_phase from,
			enum kpb_phase to)
{
	u32 phase;

	for (phase = from; phase <= to; phase++)
		KUNIT_ASSERT_EQ(test, box_granule.boot_phase(phase), 0);
}

static struct kpb_boot_counters boot_counters(void)
{
	struct kpb_boot_counters counters;

	box_granule.boot_counters(&counters);
	return counters;
}

/* PTPs of one level over all phases. */
static u64 boot_ptps(enum kpb_boot_cause cause, enum kpb_level level)
{
	struct kpb_boot_counters counters = boot_counters();
	u64 sum = 0;
	int phase;

	for (phase = 0; phase < KPB_NR_PHASES; phase++)
		sum += counters.ptps[phase][cause][level];
	return sum;
}

/* Every phase in order, each of them clean. */
static struct kpb_machine *boot_all(struct kunit *test,
				    const struct kpb_config *config)
{
	struct kpb_machine *m = box_create(test, config);
	u32 phase;

	for (phase = 0; phase < KPB_NR_PHASES; phase++) {
		boot_phases(test, phase, phase);
		BOX_EXPECT_CLEAN(test);
	}
	return m;
}

/* Every invariant holds but one: these PTPs will never be protected. */
static void boot_expect_only_unprotected(struct kunit *test, u64 nr_pages)
{
	char msg[KPB_MSG_BYTES] = "", expected[KPB_MSG_BYTES] = "";

	if (nr_pages)
		snprintf(expected, sizeof(expected),
			 "%llu PTPs do not carry the page table pkey",
			 (unsigned long long)nr_pages);
	KUNIT_EXPECT_EQ(test, box_granule.check(msg), nr_pages ? -EUCLEAN : 0);
	KUNIT_EXPECT_STREQ(test, msg, expected);
}

/* PTE tables for IRQ stacks: they come out of vmalloc, and of a formula. */
struct boot_irq_stacks {
	const char *name;
	u32 nr_cpus;
	u32 kasan;
	u64 nr_ptes;
};

static const struct boot_irq_stacks boot_irq_stacks[] = {
	{ "2 CPUs", 2, 0, 1 },
	{ "512 CPUs", 512, 0, BOX_PICK(8, 1, 1) },
	{ "1024 CPUs", 1024, 0, BOX_PICK(16, 1, 1) },
	{ "4096 CPUs", 4096, 0, BOX_PICK(64, 4, 1) },
	{ "512 CPUs with KASAN", 512, 1, BOX_PICK(16, 1, 1) },
	{ "1024 CPUs with KASAN", 1024, 1, BOX_PICK(32, 2, 1) },
	{ "4096 CPUs with KASAN", 4096, 1, BOX_PICK(128, 8, 1) },
};

KUNIT_ARRAY_PARAM(boot_irq_stacks, boot_irq_stacks)

static void boot_irq_stacks_take_these_tables(struct kunit *test)
{
	const struct boot_irq_stacks *param = test->param_value;
	struct kpb_config config = boot_config(BOX_PBA, param->nr_cpus);
	u64 stack = max(KB(16) << param->kasan, (u64)PAGE_SIZE);
	u64 formula =
		((param->nr_cpus - 1) * 2 * stack + stack + PMD_SIZE - 1) /
		PMD_SIZE;

	config.boot.kasan = param->kasan;
	config.boot.threads_per_cpu = 0;
	box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_WINDOW);
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_IRQ_STACK, KPB_LEVEL_PTE),
			param->nr_ptes);
	KUNIT_EXPECT_EQ(test, formula, param->nr_ptes);
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_IRQ_STACK, KPB_LEVEL_PMD), 1);
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_IRQ_STACK, KPB_LEVEL_PUD),
			BOX_PICK(1, 0, 0));
	KUNIT_EXPECT_EQ(test, boot_counters().vmalloc_areas, param->nr_cpus);
	KUNIT_EXPECT_EQ(test, boot_counters().vmalloc_pages,
			param->nr_cpus * (stack >> PAGE_SHIFT));
	BOX_EXPECT_CLEAN(test);
}

/*
 * An area that does not begin on the border of a table needs one more: stacks
 * begin half a table in, but for 64K, where half a table is not even full.
 */
static void boot_irq_stacks_depend_on_the_offset(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_PBA, 1024);

	config.boot.threads_per_cpu = 0;
	config.boot.vmalloc_offset_bytes = PMD_SIZE / 2;
	box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_WINDOW);
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_IRQ_STACK, KPB_LEVEL_PTE),
			BOX_PICK(17, 2, 1));
}

/*
 * 4096 x (1 + 4) stacks less that of the boot CPU's idle thread, 32 KB apart:
 * 639.97 MB, 320 tables of 2 MB, 20 of 32 MB; 128 KB apart: 2.5 GB, 5 of 512 MB.
 */
static void boot_with_threads_takes_320_tables(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_PBA, 4096);
	struct kpb_boot_counters counters;
	struct kpb_state state;

	boot_all(test, &config);
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_IRQ_STACK, KPB_LEVEL_PTE),
			BOX_PICK(64, 4, 1));
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_IDLE_THREAD, KPB_LEVEL_PTE),
			BOX_PICK(64, 4, 1));
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_PERCPU_THREAD, KPB_LEVEL_PTE),
			BOX_PICK(192, 12, 3));
	counters = boot_counters();
	KUNIT_EXPECT_EQ(test, counters.vmalloc_ptps, BOX_PICK(322, 21, 6));
	KUNIT_EXPECT_EQ(test, counters.window_ptps, BOX_PICK(322, 21, 6));
	/* the first refill had enough: nothing is left without its pkey */
	KUNIT_EXPECT_EQ(test, counters.early_regions, 1);
	KUNIT_EXPECT_EQ(test, counters.tracked_regions, 1);
	KUNIT_EXPECT_EQ(test, counters.untracked_regions, 0);
	box_granule.state(&state);
	KUNIT_EXPECT_EQ(test, state.unprotected_pages, 0);
	KUNIT_EXPECT_EQ(test, kpb_this->counters.warnings, 0);
	KUNIT_EXPECT_EQ(test, kpb_this->counters.sleeps_in_atomic, 0);
}

/* The first refill: what it has for ordinary requests, and how far that goes. */
struct boot_window {
	const char *name;
	u8 orders[3];
	u64 capacity_pages;
};

static const struct boot_window boot_windows[] = {
	{ "order 9", { 9, 4, 2 }, 508 },
	{ "order 4", { 4, 2 }, 12 },
	{ "order 2", { 2 }, 0 },
};

KUNIT_ARRAY_PARAM(boot_windows, boot_windows)

/*
 * 512 CPUs with IRQ stack and four more: 2559 stacks of 32 KB are 80 MB, 40
 * tables with 4K pages and 3 with 16K; 128 KB each are 320 MB, 1 table. With
 * the tables above: 42, 4, 2. Whatever the first region cannot serve comes from
 * regions that serve all of their pages, since its reserve is kept already.
 */
static void boot_window_overflows_when_it_must(struct kunit *test)
{
	const struct boot_window *param = test->param_value;
	struct kpb_config config = boot_config(BOX_PBA, 512);
	u64 asked = BOX_PICK(42, 4, 2), region = 1ULL << param->orders[0];
	u64 over = asked > param->capacity_pages ?
			   asked - param->capacity_pages :
			   0;
	u64 nr_untracked = (over + region - 1) / region;
	struct kpb_boot_counters counters;
	struct kpb_state state;

	box_refill_orders(&config, param->orders[0], param->orders[1],
			  param->orders[2]);
	box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_BUDDY);
	KUNIT_EXPECT_EQ(test, boot_counters().early_capacity_pages,
			param->capacity_pages);
	KUNIT_EXPECT_EQ(test, boot_counters().early_capacity_start_pages,
			param->capacity_pages);
	KUNIT_EXPECT_EQ(test, boot_counters().first_refill_order,
			param->orders[0]);
	boot_phases(test, KPB_PHASE_WINDOW, KPB_PHASE_WINDOW);
	counters = boot_counters();
	KUNIT_EXPECT_EQ(test, counters.window_ptps, asked);
	KUNIT_EXPECT_EQ(test, counters.early_regions, 1 + nr_untracked);
	KUNIT_EXPECT_EQ(test, counters.early_capacity_pages,
			param->capacity_pages + nr_untracked * region - asked);
	/* one warning for each region that v6 does not remember */
	KUNIT_EXPECT_EQ(test, kpb_this->counters.warnings, nr_untracked);
	BOX_EXPECT_CLEAN(test);

	boot_phases(test, KPB_PHASE_SMP, KPB_PHASE_RUNNING);
	counters = boot_counters();
	KUNIT_EXPECT_EQ(test, counters.tracked_regions, 1);
	KUNIT_EXPECT_EQ(test, counters.tracked_region_pages, region);
	KUNIT_EXPECT_EQ(test, counters.untracked_regions, nr_untracked);
	KUNIT_EXPECT_EQ(test, counters.untracked_region_pages,
			nr_untracked * region);
	box_granule.state(&state);
	KUNIT_EXPECT_EQ(test, state.unprotected_pages, nr_untracked * region);
	KUNIT_EXPECT_EQ(test, counters.early_capacity_pages, 0);
	boot_expect_only_unprotected(test, nr_untracked * region);
}

/* 42 PTPs at 4K: order 4 leaves 30 for two more regions, order 2 42 for 11. */
static void boot_window_by_hand(struct kunit *test)
{
	static const struct {
		u8 order;
		u64 unprotected;
	} cases[] = { { 4, BOX_PICK(32, 0, 0) }, { 2, BOX_PICK(44, 4, 4) } };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kpb_config config = boot_config(BOX_PBA, 512);
		struct kpb_state state;

		box_refill_orders(&config, cases[i].order,
				  cases[i].order > 2 ? 2 : 0, 0);
		box_create(test, &config);
		boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_RUNNING);
		box_granule.state(&state);
		KUNIT_EXPECT_EQ(test, state.unprotected_pages,
				cases[i].unprotected);
	}
}

#if PAGE_SHIFT == 12
/* One page of each @stride bytes is taken. */
static void boot_reserve_every(struct kpb_config *config, u64 stride, u32 nr)
{
	for (config->nr_reserved = 0; config->nr_reserved < nr;
	     config->nr_reserved++)
		config->reserved[config->nr_reserved] = (struct kpb_region){
			.base = config->phys_base +
				config->nr_reserved * stride,
			.size = PAGE_SIZE,
		};
}

/*
 * 64 MB of RAM, 32 blocks of 2 MB, each with a page taken out of it. The PPA has
 * no chunk either, so the two tables of the linear map are single pages.
 */
static void boot_without_a_free_block_falls_back(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, MB(64));
	struct kpb_boot_counters counters;
	struct kpb_state state;
	int mt;

	boot_reserve_every(&config, MB(2), 32);
	config.boot.nr_possible_cpus = 16;
	config.boot.threads_per_cpu = 4;
	config.no_pcp = 1;
	box_create(test, &config);
	for (mt = 0; mt < MIGRATE_TYPES; mt++)
		KUNIT_EXPECT_EQ(test, box_nr_free(9, mt) + box_nr_free(10, mt),
				0);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_RUNNING);
	counters = boot_counters();
	KUNIT_EXPECT_EQ(test, counters.first_refill_order, 4);
	KUNIT_EXPECT_EQ(test, counters.early_capacity_start_pages, 12);
	/* 79 stacks are 2.5 MB: two tables, and one of each level above */
	KUNIT_EXPECT_EQ(test, counters.window_ptps, 4);
	KUNIT_EXPECT_EQ(test, counters.untracked_regions, 0);
	/* those of the linear map, which the PPA could not record */
	box_granule.state(&state);
	KUNIT_EXPECT_EQ(test, state.unprotected_pages, 2);
	KUNIT_EXPECT_EQ(test, kpb_this->counters.refill_fallbacks, 1);
	boot_expect_only_unprotected(test, 2);
}

/* All RAM but 30 pieces of 60 KB is taken: order 4 fails as well. */
static void boot_without_64k_falls_back_to_order_2(struct kunit *test)
{
	struct kpb_config config = box_config(BOX_PBA, MB(64));
	struct kpb_boot_counters counters;
	struct kpb_machine *m;
	u32 i;

	/* holes of 60 KB between them, and no more than that above */
	for (i = 0; i < 31; i++)
		config.reserved[i] = (struct kpb_region){
			.base = config.phys_base + i * MB(2) + KB(60),
			.size = MB(2) - KB(60),
		};
	config.reserved[31] = (struct kpb_region){
		.base = config.phys_base + MB(62),
		.size = MB(2),
	};
	config.nr_reserved = 32;
	config.boot.nr_possible_cpus = 2;
	config.boot.threads_per_cpu = 4;
	config.no_pcp = 1;
	m = box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_RUNNING);
	counters = boot_counters();
	KUNIT_EXPECT_EQ(test, counters.first_refill_order, 2);
	KUNIT_EXPECT_EQ(test, counters.early_capacity_start_pages, 0);
	/* three tables: one refill that v6 does not remember serves them */
	KUNIT_EXPECT_EQ(test, counters.window_ptps, 3);
	KUNIT_EXPECT_EQ(test, counters.untracked_regions, 1);
	KUNIT_EXPECT_EQ(test, counters.untracked_region_pages, 4);
	/* and the linear map's own, which the PPA could not record */
	boot_expect_only_unprotected(test, 4 + m->nr_early_ptps);
}
#endif

/* Devices fill holes between stacks; each of them is no reason for a table. */
static void boot_attributes_tables_to_causes(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_PBA, 2);

	config.boot.nr_ioremap = 3;
	config.boot.ioremap_bytes = PAGE_SIZE;
	/* 8 MB, 64 MB, 1 GB for two units: 4, 2, 2 tables and one above */
	config.boot.percpu_chunks = 1;
	config.boot.percpu_unit_bytes = 64 << 20;
	config.boot.percpu_populated_bytes = PAGE_SIZE;
	boot_all(test, &config);
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_IRQ_STACK, KPB_LEVEL_PTE), 1);
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_IDLE_THREAD, KPB_LEVEL_PTE),
			0);
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_IOREMAP, KPB_LEVEL_PTE), 0);
	/* one page of each unit, units 64 MB apart: one table each, but at 64K */
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_PERCPU, KPB_LEVEL_PTE),
			BOX_PICK(2, 2, 1));
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_PERCPU, KPB_LEVEL_PMD), 1);
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_PERCPU, KPB_LEVEL_PUD),
			BOX_PICK(1, 0, 0));
	/* RAM in leaves of PUDs, or contPMDs, or PMDs: the tables above them */
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_LINEAR_MAP, KPB_LEVEL_PUD),
			BOX_PICK(1, 0, 0));
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_LINEAR_MAP, KPB_LEVEL_PMD),
			BOX_PICK(0, 1, 1));
}

/* Widths of addresses: how many levels, and so which tables above the PTEs */

static const struct boot_va_bits {
	const char *name;
	u32 va_bits;
	u32 nr_levels;
	/* of the window, and of the linear map of blocks: PMD, PUD, P4D */
	u32 window[3];
	u32 linear[3];
} boot_va_bits[] = {
#if PAGE_SHIFT == 12
	{ "39 bits", 39, 3, { 1, 0, 0 }, { 0, 0, 0 } },
	{ "48 bits", 48, 4, { 1, 1, 0 }, { 0, 1, 0 } },
	{ "52 bits", 52, 5, { 1, 1, 1 }, { 0, 1, 1 } },
#elif PAGE_SHIFT == 14
	{ "36 bits", 36, 2, { 0, 0, 0 }, { 0, 0, 0 } },
	{ "47 bits", 47, 3, { 1, 0, 0 }, { 1, 0, 0 } },
	{ "48 bits", 48, 4, { 1, 1, 0 }, { 1, 1, 0 } },
	{ "52 bits", 52, 4, { 1, 1, 0 }, { 1, 1, 0 } },
#else
	{ "42 bits", 42, 2, { 0, 0, 0 }, { 0, 0, 0 } },
	{ "48 bits", 48, 3, { 1, 0, 0 }, { 1, 0, 0 } },
	{ "52 bits", 52, 3, { 1, 0, 0 }, { 1, 0, 0 } },
#endif
};

KUNIT_ARRAY_PARAM(boot_va_bits, boot_va_bits)

static void boot_va_bits_decide_about_upper_tables(struct kunit *test)
{
	const struct boot_va_bits *param = test->param_value;
	struct kpb_config config = boot_config(BOX_PBA, 1024);
	enum kpb_level level;
	struct kpb_machine *m;

	config.boot.va_bits = param->va_bits;
	m = boot_all(test, &config);
	KUNIT_EXPECT_EQ(test, m->pgtable_levels, param->nr_levels);
	for (level = KPB_LEVEL_PMD; level <= KPB_LEVEL_P4D; level++) {
		KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_IRQ_STACK, level),
				param->window[level - 1]);
		KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_LINEAR_MAP, level),
				param->linear[level - 1]);
	}
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_IRQ_STACK, KPB_LEVEL_PTE),
			BOX_PICK(16, 1, 1));
	KUNIT_EXPECT_EQ(test, VMALLOC_START - m->linear_start,
			1UL << (param->va_bits - 1));
}

/* The map's leaves, and what a change of its pkeys costs, do not depend on it. */
static void boot_va_bits_leave_splits_alone(struct kunit *test)
{
	const struct boot_va_bits *param = test->param_value;
	struct kpb_config config = boot_config(BOX_PBA, 64);
	/* where two of the largest leaves meet that nobody has split yet */
	u64 border = BOX_PICK(2 * PUD_SIZE, 2 * CONT_PMD_SIZE, 4 * PMD_SIZE);
	struct kpb_map_counters before, c;
	struct kpb_state state;

	config.boot.va_bits = param->va_bits;
	boot_all(test, &config);
	before = box_map_counters();
	KUNIT_EXPECT_EQ(test, set_memory_ro(box_addr(border - PAGE_SIZE), 2),
			0);
	c = box_map_since(&before);
	KUNIT_EXPECT_EQ(test, c.split_ptps, BOX_PICK(4, 2, 2));
	box_granule.state(&state);
	KUNIT_EXPECT_EQ(test,
			state.map_pud_kb + state.map_contpmd_kb +
				state.map_pmd_kb + state.map_contpte_kb +
				state.map_pte_kb,
			BOOT_RAM_BYTES >> 10);
	BOX_EXPECT_CLEAN(test);
}

/* All of it to PTEs: the tables for that are those of the leaves below PUDs. */
static void boot_va_bits_late_cpu_splits_it_all(struct kunit *test)
{
	const struct boot_va_bits *param = test->param_value;
	struct kpb_config config = boot_config(BOX_PBA, 8);
	u64 nr_ptes = BOOT_RAM_BYTES / PMD_SIZE;
	struct kpb_state state;

	config.boot.va_bits = param->va_bits;
	config.boot.bbml2 = KPB_BBML2_LATE_CPU;
	box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_RUNNING);
	box_granule.state(&state);
	KUNIT_EXPECT_EQ(test, state.map_pte_kb, BOOT_RAM_BYTES >> 10);
	boot_expect_only_unprotected(test, state.unprotected_pages);
	KUNIT_EXPECT_EQ(test,
			boot_ptps(KPB_BOOT_LINEAR_MAP_SPLIT, KPB_LEVEL_PTE),
			nr_ptes);
	KUNIT_EXPECT_EQ(test,
			boot_ptps(KPB_BOOT_LINEAR_MAP_SPLIT, KPB_LEVEL_PMD),
			BOX_PICK(BOOT_RAM_BYTES >> 30, 0, 0));
}

static void boot_va_bits_must_exist_and_have_room(struct kunit *test)
{
	static const u32 others[] = { 1, 35, 40, 47 + (PAGE_SHIFT == 14), 53 };
	struct kpb_config config = boot_config(BOX_PBA, 8);
	char msg[KPB_MSG_BYTES] = "";
	struct kpb_machine *m;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		if (others[i] == 48)
			continue;
		config.boot.va_bits = others[i];
		KUNIT_EXPECT_EQ(test, box_granule.create(&config, &m, msg),
				-EINVAL);
		KUNIT_EXPECT_TRUE(test, strstr(msg, "va_bits") != NULL);
	}
	config.boot.va_bits = BOX_PICK(39, 36, 42);
	config.ram_bytes = (1ULL << (config.boot.va_bits - 1)) + PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, box_granule.create(&config, &m, msg), -EINVAL);
	KUNIT_EXPECT_TRUE(test, strstr(msg, "linear map of") != NULL ||
					config.ram_bytes > 1ULL << 40);
}

/*
 * A region whose pkey was set half way only is one that was forgotten, by half.
 * It is smaller than a block, which would have one pkey as a whole.
 */
static void boot_region_that_is_keyed_by_half_is_untracked(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_PBA, 2);
	const struct kpb_fault fault = {
		.mode = KPB_FAULT_NTH,
		.n = 1,
		.half = 1,
		.pkey = KPKEYS_PKEY_PGTABLES,
	};

	box_refill_orders(&config, BOX_CONT_PTE_ORDER, BOX_MIN_ORDER, 0);
	box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_SMP);
	KUNIT_ASSERT_EQ(test, box_granule.set_fault(KPB_POINT_SET_PKEY, &fault),
			0);
	boot_phases(test, KPB_PHASE_LATE_INIT, KPB_PHASE_LATE_INIT);
	KUNIT_EXPECT_EQ(test, boot_counters().early_regions, 1);
	KUNIT_EXPECT_EQ(test, boot_counters().tracked_regions, 0);
	KUNIT_EXPECT_EQ(test, boot_counters().untracked_regions, 1);
	KUNIT_EXPECT_EQ(test, boot_counters().untracked_region_pages,
			1UL << (BOX_CONT_PTE_ORDER - 1));
}

/* What a list of ranges, or a walk, would have to remember: by hand. */
static void boot_ranges_join_what_touches(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_PBA, 2);
	unsigned long p;

	box_create(test, &config);
	p = box_block_pfn(2);
	KUNIT_EXPECT_EQ(test, boot_counters().early_ranges, 0);
	kpb_note_early_region(p, 2);
	KUNIT_EXPECT_EQ(test, boot_counters().early_ranges, 1);
	KUNIT_EXPECT_EQ(test, boot_counters().early_span_pages, 4);
	/* behind it, before the last one, and somewhere else */
	kpb_note_early_region(p + 4, 2);
	KUNIT_EXPECT_EQ(test, boot_counters().early_ranges, 1);
	kpb_note_early_region(p + 2, 1);
	KUNIT_EXPECT_EQ(test, boot_counters().early_ranges, 1);
	KUNIT_EXPECT_EQ(test, boot_counters().early_span_pages, 8);
	kpb_note_early_region(p - 16, 3);
	KUNIT_EXPECT_EQ(test, boot_counters().early_ranges, 2);
	KUNIT_EXPECT_EQ(test, boot_counters().early_span_pages, 24);
	/* it touches the one before the last, which a list does not look at */
	kpb_note_early_region(p + 8, 3);
	KUNIT_EXPECT_EQ(test, boot_counters().early_ranges, 3);
	KUNIT_EXPECT_EQ(test, boot_counters().early_span_pages, 32);
}

/* CPUs and what they tolerate */

static const struct {
	const char *name;
	u32 bbml2;
	bool system;
} boot_bbml2[] = {
	{ "all", KPB_BBML2_ALL, true },
	{ "boot only", KPB_BBML2_BOOT_ONLY, false },
	{ "late CPU", KPB_BBML2_LATE_CPU, false },
};

KUNIT_ARRAY_PARAM(boot_bbml2, boot_bbml2)

/* The map is split in phase 4 if somebody lacks it, and completely. */
static void boot_splits_the_map_for_a_cpu_without_bbml2(struct kunit *test)
{
	const __typeof__(boot_bbml2[0]) *param = test->param_value;
	struct kpb_config config = boot_config(BOX_PBA, 8);
	u64 nr_pages = config.ram_bytes >> PAGE_SHIFT;
	struct kpb_boot_counters counters;
	struct kpb_machine *m;

	config.boot.bbml2 = param->bbml2;
	m = box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_WINDOW);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PTE], 0);
	KUNIT_EXPECT_FALSE(test, boot_counters().capabilities_final);
	boot_phases(test, KPB_PHASE_SMP, KPB_PHASE_SMP);
	counters = boot_counters();
	KUNIT_EXPECT_EQ(test, counters.nr_online_cpus, 8);
	KUNIT_EXPECT_TRUE(test, counters.capabilities_final);
	KUNIT_EXPECT_EQ(test, counters.system_bbml2, param->system);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PTE],
			param->system ? 0 : nr_pages);
	BOX_EXPECT_CLEAN(test);
	KUNIT_EXPECT_EQ(test, m->preempt_count, 0);
	/* one flush of everything */
	KUNIT_EXPECT_EQ(test, m->map_counters[KPB_CAUSE_BOOT].tlbi_full,
			param->system ? 0 : 1);
	KUNIT_EXPECT_EQ(test, m->map_counters[KPB_CAUSE_BOOT].tlbi_single, 0);
	boot_phases(test, KPB_PHASE_LATE_INIT, KPB_PHASE_RUNNING);
	/* and everything can still be given a pkey */
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(MB(512)), 1, 1), 0);
	KUNIT_EXPECT_EQ(test, set_memory_pkey(box_addr(MB(512)), 1, 0), 0);
}

#if PAGE_SHIFT == 12
/*
 * 12 GB in PUD blocks: 12 PMD tables and 6144 PTE tables, one request each. The
 * region of the first refill has 508 less the 3 for stacks of 8 CPUs; the
 * other 5651 take 12 refills of 512, of which v6 remembers none.
 */
static void boot_late_cpu_on_12_gb(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_PBA, 8);
	struct kpb_boot_counters counters;
	struct kpb_state state;
	struct kpb_machine *m;

	config.ram_bytes = GB(12);
	config.boot.bbml2 = KPB_BBML2_LATE_CPU;
	m = box_create(test, &config);
	KUNIT_ASSERT_EQ(test, m->nr_leaves[KPB_LEAF_PUD], 12);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_SMP);
	BOX_EXPECT_CLEAN(test);
	boot_phases(test, KPB_PHASE_LATE_INIT, KPB_PHASE_RUNNING);
	KUNIT_EXPECT_EQ(test,
			boot_ptps(KPB_BOOT_LINEAR_MAP_SPLIT, KPB_LEVEL_PTE),
			6144);
	KUNIT_EXPECT_EQ(test,
			boot_ptps(KPB_BOOT_LINEAR_MAP_SPLIT, KPB_LEVEL_PMD),
			12);
	KUNIT_EXPECT_EQ(test, m->nr_split_ptps, 6156);
	counters = boot_counters();
	KUNIT_EXPECT_EQ(test, counters.atomic_ptps, 6156);
	KUNIT_EXPECT_EQ(test, counters.window_ptps, 6159);
	KUNIT_EXPECT_EQ(test, counters.tracked_regions, 1);
	KUNIT_EXPECT_EQ(test, counters.untracked_regions, 12);
	KUNIT_EXPECT_EQ(test, counters.untracked_region_pages, 6144);
	box_granule.state(&state);
	KUNIT_EXPECT_EQ(test, state.unprotected_pages, 6144);
	KUNIT_EXPECT_EQ(test, state.map_pte_kb, 12 << 20);
	boot_expect_only_unprotected(test, 6144);
	/* the flags of each request, and each region but the first */
	KUNIT_EXPECT_EQ(test, m->counters.warnings, 6156 + 12);
	/* a refill asks the buddy, and takes alloc_mutex */
	KUNIT_EXPECT_EQ(test, m->counters.sleeps_in_atomic, 2 * 12);
}

/* The image's alias stays as it is, as far as it is made of whole leaves. */
static void boot_split_leaves_the_image_alone(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_PBA, 8);
	struct kpb_machine *m;

	config.ram_bytes = MB(64);
	config.nr_static_pgtables = 512 + 3;
	config.boot.bbml2 = KPB_BBML2_BOOT_ONLY;
	m = box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_SMP);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PMD], 1);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PTE], 31 * 512);
	BOX_EXPECT_CLEAN(test);
	boot_phases(test, KPB_PHASE_LATE_INIT, KPB_PHASE_RUNNING);
	KUNIT_EXPECT_EQ(test, box_nr_pkey(box_start_pfn(), 515, 1), 515);
	BOX_EXPECT_CLEAN(test);
}
#endif

/*
 * A map of every kind of leaf, with a hole in it: the walk finds them all, and
 * stops at neither. What was PTEs before needs no table.
 */
static void boot_splits_leaves_of_every_size(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_PBA, 2);
	struct kpb_machine *m;
	u64 nr_tables;

	/* as in mmu_kunit: one of each leaf; the hole cuts off a contPTE group */
	config.ram_bytes = BOX_PICK(GB(2) + MB(34) + KB(68),
				    GB(1) + MB(34) + KB(16),
				    GB(16) + MB(514) + KB(64));
	config.holes[0] = (struct kpb_region){
		.base = config.phys_base + MB(8) + CONT_PTE_SIZE,
		.size = CONT_PTE_SIZE,
	};
	config.nr_holes = 1;
	config.boot.bbml2 = KPB_BBML2_LATE_CPU;
	m = box_create(test, &config);
	BOX_EXPECT_CLEAN(test);
	nr_tables = m->nr_leaves[KPB_LEAF_PUD] +
		    m->nr_leaves[KPB_LEAF_PUD] * PTRS_PER_PMD +
		    m->nr_leaves[KPB_LEAF_CONT_PMD] +
		    m->nr_leaves[KPB_LEAF_PMD];
	KUNIT_EXPECT_NE(test, m->nr_leaves[KPB_LEAF_CONT_PTE], 0);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_SMP);
	BOX_EXPECT_CLEAN(test);
	KUNIT_EXPECT_EQ(test, m->nr_split_ptps, nr_tables);
	KUNIT_EXPECT_EQ(test, m->nr_leaves[KPB_LEAF_PTE],
			(config.ram_bytes - CONT_PTE_SIZE) >> PAGE_SHIFT);
	boot_phases(test, KPB_PHASE_LATE_INIT, KPB_PHASE_RUNNING);
}

/* No table, no map: the kernel has no way back. */
static void boot_split_without_memory_panics(struct kunit *test)
{
	const struct kpb_fault fault = { .mode = KPB_FAULT_EVERY, .n = 1 };
	struct kpb_config config = boot_config(BOX_PBA, 2);

	box_refill_orders(&config, 2, 0, 0);
	config.boot.bbml2 = KPB_BBML2_LATE_CPU;
	box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_WINDOW);
	KUNIT_ASSERT_EQ(test,
			box_granule.set_fault(KPB_POINT_ALLOC_PAGES, &fault),
			0);
	BOX_EXPECT_STOP(test, box_granule.boot_phase(KPB_PHASE_SMP),
			"kernel panic: Failed to split linear map");
}

/* Nobody has it, or debugging wants PTEs: v6 serves page by page, at once. */
static void boot_without_bbml2_has_a_map_of_ptes(struct kunit *test)
{
	u32 debug, rodata;

	for (debug = 0; debug < 2; debug++)
		for (rodata = 0; rodata < KPB_NR_RODATA; rodata++) {
			struct kpb_config config = boot_config(BOX_PBA, 2);
			struct kpb_state state;

			config.ram_bytes = BOX_SMALL_BYTES;
			config.boot.debug_pagealloc = debug;
			config.boot.rodata = rodata;
			config.boot.bbml2 = debug ? KPB_BBML2_ALL :
						    KPB_BBML2_NONE;
			boot_all(test, &config);
			box_granule.state(&state);
			KUNIT_EXPECT_EQ(test, state.map_pte_kb,
					config.ram_bytes >> 10);
			KUNIT_EXPECT_EQ(test, boot_counters().early_regions, 0);
			KUNIT_EXPECT_EQ(test, kpb_this->counters.refills, 0);
			KUNIT_EXPECT_EQ(test, state.cached_pages, 0);
			KUNIT_EXPECT_EQ(test, kpb_this->counters.warnings, 0);
		}
}

/* The same for the allocator that wants such a map. */
static void boot_of_noblock_is_protected_at_once(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_NOBLOCK, 64);
	struct kpb_state state;

	config.boot.bbml2 = KPB_BBML2_LATE_CPU;
	config.ram_bytes = BOX_SMALL_BYTES;
	box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_WINDOW);
	box_granule.state(&state);
	/* all but the linear map's own, which come from the PPA */
	KUNIT_EXPECT_EQ(test, state.unprotected_pages,
			state.ptps_for_linear_map);
	boot_phases(test, KPB_PHASE_SMP, KPB_PHASE_RUNNING);
	KUNIT_EXPECT_EQ(test, boot_ptps(KPB_BOOT_LINEAR_MAP_SPLIT, 0), 0);
	BOX_EXPECT_CLEAN(test);
}

/* The rules of split_kernel_leaf_mapping() before and after capabilities. */
static void boot_decides_when_a_split_is_possible(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_PBA, 4);
	struct kpb_machine *m = box_create(test, &config);
	unsigned long addr = box_addr(PAGE_SIZE);

	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_BUDDY);
	/* the boot CPU is alone, and has it */
	BOX_EXPECT_WARNINGS(test, 0,
			    KUNIT_EXPECT_EQ(test,
					    split_kernel_leaf_mapping(
						    addr, addr + PAGE_SIZE),
					    0));
	addr += MB(1024);
	check_local_cpu_capabilities(1);
	BOX_EXPECT_WARNINGS(test, 1,
			    KUNIT_EXPECT_EQ(test,
					    split_kernel_leaf_mapping(
						    addr, addr + PAGE_SIZE),
					    -EBUSY));
	m->boot.system_capabilities_finalized = true;
	BOX_EXPECT_WARNINGS(test, 0,
			    KUNIT_EXPECT_EQ(test,
					    split_kernel_leaf_mapping(
						    addr, addr + PAGE_SIZE),
					    0));
	/* found not to have it: it is for others to notice */
	m->boot.nr_bbml2_cpus--;
	addr += MB(1024);
	BOX_EXPECT_WARNINGS(test, 0,
			    KUNIT_EXPECT_EQ(test,
					    split_kernel_leaf_mapping(
						    addr, addr + PAGE_SIZE),
					    0));
	KUNIT_EXPECT_NE(test,
			box_map_counters().split_pmd +
				box_map_counters().split_contpte,
			0);
	/* no buddy allocator: nobody could give a table */
	m->boot.nr_bbml2_cpus++;
	m->zone.managed_pages = 0;
	BOX_EXPECT_WARNINGS(test, 1,
			    KUNIT_EXPECT_EQ(test,
					    split_kernel_leaf_mapping(
						    addr, addr + PAGE_SIZE),
					    -EBUSY));
}

/* Order of phases */

static void boot_phases_come_in_order(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_PBA, 2);

	box_create(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.boot_phase(KPB_PHASE_BUDDY),
			-EALREADY);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_BUDDY);
	KUNIT_EXPECT_EQ(test, box_granule.boot_phase(KPB_PHASE_BUDDY),
			-EALREADY);
	KUNIT_EXPECT_EQ(test, box_granule.boot_phase(KPB_NR_PHASES), -EINVAL);
	/* not both ways of booting */
	KUNIT_EXPECT_EQ(test, box_granule.init(), -EALREADY);
	KUNIT_EXPECT_EQ(test, box_granule.init_late(), -EALREADY);
	boot_phases(test, KPB_PHASE_WINDOW, KPB_PHASE_RUNNING);
	KUNIT_EXPECT_EQ(test, boot_counters().phases, KPB_NR_PHASES);
}

static void boot_in_two_steps_is_no_boot_in_phases(struct kunit *test)
{
	box_boot_pba(test, BOX_SMALL_BYTES);
	KUNIT_EXPECT_EQ(test, box_granule.boot_phase(KPB_PHASE_LINEAR_MAP),
			-EALREADY);
	KUNIT_EXPECT_EQ(test, boot_counters().phases, 0);
	KUNIT_EXPECT_EQ(test, boot_counters().tracked_regions, 1);
	KUNIT_EXPECT_EQ(test, boot_counters().early_capacity_start_pages,
			BOX_PICK(508, 2044, 508));
}

static void boot_of_null_is_refused(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_NULL, 2);

	box_create(test, &config);
	KUNIT_EXPECT_EQ(test, box_granule.boot_phase(KPB_PHASE_LINEAR_MAP),
			-EOPNOTSUPP);
}

/* Not enough for the stacks: that is the end. */
static void boot_without_memory_for_stacks_panics(struct kunit *test)
{
	struct kpb_config config = boot_config(BOX_PBA, 4096);

	config.ram_bytes = MB(64);
	if (PAGE_SHIFT != 12)
		return;
	box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_BUDDY);
	BOX_EXPECT_STOP(test, box_granule.boot_phase(KPB_PHASE_WINDOW),
			"kernel panic: no memory for an IRQ stack");
}

/* A chunk that finds no memory, and a device that finds no table: boot goes on. */
static void boot_goes_on_without_optional_areas(struct kunit *test)
{
	const struct kpb_fault fault = { .mode = KPB_FAULT_EVERY, .n = 1 };
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	struct kpb_machine *m;

	box_refill_orders(&config, 2, 0, 0);
	config.boot.nr_possible_cpus = 2;
	config.boot.nr_ioremap = 2;
	/* two tables between them, and nobody has one to give */
	config.boot.ioremap_bytes = PMD_SIZE / 2 + PAGE_SIZE;
	config.boot.percpu_chunks = 2;
	config.boot.percpu_unit_bytes = 64 << 20;
	m = box_create(test, &config);
	boot_phases(test, KPB_PHASE_LINEAR_MAP, KPB_PHASE_BUDDY);
	init_irq_stacks();
	KUNIT_ASSERT_EQ(test,
			box_granule.set_fault(KPB_POINT_ALLOC_PAGES, &fault),
			0);
	while (kpb_cached_pages(m) > PBA_NR_RESERVED_PAGES)
		if (!kpb_alloc_table(TABLE_PTE))
			break;
	kpb_ioremap_devices();
	kpb_percpu_grow();
	KUNIT_EXPECT_NE(test, m->boot.counters.failed_ptps, 0);
	KUNIT_EXPECT_EQ(test, m->nr_vmalloc_pages,
			2 * (IRQ_STACK_SIZE >> PAGE_SHIFT));
}

/* After boot in phases a workload runs as on any machine. */
static void boot_then_run(struct kunit *test)
{
	u32 bbml2, i;

	for (bbml2 = 0; bbml2 < KPB_NR_BBML2; bbml2++) {
		struct kpb_config config = boot_config(BOX_PBA, 4);

		config.boot.bbml2 = bbml2;
		config.ram_bytes = BOX_SMALL_BYTES;
		/* room for the tables of a split map in the first region */
		boot_all(test, &config);
		KUNIT_ASSERT_EQ(test, box_granule.set_slots(2000), 0);
		for (i = 0; i < 2000; i++)
			KUNIT_ASSERT_EQ(test, box_op(KPB_OP_ALLOC, i, 0, 0), 0);
		for (i = 0; i < 2000; i += 2)
			KUNIT_ASSERT_EQ(test, box_op(KPB_OP_FREE, i, 0, 0), 0);
		KUNIT_EXPECT_EQ(test, box_op(KPB_OP_SHRINK, 0, 0, 0), 0);
		BOX_EXPECT_CLEAN(test);
	}
}

static const struct {
	const char *name;
	struct kpb_boot_config boot;
	const char *what;
} boot_errors[] = {
	{ "one CPU", { .nr_possible_cpus = 1 }, "nr_possible_cpus" },
	{ "many CPUs", { .nr_possible_cpus = 4097 }, "nr_possible_cpus" },
	{ "bbml2", { .bbml2 = KPB_NR_BBML2 }, "no such case" },
	{ "rodata", { .rodata = KPB_NR_RODATA }, "no such case" },
	{ "threads", { .threads_per_cpu = 65 }, "threads_per_cpu" },
	{ "a device of nothing", { .nr_ioremap = 1 }, "ioremap" },
	{ "a large device",
	  { .nr_ioremap = 1, .ioremap_bytes = PMD_SIZE },
	  "ioremap" },
	{ "a unit of nothing", { .percpu_chunks = 1 }, "percpu" },
	{ "more populated than there is",
	  { .percpu_chunks = 1,
	    .percpu_unit_bytes = PAGE_SIZE,
	    .percpu_populated_bytes = 2 * PAGE_SIZE },
	  "percpu" },
	{ "half a page", { .vmalloc_offset_bytes = 512 }, "vmalloc_offset" },
	{ "beyond the area",
	  { .vmalloc_offset_bytes = 1ULL << 60 },
	  "vmalloc_offset" },
};

KUNIT_ARRAY_PARAM(boot_errors, boot_errors)

static void boot_errors_are_named(struct kunit *test)
{
	const __typeof__(boot_errors[0]) *param = test->param_value;
	struct kpb_config config = box_config(BOX_PBA, BOX_SMALL_BYTES);
	char msg[KPB_MSG_BYTES] = "";
	struct kpb_machine *m;

	config.boot = param->boot;
	KUNIT_EXPECT_EQ(test, box_granule.create(&config, &m, msg), -EINVAL);
	KUNIT_EXPECT_CONTAINS(test, msg, param->what);
}

static const struct kunit_case boot_cases[] = {
	KUNIT_CASE_PARAM(boot_irq_stacks_take_these_tables,
			 boot_irq_stacks_gen_params),
	KUNIT_CASE(boot_irq_stacks_depend_on_the_offset),
	KUNIT_CASE(boot_region_that_is_keyed_by_half_is_untracked),
	KUNIT_CASE(boot_ranges_join_what_touches),
	KUNIT_CASE_PARAM(boot_va_bits_decide_about_upper_tables,
			 boot_va_bits_gen_params),
	KUNIT_CASE_PARAM(boot_va_bits_leave_splits_alone,
			 boot_va_bits_gen_params),
	KUNIT_CASE_PARAM(boot_va_bits_late_cpu_splits_it_all,
			 boot_va_bits_gen_params),
	KUNIT_CASE(boot_va_bits_must_exist_and_have_room),
	KUNIT_CASE(boot_with_threads_takes_320_tables),
	KUNIT_CASE_PARAM(boot_window_overflows_when_it_must,
			 boot_windows_gen_params),
	KUNIT_CASE(boot_window_by_hand),
#if PAGE_SHIFT == 12
	KUNIT_CASE(boot_without_a_free_block_falls_back),
	KUNIT_CASE(boot_without_64k_falls_back_to_order_2),
	KUNIT_CASE(boot_late_cpu_on_12_gb),
	KUNIT_CASE(boot_split_leaves_the_image_alone),
#endif
	KUNIT_CASE(boot_attributes_tables_to_causes),
	KUNIT_CASE_PARAM(boot_splits_the_map_for_a_cpu_without_bbml2,
			 boot_bbml2_gen_params),
	KUNIT_CASE(boot_splits_leaves_of_every_size),
	KUNIT_CASE(boot_split_without_memory_panics),
	KUNIT_CASE(boot_without_bbml2_has_a_map_of_ptes),
	KUNIT_CASE(boot_of_noblock_is_protected_at_once),
	KUNIT_CASE(boot_decides_when_a_split_is_possible),
	KUNIT_CASE(boot_phases_come_in_order),
	KUNIT_CASE(boot_in_two_steps_is_no_boot_in_phases),
	KUNIT_CASE(boot_of_null_is_refused),
	KUNIT_CASE(boot_without_memory_for_stacks_panics),
	KUNIT_CASE(boot_goes_on_without_optional_areas),
	KUNIT_CASE(boot_then_run),
	KUNIT_CASE_PARAM(boot_errors_are_named, boot_errors_gen_params),
	{ 0 },
};

static struct kunit_suite boot_suite = {
	.name = BOX_SUITE("boot"),
	.test_cases = boot_cases,
};
kunit_test_suite(boot_suite);

#undef KB
#undef MB
#undef GB
