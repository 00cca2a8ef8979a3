/* SPDX-License-Identifier: GPL-2.0-only */
/* WARN_ON() and friends; namesake of linux/bug.h and linux/mmdebug.h. */
#ifndef _LINUX_BUG_H
#define _LINUX_BUG_H

#include <stdbool.h>

/*
 * CUSTOM: counts the warning and keeps file, line and condition in the
 * machine. The _ONCE forms count every hit: the kernel would print the first.
 */
KPB_LOCAL void kpb_warn(const char *file, int line, const char *what);

/* CUSTOM: stops the machine for good and leaves to the border. */
KPB_LOCAL void kpb_stop(const char *file, int line, const char *what)
	__attribute__((__noreturn__));

#define WARN_ON(cond)                                        \
	({                                                   \
		bool __ret_warn = !!(cond);                  \
		if (__builtin_expect(__ret_warn, 0))         \
			kpb_warn(__FILE__, __LINE__, #cond); \
		__builtin_expect(__ret_warn, 0);             \
	})
#define WARN_ON_ONCE(cond) WARN_ON(cond)
#define WARN_ONCE(cond, ...) WARN_ON(cond)
#define VM_WARN_ON(cond) WARN_ON(cond)
#define VM_WARN_ON_ONCE(cond) WARN_ON(cond)
#define VM_WARN_ONCE(cond, ...) WARN_ON(cond)

/* CUSTOM: checked in debug builds (KPB_DEBUG), as with CONFIG_DEBUG_VM. */
#ifdef KPB_DEBUG
#define VM_BUG_ON(cond)                                              \
	do {                                                         \
		if (__builtin_expect(!!(cond), 0))                   \
			kpb_stop(__FILE__, __LINE__, "BUG: " #cond); \
	} while (0)
#else
#define VM_BUG_ON(cond) ((void)sizeof(!(cond)))
#endif

/* DUPLICATED */
#define BUG() kpb_stop(__FILE__, __LINE__, "BUG")
#define BUG_ON(cond)                                                 \
	do {                                                         \
		if (__builtin_expect(!!(cond), 0))                   \
			kpb_stop(__FILE__, __LINE__, "BUG: " #cond); \
	} while (0)

#define BUILD_BUG_ON(cond) _Static_assert(!(cond), #cond)

#endif
