/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inside of one page size, for tests: the mirrors are static, so a test is
 * compiled into their translation unit, as a KUnit suite is included at the
 * end of the file that it tests. X_kunit.c compiled alone is for pages of
 * 4 KB; build_16k_kunit.c and build_64k_kunit.c gather all of them for the
 * other two. VM_BUG_ON() is always active here.
 */
#ifndef KPB_TESTS_BOX_H
#define KPB_TESTS_BOX_H

#ifndef PAGE_SHIFT
#define PAGE_SHIFT 12
#endif
#if !defined(KPB_DEBUG) && !defined(KPB_NO_DEBUG)
#define KPB_DEBUG
#endif

#include "build_granule.h"
#include "kunit.h"

#if PAGE_SHIFT == 12
#define BOX_SUITE(name) name "_4k"
#elif PAGE_SHIFT == 14
#define BOX_SUITE(name) name "_16k"
#else
#define BOX_SUITE(name) name "_64k"
#endif

/* What differs between pages of 4 KB, 16 KB and 64 KB. */
#define BOX_PICK(k4, k16, k64) \
	(PAGE_SHIFT == 12 ? (k4) : PAGE_SHIFT == 14 ? (k16) : (k64))

/* Indices of kpb_allocators[]. */
enum box_allocator {
	BOX_PBA,
	BOX_NOBLOCK,
	BOX_NULL,
	BOX_EARLY_REGIONS,
	BOX_DEFERRED_LIST,
	BOX_DEFERRED_MARKS,
	BOX_SIZED_REFILL,
	BOX_NR_ALLOCATORS,
};

/* Aligned to every leaf there is, so that the first leaf is a largest one. */
#define BOX_PHYS_BASE (1ULL << 34)
/* 16 blocks of the buddy's largest order: 64 MB, 512 MB, 8 GB. */
#define BOX_SMALL_BYTES (16ULL << (MAX_PAGE_ORDER + PAGE_SHIFT))
/* The largest leaf of a block map: PUD at 4K, contPMD at 16K and 64K. */
#if PAGE_SHIFT == 12
#define BOX_TOP_LEAF_SIZE PUD_SIZE
#else
#define BOX_TOP_LEAF_SIZE CONT_PMD_SIZE
#endif
/* Four of them: of 4 GB, 4 GB and 64 GB only the middle ones stay untouched. */
#define BOX_LARGE_BYTES (4ULL * BOX_TOP_LEAF_SIZE)

/* The three refill orders. */
#define BOX_LARGEST_ORDER BOX_PICK(9, 11, 9)
#define BOX_CONT_PTE_ORDER BOX_PICK(4, 7, 5)
#define BOX_MIN_ORDER 2

static const struct kpb_granule box_granule = KPB_GRANULE;

/*
 * What box_config() says of per-CPU lists. A suite that is about single frames
 * and counts them turns the lists off for its cases: what it frees is in the
 * buddy at once, and what it takes comes from there.
 */
static u32 box_config_no_pcp;

static __maybe_unused void box_pcp_off(void)
{
	box_config_no_pcp = 1;
}

static __maybe_unused void box_pcp_on(void)
{
	box_config_no_pcp = 0;
}

static inline struct kpb_config box_config(enum box_allocator allocator,
					   u64 ram_bytes)
{
	struct kpb_config config = {
		.ram_bytes = ram_bytes,
		.phys_base = BOX_PHYS_BASE,
		.page_shift = PAGE_SHIFT,
		.linear_map = kpb_allocators[allocator].linear_map,
		.allocator = allocator,
		.nr_refill_orders = ARRAY_SIZE(default_refill_orders),
		.no_pcp = box_config_no_pcp,
	};

	memcpy(config.refill_orders, default_refill_orders,
	       sizeof(default_refill_orders));
	return config;
}

/* Refill orders other than the default; 0 ends the list. */
static inline void box_refill_orders(struct kpb_config *config, u8 a, u8 b,
				     u8 c)
{
	const u8 orders[] = { a, b, c };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(orders) && orders[i]; i++)
		config->refill_orders[i] = orders[i];
	config->nr_refill_orders = i;
}

static inline void box_destroy(void *m)
{
	box_granule.destroy(m);
	kpb_this = NULL;
}

