# SPDX-License-Identifier: GPL-2.0-only
"""One test on several topologies, a scenario in Python, and a scheduler that has to fail."""

import pytest

from ktstr.pytest_plugin import Ktstr
from ktstr.scenario import cgroup, llc, scenario, work

apart = (
    scenario("apart")
    .topology("1n2l1c1t")
    .memory("512M")
    .scheduler(bpf="scx_ktstr")
    .step(
        hold="1s",
        name="apart",
        cgroups=[
            cgroup("a", cpuset=llc(0), works=[work("SpinWait", workers=1)]),
            cgroup("b", cpuset=llc(1), works=[work("SpinWait", workers=1)]),
        ],
    )
    .check(isolation=True)
)


@pytest.mark.ktstr(apart, presets=["1n2l1c1t", "1n1l2c1t"])
def test_cgroups_stay_on_their_llcs(ktstr: Ktstr) -> None:
    cgroups = ktstr.phase("apart").per_cgroup
    assert not cgroups["a"].cpus_used & cgroups["b"].cpus_used


STALLS = """
name = "stalls"
[vm]
topology = "1n1l2c1t"
memory = "512M"
[scheduler]
bpf = "scx_ktstr"
globals = { stall_after_ms = 300 }
timeout = "1s"
[[steps]]
hold = "6s"
[[steps.cgroups]]
name = "busy"
works = [{ type = "Mixed", workers = 4 }]
[checks]
not_starved = true
"""


@pytest.mark.ktstr(STALLS, expect_fail=True)
def test_a_stall_is_found(ktstr: Ktstr) -> None:
    ktstr.claim("the reason", "stall" in ktstr.reasons[0]).eq(True)


def test_two_runs_side_by_side(ktstr: Ktstr) -> None:
    ours = ktstr("scenarios/pair.toml")
    kernels = ktstr("scenarios/pair.toml", scheduler="none")
    rates = [run.metrics["iteration_rate"] for run in (ours, kernels)]
    assert rates[0] > rates[1] / 10
