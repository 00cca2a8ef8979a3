# SPDX-License-Identifier: GPL-2.0-only
"""The settings that pyproject.toml cannot express."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

#: What an allocator file is compiled with, and the mirror, to be copied and patched.
DOOR = (
    "kpb_api.h",
    "kpb_api.cdef.h",
    "allocators/allocators.h",
    "door/door.c",
    "door/kernel.h",
    "include/**/*.h",
    "lab/background.h",
    "lab/border.h",
    "lab/door.h",
    "lab/image.h",
    "lab/machine.h",
    "lab/rng.h",
    "lab/system.h",
    "mm/kpkeys_hardened_pgtables.c",
)


class BuildPy(build_py):
    """Adds csrc/ to the package as far as a user's compiler needs it."""

    def build_package_data(self) -> None:
        """Copy kpkeys_bench/csrc; an editable install finds csrc/ itself."""
        super().build_package_data()
        for path in (path for pattern in DOOR for path in sorted(Path("csrc").glob(pattern))):
            target = Path(self.build_lib, "kpkeys_bench", path)
            self.mkpath(str(target.parent))
            self.copy_file(str(path), str(target), preserve_mode=False)


setup(
    cmdclass={"build_py": BuildPy},
    cffi_modules=["csrc/ffi_build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
