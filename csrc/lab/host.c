// SPDX-License-Identifier: GPL-2.0-only
/* What the laboratory needs of the host: lazily touched memory. */

#include <errno.h>
#include <sys/mman.h>

#include "border.h"

/**
 * kpb_mapping_reserve() - address space that costs memory where it is touched
 * @map: result, released by kpb_mapping_release()
 * @bytes: how much
 * @align: of the start, a power of two and a multiple of the host's page
 *
 * Return: 0 or -ENOMEM.
 */
int kpb_mapping_reserve(struct kpb_mapping *map, size_t bytes, size_t align)
{
	size_t page = 65536; /* a multiple of any host's page size */
	uintptr_t start, aligned, end;
	void *addr;

	bytes = (bytes + page - 1) & ~(page - 1);
	addr = mmap(NULL, bytes + align, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (addr == MAP_FAILED)
		return -ENOMEM;

	start = (uintptr_t)addr;
	aligned = (start + align - 1) & ~(align - 1);
	end = start + bytes + align;
	if (aligned > start)
		munmap(addr, aligned - start);
	if (end > aligned + bytes)
		munmap((void *)(aligned + bytes), end - (aligned + bytes));

	map->addr = (void *)aligned;
	map->bytes = bytes;
	/* a touched page must not bring 2 MB with it */
	(void)madvise(map->addr, bytes, MADV_NOHUGEPAGE);
	return 0;
}

void kpb_mapping_release(struct kpb_mapping *map)
{
	if (map->addr)
		munmap(map->addr, map->bytes);
	map->addr = NULL;
	map->bytes = 0;
}
