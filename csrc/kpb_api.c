// SPDX-License-Identifier: GPL-2.0-only
/*
 * The border: finds the page size, lets one thread at a time into a machine,
 * and catches the machine that stops.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lab/border.h"

/* the machine that this thread is in; see lab/machine.h */
extern _Thread_local struct kpb_machine *kpb_this
	__attribute__((tls_model("initial-exec")));
_Thread_local struct kpb_machine *kpb_this;

static const struct kpb_granule *const kpb_granules[] = {
	&kpb_granule_4k,
	&kpb_granule_16k,
	&kpb_granule_64k,
};

/* In the order of kpb_allocator_ops[] (lab/machine.c). */
const struct kpb_allocator_info kpb_allocators[] = {
	{ .name = "pba",
	  .help = "v6's pkeys block allocator, on a block-mapped linear map",
	  .linear_map = KPB_MAP_BLOCK },
	{ .name = "noblock",
	  .help = "one page at a time, on a PTE-mapped linear map (v5, v7, v8)",
	  .linear_map = KPB_MAP_PTE },
	{ .name = "null",
	  .help = "does nothing: what the replay itself costs",
	  .linear_map = KPB_MAP_PTE },
	{ .name = "early-regions",
	  .help = "pba that remembers several early regions",
	  .linear_map = KPB_MAP_BLOCK,
	  .param = "early regions",
	  .default_param = 16,
	  .max_param = KPB_MAX_EARLY_REGIONS },
	{ .name = "deferred-list",
	  .help = "pba with a bounded list of ranges to protect later",
	  .linear_map = KPB_MAP_BLOCK,
	  .param = "ranges",
	  .default_param = 128,
	  .max_param = KPB_MAX_EARLY_REGIONS },
	{ .name = "deferred-marks",
	  .help = "pba that marks each page to protect later",
	  .linear_map = KPB_MAP_BLOCK },
	{ .name = "sized-refill",
	  .help = "pba with a first refill sized from the number of CPUs",
	  .linear_map = KPB_MAP_BLOCK,
	  .param = "stacks of a CPU",
	  .default_param = 5,
	  .max_param = 64 },
};
const uint32_t kpb_nr_allocators =
	sizeof(kpb_allocators) / sizeof(kpb_allocators[0]);

static const struct kpb_granule *kpb_find_granule(uint32_t page_shift)
{
	size_t i;

	for (i = 0; i < sizeof(kpb_granules) / sizeof(kpb_granules[0]); i++)
		if (kpb_granules[i]->page_shift == page_shift)
			return kpb_granules[i];
	return NULL;
}

static struct kpb_border *kpb_border(struct kpb_machine *m)
{
	return (struct kpb_border *)m;
}

static int kpb_enter(struct kpb_machine *m)
{
	if (atomic_exchange(&kpb_border(m)->busy, true))
		return -EBUSY;
	kpb_this = m;
	return 0;
}

static void kpb_leave(struct kpb_machine *m)
{
	kpb_this = NULL;
	atomic_store(&kpb_border(m)->busy, false);
}

/* Enter to change something: not possible once a machine has stopped. */
static int kpb_enter_running(struct kpb_machine *m)
{
	int ret = kpb_enter(m);

	if (ret)
		return ret;
	if (kpb_border(m)->stopped) {
		kpb_leave(m);
		return -EDEADLK;
	}
	return 0;
}

int kpb_geometry(uint32_t page_shift, struct kpb_geometry *out)
{
	const struct kpb_granule *granule = kpb_find_granule(page_shift);

	if (!granule)
		return -EINVAL;
	granule->geometry(out);
	return 0;
}

const char *kpb_allocator_name(uint32_t allocator)
{
	return allocator < kpb_nr_allocators ? kpb_allocators[allocator].name :
					       NULL;
}

const char *kpb_allocator_help(uint32_t allocator)
{
	return allocator < kpb_nr_allocators ? kpb_allocators[allocator].help :
					       NULL;
}

const char *kpb_allocator_param(uint32_t allocator)
{
	return allocator < kpb_nr_allocators ? kpb_allocators[allocator].param :
					       NULL;
}

uint64_t kpb_allocator_default_param(uint32_t allocator)
{
	return allocator < kpb_nr_allocators ?
		       kpb_allocators[allocator].default_param :
		       0;
}

int kpb_allocator_linear_map(uint32_t allocator)
{
	return allocator < kpb_nr_allocators ?
		       (int)kpb_allocators[allocator].linear_map :
		       -EINVAL;
}

