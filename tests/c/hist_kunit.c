// SPDX-License-Identifier: GPL-2.0-only
/* Histograms of service times (csrc/lab/hist.c, hist.h). */

#include "kunit.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "lab/hist.h"

static void hist_is_exact_below_64(struct kunit *test)
{
	uint32_t i;

	for (i = 0; i < 64; i++) {
		KUNIT_EXPECT_EQ(test, kpb_hist_index(i), i);
		KUNIT_EXPECT_EQ(test, kpb_hist_bucket_low(i), i);
	}
}

/*
 * Above, 32 buckets for each power of two: from 64 on they are 2 wide, from
 * 128 on 4, from 512 on 16, from 2^63 on 2^58. So 1000 is in the 31st of those
 * that begin with bucket 160.
 */
static void hist_buckets_are_where_they_should_be(struct kunit *test)
{
	static const struct {
		uint64_t ticks;
		uint32_t bucket;
		uint64_t low;
	} known[] = {
		{ 64, 64, 64 },
		{ 65, 64, 64 },
		{ 66, 65, 66 },
		{ 127, 95, 126 },
		{ 128, 96, 128 },
		{ 131, 96, 128 },
		{ 132, 97, 132 },
		{ 255, 127, 252 },
		{ 256, 128, 256 },
		{ 1000, 190, 992 },
		{ 1023, 191, 1008 },
		{ 1024, 192, 1024 },
		{ 1ULL << 63, 1888, 1ULL << 63 },
		{ ~0ULL, 1919, 63ULL << 58 },
	};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		KUNIT_EXPECT_EQ(test, kpb_hist_index(known[i].ticks),
				known[i].bucket);
		KUNIT_EXPECT_EQ(test, kpb_hist_bucket_low(known[i].bucket),
				known[i].low);
	}
}

/* No gap and no overlap, and no bucket wider than a 32nd of its values. */
static void hist_buckets_cover_everything(struct kunit *test)
{
	uint32_t i;

	for (i = 0; i < KPB_HIST_BUCKETS - 1; i++) {
		uint64_t low = kpb_hist_bucket_low(i);
		uint64_t next = kpb_hist_bucket_low(i + 1);

		KUNIT_EXPECT_EQ(test, kpb_hist_index(low), i);
		KUNIT_EXPECT_EQ(test, kpb_hist_index(next - 1), i);
		KUNIT_EXPECT_TRUE(test, next > low);
		KUNIT_EXPECT_TRUE(test, i < 64 || next - low <= low / 32);
	}
	KUNIT_EXPECT_EQ(test, kpb_hist_index(~0ULL), KPB_HIST_BUCKETS - 1);
}

static void hist_times_are_added_up(struct kunit *test)
{
	static struct kpb_path_times times;

	memset(&times, 0, sizeof(times));
	kpb_times_add(&times, 7);
	kpb_times_add(&times, 1000);
	kpb_times_add(&times, 7);
	KUNIT_EXPECT_EQ(test, times.count, 3);
	KUNIT_EXPECT_EQ(test, times.sum_ticks, 1014);
	KUNIT_EXPECT_EQ(test, times.max_ticks, 1000);
	KUNIT_EXPECT_EQ(test, times.hist[7], 2);
	KUNIT_EXPECT_EQ(test, times.hist[190], 1);
}

static double hist_quantile(struct kunit *test, const uint64_t *hist, double q)
{
	double out = -1;

	KUNIT_EXPECT_EQ(test, kpb_hist_quantiles(hist, &q, &out, 1), 0);
	return out;
}

/* Of n values the quantile q is the one with rank ceil(q * n). */
static void hist_quantile_is_a_rank(struct kunit *test)
{
	static uint64_t hist[KPB_HIST_BUCKETS];
	uint32_t i;

	/* the values 1 to 10 */
	memset(hist, 0, sizeof(hist));
	for (i = 1; i <= 10; i++)
		hist[i] = 1;
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 0.5) == 5);
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 0.51) == 6);
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 0.0001) == 1);
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 0.9) == 9);
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 0.95) == 10);
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 1.0) == 10);
	/* 98 times 20 and two outliers */
	memset(hist, 0, sizeof(hist));
	hist[20] = 98;
	hist[kpb_hist_index(1000)] = 1;
	hist[kpb_hist_index(5000)] = 1;
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 0.5) == 20);
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 0.98) == 20);
	/* a bucket of 992 to 1007: its middle */
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 0.99) == 1000);
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 0.995) > 4900);
}

