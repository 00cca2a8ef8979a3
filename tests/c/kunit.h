/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small test framework in the manner of KUnit: suites of cases, expectations
 * that let a case go on, assertions that end it, KTAP as output. The names are
 * those of include/kunit/test.h where the meaning is the same.
 */
#ifndef KPB_TESTS_KUNIT_H
#define KPB_TESTS_KUNIT_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* How a case ends before its last line; a machine's escape is 1. */
#define KUNIT_JUMP_ABORT 2

#define KUNIT_PARAM_DESC_SIZE 96
#define KUNIT_MAX_ACTIONS 64

typedef void (*kunit_action_t)(void *ctx);

/**
 * struct kunit - one run of one case
 * @param_value: the parameter of a KUNIT_CASE_PARAM(), else NULL
 * @escape_reason: what to print when something else than an assertion jumps to
 *		   @abort
 * @abort: leads out of the case
 */
struct kunit {
	const void *param_value;
	const char *escape_reason;
	jmp_buf abort;
	/* private to kunit.c */
	bool failed;
	unsigned int nr_lines;
	unsigned int nr_actions;
	struct {
		kunit_action_t fn;
		void *ctx;
	} actions[KUNIT_MAX_ACTIONS];
};

/**
 * struct kunit_case - a function and, if it has parameters, their generator
 * @run_case: the function
 * @name: its name
 * @generate_params: the parameter after @prev (the first after NULL), with its
 *		     description, or NULL
 */
struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
	const void *(*generate_params)(const void *prev, char *desc);
};

#define KUNIT_CASE(fn)          \
	{                       \
		.run_case = fn, \
		.name = #fn,    \
	}
#define KUNIT_CASE_PARAM(fn, gen)       \
	{                               \
		.run_case = fn,         \
		.name = #fn,            \
		.generate_params = gen, \
	}

/* Defines NAME_gen_params(); the elements have a member "name". */
#define KUNIT_ARRAY_PARAM(NAME, array)                                     \
	static const void *NAME##_gen_params(const void *prev, char *desc) \
	{                                                                  \
		const __typeof__((array)[0]) *next =                       \
			prev ? (const __typeof__(next))prev + 1 : (array); \
                                                                           \
		if (next >= (array) + sizeof(array) / sizeof((array)[0]))  \
			return NULL;                                       \
		kunit_copy_desc(desc, next->name);                         \
		return next;                                               \
	}

/**
 * struct kunit_suite - the cases of one file
 * @name: of the area that they test
 * @suite_init: before the first case, or NULL
 * @suite_exit: after the last one, or NULL
 * @test_cases: ends with an element without a function
 * @next: private to kunit.c
 */
struct kunit_suite {
	const char *name;
	void (*suite_init)(void);
	void (*suite_exit)(void);
	const struct kunit_case *test_cases;
	struct kunit_suite *next;
};

void kunit_register_suite(struct kunit_suite *suite);

/* Each file adds its suites to the program that it is linked into. */
#define kunit_test_suite(suite)                                               \
	static __attribute__((constructor)) void kunit_register_##suite(void) \
	{                                                                     \
		kunit_register_suite(&(suite));                               \
	}

void kunit_copy_desc(char *desc, const char *name);

/* Run @fn when the case is over, however it ends; the last one goes first. */
void kunit_add_action(struct kunit *test, kunit_action_t fn, void *ctx);

void kunit_fail(struct kunit *test, const char *file, int line, const char *fmt,
		...) __attribute__((__format__(__printf__, 4, 5)));
void kunit_abort(struct kunit *test) __attribute__((__noreturn__));
void kunit_skip(struct kunit *test, const char *why)
	__attribute__((__noreturn__));
bool kunit_check_int(struct kunit *test, const char *file, int line, bool ok,
		     const char *op, const char *left_text, long long left,
		     const char *right_text, long long right);
