# SPDX-License-Identifier: GPL-2.0-only
"""Rules across keys: what is well-formed and yet makes no sense together."""
