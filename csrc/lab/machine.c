// SPDX-License-Identifier: GPL-2.0-only
/* One simulated box: made, booted, looked at, taken down. */

#include <asm/cpufeature.h>
#include <asm/pgtable.h>
#include <linux/kpkeys.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "../allocators/allocators.h"
#include "../mm/internal.h"
#include "machine.h"

#define KPB_MIN_RAM_BYTES (64ULL << 20)
#define KPB_MAX_RAM_BYTES (1ULL << 40)
#define KPB_PHYS_BASE_ALIGN (1ULL << 30)
#define KPB_MAX_PHYS_BASE (1ULL << 46)
/*
 * The largest leaf is 16 GB: linear and host alignment agree up to it. Physical
 * alignment is another matter: with RAM at 1 GB and 64K pages no contPMD group
 * is aligned in both ways.
 */
#define KPB_LINEAR_ALIGN (1ULL << 34)

/* In the order of kpb_allocators[] (kpb_api.c). */
static const struct kpb_allocator_ops *const kpb_allocator_ops[] = {
	&kpb_v6_ops,   /* pba */
	&kpb_v6_ops,   /* noblock: what v6 does on a PTE map */
	&kpb_null_ops, /* null */
	&kpb_early_regions_ops,
	&kpb_deferred_list_ops,
	&kpb_deferred_marks_ops,
	&kpb_sized_refill_ops,
};

static void kpb_geometry_fill(struct kpb_geometry *out)
{
	memset(out, 0, sizeof(*out));
	out->page_shift = PAGE_SHIFT;
	out->max_page_order = MAX_PAGE_ORDER;
	out->block_order = pageblock_order;
	out->ptrs_per_table = PTRS_PER_PTE;
	out->cont_pte_order = CONT_PTE_SHIFT - PAGE_SHIFT;
	out->pmd_order = PMD_ORDER;
	out->cont_pmd_order = CONT_PMD_SHIFT - PAGE_SHIFT;
	out->pud_order = pud_sect_supported() ? PUD_SHIFT - PAGE_SHIFT : 0;
	out->nr_refill_orders = ARRAY_SIZE(default_refill_orders);
	memcpy(out->refill_orders, default_refill_orders,
	       sizeof(default_refill_orders));
}

static int kpb_check_refill_orders(const struct kpb_config *config, char *msg)
{
	const u8 *orders = config->refill_orders;
	u32 nr = config->nr_refill_orders, i;

	if (!nr || nr > KPB_MAX_REFILL_ORDERS) {
		snprintf(msg, KPB_MSG_BYTES,
			 "refill_orders has %u entries; give 1 to %d", nr,
			 KPB_MAX_REFILL_ORDERS);
		return -EINVAL;
	}
	for (i = 0; i < nr; i++) {
		if (orders[i] <= MAX_PAGE_ORDER)
			continue;
		snprintf(msg, KPB_MSG_BYTES,
			 "refill order %u: the buddy allocator's largest order is %d with %luK pages",
			 orders[i], MAX_PAGE_ORDER, PAGE_SIZE >> 10);
		return -EINVAL;
	}
	if (config->allow_any_orders)
		return 0;
	for (i = 1; i < nr; i++) {
		if (orders[i] < orders[i - 1])
			continue;
		snprintf(msg, KPB_MSG_BYTES,
			 "refill order %u after %u: the list must be strictly decreasing, it is tried from the left",
			 orders[i], orders[i - 1]);
		return -EINVAL;
	}
	if (orders[nr - 1] != 2) {
		snprintf(msg, KPB_MSG_BYTES,
			 "refill_orders ends in %u: the last must be 2, since a refill must yield more than the two pages that its own split may use up",
			 orders[nr - 1]);
		return -EINVAL;
	}
	return 0;
}

static const char kpb_no_noblock_on_blocks[] =
	"on blocks a split would ask it for a page while it holds pgtable_split_lock";
static const char kpb_no_pba_on_ptes[] = "on PTEs v6 does not enable it";

