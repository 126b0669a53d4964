# SPDX-License-Identifier: GPL-2.0-only
"""ktstr: tests for Linux process schedulers, in real virtual machines."""
