# SPDX-License-Identifier: GPL-2.0-only
"""One frozen instant of the guest kernel: BPF maps, runqueues, sched_ext state.

Pure data. Map contents are copied bytes with their types (:class:`LazyValue`), rendered when
asked for. ``None`` means not measured; why is in :attr:`Snapshot.unavailable`.
"""

from dataclasses import dataclass, field, fields

from ktstr.series.collector import uncollected
from ktstr.series.host import HostReading
from ktstr.series.maps import IndexOutOfRange, MapSnapshot
from ktstr.series.values import Json, RenderedValue, SnapshotError, alternatives

__all__ = [
    "AmbiguousVar",
    "CpuSnapshot",
    "IndexOutOfRange",
    "MapNotFound",
    "MapSnapshot",
    "SchedExtState",
    "Snapshot",
    "VarNotFound",
]


class MapNotFound(SnapshotError):
    """There is no map of that name."""


class VarNotFound(SnapshotError):
    """No data section has a variable of that name."""


class AmbiguousVar(SnapshotError):
    """Several data sections have a variable of that name."""


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
    """

    release: str
    maps: tuple[MapSnapshot, ...]
    cpus: tuple[CpuSnapshot, ...]
    sched_ext: SchedExtState
    unavailable: dict[str, str] = field(default_factory=dict)
    stale: str | None = None
    copy_ns: int = 0
    host: HostReading = field(default_factory=HostReading)

    def map(self, name: str) -> MapSnapshot:
        """The map called ``name``; the one with the highest id when several are.

        :raises MapNotFound: when there is none, listing the maps there are.
        """
        found = [m for m in self.maps if m.name == name]
        if not found:
            raise MapNotFound(f"no map {name!r}; maps here: {alternatives(self._map_names())}")
        return max(found, key=lambda m: m.id)

    def _map_names(self) -> list[str]:
        return [m.name for m in self.maps]

    def var(self, path: str) -> RenderedValue:
        """Global variable of the loaded programs, or a part of one (``name.member``).

        :raises VarNotFound: when no data section has it, listing the variables.
        :raises AmbiguousVar: when several have it; read it through :meth:`map` then.
        :raises SnapshotError: when the variable has no such part.
        """
        name = path.partition(".")[0]
        sections = [m for m in self.maps if m.is_globals]
        found = [m for m in sections if m.value and name in m.value.names()]
        if len(found) > 1:
            where = ", ".join(f"{m.name} (id {m.id})" for m in found)
            raise AmbiguousVar(f"variable {name!r} is in several data sections: {where}")
        if not found:
            there = [v for m in sections if m.value for v in m.value.names()]
            raise VarNotFound(
                f"no variable {name!r} in {alternatives(m.name for m in sections)}; "
                f"variables here: {alternatives(there)}"
            )
        return found[0].get(path)

    def cpu(self, cpu: int) -> CpuSnapshot:
        """Runqueue state of one CPU.

        :raises IndexOutOfRange: when the guest has no such CPU.
        """
        for found in self.cpus:
            if found.cpu == cpu:
                return found
        there = alternatives(str(c.cpu) for c in self.cpus)
        raise IndexOutOfRange(f"no CPU {cpu}; CPUs here: {there}")

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
        }
