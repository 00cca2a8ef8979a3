// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions of the kernel that allocate and free page tables, arm64 and x86,
 * 5.x to 7.x: the level of a table, and how much of a stack has to be passed
 * before a function decides.
 */

#include <pthread.h>
#include <string.h>

#include "import.h"

#define PTE 0
#define PMD 1
#define PUD 2
#define PGD 3
#define ANY KPB_LEVEL_UNKNOWN
#define SURE KPB_FN_SURE
#define LAYER KPB_FN_LAYER
#define HINT (KPB_FN_LAYER | KPB_FN_HINT)

/* Registers: where Debian's arm64 6.18 has the page at the call sites. */
static const struct kpb_import_fn kpb_import_fns[] = {
	{ "pgd_alloc", PGD, SURE | KPB_FN_FREE_LEVEL, { 19 } },
	{ "_pgd_alloc", PGD, SURE | KPB_FN_FREE_LEVEL, { 19 } },
	{ "__pgd_alloc", PGD, SURE | KPB_FN_FREE_LEVEL, { 19 } },
	{ "pgd_free", PGD, SURE | KPB_FN_FREE_LEVEL, { 21 } },
	{ "__pgd_free", PGD, SURE | KPB_FN_FREE_LEVEL, { 21 } },
	{ "__p4d_alloc", PUD, SURE | KPB_FN_P4D, { 19 } },
	{ "__pud_alloc", PUD, SURE, { 19 } },
	{ "__pmd_alloc", PMD, SURE, { 19 } },
	{ "preallocate_pmds", PMD, SURE, { 19 } },
	{ "__pte_alloc", PTE, SURE, { 19 } },
	{ "__pte_alloc_kernel", PTE, SURE | KPB_FN_KERNEL, { 19 } },
	{ "tlb_remove_table_rcu", ANY, SURE, { 19 } },
	{ "__tlb_remove_table", ANY, SURE, { 19 } },
	{ "__tlb_remove_table_one", ANY, SURE, { 19 } },
	{ "tlb_remove_table", ANY, SURE, { 19 } },
	{ "tlb_table_flush", ANY, SURE, { 19 } },
	{ "__tlb_remove_table_free", ANY, SURE, { 19 } },
	{ "tlb_remove_ptdesc", ANY, SURE, { 19 } },
	{ "pagetable_free", ANY, SURE, { 19 } },
	{ "__pagetable_free", ANY, SURE, { 19 } },
	{ "pagetable_dtor_free", ANY, SURE, { 19 } },
	{ "pgtable_free", ANY, SURE, { 19 } },
	{ "pte_free", ANY, SURE, { 19 } },
	{ "pte_free_kernel", ANY, SURE, { 19 } },
	{ "pte_free_now", ANY, SURE, { 19 } },
	{ "pmd_free", ANY, SURE, { 19 } },
	{ "pud_free", ANY, SURE, { 19 } },
	{ "p4d_free", ANY, SURE, { 19 } },
	{ "___pte_free_tlb", ANY, SURE, { 19 } },
	{ "___pmd_free_tlb", ANY, SURE, { 19 } },
	{ "___pud_free_tlb", ANY, SURE, { 19 } },
	{ "free_pgd_range", ANY, SURE, { 19 } },
	{ "do_fault", PTE, 0, { 21 } },
	{ "__do_fault", PTE, 0, { 21 } },
	{ "do_fault_around", PTE, 0, { 21 } },
	{ "do_read_fault", PTE, 0, { 21 } },
	{ "do_cow_fault", PTE, 0, { 21 } },
	{ "do_shared_fault", PTE, 0, { 21 } },
	{ "finish_fault", PTE, 0, { 21 } },
	{ "do_set_pmd", PTE, 0, { 21 } },
	{ "filemap_map_pages", PTE, 0, { 21 } },
	{ "do_huge_pmd_anonymous_page", PTE, 0, { 21, 22 } },
	{ "__do_huge_pmd_anonymous_page", PTE, 0, { 21, 22 } },
	{ "copy_huge_pmd", PTE, 0, { 28 } },
	{ "zap_huge_pmd", PTE, 0, { 20 } },
	{ "zap_deposited_table", PTE, 0, { 19 } },
	{ "insert_pmd", PTE, 0, { 19 } },
	{ "insert_pfn_pmd", PTE, 0, { 19 } },
	{ "vmf_insert_pfn_pmd", PTE, 0, { 19 } },
	/* tables of the linear map and of EFI: what level, the name hides */
	{ "pgd_pgtable_alloc", ANY, KPB_FN_KERNEL, { 19 } },
	{ "__pgd_pgtable_alloc", ANY, KPB_FN_KERNEL, { 19 } },
	{ "pgd_pgtable_alloc_init_mm", ANY, KPB_FN_KERNEL, { 19 } },
	{ "pgd_pgtable_alloc_special_mm", ANY, KPB_FN_KERNEL, { 19 } },
	{ "pgtable_alloc_addr", ANY, KPB_FN_KERNEL, { 19 } },
	/* layers with a level in their name */
	{ "pte_alloc_one", PTE, HINT, { 0 } },
	{ "__pte_alloc_one", PTE, HINT, { 0 } },
	{ "pte_alloc_one_kernel", PTE, HINT, { 0 } },
	{ "__pte_alloc_one_kernel", PTE, HINT, { 0 } },
	{ "pmd_alloc_one", PMD, HINT, { 0 } },
	{ "pud_alloc_one", PUD, HINT, { 0 } },
	{ "__pud_alloc_one", PUD, HINT, { 0 } },
	{ "p4d_alloc_one", PUD, HINT | KPB_FN_P4D, { 0 } },
	{ "__p4d_alloc_one", PUD, HINT | KPB_FN_P4D, { 0 } },
	/* layers without */
	{ "__alloc_pages", ANY, LAYER, { 0 } },
	{ "__alloc_pages_nodemask", ANY, LAYER, { 0 } },
	{ "__alloc_frozen_pages", ANY, LAYER, { 0 } },
	{ "alloc_frozen_pages", ANY, LAYER, { 0 } },
	{ "alloc_pages", ANY, LAYER, { 0 } },
	{ "alloc_pages_mpol", ANY, LAYER, { 0 } },
	{ "alloc_pages_current", ANY, LAYER, { 0 } },
	{ "alloc_page_interleave", ANY, LAYER, { 0 } },
	{ "alloc_pages_node", ANY, LAYER, { 0 } },
	{ "__alloc_pages_node", ANY, LAYER, { 0 } },
	{ "__get_free_pages", ANY, LAYER, { 0 } },
	{ "get_free_pages", ANY, LAYER, { 0 } },
	{ "get_zeroed_page", ANY, LAYER, { 0 } },
	{ "pagetable_alloc", ANY, LAYER, { 0 } },
	{ "trace_event_raw_event_mm_page_alloc", ANY, LAYER, { 0 } },
	{ "trace_event_buffer_commit", ANY, LAYER, { 0 } },
	{ "__traceiter_mm_page_alloc", ANY, LAYER, { 0 } },
	{ "perf_trace_mm_page_alloc", ANY, LAYER, { 0 } },
	{ "trace_mm_page_alloc", ANY, LAYER, { 0 } },
	/* what a probe on the counter passes */
	{ "mod_node_page_state", ANY, LAYER, { 0 } },
	{ "lruvec_stat_mod_folio", ANY, LAYER, { 0 } },
	{ "__lruvec_stat_mod_folio", ANY, LAYER, { 0 } },
	{ "__mod_lruvec_page_state", ANY, LAYER, { 0 } },
	{ "kprobe_ftrace_handler", ANY, LAYER, { 0 } },
	{ "kprobe_dispatcher", ANY, LAYER, { 0 } },
	{ "kprobe_perf_func", ANY, LAYER, { 0 } },
};

