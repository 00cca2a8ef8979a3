# SPDX-License-Identifier: GPL-2.0-only
"""A child process: what it returns, raises, and what becomes of one that crashes or loops."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from kpkeys_bench import ConfigError, MachineError, isolate
from kpkeys_bench.errors import AllocatorError, IsolationError, KpbError


def _kill(number):
    os.kill(os.getpid(), number)


def _loop(*, beat, done=0, upcoming=0):
    beat(done, upcoming)
    while True:
        pass


def _beat_and_kill(number, done, upcoming, *, beat):
    beat(done, upcoming)
    os.kill(os.getpid(), number)


def _raise(error):
    raise error


def _running(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_result_comes_back_whatever_its_size():
    array = isolate.run(np.arange, 1 << 20)
    assert array.sum() == (1 << 19) * ((1 << 20) - 1)


def test_child_inherits_what_cannot_be_pickled():
    held = {"function": lambda value: value + 1}
    assert isolate.run(lambda: held["function"](1)) == 2


def test_child_is_another_process_and_leaves_no_zombie():
    pid = isolate.run(os.getpid)
    assert pid != os.getpid()
    assert not _running(pid)


def test_memory_of_the_parent_is_not_changed():
    values = [1]
    isolate.run(values.append, 2)
    assert values == [1]


@pytest.mark.parametrize("error", [ConfigError("x=1"), MachineError("stopped"), KpbError("k")])
def test_error_of_the_child_is_raised_as_it_is(error):
    with pytest.raises(type(error), match=str(error)):
        isolate.run(_raise, error)


def test_error_with_fields_keeps_them():
    with pytest.raises(AllocatorError) as caught:
        isolate.run(_raise, AllocatorError("a.c:1", output="all of it"))
    assert caught.value.output == "all of it"


def test_bug_in_the_child_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError) as caught:
        isolate.run(lambda: 1 / 0)
    assert "test_isolate.py" in "".join(caught.value.__notes__)


def test_result_that_cannot_be_pickled_is_an_error():
    with pytest.raises(Exception, match=r"pickle|local"):
        isolate.run(lambda: lambda: 0)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS])
def test_crash_names_its_signal(number):
    with pytest.raises(IsolationError, match=f"crashed: {number.name}$") as caught:
        isolate.run(_kill, number)
    assert not caught.value.loops


@pytest.mark.parametrize(
    ("done", "upcoming", "where"),
    [(7, 1, "in operation 7$"), (7, 3, "in operations 7 to 9$"), (7, 0, "after operation 6$")],
)
def test_crash_names_the_operations_of_the_last_sign_of_life(done, upcoming, where):
    with pytest.raises(IsolationError, match=where) as caught:
        isolate.run(_beat_and_kill, signal.SIGSEGV, done, upcoming)
    assert (caught.value.done, caught.value.upcoming) == (done, upcoming)


def test_child_that_leaves_without_a_result_is_an_error():
    with pytest.raises(IsolationError, match="status 3 and no result"):
        isolate.run(os._exit, 3)


def test_loop_ends_with_the_timeout_and_the_child():
    with pytest.raises(
        IsolationError, match=r"no sign of life for 0\.3 s in operation 5: it loops"
    ):
        isolate.run(_loop, done=5, upcoming=1, timeout_s=0.3)


def test_signs_of_life_put_the_timeout_off():
    def slow(*, beat):
        waiter = threading.Event()
        for i in range(20):
            waiter.wait(0.05)
            beat(i)
        return "done"

    assert isolate.run(slow, timeout_s=0.5) == "done"


def test_ctrl_c_kills_the_child(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from kpkeys_bench import isolate\n"
        "def loop():\n"
        "    os.write(1, b'%d\\n' % os.getpid())\n"
        "    while True: pass\n"
        "isolate.run(loop)\n"
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGINT)
        assert parent.wait(30) != 0
    assert not _running(pid)


def test_killed_parent_takes_the_child_with_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from kpkeys_bench import isolate\n"
        "def loop():\n"
        "    os.write(1, b'%d\\n' % os.getpid())\n"
        "    while True: pass\n"
        "isolate.run(loop)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as parent:
        assert int(parent.stdout.readline())
        parent.kill()
        # its end of the pipe closes with the child
        assert parent.stdout.read() == b""


def test_children_of_several_threads_do_not_disturb_each_other():
    results = [None] * 8

    def call(i):
        try:
            results[i] = isolate.run(_kill if i % 2 else abs, 11 if i % 2 else i)
        except IsolationError as error:
            results[i] = str(error)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [i if i % 2 == 0 else "crashed: SIGSEGV" for i in range(8)]


def test_isolation_can_be_nested():
    assert isolate.run(isolate.run, abs, -3) == 3
