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
#define KPB_EV_MASK 0xffu
/* above them: the order that the refill at hand was tried with first */
#define KPB_EV_FIRST_ORDER_SHIFT 8

/* Leaf descriptors by size, entries (not groups). */
enum kpb_leaf {
	KPB_LEAF_PUD,
	KPB_LEAF_CONT_PMD,
	KPB_LEAF_PMD,
	KPB_LEAF_CONT_PTE,
	KPB_LEAF_PTE,
	KPB_NR_LEAVES,
};

/* DUPLICATED, but for the size of the arrays, which is fixed: mm/memblock.c */
#define INIT_MEMBLOCK_REGIONS 128
#define INIT_MEMBLOCK_MEMORY_REGIONS INIT_MEMBLOCK_REGIONS

struct memblock_region {
	phys_addr_t base;
	phys_addr_t size;
};

struct memblock_type {
	unsigned long cnt;
	struct memblock_region regions[INIT_MEMBLOCK_REGIONS];
};

struct memblock {
	struct memblock_type memory;
	struct memblock_type reserved;
};

/* What fills a slot of the replay. */
enum kpb_slot_kind {
	KPB_SLOT_EMPTY,
	KPB_SLOT_PTP,
	KPB_SLOT_PTP_FAILED, /* the allocation failed: its free is skipped */
	KPB_SLOT_PIN,
	KPB_SLOT_PIN_FAILED,
	KPB_SLOT_BUSY, /* an operation on it has not finished */
};

struct kpb_slot {
	struct page *page;
	u8 kind;
	u8 order;
};

#define KPB_NR_WARN_SITES 64

/* How calls of one point are made to fail. */
struct kpb_fault_state {
	struct kpb_fault fault;
	u64 nr_calls;
};

/* The last events, a ring; the digest is of all of them. */
struct kpb_recorder {
	struct kpb_event *events;
	u64 capacity;
	u64 nr; /* recorded so far; the last min(nr, capacity) are kept */
	u64 nr_read;
	u64 digest;
	bool on;
};

/* A range of free addresses of the vmalloc area; they are sorted. */
struct vmap_area {
	unsigned long va_start;
	unsigned long va_end;
	struct list_head list;
};

/* Where the last search for areas of a size and an alignment ended. */
struct kpb_vmap_hint {
	unsigned long size;
	unsigned long align;
	struct vmap_area *va;
};

#define KPB_NR_VMAP_HINTS 8

/* More than a page that was fetched before late initialisation. */
struct kpb_early_region {
	unsigned long pfn;
	unsigned int order;
};

/* A boot in phases. */
struct kpb_boot {
	struct kpb_boot_counters counters;
	enum kpb_phase phase;	   /* that runs, or is due */
	bool stepped;		   /* the two-step boot is over for it */
	enum kpb_boot_cause cause; /* of tables that are asked for now */
	unsigned int nr_online_cpus;
	unsigned int nr_bbml2_cpus; /* of those */
	bool system_capabilities_finalized;
	bool linear_map_requires_bbml2;
	struct kpb_early_region *early_regions;
	unsigned long nr_early_regions;
	unsigned long max_early_regions;
	unsigned long early_start_pfn;
	unsigned long early_end_pfn;
};

struct kpb_task;

/* A kernel function that is open, for reports: see KPB_FRAME(). */
struct kpb_frame {
	const char *what;
	struct kpb_frame *up;
};

/* of the root: a contPMD group may lie in it, and is found by its address */
#define KPB_ROOT_ALIGN 256
_Static_assert(KPB_ROOT_ALIGN >= CONT_PMDS * sizeof(u64), "no group is cut");

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
	struct per_cpu_pages *pcp; /* one for each CPU */
	u8 cpu;			   /* that runs now */
	u8 cpu_of[256]; /* a recording's CPU to one of the machine's */
	struct memblock memblock;
	struct memblock_type deferred; /* what the buddy gets on demand */

	/* linear map */
	u64 swapper_pg_dir[KPB_PTRS_PER_ROOT]
		__attribute__((aligned(KPB_ROOT_ALIGN)));
	unsigned int pgtable_levels; /* that config.boot.va_bits take */
	struct mutex pgtable_split_lock;
	u64 nr_leaves[KPB_NR_LEAVES];
	unsigned long nr_pkey_pages;	   /* frames that carry PGTABLES */
	unsigned long nr_stray_pkey_pages; /* of those that are not PTPs */

	/* the vmalloc area: which of its addresses are free */
	struct list_head free_vmap_area_list;
	struct kpb_vmap_hint vmap_hints[KPB_NR_VMAP_HINTS];
	struct kpb_boot boot;

	/* the allocator under test */
	const struct kpb_allocator_ops *ops;
	void *hardened_pgtables; /* file-static state of the mirror */
	void *variant;		 /* what a variant of it has beyond that */
	struct shrinker shrinker;
	u64 kpkeys_level;
	bool init_done;
	bool late_init_done;

	/* its private copy, if it came from a file */
	void *door;
	struct kpb_allocator_ops *door_ops;

	/* derived from what the allocator calls, so it holds for any */
	unsigned long nr_held;		/* pages it has from the buddy */
	unsigned long nr_live;		/* handed out to slots */
	unsigned long nr_early_ptps;	/* from the PPA, for the linear map */
	unsigned long nr_split_ptps;	/* handed out to the linear map */
	unsigned long nr_vmalloc_ptps;	/* handed out to the vmalloc area */
	unsigned long nr_vmalloc_pages; /* of the buddy, mapped there */
	unsigned long nr_pinned;
	unsigned long nr_unprotected; /* PTPs without pkey, as of the last op */

	unsigned long nr_in_flight; /* fetched, not protected yet */
	u64 nr_charged;		    /* pages charged to the memory cgroup */

	/* tasks: 0 is the one that replays */
	struct task_struct tasks[KPB_MAX_TASKS];
	struct task_struct *curr; /* that runs */
	struct kpb_task *task_stacks[KPB_MAX_TASKS];
	unsigned int preempt_count; /* of the task that runs */
	unsigned int shrink_depth;  /* shrinkers that are open */
	struct kpb_frame *frames;
	u64 hold_steps; /* list entries walked under this spinlock */

	/* points where something is to happen: a bit for each kpb_point */
	u32 faults_armed;
	u32 stop_armed;
	u32 stop_nth;
	struct kpb_fault_state faults[KPB_NR_POINTS];
	struct kpb_recorder recorder;
	char log[KPB_LOG_LINES][KPB_LOG_BYTES];

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
	bool op_failed; /* the permission change at hand did not succeed */
};