/*
 * A machine that has a buddy allocator and nothing more, and is current. When
 * it stops, the case ends with the reason.
 */
static inline struct kpb_machine *box_create(struct kunit *test,
					     const struct kpb_config *config)
{
	struct kpb_machine *m = NULL;
	char msg[KPB_MSG_BYTES] = "";
	int ret = box_granule.create(config, &m, msg);

	/* set where a process has less of it than the largest machine takes */
	if (ret == -ENOMEM && getenv("KUNIT_SMALL_ADDRESS_SPACE"))
		kunit_skip(test, "address space");
	KUNIT_EXPECT_STREQ(test, msg, "");
	KUNIT_ASSERT_EQ(test, ret, 0);
	m->border.granule = &box_granule;
	memcpy(m->border.escape, test->abort, sizeof(jmp_buf));
	test->escape_reason = m->border.msg;
	kunit_add_action(test, box_destroy, m);
	kpb_this = m;
	return m;
}

/* The same after kpkeys_hardened_pgtables_init() and ..._init_late(). */
static inline struct kpb_machine *box_boot(struct kunit *test,
					   const struct kpb_config *config)
{
	struct kpb_machine *m = box_create(test, config);

	KUNIT_ASSERT_EQ(test, box_granule.init(), 0);
	KUNIT_ASSERT_EQ(test, box_granule.init_late(), 0);
	return m;
}

static inline struct kpb_machine *box_create_pba(struct kunit *test,
						 u64 ram_bytes)
{
	struct kpb_config config = box_config(BOX_PBA, ram_bytes);

	return box_create(test, &config);
}

static inline struct kpb_machine *box_boot_pba(struct kunit *test,
					       u64 ram_bytes)
{
	struct kpb_config config = box_config(BOX_PBA, ram_bytes);

	return box_boot(test, &config);
}

/* Every invariant holds. */
#define BOX_EXPECT_CLEAN(test)                                      \
	do {                                                        \
		char __msg[KPB_MSG_BYTES] = "";                     \
                                                                    \
		KUNIT_EXPECT_EQ(test, box_granule.check(__msg), 0); \
		KUNIT_EXPECT_STREQ(test, __msg, "");                \
	} while (0)

/* The statement stops the machine, and the reason contains the text. */
#define BOX_EXPECT_STOP(test, stmt, text)                                \
	do {                                                             \
		struct kpb_border *__border = &kpb_this->border;         \
                                                                         \
		if (!setjmp(__border->escape)) {                         \
			stmt;                                            \
			KUNIT_FAIL(test, "the machine did not stop");    \
		}                                                        \
		memcpy(kpb_this->border.escape, (test)->abort,           \
		       sizeof(jmp_buf));                                 \
		KUNIT_EXPECT_TRUE(test, kpb_this->border.stopped);       \
		KUNIT_EXPECT_CONTAINS(test, kpb_this->border.msg, text); \
	} while (0)

/* The statement raises that many warnings. */
#define BOX_EXPECT_WARNINGS(test, nr, stmt)                                   \
	do {                                                                  \
		u64 __before = kpb_this->counters.warnings;                   \
                                                                              \
		stmt;                                                         \
		KUNIT_EXPECT_EQ(test, kpb_this->counters.warnings - __before, \
				nr);                                          \
	} while (0)

static inline unsigned long box_start_pfn(void)
{
	return kpb_this->zone.zone_start_pfn;
}

/* The linear address and the frame number of an offset into RAM. */
static inline unsigned long box_addr(u64 offset)
{
	return kpb_this->linear_start + offset;
}

static inline unsigned long box_pfn(u64 offset)
{
	return box_start_pfn() + (offset >> PAGE_SHIFT);
}

static inline struct page *box_alloc_mt(int migratetype, unsigned int order)
{
	return __alloc_pages_noprof(GFP_KERNEL | (gfp_t)migratetype << 3,
				    order);
}

static inline void box_free(unsigned long pfn, unsigned int order)
{
	___free_pages(pfn_to_page(pfn), order, FPI_NONE);
}

/* The last page may be taken: no watermark holds anybody back. */
static inline void box_no_watermarks(void)
{
	memset(kpb_this->zone._watermark, 0, sizeof(kpb_this->zone._watermark));
}

