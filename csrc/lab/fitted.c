// SPDX-License-Identifier: GPL-2.0-only
/*
 * Workloads fitted to recordings: groups of tables that are freed in one burst.
 *
 * What a recording shows of page tables is when each is allocated and that they
 * go in bursts: an exit, an unmap, an RCU batch. So a group is what one burst
 * frees. It has a class, of which it draws how many tables it has, how long the
 * first lives, and at which part of that life each is allocated: a fork has
 * them all at the beginning, a heap gets them bit by bit.
 *
 * Time is counted in operations: a clock on which groups begin at such a rate
 * that one operation is made per tick on average. Groups of a class begin
 * evenly, each somewhere within its part of the time (its jitter), and what is drawn within
 * a class walks through its quantiles evenly (two dimensions of a golden-ratio
 * sequence): a machine does the same things again and again, and independent
 * draws would let the level of live tables wander further than any recording
 * does. Twice the lives is twice the machine.
 *
 * Groups do not begin where there is nothing else to do: as many frees as
 * allocations follow later, so that any unevenness would come back amplified.
 *
 * The stream begins in the middle: groups that began before the first operation
 * and still live are allocated first, the oldest first, while the clock stands.
 *
 * Tables that are due within 1/8 of a group's life are allocated in one burst, in
 * the middle of that time, so that on average none comes early or late.
 *
 * The queue of what is due is a radix heap: events that differ from the present
 * in the same base-64 digit first share a level, by that digit a list. It is
 * first in, first out among events of the same moment.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "kpb_api.h"
#include "rng.h"

#define FIT_NONE UINT32_MAX
#define FIT_DIGIT_BITS 6
#define FIT_DIGITS (1u << FIT_DIGIT_BITS)
/* digits of 64 bits */
#define FIT_QUEUE_LEVELS 11

#define FIT_MAX_TABLES_256 ((uint64_t)KPB_MAX_SLOTS << 8)
#define FIT_MAX_LIFE_OPS (1ULL << 42)
#define FIT_MAX_WEIGHT (1u << 24)
#define FIT_MAX_ROUND_OPS_4K (1ULL << 58)
#define FIT_MAX_PAST (1ULL << 28)
#define FIT_ONE_64K (1u << 16)
#define FIT_SLACK_SHIFT 4
/* groups up to that size need no division */
#define FIT_SMALL_TABLES 256

/* Steps of the two-dimensional golden-ratio sequence (Roberts), in 2^-32. */
#define FIT_WALK_TABLES 0xc13fa9a9u
#define FIT_WALK_LIFE 0x91e10da5u

/* A slot is a link to the next of its group and the level of its table. */
#define FIT_LEVEL_SHIFT 30
#define FIT_SLOT_MASK ((1u << FIT_LEVEL_SHIFT) - 1)

_Static_assert(KPB_MAX_SLOTS < FIT_SLOT_MASK, "a slot fits beside its level");
_Static_assert(KPB_FIT_PLACES == 8, "a place is three bits");
_Static_assert(KPB_FIT_LEVELS == 4, "a level is two bits");
_Static_assert(KPB_FIT_CLASSES <= 256, "a class is a byte");
_Static_assert(KPB_MAX_CPUS <= 256, "a CPU is a byte");

struct kpb_fit_group {
	uint64_t birth;
	uint64_t life_ops;
	uint64_t due;
	/* in 2^-32: what a table is of the group, and of those after the first */
	uint32_t place_step;
	uint32_t born_step;
	uint32_t nr_tables;
	uint32_t done; /* tables that were allocated and not freed */
	uint32_t first;
	uint32_t last;
	uint32_t next; /* in the queue, or among unused groups */
	uint8_t cls;
	uint8_t alloc_cpu;
	uint8_t free_cpu;
} __attribute__((aligned(64)));

struct kpb_fit_list {
	uint32_t head;
	uint32_t tail;
};

struct kpb_fit_queue {
	uint64_t now;
	/* a bit for each level, and in it for each list, that is not empty */
	uint32_t levels;
	uint64_t used[FIT_QUEUE_LEVELS];
	struct kpb_fit_list lists[FIT_QUEUE_LEVELS][FIT_DIGITS];
};

