/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an allocator file calls that no header gives it inline: the laboratory
 * fills this table for each page size, door.c leads the names to it. One line
 * a function: return type, name, parameters, arguments.
 */
#ifndef KPB_DOOR_KERNEL_H
#define KPB_DOOR_KERNEL_H

#include <linux/gfp.h>
#include <linux/kpkeys.h>
#include <linux/memblock.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/set_memory.h>
#include <linux/shrinker.h>

#define KPB_KERNEL_FUNCTIONS(V, R)                                             \
	R(struct page *, alloc_pages_noprof, (gfp_t gfp, unsigned int order),  \
	  (gfp, order))                                                        \
	V(__free_pages, (struct page * page, unsigned int order),              \
	  (page, order))                                                       \
	V(split_page, (struct page * page, unsigned int order), (page, order)) \
	R(int, set_memory_pkey, (unsigned long addr, int numpages, int pkey),  \
	  (addr, numpages, pkey))                                              \
	R(int, set_memory_ro, (unsigned long addr, int numpages),              \
	  (addr, numpages))                                                    \
	V(arch_kpkeys_protect_static_pgtables, (void), ())                     \
	V(mutex_lock, (struct mutex * lock), (lock))                           \
	V(mutex_unlock, (struct mutex * lock), (lock))                         \
	R(struct task_struct *, kpb_current, (void), ())                       \
	R(phys_addr_t, memblock_phys_alloc_range,                              \
	  (phys_addr_t size, phys_addr_t align, phys_addr_t start,             \
	   phys_addr_t end),                                                   \
	  (size, align, start, end))                                           \
	V(memblock_free_late, (phys_addr_t base, phys_addr_t size),            \
	  (base, size))                                                        \
	V(shrinker_register, (struct shrinker * shrinker), (shrinker))         \
	V(shrinker_free, (struct shrinker * shrinker), (shrinker))             \
	R(int, kpb_charge_refused, (void), ())                                 \
	R(bool, kpb_fault_due, (enum kpb_point point), (point))                \
	V(kpb_point_reached, (enum kpb_point point, const char *lock),         \
	  (point, lock))                                                       \
	V(kpb_event_add, (enum kpb_event_kind kind, u64 a, u32 b, u32 c),      \
	  (kind, a, b, c))                                                     \
	V(kpb_sleep_in_atomic, (const char *file, int line, const char *what), \
	  (file, line, what))                                                  \
	V(kpb_warn, (const char *file, int line, const char *what),            \
	  (file, line, what))

struct kpb_kernel {
#define KPB_KERNEL_VOID(name, params, args) void(*name) params;
#define KPB_KERNEL_RET(type, name, params, args) type(*name) params;
	KPB_KERNEL_FUNCTIONS(KPB_KERNEL_VOID, KPB_KERNEL_RET)
#undef KPB_KERNEL_VOID
#undef KPB_KERNEL_RET
	/* these need words of their own: noreturn, and variable arguments */
	void (*kpb_stop)(const char *file, int line, const char *what)
		__attribute__((__noreturn__));
	void (*kpb_vprintk)(const char *level, const char *fmt, va_list *args);
	struct shrinker *(*kpb_shrinker_alloc)(void);
};

#endif