static void hist_quantiles_come_together(struct kunit *test)
{
	static const double q[] = { 0.5, 0.5, 0.9, 1.0 };
	static uint64_t hist[KPB_HIST_BUCKETS];
	double out[4];
	uint32_t i;

	memset(hist, 0, sizeof(hist));
	for (i = 1; i <= 10; i++)
		hist[i] = 1000000;
	KUNIT_EXPECT_EQ(test, kpb_hist_quantiles(hist, q, out, 4), 0);
	KUNIT_EXPECT_TRUE(test, out[0] == 5 && out[1] == 5);
	KUNIT_EXPECT_TRUE(test, out[2] == 9 && out[3] == 10);
	KUNIT_EXPECT_EQ(test, kpb_hist_quantiles(hist, q, out, 0), 0);
}

/* Never off by more than half a bucket, a 64th, from sorting the values. */
static int hist_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void hist_quantiles_are_near_the_sorted_values(struct kunit *test)
{
	static const double q[] = { 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999, 1 };
	static uint64_t hist[KPB_HIST_BUCKETS], values[5000];
	uint64_t x = 88172645463325252ULL;
	double out[8];
	size_t i;

	memset(hist, 0, sizeof(hist));
	for (i = 0; i < 5000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* all magnitudes up to 2^40 */
		values[i] = (x >> 24) >> (x % 40);
		hist[kpb_hist_index(values[i])]++;
	}
	qsort(values, 5000, sizeof(values[0]), hist_compare);
	KUNIT_EXPECT_EQ(test, kpb_hist_quantiles(hist, q, out, 8), 0);
	for (i = 0; i < 8; i++) {
		double exact = (double)values[(size_t)ceil(q[i] * 5000) - 1];

		KUNIT_EXPECT_TRUE(test,
				  fabs(out[i] - exact) <= exact / 64 + 0.5);
	}
}

static void hist_quantiles_of_nothing_are_zero(struct kunit *test)
{
	static uint64_t hist[KPB_HIST_BUCKETS];

	memset(hist, 0, sizeof(hist));
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 0.5) == 0);
	KUNIT_EXPECT_TRUE(test, hist_quantile(test, hist, 1.0) == 0);
}

static void hist_quantiles_refuse_bad_shares(struct kunit *test)
{
	static const double bad[] = { 0.0, -0.1, 1.0001, NAN };
	static const double falling[] = { 0.9, 0.5 };
	static uint64_t hist[KPB_HIST_BUCKETS];
	double out[2];
	size_t i;

	hist[3] = 5;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		KUNIT_EXPECT_EQ(test, kpb_hist_quantiles(hist, &bad[i], out, 1),
				-EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_hist_quantiles(hist, falling, out, 2),
			-EINVAL);
}

static const struct kunit_case hist_test_cases[] = {
	KUNIT_CASE(hist_is_exact_below_64),
	KUNIT_CASE(hist_buckets_are_where_they_should_be),
	KUNIT_CASE(hist_buckets_cover_everything),
	KUNIT_CASE(hist_times_are_added_up),
	KUNIT_CASE(hist_quantile_is_a_rank),
	KUNIT_CASE(hist_quantiles_come_together),
	KUNIT_CASE(hist_quantiles_are_near_the_sorted_values),
	KUNIT_CASE(hist_quantiles_of_nothing_are_zero),
	KUNIT_CASE(hist_quantiles_refuse_bad_shares),
	{ 0 }
};

static struct kunit_suite hist_test_suite = {
	.name = "hist",
	.test_cases = hist_test_cases,
};
kunit_test_suite(hist_test_suite);
