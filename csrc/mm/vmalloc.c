// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors mm/vmalloc.c (6.18) as far as boot needs it, with __pte_alloc_kernel()
 * and its like of mm/memory.c: where an area comes to lie, and which page
 * tables that takes.
 *
 * kpb: areas are never given back, so there is no list of busy ones, no lazy
 * purging, and no table is ever freed (nor does the kernel free one).
 */

/**
 * DOC: theory of operation
 *
 * Free addresses are a sorted list of ranges. An area goes to the lowest place
 * that is aligned as wanted, and what it cuts off on either side stays free.
 * It ends with a guard page that is not mapped. Pages are mapped one by one,
 * from the root downwards; a table on the way that does not exist yet is asked
 * for, and so one area costs none or several.
 *
 * kpb: addresses are numbers in the upper half of what swapper_pg_dir maps; the
 * tables are real ones, in the pages that were handed out for them.
 */

#include <asm/pgtable.h>
#include <linux/kpkeys.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "internal.h"

/* Page tables: mm/memory.c, linux/mm.h, asm/pgalloc.h */

/* An empty table, or 0. */
static phys_addr_t kpb_alloc_table(enum pgtable_type pgtable_type)
{
	struct page *page;

	KPB_FRAME();
	kpb_this->op_events = 0;
	page = kpkeys_pgtable_alloc(GFP_PGTABLE_KERNEL);
	if (page)
		kpb_this->nr_vmalloc_ptps++;
	kpb_note_boot_ptp((enum kpb_level)pgtable_type, !page);
	if (!page)
		return 0;
	/* kpb: __GFP_ZERO may just have been counted, and this one is read */
	memset(page_address(page), 0, PAGE_SIZE);
	return page_to_phys(page);
}

static int __pte_alloc_kernel(pmd_t *pmd)
{
	phys_addr_t new = kpb_alloc_table(TABLE_PTE);

	if (!new)
		return -ENOMEM;
	WRITE_ONCE(pmd->pmd, new | PTE_TYPE_TABLE);
	return 0;
}

static pte_t *pte_alloc_kernel(pmd_t *pmd, unsigned long address)
{
	if (!pmd_present(READ_ONCE(*pmd)) && __pte_alloc_kernel(pmd))
		return NULL;
	return pte_offset_kernel(pmd, address);
}

static int __pmd_alloc(pud_t *pud)
{
	phys_addr_t new = kpb_alloc_table(TABLE_PMD);

	if (!new)
		return -ENOMEM;
	WRITE_ONCE(pud->pud, new | PTE_TYPE_TABLE);
	return 0;
}

static pmd_t *pmd_alloc(pud_t *pud, unsigned long address)
{
	if (!pud_present(pudp_get(pud)) && __pmd_alloc(pud))
		return NULL;
	return pmd_offset(pud, address);
}

static int __pud_alloc(p4d_t *p4d)
{
	phys_addr_t new = kpb_alloc_table(TABLE_PUD);

	if (!new)
		return -ENOMEM;
	WRITE_ONCE(p4d->p4d, new | PTE_TYPE_TABLE);
	return 0;
}

static pud_t *pud_alloc(p4d_t *p4d, unsigned long address)
{
	if (!p4d_present(p4dp_get(p4d)) && __pud_alloc(p4d))
		return NULL;
	return pud_offset(p4d, address);
}

static int __p4d_alloc(pgd_t *pgd)
{
	phys_addr_t new = kpb_alloc_table(TABLE_P4D);

	if (!new)
		return -ENOMEM;
	WRITE_ONCE(pgd->pgd, new | PTE_TYPE_TABLE);
	return 0;
}

static p4d_t *p4d_alloc(pgd_t *pgd, unsigned long address)
{
	if (!pgd_present(pgdp_get(pgd)) && __p4d_alloc(pgd))
		return NULL;
	return p4d_offset(pgd, address);
}

/* Mapping */

/* kpb: what a range is mapped to: pages, or frames in a row (a device) */
struct kpb_vmap_source {
	struct page **pages; /* of the next address, or NULL */
	phys_addr_t phys;
};

static phys_addr_t kpb_vmap_next(struct kpb_vmap_source *source)
{
	phys_addr_t phys = source->phys;

	if (source->pages)
		return page_to_phys(*source->pages++);
	source->phys += PAGE_SIZE;
	return phys;
}

static int vmap_pages_pte_range(pmd_t *pmd, unsigned long addr,
				unsigned long end,
				struct kpb_vmap_source *source)
{
	pte_t *pte = pte_alloc_kernel(pmd, addr);