/* A class at work; where its groups begin is counted in 1/65536 operations. */
struct kpb_fit_state {
	uint32_t walk_tables;
	uint32_t walk_life;
	uint64_t next_64k;
	uint64_t apart_64k;
	bool waits; /* for its next birth, in the queue */
	/* of each place: where a level begins in 65536 */
	uint32_t level_from[KPB_FIT_PLACES][KPB_FIT_LEVELS];
};

struct kpb_fitted {
	struct kpb_fit fit;
	struct kpb_fit_state states[KPB_FIT_CLASSES];
	struct kpb_rng rng;
	uint64_t now;
	uint64_t nr_cut;
	uint32_t per_table[FIT_SMALL_TABLES]; /* 2^32 / i */
	bool past;
	/* the burst under way: of which group, and whether it frees */
	bool freeing;
	uint32_t burst;
	/* stacks of what is unused; what is above @fresh_* never was used */
	uint32_t *slots;
	uint32_t unused_slot;
	uint32_t fresh_slot;
	/* of events: one for each class, then the groups */
	struct kpb_fit_group *groups;
	void *groups_memory;
	uint32_t unused_group;
	uint32_t fresh_group;
	struct kpb_fit_queue queue;
};

/* queue */

static void kpb_fit_queue_add(struct kpb_fitted *f, uint32_t number,
			      uint64_t due)
{
	struct kpb_fit_queue *queue = &f->queue;
	uint64_t differs = (due ^ queue->now) | 1;
	uint32_t level = (63 - __builtin_clzll(differs)) / FIT_DIGIT_BITS;
	uint32_t digit = (due >> (FIT_DIGIT_BITS * level)) & (FIT_DIGITS - 1);
	struct kpb_fit_list *list = &queue->lists[level][digit];

	f->groups[number].due = due;
	f->groups[number].next = FIT_NONE;
	if (queue->used[level] >> digit & 1)
		f->groups[list->tail].next = number;
	else
		list->head = number;
	list->tail = number;
	queue->used[level] |= 1ULL << digit;
	queue->levels |= 1u << level;
}

static void kpb_fit_queue_empty(struct kpb_fit_queue *queue, uint32_t level,
				uint32_t digit)
{
	queue->used[level] &= ~(1ULL << digit);
	if (!queue->used[level])
		queue->levels &= ~(1u << level);
}

/* Spread the list that comes next over the levels below it. */
static void kpb_fit_queue_spread(struct kpb_fitted *f, uint32_t level,
				 uint32_t digit, uint64_t start)
{
	struct kpb_fit_queue *queue = &f->queue;
	uint32_t number = queue->lists[level][digit].head;

	kpb_fit_queue_empty(queue, level, digit);
	queue->now = start;
	/* each event moves to a lower level, so at most 10 times in its life */
	while (number != FIT_NONE) {
		uint32_t next = f->groups[number].next;

		kpb_fit_queue_add(f, number, f->groups[number].due);
		number = next;
	}
}

/* The first event, at which the clock is then; there always is one. */
static uint32_t kpb_fit_queue_pop(struct kpb_fitted *f)
{
	struct kpb_fit_queue *queue = &f->queue;

	/* every second turn has an event at level 0 */
	for (;;) {
		uint32_t level, digit, shift, number;
		struct kpb_fit_list *list;
		uint64_t start;

		level = (uint32_t)__builtin_ctz(queue->levels);
		digit = (uint32_t)__builtin_ctzll(queue->used[level]);
		shift = FIT_DIGIT_BITS * level;
		/* the digits above are those of the present */
		start = 0;
		if (level + 1 < FIT_QUEUE_LEVELS)
			start = queue->now >> (shift + FIT_DIGIT_BITS);
		start = (start << FIT_DIGIT_BITS | digit) << shift;
		if (level) {
			kpb_fit_queue_spread(f, level, digit, start);
			continue;
		}
		list = &queue->lists[0][digit];
		number = list->head;
		list->head = f->groups[number].next;
		if (list->head == FIT_NONE)
			kpb_fit_queue_empty(queue, 0, digit);
		queue->now = start;
		return number;
	}
}

/* drawing */

/* Part @part of 2^32 of the way from @low to @high, which differ by < 2^44. */
static inline uint64_t kpb_fit_between_two(uint64_t low, uint64_t high,
					   uint32_t part)
{
	return low + ((high - low) * (part >> 12) >> 20);
}

