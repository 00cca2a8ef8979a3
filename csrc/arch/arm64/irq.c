// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors arch/arm64/kernel/irq.c (6.18): the stack that each CPU handles
 * interrupts on. With CONFIG_VMAP_STACK it is in the vmalloc area.
 */

#include <asm/cpufeature.h>
#include <asm/memory.h>
#include <linux/vmalloc.h>

/* DUPLICATED: asm/vmap_stack.h. kpb: __GFP_ZERO and __GFP_ACCOUNT left out */
static void *arch_alloc_vmap_stack(unsigned long stack_size)
{
	return __vmalloc_node_range(stack_size, THREAD_ALIGN, VMALLOC_START,
				    VMALLOC_END, GFP_KERNEL);
}

/* For all that may ever come online, long before they do. */
static void init_irq_stacks(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
	{
		/* kpb: the kernel would fault when it takes an interrupt */
		if (!arch_alloc_vmap_stack(IRQ_STACK_SIZE))
			kpb_stop(__FILE__, __LINE__,
				 "kernel panic: no memory for an IRQ stack");
	}
}