/*
 * Take everything that the buddy has, so that a test decides what is free. On
 * a machine that was only created all pageblocks stay movable; what was taken
 * looks unmovable. Nothing is reclaimed, and there are no watermarks from then
 * on.
 */
static inline void box_drain(void)
{
	u32 no_pcp = kpb_this->config.no_pcp;
	int order;

	box_no_watermarks();
	drain_all_pages();
	kpb_this->config.no_pcp = 1;
	for (order = MAX_PAGE_ORDER; order >= 0; order--)
		while (__alloc_pages_noprof(__GFP_MOVABLE | __GFP_NOWARN,
					    (unsigned int)order))
			;
	kpb_this->config.no_pcp = no_pcp;
}

/* Of all memory memblock has only the first @nr pages left. */
static inline void box_memblock_leave(unsigned long nr)
{
	struct memblock_type *reserved = &kpb_this->memblock.reserved;
	struct zone *zone = &kpb_this->zone;

	reserved->cnt = 0;
	memblock_add_range(reserved, (zone->zone_start_pfn + nr) << PAGE_SHIFT,
			   (zone->zone_end_pfn - zone->zone_start_pfn - nr)
				   << PAGE_SHIFT);
}

/* The free lists are sound; what is not free may belong to nobody. */
static inline void box_expect_buddy_clean(struct kunit *test)
{
	struct zone *zone = &kpb_this->zone;
	char msg[KPB_MSG_BYTES] = "";
	struct kpb_check check = {
		.owner = calloc(zone->zone_end_pfn - zone->zone_start_pfn, 1),
		.msg = msg,
	};

	KUNIT_ASSERT_NOT_NULL(test, check.owner);
	kpb_check_buddy(&check);
	free(check.owner);
	KUNIT_EXPECT_FALSE(test, check.failed);
	KUNIT_EXPECT_STREQ(test, msg, "");
}

/* The first frame of the n-th block of the largest order. */
static inline unsigned long box_block_pfn(unsigned long n)
{
	return box_start_pfn() + n * MAX_ORDER_NR_PAGES;
}

/* The n-th entry of a free list, or 0. */
static inline unsigned long box_free_pfn(unsigned int order, int migratetype,
					 unsigned long n)
{
	struct page *page;

	list_for_each_entry(page,
			    &kpb_this->zone.free_area[order]
				     .free_list[migratetype],
			    buddy_list)
		if (!n--)
			return page_to_pfn(page);
	return 0;
}

static inline unsigned long box_nr_free(unsigned int order, int migratetype)
{
	struct page *page;
	unsigned long nr = 0;

	list_for_each_entry(page,
			    &kpb_this->zone.free_area[order]
				     .free_list[migratetype],
			    buddy_list)
		nr++;
	return nr;
}

/*
 * Free pages of the machine, those included that the buddy has not seen yet or
 * that CPUs keep.
 */
static inline unsigned long box_nr_free_pages(void)
{
	const struct zone *zone = &kpb_this->zone;
	unsigned long nr = zone->nr_free_pages + zone->nr_deferred_pages;
	u32 cpu;

	for (cpu = 0; cpu < kpb_this->config.nr_cpus; cpu++)
		nr += (unsigned long)kpb_this->pcp[cpu].count;
	return nr;
}

static inline int box_pkey(unsigned long pfn)
{
	u64 desc = kpb_leaf_desc(pfn);

	return kpb_desc_present(desc) ? kpb_desc_pkey(desc) : 255;
}

/* How many of the frames [pfn, pfn + nr) carry a pkey. */
static inline unsigned long box_nr_pkey(unsigned long pfn, unsigned long nr,
					int pkey)
{
	unsigned long found = 0;

	for (; nr; nr--, pfn++)
		found += box_pkey(pfn) == pkey;
	return found;
}

/* Counters of the linear map, all causes together. */
static inline struct kpb_map_counters box_map_counters(void)
{
	struct kpb_map_counters sum = { 0 };
	u64 *to = (u64 *)&sum;
	size_t cause, i;

	for (cause = 0; cause < KPB_NR_CAUSES; cause++) {
		const u64 *from = (const u64 *)&kpb_this->map_counters[cause];

		for (i = 0; i < sizeof(sum) / sizeof(u64); i++)
			to[i] += from[i];
	}
	return sum;
}

