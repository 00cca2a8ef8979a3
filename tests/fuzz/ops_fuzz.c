// SPDX-License-Identifier: GPL-2.0-only
/*
 * libFuzzer target: a machine and what is done to it, from any bytes. Eight
 * bytes say what the machine is like and what is made to fail, then every six
 * bytes are one thing that is done. Whatever it is, nothing crashes and
 * nothing hangs; and unless faults were injected, every invariant holds.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kpb_api.h"

#define FUZZ_SLOTS 64
#define FUZZ_HEADER 8
#define FUZZ_ACTION 6
#define FUZZ_MAX_ACTIONS 512
#define FUZZ_TASKS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is known about a slot, so that what is done makes sense. */
enum fuzz_slot {
	FUZZ_EMPTY,
	FUZZ_PTP,
	FUZZ_PIN,
	FUZZ_BUSY, /* a task has not finished with it */
};

struct fuzz {
	struct kpb_machine *m;
	struct kpb_geometry geometry;
	uint8_t slots[FUZZ_SLOTS];
	uint8_t orders[FUZZ_SLOTS];
	/* what a task is doing to a slot */
	struct kpb_op task_op[FUZZ_TASKS];
	int task_busy[FUZZ_TASKS];
	int faults;
	int stopped;
	int late_refill; /* a second refill in the early window: see D9 */
};

static void fuzz_die(struct fuzz *fuzz, const char *what, const char *msg)
{
	(void)fuzz;
	fprintf(stderr, "%s: %s\n", what, msg);
	abort();
}

static uint64_t fuzz_ram(uint32_t page_shift)
{
	return page_shift == 12 ? 64ULL << 20 :
	       page_shift == 14 ? 256ULL << 20 :
				  2048ULL << 20;
}

static int fuzz_create(struct fuzz *fuzz, const uint8_t *h)
{
	static const uint8_t page_shifts[] = { 12, 14, 16 };
	struct kpb_config config = { 0 };
	char msg[KPB_MSG_BYTES];
	int ret;

	config.page_shift = page_shifts[h[0] % 3];
	kpb_geometry(config.page_shift, &fuzz->geometry);
	config.ram_bytes = fuzz_ram(config.page_shift);
	config.phys_base = 1ULL << 34;
	config.allocator = h[0] / 3 % 2;
	config.linear_map =
		(uint32_t)kpb_allocator_linear_map(config.allocator);
	config.nr_refill_orders = fuzz->geometry.nr_refill_orders;
	memcpy(config.refill_orders, fuzz->geometry.refill_orders,
	       sizeof(config.refill_orders));
	/* from the left: a list of its last one, two or three */
	if (h[1] % 3) {
		config.nr_refill_orders -= h[1] % 3;
		memmove(config.refill_orders, config.refill_orders + h[1] % 3,
			config.nr_refill_orders);
	}
	config.no_pcp = h[1] >> 7;
	config.aged_ppm = h[2] % 4 ? 0 : 900000;
	config.aged_pins = 8;
	config.aged_seed = h[2];
	config.nr_cpus = 1 + h[3] % 4;
	config.memcg_limit_pages = h[3] & 0x80 ? 16 : 0;
	config.nr_static_pgtables = h[4] % 8;
	if (h[4] & 0x40) {
		config.nr_holes = 1;
		config.holes[0].base = config.phys_base + (8ULL << 20);
		config.holes[0].size = 4ULL << 20;
	}
	if (h[4] & 0x80) {
		config.nr_reserved = 1;
		config.reserved[0].base = config.phys_base + (16ULL << 20) +
					  (1ULL << config.page_shift);
		config.reserved[0].size = 3ULL << config.page_shift;
	}
	if (h[1] & 0x40)
		config.background = (struct kpb_background_config){
			.every = 1 + h[2] % 8,
			.resident_percent = h[3] % 90,
			.cache_percent = 100,
			.table_pages = h[4] % 64,
			.read_pages = 20000,
			.slab_pages = 1000,
			.kernel_allocs = 1000,
			.thp_allocs = 10000,
			.life_ops = 8,
			.seed = h[2],
		};
	ret = kpb_machine_create(&config, &fuzz->m, msg);
	if (ret == -EINVAL)
		fuzz_die(fuzz, "refused", msg);
	return ret;
}

static void fuzz_set_fault(struct fuzz *fuzz, uint8_t what, uint8_t n)
{
	static const uint32_t points[] = {
		KPB_POINT_ALLOC_PAGES,
		KPB_POINT_SET_PKEY,
		KPB_POINT_CHARGE,
	};
	const struct kpb_fault fault = {
		.mode = KPB_FAULT_NTH + what / 4 % 3,
		.n = what / 4 % 3 == 2 ? n * 1000ULL + 1 : 1ULL + n % 64,
		.seed = n,
		.half = what >> 7,
		.pkey = what & 0x40 ? 0 : -1,
	};

	if (what % 4 == 3)
		return;
	fuzz->faults = 1;
	if (kpb_machine_set_fault(fuzz->m, points[what % 4], &fault))
		fuzz_die(fuzz, "fault", "refused");
}

