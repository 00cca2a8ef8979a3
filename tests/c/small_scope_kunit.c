// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every way to use PBA that is short enough: all strings of operations up to a
 * length, on a small machine, from several start states; and each of them
 * again with every single error that it can meet. After each string the books
 * are compared: without an error nothing may be wrong, with one exactly what
 * v6 does wrong then.
 *
 * KPB_SMALL_SCOPE=N in the environment (make test-c SMALL_SCOPE=N) sets the
 * length of strings with errors; those without are longer by one.
 */

#include <stdio.h>
#include <stdlib.h>

#include "box.h"

#if defined(__SANITIZE_ADDRESS__)
#define SCOPE_DEFAULT 1
#else
#define SCOPE_DEFAULT 2
#endif
#define SCOPE_MAX 8

/* 16384 pages: memory for two or three blocks, and for a map with PMD leaves. */
#define SCOPE_RAM_BYTES (16384ULL << PAGE_SHIFT)
#define SCOPE_SLOTS 8192
#define SCOPE_EVENTS 65536

/* A letter for each operation. */
static const char scope_letters[] = "ukdnostzmpr";

#define SCOPE_NR_LETTERS (sizeof(scope_letters) - 1)

/* What has happened when the string begins. */
struct scope_start {
	const char *name;
	const char *prefix;
	bool aged;
};

static const struct scope_start scope_starts[] = {
	{ .name = "booted" },
	/* the first block is in use, of a second one a page is */
	{ .name = "two blocks", .prefix = "ko" },
	/* all but the reserve is in use */
	{ .name = "drained", .prefix = "d" },
	/* no block of the largest order is free: every refill falls back */
	{ .name = "aged", .aged = true },
	{ .name = "aged, drained", .prefix = "d", .aged = true },
};

KUNIT_ARRAY_PARAM(scope_starts, scope_starts);

/* One call of set_memory_pkey() in a run without errors. */
struct scope_call {
	u32 scan; /* of which scan it is */
	u32 nth;  /* which single page of it is being released; 0: none is */
};

/* What a string does where nothing fails. */
struct scope_trace {
	u64 nr_calls[KPB_NR_POINTS];
	struct scope_call calls[SCOPE_EVENTS];
	u32 nr_set_pkey;
	u32 nr_released[SCOPE_EVENTS]; /* single pages, by scan */
	u32 nr_scans;
	u32 nth;
};

/* What is made to fail, and what came of it. */
struct scope_fault {
	enum kpb_point point;
	u64 n;
	u32 half;
	u64 lost_pages; /* by what v6 does then */
};

struct scope_run {
	struct kunit *test;
	const struct scope_start *start;
	char string[SCOPE_MAX + 2];
	struct kpb_machine *m;
	u32 live[SCOPE_SLOTS]; /* slots in use, the oldest first */
	u32 nr_live;
	u32 empty[SCOPE_SLOTS];
	u32 nr_empty;
	u64 nr_pages; /* free, kept by CPUs or held: stays the same */
	const struct scope_fault *fault;
	bool hit; /* the fault has happened */
	u64 free_pkey_pages;
	u64 unprotected_pages;
	u64 nr_strings;
	u64 nr_faults;
};

/* What all strings together came to: zero means that they are no test. */
struct scope_reached {
	u64 blocks_released;
	u64 pages_released;
	u64 refills[3]; /* by place in the list of orders */
	u64 failed_allocs;
	u64 pages_lost;
	u64 free_pkey_pages;
	u64 unprotected_pages;
};

static struct scope_run scope;
static struct scope_reached scope_reached;
static struct scope_trace scope_trace;

__attribute__((__format__(__printf__, 1, 2))) static void
scope_fail(const char *fmt, ...)
{
	const struct scope_fault *fault = scope.fault;
	char what[256], how[64] = "";
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (fault)
		snprintf(how, sizeof(how), ", call %llu of point %d fails%s",
			 (unsigned long long)fault->n, (int)fault->point,
			 fault->half ? " half way" : "");
	KUNIT_FAIL(scope.test, "%s, \"%s\"%s: %s", scope.start->name,
		   scope.string, how, what);
}

