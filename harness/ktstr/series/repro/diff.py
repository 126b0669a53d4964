# SPDX-License-Identifier: GPL-2.0-only
"""A failed run held against its repetition with probes: did it fail again, what differed."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from ktstr.series.repro.chain import call_at, call_text, chains, stitch, trigger_of
from ktstr.series.repro.probes import OWN_GLOBALS, PROBED, ProbeData, ProbeEvent
from ktstr.series.repro.report import CallbackCount, Difference, ReproReport
from ktstr.series.snapshot import Snapshot
from ktstr.series.values import Array, Char, Enum, RenderedValue, SnapshotError, Struct

MAX_GLOBALS: Final = 12
"""How many differing variables are listed."""

_MAX_SCALARS, _MAX_ELEMENTS = 4096, 64
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_NOT_COMPARED: Final = frozenset((PROBED, "ktstr_exit"))
"""Variables that are the harness's, or told as the exit."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed check: what it is about, where, and its words."""

    kind: str
    phase: str | None
    message: str

    @property
    def signature(self) -> tuple[str, str | None, str]:
        """What stays the same when the same check fails again with other figures."""
        return self.kind, self.phase, _NUMBER.sub("#", self.message)

    def __str__(self) -> str:
        return f"[{self.kind}] {self.message}"


@dataclass(frozen=True, slots=True)
class RunSide:
    """What the comparison needs of one run.

    :param verdict: pass, skip, fail, inconclusive or lost.
    :param exit_kind: number of the kernel's exit kind; ``None`` without an exit record.
    :param exit_text: kind's name, reason and message, in one line; empty without an exit.
    :param loaded: whether the workload had begun.
    :param snapshots: what was captured while the run lasted, oldest first, and at its end.
    """

    verdict: str
    failures: tuple[Failure, ...] = ()
    exit_kind: int | None = None
    exit_text: str = ""
    loaded: bool = True
    error: str = ""
    snapshots: tuple[Snapshot, ...] = field(default=(), repr=False)


def compare(first: RunSide, again: RunSide, probes: ProbeData | None) -> ReproReport:
    """The report on a repetition.

    :param probes: what the probes recorded; ``None`` when nothing could be read.
    """
    report = ReproReport(
        verdict=again.verdict,
        failed_again=again.verdict == "fail",
        same_way=_same_way(first, again),
        load_bearing=first.loaded,
        headline=_headline(first, again),
        differences=tuple(_differences(first, again)),
    )
    return report if probes is None else report.with_probes(**_probed(probes, again))


def _same_way(first: RunSide, again: RunSide) -> bool:
    return (
        again.verdict == first.verdict
        and _kind_and_words(first) == _kind_and_words(again)
        and {f.signature for f in first.failures} == {f.signature for f in again.failures}
    )


def _kind_and_words(side: RunSide) -> tuple[int | None, str]:
    return side.exit_kind, _NUMBER.sub("#", side.exit_text)


def _headline(first: RunSide, again: RunSide) -> str:
    reason = again.exit_text or next((str(f) for f in again.failures), "")
    if again.verdict == "fail":
        same = _same_way(first, again)
        return f"it failed again, {'the same way' if same else 'another way'}: {reason}"
    if again.verdict in ("pass", "skip"):
        return f"it did not fail again: {again.verdict}"
    return f"the repetition tells nothing: {again.verdict}{': ' * bool(again.error)}{again.error}"


def _differences(first: RunSide, again: RunSide) -> Iterator[Difference]:
    if first.exit_text != again.exit_text:
        yield Difference("exit", first.exit_text or "none", again.exit_text or "none")
    theirs = {f.signature for f in first.failures}, {f.signature for f in again.failures}
    for failure in first.failures:
        if failure.signature not in theirs[1]:
            yield Difference("failed check", str(failure), "did not fail")
    for failure in again.failures:
        if failure.signature not in theirs[0]:
            yield Difference("failed check", "did not fail", str(failure))
    yield from _depths(first, again)
    yield from _events(first, again)
    yield from _globals(first, again)


def _depths(first: RunSide, again: RunSide) -> Iterator[Difference]:
    """The deepest that each CPU's local queue was seen."""
    before, after = _deepest(first.snapshots), _deepest(again.snapshots)
    for cpu in sorted(before.keys() & after.keys()):
        if before[cpu] != after[cpu]:
            yield Difference(f"deepest local queue of CPU {cpu}", str(before[cpu]), str(after[cpu]))


