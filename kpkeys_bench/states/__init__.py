# SPDX-License-Identifier: GPL-2.0-only
"""Memory as it was: read from a machine's ``/proc``, saved from a simulation, kept in files."""