/* Operations */

static int scope_op(u8 kind, u32 slot, u8 level, u8 arg)
{
	int ret = box_op(kind, slot, level, arg);

	if (ret)
		scope_fail("operation %u returns %d", kind, ret);
	return ret;
}

static bool scope_alloc(bool kernel)
{
	u32 slot;

	if (!scope.nr_empty)
		return false;
	slot = scope.empty[--scope.nr_empty];
	scope_op(KPB_OP_ALLOC, slot, 0, kernel);
	if (scope.m->slots[slot].kind == KPB_SLOT_PTP) {
		scope.live[scope.nr_live++] = slot;
		return true;
	}
	scope_op(KPB_OP_FREE, slot, 0, 0);
	scope.empty[scope.nr_empty++] = slot;
	return false;
}

static void scope_free(u32 first, u32 nr)
{
	u32 i;

	nr = min(nr, scope.nr_live - min(first, scope.nr_live));
	for (i = first; i < first + nr; i++) {
		scope_op(KPB_OP_FREE, scope.live[i], 0, 0);
		scope.empty[scope.nr_empty++] = scope.live[i];
	}
	memmove(scope.live + first, scope.live + first + nr,
		(scope.nr_live - first - nr) * sizeof(scope.live[0]));
	scope.nr_live -= nr;
}

static void scope_do(char letter)
{
	switch (letter) {
	case 'u': /* a table of a process: charged */
		scope_alloc(false);
		break;
	case 'k': /* tables of the kernel, until the cache was refilled */
		while (get_pba()->nr_cached > PBA_NR_RESERVED_PAGES)
			if (!scope_alloc(true))
				return;
		scope_alloc(true);
		break;
	case 'd': /* the same, down to the reserve */
		while (get_pba()->nr_cached > PBA_NR_RESERVED_PAGES)
			if (!scope_alloc(true))
				return;
		break;
	case 'n': /* the newest table goes */
		if (scope.nr_live)
			scope_free(scope.nr_live - 1, 1);
		break;
	case 'o': /* the oldest ones: what makes a block worth emptying */
		scope_free(0, PBA_SHRINK_BLOCK_MIN_PAGES);
		break;
	case 's': /* a scan for a whole block */
		scope_op(KPB_OP_SHRINK, BLOCK_NR_PAGES, 0, 0);
		break;
	case 't': /* a scan for a few pages */
		scope_op(KPB_OP_SHRINK, 8, 0, 0);
		break;
	case 'z': /* reclaim's way to the same */
		scope_op(KPB_OP_SHRINK, 0, 0, 12);
		break;
	case 'm': /* from the middle of one PMD leaf to the middle of the next */
		scope_op(KPB_OP_SET_MEMORY,
			 BOX_PICK(2 * 512, 5 * 2048, 8192) - 5, 0, 9);
		break;
	case 'p': /* CPUs give back what they keep */
		scope_op(KPB_OP_DRAIN, 0, 0, 0);
		break;
	case 'r': /* a task in direct reclaim */
		scope_op(KPB_OP_RECLAIM, 0, 0, 0);
		break;
	}
}

/* What the string did, as far as faults are about it. */
static void scope_read_events(void)
{
	struct scope_trace *trace = &scope_trace;
	struct kpb_recorder *rec = &scope.m->recorder;

	if (rec->nr - rec->nr_read > rec->capacity)
		scope_fail("more than %d events", SCOPE_EVENTS);
	for (; rec->nr_read < rec->nr; rec->nr_read++) {
		const struct kpb_event *ev =
			&rec->events[rec->nr_read % rec->capacity];

		switch (ev->kind) {
		case KPB_EVENT_SHRINK:
			trace->nth = 0;
			break;
		case KPB_EVENT_SHRINK_END:
			trace->nr_released[trace->nr_scans++] = trace->nth;
			trace->nth = 0;
			break;
		case KPB_EVENT_SET_PKEY:
			if (ev->c == KPKEYS_PKEY_DEFAULT && ev->b == 1) {
				trace->nth++;
				scope_reached.pages_released++;
			} else if (ev->c == KPKEYS_PKEY_DEFAULT) {
				scope_reached.blocks_released++;
			}
			trace->calls[trace->nr_set_pkey].scan = trace->nr_scans;
			trace->calls[trace->nr_set_pkey].nth = trace->nth;
			trace->nr_set_pkey++;
			break;
		default:
			break;
		}
	}
}

