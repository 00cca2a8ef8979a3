/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who else uses memory while page tables come and go: see background.c. The
 * parameters are struct kpb_background_config, at the border.
 */
#ifndef KPB_LAB_BACKGROUND_H
#define KPB_LAB_BACKGROUND_H

#include "border.h"
#include "rng.h"

#include <linux/list.h>

/* Turns after which the wheel of deaths comes round. */
#define KPB_BACKGROUND_WHEEL 1024
/* Files that the first filling of the page cache is read from, interleaved. */
#define KPB_BACKGROUND_FILES 64

/* An allocation that is to go again by itself; page->mapping leads back to it. */
struct kpb_owned {
	struct page *page;
	u32 next; /* of the same chain: index + 1 */
	u32 due;  /* in the wheel: the turn in which it goes */
};

struct kpb_background {
	bool on;
	bool running; /* inside kpb_background_run() */
	bool kswapd_woken;
	struct kpb_rng rng;
	/* operations of replays: when kpb_machine::background_left will be 0 */
	u64 until;
	u64 next_turn;
	u64 seen; /* up to here anonymous memory has followed */
	u32 nr_turns;
	u32 until_burst; /* turns */

	/* what each actor may still do, in parts of an operation's share */
	s64 read_credit;
	s64 slab_credit;
	s64 kernel_credit;
	s64 thp_credit;

	struct kpb_mapping owned_map;
	struct kpb_owned *owned; /* touched where it is used */
	u32 nr_owned;		 /* that were ever used */
	u32 free_owned;		 /* chain of those that are not any more */
	u32 wheel[KPB_BACKGROUND_WHEEL];
	u32 *of_slot; /* chain of the pages that a slot's table maps */
	u32 nr_slots;

	/* operations that came after the last turn, in arrays that are gone */
	struct kpb_op pending[KPB_BACKGROUND_MAX_EVERY];
	u32 nr_pending;
	u64 clock_ticks; /* that all this took */
};

KPB_LOCAL int kpb_background_check(const struct kpb_config *config, char *msg);
KPB_LOCAL int kpb_background_reserve(struct kpb_machine *m);
KPB_LOCAL void kpb_background_release(struct kpb_machine *m);
KPB_LOCAL int kpb_background_set_slots(struct kpb_machine *m, u32 nr_slots);
KPB_LOCAL void kpb_background_start(void);
KPB_LOCAL void kpb_background_run(const struct kpb_op *end);
KPB_LOCAL void kpb_background_keep(const struct kpb_op *ops, u64 nr_done);
KPB_LOCAL void kpb_background_wake(void);
KPB_LOCAL void kpb_background_moved(struct page *page, struct page *dst);

#endif
