// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors mm/memblock.c (6.18) as far as very early page tables need it: which
 * memory there is, which of it is taken, allocation from the top downward.
 *
 * kpb: what is added never overlaps what is there, and an array that is full
 * is not doubled: the allocation fails, as it does in the kernel before that
 * is allowed.
 */

/**
 * DOC: theory of operation
 *
 * Two sorted arrays of ranges: memory, and what is reserved of it. Free memory
 * is the difference. An allocation looks for the highest aligned place in the
 * free ranges, from the highest range down, and becomes a reserved range; it
 * is merged with the neighbours that it touches. Once the buddy allocator is
 * there it gets every free range, in rising order.
 */

#include <linux/memblock.h>
#include <linux/mm.h>

#include "internal.h"

static inline phys_addr_t region_end(const struct memblock_region *rgn)
{
	return rgn->base + rgn->size;
}

static int memblock_insert_region(struct memblock_type *type, unsigned long idx,
				  phys_addr_t base, phys_addr_t size)
{
	struct memblock_region *rgn = &type->regions[idx];

	if (type->cnt == ARRAY_SIZE(type->regions))
		return -ENOMEM;
	memmove(rgn + 1, rgn, (type->cnt - idx) * sizeof(*rgn));
	rgn->base = base;
	rgn->size = size;
	type->cnt++;
	return 0;
}

static void memblock_remove_region(struct memblock_type *type,
				   unsigned long idx)
{
	struct memblock_region *rgn = &type->regions[idx];

	type->cnt--;
	memmove(rgn, rgn + 1, (type->cnt - idx) * sizeof(*rgn));
}

static void memblock_merge_regions(struct memblock_type *type)
{
	unsigned long i = 0;

	while (i + 1 < type->cnt) {
		struct memblock_region *this = &type->regions[i];
		struct memblock_region *next = &type->regions[i + 1];

		if (region_end(this) != next->base) {
			i++;
			continue;
		}
		this->size += next->size;
		memblock_remove_region(type, i + 1);
	}
}

static int memblock_add_range(struct memblock_type *type, phys_addr_t base,
			      phys_addr_t size)
{
	unsigned long idx = 0;
	int ret;

	if (!size)
		return 0;
	while (idx < type->cnt && type->regions[idx].base < base)
		idx++;
	/* what touches a neighbour needs no place of its own */
	if (idx && region_end(&type->regions[idx - 1]) == base) {
		type->regions[idx - 1].size += size;
	} else if (idx < type->cnt && type->regions[idx].base == base + size) {
		type->regions[idx].base = base;
		type->regions[idx].size += size;
	} else {
		ret = memblock_insert_region(type, idx, base, size);
		if (ret)
			return ret;
	}
	memblock_merge_regions(type);
	return 0;
}

/* Cut the range that @addr is inside of in two. */
static int memblock_split_region(struct memblock_type *type, phys_addr_t addr)
{
	unsigned long i;
	int ret;

	for (i = 0; i < type->cnt; i++) {
		struct memblock_region *rgn = &type->regions[i];
		phys_addr_t end = region_end(rgn);

		if (addr <= rgn->base || addr >= end)
			continue;
		ret = memblock_insert_region(type, i + 1, addr, end - addr);
		if (!ret)
			rgn->size = addr - rgn->base;
		return ret;
	}
	return 0;
}

static int memblock_remove_range(struct memblock_type *type, phys_addr_t base,
				 phys_addr_t size)
{
	phys_addr_t end = base + size;
	unsigned long i = 0;
	int ret = memblock_split_region(type, base);

	if (!ret)
		ret = memblock_split_region(type, end);
	if (ret)
		return ret;
	while (i < type->cnt) {
		struct memblock_region *rgn = &type->regions[i];

		if (rgn->base >= base && region_end(rgn) <= end)
			memblock_remove_region(type, i);
		else
			i++;
	}
	return 0;
}

static inline int memblock_reserve(phys_addr_t base, phys_addr_t size)
{
	return memblock_add_range(&kpb_this->memblock.reserved, base, size);
}

/* The range of @type that begins highest below @addr, or NULL. */
static const struct memblock_region *
memblock_region_below(const struct memblock_type *type, phys_addr_t addr)
{
	unsigned long i = type->cnt;

	while (i--)
		if (type->regions[i].base < addr)
			return &type->regions[i];
	return NULL;
}

/* The range of @type that ends lowest above @addr, or NULL. */
static const struct memblock_region *
memblock_region_above(const struct memblock_type *type, phys_addr_t addr)
{
	unsigned long i;

	for (i = 0; i < type->cnt; i++)
		if (region_end(&type->regions[i]) > addr)
			return &type->regions[i];
	return NULL;
}

