/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The border between C and Python: declarations only. cffi parses this very
 * file and kpb_api.h includes it, so the two sides cannot disagree. Whole
 * arrays cross here, never one operation. Every function returns 0 or
 * -errno unless it says otherwise.
 */

/* One replayed operation, 8 bytes. */
struct kpb_op {
	uint32_t slot; /* which live page; SHRINK: nr_to_scan;
			* SET_MEMORY: first frame, from the start of RAM */
	uint8_t kind;  /* enum kpb_op_kind */
	uint8_t cpu;   /* whose per-CPU lists: modulo nr_cpus */
	uint8_t level; /* ALLOC: table level; PIN: migratetype;
				 * SPLIT_OTHER: first page within the pin;
				 * SET_MEMORY: number of pages / 256 */
	uint8_t arg;   /* ALLOC: bit 0 kernel table; PIN: order;
				 * SPLIT_OTHER: number of pages; SHRINK: priority;
				 * SET_MEMORY: number of pages % 256;
				 * RECLAIM, COMPACT: order */
};

enum kpb_op_kind {
	KPB_OP_ALLOC, /* one PTP into an empty slot */
	KPB_OP_FREE,  /* the PTP in a slot */
	KPB_OP_PIN,   /* buddy pages for somebody else */
	KPB_OP_UNPIN,
	KPB_OP_SPLIT_OTHER, /* permission change on pinned pages */
	KPB_OP_SHRINK,	    /* nr_to_scan 0: do_shrink_slab() */
	KPB_OP_SET_MEMORY,  /* set_memory_ro() on any range of RAM */
	KPB_OP_DRAIN,	    /* drain_all_pages() */
	KPB_OP_RECLAIM,	    /* what a task in direct reclaim does */
	KPB_OP_COMPACT,	    /* one round of compaction */
	KPB_NR_OP_KINDS,
};

enum kpb_path {
	KPB_PATH_ALLOC_FAST,
	KPB_PATH_ALLOC_REFILL,
	KPB_PATH_ALLOC_REFILL_SPLIT,
	KPB_PATH_FREE,
	KPB_PATH_SHRINK,
	KPB_PATH_SPLIT_OTHER,
	KPB_NR_PATHS,
};

/* Why the linear map was touched. */
enum kpb_cause {
	KPB_CAUSE_BOOT,	     /* everything before late initialisation */
	KPB_CAUSE_LATE_INIT, /* deferred pkeys of early and PPA regions */
	KPB_CAUSE_REFILL,    /* pages from the buddy get the pkey */
	KPB_CAUSE_RELEASE,   /* pages going back to the buddy lose it */
	KPB_CAUSE_OTHER,     /* permission changes by somebody else */
	KPB_NR_CAUSES,
};

enum kpb_timing_mode {
	KPB_TIMING_NONE,    /* no clock read at all */
	KPB_TIMING_CHAINED, /* one clock read an operation */
	KPB_TIMING_BRACKET, /* two clock reads an operation */
	KPB_TIMING_SAMPLE,  /* two clock reads every n-th operation */
	KPB_TIMING_MODEL,   /* no clock: stated costs of what was counted */
};

enum kpb_linear_map {
	KPB_MAP_BLOCK, /* BBML2: largest leaves */
	KPB_MAP_PTE,   /* force_pte_mapping() */
};

/* Which CPUs tolerate live changes of block size (FEAT_BBM level 2). */
enum kpb_bbml2 {
	KPB_BBML2_ALL,
	KPB_BBML2_NONE,
	KPB_BBML2_BOOT_ONLY, /* no secondary CPU does */
	KPB_BBML2_LATE_CPU,  /* the last one to come online does not */
	KPB_NR_BBML2,
};

/* rodata= of the kernel's command line; "full" is what arm64 does by itself. */
enum kpb_rodata {
	KPB_RODATA_FULL,
	KPB_RODATA_ON,
	KPB_RODATA_OFF,
	KPB_NR_RODATA,
};

/* Boot, step by step: see kpb_boot_phase(). */
enum kpb_phase {
	KPB_PHASE_LINEAR_MAP, /* memblock; done when a machine is made */
	KPB_PHASE_BUDDY,      /* kpkeys_hardened_pgtables_init() */
	KPB_PHASE_WINDOW,     /* vmalloc: stacks, devices, per-CPU memory */
	KPB_PHASE_SMP,	      /* secondary CPUs; capabilities are final */
	KPB_PHASE_LATE_INIT,  /* kpkeys_hardened_pgtables_init_late() */
	KPB_PHASE_RUNNING,    /* whatever is replayed */
	KPB_NR_PHASES,
};

/* What a table was asked for; a replay's own are counted elsewhere. */
enum kpb_boot_cause {
	KPB_BOOT_LINEAR_MAP, /* its own tables, from memblock */
	KPB_BOOT_IRQ_STACK,
	KPB_BOOT_IDLE_THREAD,
	KPB_BOOT_PERCPU_THREAD,
	KPB_BOOT_IOREMAP,
	KPB_BOOT_PERCPU,	   /* chunks of per-CPU memory */
	KPB_BOOT_LINEAR_MAP_SPLIT, /* linear_map_maybe_split_to_ptes() */
	KPB_BOOT_OTHER_SPLIT,	   /* any other split of the linear map */
	KPB_NR_BOOT_CAUSES,
};

/* The level of a table. */
enum kpb_level {
	KPB_LEVEL_PTE,
	KPB_LEVEL_PMD,
	KPB_LEVEL_PUD,
	KPB_LEVEL_P4D,
	KPB_NR_LEVELS,
};

