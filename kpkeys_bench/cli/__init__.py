# SPDX-License-Identifier: GPL-2.0-only
"""The command ``kpkeys-bench``."""

import os
import sys
from collections.abc import Sequence

import click

from kpkeys_bench import sysinfo
from kpkeys_bench.background import BACKGROUND_HELP, PARAMETER_HELP
from kpkeys_bench.cli.allocator import allocator
from kpkeys_bench.cli.base import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    PROGRAM,
    check_outputs,
    emit,
    outputs,
)
from kpkeys_bench.cli.boot import boot_command
from kpkeys_bench.cli.compare import compare, plot
from kpkeys_bench.cli.scenario import behaviours, scenario
from kpkeys_bench.cli.state import snapshot, state
from kpkeys_bench.cli.trace import trace
from kpkeys_bench.errors import KpbError
from kpkeys_bench.report import key_value_table, plain_table
from kpkeys_bench.states.named import state_help
from kpkeys_bench.strategy import ALLOCATOR_HELP
from kpkeys_bench.workloads.fitted import load_model, shipped_models
from kpkeys_bench.workloads.presets import PRESETS
from kpkeys_bench.workloads.trace import load_trace, shipped_traces
from kpkeys_bench.workloads.workload import GENERATOR_HELP


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(sysinfo.package_version(), prog_name=PROGRAM)
def cli() -> None:
    """Measure how page table pages that carry a protection key should be allocated.

    Replays page table workloads on mirrors of the kernel's allocators, over a linear map that
    really splits, and counts what each refill strategy does to it.
    """


@click.command()
@outputs
def info(*, json_file: str | None, csv_file: str | None) -> None:
    """Host, clock and build, as results name them."""
    check_outputs(json_file, csv_file)
    facts = dict(sysinfo.info())
    emit([facts], key_value_table(facts), json_file, csv_file, document=facts)


@click.command("list")
@outputs
def list_names(*, json_file: str | None, csv_file: str | None) -> None:
    """Allocators, recordings, generators, models, presets, states and backgrounds by name."""
    check_outputs(json_file, csv_file)
    fitted = {name: load_model(path).help for name, path in shipped_models().items()}
    presets = {name: preset.help for name, preset in PRESETS.items()}
    recordings = {name: load_trace(path).source for name, path in shipped_traces().items()}
    rows = [
        {"kind": kind, "name": name, "what": what}
        for kind, things in (
            ("allocator", ALLOCATOR_HELP),
            ("recording", recordings),
            ("generator", GENERATOR_HELP),
            ("fitted", fitted),
            ("preset", presets),
            ("state", state_help()),
            ("background", BACKGROUND_HELP),
            ("parameter of a background", PARAMETER_HELP),
        )
        for name, what in things.items()
    ]
    emit(rows, plain_table(rows), json_file, csv_file)


for _command in (
    compare,
    boot_command,
    behaviours,
    scenario,
    allocator,
    trace,
    snapshot,
    state,
    plot,
    info,
    list_names,
):
    cli.add_command(_command)


def _fail(message: str) -> None:
    """One line on standard error, whatever the message holds."""
    click.echo(f"{PROGRAM}: {' '.join(message.split())}", err=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; every error is one line on standard error and a status that is not 0."""
    try:
        status = cli.main(args=argv, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message())
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except KpbError as error:
        _fail(str(error))
        sys.exit(EXIT_ERROR)
    except BrokenPipeError:
        # whoever reads has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_ERROR)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}")
        sys.exit(EXIT_ERROR)
    except MemoryError:
        _fail("the host is out of memory: use less --ram or --ops")
        sys.exit(EXIT_ERROR)
    sys.exit(status if isinstance(status, int) else 0)
