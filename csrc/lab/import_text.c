// SPDX-License-Identifier: GPL-2.0-only
/*
 * Import of recordings: text becomes raw events.
 *
 * DOC: what is read
 *
 * A source is fed in pieces; only its last, unfinished line is kept. The text
 * of tracefs, trace-cmd report and perf script differs in what stands around an
 * event, not in the event, so one parser reads all three:
 *
 *   TASK-PID [CPU] FLAGS SECONDS: NAME: BODY
 *
 * NAME may have a group ("kmem:") before it and FLAGS may be absent. What NAME
 * and BODY say decides which of three ways leads to a page table event:
 *
 * - kmem: mm_page_alloc waits for the stack that follows on its CPU; walking it
 *   from the inside, layers of the page allocator are skipped and the first
 *   other function decides (import_names.c). mm_page_free counts if the page is
 *   live as a table;
 * - kprobe: any probe with item= and delta=, on the function that changes
 *   NR_PAGETABLE. The caller tells the level. The page is a field (page=,
 *   folio=, x0=...) or in a register that depends on the call site;
 * - level: events named ptp_alloc_LEVEL and ptp_free with pfn=, page=, table=.
 *
 * Only the identity of a page matters, so an address of a struct page is as
 * good as a pfn. All events of a recording come from one way, else each table
 * would be there twice.
 *
 * DOC: order
 *
 * Raw events queue up per source, since some wait: an alloc for its stack, a
 * probe's event until a caller tells which item is NR_PAGETABLE. With one
 * source what is ready goes to the books at once; with several, the earliest
 * head goes as soon as no source can have an earlier one.
 */

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "import.h"

static const struct {
	const char *name;
	const char *help;
} kpb_import_counts[KPB_NR_IMPORT_COUNTS] = {
	[KPB_IMPORT_LOST_EVENTS] = { "lost_events",
				     "the recorder says that it lost them" },
	[KPB_IMPORT_OVERWRITTEN_EVENTS] = { "overwritten_events",
					    "written, but no longer in the buffer" },
	[KPB_IMPORT_MISSING_ENTRIES] = { "missing_entries",
					 "promised by the header, not in the file" },
	[KPB_IMPORT_MALFORMED_LINES] = { "malformed_lines",
					 "events of tables that cannot be read" },
	[KPB_IMPORT_UNPARSED_LINES] = { "unparsed_lines",
					"between events, of no known form" },
	[KPB_IMPORT_MISSING_STACKS] = { "missing_stacks",
					"allocs like a table's, without a stack" },
	[KPB_IMPORT_UNRESOLVED_PAGES] = { "unresolved_pages",
					  "which page is not known: left out" },
	[KPB_IMPORT_AMBIGUOUS_PAGES] = { "ambiguous_pages",
					 "several registers hold a page: the first" },
	[KPB_IMPORT_AMBIGUOUS_LEVELS] = { "ambiguous_levels",
					  "an unknown function allocates: PTE" },
	[KPB_IMPORT_LEVEL_MISMATCHES] = { "level_mismatches",
					  "freed as another level: the alloc's" },
	[KPB_IMPORT_DOUBLE_ALLOCS] = { "double_allocs",
				       "of a live page: a free is put before" },
	[KPB_IMPORT_MISSED_FREES] = { "missed_frees",
				      "a live table becomes another page: freed" },
	[KPB_IMPORT_UNKNOWN_FREES] = { "unknown_frees",
				       "of a page already freed: left out" },
	[KPB_IMPORT_CLOCK_STEPS] = { "clock_steps",
				     "a CPU's time runs backwards: held" },
	[KPB_IMPORT_CPU_DISORDER] = { "cpu_disorder",
				      "before another CPU's event: held" },
	[KPB_IMPORT_LINES] = { "lines", "read" },
	[KPB_IMPORT_EVENTS] = { "events", "of any kind" },
	[KPB_IMPORT_TABLE_EVENTS] = { "table_events",
				      "allocs and frees of tables" },
	[KPB_IMPORT_OTHER_SOURCE] = { "other_source",
				      "the same recorded in another way: left out" },
	[KPB_IMPORT_STRAY_STACKS] = { "stray_stacks",
				      "that belong to no event" },
	[KPB_IMPORT_PRE_FREES] = { "pre_frees",
				   "of pages from before: the prologue" },
	[KPB_IMPORT_NEVER_FREED] = { "never_freed",
				     "allocated and live at the end" },
	[KPB_IMPORT_HIGHER_ORDERS] = { "higher_orders",
				       "tables of several pages: taken as one" },
	[KPB_IMPORT_P4D_TABLES] = { "p4d_tables",
				    "a fifth level: taken as PUD" },
};

const char *kpb_import_count_name(uint32_t count)
{
	return count < KPB_NR_IMPORT_COUNTS ? kpb_import_counts[count].name :
					      NULL;
}

const char *kpb_import_count_help(uint32_t count)
{
	return count < KPB_NR_IMPORT_COUNTS ? kpb_import_counts[count].help :
					      NULL;
}

/**
 * kpb_import_fail() - refuse the recording
 * @imp: import; what is fed from now on is refused too
 * @error: -errno
 * @file: where, in the order of kpb_import_begin()
 * @line: where in it; 0: nowhere in particular
 * @fmt: what is wrong and the way out, one line; what it shows is made
 *	 printable
 *
 * Return: @error.
 */
int kpb_import_fail(struct kpb_import *imp, int error, uint32_t file,
		    uint64_t line, const char *fmt, ...)
{
	va_list args;
	char *c;

	va_start(args, fmt);
	vsnprintf(imp->msg, sizeof(imp->msg), fmt, args);
	va_end(args);
	for (c = imp->msg; *c; c++) {
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	}
	imp->state.file = file;
	imp->state.line = line;
	imp->error = error;
	return error;
}

/**
 * kpb_import_note() - count what was found
 * @imp: import
 * @count: enum kpb_import_count
 * @nr: how many
 * @file: where
 * @line: where in it, or 0
 */
void kpb_import_note(struct kpb_import *imp, uint32_t count, uint64_t nr,
		     uint32_t file, uint64_t line)
{
	struct kpb_import_state *state = &imp->state;

	if (!state->count[count] && nr) {
		state->first_line[count] = line;
		state->first_file[count] = file;
	}
	/* a liar's numbers do not wrap */
	if (__builtin_add_overflow(state->count[count], nr,
				   &state->count[count]))
		state->count[count] = UINT64_MAX;
}

static void kpb_note(struct kpb_import *imp, const struct kpb_source *src,
		     uint32_t count, uint64_t nr)
{
	kpb_import_note(imp, count, nr, src->file, src->line);
}

/* Whether events come from @origin: the first one decides. */
static bool kpb_import_take_from(struct kpb_import *imp,
				 const struct kpb_source *src, uint32_t origin)
{
	if (!imp->state.origin)
		imp->state.origin = origin;
	if (imp->state.origin == origin)
		return true;
	kpb_note(imp, src, KPB_IMPORT_OTHER_SOURCE, 1);
	return false;
}

/* --- queue ---------------------------------------------------------------- */

static struct kpb_raw *kpb_queued(struct kpb_source *src, uint64_t number)
{
	return &src->queue[number & (src->cap - 1)];
}

static bool kpb_raw_waits(const struct kpb_raw *raw)
{
	return raw->state == KPB_RAW_WAITS_STACK ||
	       raw->state == KPB_RAW_WAITS_ITEM;
}

/* The event will have no stack (or none that tells): decide without. */
static void kpb_raw_without_stack(struct kpb_import *imp,
				  struct kpb_source *src, struct kpb_raw *raw,
				  bool has_stack)
{
	if (raw->state != KPB_RAW_WAITS_STACK)
		return;
	raw->state = KPB_RAW_READY;
	if (raw->flags & KPB_RAW_PROBE) {
		if (raw->kind == KPB_RAW_ALLOC)
			kpb_import_note(imp, KPB_IMPORT_AMBIGUOUS_LEVELS, 1,
					src->file, raw->line);
		return;
	}
	raw->kind = KPB_RAW_OTHER_ALLOC;
	if (!has_stack && (raw->flags & KPB_RAW_LIKE_TABLE))
		kpb_import_note(imp, KPB_IMPORT_MISSING_STACKS, 1, src->file,
				raw->line);
}

/* An event of an item that never was recognised as NR_PAGETABLE. */
static void kpb_raw_give_up(struct kpb_import *imp, struct kpb_source *src,
			    struct kpb_raw *raw)
{
	if (raw->state == KPB_RAW_WAITS_ITEM) {
		raw->state = KPB_RAW_DROPPED;
		kpb_import_note(imp, KPB_IMPORT_UNRESOLVED_PAGES, 1, src->file,
				raw->line);
	}
	kpb_raw_without_stack(imp, src, raw, false);
}

