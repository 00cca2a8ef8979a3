// SPDX-License-Identifier: GPL-2.0-only
/*
 * Between the mirrors and the laboratory: the kernel's interface of a page
 * table allocator leads to the one under test, and what that one does to the
 * buddy is counted here, from outside, so that the counts mean the same for
 * every allocator.
 */

#include <asm/pgtable.h>
#include <linux/kpkeys.h>
#include <linux/memcontrol.h>
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

/* under a spinlock, or where preemption is off for another reason */
void kpb_list_step(void)
{
	if (kpb_this->preempt_count)
		kpb_this->hold_steps++;
}

int kpb_charge_refused(void)
{
	kpb_this->counters.memcg_failures++;
	kpb_event(KPB_EVENT_CHARGE_FAILED, 0, 0, 0);
	return -ENOMEM;
}

static inline void kpb_set_page_types(u8 *first, unsigned int order, u8 type)
{
	/* noblock's single pages are worth not calling the library for */
	if (likely(!order))
		*first = type;
	else
		memset(first, type, 1UL << order);
}

/* Whose pages are these? Asked by whoever looks at memory as a whole. */
static inline void kpb_mark_held(struct page *page, unsigned int order)
{
	u8 *type = kpb_page_type(page_to_pfn(page));
	u8 charged = *type & KPB_PG_MEMCG;

	kpb_set_page_types(type, order, KPB_PG_HELD | KPB_PG_FLIGHT);
	*type |= charged;
	kpb_this->nr_in_flight += 1UL << order;
}

/* They carry the pkey, or go back without it: no refill is about them now. */
static void kpb_note_landed(unsigned long pfn, unsigned long nr)
{
	u8 *type = kpb_page_type(pfn);

	for (; nr && kpb_this->nr_in_flight; nr--, type++) {
		/* of a free page the bit belongs to the order */
		if ((*type & (KPB_PG_BUDDY | KPB_PG_FLIGHT)) != KPB_PG_FLIGHT)
			continue;
		*type &= (u8)~KPB_PG_FLIGHT;
		kpb_this->nr_in_flight--;
	}
}

/* How many of these pages carry the page table pkey? */
static __cold unsigned long kpb_count_keyed(const struct page *page,
					    unsigned int order)
{
	unsigned long pfn = page_to_pfn(page), end = pfn + (1UL << order);
	unsigned long nr_keyed = 0;

	for (; pfn < end; pfn++)
		nr_keyed += kpb_desc_pkey(kpb_leaf_desc(pfn)) ==
			    KPKEYS_PKEY_PGTABLES;
	return nr_keyed;
}

/*
 * What the allocator under test fetches. More than a page at once is a refill;
 * one of another order than the first one that is tried, and that follows a
 * failed attempt in the same operation, fell back.
 */
static inline void kpb_count_refill(struct page *page, unsigned int order,
				    unsigned int first_order)
{
	struct kpb_machine *m = kpb_this;

	kpb_event(KPB_EVENT_REFILL, page_to_pfn(page), order, 0);
	if (unlikely(m->nr_stray_pkey_pages))
		m->nr_stray_pkey_pages -= kpb_count_keyed(page, order);
	kpb_mark_held(page, order);
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
	if (unlikely(!m->late_init_done))
		kpb_note_early_region(page_to_pfn(page), order);
	m->counters.refills_in_shrink += m->shrink_depth != 0;
	if (m->op_events & KPB_EV_REFILL_FAILED && order != first_order)
		m->counters.refill_fallbacks++;
	m->op_events &= ~KPB_EV_REFILL_FAILED;
	m->op_events |= KPB_EV_REFILL;
}

/* fail_page_alloc: only what the allocator under test asks for */
static inline bool kpb_fail_alloc_pages(unsigned int order)
{
	u32 orders = kpb_this->faults[KPB_POINT_ALLOC_PAGES].fault.orders;

	return unlikely(kpb_this->faults_armed & BIT(KPB_POINT_ALLOC_PAGES)) &&
	       (!orders || orders & BIT(order)) &&
	       kpb_fault_due(KPB_POINT_ALLOC_PAGES);
}

