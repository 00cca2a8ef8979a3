// SPDX-License-Identifier: GPL-2.0-only
/* The tests of mirrors and laboratory for pages of 16 KB, see build_16k.c. */

#define PAGE_SHIFT 14

#include "aged_kunit.c"
#include "background_kunit.c"
#include "boot_kunit.c"
#include "check_kunit.c"
#include "compaction_kunit.c"
#include "dispatch_kunit.c"
#include "event_kunit.c"
#include "facts_kunit.c"
#include "fault_kunit.c"
#include "image_kunit.c"
#include "kpkeys_hardened_pgtables_kunit.c"
#include "memblock_kunit.c"
#include "mmu_kunit.c"
#include "page_alloc_kunit.c"
#include "pageattr_kunit.c"
#include "replay_kunit.c"
#include "shrinker_kunit.c"
#include "small_scope_kunit.c"
#include "variant_kunit.c"
#include "vmalloc_kunit.c"
#include "vmscan_kunit.c"
#include "system_kunit.c"
#include "task_kunit.c"
