# SPDX-License-Identifier: GPL-2.0-only
"""Scenario scripts: short programs that anyone can read, one for each behaviour to be shown."""
