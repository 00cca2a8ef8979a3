# SPDX-License-Identifier: GPL-2.0-only
"""The exceptions of this package.

Every message is one line that names the file, the offending value, the limit and the way out.
Each class also inherits the builtin that a caller who does not know this package would catch.
"""

from typing import Any


class KpbError(Exception):
    """Base of every error that this package raises on purpose."""


class TraceError(KpbError, ValueError):
    """A recording, a ``.kpt`` file or a stream of operations is malformed."""


class ConfigError(KpbError, ValueError):
    """A parameter is out of range or contradicts another one."""


class ScenarioError(ConfigError):
    """A scenario script makes no sense; the message begins with file, line and column."""


class MachineError(KpbError, RuntimeError):
    """The simulated machine refused a request or cannot be used any more."""


class MachineBusyError(MachineError):
    """The simulated machine is in use by another thread."""


class ResultError(KpbError, OSError):
    """A result table cannot be read or written."""


class StateError(ConfigError):
    """A state of memory, its file, or what it is to be made of is malformed."""


class AllocatorError(ConfigError):
    """An allocator file cannot be read, or does not compile for the laboratory.

    Attributes
    ----------
    diagnostics : tuple of kpkeys_bench.door.Diagnostic
        Everything that is wrong, what is missing first; empty if the compiler did not come that
        far.
    output : str
        What the compiler said, in full.
    """

    def __init__(self, message: str, diagnostics: tuple[Any, ...] = (), output: str = "") -> None:
        super().__init__(message)
        self.diagnostics = diagnostics
        self.output = output


class IsolationError(MachineError):
    """Code that ran in a process of its own never came back.

    Attributes
    ----------
    loops : bool
        It gave no sign of life; otherwise it crashed.
    done, upcoming : int
        Operations done at its last sign of life, and how many it was about to do.
    part : int
        Which part of the work that was.
    """

    def __init__(
        self,
        message: str,
        *,
        loops: bool = False,
        done: int = 0,
        upcoming: int = 0,
        part: int = 0,
    ) -> None:
        super().__init__(message)
        self.loops = loops
        self.done = done
        self.upcoming = upcoming
        self.part = part
