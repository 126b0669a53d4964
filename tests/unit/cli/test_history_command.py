# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr history`` and the words that ``ktstr show`` takes for a run."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ktstr.cli.history import history
from ktstr.cli.show import find_record
from ktstr.errors import CannotRun, ExitCode
from ktstr.history.plot import bars, base
from ktstr.history.rows import VERDICTS
from ktstr.metrics import ScenarioStats
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.write import write_sidecar
from ktstr.verdict import AssertDetail, AssertResult, DetailKind


def write(folder: Path, second: int, rate: float | None = None, *, fails: bool = False) -> Path:
    metrics = {} if rate is None else {"iteration_rate": rate}
    result = AssertResult(stats=ScenarioStats(ext_metrics=metrics))
    result.record_pass()
    if fails:
        result.record_fail(AssertDetail(DetailKind.STUCK, "a gap"))
    kernel = {"release": "7.2.13" if second % 2 else "6.12.4"}
    run_id = f"20261121-0000{second:02d}-a{second:03x}"
    name = "bad" if fails else "good"
    code = ExitCode.FAIL if fails else ExitCode.PASS
    made = RunRecord(run_id, name, code, result, facts={"kernel": kernel})
    return write_sidecar(folder, made)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for second in range(1, 5):
        write(tmp_path / "runs", second, 10.0 * second)
    write(tmp_path / "runs" / "ci", 5, fails=True)
    write(tmp_path / "runs" / "ci", 6, fails=True)
    return tmp_path / "runs"


def run(*words: str | Path, code: int = 0) -> Result:
    done = CliRunner().invoke(history, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def test_runs_are_listed_newest_first(folder: Path) -> None:
    head, *lines = run(folder).stdout.splitlines()
    assert head.split()[:4] == ["when", "(UTC)", "name", "verdict"]
    assert [line.split()[1][-2:] for line in lines] == ["06", "05", "04", "03", "02", "01"]
    assert lines[2].split() == [
        *("2026-11-21", "00:00:04", "good", "pass", "6.12.4", "–", "–", "–", "40", "–"),
        "20261121-000004-a004",
    ]
    assert len(run(folder, "--last", "2").stdout.splitlines()) == 3


def test_what_to_run_again_is_printed(folder: Path) -> None:
    assert run(folder, "--failed", "--scenarios").stdout == "bad\n"
    paths = run(folder, "--failed", "--paths").stdout.split()
    assert [Path(path).name[:10] for path in paths] == ["bad-202611"] * 2
    assert all(Path(path).exists() for path in paths)
    assert run(folder, "--verdict", "pass", "--scenarios").stdout == "good\n"


def test_filters_and_values(folder: Path) -> None:
    assert len(run(folder, "--kernel", "6.12").stdout.splitlines()) == 4
    assert run(folder, "--values", "kernel").stdout == "     3  6.12.4\n     3  7.2.13\n"
    assert run(folder, "--values", "run-source").stdout == "     6  –\n"
    assert "no run passes" in run(folder, "-E", "nothing").stderr


def test_a_metric_is_drawn_oldest_first(folder: Path) -> None:
    lines = run(folder, "--plot", "iteration_rate").stdout.splitlines()
    assert lines[0] == "iteration_rate (iter/s)"
    assert [line.count("█") for line in lines[1:]] == [10, 20, 30, 40, 0, 0]
    assert lines[-1].split()[-1] == "–"
    said = run(folder, "--plot", "iteration_rat", code=4).stderr
    assert "did you mean iteration_rate" in said
    assert "iteration_rate" in run(folder, "--metric", "iteration_rate").stdout


def test_json_holds_the_metrics(folder: Path) -> None:
    found = json.loads(run(folder, "--json", "--kernel", "7.2").stdout)
    assert [each["name"] for each in found] == ["bad", "good", "good"]
    assert found[0]["reason"] == "a gap" and found[1]["metrics"] == {"iteration_rate": 30.0}
    assert {each["verdict"] for each in found} <= set(VERDICTS)


def test_damaged_files_and_bad_folders_are_told(folder: Path) -> None:
    (folder / "x.ktstr.json").write_text("{")
    assert "x.ktstr.json is damaged" in run(folder).stderr
    run(folder / "missing", code=4)
    run(folder, "--json", "--paths", code=4)


def test_bars_begin_at_zero_unless_all_are_alike() -> None:
    assert bars([0.0, 5.0, 10.0, None, -3.0], 8) == ["", "████", "████████", "", ""]
    assert base([900.0, 1000.0, None]) == 890.0
    assert base([10.0, 1000.0]) == base([5.0, 5.0]) == base([]) == 0.0
    assert [len(bar) for bar in bars([5.0, 5.0], 4)] == [4, 4]
    assert bars([0.0, 0.0]) == ["", ""]


def test_a_run_is_found_by_what_is_known_of_it(folder: Path) -> None:
    path = folder / "good-20261121-000004-a004.ktstr.json"
    for word in ("20261121-000004-a004", "a004", "good-20261121-000004", "20261121-000004"):
        assert find_record(Path(word), folder) == path
    assert find_record(path, folder) == path
    last = write(folder, 9)
    assert find_record(Path("last"), folder) == find_record(folder, folder) == last
    with pytest.raises(CannotRun, match="could be 2 runs"):
        find_record(Path("bad"), folder)
    with pytest.raises(CannotRun, match="no run in"):
        find_record(Path("beef"), folder)
