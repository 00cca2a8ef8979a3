# SPDX-License-Identifier: GPL-2.0-only
"""Running scenario scripts: what statements do, what steps say, what is refused."""

import json

import pytest

from kpkeys_bench.errors import ConfigError, ScenarioError
from kpkeys_bench.scenario.behaviours import shipped
from kpkeys_bench.scenario.language import parse_script
from kpkeys_bench.scenario.placement import Placement
from kpkeys_bench.scenario.run import run_script


def run(text, allocator=None):
    """The outcome and the steps of a script."""
    steps = []
    return run_script(parse_script(text, "x.kpb"), allocator, steps.append), steps


def check(text, allocator=None):
    outcome, _ = run(text, allocator)
    assert outcome.failed == []
    assert outcome.held > 0
    return outcome


def test_pages_keep_their_numbers_until_all_are_gone():
    check(
        """
boot
alloc p 5
free p[1:3]
expect len(p) == 3 and pfn(p[3]) == pfn(p[4]) + 1
free p[1:5]
expect len(p) == 1
free p
alloc p
expect len(p) == 1 and pkey(p[0]) == 1 and unprotected(p) == 0
"""
    )


def test_pages_chosen_by_the_seed_are_the_same_every_time():
    text = "machine seed=5\nboot\nalloc p 50\nfree p any 20\nalloc q 3\nexpect len(p) == 30"
    first, second = run(text)[1], run(text)[1]
    assert first[-2].pfns == second[-2].pfns
    assert run(text.replace("seed=5", "seed=6"))[1][-2].pfns != first[-2].pfns


def test_tasks_interleave_as_the_script_says():
    _, steps = run(
        """
boot
alloc p 507
A: alloc a stop at mutex_lock(alloc_mutex)
B: alloc b stop at mutex_unlock(pgtable_split_lock)
A: continue
B: continue
A: continue
expect refills == 3 and mutex_waits == 1
"""
    )
    results = [step.result for step in steps]
    assert results == [
        *("done", "done"),
        "stopped at mutex_lock(alloc_mutex)",
        "stopped at mutex_unlock(pgtable_split_lock)",
        "waiting for alloc_mutex, which B holds",
        *("done", "done", "held"),
    ]
    assert len(steps[-2].pfns) == 1


def test_task_that_stops_at_none_of_the_points_is_done():
    _, steps = run("boot\nA: alloc a 3 stop at reclaim\nA: continue\n")
    assert steps[1].result == "done"
    assert steps[2].words == ("A had finished already",)


def test_page_that_a_task_is_giving_back_is_out_of_reach_of_others():
    check(
        """
machine allocator=noblock
boot
alloc p 3
A: free p[0:2] stop at set_pkey
free p
expect len(p) == 2
A: continue
expect len(p) == 0 and frees == 3
"""
    )
    with pytest.raises(ScenarioError, match="in the hands of a task"):
        run("machine allocator=noblock\nboot\nalloc p\nA: free p stop at set_pkey\nfree p[0]")


def test_faults_contexts_and_flags_reach_the_machine():
    check(
        """
machine memcg_limit=2
boot
fault alloc_pages every=1
fault charge nth=2
alloc p 3 user
expect failed_allocs == 1 and memcg_pages == 2 and len(p) == 2
fault charge off
alloc q user
expect failed_allocs == 2 and memcg_failures == 2
alloc q gfp=GFP_ATOMIC context=atomic
expect warnings == 1 and events("warn") == 1 and warned("gfp") == 1
"""
    )


def test_pins_splits_and_ranges_change_the_map():
    check(
        """
machine ram=256M
boot
mark before
pin u order=9
split u[0] first=3 pages=2
expect split_pmd == before.split_pmd + 1 and other_splits == 1
set_memory first=128M+5 pages=1
expect range_changes == 1 and other.split_contpmd == 1
unpin u
expect pinned_pages == 0
pin all_of_it all order=8 type=movable
expect slowpath_entries == 0 and free_pages < watermark_low + 2 * 256
reclaim order=0
compact order=3
drain
shrink slab priority=0
shrink 4
expect allocstall >= 1
"""
    )


def test_loops_are_bounded_and_can_be_nested():
    outcome = check(
        """
boot
let n = 0
repeat 3
  until n % 4 == 3 limit 10
    let n = n + 1
  end
  let n = n + 1
end
expect n == 12
until 0 limit 5
  let n = n + 1
end
figure n = n
expect n == 17
"""
    )
    assert outcome.figures == {"n": 17}


def test_machine_that_stops_is_no_surprise_only_where_a_stop_is_asked_for():
    # D5 without its expectations, and a name that only looks as if it asked for a stop
    text = shipped()["D5"].read_text(encoding="utf-8")
    verbs = ("expect", "shown", "given", "figure", "behaviour", "#")
    statements = "\n".join(line for line in text.splitlines() if not line.startswith(verbs))
    outcome, _ = run(f"{statements}\nlet stopped_x = 1\nexpect stopped_x == 1\n")
    assert len(outcome.failed) == 1
    assert outcome.failed[0].startswith("x.kpb: the machine stopped: deadlock")


