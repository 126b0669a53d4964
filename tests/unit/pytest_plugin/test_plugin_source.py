# SPDX-License-Identifier: GPL-2.0-only
"""From what a test gives as its scenario to a file."""

import tomllib
from pathlib import Path

import pytest
from tests.unit.pytest_plugin.project import BODY, text

from ktstr.errors import CannotRun, DefinitionInvalid
from ktstr.model.scenario import load_scenario
from ktstr.pytest_plugin.source import Place, scenario_file
from ktstr.scenario import cgroup, llc, scenario, work
from ktstr.session.options import RunOptions

USUAL = RunOptions()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "tests").mkdir()
    return Place(tmp_path / "tests", "test_name", tmp_path / "out")


def test_a_path_starts_at_the_test(place: Place) -> None:
    (place.folder / "a.toml").write_text(text("a"))
    assert scenario_file("a.toml", USUAL, place) == place.folder / "a.toml"
    assert scenario_file(Path("a.toml"), USUAL, place) == place.folder / "a.toml"
    assert scenario_file("gone.toml", USUAL, place) == place.folder / "gone.toml"


def test_a_name_of_the_catalogue_is_its_file(place: Place) -> None:
    found = scenario_file("cgroup_steady", USUAL, place)
    assert found.name == "cgroup_steady.toml"
    assert found.is_file()
    with pytest.raises(CannotRun, match='no scenario is called "cgroup_stedy"'):
        scenario_file("cgroup_stedy", USUAL, place)


def test_text_is_kept_below_the_output_folder_under_the_tests_name(place: Place) -> None:
    found = scenario_file(BODY, USUAL, place)
    assert found.parent == place.out / "scenarios"
    assert load_scenario(found).name == "test_name"
    assert scenario_file(BODY, USUAL, place) == found
    assert scenario_file(text("other"), USUAL, place).name.startswith("other-")
    assert len(list(found.parent.iterdir())) == 2


def test_relative_paths_of_a_text_start_at_the_test(place: Place) -> None:
    for name in ("mine.bpf.o", "work.py", "tool", "data.txt"):
        (place.folder / name).write_text("def load(worker): pass\n")
    (place.folder / "tool").chmod(0o755)
    found = scenario_file(
        """
[scheduler]
bpf = "mine.bpf.o"
[[steps]]
hold = "1s"
ops = [{ op = "RunPayload", name = "t", command = "tool", files = ["data.txt"] }]
[[steps.cgroups]]
name = "a"
works = [{ type = "Custom", python = "work.py:load", workers = 1 }]
""",
        USUAL,
        place,
    )
    data = tomllib.loads(found.read_text())
    here = str(place.folder)
    assert data["scheduler"]["bpf"] == f"{here}/mine.bpf.o"
    assert data["steps"][0]["ops"][0]["command"] == f"{here}/tool"
    assert data["steps"][0]["ops"][0]["files"] == [f"{here}/data.txt"]
    assert data["steps"][0]["cgroups"][0]["works"][0]["python"] == f"{here}/work.py:load"


def test_a_builtin_scheduler_stays_a_name(place: Place) -> None:
    found = scenario_file(BODY.replace("kernel_default = true", 'bpf = "scx_ktstr"'), USUAL, place)
    assert tomllib.loads(found.read_text())["scheduler"]["bpf"] == "scx_ktstr"


def test_a_builder_and_a_model_are_written_as_they_are(place: Place) -> None:
    made = (
        scenario("built")
        .topology("1n1l2c1t")
        .scheduler(kernel_default=True)
        .step(hold="1s", cgroups=[cgroup("a", works=[work("SpinWait", workers=2)])])
    )
    from_builder = scenario_file(made, USUAL, place)
    assert load_scenario(from_builder).steps == made.model().steps
    assert scenario_file(made.model(), USUAL, place) == from_builder


def test_what_makes_sense_only_with_the_tests_topology_is_written(place: Place) -> None:
    second = (
        scenario("second")
        .scheduler(kernel_default=True)
        .step(hold="1s", cgroups=[cgroup("a", cpuset=llc(1), works=[work("SpinWait", workers=1)])])
    )
    with pytest.raises(DefinitionInvalid):
        scenario_file(second.topology("1n1l2c1t"), USUAL, place)
    found = scenario_file(second.topology("1n1l2c1t"), RunOptions(topology="1n2l2c1t"), place)
    assert load_scenario(found, topology="1n2l2c1t").name == "second"


def test_mistakes_in_a_text_have_its_lines_and_name_the_test(place: Place) -> None:
    with pytest.raises(DefinitionInvalid) as told:
        scenario_file('name = "a"\n[[steps]]\nhold = "soon"\n', USUAL, place)
    assert "scenario of test_name:3: steps[0].hold" in str(told.value)


def test_a_name_cannot_lead_out_of_the_folder(place: Place) -> None:
    away = Place(place.folder, "../../etc/[a]", place.out)
    try:
        found = scenario_file(BODY, USUAL, away)
    except DefinitionInvalid:
        return
    assert found.parent == place.out / "scenarios"


def test_anything_else_is_refused(place: Place) -> None:
    with pytest.raises(CannotRun, match="of type int"):
        scenario_file(7, USUAL, place)
