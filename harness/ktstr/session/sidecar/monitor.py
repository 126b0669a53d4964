# SPDX-License-Identifier: GPL-2.0-only
"""The monitor's report in a sidecar: one column per figure, as differences between readings.

A column is ``{"steps": vector, "absent": vector}``: differences of the values that are there,
modulo 2 to the 64th, with the sign in the lowest bit; and the numbers of the readings without one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, cast

import numpy as np

from ktstr.series.host import PerCpuTime
from ktstr.series.monitor.report import MonitorReport
from ktstr.series.monitor.samples import SCHEDSTAT_NAMES, CpuReading, MonitorSample, Schedstat
from ktstr.series.monitor.window import ProgramStats
from ktstr.telemetry.decode import Fields

MAX_SAMPLES: Final = 1 << 16
MAX_COLUMNS: Final = 1 << 20
MAX_TEXT: Final = 4096

_WORD: Final = 1 << 64
_HALF: Final = 1 << 63
_OF_SAMPLE: Final = (
    "elapsed_ms",
    "taken_ms",
    "held",
    "step_index",
    "exit_kind",
    "bypass_depth",
    "psi_irq_full_total_us",
)
_OF_CPU: Final = (
    "nr_running",
    "scx_nr_running",
    "local_dsq_depth",
    "rq_clock",
    "scx_flags",
    "vcpu_cpu_time_ns",
    "irq_util",
    "curr_pid",
)
_OF_TIME: Final = tuple(
    item.name for item in fields(PerCpuTime) if item.name not in ("cpu", "softirqs")
)
_TEXTS: Final = ("state", "ops")


def monitor_record(report: MonitorReport) -> dict[str, Any]:
    """The plain form; ``summary`` is a view for jq and is worked out anew when read."""
    samples = report.samples
    cpus = sorted({cpu.cpu for sample in samples for cpu in sample.cpus})
    shares = [sample.psi_irq_full_avg10 for sample in samples]
    return {
        "summary": asdict(report.summary),
        "torn_reads": report.torn_reads,
        "missed_ticks": report.missed_ticks,
        "notes": list(report.notes),
        "unavailable": dict(report.unavailable),
        "preemption_threshold_ns": report.preemption_threshold_ns,
        "programs": None if report.programs is None else [asdict(p) for p in report.programs],
        "readings": len(samples),
        "cpus": cpus,
        "columns": {
            name: _column(values)
            for name, values in _numbers(samples, cpus)
            if any(value is not None for value in values)
        },
        "texts": {
            name: changes
            for name, values in _texts(samples, cpus)
            if (changes := _changes(values))
        },
        "shares": {
            "values": np.array([share for share in shares if share is not None], np.float64),
            "absent": _indices(shares),
        },
    }  # fmt: skip


Column = list[int | None]


def _numbers(samples: Sequence[MonitorSample], cpus: Sequence[int]) -> Iterable[tuple[str, Column]]:
    for name in _OF_SAMPLE:
        yield name, [_int(getattr(sample, name)) for sample in samples]
    for event in dict.fromkeys(name for sample in samples for name in sample.events or ()):
        yield f"events.{event}", [(sample.events or {}).get(event) for sample in samples]
    for number in cpus:
        found = [next((c for c in s.cpus if c.cpu == number), None) for s in samples]
        if None in found:
            yield f"cpu{number}", [None if cpu is None else 1 for cpu in found]
        for name, values in _of_cpu(found):
            yield f"cpu{number}.{name}", values


def _of_cpu(found: Sequence[CpuReading | None]) -> Iterable[tuple[str, Column]]:
    readings = [cpu or CpuReading(0) for cpu in found]
    for name in _OF_CPU:
        yield name, [getattr(cpu, name) for cpu in readings]
    for name in SCHEDSTAT_NAMES:
        yield f"schedstat.{name}", [getattr(cpu.schedstat, name, None) for cpu in readings]
    for name in _OF_TIME:
        yield f"time.{name}", [getattr(cpu.time, name, None) for cpu in readings]
    times = [cpu.time for cpu in readings]
    for name in dict.fromkeys(name for time in times if time for name in time.softirqs):
        yield (
            f"time.softirqs.{name}",
            [None if time is None else time.softirqs.get(name) for time in times],
        )


def _int(value: object) -> int | None:
    return None if value is None else int(cast(int, value))


def _column(values: Column) -> dict[str, Any]:
    steps, last = [], 0
    for value in values:
        if value is None:
            continue
        step = (value - last) % _WORD
        last = value
        steps.append(step << 1 if step < _HALF else ((_WORD - step) << 1) - 1)
    return {"steps": np.array(steps, np.uint64), "absent": _indices(values)}


def _indices(values: Sequence[object]) -> Any:
    return np.array([i for i, value in enumerate(values) if value is None], np.uint64)


def _texts(
    samples: Sequence[MonitorSample], cpus: Sequence[int]
) -> Iterable[tuple[str, list[str | None]]]:
    for name in _TEXTS:
        yield name, [getattr(sample, name) for sample in samples]
    for number in cpus:
        yield (
            f"cpu{number}.curr_comm",
            [next((c.curr_comm for c in s.cpus if c.cpu == number), None) for s in samples],
        )


def _changes(values: Sequence[str | None]) -> list[list[object]]:
    """Where the text becomes another, and what it becomes; it begins as ``None``."""
    changes: list[list[object]] = []
    last: str | None = None
    for index, value in enumerate(values):
        if value != last:
            changes.append([index, value])
            last = value
    return changes


def read_monitor(values: Fields) -> MonitorReport:
    """Read :func:`monitor_record`'s form.

    :raise RecordError: naming the field that is wrong.
    """
    values.take("summary")
    count = values.integer("readings", 0, MAX_SAMPLES)
    cpus = sorted(values.cpu_set("cpus"))
    columns = {
        name: _read_column(column, count)
        for name, column in values.named_maps("columns", MAX_COLUMNS).items()
    }
    texts = _read_texts(values, count)
    shares = _read_shares(values.nested("shares"), count)
    softirqs = {number: _softirqs(columns, number) for number in cpus}
    samples = [_sample(_Row(columns, texts, i), softirqs, shares[i]) for i in range(count)]
    programs = values.optional("programs", lambda name: values.maps(name, MAX_COLUMNS))
    report = MonitorReport.of(
        samples,
        preemption_threshold_ns=values.u64("preemption_threshold_ns"),
        programs=None if programs is None else tuple(_program(each) for each in programs),
        torn_reads=values.u64("torn_reads"),
        missed_ticks=values.u64("missed_ticks"),
        notes=values.texts("notes", MAX_COLUMNS, MAX_TEXT),
        unavailable=_reasons(values),
    )
    values.done()
    return report


@dataclass(frozen=True, slots=True)
class _Row:
    """One reading's values in the columns."""

    columns: Mapping[str, Column]
    texts: Mapping[str, Sequence[str | None]]
    index: int

    def number(self, name: str) -> int | None:
        values = self.columns.get(name)
        return None if values is None else values[self.index]

    def text(self, name: str) -> str | None:
        values = self.texts.get(name)
        return None if values is None else values[self.index]


