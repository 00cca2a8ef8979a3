/* SPDX-License-Identifier: GPL-2.0-only */
/* What a machine that began with a memory image remembers of it. */
#ifndef KPB_LAB_IMAGE_H
#define KPB_LAB_IMAGE_H

#include <linux/kernel.h>

#define KPB_MAX_LOANS 48
/* leaves room for those in struct memblock_type */
#define KPB_MAX_IMAGE_HOLES 100

struct kpb_frames {
	unsigned long start; /* frame number of the first */
	unsigned long end;   /* of the first that is no longer one of them */
};

/**
 * struct kpb_image_books - of one machine
 * @loans: frames that the linear map's own tables took from the image, falling
 * @nr_loans: how many of them; before map_mem(), what they may take
 * @deferred: movable free blocks of the largest order that are on no list yet,
 *	rising
 * @nr_deferred: ranges in @deferred
 * @next_deferred: the first of them that is not used up
 * @nr_kept: frames that are in use for good
 */
struct kpb_image_books {
	struct kpb_frames loans[KPB_MAX_LOANS];
	unsigned int nr_loans;
	struct kpb_frames *deferred;
	unsigned long nr_deferred;
	unsigned long next_deferred;
	unsigned long nr_kept;
};

#endif