def test_events_that_are_lost_are_an_error_where_they_were_lost(monkeypatch):
    monkeypatch.setattr("kpkeys_bench.scenario.run.EVENTS_KEPT", 64)
    with pytest.raises(ScenarioError, match=r"^x\.kpb:3:1: 64 events or more at once"):
        run("machine ram=64M\nboot\nshrink 100\n")


def test_machine_that_stops_skips_the_rest_and_can_be_expected():
    text = """
machine ram=8G
boot
alloc p cached_pages-4
set_memory first=5G-1 pages=2
pin u 640 order=9
alloc p
free p
"""
    outcome, steps = run(text + 'expect stopped "deadlock"\nexpect stopped("alloc_mutex")\n')
    assert [step.result for step in steps[-4:]] == ["machine stopped", "skipped", "held", "held"]
    assert outcome.ok
    assert "deadlock" in outcome.stopped
    assert "THE MACHINE STOPPED" in steps[4].words[-1]
    unexpected, _ = run(text)
    assert not unexpected.ok


def test_expectation_that_fails_names_its_place_and_the_values():
    outcome, steps = run("boot\nexpect refills == 2 or warnings > 5\n")
    assert not outcome.ok
    assert outcome.failed == [
        "x.kpb:2:1: expect refills == 2 or warnings > 5: refills is 1, warnings is 0"
    ]
    assert steps[-1].result == "not held"


def test_step_tells_what_happened_in_words_and_numbers():
    _, steps = run("boot\nalloc p 507\nalloc x\nshrink 64\n")
    record = json.loads(json.dumps(steps[2].record()))
    assert (record["line"], record["statement"], record["result"]) == (3, "alloc x", "done")
    assert record["counters"]["refills"] == 1
    assert record["counters"]["refills_order[9]"] == 1
    assert record["events"][0]["kind"] == "refill"
    assert record["pfns"] == [record["events"][0]["a"]]
    assert any("fetched 512 pages (order 9) from the buddy" in word for word in record["words"])
    told = " ".join(steps[3].words)
    assert "split a 2MB leaf (pmd)" in told
    assert "gave 64 pages back to the buddy" in told
    assert "flushed 64 pages from the TLB" in told


@pytest.mark.parametrize(
    ("end", "verdict", "reason"),
    [
        ("given refills == 1\nshown if 1", "shown", ""),
        ("given refills == 1\nshown if 0", "refuted", ""),
        ("given refills > 1\nshown if 1", "not reached", "it takes refills > 1: refills is 1"),
        ("given 1\ngiven 2 < 1\ngiven 0\nshown if 0", "not reached", "it takes 2 < 1"),
        ("given 1", "", ""),
    ],
)
def test_what_is_given_must_hold_before_there_is_a_verdict(end, verdict, reason):
    outcome, _ = run(f"boot\n{end}")
    assert (outcome.verdict, outcome.reason) == (verdict, reason)
    assert outcome.ok


STOPS = """
machine ram=8G
boot
alloc p cached_pages-4
set_memory first=5G-1 pages=2
pin u 640 order=9
alloc p
expect stopped "deadlock"
"""


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        ("shown if 1", "failed"),
        ("given 0\nshown if 1", "failed"),
        ("shown if refills > 0", "failed"),
        ('shown if stopped("deadlock")', "shown"),
        ('shown if stopped("BUG")', "failed"),
        ('given 0\nshown if stopped("deadlock")', "not reached"),
    ],
)
def test_machine_that_stopped_shows_nothing_unless_a_stop_was_asked_for(end, verdict):
    outcome, _ = run(STOPS + end)
    assert outcome.verdict == verdict
    assert ("the machine stopped" in outcome.reason) == (verdict == "failed")


def test_pin_that_a_task_splits_cannot_be_given_back_meanwhile():
    begin = "boot\npin u order=9\nB: split u[0] first=3 pages=2 stop at split\n"
    with pytest.raises(ScenarioError, match=r"x\.kpb:4:7: .*in the hands of a task"):
        run(begin + "unpin u[0]")
    check(begin + 'expect under_way("B")\nB: continue\nunpin u[0]\nexpect not under_way("B")')


