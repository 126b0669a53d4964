# SPDX-License-Identifier: GPL-2.0-only
"""Harm that comes while an op runs, in real VMs: the verdict says what, where and why."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

TEXT = """
name = "harm"
[vm]
topology = "1n1l2c1t"
[scheduler]
kernel_default = true
[[backdrop.cgroups]]
name = "empty"
[[steps]]
hold = "300ms"
[[steps]]
hold = "300ms"
ops = [
    { op = "AddCgroupDef", name = "victim", works = [{ type = "SpinWait", workers = 2 }] },
    { op = "RunPayload", name = "harm", command = "harm", args = [WORDS] },
    { op = "WaitPayload", name = "harm" },
    { op = "SetWeight", cgroup = "empty", weight = 50 },
]
[[steps]]
hold = "300ms"
cgroups = [{ name = "late", works = [{ type = "SpinWait" }] }]
[checks]
max_gap_ms = 20000
"""


@pytest.fixture
def harm(ktstr: Any, scenario_file: Any, tmp_path: Path) -> Any:
    source = Path(__file__).parent / "user_harm.c"
    subprocess.run(["cc", "-o", tmp_path / "harm", source], check=True)

    def run(what: str, cgroup: str) -> Any:
        words = f'"{what}", "/sys/fs/cgroup/ktstr/{cgroup}"'
        done = ktstr.run(scenario_file(TEXT.replace("WORDS", words)))
        assert done.code == 1, done.output
        return done

    return run


def test_a_worker_killed_during_an_op_is_named_and_the_scenario_goes_on(harm: Any) -> None:
    done = harm("kill", "victim")
    (why,) = done.details()
    assert why.startswith("Step[1] victim: worker 0 (SpinWait, tid ")
    assert why.endswith(") was killed by signal 9 (SIGKILL)")
    record = done.record
    found = [(w["step"], w["cgroup"], w["report"]["completed"]) for w in record["workers"]]
    assert sorted(found) == [(2, "victim", False), (2, "victim", True), (3, "late", True)]


def test_an_op_whose_cgroup_is_gone_is_told_with_step_and_cause(harm: Any) -> None:
    done = harm("remove", "empty")
    (why,) = done.details()
    assert why == (
        "the scenario could not go on: step 2: SetWeight: "
        "/sys/fs/cgroup/ktstr/empty/cpu.weight: No such file or directory"
    )
    assert why in done.output
    # The workers of the step that could not begin have reported all the same.
    assert {(w["step"], w["cgroup"]) for w in done.record["workers"]} == {(2, "victim")}
