// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linked with an allocator file into one shared object: leads the names that
 * the file calls to the laboratory, and the laboratory to what the file
 * defines. What a file does not define counts as "does nothing".
 */

#include <stdarg.h>

#include <linux/init.h>
#include <linux/spinlock.h>

#include "../allocators/allocators.h"
#include "../lab/door.h"
#include "kernel.h"

#define KPB_MAKE_WEAK(name) KPB_PRAGMA(weak name)
#define KPB_PRAGMA(text) _Pragma(#text)
KPB_DOOR_FUNCTIONS(KPB_MAKE_WEAK)

struct kpb_machine *kpb_this;
static const struct kpb_kernel *kpb_kernel;

/* What the file calls */

#define KPB_FORWARD_VOID(name, params, args) \
	void name params                     \
	{                                    \
		kpb_kernel->name args;       \
	}
#define KPB_FORWARD_RET(type, name, params, args) \
	type name params                          \
	{                                         \
		return kpb_kernel->name args;     \
	}
KPB_KERNEL_FUNCTIONS(KPB_FORWARD_VOID, KPB_FORWARD_RET)

void kpb_stop(const char *file, int line, const char *what)
{
	kpb_kernel->kpb_stop(file, line, what);
}

void kpb_printk(const char *level, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	kpb_kernel->kpb_vprintk(level, fmt, &args);
	va_end(args);
}

struct shrinker *shrinker_alloc(unsigned int flags, const char *fmt, ...)
{
	(void)flags;
	(void)fmt;
	return kpb_kernel->kpb_shrinker_alloc();
}

/* as in lab/dispatch.c, without the way there: list walks are long */
void kpb_list_step(void)
{
	if (kpb_this->preempt_count)
		kpb_this->hold_steps++;
}

/* What the file defines */

static int kpb_absent_prepare(void)
{
	return 0;
}

static bool kpb_absent_ready(void)
{
	return true;
}

static void kpb_absent_init(void)
{
}

/* as before there was a PPA: one page at a time */
static phys_addr_t kpb_absent_physmem_alloc(void)
{
	return memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE, 0,
					 MEMBLOCK_ALLOC_NOLEAKTRACE);
}

/* The initcalls of all levels, in rising order; each level is a section. */
#define KPB_LEVELS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define KPB_LEVEL_BOUNDS(n)                                          \
	extern const initcall_t __start_kpb_initcall##n[]            \
		__attribute__((__weak__, __visibility__("hidden"))); \
	extern const initcall_t __stop_kpb_initcall##n[]             \
		__attribute__((__weak__, __visibility__("hidden")));
KPB_LEVELS(KPB_LEVEL_BOUNDS)

static int kpb_run_initcalls(const initcall_t *call, const initcall_t *end)
{
	int ret = 0;

	for (; call < end; call++) {
		int err = (*call)();

		if (err && !ret)
			ret = err;
	}
	return ret;
}

static int kpb_initcalls(void)
{
	int ret = 0;

#define KPB_LEVEL_RUN(n)                                             \
	{                                                            \
		int err = kpb_run_initcalls(__start_kpb_initcall##n, \
					    __stop_kpb_initcall##n); \
		if (err && !ret)                                     \
			ret = err;                                   \
	}
	KPB_LEVELS(KPB_LEVEL_RUN)
	return ret;
}

static void kpb_enter_machine(struct kpb_machine *m,
			      const struct kpb_kernel *kernel,
			      struct kpb_allocator_ops *ops)
{
	kpb_this = m;
	kpb_kernel = kernel;
	*ops = (struct kpb_allocator_ops){
		.alloc = kpkeys_pgtable_alloc,
		.free = kpkeys_pgtable_free,
		.prepare_direct_map_split = kpkeys_prepare_direct_map_split ?:
						    kpb_absent_prepare,
		.ready_for_direct_map_split =
			kpkeys_ready_for_direct_map_split ?: kpb_absent_ready,
		.init = kpkeys_hardened_pgtables_init ?: kpb_absent_init,
		.init_late = kpkeys_hardened_pgtables_init_late ?:
								  kpb_absent_init,
		.register_shrinker = kpb_initcalls,
		.physmem_alloc = kpkeys_physmem_pgtable_alloc ?:
					 kpb_absent_physmem_alloc,
	};
}

__attribute__((__visibility__("default"))) const struct kpb_door *
kpb_door_entry(void);

const struct kpb_door *kpb_door_entry(void)
{
	static struct kpb_door door = {
		.magic = KPB_DOOR_MAGIC,
		.page_shift = PAGE_SHIFT,
		.machine_bytes = sizeof(struct kpb_machine),
		.enter = kpb_enter_machine,
	};

#define KPB_DEFINES(name) door.defines |= name ? 1u << KPB_DOOR_BIT_##name : 0;
	KPB_DOOR_FUNCTIONS(KPB_DEFINES)
#define KPB_LEVEL_COUNT(n)   \
	door.nr_initcalls += \
		(uint32_t)(__stop_kpb_initcall##n - __start_kpb_initcall##n);
	KPB_LEVELS(KPB_LEVEL_COUNT)
	return &door;
}
