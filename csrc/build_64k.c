// SPDX-License-Identifier: GPL-2.0-only
/* The mirrors and the laboratory for pages of 64 KB. */

#define PAGE_SHIFT 16

#include "build_granule.h"

const struct kpb_granule kpb_granule_64k = KPB_GRANULE;