/* The highest free range below @from, as far as it lies below. */
static bool __next_mem_range_rev(phys_addr_t from, phys_addr_t *out_start,
				 phys_addr_t *out_end)
{
	const struct memblock *mb = &kpb_this->memblock;
	const struct memblock_region *mem, *rsv;

	while ((mem = memblock_region_below(&mb->memory, from))) {
		phys_addr_t end = min(from, region_end(mem));

		rsv = memblock_region_below(&mb->reserved, end);
		if (rsv && region_end(rsv) >= end) {
			/* taken up to here: go on below it */
			from = rsv->base;
			continue;
		}
		*out_start = rsv ? max(mem->base, region_end(rsv)) : mem->base;
		*out_end = end;
		return true;
	}
	return false;
}

/* The lowest free range above @from, as far as it lies above. */
static bool __next_mem_range(phys_addr_t from, phys_addr_t *out_start,
			     phys_addr_t *out_end)
{
	const struct memblock *mb = &kpb_this->memblock;
	const struct memblock_region *mem, *rsv;

	while ((mem = memblock_region_above(&mb->memory, from))) {
		phys_addr_t start = max(from, mem->base);

		rsv = memblock_region_above(&mb->reserved, start);
		if (rsv && rsv->base <= start) {
			from = region_end(rsv);
			continue;
		}
		*out_start = start;
		*out_end = rsv ? min(region_end(mem), rsv->base) :
				 region_end(mem);
		return true;
	}
	return false;
}

#define for_each_free_mem_range_reverse(start, end)                           \
	for (bool __more =                                                    \
		     __next_mem_range_rev(~(phys_addr_t)0, &(start), &(end)); \
	     __more; __more = __next_mem_range_rev(start, &(start), &(end)))

#define for_each_free_mem_range(start, end)                               \
	for (bool __more = __next_mem_range(0, &(start), &(end)); __more; \
	     __more = __next_mem_range(end, &(start), &(end)))

/* The highest aligned place in [start, end) that is free, or 0. */
static phys_addr_t memblock_find_in_range(phys_addr_t size, phys_addr_t align,
					  phys_addr_t start, phys_addr_t end)
{
	phys_addr_t this_start, this_end;

	for_each_free_mem_range_reverse(this_start, this_end)
	{
		phys_addr_t low = clamp(this_start, start, end);
		phys_addr_t high = clamp(this_end, start, end);
		phys_addr_t cand;

		if (high - low < size)
			continue;
		cand = ALIGN_DOWN(high - size, align);
		if (cand >= low)
			return cand;
	}
	return 0;
}

/**
 * memblock_phys_alloc_range() - memory before the buddy allocator works
 * @size: in bytes
 * @align: of the start, a power of two
 * @start: lowest address that will do
 * @end: highest address that will do, or one of MEMBLOCK_ALLOC_*: any
 *
 * Return: the physical address, or 0.
 */
phys_addr_t memblock_phys_alloc_range(phys_addr_t size, phys_addr_t align,
				      phys_addr_t start, phys_addr_t end)
{
	phys_addr_t found;

	if (kpb_should_fail(KPB_POINT_MEMBLOCK))
		return 0;
	if (end == MEMBLOCK_ALLOC_ACCESSIBLE ||
	    end == MEMBLOCK_ALLOC_NOLEAKTRACE)
		end = MEMBLOCK_ALLOC_ANYWHERE;
	/* the first page could not be told from an error */
	start = max(start, (phys_addr_t)PAGE_SIZE);
	end = max(start, end);

	found = memblock_find_in_range(size, align, start, end);
	if (found && memblock_reserve(found, size))
		return 0;
	return found;
}

/**
 * memblock_free_late() - give early memory to the buddy allocator
 * @base: where it begins
 * @size: in bytes
 *
 * Page by page, in rising order.
 *
 * kpb: it is no longer reserved either, so that one can see what is still
 * memblock's; the kernel leaves the array alone.
 */
void memblock_free_late(phys_addr_t base, phys_addr_t size)
{
	unsigned long pfn = base >> PAGE_SHIFT;
	unsigned long end = (base + size) >> PAGE_SHIFT;

	WARN_ON(memblock_remove_range(&kpb_this->memblock.reserved, base,
				      size));
	for (; pfn < end; pfn++)
		free_one_page(&kpb_this->zone, pfn_to_page(pfn), pfn, 0,
			      FPI_TO_TAIL);
}

