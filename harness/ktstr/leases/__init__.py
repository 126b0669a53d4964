# SPDX-License-Identifier: GPL-2.0-only
"""What runs of one host leave each other: CPUs, last-level caches and memory, by file locks."""
