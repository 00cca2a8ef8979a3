/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of linux/init.h. */
#ifndef _LINUX_INIT_H
#define _LINUX_INIT_H

/* STUB: nothing is discarded after boot, nothing becomes read-only */
#define __init
#define __initdata
#define __initconst
#define __exit
#define __ref
#define __refdata
#define __meminit
#define __ro_after_init
#define __read_mostly

#ifdef KPB_DOOR
/* CUSTOM: a list for each level, walked by door/door.c once boot is over */
typedef int (*initcall_t)(void);
#define kpb_initcall(fn, level)                   \
	static const initcall_t kpb_initcall_##fn \
		__attribute__((__used__,          \
			       __section__("kpb_initcall" #level))) = fn
#define early_initcall(fn) kpb_initcall(fn, 1)
#define core_initcall(fn) kpb_initcall(fn, 1)
#define postcore_initcall(fn) kpb_initcall(fn, 2)
#define arch_initcall(fn) kpb_initcall(fn, 3)
#define subsys_initcall(fn) kpb_initcall(fn, 4)
#define fs_initcall(fn) kpb_initcall(fn, 5)
#define device_initcall(fn) kpb_initcall(fn, 6)
#define module_init(fn) kpb_initcall(fn, 6)
#define late_initcall(fn) kpb_initcall(fn, 7)
#else
/* STUB: the ops table of an allocator that is built in names its initcall */
#define late_initcall(fn) _Static_assert(1, #fn)
#endif

#endif
