// SPDX-License-Identifier: GPL-2.0-only
/*
 * Synthetic workloads: an endless, seeded stream of operations, made in chunks.
 * Which page an allocation gets is no concern here, so lifetimes do not depend
 * on the page that was just freed. What is decided by chance is selected, not
 * branched on: a mispredicted branch would cost more than all the rest.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "kpb_api.h"
#include "rng.h"

#define LEVEL_PTE 0
#define LEVEL_PMD 1
#define LEVEL_PUD 2
#define LEVEL_PGD 3

#define KPB_GEN_CPUS 2
#define KPB_GEN_MAX_PARAM (1u << 24)
/* tables of one process of fork_storm, at most */
#define FORK_MAX_TABLES 64

/* A burst that is being emitted: all tables of one process. */
struct kpb_gen_burst {
	uint32_t proc;
	uint32_t slot; /* of the first table */
	uint32_t nr_tables;
	uint32_t done;
	bool freeing;
};

struct kpb_gen {
	uint32_t kind;
	uint32_t nr_slots;
	uint64_t param[KPB_NR_GEN_PARAMS];
	struct kpb_rng rng;
	uint64_t position;
	uint64_t grown; /* slow_growth: tables above the first level */
	/* random bits that are not used up yet */
	uint64_t coins;
	uint32_t nr_coins;
	/* slots in use, and a stack of those that are not */
	uint32_t *live;
	uint32_t nr_live;
	uint32_t *unused;
	uint32_t nr_unused;
	/* processes: how many tables each has */
	uint32_t *proc_tables;
	struct kpb_gen_burst *bursts;
};

struct kpb_gen_kind {
	const char *name;
	const char *help;
	const char *param_names[KPB_NR_GEN_PARAMS];
	uint64_t param_defaults[KPB_NR_GEN_PARAMS];
	uint64_t (*nr_slots)(const uint64_t *param);
	void (*fill)(struct kpb_gen *gen, struct kpb_op *out, uint64_t nr);
};

static inline void kpb_gen_emit(struct kpb_op *op, uint8_t kind, uint32_t slot,
				uint8_t level, uint8_t cpu)
{
	op->slot = slot;
	op->kind = kind;
	op->cpu = cpu;
	op->level = level;
	op->arg = 0;
}

/* One random bit. */
static inline uint32_t kpb_gen_coin(struct kpb_gen *gen)
{
	uint32_t coin;

	if (!gen->nr_coins) {
		gen->coins = kpb_rng_next(&gen->rng);
		gen->nr_coins = 64;
	}
	coin = gen->coins & 1;
	gen->coins >>= 1;
	gen->nr_coins--;
	return coin;
}

/*
 * Allocate into the slot that was freed last, or free any live slot: each is
 * as likely to go, so lifetimes are geometric.
 */
static inline void kpb_gen_any(struct kpb_gen *gen, struct kpb_op *op,
			       bool alloc, uint8_t cpu)
{
	uint32_t nr_live = gen->nr_live, nr_unused = gen->nr_unused;
	uint32_t victim = (uint32_t)kpb_rng_below(&gen->rng, nr_live);
	uint32_t i = alloc ? nr_live : victim;
	uint32_t last = nr_live ? nr_live - 1 : 0;
	uint32_t top = nr_unused ? nr_unused - 1 : 0;
	uint32_t slot = alloc ? gen->unused[top] : gen->live[i];

	/* an allocation writes its slot where it stands: no branch needed */
	gen->live[i] = alloc ? slot : gen->live[last];
	gen->unused[alloc ? top : nr_unused] = slot;
	gen->nr_live = alloc ? nr_live + 1 : nr_live - 1;
	gen->nr_unused = alloc ? nr_unused - 1 : nr_unused + 1;
	kpb_gen_emit(op, alloc ? KPB_OP_ALLOC : KPB_OP_FREE, slot, LEVEL_PTE,
		     cpu);
}

/* lifo */

static uint64_t lifo_nr_slots(const uint64_t *param)
{
	(void)param;
	return 1;
}

static void lifo_fill(struct kpb_gen *gen, struct kpb_op *out, uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++)
		kpb_gen_emit(&out[i],
			     gen->position++ & 1 ? KPB_OP_FREE : KPB_OP_ALLOC,
			     0, LEVEL_PTE, 0);
}

