# SPDX-License-Identifier: GPL-2.0-only
"""One frozen instant of the guest kernel: BPF maps, runqueues, sched_ext state.

Pure data. Map contents are copied bytes with their types (:class:`LazyValue`), rendered when
asked for. ``None`` means not measured; why is in :attr:`Snapshot.unavailable`.
"""

from dataclasses import dataclass, field, fields

from ktstr.series.collector import uncollected
from ktstr.series.errors import (
    AmbiguousVar,
    CpuNotFound,
    IndexOutOfRange,
    MapNotFound,
    NoActiveScheduler,
    VarNotFound,
)
from ktstr.series.host import HostReading
from ktstr.series.lookup import ActiveView, find_map, find_variable
from ktstr.series.maps import MapSnapshot
from ktstr.series.values import Json, RenderedValue

__all__ = [
    "ACTIVE",
    "ActiveView",
    "AmbiguousVar",
    "CpuSnapshot",
    "IndexOutOfRange",
    "MapNotFound",
    "MapSnapshot",
    "SchedExtState",
    "Snapshot",
    "VarNotFound",
]


ACTIVE = "sched_ext.active"
"""Key of :attr:`Snapshot.unavailable` that says why the active scheduler's maps are not known."""


def _plain(record: "CpuSnapshot | SchedExtState") -> dict[str, Json]:
    return {f.name: getattr(record, f.name) for f in fields(record)}


@dataclass(frozen=True, slots=True)
class CpuSnapshot:
    """One CPU's runqueue.

    ``nr_running`` counts all classes, ``scx_nr_running`` sched_ext's runnable tasks,
    ``local_dsq_depth`` those waiting in the CPU's local dispatch queue; ``clock`` is the
    runqueue clock in ns; ``idle`` says whether the idle task was current.
    """

    cpu: int
    nr_running: int | None = None
    scx_nr_running: int | None = None
    local_dsq_depth: int | None = None
    scx_flags: int | None = None
    clock: int | None = None
    nr_switches: int | None = None
    idle: bool | None = None
    curr_pid: int | None = None
    curr_tgid: int | None = None
    curr_comm: str | None = None

    def to_json(self) -> dict[str, Json]:
        """Plain form."""
        return _plain(self)


@dataclass(frozen=True, slots=True)
class SchedExtState:
    """The kernel's sched_ext state.

    ``state`` is enabling, enabled, disabling or disabled; ``ops`` the loaded scheduler's name;
    ``exit_kind`` the number of enum scx_exit_kind (0 while running) and ``exit_name`` its name;
    ``events`` the event counters summed over CPUs.
    """

    state: str | None = None
    enabled: bool | None = None
    ops: str | None = None
    switch_all: bool | None = None
    exit_kind: int | None = None
    exit_name: str | None = None
    exit_message: str | None = None
    aborting: bool | None = None
    bypass_depth: int | None = None
    nr_rejected: int | None = None
    enable_seq: int | None = None
    events: dict[str, int] | None = None

    def to_json(self) -> dict[str, Json]:
        """Plain form."""
        return _plain(self)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything read from the guest at one frozen instant.

    :param unavailable: what could not be measured (``sched_ext.events``) and why.
    :param stale: why the plan no longer fitted the guest; ``None`` when it did.
    :param copy_ns: host time spent copying, in ns.
    :param host: the kernel's accounting of CPU time, interrupts and pressure.
    :param active_maps: ids of the maps that the attached scheduler uses; ``None`` when no scheduler
        is attached, or this kernel does not say.
    """

    release: str
    maps: tuple[MapSnapshot, ...]
    cpus: tuple[CpuSnapshot, ...]
    sched_ext: SchedExtState
    unavailable: dict[str, str] = field(default_factory=dict)
    stale: str | None = None
    copy_ns: int = 0
    host: HostReading = field(default_factory=HostReading)
    active_maps: tuple[int, ...] | None = None

    @property
    def active_ops(self) -> str | None:
        """Name of the attached scheduler."""
        return None if self.active_maps is None else self.sched_ext.ops

    @property
    def active_map_kvas(self) -> tuple[int, ...] | None:
        """Addresses of the maps that the attached scheduler uses."""
        if self.active_maps is None:
            return None
        return tuple(m.map_kva for m in self.maps if m.id in self.active_maps)

    def map(self, name: str) -> MapSnapshot:
        """The map called ``name``: of several the attached scheduler's, else the newest.

        :raises MapNotFound: when there is none, listing the maps there are.
        """
        return find_map(self.maps, name, self.active_maps or ())

    def var(self, path: str) -> RenderedValue:
        """Global variable of the loaded programs, or a part of one (``name.member``).

        :raises VarNotFound: when no data section has it, listing the variables.
        :raises AmbiguousVar: when several have it and not exactly one of them belongs to the
            attached scheduler; read it through :meth:`map` then.
        :raises SnapshotError: when the variable has no such part.
        """
        return find_variable(self.maps, path, self.active_maps or ()).get(path)

    def live_var(self, path: str) -> RenderedValue:
        """The attached scheduler's copy of a variable, or a part of it.

        A copy that an older scheduler left behind never counts.

        :raises NoActiveScheduler: as :meth:`active`.
        :raises ActiveFilterExcludedMaps: when only maps of others have it.
        :raises SnapshotError: as :meth:`var`.
        """
        return self.active().var(path)

    def active(self) -> ActiveView:
        """Only the maps that the attached scheduler uses.

        :raises NoActiveScheduler: when none is attached, or its maps are not known.
        """
        if self.active_maps is None:
            silent = "the snapshot does not say which maps it uses"
            raise NoActiveScheduler(self.unavailable.get(ACTIVE, silent))
        return ActiveView(self.maps, self.active_maps, self.active_ops)

    def cpu(self, cpu: int) -> CpuSnapshot:
        """Runqueue state of one CPU.

        :raises IndexOutOfRange: when the guest has no such CPU.
        """
        for found in self.cpus:
            if found.cpu == cpu:
                return found
        raise CpuNotFound(cpu, [c.cpu for c in self.cpus])

    def to_json(self) -> dict[str, Json]:
        """Plain form with everything rendered."""
        with uncollected():
            maps: list[Json] = [m.to_json() for m in self.maps]
        return {
            "release": self.release,
            "maps": maps,
            "cpus": [c.to_json() for c in self.cpus],
            "sched_ext": self.sched_ext.to_json(),
            "unavailable": dict(self.unavailable),
            "stale": self.stale,
            "copy_ns": self.copy_ns,
            "host": self.host.to_json(),
            "active_maps": None if self.active_maps is None else list(self.active_maps),
        }
