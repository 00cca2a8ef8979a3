// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs the suites that are linked into a program and writes KTAP.
 *
 *	X_kunit [TEXT]		only cases whose SUITE.CASE contains TEXT
 *
 * The last line is "N passed, N failed"; a parameter counts as a case of its
 * own. The exit status is 1 if anything failed.
 */

#include "kunit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* A case in a loop can fail a million times: these many lines are enough. */
#define KUNIT_MAX_LINES 20

static struct kunit_suite *suites;
static const char *filter = "";
static unsigned int nr_passed, nr_failed;

/**
 * kunit_register_suite() - add a suite to this program
 * @suite: stays where it is
 */
void kunit_register_suite(struct kunit_suite *suite)
{
	struct kunit_suite **link = &suites;

	while (*link)
		link = &(*link)->next;
	suite->next = NULL;
	*link = suite;
}

/**
 * kunit_copy_desc() - the description of a parameter
 * @desc: KUNIT_PARAM_DESC_SIZE bytes
 * @name: what to put there
 */
void kunit_copy_desc(char *desc, const char *name)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s", name);
}

/**
 * kunit_add_action() - register what has to be done when the case is over
 * @test: the case
 * @fn: what
 * @ctx: its argument
 */
void kunit_add_action(struct kunit *test, kunit_action_t fn, void *ctx)
{
	if (test->nr_actions == KUNIT_MAX_ACTIONS) {
		KUNIT_FAIL(test, "more than %d actions", KUNIT_MAX_ACTIONS);
		kunit_abort(test);
	}
	test->actions[test->nr_actions].fn = fn;
	test->actions[test->nr_actions].ctx = ctx;
	test->nr_actions++;
}

/**
 * kunit_fail() - the case has failed, and goes on
 * @test: the case
 * @file: where
 * @line: where
 * @fmt: why
 */
