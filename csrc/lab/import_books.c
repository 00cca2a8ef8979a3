// SPDX-License-Identifier: GPL-2.0-only
/*
 * Import of recordings: raw events become operations that can be replayed.
 *
 * DOC: books
 *
 * A page is live from its alloc to its free. An event that contradicts this is
 * counted and repaired so that what is left can be replayed:
 *
 * - alloc of a live page: a free was missed; it is put directly before, at the
 *   time and on the CPU of the alloc. The same where a live page goes to
 *   somebody else than a page table;
 * - free of a page that is seen for the first time: it was allocated before the
 *   recording began and goes to the prologue;
 * - free of a page that was freed before: an alloc was missed, nobody knows
 *   when; the free is left out;
 * - a time before that of the event before: the time of that one is taken.
 *
 * Slots are the lowest free ones, given when the operations are taken: only
 * then it is known how many pages the prologue has.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "import.h"

#define MAP_DEAD 0x80000000u

static int kpb_map_init(struct kpb_page_map *map, uint64_t cap)
{
	map->keys = calloc(cap, sizeof(*map->keys));
	map->pages = calloc(cap, sizeof(*map->pages));
	if (!map->keys || !map->pages)
		return -ENOMEM;
	map->mask = cap - 1;
	return 0;
}

static void kpb_map_release(struct kpb_page_map *map)
{
	free(map->keys);
	free(map->pages);
	memset(map, 0, sizeof(*map));
}

/* Where @key is, or where it would be put: there is always room. */
static uint64_t kpb_map_find(const struct kpb_page_map *map, uint64_t key)
{
	uint64_t at = key * 0x9e3779b97f4a7c15ULL;

	for (at = (at ^ at >> 32) & map->mask;
	     map->pages[at] && map->keys[at] != key; at = (at + 1) & map->mask)
		;
	return at;
}

static int kpb_map_grow(struct kpb_page_map *map)
{
	struct kpb_page_map bigger = { 0 };
	uint64_t i, at;
	int ret;

	if (map->nr * 2 <= map->mask)
		return 0;
	ret = kpb_map_init(&bigger, (map->mask + 1) * 2);
	if (ret) {
		kpb_map_release(&bigger);
		return ret;
	}
	for (i = 0; i <= map->mask; i++) {
		if (!map->pages[i])
			continue;
		at = kpb_map_find(&bigger, map->keys[i]);
		bigger.keys[at] = map->keys[i];
		bigger.pages[at] = map->pages[i];
	}
	bigger.nr = map->nr;
	kpb_map_release(map);
	*map = bigger;
	return 0;
}

/* Room for one more element of @size at @nr; *@array keeps what it has. */
static int kpb_room(void *array, uint64_t cap, size_t size)
{
	void *old, *bigger;

	memcpy(&old, array, sizeof(old));
	bigger = realloc(old, cap * size);
	if (!bigger)
		return -ENOMEM;
	memcpy(array, &bigger, sizeof(bigger));
	return 0;
}

/**
 * kpb_books_init() - books of a recording that has not begun
 * @books: zeroed
 * @max_ops: operations of the result at most, prologue included
 *
 * Return: 0 or -ENOMEM; kpb_books_release() is due in any case.
 */
int kpb_books_init(struct kpb_books *books, uint64_t max_ops)
{
	books->max_ops = max_ops;
	return kpb_map_init(&books->map, 1024);
}

void kpb_books_release(struct kpb_books *books)
{
	kpb_map_release(&books->map);
	free(books->ts_ns);
	free(books->ops);
	free(books->page_level);
	free(books->page_arg);
	free(books->pre);
	memset(books, 0, sizeof(*books));
}

/* Memory of the host, as far as it grows. */
uint64_t kpb_books_bytes(const struct kpb_books *books)
{
	return (books->map.mask + 1) *
		       (sizeof(*books->map.keys) + sizeof(*books->map.pages)) +
	       books->cap_ops * (sizeof(*books->ts_ns) + sizeof(*books->ops)) +
	       books->cap_pages * 2 + books->cap_pre * sizeof(*books->pre);
}

/* Whether a table is live in page @page. */
bool kpb_books_live(const struct kpb_books *books, uint64_t page)
{
	uint32_t entry = books->map.pages[kpb_map_find(&books->map, page)];

	return entry && !(entry & MAP_DEAD);
}

