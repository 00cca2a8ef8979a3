# SPDX-License-Identifier: GPL-2.0-only
"""Streams of page table events: recorded, looped, generated."""
