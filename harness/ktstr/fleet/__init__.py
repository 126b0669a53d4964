# SPDX-License-Identifier: GPL-2.0-only
"""A gauntlet on many machines, by Dask."""
