// SPDX-License-Identifier: GPL-2.0-only
/* The mirrors and the laboratory for pages of 16 KB. */

#define PAGE_SHIFT 14

#include "build_granule.h"

const struct kpb_granule kpb_granule_16k = KPB_GRANULE;