void kpb_next_deferred_section(unsigned long *start_pfn, unsigned long *end_pfn)
{
	struct zone *zone = &kpb_this->zone;
	struct memblock_type *deferred = &kpb_this->deferred;
	struct memblock_region *rgn = deferred->regions;
	unsigned long start, end;

	if (kpb_this->config.image) {
		kpb_image_next_section(start_pfn, end_pfn);
		return;
	}
	start = rgn->base >> PAGE_SHIFT;
	end = min(ALIGN(start + 1, PAGES_PER_SECTION),
		  region_end(rgn) >> PAGE_SHIFT);
	zone->nr_deferred_pages -= end - start;
	rgn->base += (phys_addr_t)(end - start) << PAGE_SHIFT;
	rgn->size -= (phys_addr_t)(end - start) << PAGE_SHIFT;
	if (!rgn->size)
		memblock_remove_region(deferred, 0);
	zone->first_deferred_pfn = zone->nr_deferred_pages ?
					   rgn->base >> PAGE_SHIFT :
					   zone->deferred_end_pfn;
	*start_pfn = start;
	*end_pfn = end;
}

/*
 * kpb: what makes whole blocks of the largest order is initialised on demand,
 * in rising order; what is left at the ends of a range is on the lists of
 * smaller blocks from the start, where it would come to lie anyway.
 */
static void __free_memory_core(phys_addr_t start, phys_addr_t end)
{
	struct zone *zone = &kpb_this->zone;
	unsigned long start_pfn = start >> PAGE_SHIFT;
	unsigned long end_pfn = end >> PAGE_SHIFT;
	unsigned long first = ALIGN(start_pfn, MAX_ORDER_NR_PAGES);
	unsigned long last = ALIGN_DOWN(end_pfn, MAX_ORDER_NR_PAGES);

	if (first >= last) {
		kpb_free_memory(start_pfn, end_pfn);
		return;
	}
	kpb_free_memory(start_pfn, first);
	/* at most as many as there are free ranges, which may be too many */
	if (memblock_add_range(&kpb_this->deferred,
			       (phys_addr_t)first << PAGE_SHIFT,
			       (phys_addr_t)(last - first) << PAGE_SHIFT)) {
		kpb_free_memory(first, last);
	} else {
		zone->nr_deferred_pages += last - first;
		zone->deferred_end_pfn = last;
	}
	kpb_free_memory(last, end_pfn);
}

/**
 * memblock_free_all() - every free range to the buddy, in rising order
 */
void memblock_free_all(void)
{
	struct zone *zone = &kpb_this->zone;
	phys_addr_t start, end;

	for_each_free_mem_range(start, end)
		__free_memory_core(start, end);
	if (zone->nr_deferred_pages)
		zone->first_deferred_pfn = kpb_this->deferred.regions[0].base >>
					   PAGE_SHIFT;
	deferred_grow_zone(zone);
	/* kpb: what memblock_free_late() brings does not change them */
	zone->managed_pages = (unsigned long)kpb_nr_free_pages(zone);
	__setup_per_zone_wmarks(zone);
}

/* kpb: what firmware would tell: RAM with its holes, and what is taken */
static int kpb_memblock_init(struct kpb_machine *m)
{
	const struct kpb_config *config = &m->config;
	phys_addr_t base = config->phys_base;
	phys_addr_t end = base + config->ram_bytes;
	struct memblock *mb = &m->memblock;
	int ret = 0;
	u32 i;

	if (config->image)
		return kpb_image_add_memory(config, &mb->memory);
	for (i = 0; i < config->nr_holes && !ret; i++) {
		ret = memblock_add_range(&mb->memory, base,
					 config->holes[i].base - base);
		base = config->holes[i].base + config->holes[i].size;
	}
	if (!ret)
		ret = memblock_add_range(&mb->memory, base, end - base);
	if (!ret)
		ret = memblock_add_range(&mb->reserved, config->phys_base,
					 (phys_addr_t)config->nr_static_pgtables
						 << PAGE_SHIFT);
	for (i = 0; i < config->nr_reserved && !ret; i++)
		ret = memblock_add_range(&mb->reserved,
					 config->reserved[i].base,
					 config->reserved[i].size);
	return ret;
}

/* kpb: bytes in all ranges of one kind */
static u64 kpb_memblock_bytes(const struct memblock_type *type)
{
	unsigned long i;
	u64 sum = 0;

	for (i = 0; i < type->cnt; i++)
		sum += type->regions[i].size;
	return sum;
}