/* Regions are sorted, made of whole pages, and within RAM. */
static int kpb_check_regions(const struct kpb_config *config, const char *name,
			     const struct kpb_region *regions, u32 nr,
			     char *msg)
{
	u64 end = config->phys_base, ram_end = end + config->ram_bytes;
	u32 i;

	if (nr > KPB_MAX_REGIONS) {
		snprintf(msg, KPB_MSG_BYTES, "%u %s regions: give at most %d",
			 nr, name, KPB_MAX_REGIONS);
		return -EINVAL;
	}
	for (i = 0; i < nr; end = regions[i].base + regions[i].size, i++) {
		u64 base = regions[i].base, size = regions[i].size;
		const char *way_out = NULL;

		if (!size || !IS_ALIGNED(base | size, PAGE_SIZE))
			way_out = "give whole pages";
		else if (base < config->phys_base || base >= ram_end ||
			 size > ram_end - base)
			way_out = "it must lie within RAM";
		else if (base < end)
			way_out =
				"it must begin where the one before it ends, or above";
		if (!way_out)
			continue;
		snprintf(msg, KPB_MSG_BYTES,
			 "%s region %u, %#llx bytes at %#llx: %s (page size %lu, RAM %#llx to %#llx)",
			 name, i, (unsigned long long)size,
			 (unsigned long long)base, way_out, PAGE_SIZE,
			 (unsigned long long)config->phys_base,
			 (unsigned long long)ram_end);
		return -EINVAL;
	}
	return 0;
}

/* The first of @nr regions that [base, base + size) has a byte of, or NULL. */
static const struct kpb_region *
kpb_find_region(const struct kpb_region *regions, u32 nr, u64 base, u64 size)
{
	for (; nr; nr--, regions++)
		if (regions->base < base + size &&
		    base < regions->base + regions->size)
			return regions;
	return NULL;
}

static int kpb_check_memory(const struct kpb_config *config, char *msg)
{
	u64 image_bytes = (u64)config->nr_static_pgtables << PAGE_SHIFT;
	u64 left_bytes = config->ram_bytes;
	const struct kpb_region *hit;
	u32 i;
	int ret;

	ret = kpb_check_regions(config, "holes", config->holes,
				config->nr_holes, msg);
	if (!ret)
		ret = kpb_check_regions(config, "reserved", config->reserved,
					config->nr_reserved, msg);
	if (ret)
		return ret;
	for (i = 0; i < config->nr_holes; i++)
		left_bytes -= config->holes[i].size;
	if (!left_bytes) {
		snprintf(msg, KPB_MSG_BYTES,
			 "holes cover %llu bytes, all of ram: leave some",
			 (unsigned long long)config->ram_bytes);
		return -EINVAL;
	}
	for (i = 0; i < config->nr_reserved; i++) {
		const struct kpb_region *rsv = &config->reserved[i];

		hit = kpb_find_region(config->holes, config->nr_holes,
				      rsv->base, rsv->size);
		if (!hit)
			continue;
		snprintf(msg, KPB_MSG_BYTES,
			 "reserved region %u at %#llx meets the hole at %#llx: reserve only what is RAM",
			 i, (unsigned long long)rsv->base,
			 (unsigned long long)hit->base);
		return -EINVAL;
	}
	if (image_bytes >= config->ram_bytes) {
		snprintf(msg, KPB_MSG_BYTES,
			 "nr_static_pgtables %u: give fewer pages than RAM has",
			 config->nr_static_pgtables);
		return -EINVAL;
	}
	hit = kpb_find_region(config->holes, config->nr_holes,
			      config->phys_base, image_bytes);
	if (!hit)
		hit = kpb_find_region(config->reserved, config->nr_reserved,
				      config->phys_base, image_bytes);
	if (!hit)
		return 0;
	snprintf(msg, KPB_MSG_BYTES,
		 "nr_static_pgtables %u: they are the first pages of RAM, which must be clear of the region at %#llx",
		 config->nr_static_pgtables, (unsigned long long)hit->base);
	return -EINVAL;
}