#ifdef KPB_DOOR
/* an allocator file is loaded once for each machine */
extern struct kpb_machine *kpb_this;
#else
extern _Thread_local struct kpb_machine *kpb_this
	__attribute__((tls_model("initial-exec")));
#endif

KPB_LOCAL enum kpb_cause kpb_pkey_cause(int pkey);
KPB_LOCAL void kpb_note_reserve(void);

/* lab/event.c */
KPB_LOCAL void kpb_event_add(enum kpb_event_kind kind, u64 a, u32 b, u32 c);

/* Something happened that a reader of a scenario wants to know. */
static inline void kpb_event(enum kpb_event_kind kind, u64 a, u32 b, u32 c)
{
	if (unlikely(kpb_this->recorder.on))
		kpb_event_add(kind, a, b, c);
}

/* lab/task.c: the running task may be stopped here */
KPB_LOCAL void kpb_point_reached(enum kpb_point point, const char *lock);

static inline void kpb_point(enum kpb_point point, const char *lock)
{
	if (unlikely(kpb_this->stop_armed & BIT(point)))
		kpb_point_reached(point, lock);
}

/* lab/machine.c: the leaf that maps a frame, 0 where there is none */
KPB_LOCAL u64 kpb_leaf_desc(unsigned long pfn);
/* lab/task.c */
KPB_LOCAL struct kpb_task *kpb_running_task(void);
KPB_LOCAL void kpb_task_switch_out(struct kpb_task *task,
				   enum kpb_task_state state);
KPB_LOCAL void kpb_path_text(char *out, size_t size);
KPB_LOCAL int kpb_task_under_way(void);
KPB_LOCAL void kpb_tasks_free(struct kpb_machine *m);
/* lab/dispatch.c */
KPB_LOCAL void kpb_note_landed(unsigned long pfn, unsigned long nr);
KPB_LOCAL u32 kpb_note_site(const char *file, int line, const char *what);
KPB_LOCAL void kpb_stop_msg(const char *msg) __attribute__((__noreturn__));

/* lab/boot.c: a table was handed out for, or refused to, what boot does */
KPB_LOCAL void kpb_note_boot_ptp(enum kpb_level level, bool is_failed);
KPB_LOCAL void kpb_note_early_region(unsigned long pfn, unsigned int order);
KPB_LOCAL void kpb_boot_begin_window(void);
KPB_LOCAL void kpb_boot_end_window(void);
/* lab/machine.c */
KPB_LOCAL void kpb_note_unprotected(struct kpb_machine *m);
KPB_LOCAL void kpb_note_cached(struct kpb_machine *m);
KPB_LOCAL int kpb_boot_init(void);
KPB_LOCAL int kpb_boot_init_late(void);

/* lab/fault.c */
KPB_LOCAL bool kpb_fault_due(enum kpb_point point);

/* Is this call of @point to fail? */
static inline bool kpb_should_fail(enum kpb_point point)
{
	return unlikely(kpb_this->faults_armed & BIT(point)) &&
	       kpb_fault_due(point);
}

static inline void kpb_frame_pop(const struct kpb_frame *frame)
{
	kpb_this->frames = frame->up;
}

/* For the rest of this function, reports say that it is open. */
#define KPB_FRAME()                                                            \
	struct kpb_frame kpb_frame __attribute__((                             \
		__cleanup__(kpb_frame_pop))) = { __func__, kpb_this->frames }; \
	kpb_this->frames = &kpb_frame

/* lab/task.c: reports a task that sleeps where it must not */
KPB_LOCAL void kpb_sleep_in_atomic(const char *file, int line,
				   const char *what);

/* DUPLICATED in its meaning: a call that may sleep says so */
#define might_sleep()                                                      \
	do {                                                               \
		if (unlikely(kpb_this->preempt_count))                     \
			kpb_sleep_in_atomic(__FILE__, __LINE__, __func__); \
	} while (0)

/* Counters of the cause that is being served. */
static inline struct kpb_map_counters *kpb_map_counters(void)
{
	return &kpb_this->map_counters[kpb_this->cause];
}

/* Pages in the allocator's cache: held, but handed out to nobody. */
static inline unsigned long kpb_cached_pages(const struct kpb_machine *m)
{
	return m->nr_held - m->nr_live - m->nr_split_ptps - m->nr_vmalloc_ptps;
}

#endif
