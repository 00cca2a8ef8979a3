// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults that were asked for: which call of a point fails. As the kernel's
 * fail_page_alloc, but by number or by a seeded share, so that a run with
 * faults is as reproducible as one without.
 */

#include "machine.h"
#include "rng.h"

bool kpb_fault_due(enum kpb_point point)
{
	struct kpb_fault_state *state = &kpb_this->faults[point];
	const struct kpb_fault *fault = &state->fault;
	u64 call = ++state->nr_calls;
	struct kpb_rng rng;
	bool due;

	switch (fault->mode) {
	case KPB_FAULT_NTH:
		due = call == fault->n;
		break;
	case KPB_FAULT_EVERY:
		due = call % fault->n == 0;
		break;
	default:
		/* the k-th draw of a stream, without walking there */
		rng.state = fault->seed + (call - 1) * 0x9e3779b97f4a7c15ULL;
		due = kpb_rng_next(&rng) % 1000000 < fault->n;
	}
	if (due) {
		kpb_this->counters.faults_injected++;
		kpb_event(KPB_EVENT_FAULT, point, 0, 0);
	}
	return due;
}

/* Is this a fault that can be had? */
static bool kpb_fault_is_valid(const struct kpb_fault *fault)
{
	return fault->mode <= KPB_FAULT_SHARE &&
	       (fault->mode == KPB_FAULT_OFF || fault->n);
}

static int kpb_granule_set_fault(uint32_t point, const struct kpb_fault *fault)
{
	struct kpb_machine *m = kpb_this;

	if (point != KPB_POINT_ALLOC_PAGES && point != KPB_POINT_SET_PKEY &&
	    point != KPB_POINT_CHARGE && point != KPB_POINT_MEMBLOCK)
		return -EINVAL;
	if (!kpb_fault_is_valid(fault))
		return -EINVAL;
	m->faults[point].fault = *fault;
	m->faults[point].nr_calls = 0;
	if (fault->mode == KPB_FAULT_OFF)
		m->faults_armed &= ~(u32)BIT(point);
	else
		m->faults_armed |= (u32)BIT(point);
	return 0;
}
