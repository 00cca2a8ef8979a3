/* SPDX-License-Identifier: GPL-2.0-only */
/* The border as C sees it: the declarations that cffi parses, and types. */
#ifndef KPB_API_H
#define KPB_API_H

#include <stdint.h>

#include "kpb_api.cdef.h"

_Static_assert(sizeof(struct kpb_op) == 8, "one operation is eight bytes");

#endif