#define NR_FNS (sizeof(kpb_import_fns) / sizeof(kpb_import_fns[0]))
#define FN_BUCKETS 512u
_Static_assert(NR_FNS * 4 < FN_BUCKETS, "short probes");

static uint8_t kpb_import_fn_index[FN_BUCKETS]; /* index + 1 */
static pthread_once_t kpb_import_fn_once = PTHREAD_ONCE_INIT;

/* Length and the last bytes tell the names apart; the first ones do not. */
static uint32_t kpb_import_fn_hash(const char *name, size_t len)
{
	uint32_t hash = (uint32_t)len;
	size_t i;

	for (i = len > 12 ? len - 12 : 0; i < len; i++)
		hash = (hash ^ (uint8_t)name[i]) * 16777619u;
	return (hash ^ hash >> 15) % FN_BUCKETS;
}

static void kpb_import_fn_init(void)
{
	uint32_t at;
	size_t i;

	for (i = 0; i < NR_FNS; i++) {
		at = kpb_import_fn_hash(kpb_import_fns[i].name,
					strlen(kpb_import_fns[i].name));
		while (kpb_import_fn_index[at])
			at = (at + 1) % FN_BUCKETS;
		kpb_import_fn_index[at] = (uint8_t)(i + 1);
	}
}

/**
 * kpb_import_fn() - look up a function
 * @name: symbol, perhaps with "+0x12/0x34", ".isra.0", "_noprof" behind it
 * @len: bytes of @name that may be looked at
 *
 * Return: what is known of it, or NULL.
 */
const struct kpb_import_fn *kpb_import_fn(const char *name, size_t len)
{
	uint32_t at;
	size_t end;

	pthread_once(&kpb_import_fn_once, kpb_import_fn_init);
	for (end = 0; end < len; end++) {
		char c = name[end];

		if (c == '+' || c == ' ' || c == '.' || c == '(' || c == '\t')
			break;
	}
	if (end > 7 && !memcmp(name + end - 7, "_noprof", 7))
		end -= 7;
	if (!end || end > 48)
		return NULL;
	for (at = kpb_import_fn_hash(name, end); kpb_import_fn_index[at];
	     at = (at + 1) % FN_BUCKETS) {
		const struct kpb_import_fn *fn =
			&kpb_import_fns[kpb_import_fn_index[at] - 1];

		/* a recording may have a zero byte in a name */
		if (strlen(fn->name) == end && !memcmp(fn->name, name, end))
			return fn;
	}
	return NULL;
}