	if (!pte)
		return -ENOMEM;
	do {
		if (WARN_ON(pte_present(ptep_get(pte))))
			return -EBUSY;
		WRITE_ONCE(pte->pte, kpb_vmap_next(source) | PAGE_KERNEL_ATTRS |
					     PTE_TYPE_PAGE);
	} while (pte++, addr += PAGE_SIZE, addr != end);
	return 0;
}

static int vmap_pages_pmd_range(pud_t *pud, unsigned long addr,
				unsigned long end,
				struct kpb_vmap_source *source)
{
	pmd_t *pmd = pmd_alloc(pud, addr);
	unsigned long next;

	if (!pmd)
		return -ENOMEM;
	do {
		int ret;

		next = pmd_addr_end(addr, end);
		ret = vmap_pages_pte_range(pmd, addr, next, source);
		if (ret)
			return ret;
	} while (pmd++, addr = next, addr != end);
	return 0;
}

static int vmap_pages_pud_range(p4d_t *p4d, unsigned long addr,
				unsigned long end,
				struct kpb_vmap_source *source)
{
	pud_t *pud = pud_alloc(p4d, addr);
	unsigned long next;

	if (!pud)
		return -ENOMEM;
	do {
		int ret;

		next = pud_addr_end(addr, end);
		ret = vmap_pages_pmd_range(pud, addr, next, source);
		if (ret)
			return ret;
	} while (pud++, addr = next, addr != end);
	return 0;
}

static int vmap_pages_p4d_range(pgd_t *pgd, unsigned long addr,
				unsigned long end,
				struct kpb_vmap_source *source)
{
	p4d_t *p4d = p4d_alloc(pgd, addr);
	unsigned long next;

	if (!p4d)
		return -ENOMEM;
	do {
		int ret;

		next = p4d_addr_end(addr, end);
		ret = vmap_pages_pud_range(p4d, addr, next, source);
		if (ret)
			return ret;
	} while (p4d++, addr = next, addr != end);
	return 0;
}

static int vmap_small_pages_range_noflush(unsigned long addr, unsigned long end,
					  struct kpb_vmap_source *source)
{
	pgd_t *pgd = pgd_offset_k(addr);
	unsigned long next;

	do {
		int ret;

		next = pgd_addr_end(addr, end);
		ret = vmap_pages_p4d_range(pgd, addr, next, source);
		if (ret)
			return ret;
	} while (pgd++, addr = next, addr != end);
	return 0;
}

/**
 * vmap_pages_range() - map pages one after the other
 * @addr: where, in the vmalloc area
 * @end: how far
 * @pages: as many as that takes
 *
 * Return: 0 or -errno; what has been mapped by then stays so.
 */
int vmap_pages_range(unsigned long addr, unsigned long end, struct page **pages)
{
	struct kpb_vmap_source source = { .pages = pages };

	return vmap_small_pages_range_noflush(addr, end, &source);
}

/* kpb: small pages only, as what is mapped early is smaller than a block */
static int vmap_page_range(unsigned long addr, unsigned long end,
			   phys_addr_t phys_addr)
{
	struct kpb_vmap_source source = { .phys = phys_addr };

	return vmap_small_pages_range_noflush(addr, end, &source);
}

/* The entry for an address, or NULL where a table is missing. */
static pte_t *kpb_vmalloc_pte(unsigned long addr)
{
	pud_t *pud = kpb_pud_of(addr);
	pmd_t *pmd;

	if (!pud || !pud_present(pudp_get(pud)))
		return NULL;
	pmd = pmd_offset(pud, addr);
	return pmd_present(READ_ONCE(*pmd)) ? pte_offset_kernel(pmd, addr) :
					      NULL;
}

/* The tables stay. */
static void vunmap_range(unsigned long addr, unsigned long end)
{
	for (; addr != end; addr += PAGE_SIZE) {
		pte_t *pte = kpb_vmalloc_pte(addr);

		if (pte)
			WRITE_ONCE(pte->pte, 0);
	}
}

/* Addresses */

enum fit_type {
	NOTHING_FIT,
	FL_FIT_TYPE, /* the whole range */
	LE_FIT_TYPE, /* at its left edge */
	RE_FIT_TYPE, /* at its right edge */
	NE_FIT_TYPE, /* at neither */
};

