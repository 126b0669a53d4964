# SPDX-License-Identifier: GPL-2.0-only
"""Has a scheduler loaded by kernel after kernel, a VM each, and tells what the verifiers said."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ktstr.errors import ExitCode, GuestLost, KernelUnfit, KtstrError, OutputUnwritable
from ktstr.kernels import KernelCache, open_kernel
from ktstr.model.scenario import scheduler_table
from ktstr.scenario.toml import toml_text
from ktstr.series.programs import VerifiedProgram, programs_of
from ktstr.session.events import Emit
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.run import run_scenario, scratch_folder

DEFAULT_TOPOLOGY: Final = "1n1l2c1t"
ATTACH: Final = "10m"
"""A million instructions are walked twice, the second time to write them down."""

LOG_FILE: Final = "scheduler.log"
MAX_LOG: Final = 8 * 1024 * 1024

SEVERITY: Final = (
    ExitCode.PASS,
    ExitCode.INCONCLUSIVE,
    ExitCode.FAIL,
    ExitCode.GUEST_LOST,
    ExitCode.CANNOT_RUN,
)
"""Exit codes from the best to the worst, as of several runs."""


@dataclass(frozen=True, slots=True)
class Loading:
    """What became of the scheduler on one kernel.

    :param kernel: the kernel as it was asked for.
    :param release: its release; empty when it was not found out.
    :param verdict: pass, fail, skip, inconclusive, guest lost or cannot run.
    :param reason: why it is no pass.
    :param programs: its BPF programs in the order of loading.
    :param log: what the scheduler, or its loader, printed; of a failure alone.
    """

    kernel: str
    release: str
    verdict: str
    exit_code: ExitCode
    reason: str = ""
    programs: tuple[VerifiedProgram, ...] = ()
    log: str = field(default="", repr=False)
    wall_s: float = 0.0
    record: Path | None = None
    evidence: Path | None = None

    def within(self, limit: int | None) -> "Loading":
        """The same, failed when a program needed more than ``limit`` instructions."""
        if limit is None or self.verdict != "pass":
            return self
        over = [p for p in self.programs if p.verified is not None and p.verified > limit]
        if over:
            first = over[0]
            more = f" (and {len(over) - 1} more)" if len(over) > 1 else ""
            reason = (
                f"{first.name}: {first.verified} instructions verified, more than {limit}{more}"
            )
            return replace(self, verdict="fail", exit_code=ExitCode.FAIL, reason=reason)
        if unknown := [p.name for p in self.programs if p.verified is None]:
            reason = f"{unknown[0]}: this kernel does not tell how many instructions it verified"
            code = ExitCode.INCONCLUSIVE
            return replace(self, verdict="inconclusive", exit_code=code, reason=reason)
        return self


async def load_on(
    scheduler: str, kernel: str, options: RunOptions, emit: Emit, *, limit: int | None = None
) -> Loading:
    """Load and attach ``scheduler`` on one kernel.

    :param limit: instructions that no program may need more of.
    :raise DefinitionInvalid: when there is no such scheduler or topology.
    :raise OutputUnwritable: when the record cannot be written.
    """
    began = time.monotonic()
    options = replace(
        options, kernel=kernel, topology=options.topology or DEFAULT_TOPOLOGY, auto_repro=False
    )
    with scratch_folder() as folder:
        path = folder / "verifier.toml"
        path.write_text(toml_text(_scenario(scheduler)))
        try:
            record = await run_scenario(path, options, emit)
        except KernelUnfit as error:
            found = await _without_sched_ext(kernel, error)
        except GuestLost as error:
            found = _none(kernel, "guest lost", error)
        else:
            if record.output_error is not None:
                raise OutputUnwritable(record.output_error)
            found = loading_of(kernel, record)
    return replace(found.within(limit), wall_s=time.monotonic() - began)


def _scenario(scheduler: str) -> dict[str, Any]:
    """The least that attaches a scheduler and lets it work for a moment."""
    return {
        "name": "verifier",
        "scheduler": {**scheduler_table(scheduler), "attach_timeout": ATTACH},
        "steps": [
            {
                "hold": "500ms",
                "cgroups": [{"name": "one", "works": [{"type": "SpinWait", "workers": 1}]}],
            }
        ],
        # Of no concern here, but a run in which nothing is judged is kept as if it had failed.
        "checks": {"max_gap_ms": 600_000},
    }


async def _without_sched_ext(kernel: str, error: KernelUnfit) -> Loading:
    """A kernel that is there and has no sched_ext is skipped; any other is an error of its own."""
    try:
        async with open_kernel(kernel, cache=KernelCache(), need=()) as found:
            if found.features.sched_ext is False:
                why = found.features.why_not("sched_ext") or "it has no sched_ext"
                return Loading(kernel, found.release, "skip", ExitCode.PASS, why)
    except KtstrError:
        pass  # told by the first error already
    return _none(kernel, "cannot run", error)


def _none(kernel: str, verdict: str, error: KtstrError) -> Loading:
    hint = f" (hint: {error.hint})" if error.hint else ""
    return Loading(kernel, "", verdict, error.exit_code, error.message + hint)


def loading_of(kernel: str, record: RunRecord) -> Loading:
    """What a run's record tells of the loading alone, however the run itself was judged."""
    facts = record.facts
    scheduler = facts.get("scheduler") or {}
    programs = programs_of((facts.get("verifier") or {}).get("programs"))
    ended = scheduler.get("exit") or {}
    attached = any(status.get("event") == "attached" for status in scheduler.get("statuses", ()))
    verdict, code, reason = "pass", ExitCode.PASS, ""
    if record.error is not None:
        verdict, code, reason = "guest lost", record.exit_code, record.error.partition("\n")[0]
    elif not attached:
        verdict, code, reason = "fail", ExitCode.FAIL, _why(record, ended)
    elif not programs:
        verdict, code = "inconclusive", ExitCode.INCONCLUSIVE
        notes = [note for note in facts.get("notes", ()) if "counted" in note]
        reason = next(iter(notes), "its BPF programs were not found in the guest's memory")
    return Loading(
        kernel,
        (facts.get("kernel") or {}).get("release") or "",
        verdict,
        code,
        reason,
        programs,
        log="" if attached else _log(record),
        record=record.sidecar,
        evidence=record.evidence,
    )


def _why(record: RunRecord, ended: dict[str, Any]) -> str:
    details = [] if record.result is None else record.result.failure_details()
    return details[0].message if details else str(ended.get("message") or "it did not attach")


def _log(record: RunRecord) -> str:
    """All that the scheduler printed, or what the record has of it."""
    if record.evidence is not None:
        try:
            with (record.evidence / LOG_FILE).open("r", encoding="utf-8", errors="replace") as log:
                return log.read(MAX_LOG)
        except OSError:
            pass
    return "\n".join(record.scheduler_tail)


def exit_code(loadings: Sequence[Loading]) -> ExitCode:
    """How a command ends: as the worst, and inconclusively where all were skipped."""
    if all(each.verdict == "skip" for each in loadings):
        return ExitCode.INCONCLUSIVE
    return max((each.exit_code for each in loadings), key=SEVERITY.index)
