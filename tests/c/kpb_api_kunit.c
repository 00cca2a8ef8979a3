// SPDX-License-Identifier: GPL-2.0-only
/*
 * The border (csrc/kpb_api.c) with all three page sizes behind it: errors and
 * their messages, one thread at a time, machines that stop, machines that
 * share nothing, what a machine costs.
 */

#include "kunit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lab/border.h"

#define MB(n) ((uint64_t)(n) << 20)
#define GB(n) ((uint64_t)(n) << 30)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define API_SANITIZED true
#else
#define API_SANITIZED false
#endif

enum {
	API_PBA,
	API_NOBLOCK,
	API_NULL
};

struct api_granule {
	const char *name;
	uint32_t page_shift;
};

static const struct api_granule api_granules[] = {
	{ "4K", 12 },
	{ "16K", 14 },
	{ "64K", 16 },
};

KUNIT_ARRAY_PARAM(api_granules, api_granules)

static struct kpb_config api_config(uint32_t page_shift, uint32_t allocator,
				    uint64_t ram_bytes)
{
	struct kpb_config config = {
		.ram_bytes = ram_bytes,
		.phys_base = GB(1),
		.page_shift = page_shift,
		.linear_map = (uint32_t)kpb_allocator_linear_map(allocator),
		.allocator = allocator,
	};
	struct kpb_geometry geometry;

	kpb_geometry(page_shift, &geometry);
	config.nr_refill_orders = geometry.nr_refill_orders;
	memcpy(config.refill_orders, geometry.refill_orders,
	       sizeof(config.refill_orders));
	return config;
}

static void api_destroy(void *m)
{
	kpb_machine_destroy(m);
}

static struct kpb_machine *api_create(struct kunit *test,
				      const struct kpb_config *config)
{
	struct kpb_machine *m = NULL;
	char msg[KPB_MSG_BYTES] = "?";
	int ret = kpb_machine_create(config, &m, msg);

	/* see box_create() */
	if (ret == -ENOMEM && getenv("KUNIT_SMALL_ADDRESS_SPACE"))
		kunit_skip(test, "address space");
	KUNIT_EXPECT_STREQ(test, msg, "");
	KUNIT_ASSERT_EQ(test, ret, 0);
	KUNIT_ASSERT_NOT_NULL(test, m);
	kunit_add_action(test, api_destroy, m);
	return m;
}

static struct kpb_machine *api_boot(struct kunit *test,
				    const struct kpb_config *config)
{
	struct kpb_machine *m = api_create(test, config);

	KUNIT_ASSERT_EQ(test, kpb_machine_init(m), 0);
	KUNIT_ASSERT_EQ(test, kpb_machine_init_late(m), 0);
	return m;
}

static int api_op(struct kpb_machine *m, uint8_t kind, uint32_t slot,
		  uint8_t level, uint8_t arg)
{
	const struct kpb_op op = {
		.slot = slot,
		.kind = kind,
		.level = level,
		.arg = arg,
	};
	uint64_t failed_op;

	return kpb_replay(m, &op, 1, 1, NULL, NULL, &failed_op);
}

static void api_expect_clean(struct kunit *test, struct kpb_machine *m)
{
	char msg[KPB_MSG_BYTES] = "?";

	KUNIT_EXPECT_EQ(test, kpb_machine_check(m, msg), 0);
	KUNIT_EXPECT_STREQ(test, msg, "");
}

static void api_knows_three_page_sizes(struct kunit *test)
{
	const struct api_granule *param = test->param_value;
	struct kpb_geometry geometry;

	memset(&geometry, 0xff, sizeof(geometry));
	KUNIT_EXPECT_EQ(test, kpb_geometry(param->page_shift, &geometry), 0);
	KUNIT_EXPECT_EQ(test, geometry.page_shift, param->page_shift);
	KUNIT_EXPECT_EQ(test, geometry.ptrs_per_table,
			1 << (param->page_shift - 3));
	KUNIT_EXPECT_EQ(test, geometry.nr_refill_orders, 3);
	KUNIT_EXPECT_EQ(test, geometry.refill_orders[2], 2);
	KUNIT_EXPECT_EQ(test, kpb_geometry(param->page_shift + 1, &geometry),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_geometry(0, &geometry), -EINVAL);
}

static void api_lists_the_allocators(struct kunit *test)
{
	static const char *const names[] = {
		"pba",		 "noblock",	  "null",
		"early-regions", "deferred-list", "deferred-marks",
		"sized-refill",
	};
	uint32_t i;

	for (i = 0; i < 7; i++) {
		KUNIT_EXPECT_STREQ(test, kpb_allocator_name(i), names[i]);
		KUNIT_EXPECT_GT(test, strlen(kpb_allocator_help(i)), 10);
		KUNIT_EXPECT_EQ(test, kpb_allocator_linear_map(i),
				i == API_NOBLOCK || i == API_NULL ?
					KPB_MAP_PTE :
					KPB_MAP_BLOCK);
	}
	KUNIT_EXPECT_EQ(test, kpb_nr_allocators, 7);
	KUNIT_EXPECT_NULL(test, kpb_allocator_name(7));
	KUNIT_EXPECT_NULL(test, kpb_allocator_help(7));
	KUNIT_EXPECT_EQ(test, kpb_allocator_linear_map(7), -EINVAL);
	KUNIT_EXPECT_NULL(test, kpb_allocator_name(~0u));
}

static void api_names_compiler_and_clock(struct kunit *test)
{
	struct kpb_clock_info info;

	KUNIT_EXPECT_GT(test, strlen(kpb_compiler()), 4);
	KUNIT_EXPECT_EQ(test, kpb_clock_measure(&info), 0);
	KUNIT_EXPECT_GT(test, strlen(info.name), 2);
	KUNIT_EXPECT_TRUE(test,
			  info.ns_per_tick > 0.01 && info.ns_per_tick < 10000);
	KUNIT_EXPECT_TRUE(test, info.floor_ns >= 0);
	KUNIT_EXPECT_TRUE(test, info.quantum_ns > 0);
}

/* Configurations: one thing wrong in each */

struct api_bad_config {
	const char *name;
	void (*spoil)(struct kpb_config *config);
	/* what the message must contain: the value, and the way out */
	const char *value;
	const char *advice;
};

#define SPOIL(fn, stmt)                                   \
	static void spoil_##fn(struct kpb_config *config) \
	{                                                 \
		stmt;                                     \
	}