/* Pages that are RAM and never free: what was asked for, and the image's. */
static u64 kpb_reserved_pages(const struct kpb_config *config)
{
	u64 nr_pages = config->nr_static_pgtables;
	u32 i;

	for (i = 0; i < config->nr_reserved; i++)
		nr_pages += config->reserved[i].size >> PAGE_SHIFT;
	return nr_pages;
}

/* The widths of addresses that arm64 can be configured for, by page size. */
static bool kpb_va_bits_exist(u32 va_bits)
{
	switch (va_bits) {
	case 36:
	case 47:
		return PAGE_SHIFT == 14;
	case 39:
		return PAGE_SHIFT == 12;
	case 42:
		return PAGE_SHIFT == 16;
	case 48:
	case 52:
		return true;
	default:
		return false;
	}
}

static u32 kpb_va_bits(const struct kpb_boot_config *boot)
{
	return boot->va_bits ? boot->va_bits : KPB_DEFAULT_VA_BITS;
}

/* Chunks of per-CPU memory: none, or units of whole pages with some of them. */
static bool kpb_percpu_is_valid(const struct kpb_boot_config *boot)
{
	const u64 unit = boot->percpu_unit_bytes;

	if (!boot->percpu_chunks)
		return true;
	return boot->percpu_chunks <= 64 && unit && unit <= 64 << 20 &&
	       boot->percpu_populated_bytes <= unit &&
	       IS_ALIGNED(unit | boot->percpu_populated_bytes, PAGE_SIZE);
}

/* Everything that boot does has a size that is neither nothing nor too much. */
static int kpb_check_boot(const struct kpb_boot_config *boot, char *msg)
{
	u64 vmalloc_bytes;
	int len = 0;

	if (!kpb_va_bits_exist(kpb_va_bits(boot))) {
		snprintf(msg, KPB_MSG_BYTES,
			 "boot: va_bits %u: give 39, 48 or 52 with 4K pages, 36, 47, 48 or 52 with 16K, 42, 48 or 52 with 64K",
			 boot->va_bits);
		return -EINVAL;
	}
	vmalloc_bytes = 1ULL << (kpb_va_bits(boot) - 2);
	if (boot->nr_possible_cpus &&
	    (boot->nr_possible_cpus < 2 ||
	     boot->nr_possible_cpus > KPB_MAX_POSSIBLE_CPUS))
		len = snprintf(msg, KPB_MSG_BYTES,
			       "boot: nr_possible_cpus %u: give 2 to %d",
			       boot->nr_possible_cpus, KPB_MAX_POSSIBLE_CPUS);
	else if (boot->bbml2 >= KPB_NR_BBML2 || boot->rodata >= KPB_NR_RODATA)
		len = snprintf(msg, KPB_MSG_BYTES,
			       "boot: bbml2 %u or rodata %u: no such case",
			       boot->bbml2, boot->rodata);
	else if (boot->threads_per_cpu > 64)
		len = snprintf(msg, KPB_MSG_BYTES,
			       "boot: threads_per_cpu %u: give at most 64",
			       boot->threads_per_cpu);
	else if (boot->nr_ioremap > 4096 ||
		 (boot->nr_ioremap &&
		  (!boot->ioremap_bytes || boot->ioremap_bytes >= PMD_SIZE)))
		len = snprintf(
			msg, KPB_MSG_BYTES,
			"boot: ioremap of %u devices of %u bytes: give up to 4096, each smaller than a PMD block of %lu",
			boot->nr_ioremap, boot->ioremap_bytes, PMD_SIZE);
	else if (!kpb_percpu_is_valid(boot))
		len = snprintf(
			msg, KPB_MSG_BYTES,
			"boot: percpu, %u chunks of units of %u bytes, %u of them populated: give up to 64 of whole pages to 64M",
			boot->percpu_chunks, boot->percpu_unit_bytes,
			boot->percpu_populated_bytes);
	else if (boot->vmalloc_offset_bytes >= vmalloc_bytes / 2 ||
		 !IS_ALIGNED(boot->vmalloc_offset_bytes, PAGE_SIZE))
		len = snprintf(
			msg, KPB_MSG_BYTES,
			"boot: vmalloc_offset of %llu bytes: give whole pages below %llu, half of the area",
			(unsigned long long)boot->vmalloc_offset_bytes,
			(unsigned long long)vmalloc_bytes / 2);
	return len ? -EINVAL : 0;
}

