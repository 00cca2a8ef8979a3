# SPDX-License-Identifier: GPL-2.0-only
"""Fit the models that the package ships, each on the first half of a recording that it ships.

Usage: python tools/fit_models.py [--check]

The second halves, and all other recordings, are held back: tests/test_fit.py judges the models by
them. With --check nothing is written; the status is 1 if a file is not what would be written.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from kpkeys_bench.workloads.fit import fit, halves
from kpkeys_bench.workloads.fitted import SUFFIX, dump_model, save_model
from kpkeys_bench.workloads.trace import load_trace, shipped_traces

OUT: Final = Path(__file__).parents[1] / "kpkeys_bench" / "workloads" / "models"
MODELS: Final = {
    "like-forkexec": ("forkexec",),
    "like-mmap": ("mmap",),
    "like-both": ("forkexec", "mmap"),
}


def main() -> int:
    """Write the models, or compare them with what is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only compare with what is there")
    check = parser.parse_args().check
    shipped = shipped_traces()
    status = 0
    for name, recordings in MODELS.items():
        traces = [load_trace(shipped[recording]) for recording in recordings]
        first = [halves(trace)[0] for trace in traces]
        model = fit(first, name, recordings=traces, part="first half")
        path = OUT / f"{name}{SUFFIX}"
        if not check:
            save_model(model, path)
        elif not path.exists() or path.read_text(encoding="utf-8") != dump_model(model):
            sys.stderr.write(f"{path} is not what this program would write\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