static inline uint64_t kpb_fit_quantile(const uint64_t *table, uint32_t u)
{
	uint64_t at = (uint64_t)u * (KPB_FIT_QUANTILES - 1);

	return kpb_fit_between_two(table[at >> 32], table[(at >> 32) + 1],
				   (uint32_t)at);
}

static inline uint64_t kpb_fit_quantile32(const uint32_t *table, uint32_t u)
{
	uint64_t at = (uint64_t)u * (KPB_FIT_QUANTILES - 1);

	return kpb_fit_between_two(table[at >> 32], table[(at >> 32) + 1],
				   (uint32_t)at);
}

static uint32_t kpb_fit_draw(struct kpb_fitted *f)
{
	return (uint32_t)(kpb_rng_next(&f->rng) >> 32);
}

static uint64_t kpb_fit_next_life(struct kpb_fitted *f, uint32_t cls)
{
	f->states[cls].walk_life += FIT_WALK_LIFE;
	return kpb_fit_quantile(f->fit.classes[cls].life_ops,
				f->states[cls].walk_life);
}

static uint32_t kpb_fit_next_tables(struct kpb_fitted *f, uint32_t cls,
				    uint32_t coin_256)
{
	f->states[cls].walk_tables += FIT_WALK_TABLES;
	/* to a neighbour by chance, so that the mean is what it was */
	return (uint32_t)((kpb_fit_quantile(f->fit.classes[cls].tables_256,
					    f->states[cls].walk_tables) +
			   coin_256) >>
			  8);
}

static uint32_t kpb_fit_per_table(const struct kpb_fitted *f, uint32_t tables)
{
	return tables < FIT_SMALL_TABLES ? f->per_table[tables] :
					   UINT32_MAX / tables;
}

/* A group begins; of its tables, levels and jitter are drawn later. */
static uint32_t kpb_fit_begin(struct kpb_fitted *f, uint32_t cls,
			      uint64_t birth, uint64_t life_ops)
{
	uint32_t number = f->unused_group, nr_cpus = f->fit.nr_cpus;
	uint64_t draw = kpb_rng_next(&f->rng);
	struct kpb_fit_group *group;
	uint32_t cpu = (uint32_t)((draw >> 32) * nr_cpus >> 32);
	bool crosses = (draw >> 8 & (FIT_ONE_64K - 1)) <
		       f->fit.classes[cls].cross_cpu_64k;

	if (number == FIT_NONE)
		number = f->fresh_group++;
	else
		f->unused_group = f->groups[number].next;
	group = &f->groups[number];
	group->birth = birth;
	group->life_ops = life_ops;
	group->nr_tables = kpb_fit_next_tables(f, cls, draw & 255);
	group->place_step = kpb_fit_per_table(f, group->nr_tables);
	group->born_step = kpb_fit_per_table(f, group->nr_tables - 1);
	group->done = 0;
	group->cls = (uint8_t)cls;
	group->alloc_cpu = (uint8_t)cpu;
	cpu += crosses;
	group->free_cpu = (uint8_t)(cpu < nr_cpus ? cpu : 0);
	return number;
}

/* When the next group of a class begins, somewhere within its part. */
static uint64_t kpb_fit_next_birth(struct kpb_fitted *f, uint32_t cls)
{
	struct kpb_fit_state *state = &f->states[cls];
	uint64_t begin_64k = state->next_64k, apart_64k = state->apart_64k;
	uint64_t draw = kpb_fit_draw(f);

	draw = draw * f->fit.classes[cls].jitter_64k >> 16;

	state->next_64k += apart_64k;
	if (apart_64k <= UINT32_MAX)
		return (begin_64k + (apart_64k * draw >> 32)) >> 16;
	return (begin_64k + (apart_64k >> 32) * draw) >> 16;
}

/*
 * The oldest group that began before the first operation and still lives;
 * FIT_NONE once there is none. kpb_fit_check_past() bounds how many dead ones
 * are passed over.
 */
static uint32_t kpb_fit_begin_past(struct kpb_fitted *f)
{
	for (;;) {
		struct kpb_fit_state *oldest = &f->states[0];
		uint64_t birth, life_ops;
		uint32_t cls, of = 0;

		for (cls = 1; cls < f->fit.nr_classes; cls++) {
			if (f->states[cls].next_64k >= oldest->next_64k)
				continue;
			oldest = &f->states[cls];
			of = cls;
		}
		if (oldest->next_64k >= f->now << 16)
			return FIT_NONE;
		birth = kpb_fit_next_birth(f, of);
		if (birth >= f->now) {
			kpb_fit_queue_add(f, of, birth);
			oldest->waits = true;
			continue;
		}
		life_ops = kpb_fit_next_life(f, of);
		if (birth + life_ops > f->now)
			return kpb_fit_begin(f, of, birth, life_ops);
	}
}

