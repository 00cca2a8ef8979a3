// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every name that v5 to v8 of mm/kpkeys_hardened_pgtables.c use, once: it compiles if csrc/include
 * has all of them. It is no allocator to run.
 */

#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/kpkeys.h>
#include <linux/list.h>
#include <linux/memblock.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/set_memory.h>
#include <linux/shrinker.h>
#include <linux/spinlock.h>

#include <kunit/visibility.h>

/* Static keys and annotations */

__ro_after_init DEFINE_STATIC_KEY_FALSE(kpkeys_hardened_pgtables_key);
EXPORT_SYMBOL_IF_KUNIT(kpkeys_hardened_pgtables_key);
DECLARE_STATIC_KEY_FALSE(names_key);
DEFINE_STATIC_KEY_FALSE(names_key);

static int names_initdata __initdata;
static int __maybe_unused names_unused;

static int __init names_core_init(void)
{
	return names_initdata;
}
core_initcall(names_core_init);

static int __init names_late_init(void)
{
	static_branch_enable(&names_key);
	return static_branch_likely(&names_key) + static_branch_unlikely(&names_key);
}
late_initcall(names_late_init);

/* Locks */

static DEFINE_SPINLOCK(names_spinlock);
static DEFINE_MUTEX(names_mutex);
static struct {
	spinlock_t lock;
	struct mutex mutex;
	struct list_head list;
} names = {
	.lock = __SPIN_LOCK_UNLOCKED(names.lock),
	.mutex = __MUTEX_INITIALIZER(names.mutex),
	.list = LIST_HEAD_INIT(names.list),
};

static bool __ref names_locks(void)
{
	bool mine;

	spin_lock(&names_spinlock);
	spin_unlock(&names_spinlock);
	spin_lock_bh(&names.lock);
	spin_unlock_bh(&names.lock);
	mutex_lock(&names_mutex);
	mine = (struct task_struct *)mutex_get_owner(&names_mutex) == current;
	mutex_unlock(&names_mutex);
	scoped_guard(mutex, &names.mutex)
		mine = !mine;
	scoped_guard(spinlock_bh, &names.lock) {
		mine = !mine;
	}
	guard(mutex)(&names_mutex);
	guard(spinlock_bh)(&names.lock);
	guard(spinlock)(&names_spinlock);
	return mine;
}

/* Lists */

static unsigned int names_lists(struct page *a, struct page *b)
{
	struct page *page, *next;
	unsigned int nr = 0;
	LIST_HEAD(one);
	LIST_HEAD(two);

	list_add(&a->lru, &one);
	list_add_tail(&b->lru, &one);
	list_move(&a->lru, &two);
	list_move_tail(&a->lru, &one);
	list_splice(&two, &one);
	list_splice_init(&one, &two);
	list_for_each_entry(page, &two, lru)
		nr++;
	list_for_each_entry_safe(page, next, &two, lru)
		nr++;
	if (!list_empty(&two)) {
		page = list_first_entry(&two, struct page, lru);
		nr += page == list_last_entry(&two, struct page, lru);
		nr += list_first_entry_or_null(&two, struct page, lru) == page;
	}
	list_del(&a->lru);
	list_del_init(&b->lru);
	return nr + (container_of(&a->lru, struct page, lru) == a);
}

/* Helpers, checks and logs */

static u64 names_helpers(gfp_t gfp, phys_addr_t phys)
{
	static const unsigned int orders[] = { PMD_ORDER, 2 };
	u8 byte = READ_ONCE(names_unused);
	u16 half = ALIGN_DOWN(phys, PAGE_SIZE);
	u32 word = min_t(u32, byte, half);
	size_t size = ALIGN(phys, PMD_SIZE);
	bool aligned = IS_ALIGNED(phys, PMD_SIZE) && !(phys & ~PAGE_MASK);

	BUILD_BUG_ON(MAX_PAGE_ORDER < 2);
	BUILD_BUG_ON(PMD_SHIFT - PAGE_SHIFT != PMD_ORDER);
	VM_BUG_ON(PTRS_PER_PTE != 1 << PMD_ORDER);
	WRITE_ONCE(names_unused, max(1, (int)word));
	WARN_ON(aligned);
	WARN_ON_ONCE(aligned);
	WARN_ONCE(aligned, "aligned\n");
	VM_WARN_ON(aligned);
	VM_WARN_ON_ONCE(aligned);
	VM_WARN_ONCE(aligned, "flags %pGg\n", &gfp);
	pr_debug("at %pa\n", &phys);
	pr_warn("order %u\n", orders[0]);
	pr_info("%zu orders\n", ARRAY_SIZE(orders));
	if (likely(aligned) || unlikely(!size))
		return min(size, (size_t)orders[1]);
	return size;
}

