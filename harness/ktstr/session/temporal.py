# SPDX-License-Identifier: GPL-2.0-only
"""A scenario's patterns over time, judged by the samples of its run."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from ktstr.model.locate import KeyPath
from ktstr.model.scenario import Scenario
from ktstr.model.source import Mistake
from ktstr.model.temporal import Temporal
from ktstr.series.field import Number, SeriesField
from ktstr.series.phase import Phase
from ktstr.series.sample import SampleSeries
from ktstr.session.figures import project
from ktstr.verdict import AssertDetail, AssertResult, DetailKind
from ktstr.verdict.phase_label import phase_label
from ktstr.verdict.temporal import SeriesClaim, ratio_across_phases
from ktstr.verdict.temporal_finding import gap, reasons

Part = tuple[Phase | None, SeriesField[Number], SeriesField[Number] | None]
"""Samples to be judged together: of one phase, or of the run; and those of the other figure."""


@dataclass(frozen=True, slots=True)
class TemporalCheck:
    """One ``[[checks.temporal]]`` with its phases found.

    :param phase: the only phase it speaks of; ``None`` for all.
    :param phases: the earlier and the later one, where two are compared.
    :param starts_ms: workload time at which each phase begins.
    """

    asked: Temporal
    phase: Phase | None = None
    phases: tuple[Phase, Phase] | None = None
    starts_ms: Mapping[Phase, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Figure and pattern, as every message starts."""
        return f"{self.asked.label} ({self.asked.pattern})"


def temporal_checks(scenario: Scenario) -> tuple[TemporalCheck, ...]:
    """What ``[[checks.temporal]]`` asks for."""
    starts = {phase: start for phase, (start, _) in _windows(scenario).items()}
    return tuple(_check(scenario, asked, starts) for asked in scenario.checks.temporal)


def _check(scenario: Scenario, asked: Temporal, starts: Mapping[Phase, int]) -> TemporalCheck:
    phase, earlier, later = (
        None if word is None else _phase(scenario, word)
        for word in (asked.phase, asked.earlier, asked.later)
    )
    pair = None if earlier is None or later is None else (earlier, later)
    return TemporalCheck(asked, phase, pair, starts)


def _phase(scenario: Scenario, word: str) -> Phase:
    index = scenario.phase_index(word)
    assert index is not None, "the model knows the phases of its patterns"
    return Phase(index)


def _windows(scenario: Scenario) -> dict[Phase, tuple[int, int]]:
    """First and last ms of every phase's workload time; none passes before the first step."""
    windows = {Phase.BASELINE: (0, 0)}
    start = 0
    for index, hold_ms in enumerate(scenario.holds_ms()):
        windows[Phase.step(index)] = (start, start + hold_ms)
        start += hold_ms
    return windows


def unjudgeable(scenario: Scenario, boundaries_ms: Sequence[float]) -> Iterator[Mistake]:
    """Patterns about phases in which there are never snapshots enough.

    A snapshot at the very border of two steps counts for both, as it may fall into either.
    """
    windows = _windows(scenario)
    count = {
        phase: sum(1 for at in boundaries_ms if start <= at <= end)
        for phase, (start, end) in windows.items()
    }
    for index, check in enumerate(temporal_checks(scenario)):
        asked, at = check.asked, ("checks", "temporal", index)
        needed = asked.samples
        for key in ("phase", "earlier", "later"):
            word = getattr(asked, key)
            if word is not None and count[_phase(scenario, word)] < needed:
                yield _too_few((*at, key), needed, count[_phase(scenario, word)])
        if asked.per == "phase" and max(count.values()) < needed:
            yield _too_few((*at, "per"), needed, max(count.values()))


def _too_few(at: KeyPath, needed: int, there: int) -> Mistake:
    allowed = f"a phase with {needed} or more snapshots (here {there}): more run.num_snapshots"
    return Mistake(at, allowed)


def judge_temporal(
    result: AssertResult, samples: SampleSeries, checks: Iterable[TemporalCheck]
) -> None:
    """Judge patterns by periodic samples; captures on demand would be out of step with them.

    A scenario's pattern that finds nothing to judge leaves the verdict inconclusive: it was asked
    for.
    """
    periodic = samples.periodic_only()
    for check in checks:
        own = AssertResult()
        figure = project(periodic, check.asked)
        if check.phases is None:
            for part in _parts(check, figure, periodic):
                with nullcontext() if part[0] is None else phase_label(part[0]):
                    _ask(own, check, part)
        else:
            _ask_across(own, check, figure, check.phases)
        if own.nothing_evaluated():
            own = AssertResult()
            own.record_inconclusive(AssertDetail(DetailKind.TEMPORAL, _silence(check, figure)))
        result.extend(own)


def _silence(check: TemporalCheck, figure: SeriesField[Number]) -> str:
    judged = figure if check.phase is None else figure.phase(check.phase)
    where = "" if check.phase is None else f" of {check.phase}"
    missing = [each for point in judged for each in gap(point)]
    why = f": {reasons(missing)}" if missing else ""
    return f"{check.name}: the {len(judged)} samples{where} leave nothing to judge{why}"


def _parts(
    check: TemporalCheck, figure: SeriesField[Number], samples: SampleSeries
) -> Iterator[Part]:
    other = None if check.asked.over is None else project(samples, check.asked.over)
    if check.asked.per == "phase":
        phases = list(figure.by_phase()[0])
    elif check.phase is not None:
        phases = [check.phase]
    else:
        yield None, figure, other
        return
    for phase in phases:
        yield phase, figure.phase(phase), None if other is None else other.phase(phase)


def _ask(result: AssertResult, check: TemporalCheck, part: Part) -> None:
    asked, (phase, figure, other) = check.asked, part
    claim = SeriesClaim(result, figure)
    start = 0 if phase is None else check.starts_ms.get(phase, 0)
    low = -math.inf if asked.at_least is None else asked.at_least
    high = math.inf if asked.at_most is None else asked.at_most
    match asked.pattern:
        case "nondecreasing":
            claim.nondecreasing()
        case "strictly_increasing":
            claim.strictly_increasing()
        case "rate_within":
            claim.rate_within(low, high)
        case "steady_within":
            claim.steady_within(start + (asked.warmup or 0), asked.tolerance or 0.0)
        case "converges_to":
            deadline = start + (asked.deadline or 0)
            claim.converges_to(asked.target or 0.0, asked.tolerance or 0.0, deadline)
        case "always_true":
            claim.always_true()
        case "ratio_within":
            assert other is not None, "the model has seen to it"
            claim.ratio_within(other, low, high)
        case "each":
            _ask_each(claim, asked)


def _ask_each(claim: SeriesClaim, asked: Temporal) -> None:
    match asked.at_least, asked.at_most:
        case float(low), None:
            claim.each.at_least(low)
        case None, float(high):
            claim.each.at_most(high)
        case float(low), float(high):
            claim.each.between(low, high)


def _ask_across(
    result: AssertResult,
    check: TemporalCheck,
    figure: SeriesField[Number],
    phases: tuple[Phase, Phase],
) -> None:
    notes: list[str] = []
    delta = check.asked.reduce == "delta"
    values = figure.counter_delta_per_phase(notes) if delta else figure.last_per_phase()
    for note in notes:
        result.note(note)
    ceiling = check.asked.at_most
    assert ceiling is not None, "the model has seen to it"
    ratio_across_phases(result, values, figure.label, *phases).at_most(ceiling)
