/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Everything that depends on the page size, as one translation unit: included
 * by build_4k.c, build_16k.c and build_64k.c, as kernel/sched/build_policy.c
 * gathers the scheduler. In the kernel the page size is a compile-time
 * constant; so it is in the mirrors. Declarations in their headers are static
 * (KPB_LOCAL), which keeps three copies apart without renaming anything.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "mm/page_alloc.c"
#include "mm/compaction.c"
#include "mm/memblock.c"
#include "mm/shrinker.c"
#include "mm/vmscan.c"
#include "mm/vmalloc.c"
#include "arch/arm64/cpufeature.c"
#include "arch/arm64/irq.c"
#include "arch/arm64/mmu.c"
#include "arch/arm64/pageattr.c"

#include "allocators/v6.c"
#include "allocators/null.c"
#include "allocators/early_regions.c"
#include "allocators/deferred_list.c"
#include "allocators/deferred_marks.c"
#include "allocators/sized_refill.c"

#include "lab/aged.c"
#include "lab/background.c"
#include "lab/dispatch.c"
#include "lab/boot.c"
#include "lab/event.c"
#include "lab/fault.c"
#include "door/kernel.c"
#include "lab/image.c"
#include "lab/machine.c"
#include "lab/check.c"
#include "lab/image_save.c"
#include "lab/replay.c"
#include "lab/system.c"
#include "lab/task.c"

#define KPB_GRANULE                                             \
	{                                                       \
		.page_shift = PAGE_SHIFT,                       \
		.geometry = kpb_geometry_fill,                  \
		.create = kpb_granule_create,                   \
		.destroy = kpb_machine_free,                    \
		.init = kpb_granule_init,                       \
		.init_late = kpb_granule_init_late,             \
		.boot_phase = kpb_granule_boot_phase,           \
		.boot_counters = kpb_granule_boot_counters,     \
		.set_slots = kpb_granule_set_slots,             \
		.replay = kpb_granule_replay,                   \
		.counters = kpb_granule_counters,               \
		.map_counters = kpb_granule_map_counters,       \
		.state = kpb_granule_state,                     \
		.warnings = kpb_granule_warnings,               \
		.check = kpb_granule_check,                     \
		.slot_pfns = kpb_granule_slot_pfns,             \
		.cached_pfns = kpb_granule_cached_pfns,         \
		.free_pfns = kpb_granule_free_pfns,             \
		.pageblock_types = kpb_granule_pageblock_types, \
		.set_fault = kpb_granule_set_fault,             \
		.step = kpb_granule_step,                       \
		.resume = kpb_granule_continue,                 \
		.record = kpb_granule_record,                   \
		.events = kpb_granule_events,                   \
		.digest = kpb_granule_digest,                   \
		.log = kpb_granule_log,                         \
		.audit = kpb_granule_audit,                     \
		.buddyinfo = kpb_granule_buddyinfo,             \
		.runs = kpb_granule_runs,                       \
		.places = kpb_granule_places,                   \
		.image = kpb_granule_image,                     \
		.pkeys = kpb_granule_pkeys,                     \
	}