static enum fit_type classify_va_fit_type(const struct vmap_area *va,
					  unsigned long nva_start_addr,
					  unsigned long size)
{
	if (nva_start_addr < va->va_start || nva_start_addr + size > va->va_end)
		return NOTHING_FIT;
	if (va->va_start == nva_start_addr)
		return va->va_end == nva_start_addr + size ? FL_FIT_TYPE :
							     LE_FIT_TYPE;
	return va->va_end == nva_start_addr + size ? RE_FIT_TYPE : NE_FIT_TYPE;
}

static bool is_within_this_va(const struct vmap_area *va, unsigned long size,
			      unsigned long align, unsigned long vstart)
{
	unsigned long nva_start_addr = ALIGN(max(va->va_start, vstart), align);

	return nva_start_addr + size <= va->va_end;
}

/* kpb: nobody needs to look below the place where the last search ended */
static struct kpb_vmap_hint *kpb_vmap_hint(unsigned long size,
					   unsigned long align)
{
	struct kpb_vmap_hint *hint = kpb_this->vmap_hints;
	unsigned int i;

	for (i = 0; i < KPB_NR_VMAP_HINTS; i++, hint++)
		if (!hint->size || (hint->size == size && hint->align == align))
			break;
	if (i == KPB_NR_VMAP_HINTS)
		return NULL;
	hint->size = size;
	hint->align = align;
	return hint;
}

static void kpb_vmap_hints_move(const struct vmap_area *from,
				struct vmap_area *to)
{
	unsigned int i;

	for (i = 0; i < KPB_NR_VMAP_HINTS; i++)
		if (kpb_this->vmap_hints[i].va == from)
			kpb_this->vmap_hints[i].va = to;
}

/*
 * kpb: a list and not an augmented tree: ranges only ever shrink, so a search
 * goes on where the last one for the same size and alignment ended.
 */
static struct vmap_area *find_vmap_lowest_match(unsigned long size,
						unsigned long align,
						unsigned long vstart)
{
	struct list_head *head = &kpb_this->free_vmap_area_list;
	struct kpb_vmap_hint *hint = kpb_vmap_hint(size, align);
	struct list_head *pos = hint && hint->va ? &hint->va->list : head->next;

	for (; pos != head; pos = pos->next) {
		struct vmap_area *va =
			container_of(pos, struct vmap_area, list);

		if (!is_within_this_va(va, size, align, vstart))
			continue;
		if (hint)
			hint->va = va;
		return va;
	}
	return NULL;
}

/* Take [nva_start_addr, nva_start_addr + size) out of a free range. */
static int va_clip(struct vmap_area *va, unsigned long nva_start_addr,
		   unsigned long size)
{
	struct vmap_area *lva;

	switch (classify_va_fit_type(va, nva_start_addr, size)) {
	case FL_FIT_TYPE:
		kpb_vmap_hints_move(va, NULL);
		list_del(&va->list);
		free(va);
		return 0;
	case LE_FIT_TYPE:
		va->va_start += size;
		return 0;
	case RE_FIT_TYPE:
		va->va_end = nva_start_addr;
		return 0;
	case NE_FIT_TYPE:
		lva = calloc(1, sizeof(*lva));
		if (!lva)
			return -ENOMEM;
		lva->va_start = va->va_start;
		lva->va_end = nva_start_addr;
		va->va_start = nva_start_addr + size;
		list_add_tail(&lva->list, &va->list);
		kpb_vmap_hints_move(va, lva);
		return 0;
	default:
		return -EINVAL;
	}
}

/* The lowest place that will do, or 0. */
static unsigned long alloc_vmap_area(unsigned long size, unsigned long align,
				     unsigned long vstart, unsigned long vend)
{
	struct vmap_area *va = find_vmap_lowest_match(size, align, vstart);
	unsigned long addr;

	if (!va)
		return 0;
	addr = ALIGN(max(va->va_start, vstart), align);
	if (addr + size > vend || va_clip(va, addr, size))
		return 0;
	kpb_this->boot.counters.vmalloc_areas++;
	return addr;
}

static unsigned int get_count_order_long(unsigned long l)
{
	return l <= 1 ? 0 : 64 - (unsigned int)__builtin_clzl(l - 1);
}

static unsigned long __get_vm_area_node(unsigned long size, unsigned long align,
					unsigned long flags,
					unsigned long start, unsigned long end)
{
	size = ALIGN(size, PAGE_SIZE);
	if (!size)
		return 0;
	if (flags & VM_IOREMAP)
		align = 1UL << clamp(get_count_order_long(size),
				     (unsigned int)PAGE_SHIFT,
				     (unsigned int)IOREMAP_MAX_ORDER);
	if (!(flags & VM_NO_GUARD))
		size += PAGE_SIZE;
	return alloc_vmap_area(size, max(align, PAGE_SIZE), start, end);
}

