/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of linux/shrinker.h. */
#ifndef _LINUX_SHRINKER_H
#define _LINUX_SHRINKER_H

#include <linux/gfp.h>

/* DUPLICATED */
#define SHRINK_STOP (~0UL)
#define SHRINK_EMPTY (~0UL - 1)
#define DEFAULT_SEEKS 2
#define SHRINK_BATCH 128
#define SHRINKER_NUMA_AWARE 1u
#define SHRINKER_MEMCG_AWARE 2u

struct shrink_control {
	gfp_t gfp_mask;
	unsigned long nr_to_scan;
	unsigned long nr_scanned;
};

struct shrinker {
	unsigned long (*count_objects)(struct shrinker *shrinker,
				       struct shrink_control *sc);
	unsigned long (*scan_objects)(struct shrinker *shrinker,
				      struct shrink_control *sc);
	long batch;
	int seeks;
	/* CUSTOM: one node, so one counter instead of an array */
	long nr_deferred;
	bool registered;
	void *private_data;
};

/* CUSTOM: a box has one page table allocator and so at most one shrinker */
KPB_LOCAL struct shrinker *shrinker_alloc(unsigned int flags, const char *fmt,
					  ...);
KPB_LOCAL void shrinker_register(struct shrinker *shrinker);
KPB_LOCAL void shrinker_free(struct shrinker *shrinker);
KPB_LOCAL unsigned long do_shrink_slab(struct shrink_control *shrinkctl,
				       struct shrinker *shrinker, int priority);

#endif
