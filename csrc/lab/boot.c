// SPDX-License-Identifier: GPL-2.0-only
/*
 * Boot in phases: what asks for page tables between the moment the buddy
 * allocator works and late initialisation, in the order in which a kernel
 * does it, and who asked for how many. The mirrors do the work; sizes that a
 * kernel takes from its configuration or its devices are the user's.
 */

#include <asm/cpufeature.h>
#include <asm/memory.h>
#include <linux/kpkeys.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "../allocators/allocators.h"
#include "machine.h"

/* Of the cached pages, those that no ordinary request may take. */
#define KPB_EARLY_RESERVE_PAGES PBA_NR_RESERVED_PAGES

static_assert((int)TABLE_PTE == (int)KPB_LEVEL_PTE &&
	      (int)TABLE_PMD == (int)KPB_LEVEL_PMD &&
	      (int)TABLE_PUD == (int)KPB_LEVEL_PUD &&
	      (int)TABLE_P4D == (int)KPB_LEVEL_P4D);

static bool kpb_in_window(const struct kpb_machine *m)
{
	return m->init_done && !m->late_init_done;
}

void kpb_note_boot_ptp(enum kpb_level level, bool is_failed)
{
	struct kpb_machine *m = kpb_this;
	struct kpb_boot *boot = &m->boot;
	struct kpb_boot_counters *counters = &boot->counters;

	if (unlikely(is_failed)) {
		counters->failed_ptps++;
		return;
	}
	counters->ptps[boot->phase][boot->cause][level]++;
	if (!kpb_in_window(m))
		return;
	counters->window_ptps++;
	counters->atomic_ptps += boot->cause == KPB_BOOT_LINEAR_MAP_SPLIT;
	kpb_note_unprotected(m);
	counters->unprotected_page_ptps += m->nr_unprotected;
}

/* Tables that are asked for from here on are for this. */
static void kpb_boot_begin(enum kpb_boot_cause cause)
{
	kpb_this->boot.cause = cause;
}

static void kpb_boot_end(void)
{
	kpb_this->boot.cause = KPB_BOOT_OTHER_SPLIT;
}

/* Early regions */

static void kpb_note_early_range(struct kpb_boot *boot, unsigned long pfn,
				 unsigned int order)
{
	unsigned long end = pfn + (1UL << order);

	if (!boot->nr_early_regions) {
		boot->early_start_pfn = pfn;
		boot->early_end_pfn = end;
		boot->counters.early_ranges = 1;
	} else {
		const struct kpb_early_region *last =
			&boot->early_regions[boot->nr_early_regions - 1];

		boot->early_start_pfn = min(boot->early_start_pfn, pfn);
		boot->early_end_pfn = max(boot->early_end_pfn, end);
		boot->counters.early_ranges +=
			pfn != last->pfn + (1UL << last->order) &&
			end != last->pfn;
	}
	boot->counters.early_span_pages =
		boot->early_end_pfn - boot->early_start_pfn;
}

void kpb_note_early_region(unsigned long pfn, unsigned int order)
{
	struct kpb_boot *boot = &kpb_this->boot;

	if (boot->nr_early_regions == boot->max_early_regions) {
		unsigned long max = boot->max_early_regions * 2 + 16;
		struct kpb_early_region *regions =
			realloc(boot->early_regions, max * sizeof(*regions));

		if (!regions)
			kpb_stop(__FILE__, __LINE__,
				 "the host is out of memory");
		boot->early_regions = regions;
		boot->max_early_regions = max;
	}
	if (!boot->nr_early_regions)
		boot->counters.first_refill_order = order;
	kpb_note_early_range(boot, pfn, order);
	boot->early_regions[boot->nr_early_regions].pfn = pfn;
	boot->early_regions[boot->nr_early_regions++].order = order;
	boot->counters.early_regions++;
	boot->counters.early_region_pages += 1UL << order;
}

static u64 kpb_early_capacity_pages(void)
{
	u64 nr_cached = kpb_cached_pages(kpb_this);

	return nr_cached > KPB_EARLY_RESERVE_PAGES ?
		       nr_cached - KPB_EARLY_RESERVE_PAGES :
		       0;
}

void kpb_boot_begin_window(void)
{
	/* null has handed out what is not its own, and holds nothing */
	if (kpb_this->nr_held)
		kpb_this->boot.counters.early_capacity_start_pages =
			kpb_early_capacity_pages();
}

/* Which regions did the allocator remember? Those that have the pkey now. */
void kpb_boot_end_window(void)
{
	struct kpb_boot *boot = &kpb_this->boot;
	struct kpb_boot_counters *counters = &boot->counters;
	unsigned long i;

	for (i = 0; i < boot->nr_early_regions; i++) {
		const struct kpb_early_region *region = &boot->early_regions[i];
		struct page *head = pfn_to_page(region->pfn);
		u64 nr_pages = 1UL << region->order;
		u64 nr_keyed = kpb_count_keyed(head, region->order);

		if (nr_keyed == nr_pages) {
			counters->tracked_regions++;
			counters->tracked_region_pages += nr_pages;
		} else {
			counters->untracked_regions++;
			counters->untracked_region_pages += nr_pages - nr_keyed;
		}
	}
	free(boot->early_regions);
	boot->early_regions = NULL;
	boot->nr_early_regions = 0;
	boot->max_early_regions = 0;
}

/* The window */