/* The books */

static u64 scope_nr_pages(void)
{
	return box_nr_free_pages() + scope.m->nr_held;
}

/* The call that failed: the last one before the fault was reported. */
static const struct kpb_event *scope_failed_call(void)
{
	const struct kpb_recorder *rec = &scope.m->recorder;
	u64 i = rec->nr;

	while (i &&
	       rec->events[(i - 1) % rec->capacity].kind != KPB_EVENT_FAULT)
		i--;
	while (i &&
	       rec->events[(i - 1) % rec->capacity].kind != KPB_EVENT_SET_PKEY)
		i--;
	if (i)
		return &rec->events[(i - 1) % rec->capacity];
	scope_fail("no record of the call");
	return NULL;
}

/* Pages of entries that begin in the first half of the range. */
static u64 scope_nr_changed(const struct kpb_event *call)
{
	unsigned long pfn = call->a, half = max(call->b / 2, 1u);
	u64 nr_changed = 0;

	while (pfn < call->a + half) {
		nr_changed += 1UL << kpb_leaf_order(pfn);
		pfn += 1UL << kpb_leaf_order(pfn);
	}
	return nr_changed;
}

/* Where the machine ends up after the error, if nothing came after that. */
static void scope_note_fault(void)
{
	const struct kpb_event *call;

	if (!scope.fault || scope.hit || !scope.m->counters.faults_injected)
		return;
	scope.hit = true;
	if (scope.fault->point != KPB_POINT_SET_PKEY || !scope.fault->half)
		return;
	call = scope_failed_call();
	if (!call)
		return;
	if (call->c == KPKEYS_PKEY_PGTABLES)
		scope.free_pkey_pages = scope_nr_changed(call);
	else
		scope.unprotected_pages = scope_nr_changed(call);
}

static void scope_check_lost(const struct kpb_audit *audit)
{
	u64 lost_pages = scope.hit ? scope.fault->lost_pages : 0;
	struct kpb_machine *m = scope.m;

	if (audit->lost_pages != lost_pages)
		scope_fail("%llu pages are lost instead of %llu",
			   (unsigned long long)audit->lost_pages,
			   (unsigned long long)lost_pages);
	if (m->nr_held !=
	    get_pba()->nr_cached + m->nr_live + m->nr_split_ptps + lost_pages)
		scope_fail("%lu pages held: %lu cached, %lu live, %lu tables",
			   m->nr_held, get_pba()->nr_cached, m->nr_live,
			   m->nr_split_ptps);
	if (m->nr_live != scope.nr_live)
		scope_fail("%lu pages live instead of %u", m->nr_live,
			   scope.nr_live);
	if (scope_nr_pages() != scope.nr_pages)
		scope_fail("%llu pages instead of %llu",
			   (unsigned long long)scope_nr_pages(),
			   (unsigned long long)scope.nr_pages);
}

/* @now: the error came in the operation before this, and nothing after it */
static void scope_check_pkeys(const struct kpb_audit *audit, bool now)
{
	u64 free_pkey = scope.free_pkey_pages;
	u64 unprotected = scope.unprotected_pages;

	/* what comes later only mends */
	if (now ? audit->free_pkey_pages != free_pkey :
		  audit->free_pkey_pages > free_pkey)
		scope_fail("%llu free pages with pkey instead of %llu",
			   (unsigned long long)audit->free_pkey_pages,
			   (unsigned long long)free_pkey);
	if (now ? audit->unprotected_pages != unprotected :
		  audit->unprotected_pages > unprotected)
		scope_fail("%llu PTPs without pkey instead of %llu",
			   (unsigned long long)audit->unprotected_pages,
			   (unsigned long long)unprotected);
}

