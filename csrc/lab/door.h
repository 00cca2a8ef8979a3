/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between the laboratory and an allocator file that was compiled on its own.
 * What the file calls and no header gives it inline comes through struct
 * kpb_kernel; what it defines leaves through struct kpb_door.
 */
#ifndef KPB_LAB_DOOR_H
#define KPB_LAB_DOOR_H

#include <stddef.h>
#include <stdint.h>

struct kpb_machine;
struct kpb_allocator_ops;
struct kpb_kernel;

/* What a page table allocator may define, in the order of the bits. */
#define KPB_DOOR_FUNCTIONS(X)                 \
	X(kpkeys_pgtable_alloc)               \
	X(kpkeys_pgtable_free)                \
	X(kpkeys_prepare_direct_map_split)    \
	X(kpkeys_ready_for_direct_map_split)  \
	X(kpkeys_hardened_pgtables_init)      \
	X(kpkeys_hardened_pgtables_init_late) \
	X(kpkeys_physmem_pgtable_alloc)

enum kpb_door_bit {
#define KPB_DOOR_BIT(name) KPB_DOOR_BIT_##name,
	KPB_DOOR_FUNCTIONS(KPB_DOOR_BIT)
#undef KPB_DOOR_BIT
	KPB_DOOR_NR_BITS,
};

#define KPB_DOOR_MAGIC 0x6b70626dU
#define KPB_DOOR_ENTRY "kpb_door_entry"

struct kpb_door {
	uint32_t magic;
	uint32_t page_shift;
	size_t machine_bytes;
	uint32_t defines; /* a bit for each of KPB_DOOR_FUNCTIONS */
	uint32_t nr_initcalls;
	/* bind this copy to its machine; fills @ops */
	void (*enter)(struct kpb_machine *m, const struct kpb_kernel *kernel,
		      struct kpb_allocator_ops *ops);
};

const struct kpb_door *kpb_door_open(const char *file, uint32_t page_shift,
				     size_t machine_bytes, void **door,
				     char *msg);
void kpb_door_close(void *door);

#endif
