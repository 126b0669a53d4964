# SPDX-License-Identifier: GPL-2.0-only
"""The sidecar of a run, ``NAME-RUN_ID.ktstr.json``: written whole or not at all.

What people ask for stands first: verdict, metrics by name, phases by label. Those two are views
for jq; ``workers`` and ``result`` hold what they were computed from, and the sample vectors fill
the end of the file.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from ktstr.errors import OutputUnwritable
from ktstr.session.record import RunRecord, in_order
from ktstr.session.sidecar.json_safe import MAX_DEPTH, json_safe
from ktstr.session.sidecar.monitor import monitor_record
from ktstr.session.sidecar.samples import sample_record
from ktstr.session.sidecar.vectors import VectorTable
from ktstr.telemetry import PhaseCgroupStats
from ktstr.verdict import AssertDetail

SCHEMA: Final = 3
BULK: Final = frozenset({"samples", "workers", "vectors", "monitor"})
"""Keys whose indentation would be most of the file."""

SUFFIX: Final = ".ktstr.json"


def is_repetition(path: Path) -> bool:
    """Whether a sidecar's name is that of a repetition with probes."""
    return path.name.endswith(f".repro{SUFFIX}")


def sidecar_text(record: RunRecord) -> str:
    """The content of the sidecar: JSON that any reader takes."""
    return "{\n" + ",\n".join(_lines(sidecar_values(record))) + "\n}\n"


def sidecar_values(record: RunRecord) -> dict[str, Any]:
    """What the sidecar says, by top-level key."""
    vectors = VectorTable()
    safe = partial(json_safe, depth=MAX_DEPTH, place=vectors.place)
    return {
        "schema": SCHEMA,
        "name": record.name,
        "verdict": record.verdict,
        "exit_code": int(record.exit_code),
        "error": record.error,
        "metrics": safe(record.run_metrics()),
        "phases": safe(_phases(record)),
        "reason": _reason(record),
        "counts": {
            "captures": len(record.samples.periodic_only()),
            "readings": None if record.monitor is None else record.monitor.summary.total_samples,
        },
        **safe(record.facts),
        "host": safe(_host(record)),
        "log_tails": {
            "kernel": list(record.console_tail),
            "scheduler": list(record.scheduler_tail),
        },
        "expected_nodes": [
            {"step": step, "cgroup": cgroup, "nodes": sorted(nodes)}
            for (step, cgroup), nodes in record.expected_nodes.items()
        ],
        "stimulus": safe([event.to_record() for event in record.events]),
        "monitor": safe(None if record.monitor is None else monitor_record(record.monitor)),
        "samples": safe([sample_record(sample) for sample in record.samples.iter_samples()]),
        # Before the result, whose vectors are pooled from those of the workers.
        "workers": safe([report.to_record() for report in record.reports]),
        "result": safe(None if record.result is None else record.result.to_record()),
        "vectors": vectors.entries(),
    }


def _lines(plain: Mapping[str, Any]) -> Iterator[str]:
    """One top-level key each: indented where people read, a line per item where it is bulk."""
    for key, value in plain.items():
        if key in BULK and isinstance(value, list) and value:
            items = ",\n  ".join(_compact(item) for item in value)
            yield f' "{key}": [\n  {items}\n ]'
        elif key in BULK:
            yield f' "{key}": {_compact(value)}'
        else:
            yield f' "{key}": {json.dumps(value, indent=1, allow_nan=False)}'


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _host(record: RunRecord) -> dict[str, Any]:
    evidence = None if record.evidence is None else str(record.evidence)
    return {"run_id": record.run_id, "evidence": evidence, **record.host}


def _phases(record: RunRecord) -> dict[str, Any]:
    return {
        bucket.label: {
            "step": record.step_name(bucket.step_index),
            "samples": bucket.sample_count,
            "metrics": in_order(bucket.metrics),
            "cgroups": {name: _cgroup(found) for name, found in bucket.per_cgroup.items()},
        }
        for bucket in record.phases
    }


def _reason(record: RunRecord) -> str | None:
    """The first reason of a verdict that is no pass, in one line."""
    if record.error is not None or record.result is None:
        return None if record.error is None else record.error.partition("\n")[0]
    detail = getattr(record.result.outcome(), "detail", None)
    return detail.message if isinstance(detail, AssertDetail) else None


def _cgroup(carrier: PhaseCgroupStats) -> dict[str, Any]:
    return {
        "workers": carrier.num_workers,
        "cpus": sorted(carrier.cpus_used),
        "iterations": carrier.total_iterations,
        "migrations": carrier.total_migrations,
        "max_gap_ms": carrier.max_gap_ms,
        "metrics": in_order(carrier.metrics),
    }


def write_sidecar(folder: Path, record: RunRecord) -> Path:
    """Write the record atomically as ``<name>-<run id>.ktstr.json``.

    :raise OutputUnwritable: when the folder refuses; nothing half-written stays.
    """
    target = folder / f"{record.name}-{record.run_id}{SUFFIX}"
    content = sidecar_text(record).encode("ascii")
    scratch: str | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(dir=folder, prefix=f".{target.name}.")
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
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
