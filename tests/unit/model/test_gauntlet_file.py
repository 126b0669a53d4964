# SPDX-License-Identifier: GPL-2.0-only
"""The gauntlet file: read strictly, all mistakes at once."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ktstr.cli.schema import schema
from ktstr.errors import CannotRun, DefinitionInvalid
from ktstr.model.configs import configs_folder
from ktstr.model.gauntlet_file import (
    gauntlet_files,
    gauntlet_path,
    load_gauntlet,
    or_own,
    places,
    scenarios_named,
)
from ktstr.model.presets import presets

WHOLE = """
name = "mine"
description = "d"
scenarios = ["cgroup_steady", "own/*.toml"]
presets = ["tiny-1llc", "1n2l2c1t", "own"]
kernels = ["debian:7", "own"]
schedulers = ["scx_ktstr", "none", "own"]
all_flags = true
budget = "10m"
max_cpus = 8
clock = "virtual"
accel = "tcg"
[constraints]
max_llcs = 4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.toml").write_text("")
    return tmp_path


def mistakes(folder: Path, text: str) -> dict[str, str]:
    path = folder / "g.toml"
    path.write_text(text)
    with pytest.raises(DefinitionInvalid) as error:
        load_gauntlet(path)
    return {problem.key: problem.allowed for problem in error.value.problems}


def test_every_key_is_read(folder: Path) -> None:
    path = folder / "g.toml"
    path.write_text(WHOLE)
    found = load_gauntlet(path)
    assert found.budget == 600_000 and found.all_flags and found.constraints.max_llcs == 4
    assert places(found.presets) == ("tiny-1llc", "1n2l2c1t", None)
    assert or_own(found.kernels) == ("debian:7", None)
    assert scenarios_named("own/*.toml", folder) == (folder / "own" / "a.toml",)


def test_scenarios_will_do(folder: Path) -> None:
    path = folder / "Some Gauntlet.toml"
    path.write_text('scenarios = ["all"]')
    found = load_gauntlet(path)
    assert found.name == "some_gauntlet"
    assert places(found.presets) == tuple(presets()) and or_own(found.schedulers) == (None,)
    assert found.budget is None and found.max_cpus is None


def test_mistakes_are_told_together(folder: Path) -> None:
    text = """
scenarios = ["cgroup_stedy", "nowhere/*.toml"]
presets = ["tiny-1lc"]
kernels = ["de bian"]
budget = 0
max_cpus = 0
wrong = 1
[constraints]
max_llcs = 1
min_llcs = 2
min_cpus = "x"
"""
    told = mistakes(folder, text)
    assert set(told) == {
        *("scenarios[0]", "scenarios[1]", "presets[0]", "kernels[0]", "budget", "max_cpus"),
        *("wrong", "constraints.max_llcs", "constraints.min_cpus"),
    }
    assert 'did you mean "cgroup_steady"' in told["scenarios[0]"]
    assert 'did you mean "tiny-1llc"' in told["presets[0]"]
    assert '"all", "own"' in told["presets[0]"]


def test_nothing_to_run_is_a_mistake(folder: Path) -> None:
    assert set(mistakes(folder, "scenarios = []")) == {"scenarios"}
    assert set(mistakes(folder, "presets = []")) == {"scenarios", "presets"}


def test_the_schema_that_comes_with_ktstr_is_that_of_the_command() -> None:
    done = CliRunner().invoke(schema, ["--gauntlet"])
    assert (configs_folder() / "ktstr-gauntlet.schema.json").read_text() == done.output
    assert '"default": 12' in done.output


def test_those_that_come_with_ktstr_are_valid_and_found_by_name() -> None:
    files = gauntlet_files()
    assert files
    for file in files:
        assert load_gauntlet(file).name == file.stem
        assert load_gauntlet(file).description
        assert file.read_text().splitlines()[1] == "#:schema ../ktstr-gauntlet.schema.json"
        assert gauntlet_path(file.stem) == file
    with pytest.raises(CannotRun, match="no gauntlet is called"):
        gauntlet_path("nothing")
    assert gauntlet_path("./x.toml") == Path("x.toml")
