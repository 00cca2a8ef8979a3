// SPDX-License-Identifier: GPL-2.0-only
/*
 * A machine that begins with memory as it was elsewhere, or before: a memory
 * image says for every frame what it is used for.
 */

/**
 * DOC: theory of operation
 *
 * The image is runs of frames and, where it was saved from a machine, the order
 * of the lists. What is in use for good is looked up there and costs nothing
 * here. Movable pages and free blocks go on their lists when the machine is
 * made, but for movable free blocks of the largest order: those come section by
 * section when the last one is taken, in rising order, so that an allocation
 * finds what it would find if all were there from the start.
 *
 * The linear map's own tables must come from somewhere. They are counted, and
 * memblock is lent just so many frames that are in use for good anyway
 * (reserved ones, else others, else free ones) and that end where a chunk of
 * kpkeys_physmem_pgtable_alloc() ends. What of the chunk is not used was never
 * lent: it stays what the image says. An allocator file keeps its chunk to
 * itself, so it is lent whole.
 */

#include <linux/memblock.h>
#include <linux/mm.h>

#include "../mm/internal.h"
#include "machine.h"

static bool kpb_run_is_kept(const struct kpb_run *run)
{
	return run->kind >= KPB_RUN_RESERVED && run->kind <= KPB_RUN_SLAB;
}

static bool kpb_run_is_system(const struct kpb_run *run)
{
	return run->kind >= KPB_RUN_FILE && run->kind <= KPB_RUN_SYSTEM_KERNEL;
}

static unsigned long kpb_run_frames(const struct kpb_run *run)
{
	return (unsigned long)run->nr << run->order;
}

static unsigned long kpb_run_pfn(const struct kpb_run *run)
{
	return kpb_this->zone.zone_start_pfn + run->first;
}

/* Untrusted input: one run, given what is left of RAM. */
static const char *kpb_run_error(const struct kpb_run *run, u64 first, u64 left)
{
	if (run->kind >= KPB_NR_RUN_KINDS || !run->nr)
		return "give a kind that exists, and one block or more";
	if (run->first != first)
		return "it must begin where the one before ends";
	if (run->order > MAX_PAGE_ORDER ||
	    (run->kind <= KPB_RUN_SLAB && run->order))
		return "give an order that the buddy has, and 0 of what is in use for good";
	if (run->kind == KPB_RUN_PCP && run->order > PAGE_ALLOC_COSTLY_ORDER &&
	    run->order != PMD_ORDER)
		return "no CPU keeps blocks of this order";
	if (run->first & ((1u << run->order) - 1))
		return "its blocks must be aligned";
	if (kpb_run_frames(run) > left)
		return "it must lie within RAM";
	return NULL;
}

/**
 * kpb_image_check() - may a machine begin with this?
 * @config: of the machine; its size has been checked
 * @msg: KPB_MSG_BYTES for what is wrong
 *
 * What is about lists shows when they are filled: kpb_image_free_all().
 *
 * Return: 0 or -EINVAL.
 */
static int kpb_image_check(const struct kpb_config *config, char *msg)
{
	const struct kpb_image *image = config->image;
	u64 nr_frames = config->ram_bytes >> PAGE_SHIFT, first = 0, i;
	u32 nr_holes = 0;

	if (config->nr_holes || config->nr_reserved || config->aged_ppm ||
	    config->nr_static_pgtables) {
		snprintf(msg, KPB_MSG_BYTES,
			 "a memory image has its own holes, reserved regions, age and tables of the kernel image: give none beside it");
		return -EINVAL;
	}
	if (image->nr_blocks != ((nr_frames - 1) >> pageblock_order) + 1) {
		snprintf(msg, KPB_MSG_BYTES,
			 "memory image: %llu pageblock types; RAM has %llu pageblocks",
			 (unsigned long long)image->nr_blocks,
			 (unsigned long long)((nr_frames - 1) >>
					      pageblock_order) +
				 1);
		return -EINVAL;
	}
	for (i = 0; i < image->nr_blocks; i++)
		if (image->block_types[i] >= MIGRATE_TYPES) {
			snprintf(msg, KPB_MSG_BYTES,
				 "memory image: pageblock %llu has migratetype %u; give 0 to %d",
				 (unsigned long long)i, image->block_types[i],
				 MIGRATE_TYPES - 1);
			return -EINVAL;
		}
	for (i = 0; i < image->nr_runs; i++) {
		const struct kpb_run *run = &image->runs[i];
		const char *wrong =
			kpb_run_error(run, first, nr_frames - first);

		if (wrong) {
			snprintf(msg, KPB_MSG_BYTES,
				 "memory image: run %llu, %u blocks of order %u at frame %u of kind %u: %s",
				 (unsigned long long)i, run->nr, run->order,
				 run->first, run->kind, wrong);
			return -EINVAL;
		}
		first += kpb_run_frames(run);
		nr_holes += run->kind == KPB_RUN_HOLE;
	}
	if (first == nr_frames && nr_holes <= KPB_MAX_IMAGE_HOLES)
		return 0;
	snprintf(msg, KPB_MSG_BYTES,
		 "memory image: %llu frames and %u holes; give all %llu frames of RAM and at most %d holes",
		 (unsigned long long)first, nr_holes,
		 (unsigned long long)nr_frames, KPB_MAX_IMAGE_HOLES);
	return -EINVAL;
}

