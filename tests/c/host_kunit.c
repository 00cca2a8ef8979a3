// SPDX-License-Identifier: GPL-2.0-only
/* What the laboratory needs of the host (csrc/lab/host.c). */

#include "kunit.h"

#include <errno.h>

#include "lab/border.h"

static void host_mapping_is_aligned_and_zero(struct kunit *test)
{
	static const size_t aligns[] = { 65536, 2 << 20, 1 << 30, 16ULL << 30 };
	static const size_t sizes[] = { 1, 65536, 65537, 100 << 20 };
	size_t i, j;

	for (i = 0; i < 4; i++) {
		for (j = 0; j < 4; j++) {
			struct kpb_mapping map = { 0 };
			unsigned char *bytes;

			KUNIT_ASSERT_EQ(test,
					kpb_mapping_reserve(&map, sizes[j],
							    aligns[i]),
					0);
			KUNIT_EXPECT_EQ(test, (uintptr_t)map.addr % aligns[i],
					0);
			KUNIT_EXPECT_GE(test, map.bytes, sizes[j]);
			KUNIT_EXPECT_LT(test, map.bytes, sizes[j] + 65536);
			bytes = map.addr;
			KUNIT_EXPECT_EQ(test, bytes[0], 0);
			KUNIT_EXPECT_EQ(test, bytes[map.bytes - 1], 0);
			bytes[0] = bytes[map.bytes - 1] = 1;
			kpb_mapping_release(&map);
			KUNIT_EXPECT_NULL(test, map.addr);
			KUNIT_EXPECT_EQ(test, map.bytes, 0);
			/* once more, for those who unwind */
			kpb_mapping_release(&map);
		}
	}
}

static void host_mapping_of_too_much_fails(struct kunit *test)
{
	struct kpb_mapping map = { 0 };

	/* more than any 64-bit host maps, or reserves for a sanitizer */
	KUNIT_EXPECT_EQ(test, kpb_mapping_reserve(&map, 1ULL << 60, 65536),
			-ENOMEM);
	KUNIT_EXPECT_NULL(test, map.addr);
}

static const struct kunit_case host_test_cases[] = {
	KUNIT_CASE(host_mapping_is_aligned_and_zero),
	KUNIT_CASE(host_mapping_of_too_much_fails),
	{ 0 }
};

static struct kunit_suite host_test_suite = {
	.name = "host",
	.test_cases = host_test_cases,
};
kunit_test_suite(host_test_suite);
