/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Import of recordings, inside: lines become raw events (import_text.c, with
 * the functions of import_names.c), raw events become operations on pages that
 * are live or not (import_books.c).
 */
#ifndef KPB_LAB_IMPORT_H
#define KPB_LAB_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kpb_api.h"

#define KPB_IMPORT_MAX_CPU 255
#define KPB_IMPORT_MAX_TS_NS (1ULL << 61)
#define KPB_IMPORT_MAX_COLUMNS 64
#define KPB_IMPORT_REGS 31
/* Raw events of one source that wait: for a stack, for the item, for others. */
#define KPB_IMPORT_WAITING 65536u
#define KPB_IMPORT_MAX_QUEUE (4 * KPB_IMPORT_WAITING)

#define KPB_LEVEL_OF_PGD 3
/* in kpb_raw::level */
#define KPB_LEVEL_UNKNOWN 0xff

enum kpb_raw_kind {
	KPB_RAW_ALLOC,
	KPB_RAW_FREE,
	KPB_RAW_OTHER_ALLOC, /* a page for something else than a table */
	KPB_RAW_PAGE_FREE,   /* a free of any page, perhaps of a table */
};

enum kpb_raw_state {
	KPB_RAW_READY,
	KPB_RAW_WAITS_STACK,
	KPB_RAW_WAITS_ITEM,
	KPB_RAW_DROPPED,
};

/* What kpb_raw::flags says of an event that waits for its stack. */
#define KPB_RAW_HIGHER_ORDER 1u
#define KPB_RAW_LIKE_TABLE 2u /* zeroed and unmovable */
#define KPB_RAW_PROBE 4u      /* a table for sure, of unknown level */
#define KPB_RAW_PRE 8u	      /* a CSV says: allocated before the recording */

/**
 * struct kpb_raw - one event as it was read
 * @ts_ns: recorded time
 * @page: what identifies the page: pfn or address of its struct page
 * @line: where it was read
 * @item: number of the counter, where that is not yet known to be the right one
 * @kind: enum kpb_raw_kind
 * @level: of the table, or KPB_LEVEL_UNKNOWN
 * @arg: of the operation
 * @cpu: of the event
 * @state: enum kpb_raw_state
 * @flags: KPB_RAW_*
 */
struct kpb_raw {
	uint64_t ts_ns;
	uint64_t page;
	uint64_t line;
	int32_t item;
	uint8_t kind;
	uint8_t level;
	uint8_t arg;
	uint8_t cpu;
	uint8_t state;
	uint8_t flags;
};

/**
 * struct kpb_import_fn - a function that allocates or frees page tables
 * @name: without _noprof, .isra.0 and the like
 * @level: of the table, or KPB_LEVEL_UNKNOWN
 * @flags: KPB_FN_*
 * @regs: arm64 6.18: callee-saved registers that may hold the struct page when
 *	  the counter is changed, the likeliest first; 0 ends
 */
struct kpb_import_fn {
	const char *name;
	uint8_t level;
	uint8_t flags;
	uint8_t regs[3];
};

#define KPB_FN_SURE 1u	     /* changes no other counter: tells the item */
#define KPB_FN_KERNEL 2u     /* the table maps kernel addresses */
#define KPB_FN_FREE_LEVEL 4u /* what it frees is of its level */
#define KPB_FN_P4D 8u
/* A layer of the page allocator: the caller says what the page is for... */
#define KPB_FN_LAYER 16u
/* ...or, where the caller is unknown, this layer does. */
#define KPB_FN_HINT 32u

const struct kpb_import_fn *kpb_import_fn(const char *name, size_t len);

/* pfn -> page, open addressing; pages are numbered from 0. */
struct kpb_page_map {
	uint64_t *keys;
	uint32_t *pages; /* page + 1; 0: empty; top bit: not live */
	uint64_t nr;
	uint64_t mask;
};

/**
 * struct kpb_books - what is live, and the operations so far
 * @ts_ns, @ops: the operations; the slot is the page's number until taken
 * @page_level, @page_arg: of each page
 * @pre: pages of the prologue
 */
struct kpb_books {
	struct kpb_page_map map;
	int64_t *ts_ns;
	struct kpb_op *ops;
	uint64_t nr_ops;
	uint64_t cap_ops;
	uint8_t *page_level;
	uint8_t *page_arg;
	uint64_t nr_pages;
	uint64_t cap_pages;
	uint32_t *pre;
	uint64_t nr_pre;
	uint64_t cap_pre;
	uint64_t nr_live;
	uint64_t max_ops;
	uint64_t last_ts_ns;
	uint64_t cpu_ts_ns[KPB_IMPORT_MAX_CPU + 1];
};

/**
 * struct kpb_source - one file that is being read
 * @carry: the line that the last feed did not end
 * @queue: raw events @head to @tail, at their number modulo @cap
 * @waiting: number + 1 of the event of a CPU that waits for its stack
 * @waiting_pid: whose it is
 * @stack: number + 1 of the event whose stack is being read
 * @hint: level of a KPB_FN_HINT layer that the stack has passed, or unknown
 * @columns: of a CSV: which field is what
 * @expected: entries that the header promises, @seen: that came; -1: no header
 */
struct kpb_source {
	char *carry;
	size_t carry_len;
	struct kpb_raw *queue;
	uint64_t head;
	uint64_t tail;
	uint64_t cap;
	uint64_t waiting[KPB_IMPORT_MAX_CPU + 1];
	int64_t waiting_pid[KPB_IMPORT_MAX_CPU + 1];
	uint64_t stack;
	uint8_t hint;
	bool hint_p4d;
	bool has_frames;
	bool ended;
	bool begun; /* a file of it, at least */
	bool timed; /* an event had its time in seconds */
	uint32_t format;
	uint32_t file;
	uint64_t line;
	uint64_t nr_columns;
	int columns[6];
	int64_t expected;
	int64_t seen;
};

struct kpb_import {
	struct kpb_import_options options;
	struct kpb_import_state state;
	struct kpb_books books;
	struct kpb_source *sources;
	uint32_t nr_files;
	/* events of unknown callers before the item was known, by item */
	uint32_t early[256];
	uint64_t window; /* the first struct page of a sure call site */
	bool finished;
	int error;
	char msg[KPB_MSG_BYTES];
};

/* How far struct pages are from another, at most: those of 64 TB of RAM. */
#define KPB_IMPORT_WINDOW_SHIFT 40

int kpb_import_fail(struct kpb_import *imp, int error, uint32_t file,
		    uint64_t line, const char *fmt, ...)
	__attribute__((__format__(__printf__, 5, 6)));
void kpb_import_note(struct kpb_import *imp, uint32_t count, uint64_t nr,
		     uint32_t file, uint64_t line);

int kpb_books_init(struct kpb_books *books, uint64_t max_ops);
void kpb_books_release(struct kpb_books *books);
int kpb_books_add(struct kpb_import *imp, uint32_t file,
		  const struct kpb_raw *raw);
bool kpb_books_live(const struct kpb_books *books, uint64_t page);
uint64_t kpb_books_bytes(const struct kpb_books *books);
int kpb_books_take(const struct kpb_books *books, int64_t *ts_ns,
		   struct kpb_op *ops);

#endif