/**
 * kpb_image_add_memory() - what firmware would tell of RAM
 * @config: of the machine
 * @memory: gets a range for what lies between two holes
 *
 * Return: 0 or -errno.
 */
int kpb_image_add_memory(const struct kpb_config *config,
			 struct memblock_type *memory)
{
	const struct kpb_image *image = config->image;
	phys_addr_t base = config->phys_base;
	int ret = 0;
	u64 i;

	for (i = 0; i < image->nr_runs && !ret; i++) {
		const struct kpb_run *run = &image->runs[i];
		phys_addr_t hole = config->phys_base +
				   ((phys_addr_t)run->first << PAGE_SHIFT);

		if (run->kind != KPB_RUN_HOLE)
			continue;
		ret = memblock_add_range(memory, base, hole - base);
		base = hole + ((phys_addr_t)run->nr << PAGE_SHIFT);
	}
	if (ret)
		return ret;
	return memblock_add_range(memory, base,
				  config->phys_base + config->ram_bytes - base);
}

/*
 * Aligned windows of @size bytes that memory has a byte of; without those that
 * one leaf can map, if @leaves.
 */
static unsigned long kpb_count_windows(u64 size, bool leaves)
{
	const struct memblock_type *memory = &kpb_this->memblock.memory;
	u64 base = kpb_this->config.phys_base, last = ~0ULL;
	unsigned long i, nr = 0;

	for (i = 0; i < memory->cnt; i++) {
		u64 start = memory->regions[i].base - base;
		u64 end = start + memory->regions[i].size;
		u64 low = start / size, high = (end - 1) / size;
		u64 whole_low = ALIGN(start, size) / size;
		u64 whole_high = end / size;

		if (leaves && whole_low < whole_high) {
			/* only what sticks out at either end */
			nr += low < whole_low && low != last;
			nr += high >= whole_high;
			last = high >= whole_high ? high : last;
			continue;
		}
		nr += high - low + 1 - (low == last);
		last = high;
	}
	return nr;
}

/* Tables that map_mem() will ask for. */
static unsigned long kpb_count_early_tables(void)
{
	bool blocks = !force_pte_mapping();
	unsigned long nr = kpb_count_windows(PMD_SIZE, blocks);

	if (kpb_pgtable_l3_enabled())
		nr += kpb_count_windows(PUD_SIZE,
					blocks && pud_sect_supported());
	if (pgtable_l4_enabled())
		nr += kpb_count_windows(P4D_SIZE, false);
	if (pgtable_l5_enabled())
		nr += kpb_count_windows(PGDIR_SIZE, false);
	return nr;
}

/* What may be lent; each pass takes what the one before does, too. */
enum kpb_loan_pass {
	KPB_LOAN_RESERVED,
	KPB_LOAN_KEPT,
	KPB_LOAN_FREE,
	KPB_NR_LOAN_PASSES,
};

static bool kpb_may_lend(const struct kpb_run *run, enum kpb_loan_pass pass)
{
	if (run->kind == KPB_RUN_RESERVED)
		return true;
	return (pass >= KPB_LOAN_KEPT && kpb_run_is_kept(run)) ||
	       (pass >= KPB_LOAN_FREE && run->kind == KPB_RUN_FREE);
}

