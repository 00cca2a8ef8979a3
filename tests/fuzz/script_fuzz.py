# SPDX-License-Identifier: GPL-2.0-only
"""atheris target: any text as a scenario script, parsed and run.

    python tests/fuzz/script_fuzz.py [libFuzzer options] CORPUS scenarios/

Whatever the text is, nothing but an error of this package comes out of it. `make fuzz-script` is
the short way; atheris is in the extra "fuzz".
"""

import sys

import atheris

with atheris.instrument_imports(include=["kpkeys_bench.scenario"]):
    from kpkeys_bench.errors import KpbError
    from kpkeys_bench.scenario.language import parse_script
    from kpkeys_bench.scenario.run import run_script

# A machine costs with its memory, and a script may ask for a terabyte.
MAX_RAM = 1 << 30


def test_one_input(data: bytes) -> None:
    """Run one script; anything that escapes is a finding."""
    try:
        script = parse_script(data.decode("utf-8", errors="replace"))
        # A path is an allocator file, which would be compiled.
        if script.setup.ram <= MAX_RAM and script.setup.allocator.isalpha():
            run_script(script)
    except KpbError:
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
