# SPDX-License-Identifier: GPL-2.0-only
"""What a host has to lease: CPUs by last-level cache, and memory."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MEMORY_SHARE: Final = (7, 8)
"""Of the memory, so much is leased; the rest is for page cache and the harness."""


@dataclass(frozen=True, slots=True)
class Host:
    """What there is to lease.

    :param llc_of: each CPU that may be leased, with the number of its last-level cache.
    :param memory_mib: memory that all leases together may have, MiB; None when not known.
    """

    llc_of: Mapping[int, int]
    memory_mib: int | None


def this_host(root: Path = Path("/")) -> Host:
    """CPUs this process may run on, their caches by sysfs, and the memory there is.

    A CPU whose caches sysfs does not tell counts as one of cache 0
    (Documentation/ABI/testing/sysfs-devices-system-cpu: cache/index*/).
    """
    found = {cpu: _last_level(root, cpu) for cpu in sorted(os.sched_getaffinity(0))}
    numbers = {group: min(group) for group in found.values() if group}
    return Host({cpu: numbers.get(group, 0) for cpu, group in found.items()}, _memory(root))


def cpu_list(text: str) -> frozenset[int]:
    """The CPUs of a list as the kernel writes it: ``0-3,8``.

    :raise ValueError: when it is none.
    """
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def _last_level(root: Path, cpu: int) -> frozenset[int]:
    """The CPUs that share the highest level of cache with ``cpu``."""
    levels: dict[int, frozenset[int]] = {}
    for index in (root / f"sys/devices/system/cpu/cpu{cpu}/cache").glob("index*"):
        with suppress(OSError, ValueError):
            shared = cpu_list((index / "shared_cpu_list").read_text())
            levels[int((index / "level").read_text())] = shared
    return levels[max(levels)] if levels else frozenset()


def _memory(root: Path) -> int | None:
    with suppress(OSError, ValueError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemTotal":
                some, of = MEMORY_SHARE
                return int(value.split()[0]) // 1024 * some // of
    return None
