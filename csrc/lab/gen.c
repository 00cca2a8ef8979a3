// SPDX-License-Identifier: GPL-2.0-only
/*
 * Synthetic workloads: an endless, seeded stream of operations, made in chunks
 * faster than a replay consumes them. Which page an allocation gets is no
 * concern here, so lifetimes do not depend on the page that was just freed.
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

/* A burst that is being emitted: slots first + done of nr, up or down. */
struct kpb_gen_burst {
	uint32_t proc;
	uint32_t done;
	bool freeing;
	bool active;
};

struct kpb_gen {
	uint32_t kind;
	uint32_t nr_slots;
	uint64_t param[KPB_NR_GEN_PARAMS];
	struct kpb_rng rng;
	uint64_t position;
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
	void (*next)(struct kpb_gen *gen, struct kpb_op *op);
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

static inline void kpb_gen_alloc_any(struct kpb_gen *gen, struct kpb_op *op,
				     uint8_t cpu)
{
	uint32_t slot = gen->unused[--gen->nr_unused];

	gen->live[gen->nr_live++] = slot;
	kpb_gen_emit(op, KPB_OP_ALLOC, slot, LEVEL_PTE, cpu);
}

/* Each live table is as likely to go: lifetimes are geometric. */
static inline void kpb_gen_free_any(struct kpb_gen *gen, struct kpb_op *op,
				    uint8_t cpu)
{
	uint32_t i = (uint32_t)kpb_rng_below(&gen->rng, gen->nr_live);
	uint32_t slot = gen->live[i];

	gen->live[i] = gen->live[--gen->nr_live];
	gen->unused[gen->nr_unused++] = slot;
	kpb_gen_emit(op, KPB_OP_FREE, slot, LEVEL_PTE, cpu);
}

/* lifo */

static uint64_t lifo_nr_slots(const uint64_t *param)
{
	(void)param;
	return 1;
}

static void lifo_next(struct kpb_gen *gen, struct kpb_op *op)
{
	kpb_gen_emit(op, gen->position & 1 ? KPB_OP_FREE : KPB_OP_ALLOC, 0,
		     LEVEL_PTE, 0);
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
	uint64_t coin = kpb_rng_next(&gen->rng);
	uint8_t cpu = (coin >> 1) & 1;
	bool alloc = coin & 1;

	if (gen->nr_live <= level - level / 8)
		alloc = true;
	else if (gen->nr_live >= level + level / 8)
		alloc = false;
	if (!gen->nr_live)
		alloc = true;
	if (alloc)
		kpb_gen_alloc_any(gen, op, cpu);
	else
		kpb_gen_free_any(gen, op, cpu);
}

static void random_next(struct kpb_gen *gen, struct kpb_op *op)
{
	kpb_gen_around(gen, op, gen->param[0]);
}

/* slow_growth */

static uint64_t slow_growth_nr_slots(const uint64_t *param)
{
	return param[1] + param[1] / 8 + 1;
}

static void slow_growth_next(struct kpb_gen *gen, struct kpb_op *op)
{
	uint64_t level = gen->param[0] + gen->position / gen->param[2];

	if (level > gen->param[1])
		level = gen->param[1];
	kpb_gen_around(gen, op, level);
}

/* sparse_touch */

static uint64_t sparse_touch_nr_slots(const uint64_t *param)
{
	return param[0];
}

static void sparse_touch_next(struct kpb_gen *gen, struct kpb_op *op)
{
	uint64_t phase = gen->position % (2 * gen->param[0]);

	if (phase < gen->param[0])
		kpb_gen_alloc_any(gen, op, 0);
	else
		kpb_gen_free_any(gen, op, 1);
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
	static const uint8_t levels[] = { LEVEL_PGD, LEVEL_PUD, LEVEL_PMD,
					  LEVEL_PMD };

	return table < sizeof(levels) ? levels[table] : LEVEL_PTE;
}

/* The next process for a CPU: dead ones are forked, living ones exit. */
static void fork_storm_pick(struct kpb_gen *gen, struct kpb_gen_burst *burst,
			    uint32_t cpu)
{
	uint32_t nr = (uint32_t)gen->param[0] / KPB_GEN_CPUS;
	uint32_t proc = (uint32_t)kpb_rng_below(&gen->rng, nr);

	/* each CPU has its own processes, so that no two bursts share one */
	proc = proc * KPB_GEN_CPUS + cpu;
	burst->proc = proc;
	burst->done = 0;
	burst->active = true;
	burst->freeing = gen->proc_tables[proc] != 0;
	if (!burst->freeing)
		gen->proc_tables[proc] =
			(uint32_t)(gen->param[1] +
				   kpb_rng_below(&gen->rng,
						 gen->param[2] - gen->param[1] +
							 1));
}

static void fork_storm_next(struct kpb_gen *gen, struct kpb_op *op)
{
	uint32_t cpu = (uint32_t)kpb_rng_below(&gen->rng, KPB_GEN_CPUS);
	struct kpb_gen_burst *burst = &gen->bursts[cpu];
	uint32_t nr, table;

	if (!burst->active)
		fork_storm_pick(gen, burst, cpu);
	nr = gen->proc_tables[burst->proc];
	table = burst->freeing ? nr - 1 - burst->done : burst->done;
	kpb_gen_emit(op, burst->freeing ? KPB_OP_FREE : KPB_OP_ALLOC,
		     burst->proc * (uint32_t)gen->param[2] + table,
		     fork_level(table), (uint8_t)cpu);
	if (++burst->done < nr)
		return;
	burst->active = false;
	if (burst->freeing)
		gen->proc_tables[burst->proc] = 0;
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
static void burst_exit_next(struct kpb_gen *gen, struct kpb_op *op)
{
	struct kpb_gen_burst *exit = &gen->bursts[0];
	uint32_t tables = (uint32_t)gen->param[0];
	uint32_t proc;

	if (exit->active) {
		kpb_gen_emit(op, KPB_OP_FREE, exit->proc * tables + exit->done,
			     LEVEL_PTE, 1);
		if (++exit->done < tables)
			return;
		exit->active = false;
		gen->proc_tables[exit->proc] = 0;
		return;
	}
	proc = (uint32_t)kpb_rng_below(&gen->rng, gen->param[1]);
	kpb_gen_emit(op, KPB_OP_ALLOC, proc * tables + gen->proc_tables[proc],
		     LEVEL_PTE, 0);
	if (++gen->proc_tables[proc] < tables)
		return;
	exit->active = true;
	exit->proc = proc;
	exit->done = 0;
}

static const struct kpb_gen_kind kpb_gen_kinds[] = {
	{ "lifo",
	  "one table allocated and freed, again and again",
	  { NULL },
	  { 0 },
	  lifo_nr_slots,
	  lifo_next },
	{ "random",
	  "random lifetimes around a level of live tables",
	  { "tables" },
	  { 4096 },
	  random_nr_slots,
	  random_next },
	{ "fork_storm",
	  "processes of a few tables fork and exit on two CPUs",
	  { "processes", "min_tables", "max_tables" },
	  { 256, 8, 15 },
	  fork_storm_nr_slots,
	  fork_storm_next },
	{ "burst_exit",
	  "processes grow together; each frees all tables at once",
	  { "tables", "processes" },
	  { 512, 8 },
	  burst_exit_nr_slots,
	  burst_exit_next },
	{ "slow_growth",
	  "random lifetimes around a level that rises",
	  { "from_tables", "to_tables", "ops_per_table" },
	  { 1024, 65536, 16 },
	  slow_growth_nr_slots,
	  slow_growth_next },
	{ "sparse_touch",
	  "tables allocated in a row, freed in random order",
	  { "tables" },
	  { 8192 },
	  sparse_touch_nr_slots,
	  sparse_touch_next },
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
	if (kpb_gen_kinds[kind].next == fork_storm_next &&
	    (params[0] % KPB_GEN_CPUS || params[1] > params[2] ||
	     params[2] > FORK_MAX_TABLES)) {
		snprintf(msg, KPB_MSG_BYTES,
			 "%s: give an even number of processes and 1 <= min_tables <= max_tables <= %d",
			 name, FORK_MAX_TABLES);
		return -EINVAL;
	}
	if (kpb_gen_kinds[kind].next == slow_growth_next &&
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
	if (kind >= KPB_NR_GEN_KINDS)
		return -EINVAL;
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
	gen->live = calloc(gen->nr_slots, sizeof(*gen->live));
	gen->unused = calloc(gen->nr_slots, sizeof(*gen->unused));
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
	void (*next)(struct kpb_gen *gen, struct kpb_op *op) =
		kpb_gen_kinds[gen->kind].next;
	uint64_t i;

	for (i = 0; i < nr; i++) {
		next(gen, &out[i]);
		gen->position++;
	}
	return 0;
}