static void scope_check(bool now)
{
	char msg[KPB_MSG_BYTES] = "";
	struct kpb_audit audit;
	int ret = box_granule.check(msg);
	bool wrong;

	box_granule.audit(&audit);
	wrong = audit.lost_pages || audit.free_pkey_pages ||
		audit.unprotected_pages;
	if (ret != (wrong ? -EUCLEAN : 0))
		scope_fail("the check says %d: %s", ret, msg);
	scope_check_lost(&audit);
	scope_check_pkeys(&audit, now);
	if (scope.m->nr_in_flight || scope.m->preempt_count ||
	    scope.m->frames || scope.m->shrink_depth)
		scope_fail("something has not ended");
}

/* Runs */

static bool scope_boot(void)
{
	const struct scope_start *start = scope.start;
	struct kpb_config config = box_config(BOX_PBA, SCOPE_RAM_BYTES);
	char msg[KPB_MSG_BYTES] = "";
	u32 i;

	if (start->aged) {
		config.aged_ppm = 1000000;
		config.aged_pins = BOX_PICK(64, 64, 512);
		config.aged_seed = 1;
	}
	scope.m = NULL;
	if (box_granule.create(&config, &scope.m, msg)) {
		scope_fail("no machine: %s", msg);
		return false;
	}
	kpb_this = scope.m;
	scope.m->border.granule = &box_granule;
	scope.nr_live = 0;
	scope.nr_empty = SCOPE_SLOTS;
	for (i = 0; i < SCOPE_SLOTS; i++)
		scope.empty[i] = SCOPE_SLOTS - 1 - i;
	scope.hit = false;
	scope.free_pkey_pages = 0;
	scope.unprotected_pages = 0;
	return true;
}

static void scope_set_faults(void)
{
	static const enum kpb_point points[] = {
		KPB_POINT_ALLOC_PAGES,
		KPB_POINT_SET_PKEY,
		KPB_POINT_CHARGE,
	};
	struct kpb_fault fault = { .mode = KPB_FAULT_NTH, .pkey = -1 };
	size_t i;

	if (scope.fault) {
		fault.n = scope.fault->n;
		fault.half = scope.fault->half;
		box_granule.set_fault(scope.fault->point, &fault);
		return;
	}
	/* never due: just counted */
	fault.n = ~0ULL;
	for (i = 0; i < ARRAY_SIZE(points); i++)
		box_granule.set_fault(points[i], &fault);
}

static void scope_do_letter(char letter)
{
	bool hit = scope.hit;

	scope_do(letter);
	if (!scope.fault) {
		scope_read_events();
		return;
	}
	scope_note_fault();
	/* is the call that failed the last one so far? */
	if (scope.hit && !hit)
		scope_check(scope.m->faults[scope.fault->point].nr_calls ==
			    scope.fault->n);
}

/* Called under setjmp(), which is why it is a function of its own. */
static void scope_run_string(void)
{
	const char *letter;
	u32 point;

	box_granule.set_slots(SCOPE_SLOTS);
	box_granule.init();
	box_granule.init_late();
	for (letter = scope.start->prefix; letter && *letter; letter++)
		scope_do(*letter);
	scope.nr_pages = scope_nr_pages();
	box_granule.record(SCOPE_EVENTS);
	scope_set_faults();
	for (letter = scope.string; *letter; letter++)
		scope_do_letter(*letter);
	scope_check(!scope.fault);
	if (scope.fault && !scope.hit)
		scope_fail("the call never came");
	if (!scope.fault)
		for (point = 0; point < KPB_NR_POINTS; point++)
			scope_trace.nr_calls[point] =
				scope.m->faults[point].nr_calls;
}

