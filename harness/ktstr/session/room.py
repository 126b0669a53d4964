# SPDX-License-Identifier: GPL-2.0-only
"""How much room the host has for several runs at a time, and what each of them takes."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktstr.session.pool import Budget, Cost

if TYPE_CHECKING:
    from ktstr.session.definition import Definition

RESERVE_SHARE: Final = 8
"""One part in so many of the free memory stays free: page cache, the harness itself."""

_MIB: Final = 1 << 20
_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Room:
    """What this process may use of the host.

    :param cpus: host CPUs, at least 1.
    :param memory_mib: memory that could be had without swapping, MiB; None when not known.
    """

    cpus: int
    memory_mib: int | None


def host_room(root: Path = Path("/"), pid: str = "self") -> Room:
    """What of the host is free now.

    CPUs are those this process may run on, fewer where its cgroup or one above it has a bandwidth
    limit (cpu.max); memory is MemAvailable, less where a cgroup's limit (memory.max) is nearer
    (Documentation/admin-guide/cgroup-v2.rst).
    """
    groups = _cgroups(root, pid)
    quotas = [quota for group in groups if (quota := _quota(group)) is not None]
    cpus = min([float(len(os.sched_getaffinity(0))), *quotas])
    return Room(max(1, int(cpus)), free_memory_mib(root, pid))


def free_memory_mib(root: Path = Path("/"), pid: str = "self") -> int | None:
    """Memory that could be had now without swapping, MiB; None when the host does not tell."""
    left = [mib for group in _cgroups(root, pid) if (mib := _left_mib(group)) is not None]
    return min([*left, *_meminfo_mib(root, "MemAvailable")], default=None)


def whole_memory_mib(root: Path = Path("/"), pid: str = "self") -> int | None:
    """Memory that could be had if nobody else used any, MiB; None when the host does not tell."""
    limits = [mib for group in _cgroups(root, pid) if (mib := _limit_mib(group)) is not None]
    return min([*limits, *_meminfo_mib(root, "MemTotal")], default=None)


def _meminfo_mib(root: Path, wanted: str) -> Sequence[int]:
    """A line of /proc/meminfo, MiB; nothing where it is not there."""
    with suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == wanted and value.split()[0].isdigit():
                return [int(value.split()[0]) // 1024]
    return []


def budget(room: Room, jobs: int | None) -> Budget:
    """What the runs may take together.

    Without ``jobs`` that is one vCPU of a guest that runs for each host CPU. More would end no
    sooner and disturb what is measured: four runs of two spinning vCPUs each took 30 s one after
    the other on two CPUs under TCG, and 29 s two or four at a time, with longest gaps of 49 to
    108 ms, 81 to 230 ms and 148 to 702 ms; of the last four one failed for it.

    :param jobs: so many at a time, whatever they ask of the CPUs; None: as many as leave the
        results alone.
    """
    memory = room.memory_mib
    if memory is not None:
        memory -= memory // RESERVE_SHARE
    if jobs is not None:
        return Budget(jobs=jobs, memory_mib=memory)
    return Budget(cpus=room.cpus, memory_mib=memory)


def cost_of(definition: "Definition") -> Cost:
    """What a run takes: a host thread for each vCPU while its guest runs, memory, and QEMU's own.

    Under the virtual clock all vCPUs share one thread.
    """
    # Here, so that who only asks for room need not load what makes machines.
    from ktstr.vm.spec import QEMU_OVERHEAD_MIB

    memory_mib = definition.scenario.vm.memory_mib + QEMU_OVERHEAD_MIB
    one_thread = definition.plan.get("clock") == "virtual"
    return Cost(1 if one_thread else definition.topology.cpus, memory_mib)


def _cgroups(root: Path, pid: str) -> Sequence[Path]:
    """The folders of this process's cgroup and those above it; none without cgroup v2."""
    with suppress(OSError):
        for line in (root / f"proc/{pid}/cgroup").read_text().splitlines():
            hierarchy, _, path = line.split(":", 2)
            if hierarchy == "0":
                top = root / _CGROUP.relative_to("/")
                own = top / path.lstrip("/")
                return [own, *(up for up in own.parents if up.is_relative_to(top))]
    return []


def _quota(group: Path) -> float | None:
    """CPUs that the bandwidth limit of a cgroup comes to; None without one."""
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        if quota != "max" and int(period) > 0:
            return int(quota) / int(period)
    return None


def _limit_mib(group: Path) -> int | None:
    """Memory that a cgroup may use; None without a limit."""
    with suppress(OSError, ValueError):
        return int((group / "memory.max").read_text()) // _MIB
    return None


def _left_mib(group: Path) -> int | None:
    """Memory that a cgroup may still use; None without a limit."""
    with suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text())
        return max(0, limit - int((group / "memory.current").read_text())) // _MIB
    return None