static int kpb_books_full(struct kpb_import *imp, uint32_t file, uint64_t line)
{
	return kpb_import_fail(
		imp, -E2BIG, file, line,
		"more than %llu operations; import a shorter part of it",
		(unsigned long long)imp->books.max_ops);
}

static int kpb_books_emit(struct kpb_import *imp, uint32_t file,
			  const struct kpb_raw *raw, uint64_t ts_ns,
			  uint8_t kind, uint32_t page)
{
	struct kpb_books *books = &imp->books;
	uint64_t cap = books->cap_ops ? books->cap_ops * 2 : 4096;

	if (books->nr_ops + books->nr_pre >= books->max_ops)
		return kpb_books_full(imp, file, raw->line);
	if (books->nr_ops == books->cap_ops) {
		if (cap > books->max_ops)
			cap = books->max_ops;
		if (kpb_room(&books->ts_ns, cap, sizeof(*books->ts_ns)) ||
		    kpb_room(&books->ops, cap, sizeof(*books->ops)))
			return -ENOMEM;
		books->cap_ops = cap;
	}
	books->ts_ns[books->nr_ops] = (int64_t)ts_ns;
	books->ops[books->nr_ops++] = (struct kpb_op){
		.slot = page,
		.kind = kind,
		.cpu = raw->cpu,
		.level = books->page_level[page],
		.arg = books->page_arg[page],
	};
	return 0;
}

static int kpb_books_page(struct kpb_books *books, const struct kpb_raw *raw,
			  uint32_t *out)
{
	uint64_t cap = books->cap_pages ? books->cap_pages * 2 : 4096;

	if (books->nr_pages == books->cap_pages) {
		if (kpb_room(&books->page_level, cap, 1) ||
		    kpb_room(&books->page_arg, cap, 1))
			return -ENOMEM;
		books->cap_pages = cap;
	}
	*out = (uint32_t)books->nr_pages;
	books->page_level[books->nr_pages] =
		raw->level == KPB_LEVEL_UNKNOWN ? 0 : raw->level;
	books->page_arg[books->nr_pages++] = raw->arg;
	return 0;
}

/* Count a time that runs backwards; return the one to use. */
static uint64_t kpb_books_time(struct kpb_import *imp, uint32_t file,
			       const struct kpb_raw *raw)
{
	struct kpb_books *books = &imp->books;
	uint64_t ts_ns = raw->ts_ns;

	if (ts_ns < books->cpu_ts_ns[raw->cpu])
		kpb_import_note(imp, KPB_IMPORT_CLOCK_STEPS, 1, file,
				raw->line);
	else if (ts_ns < books->last_ts_ns)
		kpb_import_note(imp, KPB_IMPORT_CPU_DISORDER, 1, file,
				raw->line);
	books->cpu_ts_ns[raw->cpu] = ts_ns;
	if (ts_ns < books->last_ts_ns)
		return books->last_ts_ns;
	books->last_ts_ns = ts_ns;
	return ts_ns;
}

static int kpb_books_alloc(struct kpb_import *imp, uint32_t file,
			   const struct kpb_raw *raw, uint64_t ts_ns)
{
	struct kpb_books *books = &imp->books;
	uint64_t at = kpb_map_find(&books->map, raw->page);
	uint32_t entry = books->map.pages[at], page;
	int ret;

	if (entry && !(entry & MAP_DEAD)) {
		kpb_import_note(imp, KPB_IMPORT_DOUBLE_ALLOCS, 1, file,
				raw->line);
		ret = kpb_books_emit(imp, file, raw, ts_ns, KPB_OP_FREE,
				     entry - 1);
		if (ret)
			return ret;
		books->nr_live--;
	}
	ret = kpb_books_page(books, raw, &page);
	if (ret)
		return ret;
	books->map.nr += !entry;
	books->map.keys[at] = raw->page;
	books->map.pages[at] = page + 1;
	books->nr_live++;
	ret = kpb_books_emit(imp, file, raw, ts_ns, KPB_OP_ALLOC, page);
	return ret ? ret : kpb_map_grow(&books->map);
}

