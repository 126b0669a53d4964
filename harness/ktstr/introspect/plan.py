# SPDX-License-Identifier: GPL-2.0-only
"""What to copy during a freeze, resolved to guest-physical ranges beforehand.

Everything that costs time (walking page tables, finding maps, looking up types) happens here,
while the guest runs. The guest may change under the walk; what must still hold at the freeze is
copied along and compared afterwards (:attr:`SnapshotPlan.watched`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ktstr.introspect.active import ActivePlan, plan_active
from ktstr.introspect.cputime import CpuTimePlan, plan_cputime
from ktstr.introspect.hashes import HashReader
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.maps import MapInfo, read_maps, walk_idr
from ktstr.introspect.memory import AddressSpace, Range
from ktstr.introspect.pressure import PressurePlan, plan_pressure
from ktstr.introspect.readers import MapReader, make_reader
from ktstr.introspect.regions import Builder, Limits, Region
from ktstr.introspect.runqueues import RunqueuePlan, plan_runqueues
from ktstr.introspect.sched_ext import SchedExtPlan, plan_sched_ext
from ktstr.introspect.tasks import TaskPlan, plan_tasks
from ktstr.introspect.trail import Trail, Walk


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """What one freeze copies. Make it with :func:`make_plan`; rebuild it when it is stale.

    :param ranges: guest-physical ranges in address order.
    :param generation: ids of all maps the kernel had.
    :param total_bytes: bytes one freeze copies, without what it must follow.
    :param watched: regions with the content they had and what a change of it means.
    :param unavailable: what this kernel cannot show, and why.
    :param stale_reason: why the plan is not to be trusted from the start; usually ``None``.
    """

    ranges: tuple[Range, ...] = field(repr=False)
    generation: tuple[int, ...]
    total_bytes: int
    limits: Limits
    unavailable: dict[str, str]
    stale_reason: str | None
    readers: tuple[MapReader, ...] = field(repr=False)
    chasers: tuple[HashReader, ...] = field(repr=False)
    runqueues: RunqueuePlan = field(repr=False)
    sched_ext: SchedExtPlan = field(repr=False)
    cputime: CpuTimePlan = field(repr=False)
    pressure: PressurePlan = field(repr=False)
    tasks: TaskPlan = field(repr=False)
    task_trail: Trail = field(repr=False)
    pressure_trail: Trail = field(repr=False)
    active: ActivePlan = field(repr=False)
    watched: tuple[tuple[Region, bytes, str], ...] = field(repr=False)
    space: AddressSpace = field(repr=False)

    def settle(self) -> None:
        """After each freeze: take up what it found out for the next."""
        self.task_trail.settle()
        self.pressure_trail.settle()


def make_plan(
    kernel: Kernel,
    *,
    maps: Callable[[MapInfo], bool] | None = None,
    limits: Limits | None = None,
) -> SnapshotPlan:
    """Resolve what a freeze copies. Runs while the guest runs; blocks for milliseconds.

    :param maps: which maps to take; ``None`` takes all.
    :raises KernelUnfit: when this kernel's structures are not as needed.
    :raises UnreadableMemory: when the list of maps cannot be read.
    """
    limits = limits or Limits()
    kernel.forget()
    builder = Builder(kernel, limits)
    unavailable: dict[str, str] = {}
    idr = walk_idr(kernel, "map_idr", limits.max_maps)
    watched = [
        (builder.add(at, len(raw)), raw, "the set of BPF maps changed") for at, raw in idr.words
    ]
    runqueues = plan_runqueues(kernel, builder, unavailable)
    sched_ext = plan_sched_ext(kernel, builder, unavailable)
    cputime = plan_cputime(kernel, builder, unavailable)
    pressure = plan_pressure(kernel, builder, unavailable)
    tasks = plan_tasks(kernel, unavailable)
    there = read_maps(kernel, idr)
    active = plan_active(kernel, builder, there, unavailable)
    chosen = [info for info in there if maps is None or maps(info)]
    readers = tuple(make_reader(builder, info) for info in chosen)
    ranges = builder.coalesced()
    return SnapshotPlan(
        ranges=ranges,
        generation=tuple(idr.objects),
        total_bytes=sum(length for _, length in ranges),
        limits=limits,
        unavailable=unavailable,
        stale_reason=idr.damage,
        readers=readers,
        chasers=tuple(r for r in readers if isinstance(r, HashReader) and r.area is None),
        runqueues=runqueues,
        sched_ext=sched_ext,
        cputime=cputime,
        pressure=pressure,
        tasks=tasks,
        task_trail=_trail(kernel, lambda memory: tasks.walk(memory, {})),
        pressure_trail=_trail(kernel, pressure.walk),
        active=active,
        watched=(*watched, *sched_ext.watched, *active.watched),
        space=kernel.space,
    )


def _trail(kernel: Kernel, walk: Walk) -> Trail:
    """A trail that was gone once, so that the first freeze finds it."""
    trail = Trail(kernel.space, walk)
    trail.copy()
    trail.settle()
    return trail
