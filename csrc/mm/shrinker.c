// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors mm/shrinker.c (6.18): how reclaim asks a cache to give back.
 *
 * What is not here: memcg and NUMA awareness, the list of all shrinkers.
 */

#include <linux/mm.h>
#include <linux/shrinker.h>

/* kpb: the machine owns the only shrinker that there is */
struct shrinker *shrinker_alloc(unsigned int flags, const char *fmt, ...)
{
	(void)flags;
	(void)fmt;
	kpb_this->shrinker.seeks = DEFAULT_SEEKS;
	return &kpb_this->shrinker;
}

void shrinker_register(struct shrinker *shrinker)
{
	shrinker->registered = true;
}

__maybe_unused void shrinker_free(struct shrinker *shrinker)
{
	memset(shrinker, 0, sizeof(*shrinker));
}

/* kpb: every scan comes this way, so that one can see what happens inside */
static unsigned long kpb_scan_objects(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	unsigned long ret;

	KPB_FRAME();
	kpb_event(KPB_EVENT_SHRINK, sc->nr_to_scan, 0, 0);
	kpb_this->counters.shrink_scans++;
	kpb_this->shrink_depth++;
	ret = shrinker->scan_objects(shrinker, sc);
	kpb_this->shrink_depth--;
	kpb_event(KPB_EVENT_SHRINK_END, ret, 0, 0);
	return ret;
}

/**
 * do_shrink_slab() - one round of one shrinker
 * @shrinkctl: gfp_mask in, nr_to_scan and nr_scanned used
 * @shrinker: whom to ask
 * @priority: 12 (light pressure) down to 0
 *
 * With seeks 0 the target is half of what there is, whatever the priority,
 * plus work that was deferred before, and never more than twice what there is.
 *
 * Return: objects freed, or SHRINK_EMPTY.
 */
unsigned long do_shrink_slab(struct shrink_control *shrinkctl,
			     struct shrinker *shrinker, int priority)
{
	unsigned long freed = 0, delta, freeable;
	long total_scan, nr, scanned = 0, next_deferred;
	long batch_size = shrinker->batch ? shrinker->batch : SHRINK_BATCH;

	freeable = shrinker->count_objects(shrinker, shrinkctl);
	if (freeable == 0 || freeable == SHRINK_EMPTY)
		return freeable;

	/* whatever was left over is ours now */
	nr = shrinker->nr_deferred;
	shrinker->nr_deferred = 0;

	if (shrinker->seeks) {
		delta = freeable >> priority;
		delta *= 4;
		delta /= (unsigned long)shrinker->seeks;
	} else {
		delta = freeable / 2;
	}

	total_scan = nr >> priority;
	total_scan += (long)delta;
	total_scan = min(total_scan, (long)(2 * freeable));

	while (total_scan >= batch_size || total_scan >= (long)freeable) {
		unsigned long ret;
		unsigned long nr_to_scan =
			(unsigned long)min(batch_size, total_scan);

		shrinkctl->nr_to_scan = nr_to_scan;
		shrinkctl->nr_scanned = nr_to_scan;
		ret = kpb_scan_objects(shrinker, shrinkctl);
		if (ret == SHRINK_STOP)
			break;
		freed += ret;

		total_scan -= (long)shrinkctl->nr_scanned;
		scanned += (long)shrinkctl->nr_scanned;
	}

	/* what was not done is done later, but never more than all of it twice */
	next_deferred = max(nr + (long)delta - scanned, 0L);
	next_deferred = min(next_deferred, (long)(2 * freeable));
	shrinker->nr_deferred += next_deferred;
	return freed;
}