struct page *alloc_pages_noprof(gfp_t gfp, unsigned int order)
{
	unsigned int failed = kpb_this->op_events & KPB_EV_REFILL_FAILED;
	unsigned int first_order = failed ? kpb_this->op_events >>
						    KPB_EV_FIRST_ORDER_SHIFT :
					    order;
	struct page *page = NULL;

	kpb_point(KPB_POINT_ALLOC_PAGES, NULL);
	if (likely(!kpb_fail_alloc_pages(order)))
		page = __alloc_pages_noprof(gfp, order);
	/* whatever became of refills by a shrinker meanwhile */
	kpb_this->op_events &= KPB_EV_MASK;
	kpb_this->op_events |= failed | first_order << KPB_EV_FIRST_ORDER_SHIFT;
	if (likely(page)) {
		kpb_count_refill(page, order, first_order);
	} else {
		kpb_event(KPB_EVENT_REFILL_FAILED, 0, order, 0);
		kpb_this->op_events |= KPB_EV_REFILL_FAILED;
	}
	return page;
}

/* What the kernel would report as a bad page, if it noticed. */
static inline void kpb_check_free(struct page *page)
{
	if (unlikely(!kpb_is_held(page_to_pfn(page))))
		kpb_stop(__FILE__, __LINE__,
			 "BUG: __free_pages() of a page that is not the allocator's");
	if (unlikely(page->mapping))
		kpb_warn(__FILE__, __LINE__,
			 "bad page state: page->mapping is set in a page that is freed");
}