/* Is all of it RAM, and not its very first page, which is no address? */
static bool kpb_is_chunk(unsigned long start, unsigned long end)
{
	const struct memblock_type *memory = &kpb_this->memblock.memory;
	const struct memblock_region *rgn =
		memblock_region_below(memory, (phys_addr_t)end << PAGE_SHIFT);

	return start && rgn && rgn->base <= (phys_addr_t)start << PAGE_SHIFT &&
	       region_end(rgn) >= (phys_addr_t)end << PAGE_SHIFT;
}

/*
 * Of the frames [start, end) those that end with a chunk: chunks as a whole
 * while there is more to come, and of the last one its upper end.
 */
static unsigned long kpb_lend_stretch(unsigned long start, unsigned long end,
				      unsigned long chunk, unsigned long rest)
{
	struct kpb_image_books *books = &kpb_this->image;
	struct kpb_frames *loan = &books->loans[books->nr_loans];
	unsigned long nr;

	end = ALIGN_DOWN(end, chunk);
	if (end <= start || books->nr_loans == KPB_MAX_LOANS)
		return rest;
	nr = min(end - start, rest);
	loan->end = end;
	loan->start = ALIGN_DOWN(end - nr, chunk);
	if (nr < rest || !kpb_is_chunk(loan->start, end)) {
		nr = ALIGN_DOWN(nr, chunk);
		loan->start = end - nr;
	}
	if (!nr || !kpb_is_chunk(loan->start, end))
		return rest;
	books->nr_loans++;
	return rest - nr;
}

/* From the top of memory downward; what could not be found. */
static unsigned long kpb_lend_pass(enum kpb_loan_pass pass, unsigned long chunk,
				   unsigned long rest)
{
	const struct kpb_image *image = kpb_this->config.image;
	unsigned long start = 0, end = 0;
	u64 i = image->nr_runs;

	kpb_this->image.nr_loans = 0;
	while (i-- && rest) {
		const struct kpb_run *run = &image->runs[i];

		if (!kpb_may_lend(run, pass)) {
			if (end)
				rest = kpb_lend_stretch(start, end, chunk,
							rest);
			end = 0;
			continue;
		}
		start = kpb_run_pfn(run);
		if (!end)
			end = start + kpb_run_frames(run);
	}
	return end && rest ? kpb_lend_stretch(start, end, chunk, rest) : rest;
}

/**
 * kpb_image_lend() - give memblock what the linear map's own tables may take
 * @msg: KPB_MSG_BYTES for what is wrong
 *
 * Everything else is reserved until kpb_image_free_all().
 *
 * Return: 0 or -EINVAL.
 */
static int kpb_image_lend(char *msg)
{
	struct kpb_image_books *books = &kpb_this->image;
	struct memblock_type *reserved = &kpb_this->memblock.reserved;
	bool is_file = kpb_this->config.allocator_file;
	unsigned long nr_tables = kpb_count_early_tables();
	unsigned long chunk = 1UL
			      << (is_file ? default_refill_orders[0] :
					    kpb_this->config.refill_orders[0]);
	unsigned long rest = is_file ? ALIGN(nr_tables, chunk) : nr_tables;
	phys_addr_t top = kpb_this->zone.zone_end_pfn << PAGE_SHIFT;
	unsigned int pass, i;
	int ret = 0;

	for (pass = 0; pass < KPB_NR_LOAN_PASSES; pass++)
		if (!kpb_lend_pass(pass, chunk, rest))
			break;
	if (pass == KPB_NR_LOAN_PASSES) {
		snprintf(msg, KPB_MSG_BYTES,
			 "memory image: the linear map needs %lu pages for its own tables, and no %lu frames in use for good, or free, end at a multiple of %lu: take a smaller machine or another allocator",
			 nr_tables, rest, chunk);
		return -EINVAL;
	}
	for (i = 0; i < books->nr_loans && !ret; i++) {
		phys_addr_t end = books->loans[i].end << PAGE_SHIFT;

		ret = memblock_add_range(reserved, end, top - end);
		top = books->loans[i].start << PAGE_SHIFT;
	}
	if (!ret)
		ret = memblock_add_range(reserved, kpb_this->config.phys_base,
					 top - kpb_this->config.phys_base);
	WARN_ON(ret);
	return 0;
}

