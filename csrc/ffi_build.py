# SPDX-License-Identifier: GPL-2.0-only
"""Feed the border's declarations to cffi and say what the extension is made of."""

import hashlib
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).resolve().parent

SOURCES = [
    "csrc/build_4k.c",
    "csrc/build_16k.c",
    "csrc/build_64k.c",
    "csrc/kpb_api.c",
    "csrc/lab/clock.c",
    "csrc/lab/door.c",
    "csrc/lab/fitted.c",
    "csrc/lab/gen.c",
    "csrc/lab/hist.c",
    "csrc/lab/host.c",
    "csrc/lab/import_books.c",
    "csrc/lab/import_names.c",
    "csrc/lab/import_text.c",
]

DEPENDS = sorted(path for path in CSRC.rglob("*") if path.suffix in {".c", ".h"})


def sources_sha256() -> str:
    """Of all C files and their names: results of other code are not to be mixed with this one's."""
    digest = hashlib.sha256()
    for path in DEPENDS:
        digest.update(str(path.relative_to(CSRC)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


ffibuilder = FFI()
ffibuilder.cdef((CSRC / "kpb_api.cdef.h").read_text(encoding="utf-8"))
ffibuilder.set_source(
    "kpkeys_bench._kpb",
    '#include "kpb_api.h"',
    sources=SOURCES,
    depends=[str(path.relative_to(CSRC.parent)) for path in DEPENDS],
    include_dirs=["csrc", "csrc/include"],
    define_macros=[("_GNU_SOURCE", "1"), ("KPB_SOURCES", f'"{sources_sha256()}"')],
    libraries=["dl"],
    extra_compile_args=["-O2", "-std=gnu11", "-fvisibility=hidden"],
    py_limited_api=True,
)