/* The clock starts: from now on groups begin when their time has come. */
static void kpb_fit_begin_present(struct kpb_fitted *f)
{
	uint32_t cls;

	f->past = false;
	for (cls = 0; cls < f->fit.nr_classes; cls++) {
		struct kpb_fit_state *state = &f->states[cls];

		if (!f->fit.classes[cls].weight || state->waits)
			continue;
		if (state->next_64k < f->now << 16)
			state->next_64k = f->now << 16;
		kpb_fit_queue_add(f, cls, kpb_fit_next_birth(f, cls));
	}
}

/* events */

static bool kpb_fit_full(const struct kpb_fitted *f)
{
	return f->unused_slot == FIT_NONE && f->fresh_slot == f->fit.nr_slots;
}

/* The burst is over; what comes next of its group is due then. */
static void kpb_fit_end_burst(struct kpb_fitted *f, uint64_t due)
{
	kpb_fit_queue_add(f, f->burst, due > f->now ? due : f->now);
	f->burst = FIT_NONE;
}

/* What is due next; where slots are short, what needs one is left out. */
static void kpb_fit_next(struct kpb_fitted *f)
{
	/* until a death, before which kpb_fit_check_past() bounds the births */
	for (;;) {
		uint32_t number = kpb_fit_queue_pop(f), cls = number;
		struct kpb_fit_group *group = &f->groups[number];
		bool full = kpb_fit_full(f);

		f->now = f->queue.now;
		f->burst = number;
		f->freeing = false;
		if (number >= f->fit.nr_classes) {
			f->freeing = group->done == group->nr_tables;
			if (f->freeing || !full)
				return;
			f->nr_cut++;
			group->nr_tables = group->done;
			kpb_fit_end_burst(f, group->birth + group->life_ops);
			continue;
		}
		kpb_fit_end_burst(f, kpb_fit_next_birth(f, cls));
		f->nr_cut += full;
		if (full)
			continue;
		f->burst = kpb_fit_begin(f, cls, f->now,
					 kpb_fit_next_life(f, cls));
		return;
	}
}

/* What is done next: the groups of the past come before everything else. */
static void kpb_fit_next_burst(struct kpb_fitted *f)
{
	f->freeing = false;
	if (f->past && !kpb_fit_full(f))
		f->burst = kpb_fit_begin_past(f);
	if (f->burst != FIT_NONE)
		return;
	if (f->past)
		kpb_fit_begin_present(f);
	kpb_fit_next(f);
}

static void kpb_fit_emit(struct kpb_op *op, uint8_t kind, uint32_t slot,
			 uint8_t level, uint8_t cpu)
{
	op->slot = slot;
	op->kind = kind;
	op->cpu = cpu;
	op->level = level;
	op->arg = 0;
}

/*
 * Tables of a group until the next is not due; returns how many. What changes
 * with each is kept in registers: stores to memory would hide that it does not
 * change otherwise.
 */
static uint64_t kpb_fit_alloc(struct kpb_fitted *f, struct kpb_fit_group *group,
			      struct kpb_op *out, uint64_t room)
{
	const struct kpb_fit_state *state = &f->states[group->cls];
	const uint32_t *born = f->fit.classes[group->cls].born_64k;
	const uint32_t place_step = group->place_step;
	const uint32_t born_step = group->born_step;
	const uint32_t nr_tables = group->nr_tables;
	const uint64_t birth = group->birth, life_ops = group->life_ops;
	const uint64_t slack = life_ops >> FIT_SLACK_SHIFT;
	const uint64_t until = f->now + slack;
	const uint8_t cpu = group->alloc_cpu;
	uint32_t *slots = f->slots;
	uint32_t done = group->done, last = group->last;
	uint32_t unused = f->unused_slot, fresh = f->fresh_slot;
	struct kpb_rng rng = f->rng;
	uint64_t due = birth + life_ops, i;
	bool more = true;

