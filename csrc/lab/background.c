// SPDX-License-Identifier: GPL-2.0-only
/*
 * The background: who else allocates and frees while page tables come and go.
 */

/**
 * DOC: theory of operation
 *
 * Every so many operations of a replay the background has a turn. In it
 *
 * - the processes whose page tables came and went since the last turn fault
 *   their anonymous pages in, or leave them;
 * - unmovable allocations, slab pages and huge pages are made, and those whose
 *   time has come go;
 * - files are read, in windows of read-ahead, which needs page cache; now and
 *   then a burst of them.
 *
 * kswapd, once woken by whomever, runs before the next operation and, within a
 * turn, after each allocation that woke it. What the background does is
 * decided by its seed and the operations alone: neither the way in which time
 * is taken nor the arrays that operations come in change it, so operations
 * whose arrays are gone before the turn are kept.
 *
 * Before the first operation resident processes take their share of memory and
 * page cache fills what is left down to the high watermark, as in a kernel that
 * has been up for some time. It is read from several files in turns, a window
 * at a time, and aged file by file: the pages that reclaim takes first lie all
 * over memory, a window at most in one place.
 *
 * Nothing is cleared (no __GFP_ZERO), and nothing is charged: what is counted
 * under these names is the page tables'.
 */

#include <linux/mm.h>

#include "../mm/internal.h"
#include "background.h"
#include "machine.h"

/* DUPLICATED, but for the zone modifiers */
#define GFP_HIGHUSER_MOVABLE (GFP_KERNEL | __GFP_MOVABLE)
/* of readahead_gfp_mask(): rather read less than look harder */
#define KPB_GFP_READAHEAD (GFP_HIGHUSER_MOVABLE | __GFP_NORETRY | __GFP_NOWARN)
/* kpb: a process that finds no memory leaves; the OOM killer is not called */
#define KPB_GFP_ANON (GFP_HIGHUSER_MOVABLE | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)
#define KPB_GFP_KERNEL (GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)
/* what a slab cache tries before it makes do with a single page */
#define KPB_GFP_NO_RECLAIM(gfp) ((gfp) & ~__GFP_RECLAIM)
#define GFP_TRANSHUGE_LIGHT \
	(KPB_GFP_NO_RECLAIM(GFP_HIGHUSER_MOVABLE) | __GFP_COMP | __GFP_NOWARN)

/* DUPLICATED: the window of read-ahead, 128 KB */
#define VM_READAHEAD_PAGES ((128UL << 10) / PAGE_SIZE)

/* A life has an end, in turns. */
#define KPB_MAX_LIFE (1U << 20)
/* In place of a huge page so many single ones at most. */
#define KPB_MAX_THP_FALLBACK 512

