// SPDX-License-Identifier: GPL-2.0-only
/*
 * Between the mirrors and the laboratory: the kernel's interface of a page
 * table allocator leads to the one under test, and what that one does to the
 * buddy is counted here, from outside, so that the counts mean the same for
 * every allocator.
 */

#include <linux/kpkeys.h>
#include <linux/mm.h>

#include "../allocators/allocators.h"
#include "../mm/internal.h"

struct page *kpkeys_pgtable_alloc(gfp_t gfp)
{
	return kpb_this->ops->alloc(gfp);
}

/* the linear map never gives a table back */
__maybe_unused void kpkeys_pgtable_free(struct page *page)
{
	kpb_this->ops->free(page);
}

int kpkeys_prepare_direct_map_split(void)
{
	return kpb_this->ops->prepare_direct_map_split();
}

bool kpkeys_ready_for_direct_map_split(void)
{
	return kpb_this->ops->ready_for_direct_map_split();
}

void kpkeys_hardened_pgtables_init(void)
{
	kpb_this->ops->init();
}

void kpkeys_hardened_pgtables_init_late(void)
{
	kpb_this->ops->init_late();
}

phys_addr_t kpkeys_physmem_pgtable_alloc(void)
{
	return kpb_this->ops->physmem_alloc();
}

struct task_struct *kpb_current(void)
{
	return &kpb_this->init_task;
}

/*
 * What the allocator under test fetches. More than a page at once is a refill;
 * one that follows a failed attempt in the same operation fell back.
 */
static inline void kpb_count_refill(unsigned int order)
{
	struct kpb_machine *m = kpb_this;

	m->nr_held += 1UL << order;
	m->counters.refilled_pages += 1UL << order;
	m->counters.refills_order[order]++;
	m->op_events |= KPB_EV_PAGES;
	/* noblock's single pages are no refills, PBA's would be */
	if (!order && m->config.linear_map == KPB_MAP_PTE) {
		m->op_events &= ~KPB_EV_REFILL_FAILED;
		return;
	}
	m->counters.refills++;
	if (m->op_events & KPB_EV_REFILL_FAILED)
		m->counters.refill_fallbacks++;
	m->op_events &= ~KPB_EV_REFILL_FAILED;
	m->op_events |= KPB_EV_REFILL;
}

struct page *alloc_pages_noprof(gfp_t gfp, unsigned int order)
{
	struct page *page = __alloc_pages_noprof(gfp, order);

	if (likely(page))
		kpb_count_refill(order);
	else
		kpb_this->op_events |= KPB_EV_REFILL_FAILED;
	return page;
}

/* What it gives back. */
void __free_pages(struct page *page, unsigned int order)
{
	kpb_this->nr_held -= 1UL << order;
	kpb_this->counters.released_pages += 1UL << order;
	kpb_this->op_events |= KPB_EV_PAGES;
	___free_pages(page, order, FPI_NONE);
}

/* The cause that a pkey change is counted under. */
static enum kpb_cause kpb_pkey_cause(int pkey)
{
	if (kpb_this->cause <= KPB_CAUSE_LATE_INIT)
		return kpb_this->cause;
	return pkey == KPKEYS_PKEY_PGTABLES ? KPB_CAUSE_REFILL :
					      KPB_CAUSE_RELEASE;
}

/* A PTP was taken for a split: how low is the cache now? */
static void kpb_note_reserve(void)
{
	u64 nr_cached = kpb_this->ops->nr_cached();
	u64 *low = &kpb_this->counters.reserve_low_water_pages;

	*low = min(*low, nr_cached);
}

/* The path is repeated in reports: keep it below csrc/. */
static const char *kpb_short_file(const char *file)
{
	const char *csrc = strstr(file, "csrc/");
	const char *up;

	if (csrc)
		file = csrc + 5;
	/* a file that another one includes by way of its own folder */
	while ((up = strstr(file, "/../")))
		file = up + 4;
	return file;
}

void kpb_warn(const char *file, int line, const char *what)
{
	struct kpb_machine *m = kpb_this;
	unsigned int i;

	m->counters.warnings++;
	file = kpb_short_file(file);
	for (i = 0; i < m->nr_warn_sites; i++) {
		struct kpb_warning *w = &m->warnings[i];

		if (w->line == (u32)line && !strcmp(w->file, file)) {
			w->count++;
			return;
		}
	}
	if (i == KPB_NR_WARN_SITES)
		return;
	snprintf(m->warnings[i].file, sizeof(m->warnings[i].file), "%s", file);
	snprintf(m->warnings[i].what, sizeof(m->warnings[i].what), "%s", what);
	m->warnings[i].line = (u32)line;
	m->warnings[i].count = 1;
	m->nr_warn_sites++;
}

void kpb_stop(const char *file, int line, const char *what)
{
	struct kpb_border *border = &kpb_this->border;

	snprintf(border->msg, sizeof(border->msg), "%s (%s:%d)", what,
		 kpb_short_file(file), line);
	border->stopped = true;
	border->failed_op = kpb_this->nr_ops - kpb_this->replay_start;
	longjmp(border->escape, 1);
}
