// SPDX-License-Identifier: GPL-2.0-only
/*
 * Written independently of csrc/mm, and broken on purpose: it compiles, but defines nothing that
 * the laboratory calls, as if somebody had picked the wrong file. Loading it must say so.
 */

#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/set_memory.h>

static int __maybe_unused protect_page(struct page *page, int pkey)
{
	return set_memory_pkey((unsigned long)page_address(page), 1, pkey);
}

static struct page * __maybe_unused fetch_page(gfp_t gfp)
{
	return alloc_page(gfp);
}
