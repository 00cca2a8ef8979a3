// SPDX-License-Identifier: GPL-2.0-only
/* The mirrors and the laboratory for pages of 4 KB. */

#define PAGE_SHIFT 12

#include "build_granule.h"

const struct kpb_granule kpb_granule_4k = KPB_GRANULE;