static int kpb_source_books(struct kpb_import *imp, struct kpb_source *src)
{
	struct kpb_raw *raw = kpb_queued(src, src->head++);

	if (raw->state == KPB_RAW_DROPPED)
		return 0;
	return kpb_books_add(imp, src->file, raw);
}

/* One source: whatever is ready at the head goes to the books. */
static int kpb_source_drain(struct kpb_import *imp, struct kpb_source *src)
{
	int ret;

	while (src->head != src->tail) {
		struct kpb_raw *raw = kpb_queued(src, src->head);

		if (kpb_raw_waits(raw)) {
			if (src->tail - src->head < KPB_IMPORT_WAITING)
				return 0;
			kpb_raw_give_up(imp, src, raw);
		}
		ret = kpb_source_books(imp, src);
		if (ret)
			return ret;
	}
	return 0;
}

/* Whether @src must be fed before anything later can be decided. */
static bool kpb_source_wants(struct kpb_source *src)
{
	return !src->ended && (src->head == src->tail ||
			       kpb_raw_waits(kpb_queued(src, src->head)));
}

/* Several sources: the earliest head, as long as none can come before it. */
static int kpb_import_merge(struct kpb_import *imp)
{
	struct kpb_source *src, *first;
	uint32_t i;
	int ret;

	for (;;) {
		first = NULL;
		for (i = 0; i < imp->options.nr_sources; i++) {
			src = &imp->sources[i];
			if (src->tail - src->head >= KPB_IMPORT_WAITING)
				kpb_raw_give_up(imp, src,
						kpb_queued(src, src->head));
			if (kpb_source_wants(src))
				return 0;
			if (src->head == src->tail)
				continue;
			/* ended; another file may tell the item */
			if (kpb_raw_waits(kpb_queued(src, src->head)))
				return 0;
			if (!first ||
			    kpb_queued(src, src->head)->ts_ns <
				    kpb_queued(first, first->head)->ts_ns)
				first = src;
		}
		if (!first)
			return 0;
		ret = kpb_source_books(imp, first);
		if (ret)
			return ret;
	}
}

static struct kpb_raw *kpb_source_push(struct kpb_import *imp,
				       struct kpb_source *src,
				       const struct kpb_raw *raw)
{
	struct kpb_raw *bigger;
	uint64_t i;

	if (src->tail - src->head == src->cap) {
		uint64_t cap = src->cap ? src->cap * 2 : 64;

		if (cap > KPB_IMPORT_MAX_QUEUE) {
			kpb_import_fail(imp, -E2BIG, src->file, src->line,
					"more than %u events wait for another file",
					KPB_IMPORT_MAX_QUEUE);
			return NULL;
		}
		bigger = malloc(cap * sizeof(*bigger));
		if (!bigger) {
			imp->error = -ENOMEM;
			return NULL;
		}
		for (i = src->head; i != src->tail; i++)
			bigger[i & (cap - 1)] = *kpb_queued(src, i);
		free(src->queue);
		src->queue = bigger;
		src->cap = cap;
	}
	*kpb_queued(src, src->tail) = *raw;
	return kpb_queued(src, src->tail++);
}

/* --- small parsers -------------------------------------------------------- */

static inline bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

static const char *skip_word(const char *p, const char *end)
{
	while (p < end && *p != ' ' && *p != '\t')
		p++;
	return p;
}

/* A number, decimal or 0x; false if there is none or it has over 64 bits. */
static bool parse_u64(const char *p, const char *end, bool hex, uint64_t *out)
{
	uint64_t value = 0;

	if (end - p > 2 && p[0] == '0' && (p[1] | 0x20) == 'x') {
		hex = true;
		p += 2;
	}
	if (p == end || end - p > 20 || (hex && end - p > 16))
		return false;
	for (; p < end; p++) {
		int digit = hex_digit(*p);

		if (digit < 0 || (!hex && digit > 9))
			return false;
		if (hex)
			value = value << 4 | (uint64_t)digit;
		else if (__builtin_mul_overflow(value, 10, &value) ||
			 __builtin_add_overflow(value, (uint64_t)digit, &value))
			return false;
	}
	*out = value;
	return true;
}

/* The same with a sign; hexadecimal and 32-bit ones as probes print them. */
static bool parse_s64(const char *p, const char *end, int64_t *out)
{
	uint64_t value;
	bool minus = p < end && *p == '-';

	if (!parse_u64(p + minus, end, false, &value))
		return false;
	if (!minus && value >> 31 == 1)
		value |= 0xffffffff00000000ULL;
	*out = minus ? (int64_t)(0 - value) : (int64_t)value;
	return true;
}

static bool starts(const char *p, const char *end, const char *with)
{
	size_t len = strlen(with);

	return (size_t)(end - p) >= len && !memcmp(p, with, len);
}

/* "SECONDS.FRACTION": up to nine digits of it. */
static bool parse_ts(const char *p, const char *end, uint64_t *ts_ns)
{
	uint64_t seconds = 0, fraction = 0, unit = 1000000000;

	for (; p < end && is_digit(*p); p++) {
		seconds = seconds * 10 + (uint64_t)(*p - '0');
		if (seconds > KPB_IMPORT_MAX_TS_NS / 1000000000)
			return false;
	}
	if (p == end || *p != '.' || end - p > 10 || end - p < 2)
		return false;
	for (p++; p < end && is_digit(*p); p++) {
		fraction = fraction * 10 + (uint64_t)(*p - '0');
		unit /= 10;
	}
	*ts_ns = seconds * 1000000000 + fraction * unit;
	return p == end && *ts_ns <= KPB_IMPORT_MAX_TS_NS;
}

/* --- what an event line begins with --------------------------------------- */

struct kpb_head {
	uint64_t ts_ns;
	uint64_t cpu;
	int64_t pid;
	const char *name; /* without group */
	const char *name_end;
	const char *body;
	bool group;
	bool bad_ts;
};

/* The pid that stands before @at: "bash-164 ", "bash-164 (  164) ", "bash 164 ". */
static int64_t parse_pid(const char *line, const char *at)
{
	int64_t pid = 0, unit = 1;

	while (at > line && (at[-1] == ' ' || at[-1] == '\t'))
		at--;
	if (at > line && at[-1] == ')') {
		while (at > line && *at != '(')
			at--;
		while (at > line && at[-1] == ' ')
			at--;
	}
	for (; at > line && is_digit(at[-1]) && unit <= 1000000000; unit *= 10)
		pid += (*--at - '0') * unit;
	return pid;
}

/* What follows "[CPU] " at @p. */
static bool parse_after_cpu(const char *p, const char *end,
			    struct kpb_head *head)
{
	const char *word, *stop;
	int i;

	p = skip_blanks(p, end);
	/* flags, and in the latency format a mark for delays */
	for (i = 0; i < 2 && p < end && !is_digit(*p); i++)
		p = skip_blanks(skip_word(p, end), end);
	stop = skip_word(p, end);
	if (stop - p < 2 || stop[-1] != ':' || !is_digit(*p))
		return false;
	head->bad_ts = !parse_ts(p, stop - 1, &head->ts_ns);
	word = skip_blanks(stop, end);
	stop = skip_word(word, end);
	if (stop == word)
		return false;
	head->body = skip_blanks(stop, end);
	if (stop[-1] == ':')
		stop--;
	head->name = word;
	head->name_end = stop;
	head->group = false;
	while ((word = memchr(word, ':', (size_t)(stop - word)))) {
		head->name = ++word;
		head->group = true;
	}
	return true;
}

static bool parse_head(const char *line, const char *end, struct kpb_head *head)
{
	/* a task's name is 16 wide, or as long as it is (perf), and may have brackets */
	const char *p = line;

	while ((p = memchr(p, '[', (size_t)(end - p)))) {
		const char *close = ++p;

		while (close < end && is_digit(*close))
			close++;
		if (close == p || close - p > 5 || end - close < 2 ||
		    close[0] != ']' || close[1] != ' ')
			continue;
		if (!parse_after_cpu(close + 1, end, head))
			continue;
		parse_u64(p, close, false, &head->cpu);
		head->pid = parse_pid(line, p - 1);
		return true;
	}
	return false;
}

/* --- fields --------------------------------------------------------------- */