SPOIL(shift_13, config->page_shift = 13)
SPOIL(shift_0, config->page_shift = 0)
SPOIL(allocator, config->allocator = 7)
SPOIL(ram_0, config->ram_bytes = 0)
SPOIL(ram_small, config->ram_bytes = MB(64) - 4096)
SPOIL(ram_large, config->ram_bytes = GB(1024) + 4096)
SPOIL(ram_unaligned, config->ram_bytes = MB(64) + 512)
SPOIL(base_unaligned, config->phys_base = GB(1) + 4096)
SPOIL(base_large, config->phys_base = (1ULL << 46) + GB(1))
SPOIL(no_orders, config->nr_refill_orders = 0)
SPOIL(many_orders, config->nr_refill_orders = 33)
SPOIL(order_11, config->refill_orders[0] = 11)
SPOIL(order_255, config->refill_orders[0] = 255)
SPOIL(order_11_allowed, config->refill_orders[0] = 11;
      config->allow_any_orders = 1)
SPOIL(orders_rise, config->refill_orders[0] = 3; config->refill_orders[1] = 4)
SPOIL(orders_equal, config->refill_orders[0] = 4)
SPOIL(last_is_3, config->refill_orders[2] = 3)
SPOIL(last_is_1, config->refill_orders[2] = 1)
SPOIL(only_9, config->nr_refill_orders = 1)
SPOIL(aged_share, config->aged_ppm = 1000001; config->aged_pins = 1)
SPOIL(aged_no_pins, config->aged_ppm = 1)
SPOIL(aged_many_pins, config->aged_ppm = 1; config->aged_pins = 513)
SPOIL(pba_on_ptes, config->linear_map = KPB_MAP_PTE)
SPOIL(noblock_on_blocks, config->allocator = API_NOBLOCK)
SPOIL(null_on_blocks, config->allocator = API_NULL)
SPOIL(pba_on_unknown, config->linear_map = 7)
SPOIL(noblock_on_unknown, config->allocator = API_NOBLOCK;
      config->linear_map = 7)

static const struct api_bad_config api_bad_configs[] = {
	{ "page_shift 13", spoil_shift_13, "page_shift 13", "12, 14 or 16" },
	{ "page_shift 0", spoil_shift_0, "page_shift 0", "12, 14 or 16" },
	{ "allocator 7", spoil_allocator, "allocator 7", "there are 7" },
	{ "no RAM", spoil_ram_0, "ram of 0 bytes", "64M to 1T" },
	{ "RAM one page below 64 MB", spoil_ram_small, "67104768",
	  "64M to 1T" },
	{ "RAM one page above 1 TB", spoil_ram_large, "1099511631872",
	  "64M to 1T" },
	{ "RAM not a multiple of the page", spoil_ram_unaligned, "67109376",
	  "4096" },
	{ "base not a multiple of 1 GB", spoil_base_unaligned, "0x40001000",
	  "multiple of 1 GB" },
	{ "base above 64 TB", spoil_base_large, "0x400040000000", "64 TB" },
	{ "no refill orders", spoil_no_orders, "0 entries", "1 to 32" },
	{ "33 refill orders", spoil_many_orders, "33 entries", "1 to 32" },
	{ "order above the largest", spoil_order_11, "order 11",
	  "largest order is 10" },
	{ "order 255", spoil_order_255, "order 255", "largest order is 10" },
	{ "order above the largest, although any are allowed",
	  spoil_order_11_allowed, "order 11", "largest order is 10" },
	{ "rising orders", spoil_orders_rise, "4 after 3",
	  "strictly decreasing" },
	{ "equal orders", spoil_orders_equal, "4 after 4",
	  "strictly decreasing" },
	{ "last order 3", spoil_last_is_3, "ends in 3", "must be 2" },
	{ "last order 1", spoil_last_is_1, "ends in 1", "must be 2" },
	{ "only order 9", spoil_only_9, "ends in 9", "must be 2" },
	{ "aged share above all", spoil_aged_share, "1000001",
	  "at most 1000000" },
	{ "aged without pages", spoil_aged_no_pins, "up to 0 pages",
	  "1 to 512" },
	{ "aged with more pages than there are", spoil_aged_many_pins,
	  "up to 513 pages", "1 to 512" },
	{ "pba on PTEs", spoil_pba_on_ptes, "pba", "linear map of blocks" },
	{ "noblock on blocks", spoil_noblock_on_blocks, "noblock",
	  "linear map of PTEs" },
	{ "null on blocks", spoil_null_on_blocks, "null",
	  "linear map of PTEs" },
	{ "pba on an unknown map", spoil_pba_on_unknown, "linear_map 7",
	  "0 (blocks) or 1 (PTEs)" },
	{ "noblock on an unknown map", spoil_noblock_on_unknown, "linear_map 7",
	  "0 (blocks) or 1 (PTEs)" },
};

KUNIT_ARRAY_PARAM(api_bad_configs, api_bad_configs)

static void api_refuses_bad_configs(struct kunit *test)
{
	const struct api_bad_config *param = test->param_value;
	struct kpb_config config = api_config(12, API_PBA, MB(64));
	struct kpb_machine *m = NULL;
	char msg[KPB_MSG_BYTES] = "?";

	param->spoil(&config);
	KUNIT_EXPECT_EQ(test, kpb_machine_create(&config, &m, msg), -EINVAL);
	KUNIT_EXPECT_NULL(test, m);
	KUNIT_EXPECT_CONTAINS(test, msg, param->value);
	KUNIT_EXPECT_CONTAINS(test, msg, param->advice);
	if (m)
		kpb_machine_destroy(m);
}

SPOIL(nothing, (void)config)
SPOIL(base_0, config->phys_base = 0)
SPOIL(base_64t, config->phys_base = 1ULL << 46)
SPOIL(ram_64m, config->ram_bytes = MB(64))
SPOIL(any_2_9, config->refill_orders[0] = 2; config->refill_orders[1] = 9;
      config->nr_refill_orders = 2; config->allow_any_orders = 1)
SPOIL(any_32, config->nr_refill_orders = 32;
      memset(config->refill_orders, 4, 32); config->allow_any_orders = 1)
SPOIL(only_2, config->refill_orders[0] = 2; config->nr_refill_orders = 1)
SPOIL(aged_all, config->aged_ppm = 1000000; config->aged_pins = 512)
SPOIL(largest, config->refill_orders[0] = 10)

