# SPDX-License-Identifier: GPL-2.0-only
"""The record of a run: one JSON file, written whole or not at all."""

import json
import math
import numbers
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ktstr.errors import ExitCode, OutputUnwritable
from ktstr.series.sample import MissingStatsReason, Sample, SampleSeries
from ktstr.telemetry import TaggedReport
from ktstr.verdict import AssertResult

SCHEMA = 1
SUFFIX = ".ktstr.json"


@dataclass(slots=True)
class RunRecord:
    """Everything known about one finished run.

    ``error`` is set when the guest was lost, ``result`` when there is a verdict;
    ``output_error`` when neither record nor evidence could be written. ``host`` holds what
    differs between two otherwise equal runs (times, paths).
    """

    run_id: str
    name: str
    exit_code: ExitCode
    result: AssertResult | None = None
    error: str | None = None
    output_error: str | None = None
    samples: SampleSeries = field(default_factory=SampleSeries.empty)
    reports: list[TaggedReport] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)
    sidecar: Path | None = None
    evidence: Path | None = None
    console_tail: tuple[str, ...] = ()
    scheduler_tail: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """One word: pass, skip, fail, inconclusive or lost."""
        if self.result is None:
            return "lost"
        return self.result.outcome().name

    def to_plain(self) -> dict[str, Any]:
        """The sidecar's content."""
        plain: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.name,
            "verdict": self.verdict,
            "exit_code": int(self.exit_code),
            "error": self.error,
            **self.facts,
            "samples": [_sample(sample) for sample in self.samples.iter_samples()],
            "workers": [_worker(report) for report in self.reports],
            "result": None if self.result is None else self.result.to_plain(),
            "host": {"run_id": self.run_id, **self.host},
        }
        safe: dict[str, Any] = json_safe(plain)
        return safe


def _sample(sample: Sample) -> dict[str, Any]:
    stats: Any
    if isinstance(sample.stats, MissingStatsReason):
        stats = {"missing": str(sample.stats)}
    else:
        stats = dict(sample.stats)
    plain: dict[str, Any] = {
        "tag": sample.tag,
        "elapsed_ms": sample.elapsed_ms,
        "boundary_offset_ms": sample.boundary_offset_ms,
        "step_index": sample.step_index,
        "paused_ns": sample.paused_ns,
        "error": sample.error,
        "stats": stats,
    }
    snapshot: Any = sample.snapshot
    if snapshot is not None:
        whole = snapshot.to_json()
        plain["cpus"] = whole.get("cpus")
        plain["sched_ext"] = whole.get("sched_ext")
        plain["globals"] = {
            m.name: m.value.to_json() for m in snapshot.maps if m.is_globals and m.value is not None
        }
    return plain


def _worker(tagged: TaggedReport) -> dict[str, Any]:
    wire = tagged.to_wire()
    report: Any = wire.pop("report")
    for name in ("wake_latencies_ns", "iteration_costs_ns", "timer_latencies_ns"):
        report[name] = {"samples": len(report[name]) // 8}
    report["numa_pages"] = {str(node): pages for node, pages in report["numa_pages"].items()}
    return {**wire, "report": report}


def write_sidecar(folder: Path, record: RunRecord) -> Path:
    """Write the record atomically as ``<name>-<run id>.ktstr.json``.

    :raise OutputUnwritable: when the folder refuses; nothing half-written stays.
    """
    target = folder / f"{record.name}-{record.run_id}{SUFFIX}"
    text = json.dumps(record.to_plain(), indent=1, allow_nan=False)
    scratch: str | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(dir=folder, prefix=f".{target.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(scratch, 0o644)
        os.replace(scratch, target)
    except OSError as error:
        if scratch is not None:
            with suppress(OSError):
                os.unlink(scratch)
        raise OutputUnwritable(
            f"the record cannot be written to {folder}: {error.strerror}",
            hint="free space there, or choose another folder with --out",
        ) from error
    return target


def check_writable(folder: Path) -> None:
    """See before the run, without making anything, whether its results can be kept.

    :raise OutputUnwritable: when the folder cannot be made or written.
    """
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not nearest.is_dir():
            reason = f"{nearest} is not a folder"
        elif not os.access(nearest, os.W_OK | os.X_OK):
            reason = f"{nearest} cannot be written"
        else:
            return
    except OSError as error:
        reason = str(error.strerror)
    raise OutputUnwritable(
        f"the output folder {folder} cannot be used: {reason}",
        hint="choose another folder with --out",
    )


MAX_DEPTH = 64


def json_safe(value: object, depth: int = MAX_DEPTH) -> Any:
    """``value`` as JSON can carry it, whatever a guest or a scheduler put into it.

    A float that is not finite becomes its name as text: it was measured, so it is not null.
    """
    match value:
        case None | bool() | str():
            return value
        case numbers.Integral():
            return int(value)
        case numbers.Real():
            return float(value) if math.isfinite(value) else str(float(value))
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
    if isinstance(value, Mapping | list | tuple | set | frozenset) and depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {str(key): json_safe(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item, depth - 1) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((json_safe(item, depth - 1) for item in value), key=_order)
    return str(value)


def _order(value: object) -> tuple[bool, Any]:
    # Numbers by size, then the rest as text: a set may hold both.
    return (False, value) if isinstance(value, int | float) else (True, str(value))