def _deepest(snapshots: Iterable[Snapshot]) -> dict[int, int]:
    deepest: dict[int, int] = {}
    for snapshot in snapshots:
        for cpu in snapshot.cpus:
            if cpu.local_dsq_depth is not None:
                deepest[cpu.cpu] = max(deepest.get(cpu.cpu, 0), cpu.local_dsq_depth)
    return deepest


def _events(first: RunSide, again: RunSide) -> Iterator[Difference]:
    before, after = _last_events(first.snapshots), _last_events(again.snapshots)
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name]:
            yield Difference(f"event {name}", str(before[name]), str(after[name]))


def _last_events(snapshots: Sequence[Snapshot]) -> dict[str, int]:
    found = (s.sched_ext.events for s in reversed(snapshots) if s.sched_ext.events)
    return next(found, {})


def _globals(first: RunSide, again: RunSide) -> Iterator[Difference]:
    """Variables of the scheduler that differ at the end.

    Those that are zero in one run only come first, the others by how far they are apart:
    counters always differ a little, and tell nothing by that.
    """
    if not first.snapshots or not again.snapshots:
        return
    before, after = _values(first.snapshots[-1]), _values(again.snapshots[-1])
    apart = [
        (_distance(before[name], after[name]), name)
        for name in before
        if name in after and before[name] != after[name]
    ]
    apart.sort(key=lambda each: -each[0])
    for _, name in apart[:MAX_GLOBALS]:
        yield Difference(name, str(before[name]), str(after[name]))
    if len(apart) > MAX_GLOBALS:
        left = f"{len(apart) - MAX_GLOBALS} more"
        yield Difference("other variables of the scheduler", left, left)


def _distance(before: object, after: object) -> float:
    """How far two values are apart: 1 when one is zero or they are no numbers."""
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return 1.0
    return abs(before - after) / max(abs(before), abs(after))


def _values(snapshot: Snapshot) -> dict[str, object]:
    """The scheduler's own variables by name, structures taken apart."""
    found: dict[str, object] = {}
    for section in snapshot.maps:
        if section.value is None or not section.is_globals:
            continue
        for name in section.value.names():
            if name.startswith(OWN_GLOBALS) or name in _NOT_COMPARED:
                continue
            try:
                value = section.value.get(name)
            except SnapshotError:
                continue
            found.update(islice(_scalars(name, value), _MAX_SCALARS - len(found)))
    return found


def _scalars(path: str, value: RenderedValue) -> Iterator[tuple[str, object]]:
    if isinstance(value, Struct):
        for name, member in value.members:
            yield from _scalars(f"{path}.{name}" if name else path, member)
    elif isinstance(value, Array):
        if value.elements and all(isinstance(each, Char) for each in value.elements):
            yield path, repr(value.as_str())
        else:
            for index, element in enumerate(value.elements[:_MAX_ELEMENTS]):
                yield from _scalars(f"{path}[{index}]", element)
    elif isinstance(value, Enum) and value.variant is not None:
        yield path, value.variant
    elif isinstance(plain := getattr(value, "value", None), int | float):
        yield path, plain


def _probed(probes: ProbeData, again: RunSide) -> dict[str, Any]:
    """What the report tells of the probes."""
    trigger = trigger_of(probes)
    zero_ns = trigger.ns if trigger else max((e.ns for e in probes.events), default=0)
    chain: list[tuple[str, tuple[str, ...]]] = []
    if trigger is not None:
        calls = stitch(probes.events)
        during = call_at(calls, trigger)
        where = "outside of all callbacks" if during is None else call_text(during, zero_ns).strip()
        title = f"exit kind {trigger.args[0]} on CPU {trigger.cpu}, in {_task(trigger)}"
        chain.append((title, (where,)))
    told = "\n".join((again.exit_text, *(failure.message for failure in again.failures)))
    for task in chains(probes, told):
        lines = tuple(call_text(call, zero_ns, times) for call, times in task.calls)
        chain.append((f"{task.comm}[{task.pid}], {task.why}", lines))
    return {
        "callbacks": tuple(
            CallbackCount(each.title, each.name, each.entries, each.exits) for each in probes.probed
        ),
        "counters": probes.counters.to_json(),
        "exit_probe": probes.exit_probe,
        "missing": probes.missing,
        "chain": tuple(chain),
    }


def _task(event: ProbeEvent) -> str:
    return f"{event.comm}[{event.pid}]"