	for (i = 0; more && i < room; i++) {
		uint64_t draw = kpb_rng_next(&rng);
		const uint32_t *from =
			state->level_from[done * place_step >> 29];
		uint32_t coin = draw & (FIT_ONE_64K - 1), slot, at;
		uint32_t level = (coin >= from[1]) + (coin >= from[2]) +
				 (coin >= from[3]);

		slot = unused != FIT_NONE ? unused : fresh++;
		unused = unused != FIT_NONE ? slots[unused] : FIT_NONE;
		slots[slot] = level << FIT_LEVEL_SHIFT;
		if (done)
			slots[last] |= slot;
		else
			group->first = slot;
		last = slot;
		kpb_fit_emit(&out[i], KPB_OP_ALLOC, slot, (uint8_t)level, cpu);
		if (++done == nr_tables) {
			due = birth + life_ops;
			more = false;
			continue;
		}
		/* somewhere within its part of those after the first */
		at = (done - 1) * born_step +
		     (uint32_t)((draw >> 32) * born_step >> 32);
		due = birth + (life_ops * kpb_fit_quantile32(born, at) >> 16);
		more = due <= until &&
		       (unused != FIT_NONE || fresh < f->fit.nr_slots);
	}
	group->done = done;
	group->last = last;
	f->unused_slot = unused;
	f->fresh_slot = fresh;
	f->rng = rng;
	if (!more)
		kpb_fit_end_burst(f, done == nr_tables ? due : due + slack);
	return i;
}

/* The tables go in the order in which they came; returns how many. */
static uint64_t kpb_fit_free(struct kpb_fitted *f, struct kpb_fit_group *group,
			     struct kpb_op *out, uint64_t room)
{
	uint64_t nr = group->done < room ? group->done : room, i;
	uint32_t slot = group->first;

	for (i = 0; i < nr; i++) {
		uint32_t link = f->slots[slot];

		kpb_fit_emit(&out[i], KPB_OP_FREE, slot,
			     (uint8_t)(link >> FIT_LEVEL_SHIFT),
			     group->free_cpu);
		f->slots[slot] = f->unused_slot;
		f->unused_slot = slot;
		slot = link & FIT_SLOT_MASK;
	}
	group->first = slot;
	group->done -= nr;
	if (!group->done) {
		group->next = f->unused_group;
		f->unused_group = f->burst;
		f->burst = FIT_NONE;
	}
	return nr;
}

/* checks */

static int kpb_fit_range(const char *what, uint64_t value, uint64_t least,
			 uint64_t most, char *msg)
{
	if (value >= least && value <= most)
		return 0;
	snprintf(msg, KPB_MSG_BYTES, "%s of %llu: give %llu to %llu", what,
		 (unsigned long long)value, (unsigned long long)least,
		 (unsigned long long)most);
	return -EINVAL;
}

/* Of quantiles @before the limit is the one before. */
static int kpb_fit_check_quantile(const char *what, uint32_t cls, uint32_t i,
				  uint64_t before, uint64_t value,
				  uint64_t least, uint64_t most, char *msg)
{
	char name[64];

	snprintf(name, sizeof(name), "class %u, quantile %u: %s", cls, i, what);
	return kpb_fit_range(name, value, i && before > least ? before : least,
			     most, msg);
}

static int kpb_fit_check_class(const struct kpb_fit_class *c, uint32_t cls,
			       char *msg)
{
	uint32_t i, level;
	char name[64];
	int ret = 0;

	for (i = 0; i < KPB_FIT_QUANTILES && !ret; i++) {
		uint32_t last = i ? i - 1 : 0;

		ret = kpb_fit_check_quantile("tables_256", cls, i,
					     c->tables_256[last],
					     c->tables_256[i], 256,
					     FIT_MAX_TABLES_256, msg);
		ret = ret   ?:
			      kpb_fit_check_quantile("life_ops", cls, i,
						     c->life_ops[last],
						     c->life_ops[i], 1,
						     FIT_MAX_LIFE_OPS, msg);
		ret = ret   ?:
			      kpb_fit_check_quantile("born_64k", cls, i,
						     c->born_64k[last],
						     c->born_64k[i], 0,
						     FIT_ONE_64K, msg);
	}
	for (i = 0; i < KPB_FIT_PLACES && !ret; i++) {
		uint64_t sum = 0;

		for (level = 0; level < KPB_FIT_LEVELS; level++)
			sum += c->level_weight[i][level];
		snprintf(name, sizeof(name),
			 "class %u, place %u: sum of level_weight", cls, i);
		ret = kpb_fit_range(name, sum, 1, FIT_MAX_WEIGHT, msg);
	}
	snprintf(name, sizeof(name), "class %u: jitter_64k", cls);
	ret = ret ?: kpb_fit_range(name, c->jitter_64k, 0, FIT_ONE_64K, msg);
	snprintf(name, sizeof(name), "class %u: cross_cpu_64k", cls);
	return ret   ?:
		       kpb_fit_range(name, c->cross_cpu_64k, 0, FIT_ONE_64K,
				     msg);
}

