# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios times topologies times kernels times schedulers, chosen by what they cover."""
