// SPDX-License-Identifier: GPL-2.0-only
/* Fitted workloads (csrc/lab/fitted.c); tests/test_fitted.py has the oracle. */

#include "kunit.h"

#include <errno.h>
#include <stdlib.h>

#include "kpb_api.h"

#define NR_OPS 100000

static struct kpb_op fit_ops[NR_OPS];
static struct kpb_fit fit_config;

static void fit_destroy(void *fitted)
{
	kpb_fitted_destroy(fitted);
}

static struct kpb_fitted *fit_create(struct kunit *test,
				     const struct kpb_fit *fit, uint64_t seed)
{
	char msg[KPB_MSG_BYTES] = "?";
	struct kpb_fitted *fitted = NULL;
	int ret = kpb_fitted_create(fit, seed, &fitted, msg);

	KUNIT_EXPECT_STREQ(test, msg, "");
	KUNIT_ASSERT_EQ(test, ret, 0);
	kunit_add_action(test, fit_destroy, fitted);
	return fitted;
}

/* Groups of @tables that live @life_ops, all alike. */
static void fit_class(struct kpb_fit *fit, uint32_t weight, uint64_t tables,
		      uint64_t life_ops)
{
	struct kpb_fit_class *c = &fit->classes[fit->nr_classes++];
	uint32_t i;

	*c = (struct kpb_fit_class){ .weight = weight, .jitter_64k = 65536 };
	for (i = 0; i < KPB_FIT_QUANTILES; i++) {
		c->tables_256[i] = tables << 8;
		c->life_ops[i] = life_ops;
	}
	for (i = 0; i < KPB_FIT_PLACES; i++)
		c->level_weight[i][0] = 1;
}

/* A fit with processes of 10 tables and a few of 500 that grow. */
static struct kpb_fit *fit_usual(void)
{
	struct kpb_fit *fit = &fit_config;
	uint32_t i;

	*fit = (struct kpb_fit){ .nr_cpus = 4, .nr_slots = 20000 };
	fit_class(fit, 100, 10, 300);
	fit_class(fit, 1, 500, 9000);
	for (i = 0; i < KPB_FIT_QUANTILES; i++)
		fit->classes[1].born_64k[i] = i * 4096;
	fit->classes[1].cross_cpu_64k = 32768;
	return fit;
}

/* No table is allocated into a slot in use, none is freed that is not there. */
static void fit_check_stream(struct kunit *test, const struct kpb_op *ops,
			     uint32_t nr, uint32_t nr_slots, uint32_t nr_cpus)
{
	uint8_t *live = calloc(nr_slots, 1);
	uint32_t i;

	KUNIT_ASSERT_NOT_NULL(test, live);
	kunit_add_action(test, free, live);
	for (i = 0; i < nr; i++) {
		const struct kpb_op *op = &ops[i];

		KUNIT_ASSERT_TRUE(test, op->slot < nr_slots);
		KUNIT_ASSERT_TRUE(test, op->kind == KPB_OP_ALLOC ||
						op->kind == KPB_OP_FREE);
		KUNIT_ASSERT_EQ(test, live[op->slot], op->kind == KPB_OP_FREE);
		live[op->slot] = op->kind == KPB_OP_ALLOC;
		KUNIT_ASSERT_TRUE(test, op->cpu < nr_cpus && op->level < 4);
		KUNIT_ASSERT_EQ(test, op->arg, 0);
	}
}

static void fitted_streams_are_valid(struct kunit *test)
{
	struct kpb_fit *fit = fit_usual();
	struct kpb_fitted *fitted = fit_create(test, fit, 1);

	KUNIT_EXPECT_EQ(test, kpb_fitted_fill(fitted, fit_ops, NR_OPS), 0);
	fit_check_stream(test, fit_ops, NR_OPS, fit->nr_slots, fit->nr_cpus);
	KUNIT_EXPECT_EQ(test, kpb_fitted_nr_cut(fitted), 0);
}

/* The same seed, the same operations, in chunks of any size. */
static void fitted_seeds_reproduce(struct kunit *test)
{
	static struct kpb_op again[NR_OPS];
	struct kpb_fit *fit = fit_usual();
	struct kpb_fitted *fitted = fit_create(test, fit, 77);
	uint32_t at, chunk;

	kpb_fitted_fill(fitted, fit_ops, NR_OPS);
	fitted = fit_create(test, fit, 77);
	/* it is copied */
	*fit = (struct kpb_fit){ 0 };
	kpb_fitted_fill(fitted, again, 0);
	for (at = 0, chunk = 1; at < NR_OPS; at += chunk, chunk++) {
		if (chunk > NR_OPS - at)
			chunk = NR_OPS - at;
		kpb_fitted_fill(fitted, again + at, chunk);
	}
	KUNIT_EXPECT_TRUE(test, !memcmp(fit_ops, again, sizeof(again)));
	fitted = fit_create(test, fit_usual(), 78);
	kpb_fitted_fill(fitted, again, NR_OPS);
	KUNIT_EXPECT_TRUE(test, !!memcmp(fit_ops, again, sizeof(again)));
}