/* What a field of the body says: "name=VALUE"; NULL if it is not there. */
static const char *find_field(const char *p, const char *end, const char *name,
			      const char **value_end)
{
	size_t len = strlen(name);

	while ((p = memchr(p, '=', (size_t)(end - p)))) {
		const char *value = p + 1;

		if (!memcmp(p - len, name, len) &&
		    (p[-(ptrdiff_t)len - 1] == ' ')) {
			*value_end = skip_word(value, end);
			return value;
		}
		p = value;
	}
	return NULL;
}

static bool field_u64(const struct kpb_head *head, const char *end,
		      const char *name, uint64_t *out)
{
	const char *stop;
	/* the name of the event stands before: reading back is safe */
	const char *value = find_field(head->body, end, name, &stop);

	return value && parse_u64(value, stop, false, out);
}

static void kpb_malformed(struct kpb_import *imp, const struct kpb_source *src)
{
	kpb_note(imp, src, KPB_IMPORT_MALFORMED_LINES, 1);
}

static void kpb_raw_init(struct kpb_raw *raw, const struct kpb_source *src,
			 const struct kpb_head *head)
{
	*raw = (struct kpb_raw){
		.ts_ns = head->ts_ns,
		.line = src->line,
		.level = KPB_LEVEL_UNKNOWN,
		.cpu = (uint8_t)head->cpu,
	};
}

/* --- stacks --------------------------------------------------------------- */

/* Something else begins: an open stack tells no more. */
static void kpb_stack_close(struct kpb_import *imp, struct kpb_source *src)
{
	struct kpb_raw *raw;

	if (!src->stack)
		return;
	if (src->stack - 1 >= src->head) {
		raw = kpb_queued(src, src->stack - 1);
		if (raw->state == KPB_RAW_WAITS_STACK &&
		    src->hint != KPB_LEVEL_UNKNOWN) {
			raw->state = raw->flags & KPB_RAW_PROBE ||
						     kpb_import_take_from(
							     imp, src,
							     KPB_IMPORT_KMEM) ?
					     KPB_RAW_READY :
					     KPB_RAW_DROPPED;
			raw->level = src->hint;
			if (src->hint_p4d)
				kpb_note(imp, src, KPB_IMPORT_P4D_TABLES, 1);
		}
		kpb_raw_without_stack(imp, src, raw, src->has_frames);
	}
	src->stack = 0;
}

/* A stack begins that belongs to what waits on @cpu. */
static void kpb_stack_open(struct kpb_import *imp, struct kpb_source *src,
			   uint64_t cpu, int64_t pid)
{
	if (cpu > KPB_IMPORT_MAX_CPU || !src->waiting[cpu] ||
	    src->waiting_pid[cpu] != pid) {
		if (imp->state.origin <= KPB_IMPORT_KMEM)
			kpb_note(imp, src, KPB_IMPORT_STRAY_STACKS, 1);
		return;
	}
	src->stack = src->waiting[cpu];
	src->waiting[cpu] = 0;
	src->hint = KPB_LEVEL_UNKNOWN;
	src->hint_p4d = false;
	src->has_frames = false;
}

/* Whether an alloc directly below @fn is one of a table. */
static bool kpb_stack_decides(const struct kpb_source *src,
			      const struct kpb_raw *raw,
			      const struct kpb_import_fn *fn)
{
	/* tlb_remove_table() allocates its batches */
	if (fn->level == KPB_LEVEL_UNKNOWN && !(fn->flags & KPB_FN_KERNEL))
		return false;
	if (raw->flags & KPB_RAW_PROBE)
		return true;
	/* huge pages of do_huge_pmd_anonymous_page(); a PGD may have two */
	if (raw->flags & KPB_RAW_HIGHER_ORDER)
		return fn->level == KPB_LEVEL_OF_PGD;
	/* do_fault() allocates pages for users too: those can be moved */
	return fn->flags & (KPB_FN_SURE | KPB_FN_KERNEL) ||
	       src->hint != KPB_LEVEL_UNKNOWN ||
	       (raw->flags & KPB_RAW_LIKE_TABLE);
}

/* A function of the stack that is open, from the inside out. */
static void kpb_stack_frame(struct kpb_import *imp, struct kpb_source *src,
			    const char *name, const char *end)
{
	const struct kpb_import_fn *fn;
	struct kpb_raw *raw;

	if (!src->stack || src->stack - 1 < src->head)
		return;
	raw = kpb_queued(src, src->stack - 1);
	if (raw->state != KPB_RAW_WAITS_STACK)
		return;
	src->has_frames = true;
	fn = kpb_import_fn(name, (size_t)(end - name));
	if (fn && (fn->flags & KPB_FN_LAYER)) {
		if (fn->flags & KPB_FN_HINT) {
			src->hint = fn->level;
			src->hint_p4d = fn->flags & KPB_FN_P4D;
		}
		return;
	}
	if (fn && !kpb_stack_decides(src, raw, fn))
		fn = NULL;
	if (!fn) {
		kpb_stack_close(imp, src);
		return;
	}
	src->stack = 0;
	raw->level = fn->level;
	raw->arg = fn->flags & KPB_FN_KERNEL ? 1 : 0;
	raw->state = KPB_RAW_READY;
	if (fn->level == KPB_LEVEL_UNKNOWN && raw->kind == KPB_RAW_ALLOC)
		kpb_import_note(imp, KPB_IMPORT_AMBIGUOUS_LEVELS, 1, src->file,
				raw->line);
	if (fn->flags & KPB_FN_P4D)
		kpb_note(imp, src, KPB_IMPORT_P4D_TABLES, 1);
	if (raw->flags & KPB_RAW_HIGHER_ORDER)
		kpb_note(imp, src, KPB_IMPORT_HIGHER_ORDERS, 1);
	if (!(raw->flags & KPB_RAW_PROBE) &&
	    !kpb_import_take_from(imp, src, KPB_IMPORT_KMEM))
		raw->state = KPB_RAW_DROPPED;
}

/* An event waits for its stack; the one before it on this CPU will get none. */
static int kpb_wait_stack(struct kpb_import *imp, struct kpb_source *src,
			  struct kpb_raw *raw, const struct kpb_head *head)
{
	uint64_t before = src->waiting[head->cpu];

	if (before && before - 1 >= src->head)
		kpb_raw_without_stack(imp, src, kpb_queued(src, before - 1),
				      false);
	raw->state = KPB_RAW_WAITS_STACK;
	if (!kpb_source_push(imp, src, raw))
		return imp->error;
	src->waiting[head->cpu] = src->tail;
	src->waiting_pid[head->cpu] = head->pid;
	return 0;
}

/* --- kmem ----------------------------------------------------------------- */

static int kpb_kmem(struct kpb_import *imp, struct kpb_source *src,
		    const struct kpb_head *head, const char *end, bool alloc)
{
	uint64_t pfn, order, migratetype;
	const char *value, *stop;
	struct kpb_raw raw;

	if (imp->state.origin && imp->state.origin != KPB_IMPORT_KMEM) {
		kpb_note(imp, src, KPB_IMPORT_OTHER_SOURCE, 1);
		return 0;
	}
	value = find_field(head->body, end, "page", &stop);
	if (value && starts(value, stop, "(null)"))
		return 0;
	if (!field_u64(head, end, "pfn", &pfn) ||
	    !field_u64(head, end, "order", &order) || order > 63) {
		kpb_malformed(imp, src);
		return 0;
	}
	/* an allocation that failed */
	if (alloc && (pfn == UINT64_MAX || !pfn))
		return 0;
	kpb_raw_init(&raw, src, head);
	raw.page = pfn;
	if (!alloc) {
		raw.kind = KPB_RAW_PAGE_FREE;
		return kpb_source_push(imp, src, &raw) ? 0 : imp->error;
	}
	raw.kind = KPB_RAW_ALLOC;
	if (order)
		raw.flags |= KPB_RAW_HIGHER_ORDER;
	else if (field_u64(head, end, "migratetype", &migratetype) &&
		 !migratetype &&
		 (memmem(head->body, (size_t)(end - head->body), "__GFP_ZERO",
			 10) ||
		  memmem(head->body, (size_t)(end - head->body), "GFP_PGTABLE",
			 11)))
		raw.flags |= KPB_RAW_LIKE_TABLE;
	return kpb_wait_stack(imp, src, &raw, head);
}

/* --- kprobe --------------------------------------------------------------- */

enum kpb_field {
	FIELD_ITEM,
	FIELD_DELTA,
	FIELD_CALLER,
	FIELD_PAGE
};

/* What a probe's event says, as text. */
struct kpb_span {
	const char *value;
	const char *end;
};

struct kpb_probe {
	struct kpb_span field[4]; /* enum kpb_field */
	struct kpb_span reg[KPB_IMPORT_REGS];
	const struct kpb_import_fn *fn; /* the caller */
	bool asked;
};

