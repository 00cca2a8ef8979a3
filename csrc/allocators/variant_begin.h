/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For a variant of v6's mirror: one that does something in another way and all
 * the rest as v6. The variant defines KPB_VARIANT (its prefix) and the KPB_OWN_
 * of each part that is its own, includes this, writes those parts, includes
 * the mirror, names its ops table with KPB_VARIANT_OPS and ends with
 * variant_end.h. Types, state and small helpers are those that v6.c has;
 * functions get the prefix. No include guard: every variant needs it.
 */

#ifndef KPB_VARIANT
#error "KPB_VARIANT must be the prefix of the variant's functions"
#endif

#define KPB_NAME__(variant, name) variant##_##name
#define KPB_NAME_(variant, name) KPB_NAME__(variant, name)
#define KPB_NAME(name) KPB_NAME_(KPB_VARIANT, name)

#define kpkeys_pgtable_alloc KPB_NAME(kpkeys_pgtable_alloc)
#define kpkeys_pgtable_free KPB_NAME(kpkeys_pgtable_free)
#define kpkeys_prepare_direct_map_split \
	KPB_NAME(kpkeys_prepare_direct_map_split)
#define kpkeys_ready_for_direct_map_split \
	KPB_NAME(kpkeys_ready_for_direct_map_split)
#define kpkeys_hardened_pgtables_init KPB_NAME(kpkeys_hardened_pgtables_init)
#define kpkeys_hardened_pgtables_init_late \
	KPB_NAME(kpkeys_hardened_pgtables_init_late)
#define kpkeys_physmem_pgtable_alloc KPB_NAME(kpkeys_physmem_pgtable_alloc)
#define pba_register_early_region KPB_NAME(pba_register_early_region)
#define refill_alloc_region KPB_NAME(refill_alloc_region)
#define pba_refill KPB_NAME(pba_refill)
#define pba_take_cached_page KPB_NAME(pba_take_cached_page)
#define pba_prepare_page KPB_NAME(pba_prepare_page)
#define pba_pgtable_alloc KPB_NAME(pba_pgtable_alloc)
#define pba_pgtable_free KPB_NAME(pba_pgtable_free)
#define pba_prepare_direct_map_split KPB_NAME(pba_prepare_direct_map_split)
#define pba_ready_for_direct_map_split KPB_NAME(pba_ready_for_direct_map_split)
#define pba_nr_shrinkable KPB_NAME(pba_nr_shrinkable)
#define pba_shrink_count KPB_NAME(pba_shrink_count)
#define pba_find_target_block KPB_NAME(pba_find_target_block)
#define pba_release_block KPB_NAME(pba_release_block)
#define pba_release_pages KPB_NAME(pba_release_pages)
#define pba_shrink_scan KPB_NAME(pba_shrink_scan)
#define pba_shrinker_init KPB_NAME(pba_shrinker_init)
#define pba_init KPB_NAME(pba_init)
#define pba_init_late KPB_NAME(pba_init_late)
#define ppa_record_range KPB_NAME(ppa_record_range)
#define ppa_protect KPB_NAME(ppa_protect)
#define ppa_finalize KPB_NAME(ppa_finalize)

KPB_LOCAL struct page *kpkeys_pgtable_alloc(gfp_t gfp);
KPB_LOCAL void kpkeys_pgtable_free(struct page *page);
KPB_LOCAL int kpkeys_prepare_direct_map_split(void);
KPB_LOCAL bool kpkeys_ready_for_direct_map_split(void);
KPB_LOCAL void kpkeys_hardened_pgtables_init(void);
KPB_LOCAL void kpkeys_hardened_pgtables_init_late(void);
KPB_LOCAL phys_addr_t kpkeys_physmem_pgtable_alloc(void);

/* What can be asked about the cache is the same for all of them. */
#define KPB_VARIANT_OPS                                                   \
	.alloc = kpkeys_pgtable_alloc, .free = kpkeys_pgtable_free,       \
	.prepare_direct_map_split = kpkeys_prepare_direct_map_split,      \
	.ready_for_direct_map_split = kpkeys_ready_for_direct_map_split,  \
	.init = kpkeys_hardened_pgtables_init,                            \
	.init_late = kpkeys_hardened_pgtables_init_late,                  \
	.register_shrinker = pba_shrinker_init,                           \
	.physmem_alloc = kpkeys_physmem_pgtable_alloc,                    \
	.nr_cached = v6_nr_cached, .for_each_cached = v6_for_each_cached, \
	.check = v6_check, .in_block = v6_in_block