/* A page that was there before the recording began. */
static int kpb_books_pre(struct kpb_import *imp, uint32_t file,
			 const struct kpb_raw *raw, uint64_t at, uint64_t ts_ns)
{
	struct kpb_books *books = &imp->books;
	uint64_t cap = books->cap_pre ? books->cap_pre * 2 : 64;
	struct kpb_raw unknown = *raw;
	uint32_t page;
	int ret;

	kpb_import_note(imp, KPB_IMPORT_PRE_FREES, 1, file, raw->line);
	if (books->nr_ops + books->nr_pre >= books->max_ops)
		return kpb_books_full(imp, file, raw->line);
	if (books->nr_pre == books->cap_pre) {
		if (kpb_room(&books->pre, cap, sizeof(*books->pre)))
			return -ENOMEM;
		books->cap_pre = cap;
	}
	/* The function that frees does not tell the level, save for a PGD. */
	unknown.level = KPB_LEVEL_UNKNOWN;
	ret = kpb_books_page(books, &unknown, &page);
	if (ret)
		return ret;
	books->pre[books->nr_pre++] = page;
	books->map.nr++;
	books->map.keys[at] = raw->page;
	books->map.pages[at] = (page + 1) | MAP_DEAD;
	ret = kpb_books_emit(imp, file, raw, ts_ns, KPB_OP_FREE, page);
	return ret ? ret : kpb_map_grow(&books->map);
}

static int kpb_books_free(struct kpb_import *imp, uint32_t file,
			  const struct kpb_raw *raw, uint64_t ts_ns)
{
	struct kpb_books *books = &imp->books;
	uint64_t at = kpb_map_find(&books->map, raw->page);
	uint32_t entry = books->map.pages[at];

	if (!entry)
		return kpb_books_pre(imp, file, raw, at, ts_ns);
	if (entry & MAP_DEAD) {
		kpb_import_note(imp, KPB_IMPORT_UNKNOWN_FREES, 1, file,
				raw->line);
		return 0;
	}
	if ((raw->flags & KPB_RAW_PRE) ||
	    (raw->level != KPB_LEVEL_UNKNOWN &&
	     raw->level != books->page_level[entry - 1]))
		kpb_import_note(imp, KPB_IMPORT_LEVEL_MISMATCHES, 1, file,
				raw->line);
	books->map.pages[at] = entry | MAP_DEAD;
	books->nr_live--;
	return kpb_books_emit(imp, file, raw, ts_ns, KPB_OP_FREE, entry - 1);
}

/**
 * kpb_books_add() - take the next event of the recording
 * @imp: whose books
 * @file: that it was read from
 * @raw: the event, in order of the recording
 *
 * Return: 0; -E2BIG with a message; -ENOMEM.
 */
int kpb_books_add(struct kpb_import *imp, uint32_t file,
		  const struct kpb_raw *raw)
{
	struct kpb_books *books = &imp->books;
	uint64_t ts_ns = kpb_books_time(imp, file, raw);

	switch (raw->kind) {
	case KPB_RAW_ALLOC:
		kpb_import_note(imp, KPB_IMPORT_TABLE_EVENTS, 1, file,
				raw->line);
		return kpb_books_alloc(imp, file, raw, ts_ns);
	case KPB_RAW_FREE:
		kpb_import_note(imp, KPB_IMPORT_TABLE_EVENTS, 1, file,
				raw->line);
		return kpb_books_free(imp, file, raw, ts_ns);
	case KPB_RAW_OTHER_ALLOC:
		if (!kpb_books_live(books, raw->page))
			return 0;
		kpb_import_note(imp, KPB_IMPORT_MISSED_FREES, 1, file,
				raw->line);
		return kpb_books_free(imp, file, raw, ts_ns);
	default:
		if (!kpb_books_live(books, raw->page))
			return 0;
		kpb_import_note(imp, KPB_IMPORT_TABLE_EVENTS, 1, file,
				raw->line);
		return kpb_books_free(imp, file, raw, ts_ns);
	}
}

/* --- slots: a tree of bits, 64 to a word, set where a slot is free --------- */

#define TREE_LEVELS 4

struct kpb_slot_tree {
	uint64_t *words[TREE_LEVELS];
};

static int kpb_tree_init(struct kpb_slot_tree *tree, uint64_t nr)
{
	uint64_t i;
	int level;

	for (level = 0; level < TREE_LEVELS; level++) {
		uint64_t nr_words = (nr + 63) / 64;

		tree->words[level] = calloc(nr_words, sizeof(uint64_t));
		if (!tree->words[level])
			return -ENOMEM;
		for (i = 0; i < nr; i++)
			tree->words[level][i / 64] |= 1ULL << i % 64;
		nr = nr_words;
	}
	return 0;
}

static void kpb_tree_release(struct kpb_slot_tree *tree)
{
	int level;

	for (level = 0; level < TREE_LEVELS; level++)
		free(tree->words[level]);
}

