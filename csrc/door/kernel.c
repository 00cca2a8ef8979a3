// SPDX-License-Identifier: GPL-2.0-only
/* The laboratory's side of the door: what an allocator file may call. */

#include "../lab/door.h"
#include "kernel.h"

static struct shrinker *kpb_shrinker_alloc(void)
{
	return shrinker_alloc(0, "");
}

static const struct kpb_kernel kpb_kernel_calls = {
#define KPB_OFFER_VOID(name, params, args) .name = name,
#define KPB_OFFER_RET(type, name, params, args) .name = name,
	KPB_KERNEL_FUNCTIONS(KPB_OFFER_VOID, KPB_OFFER_RET)
#undef KPB_OFFER_VOID
#undef KPB_OFFER_RET
		.kpb_stop = kpb_stop,
	.kpb_vprintk = kpb_vprintk,
	.kpb_shrinker_alloc = kpb_shrinker_alloc,
};

/* Let a machine be served by the file that its configuration names. */
static int kpb_machine_open_door(struct kpb_machine *m, char *msg)
{
	const u32 needed = 1u << KPB_DOOR_BIT_kpkeys_pgtable_alloc |
			   1u << KPB_DOOR_BIT_kpkeys_pgtable_free;
	const char *file = m->config.allocator_file;
	const struct kpb_door *offer;

	/* the caller's string: it need not outlive the call */
	m->config.allocator_file = NULL;
	offer = kpb_door_open(file, PAGE_SHIFT, sizeof(*m), &m->door, msg);
	if (!offer)
		return -EINVAL;
	if ((offer->defines & needed) != needed) {
		snprintf(msg, KPB_MSG_BYTES,
			 "%s: defines no kpkeys_pgtable_alloc() or kpkeys_pgtable_free()",
			 file);
		return -EINVAL;
	}
	m->door_ops = calloc(1, sizeof(*m->door_ops));
	if (!m->door_ops)
		return -ENOMEM;
	offer->enter(m, &kpb_kernel_calls, m->door_ops);
	m->ops = m->door_ops;
	return 0;
}
