# SPDX-License-Identifier: GPL-2.0-only
"""Run a function in a process of its own: what crashes or loops there takes nothing else with it.

The child is a fork of this process, so it starts within milliseconds and inherits whatever the
function needs; only the result has to be pickled. It must not rely on locks that other threads of
this process may hold, nor print.
"""

import contextlib
import ctypes
import faulthandler
import inspect
import mmap
import os
import pickle
import resource
import select
import signal
import struct
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from kpkeys_bench.errors import IsolationError, KpbError

T = TypeVar("T")

DEFAULT_TIMEOUT_S: Final = 60.0
"""How long a child may give no sign of life."""

_WAKE_MS: Final = 50
_PR_SET_PDEATHSIG: Final = 1
#: Shared with the child: signs of life so far, operations done, operations upcoming, part.
_LIFE: Final = struct.Struct("<QQQQ")
_LENGTH: Final = struct.Struct("<Q")


class Beat:
    """Signs of life: what a function that takes the parameter ``beat`` gets."""

    def __init__(self, page: mmap.mmap) -> None:
        self._page = page
        self._nr = 0

    def __call__(self, done: int = 0, upcoming: int = 0, part: int = 0) -> None:
        """Say that all is well.

        Parameters
        ----------
        done : int
            Operations done so far.
        upcoming : int
            How many will be done before the next sign of life; 0 where nobody counts.
        part : int
            Which part of the work this is, where there are several.
        """
        self._nr += 1
        _LIFE.pack_into(self._page, 0, self._nr, done, upcoming, part)


def run(
    function: Callable[..., T],
    *args: object,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    **kwargs: object,
) -> T:
    """Call a function in a child process and return what it returns.

    Parameters
    ----------
    function : callable
        If it has a parameter ``beat``, it gets a `Beat` there.
    *args, **kwargs
        For the function.
    timeout_s : float
        How long, in seconds, the child may go without a sign of life, or run as a whole if it does
        not beat.

    Returns
    -------
    object
        The function's result, pickled on the way.

    Raises
    ------
    IsolationError
        If the child crashed or loops; the message names the signal and the operations.
    Exception
        Whatever the function raised.
    """
    with contextlib.closing(mmap.mmap(-1, mmap.PAGESIZE)) as page:
        parent = os.getpid()
        reader, writer = os.pipe()
        try:
            with warnings.catch_warnings():
                # Python warns of locks that other threads hold; see the top of this file
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if pid == 0:
            os.close(reader)
            _child(parent, writer, page, function, args, kwargs)
        os.close(writer)
        try:
            result: T = _result(pid, reader, page, timeout_s)
            return result
        finally:
            os.close(reader)


def _child(
    parent: int,
    writer: int,
    page: mmap.mmap,
    function: Callable[..., object],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> NoReturn:
    """Everything that the child does; it leaves without unwinding what is its parent's."""
    try:
        _settle(parent)
        if "beat" in inspect.signature(function).parameters:
            kwargs = {**kwargs, "beat": Beat(page)}
        try:
            result = function(*args, **kwargs)
            payload = pickle.dumps((True, result), pickle.HIGHEST_PROTOCOL)
        except BaseException as error:  # noqa: BLE001 - the parent raises it again
            payload = pickle.dumps((False, _portable(error)), pickle.HIGHEST_PROTOCOL)
        _write(writer, _LENGTH.pack(len(payload)) + payload)
        os._exit(0)
    finally:
        os._exit(1)


def _settle(parent: int) -> None:
    """Die with the parent, die quietly, and leave Ctrl-C to the parent."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    faulthandler.disable()
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _portable(error: BaseException) -> BaseException:
    """The same exception, if it survives the way to the parent."""
    if not isinstance(error, KpbError):
        # a bug: its traceback would be lost on the way
        error.add_note("".join(traceback.format_exception(error)))
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - it was pickled here
    except Exception:  # noqa: BLE001 - whatever its __reduce__ does
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _result(pid: int, reader: int, page: mmap.mmap, timeout_s: float) -> Any:  # noqa: ANN401
    """Wait for the child; it is gone when this returns or raises."""
    reaped = False
    try:
        received, reaped, status = _receive(pid, reader, page, timeout_s)
    finally:
        if not reaped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _reap(pid, 0)
    if received is None:
        _, done, upcoming, part = _LIFE.unpack_from(page)
        where = _where(done, upcoming)
        why = _cause(status) + where
        if not reaped:
            why = f"no sign of life for {timeout_s:g} s{where}: it loops"
        raise IsolationError(why, loops=not reaped, done=done, upcoming=upcoming, part=part)
    good, value = pickle.loads(received)  # noqa: S301 - from a fork of this process
    if not good:
        raise value
    return value


def _receive(
    pid: int, reader: int, page: mmap.mmap, timeout_s: float
) -> tuple[bytes | None, bool, int]:
    """The child's answer, None without one; whether it has been reaped; its status then."""
    data = bytearray()
    beats, since = 0, time.monotonic()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:
        if poll.poll(_WAKE_MS):
            chunk = os.read(reader, 1 << 20)
            data += chunk
            if chunk and len(data) < _LENGTH.size:
                continue
            if len(data) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(data)
                if len(data) == _LENGTH.size + length:
                    return bytes(data[_LENGTH.size :]), False, 0
            if not chunk:
                return None, True, _reap(pid, 0)
        elif (status := _reap(pid, os.WNOHANG)) != _ALIVE and not poll.poll(0):
            # a child that another thread started may hold the pipe open
            return None, True, status
        (nr, *_), now = _LIFE.unpack_from(page), time.monotonic()
        if nr != beats:
            beats, since = nr, now
        elif now - since > timeout_s:
            return None, False, 0


_ALIVE: Final = -1


def _reap(pid: int, options: int) -> int:
    """The status of a child that has ended, `_ALIVE` while it runs, 0 if it cannot be known."""
    try:
        found, status = os.waitpid(pid, options)
    except ChildProcessError:
        return 0
    return status if found else _ALIVE


def _cause(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"ended with status {os.waitstatus_to_exitcode(status)} and no result"
    number = os.WTERMSIG(status)
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number == signal.SIGKILL:
        return f"killed: {name} (is the host out of memory?)"
    return f"crashed: {name}"


def _where(done: int, upcoming: int) -> str:
    if not upcoming:
        return f" after operation {done - 1}" if done else ""
    if upcoming == 1:
        return f" in operation {done}"
    return f" in operations {done} to {done + upcoming - 1}"