/* Where a task can be stopped, and what can be made to fail. */
enum kpb_point {
	KPB_POINT_NONE,
	KPB_POINT_ALLOC_PAGES, /* the allocator under test asks the buddy */
	KPB_POINT_FREE_PAGES,  /* and gives back */
	KPB_POINT_MUTEX_LOCK,
	KPB_POINT_MUTEX_UNLOCK,
	KPB_POINT_SET_PKEY, /* set_memory_pkey() */
	KPB_POINT_SPLIT,    /* a leaf is about to be split, under the lock */
	KPB_POINT_RECLAIM,  /* direct reclaim begins */
	KPB_POINT_CHARGE,   /* memcg_kmem_charge_page() */
	KPB_POINT_MEMBLOCK, /* memblock_phys_alloc_range() */
	KPB_NR_POINTS,
};

/* Which calls of a point fail: ALLOC_PAGES, SET_PKEY, CHARGE, MEMBLOCK. */
enum kpb_fault_mode {
	KPB_FAULT_OFF,
	KPB_FAULT_NTH,	 /* the n-th call from now, once */
	KPB_FAULT_EVERY, /* every n-th call */
	KPB_FAULT_SHARE, /* n of a million, by a seeded hash of the call's number */
};

struct kpb_fault {
	uint32_t mode;	 /* enum kpb_fault_mode */
	uint32_t orders; /* ALLOC_PAGES: mask of orders that count; 0: all */
	uint64_t n;
	uint64_t seed;
	uint32_t half; /* SET_PKEY: fail half way through the range */
	int32_t pkey;  /* SET_PKEY: only changes to this pkey; -1: any */
};

/* In what context a task runs. */
enum kpb_context {
	KPB_CONTEXT_PROCESS,
	KPB_CONTEXT_ATOMIC,   /* preemption off: must not sleep */
	KPB_CONTEXT_MEMALLOC, /* PF_MEMALLOC, as inside reclaim */
	KPB_NR_CONTEXTS,
};

enum kpb_task_state {
	KPB_TASK_IDLE,	  /* nothing under way */
	KPB_TASK_STOPPED, /* at the point it was told to stop at */
	KPB_TASK_BLOCKED, /* waits for a mutex */
};

/* What happened, in order; see kpb_machine_events(). */
enum kpb_event_kind {
	KPB_EVENT_REFILL,	 /* a: pfn, b: order */
	KPB_EVENT_REFILL_FAILED, /* b: order */
	KPB_EVENT_RELEASE,	 /* pages to the buddy; a: pfn, b: order */
	KPB_EVENT_SET_PKEY,   /* a: pfn, b: pages, c: pkey; before the change */
	KPB_EVENT_SET_MEMORY, /* a: pfn, b: pages */
	KPB_EVENT_SET_FAILED, /* a: pfn, b: pages, c: errno */
	KPB_EVENT_SPLIT,      /* a: pfn of the leaf, b: enum kpb_leaf_size */
	KPB_EVENT_SPLIT_PTP,  /* a: pfn of the new table */
	KPB_EVENT_TLBI,	      /* a: pfn, b: pages; c: 1 full */
	KPB_EVENT_WARN,	      /* a: index into kpb_machine_warnings() */
	KPB_EVENT_MUTEX_WAIT, /* a: task that owns it */
	KPB_EVENT_FAULT,      /* injected; a: enum kpb_point */
	KPB_EVENT_CHARGE_FAILED, /* the memory cgroup is at its limit */
	KPB_EVENT_SLOWPATH,	 /* __alloc_pages_slowpath(); b: order */
	KPB_EVENT_COMPACT,	 /* b: order, a: pages migrated, c: 1 success */
	KPB_EVENT_RECLAIM,	 /* direct reclaim begins; b: order */
	KPB_EVENT_RECLAIM_END,	 /* a: pages reclaimed */
	KPB_EVENT_SHRINK,	 /* scan_objects(); a: nr_to_scan */
	KPB_EVENT_SHRINK_END,	 /* a: freed, or all ones for SHRINK_STOP */
	KPB_EVENT_OOM,		 /* b: order */
	KPB_EVENT_ALLOC_FAILURE, /* warn_alloc(); b: order */
	KPB_EVENT_SLEEP_IN_ATOMIC, /* a: index into kpb_machine_warnings() */
	KPB_EVENT_DRAIN,	   /* per-CPU lists to the buddy; a: pages */
	KPB_EVENT_ZERO,		   /* a page is cleared; a: pfn */
	KPB_EVENT_LOG, /* pr_warn() and the like; a: index of the line */
	KPB_NR_EVENT_KINDS,
};

enum kpb_leaf_size {
	KPB_SIZE_PUD,
	KPB_SIZE_CONTPMD,
	KPB_SIZE_PMD,
	KPB_SIZE_CONTPTE,
};

struct kpb_event {
	uint64_t a;
	uint32_t b;
	uint32_t c;
	uint64_t op;  /* operations done before it */
	uint8_t kind; /* enum kpb_event_kind */
	uint8_t task;
	uint8_t cause; /* enum kpb_cause */
	uint8_t depth; /* of nested shrinks: above 0 inside a shrinker */
	uint32_t unused;
};