static const struct {
	char name[7];
	uint8_t len;
	uint8_t field;
} kpb_field_names[] = {
	{ "item", 4, FIELD_ITEM },     { "idx", 3, FIELD_ITEM },
	{ "delta", 5, FIELD_DELTA },   { "val", 3, FIELD_DELTA },
	{ "caller", 6, FIELD_CALLER }, { "lr", 2, FIELD_CALLER },
	{ "ret", 3, FIELD_CALLER },    { "ip", 2, FIELD_CALLER },
	{ "page", 4, FIELD_PAGE },     { "pfn", 3, FIELD_PAGE },
	{ "folio", 5, FIELD_PAGE },    { "ptdesc", 6, FIELD_PAGE },
	{ "table", 5, FIELD_PAGE },    { "pt", 2, FIELD_PAGE },
	{ "addr", 4, FIELD_PAGE },     { "arg1", 4, FIELD_PAGE },
};

/* One field; of two of the same meaning the first counts. */
static void kpb_probe_field(struct kpb_probe *probe, const char *name,
			    size_t len, const char *value, const char *end)
{
	struct kpb_span *span = NULL;
	size_t i;

	if (name[0] == 'x' && len <= 3 && len > 1 && is_digit(name[1]) &&
	    (len == 2 || is_digit(name[2]))) {
		i = (size_t)(name[1] - '0');
		if (len == 3)
			i = i * 10 + (size_t)(name[2] - '0');
		if (i < KPB_IMPORT_REGS)
			span = &probe->reg[i];
	}
	for (i = 0;
	     !span && i < sizeof(kpb_field_names) / sizeof(kpb_field_names[0]);
	     i++) {
		if (kpb_field_names[i].len == len &&
		    !memcmp(name, kpb_field_names[i].name, len))
			span = &probe->field[kpb_field_names[i].field];
	}
	if (span && !span->value) {
		span->value = value;
		span->end = end;
	}
}

/*
 * Where arm64 kernels have their struct pages: at the end of the address space,
 * or with 4K pages and 52-bit addresses at VMEMMAP_START, where a page is never
 * the first. Nothing else that registers hold is there: the linear map, vmalloc
 * and the kernel are below.
 */
#define KPB_VMEMMAP_LOW 0xfffff00000000000ULL
#define KPB_VMEMMAP_HIGH 0xffffffffff000000ULL
#define KPB_VMEMMAP_4K_52 0xffffc1ffc0000000ULL

static bool kpb_like_page(const struct kpb_import *imp, uint64_t value)
{
	uint64_t reach = 1ULL << KPB_IMPORT_WINDOW_SHIFT;

	if (value & 63)
		return false;
	if (imp->options.vmemmap)
		return value - imp->options.vmemmap < reach;
	if (imp->window)
		return value - imp->window + reach < 2 * reach;
	return (value >= KPB_VMEMMAP_LOW && value < KPB_VMEMMAP_HIGH) ||
	       (value > KPB_VMEMMAP_4K_52 && value - KPB_VMEMMAP_4K_52 < reach);
}

static bool kpb_reg(const struct kpb_import *imp, const struct kpb_probe *probe,
		    unsigned int reg, uint64_t *out)
{
	return probe->reg[reg].value &&
	       parse_u64(probe->reg[reg].value, probe->reg[reg].end, true,
			 out) &&
	       kpb_like_page(imp, *out);
}

/* Whether nothing that is still to come can matter: the call site's register. */
static bool kpb_probe_enough(const struct kpb_import *imp,
			     struct kpb_probe *probe)
{
	const struct kpb_import_fn *fn;
	uint64_t page;

	if (!probe->field[FIELD_CALLER].value ||
	    !probe->field[FIELD_ITEM].value || !probe->field[FIELD_DELTA].value)
		return false;
	if (!probe->asked) {
		probe->asked = true;
		fn = kpb_import_fn(probe->field[FIELD_CALLER].value,
				   (size_t)(probe->field[FIELD_CALLER].end -
					    probe->field[FIELD_CALLER].value));
		/* x86 changes the counter in pte_alloc_one() itself */
		if (fn &&
		    (fn->flags & (KPB_FN_LAYER | KPB_FN_HINT)) == KPB_FN_LAYER)
			fn = NULL;
		probe->fn = fn;
	}
	fn = probe->fn;
	return fn && fn->regs[0] && !fn->regs[1] &&
	       kpb_reg(imp, probe, fn->regs[0], &page);
}

/* Fields of "NAME: (ADDRESS) a=1 b="x y" c=2". */
static void kpb_probe_parse(const struct kpb_import *imp,
			    struct kpb_probe *probe, const char *p,
			    const char *end)
{
	const char *equals, *value, *stop;

	memset(probe, 0, sizeof(*probe));
	while (p < end && !kpb_probe_enough(imp, probe)) {
		p = skip_blanks(p, end);
		for (equals = p;
		     equals < end && *equals != '=' && *equals != ' ';)
			equals++;
		if (equals == end || *equals == ' ') {
			p = equals;
			continue;
		}
		value = equals + 1;
		stop = NULL;
		if (value < end && *value == '"')
			stop = memchr(value + 1, '"',
				      (size_t)(end - value - 1));
		stop = skip_word(stop ? stop : value, end);
		kpb_probe_field(probe, p, (size_t)(equals - p), value, stop);
		p = stop;
	}
	kpb_probe_enough(imp, probe);
}

/*
 * Which register has the page: one that is known for this call site; else the
 * only one that can. A recording of few registers may not have it.
 */
static bool kpb_probe_page(struct kpb_import *imp, struct kpb_source *src,
			   const struct kpb_probe *probe,
			   const struct kpb_import_fn *fn, bool alloc,
			   uint64_t *page)
{
	uint64_t value, other;
	unsigned int i, nr = 0;

	if (probe->field[FIELD_PAGE].value)
		return parse_u64(probe->field[FIELD_PAGE].value,
				 probe->field[FIELD_PAGE].end, false, page) &&
		       *page;
	/* the first argument, if it was recorded, and no callee-saved one */
	if (kpb_reg(imp, probe, 0, page))
		return true;
	for (i = 0; fn && i < 3 && fn->regs[i]; i++) {
		if (!kpb_reg(imp, probe, fn->regs[i], &value))
			continue;
		if (!nr++)
			*page = value;
		else if (alloc && value != *page)
			kpb_note(imp, src, KPB_IMPORT_AMBIGUOUS_PAGES, 1);
	}
	if (nr) {
		if (!imp->options.vmemmap && !imp->window &&
		    (fn->flags & KPB_FN_SURE))
			imp->window = *page;
		return true;
	}
	for (i = 0; i < KPB_IMPORT_REGS; i++) {
		if (!kpb_reg(imp, probe, i, &other))
			continue;
		if (!nr++)
			*page = other;
		else if (other != *page)
			nr = 3;
	}
	if (nr > 2)
		kpb_note(imp, src, KPB_IMPORT_AMBIGUOUS_PAGES, 1);
	return nr;
}

/* Which item is NR_PAGETABLE has become known: what waited for that goes on. */
static void kpb_import_item(struct kpb_import *imp, int64_t item)
{
	struct kpb_source *src;
	uint64_t at;
	uint32_t i;

	imp->state.item = item;
	if (item < 256 && imp->early[item])
		kpb_import_note(imp, KPB_IMPORT_UNRESOLVED_PAGES,
				imp->early[item], 0, 0);
	for (i = 0; i < imp->options.nr_sources; i++) {
		src = &imp->sources[i];
		for (at = src->head; at != src->tail; at++) {
			struct kpb_raw *raw = kpb_queued(src, at);

			if (raw->state != KPB_RAW_WAITS_ITEM)
				continue;
			raw->state = raw->item == item ? KPB_RAW_READY :
							 KPB_RAW_DROPPED;
			if (raw->item == item && raw->kind == KPB_RAW_ALLOC &&
			    raw->level == KPB_LEVEL_UNKNOWN)
				kpb_import_note(imp,
						KPB_IMPORT_AMBIGUOUS_LEVELS, 1,
						src->file, raw->line);
		}
	}
}

