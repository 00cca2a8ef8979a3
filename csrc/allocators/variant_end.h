/* SPDX-License-Identifier: GPL-2.0-only */
/* The end of a variant: see variant_begin.h. */

#undef KPB_NAME__
#undef KPB_NAME_
#undef KPB_NAME
#undef kpkeys_pgtable_alloc
#undef kpkeys_pgtable_free
#undef kpkeys_prepare_direct_map_split
#undef kpkeys_ready_for_direct_map_split
#undef kpkeys_hardened_pgtables_init
#undef kpkeys_hardened_pgtables_init_late
#undef kpkeys_physmem_pgtable_alloc
#undef pba_register_early_region
#undef refill_alloc_region
#undef pba_refill
#undef pba_take_cached_page
#undef pba_prepare_page
#undef pba_pgtable_alloc
#undef pba_pgtable_free
#undef pba_prepare_direct_map_split
#undef pba_ready_for_direct_map_split
#undef pba_nr_shrinkable
#undef pba_shrink_count
#undef pba_find_target_block
#undef pba_release_block
#undef pba_release_pages
#undef pba_shrink_scan
#undef pba_shrinker_init
#undef pba_init
#undef pba_init_late
#undef ppa_record_range
#undef ppa_protect
#undef ppa_finalize
#undef KPB_VARIANT_OPS
#undef KPB_VARIANT
#undef KPB_OWN_DEFERRAL
#undef KPB_OWN_REFILL
