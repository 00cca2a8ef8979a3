/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The clock of the timed passes: the CPU's counter where it runs at a constant
 * rate, else clock_gettime(). Its floor and quantum are measured, stated, and
 * never subtracted.
 */
#ifndef KPB_LAB_CLOCK_H
#define KPB_LAB_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* Decided once, before the first read: see clock.c. */
extern bool kpb_clock_has_counter;

static inline uint64_t kpb_clock_os_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* In ticks. Waits for what came before, and nothing later starts earlier. */
static inline uint64_t kpb_clock_read(void)
{
#if defined(__x86_64__)
	if (__builtin_expect(kpb_clock_has_counter, 1)) {
		unsigned int aux;
		uint64_t ticks = __rdtscp(&aux);

		_mm_lfence();
		return ticks;
	}
#elif defined(__aarch64__)
	if (__builtin_expect(kpb_clock_has_counter, 1)) {
		uint64_t ticks;

		__asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb"
				 : "=r"(ticks)::"memory");
		return ticks;
	}
#endif
	return kpb_clock_os_ns();
}

/*
 * The second read of a bracket: waits for what came before as well, but what
 * follows is not timed and may overlap with it.
 */
static inline uint64_t kpb_clock_read_end(void)
{
#if defined(__x86_64__)
	if (__builtin_expect(kpb_clock_has_counter, 1)) {
		unsigned int aux;

		return __rdtscp(&aux);
	}
#endif
	return kpb_clock_read();
}

#endif