/* One action of one task, which may be stopped on its way. */
struct kpb_step {
	struct kpb_op op;
	uint32_t task;	   /* 0 to KPB_MAX_TASKS - 1 */
	uint32_t gfp;	   /* ALLOC: as the kernel's bits; 0: as in a replay */
	uint32_t context;  /* enum kpb_context */
	uint32_t stop_at;  /* enum kpb_point */
	uint32_t stop_nth; /* 1: the first time it gets there */
};

struct kpb_step_result {
	uint32_t state;	 /* enum kpb_task_state after the step */
	uint32_t point;	 /* STOPPED: where */
	int32_t path;	 /* IDLE: enum kpb_path, KPB_NR_PATHS: none */
	uint32_t failed; /* IDLE: the operation itself did not succeed */
	uint32_t owner;	 /* BLOCKED: task that owns the mutex */
	char lock[48]; /* name of the mutex where the point or the wait is one */
};

#define KPB_MAX_TASKS 16
#define KPB_MAX_CPUS 256
#define KPB_MAX_REGIONS 32
#define KPB_LOG_LINES 64
#define KPB_LOG_BYTES 160

/* A range of physical memory, in bytes. */
struct kpb_region {
	uint64_t base;
	uint64_t size;
};

#define KPB_MAX_REFILL_ORDERS 32
#define KPB_MAX_ORDERS 14
#define KPB_MIGRATE_TYPES 3
#define KPB_HIST_BUCKETS 1920
#define KPB_MSG_BYTES 512
#define KPB_NR_GEN_PARAMS 4
#define KPB_MAX_SLOTS 67108864
#define KPB_FIT_CLASSES 64
#define KPB_FIT_QUANTILES 17
#define KPB_FIT_PLACES 8
#define KPB_FIT_LEVELS 4

#define KPB_DEFAULT_POSSIBLE_CPUS 512
#define KPB_MAX_POSSIBLE_CPUS 4096
#define KPB_MAX_EARLY_REGIONS 4096

/* What there is to boot. All zeros: a machine that is booted in two steps. */
struct kpb_boot_config {
	/* 2 to KPB_MAX_POSSIBLE_CPUS; 0: KPB_DEFAULT_POSSIBLE_CPUS */
	uint32_t nr_possible_cpus;
	uint32_t kasan;		  /* CONFIG_KASAN: stacks of twice the size */
	uint32_t bbml2;		  /* enum kpb_bbml2 */
	uint32_t rodata;	  /* enum kpb_rodata */
	uint32_t debug_pagealloc; /* debug_pagealloc=on */
	/* stacks of each CPU beyond the IRQ stack, that of its idle thread
	 * among them (but the boot CPU's, which is static) */
	uint32_t threads_per_cpu;
	uint32_t nr_ioremap; /* devices mapped early, of ioremap_bytes each */
	uint32_t ioremap_bytes;
	/* chunks of per-CPU memory beyond the first, which is not vmalloc's */
	uint32_t percpu_chunks;
	uint32_t percpu_unit_bytes;	 /* of each possible CPU */
	uint32_t percpu_populated_bytes; /* of each unit; 0: all of it */
	/* from VMALLOC_START: what lies below is taken */
	uint64_t vmalloc_offset_bytes;
	/* CONFIG_ARM64_VA_BITS; 0: 48, and 47 with pages of 16K */
	uint32_t va_bits;
};

/*
 * Who else uses memory: see lab/background.c. Rates are for operations of a
 * replay; docs/background.md says where defaults are from.
 */
struct kpb_background_config {
	uint32_t every; /* operations between two turns; 0: no background */
	uint32_t resident_percent; /* of RAM, anonymous, from the beginning */
	uint32_t cache_percent; /* of what is then above the high watermark */
	uint32_t table_pages;	/* anonymous pages with each PTE table */
	uint32_t read_pages;	/* of files, for 1000 operations */
	uint32_t slab_pages;	/* reclaimable, for 1000 operations */
	uint32_t kernel_allocs; /* unmovable, for 1000 operations */
	uint32_t thp_allocs;	/* huge pages, for 1000000 operations */
	uint32_t life_ops;	/* shortest life of the last two */
	uint32_t burst_pages;	/* of files, read at once */
	uint32_t burst_ops;	/* every so many operations */
	uint64_t seed;
};

#define KPB_BACKGROUND_MAX_EVERY 1024
/* What frames are used for where a machine begins with memory as it was. */
enum kpb_run_kind {
	KPB_RUN_HOLE,	  /* no RAM */
	KPB_RUN_RESERVED, /* in use for good, and never the buddy's */
	KPB_RUN_KERNEL,	  /* in use for good */
	KPB_RUN_PGTABLE,  /* the same: page tables of whoever was recorded */
	KPB_RUN_SLAB,	  /* the same */
	KPB_RUN_FILE,	  /* from here on as lab/system.h has it */
	KPB_RUN_ANON,
	KPB_RUN_SYSTEM_SLAB,
	KPB_RUN_SYSTEM_KERNEL,
	KPB_RUN_PCP,  /* kept by a CPU: each block has a place */
	KPB_RUN_FREE, /* in the buddy */
	KPB_NR_RUN_KINDS,
};

/* Blocks of one kind and order that follow each other. */
struct kpb_run {
	uint32_t first; /* frame, counted from the first one of RAM */
	uint32_t nr;	/* blocks of 2^order frames; 1 or more */
	uint8_t kind;	/* enum kpb_run_kind */
	uint8_t order;	/* 0 up to KPB_RUN_SLAB */
	uint16_t unused;
};