/*
 * Groups of 10 tables that live 1,000 operations: one begins every 20, so 50
 * of them live, and that from the first operation on.
 */
static void fitted_live_level_is_half_of_a_life(struct kunit *test)
{
	struct kpb_fit *fit = &fit_config;
	struct kpb_fitted *fitted;
	uint32_t i, nr_live = 0, least = ~0u, most = 0;

	*fit = (struct kpb_fit){ .nr_cpus = 1, .nr_slots = 2000 };
	fit_class(fit, 1, 10, 1000);
	fitted = fit_create(test, fit, 3);
	kpb_fitted_fill(fitted, fit_ops, NR_OPS);
	for (i = 0; i < NR_OPS; i++) {
		nr_live += fit_ops[i].kind == KPB_OP_ALLOC ? 1 : -1;
		/* the past comes first, and frees nothing */
		if (i < 480)
			KUNIT_EXPECT_EQ(test, nr_live, i + 1);
		if (i < 520)
			continue;
		least = nr_live < least ? nr_live : least;
		most = nr_live > most ? nr_live : most;
	}
	KUNIT_EXPECT_GE(test, least, 470);
	KUNIT_EXPECT_LE(test, most, 530);
}

/* Without jitter, of groups that live for two parts there are always two. */
static void fitted_without_jitter_the_number_stays(struct kunit *test)
{
	struct kpb_fit *fit = &fit_config;
	struct kpb_fitted *fitted;
	uint32_t i, nr_live = 0;

	*fit = (struct kpb_fit){ .nr_cpus = 1, .nr_slots = 2000 };
	/* a part is 2 * 100 operations */
	fit_class(fit, 1, 100, 400);
	fit->classes[0].jitter_64k = 0;
	fitted = fit_create(test, fit, 4);
	kpb_fitted_fill(fitted, fit_ops, NR_OPS);
	for (i = 0; i < NR_OPS; i++) {
		nr_live += fit_ops[i].kind == KPB_OP_ALLOC ? 1 : -1;
		if (i < 200)
			continue;
		KUNIT_EXPECT_GE(test, nr_live, 100);
		KUNIT_EXPECT_LE(test, nr_live, 300);
	}
}

/* Where slots are short, groups are cut, and the stream stays valid. */
static void fitted_with_few_slots_cuts_groups(struct kunit *test)
{
	static const uint32_t slots[] = { 1, 2, 11, 300 };
	struct kpb_fit *fit = fit_usual();
	uint32_t i;

	for (i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
		struct kpb_fitted *fitted;

		fit->nr_slots = slots[i];
		fitted = fit_create(test, fit, 5);
		kpb_fitted_fill(fitted, fit_ops, NR_OPS);
		fit_check_stream(test, fit_ops, NR_OPS, slots[i], 4);
		KUNIT_EXPECT_GT(test, kpb_fitted_nr_cut(fitted), 0);
	}
}

struct fit_bad {
	const char *name;
	const char *msg;
	void (*spoil)(struct kpb_fit *fit);
};

static void bad_no_class(struct kpb_fit *fit)
{
	fit->nr_classes = 0;
}

static void bad_many_classes(struct kpb_fit *fit)
{
	fit->nr_classes = KPB_FIT_CLASSES + 1;
}

static void bad_cpus(struct kpb_fit *fit)
{
	fit->nr_cpus = KPB_MAX_CPUS + 1;
}

static void bad_slots(struct kpb_fit *fit)
{
	fit->nr_slots = KPB_MAX_SLOTS + 1;
}

static void bad_no_weight(struct kpb_fit *fit)
{
	fit->classes[0].weight = 0;
	fit->classes[1].weight = 0;
}

static void bad_weight(struct kpb_fit *fit)
{
	fit->classes[0].weight = ~0u;
	fit->classes[1].weight = ~0u;
}

static void bad_tables(struct kpb_fit *fit)
{
	fit->classes[1].tables_256[0] = 255;
}

static void bad_order(struct kpb_fit *fit)
{
	fit->classes[1].life_ops[3] = 1;
}