/* random */

static uint64_t random_nr_slots(const uint64_t *param)
{
	return param[0] + param[0] / 8 + 1;
}

/* A coin decides, within an eighth of the level that is wanted. */
static inline void kpb_gen_around(struct kpb_gen *gen, struct kpb_op *op,
				  uint64_t level)
{
	bool coin = kpb_gen_coin(gen);
	bool too_few = gen->nr_live <= level - level / 8 || !gen->nr_live;
	bool too_many = gen->nr_live >= level + level / 8 && gen->nr_live;

	kpb_gen_any(gen, op, too_few | (coin & !too_many), coin);
}

static void random_fill(struct kpb_gen *gen, struct kpb_op *out, uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++)
		kpb_gen_around(gen, &out[i], gen->param[0]);
}

/* slow_growth */

static uint64_t slow_growth_nr_slots(const uint64_t *param)
{
	return param[1] + param[1] / 8 + 1;
}

static void slow_growth_fill(struct kpb_gen *gen, struct kpb_op *out,
			     uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++) {
		kpb_gen_around(gen, &out[i], gen->param[0] + gen->grown);
		if (++gen->position < gen->param[2])
			continue;
		gen->position = 0;
		gen->grown += gen->param[0] + gen->grown < gen->param[1];
	}
}

/* sparse_touch */

static uint64_t sparse_touch_nr_slots(const uint64_t *param)
{
	return param[0];
}

static void sparse_touch_fill(struct kpb_gen *gen, struct kpb_op *out,
			      uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++) {
		bool alloc = gen->position < gen->param[0];

		kpb_gen_any(gen, &out[i], alloc, !alloc);
		if (++gen->position == 2 * gen->param[0])
			gen->position = 0;
	}
}

/*
 * fork_storm and burst_exit: processes, each a run of slots. A burst is a fork
 * that allocates or an exit that frees all of them; one burst a CPU is under
 * way at a time, and the CPUs take turns by chance.
 */

static uint64_t fork_storm_nr_slots(const uint64_t *param)
{
	return param[0] * param[2];
}

/* A process: one PGD, one PUD, two PMDs, then PTEs; an exit goes from below. */
static uint8_t fork_level(uint32_t table)
{
	static const uint8_t levels[FORK_MAX_TABLES] = {
		LEVEL_PGD, LEVEL_PUD, LEVEL_PMD, LEVEL_PMD, LEVEL_PTE,
	};

	return levels[table];
}

/* The next process for a CPU: dead ones are forked, living ones exit. */
static void fork_storm_pick(struct kpb_gen *gen, uint32_t cpu)
{
	struct kpb_gen_burst *burst = &gen->bursts[cpu];
	uint32_t nr = (uint32_t)gen->param[0] / KPB_GEN_CPUS;
	uint32_t proc = (uint32_t)kpb_rng_below(&gen->rng, nr);
	uint32_t *tables;

	/* each CPU has its own processes, so that no two bursts share one */
	proc = proc * KPB_GEN_CPUS + cpu;
	tables = &gen->proc_tables[proc];
	burst->proc = proc;
	burst->slot = proc * (uint32_t)gen->param[2];
	burst->done = 0;
	burst->freeing = *tables != 0;
	if (!burst->freeing)
		*tables = (uint32_t)(gen->param[1] +
				     kpb_rng_below(&gen->rng,
						   gen->param[2] -
							   gen->param[1] + 1));
	burst->nr_tables = *tables;
	if (burst->freeing)
		*tables = 0;
}

static void fork_storm_fill(struct kpb_gen *gen, struct kpb_op *out,
			    uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++) {
		uint32_t cpu = kpb_gen_coin(gen);
		struct kpb_gen_burst *burst = &gen->bursts[cpu];
		uint32_t table;

		if (burst->done == burst->nr_tables)
			fork_storm_pick(gen, cpu);
		table = burst->freeing ? burst->nr_tables - 1 - burst->done :
					 burst->done;
		burst->done++;
		kpb_gen_emit(&out[i],
			     burst->freeing ? KPB_OP_FREE : KPB_OP_ALLOC,
			     burst->slot + table, fork_level(table),
			     (uint8_t)cpu);
	}
}

