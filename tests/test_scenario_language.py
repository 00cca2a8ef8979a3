# SPDX-License-Identifier: GPL-2.0-only
"""The scenario language: what is read, and what is refused where."""

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpkeys_bench.errors import ScenarioError
from kpkeys_bench.gfp import GFP_FLAGS
from kpkeys_bench.scenario.expr import FUNCTIONS, Place, evaluate, parse
from kpkeys_bench.scenario.language import load, parse_script
from kpkeys_bench.scenario.run import run_script

HERE = Place("x.kpb", 1, 1)


class Names:
    """A scope of literals."""

    def __init__(self, **values):
        self._values = values

    def value(self, name):
        return self._values.get(name)

    def call(self, name, args):
        return len(args) if name == "len" else max(args)

    def pages_of(self, size):
        return size >> 12


def worth(text, **values):
    return evaluate(parse(text, HERE), Names(**values))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("-(7 // 2) % 4", 1),
        ("7 / 2", 3.5),
        ("2M", 512),
        ("1G + 4K - 1", 262144),
        ("0 < 1 < 2 and not 3 == 4", 1),
        ("0 or 0", 0),
        ("5 if 1 > 2 else 6", 6),
        ("orders[1] + before.refills", 24),
        ("max(1, n)", 4),
    ],
)
def test_expression_is_worth(text, expected):
    assert worth(text, orders=[1, 20], before={"refills": 4}, n=4) == expected


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("1 +", 4, "no expression"),
        ("1 ** 2", 1, "no meaning"),
        ("refills == nope", 12, "not known"),
        ("1 + (2 / zero)", 10, "divides"),
        ("f(1)", 1, "no function"),
        ("max(1, key=2)", 1, "no meaning"),
        ("1 + [1]", 5, "no meaning"),
        ("__import__('os')", 1, "no function"),
        ("a.b.c", 1, "no meaning"),
        ("lambda: 1", 1, "no meaning"),
        ("True", 1, "no meaning"),
        ("M2", 1, "unit last"),
        ("orders + 1", 1, "several"),
        ("1 + orders[7]", 12, "0 to 1"),
        ("before", 1, "mark"),
        ("before.nope", 1, "no nope"),
        ("refills.x", 1, "no mark"),
        ("big * big", 1, "2**64"),
        ("1" + "+1" * 60, 41, "too deep"),
        ("'text' + 1", 1, "number"),
    ],
)
def test_expression_that_makes_no_sense_is_refused_at_its_column(text, column, says):
    values = {"refills": 3, "zero": 0, "orders": [1, 2], "before": {"a": 1}, "big": 1 << 40}
    with pytest.raises(
        ScenarioError, match=rf"^x\.kpb:1:\d+: .*{says.replace('*', '.')}"
    ) as caught:
        worth(text, **values)
    if says != "too deep":
        assert str(caught.value).startswith(f"x.kpb:1:{column}:")