static void scope_note_reached(void)
{
	const struct kpb_counters *c = &scope.m->counters;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(scope_reached.refills); i++)
		scope_reached.refills[i] +=
			c->refills_order[scope.m->config.refill_orders[i]];
	scope_reached.failed_allocs += c->failed_allocs;
	if (!scope.fault)
		return;
	scope_reached.pages_lost += scope.fault->lost_pages;
	scope_reached.free_pkey_pages += scope.free_pkey_pages;
	scope_reached.unprotected_pages += scope.unprotected_pages;
}

/* One string, with one error or, where @fault is NULL, traced. */
static void scope_run(const struct scope_fault *fault)
{
	scope.fault = fault;
	if (!fault) {
		scope_trace.nr_set_pkey = 0;
		scope_trace.nr_scans = 0;
		scope_trace.nth = 0;
	}
	if (!scope_boot())
		return;
	if (setjmp(scope.m->border.escape))
		scope_fail("the machine stops: %s", scope.m->border.msg);
	else
		scope_run_string();
	scope_note_reached();
	box_destroy(scope.m);
	if (fault)
		scope.nr_faults++;
	else
		scope.nr_strings++;
}

/* Of many pages released one by one: the ends and the middle will do. */
static bool scope_is_worth_it(const struct scope_call *call)
{
	u32 nr = scope_trace.nr_released[call->scan];

	return call->nth <= 3 || call->nth + 1 >= nr || call->nth == nr / 2;
}

static void scope_fail_set_pkey(u32 n)
{
	const struct scope_call *call = &scope_trace.calls[n - 1];
	struct scope_fault fault = {
		.point = KPB_POINT_SET_PKEY,
		.n = n,
	};

	if (!scope_is_worth_it(call))
		return;
	/* the page is cached again; what comes after it in the list is lost */
	if (call->nth)
		fault.lost_pages =
			scope_trace.nr_released[call->scan] - call->nth;
	scope_run(&fault);
	fault.half = 1;
	scope_run(&fault);
}

/* The string was traced: now everything that it calls fails once. */
static void scope_run_faults(void)
{
	struct scope_fault fault = { 0 };
	u32 n;

	for (n = 1; n <= scope_trace.nr_set_pkey; n++)
		scope_fail_set_pkey(n);
	fault.point = KPB_POINT_ALLOC_PAGES;
	for (fault.n = 1; fault.n <= scope_trace.nr_calls[fault.point];
	     fault.n++)
		scope_run(&fault);
	fault.point = KPB_POINT_CHARGE;
	for (fault.n = 1; fault.n <= scope_trace.nr_calls[fault.point];
	     fault.n++)
		scope_run(&fault);
}

static unsigned int scope_length(void)
{
	const char *text = getenv("KPB_SMALL_SCOPE");
	unsigned long nr = text && *text ? strtoul(text, NULL, 10) :
					   SCOPE_DEFAULT;

	return (unsigned int)min(nr, (unsigned long)SCOPE_MAX);
}

/* Every string of @length letters. */
static void scope_run_all(struct kunit *test, unsigned int length, bool faults)
{
	unsigned int digit[SCOPE_MAX + 1] = { 0 }, i = 0;

	scope.test = test;
	scope.start = test->param_value;
	while (i < length) {
		memset(scope.string, 0, sizeof(scope.string));
		for (i = 0; i < length; i++)
			scope.string[i] = scope_letters[digit[i]];
		scope_run(NULL);
		if (faults)
			scope_run_faults();
		for (i = 0; i < length; i++) {
			if (++digit[i] < SCOPE_NR_LETTERS)
				break;
			digit[i] = 0;
		}
	}
}

static void small_scope_strings_leave_nothing_wrong(struct kunit *test)
{
	unsigned int length;

	for (length = 1; length <= scope_length() + 1; length++)
		scope_run_all(test, length, false);
}