/*
 * Operations of a round, times 4096: as many frees as allocations, of tables in
 * 1/256, of which the mean is a sum of 16 pairs of quantiles over 32.
 */
static uint64_t kpb_fit_round_ops_4k(const struct kpb_fit *fit)
{
	uint64_t sum = 0;
	uint32_t cls, i;

	for (cls = 0; cls < fit->nr_classes; cls++) {
		const struct kpb_fit_class *c = &fit->classes[cls];

		for (i = 1; i < KPB_FIT_QUANTILES; i++)
			sum += c->weight *
			       (c->tables_256[i - 1] + c->tables_256[i]);
	}
	return sum;
}

/* How far apart groups of a class begin, in 1/65536 operations. */
static uint64_t kpb_fit_apart_64k(uint64_t round_ops_4k, uint32_t weight)
{
	return weight ? (round_ops_4k << 4) / weight : UINT64_MAX;
}

/* How many groups of the past there are to look at. */
static int kpb_fit_check_past(const struct kpb_fit *fit, char *msg)
{
	uint64_t round_ops_4k = kpb_fit_round_ops_4k(fit), past = 0;
	uint32_t cls;
	int ret;

	ret = kpb_fit_range("operations of a round", round_ops_4k >> 12, 1,
			    FIT_MAX_ROUND_OPS_4K >> 12, msg);
	for (cls = 0; !ret && cls < fit->nr_classes; cls++) {
		const struct kpb_fit_class *c = &fit->classes[cls];

		past += (c->life_ops[KPB_FIT_QUANTILES - 1] << 16) /
			kpb_fit_apart_64k(round_ops_4k, c->weight);
	}
	return ret   ?:
		       kpb_fit_range("groups that begin in the longest life",
				     past, 0, FIT_MAX_PAST, msg);
}

static int kpb_fit_check(const struct kpb_fit *fit, char *msg)
{
	uint64_t sum = 0;
	uint32_t cls;
	int ret;

	ret = kpb_fit_range("nr_classes", fit->nr_classes, 1, KPB_FIT_CLASSES,
			    msg);
	ret = ret   ?:
		      kpb_fit_range("nr_cpus", fit->nr_cpus, 1, KPB_MAX_CPUS,
				    msg);
	ret = ret   ?:
		      kpb_fit_range("nr_slots", fit->nr_slots, 1, KPB_MAX_SLOTS,
				    msg);
	for (cls = 0; !ret && cls < fit->nr_classes; cls++) {
		sum += fit->classes[cls].weight;
		ret = kpb_fit_check_class(&fit->classes[cls], cls, msg);
	}
	ret = ret   ?:
		      kpb_fit_range("sum of the weights", sum, 1,
				    FIT_MAX_WEIGHT, msg);
	return ret ?: kpb_fit_check_past(fit, msg);
}

/* Where the levels of a class begin, of what is given as weights. */
static void kpb_fit_prepare_levels(const struct kpb_fit_class *c,
				   struct kpb_fit_state *state)
{
	uint32_t place, level;

	for (place = 0; place < KPB_FIT_PLACES; place++) {
		const uint32_t *weight = c->level_weight[place];
		uint64_t sum = 0, total = 0;

		for (level = 0; level < KPB_FIT_LEVELS; level++)
			total += weight[level];
		for (level = 0; level < KPB_FIT_LEVELS; level++) {
			state->level_from[place][level] =
				(uint32_t)(sum * FIT_ONE_64K / total);
			sum += weight[level];
		}
	}
}