/* What the tables did not take goes back; the rest is reserved from now on. */
static void kpb_image_end_loan(void)
{
	struct pkeys_physmem_allocator *ppa = &kpb_state()->ppa;
	struct kpb_image_books *books = &kpb_this->image;
	struct memblock_type *reserved = &kpb_this->memblock.reserved;
	unsigned int i, nr = 0;

	/* so that ppa_finalize() has nothing to free */
	if (!kpb_this->config.allocator_file && ppa->chunk.end) {
		WARN_ON(memblock_remove_range(reserved, ppa->chunk.start,
					      ppa->next - ppa->chunk.start));
		ppa->chunk.start = ppa->next;
	}
	for (i = 0; i < books->nr_loans; i++) {
		struct kpb_frames loan = books->loans[i];
		phys_addr_t start, end;

		/* what was taken is its upper end */
		if (__next_mem_range(loan.start << PAGE_SHIFT, &start, &end) &&
		    start >> PAGE_SHIFT < loan.end)
			loan.start = end >> PAGE_SHIFT;
		if (loan.start < loan.end)
			books->loans[nr++] = loan;
	}
	books->nr_loans = nr;
	reserved->cnt = 0;
	for (i = 0; i < nr; i++)
		WARN_ON(memblock_add_range(reserved,
					   books->loans[i].start << PAGE_SHIFT,
					   (books->loans[i].end -
					    books->loans[i].start)
						   << PAGE_SHIFT));
}

/* Of [pfn, end) what no loan has: to what is returned; it goes on at @next. */
static unsigned long kpb_image_before_loan(unsigned long pfn, unsigned long end,
					   unsigned long *next)
{
	const struct kpb_image_books *books = &kpb_this->image;
	unsigned int i = books->nr_loans;

	/* they fall, so from the last one on they rise */
	while (i--) {
		const struct kpb_frames *loan = &books->loans[i];

		if (loan->end <= pfn)
			continue;
		if (loan->start >= end)
			break;
		*next = min(loan->end, end);
		return max(loan->start, pfn);
	}
	*next = end;
	return end;
}

static bool kpb_image_is_lent(unsigned long pfn, unsigned long nr)
{
	unsigned long next;

	return kpb_image_before_loan(pfn, pfn + nr, &next) != pfn + nr;
}

/* The run that has a frame; binary search. */
static const struct kpb_run *kpb_image_find(u32 frame)
{
	const struct kpb_image *image = kpb_this->config.image;
	u64 low = 0, high = image->nr_runs;

	while (high - low > 1) {
		u64 middle = low + (high - low) / 2;

		if (image->runs[middle].first <= frame)
			low = middle;
		else
			high = middle;
	}
	return &image->runs[low];
}

static bool kpb_image_is_deferred(const struct kpb_run *run, unsigned long pfn)
{
	return run->kind == KPB_RUN_FREE && run->order == MAX_PAGE_ORDER &&
	       get_pfnblock_migratetype(pfn) == MIGRATE_MOVABLE &&
	       !PageBuddy(pfn_to_page(pfn)) &&
	       !kpb_image_is_lent(pfn, MAX_ORDER_NR_PAGES);
}

/* A free block goes to the end of its list. */
static const char *kpb_image_free_block(unsigned long pfn, unsigned int order)
{
	struct zone *zone = &kpb_this->zone;
	struct page *page = pfn_to_page(pfn);
	int mt = get_pfnblock_migratetype(pfn);
	unsigned long next, end = pfn + (1UL << order), stop;

	if (kpb_image_is_lent(pfn, 1UL << order)) {
		for (; pfn < end; pfn = next) {
			stop = kpb_image_before_loan(pfn, end, &next);
			__free_pages_memory(pfn, stop);
		}
		return NULL;
	}
	if (order < pageblock_order &&
	    page_is_buddy(__find_buddy_pfn(pfn, order), order))
		return "its buddy is free, too: they must be one block";
	set_buddy_order(page, order);
	__add_to_free_list(page, zone, order, mt, true);
	account_freepages(zone, 1L << order);
	if (order > pageblock_order)
		change_pageblock_range(page, order, mt);
	return NULL;
}

static void kpb_image_keep(const struct kpb_place *place, unsigned long pfn,
			   unsigned int order)
{
	struct per_cpu_pages *pcp =
		&kpb_this->pcp[place->cpu % kpb_this->config.nr_cpus];

	/* until all lists are filled */
	*kpb_page_type(pfn) = KPB_PG_TAIL;
	list_add_tail(&pfn_to_page(pfn)->pcp_list,
		      &pcp->lists[order_to_pindex(place->type, order)]);
	pcp->count += 1 << order;
}

