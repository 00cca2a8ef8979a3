# SPDX-License-Identifier: GPL-2.0-only
"""Result tables: their columns, and how they are written.

Counts are exact and reproducible. Times (``*_ns*``, ``throughput_ops_s``) are measured on the host
that is named in the same row; ``service_ns_*`` come from a closed loop. ``model_*`` are computed
from counts and the costs stated in ``model_costs``; without stated costs they are empty.
"""

import io
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kpkeys_bench.errors import ResultError

SCHEMA_VERSION: Final = 1

IDENTITY: Final = (
    "allocator",
    "variant",
    "refill_orders",
    "page_size",
    "ram_bytes",
    "state",
    "background",
    "background_sha256",
    "state_sha256",
    "workload",
    "workload_sha256",
    "seed",
    "repeat",
    "ops",
)
OPERATIONS: Final = ("allocs", "frees", "failed_allocs", "live_peak_pages", "live_end_pages")
REFILLS: Final = (
    "refills",
    "refill_fallbacks",
    "failed_refills",
    "refilled_pages",
    "released_pages",
)
SPLITS: Final = ("split_pud", "split_contpmd", "split_pmd", "split_contpte")
SPLIT_COST: Final = ("split_ptps", "ptps_for_linear_map")
PKEY_TLB: Final = (
    "set_pkey_calls",
    "set_pkey_pages",
    "tlbi_single",
    "tlbi_full",
    "descriptor_writes",
)
MEMORY: Final = (
    "cached_peak_pages",
    "cached_mean_pages",
    "cached_end_pages",
    "reserve_low_water_pages",
    "unshrinkable_end_pages",
)
PROTECTION: Final = ("unprotected_end_pages", "unprotected_page_ops", "warnings")
LINEAR_MAP: Final = (
    "map_pud_kb",
    "map_contpmd_kb",
    "map_pmd_kb",
    "map_contpte_kb",
    "map_pte_kb",
    "map_leaves",
)
OTHER_COUNTS: Final = (
    "zeroed_pages",
    "pkey_reg_writes",
    "memcg_charges",
    "buddy_claims",
    "buddy_steals",
    "pcp_bulk_allocs",
    "pcp_bulk_alloc_pages",
    "pcp_bulk_free_pages",
    "pcp_drains",
    "slowpath_entries",
    "kswapd_wakes",
    "compact_stall",
    "compact_success",
    "compact_fail",
    "compact_deferred",
    "compact_migrate_scanned",
    "pgmigrate_success",
    "allocstall",
    "pgsteal_direct",
    "slab_shrinks",
    "shrink_scans",
    "oom_kills",
    "alloc_failures",
    "memalloc_allocs",
    "memcg_failures",
    "sleeps_in_atomic",
    "refills_in_shrink",
    "lock_hold_max_steps",
    "pgscan_direct",
    "pgscan_kswapd",
    "pgsteal_kswapd",
    "pgsteal_file",
    "pgsteal_slab",
    "pageoutrun",
    "background_turns",
    "background_alloc_pages",
    "background_free_pages",
    "background_failed",
    "background_capped",
    "background_bursts",
    "background_slowpath_entries",
    "background_allocstall",
    "background_compact_stall",
    "thp_fault_alloc",
    "thp_fault_fallback",
)
SYSTEM: Final = ("file_end_pages", "anon_end_pages", "slab_end_pages", "kernel_end_pages")
THROUGHPUT: Final = (
    "throughput_ops_s",
    "ns_per_op",
    "null_ns_per_op",
    "background_ns_per_op",
)
QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "p9999": 0.9999}
SERVICE: Final = tuple(f"service_ns_{name}" for name in (*QUANTILES, "max", "mean"))
MODEL: Final = (
    "model_ns_per_op",
    *(f"model_ns_{name}" for name in ("p50", "p99", "p999", "max")),
    "model_costs",
)
CLOCK: Final = ("timing", "clock", "clock_floor_ns", "clock_quantum_ns")
HOST: Final = ("host_cpu", "host_kernel", "version", "compiler")

COUNTS: Final = (
    *OPERATIONS,
    *REFILLS,
    *SPLITS,
    *SPLIT_COST,
    *PKEY_TLB,
    *MEMORY,
    *PROTECTION,
    *LINEAR_MAP,
    *OTHER_COUNTS,
    *SYSTEM,
)
"""Columns that are the same on every machine, in every timing mode."""

PATH_COLUMNS: Final = (*IDENTITY, "path", "count", *SERVICE, *CLOCK, *HOST)
CAUSE_COLUMNS: Final = (
    *IDENTITY,
    "cause",
    *SPLITS,
    "split_ptps",
    *PKEY_TLB,
    *HOST,
)

Row = dict[str, Any]


def refill_order_columns(nr_orders: int) -> list[str]:
    """Names of the columns that count refills by order."""
    return [f"refills_order_{order}" for order in range(nr_orders)]