/*
 * A block's place on its list: the blocks of one list, in the order of that
 * list. What is FREE, FILE, ANON or SYSTEM_ and has no place follows at the end
 * of its list, in rising order; movable free blocks of the largest order
 * without a place get there when they are needed.
 */
struct kpb_place {
	uint32_t first; /* as in the run that has the block */
	uint16_t cpu;	/* PCP: taken modulo nr_cpus */
	uint8_t type;	/* PCP: migratetype of the list */
	uint8_t unused;
};

/*
 * Memory as it was. All arrays stay the caller's and must not change before
 * the machine is destroyed.
 */
struct kpb_image {
	const struct kpb_run *runs; /* from frame 0 to the last, without gaps */
	const struct kpb_place *places;
	const uint8_t *block_types; /* migratetype of each pageblock */
	uint64_t nr_runs;
	uint64_t nr_places;
	uint64_t nr_blocks;
	uint64_t managed_pages; /* 0: what is not in use for good */
	/* min, low, high; all 0: what follows from managed_pages */
	uint64_t watermarks[3];
	/* compaction that has failed lately, as in struct zone */
	uint32_t compact_considered;
	uint32_t compact_defer_shift;
	uint32_t compact_order_failed; /* 0: none has failed */
	uint32_t unused;
};

struct kpb_config {
	uint64_t ram_bytes;
	uint64_t phys_base;  /* aligned to 1 GB */
	uint32_t page_shift; /* 12, 14 or 16 */
	uint32_t linear_map; /* enum kpb_linear_map */
	uint32_t allocator;  /* index, see kpb_allocator_name() */
	uint32_t nr_refill_orders;
	uint8_t refill_orders[KPB_MAX_REFILL_ORDERS];
	uint32_t allow_any_orders; /* skip the checks on the list */
	uint32_t zero_pages;	   /* really clear pages on __GFP_ZERO */
	/* aged state: per million pageblocks with unmovable pages */
	uint32_t aged_ppm;
	uint32_t aged_pins; /* at most so many in one block */
	uint64_t aged_seed;
	uint32_t nr_cpus; /* 0: KPB_DEFAULT_CPUS */
	uint32_t no_pcp;  /* no per-CPU lists: every order goes to the zone */
	uint64_t memcg_limit_pages; /* of the one memory cgroup; 0: none */
	uint32_t nr_static_pgtables; /* pages of the kernel image that are tables */
	/*
	 * Memory that nobody may use: holes are not RAM at all, reserved
	 * regions are mapped. Sorted, page aligned, within RAM.
	 */
	uint32_t nr_holes;
	uint32_t nr_reserved;
	struct kpb_region holes[KPB_MAX_REGIONS];
	struct kpb_region reserved[KPB_MAX_REGIONS];
	/* memblock is done with before a machine can be told anything */
	struct kpb_fault memblock_fault;
	/* an allocator file, compiled for this page size; NULL: built in */
	const char *allocator_file;
	/* see kpb_allocator_param(); 0: kpb_allocator_default_param() */
	uint64_t variant_param;
	struct kpb_boot_config boot;
	struct kpb_background_config background;
	/* memory as it was; NULL: free, or aged as above */
	const struct kpb_image *image;
};

#define KPB_DEFAULT_CPUS 4

/* What happened to the linear map; one such struct for each cause. */
struct kpb_map_counters {
	uint64_t split_pud;
	uint64_t split_contpmd;
	uint64_t split_pmd;
	uint64_t split_contpte;
	uint64_t split_ptps;
	uint64_t set_pkey_calls;
	uint64_t set_pkey_pages;
	uint64_t tlbi_single;
	uint64_t tlbi_full;
	uint64_t descriptor_writes;
};

struct kpb_counters {
	uint64_t allocs;
	uint64_t frees;
	uint64_t failed_allocs;
	uint64_t pins;
	uint64_t failed_pins;
	uint64_t unpins;
	uint64_t other_splits;
	uint64_t failed_other_splits;
	uint64_t shrinks;
	uint64_t refills;
	uint64_t refill_fallbacks;
	uint64_t failed_refills;
	uint64_t refilled_pages;
	uint64_t released_pages;
	uint64_t warnings;
	uint64_t zeroed_pages;
	uint64_t pkey_reg_writes;
	uint64_t memcg_charges;
	uint64_t memcg_uncharges;
	uint64_t live_peak_pages;
	uint64_t cached_peak_pages;
	uint64_t cached_page_ops; /* integral over operations */
	uint64_t reserve_low_water_pages;
	uint64_t unprotected_page_ops; /* integral over operations */
	uint64_t refills_order[KPB_MAX_ORDERS];
	uint64_t path_ops[KPB_NR_PATHS];
	uint64_t buddy_claims;
	uint64_t buddy_steals;
	/* per-CPU lists */
	uint64_t pcp_bulk_allocs;
	uint64_t pcp_bulk_alloc_pages;
	uint64_t pcp_bulk_free_pages;
	uint64_t pcp_drains;
	/* slow path; where /proc/vmstat has a name for it, that name */
	uint64_t slowpath_entries;
	uint64_t slowpath_order[KPB_MAX_ORDERS];
	uint64_t kswapd_wakes;
	uint64_t compact_stall;
	uint64_t compact_success;
	uint64_t compact_fail;
	uint64_t compact_deferred;
	uint64_t compact_migrate_scanned;
	uint64_t pgmigrate_success;
	uint64_t allocstall;
	uint64_t pgsteal_direct; /* pages that reclaim got, slab included */
	uint64_t slab_shrinks;	 /* do_shrink_slab() from reclaim */
	uint64_t shrink_scans;	 /* scan_objects() */
	uint64_t oom_kills;
	uint64_t alloc_failures;  /* reported in the log */
	uint64_t memalloc_allocs; /* PF_MEMALLOC below the min watermark */
	/* what must not happen, and what was made to happen */
	uint64_t memcg_failures;
	uint64_t sleeps_in_atomic;
	uint64_t faults_injected;
	uint64_t refills_in_shrink;
	uint64_t mutex_waits;
	uint64_t lock_hold_max_steps; /* list entries walked under one spinlock */
	uint64_t range_changes;	      /* KPB_OP_SET_MEMORY */
	uint64_t failed_range_changes;
	uint64_t log_lines;
	/* reclaim of the page cache, and kswapd; all 0 without such pages */
	uint64_t pgscan_direct;
	uint64_t pgscan_kswapd;
	uint64_t pgsteal_kswapd; /* pages that it got, slab included */
	uint64_t pgsteal_file;	 /* page cache, whoever reclaimed it */
	uint64_t pgsteal_slab;	 /* of the system's slab caches, the same */
	uint64_t pageoutrun;	 /* kswapd ran */
	/* the background; what it has part in above, of that */
	uint64_t background_turns;
	uint64_t background_alloc_pages;
	uint64_t background_free_pages; /* what reclaim took is not in it */
	uint64_t background_failed;	/* allocations, by whatever they were
				     * replaced then */
	uint64_t background_capped;	/* pages for which there was no room */
	uint64_t background_bursts;
	uint64_t background_slowpath_entries;
	uint64_t background_allocstall;
	uint64_t background_compact_stall;
	uint64_t thp_fault_alloc;
	uint64_t thp_fault_fallback;
};

