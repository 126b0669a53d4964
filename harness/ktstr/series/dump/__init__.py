# SPDX-License-Identifier: GPL-2.0-only
"""Failure dumps as data: what they hold, their JSON and their text."""
