# SPDX-License-Identifier: GPL-2.0-only
"""How one of several runs ended, out of its record or of what kept it from having one."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ktstr.errors import ExitCode, KernelLacks
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertDetail, AssertResult


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    :param verdict: pass, skip, fail, inconclusive, guest lost or cannot run.
    :param workload_s: what its steps hold, seconds; None when that was not seen.
    :param reason: the first reason of a verdict that is no pass.
    :param details: all its reasons.
    :param notes: what happened besides, warnings first shown while it ran.
    :param facts: what it ran on, by name.
    """

    verdict: str
    exit_code: ExitCode
    workload_s: float | None = None
    reason: str = ""
    details: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    record: Path | None = None
    evidence: Path | None = None

    @classmethod
    def of(cls, record: RunRecord, workload_s: float | None, warnings: Iterable[str] = ()) -> "End":
        """The end that a run's record tells."""
        notes = [] if record.result is None else [n.message for n in record.result.info_notes]
        return cls(
            "guest lost" if record.verdict == "lost" else record.verdict,
            record.exit_code,
            workload_s,
            record.output_error or first_reason(record),
            (*filter(None, [record.output_error]), *reasons(record)),
            tuple(dict.fromkeys([*warnings, *notes])),
            _facts(record),
            record.sidecar,
            record.evidence,
        )

    @classmethod
    def of_error(cls, error: Exception, kernel: str | None = None) -> "End":
        """The end of a run that could not run, or whose guest was lost without a record.

        :param kernel: the kernel as a whole matrix names it. On such a one a scenario that finds
            not what it needs has no place; on its own kernel it cannot run.
        """
        if kernel is not None and isinstance(error, KernelLacks):
            # Where several kernels were looked at, a line each follows the first.
            why = error.message.splitlines()[-1].strip()
            return cls("skip", ExitCode.PASS, reason=f"not on kernel {kernel}: {why}")
        code = getattr(error, "exit_code", ExitCode.CANNOT_RUN)
        # The first line of a list of mistakes only counts them.
        head, *rest = [line.strip() for line in str(error).splitlines()] or [""]
        return cls(
            "guest lost" if code == ExitCode.GUEST_LOST else "cannot run",
            code,
            reason=": ".join([head.rstrip(":"), *rest[:1]]) if rest else head,
            details=(head, *rest),
        )


def _facts(record: RunRecord) -> dict[str, str]:
    facts = record.facts
    kernel, scheduler = facts.get("kernel") or {}, facts.get("scheduler") or {}
    found = {
        "kernel": kernel.get("release"),
        "topology": facts.get("topology"),
        "memory_mib": facts.get("memory_mib"),
        "accelerator": facts.get("accelerator"),
        "scheduler": scheduler.get("path") or scheduler.get("kind"),
        "flags": scheduler.get("profile"),
        "run_id": record.run_id,
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def first_reason(record: RunRecord) -> str:
    """Why the verdict is no pass, in one sentence; empty for a pass."""
    return next(iter(reasons(record)), "")


def reasons(record: RunRecord) -> list[str]:
    """Every reason why the verdict is no pass, failures first, in one sentence each."""
    if record.error is not None:
        return [record.error.partition("\n")[0]]
    result = record.result or AssertResult()
    details = [*result.failure_details(), *result.inconclusive_details()]
    return [in_words(detail, record) for detail in details]


def in_words(detail: AssertDetail, record: RunRecord) -> str:
    """The detail with its kind."""
    return f"[{detail.kind.value}] {titled(detail, record)}"


def titled(detail: AssertDetail, record: RunRecord) -> str:
    """The detail's message; where it names phases, each step's own name follows its label."""
    message = detail.message
    if detail.phase is not None:
        for bucket in record.phases:
            label = rf"(?<!\w){re.escape(bucket.label)}(?!\w)"
            # Taken as it is: a name may have backslashes in it.
            title = record.phase_title(bucket.step_index).replace("\\", r"\\")
            message = re.sub(label, title, message)
    return message