/**
 * kpb_machine_create() - a box whose buddy allocator works, nothing more
 * @config: what it is like
 * @out: the machine, to be given to kpb_machine_destroy()
 * @msg: KPB_MSG_BYTES for what is wrong with @config
 *
 * Return: 0; -EINVAL with @msg filled; -ENOMEM.
 */
int kpb_machine_create(const struct kpb_config *config,
		       struct kpb_machine **out, char *msg)
{
	const struct kpb_granule *granule =
		kpb_find_granule(config->page_shift);
	int ret;

	msg[0] = '\0';
	if (!granule) {
		snprintf(msg, KPB_MSG_BYTES, "page_shift %u: give 12, 14 or 16",
			 config->page_shift);
		return -EINVAL;
	}
	if (config->allocator >= kpb_nr_allocators) {
		snprintf(msg, KPB_MSG_BYTES, "allocator %u: there are %u",
			 config->allocator, kpb_nr_allocators);
		return -EINVAL;
	}
	if (config->variant_param >
	    kpb_allocators[config->allocator].max_param) {
		snprintf(msg, KPB_MSG_BYTES,
			 "variant parameter %llu: %s takes up to %llu (%s)",
			 (unsigned long long)config->variant_param,
			 kpb_allocators[config->allocator].name,
			 (unsigned long long)kpb_allocators[config->allocator]
				 .max_param,
			 kpb_allocators[config->allocator].param ?
				 kpb_allocators[config->allocator].param :
				 "it has none");
		return -EINVAL;
	}
	ret = granule->create(config, out, msg);
	kpb_this = NULL;
	if (ret)
		return ret;
	kpb_border(*out)->granule = granule;
	return 0;
}

int kpb_machine_destroy(struct kpb_machine *m)
{
	int ret;

	if (!m)
		return 0;
	ret = kpb_enter(m);
	if (ret)
		return ret;
	kpb_this = NULL;
	kpb_border(m)->granule->destroy(m);
	return 0;
}

static int kpb_boot_step(struct kpb_machine *m, int (*step)(void))
{
	int ret = kpb_enter_running(m);

	if (ret)
		return ret;
	if (setjmp(kpb_border(m)->escape))
		ret = -EDEADLK;
	else
		ret = step();
	kpb_leave(m);
	return ret;
}

int kpb_machine_init(struct kpb_machine *m)
{
	return kpb_boot_step(m, kpb_border(m)->granule->init);
}

int kpb_machine_init_late(struct kpb_machine *m)
{
	return kpb_boot_step(m, kpb_border(m)->granule->init_late);
}

int kpb_boot_phase(struct kpb_machine *m, uint32_t phase)
{
	int ret = kpb_enter_running(m);

	if (ret)
		return ret;
	if (setjmp(kpb_border(m)->escape))
		ret = -EDEADLK;
	else
		ret = kpb_border(m)->granule->boot_phase(phase);
	kpb_leave(m);
	return ret;
}

int kpb_machine_set_slots(struct kpb_machine *m, uint32_t nr_slots)
{
	int ret = kpb_enter_running(m);

	if (ret)
		return ret;
	ret = kpb_border(m)->granule->set_slots(nr_slots);
	kpb_leave(m);
	return ret;
}

int kpb_replay(struct kpb_machine *m, const struct kpb_op *ops, uint64_t nr_ops,
	       uint64_t repeat, const struct kpb_timing *timing,
	       struct kpb_path_times *times, uint64_t *failed_op)
{
	int ret = kpb_enter_running(m);

	if (ret)
		return ret;
	if (setjmp(kpb_border(m)->escape))
		ret = -EDEADLK;
	else
		ret = kpb_border(m)->granule->replay(ops, nr_ops, repeat,
						     timing, times);
	*failed_op = kpb_border(m)->failed_op;
	kpb_leave(m);
	return ret;
}

int kpb_machine_set_fault(struct kpb_machine *m, uint32_t point,
			  const struct kpb_fault *fault)
{
	int ret = kpb_enter_running(m);

	if (ret)
		return ret;
	ret = kpb_border(m)->granule->set_fault(point, fault);
	kpb_leave(m);
	return ret;
}

int kpb_step(struct kpb_machine *m, const struct kpb_step *step,
	     struct kpb_step_result *out)
{
	int ret = kpb_enter_running(m);

	if (ret)
		return ret;
	ret = kpb_border(m)->granule->step(step, out);
	kpb_leave(m);
	return ret;
}

int kpb_continue(struct kpb_machine *m, uint32_t task, uint32_t stop_at,
		 uint32_t stop_nth, struct kpb_step_result *out)
{
	int ret = kpb_enter_running(m);

	if (ret)
		return ret;
	ret = kpb_border(m)->granule->resume(task, stop_at, stop_nth, out);
	kpb_leave(m);
	return ret;
}

