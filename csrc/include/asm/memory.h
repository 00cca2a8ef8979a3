/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernel stacks; namesake of asm/memory.h, with parts of asm/thread_info.h. */
#ifndef __ASM_MEMORY_H
#define __ASM_MEMORY_H

#include <lab/machine.h>

/* CUSTOM: CONFIG_KASAN is an option of the machine */
#define KASAN_THREAD_SHIFT (kpb_this->config.boot.kasan ? 1u : 0u)
/* DUPLICATED: with CONFIG_VMAP_STACK a stack is at least a page */
#define MIN_THREAD_SHIFT (14u + KASAN_THREAD_SHIFT)
#define THREAD_SHIFT max(MIN_THREAD_SHIFT, (unsigned int)PAGE_SHIFT)
#define THREAD_SIZE (1UL << THREAD_SHIFT)
/* an overflow is found by one bit of the stack pointer */
#define THREAD_ALIGN (2 * THREAD_SIZE)
#define IRQ_STACK_SIZE THREAD_SIZE

#endif