static int kpb_check_config(const struct kpb_config *config, char *msg)
{
	int ret = kpb_check_boot(&config->boot, msg);

	if (ret)
		return ret;

	if (config->ram_bytes < KPB_MIN_RAM_BYTES ||
	    config->ram_bytes > KPB_MAX_RAM_BYTES) {
		snprintf(msg, KPB_MSG_BYTES,
			 "ram of %llu bytes: give 64M to 1T",
			 (unsigned long long)config->ram_bytes);
		return -EINVAL;
	}
	if (config->ram_bytes > 1ULL << (kpb_va_bits(&config->boot) - 1)) {
		snprintf(msg, KPB_MSG_BYTES,
			 "ram of %llu bytes: the linear map of %u-bit addresses has room for %llu",
			 (unsigned long long)config->ram_bytes,
			 kpb_va_bits(&config->boot),
			 1ULL << (kpb_va_bits(&config->boot) - 1));
		return -EINVAL;
	}
	if (!IS_ALIGNED(config->ram_bytes, PAGE_SIZE)) {
		snprintf(msg, KPB_MSG_BYTES,
			 "ram of %llu bytes: give a multiple of the page size, %lu",
			 (unsigned long long)config->ram_bytes, PAGE_SIZE);
		return -EINVAL;
	}
	if (!IS_ALIGNED(config->phys_base, KPB_PHYS_BASE_ALIGN) ||
	    config->phys_base > KPB_MAX_PHYS_BASE) {
		snprintf(msg, KPB_MSG_BYTES,
			 "phys_base %#llx: give a multiple of 1 GB up to 64 TB",
			 (unsigned long long)config->phys_base);
		return -EINVAL;
	}
	if (config->aged_ppm > 1000000 ||
	    (config->aged_ppm &&
	     (!config->aged_pins || config->aged_pins > pageblock_nr_pages))) {
		snprintf(msg, KPB_MSG_BYTES,
			 "aged state: share %u ppm with up to %u pages a block; give at most 1000000 and 1 to %lu",
			 config->aged_ppm, config->aged_pins,
			 pageblock_nr_pages);
		return -EINVAL;
	}
	if (config->nr_cpus > KPB_MAX_CPUS) {
		snprintf(msg, KPB_MSG_BYTES, "%u CPUs: give 1 to %d",
			 config->nr_cpus, KPB_MAX_CPUS);
		return -EINVAL;
	}
	if (!kpb_fault_is_valid(&config->memblock_fault)) {
		snprintf(msg, KPB_MSG_BYTES,
			 "memblock_fault: mode %u, n %llu; give a mode up to %d and n of 1 or more",
			 config->memblock_fault.mode,
			 (unsigned long long)config->memblock_fault.n,
			 KPB_FAULT_SHARE);
		return -EINVAL;
	}
	if (config->linear_map > KPB_MAP_PTE) {
		snprintf(msg, KPB_MSG_BYTES,
			 "linear_map %u: give 0 (blocks) or 1 (PTEs)",
			 config->linear_map);
		return -EINVAL;
	}
	if (!config->allocator_file &&
	    config->linear_map !=
		    (u32)kpb_allocators[config->allocator].linear_map) {
		bool on_blocks = config->linear_map == KPB_MAP_BLOCK;

		snprintf(msg, KPB_MSG_BYTES, "%s needs a linear map of %s: %s",
			 kpb_allocators[config->allocator].name,
			 on_blocks ? "PTEs" : "blocks",
			 on_blocks ? kpb_no_noblock_on_blocks :
				     kpb_no_pba_on_ptes);
		return -EINVAL;
	}
	ret = kpb_check_memory(config, msg);
	if (ret)
		return ret;
	return kpb_check_refill_orders(config, msg);
}