/* What the linear map went through since @before. */
static inline struct kpb_map_counters
box_map_since(const struct kpb_map_counters *before)
{
	struct kpb_map_counters since = box_map_counters();
	const u64 *from = (const u64 *)before;
	u64 *to = (u64 *)&since;
	size_t i;

	for (i = 0; i < sizeof(since) / sizeof(u64); i++)
		to[i] -= from[i];
	return since;
}

/* The whole zone at once, as it would be without deferral. */
static inline void box_grow_all(void)
{
	while (kpb_this->zone.nr_deferred_pages) {
		unsigned long start, end;

		kpb_next_deferred_section(&start, &end);
		kpb_free_memory(start, end);
	}
}

/* What a random user of the buddy has at the moment. */
#define BOX_NR_HELD 512

struct box_held {
	unsigned long pfn[BOX_NR_HELD];
	u8 order[BOX_NR_HELD];
};

static inline void box_free_one_held(struct box_held *held, unsigned int i)
{
	kpb_mark_movable(pfn_to_page(held->pfn[i]), held->order[i], 0);
	box_free(held->pfn[i], held->order[i]);
	held->pfn[i] = 0;
}

static inline void box_free_held(struct box_held *held)
{
	unsigned int i;

	for (i = 0; i < BOX_NR_HELD; i++)
		if (held->pfn[i])
			box_free_one_held(held, i);
}

/*
 * One random step: free what place i holds, or allocate; the frame or 0.
 * Movable pages are left out where aged memory is deferred: their small blocks
 * in sections that were not looked at are not on the lists (MIRRORS.md).
 */
static inline unsigned long box_step(struct box_held *held, u64 random,
				     unsigned int max_order)
{
	unsigned int i = random % BOX_NR_HELD;
	unsigned int order = (random >> 16) % (max_order + 1);
	int type = (int)((random >> 32) % MIGRATE_TYPES);
	struct page *page;

	if (kpb_this->config.aged_ppm && type == MIGRATE_MOVABLE)
		type = MIGRATE_UNMOVABLE;
	if (held->pfn[i]) {
		box_free_one_held(held, i);
		return 0;
	}
	page = box_alloc_mt(type, order);
	if (!page)
		return 0;
	held->pfn[i] = page_to_pfn(page);
	held->order[i] = (u8)order;
	if (type == MIGRATE_MOVABLE)
		kpb_mark_movable(page, order, KPB_PG_LRU);
	return held->pfn[i];
}

/* The same random use of two machines, one of them without deferral. */
static inline void box_compare_with_eager(struct kunit *test,
					  const struct kpb_config *config,
					  u64 seed, unsigned int max_order)
{
	static struct box_held lazy_held, eager_held;
	struct kpb_machine *lazy = box_create(test, config);
	struct kpb_machine *eager = box_create(test, config);
	struct kpb_rng rng = kpb_rng_seed(seed);
	unsigned int i;

	memset(&lazy_held, 0, sizeof(lazy_held));
	memset(&eager_held, 0, sizeof(eager_held));
	box_grow_all();
	for (i = 0; i < 5000; i++) {
		u64 random = kpb_rng_next(&rng);
		unsigned long lazy_pfn, eager_pfn;

		kpb_this = lazy;
		lazy_pfn = box_step(&lazy_held, random, max_order);
		kpb_this = eager;
		eager_pfn = box_step(&eager_held, random, max_order);
		if (lazy_pfn == eager_pfn)
			continue;
		KUNIT_FAIL(test,
			   "seed %llu, orders to %u, step %u: frame %#lx where a machine without deferral gives %#lx",
			   (unsigned long long)seed, max_order, i, lazy_pfn,
			   eager_pfn);
		return;
	}
}

/* One operation, as a replay does it. */
static inline int box_op(u8 kind, u32 slot, u8 level, u8 arg)
{
	const struct kpb_op op = {
		.slot = slot,
		.kind = kind,
		.level = level,
		.arg = arg,
	};

	return box_granule.replay(&op, 1, 1, NULL, NULL);
}

#endif
