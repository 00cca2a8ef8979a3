/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The door that every page table allocator comes through: one ops table, one
 * file. To add a design, write allocators/NAME.c, include it in
 * build_granule.h and name it in kpb_allocators[] and kpb_allocator_ops[].
 */
#ifndef KPB_ALLOCATORS_H
#define KPB_ALLOCATORS_H

#include <linux/gfp.h>

/* Called for each cached page; a nonzero return ends the walk. */
typedef int (*kpb_cached_fn)(struct page *page, void *data);

struct kpb_allocator_ops {
	/* of the machine's "variant", which is zero at first */
	size_t variant_bytes;
	/* kpkeys_pgtable_alloc() and the rest of the kernel's interface */
	struct page *(*alloc)(gfp_t gfp);
	void (*free)(struct page *page);
	int (*prepare_direct_map_split)(void);
	bool (*ready_for_direct_map_split)(void);
	void (*init)(void);
	void (*init_late)(void);
	int (*register_shrinker)(void); /* at late_initcall time */
	phys_addr_t (*physmem_alloc)(void);
	/*
	 * For the checker and the reports, each of them optional: what is in
	 * the cache, in its own order?
	 */
	unsigned long (*nr_cached)(void);
	int (*for_each_cached)(kpb_cached_fn fn, void *data);
	/* its own invariants: NULL or what is wrong */
	const char *(*check)(void);
	/* does it take the page's block for a whole one? */
	bool (*in_block)(const struct page *page);
};

/* lab/check.c: of any allocator, in rising order where it has no hook */
KPB_LOCAL int kpb_for_each_cached(kpb_cached_fn fn, void *data);

#endif
