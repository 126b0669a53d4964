# SPDX-License-Identifier: GPL-2.0-only
"""Runs of the past: read from their sidecars, grouped, and compared."""