static int kpb_kprobe(struct kpb_import *imp, struct kpb_source *src,
		      const struct kpb_head *head,
		      const struct kpb_probe *probe)
{
	const struct kpb_import_fn *fn = probe->fn;
	int64_t item, delta;
	struct kpb_raw raw;
	bool alloc;

	if (!parse_s64(probe->field[FIELD_ITEM].value,
		       probe->field[FIELD_ITEM].end, &item) ||
	    !parse_s64(probe->field[FIELD_DELTA].value,
		       probe->field[FIELD_DELTA].end, &delta)) {
		kpb_malformed(imp, src);
		return 0;
	}
	if (!delta || (imp->state.item >= 0 && item != imp->state.item) ||
	    item < 0 || item > INT32_MAX)
		return 0;
	/* Before the item is known, a caller of no table function says nothing. */
	if (imp->state.item < 0 && probe->field[FIELD_CALLER].value && !fn) {
		imp->early[item & 255] += item < 256;
		return 0;
	}
	if (imp->state.item < 0 && fn &&
	    (fn->flags & (KPB_FN_SURE | KPB_FN_HINT)))
		kpb_import_item(imp, item);
	if (!kpb_import_take_from(imp, src, KPB_IMPORT_KPROBE))
		return 0;
	alloc = delta > 0;
	kpb_raw_init(&raw, src, head);
	raw.kind = alloc ? KPB_RAW_ALLOC : KPB_RAW_FREE;
	raw.item = (int32_t)item;
	if (!kpb_probe_page(imp, src, probe, fn, alloc, &raw.page)) {
		kpb_note(imp, src, KPB_IMPORT_UNRESOLVED_PAGES, 1);
		return 0;
	}
	if (alloc ? !!fn : fn && (fn->flags & KPB_FN_FREE_LEVEL))
		raw.level = fn->level;
	if (alloc && fn && (fn->flags & KPB_FN_KERNEL))
		raw.arg = 1;
	if (alloc && fn && (fn->flags & KPB_FN_P4D))
		kpb_note(imp, src, KPB_IMPORT_P4D_TABLES, 1);
	if (imp->state.item < 0) {
		raw.state = KPB_RAW_WAITS_ITEM;
	} else if (alloc && raw.level == KPB_LEVEL_UNKNOWN) {
		raw.flags |= KPB_RAW_PROBE;
		return kpb_wait_stack(imp, src, &raw, head);
	}
	return kpb_source_push(imp, src, &raw) ? 0 : imp->error;
}

/* --- level: ptp_alloc_pte and the like ------------------------------------ */

static bool kpb_level_name(const char *p, const char *end, uint8_t *level,
			   bool *p4d)
{
	static const char names[][4] = { "pte", "pmd", "pud", "pgd", "p4d" };
	char name[3];
	unsigned int i;

	if (end - p != 3)
		return false;
	for (i = 0; i < 3; i++)
		name[i] = (char)tolower((unsigned char)p[i]);
	for (i = 0; i < 5; i++) {
		if (memcmp(names[i], name, 3))
			continue;
		*p4d = i == 4;
		*level = (uint8_t)(i == 4 ? 2 : i);
		return true;
	}
	return false;
}

static int kpb_level(struct kpb_import *imp, struct kpb_source *src,
		     const struct kpb_head *head, const char *end)
{
	const char *p = head->name + 4, *stop;
	struct kpb_probe probe;
	struct kpb_raw raw;
	bool alloc = starts(p, head->name_end, "alloc_"), p4d = false;
	uint64_t kernel = 0;

	if (!alloc && !starts(p, head->name_end, "free"))
		return 0;
	kpb_raw_init(&raw, src, head);
	raw.kind = alloc ? KPB_RAW_ALLOC : KPB_RAW_FREE;
	p += alloc ? 6 : 4;
	if (p < head->name_end && *p == '_')
		p++;
	/* perf numbers the probes of one name: ptp_alloc_pte_1 */
	stop = memchr(p, '_', (size_t)(head->name_end - p));
	if (!kpb_level_name(p, stop ? stop : head->name_end, &raw.level,
			    &p4d) &&
	    (alloc || p < head->name_end))
		return 0;
	if (!kpb_import_take_from(imp, src, KPB_IMPORT_LEVEL))
		return 0;
	kpb_probe_parse(imp, &probe, head->body, end);
	if (!probe.field[FIELD_PAGE].value ||
	    !parse_u64(probe.field[FIELD_PAGE].value,
		       probe.field[FIELD_PAGE].end, false, &raw.page)) {
		kpb_malformed(imp, src);
		return 0;
	}
	if (alloc && field_u64(head, end, "kernel", &kernel))
		raw.arg = kernel ? 1 : 0;
	if (alloc && p4d)
		kpb_note(imp, src, KPB_IMPORT_P4D_TABLES, 1);
	return kpb_source_push(imp, src, &raw) ? 0 : imp->error;
}

/* --- lines of text -------------------------------------------------------- */

/* "CPU:1 [LOST 2 EVENTS]", "CPU:1 [2 EVENTS DROPPED]", "CPU 1: 2 EVENTS LOST". */
static bool kpb_lost_line(struct kpb_import *imp, struct kpb_source *src,
			  const char *line, const char *end)
{
	const char *events = memmem(line, (size_t)(end - line), "EVENTS", 6);
	const char *p;
	uint64_t nr;

	if (!events || (!memmem(line, (size_t)(end - line), "LOST", 4) &&
			!memmem(line, (size_t)(end - line), "DROPPED", 7)))
		return false;
	for (p = events; p > line && p[-1] == ' ';)
		p--;
	events = p;
	while (p > line && is_digit(p[-1]))
		p--;
	if (!parse_u64(p, events, false, &nr))
		nr = 1;
	kpb_note(imp, src, KPB_IMPORT_LOST_EVENTS, nr);
	/* The next stack on this CPU may be of an alloc that was lost. */
	for (p = line + 3; p < end && (*p == ':' || *p == ' ');)
		p++;
	for (events = p; p < end && is_digit(*p);)
		p++;
	if (parse_u64(events, p, false, &nr) && nr <= KPB_IMPORT_MAX_CPU &&
	    src->waiting[nr]) {
		if (src->waiting[nr] - 1 >= src->head)
			kpb_raw_without_stack(imp, src,
					      kpb_queued(src,
							 src->waiting[nr] - 1),
					      false);
		src->waiting[nr] = 0;
	}
	return true;
}

static void kpb_check_expected(struct kpb_import *imp, struct kpb_source *src)
{
	if (src->expected >= 0 && src->seen < src->expected)
		kpb_note(imp, src, KPB_IMPORT_MISSING_ENTRIES,
			 (uint64_t)(src->expected - src->seen));
	src->expected = -1;
	src->seen = 0;
}

static void kpb_comment(struct kpb_import *imp, struct kpb_source *src,
			const char *line, const char *end)
{
	static const char entries[] = "# entries-in-buffer/entries-written: ";
	const char *p = line + sizeof(entries) - 1, *slash, *stop;
	uint64_t in_buffer, written;

	if (starts(line, end, "# tracer:")) {
		kpb_check_expected(imp, src);
		src->format = KPB_IMPORT_TRACEFS;
		return;
	}
	if (!starts(line, end, entries))
		return;
	stop = skip_word(p, end);
	slash = memchr(p, '/', (size_t)(stop - p));
	if (!slash || !parse_u64(p, slash, false, &in_buffer) ||
	    !parse_u64(slash + 1, stop, false, &written) ||
	    in_buffer > INT64_MAX) {
		kpb_malformed(imp, src);
		return;
	}
	src->expected = (int64_t)in_buffer;
	src->seen = 0;
	if (written > in_buffer)
		kpb_note(imp, src, KPB_IMPORT_OVERWRITTEN_EVENTS,
			 written - in_buffer);
}

static int kpb_event(struct kpb_import *imp, struct kpb_source *src,
		     struct kpb_head *head, const char *end)
{
	size_t len = (size_t)(head->name_end - head->name);
	const char *name = head->name;
	struct kpb_probe probe;
	bool alloc = len == 13 && !memcmp(name, "mm_page_alloc", 13);
	bool ours = alloc || (len == 12 && !memcmp(name, "mm_page_free", 12)) ||
		    (head->body < end && *head->body == '(') ||
		    (len > 4 && !memcmp(name, "ptp_", 4));