static void small_scope_errors_do_what_v6_does(struct kunit *test)
{
	unsigned int length;

	for (length = 1; length <= scope_length(); length++)
		scope_run_all(test, length, true);
}

/* What gets no pkey at boot never gets one: D9 by way of an error. */
static bool scope_run_boot(enum kpb_point point, u64 n, u32 half)
{
	struct scope_fault what = { .point = point, .n = n, .half = half };
	const struct kpb_event *call;

	scope.fault = &what;
	if (!scope_boot())
		return false;
	box_granule.record(SCOPE_EVENTS);
	scope_set_faults();
	box_granule.set_slots(SCOPE_SLOTS);
	box_granule.init();
	box_granule.init_late();
	scope.hit = scope.m->counters.faults_injected;
	if (scope.hit && point == KPB_POINT_SET_PKEY) {
		call = scope_failed_call();
		scope.unprotected_pages = call ? call->b : 0;
		if (half && call)
			scope.unprotected_pages -= scope_nr_changed(call);
	}
	scope.nr_pages = scope_nr_pages();
	scope_check(true);
	/* and it works all the same */
	scope_do('k');
	if (!scope.nr_live)
		scope_fail("no page");
	scope_check(true);
	box_destroy(scope.m);
	return scope.hit;
}

static void small_scope_errors_at_boot_are_survived(struct kunit *test)
{
	u64 nr_set_pkey = 1, nr_alloc = 1;

	scope.test = test;
	scope.start = test->param_value;
	while (scope_run_boot(KPB_POINT_SET_PKEY, nr_set_pkey, 0) &&
	       scope_run_boot(KPB_POINT_SET_PKEY, nr_set_pkey, 1))
		nr_set_pkey++;
	while (scope_run_boot(KPB_POINT_ALLOC_PAGES, nr_alloc, 0))
		nr_alloc++;
	/* the early region's and the linear map's tables' */
	KUNIT_EXPECT_EQ(test, nr_set_pkey - 1, 2);
	KUNIT_EXPECT_GT(test, nr_alloc - 1, 0);
}

/* The cases above came to all of it. */
static void small_scope_reaches_every_branch(struct kunit *test)
{
	const bool has_blocks = BOX_LARGEST_ORDER == BLOCK_ORDER;

	if (scope_length() < 2)
		return;
	KUNIT_EXPECT_EQ(test, scope_reached.blocks_released > 0, has_blocks);
	KUNIT_EXPECT_GT(test, scope_reached.pages_released, 0);
	KUNIT_EXPECT_GT(test, scope_reached.refills[0], 0);
	KUNIT_EXPECT_GT(test, scope_reached.refills[1], 0);
	KUNIT_EXPECT_GT(test, scope_reached.refills[2], 0);
	KUNIT_EXPECT_GT(test, scope_reached.failed_allocs, 0);
	KUNIT_EXPECT_GT(test, scope_reached.pages_lost, 0);
	KUNIT_EXPECT_GT(test, scope_reached.free_pkey_pages, 0);
	KUNIT_EXPECT_GT(test, scope_reached.unprotected_pages, 0);
	printf("        # %llu strings, %llu errors\n",
	       (unsigned long long)scope.nr_strings,
	       (unsigned long long)scope.nr_faults);
}

static const struct kunit_case small_scope_test_cases[] = {
	KUNIT_CASE_PARAM(small_scope_strings_leave_nothing_wrong,
			 scope_starts_gen_params),
	KUNIT_CASE_PARAM(small_scope_errors_do_what_v6_does,
			 scope_starts_gen_params),
	KUNIT_CASE_PARAM(small_scope_errors_at_boot_are_survived,
			 scope_starts_gen_params),
	KUNIT_CASE(small_scope_reaches_every_branch),
	{ 0 }
};

static struct kunit_suite small_scope_test_suite = {
	.name = BOX_SUITE("small_scope"),
	.test_cases = small_scope_test_cases,
};
kunit_test_suite(small_scope_test_suite);