/* burst_exit */

static uint64_t burst_exit_nr_slots(const uint64_t *param)
{
	return param[0] * param[1];
}

/*
 * All processes grow, a table at a time and by chance; whoever has all its
 * tables exits, and frees them without a pause.
 */
static void burst_exit_fill(struct kpb_gen *gen, struct kpb_op *out,
			    uint64_t nr)
{
	struct kpb_gen_burst *exit = &gen->bursts[0];
	uint32_t tables = (uint32_t)gen->param[0];
	uint64_t i;

	for (i = 0; i < nr; i++) {
		uint32_t proc, slot;

		if (exit->done < exit->nr_tables) {
			kpb_gen_emit(&out[i], KPB_OP_FREE,
				     exit->slot + exit->done++, LEVEL_PTE, 1);
			continue;
		}
		proc = (uint32_t)kpb_rng_below(&gen->rng, gen->param[1]);
		slot = proc * tables + gen->proc_tables[proc]++;
		kpb_gen_emit(&out[i], KPB_OP_ALLOC, slot, LEVEL_PTE, 0);
		if (gen->proc_tables[proc] < tables)
			continue;
		gen->proc_tables[proc] = 0;
		exit->slot = proc * tables;
		exit->nr_tables = tables;
		exit->done = 0;
	}
}

static const struct kpb_gen_kind kpb_gen_kinds[] = {
	{ "lifo",
	  "one table allocated and freed, again and again",
	  { NULL },
	  { 0 },
	  lifo_nr_slots,
	  lifo_fill },
	{ "random",
	  "random lifetimes around a level of live tables",
	  { "tables" },
	  { 4096 },
	  random_nr_slots,
	  random_fill },
	{ "fork_storm",
	  "processes of a few tables fork and exit on two CPUs",
	  { "processes", "min_tables", "max_tables" },
	  { 256, 8, 15 },
	  fork_storm_nr_slots,
	  fork_storm_fill },
	{ "burst_exit",
	  "processes grow together; each frees all tables at once",
	  { "tables", "processes" },
	  { 512, 8 },
	  burst_exit_nr_slots,
	  burst_exit_fill },
	{ "slow_growth",
	  "random lifetimes around a level that rises",
	  { "from_tables", "to_tables", "ops_per_table" },
	  { 1024, 65536, 16 },
	  slow_growth_nr_slots,
	  slow_growth_fill },
	{ "sparse_touch",
	  "tables allocated in a row, freed in random order",
	  { "tables" },
	  { 8192 },
	  sparse_touch_nr_slots,
	  sparse_touch_fill },
};
#define KPB_NR_GEN_KINDS (sizeof(kpb_gen_kinds) / sizeof(kpb_gen_kinds[0]))

const char *kpb_gen_name(uint32_t kind)
{
	return kind < KPB_NR_GEN_KINDS ? kpb_gen_kinds[kind].name : NULL;
}

const char *kpb_gen_help(uint32_t kind)
{
	return kind < KPB_NR_GEN_KINDS ? kpb_gen_kinds[kind].help : NULL;
}

const char *kpb_gen_param_name(uint32_t kind, uint32_t param)
{
	if (kind >= KPB_NR_GEN_KINDS || param >= KPB_NR_GEN_PARAMS)
		return NULL;
	return kpb_gen_kinds[kind].param_names[param];
}

uint64_t kpb_gen_param_default(uint32_t kind, uint32_t param)
{
	if (!kpb_gen_param_name(kind, param))
		return 0;
	return kpb_gen_kinds[kind].param_defaults[param];
}

