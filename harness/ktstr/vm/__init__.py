# SPDX-License-Identifier: GPL-2.0-only
"""Virtual machines: accelerator, QEMU command line, QMP, guest RAM, console."""
