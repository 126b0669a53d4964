# SPDX-License-Identifier: GPL-2.0-only
"""What failed, and where on the page that is: phase, moment, cgroup and CPU.

Findings are sentences; where a check has put the place into its sentence, it is found again here.
A place that is not found leaves the pin at its phase, never somewhere else.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from ktstr.report.page.limits import Limits
from ktstr.report.page.schema import Level, Number, Pin
from ktstr.report.printable import lines, one_line
from ktstr.session.ends import titled
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertDetail, DetailKind
from ktstr.verdict.outcome import Fail, Inconclusive, Skip

MESSAGE_CHARS: Final = 2000

_CPU: Final = re.compile(r"\bcpus? ?(\d{1,4})(?![\d-])", re.IGNORECASE)
_AFTER: Final = re.compile(r"\+(\d{1,9})ms\b")
_INTO: Final = re.compile(r"\((\d{1,7}\.\d+)s (?:into test|elapsed)\)|, (\d{1,7}\.\d+)s elapsed\)")


def pins(record: RunRecord, limits: Limits) -> tuple[list[Pin], int]:
    """Failures, then doubts, then skips; and how many were left out."""
    if record.error is not None:
        return [_lost(record)], 0
    outcomes = () if record.result is None else record.result.outcomes
    order: tuple[tuple[Level, type[Fail | Inconclusive | Skip]], ...] = (
        ("fail", Fail),
        ("inconclusive", Inconclusive),
        ("skip", Skip),
    )
    places = Places(record)
    found: list[Pin] = []
    left_out = 0
    for level, kind in order:
        details = [outcome.detail for outcome in outcomes if isinstance(outcome, kind)]
        found += [places.pin(level, detail) for detail in details[: limits.reasons]]
        left_out += max(len(details) - limits.reasons, 0)
    return found, left_out


def _lost(record: RunRecord) -> Pin:
    assert record.error is not None
    return {
        "level": "fail",
        "kind": "GuestLost",
        "message": lines(record.error)[:MESSAGE_CHARS],
        "step": None,
        "at_ms": record.events[-1].elapsed_ms if record.events else None,
        "cgroup": None,
        "cpu": None,
    }


class Places:
    """Where things are in one run: its phases, cgroups and snapshots."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._steps = {bucket.label: bucket.step_index for bucket in record.phases}
        self._windows = windows(record)
        names = {name for bucket in record.phases for name in bucket.per_cgroup}
        names |= {report.cgroup for report in record.reports}
        # The longest first: a name may begin with another.
        self._cgroups = sorted(names, key=len, reverse=True)
        self._tags = {
            sample.tag: sample.elapsed_ms
            for sample in record.samples.iter_samples()
            if sample.elapsed_ms is not None
        }

    def pin(self, level: Level, detail: AssertDetail) -> Pin:
        """The finding with its place."""
        message = detail.message
        step = None if detail.phase is None else self._steps.get(detail.phase)
        rest = message
        if detail.phase is not None:
            rest = rest.removeprefix(f"{detail.phase} ")
        cpu = _CPU.search(rest)
        return {
            "level": level,
            "kind": detail.kind.value,
            "message": one_line(titled(detail, self._record), MESSAGE_CHARS),
            "step": step,
            "at_ms": self._moment(detail.kind, message, step),
            "cgroup": self._cgroup(rest),
            "cpu": None if cpu is None else int(cpu[1]),
        }

    def _cgroup(self, rest: str) -> str | None:
        for name in self._cgroups:
            if name and rest.startswith((f"{name}: ", f"{name}.")):
                return one_line(name, 160)
        return None

    def _moment(self, kind: DetailKind, message: str, step: int | None) -> Number | None:
        for tag, at_ms in self._tags.items():
            if re.search(rf"(?<!\w){re.escape(tag)}(?!\w)", message):
                return at_ms
        if (after := _AFTER.search(message)) is not None:
            if kind is DetailKind.TEMPORAL:
                return int(after[1])
            window = self._windows.get(-1 if step is None else step)
            if window is not None:
                # A worker's own clock begins with its phase, a little before the hold.
                return min(window[0] + int(after[1]), window[1])
        if (into := _INTO.search(message)) is not None:
            return round(float(into[1] or into[2]) * 1000)
        return None


def windows(record: RunRecord) -> dict[int, tuple[int, int]]:
    """Begin and end of each step's hold, ms of workload; an open one ends with the run."""
    last = max((event.elapsed_ms for event in record.events), default=0)
    found: dict[int, tuple[int, int]] = {}
    for event in record.events:
        step = event.step_index
        if step is None:
            continue
        if event.is_step_end and step in found:
            found[step] = (found[step][0], max(event.elapsed_ms, found[step][0]))
        elif event.is_step_start:
            found.setdefault(step, (event.elapsed_ms, max(last, event.elapsed_ms)))
    return found


def starts(record: RunRecord) -> Iterator[tuple[int, str]]:
    """What each step brought: ``(step, words)``."""
    for event in record.events:
        if event.is_step_start and event.step_index is not None:
            words = ", ".join(filter(None, (event.op_kind, event.detail)))
            yield event.step_index, words


def bounded(found: Iterable[str], most: int) -> tuple[list[str], int]:
    """The last ``most`` lines, and how many came before."""
    every = list(found)
    kept = every[-most:]
    return [one_line(line, 1000) for line in kept], len(every) - len(kept)