/* The state of a machine at one moment; kB are of mapped memory. */
struct kpb_state {
	uint64_t ops; /* replayed so far */
	uint64_t live_pages;
	uint64_t cached_pages;
	uint64_t pinned_pages;
	uint64_t shrinkable_pages; /* the shrinker's count */
	uint64_t ptps_for_linear_map;
	uint64_t unprotected_pages;
	uint64_t free_pages;	 /* in the buddy, deferred included */
	uint64_t deferred_pages; /* never touched so far */
	uint64_t ram_pages;
	uint64_t map_pud_kb;
	uint64_t map_contpmd_kb;
	uint64_t map_pmd_kb;
	uint64_t map_contpte_kb;
	uint64_t map_pte_kb;
	uint64_t map_leaves; /* TLB entries that would map it all */
	uint64_t free_pages_order[KPB_MAX_ORDERS];
	uint64_t held_pages; /* fetched by the allocator, not given back */
	uint64_t pcp_pages;  /* on per-CPU lists, not in free_pages */
	uint64_t reserved_pages;
	uint64_t memcg_pages; /* charged now */
	uint64_t watermark_min;
	uint64_t watermark_low;
	uint64_t watermark_high;
	/* the rest of the system */
	uint64_t file_pages;
	uint64_t anon_pages;
	uint64_t slab_pages;
	uint64_t kernel_pages;
	uint64_t background_ticks; /* of the clock, for all that it did */
};

/*
 * What boot asked for. The window is the time between
 * kpkeys_hardened_pgtables_init() and ..._init_late(), in which no pkey can be
 * set on a map of blocks. A region is more than a page fetched at once.
 */
struct kpb_boot_counters {
	uint64_t ptps[KPB_NR_PHASES][KPB_NR_BOOT_CAUSES][KPB_NR_LEVELS];
	uint64_t failed_ptps; /* asked for in vain */
	uint64_t phases;      /* that are done; 0: not booted in phases */
	uint64_t nr_online_cpus;
	uint64_t capabilities_final;
	uint64_t system_bbml2; /* every CPU online so far has it */
	uint64_t window_ptps;  /* from the allocator under test */
	uint64_t atomic_ptps;  /* of those, with GFP_ATOMIC */
	/* what ordinary requests could take without a refill: first, now */
	uint64_t early_capacity_start_pages;
	uint64_t early_capacity_pages;
	uint64_t first_refill_order;
	/* fetched in the window; after it: those that have the pkey, or not */
	uint64_t early_regions;
	uint64_t early_region_pages;
	uint64_t tracked_regions;
	uint64_t tracked_region_pages;
	uint64_t untracked_regions;
	uint64_t untracked_region_pages; /* pages without the pkey */
	/* what it takes to remember them all: ranges of a list that joins a
	 * region to the one before it where they touch, or frames from the first
	 * to the last */
	uint64_t early_ranges;
	uint64_t early_span_pages;
	uint64_t unprotected_page_ptps; /* integral over PTPs asked for */
	/* the vmalloc area */
	uint64_t vmalloc_areas;
	uint64_t vmalloc_pages; /* of the buddy, mapped there */
	uint64_t vmalloc_ptps;
};

/* What a walk over everything finds; costs time with the size of RAM. */
struct kpb_audit {
	uint64_t lost_pages;	  /* held, but neither cached nor in use */
	uint64_t free_pkey_pages; /* in the buddy, with the page tables' pkey */
	uint64_t unprotected_pages; /* PTPs without it */
	uint64_t marked_blocks; /* the allocator takes them for whole blocks */
	uint64_t mapped_blocks; /* of those, mapped by one leaf or larger */
	uint64_t idle_blocks;	/* of those, without a page in use */
	uint64_t knows_blocks;	/* 0: the allocator cannot be asked */
};

