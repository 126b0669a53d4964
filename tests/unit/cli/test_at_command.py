# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr at``: what is refused before anything is started."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ktstr.cli.main import main as ktstr


def run(*args: object) -> Result:
    return CliRunner().invoke(ktstr, ["at", *(str(arg) for arg in args)])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "an instant with --ms, or an interval with --every"),
        (["--ms", "1", "--every", "50"], "an instant with --ms, or an interval with --every"),
        (["--every", "50", "--json", "x.json"], "--json is for the one snapshot of --ms"),
        (["--ms", "-1"], "--ms"),
        (["--ms", "nan"], "--ms"),
        (["--every", "nan"], "--every"),
        (["--every", "0.5"], "--every"),
    ],
)
def test_a_mistake_on_the_command_line_is_no_verdict(args: list[str], words: str) -> None:
    done = run(*args)
    assert done.exit_code == 4
    assert words in done.output


def test_a_wall_clock_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.ktstr.json").write_text(json.dumps({"schema": 3, "name": "x"}))
    done = run(tmp_path, "--ms", "1")
    assert done.exit_code == 4
    assert "x.ktstr.json is of a run by the wall clock" in done.output


def test_a_folder_without_a_record_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, "--ms", "1")
    assert done.exit_code == 4
    assert "no record in" in done.output