static int kpb_gen_check(uint32_t kind, const uint64_t *params, char *msg)
{
	const char *name = kpb_gen_kinds[kind].name;
	uint32_t i;

	for (i = 0; kpb_gen_param_name(kind, i); i++) {
		if (params[i] >= 1 && params[i] <= KPB_GEN_MAX_PARAM)
			continue;
		snprintf(msg, KPB_MSG_BYTES, "%s: %s of %llu: give 1 to %u",
			 name, kpb_gen_param_name(kind, i),
			 (unsigned long long)params[i], KPB_GEN_MAX_PARAM);
		return -EINVAL;
	}
	if (kpb_gen_kinds[kind].fill == fork_storm_fill &&
	    (params[0] % KPB_GEN_CPUS || params[1] > params[2] ||
	     params[2] > FORK_MAX_TABLES)) {
		snprintf(msg, KPB_MSG_BYTES,
			 "%s: give an even number of processes and 1 <= min_tables <= max_tables <= %d",
			 name, FORK_MAX_TABLES);
		return -EINVAL;
	}
	if (kpb_gen_kinds[kind].fill == slow_growth_fill &&
	    params[0] > params[1]) {
		snprintf(msg, KPB_MSG_BYTES,
			 "%s: from_tables of %llu is above to_tables of %llu",
			 name, (unsigned long long)params[0],
			 (unsigned long long)params[1]);
		return -EINVAL;
	}
	if (kpb_gen_kinds[kind].nr_slots(params) > KPB_GEN_MAX_PARAM) {
		snprintf(msg, KPB_MSG_BYTES,
			 "%s: needs %llu live tables at once; the limit is %u",
			 name,
			 (unsigned long long)kpb_gen_kinds[kind].nr_slots(
				 params),
			 KPB_GEN_MAX_PARAM);
		return -EINVAL;
	}
	return 0;
}

/**
 * kpb_gen_create() - start a workload
 * @kind: below the first that kpb_gen_name() does not know
 * @params: KPB_NR_GEN_PARAMS values; those without a name are ignored
 * @seed: the same seed gives the same operations on any machine
 * @out: the generator, to be given to kpb_gen_destroy()
 * @msg: KPB_MSG_BYTES for what is wrong
 *
 * Return: 0; -EINVAL with @msg filled; -ENOMEM.
 */
int kpb_gen_create(uint32_t kind, const uint64_t *params, uint64_t seed,
		   struct kpb_gen **out, char *msg)
{
	struct kpb_gen *gen;
	uint32_t i;
	int ret;

	msg[0] = '\0';
	if (kind >= KPB_NR_GEN_KINDS) {
		snprintf(msg, KPB_MSG_BYTES, "generator %u: there are %zu",
			 kind, KPB_NR_GEN_KINDS);
		return -EINVAL;
	}
	ret = kpb_gen_check(kind, params, msg);
	if (ret)
		return ret;
	gen = calloc(1, sizeof(*gen));
	if (!gen)
		return -ENOMEM;
	gen->kind = kind;
	for (i = 0; i < KPB_NR_GEN_PARAMS; i++)
		gen->param[i] = params[i];
	gen->nr_slots = (uint32_t)kpb_gen_kinds[kind].nr_slots(params);
	gen->rng = kpb_rng_seed(seed);
	/* one more: what is selected against is written all the same */
	gen->live = calloc(gen->nr_slots + 1, sizeof(*gen->live));
	gen->unused = calloc(gen->nr_slots + 1, sizeof(*gen->unused));
	gen->proc_tables = calloc(gen->nr_slots, sizeof(*gen->proc_tables));
	gen->bursts = calloc(KPB_GEN_CPUS, sizeof(*gen->bursts));
	if (!gen->live || !gen->unused || !gen->proc_tables || !gen->bursts) {
		kpb_gen_destroy(gen);
		return -ENOMEM;
	}
	gen->nr_unused = gen->nr_slots;
	for (i = 0; i < gen->nr_slots; i++)
		gen->unused[i] = gen->nr_slots - 1 - i;
	*out = gen;
	return 0;
}

void kpb_gen_destroy(struct kpb_gen *gen)
{
	if (!gen)
		return;
	free(gen->live);
	free(gen->unused);
	free(gen->proc_tables);
	free(gen->bursts);
	free(gen);
}

uint32_t kpb_gen_nr_slots(struct kpb_gen *gen)
{
	return gen->nr_slots;
}

int kpb_gen_fill(struct kpb_gen *gen, struct kpb_op *out, uint64_t nr)
{
	kpb_gen_kinds[gen->kind].fill(gen, out, nr);
	return 0;
}