/* A WARN_ON() that fired, or the event that stopped the machine. */
struct kpb_warning {
	char file[48];
	char what[96];
	uint32_t line;
	uint64_t count;
};

/* KPB_TIMING_MODEL: what one of each costs, in picoseconds. */
struct kpb_costs {
	uint64_t tlbi_single_ps;
	uint64_t tlbi_full_ps;
	uint64_t descriptor_write_ps;
	uint64_t pkey_reg_write_ps;
	uint64_t zeroed_page_ps;
};

struct kpb_timing {
	uint32_t mode;		/* enum kpb_timing_mode */
	uint32_t every;		/* KPB_TIMING_SAMPLE: n */
	struct kpb_costs costs; /* KPB_TIMING_MODEL */
};

/* Service times of one path, in clock ticks; modelled ones in picoseconds. */
struct kpb_path_times {
	uint64_t count;
	uint64_t sum_ticks;
	uint64_t max_ticks;
	uint64_t hist[KPB_HIST_BUCKETS];
};

struct kpb_clock_info {
	char name[32];
	double ns_per_tick;
	double floor_ns;   /* median of back-to-back reads */
	double quantum_ns; /* the step it advances by */
};

/* State of a synthetic workload; kpb_gen_fill() continues it. */
struct kpb_gen;

/*
 * Groups of tables that are freed in one burst: quantiles 0, 1/16, ... 1 of how
 * many tables there are (in 1/256), how long the first lives (in operations),
 * and at which part of that life the others are allocated (in 1/65536). Levels,
 * PTE first, are weights for each eighth of a group in order of allocation.
 */
struct kpb_fit_class {
	uint32_t weight;	/* groups of the class in each round */
	uint32_t cross_cpu_64k; /* share that another CPU frees, in 1/65536 */
	uint32_t jitter_64k; /* part of its time in which a group may begin */
	uint64_t tables_256[KPB_FIT_QUANTILES];
	uint64_t life_ops[KPB_FIT_QUANTILES];
	uint32_t born_64k[KPB_FIT_QUANTILES];
	uint32_t level_weight[KPB_FIT_PLACES][KPB_FIT_LEVELS];
};

/* A fitted workload. */
struct kpb_fit {
	uint32_t nr_classes;
	uint32_t nr_cpus;
	uint32_t nr_slots; /* no more live tables than that */
	struct kpb_fit_class classes[KPB_FIT_CLASSES];
};

/* State of a fitted workload; kpb_fitted_fill() continues it. */
struct kpb_fitted;

struct kpb_machine;

int kpb_machine_create(const struct kpb_config *config,
		       struct kpb_machine **out, char *msg);
/* -EBUSY, and nothing happens, while another thread is inside. */
int kpb_machine_destroy(struct kpb_machine *m);
/* kpkeys_hardened_pgtables_init() and ..._init_late() */
int kpb_machine_init(struct kpb_machine *m);
int kpb_machine_init_late(struct kpb_machine *m);
/*
 * Boot in phases instead, each once and in order: the one that is due is
 * enum kpb_phase @phase, or else -EALREADY. -EOPNOTSUPP: null has no pages.
 */
int kpb_boot_phase(struct kpb_machine *m, uint32_t phase);
int kpb_machine_boot_counters(struct kpb_machine *m,
			      struct kpb_boot_counters *out);
/*
 * Make room for slots 0 .. nr_slots - 1; those in use stay. -EALREADY: a task
 * that is stepped has not finished.
 */
int kpb_machine_set_slots(struct kpb_machine *m, uint32_t nr_slots);

/*
 * Replay @nr_ops operations @repeat times. @times has KPB_NR_PATHS elements
 * or is NULL. @failed_op gets the index of the operation that was refused.
 * -EINVAL: an operation makes no sense; -EDEADLK: the machine stopped.
 */
int kpb_replay(struct kpb_machine *m, const struct kpb_op *ops, uint64_t nr_ops,
	       uint64_t repeat, const struct kpb_timing *timing,
	       struct kpb_path_times *times, uint64_t *failed_op);

/* @point's calls from now on; KPB_FAULT_OFF ends it. */
int kpb_machine_set_fault(struct kpb_machine *m, uint32_t point,
			  const struct kpb_fault *fault);
/*
 * Let a task do something, up to a point. -EBUSY: it has not finished what it
 * does. A task that waits for a mutex goes on with kpb_continue().
 */
int kpb_step(struct kpb_machine *m, const struct kpb_step *step,
	     struct kpb_step_result *out);
/* Let a stopped or waiting task go on. -EINVAL: it does nothing. */
int kpb_continue(struct kpb_machine *m, uint32_t task, uint32_t stop_at,
		 uint32_t stop_nth, struct kpb_step_result *out);
/* Keep the last @capacity events (0: none) and a digest of all of them. */
int kpb_machine_record(struct kpb_machine *m, uint64_t capacity);
/* Events since the last call, oldest first: fills at most @nr, and forgets. */
int64_t kpb_machine_events(struct kpb_machine *m, struct kpb_event *out,
			   uint64_t nr);
/* Of events recorded, pfns handed out and paths: equal if all are equal. */
int kpb_machine_digest(struct kpb_machine *m, uint64_t *out);
/* Lines that the allocator logged; @out has KPB_LOG_LINES of KPB_LOG_BYTES. */
int kpb_machine_log(struct kpb_machine *m, char *out);
int kpb_machine_audit(struct kpb_machine *m, struct kpb_audit *out);

