# SPDX-License-Identifier: GPL-2.0-only
"""The entry point that pytest loads; imports nothing of ktstr before a test needs it."""
