# SPDX-License-Identifier: GPL-2.0-only
"""Verdicts: outcomes, checks and their exit status."""

from ktstr.verdict.checks import SUPPORTED_CHECKS, Assert, CheckRefused
from ktstr.verdict.death import SCHED_DIED_PREFIX, DeathCause, SchedulerDeath
from ktstr.verdict.detail import AssertDetail, DetailKind, InfoNote, NoteValue, PassDetail
from ktstr.verdict.evaluate import CpuSets, evaluate
from ktstr.verdict.outcome import Fail, Inconclusive, Outcome, Pass, Skip
from ktstr.verdict.result import (
    MAX_RECORDED_PASSES,
    PASSES_TRUNCATION_SENTINEL_NAME,
    AssertResult,
    exit_code,
    require_evaluated,
)

__all__ = [
    "MAX_RECORDED_PASSES",
    "PASSES_TRUNCATION_SENTINEL_NAME",
    "SCHED_DIED_PREFIX",
    "SUPPORTED_CHECKS",
    "Assert",
    "AssertDetail",
    "AssertResult",
    "CheckRefused",
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
    "SchedulerDeath",
    "Skip",
    "evaluate",
    "exit_code",
    "require_evaluated",
]
