# SPDX-License-Identifier: GPL-2.0-only
"""Runs scenarios as pytest tests."""
