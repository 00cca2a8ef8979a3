# SPDX-License-Identifier: GPL-2.0-only
"""``python -m kpkeys_bench``."""

from kpkeys_bench.cli import main

main()
