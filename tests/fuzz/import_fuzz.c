// SPDX-License-Identifier: GPL-2.0-only
/*
 * libFuzzer target: import of any bytes as a recording. The first byte says how
 * it is fed, the rest is what is read. Whatever it is, nothing crashes, memory
 * stays in bounds, a refusal has a message, and what is not refused can be
 * replayed.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kpb_api.h"

#define FUZZ_MAX_OPS 4096
/* 4096 operations, the queues and carries of two sources, and the map */
#define FUZZ_MAX_BYTES (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_die(const char *what)
{
	fprintf(stderr, "import: %s\n", what);
	abort();
}

/* Two sources: the halves of the input, fed as they are asked for. */
static int fuzz_feed(struct kpb_import *imp, const uint8_t *data, size_t size,
		     uint32_t nr_sources, size_t step)
{
	size_t at[2] = { 0, nr_sources > 1 ? size / 2 : size };
	size_t end[2] = { at[1], size };
	int64_t source;
	uint32_t i;
	int ret = 0;

	for (i = 0; !ret && i < nr_sources; i++)
		ret = kpb_import_begin(imp, i);
	while (!ret && (source = kpb_import_next(imp)) >= 0) {
		size_t left = end[source] - at[source];
		size_t nr = left < step ? left : step;

		ret = left ? kpb_import_feed(imp, (uint32_t)source,
					     (const char *)data + at[source],
					     nr) :
			     kpb_import_end(imp, (uint32_t)source);
		at[source] += nr;
	}
	return ret;
}

static void fuzz_result(struct kpb_import *imp)
{
	static struct kpb_op ops[FUZZ_MAX_OPS];
	static int64_t ts_ns[FUZZ_MAX_OPS];
	struct kpb_import_state state;
	uint64_t i;

	kpb_import_state(imp, &state);
	if (!state.nr_ops || state.nr_ops > FUZZ_MAX_OPS ||
	    state.nr_pre >= state.nr_ops)
		fuzz_die("a number of operations that cannot be");
	if (kpb_import_take(imp, ts_ns, ops, state.nr_ops))
		fuzz_die("the result cannot be taken");
	for (i = 0; i < state.nr_ops; i++) {
		if (i && ts_ns[i] < ts_ns[i - 1])
			fuzz_die("times run backwards");
		if (i < state.nr_pre && ops[i].kind != KPB_OP_ALLOC)
			fuzz_die("a prologue that frees");
		if (ops[i].level > 3 || ops[i].arg > 1)
			fuzz_die("an operation of no known form");
	}
	/* takes each slot through alloc and free, or says -EINVAL */
	if (kpb_import_renumber(ops, state.nr_ops, FUZZ_MAX_OPS))
		fuzz_die("a result that cannot be replayed");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t how = size ? data[0] : 0;
	struct kpb_import_options options = {
		.max_ops = FUZZ_MAX_OPS,
		.item = how & 1 ? 37 : -1,
		.origin = (how >> 1) % 4,
		.nr_sources = how & 8 ? 2 : 1,
	};
	struct kpb_import_state state;
	char msg[KPB_MSG_BYTES];
	struct kpb_import *imp;
	int ret;

	if (kpb_import_create(&options, &imp, msg))
		fuzz_die("cannot be created");
	ret = fuzz_feed(imp, data + !!size, size - !!size, options.nr_sources,
			how & 16 ? 1u + (how >> 5) : 1u << 16);
	if (!ret)
		ret = kpb_import_finish(imp);
	if (ret && !*kpb_import_message(imp))
		fuzz_die("refused without a message");
	kpb_import_state(imp, &state);
	if (state.bytes > FUZZ_MAX_BYTES)
		fuzz_die("too much memory");
	if (!ret)
		fuzz_result(imp);
	kpb_import_destroy(imp);
	return 0;
}
