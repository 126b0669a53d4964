# SPDX-License-Identifier: GPL-2.0-only
"""Which CPUs a run may have beside those that others hold; computes, and waits for nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ktstr.leases.host import Host


@dataclass(frozen=True, slots=True)
class Want:
    """What a run asks for: CPUs, or memory, or both.

    :param cpus: host CPUs. More than there are means all of them.
    :param memory_mib: memory, MiB. Who asks for more than there is gets it when nobody else has
        any.
    :param exclusive_llc: nobody else may have a CPU of the last-level caches that its CPUs use.
    :param crowded: it may have CPUs that others of its crowd hold.
    :param crowd: the process that admits it and those others; 0: the one that asks.
    """

    cpus: int = 0
    memory_mib: int = 0
    exclusive_llc: bool = False
    crowded: bool = False
    crowd: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """What one lease has.

    :param pid: the process that holds it.
    :param crowd: the process that admitted it; 0: the one that holds it.
    """

    pid: int
    cpus: frozenset[int] = frozenset()
    memory_mib: int = 0
    exclusive_llc: bool = False
    crowd: int = 0


def fitting(host: Host, want: Want, held: Sequence[Held], pid: int) -> frozenset[int] | None:
    """The CPUs to take now; None when the run has to wait.

    As few last-level caches as possible are used, and of those that do equally well the fullest,
    so that whole ones stay free for who comes later.

    :param pid: the process that asks.
    """
    if not _memory_fits(host, want, held):
        return None
    if want.cpus == 0:
        return frozenset()
    free = set(host.llc_of) - _closed(host, want, held, pid)
    count = min(want.cpus, len(host.llc_of))
    if len(free) < count:
        return None
    room = Counter(host.llc_of[cpu] for cpu in free)
    chosen: list[int] = []
    while len(chosen) < count:
        missing = count - len(chosen)
        llc = min(room, key=lambda each: (room[each] < missing, abs(room[each] - missing), each))
        del room[llc]
        chosen += sorted(cpu for cpu in free if host.llc_of[cpu] == llc)[:missing]
    return frozenset(chosen)


def _memory_fits(host: Host, want: Want, held: Sequence[Held]) -> bool:
    taken = sum(each.memory_mib for each in held)
    if not want.memory_mib or not taken or host.memory_mib is None:
        return True
    return taken + want.memory_mib <= host.memory_mib


def _closed(host: Host, want: Want, held: Sequence[Held], pid: int) -> set[int]:
    """CPUs that are not to be had."""
    closed: set[int] = set()
    for each in held:
        if want.crowded and (each.crowd or each.pid) == (want.crowd or pid):
            continue
        closed |= each.cpus
        if want.exclusive_llc or each.exclusive_llc:
            theirs = {host.llc_of[cpu] for cpu in each.cpus if cpu in host.llc_of}
            closed |= {cpu for cpu, llc in host.llc_of.items() if llc in theirs}
    return closed