/* One block to the end of the list that it is on. */
static const char *kpb_image_place(const struct kpb_place *place)
{
	const struct kpb_run *run;
	unsigned long pfn;

	if (place->first >=
	    kpb_this->zone.zone_end_pfn - kpb_this->zone.zone_start_pfn)
		return "it is not in RAM";
	run = kpb_image_find(place->first);
	pfn = kpb_this->zone.zone_start_pfn + place->first;
	if (run->kind < KPB_RUN_FILE ||
	    (place->first - run->first) & ((1u << run->order) - 1))
		return "no block of a list begins there";
	if (*kpb_page_type(pfn))
		return "it is on a list already";
	if (run->kind == KPB_RUN_FREE)
		return kpb_image_is_lent(pfn, 1UL << run->order) ?
			       NULL :
			       kpb_image_free_block(pfn, run->order);
	if (kpb_run_is_system(run)) {
		kpb_system_add(pfn_to_page(pfn), run->order,
			       (enum kpb_system_kind)(run->kind -
						      KPB_RUN_FILE));
		return NULL;
	}
	if (place->type >= MIGRATE_TYPES)
		return "no such migratetype";
	kpb_image_keep(place, pfn, run->order);
	return NULL;
}

/* The blocks of one run that have no place. */
static const char *kpb_image_fill(const struct kpb_run *run)
{
	unsigned long pfn = kpb_run_pfn(run);
	u32 i;

	for (i = 0; i < run->nr; i++, pfn += 1UL << run->order) {
		u8 *type = kpb_page_type(pfn);
		const char *wrong = NULL;

		if (run->kind == KPB_RUN_PCP) {
			if (*type != KPB_PG_TAIL)
				return "a block that a CPU keeps has no place";
			*type = 0;
		} else if (*type || kpb_image_is_deferred(run, pfn)) {
			continue;
		} else if (run->kind == KPB_RUN_FREE) {
			wrong = kpb_image_free_block(pfn, run->order);
		} else {
			kpb_system_add(pfn_to_page(pfn), run->order,
				       (enum kpb_system_kind)(run->kind -
							      KPB_RUN_FILE));
		}
		if (wrong)
			return wrong;
	}
	return NULL;
}

/* Ranges of blocks that come later; how many there are, into @out if given. */
static unsigned long kpb_image_defer(struct kpb_frames *out)
{
	const struct kpb_image *image = kpb_this->config.image;
	unsigned long nr = 0, last = 0;
	u64 i;

	for (i = 0; i < image->nr_runs; i++) {
		const struct kpb_run *run = &image->runs[i];
		unsigned long pfn = kpb_run_pfn(run);
		u32 block;

		if (run->kind != KPB_RUN_FREE || run->order != MAX_PAGE_ORDER)
			continue;
		for (block = 0; block < run->nr;
		     block++, pfn += MAX_ORDER_NR_PAGES) {
			if (!kpb_image_is_deferred(run, pfn))
				continue;
			if (!nr || pfn != last) {
				if (out)
					out[nr].start = pfn;
				nr++;
			}
			last = pfn + MAX_ORDER_NR_PAGES;
			if (out)
				out[nr - 1].end = last;
		}
	}
	return nr;
}

static int kpb_image_set_deferred(void)
{
	struct kpb_image_books *books = &kpb_this->image;
	struct zone *zone = &kpb_this->zone;
	unsigned long i;

	books->nr_deferred = kpb_image_defer(NULL);
	if (!books->nr_deferred)
		return 0;
	books->deferred = calloc(books->nr_deferred, sizeof(*books->deferred));
	if (!books->deferred)
		return -ENOMEM;
	kpb_image_defer(books->deferred);
	for (i = 0; i < books->nr_deferred; i++)
		zone->nr_deferred_pages +=
			books->deferred[i].end - books->deferred[i].start;
	zone->first_deferred_pfn = books->deferred[0].start;
	zone->deferred_end_pfn = books->deferred[books->nr_deferred - 1].end;
	return 0;
}

