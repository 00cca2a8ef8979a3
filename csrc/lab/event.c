// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happened, in order: a ring of events for those who explain a run, and a
 * digest of all of them for those who compare two. Nothing is recorded unless
 * the machine was told to.
 */

#include <linux/mm.h>

#include "machine.h"

static inline void kpb_digest_mix(struct kpb_recorder *rec, u64 word)
{
	u64 z = (rec->digest ^ word) * 0x9e3779b97f4a7c15ULL;

	rec->digest = z ^ (z >> 29);
}

/* Names and lines are an allocator's own: two that do the same may differ. */
static inline bool kpb_event_names_source(enum kpb_event_kind kind)
{
	return kind == KPB_EVENT_WARN || kind == KPB_EVENT_SLEEP_IN_ATOMIC;
}

void kpb_event_add(enum kpb_event_kind kind, u64 a, u32 b, u32 c)
{
	struct kpb_machine *m = kpb_this;
	struct kpb_recorder *rec = &m->recorder;

	if (kind != KPB_EVENT_LOG) {
		kpb_digest_mix(rec, (u64)kind << 56 | (u64)c << 32 | b);
		kpb_digest_mix(rec, kpb_event_names_source(kind) ? 0 : a);
	}
	if (rec->capacity) {
		struct kpb_event *ev = &rec->events[rec->nr % rec->capacity];

		*ev = (struct kpb_event){
			.a = a,
			.b = b,
			.c = c,
			.op = m->nr_ops,
			.kind = (u8)kind,
			.task = (u8)m->curr->pid,
			.cause = (u8)m->cause,
			.depth = (u8)m->shrink_depth,
		};
	}
	rec->nr++;
}

/* One operation is over: where it went, and what it got. */
static noinline void kpb_digest_op(int path, const struct page *page)
{
	struct kpb_recorder *rec = &kpb_this->recorder;

	kpb_digest_mix(rec, (u64)path << 56 | (page ? page_to_pfn(page) : 0));
}

static int kpb_granule_record(uint64_t capacity)
{
	struct kpb_recorder *rec = &kpb_this->recorder;
	struct kpb_event *events = NULL;

	if (capacity > 1ULL << 32)
		return -EINVAL;
	if (capacity) {
		events = calloc(capacity, sizeof(*events));
		if (!events)
			return -ENOMEM;
	}
	free(rec->events);
	*rec = (struct kpb_recorder){
		.events = events,
		.capacity = capacity,
		.on = true,
	};
	return 0;
}

static int64_t kpb_granule_events(struct kpb_event *out, uint64_t nr)
{
	struct kpb_recorder *rec = &kpb_this->recorder;
	u64 oldest = rec->nr > rec->capacity ? rec->nr - rec->capacity : 0;
	u64 i, n = 0;

	if (!nr)
		return (int64_t)(rec->nr - max(rec->nr_read, oldest));
	for (i = max(rec->nr_read, oldest); i < rec->nr && n < nr; i++)
		out[n++] = rec->events[i % rec->capacity];
	rec->nr_read = i;
	return (int64_t)n;
}

static void kpb_granule_digest(uint64_t *out)
{
	*out = kpb_this->recorder.digest;
}
