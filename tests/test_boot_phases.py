# SPDX-License-Identifier: GPL-2.0-only
"""A boot that is stepped through, from Python: names, order, and a few of the numbers.

How many tables what takes is checked in tests/c/boot_kunit.c; here is what the border adds.
"""

import pytest

from kpkeys_bench.errors import ConfigError, MachineError
from kpkeys_bench.machine import (
    ALLOCATOR_PARAMS,
    BOOT_CAUSES,
    LEVELS,
    PHASES,
    BootConfig,
    Machine,
)
from kpkeys_bench.strategy import Strategy

RAM = 2 << 30


def booted(allocator: str = "pba", last: str = "running", **params: object) -> Machine:
    """A machine after the phases up to `last`."""
    boot = BootConfig(**params)  # type: ignore[arg-type]
    machine = Machine(Strategy(allocator), ram=RAM, boot=boot)
    machine.boot_phases(last)
    return machine


def test_boot_counters_name_every_phase_cause_and_level() -> None:
    with booted() as machine:
        ptps = machine.boot_counters()["ptps"]
        assert tuple(ptps) == PHASES
        for causes in ptps.values():
            assert tuple(causes) == BOOT_CAUSES
            for levels in causes.values():
                assert tuple(levels) == LEVELS
        # 512 stacks, 32 KB apart: 16 MB
        assert ptps["window"]["irq_stack"] == {"pte": 8, "pmd": 1, "pud": 1, "p4d": 0}
        machine.check()


def test_boot_phase_by_phase_tells_how_far_it_is() -> None:
    with Machine(ram=RAM, boot=BootConfig(nr_possible_cpus=2)) as machine:
        for done, phase in enumerate(PHASES):
            assert machine.boot_counters()["phases"] == done
            machine.boot_phase(phase)
            machine.check()
        assert machine.boot_counters()["nr_online_cpus"] == 2


def test_boot_phase_out_of_order_is_refused() -> None:
    with Machine(ram=RAM) as machine, pytest.raises(MachineError, match="out of order"):
        machine.boot_phase("window")


def test_boot_phase_after_two_step_boot_is_refused() -> None:
    with Machine(ram=RAM) as machine:
        machine.boot()
        with pytest.raises(MachineError, match="out of order"):
            machine.boot_phase("linear_map")


def test_boot_phase_of_null_says_why_not() -> None:
    with (
        Machine(Strategy("null"), ram=RAM) as machine,
        pytest.raises(MachineError, match="another allocator"),
    ):
        machine.boot_phase("linear_map")


@pytest.mark.parametrize(
    "params",
    [
        {"bbml2": "some"},
        {"rodata": "maybe"},
        {"nr_possible_cpus": 1},
        {"nr_possible_cpus": 4097},
        {"vmalloc_offset_bytes": 100},
        {"percpu_chunks": 1, "percpu_unit_bytes": 100},
    ],
)
def test_boot_config_that_makes_no_sense_is_named(params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"bbml2|rodata|possible|vmalloc|percpu"):
        booted(**params)


@pytest.mark.parametrize(
    ("params", "of_ptes"),
    [
        ({}, False),
        ({"bbml2": "none"}, True),
        ({"bbml2": "boot-only"}, True),
        ({"bbml2": "late-cpu"}, True),
        ({"debug_pagealloc": True}, True),
    ],
)
def test_boot_options_decide_what_the_map_consists_of(
    params: dict[str, object], *, of_ptes: bool
) -> None:
    with booted(nr_possible_cpus=8, **params) as machine:
        assert (machine.state()["map_pte_kb"] == RAM >> 10) is of_ptes


@pytest.mark.parametrize("allocator", ["early-regions", "deferred-list", "deferred-marks"])
def test_variant_protects_what_pba_leaves(allocator: str) -> None:
    with booted(bbml2="late-cpu") as machine:
        assert machine.boot_counters()["untracked_regions"] > 0
        assert machine.state()["unprotected_pages"] > 0
    with booted(allocator, bbml2="late-cpu") as machine:
        assert machine.boot_counters()["untracked_regions"] == 0
        assert machine.state()["unprotected_pages"] == 0
        machine.check()


def test_variant_parameter_is_bounded() -> None:
    assert ALLOCATOR_PARAMS["early-regions"] == ("early regions", 16)
    with pytest.raises(ConfigError, match="4097"):
        Machine(Strategy("early-regions"), ram=RAM, variant_param=4097)
    with pytest.raises(ConfigError, match="it has none"):
        Machine(Strategy("pba"), ram=RAM, variant_param=1)


def test_variant_parameter_counts_regions() -> None:
    boot = BootConfig(nr_possible_cpus=8, bbml2="late-cpu")
    for nr in (1, 2):
        with Machine(Strategy("early-regions"), ram=RAM, boot=boot, variant_param=nr) as machine:
            machine.boot_phases()
            assert machine.boot_counters()["tracked_regions"] == nr
