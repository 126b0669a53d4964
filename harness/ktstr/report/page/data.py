# SPDX-License-Identifier: GPL-2.0-only
"""What a page of one run draws, out of its record."""

from typing import Final

from ktstr.metrics import METRICS
from ktstr.report.page.cgroups import cgroup_data, rounded
from ktstr.report.page.counters import counter_data
from ktstr.report.page.cpus import cpu_series
from ktstr.report.page.facts import again_command, fact_lines
from ktstr.report.page.limits import Limits
from ktstr.report.page.reasons import bounded, pins, starts, windows
from ktstr.report.page.schema import (
    SCHEMA,
    FreezeData,
    LogData,
    MetricData,
    NoteData,
    PageData,
    PhaseData,
)
from ktstr.report.printable import lines, one_line
from ktstr.report.repro import in_brief
from ktstr.session.record import RunRecord, in_order

TEXT_CHARS: Final = 1000
MAX_METRICS: Final = 400
_UNITS: Final = {metric.name: metric.display_unit for metric in METRICS}
DEFAULT: Final = Limits()


def page_data(record: RunRecord, *, dump: str | None = None, limits: Limits = DEFAULT) -> PageData:
    """The JSON that a page of ``record`` draws: bounded, and harmless as text.

    :param dump: the failure dump in words, where there is one.
    """
    left_out: list[str] = []
    reasons, more_reasons = pins(record, limits)
    _say(left_out, more_reasons, "finding")
    cgroups, more_carriers = cgroup_data(record, limits)
    _say(left_out, more_carriers, "cgroup's phase", "cgroups' phases")
    captures, counters, more_counters = counter_data(record, limits)
    _say(left_out, more_counters, "counter")
    notes, more_notes = _notes(record, limits)
    _say(left_out, more_notes, "note")
    cpus = cpu_series(record, limits)
    if cpus is not None:
        _say(left_out, cpus["cpus_left_out"], "CPU")
    phases = _phases(record)
    _say(left_out, len(phases) - limits.phases, "phase")
    freezes = _freezes(record)
    _say(left_out, len(freezes) - limits.captures, "snapshot")
    logs = _logs(record, dump, limits)
    times = [
        *(event.elapsed_ms for event in record.events),
        *([] if cpus is None else cpus["at_ms"][-1:]),
        *captures["at_ms"][-1:],
        *(phase["end_ms"] or 0 for phase in phases),
    ]
    passes = 0 if record.result is None else len(record.result.passes)
    return {
        "schema": SCHEMA,
        "run_id": one_line(record.run_id, TEXT_CHARS),
        "name": one_line(record.name, TEXT_CHARS),
        "description": one_line(str(record.facts.get("description") or ""), TEXT_CHARS),
        "verdict": record.verdict,
        "exit_code": int(record.exit_code),
        "error": None if record.error is None else lines(record.error)[: 10 * TEXT_CHARS],
        "running": False,
        "reasons": reasons,
        "passes": passes,
        "notes": notes,
        "facts": fact_lines(record),
        "command": again_command(record),
        "end_ms": max(times, default=0),
        "phases": phases[: limits.phases],
        "freezes": freezes[: limits.captures],
        "cpus": cpus,
        "cgroups": cgroups,
        "captures": captures,
        "counters": counters,
        "metrics": _metrics(record),
        "logs": logs,
        "left_out": left_out,
    }


def _say(said: list[str], count: int, what: str, many: str | None = None) -> None:
    if count > 0:
        said.append(f"{count} more {what if count == 1 else many or what + 's'} in the record")


def _phases(record: RunRecord) -> list[PhaseData]:
    held = windows(record)
    words = dict(starts(record))
    buckets = {bucket.step_index: bucket for bucket in record.phases}
    steps = sorted(held.keys() | buckets.keys())
    found: list[PhaseData] = []
    for step in steps:
        bucket = buckets.get(step)
        window = held.get(step)
        metrics = {} if bucket is None else bucket.metrics
        title = one_line(record.phase_title(step), 200)
        found.append(
            {
                "step": step,
                "label": title.split(" ")[0],
                "title": title,
                "start_ms": None if window is None else window[0],
                "end_ms": None if window is None else window[1],
                "detail": one_line(words.get(step, ""), 200),
                "captures": 0 if bucket is None else bucket.sample_count,
                "metrics": {
                    one_line(name, 120): rounded(value)
                    for name, value in list(in_order(metrics).items())[:MAX_METRICS]
                },
            }
        )
    return found


def _freezes(record: RunRecord) -> list[FreezeData]:
    return [
        {
            "tag": one_line(sample.tag, 120),
            "at_ms": sample.elapsed_ms if sample.elapsed_ms is not None else sample.anchor_ms,
            "paused_ms": None if sample.paused_ns is None else rounded(sample.paused_ns / 1e6),
            "step": sample.step_index,
            "error": None if sample.error is None else one_line(sample.error),
            "trigger": None if sample.trigger is None else one_line(sample.trigger.in_words()),
        }
        for sample in record.samples.iter_samples()
    ]


def _notes(record: RunRecord, limits: Limits) -> tuple[list[NoteData], int]:
    steps = {bucket.label: bucket.step_index for bucket in record.phases}
    found: list[NoteData] = []
    if record.result is not None:
        found += [
            {"message": one_line(note.message), "step": steps.get(note.phase or "")}
            for note in record.result.info_notes
        ]
    if repeated := in_brief(record.facts):
        found.append({"message": one_line(repeated), "step": None})
    said = [record.facts.get("notes"), record.host.get("notes")]
    if record.monitor is not None:
        said.append(list(record.monitor.notes))
    for texts in said:
        if isinstance(texts, list):
            found += [{"message": one_line(str(text)), "step": None} for text in texts]
    # Several parts of a run may have said the same.
    each = [note for place, note in enumerate(found) if note not in found[:place]]
    return each[: limits.reasons], max(len(each) - limits.reasons, 0)


def _metrics(record: RunRecord) -> list[MetricData]:
    found: list[MetricData] = [
        {"name": one_line(name, 120), "unit": _UNITS.get(name, ""), "value": rounded(value)}
        for name, value in record.run_metrics().items()
    ]
    return found[:MAX_METRICS]


def _logs(record: RunRecord, dump: str | None, limits: Limits) -> list[LogData]:
    tails = {"scheduler log (end)": record.scheduler_tail, "kernel log (end)": record.console_tail}
    found: list[LogData] = []
    if dump:
        kept = dump[: limits.dump_chars]
        every = lines(kept, 1000).split("\n")
        found.append(
            {
                "title": "failure dump",
                "lines": every,
                "left_out": dump.count("\n") - kept.count("\n"),
            }
        )
    for title, tail in tails.items():
        if tail:
            kept_lines, before = bounded(tail, limits.log_lines)
            found.append({"title": title, "lines": kept_lines, "left_out": before})
    return found
