// SPDX-License-Identifier: GPL-2.0-only
/* Reading histograms; they are filled inline, see hist.h. */

#include "hist.h"

#include <errno.h>

/**
 * kpb_hist_bucket_low() - the smallest value that falls into a bucket
 * @i: below KPB_HIST_BUCKETS
 */
uint64_t kpb_hist_bucket_low(uint32_t i)
{
	uint32_t shift;

	if (i < 2 * KPB_HIST_HALF)
		return i;
	shift = (i >> KPB_HIST_SHIFT) - 1;
	return (uint64_t)(KPB_HIST_HALF + i % KPB_HIST_HALF) << shift;
}

/* The middle of a bucket: off by at most half its width. */
static double kpb_hist_bucket_mid(uint32_t i)
{
	double low = (double)kpb_hist_bucket_low(i);

	if (i < 2 * KPB_HIST_HALF)
		return low;
	return low + (double)(1ULL << ((i >> KPB_HIST_SHIFT) - 1)) / 2;
}

/**
 * kpb_hist_quantiles() - values below which given shares of a histogram lie
 * @hist: KPB_HIST_BUCKETS counts
 * @q: @nr rising shares, each in (0, 1]
 * @out: @nr values; all 0 for an empty histogram
 * @nr: how many
 *
 * The quantile q of n values is the one with rank ceil(q * n).
 *
 * Return: 0, or -EINVAL for a share out of range or order.
 */
int kpb_hist_quantiles(const uint64_t *hist, const double *q, double *out,
		       uint32_t nr)
{
	uint64_t total = 0, seen = 0;
	uint32_t bucket = 0, i;

	for (i = 0; i < KPB_HIST_BUCKETS; i++)
		total += hist[i];
	for (i = 0; i < nr; i++) {
		double want = q[i] * (double)total;

		if (!(q[i] > 0 && q[i] <= 1) || (i && q[i] < q[i - 1]))
			return -EINVAL;
		out[i] = 0;
		if (!total)
			continue;
		while (bucket < KPB_HIST_BUCKETS &&
		       (double)(seen + hist[bucket]) < want)
			seen += hist[bucket++];
		if (bucket == KPB_HIST_BUCKETS)
			return -EINVAL;
		out[i] = kpb_hist_bucket_mid(bucket);
	}
	return 0;
}