static const struct api_bad_config api_good_configs[] = {
	{ "default", spoil_nothing, NULL, NULL },
	{ "from frame zero", spoil_base_0, NULL, NULL },
	{ "from 64 TB", spoil_base_64t, NULL, NULL },
	{ "64 MB", spoil_ram_64m, NULL, NULL },
	{ "rising orders, allowed", spoil_any_2_9, NULL, NULL },
	{ "32 equal orders, allowed", spoil_any_32, NULL, NULL },
	{ "order 2 alone", spoil_only_2, NULL, NULL },
	{ "aged everywhere", spoil_aged_all, NULL, NULL },
	{ "the largest order", spoil_largest, NULL, NULL },
};

KUNIT_ARRAY_PARAM(api_good_configs, api_good_configs)

static void api_accepts_good_configs(struct kunit *test)
{
	const struct api_bad_config *param = test->param_value;
	struct kpb_config config = api_config(12, API_PBA, GB(1));
	struct kpb_machine *m;

	param->spoil(&config);
	m = api_boot(test, &config);
	KUNIT_EXPECT_EQ(test, kpb_machine_set_slots(m, 1), 0);
	KUNIT_EXPECT_EQ(test, api_op(m, KPB_OP_ALLOC, 0, 0, 0), 0);
	api_expect_clean(test, m);
}

/* Limits that are those of the page size: 4 MB, 32 MB, 512 MB are the largest. */
static void api_limits_are_those_of_the_page_size(struct kunit *test)
{
	const struct api_granule *param = test->param_value;
	const uint32_t max_order = param->page_shift == 12 ? 10 :
				   param->page_shift == 14 ? 11 :
							     13;
	const uint32_t block = param->page_shift == 12 ? 512 :
			       param->page_shift == 14 ? 2048 :
							 8192;
	const struct kpb_config good =
		api_config(param->page_shift, API_PBA, GB(4));
	struct kpb_config config = good;
	char msg[KPB_MSG_BYTES], text[64];
	struct kpb_machine *m = NULL;

	config.refill_orders[0] = (uint8_t)max_order;
	config.aged_ppm = 1;
	config.aged_pins = block;
	config.ram_bytes += 1u << param->page_shift;
	api_expect_clean(test, api_boot(test, &config));

	config.refill_orders[0] = (uint8_t)max_order + 1;
	KUNIT_EXPECT_EQ(test, kpb_machine_create(&config, &m, msg), -EINVAL);
	snprintf(text, sizeof(text), "largest order is %u with %s pages",
		 max_order, param->name);
	KUNIT_EXPECT_CONTAINS(test, msg, text);

	config = good;
	config.aged_ppm = 1;
	config.aged_pins = block + 1;
	KUNIT_EXPECT_EQ(test, kpb_machine_create(&config, &m, msg), -EINVAL);
	snprintf(text, sizeof(text), "1 to %u", block);
	KUNIT_EXPECT_CONTAINS(test, msg, text);

	config = good;
	config.ram_bytes += 1u << (param->page_shift - 1);
	KUNIT_EXPECT_EQ(test, kpb_machine_create(&config, &m, msg), -EINVAL);
	snprintf(text, sizeof(text), "%u", 1u << param->page_shift);
	KUNIT_EXPECT_CONTAINS(test, msg, text);
	KUNIT_EXPECT_NULL(test, m);
}

/* A whole life at each page size, as Python lives it. */
static void api_boots_every_page_size(struct kunit *test)
{
	const struct api_granule *param = test->param_value;
	uint32_t allocator;

	for (allocator = API_PBA; allocator <= API_NULL; allocator++) {
		struct kpb_config config =
			api_config(param->page_shift, allocator, GB(1));
		struct kpb_machine *m = api_create(test, &config);
		struct kpb_counters counters;
		struct kpb_state state;

		KUNIT_EXPECT_EQ(test, kpb_machine_init_late(m), -EALREADY);
		KUNIT_EXPECT_EQ(test, kpb_machine_init(m), 0);
		KUNIT_EXPECT_EQ(test, kpb_machine_init(m), -EALREADY);
		KUNIT_EXPECT_EQ(test, kpb_machine_init_late(m), 0);
		KUNIT_EXPECT_EQ(test, kpb_machine_init_late(m), -EALREADY);
		KUNIT_EXPECT_EQ(test, api_op(m, KPB_OP_ALLOC, 0, 0, 0),
				-EINVAL);
		KUNIT_EXPECT_EQ(test, kpb_machine_set_slots(m, 1), 0);
		KUNIT_EXPECT_EQ(test, api_op(m, KPB_OP_ALLOC, 0, 0, 0), 0);
		KUNIT_EXPECT_EQ(test, kpb_machine_counters(m, &counters), 0);
		KUNIT_EXPECT_EQ(test, kpb_machine_state(m, &state), 0);
		KUNIT_EXPECT_EQ(test, counters.allocs, 1);
		KUNIT_EXPECT_EQ(test, counters.warnings, 0);
		KUNIT_EXPECT_EQ(test, state.live_pages, 1);
		KUNIT_EXPECT_EQ(test, state.ram_pages,
				GB(1) >> param->page_shift);
		KUNIT_EXPECT_EQ(test, state.unprotected_pages, 0);
		KUNIT_EXPECT_EQ(test,
				state.map_pud_kb + state.map_contpmd_kb +
					state.map_pmd_kb +
					state.map_contpte_kb + state.map_pte_kb,
				GB(1) >> 10);
		api_expect_clean(test, m);
	}
}

/* Looking inside */