/* kernel/fork.c. kpb: __GFP_ZERO and __GFP_ACCOUNT left out */
static void alloc_thread_stack_node(void)
{
	/* no thread without a stack, and none of these is optional */
	if (!__vmalloc_node_range(THREAD_SIZE, THREAD_ALIGN, VMALLOC_START,
				  VMALLOC_END, GFP_KERNEL))
		kpb_stop(__FILE__, __LINE__,
			 "kernel panic: no memory for the stack of a thread");
}

/* kernel/smpboot.c: all that may come online, but the one that runs */
static void idle_threads_init(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) if (cpu) alloc_thread_stack_node();
}

/* kernel/smpboot.c, kernel/workqueue.c: ksoftirqd, migration and the like */
static void kpb_percpu_threads_init(u32 nr_threads)
{
	unsigned int cpu;
	u32 i;

	for (i = 0; i < nr_threads; i++)
		for_each_possible_cpu(cpu) alloc_thread_stack_node();
}

/* Where no RAM is: beyond its end, on a boundary that suits a device. */
static void kpb_ioremap_devices(void)
{
	const struct kpb_config *config = &kpb_this->config;
	u64 phys = ALIGN(config->phys_base + config->ram_bytes, 1ULL << 30);
	u32 i;

	for (i = 0; i < config->boot.nr_ioremap; i++) {
		/* a driver that gets no mapping gives up, and boot goes on */
		ioremap_prot(phys, config->boot.ioremap_bytes);
		phys += ALIGN((u64)config->boot.ioremap_bytes, PMD_SIZE);
	}
}

/* mm/percpu-vm.c: a chunk is made, and the same part of each unit populated */
static void kpb_percpu_grow(void)
{
	const struct kpb_boot_config *boot = &kpb_this->config.boot;
	u32 populated = boot->percpu_populated_bytes ?
				boot->percpu_populated_bytes :
				boot->percpu_unit_bytes;
	unsigned long unit_bytes = boot->percpu_unit_bytes, addr;
	unsigned int cpu;
	u32 i;

	for (i = 0; i < boot->percpu_chunks; i++) {
		addr = pcpu_get_vm_areas(unit_bytes * num_possible_cpus(),
					 PAGE_SIZE);
		for_each_possible_cpu(cpu)
			/* kpb: who asked for it does without */
			if (!addr || kpb_vmap_new_pages(addr + cpu * unit_bytes,
							populated >> PAGE_SHIFT,
							GFP_KERNEL)) return;
	}
}

static void kpb_boot_window(void)
{
	const struct kpb_boot_config *boot = &kpb_this->config.boot;

	kpb_boot_begin(KPB_BOOT_IRQ_STACK);
	init_irq_stacks();
	if (boot->threads_per_cpu) {
		kpb_boot_begin(KPB_BOOT_IDLE_THREAD);
		idle_threads_init();
		kpb_boot_begin(KPB_BOOT_PERCPU_THREAD);
		kpb_percpu_threads_init(boot->threads_per_cpu - 1);
	}
	kpb_boot_begin(KPB_BOOT_IOREMAP);
	kpb_ioremap_devices();
	kpb_boot_begin(KPB_BOOT_PERCPU);
	kpb_percpu_grow();
	kpb_boot_end();
}

static void kpb_boot_smp(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) if (cpu) check_local_cpu_capabilities(cpu);
	setup_system_features();
}

/* A phase that has been called for in its turn. */
static int kpb_boot_run(enum kpb_phase phase)
{
	struct kpb_machine *m = kpb_this;

	switch (phase) {
	case KPB_PHASE_LINEAR_MAP:
		if (m->init_done)
			return -EALREADY;
		m->boot.stepped = true;
		check_local_cpu_capabilities(0);
		return 0;
	case KPB_PHASE_BUDDY:
		return kpb_boot_init();
	case KPB_PHASE_WINDOW:
		kpb_boot_window();
		return 0;
	case KPB_PHASE_SMP:
		kpb_boot_smp();
		return 0;
	case KPB_PHASE_LATE_INIT:
		return kpb_boot_init_late();
	default:
		return 0;
	}
}

static int kpb_granule_boot_phase(uint32_t phase)
{
	struct kpb_machine *m = kpb_this;
	int ret;

	if (phase >= KPB_NR_PHASES)
		return -EINVAL;
	if (m->ops == &kpb_null_ops)
		return -EOPNOTSUPP;
	if (phase != m->boot.counters.phases)
		return -EALREADY;
	m->boot.phase = (enum kpb_phase)phase;
	ret = kpb_boot_run((enum kpb_phase)phase);
	if (ret)
		return ret;
	m->boot.counters.phases++;
	m->op_events = 0;
	kpb_note_unprotected(m);
	kpb_note_cached(m);
	return 0;
}

static void kpb_granule_boot_counters(struct kpb_boot_counters *out)
{
	struct kpb_machine *m = kpb_this;

	*out = m->boot.counters;
	out->nr_online_cpus = m->boot.nr_online_cpus;
	out->capabilities_final = system_capabilities_finalized();
	out->system_bbml2 = m->boot.nr_bbml2_cpus == m->boot.nr_online_cpus;
	out->early_capacity_pages =
		kpb_in_window(m) && m->nr_held ? kpb_early_capacity_pages() : 0;
	out->vmalloc_pages = m->nr_vmalloc_pages;
	out->vmalloc_ptps = m->nr_vmalloc_ptps;
}
