# SPDX-License-Identifier: GPL-2.0-only
"""Failure dumps: one instant of a guest whose run did not pass, with everything that can be read.

Three kinds of document share one reader (:func:`dump_from_text`): ``single``; a placeholder, which
is a ``single`` with nothing but the reason; ``degraded``, when reading was begun and came to no
end. Names of members follow reference-06, section 6.4.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from ktstr.series.dump.codec import MAX_ITEMS, DumpInvalid, decode, encode, map_from_json
from ktstr.series.dump.parts import DsqState, StackTrace, TaskState, VcpuRegisters
from ktstr.series.errors import SnapshotError, alternatives
from ktstr.series.host import HostReading
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.series.values import Json

SINGLE: Final = "single"
DEGRADED: Final = "degraded"
FORMAT: Final = 1
MAX_TEXT: Final = 256 << 20
"""Bytes of a dump that are read; limits of maps and tasks keep real ones far below."""

AT_END: Final = "end of the run"
AT_EXIT: Final = "write of the exit kind"
AT_TIME: Final = "a time that was asked for"

_PARTS: dict[str, tuple[str, Any]] = {
    "rq_scx_states": ("cpus", CpuSnapshot),
    "task_enrichments": ("tasks", TaskState),
    "dsq_states": ("queues", DsqState),
    "vcpu_regs": ("registers", VcpuRegisters),
    "stack_traces": ("traces", StackTrace),
}
"""Member of the document to attribute and class; ``cpus`` is the snapshot's."""


@dataclass(frozen=True, slots=True)
class EventCounterSample:
    """sched_ext's event counters at one moment, summed over CPUs; ``elapsed_ms`` of workload."""

    elapsed_ms: float
    events: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FailureDumpReport:
    """Everything read from a guest at one instant.

    :param reason: why the dump was taken; of a placeholder, why it is empty.
    :param trigger: :data:`AT_EXIT`, :data:`AT_END` or :data:`AT_TIME`.
    :param elapsed_ms: workload time.
    :param tasks: every thread of the guest; :param traces: kernel stacks of some of them.
    :param scheduler_tgid: the process that loaded the scheduler.
    :param unavailable: what is missing, and why.
    :param took_us: how long reading took.
    """

    reason: str
    trigger: str = AT_END
    elapsed_ms: float = 0.0
    snapshot: Snapshot | None = None
    tasks: tuple[TaskState, ...] = ()
    queues: tuple[DsqState, ...] = ()
    registers: tuple[VcpuRegisters, ...] = ()
    traces: tuple[StackTrace, ...] = ()
    timeline: tuple[EventCounterSample, ...] = ()
    scheduler_tgid: int | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)
    took_us: int | None = None
    is_placeholder: bool = False

    @classmethod
    def placeholder(cls, reason: str, elapsed_ms: float = 0.0) -> "FailureDumpReport":
        """A dump that could not be taken."""
        why = {"scx_walker": reason}
        return cls(reason, elapsed_ms=elapsed_ms, unavailable=why, is_placeholder=True)

    def trace(self, pid: int) -> StackTrace:
        """The stack of one thread.

        :raises SnapshotError: when there is none, listing those there are.
        """
        found = next((trace for trace in self.traces if trace.pid == pid), None)
        if found is None:
            there = alternatives(f"{trace.pid} ({trace.comm})" for trace in self.traces)
            raise SnapshotError(f"no stack of thread {pid}; stacks here: {there}")
        return found

    def queue_of(self, pid: int) -> DsqState | None:
        """The dispatch queue in which a thread was found waiting."""
        return next((queue for queue in self.queues if pid in queue.pids), None)

    def runnable(self, cpu: int) -> tuple[TaskState, ...]:
        """Threads on one CPU's runqueue, without its idle task."""
        return tuple(task for task in self.tasks if task.on_rq and task.cpu == cpu and task.pid)

    def to_json(self) -> dict[str, Json]:
        """The document; what is empty is left out."""
        plain: dict[str, Json] = {
            "schema": SINGLE,
            "format": FORMAT,
            "reason": self.reason,
            "trigger": self.trigger,
            "elapsed_ms": self.elapsed_ms,
        }
        if self.is_placeholder:
            plain["is_placeholder"] = True
        if (shot := self.snapshot) is not None:
            plain |= {
                "release": shot.release,
                "rq_scx_states": encode(shot.cpus),
                "maps": [found.to_json() for found in shot.maps],
            }
            if shot.active_maps is not None:
                plain["active_maps"] = list(shot.active_maps)
                plain["active_map_kvas"] = list(shot.active_map_kvas or ())
            optional: dict[str, Json] = {
                "scx_sched_state": encode(shot.sched_ext),
                "active_obj_name": shot.active_ops,
                "per_cpu_time": shot.host.to_json().get("per_cpu_time"),
                "snapshot_unavailable": dict(shot.unavailable),
                "stale": shot.stale,
            }
            plain |= {name: value for name, value in optional.items() if value}
        for member, (name, _) in _PARTS.items():
            if name != "cpus" and getattr(self, name):
                plain[member] = encode(getattr(self, name))
        if self.timeline:
            plain["event_counter_timeline"] = encode(self.timeline)
        if self.scheduler_tgid is not None:
            plain["scheduler_tgid"] = self.scheduler_tgid
        if self.unavailable:
            plain["unavailable"] = dict(self.unavailable)
            walker = self.unavailable.get("scx_walker")
            if walker is not None:
                plain["scx_walker_unavailable"] = walker
        if self.took_us is not None:
            plain["took_us"] = self.took_us
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "FailureDumpReport":
        """The reverse of :meth:`to_json`.

        :raises DumpInvalid: naming the place that is not as it should be.
        """
        head = decode(
            _Head,
            {name: plain[name] for name in _Head.__dataclass_fields__ if name in plain},
            "dump",
        )
        if head.format != FORMAT:
            raise DumpInvalid(f"the dump is of format {head.format}; this ktstr reads {FORMAT}")
        parts = {
            name: tuple(
                decode(kind, item, f"{member}[{at}]")
                for at, item in enumerate(_items(plain, member))
            )
            for member, (name, kind) in _PARTS.items()
        }
        cpus = parts.pop("cpus")
        shot: Snapshot | None = None
        if head.release is not None:
            shot = Snapshot(
                release=head.release,
                maps=tuple(
                    map_from_json(item, f"maps[{at}]")
                    for at, item in enumerate(_items(plain, "maps"))
                ),
                cpus=cpus,
                sched_ext=decode(
                    SchedExtState, plain.get("scx_sched_state", {}), "scx_sched_state"
                ),
                unavailable=dict(head.snapshot_unavailable),
                stale=head.stale,
                active_maps=head.active_maps,
                host=decode(HostReading, {"per_cpu_time": _items(plain, "per_cpu_time")}, "host"),
            )
        return cls(
            reason=head.reason,
            trigger=head.trigger,
            elapsed_ms=head.elapsed_ms,
            snapshot=shot,
            timeline=tuple(
                decode(EventCounterSample, item, f"event_counter_timeline[{at}]")
                for at, item in enumerate(_items(plain, "event_counter_timeline"))
            ),
            scheduler_tgid=head.scheduler_tgid,
            unavailable=head.unavailable,
            took_us=head.took_us,
            is_placeholder=head.is_placeholder,
            **parts,
        )


