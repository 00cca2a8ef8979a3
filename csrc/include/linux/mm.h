/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages, frames and linear addresses; namesake of linux/mm.h. */
#ifndef _LINUX_MM_H
#define _LINUX_MM_H

#include <lab/machine.h>
#include <linux/gfp.h>
#include <linux/mm_types.h>

/*
 * CUSTOM: the linear map's addresses are host addresses: simulated RAM is a
 * reserved mapping, aligned so that host and linear alignment agree.
 */
static inline unsigned long page_to_pfn(const struct page *page)
{
	return ((uintptr_t)page - kpb_this->vmemmap) / sizeof(struct page);
}

static inline struct page *pfn_to_page(unsigned long pfn)
{
	return (struct page *)(kpb_this->vmemmap + pfn * sizeof(struct page));
}

static inline phys_addr_t page_to_phys(const struct page *page)
{
	return (phys_addr_t)page_to_pfn(page) << PAGE_SHIFT;
}

static inline void *__va(phys_addr_t phys)
{
	return (void *)(uintptr_t)(phys + kpb_this->linear_offset);
}

static inline phys_addr_t __pa(const void *addr)
{
	return (uintptr_t)addr - kpb_this->linear_offset;
}

static inline void *page_address(const struct page *page)
{
	return __va(page_to_phys(page));
}

static inline struct page *virt_to_page(const void *addr)
{
	return pfn_to_page(__pa(addr) >> PAGE_SHIFT);
}

/* DUPLICATED: frames are contiguous in the array of struct page */
#define nth_page(page, n) ((page) + (n))

static inline void *page_to_virt(const struct page *page)
{
	return page_address(page);
}

/* CUSTOM: flags, type and order of a free page, see linux/mm_types.h */
static inline u8 *kpb_page_type(unsigned long pfn)
{
	return &kpb_this->page_type[pfn - kpb_this->zone.zone_start_pfn];
}

/* CUSTOM: fetched by the page table allocator, and not given back */
static inline bool kpb_is_held(unsigned long pfn)
{
	/* of a free page these bits are the order */
	return (*kpb_page_type(pfn) & (KPB_PG_BUDDY | KPB_PG_HELD)) ==
	       KPB_PG_HELD;
}

/* DUPLICATED */
static inline unsigned long page_private(const struct page *page)
{
	return page->private;
}

static inline void set_page_private(struct page *page, unsigned long private)
{
	page->private = private;
}

#endif
