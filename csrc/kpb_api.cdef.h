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
	uint64_t unprotected_page_ptps;	 /* integral over PTPs asked for */
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

/* Workloads fitted to recordings; @fit is copied. */
int kpb_fitted_create(const struct kpb_fit *fit, uint64_t seed,
		      struct kpb_fitted **out, char *msg);
void kpb_fitted_destroy(struct kpb_fitted *fitted);
int kpb_fitted_fill(struct kpb_fitted *fitted, struct kpb_op *out, uint64_t nr);
/* Births and growth that a lack of slots cut short so far. */
uint64_t kpb_fitted_nr_cut(const struct kpb_fitted *fitted);