@dataclass(frozen=True, slots=True)
class _Head:
    """The members of the document that are no lists of records."""

    reason: str
    trigger: str
    format: int
    elapsed_ms: float = 0.0
    is_placeholder: bool = False
    release: str | None = None
    snapshot_unavailable: Mapping[str, str] = field(default_factory=dict)
    stale: str | None = None
    active_maps: tuple[int, ...] | None = None
    scheduler_tgid: int | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)
    took_us: int | None = None


@dataclass(frozen=True, slots=True)
class DegradedFailureDumpReport:
    """A dump that was begun and did not come to its end.

    :param reason: what stood in the way; :param exit_kind: what was known of the scheduler's end.
    :param watchpoint_hit: whether the write of the exit kind had been seen.
    """

    reason: str
    elapsed_ms: float = 0.0
    exit_kind: int | None = None
    watchpoint_hit: bool = False

    def to_json(self) -> dict[str, Json]:
        """The document."""
        plain = encode(self)
        assert isinstance(plain, dict)
        return {"schema": DEGRADED, "format": FORMAT, **plain}


AnyDump: TypeAlias = FailureDumpReport | DegradedFailureDumpReport


def dump_from_json(plain: object) -> AnyDump:
    """A document of any kind.

    :raises DumpInvalid: when it is none, or damaged.
    """
    if type(plain) is not dict:
        raise DumpInvalid("this is no failure dump: its JSON is no object")
    schema = plain.get("schema")
    if schema == SINGLE:
        return FailureDumpReport.from_json(plain)
    if schema == DEGRADED:
        rest = {name: item for name, item in plain.items() if name not in ("schema", "format")}
        return decode(DegradedFailureDumpReport, rest, "dump")
    raise DumpInvalid(f"this is no failure dump: its schema is {schema!r:.60}")


def dump_from_text(text: str) -> AnyDump:
    """A document out of a file's text.

    :raises DumpInvalid: when it is none, or damaged.
    """
    if len(text) > MAX_TEXT:
        raise DumpInvalid(f"a dump of {len(text)} characters; at most {MAX_TEXT} are read")
    try:
        return dump_from_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise DumpInvalid(f"this is no failure dump: {error}") from None


def _items(plain: Mapping[str, Any], member: str) -> list[Any]:
    found = plain.get(member, [])
    if type(found) is not list or len(found) > MAX_ITEMS:
        raise DumpInvalid(f"{member} is no list of at most {MAX_ITEMS}")
    return found
