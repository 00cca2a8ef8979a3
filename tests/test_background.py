# SPDX-License-Identifier: GPL-2.0-only
"""Backgrounds: what is counted does not depend on how, nothing is lost, and everything is named.

When an actor takes how much is in ``tests/c/background_kunit.c``; what reclaim and kswapd take, and
when they stop, in ``tests/c/vmscan_kunit.c``, computed by hand.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpkeys_bench import (
    Background,
    ConfigError,
    Machine,
    Setup,
    State,
    Strategy,
    compare,
    parse_background,
    parse_workload,
    report,
    run,
)
from kpkeys_bench.background import BACKGROUND_HELP, BACKGROUNDS, PARAMETER_HELP
from kpkeys_bench.experiment import SYSTEM_KINDS
from kpkeys_bench.machine import new_times
from kpkeys_bench.workloads.ops import ALLOC, FREE, OP_DTYPE

V6 = Path(__file__).parent / "allocators" / "v6" / "kpkeys_hardened_pgtables.c"
SETUP = Setup(ram=512 << 20, ops=60_000, timing="none", background=BACKGROUNDS["desktop"])
BUSY = Background(
    every=16,
    resident=30,
    cache=100,
    table=8,
    read=2000,
    slab=100,
    kernel=100,
    thp=2000,
    life=200,
    burst=512,
    burst_every=1000,
)


def random_ops(seed, nr_ops, nr_slots):
    """ALLOC into empty slots, FREE of full ones, on four CPUs and two levels."""
    rng = np.random.default_rng(seed)
    ops = np.zeros(nr_ops, dtype=OP_DTYPE)
    live = np.zeros(nr_slots, dtype=bool)
    slots = rng.integers(nr_slots, size=nr_ops)
    for i, slot in enumerate(slots):
        ops[i]["kind"] = FREE if live[slot] else ALLOC
        live[slot] = not live[slot]
    ops["slot"] = slots
    ops["cpu"] = rng.integers(4, size=nr_ops)
    ops["level"] = rng.integers(2, size=nr_ops)
    return ops


def in_somebodys_hands(machine):
    """Pages that are accounted for, by whoever has them; the slow, obvious sum."""
    state = machine.state()
    return sum(state[f"{kind}_pages"] for kind in SYSTEM_KINDS) + sum(
        state[name] for name in ("free_pages", "pcp_pages", "held_pages", "pinned_pages")
    )


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_mix_is_read_as_it_is_named_and_described(name):
    assert parse_background(name) == BACKGROUNDS[name]
    assert BACKGROUNDS[name].name == name
    assert name in BACKGROUND_HELP


@given(
    st.sampled_from(sorted(BACKGROUNDS)),
    st.dictionaries(st.sampled_from(["table", "read", "kernel", "thp"]), st.integers(0, 500)),
)
def test_name_says_all_that_there_is_to_know(mix, changes):
    background = replace(BACKGROUNDS[mix], **changes)
    assert parse_background(background.name) == background


def test_digest_changes_with_every_parameter():
    digests = {
        replace(BUSY, **{key: value + 1}).sha256
        for key, value in BUSY.parameters().items()
        if key != "cache"
    }
    assert len(digests | {BUSY.sha256}) == len(PARAMETER_HELP)
    assert all(len(digest) == 12 for digest in digests)
    assert Background().sha256 == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("night", "none, light"),
        ("desktop:reads=1", "'reads' is not one of every, resident"),
        ("desktop:read=many", "'read=many': give a whole number"),
        ("desktop:read=-1", "whole number"),
        ("desktop:resident=96", "resident=96: give 0 to 95"),
        ("desktop:every=0", "every=0: give 1 to 1024"),
        ("desktop:burst=99999999", "give 0 to 16777216"),
        ("desktop:read=" + "9" * 5000, "whole number"),
    ],
)
def test_background_that_cannot_be_is_refused(text, why):
    with pytest.raises(ConfigError, match=why):
        parse_background(text)


def test_setup_and_machine_have_no_background_unless_it_is_named():
    assert Setup().background.is_none
    with Machine(ram=64 << 20) as machine:
        machine.boot()
        assert not any(machine.state()[f"{kind}_pages"] for kind in SYSTEM_KINDS)


@pytest.mark.parametrize("allocator", ["pba", "noblock", "null"])
def test_counts_are_the_same_in_every_timing_mode(allocator):
    ops = random_ops(1, 20_000, 500)
    seen = []
    for timing in ("none", "chained", "bracket", "sample", "model"):
        with Machine(Strategy(allocator), ram=128 << 20, seed=5, background=BUSY) as machine:
            machine.boot()
            machine.set_slots(500)
            machine.replay(ops, timing=timing, every=3, times=new_times())
            seen.append((machine.counters(), machine.map_counters()))
    assert all(counts == seen[0] for counts in seen)
    assert seen[0][0]["background_turns"] == 20_000 // BUSY.every
    assert seen[0][0]["pgsteal_kswapd"] > 0


def test_samples_and_arrays_do_not_change_counts():
    workload = parse_workload("redis:copies=2")
    rows = [
        run(Strategy("pba"), workload, replace(SETUP, samples=samples)).runs.iloc[0]
        for samples in (0, 7, 60)
    ]
    names = [name for name in rows[0].index if not name.endswith(("_ns_per_op", "ns_per_op"))]
    names.remove("throughput_ops_s")
    for row in rows[1:]:
        assert row[names].equals(rows[0][names])


def test_seed_decides_what_the_background_does():
    ops = random_ops(1, 4000, 100)
    counters = []
    for seed in (1, 1, 2):
        with Machine(ram=64 << 20, seed=seed, background=BUSY) as machine:
            machine.boot()
            machine.set_slots(100)
            machine.replay(ops)
            counters.append(machine.counters())
    assert counters[0] == counters[1] != counters[2]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    page_size=st.sampled_from(["4K", "16K", "64K"]),
    allocator=st.sampled_from(["pba", "noblock", "early-regions", str(V6)]),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    every=st.integers(1, 64),
    resident=st.sampled_from([0, 40, 90]),
)
def test_pages_are_conserved_whoever_takes_them(seed, page_size, allocator, share, every, resident):
    ram = {"4K": 64 << 20, "16K": 256 << 20, "64K": 2 << 30}[page_size]
    background = replace(BUSY, every=every, resident=resident)
    with Machine(
        Strategy(allocator),
        page_size=page_size,
        ram=ram,
        state=State(share),
        seed=seed,
        background=background,
    ) as machine:
        machine.boot()
        before = in_somebodys_hands(machine)
        machine.set_slots(300)
        machine.check()
        machine.replay(random_ops(seed, 3000, 300))
        machine.check()
        assert in_somebodys_hands(machine) == before
        counters, state = machine.counters(), machine.state()
        assert counters["background_alloc_pages"] == (
            sum(state[f"{kind}_pages"] for kind in SYSTEM_KINDS)
            + counters["background_free_pages"]
            + counters["pgsteal_file"]
            + counters["pgsteal_slab"]
        )


@pytest.mark.parametrize("point", ["alloc_pages", "set_pkey"])
def test_faults_lose_no_page_of_the_rest_of_the_system(point):
    with Machine(ram=128 << 20, seed=3, background=BUSY) as machine:
        machine.boot()
        before = in_somebodys_hands(machine)
        machine.set_slots(6000)
        machine.set_fault(point, "share", 300_000, seed=9)
        machine.replay(random_ops(4, 20_000, 6000))
        counters = machine.counters()
        assert counters["faults_injected"] > 0
        assert counters["background_turns"] == 20_000 // BUSY.every
        assert in_somebodys_hands(machine) == before
        if point == "alloc_pages":
            machine.check()


def test_memory_that_is_gone_is_gone_for_page_tables_too():
    setup = replace(SETUP, ram=64 << 20, background=parse_background("pressure"))
    row = run(Strategy("pba"), parse_workload("random:tables=20000"), setup).runs.iloc[0]
    assert row["failed_allocs"] > 0
    assert row["background_capped"] > 0
    assert row["oom_kills"] > 0


def test_reclaim_works_and_presses_the_cache():
    workload = parse_workload("many:copies=4")
    none, some = compare(
        [Strategy("pba", (9, 4, 2))],
        [workload],
        SETUP,
        backgrounds=[Background(), BACKGROUNDS["desktop"]],
    ).runs.to_dict("records")
    assert none["background"] == "none"
    assert none["pageoutrun"] == none["pgsteal_file"] == none["background_ns_per_op"] == 0
    assert some["background"] == "desktop"
    assert some["background_sha256"] == BACKGROUNDS["desktop"].sha256
    assert some["pageoutrun"] > 0
    assert some["pgsteal_file"] > 0
    assert some["released_pages"] > none["released_pages"]
    assert some["background_ns_per_op"] > 0
    # what the operations are is not changed
    assert some["allocs"] == none["allocs"]
    assert some["live_end_pages"] == none["live_end_pages"]


def test_report_says_what_a_background_did():
    results = compare(
        [Strategy("pba", (9, 4, 2)), Strategy("pba", (2,))], [parse_workload("lifo")], SETUP
    )
    lines = report.summary(results)
    assert lines[0].startswith("Splits on 1 generator, fresh memory, background desktop: ")
    assert any(
        line.startswith("On fresh memory, background desktop: pba 9-4-2 ") and "reclaims" in line
        for line in lines
    )