static void fuzz_init_late(struct fuzz *fuzz)
{
	struct kpb_counters counters;
	int ret;

	kpb_machine_counters(fuzz->m, &counters);
	ret = kpb_machine_init_late(fuzz->m);
	if (ret == -EALREADY)
		return;
	fuzz->late_refill = counters.refills > 1;
	if (ret == -EDEADLK)
		fuzz->stopped = 1;
	else if (ret)
		fuzz_die(fuzz, "late init", strerror(-ret));
}

/* Make the action legal: what it does follows from what is in its slot. */
static struct kpb_op fuzz_op(const struct fuzz *fuzz, const uint8_t *a)
{
	struct kpb_op op = {
		.slot = a[1] % FUZZ_SLOTS,
		.cpu = a[2],
		.kind = KPB_OP_ALLOC,
		.arg = a[3] & 1,
	};

	switch (a[0] % 16) {
	case 10:
		op.kind = KPB_OP_SHRINK;
		op.slot = a[3] % 2 ? 0 : (uint32_t)a[4] << 3;
		op.arg = a[3] % 13;
		return op;
	case 11:
		op.kind = KPB_OP_SET_MEMORY;
		op.slot = (uint32_t)(a[3] << 8 | a[4]) % 1024;
		op.level = a[5] % 4;
		op.arg = a[5];
		if (!op.level && !op.arg)
			op.arg = 1;
		return op;
	case 12:
		op.kind = KPB_OP_DRAIN;
		return op;
	case 13:
		op.kind = a[3] % 2 ? KPB_OP_RECLAIM : KPB_OP_COMPACT;
		op.arg = (uint8_t)(a[4] % (fuzz->geometry.max_page_order + 1));
		return op;
	default:
		break;
	}
	switch (fuzz->slots[op.slot]) {
	case FUZZ_PTP:
		op.kind = KPB_OP_FREE;
		break;
	case FUZZ_PIN:
		op.kind = a[3] % 4 ? KPB_OP_UNPIN : KPB_OP_SPLIT_OTHER;
		op.arg = op.kind == KPB_OP_SPLIT_OTHER;
		break;
	default:
		if (a[0] % 16 < 6)
			break;
		op.kind = KPB_OP_PIN;
		op.level = a[4] % KPB_MIGRATE_TYPES;
		op.arg = (uint8_t)(a[3] % (fuzz->geometry.max_page_order + 1));
	}
	return op;
}

static int fuzz_names_slot(const struct kpb_op *op)
{
	return op->kind < KPB_OP_SHRINK;
}

static void fuzz_done(struct fuzz *fuzz, const struct kpb_op *op)
{
	if (!fuzz_names_slot(op))
		return;
	switch (op->kind) {
	case KPB_OP_ALLOC:
		fuzz->slots[op->slot] = FUZZ_PTP;
		break;
	case KPB_OP_PIN:
		fuzz->slots[op->slot] = FUZZ_PIN;
		break;
	case KPB_OP_SPLIT_OTHER:
		fuzz->slots[op->slot] = FUZZ_PIN;
		break;
	default:
		fuzz->slots[op->slot] = FUZZ_EMPTY;
	}
}

/* The machine ran into a deadlock: that is a result, not a mistake. */
static int fuzz_stops(struct fuzz *fuzz, int ret)
{
	if (ret == -EDEADLK)
		fuzz->stopped = 1;
	else if (ret)
		fuzz_die(fuzz, "action", strerror(-ret));
	return fuzz->stopped;
}

static void fuzz_replay(struct fuzz *fuzz, const struct kpb_op *op)
{
	uint64_t failed;

	if (!fuzz_stops(fuzz,
			kpb_replay(fuzz->m, op, 1, 1, NULL, NULL, &failed)))
		fuzz_done(fuzz, op);
}

static void fuzz_task(struct fuzz *fuzz, const struct kpb_op *op,
		      const uint8_t *a)
{
	/* as the kernel's bits: 0 is what a replay asks with */
	static const uint32_t gfps[8] = { 0,	    0,	      0x8000cc0,
					  0x400cc0, 0x800820, 0x12cc0,
					  0x8dc0,   0x820 };
	uint32_t task = 1 + a[5] % (FUZZ_TASKS - 1);
	uint32_t stop_at = a[4] % KPB_NR_POINTS;
	struct kpb_step_result out;
	struct kpb_step step = {
		.op = *op,
		.task = task,
		.gfp = op->kind == KPB_OP_ALLOC ? gfps[a[5] / 16 % 8] : 0,
		.context = a[5] % 16 < KPB_NR_CONTEXTS ? a[5] % 16 :
							 KPB_CONTEXT_PROCESS,
		.stop_at = stop_at,
		.stop_nth = 1 + a[2] % 2,
	};
	int ret;

	if (fuzz->task_busy[task]) {
		ret = kpb_continue(fuzz->m, task, stop_at, 1, &out);
	} else {
		if (fuzz_names_slot(op))
			fuzz->slots[op->slot] = FUZZ_BUSY;
		fuzz->task_op[task] = *op;
		ret = kpb_step(fuzz->m, &step, &out);
	}
	if (fuzz_stops(fuzz, ret))
		return;
	fuzz->task_busy[task] = out.state != KPB_TASK_IDLE;
	if (!fuzz->task_busy[task])
		fuzz_done(fuzz, &fuzz->task_op[task]);
}

