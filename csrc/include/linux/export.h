/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of linux/export.h. */
#ifndef _LINUX_EXPORT_H
#define _LINUX_EXPORT_H

/* STUB: there are no modules */
#define EXPORT_SYMBOL(symbol) _Static_assert(sizeof(&(symbol)) != 0, #symbol)
#define EXPORT_SYMBOL_GPL(symbol) EXPORT_SYMBOL(symbol)

#endif
