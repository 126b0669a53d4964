# SPDX-License-Identifier: GPL-2.0-only
"""Repetitions with probes as data: events, chains, and what differed."""
