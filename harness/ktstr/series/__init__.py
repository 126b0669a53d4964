# SPDX-License-Identifier: GPL-2.0-only
"""Samples, snapshots and rendered values as pure data."""
