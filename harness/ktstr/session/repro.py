# SPDX-License-Identifier: GPL-2.0-only
"""The repetition of a failed run with probes: when it is due, and what it tells."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread

from ktstr.errors import ExitCode, KtstrError, OutputUnwritable
from ktstr.series.repro.diff import Failure, RunSide, compare
from ktstr.series.repro.probes import ProbeData, read_probes
from ktstr.series.repro.report import TAIL_LINES, ReproReport
from ktstr.series.snapshot import Snapshot
from ktstr.series.values import SnapshotError
from ktstr.session.definition import Definition
from ktstr.session.events import Emit, Note
from ktstr.session.evidence import write_evidence
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.write import write_sidecar
from ktstr.verdict import AssertResult

SUFFIX = ".repro"
"""How the run id of a repetition ends."""

REPORT = "repro.txt"
AFTER_LIMIT_S = 120.0
"""What a repetition may take beyond its stay's limit: starting QEMU, reading memory, writing."""

_TAILS = {
    "scheduler log": "scheduler.log",
    "sched_ext dump": "sched_ext-dump.txt",
    "kernel log": "kernel.log",
}
_TAIL_CHARS = 1000


def with_probes(definition: Definition) -> Definition:
    """The same scenario for a guest that puts probes on its scheduler."""
    return replace(definition, plan={**definition.plan, "probes": True})


def has_probes(definition: Definition) -> bool:
    """Whether this is a repetition."""
    return bool(definition.plan.get("probes"))


def wanted(definition: Definition, options: RunOptions) -> bool:
    """Whether a failure is to be repeated at all: the command line goes before the file."""
    asked = options.auto_repro
    return definition.scenario.run.auto_repro if asked is None else asked


def why_not(record: RunRecord, definition: Definition, options: RunOptions) -> str | None:
    """Why a run is not repeated; empty when that goes without saying, ``None``: it is to be."""
    if record.exit_code != ExitCode.FAIL or record.output_error or has_probes(definition):
        return ""
    if not wanted(definition, options):
        return ""
    if definition.scenario.scheduler.kind == "none":
        return "no repetition with probes: it failed under the kernel's own scheduler"
    if options.keep_vm:
        return "no repetition with probes: the VM was kept"
    return None


async def repeat(
    primary: RunRecord,
    stay: Callable[[], Awaitable[RunRecord]],
    limit_s: float,
    options: RunOptions,
    emit: Emit,
) -> None:
    """Run again with probes and add the report to the first run's record, on disk too.

    Whatever goes wrong with the repetition becomes a sentence of the report: the first run's
    verdict stands.

    :param stay: runs the scenario again and returns the repetition's record.
    """
    emit(Note(f"it failed ({_first_reason(primary)}); it is run again with probes"))
    record: RunRecord | None = None
    trouble = ""
    try:
        with anyio.fail_after(limit_s + AFTER_LIMIT_S):
            record = await stay()
    except TimeoutError:
        trouble = f"it was given up after {limit_s + AFTER_LIMIT_S:.0f} s"
    except (KtstrError, OSError) as error:
        trouble = str(error).partition("\n")[0]
    # Other runs of this process have waits with deadlines meanwhile.
    await anyio.to_thread.run_sync(_add_report, primary, record, trouble, options)


def _add_report(
    primary: RunRecord, record: RunRecord | None, trouble: str, options: RunOptions
) -> None:
    if record is None:
        headline = f"the repetition could not be done: {trouble}"
        report = ReproReport("none", headline, load_bearing=_side(primary).loaded)
    else:
        report = report_of(primary, record)
    primary.facts["repro"] = report.to_json()
    try:
        if primary.evidence is not None:
            write_evidence(primary.evidence, {REPORT: report.text()}, {})
        if primary.sidecar is not None:
            primary.sidecar = write_sidecar(options.out_dir, primary)
    except OutputUnwritable as error:
        primary.output_error = str(error)
        primary.exit_code = error.exit_code


def report_of(primary: RunRecord, again: RunRecord) -> ReproReport:
    """The repetition held against the first run."""
    probes: ProbeData | None = None
    notes: list[str] = []
    if again.last is None:
        notes.append("nothing of the probes: the memory of the repetition could not be read")
    else:
        try:
            probes = read_probes(again.last)
        except SnapshotError as error:
            notes.append(f"nothing of the probes: {error.message}")
    return replace(
        compare(_side(primary), _side(again), probes),
        run_id=again.run_id,
        record=str(again.sidecar or ""),
        evidence=str(again.evidence or ""),
        notes=tuple(notes),
        tails=_tails(again.evidence),
    )


def _tails(folder: Path | None) -> dict[str, tuple[str, ...]]:
    tails: dict[str, tuple[str, ...]] = {}
    for name, file in _TAILS.items():
        path = None if folder is None else folder / file
        if path is not None and path.is_file():
            lines = path.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
            tails[name] = tuple(line[:_TAIL_CHARS] for line in lines)
    return tails


def _side(record: RunRecord) -> RunSide:
    result = record.result or AssertResult()
    ended = record.facts.get("scheduler", {}).get("exit") or {}
    # Of a program that was killed nothing but its failed check tells.
    kind = ended.get("kind")
    named = "" if kind is None else f"{ended.get('kind_name') or 'exit'} ({kind})"
    parts = (named, ended.get("reason"), ended.get("message"))
    last = () if record.last is None else (record.last,)
    taken = [sample.snapshot for sample in record.samples.iter_samples()]
    return RunSide(
        verdict=record.verdict,
        failures=tuple(Failure(d.kind.value, d.phase, d.message) for d in result.failure_details()),
        exit_kind=kind,
        exit_text=": ".join(str(part).partition("\n")[0] for part in parts if part),
        loaded=bool(record.events),
        error=(record.error or "").partition("\n")[0],
        snapshots=(*(each for each in taken if isinstance(each, Snapshot)), *last),
    )


def _first_reason(record: RunRecord) -> str:
    details = (record.result or AssertResult()).failure_details()
    return details[0].message.partition("\n")[0] if details else record.verdict
