# SPDX-License-Identifier: GPL-2.0-only
"""Kernel and BPF state read from guest RAM, from outside, without debug information."""

from ktstr.introspect.decode import decode
from ktstr.introspect.freeze import copy
from ktstr.introspect.kernel import Kernel, attach
from ktstr.introspect.kernel_log import read_kernel_log
from ktstr.introspect.maps import MapInfo, list_maps
from ktstr.introspect.memory import PhysicalMemory, UnreadableMemory
from ktstr.introspect.plan import SnapshotPlan, make_plan
from ktstr.introspect.regions import Captured, Limits

__all__ = [
    "Captured",
    "Kernel",
    "Limits",
    "MapInfo",
    "PhysicalMemory",
    "SnapshotPlan",
    "UnreadableMemory",
    "attach",
    "copy",
    "decode",
    "list_maps",
    "make_plan",
    "read_kernel_log",
]