@dataclass
class Results:
    """Rows of all runs so far; every row carries the whole identity of its run.

    Attributes
    ----------
    run_rows : list of dict
        One per run; columns `IDENTITY`, `COUNTS`, ``refills_order_N``, `THROUGHPUT`, `SERVICE`,
        `CLOCK`, `MODEL`, `HOST` and ``error``.
    path_rows, cause_rows, sample_rows, warning_rows : list of dict
        One per run and path, cause, sampled moment, or ``WARN_ON()`` site.
    """

    run_rows: list[Row] = field(default_factory=list)
    path_rows: list[Row] = field(default_factory=list)
    cause_rows: list[Row] = field(default_factory=list)
    sample_rows: list[Row] = field(default_factory=list)
    warning_rows: list[Row] = field(default_factory=list)

    def add(self, other: "Results") -> None:
        """Append the rows of other runs."""
        for name in ("run_rows", "path_rows", "cause_rows", "sample_rows", "warning_rows"):
            getattr(self, name).extend(getattr(other, name))

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run. Orders that no run used have no ``refills_order_N`` column."""
        used = sorted(
            {
                column
                for row in self.run_rows
                for column, value in row.items()
                if column.startswith("refills_order_") and value
            },
            key=lambda column: int(column.rsplit("_", 1)[1]),
        )
        columns = [
            *IDENTITY,
            *COUNTS,
            *used,
            *THROUGHPUT,
            *SERVICE,
            *CLOCK,
            *MODEL,
            *HOST,
            "error",
        ]
        return _frame(self.run_rows, columns)

    @property
    def paths(self) -> pd.DataFrame:
        """One row per run and path, with its count and service times."""
        return _frame(self.path_rows, PATH_COLUMNS)

    @property
    def causes(self) -> pd.DataFrame:
        """One row per run and cause, with what that did to the linear map."""
        return _frame(self.cause_rows, CAUSE_COLUMNS)

    @property
    def samples(self) -> pd.DataFrame:
        """One row per run and sampled moment."""
        return _frame(self.sample_rows, _columns_of(self.sample_rows, IDENTITY))

    @property
    def warnings(self) -> pd.DataFrame:
        """One row per run and ``WARN_ON()`` site."""
        return _frame(self.warning_rows, (*IDENTITY, "file", "line", "what", "count"))

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name; those that were not asked for are left out."""
        tables = {"runs": self.runs, "paths": self.paths, "causes": self.causes}
        if self.sample_rows:
            tables["samples"] = self.samples
        if self.warning_rows:
            tables["warnings"] = self.warnings
        return tables

    def to_csv(self, target: str | os.PathLike[str]) -> list[Path]:
        """Write the runs to `target` and the other tables beside it.

        Parameters
        ----------
        target : path or ``"-"``
            ``results.csv`` brings ``results-paths.csv`` and so on with it; ``-`` is standard
            output and takes the runs alone, as does what is no regular file.

        Returns
        -------
        list of Path
            The files written.

        Raises
        ------
        ResultError
            If a file cannot be written; nothing is left half written.
        """
        if os.fspath(target) == "-":
            sys.stdout.write(csv_text(self.runs))
            return []
        base = Path(target)
        if is_special(base):
            write_atomically(base, csv_text(self.runs))
            return [base]
        written = []
        for name, table in self.tables().items():
            path = base if name == "runs" else base.with_name(f"{base.stem}-{name}{base.suffix}")
            write_atomically(path, csv_text(table))
            written.append(path)
        return written

    def to_json(self, target: str | os.PathLike[str]) -> list[Path]:
        """Write one document with all tables as lists of objects; see `to_csv`."""
        document: dict[str, Any] = {"schema": SCHEMA_VERSION}
        for name, table in self.tables().items():
            document[name] = records(table)
        return write_text(target, json.dumps(document, indent=1) + "\n")


def _columns_of(rows: Iterable[Mapping[str, Any]], first: Sequence[str]) -> list[str]:
    columns = dict.fromkeys(first)
    for row in rows:
        columns |= dict.fromkeys(row)
    return list(columns)


def _frame(rows: Sequence[Row], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame.from_records(rows, columns=list(columns))
    for column in columns:
        # counts stay whole numbers where a run that failed has none
        if (column in COUNTS and column != "cached_mean_pages") or column.startswith(
            "refills_order_"
        ):
            whole = frame[column].dropna()
            if (whole == whole.round()).all():
                frame[column] = frame[column].astype("Int64")
    # in one piece again: pandas complains when columns are added to many
    return frame.copy()


def records(table: pd.DataFrame) -> list[Row]:
    """A table as JSON objects; missing values become null."""
    result: list[Row] = json.loads(table.to_json(orient="records", double_precision=15))
    return result


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV: one header, no index, numbers in full."""
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def write_text(target: str | os.PathLike[str], text: str) -> list[Path]:
    """Write to a file, atomically, or to standard output for ``"-"``."""
    if os.fspath(target) == "-":
        sys.stdout.write(text)
        return []
    path = Path(target)
    write_atomically(path, text)
    return [path]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file's content all at once.

    A symbolic link stays and its target is replaced. What is no regular file (a pipe, a device) is
    written as it is.

    Raises
    ------
    ResultError
        Naming the file and why.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary: Path | None = None
    try:
        if is_special(path):
            path.write_bytes(data)
            return
        path = path.resolve()
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise ResultError(f"cannot write {path}: {reason}; name another file or -") from None


def is_special(path: Path) -> bool:
    """Whether something is there that is no regular file, such as a pipe or a device."""
    return path.exists() and not path.is_file()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_writable(target: str | os.PathLike[str]) -> None:
    """Fail before any work is done if a result could not be written later.

    Raises
    ------
    ResultError
        Naming the file and why.
    """
    if os.fspath(target) == "-":
        return
    path = Path(target)
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        if is_special(path):
            return
        path = path.resolve()
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResultError(f"cannot write {path}: {reason}; name another file or -") from None