/* Single pages; how many there were. */
static unsigned long vm_area_alloc_pages(gfp_t gfp, unsigned long nr_pages,
					 struct page **pages)
{
	unsigned long nr_allocated = 0;

	while (nr_allocated < nr_pages) {
		struct page *page = __alloc_pages_noprof(gfp, 0);

		if (!page)
			break;
		pages[nr_allocated++] = page;
	}
	return nr_allocated;
}

int kpb_vmap_new_pages(unsigned long addr, unsigned long nr_pages, gfp_t gfp)
{
	unsigned long end = addr + (nr_pages << PAGE_SHIFT), nr;
	struct page **pages = calloc(nr_pages, sizeof(*pages));
	int ret = -ENOMEM;

	if (!pages)
		return -ENOMEM;
	nr = vm_area_alloc_pages(gfp, nr_pages, pages);
	if (nr == nr_pages)
		ret = vmap_pages_range(addr, end, pages);
	if (ret) {
		vunmap_range(addr, end);
		while (nr)
			___free_pages(pages[--nr], 0, FPI_NONE);
	}
	kpb_this->nr_vmalloc_pages += nr;
	free(pages);
	return ret;
}

/**
 * __vmalloc_node_range() - pages behind consecutive addresses
 * @size: in bytes
 * @align: of the first address
 * @start: lowest address that will do
 * @end: highest
 * @gfp_mask: of the pages, which come from the buddy one by one
 *
 * kpb: the addresses of an area for which pages or tables are missing stay
 * taken.
 *
 * Return: the address, or NULL. Context: may sleep.
 */
void *__vmalloc_node_range(unsigned long size, unsigned long align,
			   unsigned long start, unsigned long end,
			   gfp_t gfp_mask)
{
	unsigned long addr =
		__get_vm_area_node(size, align, VM_ALLOC, start, end);

	if (!addr ||
	    kpb_vmap_new_pages(addr, ALIGN(size, PAGE_SIZE) >> PAGE_SHIFT,
			       gfp_mask))
		return NULL;
	return (void *)addr;
}

/**
 * ioremap_prot() - map the registers of a device
 * @phys_addr: where they are
 * @size: in bytes
 *
 * Return: the address, or NULL. Context: may sleep.
 */
void *ioremap_prot(phys_addr_t phys_addr, unsigned long size)
{
	unsigned long addr = __get_vm_area_node(size, 1, VM_IOREMAP,
						VMALLOC_START, VMALLOC_END);

	if (!addr)
		return NULL;
	size = ALIGN(size, PAGE_SIZE);
	if (vmap_page_range(addr, addr + size, phys_addr)) {
		vunmap_range(addr, addr + size);
		return NULL;
	}
	return (void *)addr;
}

/**
 * pcpu_get_vm_areas() - addresses for a chunk of per-CPU memory
 * @size: in bytes
 * @align: of the first address
 *
 * kpb: one group of CPUs (no NUMA), so one area.
 *
 * Return: the highest place that will do, without a guard page, or 0.
 */
unsigned long pcpu_get_vm_areas(unsigned long size, unsigned long align)
{
	struct vmap_area *va;

	list_for_each_entry_reverse(va, &kpb_this->free_vmap_area_list, list) {
		unsigned long addr;

		if (va->va_end - va->va_start < size)
			continue;
		addr = ALIGN_DOWN(va->va_end - size, align);
		if (addr < va->va_start)
			continue;
		if (va_clip(va, addr, size))
			return 0;
		kpb_this->boot.counters.vmalloc_areas++;
		return addr;
	}
	return 0;
}

/**
 * vmalloc_init() - everything is free, from the offset that was asked for
 */
void vmalloc_init(void)
{
	struct vmap_area *va = calloc(1, sizeof(*va));

	INIT_LIST_HEAD(&kpb_this->free_vmap_area_list);
	if (!va)
		return;
	va->va_start =
		VMALLOC_START + kpb_this->config.boot.vmalloc_offset_bytes;
	va->va_end = VMALLOC_END;
	list_add(&va->list, &kpb_this->free_vmap_area_list);
}

void kpb_vmalloc_exit(struct kpb_machine *m)
{
	struct list_head *pos = m->free_vmap_area_list.next, *next;

	/* never begun, if making the machine failed; nobody is inside it now */
	for (; pos && pos != &m->free_vmap_area_list; pos = next) {
		next = pos->next;
		free(container_of(pos, struct vmap_area, list));
	}
}
