/* SPDX-License-Identifier: GPL-2.0-only */
/* The log; namesake of linux/printk.h. */
#ifndef _LINUX_PRINTK_H
#define _LINUX_PRINTK_H

/*
 * CUSTOM: lines are kept with the machine (the last KPB_LOG_LINES of them);
 * of the kernel's own conversions %pa, %pap and %pGg are known.
 */
KPB_LOCAL void kpb_printk(const char *level, const char *fmt, ...)
	__attribute__((__format__(__printf__, 2, 3)));

/* DUPLICATED: a file may define its prefix before it includes anything */
#ifndef pr_fmt
#define pr_fmt(fmt) fmt
#endif

#define pr_err(fmt, ...) kpb_printk("err", pr_fmt(fmt), ##__VA_ARGS__)
#define pr_warn(fmt, ...) kpb_printk("warning", pr_fmt(fmt), ##__VA_ARGS__)
#define pr_notice(fmt, ...) kpb_printk("notice", pr_fmt(fmt), ##__VA_ARGS__)
#define pr_info(fmt, ...) kpb_printk("info", pr_fmt(fmt), ##__VA_ARGS__)
#define pr_warn_ratelimited(fmt, ...) pr_warn(fmt, ##__VA_ARGS__)
#define pr_info_ratelimited(fmt, ...) pr_info(fmt, ##__VA_ARGS__)
#define pr_err_ratelimited(fmt, ...) pr_err(fmt, ##__VA_ARGS__)
#define pr_warn_once(fmt, ...) pr_warn(fmt, ##__VA_ARGS__)
#define pr_info_once(fmt, ...) pr_info(fmt, ##__VA_ARGS__)

/* DUPLICATED: compiled and checked, but never printed (no DEBUG) */
#define pr_debug(fmt, ...)                                               \
	do {                                                             \
		if (0)                                                   \
			kpb_printk("debug", pr_fmt(fmt), ##__VA_ARGS__); \
	} while (0)

#endif
