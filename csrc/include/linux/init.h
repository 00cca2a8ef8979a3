/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of linux/init.h. */
#ifndef _LINUX_INIT_H
#define _LINUX_INIT_H

/* STUB: nothing is discarded after boot */
#define __init
#define __initdata
#define __ref
#define __ro_after_init

/* STUB: the ops table of the allocator names its initcall */
#define late_initcall(fn) _Static_assert(1, #fn)

#endif