static uint32_t kpb_tree_take(struct kpb_slot_tree *tree)
{
	uint64_t at = 0;
	uint32_t slot;
	int level;

	for (level = TREE_LEVELS - 1; level >= 0; level--)
		at = at * 64 +
		     (unsigned int)__builtin_ctzll(tree->words[level][at]);
	slot = (uint32_t)at;
	for (level = 0; level < TREE_LEVELS; level++) {
		uint64_t *word = &tree->words[level][at / 64];

		*word &= ~(1ULL << at % 64);
		if (*word)
			break;
		at /= 64;
	}
	return slot;
}

static void kpb_tree_put(struct kpb_slot_tree *tree, uint64_t at)
{
	int level;

	for (level = 0; level < TREE_LEVELS; level++) {
		tree->words[level][at / 64] |= 1ULL << at % 64;
		at /= 64;
	}
}

/**
 * kpb_books_take() - the operations, with slots
 * @books: of a recording that is read
 * @ts_ns: prologue and operations: recorded times
 * @ops: the same number of operations
 *
 * Return: 0 or -ENOMEM.
 */
int kpb_books_take(const struct kpb_books *books, int64_t *ts_ns,
		   struct kpb_op *ops)
{
	struct kpb_slot_tree tree = { 0 };
	uint64_t i, nr = 0;
	uint32_t *slot_of;
	int ret;

	/* 64^4 slots, more than any max_ops: kpb_import_create() sees to it */
	ret = kpb_tree_init(&tree, books->nr_pages + 1);
	slot_of = malloc((books->nr_pages + 1) * sizeof(*slot_of));
	if (ret || !slot_of) {
		ret = -ENOMEM;
		goto out_free;
	}
	for (i = 0; i < books->nr_pre; i++, nr++) {
		uint32_t page = books->pre[i];

		slot_of[page] = kpb_tree_take(&tree);
		ts_ns[nr] = books->ts_ns[0];
		ops[nr] = (struct kpb_op){
			.slot = slot_of[page],
			.kind = KPB_OP_ALLOC,
			.level = books->page_level[page],
			.arg = books->page_arg[page],
		};
	}
	for (i = 0; i < books->nr_ops; i++, nr++) {
		uint32_t page = books->ops[i].slot;

		if (books->ops[i].kind == KPB_OP_ALLOC)
			slot_of[page] = kpb_tree_take(&tree);
		else
			kpb_tree_put(&tree, slot_of[page]);
		ts_ns[nr] = books->ts_ns[i];
		ops[nr] = books->ops[i];
		ops[nr].slot = slot_of[page];
	}
out_free:
	kpb_tree_release(&tree);
	free(slot_of);
	return ret;
}

/**
 * kpb_import_renumber() - give operations the lowest free slots
 * @ops: ALLOC and FREE, from empty slots; their slots are replaced
 * @nr: number of operations, below 2^24
 * @nr_slots: above all slots of @ops
 *
 * Return: 0; -EINVAL if an operation is another one or does not fit its slot;
 * -ENOMEM.
 */
int kpb_import_renumber(struct kpb_op *ops, uint64_t nr, uint32_t nr_slots)
{
	struct kpb_slot_tree tree = { 0 };
	uint32_t *slot_of; /* slot + 1; 0: empty */
	uint64_t i;
	int ret;

	if (!nr_slots || nr_slots >= 1u << 24)
		return -EINVAL;
	ret = kpb_tree_init(&tree, nr_slots);
	slot_of = calloc(nr_slots, sizeof(*slot_of));
	if (ret || !slot_of) {
		ret = -ENOMEM;
		goto out_free;
	}
	for (i = 0; i < nr; i++) {
		uint32_t slot = ops[i].slot;

		if (slot >= nr_slots || ops[i].kind > KPB_OP_FREE ||
		    !slot_of[slot] != (ops[i].kind == KPB_OP_ALLOC)) {
			ret = -EINVAL;
			goto out_free;
		}
		if (ops[i].kind == KPB_OP_ALLOC) {
			slot_of[slot] = kpb_tree_take(&tree) + 1;
			ops[i].slot = slot_of[slot] - 1;
		} else {
			ops[i].slot = slot_of[slot] - 1;
			kpb_tree_put(&tree, ops[i].slot);
			slot_of[slot] = 0;
		}
	}
out_free:
	kpb_tree_release(&tree);
	free(slot_of);
	return ret;
}
