# SPDX-License-Identifier: GPL-2.0-only
"""From a verdict to the exit status of a process (reference-06, 9 and 14)."""

from typing import Final

from ktstr.errors import ExitCode
from ktstr.verdict.result import AssertResult, require_evaluated

_BY_OUTCOME: Final = {
    "Pass": ExitCode.PASS,
    "Skip": ExitCode.PASS,
    "Fail": ExitCode.FAIL,
    "Inconclusive": ExitCode.INCONCLUSIVE,
}


def exit_code(
    result: AssertResult,
    *,
    expect_err: bool = False,
    allow_inconclusive: bool = False,
    no_skip: bool = False,
) -> ExitCode:
    """Exit status of the verdict; one in which nothing was evaluated is inconclusive.

    :param expect_err: the scenario is meant to fail: a pass is a failure and a failure is none.
        A skip stays a skip, and missing data stays missing.
    :param allow_inconclusive: missing data counts as a pass.
    :param no_skip: a skip counts as a failure.
    """
    outcome = require_evaluated(result).outcome()
    if outcome.is_skip() and no_skip:
        return ExitCode.FAIL
    if outcome.is_inconclusive() and allow_inconclusive:
        return ExitCode.PASS
    if expect_err and outcome.is_pass():
        return ExitCode.FAIL
    if expect_err and outcome.is_fail():
        return ExitCode.PASS
    return _BY_OUTCOME[outcome.name]