@pytest.mark.parametrize(
    ("options", "column", "says"),
    [
        ("ram=3145728", 13, "64M to 1T"),
        ("page_size=64K ram=67108865", 27, "multiple of the page size"),
        ("cpus=99999", 14, "1 to 256"),
        ("cpus=0", 14, "1 to 256"),
        ("seed=1 refill_orders=9,9", 30, "strictly decreasing"),
        ("holes=1G+1M", 15, "within RAM"),
        ("reserved=8M+1", 18, "whole pages"),
        ("static_pgtables=99999999", 25, "fewer pages"),
        ("memblock_fault=nth:0", 24, "nth:N"),
        ("memblock_fault=every:1", 24, "no memory"),
        ("state=aged:share=1,pins=99999", 15, "aged state"),
        ("linear_map=foo", 20, "block, pte"),
        ("allocator=nope", 19, "noblock, null, pba"),
    ],
)
def test_machine_that_cannot_be_is_refused_at_the_option(options, column, says):
    with pytest.raises(ScenarioError, match=says) as caught:
        run(f"machine {options}\nboot")
    assert str(caught.value).startswith(f"x.kpb:1:{column}: ")


def test_allocator_of_the_command_line_has_no_place_in_the_script():
    with pytest.raises(ConfigError, match=r"^allocator 'nope'"):
        run("machine ram=64M\nboot", "nope")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("boot\nfigure x = under_way('Z')", "x.kpb:2:12: .*no task 'Z'"),
        ("given nope", "x.kpb:1:7: nope is not known"),
        ("expect nope == 1", r"x.kpb:1:8: nope is not known"),
        ("expect refillss == 1", r"x.kpb:1:8: refillss is not known"),
        ("expect refill == 1", r"x.kpb:1:8: refill is a mark"),
        ("let refills = 3", "refills is a counter"),
        ("boot\nboot", r"x.kpb:2:1: boot steps out of order"),
        ("boot\nfree p\nalloc p", r"x.kpb:2:6: p is nothing yet"),
        ("boot\nalloc p\nfree p[3]", "p has 1 pages"),
        ("boot\nalloc p 2\nfree p[0]\nfree p[0]", r"x.kpb:4:6: p\[0\] was given back already"),
        ("boot\nalloc p\nunpin p", "use free"),
        ("boot\npin p order=0\nalloc p", "p holds pins"),
        ("boot\npin p 2 order=0\nsplit p first=0 pages=1", "stands for 2"),
        ("boot\npin p order=1\nsplit p first=1 pages=2", "not in a pin of 2"),
        ("boot\nalloc p 2\nexpect pfn(p) > 0", "stands for several"),
        ("boot\nset_memory first=64M pages=1", "0 to 16383"),
        ("boot\nset_memory first=0 pages=0", "from 1"),
        ("boot\ncompact order=12", "the largest is 10"),
        ("boot\nalloc p 1.5", "whole number"),
        ("boot\nA: continue", "done nothing so far"),
        ("boot\nA: reclaim stop at reclaim\nA: drain", "is stopped at reclaim in line 2"),
        ("boot\nA: reclaim stop at reclaim", "task A is left stopped at reclaim"),
        (
            "boot\nA: set_memory first=0 pages=3 stop at split\nset_memory first=9 pages=1",
            "B: set_m",
        ),
        ("boot\nrepeat 20000\nrepeat 20000\ndrain\nend\nend", "20,000 statements"),
        ("boot\nalloc p 200001", "200,000 operations"),
        ("boot\nfigure x = events('lunch')", "no kind of event"),
        ("boot\nfigure x = idle_blocks('worst')", "no hand-out order"),
        ("boot\nfigure x = idle_blocks(1, 2)", "does not take these"),
        ("boot\nlet x = 'text'", "one number"),
        ("fault charge nth=0", "from 1"),
    ],
)
def test_statement_that_makes_no_sense_where_it_stands_is_refused(text, says):
    with pytest.raises(ScenarioError, match=says):
        run(text)


def test_machine_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="64M to 1T"):
        run("machine ram=1M\nboot")


def test_other_allocator_takes_the_place_of_the_one_named():
    text = "machine refill_orders=4,2\nboot\nalloc p 3\nfigure cached = cached_pages"
    assert run(text)[0].allocator == "pba 4-2"
    outcome, _ = run(text, "noblock")
    assert (outcome.allocator, outcome.figures) == ("noblock", {"cached": 0})


def test_placement_lifo_reuses_what_was_freed_last():
    lifo, lowest = Placement("lifo", 16), Placement("lowest", 16)
    for placement in (lifo, lowest):
        # 12 of the first block, then one refill
        for number in range(20):
            placement.alloc(number)
        for number in range(20):
            placement.free(number)
        assert placement.idle_blocks() == 2
        placement.alloc(99)
        assert placement.idle_blocks() == 1
    with pytest.raises(ValueError, match="lifo, fullest, lowest"):
        Placement("worst", 16)


def test_placement_fullest_drains_what_lifo_does_not():
    idle = {}
    for policy in ("lifo", "fullest", "lowest"):
        placement = Placement(policy, 8)
        for number in range(36):
            placement.alloc(number)
        for number in range(0, 36, 2):
            placement.free(number)
        # turn over what is left, oldest first
        for number in range(1, 36, 2):
            placement.free(number)
            placement.alloc(1000 + number)
        idle[policy] = placement.idle_blocks()
    assert idle["lifo"] < min(idle["fullest"], idle["lowest"])
