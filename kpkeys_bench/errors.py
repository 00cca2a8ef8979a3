# SPDX-License-Identifier: GPL-2.0-only
"""The exceptions of this package.

Every message is one line that names the file, the offending value, the limit and the way out.
Each class also inherits the builtin that a caller who does not know this package would catch.
"""


class KpbError(Exception):
    """Base of every error that this package raises on purpose."""


class TraceError(KpbError, ValueError):
    """A recording, a ``.kpt`` file or a stream of operations is malformed."""


class ConfigError(KpbError, ValueError):
    """A parameter is out of range or contradicts another one."""


class MachineError(KpbError, RuntimeError):
    """The simulated machine refused a request or cannot be used any more."""


class MachineBusyError(MachineError):
    """The simulated machine is in use by another thread."""


class ResultError(KpbError, OSError):
    """A result table cannot be read or written."""