static void kpb_machine_free(struct kpb_machine *m)
{
	kpb_mapping_release(&m->ram_map);
	kpb_mapping_release(&m->vmemmap_map);
	kpb_mapping_release(&m->page_type_map);
	free(m->pageblock_migratetype);
	free(m->hardened_pgtables);
	free(m->variant);
	kpb_vmalloc_exit(m);
	free(m->boot.early_regions);
	free(m->slots);
	free(m->pcp);
	free(m->recorder.events);
	kpb_tasks_free(m);
	free(m->door_ops);
	kpb_door_close(m->door);
	free(m);
}

/* Address space for RAM, for struct page and for the page types. */
static int kpb_machine_reserve(struct kpb_machine *m)
{
	const struct kpb_config *config = &m->config;
	unsigned long start_pfn = config->phys_base >> PAGE_SHIFT;
	unsigned long nr_pages = config->ram_bytes >> PAGE_SHIFT;
	/* the buddy of a frame is looked at even if it is beyond the end */
	unsigned long nr_frames = ALIGN(nr_pages, MAX_ORDER_NR_PAGES);
	unsigned long nr_blocks = nr_frames >> pageblock_order;

	m->hardened_pgtables =
		calloc(1, sizeof(struct kpkeys_hardened_pgtables));
	m->variant = calloc(1, max(m->ops->variant_bytes, (size_t)1));
	m->pageblock_migratetype = calloc(1, nr_blocks);
	m->pcp = aligned_alloc(_Alignof(struct per_cpu_pages),
			       config->nr_cpus * sizeof(*m->pcp));
	if (!m->hardened_pgtables || !m->variant || !m->pageblock_migratetype ||
	    !m->pcp ||
	    kpb_mapping_reserve(&m->ram_map, config->ram_bytes,
				KPB_LINEAR_ALIGN) ||
	    kpb_mapping_reserve(&m->vmemmap_map,
				nr_frames * sizeof(struct page), 1 << 16) ||
	    kpb_mapping_reserve(&m->page_type_map, nr_frames, 1 << 16))
		return -ENOMEM;

	m->linear_start = (uintptr_t)m->ram_map.addr;
	m->linear_offset = m->linear_start - config->phys_base;
	m->vmemmap = (uintptr_t)m->vmemmap_map.addr -
		     start_pfn * sizeof(struct page);
	m->page_type = m->page_type_map.addr;
	m->zone.zone_start_pfn = start_pfn;
	m->zone.zone_end_pfn = start_pfn + nr_pages;
	return kpb_memblock_init(m);
}

void kpb_note_unprotected(struct kpb_machine *m)
{
	unsigned long nr_ptps =
		m->nr_held + m->nr_early_ptps + m->config.nr_static_pgtables;

	unsigned long nr_keyed = m->nr_pkey_pages - m->nr_stray_pkey_pages;

	m->nr_unprotected = nr_ptps > nr_keyed ? nr_ptps - nr_keyed : 0;
}

void kpb_note_cached(struct kpb_machine *m)
{
	u64 nr_cached = kpb_cached_pages(m);

	m->counters.cached_peak_pages =
		max(m->counters.cached_peak_pages, nr_cached);
}

