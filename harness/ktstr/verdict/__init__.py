# SPDX-License-Identifier: GPL-2.0-only
"""Verdicts: claims, checks, outcomes and their exit status."""

from ktstr.verdict.across import (
    BetterThanPhase,
    better_across_phases,
    better_across_phases_cgroup,
)
from ktstr.verdict.checks import CHECK_NAMES, NO_OVERRIDES, Assert, CheckRefused
from ktstr.verdict.claims import ClaimBuilder, SeqClaim, SetClaim
from ktstr.verdict.death import SCHED_DIED_PREFIX, DeathCause, SchedulerDeath
from ktstr.verdict.detail import (
    COMPARATOR_VOCABULARY,
    AssertDetail,
    DetailKind,
    InfoNote,
    NoteValue,
    PassDetail,
)
from ktstr.verdict.evaluate import WORKER_CHECKS, evaluate
from ktstr.verdict.exit_status import exit_code
from ktstr.verdict.field_claims import CgroupClaims, PhaseCgroupClaims, ReportClaims
from ktstr.verdict.outcome import Fail, Inconclusive, Outcome, Pass, Skip
from ktstr.verdict.phase_label import current_phase_label, phase_label
from ktstr.verdict.result import (
    MAX_RECORDED_PASSES,
    PASSES_TRUNCATION_SENTINEL_NAME,
    AssertResult,
    require_evaluated,
)
from ktstr.verdict.subject import CpuSets, Surroundings, cpu_list
from ktstr.verdict.verdict import Verdict

__all__ = [
    "CHECK_NAMES",
    "COMPARATOR_VOCABULARY",
    "MAX_RECORDED_PASSES",
    "NO_OVERRIDES",
    "PASSES_TRUNCATION_SENTINEL_NAME",
    "SCHED_DIED_PREFIX",
    "WORKER_CHECKS",
    "Assert",
    "AssertDetail",
    "AssertResult",
    "BetterThanPhase",
    "CgroupClaims",
    "CheckRefused",
    "ClaimBuilder",
    "CpuSets",
    "DeathCause",
    "DetailKind",
    "Fail",
    "Inconclusive",
    "InfoNote",
    "NoteValue",
    "Outcome",
    "Pass",
    "PassDetail",
    "PhaseCgroupClaims",
    "ReportClaims",
    "SchedulerDeath",
    "SeqClaim",
    "SetClaim",
    "Skip",
    "Surroundings",
    "Verdict",
    "better_across_phases",
    "better_across_phases_cgroup",
    "cpu_list",
    "current_phase_label",
    "evaluate",
    "exit_code",
    "phase_label",
    "require_evaluated",
]
