# SPDX-License-Identifier: GPL-2.0-only
"""The record of a run on disk: written whole or not at all, and read back strictly."""