static void kpb_image_set_zone(void)
{
	const struct kpb_image *image = kpb_this->config.image;
	struct zone *zone = &kpb_this->zone;
	unsigned int i;
	u32 cpu;

	zone->managed_pages = image->managed_pages;
	if (!zone->managed_pages) {
		zone->managed_pages = (unsigned long)kpb_nr_free_pages(zone);
		for (i = 0; i < KPB_NR_SYSTEM_KINDS; i++)
			zone->managed_pages += kpb_this->system.nr_pages[i];
		for (cpu = 0; cpu < kpb_this->config.nr_cpus; cpu++)
			zone->managed_pages +=
				(unsigned long)kpb_this->pcp[cpu].count;
	}
	__setup_per_zone_wmarks(zone);
	if (image->watermarks[WMARK_HIGH])
		for (i = 0; i < NR_WMARK; i++)
			zone->_watermark[i] = image->watermarks[i];
	zone->compact_considered = image->compact_considered;
	zone->compact_defer_shift =
		min(image->compact_defer_shift, COMPACT_MAX_DEFER_SHIFT + 0u);
	if (image->compact_order_failed)
		zone->compact_order_failed =
			(int)min(image->compact_order_failed,
				 KPB_MAX_ORDERS + 0u);
	if (kpb_this->config.no_pcp)
		for (cpu = 0; cpu < kpb_this->config.nr_cpus; cpu++)
			free_pcppages_bulk(zone, kpb_this->pcp[cpu].count,
					   &kpb_this->pcp[cpu], 0);
}

/**
 * kpb_image_free_all() - the buddy, and who uses the rest, as the image has it
 * @msg: KPB_MSG_BYTES for what is wrong
 *
 * In the place of memblock_free_all().
 *
 * Return: 0, -EINVAL or -ENOMEM.
 */
static int kpb_image_free_all(char *msg)
{
	const struct kpb_image *image = kpb_this->config.image;
	unsigned long end, next;
	const char *wrong;
	u64 i;
	int ret;

	kpb_image_end_loan();
	memcpy(kpb_this->pageblock_migratetype, image->block_types,
	       image->nr_blocks);
	for (i = 0; i < image->nr_places; i++) {
		wrong = kpb_image_place(&image->places[i]);
		if (wrong) {
			snprintf(msg, KPB_MSG_BYTES,
				 "memory image: place %llu, of frame %u: %s",
				 (unsigned long long)i, image->places[i].first,
				 wrong);
			return -EINVAL;
		}
	}
	for (i = 0; i < image->nr_runs; i++) {
		const struct kpb_run *run = &image->runs[i];
		unsigned long pfn = kpb_run_pfn(run);

		wrong = run->kind >= KPB_RUN_FILE ? kpb_image_fill(run) : NULL;
		if (wrong) {
			snprintf(msg, KPB_MSG_BYTES,
				 "memory image: run %llu, %u blocks of order %u at frame %u: %s",
				 (unsigned long long)i, run->nr, run->order,
				 run->first, wrong);
			return -EINVAL;
		}
		end = pfn + kpb_run_frames(run);
		for (; kpb_run_is_kept(run) && pfn < end; pfn = next)
			kpb_this->image.nr_kept +=
				kpb_image_before_loan(pfn, end, &next) - pfn;
	}
	ret = kpb_image_set_deferred();
	if (ret)
		return ret;
	kpb_image_set_zone();
	deferred_grow_zone(&kpb_this->zone);
	return 0;
}

/* What the buddy gets next; something must be left. */
void kpb_image_next_section(unsigned long *start_pfn, unsigned long *end_pfn)
{
	struct kpb_image_books *books = &kpb_this->image;
	struct kpb_frames *next = &books->deferred[books->next_deferred];
	struct zone *zone = &kpb_this->zone;

	*start_pfn = next->start;
	*end_pfn = min(ALIGN(next->start + 1, PAGES_PER_SECTION), next->end);
	zone->nr_deferred_pages -= *end_pfn - *start_pfn;
	next->start = *end_pfn;
	if (next->start == next->end)
		books->next_deferred++;
	zone->first_deferred_pfn =
		zone->nr_deferred_pages ?
			books->deferred[books->next_deferred].start :
			zone->deferred_end_pfn;
}

/* The next frame from @pfn on that is not deferred; @i: how far so far. */
static unsigned long kpb_image_skip_deferred(unsigned long pfn,
					     unsigned long *i)
{
	const struct kpb_image_books *books = &kpb_this->image;

	*i = max(*i, books->next_deferred);
	while (*i < books->nr_deferred && pfn >= books->deferred[*i].start) {
		pfn = max(pfn, books->deferred[*i].end);
		(*i)++;
	}
	return pfn;
}
