# SPDX-License-Identifier: GPL-2.0-only
"""What an allocator file defines, what it lacks, and whether it survives its first operations."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from kpkeys_bench import door, isolate
from kpkeys_bench.errors import AllocatorError, KpbError, MachineError
from kpkeys_bench.geometry import PAGE_SHIFTS, geometry
from kpkeys_bench.machine import Machine
from kpkeys_bench.strategy import Strategy
from kpkeys_bench.workloads.ops import ALLOC, ARG_KERNEL, FREE, OP_DTYPE, SHRINK, OpArray

SMOKE_RAM: Final = 256 << 20
SMOKE_TABLES: Final = 1000
SMOKE_SHRINKS: Final = 64
SMOKE_TIMEOUT_S: Final = 20.0

DEFINED: Final = "defined"
ABSENT: Final = "absent: counts as nothing"
MISSING: Final = "missing in csrc/include"
UNDEFINED: Final = "declared, but defined nowhere"
ERROR: Final = "error"
SMOKE: Final = "smoke test"

Row = dict[str, Any]


@dataclass(frozen=True)
class Checkup:
    """The result for all page sizes.

    Attributes
    ----------
    rows : list of dict
        Page size, name, status, where (``FILE:LINE``) and what else there is to say.
    failures : list of str
        One line each; empty if all is well.
    outputs : dict of str to str
        What the compiler said, by page size.
    """

    rows: list[Row]
    failures: list[str]
    outputs: dict[str, str]


def check(
    source: Path,
    page_sizes: Iterable[str] = tuple(PAGE_SHIFTS),
    linear_map: str | None = None,
    timeout_s: float = SMOKE_TIMEOUT_S,
) -> Checkup:
    """Compile an allocator file and let it work for a moment, for each page size.

    Parameters
    ----------
    source : Path
        The C file.
    page_sizes : iterable of str
        For which page sizes.
    linear_map : str, optional
        ``"block"`` or ``"pte"``; None: what it is made for.
    timeout_s : float
        How long nothing may happen.

    Raises
    ------
    AllocatorError
        If the file cannot be read, or there is no compiler.
    """
    rows: list[Row] = []
    failures: list[str] = []
    outputs: dict[str, str] = {}
    for page_size in [geometry(name).page_size for name in page_sizes]:
        door.read_source(source)
        door.find_compiler()
        try:
            compiled = door.compile_file(source, page_size)
        except AllocatorError as error:
            outputs[page_size] = error.output
            failures.append(str(error))
            rows += _missing_rows(page_size, error)
            continue
        outputs[page_size] = compiled.output
        for name, there in door.defined(compiled.path).items():
            rows.append(_row(page_size, name, DEFINED if there else ABSENT))
        found = list(_smoke_rows(source, page_size, linear_map, timeout_s))
        failures += [
            f"{source}, {page_size} pages: {row['note']}" for row in found if row["failed"]
        ]
        rows += [{k: v for k, v in row.items() if k != "failed"} for row in found]
    return Checkup(rows, failures, outputs)


def _row(page_size: str, name: str, status: str, where: str = "", note: str = "") -> Row:
    return {"page_size": page_size, "name": name, "status": status, "where": where, "note": note}


def _missing_rows(page_size: str, error: AllocatorError) -> Iterator[Row]:
    if not error.diagnostics:
        yield _row(page_size, "", ERROR, "", str(error))
    for found in error.diagnostics:
        status = {"error": ERROR, "symbol": UNDEFINED}.get(found.kind, MISSING)
        note = found.message if found.kind == "error" else found.kind
        yield _row(page_size, found.name, status, found.where, note)


def merged(rows: Sequence[Row]) -> list[Row]:
    """Rows that are the same for several page sizes, once."""
    sizes: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        key = (row["name"], row["status"], row["where"], row["note"])
        sizes.setdefault(key, []).append(row["page_size"])
    return [
        _row(" ".join(found), *key)
        for key, found in sizes.items()
    ]  # fmt: skip


# --- the smoke test -------------------------------------------------------------------------------


def _smoke_rows(
    source: Path, page_size: str, linear_map: str | None, timeout_s: float
) -> Iterator[Row]:
    try:
        strategy = Strategy(str(source.absolute()), linear_map=linear_map)
        found = isolate.run(_smoke, strategy, page_size, timeout_s=timeout_s)
    except KpbError as error:
        yield _row(page_size, SMOKE, "failed", "", str(error)) | {"failed": True}
        return
    status = "failed" if found["error"] else "passed"
    note = found["error"] or f"{found['ops']} operations on a {strategy.linear_map} map"
    yield _row(page_size, SMOKE, status, "", note) | {"failed": bool(found["error"])}
    if found["unprotected"]:
        note = f"{found['unprotected']} page table pages, of the linear map itself"
        yield _row(page_size, "", "no pkey after boot", "", note) | {"failed": False}
    for warning in found["warnings"]:
        where = f"{warning['file']}:{warning['line']}"
        note = f"{warning['what']} ({warning['count']}x)"
        yield _row(page_size, "", "kernel warning", where, note) | {"failed": False}
    for line in found["log"]:
        yield _row(page_size, "", "log", "", line) | {"failed": False}


def _smoke(strategy: Strategy, page_size: str, *, beat: isolate.Beat) -> Row:
    """Boot, allocate and free, look at all invariants, shrink, and look again."""
    beat()
    with Machine(strategy, page_size=page_size, ram=SMOKE_RAM) as machine:
        done, error, unprotected = 0, "", 0
        try:
            machine.boot()
            unprotected = machine.state()["unprotected_pages"]
            machine.set_slots(SMOKE_TABLES)
            for op in _smoke_ops():
                beat(done, 1)
                machine.replay(op)
                done += 1
                if done % SMOKE_TABLES == 0:
                    _check(machine, unprotected)
            beat(done)
            _check(machine, unprotected)
        except KpbError as found:
            error = str(found)
        return {
            "error": error,
            "ops": done,
            "unprotected": unprotected,
            "warnings": [dict(warning) for warning in machine.warnings()],
            "log": machine.log(),
        }


def _check(machine: Machine, unprotected: int) -> None:
    """All invariants, but for tables that had no pkey when boot was over: they are reported."""
    try:
        machine.check()
    except MachineError as error:
        known = f"{unprotected} PTPs do not carry the page table pkey"
        if not unprotected or known not in str(error):
            raise


def _smoke_ops() -> Iterator[OpArray]:
    """One operation at a time, so that the one that crashes is known."""
    half = np.arange(SMOKE_TABLES // 2)
    for kind, slots in (
        (ALLOC, np.arange(SMOKE_TABLES)),
        (FREE, half * 2),
        (ALLOC, half[::-1] * 2),
        (FREE, np.arange(SMOKE_TABLES)),
    ):
        ops = np.zeros(len(slots), dtype=OP_DTYPE)
        ops["slot"], ops["kind"] = slots, kind
        ops["arg"] = np.where(slots % 7 == 0, ARG_KERNEL, 0)
        for i in range(len(ops)):
            yield ops[i : i + 1]
    shrink = np.zeros(1, dtype=OP_DTYPE)
    shrink["kind"], shrink["slot"] = SHRINK, 128
    for _ in range(SMOKE_SHRINKS):
        yield shrink
