# SPDX-License-Identifier: GPL-2.0-only
"""Freezing the guest and turning its memory into samples."""