/* Where each class begins, in its quantiles and in the past. */
static void kpb_fit_prepare(struct kpb_fitted *f)
{
	uint64_t round_ops_4k = kpb_fit_round_ops_4k(&f->fit);
	uint32_t cls, i;

	/* of a group of one table, those after the first are none */
	for (i = 1; i < FIT_SMALL_TABLES; i++)
		f->per_table[i] = UINT32_MAX / i;
	for (cls = 0; cls < f->fit.nr_classes; cls++) {
		const struct kpb_fit_class *c = &f->fit.classes[cls];
		uint64_t longest = c->life_ops[KPB_FIT_QUANTILES - 1];
		struct kpb_fit_state *state = &f->states[cls];

		kpb_fit_prepare_levels(c, state);
		state->walk_tables = kpb_fit_draw(f);
		state->walk_life = kpb_fit_draw(f);
		state->apart_64k = kpb_fit_apart_64k(round_ops_4k, c->weight);
		if (f->now < longest)
			f->now = longest;
	}
	/* the parts of a class begin anywhere within the first of them */
	for (cls = 0; cls < f->fit.nr_classes; cls++) {
		const struct kpb_fit_class *c = &f->fit.classes[cls];
		uint64_t longest = c->life_ops[KPB_FIT_QUANTILES - 1];
		struct kpb_fit_state *state = &f->states[cls];

		state->next_64k = (f->now - longest) << 16;
		if (c->weight)
			state->next_64k +=
				kpb_rng_next(&f->rng) % state->apart_64k;
		else
			state->next_64k = UINT64_MAX;
	}
	f->queue.now = f->now;
	f->past = true;
	f->fresh_group = f->fit.nr_classes;
}

/**
 * kpb_fitted_create() - start a fitted workload
 * @fit: its classes; copied
 * @seed: the same seed gives the same operations on any machine
 * @out: the generator, to be given to kpb_fitted_destroy()
 * @msg: KPB_MSG_BYTES for what is wrong
 *
 * Memory is taken for the nr_slots of @fit, 68 bytes each, but only touched as
 * the live level rises.
 *
 * Return: 0; -EINVAL with @msg filled; -ENOMEM.
 */
int kpb_fitted_create(const struct kpb_fit *fit, uint64_t seed,
		      struct kpb_fitted **out, char *msg)
{
	uint64_t nr_events = (uint64_t)fit->nr_classes + fit->nr_slots;
	struct kpb_fitted *f;
	int ret;

	msg[0] = '\0';
	ret = kpb_fit_check(fit, msg);
	if (ret)
		return ret;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->fit = *fit;
	f->rng = kpb_rng_seed(seed);
	f->burst = FIT_NONE;
	f->unused_slot = FIT_NONE;
	f->unused_group = FIT_NONE;
	f->slots = calloc(fit->nr_slots, sizeof(*f->slots));
	/* zeroed by the kernel where it is large; aligned_alloc() is not */
	f->groups_memory = calloc(nr_events + 1, sizeof(*f->groups));
	if (!f->slots || !f->groups_memory) {
		kpb_fitted_destroy(f);
		return -ENOMEM;
	}
	f->groups = (void *)(((uintptr_t)f->groups_memory + 63) & ~63UL);
	kpb_fit_prepare(f);
	*out = f;
	return 0;
}

/**
 * kpb_fitted_destroy() - give back what kpb_fitted_create() took
 * @fitted: may be NULL
 */
void kpb_fitted_destroy(struct kpb_fitted *fitted)
{
	if (!fitted)
		return;
	free(fitted->slots);
	free(fitted->groups_memory);
	free(fitted);
}

/**
 * kpb_fitted_fill() - the next operations of a fitted workload
 * @fitted: the generator
 * @out: room for @nr
 * @nr: how many
 *
 * Return: 0.
 */
int kpb_fitted_fill(struct kpb_fitted *fitted, struct kpb_op *out, uint64_t nr)
{
	uint64_t i = 0;

	while (i < nr) {
		struct kpb_fit_group *group;

		if (fitted->burst == FIT_NONE)
			kpb_fit_next_burst(fitted);
		group = &fitted->groups[fitted->burst];
		if (fitted->freeing)
			i += kpb_fit_free(fitted, group, &out[i], nr - i);
		else
			i += kpb_fit_alloc(fitted, group, &out[i], nr - i);
	}
	return 0;
}

/**
 * kpb_fitted_nr_cut() - how often slots were short
 * @fitted: the generator
 *
 * Return: groups that could not begin or grow when they were due.
 */
uint64_t kpb_fitted_nr_cut(const struct kpb_fitted *fitted)
{
	return fitted->nr_cut;
}