def test_script_is_read_line_by_line():
    script = parse_script(
        """
# What it is about.
behaviour D99 "some # claim"   # a comment
machine page_size=16k ram=1G refill_orders=11-2 holes=8M+64K,1G+1M no_pcp seed=3

boot
repeat 2
  A: alloc p 3 gfp=GFP_KERNEL|__GFP_ZERO context=atomic cpu=1 stop at mutex_lock(alloc_mutex) nth=2
  A: continue
end
free p[0:2]
expect stopped "deadlock"
"""
    )
    assert (script.behaviour, script.claim) == ("D99", "some # claim")
    assert script.about == "What it is about."
    assert script.setup.page_size == "16K"
    assert script.setup.refill_orders == (11, 2)
    assert script.setup.holes == ((8 << 20, 64 << 10), (1 << 30, 1 << 20))
    assert script.setup.no_pcp
    boot, loop, free, expect = script.body
    assert (boot.verb, free.verb) == ("boot", "free")
    alloc, goes_on = loop.body
    assert alloc.task == goes_on.task == "A"
    assert alloc.args["gfp"] == 0xDC0
    assert alloc.stop.text == "mutex_lock(alloc_mutex) nth=2"
    assert expect.args == {"stopped": "deadlock"}
    assert [s.place.line for s in script.statements()] == [6, 7, 8, 9, 11, 12]


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ("bot", 1, "no statement"),
        ("  alloc", 8, "name of a page is missing"),
        ("alloc 3p", 7, "cannot be"),
        ("alloc len", 7, "cannot be"),
        ("alloc p 3 gfp=GFP_KERNEL|GFP_NOPE", 26, "no gfp flag"),
        ("alloc p context=sleepy", 17, "process, atomic, memalloc"),
        ("alloc p cpu=256", 13, "0 to 255"),
        ("alloc p 3 4", 11, "not understood"),
        ("alloc p stop at split", 9, "only a task can stop"),
        ("A: alloc p stop at lunch", 20, "no point to stop at"),
        ("A: alloc p stop at split(x)", 20, "about no lock"),
        ("A: boot", 4, "done by no task"),
        ("continue", 1, "which task"),
        ("pin u", 6, "order=... is missing"),
        ("pin u order=14", 13, "0 to 13"),
        ("pin u order=1 type=sticky", 20, "unmovable"),
        ("set_memory first=1", 19, "pages=... is missing"),
        ("set_memory first=1 + 2 pages=3", 20, "blanks only in"),
        ("set_memory first=1 first=2 pages=3", 20, "twice"),
        ("shrink", 7, "is missing"),
        ("shrink slab priority=13", 22, "0 to 12"),
        ("fault lunch nth=1", 7, "alloc_pages, set_pkey, charge"),
        ("fault charge", 13, "nth=N"),
        ("fault charge nth=1 every=2", 27, "once"),
        ("fault charge nth=1 pkey=0", 25, "set_pkey only"),
        ("free p any", 11, "how many"),
        ("free p[0] any 3", 6, "leave out"),
        ("free 3", 6, "name pages here"),
        ("until 1", 8, "limit"),
        ("until 1 limit x+", 17, "no expression"),
        ("repeat 3", 1, "no end"),
        ("end", 1, "no loop"),
        ("let x", 6, "'=' is missing"),
        ("let x=3", 5, "cannot be"),
        ("expect", 7, "missing"),
        ("given", 6, "missing"),
        ("machine cpus=0", 14, "1 to 256"),
        ("machine linear_map=foo", 20, "block, pte"),
        ("shown refills", 7, "shown if"),
        ("figure x = 1 +", 15, "no expression"),
        ('behaviour D1 "open', 14, "no end"),
        ("behaviour D1 open", 14, "quotes"),
        ("machine ram=lots", 13, "whole number"),
        ("machine page_size=8K", 19, "4K, 16K, 64K"),
        ("machine colour=red", 9, "no option"),
        ("machine no_pcp=1", 9, "no option"),
        ("machine ram=1G ram=2G", 16, "twice"),
        ("machine holes=8M", 15, "START.SIZE"),
    ],
)
def test_statement_that_makes_no_sense_is_refused_at_its_place(line, column, says):
    with pytest.raises(ScenarioError, match=says) as caught:
        parse_script(f"# one\n{line}\n", "x.kpb")
    assert str(caught.value).startswith(f"x.kpb:2:{column}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("boot\nmachine ram=1G", ":2:1: machine belongs to the top"),
        ("machine ram=1G\nmachine ram=1G", ":2:1: there is a machine line already"),
        ("behaviour D1\nbehaviour D2", ":2:1: there is a behaviour line already"),
        ("repeat 1\n" * 9 + "boot", "loops within each other"),
        ("\n".join(f"T{i}: drain" for i in range(16)), ":16:1: more than 15 tasks"),
    ],
)
def test_script_as_a_whole_is_checked(text, says):
    with pytest.raises(ScenarioError, match=says):
        parse_script(text)


def test_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ScenarioError, match=r"nope\.kpb"):
        load(tmp_path / "nope.kpb")
    (tmp_path / "latin.kpb").write_bytes(b"boot\n# caf\xe9\n")
    with pytest.raises(ScenarioError, match=r"latin.kpb:2:6: .*UTF-8"):
        load(tmp_path / "latin.kpb")
    (tmp_path / "big.kpb").write_bytes(b"#" * (1 << 20 | 1))
    with pytest.raises(ScenarioError, match=r"big.kpb: more than"):
        load(tmp_path / "big.kpb")


def test_file_from_another_system_is_read(tmp_path):
    (tmp_path / "dos.kpb").write_bytes(b"\xef\xbb\xbfboot\r\nexpect refills == 1\r\n")
    assert [s.verb for s in load(tmp_path / "dos.kpb").body] == ["boot", "expect"]


def test_gfp_flags_are_those_of_the_header():
    assert GFP_FLAGS["GFP_PGTABLE_USER"] == GFP_FLAGS["GFP_KERNEL"] | 0x400000 | 0x100
    assert GFP_FLAGS["GFP_KERNEL"] == 0xCC0
    assert GFP_FLAGS["GFP_ATOMIC"] == 0x820


WORDS = st.one_of(
    st.sampled_from(
        [
            *("boot", "init", "alloc", "free", "pin", "unpin", "split", "shrink", "slab", "end"),
            *("repeat", "until", "limit", "mark", "let", "expect", "shown", "if", "figure", "="),
            *("A:", "B:", "continue", "stop", "at", "mutex_lock(alloc_mutex)", "alloc_pages"),
            *("p", "p[0]", "p[0:3]", "any", "3", "1M", "order=2", "nth=1", "fault", "drain"),
            *("refills", "cached_pages", "==", "+", "-", "(", ")", "before.refills", "reclaim"),
            *(
                "set_memory",
                "first=0",
                "pages=1",
                "stopped",
                '"x"',
                "compact",
                "off",
                "gfp=__GFP_ZERO",
            ),
            *FUNCTIONS,
        ]
    ),
    st.text(string.printable, max_size=6),
)


@given(st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=8).map("\n".join))
def test_any_text_is_run_or_refused_with_its_place(text):
    with contextlib.suppress(ScenarioError):
        run_script(parse_script(text, "fuzz.kpb"))
