# SPDX-License-Identifier: GPL-2.0-only
"""What steps are made of: cgroups, works, cpusets, holds."""

from typing import Unpack

from ktstr.scenario.keys import (
    CgroupKeys,
    Cpuset,
    Duration,
    NodeKeys,
    ProgramKeys,
    Work,
    WorkKeys,
)
from ktstr.scenario.part import Part

__all__ = ["Cgroup", "Cpuset", "Hold", "Node", "Op", "Program", "Work"]


class Cgroup(Part):
    """A cgroup, its limits and its workers; made by :func:`cgroup`."""

    __slots__ = ()


class Op(Part):
    """Something done between two holds; made by the functions of ``ktstr.scenario.ops``."""

    __slots__ = ()


class Node(Part):
    """A NUMA node of the machine; made by :func:`node`."""

    __slots__ = ()


class Program(Part):
    """A scheduler that an op starts; made by :func:`program`."""

    __slots__ = ()


class Hold(Part):
    """A step's length that is no fixed time; made by :func:`frac` and :func:`loop`."""

    __slots__ = ()


def node(memory: str, **keys: Unpack[NodeKeys]) -> Node:
    """A NUMA node with that much memory, ``"256M"``; with ``llcs=0`` it has no CPUs."""
    return Node.of(memory=memory, **keys)


def work(type: str, **keys: Unpack[WorkKeys]) -> Work:
    """Workers of one type."""
    return Work.of(type=type, **keys)


def cgroup(name: str, **keys: Unpack[CgroupKeys]) -> Cgroup:
    """A cgroup with its limits and workers; ``parent/child`` lies in ``parent``."""
    return Cgroup.of(name=name, **keys)


def program(**keys: Unpack[ProgramKeys]) -> Program:
    """A scheduler for the ops that attach one."""
    return Program.of(**keys)


def llc(index: int) -> Cpuset:
    """The CPUs that share one last-level cache."""
    return Cpuset.of(llc=index)


def numa(node: int) -> Cpuset:
    """The CPUs of one NUMA node."""
    return Cpuset.of(numa=node)


def share(low: float, high: float) -> Cpuset:
    """The usable CPUs from fraction ``low`` up to, without, ``high``: the file's ``range``."""
    return Cpuset.of(range=[low, high])


def disjoint(index: int, of: int) -> Cpuset:
    """Share ``index`` of ``of`` equal ones of the usable CPUs."""
    return Cpuset.of(disjoint=[index, of])


def overlap(index: int, of: int, fraction: float) -> Cpuset:
    """Such a share, wider on both sides by ``fraction`` of itself."""
    return Cpuset.of(overlap=[index, of, fraction])


def frac(fraction: float) -> Hold:
    """A hold of a fraction of the run's duration."""
    return Hold.of(frac=fraction)


def loop(interval: Duration) -> Hold:
    """A hold until the run's duration is over, with the step's ops again every ``interval``."""
    return Hold.of(loop=interval)