void kunit_fail(struct kunit *test, const char *file, int line, const char *fmt,
		...)
{
	const char *base = strrchr(file, '/');
	va_list args;

	test->failed = true;
	if (test->nr_lines++ >= KUNIT_MAX_LINES)
		return;
	printf("        # %s:%d: ", base ? base + 1 : file, line);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

/**
 * kunit_abort() - leave the case
 * @test: the case
 */
void kunit_abort(struct kunit *test)
{
	test->failed = true;
	longjmp(test->abort, KUNIT_JUMP_ABORT);
}

/**
 * kunit_skip() - leave the case, which cannot be run here
 * @test: the case
 * @why: what is missing
 */
void kunit_skip(struct kunit *test, const char *why)
{
	printf("        # SKIP %s\n", why);
	longjmp(test->abort, KUNIT_JUMP_ABORT);
}

/**
 * kunit_check_int() - an expectation on two numbers
 * @test: the case
 * @file: where
 * @line: where
 * @ok: whether it is met
 * @op: the operator
 * @left_text: how the left side is written
 * @left: its value
 * @right_text: how the right side is written
 * @right: its value
 *
 * Return: @ok.
 */
bool kunit_check_int(struct kunit *test, const char *file, int line, bool ok,
		     const char *op, const char *left_text, long long left,
		     const char *right_text, long long right)
{
	if (!ok)
		kunit_fail(test, file, line,
			   "expected %s %s %s, got %lld (%#llx) and %lld (%#llx)",
			   left_text, op, right_text, left,
			   (unsigned long long)left, right,
			   (unsigned long long)right);
	return ok;
}

/**
 * kunit_check_str() - an expectation on two strings
 * @test: the case
 * @file: where
 * @line: where
 * @ok: whether it is met
 * @what: "equal" or "contain"
 * @left_text: how the left side is written
 * @left: its value
 * @right: what it should equal or contain
 *
 * Return: @ok.
 */
bool kunit_check_str(struct kunit *test, const char *file, int line, bool ok,
		     const char *what, const char *left_text, const char *left,
		     const char *right)
{
	if (!ok)
		kunit_fail(test, file, line,
			   "expected %s to %s \"%s\", got \"%s\"", left_text,
			   what, right, left);
	return ok;
}

static void kunit_run_actions(struct kunit *test)
{
	while (test->nr_actions) {
		test->nr_actions--;
		test->actions[test->nr_actions].fn(
			test->actions[test->nr_actions].ctx);
	}
}

/* One case with one parameter. */
static bool kunit_run_one(const struct kunit_case *test_case, const void *param)
{
	struct kunit *test = calloc(1, sizeof(*test));
	bool failed;
	int jump;

	if (!test) {
		printf("        # no memory for a case\n");
		return false;
	}
	test->param_value = param;
	jump = setjmp(test->abort);
	if (!jump)
		test_case->run_case(test);
	else if (jump != KUNIT_JUMP_ABORT)
		kunit_fail(test, test_case->name, 0, "left by a jump: %s",
			   test->escape_reason ? test->escape_reason : "?");
	kunit_run_actions(test);
	if (test->nr_lines > KUNIT_MAX_LINES)
		printf("        # and %u more\n",
		       test->nr_lines - KUNIT_MAX_LINES);
	failed = test->failed;
	free(test);

	if (failed)
		nr_failed++;
	else
		nr_passed++;
	return !failed;
}

/* Parameters get a level of their own, of which only failures are shown. */
static bool kunit_run_case(const struct kunit_case *test_case)
{
	char desc[KUNIT_PARAM_DESC_SIZE] = "";
	const void *param = NULL;
	unsigned int i = 0;
	bool ok = true;

	if (!test_case->generate_params)
		return kunit_run_one(test_case, NULL);
	while ((param = test_case->generate_params(param, desc))) {
		i++;
		if (kunit_run_one(test_case, param))
			continue;
		ok = false;
		printf("        not ok %u %s\n", i, desc);
	}
	if (!i) {
		printf("        # no parameters\n");
		nr_failed++;
		ok = false;
	}
	return ok;
}

static bool kunit_wanted(const struct kunit_suite *suite,
			 const struct kunit_case *test_case)
{
	char name[256];

	snprintf(name, sizeof(name), "%s.%s", suite->name, test_case->name);
	return strstr(name, filter) != NULL;
}

static unsigned int kunit_nr_wanted(const struct kunit_suite *suite)
{
	const struct kunit_case *test_case;
	unsigned int nr = 0;

	for (test_case = suite->test_cases; test_case->run_case; test_case++)
		nr += kunit_wanted(suite, test_case);
	return nr;
}

static bool kunit_run_suite(const struct kunit_suite *suite)
{
	const struct kunit_case *test_case;
	unsigned int i = 0;
	bool all_ok = true;

	printf("    KTAP version 1\n    # Subtest: %s\n    1..%u\n",
	       suite->name, kunit_nr_wanted(suite));
	if (suite->suite_init)
		suite->suite_init();
	for (test_case = suite->test_cases; test_case->run_case; test_case++) {
		bool ok;

		if (!kunit_wanted(suite, test_case))
			continue;
		ok = kunit_run_case(test_case);
		printf("    %sok %u %s\n", ok ? "" : "not ", ++i,
		       test_case->name);
		/* so that a crash does not take the last line with it */
		fflush(stdout);
		all_ok &= ok;
	}
	if (suite->suite_exit)
		suite->suite_exit();
	return all_ok;
}

int main(int argc, char **argv)
{
	const struct kunit_suite *suite;
	unsigned int nr = 0, i = 0;

	if (argc > 1)
		filter = argv[1];
	for (suite = suites; suite; suite = suite->next)
		nr += kunit_nr_wanted(suite) != 0;
	printf("KTAP version 1\n1..%u\n", nr);
	for (suite = suites; suite; suite = suite->next) {
		bool ok;

		if (!kunit_nr_wanted(suite))
			continue;
		ok = kunit_run_suite(suite);
		printf("%sok %u %s\n", ok ? "" : "not ", ++i, suite->name);
	}
	printf("%u passed, %u failed\n", nr_passed, nr_failed);
	return nr_failed || !nr_passed;
}
