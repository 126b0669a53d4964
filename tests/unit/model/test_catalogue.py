# SPDX-License-Identifier: GPL-2.0-only
"""The scenarios that come with ktstr: every file is valid, small, short and says what it is for."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from ktstr.cli.main import main as ktstr
from ktstr.errors import CannotRun
from ktstr.model.catalogue import EXAMPLE, GROUPS, Entry, catalogue, scenario_path
from ktstr.model.definition import Scenario
from ktstr.model.op_models import RemoveCgroup
from ktstr.model.plan import build_plan, expected_cpusets, workload_ms
from ktstr.model.scenario import load_scenario, scenario_from_toml
from ktstr.model.works.of import all_works
from ktstr.model.works.registry import WORK_TYPES
from ktstr.scenario import scenario_toml
from ktstr.verdict.checks import Assert

ROOT = Path(__file__).parents[3]
SCENARIOS = ROOT / "configs" / "scenarios"
FILES = sorted(path for path in SCENARIOS.glob("*/*.toml") if path.parent.name != "faults")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_the_catalogue(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == "# SPDX-License-Identifier: GPL-2.0-only"
    assert lines[1] == "#:schema ../../ktstr.schema.json"
    assert (path.parent / lines[1].split()[1]).resolve() == ROOT / "configs" / "ktstr.schema.json"
    head = [line for line in lines[2:] if line.startswith("#")]
    sentence = " ".join(line.removeprefix("# ") for line in head)
    assert re.fullmatch(r"[A-Z][^.]*\.", sentence), "one sentence says what it provokes"
    assert max(map(len, lines)) <= 100

    scenario = load_scenario(path)
    assert scenario.name == path.stem
    assert scenario.vm.topology.cpus <= 4
    assert 2000 <= workload_ms(scenario) <= 4000
    assert scenario.checks.not_starved
    assert scenario.scheduler.bpf == "scx_ktstr"
    assert build_plan(scenario, scenario.vm.topology)["steps"]


# Their checkpoints come every 1024 units of work, so that a gap may be as long as the run.
RARE_CHECKPOINTS = {"IoSyncWrite", "YieldHeavy", "ForkExit"}


@dataclass(frozen=True)
class Workers:
    """Workers that live as long as their step, counted from 1, or as the Backdrop, step 0."""

    step: int
    cgroup: str
    type: str
    life_ms: int

    def checks_that_can_fail(self, checks: Assert) -> set[str]:
        """Which of the checks a scheduler can break by starving them after their first turn."""
        found = set()
        gap_ms = checks.gap_limit_ms()
        if self.type not in RARE_CHECKPOINTS and gap_ms is not None and gap_ms < self.life_ms:
            found.add("max_gap_ms")
        # One iteration is what not_starved asks for already.
        if (checks.min_iteration_rate or 0.0) * self.life_ms / 1000 > 1:
            found.add("min_iteration_rate")
        wake_ns = checks.max_p99_wake_latency_ns
        if "wake" in WORK_TYPES[self.type].fills and wake_ns is not None:
            found |= {"max_p99_wake_latency_ns"} if wake_ns < self.life_ms * 1_000_000 else set()
        return found


def workers(scenario: Scenario) -> list[Workers]:
    """All workers that are there when their step ends."""
    holds = scenario.holds_ms()
    found = []
    for at, work in all_works(scenario):
        index = 0 if at[0] == "backdrop" else int(at[1]) + 1
        ops = [op for step in scenario.steps[max(index - 1, 0) :] for op in step.ops]
        here = scenario.steps[index - 1] if index else scenario.backdrop
        kind, number = at[2:4] if index else at[1:3]
        if kind == "cgroups":
            cgroup = here.cgroups[int(number)].name
        else:
            cgroup = getattr(here.ops[int(number)], "cgroup", "/")
        if not any(isinstance(op, RemoveCgroup) and op.cgroup == cgroup for op in ops):
            life_ms = holds[index - 1] if index else sum(holds)
            found.append(Workers(index, cgroup, work.type, life_ms))
    return found


def in_vain(scenario: Scenario) -> list[str]:
    """What of a scenario's checks says nothing, in words."""
    checks = Assert.from_checks(scenario.checks.plain())
    there = workers(scenario)
    found = [f"{w.step} {w.cgroup}" for w in there if not w.checks_that_can_fail(checks)]
    failing = {name for w in there for name in w.checks_that_can_fail(checks)}
    asked = {"max_gap_ms", "min_iteration_rate", "max_p99_wake_latency_ns"}
    if any(
        work.type in RARE_CHECKPOINTS or work.policy == "idle" for _, work in all_works(scenario)
    ):
        # Their gap says nothing of the scheduler: a limit beyond the run takes them out of it.
        asked.remove("max_gap_ms")
    found += sorted(name for name in asked & set(scenario.checks.plain()) if name not in failing)
    topology = scenario.vm.topology
    cpusets = expected_cpusets(scenario, topology)
    confined = any(
        len(cpusets.get((w.step, w.cgroup), ())) in range(1, topology.cpus) for w in there
    )
    return found + ["isolation"] * (confined != bool(checks.isolation))


