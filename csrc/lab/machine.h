/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ALL state of one simulated box. Two machines never share a byte; the only
 * global is the pointer to the machine that this thread runs, kpb_this,
 * which plays the part of the kernel's per-CPU "current".
 */
#ifndef KPB_LAB_MACHINE_H
#define KPB_LAB_MACHINE_H

#include <lab/border.h>
#include <linux/mm_types.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/shrinker.h>

struct kpb_allocator_ops;

/* What the operation at hand did; decides its path. */
#define KPB_EV_REFILL 1u
#define KPB_EV_SPLIT 2u
#define KPB_EV_REFILL_FAILED 4u
#define KPB_EV_PAGES 8u /* pages came, went, or changed their pkey */

/* Leaf descriptors by size, entries (not groups). */
enum kpb_leaf {
	KPB_LEAF_PUD,
	KPB_LEAF_CONT_PMD,
	KPB_LEAF_PMD,
	KPB_LEAF_CONT_PTE,
	KPB_LEAF_PTE,
	KPB_NR_LEAVES,
};

/* Free memory above what memblock handed out, see mm/memblock.c. */
#define KPB_NR_MEMBLOCK_GAPS 8
struct kpb_memblock_gap {
	phys_addr_t start;
	phys_addr_t end;
};

/* What fills a slot of the replay. */
enum kpb_slot_kind {
	KPB_SLOT_EMPTY,
	KPB_SLOT_PTP,
	KPB_SLOT_PTP_FAILED, /* the allocation failed: its free is skipped */
	KPB_SLOT_PIN,
	KPB_SLOT_PIN_FAILED,
};

struct kpb_slot {
	struct page *page;
	u8 kind;
	u8 order;
};

#define KPB_NR_WARN_SITES 64

struct kpb_machine {
	struct kpb_border border; /* first: all that kpb_api.c sees */
	struct kpb_config config;

	/* simulated memory: reserved, touched on demand */
	uintptr_t vmemmap;	   /* address of struct page of frame 0 */
	uintptr_t linear_offset;   /* linear address minus physical */
	uintptr_t linear_start;	   /* linear address of the first byte */
	u8 *page_type;		   /* by frame - zone_start_pfn */
	u8 *pageblock_migratetype; /* by pageblock of the zone */
	struct kpb_mapping ram_map;
	struct kpb_mapping vmemmap_map;
	struct kpb_mapping page_type_map;

	struct zone zone;
	/* memblock: what lies below is free, and gaps that alignment left */
	phys_addr_t memblock_end;
	struct kpb_memblock_gap memblock_gaps[KPB_NR_MEMBLOCK_GAPS];
	unsigned int nr_memblock_gaps;

	/* linear map */
	u64 swapper_pg_dir[PTRS_PER_PGD] __attribute__((aligned(64)));
	struct mutex pgtable_split_lock;
	u64 nr_leaves[KPB_NR_LEAVES];
	unsigned long nr_pkey_pages; /* frames that carry PGTABLES */

	/* the allocator under test */
	const struct kpb_allocator_ops *ops;
	void *hardened_pgtables; /* file-static state of the mirror */
	struct shrinker shrinker;
	u64 kpkeys_level;
	bool init_done;
	bool late_init_done;

	/* derived from what the allocator calls, so it holds for any */
	unsigned long nr_held;	     /* pages it has from the buddy */
	unsigned long nr_live;	     /* handed out to slots */
	unsigned long nr_early_ptps; /* from the PPA, for the linear map */
	unsigned long nr_split_ptps; /* handed out to the linear map */
	unsigned long nr_pinned;
	unsigned long nr_unprotected; /* PTPs without pkey, as of the last op */

	struct task_struct init_task;

	unsigned int op_events;
	enum kpb_cause cause;
	struct kpb_counters counters;
	struct kpb_map_counters map_counters[KPB_NR_CAUSES];
	u64 nr_ops;
	u64 replay_start; /* nr_ops when this replay began */
	struct kpb_warning warnings[KPB_NR_WARN_SITES];
	unsigned int nr_warn_sites;

	u32 nr_untimed; /* KPB_TIMING_SAMPLE: since the last clock read */

	struct kpb_slot *slots;
	u32 nr_slots;
};

extern _Thread_local struct kpb_machine *kpb_this
	__attribute__((tls_model("initial-exec")));

KPB_LOCAL enum kpb_cause kpb_pkey_cause(int pkey);
KPB_LOCAL void kpb_note_reserve(void);

/* Counters of the cause that is being served. */
static inline struct kpb_map_counters *kpb_map_counters(void)
{
	return &kpb_this->map_counters[kpb_this->cause];
}

/* Pages in the allocator's cache: held, but handed out to nobody. */
static inline unsigned long kpb_cached_pages(const struct kpb_machine *m)
{
	return m->nr_held - m->nr_live - m->nr_split_ptps;
}

#endif