/*
 * Look into a machine, whether or not it has stopped: @look is evaluated inside
 * it; the value of the whole is that of @look, or -EBUSY.
 */
#define KPB_LOOK(m, look)                              \
	({                                             \
		__typeof__(look) __ret = kpb_enter(m); \
                                                       \
		if (!__ret) {                          \
			__ret = (look);                \
			kpb_leave(m);                  \
		}                                      \
		__ret;                                 \
	})

static int kpb_copy_stopped(const struct kpb_border *border, char *msg)
{
	memcpy(msg, border->msg, KPB_MSG_BYTES);
	return border->stopped;
}

int kpb_machine_record(struct kpb_machine *m, uint64_t capacity)
{
	return KPB_LOOK(m, kpb_border(m)->granule->record(capacity));
}

int64_t kpb_machine_events(struct kpb_machine *m, struct kpb_event *out,
			   uint64_t nr)
{
	return KPB_LOOK(m, kpb_border(m)->granule->events(out, nr));
}

int kpb_machine_digest(struct kpb_machine *m, uint64_t *out)
{
	return KPB_LOOK(m, (kpb_border(m)->granule->digest(out), 0));
}

int kpb_machine_log(struct kpb_machine *m, char *out)
{
	return KPB_LOOK(m, kpb_border(m)->granule->log(out));
}

int kpb_machine_audit(struct kpb_machine *m, struct kpb_audit *out)
{
	return KPB_LOOK(m, kpb_border(m)->granule->audit(out));
}

int kpb_machine_counters(struct kpb_machine *m, struct kpb_counters *out)
{
	return KPB_LOOK(m, (kpb_border(m)->granule->counters(out), 0));
}

int kpb_machine_boot_counters(struct kpb_machine *m,
			      struct kpb_boot_counters *out)
{
	return KPB_LOOK(m, (kpb_border(m)->granule->boot_counters(out), 0));
}

int kpb_machine_map_counters(struct kpb_machine *m,
			     struct kpb_map_counters *out)
{
	return KPB_LOOK(m, (kpb_border(m)->granule->map_counters(out), 0));
}

int kpb_machine_state(struct kpb_machine *m, struct kpb_state *out)
{
	return KPB_LOOK(m, (kpb_border(m)->granule->state(out), 0));
}

int kpb_machine_warnings(struct kpb_machine *m, struct kpb_warning *out,
			 uint32_t nr)
{
	return KPB_LOOK(m, (int)kpb_border(m)->granule->warnings(out, nr));
}

int kpb_machine_stopped(struct kpb_machine *m, char *msg)
{
	return KPB_LOOK(m, kpb_copy_stopped(kpb_border(m), msg));
}

int kpb_machine_check(struct kpb_machine *m, char *msg)
{
	msg[0] = '\0';
	return KPB_LOOK(m, kpb_border(m)->granule->check(msg));
}

int64_t kpb_machine_slot_pfns(struct kpb_machine *m, uint64_t *out, uint64_t nr)
{
	return KPB_LOOK(m, kpb_border(m)->granule->slot_pfns(out, nr));
}

int64_t kpb_machine_cached_pfns(struct kpb_machine *m, uint64_t *out,
				uint64_t nr)
{
	return KPB_LOOK(m, kpb_border(m)->granule->cached_pfns(out, nr));
}

int64_t kpb_machine_free_pfns(struct kpb_machine *m, uint32_t order,
			      uint32_t migratetype, uint64_t *out, uint64_t nr)
{
	return KPB_LOOK(m, kpb_border(m)->granule->free_pfns(order, migratetype,
							     out, nr));
}

int64_t kpb_machine_pageblock_types(struct kpb_machine *m, uint8_t *out,
				    uint64_t nr)
{
	return KPB_LOOK(m, kpb_border(m)->granule->pageblock_types(out, nr));
}

int kpb_machine_pkeys(struct kpb_machine *m, const uint64_t *pfns, uint8_t *out,
		      uint64_t nr)
{
	return KPB_LOOK(m, (kpb_border(m)->granule->pkeys(pfns, out, nr), 0));
}

/* what builds it says it: see ffi_build.py */
#ifndef KPB_SOURCES
#define KPB_SOURCES "unknown"
#endif

const char *kpb_sources(void)
{
	return KPB_SOURCES;
}

const char *kpb_compiler(void)
{
#if defined(__clang__)
	return "clang " __clang_version__;
#else
	return "gcc " __VERSION__;
#endif
}
