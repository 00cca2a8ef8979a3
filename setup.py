# SPDX-License-Identifier: GPL-2.0-only
"""The two settings that pyproject.toml cannot express."""

from setuptools import setup

setup(
    cffi_modules=["csrc/ffi_build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