bool kunit_check_str(struct kunit *test, const char *file, int line, bool ok,
		     const char *what, const char *left_text, const char *left,
		     const char *right);

#define KUNIT_FAIL(test, ...) kunit_fail(test, __FILE__, __LINE__, __VA_ARGS__)

/* Numbers are compared as long long: values above its range only for equality. */
#define KUNIT_CHECK_INT(test, left, op, right)                               \
	({                                                                   \
		long long __left = (long long)(left);                        \
		long long __right = (long long)(right);                      \
                                                                             \
		kunit_check_int(test, __FILE__, __LINE__, __left op __right, \
				#op, #left, __left, #right, __right);        \
	})

#define KUNIT_EXPECT_EQ(test, left, right) \
	((void)KUNIT_CHECK_INT(test, left, ==, right))
#define KUNIT_EXPECT_NE(test, left, right) \
	((void)KUNIT_CHECK_INT(test, left, !=, right))
#define KUNIT_EXPECT_LT(test, left, right) \
	((void)KUNIT_CHECK_INT(test, left, <, right))
#define KUNIT_EXPECT_LE(test, left, right) \
	((void)KUNIT_CHECK_INT(test, left, <=, right))
#define KUNIT_EXPECT_GT(test, left, right) \
	((void)KUNIT_CHECK_INT(test, left, >, right))
#define KUNIT_EXPECT_GE(test, left, right) \
	((void)KUNIT_CHECK_INT(test, left, >=, right))

#define KUNIT_EXPECT_TRUE(test, cond)                        \
	do {                                                 \
		if (!(cond))                                 \
			KUNIT_FAIL(test, "expected " #cond); \
	} while (0)
#define KUNIT_EXPECT_FALSE(test, cond)                           \
	do {                                                     \
		if (cond)                                        \
			KUNIT_FAIL(test, "expected not " #cond); \
	} while (0)

#define KUNIT_EXPECT_PTR_EQ(test, left, right) \
	KUNIT_EXPECT_EQ(test, (uintptr_t)(left), (uintptr_t)(right))
#define KUNIT_EXPECT_NULL(test, ptr) KUNIT_EXPECT_TRUE(test, (ptr) == NULL)
#define KUNIT_EXPECT_NOT_NULL(test, ptr) KUNIT_EXPECT_TRUE(test, (ptr) != NULL)

#define KUNIT_EXPECT_STREQ(test, left, right)                            \
	({                                                               \
		const char *__left = (left), *__right = (right);         \
                                                                         \
		(void)kunit_check_str(test, __FILE__, __LINE__,          \
				      !strcmp(__left, __right), "equal", \
				      #left, __left, __right);           \
	})
/* ours: KUnit has no such thing */
#define KUNIT_EXPECT_CONTAINS(test, left, right)                          \
	({                                                                \
		const char *__left = (left), *__right = (right);          \
                                                                          \
		(void)kunit_check_str(test, __FILE__, __LINE__,           \
				      strstr(__left, __right) != NULL,    \
				      "contain", #left, __left, __right); \
	})

#define KUNIT_ASSERT_EQ(test, left, right)                   \
	do {                                                 \
		if (!KUNIT_CHECK_INT(test, left, ==, right)) \
			kunit_abort(test);                   \
	} while (0)
#define KUNIT_ASSERT_GE(test, left, right)                   \
	do {                                                 \
		if (!KUNIT_CHECK_INT(test, left, >=, right)) \
			kunit_abort(test);                   \
	} while (0)
#define KUNIT_ASSERT_TRUE(test, cond)                        \
	do {                                                 \
		if (!(cond)) {                               \
			KUNIT_FAIL(test, "expected " #cond); \
			kunit_abort(test);                   \
		}                                            \
	} while (0)
#define KUNIT_ASSERT_NOT_NULL(test, ptr) KUNIT_ASSERT_TRUE(test, (ptr) != NULL)

#endif
