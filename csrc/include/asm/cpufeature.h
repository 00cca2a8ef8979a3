/* SPDX-License-Identifier: GPL-2.0-only */
/* What CPUs can do; namesake of asm/cpufeature.h, with linux/cpumask.h. */
#ifndef __ASM_CPUFEATURE_H
#define __ASM_CPUFEATURE_H

#include <lab/machine.h>

/* arch/arm64/kernel/cpufeature.c, DUPLICATED */
KPB_LOCAL bool cpu_supports_bbml2_noabort(void);
KPB_LOCAL bool system_supports_bbml2_noabort(void);
KPB_LOCAL bool system_capabilities_finalized(void);
KPB_LOCAL void check_local_cpu_capabilities(unsigned int cpu);
KPB_LOCAL void setup_system_features(void);
/* arch/arm64/mm/mmu.c */
KPB_LOCAL void linear_map_maybe_split_to_ptes(void);

/*
 * CUSTOM: CPUs of a boot in phases come online one by one. In a boot of two
 * steps they are there, and nobody knows what they can do before late
 * initialisation.
 */
static inline unsigned int num_online_cpus(void)
{
	return kpb_this->boot.stepped ? kpb_this->boot.nr_online_cpus :
					KPB_DEFAULT_POSSIBLE_CPUS;
}

/* CUSTOM */
static inline unsigned int num_possible_cpus(void)
{
	return kpb_this->config.boot.nr_possible_cpus;
}

#define for_each_possible_cpu(cpu) \
	for ((cpu) = 0; (cpu) < num_possible_cpus(); (cpu)++)

#endif
