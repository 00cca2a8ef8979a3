/* SPDX-License-Identifier: GPL-2.0-only */
/* Namesake of linux/memcontrol.h. */
#ifndef _LINUX_MEMCONTROL_H
#define _LINUX_MEMCONTROL_H

#include <linux/mm.h>

/* lab/dispatch.c */
KPB_LOCAL int kpb_charge_refused(void);

/*
 * CUSTOM: there is one cgroup. A charge that would exceed its limit is refused
 * at once; the kernel would first reclaim from the cgroup.
 */
static inline int memcg_kmem_charge_page(struct page *page, gfp_t gfp,
					 int order)
{
	struct kpb_machine *m = kpb_this;

	(void)gfp;
	kpb_point(KPB_POINT_CHARGE, NULL);
	if (kpb_should_fail(KPB_POINT_CHARGE) ||
	    unlikely(m->nr_charged + (1UL << order) >
		     m->config.memcg_limit_pages))
		return kpb_charge_refused();
	*kpb_page_type(page_to_pfn(page)) |= KPB_PG_MEMCG;
	m->nr_charged += 1UL << order;
	m->counters.memcg_charges += 1UL << order;
	return 0;
}

/* DUPLICATED: pages that are not charged are left alone */
static inline void memcg_kmem_uncharge_page(struct page *page, int order)
{
	u8 *type = kpb_page_type(page_to_pfn(page));

	if (!(*type & KPB_PG_MEMCG))
		return;
	*type &= (u8)~KPB_PG_MEMCG;
	kpb_this->nr_charged -= 1UL << order;
	kpb_this->counters.memcg_uncharges += 1UL << order;
}

#endif
