# SPDX-License-Identifier: GPL-2.0-only
"""Feed the border's declarations to cffi and say what the extension is made of."""

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
]

ffibuilder = FFI()
ffibuilder.cdef((CSRC / "kpb_api.cdef.h").read_text(encoding="utf-8"))
ffibuilder.set_source(
    "kpkeys_bench._kpb",
    '#include "kpb_api.h"',
    sources=SOURCES,
    depends=sorted(
        str(path.relative_to(CSRC.parent))
        for path in CSRC.rglob("*")
        if path.suffix in {".c", ".h"}
    ),
    include_dirs=["csrc", "csrc/include"],
    define_macros=[("_GNU_SOURCE", "1")],
    libraries=["dl"],
    extra_compile_args=["-O2", "-std=gnu11", "-fvisibility=hidden"],
    py_limited_api=True,
)