def _softirqs(columns: Iterable[str], number: int) -> dict[str, str]:
    prefix = f"cpu{number}.time.softirqs."
    return {name.removeprefix(prefix): name for name in columns if name.startswith(prefix)}


def _read_column(column: Fields, count: int) -> Column:
    steps = column.samples("steps", count).tolist()
    found: list[int] = []
    last = 0
    for step in steps:
        last = (last + (step >> 1 if not step & 1 else -((step + 1) >> 1))) % _WORD
        found.append(last)
    return _spread(column, found, count, "steps")


def _spread(column: Fields, found: Sequence[Any], count: int, name: str) -> list[Any]:
    """The values at their readings, ``None`` at those that have none."""
    absent = set(column.samples("absent", count).tolist())
    column.done()
    if len(found) + len(absent) != count or any(index >= count for index in absent):
        column.refuse(name, len(found), f"as many values as make {count} with those absent")
    left = iter(found)
    return [None if index in absent else next(left) for index in range(count)]


def _read_shares(column: Fields, count: int) -> list[Any]:
    return _spread(column, column.percents("values", count).tolist(), count, "values")


def _read_texts(values: Fields, count: int) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    table = values.nested("texts")
    for name in cast(dict[str, object], values.take("texts")):
        spread: list[str | None] = [None] * count
        for change in table.items(name, count):
            match change:
                case [int(index), None | str() as text] if 0 <= index < count:
                    spread[index:] = [text] * (count - index)
                case _:
                    table.refuse(name, change, "the number of a reading and a text")
        found[name] = spread
    return found


def _reasons(values: Fields) -> dict[str, str]:
    found = values.take("unavailable")
    if type(found) is not dict or not all(type(text) is str for text in found.values()):
        values.refuse("unavailable", found, "a map of texts")
    return found


def _program(values: Fields) -> ProgramStats:
    program = ProgramStats(
        values.u64("id"), values.text("name", MAX_TEXT), values.u64("cnt"), values.u64("nsecs")
    )
    values.done()
    return program


def _sample(
    row: _Row, softirqs: Mapping[int, Mapping[str, str]], share: float | None
) -> MonitorSample:
    counted = {
        name.removeprefix("events."): _signed(count)
        for name in row.columns
        if name.startswith("events.") and (count := row.number(name)) is not None
    }
    return MonitorSample(
        elapsed_ms=row.number("elapsed_ms") or 0,
        taken_ms=row.number("taken_ms"),
        held=bool(row.number("held")),
        step_index=row.number("step_index"),
        exit_kind=row.number("exit_kind"),
        bypass_depth=row.number("bypass_depth"),
        psi_irq_full_total_us=row.number("psi_irq_full_total_us"),
        psi_irq_full_avg10=share,
        events=counted or None,
        state=row.text("state"),
        ops=row.text("ops"),
        cpus=tuple(
            _cpu(number, row, names)
            for number, names in softirqs.items()
            # Written only for a CPU that some readings lack.
            if f"cpu{number}" not in row.columns or row.number(f"cpu{number}") is not None
        ),
    )


def _signed(value: int) -> int:
    return value if value < _HALF else value - _WORD


def _cpu(number: int, row: _Row, softirqs: Mapping[str, str]) -> CpuReading:
    prefix = f"cpu{number}."
    numbers: dict[str, Any] = {name: row.number(prefix + name) for name in _OF_CPU}
    counters: dict[str, Any] = {
        name: row.number(f"{prefix}schedstat.{name}") for name in SCHEDSTAT_NAMES
    }
    times: dict[str, Any] = {}
    for name in _OF_TIME:
        if (value := row.number(f"{prefix}time.{name}")) is not None:
            times[name] = value
    interrupts: dict[str, int] = {}
    for name, column in softirqs.items():
        if (count := row.number(column)) is not None:
            interrupts[name] = count
    return CpuReading(
        cpu=number,
        curr_comm=row.text(f"{prefix}curr_comm"),
        schedstat=None if counters["run_delay"] is None else Schedstat(**counters),
        time=PerCpuTime(number, softirqs=interrupts, **times) if times or interrupts else None,
        **numbers,
    )