/* What it gives back. */
void __free_pages(struct page *page, unsigned int order)
{
	struct kpb_machine *m = kpb_this;

	kpb_point(KPB_POINT_FREE_PAGES, NULL);
	kpb_check_free(page);
	kpb_event(KPB_EVENT_RELEASE, page_to_pfn(page), order, 0);
	kpb_note_landed(page_to_pfn(page), 1UL << order);
	m->nr_held -= 1UL << order;
	m->counters.released_pages += 1UL << order;
	m->op_events |= KPB_EV_PAGES;
	/* only an error that was asked for leaves the pkey on them */
	if (unlikely(m->counters.faults_injected))
		m->nr_stray_pkey_pages += kpb_count_keyed(page, order);
	memcg_kmem_uncharge_page(page, (int)order);
	kpb_set_page_types(kpb_page_type(page_to_pfn(page)), order, 0);
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
	u64 nr_cached = kpb_cached_pages(kpb_this) - kpb_this->nr_in_flight;
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

/* A place in the source, and how often something happened there. */
static u32 kpb_note_site(const char *file, int line, const char *what)
{
	struct kpb_machine *m = kpb_this;
	unsigned int i;

	file = kpb_short_file(file);
	for (i = 0; i < m->nr_warn_sites; i++) {
		struct kpb_warning *w = &m->warnings[i];

		if (w->line == (u32)line && !strcmp(w->file, file)) {
			w->count++;
			return i;
		}
	}
	if (i == KPB_NR_WARN_SITES)
		return i;
	snprintf(m->warnings[i].file, sizeof(m->warnings[i].file), "%s", file);
	snprintf(m->warnings[i].what, sizeof(m->warnings[i].what), "%s", what);
	m->warnings[i].line = (u32)line;
	m->warnings[i].count = 1;
	m->nr_warn_sites++;
	return i;
}

void kpb_warn(const char *file, int line, const char *what)
{
	kpb_this->counters.warnings++;
	kpb_event(KPB_EVENT_WARN, kpb_note_site(file, line, what), 0, 0);
}

/* Nothing more may run. A task that is stepped leaves its stack for ever. */
static void kpb_stop_msg(const char *msg)
{
	struct kpb_border *border = &kpb_this->border;
	struct kpb_task *task = kpb_running_task();

	snprintf(border->msg, sizeof(border->msg), "%s", msg);
	border->stopped = true;
	border->failed_op = kpb_this->nr_ops - kpb_this->replay_start;
	/* what they point to is about to be gone */
	kpb_this->frames = NULL;
	kpb_this->preempt_count = 0;
	if (task)
		kpb_task_switch_out(task, KPB_TASK_STOPPED);
	longjmp(border->escape, 1);
}

void kpb_stop(const char *file, int line, const char *what)
{
	char msg[KPB_MSG_BYTES], path[160];

	kpb_path_text(path, sizeof(path));
	snprintf(msg, sizeof(msg), "%s (%s:%d)%s%s", what, kpb_short_file(file),
		 line, path[0] ? "; path: " : "", path);
	kpb_stop_msg(msg);
}

/* The kernel's own conversions of a pointer: how long, and what it prints. */
static size_t kpb_print_pointer(const char *spec, const void *arg, char *out,
				size_t size)
{
	if (!strncmp(spec, "%pGg", 4)) {
		snprintf(out, size, "%#x", *(const gfp_t *)arg);
		return 4;
	}
	if (!strncmp(spec, "%pa", 3)) {
		snprintf(out, size, "%#018llx",
			 (unsigned long long)*(const phys_addr_t *)arg);
		return spec[3] == 'p' ? 4 : 3;
	}
	snprintf(out, size, "%p", arg);
	return 2;
}

/* One conversion, which begins at @spec; returns how long it is. */
static size_t kpb_print_one(const char *spec, va_list *args, char *out,
			    size_t size)
{
	size_t len = 1 + strspn(spec + 1, "-+ #0123456789.");
	size_t mods = strspn(spec + len, "hlzjt");
	char conv = spec[len + mods], one[32];

	if (conv == '%') {
		snprintf(out, size, "%%");
		return len + mods + 1;
	}
	if (conv == 'p')
		return kpb_print_pointer(spec, va_arg(*args, void *), out,
					 size);
	if (!conv || len + mods + 2 > sizeof(one) ||
	    strchr(spec, '*') == spec + len)
		return 0;
	memcpy(one, spec, len);
	if (conv == 's' || conv == 'c') {
		one[len] = conv;
		one[len + 1] = '\0';
		if (conv == 's')
			snprintf(out, size, one, va_arg(*args, char *));
		else
			snprintf(out, size, one, va_arg(*args, int));
		return len + mods + 1;
	}
	/* a number: as wide as it came, printed as the widest */
	memcpy(one + len, "ll", 2);
	one[len + 2] = conv;
	one[len + 3] = '\0';
	if (!mods || spec[len] == 'h') {
		int value = va_arg(*args, int);
		bool is_signed = conv == 'd' || conv == 'i';

		snprintf(out, size, one,
			 is_signed ? (long long)value :
				     (long long)(unsigned int)value);
	} else {
		snprintf(out, size, one, va_arg(*args, long long));
	}
	return len + mods + 1;
}

static void kpb_vprintk(const char *level, const char *fmt, va_list *args)
{
	struct kpb_machine *m = kpb_this;
	char *line = m->log[m->counters.log_lines % KPB_LOG_LINES];
	size_t used;

	used = (size_t)snprintf(line, KPB_LOG_BYTES, "%s: ", level);
	while (*fmt && *fmt != '\n' && used < KPB_LOG_BYTES - 1) {
		size_t len;

		if (*fmt != '%') {
			line[used++] = *fmt++;
			line[used] = '\0';
			continue;
		}
		len = kpb_print_one(fmt, args, line + used,
				    KPB_LOG_BYTES - used);
		if (!len)
			break;
		used += strlen(line + used);
		fmt += len;
	}
	kpb_event(KPB_EVENT_LOG, m->counters.log_lines++, 0, 0);
}

/* for the mirrors; an allocator file has its own (door/door.c) */
__maybe_unused void kpb_printk(const char *level, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	kpb_vprintk(level, fmt, &args);
	va_end(args);
}

/* The last lines logged, oldest first, each of KPB_LOG_BYTES; how many. */
static int kpb_granule_log(char *out)
{
	struct kpb_machine *m = kpb_this;
	u64 nr = min(m->counters.log_lines, (u64)KPB_LOG_LINES), i;

	for (i = 0; i < nr; i++)
		memcpy(out + i * KPB_LOG_BYTES,
		       m->log[(m->counters.log_lines - nr + i) % KPB_LOG_LINES],
		       KPB_LOG_BYTES);
	return (int)nr;
}
