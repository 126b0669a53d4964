# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots that a guest takes of itself, made the samples that frozen captures give.

Where the host may only listen, the agent reads its own kernel at the same boundaries and ships
GuestSnapshot frames. Nothing in them is trusted: a frame that is not what it should be becomes a
note, a snapshot in it that cannot be decoded a sample that failed.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from ktstr.capture.stats import META_CAP, Answer, answer_in, parse_answer
from ktstr.errors import KtstrError
from ktstr.series.collector import uncollected
from ktstr.series.entry import NOBODY_ASKED
from ktstr.series.host import HostReading
from ktstr.series.pending import Pending
from ktstr.series.sample import MissingStatsReason, Sample
from ktstr.series.snapshot import ACTIVE, Snapshot
from ktstr.session.events import Emit, Froze
from ktstr.session.guest_maps import ToldMap, active_maps
from ktstr.session.guest_state import ToldCpu, cpu_times, read_files, sched_ext_state
from ktstr.session.guest_types import GuestTypes, kernel_types
from ktstr.session.live import Live
from ktstr.telemetry.decode import MAX_CPU, Fields
from ktstr.telemetry.slices import MAX_STEP
from ktstr.wire import WireError, unpack_map

VERSION: Final = 1
MAX_TOTAL: Final = 256 << 20
"""Bytes that all snapshots of a run may have together."""

_MAX_MAPS: Final = 4096
_MAX_LINKS: Final = 1024
_TEXT: Final = 4096
_SUBJECT: Final = "a snapshot of the guest's"


def listen(live: Live, emit: Emit) -> None:
    """Take the snapshots of a run whose guest takes them itself; of any other, refuse them."""
    if live.definition.plan.get("clock") != "virtual":
        return
    kernel = live.prepared.kernel

    def take(sample: Sample) -> None:
        live.bridge.store_sample(sample)
        maps = sample.snapshot.maps if isinstance(sample.snapshot, Pending) else 0
        emit(Froze(sample.tag, sample.anchor_ms or 0.0, None, maps, sample.error))

    def describe(meta: Mapping[str, object]) -> None:
        live.stats_meta = dict(meta)

    types = GuestTypes(partial(kernel_types, kernel.vmlinux))
    snapshots = GuestSnapshots(kernel.release, types, take, describe, live.recorder.note)
    live.recorder.on_snapshot = snapshots.receive


class GuestSnapshots:
    """Turns GuestSnapshot payloads into samples, in the order they come.

    :param take: called with each sample, also a failed one; its snapshot is still to be decoded.
    :param describe: called with what the scheduler says of its statistics, once.
    :param note: takes a sentence for the record.
    """

    def __init__(
        self,
        release: str,
        types: GuestTypes,
        take: Callable[[Sample], None],
        describe: Callable[[Mapping[str, object]], None],
        note: Callable[[str], None],
    ) -> None:
        self._release = release
        self._types = types
        self._take = take
        self._describe = describe
        self._note = note
        self._room = MAX_TOTAL
        self._described = False

    def receive(self, payload: bytes) -> None:
        """Take one frame's payload.

        :raise WireError: when it cannot be said which snapshot this is.
        """
        values = Fields(unpack_map(payload), _SUBJECT, error=_refused)
        tag = values.text("tag", 255)
        elapsed_ms = values.u64("elapsed_ms")
        boundary_ms = values.optional("boundary_ms", values.u64)
        step = values.integer("step", 0, MAX_STEP)
        stats = _answer(values.map_or_none("stats"))
        meta = values.map_or_none("meta")
        error = values.text_or_none("error", _TEXT)
        body = values.take("body")
        values.done()
        self._keep_meta(meta)
        pending: Pending | None = None
        if error is None:
            try:
                pending = self._pending(body, len(payload))
            except WireError as refused:
                error = str(refused)
        self._take(
            Sample(
                tag=tag,
                elapsed_ms=elapsed_ms,
                boundary_offset_ms=boundary_ms,
                step_index=step,
                snapshot=pending,
                stats=stats,
                error=error,
            )
        )

    def _keep_meta(self, values: Fields | None) -> None:
        if values is None or self._described:
            return
        self._described = True
        meta = _answer(values)
        if isinstance(meta, MissingStatsReason):
            self._note(f"the scheduler does not describe its statistics: {meta}")
        elif len(repr(meta)) > META_CAP:
            limit = META_CAP >> 10
            self._note(f"the description of the statistics is larger than {limit} KiB")
        else:
            self._describe(meta)

    def _pending(self, body: object, size: int) -> Pending:
        if type(body) is not bytes:
            raise WireError("the snapshot has no contents")
        self._room -= size
        if self._room < 0:
            raise WireError(f"the run's snapshots exceed {MAX_TOTAL >> 20} MiB together")
        values = Fields(unpack_map(body), _SUBJECT, error=_refused)
        values.integer("version", VERSION, VERSION)
        # Told once in a run, so it must be taken up whether this snapshot is ever looked at.
        self._types.learn(values)
        maps = len(values.items("maps", _MAX_MAPS))
        return Pending(partial(decode, values, self._release, self._types), maps)


def decode(values: Fields, release: str, types: GuestTypes) -> Snapshot:
    """Make the snapshot of one frame's body.

    :raise WireError: naming the field that is wrong.
    """
    unavailable: dict[str, str] = {}
    reader = values.u64("pid")
    count = values.integer("nr_cpus", 1, MAX_CPU + 1)
    values.u64("took_ns")
    cpus = _cpus(values, unavailable)
    files = read_files(values.nested("files"))
    told = [ToldMap(each) for each in values.maps("maps", _MAX_MAPS)]
    linked = {each for each in values.items("links", _MAX_LINKS) if type(each) is int}
    values.done()
    sched_ext = sched_ext_state(files, release, unavailable)
    active: tuple[int, ...] | None = None
    try:
        if sched_ext.state in (None, "disabled"):
            unavailable[ACTIVE] = "no scheduler is loaded"
        else:
            active = active_maps(told, linked, types)
    except KtstrError as error:
        unavailable[ACTIVE] = error.message
    with uncollected():
        maps = tuple(each.snapshot(count, types) for each in told)
    return Snapshot(
        release=release,
        maps=maps,
        cpus=tuple(each.queue(reader, unavailable) for each in cpus),
        sched_ext=sched_ext,
        unavailable=unavailable,
        host=HostReading(per_cpu_time=cpu_times(cpus, files.get("stat"), types, unavailable)),
        active_maps=active,
    )


def _cpus(values: Fields, unavailable: dict[str, str]) -> list[ToldCpu]:
    found = values.take("cpus")
    if type(found) is str:
        unavailable["cpus"] = unavailable["host.cpu_time"] = found[:_TEXT]
        return []
    return [ToldCpu(each) for each in values.maps("cpus", MAX_CPU + 1)]


def _answer(values: Fields | None) -> Answer:
    if values is None:
        return NOBODY_ASKED
    names: Any = ("line", "error", "kind")
    said = answer_in({name: values.take(name) for name in names})
    values.done()
    return said if isinstance(said, MissingStatsReason) else parse_answer(said)


def _refused(subject: str, field: str, found: str, expected: str) -> WireError:
    return WireError(f"{subject}: field {field!r} is {found}; expected {expected}")