int kpb_machine_counters(struct kpb_machine *m, struct kpb_counters *out);
int kpb_machine_map_counters(struct kpb_machine *m,
			     struct kpb_map_counters *out);
int kpb_machine_state(struct kpb_machine *m, struct kpb_state *out);
/* Warnings by site; returns how many there are, fills at most @nr. */
int kpb_machine_warnings(struct kpb_machine *m, struct kpb_warning *out,
			 uint32_t nr);
/* Why the machine stopped: empty while it runs. */
int kpb_machine_stopped(struct kpb_machine *m, char *msg);
/* All invariants; -EUCLEAN with the first violation in @msg. */
int kpb_machine_check(struct kpb_machine *m, char *msg);

/* Look inside: each returns the number of entries, fills at most @nr. */
int64_t kpb_machine_slot_pfns(struct kpb_machine *m, uint64_t *out,
			      uint64_t nr);
int64_t kpb_machine_cached_pfns(struct kpb_machine *m, uint64_t *out,
				uint64_t nr);
int64_t kpb_machine_free_pfns(struct kpb_machine *m, uint32_t order,
			      uint32_t migratetype, uint64_t *out, uint64_t nr);
int64_t kpb_machine_pageblock_types(struct kpb_machine *m, uint8_t *out,
				    uint64_t nr);
/*
 * Free blocks by order and type, KPB_MAX_ORDERS rows of KPB_MIGRATE_TYPES; with
 * those that the buddy has not been given yet.
 */
int kpb_machine_buddyinfo(struct kpb_machine *m, uint64_t *out);
/*
 * Memory as it is, for a struct kpb_image of another machine. What belongs to
 * the allocator under test, to slots and to vmalloc is in use for good. Sections
 * of an aged machine are initialised first. -EBUSY: a task is under way;
 * -EUCLEAN: an invariant is broken.
 */
int64_t kpb_machine_runs(struct kpb_machine *m, struct kpb_run *out,
			 uint64_t nr);
int64_t kpb_machine_places(struct kpb_machine *m, struct kpb_place *out,
			   uint64_t nr);
/* The numbers of it; pointers and sizes are left alone. */
int kpb_machine_image(struct kpb_machine *m, struct kpb_image *out);
/* pkey of each of @nr page frames; 255 where nothing is mapped. */
int kpb_machine_pkeys(struct kpb_machine *m, const uint64_t *pfns, uint8_t *out,
		      uint64_t nr);

/* Allocators compiled in: NULL past the last. */
const char *kpb_allocator_name(uint32_t allocator);
const char *kpb_allocator_help(uint32_t allocator);
int kpb_allocator_linear_map(uint32_t allocator);
/* What its kpb_config::variant_param is: NULL if it has none. */
const char *kpb_allocator_param(uint32_t allocator);
uint64_t kpb_allocator_default_param(uint32_t allocator);

/*
 * What an allocator file that was compiled for the laboratory defines: a bit
 * for each name of kpb_door_name(). -ENOEXEC with @msg: it is none.
 */
int kpb_door_defines(const char *file, uint32_t *out, char *msg);
const char *kpb_door_name(uint32_t bit);

/* Geometry of one page size; the orders of linear-map leaves. */
struct kpb_geometry {
	uint32_t page_shift;
	uint32_t max_page_order;
	uint32_t block_order; /* pageblock_order */
	uint32_t ptrs_per_table;
	uint32_t cont_pte_order;
	uint32_t pmd_order;
	uint32_t cont_pmd_order;
	uint32_t pud_order; /* 0: no PUD leaves */
	uint32_t nr_refill_orders;
	uint8_t refill_orders[KPB_MAX_REFILL_ORDERS];
};

int kpb_geometry(uint32_t page_shift, struct kpb_geometry *out);

/* Histogram: the smallest number of ticks that falls into bucket @i. */
uint64_t kpb_hist_bucket_low(uint32_t i);
/* The @nr quantiles @q of a histogram, in ticks (bucket midpoints). */
int kpb_hist_quantiles(const uint64_t *hist, const double *q, double *out,
		       uint32_t nr);

int kpb_clock_measure(struct kpb_clock_info *out);
const char *kpb_compiler(void);
/* SHA-256 of the C files that this was built from, in hex. */
const char *kpb_sources(void);

/* Synthetic workloads: NULL past the last. */
const char *kpb_gen_name(uint32_t kind);
const char *kpb_gen_help(uint32_t kind);
const char *kpb_gen_param_name(uint32_t kind, uint32_t param);
uint64_t kpb_gen_param_default(uint32_t kind, uint32_t param);
int kpb_gen_create(uint32_t kind, const uint64_t *params, uint64_t seed,
		   struct kpb_gen **out, char *msg);
void kpb_gen_destroy(struct kpb_gen *gen);
uint32_t kpb_gen_nr_slots(struct kpb_gen *gen);
/* The next @nr operations of the workload. */
int kpb_gen_fill(struct kpb_gen *gen, struct kpb_op *out, uint64_t nr);

/*
 * Import of recordings: text goes in, operations come out. See the DOC of
 * csrc/lab/import_text.c.
 */
#define KPB_IMPORT_MAX_LINE 65536
#define KPB_IMPORT_MAX_FEED 1048576
#define KPB_IMPORT_MAX_SOURCES 256