static const struct {
	const char *name;
	size_t offset;
	u32 most;
} kpb_background_limits[] = {
#define KPB_LIMIT(field, most) \
	{ #field, offsetof(struct kpb_background_config, field), most }
	KPB_LIMIT(every, KPB_BACKGROUND_MAX_EVERY),
	KPB_LIMIT(resident_percent, 95),
	KPB_LIMIT(cache_percent, 100),
	KPB_LIMIT(table_pages, 512),
	KPB_LIMIT(read_pages, 100000),
	KPB_LIMIT(slab_pages, 10000),
	KPB_LIMIT(kernel_allocs, 10000),
	KPB_LIMIT(thp_allocs, 10000),
	KPB_LIMIT(life_ops, 1000000000),
	KPB_LIMIT(burst_pages, 1 << 24),
	KPB_LIMIT(burst_ops, 1000000000),
#undef KPB_LIMIT
};

/**
 * kpb_background_check() - is this a background that can be?
 * @config: of the machine
 * @msg: KPB_MSG_BYTES for what is wrong
 *
 * Return: 0 or -EINVAL.
 */
int kpb_background_check(const struct kpb_config *config, char *msg)
{
	const struct kpb_background_config *b = &config->background;
	size_t i;

	if (!b->every)
		return 0;
	for (i = 0; i < ARRAY_SIZE(kpb_background_limits); i++) {
		u32 most = kpb_background_limits[i].most;
		u32 value;

		memcpy(&value,
		       (const char *)b + kpb_background_limits[i].offset,
		       sizeof(value));
		if (value <= most)
			continue;
		snprintf(msg, KPB_MSG_BYTES,
			 "background: %s %u: give at most %u",
			 kpb_background_limits[i].name, value, most);
		return -EINVAL;
	}
	if (b->burst_pages && !b->burst_ops) {
		snprintf(msg, KPB_MSG_BYTES,
			 "background: burst_pages %u every 0 operations: give burst_ops",
			 b->burst_pages);
		return -EINVAL;
	}
	return 0;
}

/**
 * kpb_background_reserve() - tables for whatever could be allocated
 * @m: the machine
 *
 * Return: 0 or -ENOMEM.
 */
int kpb_background_reserve(struct kpb_machine *m)
{
	struct kpb_background *b = &m->background;
	unsigned long nr_pages = m->config.ram_bytes >> PAGE_SHIFT;
	int ret;

	if (!m->config.background.every)
		return 0;
	ret = kpb_mapping_reserve(&b->owned_map, nr_pages * sizeof(*b->owned),
				  1 << 16);
	b->owned = b->owned_map.addr;
	return ret;
}

/**
 * kpb_background_release() - give back what kpb_background_reserve() got
 * @m: the machine, which nobody uses any more
 */
void kpb_background_release(struct kpb_machine *m)
{
	kpb_mapping_release(&m->background.owned_map);
	free(m->background.of_slot);
}

/**
 * kpb_background_set_slots() - there are more page tables to follow
 * @m: the machine
 * @nr_slots: how many
 *
 * Return: 0 or -ENOMEM.
 */
int kpb_background_set_slots(struct kpb_machine *m, u32 nr_slots)
{
	struct kpb_background *b = &m->background;
	u32 *of_slot;

	if (!m->config.background.every || nr_slots <= b->nr_slots)
		return 0;
	of_slot = realloc(b->of_slot, nr_slots * sizeof(*of_slot));
	if (!of_slot)
		return -ENOMEM;
	memset(of_slot + b->nr_slots, 0,
	       (nr_slots - b->nr_slots) * sizeof(*of_slot));
	b->of_slot = of_slot;
	b->nr_slots = nr_slots;
	return 0;
}

/**
 * kpb_background_wake() - kswapd is to run before the next operation
 *
 * Context: anywhere. The operation at hand is finished first.
 */
void kpb_background_wake(void)
{
	struct kpb_machine *m = kpb_this;

	m->background.kswapd_woken = true;
	if (m->background.running)
		return;
	m->background.until -= m->background_left - 1;
	m->background_left = 1;
}

/* From here on what the buddy counts is the background's ... */
static void kpb_background_begin(void)
{
	struct kpb_counters *c = &kpb_this->counters;

	kpb_this->background.running = true;
	c->background_slowpath_entries -= c->slowpath_entries;
	c->background_allocstall -= c->allocstall;
	c->background_compact_stall -= c->compact_stall;
}

/* ... up to here. */
static void kpb_background_end(void)
{
	struct kpb_counters *c = &kpb_this->counters;

	kpb_this->background.running = false;
	c->background_slowpath_entries += c->slowpath_entries;
	c->background_allocstall += c->allocstall;
	c->background_compact_stall += c->compact_stall;
}

/* If somebody woke it. */
static void kpb_background_kswapd(void)
{
	if (!kpb_this->background.kswapd_woken)
		return;
	kpb_this->background.kswapd_woken = false;
	kpb_kswapd_run();
}

/*
 * Pages for one actor, on a CPU of his. If the one before woke kswapd that goes
 * first: not afterwards, since what a shrinker does may move this page.
 */
static struct page *kpb_background_alloc(u8 cpu, gfp_t gfp, unsigned int order,
					 enum kpb_system_kind kind)
{
	struct kpb_machine *m = kpb_this;
	struct page *page;

	kpb_background_kswapd();
	m->cpu = cpu;
	page = __alloc_pages_noprof(gfp, order);
	if (likely(page)) {
		m->counters.background_alloc_pages += 1ULL << order;
		kpb_system_add(page, order, kind);
	} else {
		m->counters.background_failed++;
	}
	return page;
}

static void kpb_background_free(u8 cpu, struct page *page)
{
	unsigned int order = kpb_system_order(page);

	kpb_this->cpu = cpu;
	kpb_this->counters.background_free_pages += 1ULL << order;
	kpb_system_del(page);
	___free_pages(page, order, FPI_NONE);
}

/* Whoever does this runs on some CPU. */
static u8 kpb_background_cpu(void)
{
	struct kpb_machine *m = kpb_this;

	return (u8)kpb_rng_below(&m->background.rng, m->config.nr_cpus);
}

/* --- what goes again by itself ------------------------------------------------ */

/* At the head of a chain. */
static void kpb_own(struct page *page, u32 *chain, u32 due)
{
	struct kpb_background *b = &kpb_this->background;
	u32 i = b->free_owned;

	if (i)
		b->free_owned = b->owned[i - 1].next;
	else
		i = ++b->nr_owned;
	b->owned[i - 1] = (struct kpb_owned){ page, *chain, due };
	page->mapping = (void *)(uintptr_t)i;
	*chain = i;
}

/* The first of a chain goes. */
static void kpb_disown(u8 cpu, u32 *chain)
{
	struct kpb_background *b = &kpb_this->background;
	u32 i = *chain;
	struct kpb_owned *owned = &b->owned[i - 1];

	kpb_background_free(cpu, owned->page);
	*chain = owned->next;
	owned->page = NULL;
	owned->next = b->free_owned;
	b->free_owned = i;
}

/**
 * kpb_background_moved() - compaction has moved an allocation
 * @page: where it was
 * @dst: where it is
 */
void kpb_background_moved(struct page *page, struct page *dst)
{
	uintptr_t i = (uintptr_t)dst->mapping;

	page->mapping = NULL;
	if (i)
		kpb_this->background.owned[i - 1].page = dst;
}

/*
 * A life in turns: of those that have lived some time half live twice as long
 * (a Pareto distribution with exponent 1), up to KPB_MAX_LIFE.
 */
static u32 kpb_background_life(void)
{
	struct kpb_machine *m = kpb_this;
	const struct kpb_background_config *config = &m->config.background;
	u64 least = max(config->life_ops / config->every, 1U);
	u64 r = kpb_rng_next(&m->background.rng) >> 32;

	return (u32)min_t(u64, (least << 32) / (r + 1), KPB_MAX_LIFE);
}

/* Into the wheel, for as long as it lives. */
static void kpb_own_for_life(struct page *page, u32 life)
{
	struct kpb_background *b = &kpb_this->background;
	u32 due = b->nr_turns + life;

	kpb_own(page, &b->wheel[due % KPB_BACKGROUND_WHEEL], due);
}

/* All whose time has come. */
static void kpb_background_deaths(void)
{
	struct kpb_background *b = &kpb_this->background;
	u32 *chain = &b->wheel[b->nr_turns % KPB_BACKGROUND_WHEEL];

	while (*chain) {
		if (b->owned[*chain - 1].due == b->nr_turns)
			kpb_disown(kpb_background_cpu(), chain);
		else
			chain = &b->owned[*chain - 1].next;
	}
}

/* --- actors ------------------------------------------------------------------- */

/* Each turn an actor may do what its rate says, which adds up in the end. */
static void kpb_background_credit(s64 *credit, u32 rate)
{
	*credit += (s64)rate * kpb_this->config.background.every;
}

static bool kpb_background_spend(s64 *credit, s64 cost)
{
	if (*credit < cost)
		return false;
	*credit -= cost;
	return true;
}

/*
 * Is there room for more anonymous memory? Page cache that is nearly gone
 * means that somebody is killed in time, or not started.
 */
static bool kpb_background_has_room(void)
{
	const struct zone *zone = &kpb_this->zone;

	return (unsigned long)kpb_nr_free_pages(zone) +
		       kpb_this->system.nr_pages[KPB_SYSTEM_FILE] >=
	       2 * high_wmark_pages(zone);
}

/* The pages that a process touches under one table. */
static void kpb_background_fault_in(u8 cpu, u32 nr_pages, u32 *chain)
{
	for (; nr_pages; nr_pages--) {
		struct page *page;

		if (!kpb_background_has_room()) {
			kpb_this->counters.background_capped += nr_pages;
			return;
		}
		page = kpb_background_alloc(cpu, KPB_GFP_ANON, 0,
					    KPB_SYSTEM_ANON);
		if (!page)
			return;
		kpb_own(page, chain, 0);
	}
}

/* Anonymous memory follows the tables of its processes. */
static void kpb_background_follow(const struct kpb_op *op)
{
	struct kpb_machine *m = kpb_this;
	struct kpb_background *b = &m->background;
	u8 cpu = m->cpu_of[op->cpu];
	u32 *chain;

	if (op->kind > KPB_OP_FREE || op->slot >= b->nr_slots)
		return;
	chain = &b->of_slot[op->slot];
	if (op->kind == KPB_OP_FREE) {
		while (*chain)
			kpb_disown(cpu, chain);
	} else if (op->level == KPB_LEVEL_PTE && !(op->arg & 1)) {
		kpb_background_fault_in(cpu, m->config.background.table_pages,
					chain);
	}
}

/* The operations since the last turn; those not kept end before @end. */
static void kpb_background_follow_all(u64 now, const struct kpb_op *end)
{
	struct kpb_background *b = &kpb_this->background;
	u64 nr = now - b->seen - b->nr_pending;
	u32 i;

	if (kpb_this->config.background.table_pages) {
		for (i = 0; i < b->nr_pending; i++)
			kpb_background_follow(&b->pending[i]);
		for (; nr; nr--)
			kpb_background_follow(end - nr);
	}
	b->nr_pending = 0;
	b->seen = now;
}

/* A window of read-ahead; the youngest page cache there is. */
static bool kpb_background_read_window(struct list_head *file)
{
	u8 cpu = kpb_background_cpu();
	unsigned long i;

	for (i = 0; i < VM_READAHEAD_PAGES; i++) {
		struct page *page = kpb_background_alloc(cpu, KPB_GFP_READAHEAD,
							 0, KPB_SYSTEM_FILE);

		if (!page)
			return false;
		if (file)
			list_move_tail(&page->lru, file);
	}
	return true;
}

/* In whole windows: what is left over is read in a later turn. */
static void kpb_background_read(void)
{
	struct kpb_machine *m = kpb_this;
	s64 *credit = &m->background.read_credit;

	kpb_background_credit(credit, m->config.background.read_pages);
	while (kpb_background_spend(credit, 1000 * (s64)VM_READAHEAD_PAGES))
		if (!kpb_background_read_window(NULL))
			return;
}

/* Of eight slabs five are single pages, one each has order 1, 2 and 3. */
static unsigned int kpb_background_slab_order(void)
{
	static const u8 orders[8] = { 0, 0, 0, 0, 0, 1, 2, 3 };

	return orders[kpb_rng_below(&kpb_this->background.rng, 8)];
}

/* As a slab cache does it: large without an effort, or else a single page. */
static struct page *kpb_background_slab(gfp_t gfp, enum kpb_system_kind kind)
{
	unsigned int order = kpb_background_slab_order();
	u8 cpu = kpb_background_cpu();
	struct page *page = NULL;

	if (order)
		page = kpb_background_alloc(cpu, KPB_GFP_NO_RECLAIM(gfp), order,
					    kind);
	if (!page)
		page = kpb_background_alloc(cpu, gfp, 0, kind);
	return page;
}

/* Inodes and dentries: they stay until a shrinker takes them. */
static void kpb_background_slabs(void)
{
	struct kpb_machine *m = kpb_this;
	s64 *credit = &m->background.slab_credit;

	kpb_background_credit(credit, m->config.background.slab_pages);
	while (kpb_background_spend(credit, 1000)) {
		struct page *page =
			kpb_background_slab(KPB_GFP_KERNEL | __GFP_RECLAIMABLE,
					    KPB_SYSTEM_SLAB);

		if (!page)
			return;
		/* a large one is made in advance of later turns */
		*credit -= 1000 * ((1L << kpb_system_order(page)) - 1);
	}
}

static void kpb_background_kernel(void)
{
	struct kpb_machine *m = kpb_this;
	s64 *credit = &m->background.kernel_credit;

	kpb_background_credit(credit, m->config.background.kernel_allocs);
	while (kpb_background_spend(credit, 1000)) {
		struct page *page =
			kpb_background_slab(KPB_GFP_KERNEL, KPB_SYSTEM_KERNEL);

		if (!page)
			return;
		kpb_own_for_life(page, kpb_background_life());
	}
}

/* What a fault on a large mapping gets if there is no huge page. */
static void kpb_background_thp_fallback(u8 cpu, u32 life)
{
	u32 nr = min_t(u32, 1U << PMD_ORDER, KPB_MAX_THP_FALLBACK);

	kpb_this->counters.thp_fault_fallback++;
	for (; nr && kpb_background_has_room(); nr--) {
		struct page *page = kpb_background_alloc(cpu, KPB_GFP_ANON, 0,
							 KPB_SYSTEM_ANON);

		if (!page)
			return;
		kpb_own_for_life(page, life);
	}
}

static void kpb_background_thp_fault(void)
{
	struct kpb_machine *m = kpb_this;
	u8 cpu = kpb_background_cpu();
	u32 life = kpb_background_life();
	struct page *page = NULL;

	if (!kpb_background_has_room()) {
		m->counters.background_capped += 1ULL << PMD_ORDER;
		return;
	}
	/* at 64K a PMD maps a whole block of the buddy, at least */
	if (PMD_ORDER <= MAX_PAGE_ORDER)
		page = kpb_background_alloc(cpu, GFP_TRANSHUGE_LIGHT, PMD_ORDER,
					    KPB_SYSTEM_ANON);
	if (!page) {
		kpb_background_thp_fallback(cpu, life);
		return;
	}
	m->counters.thp_fault_alloc++;
	kpb_own_for_life(page, life);
}

static void kpb_background_thp(void)
{
	struct kpb_machine *m = kpb_this;
	s64 *credit = &m->background.thp_credit;

	kpb_background_credit(credit, m->config.background.thp_allocs);
	while (kpb_background_spend(credit, 1000000))
		kpb_background_thp_fault();
}

static void kpb_background_burst(void)
{
	struct kpb_machine *m = kpb_this;
	const struct kpb_background_config *config = &m->config.background;
	u64 nr_pages = config->burst_pages;

	if (!nr_pages || --m->background.until_burst)
		return;
	m->background.until_burst = max(config->burst_ops / config->every, 1U);
	m->counters.background_bursts++;
	while (nr_pages >= VM_READAHEAD_PAGES &&
	       kpb_background_read_window(NULL))
		nr_pages -= VM_READAHEAD_PAGES;
}

static void kpb_background_turn(u64 now, const struct kpb_op *end)
{
	struct kpb_machine *m = kpb_this;

	m->counters.background_turns++;
	m->background.nr_turns++;
	kpb_background_deaths();
	kpb_background_follow_all(now, end);
	kpb_background_kernel();
	kpb_background_slabs();
	kpb_background_thp();
	kpb_background_read();
	kpb_background_burst();
}

/**
 * kpb_background_run() - between two operations: kswapd, and a turn if it is due
 * @end: behind the last operation of the array that is replayed
 *
 * Context: kpb_machine::background_left is 0.
 */
void kpb_background_run(const struct kpb_op *end)
{
	struct kpb_machine *m = kpb_this;
	struct kpb_background *b = &m->background;
	u64 now = b->until;
	KPB_FRAME();

	kpb_background_begin();
	kpb_background_kswapd();
	if (now == b->next_turn) {
		b->next_turn += m->config.background.every;
		kpb_background_turn(now, end);
		kpb_background_kswapd();
	}
	kpb_background_end();
	b->until = b->next_turn;
	m->background_left = b->until - now;
}

/**
 * kpb_background_keep() - an array of operations is over before the turn is
 * @ops: the array
 * @nr_done: how many of them were carried out
 */
void kpb_background_keep(const struct kpb_op *ops, u64 nr_done)
{
	struct kpb_machine *m = kpb_this;
	struct kpb_background *b = &m->background;
	u64 now = b->until - m->background_left;
	u64 nr = now - b->seen - b->nr_pending;

	if (!b->on || !nr)
		return;
	VM_BUG_ON(nr > nr_done || b->nr_pending + nr > ARRAY_SIZE(b->pending));
	memcpy(b->pending + b->nr_pending, ops + (nr_done - nr),
	       nr * sizeof(*ops));
	b->nr_pending += (u32)nr;
}

/* Processes that stay: movable, and as there is no swap never reclaimed. */
static void kpb_background_start_resident(void)
{
	struct kpb_machine *m = kpb_this;
	u64 nr_pages = m->zone.managed_pages *
		       m->config.background.resident_percent / 100;

	while (nr_pages-- && kpb_background_has_room())
		if (!kpb_background_alloc(kpb_background_cpu(), KPB_GFP_ANON, 0,
					  KPB_SYSTEM_ANON))
			return;
}

/* What is above the high watermark, or a share of it, caches files. */
static void kpb_background_start_cache(void)
{
	struct kpb_machine *m = kpb_this;
	const struct zone *zone = &m->zone;
	const long window = (long)VM_READAHEAD_PAGES;
	const long high = (long)high_wmark_pages(zone);
	long nr_pages = kpb_nr_free_pages(zone) - high;
	struct list_head files[KPB_BACKGROUND_FILES];
	unsigned int i;

	for (i = 0; i < KPB_BACKGROUND_FILES; i++)
		INIT_LIST_HEAD(&files[i]);
	nr_pages = nr_pages * (long)m->config.background.cache_percent / 100;
	for (; nr_pages >= window; nr_pages -= window) {
		/* aged memory that nobody has looked at had less to give */
		if (kpb_nr_free_pages(zone) < high + window)
			break;
		i = (unsigned int)kpb_rng_below(&m->background.rng,
						KPB_BACKGROUND_FILES);
		if (!kpb_background_read_window(&files[i]))
			break;
	}
	for (i = 0; i < KPB_BACKGROUND_FILES; i++)
		list_splice_tail(&files[i], &m->system.pages[KPB_SYSTEM_FILE]);
}

/**
 * kpb_background_start() - the rest of the system has been up for some time
 *
 * Context: after kpkeys_hardened_pgtables_init_late(), before any replay.
 */
void kpb_background_start(void)
{
	struct kpb_machine *m = kpb_this;
	const struct kpb_background_config *config = &m->config.background;
	struct kpb_background *b = &m->background;

	if (!config->every)
		return;
	b->rng = kpb_rng_seed(config->seed);
	b->on = true;
	kpb_background_begin();
	kpb_background_start_resident();
	kpb_background_start_cache();
	kpb_background_kswapd();
	kpb_background_end();
	b->next_turn = config->every;
	b->until = b->next_turn;
	m->background_left = b->until;
	b->until_burst = max(config->burst_ops / config->every, 1U);
}
