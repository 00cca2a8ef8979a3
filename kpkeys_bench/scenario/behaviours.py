# SPDX-License-Identifier: GPL-2.0-only
"""The verdict on each behaviour, for any allocator: shown, refuted or not reached, with figures."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kpkeys_bench import isolate
from kpkeys_bench.errors import KpbError, ScenarioError
from kpkeys_bench.scenario.language import Script, load
from kpkeys_bench.scenario.run import FAILED, Outcome, Step, run_script, strategy_of
from kpkeys_bench.strategy import is_allocator_file

#: Scripts take a fraction of a second; once one has looped, the others get less time.
TIMEOUT_S: Final = 20.0
SHORT_TIMEOUT_S: Final = 3.0

_SUFFIX: Final = ".kpb"
_PACKAGE: Final = Path(__file__).resolve().parents[1]
#: Where an installed package has them, and where a source tree does.
_FOLDERS: Final = (_PACKAGE / "scenarios", _PACKAGE.parent / "scenarios")


@dataclass(frozen=True)
class Verdict:
    """One script on one allocator.

    Attributes
    ----------
    behaviour, claim, script : str
        What was asked, and of which file.
    allocator, page_size : str
        On what.
    verdict : str
        ``"shown"``, ``"refuted"``, ``"not reached"`` or ``"failed"``.
    figures : dict
        By name; None where the allocator cannot be asked.
    error : str
        Why it is neither shown nor refuted.
    """

    behaviour: str
    claim: str
    script: str
    allocator: str
    page_size: str
    verdict: str
    figures: dict[str, int | float | None] = field(default_factory=dict)
    error: str = ""

    def row(self) -> dict[str, Any]:
        """As a row of a table."""
        figures = ", ".join(
            f"{name} {_number(value)}" for name, value in self.figures.items() if value is not None
        )
        return {
            "id": self.behaviour,
            "claim": self.claim,
            "script": self.script,
            "allocator": self.allocator,
            "page_size": self.page_size,
            "verdict": self.verdict,
            "figures": figures,
            "error": self.error,
        }


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def shipped() -> dict[str, Path]:
    """The scripts that come with the package, by name, in the order of their behaviours."""
    folder = next((f for f in _FOLDERS if f.is_dir()), _FOLDERS[0])
    files = {path.name.removesuffix(_SUFFIX): path for path in folder.glob(f"*{_SUFFIX}")}
    if not files:
        raise ScenarioError(f"there are no scripts in {folder}: install the package again")
    return dict(sorted(files.items(), key=lambda item: _order(item[0])))


def _order(name: str) -> tuple[Any, ...]:
    match = re.match(r"\D*(\d+)", name)
    return (int(match[1]) if match else 1 << 30, name)


def find(name: str) -> Path:
    """A script by path, or a shipped one by name."""
    path = Path(name)
    return path if path.exists() or "/" in name else shipped().get(name, path)


def run_isolated(
    script: Script,
    allocator: str | None = None,
    on_step: Callable[[Step], None] | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Outcome:
    """As `run_script`; an allocator file runs in a process of its own, which may crash or loop.

    Its steps arrive when it has ended.

    Raises
    ------
    ScenarioError, ConfigError
        As `run_script`.
    IsolationError
        If the allocator crashed or loops.
    """
    name = allocator or script.setup.allocator
    if not is_allocator_file(name):
        return run_script(script, allocator, on_step)
    # compiled here, once, where its errors are this process's
    strategy_of(script.setup, allocator).compiled(script.setup.page_size)
    outcome, steps = isolate.run(
        _run_and_keep, script, allocator, on_step is not None, timeout_s=timeout_s
    )
    if on_step is not None:
        for step in steps:
            on_step(step)
    return outcome


def _run_and_keep(
    script: Script,
    allocator: str | None,
    keep: bool,  # noqa: FBT001 - passed on by position
) -> tuple[Outcome, list[Step]]:
    steps: list[Step] = []
    outcome = run_script(script, allocator, steps.append if keep else None)
    return outcome, steps


def judge(script: Script, allocator: str, *, timeout_s: float = TIMEOUT_S) -> Verdict:
    """Run one script; what goes wrong there is a verdict too."""
    label, verdict, error = allocator, FAILED, ""
    figures: dict[str, int | float | None] = {}
    try:
        label = strategy_of(script.setup, allocator).label
        outcome = run_isolated(script, allocator, timeout_s=timeout_s)
        label, figures = outcome.allocator, outcome.figures
        verdict, error = outcome.verdict, outcome.reason
        if not verdict:
            verdict, error = FAILED, "the script says nothing: add 'shown if ...'"
    except KpbError as problem:
        error = str(problem)
    return Verdict(
        script.behaviour,
        script.claim,
        script.name,
        label,
        script.setup.page_size,
        verdict,
        figures,
        error,
    )


def verdicts(
    allocators: Iterable[str] = ("pba",), progress: Callable[[str], None] | None = None
) -> list[Verdict]:
    """Judge each allocator by each shipped script.

    Parameters
    ----------
    allocators : iterable of str
        Names, or paths of allocator files.
    progress : function, optional
        Is told what is about to run.

    Raises
    ------
    ScenarioError
        If a shipped script cannot be read.
    AllocatorError, ConfigError
        If there is no such allocator, or its file does not compile.
    """
    scripts = [load(path) for path in shipped().values()]
    scripts = [script for script in scripts if script.behaviour]
    table = []
    for allocator in allocators:
        # an allocator that does not exist at all is an error, not a verdict
        strategy_of(scripts[0].setup, allocator)
        timeout_s = TIMEOUT_S
        for script in scripts:
            if progress is not None:
                progress(f"{allocator} {script.name}")
            table.append(judge(script, allocator, timeout_s=timeout_s))
            if "no sign of life" in table[-1].error:
                timeout_s = SHORT_TIMEOUT_S
    return table
