# SPDX-License-Identifier: GPL-2.0-only
"""What the probes of a repeated run recorded, out of a frozen instant.

Layouts: guest/sched/probe.h. It is guest memory, so any of it may be anything.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from ktstr.series.maps import Entry
from ktstr.series.snapshot import Snapshot
from ktstr.series.values import Array, Json, RenderedValue, SnapshotError

RING: Final = "ktstr_probes"
COUNTERS: Final = "ktstr_probe_counters"
PROBED: Final = "ktstr_probed"
OWN_GLOBALS: Final = "ktstr_probe"
"""How the names of the probes' own variables begin."""

MAX_PROBED: Final = 128
_EVENT: Final = struct.Struct("<QQ3QqQQQQIiiHH16s")
_NO_DSQ: Final = (1 << 64) - 1
_INVALID_DSQ: Final = 1 << 63
_PHASES: Final = {1: "entry", 2: "exit", 3: "trigger"}


@dataclass(frozen=True, slots=True)
class ProbeEvent:
    """One call of a callback, its return, or the kernel noting that the scheduler is to end.

    :param ns: CLOCK_MONOTONIC of the guest.
    :param task: address of the task it is about; 0 when there is none.
    :param phase: ``entry``, ``exit`` or ``trigger``; of the last, ``args[0]`` is the exit kind.
    :param dsq_id: the queue the task is on; ``None`` for none.
    :param ddsp_dsq_id: the queue the callback sent the task to directly; ``None`` for none.
    """

    ns: int
    cpu: int
    phase: str
    callback: str
    program: str
    task: int
    pid: int
    comm: str
    args: tuple[int, int, int]
    ret: int
    slice_ns: int
    vtime: int
    dsq_id: int | None
    ddsp_dsq_id: int | None


@dataclass(frozen=True, slots=True)
class Probed:
    """One probed program: how often it was called, and how often it returned."""

    name: str
    callback: str
    entries: int
    exits: int

    @property
    def title(self) -> str:
        """The callback's name; the program's where that does not tell."""
        return self.callback or self.name


@dataclass(frozen=True, slots=True)
class ProbeCounters:
    """Counters of all probes together.

    :param probe_count: events recorded.
    :param kprobe_returns: of those, returns.
    :param meta_miss: callbacks whose task could not be read.
    :param ringbuf_drops: events that later ones have overwritten.
    :param trigger_count: error exits seen; the kernel keeps the first.
    :param exit_hits: exits of any kind seen.
    :param after_trigger: callbacks not recorded since the scheduler was ending already.
    """

    probe_count: int
    kprobe_returns: int
    meta_miss: int
    ringbuf_drops: int
    trigger_count: int
    exit_hits: int
    after_trigger: int

    def to_json(self) -> dict[str, Json]:
        """Plain form."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ProbeData:
    """Everything the probes recorded, events by time.

    :param exit_probe: what stands at the exit path; empty when nothing does.
    :param missing: what could not be probed, and why; empty when all could.
    """

    counters: ProbeCounters
    probed: tuple[Probed, ...]
    events: tuple[ProbeEvent, ...]
    exit_probe: str = ""
    missing: str = ""


def read_probes(snapshot: Snapshot) -> ProbeData:
    """What the probes left in a snapshot.

    :raises SnapshotError: when their maps are not there, or not as they should be.
    """
    found = snapshot.var(COUNTERS)
    counters = ProbeCounters(**{name: found.get(name).as_u64() for name in ProbeCounters.__slots__})
    array = snapshot.var(PROBED)
    if not isinstance(array, Array):
        raise SnapshotError(f"{PROBED} is no array")
    known = min(found.get("nr_probed").as_u64(), MAX_PROBED, len(array.elements))
    probed = tuple(_probed(each) for each in array.elements[:known])
    events = sorted(_events(snapshot, probed), key=lambda event: event.ns)
    return ProbeData(
        counters,
        probed,
        tuple(events),
        found.get("exit_probe").as_str(),
        found.get("missing").as_str(),
    )


def _probed(value: RenderedValue) -> Probed:
    return Probed(
        value.get("name").as_str(),
        value.get("callback").as_str(),
        value.get("entries").as_u64(),
        value.get("exits").as_u64(),
    )


def _events(snapshot: Snapshot, probed: tuple[Probed, ...]) -> Iterable[ProbeEvent]:
    for entry in snapshot.map(RING).all():
        if not isinstance(entry, Entry) or len(entry.value.data) != _EVENT.size:
            raise SnapshotError(f"the entries of {RING} are not of {_EVENT.size} bytes")
        event = _event(entry.value.data, probed)
        if event is not None:
            yield event


def _event(data: bytes, probed: tuple[Probed, ...]) -> ProbeEvent | None:
    """One slot of the ring; ``None`` when it is empty, half written or nonsense."""
    ns, task, a0, a1, a2, ret, slice_ns, vtime, dsq, ddsp, _, pid, cpu, nth, phase, comm = (
        _EVENT.unpack(data)
    )
    word = _PHASES.get(phase)
    if not ns or word is None or (word != "trigger" and nth >= len(probed)):
        return None
    of = None if word == "trigger" else probed[nth]
    return ProbeEvent(
        ns=ns,
        cpu=cpu,
        phase=word,
        callback="" if of is None else of.title,
        program="" if of is None else of.name,
        task=task,
        pid=pid,
        comm=comm.split(b"\0", 1)[0].decode("utf-8", "backslashreplace"),
        args=(a0, a1, a2),
        ret=ret,
        slice_ns=slice_ns,
        vtime=vtime,
        dsq_id=None if dsq == _NO_DSQ else dsq,
        ddsp_dsq_id=None if ddsp == _INVALID_DSQ else ddsp,
    )


def without_ring(snapshot: Snapshot) -> Snapshot:
    """The snapshot without the probes' ring, whose plain form would dwarf all the rest."""
    return replace(snapshot, maps=tuple(m for m in snapshot.maps if m.name != RING))
