/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the three page sizes and kpb_api.c share: no page size is known here.
 */
#ifndef KPB_LAB_BORDER_H
#define KPB_LAB_BORDER_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kpb_api.h"

/* Reserved, lazily touched memory of the host. */
struct kpb_mapping {
	void *addr;
	size_t bytes;
};

int kpb_mapping_reserve(struct kpb_mapping *map, size_t bytes, size_t align);
void kpb_mapping_release(struct kpb_mapping *map);

struct kpb_machine;

/* One page size: everything that build_*.c offers to kpb_api.c. */
struct kpb_granule {
	uint32_t page_shift;
	void (*geometry)(struct kpb_geometry *out);
	int (*create)(const struct kpb_config *config, struct kpb_machine **out,
		      char *msg);
	void (*destroy)(struct kpb_machine *m);
	int (*init)(void);
	int (*init_late)(void);
	int (*boot_phase)(uint32_t phase);
	void (*boot_counters)(struct kpb_boot_counters *out);
	int (*set_slots)(uint32_t nr_slots);
	int (*replay)(const struct kpb_op *ops, uint64_t nr_ops,
		      uint64_t repeat, const struct kpb_timing *timing,
		      struct kpb_path_times *times);
	void (*counters)(struct kpb_counters *out);
	void (*map_counters)(struct kpb_map_counters *out);
	void (*state)(struct kpb_state *out);
	uint32_t (*warnings)(struct kpb_warning *out, uint32_t nr);
	int (*check)(char *msg);
	int64_t (*slot_pfns)(uint64_t *out, uint64_t nr);
	int64_t (*cached_pfns)(uint64_t *out, uint64_t nr);
	int64_t (*free_pfns)(uint32_t order, uint32_t migratetype,
			     uint64_t *out, uint64_t nr);
	int64_t (*pageblock_types)(uint8_t *out, uint64_t nr);
	int (*set_fault)(uint32_t point, const struct kpb_fault *fault);
	int (*step)(const struct kpb_step *step, struct kpb_step_result *out);
	int (*resume)(uint32_t task, uint32_t stop_at, uint32_t stop_nth,
		      struct kpb_step_result *out);
	int (*record)(uint64_t capacity);
	int64_t (*events)(struct kpb_event *out, uint64_t nr);
	void (*digest)(uint64_t *out);
	int (*log)(char *out);
	int (*audit)(struct kpb_audit *out);
	void (*buddyinfo)(uint64_t *out);
	int64_t (*runs)(struct kpb_run *out, uint64_t nr);
	int64_t (*places)(struct kpb_place *out, uint64_t nr);
	void (*image)(struct kpb_image *out);
	void (*pkeys)(const uint64_t *pfns, uint8_t *out, uint64_t nr);
};

extern const struct kpb_granule kpb_granule_4k;
extern const struct kpb_granule kpb_granule_16k;
extern const struct kpb_granule kpb_granule_64k;

/* The head of every machine. */
struct kpb_border {
	const struct kpb_granule *granule;
	atomic_bool busy; /* a thread is inside */
	bool stopped;	  /* deadlock or BUG: nothing more may run */
	jmp_buf escape;	  /* out of a stopped machine */
	uint64_t failed_op;
	char msg[KPB_MSG_BYTES];
};

/* One allocator as kpb_api.c lists it; the ops are per page size. */
struct kpb_allocator_info {
	const char *name;
	const char *help;
	enum kpb_linear_map linear_map;
	const char *param; /* what kpb_config::variant_param is, or NULL */
	uint64_t default_param;
	uint64_t max_param;
};

extern const struct kpb_allocator_info kpb_allocators[];
extern const uint32_t kpb_nr_allocators;

#endif
