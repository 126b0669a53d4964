# SPDX-License-Identifier: GPL-2.0-only
"""A scenario's file as a test, and what else can be asked of its run."""

import pytest

from ktstr.pytest_plugin import Ktstr


@pytest.mark.ktstr("scenarios/pair.toml")
def test_the_scenarios_own_checks_hold() -> None:
    """Without a body: the test is the scenario's checks."""


@pytest.mark.ktstr("scenarios/pair.toml", scheduler="none")
def test_figures_of_the_run(ktstr: Ktstr) -> None:
    both, bursts = ktstr.phase("both"), ktstr.phase("bursts")
    assert both.per_cgroup.keys() == {"left", "right"}
    assert bursts.per_cgroup["left"].total_iterations > 0
    assert "worst_gap_ms" in ktstr.metrics
    assert len(ktstr.series.periodic_only()) <= 4


@pytest.mark.ktstr("scenarios/pair.toml")
def test_claims_are_all_told(ktstr: Ktstr) -> None:
    left = ktstr.phase("both").per_cgroup["left"]
    ktstr.claim("workers of left", left.num_workers).eq(2)
    ktstr.claim("migrations", left.total_migrations).at_most(2_000).because("two CPUs, one LLC")
    ktstr.verdict.claim_phase_cgroup(left, "left").max_gap_ms.at_most(2_000)