	if (src->format == KPB_IMPORT_UNKNOWN)
		src->format = head->group ? KPB_IMPORT_PERF :
					    KPB_IMPORT_TRACE_PIPE;
	kpb_note(imp, src, KPB_IMPORT_EVENTS, 1);
	src->seen++;
	if (starts(name, head->name_end, "<stack") ||
	    (len == 12 && !memcmp(name, "kernel_stack", 12))) {
		kpb_stack_open(imp, src, head->cpu, head->pid);
		return 0;
	}
	if (len >= 16 && !memcmp(name, "PERF_RECORD_LOST", 16)) {
		uint64_t nr;
		const char *p = skip_blanks(skip_word(head->body, end), end);

		if (!parse_u64(p, skip_word(p, end), false, &nr))
			nr = 1;
		kpb_note(imp, src, KPB_IMPORT_LOST_EVENTS, nr);
		return 0;
	}
	if (!ours)
		return 0;
	if (head->bad_ts && src->timed) {
		kpb_malformed(imp, src);
		return 0;
	}
	if (head->bad_ts)
		return kpb_import_fail(
			imp, -EINVAL, src->file, src->line,
			"the time is not in seconds; record with trace_clock local or mono");
	src->timed = true;
	if (head->cpu > KPB_IMPORT_MAX_CPU)
		return kpb_import_fail(imp, -EINVAL, src->file, src->line,
				       "CPU %llu is above the limit %d of a trace",
				       (unsigned long long)head->cpu,
				       KPB_IMPORT_MAX_CPU);
	if (len == 13 || len == 12) {
		if (!memcmp(name, "mm_page_alloc", len) ||
		    !memcmp(name, "mm_page_free", len)) {
			int ret = kpb_kmem(imp, src, head, end, alloc);

			/* perf has the stack right below, without a line of its own */
			if (!ret && alloc && head->group &&
			    src->waiting[head->cpu] == src->tail && src->tail)
				kpb_stack_open(imp, src, head->cpu, head->pid);
			return ret;
		}
	}
	if (len > 4 && !memcmp(name, "ptp_", 4) &&
	    (starts(name + 4, head->name_end, "alloc_") ||
	     starts(name + 4, head->name_end, "free")))
		return kpb_level(imp, src, head, end);
	kpb_probe_parse(imp, &probe, head->body, end);
	if (probe.field[FIELD_ITEM].value && probe.field[FIELD_DELTA].value) {
		int ret = kpb_kprobe(imp, src, head, &probe);

		if (!ret && head->group &&
		    src->waiting[head->cpu] == src->tail && src->tail)
			kpb_stack_open(imp, src, head->cpu, head->pid);
		return ret;
	}
	return 0;
}

/* "\tffff80008021a2b4 pgd_alloc+0x94 ([kernel.kallsyms])", as perf prints. */
static bool kpb_perf_frame(struct kpb_import *imp, struct kpb_source *src,
			   const char *p, const char *end)
{
	const char *word = skip_word(p, end);
	uint64_t address;

	/* what could not be unwound is at "0 [unknown]" */
	if (src->format != KPB_IMPORT_PERF || word == p ||
	    !parse_u64(p, word, true, &address))
		return false;
	word = skip_blanks(word, end);
	kpb_stack_frame(imp, src, word, end);
	return true;
}

static int kpb_text_line(struct kpb_import *imp, struct kpb_source *src,
			 const char *line, const char *end)
{
	const char *p = skip_blanks(line, end);
	struct kpb_head head = { 0 };

	if (p == end) {
		kpb_stack_close(imp, src);
		return 0;
	}
	if (*p == '=' && end - p > 2 && p[1] == '>') {
		kpb_stack_frame(imp, src, skip_blanks(p + 2, end), end);
		return 0;
	}
	if (*line == '#') {
		kpb_stack_close(imp, src);
		kpb_comment(imp, src, line, end);
		return 0;
	}
	if (parse_head(line, end, &head)) {
		kpb_stack_close(imp, src);
		return kpb_event(imp, src, &head, end);
	}
	if (src->format == KPB_IMPORT_PERF && kpb_perf_frame(imp, src, p, end))
		return 0;
	kpb_stack_close(imp, src);
	if (starts(line, end, "cpus=")) {
		src->format = KPB_IMPORT_TRACE_CMD;
		return 0;
	}
	if (starts(line, end, "CPU")) {
		if (kpb_lost_line(imp, src, line, end) ||
		    memmem(line, (size_t)(end - line), "is empty", 8))
			return 0;
	}
	if (src->format != KPB_IMPORT_UNKNOWN)
		kpb_note(imp, src, KPB_IMPORT_UNPARSED_LINES, 1);
	return 0;
}

/* --- CSV ------------------------------------------------------------------ */

enum {
	CSV_TS,
	CSV_CPU,
	CSV_OP,
	CSV_LEVEL,
	CSV_PFN,
	CSV_CALLER,
	NR_CSV
};

static const char *const kpb_csv_names[NR_CSV] = { "ts_ns", "cpu", "op",
						   "level", "pfn", "caller" };

struct kpb_csv_field {
	const char *at;
	const char *end;
};

/* Fields of a line, quotes taken off; the number of all of them. */
static uint64_t kpb_csv_split(const char *line, const char *end,
			      struct kpb_csv_field *out, uint64_t nr)
{
	const char *p = line, *stop;
	uint64_t i = 0;

	for (;;) {
		struct kpb_csv_field field;

		if (p < end && *p == '"') {
			field.at = ++p;
			/* "" is a quote inside, and stays doubled: no field of
			 * ours has one */
			while (p < end &&
			       (*p != '"' || (p + 1 < end && p[1] == '"')))
				p += *p == '"' ? 2 : 1;
			field.end = p < end ? p : end;
			stop = p < end ? memchr(p, ',', (size_t)(end - p)) :
					 NULL;
		} else {
			stop = memchr(p, ',', (size_t)(end - p));
			field.at = p;
			field.end = stop ? stop : end;
		}
		if (i < nr)
			out[i] = field;
		i++;
		if (!stop)
			return i;
		p = stop + 1;
	}
}

static bool kpb_csv_is(const struct kpb_csv_field *field, const char *text)
{
	size_t len = strlen(text);

	return (size_t)(field->end - field->at) == len &&
	       !memcmp(field->at, text, len);
}

/* What of a hostile field a message shows. */
static int kpb_shown(const struct kpb_csv_field *field)
{
	return field->end - field->at > 40 ? 40 : (int)(field->end - field->at);
}

/* The header line: false if this is no CSV. */
static int kpb_csv_header(struct kpb_import *imp, struct kpb_source *src,
			  const char *line, const char *end, bool *is_csv)
{
	struct kpb_csv_field fields[KPB_IMPORT_MAX_COLUMNS];
	uint64_t i, nr;
	int column;

	*is_csv = false;
	if (starts(line, end, "\xef\xbb\xbf"))
		line += 3;
	nr = kpb_csv_split(line, end, fields, KPB_IMPORT_MAX_COLUMNS);
	if (nr < 2)
		return 0;
	for (column = 0; column < NR_CSV; column++) {
		src->columns[column] = -1;
		for (i = 0; i < nr && i < KPB_IMPORT_MAX_COLUMNS; i++) {
			if (!kpb_csv_is(&fields[i], kpb_csv_names[column]))
				continue;
			src->columns[column] = (int)i;
			*is_csv = true;
			break;
		}
	}
	if (!*is_csv)
		return 0;
	if (nr > KPB_IMPORT_MAX_COLUMNS)
		return kpb_import_fail(imp, -EINVAL, src->file, src->line,
				       "%llu columns, the limit is %d",
				       (unsigned long long)nr,
				       KPB_IMPORT_MAX_COLUMNS);
	for (column = 0; column < CSV_CALLER; column++) {
		if (src->columns[column] < 0)
			return kpb_import_fail(
				imp, -EINVAL, src->file, src->line,
				"column '%s' is missing; the header line must name ts_ns, cpu, op, level, pfn",
				kpb_csv_names[column]);
	}
	src->nr_columns = nr;
	src->format = KPB_IMPORT_TABLE;
	if (!kpb_import_take_from(imp, src, KPB_IMPORT_CSV))
		return kpb_import_fail(
			imp, -EINVAL, src->file, src->line,
			"a CSV among text recordings; import one kind at a time");
	return 0;
}

static int kpb_csv_event(struct kpb_import *imp, struct kpb_source *src,
			 const struct kpb_csv_field *fields,
			 struct kpb_raw *raw)
{
	const struct kpb_csv_field *op = &fields[src->columns[CSV_OP]];
	const struct kpb_csv_field *level = &fields[src->columns[CSV_LEVEL]];
	const struct kpb_csv_field *caller;
	const struct kpb_import_fn *fn;
	bool p4d = false;

