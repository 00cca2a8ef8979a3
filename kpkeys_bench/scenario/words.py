# SPDX-License-Identifier: GPL-2.0-only
"""What happened in a step, in words: made from the machine's events."""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kpkeys_bench.geometry import Geometry, format_bytes
from kpkeys_bench.machine import EVENT_KINDS, LEAF_SIZES, POINTS

Event = dict[str, Any]

#: What ``shrink_end`` carries for SHRINK_STOP.
SHRINK_STOP: Final = (1 << 64) - 1


@dataclass
class Teller:
    """Puts events into words.

    Attributes
    ----------
    geometry : Geometry
        Of the machine.
    task_names : dict of int to str
        By number.
    warnings, log : function
        Ask the machine for its warnings, and for a line of its log by number.
    """

    geometry: Geometry
    task_names: Mapping[int, str]
    warnings: Callable[[], Sequence[Mapping[str, Any]]]
    log: Callable[[int], str]
    _leaf_names: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        facts = self.geometry
        orders = {
            "pud": facts.pud_order,
            "contpmd": facts.cont_pmd_order,
            "pmd": facts.pmd_order,
            "contpte": facts.cont_pte_order,
        }
        self._leaf_names = {
            name: f"{format_bytes(1 << (order + facts.page_shift))}B"
            for name, order in orders.items()
        }

    def tell(self, events: Sequence[Event]) -> list[str]:
        """One sentence for each kind of thing that happened, in the order it first did."""
        groups: dict[tuple[Any, ...], list[Event]] = {}
        for event in events:
            groups.setdefault(_key(event), []).append(event)
        return [self._sentence(group) for group in groups.values()]

    def _sentence(self, group: list[Event]) -> str:
        first = group[0]
        tell: Callable[[list[Event]], str] = getattr(self, f"_tell_{first['kind']}")
        inside = ", inside the shrinker" if first["depth"] and first["kind"] in _NESTED else ""
        return tell(group) + inside

    @staticmethod
    def _tell_refill(group: list[Event]) -> str:
        order = group[0]["b"]
        frames = ", ".join(f"{e['a']:#x}" for e in group[:4]) + (", ..." if group[4:] else "")
        times = f"{len(group)} x " if group[1:] else ""
        return f"fetched {times}{_pages(1 << order)} (order {order}) from the buddy at {frames}"

    @staticmethod
    def _tell_refill_failed(group: list[Event]) -> str:
        return f"could not get order {group[0]['b']}{_times(group)}"

    @staticmethod
    def _tell_release(group: list[Event]) -> str:
        return f"gave {_pages(sum(1 << e['b'] for e in group))} back to the buddy"

    @staticmethod
    def _tell_set_pkey(group: list[Event]) -> str:
        first = group[0]
        if group[1:]:
            return f"set pkey {first['c']} on {len(group)} x {_pages(first['b'])}"
        return f"set pkey {first['c']} on {_pages(first['b'])} at {first['a']:#x}"

    @staticmethod
    def _tell_set_memory(group: list[Event]) -> str:
        first = group[0]
        return f"changed permissions of {_pages(first['b'])} at {first['a']:#x}{_times(group)}"

    @staticmethod
    def _tell_set_failed(group: list[Event]) -> str:
        number = group[0]["c"]
        number = number - (1 << 32) if number >= 1 << 31 else number
        name = errno.errorcode.get(abs(number), str(number))
        return f"a change of {_pages(group[0]['b'])} failed (-{name}){_times(group)}"

    def _tell_split(self, group: list[Event]) -> str:
        leaf = LEAF_SIZES[group[0]["b"]]
        size = self._leaf_names[leaf]
        if leaf.startswith("cont"):
            what = "hint of a" if not group[1:] else f"hints of {len(group)}"
            return f"cleared the contiguous {what} {size} {_plural('group', len(group))} ({leaf})"
        count = "a" if not group[1:] else str(len(group))
        return f"split {count} {size} {_plural('leaf', len(group), 'leaves')} ({leaf})"

    @staticmethod
    def _tell_split_ptp(group: list[Event]) -> str:
        return f"spent {len(group)} {_plural('page', len(group))} on tables of the linear map"

    @staticmethod
    def _tell_tlbi(group: list[Event]) -> str:
        if group[0]["c"]:
            return f"flushed the whole TLB{_times(group)}"
        return f"flushed {_pages(sum(e['b'] for e in group))} from the TLB"

    def _tell_warn(self, group: list[Event]) -> str:
        return f"WARNED {self._site(group[0]['a'])}{_times(group)}"

    def _tell_sleep_in_atomic(self, group: list[Event]) -> str:
        return f"BUG {self._site(group[0]['a'])}{_times(group)}"

    def _site(self, index: int) -> str:
        sites = self.warnings()
        if index >= len(sites):
            return "(site not recorded)"
        site = sites[index]
        return f"{site['file']}:{site['line']} {site['what']}"

    def _tell_mutex_wait(self, group: list[Event]) -> str:
        return f"waited for a mutex that task {self.task_names.get(group[0]['a'], '?')} holds"

    @staticmethod
    def _tell_fault(group: list[Event]) -> str:
        return f"failure of {POINTS[group[0]['a'] - 1]} injected{_times(group)}"

    @staticmethod
    def _tell_charge_failed(group: list[Event]) -> str:
        return f"the memory cgroup refused the charge{_times(group)}"

    @staticmethod
    def _tell_slowpath(group: list[Event]) -> str:
        return f"took the slow path at order {group[0]['b']}{_times(group)}"

    @staticmethod
    def _tell_compact(group: list[Event]) -> str:
        first = group[0]
        result = "succeeded" if first["c"] else "failed"
        moved = sum(e["a"] for e in group)
        return f"compaction for order {first['b']} {result}, {moved} pages moved{_times(group)}"

    @staticmethod
    def _tell_reclaim(group: list[Event]) -> str:
        return f"went into direct reclaim (order {group[0]['b']}){_times(group)}"

    @staticmethod
    def _tell_reclaim_end(group: list[Event]) -> str:
        return f"reclaim got {_pages(sum(e['a'] for e in group))}"

    @staticmethod
    def _tell_shrink(group: list[Event]) -> str:
        return f"the shrinker was asked for {_pages(group[0]['a'])}{_times(group)}"

    @staticmethod
    def _tell_shrink_end(group: list[Event]) -> str:
        if group[0]["a"] == SHRINK_STOP:
            return f"the shrinker said SHRINK_STOP{_times(group)}"
        return f"the shrinker freed {_pages(sum(e['a'] for e in group))}"

    @staticmethod
    def _tell_oom(group: list[Event]) -> str:
        return f"the OOM killer ran (order {group[0]['b']}){_times(group)}"

    @staticmethod
    def _tell_alloc_failure(group: list[Event]) -> str:
        return f"the buddy reported a failure in the log (order {group[0]['b']}){_times(group)}"

    @staticmethod
    def _tell_drain(group: list[Event]) -> str:
        return f"per-CPU lists drained ({_pages(sum(e['a'] for e in group))})"

    @staticmethod
    def _tell_zero(group: list[Event]) -> str:
        return f"cleared {_pages(len(group))}"

    def _tell_log(self, group: list[Event]) -> str:
        return f"logged: {self.log(group[0]['a'])}{_times(group)}"