/* What stands for nothing in a configuration. */
static void kpb_machine_defaults(struct kpb_machine *m)
{
	struct kpb_config *config = &m->config;
	unsigned int i;

	if (!config->nr_cpus)
		config->nr_cpus = KPB_DEFAULT_CPUS;
	if (!config->boot.nr_possible_cpus)
		config->boot.nr_possible_cpus = KPB_DEFAULT_POSSIBLE_CPUS;
	config->boot.va_bits = kpb_va_bits(&config->boot);
	m->pgtable_levels = ARM64_HW_PGTABLE_LEVELS(config->boot.va_bits);
	if (!config->variant_param)
		config->variant_param =
			kpb_allocators[config->allocator].default_param;
	if (!config->memcg_limit_pages)
		config->memcg_limit_pages = ~0ULL;
	if (config->memblock_fault.mode != KPB_FAULT_OFF) {
		m->faults[KPB_POINT_MEMBLOCK].fault = config->memblock_fault;
		m->faults_armed |= (u32)BIT(KPB_POINT_MEMBLOCK);
	}
	for (i = 0; i < ARRAY_SIZE(m->cpu_of); i++)
		m->cpu_of[i] = (u8)(i % config->nr_cpus);
	for (i = 0; i < KPB_MAX_TASKS; i++)
		m->tasks[i].pid = (int)i;
	m->curr = &m->tasks[0];
	mutex_init(&m->pgtable_split_lock);
	m->pgtable_split_lock.name = "pgtable_split_lock";
}

static int kpb_granule_create(const struct kpb_config *config,
			      struct kpb_machine **out, char *msg)
{
	struct kpb_machine *m;
	int ret = kpb_check_config(config, msg);

	if (ret)
		return ret;
	/* swapper_pg_dir wants its alignment */
	m = aligned_alloc(KPB_ROOT_ALIGN, ALIGN(sizeof(*m), KPB_ROOT_ALIGN));
	if (!m)
		return -ENOMEM;
	memset(m, 0, sizeof(*m));
	m->config = *config;
	m->ops = kpb_allocator_ops[config->allocator];
	kpb_machine_defaults(m);
	m->counters.reserve_low_water_pages = ~0ULL;
	ret = kpb_machine_reserve(m);
	if (ret) {
		snprintf(msg, KPB_MSG_BYTES,
			 "cannot reserve address space for %llu bytes of RAM; is there a limit on virtual memory (ulimit -v, vm.overcommit_memory)?",
			 (unsigned long long)config->ram_bytes);
		kpb_machine_free(m);
		return ret;
	}

	kpb_this = m;
	if (config->allocator_file) {
		ret = kpb_machine_open_door(m, msg);
		if (ret) {
			kpb_machine_free(m);
			return ret;
		}
	}
	if (setjmp(m->border.escape)) {
		memcpy(msg, m->border.msg, KPB_MSG_BYTES);
		kpb_machine_free(m);
		return -ENOMEM;
	}
	map_mem();
	/* what decided about the map is as good as the user's word */
	if (force_pte_mapping())
		m->config.linear_map = KPB_MAP_PTE;
	free_area_init(&m->zone);
	memblock_free_all();
	vmalloc_init();
	m->boot.cause = KPB_BOOT_OTHER_SPLIT;
	kpb_note_unprotected(m);
	*out = m;
	return 0;
}

int kpb_boot_init(void)
{
	if (kpb_this->init_done)
		return -EALREADY;
	kpb_this->init_done = true;
	kpb_this->boot.phase = KPB_PHASE_BUDDY;
	kpkeys_hardened_pgtables_init();
	setup_per_cpu_pageset();
	kpb_note_unprotected(kpb_this);
	kpb_note_cached(kpb_this);
	kpb_boot_begin_window();
	return 0;
}

static int kpb_granule_init(void)
{
	return kpb_this->boot.stepped ? -EALREADY : kpb_boot_init();
}

int kpb_boot_init_late(void)
{
	struct kpb_machine *m = kpb_this;

	if (!m->init_done || m->late_init_done)
		return -EALREADY;
	m->boot.phase = KPB_PHASE_LATE_INIT;
	/* every CPU is known to tolerate splits: features are final */
	m->late_init_done = true;
	m->cause = KPB_CAUSE_LATE_INIT;
	kpkeys_hardened_pgtables_init_late();
	kpb_boot_end_window();
	/* a region that is still without the pkey will never get it */
	kpb_note_landed(m->zone.zone_start_pfn,
			m->zone.zone_end_pfn - m->zone.zone_start_pfn);
	m->ops->register_shrinker();
	m->cause = KPB_CAUSE_OTHER;
	kpb_note_unprotected(m);
	kpb_note_cached(m);
	kpb_note_reserve();
	m->boot.phase = KPB_PHASE_RUNNING;
	return 0;
}