	if (kpb_csv_is(op, "alloc"))
		raw->kind = KPB_RAW_ALLOC;
	else if (kpb_csv_is(op, "free"))
		raw->kind = KPB_RAW_FREE;
	else
		return kpb_import_fail(imp, -EINVAL, src->file, src->line,
				       "op '%.*s' is not alloc or free",
				       kpb_shown(op), op->at);
	if (kpb_level_name(level->at, level->end, &raw->level, &p4d)) {
		if (p4d && raw->kind == KPB_RAW_ALLOC)
			kpb_note(imp, src, KPB_IMPORT_P4D_TABLES, 1);
	} else if (raw->kind == KPB_RAW_ALLOC ||
		   (!kpb_csv_is(level, "PRE") && level->at != level->end)) {
		return kpb_import_fail(imp, -EINVAL, src->file, src->line,
				       "level '%.*s' is not PTE, PMD, PUD or PGD%s",
				       kpb_shown(level), level->at,
				       raw->kind == KPB_RAW_FREE ?
					       " or PRE or empty" :
					       "");
	} else if (kpb_csv_is(level, "PRE")) {
		raw->flags |= KPB_RAW_PRE;
	}
	if (raw->kind == KPB_RAW_ALLOC && src->columns[CSV_CALLER] >= 0) {
		caller = &fields[src->columns[CSV_CALLER]];
		fn = kpb_import_fn(caller->at,
				   (size_t)(caller->end - caller->at));
		if (fn && (fn->flags & (KPB_FN_KERNEL | KPB_FN_SURE)) ==
				  (KPB_FN_KERNEL | KPB_FN_SURE))
			raw->arg = 1;
	}
	kpb_note(imp, src, KPB_IMPORT_EVENTS, 1);
	return kpb_source_push(imp, src, raw) ? 0 : imp->error;
}

static int kpb_csv_line(struct kpb_import *imp, struct kpb_source *src,
			const char *line, const char *end)
{
	struct kpb_csv_field fields[KPB_IMPORT_MAX_COLUMNS];
	const struct kpb_csv_field *ts_ns = &fields[src->columns[CSV_TS]];
	const struct kpb_csv_field *cpu = &fields[src->columns[CSV_CPU]];
	const struct kpb_csv_field *pfn = &fields[src->columns[CSV_PFN]];
	struct kpb_raw raw = { .line = src->line, .level = KPB_LEVEL_UNKNOWN };
	uint64_t nr, number;

	if (line == end)
		return 0;
	nr = kpb_csv_split(line, end, fields, KPB_IMPORT_MAX_COLUMNS);
	if (nr != src->nr_columns)
		return kpb_import_fail(imp, -EINVAL, src->file, src->line,
				       "%llu fields where the header line has %llu",
				       (unsigned long long)nr,
				       (unsigned long long)src->nr_columns);
	if (!parse_u64(ts_ns->at, ts_ns->end, false, &raw.ts_ns) ||
	    raw.ts_ns > KPB_IMPORT_MAX_TS_NS)
		return kpb_import_fail(imp, -EINVAL, src->file, src->line,
				       "ts_ns '%.*s' is not a number of 0 to 2^61",
				       kpb_shown(ts_ns), ts_ns->at);
	if (!parse_u64(cpu->at, cpu->end, false, &number) ||
	    number > KPB_IMPORT_MAX_CPU)
		return kpb_import_fail(imp, -EINVAL, src->file, src->line,
				       "cpu '%.*s' is not a number of 0 to %d",
				       kpb_shown(cpu), cpu->at,
				       KPB_IMPORT_MAX_CPU);
	raw.cpu = (uint8_t)number;
	if (!parse_u64(pfn->at, pfn->end, false, &raw.page))
		return kpb_import_fail(imp, -EINVAL, src->file, src->line,
				       "pfn '%.*s' is not a number",
				       kpb_shown(pfn), pfn->at);
	return kpb_csv_event(imp, src, fields, &raw);
}

/* --- lines ---------------------------------------------------------------- */

/* Lines without anything known, after which a file is no recording. */
#define KPB_IMPORT_MAX_STRANGE 4096

static int kpb_line(struct kpb_import *imp, struct kpb_source *src,
		    const char *line, const char *end)
{
	bool is_csv = false;
	int ret = 0;

	if (end > line && end[-1] == '\r')
		end--;
	if (src->format == KPB_IMPORT_TABLE) {
		ret = kpb_csv_line(imp, src, line, end);
	} else {
		if (src->format == KPB_IMPORT_UNKNOWN && src->line == 1)
			ret = kpb_csv_header(imp, src, line, end, &is_csv);
		if (!ret && !is_csv)
			ret = kpb_text_line(imp, src, line, end);
	}
	if (!ret && src->format == KPB_IMPORT_UNKNOWN &&
	    src->line >= KPB_IMPORT_MAX_STRANGE)
		ret = kpb_import_fail(
			imp, -EINVAL, src->file, src->line,
			"no line so far is of tracefs, trace-cmd report, perf script or CSV");
	if (!ret && imp->options.nr_sources == 1)
		ret = kpb_source_drain(imp, src);
	return ret;
}

/* In a CSV a field in quotes may go on in the next line. */
static bool kpb_line_goes_on(const struct kpb_source *src, const char *line,
			     const char *end)
{
	bool open = false;

	if (src->format != KPB_IMPORT_TABLE)
		return false;
	while ((line = memchr(line, '"', (size_t)(end - line)))) {
		open = !open;
		line++;
	}
	return open;
}

static int kpb_carry(struct kpb_import *imp, struct kpb_source *src,
		     const char *data, size_t len)
{
	if (len > KPB_IMPORT_MAX_LINE - src->carry_len)
		return kpb_import_fail(
			imp, -EINVAL, src->file, src->line + 1,
			"a line of more than %d bytes; this is no recording",
			KPB_IMPORT_MAX_LINE);
	memcpy(src->carry + src->carry_len, data, len);
	src->carry_len += len;
	return 0;
}

static int kpb_feed_line(struct kpb_import *imp, struct kpb_source *src,
			 const char *line, const char *end)
{
	int ret;

	if (src->carry_len || end - line > KPB_IMPORT_MAX_LINE) {
		ret = kpb_carry(imp, src, line, (size_t)(end - line));
		if (ret)
			return ret;
		line = src->carry;
		end = src->carry + src->carry_len;
	}
	src->line++;
	kpb_note(imp, src, KPB_IMPORT_LINES, 1);
	if (kpb_line_goes_on(src, line, end)) {
		if (line != src->carry)
			ret = kpb_carry(imp, src, line, (size_t)(end - line));
		else
			ret = 0;
		return ret ? ret : kpb_carry(imp, src, "\n", 1);
	}
	src->carry_len = 0;
	return kpb_line(imp, src, line, end);
}

/**
 * kpb_import_feed() - the next bytes of a source
 * @imp: import
 * @source: which one, begun and not ended
 * @data: the bytes; lines may be cut anywhere
 * @bytes: up to KPB_IMPORT_MAX_FEED
 *
 * Return: 0; -EINVAL or -E2BIG with kpb_import_message(), for good; -ENOMEM.
 */
int kpb_import_feed(struct kpb_import *imp, uint32_t source, const char *data,
		    uint64_t bytes)
{
	const char *end = data + bytes, *nl;
	struct kpb_source *src;
	int ret = 0;

	if (imp->error)
		return imp->error;
	if (source >= imp->options.nr_sources || bytes > KPB_IMPORT_MAX_FEED ||
	    imp->sources[source].ended)
		return -EINVAL;
	src = &imp->sources[source];
	while (!ret && (nl = memchr(data, '\n', (size_t)(end - data)))) {
		ret = kpb_feed_line(imp, src, data, nl);
		data = nl + 1;
	}
	if (!ret && data < end)
		ret = kpb_carry(imp, src, data, (size_t)(end - data));
	if (!ret && imp->options.nr_sources > 1)
		ret = kpb_import_merge(imp);
	if (ret)
		imp->error = ret;
	return ret;
}

/**
 * kpb_import_begin() - a file begins
 * @imp: import
 * @source: 0, or with several sources the one whose file it is; begin all of
 *	    them before the first is fed: one that has not begun has nothing
 *
 * Return: 0; -EINVAL if its last file has not ended; -ENOMEM.
 */
int kpb_import_begin(struct kpb_import *imp, uint32_t source)
{
	struct kpb_source *src;

	if (imp->error)
		return imp->error;
	if (source >= imp->options.nr_sources || imp->finished)
		return -EINVAL;
	src = &imp->sources[source];
	if (!src->ended)
		return -EINVAL;
	if (!src->carry)
		src->carry = malloc(KPB_IMPORT_MAX_LINE);
	if (!src->carry)
		return -ENOMEM;
	src->ended = false;
	src->format = KPB_IMPORT_UNKNOWN;
	src->carry_len = 0;
	src->line = 0;
	/* a part without a header may have the entries that this one lacks */
	if (!src->begun)
		src->expected = -1;
	src->begun = true;
	src->file = imp->nr_files++;
	return 0;
}

