# SPDX-License-Identifier: GPL-2.0-only
"""The scenarios that come with ktstr: every file is valid, small, short and says what it is for."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from ktstr.cli.main import main as ktstr
from ktstr.errors import CannotRun
from ktstr.model.catalogue import EXAMPLE, GROUPS, Entry, catalogue, scenario_path
from ktstr.model.plan import build_plan, workload_ms
from ktstr.model.scenario import load_scenario, scenario_from_toml
from ktstr.scenario import scenario_toml

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
    assert 2000 <= workload_ms(scenario) <= 3000
    assert scenario.checks.not_starved
    assert scenario.scheduler.bpf == "scx_ktstr"
    assert build_plan(scenario, scenario.vm.topology)["steps"]


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