@pytest.mark.parametrize(
    "path", [SCENARIOS / "two_cgroups.toml", *FILES], ids=lambda path: path.stem
)
def test_every_check_of_a_file_can_fail_within_its_run(path: Path) -> None:
    assert in_vain(load_scenario(path)) == []


def test_a_check_that_cannot_fail_is_found() -> None:
    path = SCENARIOS / "advanced" / "cgroup_bursty_load_shift.toml"
    text = path.read_text()
    for key, lax, wanted in (
        ("max_gap_ms", "2_000", ["max_gap_ms"]),
        ("min_iteration_rate", "0.5", ["min_iteration_rate"]),
        ("max_p99_wake_latency_ns", "2_000_000_000", ["max_p99_wake_latency_ns"]),
    ):
        changed = re.sub(rf"^{key} = .*$", f"{key} = {lax}", text, flags=re.MULTILINE)
        assert in_vain(scenario_from_toml(changed, file=str(path))) == wanted
    # Without any of them nobody is looked after but by the defaults, which wait for 3 s.
    bare = re.sub(r"^(max_gap|min_it|max_p99).*\n", "", text, flags=re.MULTILINE)
    groups = ["1 left", "1 right", "2 left", "2 right"]
    assert in_vain(scenario_from_toml(bare, file=str(path))) == groups
    confined = SCENARIOS / "basic" / "cgroup_cpuset_llc_steady.toml"
    text = confined.read_text().replace("isolation = true", "")
    assert in_vain(scenario_from_toml(text, file=str(confined))) == ["isolation"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_and_its_model_say_the_same(path: Path) -> None:
    scenario = load_scenario(path)
    again = scenario_from_toml(scenario_toml(scenario), file=str(path))
    assert dict(again) == dict(scenario)


def test_the_listing_is_the_folders() -> None:
    entries = catalogue()
    assert sorted(entry.path for entry in entries if entry.group != EXAMPLE) == FILES
    assert {entry.group for entry in entries} == set(GROUPS)
    assert len({entry.name for entry in entries}) == len(entries) >= 80
    order = [(GROUPS.index(entry.group), entry.name) for entry in entries]
    assert order == sorted(order)
    assert not any("fault" in entry.path.parts for entry in entries)


def test_filter_looks_at_name_group_and_sentence() -> None:
    entry = Entry("one_name", "some_group", "A sentence on Queues.", Path("x"))
    assert all(map(entry.matches, ["ONE_", "some_g", "queues", ""]))
    assert not entry.matches("two")
    assert [e.name for e in catalogue("nice_sw")] == ["nice_sweep"]
    assert catalogue("no such word") == ()


def test_a_name_or_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scenario_path("cgroup_steady") == SCENARIOS / "basic" / "cgroup_steady.toml"
    # Whatever looks like a path is one, also when it is not there: the reader says why.
    assert scenario_path("cgroup_steady.toml") == Path("cgroup_steady.toml")
    assert scenario_path("x/cgroup_steady") == Path("x/cgroup_steady")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cgroup_steady").touch()
    assert scenario_path("cgroup_steady") == Path("cgroup_steady")


def test_an_unknown_name_is_told_with_a_guess() -> None:
    with pytest.raises(CannotRun) as caught:
        scenario_path("cgroup_stedy")
    assert '"cgroup_stedy"' in str(caught.value)
    assert 'did you mean "cgroup_steady"?' in str(caught.value)
    assert "ktstr scenarios" in str(caught.value)


def listing(*args: str) -> str:
    done = CliRunner().invoke(ktstr, ["scenarios", *args])
    assert done.exit_code == 0, done.output
    return done.output


def test_listing_on_the_command_line() -> None:
    lines = listing("--filter", "mutex").splitlines()
    assert lines[0] == "stress"
    assert [line.split()[0] for line in lines[1:]] == [
        "mutex_contention_heavy",
        "mutex_contention_light",
    ]
    found = json.loads(listing("--json", "--filter", "mutex_contention_light"))
    assert [entry["group"] for entry in found] == ["stress"]
    assert found[0]["path"].endswith("configs/scenarios/stress/mutex_contention_light.toml")


def test_a_filter_that_finds_nothing_says_so() -> None:
    done = CliRunner().invoke(ktstr, ["scenarios", "--filter", "zzz"])
    assert done.exit_code == 1
    assert "no scenario has 'zzz'" in done.output


def test_the_page_and_the_schema_are_up_to_date() -> None:
    assert (ROOT / "docs" / "scenarios.md").read_text() == listing("--markdown")
    done = CliRunner().invoke(ktstr, ["schema"])
    assert (ROOT / "configs" / "ktstr.schema.json").read_text() == done.output