/**
 * kpb_import_end() - a file is at its end
 * @imp: import
 * @source: which one
 *
 * Return: as kpb_import_feed().
 */
int kpb_import_end(struct kpb_import *imp, uint32_t source)
{
	struct kpb_source *src;
	uint64_t at;
	int ret = 0;

	if (imp->error)
		return imp->error;
	if (source >= imp->options.nr_sources || imp->sources[source].ended)
		return -EINVAL;
	src = &imp->sources[source];
	if (src->format == KPB_IMPORT_TABLE &&
	    kpb_line_goes_on(src, src->carry, src->carry + src->carry_len))
		ret = kpb_import_fail(imp, -EINVAL, src->file, src->line,
				      "a quote that is never closed");
	else if (src->carry_len)
		ret = kpb_feed_line(imp, src, src->carry + src->carry_len,
				    src->carry + src->carry_len);
	if (ret) {
		imp->error = ret;
		return ret;
	}
	kpb_stack_close(imp, src);
	memset(src->waiting, 0, sizeof(src->waiting));
	for (at = src->head; at != src->tail; at++) {
		if (kpb_queued(src, at)->state == KPB_RAW_WAITS_STACK)
			kpb_raw_give_up(imp, src, kpb_queued(src, at));
	}
	imp->state.format = src->format;
	src->ended = true;
	if (src->format == KPB_IMPORT_UNKNOWN)
		return kpb_import_fail(
			imp, -EINVAL, src->file, 0,
			"no line is of tracefs, trace-cmd report, perf script or CSV");
	ret = imp->options.nr_sources > 1 ? kpb_import_merge(imp) :
					    kpb_source_drain(imp, src);
	if (ret)
		imp->error = ret;
	return ret;
}

/**
 * kpb_import_next() - which source is to be fed
 * @imp: import
 *
 * Return: the first whose events are needed; -1: all have ended.
 */
int64_t kpb_import_next(struct kpb_import *imp)
{
	uint32_t i;

	for (i = 0; i < imp->options.nr_sources; i++) {
		if (kpb_source_wants(&imp->sources[i]))
			return i;
	}
	for (i = 0; i < imp->options.nr_sources; i++) {
		if (!imp->sources[i].ended)
			return i;
	}
	return -1;
}

/* Nobody told which item it is; one that was alone must be it. */
static int kpb_import_only_item(struct kpb_import *imp)
{
	int64_t item = -1;
	uint64_t at;
	uint32_t i;

	for (i = 0; i < imp->options.nr_sources; i++) {
		struct kpb_source *src = &imp->sources[i];

		for (at = src->head; at != src->tail; at++) {
			struct kpb_raw *raw = kpb_queued(src, at);

			if (raw->state != KPB_RAW_WAITS_ITEM)
				continue;
			if (item >= 0 && raw->item != item)
				return kpb_import_fail(
					imp, -EINVAL, src->file, raw->line,
					"items %lld and %d both may be NR_PAGETABLE; give --item",
					(long long)item, raw->item);
			item = raw->item;
		}
	}
	if (item >= 0)
		kpb_import_item(imp, item);
	return 0;
}

static int kpb_import_nothing(struct kpb_import *imp)
{
	const uint64_t *count = imp->state.count;

	if (count[KPB_IMPORT_MISSING_STACKS])
		return kpb_import_fail(
			imp, -EINVAL, 0, 0,
			"mm_page_alloc without stacks; set the stacktrace trigger, see trace how-to");
	if (count[KPB_IMPORT_UNRESOLVED_PAGES])
		return kpb_import_fail(
			imp, -EINVAL, 0, 0,
			"no event says which page it is about; record page= or x19 to x28, see trace how-to");
	return kpb_import_fail(
		imp, -EINVAL, 0, 0,
		"no page table event in %llu lines; see trace how-to for what to record",
		(unsigned long long)count[KPB_IMPORT_LINES]);
}

/**
 * kpb_import_finish() - all files have ended
 * @imp: import
 *
 * Return: 0; -EINVAL with kpb_import_message(), also if there was no page table
 * event at all.
 */
int kpb_import_finish(struct kpb_import *imp)
{
	struct kpb_books *books = &imp->books;
	uint32_t i;
	int ret;

	if (imp->error)
		return imp->error;
	for (i = 0; i < imp->options.nr_sources; i++) {
		if (!imp->sources[i].ended)
			return -EINVAL;
	}
	if (imp->finished)
		return 0;
	for (i = 0; i < imp->options.nr_sources; i++)
		kpb_check_expected(imp, &imp->sources[i]);
	ret = kpb_import_only_item(imp);
	if (!ret)
		ret = imp->options.nr_sources > 1 ?
			      kpb_import_merge(imp) :
			      kpb_source_drain(imp, &imp->sources[0]);
	if (!ret && !books->nr_ops)
		ret = kpb_import_nothing(imp);
	if (ret) {
		imp->error = ret;
		return ret;
	}
	imp->finished = true;
	kpb_import_note(imp, KPB_IMPORT_NEVER_FREED, books->nr_live, 0, 0);
	return 0;
}

/**
 * kpb_import_state() - what there is so far
 * @imp: import
 * @out: filled
 *
 * Return: 0.
 */
int kpb_import_state(struct kpb_import *imp, struct kpb_import_state *out)
{
	uint32_t i;

	*out = imp->state;
	out->nr_ops = imp->books.nr_ops + imp->books.nr_pre;
	out->nr_pre = imp->books.nr_pre;
	out->bytes = kpb_books_bytes(&imp->books);
	for (i = 0; i < imp->options.nr_sources; i++) {
		out->bytes += imp->sources[i].cap * sizeof(struct kpb_raw);
		if (imp->sources[i].carry)
			out->bytes += KPB_IMPORT_MAX_LINE;
	}
	return 0;
}

const char *kpb_import_message(struct kpb_import *imp)
{
	return imp->msg;
}

/**
 * kpb_import_take() - the result
 * @imp: import, finished
 * @ts_ns: times of the prologue and of all operations
 * @ops: the operations
 * @nr: kpb_import_state::nr_ops
 *
 * Return: 0; -EINVAL if it is not finished or @nr another number; -ENOMEM.
 */
int kpb_import_take(struct kpb_import *imp, int64_t *ts_ns, struct kpb_op *ops,
		    uint64_t nr)
{
	if (!imp->finished || nr != imp->books.nr_ops + imp->books.nr_pre)
		return -EINVAL;
	return kpb_books_take(&imp->books, ts_ns, ops);
}

/**
 * kpb_import_create() - begin an import
 * @options: see struct kpb_import_options
 * @out: the import, to be given to kpb_import_destroy()
 * @msg: KPB_MSG_BYTES for what is wrong
 *
 * Return: 0; -EINVAL with @msg filled; -ENOMEM.
 */
int kpb_import_create(const struct kpb_import_options *options,
		      struct kpb_import **out, char *msg)
{
	struct kpb_import *imp;
	uint32_t i;

	msg[0] = '\0';
	if (options->nr_sources < 1 ||
	    options->nr_sources > KPB_IMPORT_MAX_SOURCES ||
	    options->max_ops < 1 || options->max_ops >= 1u << 24 ||
	    options->origin >= KPB_NR_IMPORT_ORIGINS ||
	    options->item > INT32_MAX) {
		snprintf(msg, KPB_MSG_BYTES,
			 "%u files, %llu operations, origin %u, item %lld: the limits are %d, 2^24 - 1, %d, 2^31 - 1",
			 options->nr_sources,
			 (unsigned long long)options->max_ops, options->origin,
			 (long long)options->item, KPB_IMPORT_MAX_SOURCES,
			 KPB_NR_IMPORT_ORIGINS - 1);
		return -EINVAL;
	}
	imp = calloc(1, sizeof(*imp));
	if (!imp)
		return -ENOMEM;
	imp->options = *options;
	imp->state.item = options->item < 0 ? -1 : options->item;
	imp->state.origin = options->origin;
	imp->sources = calloc(options->nr_sources, sizeof(*imp->sources));
	if (!imp->sources || kpb_books_init(&imp->books, options->max_ops)) {
		kpb_import_destroy(imp);
		return -ENOMEM;
	}
	for (i = 0; i < options->nr_sources; i++)
		imp->sources[i].ended = true;
	*out = imp;
	return 0;
}

void kpb_import_destroy(struct kpb_import *imp)
{
	uint32_t i;

	if (!imp)
		return;
	for (i = 0; imp->sources && i < imp->options.nr_sources; i++) {
		free(imp->sources[i].carry);
		free(imp->sources[i].queue);
	}
	free(imp->sources);
	kpb_books_release(&imp->books);
	free(imp);
}