static void api_looks_inside(struct kunit *test)
{
	const struct api_granule *param = test->param_value;
	struct kpb_config config =
		api_config(param->page_shift, API_PBA, GB(4));
	struct kpb_machine *m = api_boot(test, &config);
	uint64_t start = GB(1) >> param->page_shift;
	uint64_t end = GB(5) >> param->page_shift;
	uint64_t pfns[3000], frames[4];
	struct kpb_geometry geometry;
	uint8_t types[4096], pkeys[4];
	struct kpb_state state;
	int64_t nr;

	kpb_geometry(param->page_shift, &geometry);
	KUNIT_EXPECT_EQ(test, kpb_machine_set_slots(m, 2), 0);
	KUNIT_EXPECT_EQ(test, api_op(m, KPB_OP_ALLOC, 1, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, kpb_machine_slot_pfns(m, pfns, 3000), 2);
	KUNIT_EXPECT_EQ(test, pfns[0], 0);
	frames[0] = pfns[1];
	/* the head of the list is just below what was handed out */
	kpb_machine_state(m, &state);
	nr = kpb_machine_cached_pfns(m, pfns, 3000);
	KUNIT_EXPECT_EQ(test, nr, state.cached_pages);
	KUNIT_EXPECT_EQ(test, pfns[0], frames[0] - 1);
	pfns[1] = 7;
	KUNIT_EXPECT_EQ(test, kpb_machine_cached_pfns(m, pfns, 1), nr);
	KUNIT_EXPECT_EQ(test, pfns[1], 7);

	/* a page table, a free page, the frames around RAM */
	frames[1] = end - 2;
	frames[2] = end;
	frames[3] = start - 1;
	KUNIT_EXPECT_EQ(test, kpb_machine_pkeys(m, frames, pkeys, 4), 0);
	KUNIT_EXPECT_EQ(test, pkeys[0], 1);
	KUNIT_EXPECT_EQ(test, pkeys[1], 0);
	KUNIT_EXPECT_EQ(test, pkeys[2], 255);
	KUNIT_EXPECT_EQ(test, pkeys[3], 255);
	frames[0] = ~0ULL;
	KUNIT_EXPECT_EQ(test, kpb_machine_pkeys(m, frames, pkeys, 1), 0);
	KUNIT_EXPECT_EQ(test, pkeys[0], 255);

	KUNIT_EXPECT_EQ(test,
			kpb_machine_free_pfns(m, geometry.max_page_order + 1, 0,
					      pfns, 1),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, kpb_machine_free_pfns(m, 0, 3, pfns, 1), -EINVAL);
	/* whoever asks for memory next brings the next section in */
	KUNIT_EXPECT_EQ(test, api_op(m, KPB_OP_PIN, 0, 1, 0), 0);
	nr = kpb_machine_free_pfns(m, geometry.max_page_order, 1, pfns, 3000);
	KUNIT_EXPECT_GT(test, nr, 0);
	KUNIT_EXPECT_EQ(test, pfns[0] % (1 << geometry.max_page_order), 0);

	nr = kpb_machine_pageblock_types(m, types, sizeof(types));
	KUNIT_EXPECT_EQ(test, nr,
			GB(4) >> (param->page_shift + geometry.block_order));
	/* the first refill has taken over the first block */
	KUNIT_EXPECT_EQ(test, types[0], 0);
	KUNIT_EXPECT_EQ(test, types[nr - 1], 1);
}

/* With room for nothing each says how many there are, and touches nothing. */
static void api_counts_without_an_array(struct kunit *test)
{
	struct kpb_config config = api_config(12, API_PBA, MB(64));
	struct kpb_machine *m = api_boot(test, &config);

	KUNIT_EXPECT_EQ(test, kpb_machine_set_slots(m, 3), 0);
	KUNIT_EXPECT_EQ(test, kpb_machine_warnings(m, NULL, 0), 0);
	KUNIT_EXPECT_EQ(test, kpb_machine_slot_pfns(m, NULL, 0), 3);
	KUNIT_EXPECT_EQ(test, kpb_machine_cached_pfns(m, NULL, 0), 511);
	KUNIT_EXPECT_EQ(test, kpb_machine_free_pfns(m, 10, 1, NULL, 0), 14);
	KUNIT_EXPECT_EQ(test, kpb_machine_pageblock_types(m, NULL, 0), 32);
	KUNIT_EXPECT_EQ(test, kpb_machine_pkeys(m, NULL, NULL, 0), 0);
}

/* One thread at a time */

/* Everything there is, on a machine in which somebody is. */
static void api_is_busy_while_a_thread_is_inside(struct kunit *test)
{
	struct kpb_config config = api_config(12, API_PBA, MB(64));
	struct kpb_machine *m = api_boot(test, &config);
	struct kpb_border *border = (struct kpb_border *)m;
	static struct kpb_map_counters map[KPB_NR_CAUSES];
	static struct kpb_counters counters;
	static struct kpb_state state;
	struct kpb_op op = { .kind = KPB_OP_SHRINK };
	char msg[KPB_MSG_BYTES] = "untouched";
	struct kpb_warning warning;
	uint64_t pfn = 0, failed_op = 5;
	uint8_t byte;

	atomic_store(&border->busy, true);
	KUNIT_EXPECT_EQ(test, kpb_machine_init(m), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_init_late(m), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_set_slots(m, 10), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_replay(m, &op, 1, 1, NULL, NULL, &failed_op),
			-EBUSY);
	KUNIT_EXPECT_EQ(test, failed_op, 5);
	KUNIT_EXPECT_EQ(test, kpb_machine_counters(m, &counters), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_map_counters(m, map), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_state(m, &state), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_warnings(m, &warning, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_stopped(m, msg), -EBUSY);
	KUNIT_EXPECT_STREQ(test, msg, "untouched");
	KUNIT_EXPECT_EQ(test, kpb_machine_check(m, msg), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_slot_pfns(m, &pfn, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_cached_pfns(m, &pfn, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_free_pfns(m, 0, 0, &pfn, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_pageblock_types(m, &byte, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_pkeys(m, &pfn, &byte, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, kpb_machine_destroy(m), -EBUSY);
	KUNIT_EXPECT_EQ(test, state.ram_pages, 0);
	atomic_store(&border->busy, false);
	KUNIT_EXPECT_EQ(test, kpb_machine_state(m, &state), 0);
	KUNIT_EXPECT_EQ(test, state.ops, 0);
	/* a call that was refused leaves it free, too */
	KUNIT_EXPECT_EQ(test, kpb_machine_init(m), -EALREADY);
	KUNIT_EXPECT_EQ(test, kpb_machine_state(m, &state), 0);
}

struct api_worker {
	pthread_t thread;
	struct kpb_machine *m;
	atomic_int *turn;
	uint32_t slot;
	uint64_t nr_done, nr_busy, nr_other;
};

#define API_ROUNDS 2000

/* Allocate and free in a slot of its own, as often as the machine lets it. */
static void *api_work(void *data)
{
	struct api_worker *worker = data;
	const struct kpb_op ops[] = {
		{ .slot = worker->slot, .kind = KPB_OP_ALLOC },
		{ .slot = worker->slot, .kind = KPB_OP_FREE },
	};
	uint32_t i;

	/* both start at once */
	atomic_fetch_add(worker->turn, 1);
	while (atomic_load(worker->turn) < 2)
		;
	for (i = 0; i < API_ROUNDS; i++) {
		uint64_t failed_op;
		int ret = kpb_replay(worker->m, ops, 2, 50, NULL, NULL,
				     &failed_op);

		worker->nr_done += ret == 0;
		worker->nr_busy += ret == -EBUSY;
		worker->nr_other += ret && ret != -EBUSY;
	}
	return NULL;
}

/* Each call is done as a whole or refused as a whole. */
static void api_lets_one_of_two_threads_in(struct kunit *test)
{
	struct kpb_config config = api_config(12, API_PBA, MB(64));
	struct kpb_machine *m = api_boot(test, &config);
	struct api_worker workers[2] = { 0 };
	struct kpb_state state;
	atomic_int turn = 0;
	uint32_t i;

	KUNIT_EXPECT_EQ(test, kpb_machine_set_slots(m, 2), 0);
	for (i = 0; i < 2; i++) {
		workers[i].m = m;
		workers[i].slot = i;
		workers[i].turn = &turn;
		KUNIT_ASSERT_EQ(test,
				pthread_create(&workers[i].thread, NULL,
					       api_work, &workers[i]),
				0);
	}
	for (i = 0; i < 2; i++)
		pthread_join(workers[i].thread, NULL);
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, workers[i].nr_other, 0);
		KUNIT_EXPECT_EQ(test, workers[i].nr_done + workers[i].nr_busy,
				API_ROUNDS);
	}
	KUNIT_EXPECT_EQ(test, kpb_machine_state(m, &state), 0);
	KUNIT_EXPECT_EQ(test, state.ops,
			100 * (workers[0].nr_done + workers[1].nr_done));
	KUNIT_EXPECT_EQ(test, state.live_pages, 0);
	api_expect_clean(test, m);
}

/* What is the same on machines that did the same. */
struct api_snapshot {
	struct kpb_counters counters;
	struct kpb_map_counters map[KPB_NR_CAUSES];
	struct kpb_state state;
	uint64_t slots[64];
};

static void api_take_snapshot(struct kpb_machine *m, struct api_snapshot *out)
{
	memset(out, 0, sizeof(*out));
	kpb_machine_counters(m, &out->counters);
	kpb_machine_map_counters(m, out->map);
	kpb_machine_state(m, &out->state);
	kpb_machine_slot_pfns(m, out->slots, 64);
}

/* A step of a life that depends on @seed: allocations, pins, shrinks. */
static void api_step(struct kpb_machine *m, uint32_t seed, uint32_t i)
{
	uint32_t x = (i + 1) * 2654435761u + seed * 40503u;
	uint32_t slot = (x >> 8) % 48;
	uint64_t pfns[64];

	kpb_machine_slot_pfns(m, pfns, 64);
	if (x % 37 == 0)
		api_op(m, KPB_OP_SHRINK, 1 + x % 100, 0, 0);
	if (slot % 6)
		api_op(m, pfns[slot] ? KPB_OP_FREE : KPB_OP_ALLOC, slot, 0, 0);
	else
		api_op(m, pfns[slot] ? KPB_OP_UNPIN : KPB_OP_PIN, slot,
		       (uint8_t)(x % 3), (uint8_t)(x % 9));
}

static struct kpb_machine *api_life_machine(struct kunit *test, uint32_t shift,
					    uint32_t allocator)
{
	struct kpb_config config = api_config(shift, allocator, GB(1));
	struct kpb_machine *m = api_boot(test, &config);

	KUNIT_EXPECT_EQ(test, kpb_machine_set_slots(m, 64), 0);
	return m;
}

/* A machine that takes turns with others ends as one that is alone. */
static void api_machines_share_nothing(struct kunit *test)
{
	static const struct {
		uint32_t shift, allocator, seed;
	} lives[] = {
		{ 12, API_PBA, 1 }, { 12, API_PBA, 2 }, { 12, API_NOBLOCK, 1 },
		{ 14, API_PBA, 3 }, { 16, API_PBA, 4 }, { 16, API_NOBLOCK, 5 },
	};
	enum {
		NR_LIVES = sizeof(lives) / sizeof(lives[0])
	};
	static struct api_snapshot alone[NR_LIVES], together;
	struct kpb_machine *m[NR_LIVES];
	uint32_t i, life;

	for (life = 0; life < NR_LIVES; life++) {
		m[0] = api_life_machine(test, lives[life].shift,
					lives[life].allocator);
		for (i = 0; i < 500; i++)
			api_step(m[0], lives[life].seed, i);
		api_take_snapshot(m[0], &alone[life]);
	}
	for (life = 0; life < NR_LIVES; life++)
		m[life] = api_life_machine(test, lives[life].shift,
					   lives[life].allocator);
	for (i = 0; i < 500; i++)
		for (life = 0; life < NR_LIVES; life++)
			api_step(m[life], lives[life].seed, i);
	for (life = 0; life < NR_LIVES; life++) {
		api_take_snapshot(m[life], &together);
		KUNIT_EXPECT_TRUE(test, !memcmp(&together, &alone[life],
						sizeof(together)));
		api_expect_clean(test, m[life]);
	}
	/* and they have not all done the same */
	KUNIT_EXPECT_TRUE(test, memcmp(&alone[0], &alone[1], sizeof(alone[0])));
}

static void *api_live(void *data)
{
	struct api_worker *worker = data;
	uint32_t i;

	for (i = 0; i < 500; i++)
		api_step(worker->m, worker->slot, i);
	return NULL;
}

/* Two machines in two threads at the same time do not wait for each other. */
static void api_machines_run_in_parallel(struct kunit *test)
{
	static struct api_snapshot snapshots[3];
	struct api_worker workers[2] = { 0 };
	struct kpb_machine *m;
	uint32_t i;

	m = api_life_machine(test, 12, API_PBA);
	for (i = 0; i < 500; i++)
		api_step(m, 9, i);
	api_take_snapshot(m, &snapshots[2]);
	for (i = 0; i < 2; i++) {
		workers[i].m = api_life_machine(test, 12, API_PBA);
		workers[i].slot = 9;
	}
	for (i = 0; i < 2; i++)
		KUNIT_ASSERT_EQ(test,
				pthread_create(&workers[i].thread, NULL,
					       api_live, &workers[i]),
				0);
	for (i = 0; i < 2; i++)
		pthread_join(workers[i].thread, NULL);
	for (i = 0; i < 2; i++) {
		api_take_snapshot(workers[i].m, &snapshots[i]);
		KUNIT_EXPECT_TRUE(test, !memcmp(&snapshots[i], &snapshots[2],
						sizeof(snapshots[0])));
	}
}

/* Machines that stop */

/*
 * A permission change across the border of two 1 GB leaves takes four tables,
 * which is all of the reserve. What two refills left of their 2 MB is pinned,
 * so the next refill must split, and there is no table for that.
 */
static const struct kpb_op api_deadlock_ops[] = {
	{ .kind = KPB_OP_SET_MEMORY, .slot = (2U << 18) - 1, .arg = 2 },
	{ .kind = KPB_OP_PIN, .slot = 1, .arg = 2 },
	{ .kind = KPB_OP_PIN, .slot = 2, .arg = 2 },
	{ .kind = KPB_OP_PIN, .slot = 3, .arg = 4 },
	{ .kind = KPB_OP_PIN, .slot = 4, .arg = 5 },
	{ .kind = KPB_OP_PIN, .slot = 5, .arg = 6 },
	{ .kind = KPB_OP_PIN, .slot = 6, .arg = 7 },
	{ .kind = KPB_OP_PIN, .slot = 7, .arg = 8 },
	{ .kind = KPB_OP_ALLOC, .slot = 0 },
	{ .kind = KPB_OP_FREE, .slot = 0 },
};
#define API_DEADLOCK_AT 8

static struct kpb_machine *api_deadlock(struct kunit *test, uint64_t *failed_op)
{
	struct kpb_config config = api_config(12, API_PBA, MB(4096));
	struct kpb_machine *m;

	config.no_pcp = 1;
	config.refill_orders[0] = 2;
	config.nr_refill_orders = 1;
	m = api_boot(test, &config);
	KUNIT_EXPECT_EQ(test, kpb_machine_set_slots(m, 4000), 0);
	KUNIT_EXPECT_EQ(test,
			kpb_replay(m, api_deadlock_ops,
				   sizeof(api_deadlock_ops) /
					   sizeof(api_deadlock_ops[0]),
				   1, NULL, NULL, failed_op),
			-EDEADLK);
	return m;
}

static void api_stopped_machine_says_why(struct kunit *test)
{
	char msg[KPB_MSG_BYTES];
	struct kpb_machine *m;
	uint64_t failed_op;

	m = api_deadlock(test, &failed_op);
	KUNIT_EXPECT_EQ(test, kpb_machine_stopped(m, msg), 1);
	KUNIT_EXPECT_CONTAINS(test, msg,
			      "pba.alloc_mutex, which it holds itself; path: ");
	KUNIT_EXPECT_CONTAINS(test, msg, "split_kernel_leaf_mapping");
}

static void api_stopped_machine_changes_no_more(struct kunit *test)
{
	const struct kpb_op op = { .kind = KPB_OP_SHRINK, .slot = 1 };
	static struct api_snapshot before, after;
	uint64_t failed_op;
	struct kpb_machine *m;

	m = api_deadlock(test, &failed_op);
	api_take_snapshot(m, &before);
	KUNIT_EXPECT_EQ(test, kpb_machine_init(m), -EDEADLK);
	KUNIT_EXPECT_EQ(test, kpb_machine_init_late(m), -EDEADLK);
	KUNIT_EXPECT_EQ(test, kpb_machine_set_slots(m, 5000), -EDEADLK);
	KUNIT_EXPECT_EQ(test, kpb_replay(m, &op, 1, 1, NULL, NULL, &failed_op),
			-EDEADLK);
	api_take_snapshot(m, &after);
	KUNIT_EXPECT_TRUE(test, !memcmp(&before, &after, sizeof(before)));
}

/* What happened up to then stays readable. */
static void api_stopped_machine_stays_readable(struct kunit *test)
{
	static struct kpb_map_counters map[KPB_NR_CAUSES];
	struct kpb_counters counters;
	struct kpb_warning warning;
	char msg[KPB_MSG_BYTES];
	struct kpb_state state;
	struct kpb_machine *m;
	uint64_t pfn;
	uint64_t failed_op;
	uint8_t byte;
	int ret;

	m = api_deadlock(test, &failed_op);
	KUNIT_EXPECT_EQ(test, kpb_machine_counters(m, &counters), 0);
	KUNIT_EXPECT_EQ(test, counters.pins, 7);
	KUNIT_EXPECT_EQ(test, counters.reserve_low_water_pages, 0);
	KUNIT_EXPECT_EQ(test, kpb_machine_map_counters(m, map), 0);
	KUNIT_EXPECT_EQ(test, map[KPB_CAUSE_OTHER].split_pmd, 2);
	KUNIT_EXPECT_EQ(test, kpb_machine_state(m, &state), 0);
	KUNIT_EXPECT_EQ(test, state.ops, API_DEADLOCK_AT);
	/* the empty list had warned */
	KUNIT_EXPECT_GE(test, kpb_machine_warnings(m, &warning, 1), 1);
	KUNIT_EXPECT_CONTAINS(test, warning.file, "kpkeys_hardened_pgtables.c");
	KUNIT_EXPECT_EQ(test, kpb_machine_slot_pfns(m, &pfn, 1), 4000);
	KUNIT_EXPECT_EQ(test, kpb_machine_cached_pfns(m, &pfn, 1), 0);
	KUNIT_EXPECT_GE(test, kpb_machine_free_pfns(m, 0, 0, &pfn, 1), 0);
	KUNIT_EXPECT_EQ(test, kpb_machine_pageblock_types(m, &byte, 1), 2048);
	KUNIT_EXPECT_EQ(test, kpb_machine_pkeys(m, &pfn, &byte, 1), 0);
	ret = kpb_machine_check(m, msg);
	KUNIT_EXPECT_TRUE(test, ret == 0 || ret == -EUCLEAN);
}

/* The operation that stopped it is named, counted in its replay. */
static void api_stopped_replay_names_the_operation(struct kunit *test)
{
	uint64_t failed_op = 0;

	api_deadlock(test, &failed_op);
	KUNIT_EXPECT_EQ(test, failed_op, API_DEADLOCK_AT);
}

/* Stopping at boot is reported as well. */
static void api_boot_can_stop(struct kunit *test)
{
	struct kpb_config config = api_config(12, API_PBA, GB(4));
	char msg[KPB_MSG_BYTES];
	struct kpb_machine *m;

	/* refills of one page cannot even pay for the first region's split */
	config.allow_any_orders = 1;
	config.refill_orders[0] = 0;
	config.nr_refill_orders = 1;
	m = api_create(test, &config);
	KUNIT_EXPECT_EQ(test, kpb_machine_init(m), 0);
	KUNIT_EXPECT_EQ(test, kpb_machine_init_late(m), -EDEADLK);
	KUNIT_EXPECT_EQ(test, kpb_machine_stopped(m, msg), 1);
	KUNIT_EXPECT_CONTAINS(test, msg, "deadlock");
	/* and it is not busy for ever */
	KUNIT_EXPECT_EQ(test, kpb_machine_init_late(m), -EDEADLK);
}

static void api_running_machine_has_not_stopped(struct kunit *test)
{
	struct kpb_config config = api_config(12, API_PBA, MB(64));
	struct kpb_machine *m = api_boot(test, &config);
	char msg[KPB_MSG_BYTES] = "?";

	KUNIT_EXPECT_EQ(test, kpb_machine_stopped(m, msg), 0);
	KUNIT_EXPECT_STREQ(test, msg, "");
}

/* What a machine costs */

/* Resident pages of this process in kB, or 0 where that cannot be asked. */
static long api_resident_kb(void)
{
	long size, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file)
		return 0;
	if (fscanf(file, "%ld %ld", &size, &resident) != 2)
		resident = 0;
	fclose(file);
	return resident * (sysconf(_SC_PAGESIZE) >> 10);
}

static long api_nr_mappings(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	long nr = 0;
	int c;

	if (!file)
		return 0;
	while ((c = fgetc(file)) != EOF)
		nr += c == '\n';
	fclose(file);
	return nr;
}

static void api_create_and_destroy(struct kunit *test, uint32_t nr)
{
	uint32_t i;

	for (i = 0; i < nr; i++) {
		struct kpb_config config =
			api_config(12 + 2 * (i % 3), i / 3 % 3, MB(64));
		struct kpb_machine *m = NULL;
		char msg[KPB_MSG_BYTES];

		KUNIT_ASSERT_EQ(test, kpb_machine_create(&config, &m, msg), 0);
		/* some of them live a little */
		if (i % 10 == 0) {
			kpb_machine_init(m);
			kpb_machine_init_late(m);
			kpb_machine_set_slots(m, 10);
			api_op(m, KPB_OP_ALLOC, 0, 0, 0);
		}
		kpb_machine_destroy(m);
	}
}

static void api_create_and_destroy_leaks_nothing(struct kunit *test)
{
	long resident, nr_mappings;

	api_create_and_destroy(test, 500);
	resident = api_resident_kb();
	nr_mappings = api_nr_mappings();
	api_create_and_destroy(test, 10000);
	/* a page a machine would be 40 MB, the smallest structure 1 MB */
	if (!API_SANITIZED && !getenv("KUNIT_SMALL_ADDRESS_SPACE"))
		KUNIT_EXPECT_LE(test, api_resident_kb() - resident, 512);
	KUNIT_EXPECT_LE(test, api_nr_mappings() - nr_mappings, 10);
}

static void api_destroy_of_nothing_is_nothing(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, kpb_machine_destroy(NULL), 0);
}

/* Refused configurations leave nothing behind, either. */
static void api_failed_creation_leaks_nothing(struct kunit *test)
{
	struct kpb_config config = api_config(12, API_PBA, MB(64));
	long nr_mappings = api_nr_mappings();
	struct kpb_machine *m = NULL;
	char msg[KPB_MSG_BYTES];
	uint32_t i;

	config.refill_orders[2] = 3;
	for (i = 0; i < 1000; i++)
		KUNIT_EXPECT_EQ(test, kpb_machine_create(&config, &m, msg),
				-EINVAL);
	KUNIT_EXPECT_LE(test, api_nr_mappings() - nr_mappings, 10);
}

/* Without address space: -ENOMEM, advice, and nothing left behind. */
static void api_without_address_space_fails(struct kunit *test)
{
	struct kpb_config config = api_config(12, API_PBA, GB(1024));
	struct rlimit limit, small;
	struct kpb_machine *m = NULL;
	char msg[KPB_MSG_BYTES] = "?";
	long nr_mappings;
	uint32_t i;

	/* the sanitizers need terabytes of it themselves */
	if (API_SANITIZED || getrlimit(RLIMIT_AS, &limit))
		return;
	nr_mappings = api_nr_mappings();
	small = limit;
	small.rlim_cur = GB(64);
	KUNIT_ASSERT_EQ(test, setrlimit(RLIMIT_AS, &small), 0);
	for (i = 0; i < 20; i++)
		KUNIT_EXPECT_EQ(test, kpb_machine_create(&config, &m, msg),
				-ENOMEM);
	setrlimit(RLIMIT_AS, &limit);
	KUNIT_EXPECT_CONTAINS(test, msg, "1099511627776");
	KUNIT_EXPECT_CONTAINS(test, msg, "ulimit");
	KUNIT_EXPECT_LE(test, api_nr_mappings() - nr_mappings, 10);
}

struct api_size {
	const char *name;
	uint32_t page_shift;
	uint32_t allocator;
	uint64_t ram_bytes;
	/* what creating and booting may touch */
	long create_kb, boot_kb;
};

/*
 * A machine touches the tables above the last level and what is on the free
 * lists. A PTE map of 1 TB has PMD tables of 4 MB at 4K; at boot the pkey of
 * 2 GB of PTE tables is set there, so that the 1,027 tables that map those are
 * written, 4 MB again.
 */
static const struct api_size api_sizes[] = {
	{ "4K blocks, 64 GB", 12, API_PBA, GB(64), 2048, 2048 },
	{ "4K blocks, 1 TB", 12, API_PBA, GB(1024), 2048, 2048 },
	{ "4K PTEs, 64 GB", 12, API_NOBLOCK, GB(64), 2048, 4096 },
	{ "4K PTEs, 1 TB", 12, API_NOBLOCK, GB(1024), 8192, 16384 },
	{ "16K blocks, 64 GB", 14, API_PBA, GB(64), 2048, 2048 },
	{ "16K blocks, 1 TB", 14, API_PBA, GB(1024), 2048, 2048 },
	{ "16K PTEs, 64 GB", 14, API_NOBLOCK, GB(64), 2048, 4096 },
	{ "16K PTEs, 1 TB", 14, API_NOBLOCK, GB(1024), 4096, 8192 },
	{ "64K blocks, 64 GB", 16, API_PBA, GB(64), 2048, 2048 },
	{ "64K blocks, 1 TB", 16, API_PBA, GB(1024), 2048, 2048 },
	{ "64K PTEs, 64 GB", 16, API_NOBLOCK, GB(64), 2048, 4096 },
	{ "64K PTEs, 1 TB", 16, API_NOBLOCK, GB(1024), 4096, 8192 },
};

KUNIT_ARRAY_PARAM(api_sizes, api_sizes)

static void api_large_machines_touch_little(struct kunit *test)
{
	const struct api_size *param = test->param_value;
	struct kpb_config config = api_config(param->page_shift,
					      param->allocator,
					      param->ram_bytes);
	long before = api_resident_kb(), created, booted;
	struct kpb_machine *m = api_create(test, &config);
	struct kpb_state state;

	created = api_resident_kb();
	KUNIT_EXPECT_EQ(test, kpb_machine_init(m), 0);
	KUNIT_EXPECT_EQ(test, kpb_machine_init_late(m), 0);
	booted = api_resident_kb();
	if (!API_SANITIZED) {
		KUNIT_EXPECT_LE(test, created - before, param->create_kb);
		KUNIT_EXPECT_LE(test, booted - before, param->boot_kb);
	}
	KUNIT_EXPECT_EQ(test, kpb_machine_state(m, &state), 0);
	KUNIT_EXPECT_EQ(test, state.ram_pages,
			param->ram_bytes >> param->page_shift);
	KUNIT_EXPECT_EQ(test, state.unprotected_pages, 0);
	KUNIT_EXPECT_GT(test, state.deferred_pages, state.ram_pages / 2);
}

/* Boot in phases through the border: order, counters, a panic. */
static void api_boots_in_phases(struct kunit *test)
{
	const struct api_granule *param = test->param_value;
	struct kpb_config config =
		api_config(param->page_shift, API_PBA, GB(2));
	struct kpb_boot_counters counters;
	struct kpb_machine *m;
	char msg[KPB_MSG_BYTES];
	uint32_t phase;

	m = api_create(test, &config);
	KUNIT_EXPECT_EQ(test, kpb_boot_phase(m, KPB_PHASE_SMP), -EALREADY);
	for (phase = 0; phase < KPB_NR_PHASES; phase++)
		KUNIT_EXPECT_EQ(test, kpb_boot_phase(m, phase), 0);
	KUNIT_EXPECT_EQ(test, kpb_machine_boot_counters(m, &counters), 0);
	KUNIT_EXPECT_EQ(test, counters.phases, KPB_NR_PHASES);
	KUNIT_EXPECT_EQ(test, counters.nr_online_cpus,
			KPB_DEFAULT_POSSIBLE_CPUS);
	api_expect_clean(test, m);

	/* 4096 stacks of 16 KB and more are as much as there is */
	config.ram_bytes = MB(64);
	config.boot.nr_possible_cpus = KPB_MAX_POSSIBLE_CPUS;
	m = api_create(test, &config);
	KUNIT_EXPECT_EQ(test, kpb_boot_phase(m, KPB_PHASE_LINEAR_MAP), 0);
	KUNIT_EXPECT_EQ(test, kpb_boot_phase(m, KPB_PHASE_BUDDY), 0);
	KUNIT_EXPECT_EQ(test, kpb_boot_phase(m, KPB_PHASE_WINDOW), -EDEADLK);
	KUNIT_EXPECT_EQ(test, kpb_boot_phase(m, KPB_PHASE_SMP), -EDEADLK);
	KUNIT_EXPECT_EQ(test, kpb_machine_stopped(m, msg), 1);
	KUNIT_EXPECT_CONTAINS(test, msg, "kernel panic");
}

/* A variant's number: named, with a default, and bounded. */
static void api_variants_have_a_parameter(struct kunit *test)
{
	struct kpb_config config = api_config(12, API_PBA, GB(1));
	char msg[KPB_MSG_BYTES];
	struct kpb_machine *m;
	uint32_t i;

	for (i = 0; kpb_allocator_name(i); i++) {
		KUNIT_EXPECT_EQ(test, kpb_allocator_param(i) != NULL,
				kpb_allocator_default_param(i) != 0);
		config.allocator = i;
		config.linear_map = (uint32_t)kpb_allocator_linear_map(i);
		config.variant_param = 1ULL << 40;
		KUNIT_EXPECT_EQ(test, kpb_machine_create(&config, &m, msg),
				-EINVAL);
		KUNIT_EXPECT_CONTAINS(test, msg, "variant parameter");
	}
	KUNIT_EXPECT_NULL(test, kpb_allocator_param(i));
	KUNIT_EXPECT_EQ(test, kpb_allocator_default_param(i), 0);
}

static const struct kunit_case api_test_cases[] = {
	KUNIT_CASE_PARAM(api_knows_three_page_sizes, api_granules_gen_params),
	KUNIT_CASE(api_lists_the_allocators),
	KUNIT_CASE(api_names_compiler_and_clock),
	KUNIT_CASE_PARAM(api_refuses_bad_configs, api_bad_configs_gen_params),
	KUNIT_CASE_PARAM(api_accepts_good_configs, api_good_configs_gen_params),
	KUNIT_CASE_PARAM(api_limits_are_those_of_the_page_size,
			 api_granules_gen_params),
	KUNIT_CASE_PARAM(api_boots_every_page_size, api_granules_gen_params),
	KUNIT_CASE_PARAM(api_looks_inside, api_granules_gen_params),
	KUNIT_CASE(api_is_busy_while_a_thread_is_inside),
	KUNIT_CASE(api_lets_one_of_two_threads_in),
	KUNIT_CASE(api_machines_share_nothing),
	KUNIT_CASE(api_machines_run_in_parallel),
	KUNIT_CASE(api_stopped_machine_says_why),
	KUNIT_CASE(api_stopped_machine_changes_no_more),
	KUNIT_CASE(api_stopped_machine_stays_readable),
	KUNIT_CASE(api_stopped_replay_names_the_operation),
	KUNIT_CASE(api_boot_can_stop),
	KUNIT_CASE(api_running_machine_has_not_stopped),
	KUNIT_CASE(api_create_and_destroy_leaks_nothing),
	KUNIT_CASE(api_destroy_of_nothing_is_nothing),
	KUNIT_CASE(api_failed_creation_leaks_nothing),
	KUNIT_CASE(api_without_address_space_fails),
	KUNIT_CASE_PARAM(api_large_machines_touch_little, api_sizes_gen_params),
	KUNIT_CASE(api_counts_without_an_array),
	KUNIT_CASE_PARAM(api_boots_in_phases, api_granules_gen_params),
	KUNIT_CASE(api_variants_have_a_parameter),
	{ 0 }
};

static struct kunit_suite api_test_suite = {
	.name = "kpb_api",
	.test_cases = api_test_cases,
};
kunit_test_suite(api_test_suite);
