/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of kunit/visibility.h. */
#ifndef _KUNIT_VISIBILITY_H
#define _KUNIT_VISIBILITY_H

/* DUPLICATED: as without CONFIG_KUNIT */
#define VISIBLE_IF_KUNIT static
#define EXPORT_SYMBOL_IF_KUNIT(symbol) \
	_Static_assert(sizeof(&(symbol)) != 0, #symbol)

#endif