static void fuzz_action(struct fuzz *fuzz, const uint8_t *a)
{
	struct kpb_op op = fuzz_op(fuzz, a);
	int busy = fuzz_names_slot(&op) && fuzz->slots[op.slot] == FUZZ_BUSY;

	if (a[0] % 16 == 15)
		fuzz_set_fault(fuzz, a[3], a[4]);
	else if (a[0] % 16 == 14)
		fuzz_init_late(fuzz);
	else if (a[0] & 0x80 && (!busy || fuzz->task_busy[1 + a[5] % 3]))
		fuzz_task(fuzz, &op, a);
	else if (!busy)
		fuzz_replay(fuzz, &op);
}

/* Let every task finish, as far as that goes. */
static void fuzz_finish(struct fuzz *fuzz)
{
	struct kpb_step_result out;
	uint32_t task;
	int round;

	for (round = 0; round < FUZZ_TASKS * 2 && !fuzz->stopped; round++)
		for (task = 1; task < FUZZ_TASKS && !fuzz->stopped; task++) {
			if (!fuzz->task_busy[task] ||
			    fuzz_stops(fuzz,
				       kpb_continue(fuzz->m, task, 0, 1, &out)))
				continue;
			fuzz->task_busy[task] = out.state != KPB_TASK_IDLE;
		}
}

/* Whatever one may ask a machine for, in whatever state it is. */
static void fuzz_look(struct fuzz *fuzz)
{
	static struct kpb_map_counters map[KPB_NR_CAUSES];
	static char log[KPB_LOG_LINES * KPB_LOG_BYTES];
	static struct kpb_warning warnings[8];
	static struct kpb_event events[16];
	static struct kpb_counters counters;
	static struct kpb_state state;
	static uint64_t pfns[300];
	static uint8_t bytes[300];
	uint32_t order, type;

	kpb_machine_counters(fuzz->m, &counters);
	kpb_machine_map_counters(fuzz->m, map);
	kpb_machine_state(fuzz->m, &state);
	kpb_machine_warnings(fuzz->m, warnings, 8);
	kpb_machine_events(fuzz->m, events, 16);
	kpb_machine_digest(fuzz->m, pfns);
	kpb_machine_log(fuzz->m, log);
	kpb_machine_pageblock_types(fuzz->m, bytes, sizeof(bytes));
	for (order = 0; order <= KPB_MAX_ORDERS; order++)
		for (type = 0; type <= KPB_MIGRATE_TYPES; type++)
			kpb_machine_free_pfns(fuzz->m, order, type, pfns, 300);
	kpb_machine_slot_pfns(fuzz->m, pfns, 300);
	kpb_machine_pkeys(fuzz->m, pfns, bytes, FUZZ_SLOTS);
	kpb_machine_cached_pfns(fuzz->m, pfns, 300);
	kpb_machine_pkeys(fuzz->m, pfns, bytes, sizeof(bytes));
	/* what the machine says that it has, it has */
	if (!fuzz->stopped && state.free_pages + state.pcp_pages +
					      state.held_pages +
					      state.pinned_pages >
				      state.ram_pages)
		fuzz_die(fuzz, "books", "more pages than RAM");
}

static void fuzz_check(struct fuzz *fuzz)
{
	struct kpb_audit audit;
	char msg[KPB_MSG_BYTES] = "";
	uint32_t task;
	int ret;

	if (kpb_machine_audit(fuzz->m, &audit))
		fuzz_die(fuzz, "audit", "refused");
	ret = kpb_machine_check(fuzz->m, msg);
	for (task = 1; task < FUZZ_TASKS; task++)
		if (fuzz->task_busy[task])
			return;
	/* what v6 leaves unprotected for good is no mistake of the mirror */
	if (fuzz->late_refill && strstr(msg, "do not carry"))
		return;
	if (ret && !fuzz->faults && !fuzz->stopped)
		fuzz_die(fuzz, "invariant", msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz fuzz = { 0 };
	size_t i;

	if (size < FUZZ_HEADER || fuzz_create(&fuzz, data))
		return 0;
	if (kpb_machine_set_slots(fuzz.m, FUZZ_SLOTS) ||
	    kpb_machine_init(fuzz.m))
		fuzz_die(&fuzz, "boot", "failed");
	if (data[5] % 8)
		fuzz_init_late(&fuzz);
	kpb_machine_record(fuzz.m, data[6] % 32);
	for (i = 0; i < FUZZ_MAX_ACTIONS && !fuzz.stopped; i++) {
		size_t at = FUZZ_HEADER + i * FUZZ_ACTION;

		if (at + FUZZ_ACTION > size)
			break;
		fuzz_action(&fuzz, data + at);
	}
	fuzz_look(&fuzz);
	fuzz_finish(&fuzz);
	fuzz_look(&fuzz);
	fuzz_check(&fuzz);
	kpb_machine_destroy(fuzz.m);
	return 0;
}
