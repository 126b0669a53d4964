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
    TEMPORAL_VOCABULARY,
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
from ktstr.verdict.temporal import (
    CrossPhaseRatio,
    EachClaim,
    SeriesClaim,
    frac_pair,
    ratio_across_phases,
    zip_per_phase,
)
from ktstr.verdict.verdict import Verdict

__all__ = [
    "CHECK_NAMES",
    "COMPARATOR_VOCABULARY",
    "MAX_RECORDED_PASSES",
    "NO_OVERRIDES",
    "PASSES_TRUNCATION_SENTINEL_NAME",
    "SCHED_DIED_PREFIX",
    "TEMPORAL_VOCABULARY",
    "WORKER_CHECKS",
    "Assert",
    "AssertDetail",
    "AssertResult",
    "BetterThanPhase",
    "CgroupClaims",
    "CheckRefused",
    "ClaimBuilder",
    "CpuSets",
    "CrossPhaseRatio",
    "DeathCause",
    "DetailKind",
    "EachClaim",
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
    "SeriesClaim",
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
    "frac_pair",
    "phase_label",
    "ratio_across_phases",
    "require_evaluated",
    "zip_per_phase",
]
