# SPDX-License-Identifier: GPL-2.0-only
"""What people read of a run: each step in words, and the verdict."""

from collections.abc import Callable
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from kpkeys_bench.geometry import format_bytes
from kpkeys_bench.scenario.behaviours import Verdict
from kpkeys_bench.scenario.language import Script
from kpkeys_bench.scenario.run import NOT_REACHED, SHOWN, Outcome, Step


class Printer:
    """Prints steps as they come; of a loop, only what differs from the turn before.

    Parameters
    ----------
    write : function
        Takes one line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._last: dict[int, tuple[Any, ...]] = {}
        self._left_out = 0

    def title(self, script: Script, label: str) -> None:
        """What is run, and on what."""
        setup = script.setup
        about = f"{script.behaviour}: {script.claim}" if script.behaviour else script.about
        self._write(f"{script.file}{': ' if about else ''}{about}")
        self._write(
            f"on {label}, {setup.page_size} pages, {format_bytes(setup.ram)} of RAM, "
            f"{setup.state.name}"
        )

    def step(self, step: Step) -> None:
        """One statement: what it says and what happened."""
        said = (step.result, step.words)
        if step.depth and self._last.get(step.line) == said:
            self._left_out += 1
            return
        self._close_gap()
        self._last[step.line] = said
        result = "" if step.result == "done" else f"  [{step.result}]"
        self._write(f"{step.line:>4}  {'  ' * step.depth}{step.text}{result}")
        for sentence in step.words:
            self._write(f"        {'  ' * step.depth}{sentence}")

    def _close_gap(self) -> None:
        if self._left_out:
            steps = "step" if self._left_out == 1 else "steps"
            self._write(f"          ... {self._left_out} {steps} as in the turns before")
        self._left_out = 0

    def end(self, outcome: Outcome) -> None:
        """The verdict, the figures and the expectations."""
        self._close_gap()
        for line in outcome_lines(outcome):
            self._write(line)


def outcome_lines(outcome: Outcome) -> list[str]:
    """How a script ended, in words."""
    lines = []
    if outcome.stopped:
        lines.append(f"the machine stopped: {outcome.stopped}")
    if outcome.verdict:
        why = f": {outcome.reason}" if outcome.verdict == NOT_REACHED else ""
        lines.append(
            f"{outcome.behaviour or outcome.name} {outcome.verdict} on {outcome.allocator}{why}"
        )
    if outcome.figures:
        lines.append(
            ", ".join(
                f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:,.1f}"
                for name, value in outcome.figures.items()
                if value is not None
            )
        )
    total = outcome.held + len(outcome.failed)
    lines.append(f"{outcome.held} of {total} expectations held")
    return [*lines, *(f"not held: {line}" for line in outcome.failed)]


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """As a row of a table."""
    return {
        "script": outcome.name,
        "file": outcome.file,
        "behaviour": outcome.behaviour,
        "claim": outcome.claim,
        "allocator": outcome.allocator,
        "page_size": outcome.page_size,
        "verdict": outcome.verdict,
        "held": outcome.held,
        "failed": "; ".join(outcome.failed),
        "stopped": outcome.stopped,
        "figures": ", ".join(
            f"{name}={'' if value is None else value}" for name, value in outcome.figures.items()
        ),
    }


def verdict_table(verdicts: list[Verdict]) -> RenderableType:
    """What `verdicts` found, one line each, with the allocator where there are several."""
    several = len({verdict.allocator.partition(" ")[0] for verdict in verdicts}) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("script", *(["allocator"] if several else []), "pages", "claim", "", "figures"):
        table.add_column(heading, overflow="fold", max_width=54 if heading == "claim" else None)
    for verdict in verdicts:
        style = "bold" if verdict.verdict == SHOWN else ""
        cells = [verdict.script, *([verdict.allocator] if several else []), verdict.page_size]
        table.add_row(
            *map(Text, cells),
            Text(verdict.claim),
            Text(verdict.verdict, style=style),
            Text(verdict.error or verdict.row()["figures"]),
        )
    return table