static int kpb_granule_init_late(void)
{
	return kpb_this->boot.stepped ? -EALREADY : kpb_boot_init_late();
}

static int kpb_granule_set_slots(uint32_t nr_slots)
{
	struct kpb_machine *m = kpb_this;
	struct kpb_slot *slots;

	if (nr_slots <= m->nr_slots)
		return 0;
	if (nr_slots > KPB_MAX_SLOTS)
		return -EINVAL;
	/* it knows where its slot is */
	if (kpb_task_under_way() >= 0)
		return -EALREADY;
	slots = realloc(m->slots, nr_slots * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	memset(slots + m->nr_slots, 0,
	       (nr_slots - m->nr_slots) * sizeof(*slots));
	m->slots = slots;
	m->nr_slots = nr_slots;
	return 0;
}

static void kpb_granule_counters(struct kpb_counters *out)
{
	*out = kpb_this->counters;
	/* null hands out what it does not have */
	if ((s64)out->cached_page_ops < 0)
		out->cached_page_ops = 0;
	if (out->reserve_low_water_pages == ~0ULL)
		out->reserve_low_water_pages = 0;
}

static void kpb_granule_map_counters(struct kpb_map_counters *out)
{
	memcpy(out, kpb_this->map_counters, sizeof(kpb_this->map_counters));
}

static void kpb_granule_state(struct kpb_state *out)
{
	struct kpb_machine *m = kpb_this;
	struct zone *zone = &m->zone;
	const u64 *nr = m->nr_leaves;
	u64 page_kb = PAGE_SIZE >> 10;
	unsigned int order;
	u32 cpu;

	memset(out, 0, sizeof(*out));
	out->ops = m->nr_ops;
	out->live_pages = m->nr_live;
	out->cached_pages = (long)kpb_cached_pages(m) < 0 ? 0 :
							    kpb_cached_pages(m);
	out->pinned_pages = m->nr_pinned;
	if (m->shrinker.registered) {
		struct shrink_control sc = { .gfp_mask = GFP_KERNEL };
		unsigned long count =
			m->shrinker.count_objects(&m->shrinker, &sc);

		out->shrinkable_pages = count == SHRINK_EMPTY ? 0 : count;
	}
	out->ptps_for_linear_map = m->nr_early_ptps + m->nr_split_ptps;
	out->unprotected_pages = m->nr_unprotected;
	out->deferred_pages = zone->nr_deferred_pages;
	out->free_pages = zone->nr_free_pages + out->deferred_pages;
	out->ram_pages = kpb_memblock_bytes(&m->memblock.memory) >> PAGE_SHIFT;
	out->held_pages = m->nr_held;
	out->reserved_pages = kpb_reserved_pages(&m->config);
	out->memcg_pages = m->nr_charged;
	for (cpu = 0; cpu < m->config.nr_cpus; cpu++)
		out->pcp_pages += (u64)m->pcp[cpu].count;
	out->watermark_min = min_wmark_pages(zone);
	out->watermark_low = low_wmark_pages(zone);
	out->watermark_high = high_wmark_pages(zone);
	out->map_pud_kb = nr[KPB_LEAF_PUD] * (PUD_SIZE >> 10);
	out->map_contpmd_kb = nr[KPB_LEAF_CONT_PMD] * (PMD_SIZE >> 10);
	out->map_pmd_kb = nr[KPB_LEAF_PMD] * (PMD_SIZE >> 10);
	out->map_contpte_kb = nr[KPB_LEAF_CONT_PTE] * page_kb;
	out->map_pte_kb = nr[KPB_LEAF_PTE] * page_kb;
	out->map_leaves = nr[KPB_LEAF_PUD] + nr[KPB_LEAF_CONT_PMD] / CONT_PMDS +
			  nr[KPB_LEAF_PMD] + nr[KPB_LEAF_CONT_PTE] / CONT_PTES +
			  nr[KPB_LEAF_PTE];
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		out->free_pages_order[order] = zone->free_area[order].nr_free
					       << order;
}

static uint32_t kpb_granule_warnings(struct kpb_warning *out, uint32_t nr)
{
	struct kpb_machine *m = kpb_this;

	if (nr)
		memcpy(out, m->warnings,
		       min_t(u32, nr, m->nr_warn_sites) * sizeof(*out));
	return m->nr_warn_sites;
}

static int64_t kpb_granule_slot_pfns(uint64_t *out, uint64_t nr)
{
	struct kpb_machine *m = kpb_this;
	u32 i;

	for (i = 0; i < m->nr_slots && i < nr; i++)
		out[i] = m->slots[i].page ? page_to_pfn(m->slots[i].page) : 0;
	return m->nr_slots;
}

/* Frame numbers collected into a caller's array, of which some may not fit. */
struct kpb_pfn_list {
	uint64_t *out;
	uint64_t nr;
	int64_t found;
};

static int kpb_pfn_list_add(struct page *page, void *data)
{
	struct kpb_pfn_list *list = data;

	if ((uint64_t)list->found < list->nr)
		list->out[list->found] = page_to_pfn(page);
	list->found++;
	return 0;
}

static int64_t kpb_granule_cached_pfns(uint64_t *out, uint64_t nr)
{
	struct kpb_pfn_list list = { out, nr, 0 };

	int ret = kpb_for_each_cached(kpb_pfn_list_add, &list);

	return ret ? ret : list.found;
}

static int64_t kpb_granule_free_pfns(uint32_t order, uint32_t migratetype,
				     uint64_t *out, uint64_t nr)
{
	struct kpb_pfn_list list = { out, nr, 0 };
	struct page *page;

	if (order > MAX_PAGE_ORDER || migratetype >= MIGRATE_TYPES)
		return -EINVAL;
	list_for_each_entry(page,
			    &kpb_this->zone.free_area[order]
				     .free_list[migratetype],
			    buddy_list)
		kpb_pfn_list_add(page, &list);
	return list.found;
}

static int64_t kpb_granule_pageblock_types(uint8_t *out, uint64_t nr)
{
	struct zone *zone = &kpb_this->zone;
	u64 nr_blocks = pfn_to_pageblock(zone->zone_end_pfn - 1) + 1;

	/* asked for the number alone, @out may be NULL */
	if (nr)
		memcpy(out, kpb_this->pageblock_migratetype,
		       min(nr, nr_blocks));
	return (int64_t)nr_blocks;
}

/* The leaf that maps a frame; its descriptor is 0 where there is none. */
static u64 kpb_leaf_desc(unsigned long pfn)
{
	unsigned long addr = (unsigned long)page_address(pfn_to_page(pfn));
	pmd_t *pmdp, pmd;
	pud_t *pudp;

	if (pfn < kpb_this->zone.zone_start_pfn ||
	    pfn >= kpb_this->zone.zone_end_pfn)
		return 0;
	pudp = kpb_pud_of(addr);
	if (!pudp || !pud_present(pudp_get(pudp)))
		return 0;
	if (pud_leaf(pudp_get(pudp)))
		return pud_val(pudp_get(pudp));
	pmdp = pmd_offset(pudp, addr);
	/* a deferred table stays so: looking changes nothing */
	pmd = READ_ONCE(*pmdp);
	if (pmd_val(pmd) & KPB_PMD_DEFERRED)
		return PAGE_KERNEL_ATTRS | PTE_TYPE_PAGE;
	if (!pmd_present(pmd) || pmd_leaf(pmd))
		return pmd_val(pmd);
	return pte_val(ptep_get(pte_offset_kernel(pmdp, addr)));
}

static void kpb_granule_pkeys(const uint64_t *pfns, uint8_t *out, uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++) {
		u64 desc = kpb_leaf_desc(pfns[i]);

		out[i] = kpb_desc_present(desc) ? (u8)kpb_desc_pkey(desc) : 255;
	}
}