_NESTED: Final = frozenset({"refill", "split", "warn", "slowpath"})
#: By what events of one kind are told apart.
_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "refill": ("b",),
    "refill_failed": ("b",),
    "set_pkey": ("b", "c"),
    "set_memory": ("a", "b"),
    "set_failed": ("b", "c"),
    "split": ("b",),
    "tlbi": ("c",),
    "warn": ("a",),
    "sleep_in_atomic": ("a",),
    "mutex_wait": ("a",),
    "fault": ("a",),
    "slowpath": ("b",),
    "compact": ("b", "c"),
    "reclaim": ("b",),
    "shrink": ("a",),
    "oom": ("b",),
    "alloc_failure": ("b",),
    "log": ("a",),
}


def _key(event: Event) -> tuple[Any, ...]:
    kind = event["kind"]
    if kind == "shrink_end":
        return (kind, event["a"] == SHRINK_STOP)
    return (kind, event["depth"] > 0, *(event[name] for name in _FIELDS.get(kind, ())))


def _times(group: list[Event]) -> str:
    return f" ({len(group)} times)" if group[1:] else ""


def _plural(word: str, number: int, plural: str | None = None) -> str:
    return word if number == 1 else plural or f"{word}s"


def _pages(number: int) -> str:
    return f"{number} {_plural('page', number)}"


def as_dicts(events: Any) -> list[Event]:  # noqa: ANN401 - a structured array has no static fields
    """The machine's events with the names of their kinds."""
    return [
        {
            "kind": EVENT_KINDS[row["kind"]],
            "a": int(row["a"]),
            "b": int(row["b"]),
            "c": int(row["c"]),
            "task": int(row["task"]),
            "depth": int(row["depth"]),
        }
        for row in events
    ]
