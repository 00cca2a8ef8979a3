/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Log-linear histogram: exact below 2 * HALF ticks, then HALF buckets per
 * power of two, so a bucket is at most 1/HALF of its value wide.
 */
#ifndef KPB_LAB_HIST_H
#define KPB_LAB_HIST_H

#include <stdint.h>

#include "kpb_api.h"

#define KPB_HIST_SHIFT 5
#define KPB_HIST_HALF (1u << KPB_HIST_SHIFT)
_Static_assert(KPB_HIST_BUCKETS ==
		       (64 - KPB_HIST_SHIFT) * (1u << KPB_HIST_SHIFT) + 32,
	       "every 64-bit value has a bucket");

static inline uint32_t kpb_hist_index(uint64_t ticks)
{
	unsigned int shift;

	if (ticks < 2 * KPB_HIST_HALF)
		return (uint32_t)ticks;
	shift = 63u - (unsigned int)__builtin_clzll(ticks) - KPB_HIST_SHIFT;
	return (uint32_t)((shift << KPB_HIST_SHIFT) + (ticks >> shift));
}

static inline void kpb_times_add(struct kpb_path_times *times, uint64_t ticks)
{
	times->count++;
	times->sum_ticks += ticks;
	if (ticks > times->max_ticks)
		times->max_ticks = ticks;
	times->hist[kpb_hist_index(ticks)]++;
}

#endif