/* Pages */

static struct page *names_pages(struct page *page)
{
	struct ptdesc *ptdesc = page_ptdesc(page);
	unsigned long addr = (unsigned long)page_address(ptdesc_page(ptdesc));

	page->mapping = NULL;
	page->private = 0;
	set_page_private(page, page_private(page));
	clear_highpage(page);
	WARN_ON(virt_to_page((void *)addr) != pfn_to_page(page_to_pfn(page)));
	WARN_ON(__pa(__va(page_to_phys(page))) != page_to_phys(page));
	return page;
}

static struct page *names_gfp(unsigned int order)
{
	const gfp_t gfp = GFP_KERNEL | GFP_ATOMIC | GFP_PGTABLE_KERNEL | __GFP_ZERO |
			  __GFP_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN | __GFP_RETRY_MAYFAIL |
			  __GFP_HIGH | __GFP_PGTABLE_SPLIT | __GFP_COMP;
	struct page *page = alloc_pages_noprof(gfp, order) ?: alloc_pages(gfp, order);

	if (!page)
		return alloc_page(gfp);
	if (memcg_kmem_charge_page(page, gfp, 0))
		return NULL;
	memcg_kmem_uncharge_page(page, 0);
	split_page(page, order);
	__free_page(page);
	__free_pages(page, order);
	return names_pages(page);
}

/* kpkeys */

static int names_kpkeys(struct page *page)
{
	u64 pkey_reg = kpkeys_set_level(KPKEYS_LVL_PGTABLES + KPKEYS_LVL_DEFAULT +
					KPKEYS_CTX_PGTABLES + KPKEYS_CTX_DEFAULT);

	kpkeys_restore_pkey_reg(pkey_reg);
	if (!arch_kpkeys_enabled() || !arch_supports_kpkeys() || arch_has_pte_only_direct_map())
		return 0;
	arch_kpkeys_protect_static_pgtables();
	set_memory_pkey((unsigned long)page_address(page), 1, KPKEYS_PKEY_DEFAULT);
	return set_memory_pkey((unsigned long)page_address(page), 1, KPKEYS_PKEY_PGTABLES);
}

/* Shrinker */

static unsigned long names_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	sc->nr_scanned = sc->nr_to_scan;
	return shrinker->batch ? SHRINK_EMPTY : SHRINK_STOP;
}

static void names_shrinker(void)
{
	struct shrinker *shrinker = shrinker_alloc(0, "names-%d", 1);

	if (!shrinker)
		return;
	shrinker->count_objects = names_count;
	shrinker->scan_objects = names_count;
	shrinker->seeks = DEFAULT_SEEKS;
	shrinker->batch = 1;
	shrinker_register(shrinker);
}

/* memblock */

static phys_addr_t names_ranges[INIT_MEMBLOCK_MEMORY_REGIONS];

phys_addr_t __init kpkeys_physmem_pgtable_alloc(void)
{
	names_ranges[0] = memblock_phys_alloc_range(PAGE_SIZE, PAGE_SIZE, 0,
						    MEMBLOCK_ALLOC_NOLEAKTRACE);
	memblock_free_late(names_ranges[0], PAGE_SIZE);
	return names_ranges[0];
}

/* Interface */

struct page *kpkeys_pgtable_alloc(gfp_t gfp)
{
	struct page *page = names_gfp(1);

	names_lists(page, page + 1);
	names_helpers(gfp, page_to_phys(page));
	return names_kpkeys(page) ? NULL : page;
}
EXPORT_SYMBOL_IF_KUNIT(kpkeys_pgtable_alloc);

void kpkeys_pgtable_free(struct page *page)
{
	__free_page(page);
}

int kpkeys_prepare_direct_map_split(void)
{
	return 0;
}

bool kpkeys_ready_for_direct_map_split(void)
{
	return names_locks();
}

void __init kpkeys_hardened_pgtables_init(void)
{
	names_shrinker();
}

void __init kpkeys_hardened_pgtables_init_late(void)
{
}
