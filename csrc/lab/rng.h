/* SPDX-License-Identifier: GPL-2.0-only */
/* A seeded generator (splitmix64): the same numbers on every machine. */
#ifndef KPB_LAB_RNG_H
#define KPB_LAB_RNG_H

#include <stdint.h>

struct kpb_rng {
	uint64_t state;
};

static inline uint64_t kpb_rng_next(struct kpb_rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline struct kpb_rng kpb_rng_seed(uint64_t seed)
{
	struct kpb_rng rng = { seed };

	kpb_rng_next(&rng);
	return rng;
}

/* Uniform in [0, n) for n < 2^32, by multiplication instead of division. */
static inline uint64_t kpb_rng_below(struct kpb_rng *rng, uint64_t n)
{
	return ((kpb_rng_next(rng) >> 32) * n) >> 32;
}

#endif
