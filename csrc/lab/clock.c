// SPDX-License-Identifier: GPL-2.0-only
/* Which clock, and how good it is. */

#include "clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "kpb_api.h"

#define NR_READS 4096
#define CALIBRATE_NS 20000000

bool kpb_clock_has_counter;

static __attribute__((constructor)) void kpb_clock_choose(void)
{
#if defined(__x86_64__)
	unsigned int a, b, c, d;

	/* invariant TSC: constant rate, does not stop */
	kpb_clock_has_counter = __get_cpuid(0x80000007u, &a, &b, &c, &d) &&
				(d & (1u << 8));
#elif defined(__aarch64__)
	kpb_clock_has_counter = true;
#endif
}

static const char *kpb_clock_name(void)
{
	if (!kpb_clock_has_counter)
		return "clock_monotonic_raw";
#if defined(__x86_64__)
	return "tsc";
#else
	return "cntvct";
#endif
}

/* Both clocks over the same stretch of time. */
static double kpb_clock_ns_per_tick(void)
{
	uint64_t ns0, ns1, t0, t1;

	if (!kpb_clock_has_counter)
		return 1.0;
	ns0 = kpb_clock_os_ns();
	t0 = kpb_clock_read();
	do {
		ns1 = kpb_clock_os_ns();
		t1 = kpb_clock_read();
	} while (ns1 - ns0 < CALIBRATE_NS);
	return t1 == t0 ? 1.0 : (double)(ns1 - ns0) / (double)(t1 - t0);
}

static int kpb_compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/**
 * kpb_clock_measure() - the clock's rate, floor and quantum
 * @out: floor is the median of back-to-back reads, quantum the step that all
 *       differences are multiples of
 *
 * Return: 0 or -ENOMEM. Takes about 20 ms.
 */
int kpb_clock_measure(struct kpb_clock_info *out)
{
	uint64_t *delta = malloc(NR_READS * sizeof(*delta));
	uint64_t quantum = 0;
	int i;

	if (!delta)
		return -ENOMEM;
	for (i = 0; i < NR_READS; i++) {
		uint64_t start = kpb_clock_read();

		delta[i] = kpb_clock_read_end() - start;
	}
	qsort(delta, NR_READS, sizeof(*delta), kpb_compare_u64);
	for (i = 0; i < NR_READS && !quantum; i++)
		quantum = delta[i];
	/* a counter's step is the common step of all differences */
	for (i = 0; i < NR_READS; i++) {
		uint64_t a = quantum, b = delta[i];

		while (b) {
			uint64_t r = a % b;

			a = b;
			b = r;
		}
		if (a)
			quantum = a;
	}
	snprintf(out->name, sizeof(out->name), "%s", kpb_clock_name());
	out->ns_per_tick = kpb_clock_ns_per_tick();
	out->floor_ns = (double)delta[NR_READS / 2] * out->ns_per_tick;
	out->quantum_ns = (double)quantum * out->ns_per_tick;
	free(delta);
	return 0;
}
