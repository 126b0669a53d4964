# SPDX-License-Identifier: GPL-2.0-only
"""The manual's page about metrics, written from the registry."""

import inspect
from collections.abc import Iterable, Iterator, Sequence

from ktstr.metrics.kinds import (
    Counter,
    DeltaSum,
    Distribution,
    Gauge,
    MetricKind,
    Peak,
    PerPhase,
    PerPhaseDeltaSum,
    PerRunDistribution,
    Rate,
    Timestamp,
    WakeLatencyTailRatio,
    WorstCrossNodeRatio,
    WorstLowest,
)
from ktstr.metrics.registry import (
    FAMILIES,
    METRICS,
    RENDER_SUPPRESSED_COMPONENTS,
    TYPED_FIELD_NAMES,
    MetricDef,
    MetricFamily,
    Source,
)

KINDS: tuple[type[MetricKind], ...] = (
    *(Counter, DeltaSum, PerPhaseDeltaSum, Gauge, Peak, Timestamp, Rate, Distribution),
    *(WorstLowest, WakeLatencyTailRatio, WorstCrossNodeRatio, PerPhase, PerRunDistribution),
)
"""Every kind, folded ones first."""

_INTRODUCTION = """\
# Metrics

Every metric ktstr knows. This page is the output of `ktstr metrics --markdown`; `ktstr metrics
[FILTER]` lists the same in the terminal, `ktstr metrics --json` for programs.

**Not measured is absent.** A metric without a value has no key in the record and no line in a
report. A `0` was measured. No check takes an absent metric for zero, and a cgroup without data is
never the worst one; a cgroup that measured zero is.

**Pooled, never averaged.** A rate over several phases or cgroups is the sum of one metric divided
by the sum of another, and a percentile over several workers is that of all their samples together.

## Columns

- **Name**: the key in records and in the Python API.
- **Polarity**: which way is worse. `LowerBetter` and `HigherBetter` say it; the change of an
  `Informational` metric is shown and never judged.
- **Kind**: how samples and values fold, see below.
- **Absolute gate** and **relative gate**: a change from one run to another counts only when it
  reaches both. The first is in the metric's unit, the second a fraction of the earlier value; from
  zero, which has no fraction, the first decides alone.
- **Unit**: empty for a bare number. `cpu-s` are seconds of CPU time, `x` is a factor.
"""


def page() -> str:
    """The whole page, Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield "## Kinds\n"
    yield "Values of a derived kind never merge: each is computed again from what it is made of.\n"
    kinds = ((f"`{kind.__name__}`", _sentence(kind)) for kind in KINDS)
    yield from _table(("Kind", "Value"), kinds)
    yield "## Sources\n"
    yield "A metric whose source is not read yet is always absent.\n"
    sources = ((s.label, s.about, "yes" if s.available else "not yet") for s in Source)
    yield from _table(("Source", "What it is", "Read"), sources)
    yield "## Kept out of lists\n"
    yield "Parts of rates stay in every record, but are not listed for people:"
    yield _names(RENDER_SUPPRESSED_COMPONENTS) + ".\n"
    yield "Never among the run's own metrics, because a typed field or only the phases hold them:"
    yield _names(TYPED_FIELD_NAMES) + ".\n"
    for family in FAMILIES:
        yield from _family(family)


def _family(family: MetricFamily) -> Iterator[str]:
    read = "" if family.source.available else " (not read yet)"
    yield f"## {family.title}\n"
    yield f"{family.about} Source: {family.source.label}{read}.\n"
    head = ("Name", "Polarity", "Kind", "Absolute gate", "Relative gate", "Unit")
    yield from _table(head, map(_row, family.metrics))


def _row(metric: MetricDef) -> Sequence[str]:
    kind = _kind(metric.kind)
    return (f"`{metric.name}`", str(metric.polarity), kind, *metric.gates(), metric.display_unit)


def _kind(kind: MetricKind) -> str:
    """The kind with its parameters, a ratio's as a ratio."""
    match kind:
        case Rate(numerator, denominator):
            return f"Rate: `{numerator}` / `{denominator}`"
        case WorstLowest(over, per):
            return f"WorstLowest: {over.value} / {per.value}"
        case Distribution(source, reduction):
            return f"Distribution: {reduction.value} of {source.value}"
    return str(kind)


def _sentence(kind: type[MetricKind]) -> str:
    """The first sentence that the kind says about itself."""
    return (inspect.getdoc(kind) or "").split("\n\n")[0]


def _names(chosen: Iterable[str]) -> str:
    wanted = set(chosen)
    return ", ".join(f"`{m.name}`" for m in METRICS if m.name in wanted)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
