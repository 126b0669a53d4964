# SPDX-License-Identifier: GPL-2.0-only
"""Find, fetch, examine and cache the kernels that guests boot."""

from ktstr.kernels.cache import CacheEntry, KernelCache
from ktstr.kernels.kernel import FEATURES, Kernel, KernelFeatures, Module
from ktstr.kernels.resolve import FORMS, open_kernel, resolve_kernel

__all__ = [
    "FEATURES",
    "FORMS",
    "CacheEntry",
    "Kernel",
    "KernelCache",
    "KernelFeatures",
    "Module",
    "open_kernel",
    "resolve_kernel",
]
