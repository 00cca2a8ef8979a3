/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The border between C and Python: declarations only. cffi parses this very
 * file and kpb_api.h includes it, so the two sides cannot disagree. Whole
 * arrays cross here, never one operation. Every function returns 0 or
 * -errno unless it says otherwise.
 */

/* One replayed operation, 8 bytes. */
struct kpb_op {
	uint32_t slot; /* which live page; SHRINK: nr_to_scan */
	uint8_t kind;  /* enum kpb_op_kind */
	uint8_t cpu;
	uint8_t level; /* ALLOC: table level; PIN: migratetype;
				 * SPLIT_OTHER: first page within the pin */
	uint8_t arg;   /* ALLOC: bit 0 kernel table; PIN: order;
				 * SPLIT_OTHER: number of pages; SHRINK: priority */
};

enum kpb_op_kind {
	KPB_OP_ALLOC, /* one PTP into an empty slot */
	KPB_OP_FREE,  /* the PTP in a slot */
	KPB_OP_PIN,   /* buddy pages for somebody else */
	KPB_OP_UNPIN,
	KPB_OP_SPLIT_OTHER, /* permission change on pinned pages */
	KPB_OP_SHRINK,	    /* nr_to_scan 0: do_shrink_slab() */
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

#define KPB_MAX_REFILL_ORDERS 32
#define KPB_MAX_ORDERS 14
#define KPB_MIGRATE_TYPES 3
#define KPB_HIST_BUCKETS 1920
#define KPB_MSG_BYTES 256
#define KPB_NR_GEN_PARAMS 4
#define KPB_MAX_SLOTS 67108864

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
};

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

struct kpb_machine;

int kpb_machine_create(const struct kpb_config *config,
		       struct kpb_machine **out, char *msg);
/* -EBUSY, and nothing happens, while another thread is inside. */
int kpb_machine_destroy(struct kpb_machine *m);
/* kpkeys_hardened_pgtables_init() and ..._init_late() */
int kpb_machine_init(struct kpb_machine *m);
int kpb_machine_init_late(struct kpb_machine *m);
/* Make room for slots 0 .. nr_slots - 1; those in use stay. */
int kpb_machine_set_slots(struct kpb_machine *m, uint32_t nr_slots);

/*
 * Replay @nr_ops operations @repeat times. @times has KPB_NR_PATHS elements
 * or is NULL. @failed_op gets the index of the operation that was refused.
 * -EINVAL: an operation makes no sense; -EDEADLK: the machine stopped.
 */
int kpb_replay(struct kpb_machine *m, const struct kpb_op *ops, uint64_t nr_ops,
	       uint64_t repeat, const struct kpb_timing *timing,
	       struct kpb_path_times *times, uint64_t *failed_op);

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