static void bad_life(struct kpb_fit *fit)
{
	fit->classes[0].life_ops[16] = ~0ULL;
}

static void bad_born(struct kpb_fit *fit)
{
	fit->classes[0].born_64k[16] = 65537;
}

static void bad_levels(struct kpb_fit *fit)
{
	fit->classes[0].level_weight[7][0] = 0;
}

static void bad_jitter(struct kpb_fit *fit)
{
	fit->classes[0].jitter_64k = 65537;
}

static void bad_cross(struct kpb_fit *fit)
{
	fit->classes[0].cross_cpu_64k = 65537;
}

static void bad_past(struct kpb_fit *fit)
{
	uint32_t i;

	for (i = 0; i < KPB_FIT_QUANTILES; i++)
		fit->classes[0].life_ops[i] = 1ULL << 42;
}

static const struct fit_bad fit_bads[] = {
	{ "no class", "nr_classes of 0: give 1 to 64", bad_no_class },
	{ "too many classes", "nr_classes of 65", bad_many_classes },
	{ "too many CPUs", "nr_cpus of 257: give 1 to 256", bad_cpus },
	{ "too many slots", "nr_slots of 67108865", bad_slots },
	{ "no weight", "sum of the weights of 0", bad_no_weight },
	{ "too much weight", "sum of the weights of 8589934590", bad_weight },
	{ "less than a table",
	  "class 1, quantile 0: tables_256 of 255: give 256 to", bad_tables },
	{ "falling lives", "class 1, quantile 3: life_ops of 1: give 9000 to",
	  bad_order },
	{ "too long a life", "life_ops of 18446744073709551615", bad_life },
	{ "born after the end", "quantile 16: born_64k of 65537", bad_born },
	{ "no level", "class 0, place 7: sum of level_weight of 0",
	  bad_levels },
	{ "too much jitter", "class 0: jitter_64k of 65537", bad_jitter },
	{ "too much of another CPU", "class 0: cross_cpu_64k of 65537",
	  bad_cross },
	{ "too long a past", "groups that begin in the longest life",
	  bad_past },
};

KUNIT_ARRAY_PARAM(fit_bads, fit_bads)

/* -EINVAL, and a message that names the value and the limit. */
static void fitted_refuses_bad_models(struct kunit *test)
{
	const struct fit_bad *param = test->param_value;
	struct kpb_fit *fit = fit_usual();
	char msg[KPB_MSG_BYTES] = "?";
	struct kpb_fitted *fitted = NULL;

	param->spoil(fit);
	KUNIT_EXPECT_EQ(test, kpb_fitted_create(fit, 1, &fitted, msg), -EINVAL);
	KUNIT_EXPECT_NULL(test, fitted);
	KUNIT_EXPECT_CONTAINS(test, msg, param->msg);
}

/* The largest of everything that is accepted does not overflow. */
static void fitted_accepts_the_largest(struct kunit *test)
{
	struct kpb_fit *fit = &fit_config;
	struct kpb_fitted *fitted;

	*fit = (struct kpb_fit){ .nr_cpus = KPB_MAX_CPUS, .nr_slots = 5000 };
	fit_class(fit, 1, KPB_MAX_SLOTS, 1ULL << 42);
	fit_class(fit, 1u << 20, 1, 1);
	fitted = fit_create(test, fit, ~0ULL);
	kpb_fitted_fill(fitted, fit_ops, NR_OPS);
	fit_check_stream(test, fit_ops, NR_OPS, 5000, KPB_MAX_CPUS);
}

static void fitted_destroy_of_nothing_is_nothing(struct kunit *test)
{
	(void)test;
	kpb_fitted_destroy(NULL);
}

static const struct kunit_case fitted_test_cases[] = {
	KUNIT_CASE(fitted_streams_are_valid),
	KUNIT_CASE(fitted_seeds_reproduce),
	KUNIT_CASE(fitted_live_level_is_half_of_a_life),
	KUNIT_CASE(fitted_without_jitter_the_number_stays),
	KUNIT_CASE(fitted_with_few_slots_cuts_groups),
	KUNIT_CASE_PARAM(fitted_refuses_bad_models, fit_bads_gen_params),
	KUNIT_CASE(fitted_accepts_the_largest),
	KUNIT_CASE(fitted_destroy_of_nothing_is_nothing),
	{ 0 }
};

static struct kunit_suite fitted_test_suite = {
	.name = "fitted",
	.test_cases = fitted_test_cases,
};
kunit_test_suite(fitted_test_suite);