/* What page table events are taken from; all of one recording from one. */
enum kpb_import_origin {
	KPB_IMPORT_AUTO,   /* from where the first one comes */
	KPB_IMPORT_KMEM,   /* mm_page_alloc with stacks, mm_page_free */
	KPB_IMPORT_KPROBE, /* a probe on the counter of page tables */
	KPB_IMPORT_LEVEL,  /* events ptp_alloc_LEVEL, ptp_free */
	KPB_IMPORT_CSV,
	KPB_NR_IMPORT_ORIGINS,
};

enum kpb_import_format {
	KPB_IMPORT_UNKNOWN,
	KPB_IMPORT_TRACEFS,    /* "trace", with its header */
	KPB_IMPORT_TRACE_PIPE, /* the same without header */
	KPB_IMPORT_TRACE_CMD,
	KPB_IMPORT_PERF,
	KPB_IMPORT_TABLE, /* CSV */
	KPB_NR_IMPORT_FORMATS,
};

/* Names and meaning: kpb_import_count_name(), kpb_import_count_help(). */
enum kpb_import_count {
	/* loss and contradiction, up to KPB_NR_IMPORT_FAULTS */
	KPB_IMPORT_LOST_EVENTS,
	KPB_IMPORT_OVERWRITTEN_EVENTS,
	KPB_IMPORT_MISSING_ENTRIES,
	KPB_IMPORT_MALFORMED_LINES,
	KPB_IMPORT_UNPARSED_LINES,
	KPB_IMPORT_MISSING_STACKS,
	KPB_IMPORT_UNRESOLVED_PAGES,
	KPB_IMPORT_AMBIGUOUS_PAGES,
	KPB_IMPORT_AMBIGUOUS_LEVELS,
	KPB_IMPORT_LEVEL_MISMATCHES,
	KPB_IMPORT_DOUBLE_ALLOCS,
	KPB_IMPORT_MISSED_FREES,
	KPB_IMPORT_UNKNOWN_FREES,
	KPB_IMPORT_CLOCK_STEPS,
	KPB_IMPORT_CPU_DISORDER,
	KPB_NR_IMPORT_FAULTS,
	/* what was there */
	KPB_IMPORT_LINES = KPB_NR_IMPORT_FAULTS,
	KPB_IMPORT_EVENTS,
	KPB_IMPORT_TABLE_EVENTS,
	KPB_IMPORT_OTHER_SOURCE,
	KPB_IMPORT_STRAY_STACKS,
	KPB_IMPORT_PRE_FREES,
	KPB_IMPORT_NEVER_FREED,
	KPB_IMPORT_HIGHER_ORDERS,
	KPB_IMPORT_P4D_TABLES,
	KPB_NR_IMPORT_COUNTS,
};

struct kpb_import_options {
	uint64_t max_ops; /* operations of the result, at most */
	uint64_t vmemmap; /* of the recorded kernel; 0: as its pages show */
	int64_t item;	  /* number of NR_PAGETABLE; -1: as callers show */
	uint32_t origin;  /* enum kpb_import_origin */
	/* 1: files are parts in order of time; more: merged by time */
	uint32_t nr_sources;
};

struct kpb_import_state {
	uint64_t nr_ops; /* of the result, prologue included */
	uint64_t nr_pre; /* of the prologue */
	uint64_t bytes;	 /* of the host's memory */
	int64_t item;
	uint32_t format; /* of the last file */
	uint32_t origin;
	/* of a refusal, or where reading is: file in order of begin(), line */
	uint32_t file;
	uint64_t line;
	uint64_t count[KPB_NR_IMPORT_COUNTS];
	/* where it was counted first; line 0: nowhere in particular */
	uint64_t first_line[KPB_NR_IMPORT_COUNTS];
	uint32_t first_file[KPB_NR_IMPORT_COUNTS];
};

struct kpb_import;

/* NULL past the last. */
const char *kpb_import_count_name(uint32_t count);
const char *kpb_import_count_help(uint32_t count);

int kpb_import_create(const struct kpb_import_options *options,
		      struct kpb_import **out, char *msg);
void kpb_import_destroy(struct kpb_import *imp);
int kpb_import_begin(struct kpb_import *imp, uint32_t source);
/* -EINVAL: refused for good, see kpb_import_message(). */
int kpb_import_feed(struct kpb_import *imp, uint32_t source, const char *data,
		    uint64_t bytes);
int kpb_import_end(struct kpb_import *imp, uint32_t source);
/* Which source is to be fed next, or -1: all have ended. */
int64_t kpb_import_next(struct kpb_import *imp);
int kpb_import_finish(struct kpb_import *imp);
const char *kpb_import_message(struct kpb_import *imp);
int kpb_import_state(struct kpb_import *imp, struct kpb_import_state *out);
/* The result: nr_ops of each, after kpb_import_finish(). */
int kpb_import_take(struct kpb_import *imp, int64_t *ts_ns, struct kpb_op *ops,
		    uint64_t nr);
/*
 * Give operations that can be replayed from empty slots the lowest free slots.
 * -EINVAL: they cannot, or a slot is @nr_slots or more.
 */
int kpb_import_renumber(struct kpb_op *ops, uint64_t nr, uint32_t nr_slots);

/* Workloads fitted to recordings; @fit is copied. */
int kpb_fitted_create(const struct kpb_fit *fit, uint64_t seed,
		      struct kpb_fitted **out, char *msg);
void kpb_fitted_destroy(struct kpb_fitted *fitted);
int kpb_fitted_fill(struct kpb_fitted *fitted, struct kpb_op *out, uint64_t nr);
/* Births and growth that a lack of slots cut short so far. */
uint64_t kpb_fitted_nr_cut(const struct kpb_fitted *fitted);
