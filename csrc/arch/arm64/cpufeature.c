// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mirrors arch/arm64/kernel/cpufeature.c (6.18) for one capability: BBML2
 * without conflict aborts, which a system has if each of its CPUs does.
 *
 * kpb: which CPU has it is the user's choice, where the kernel has a list of
 * MIDRs; a CPU that comes after capabilities are final is refused by the
 * kernel if it lacks one that is in use, so there is none here.
 */

#include <asm/cpufeature.h>

static bool kpb_cpu_has_bbml2(unsigned int cpu)
{
	switch ((enum kpb_bbml2)kpb_this->config.boot.bbml2) {
	case KPB_BBML2_NONE:
		return false;
	case KPB_BBML2_BOOT_ONLY:
		return cpu == 0;
	case KPB_BBML2_LATE_CPU:
		return cpu != num_possible_cpus() - 1;
	default:
		return true;
	}
}

/**
 * cpu_supports_bbml2_noabort() - does the CPU that asks have it?
 *
 * Return: of the boot CPU, the only one that asks.
 */
bool cpu_supports_bbml2_noabort(void)
{
	return kpb_cpu_has_bbml2(0);
}

/**
 * system_capabilities_finalized() - is it known what all CPUs can do?
 *
 * Return: true once secondary CPUs are up; kpb: in a boot of two steps once
 * late initialisation has begun.
 */
bool system_capabilities_finalized(void)
{
	return kpb_this->boot.stepped ?
		       kpb_this->boot.system_capabilities_finalized :
		       kpb_this->late_init_done;
}

/**
 * system_supports_bbml2_noabort() - is it known that every CPU has it?
 *
 * Return: false until capabilities are final.
 */
bool system_supports_bbml2_noabort(void)
{
	const struct kpb_boot *boot = &kpb_this->boot;

	if (!system_capabilities_finalized())
		return false;
	/* kpb: a boot of two steps knows the boot CPU only */
	return boot->stepped ? boot->nr_bbml2_cpus == boot->nr_online_cpus :
			       cpu_supports_bbml2_noabort();
}

/**
 * check_local_cpu_capabilities() - a CPU says what it can do
 * @cpu: its number
 */
void check_local_cpu_capabilities(unsigned int cpu)
{
	struct kpb_boot *boot = &kpb_this->boot;

	boot->nr_online_cpus++;
	boot->nr_bbml2_cpus += kpb_cpu_has_bbml2(cpu);
}

/**
 * setup_system_features() - all CPUs are up: what they share is final
 */
void setup_system_features(void)
{
	kpb_this->boot.system_capabilities_finalized = true;
	linear_map_maybe_split_to_ptes();
}
