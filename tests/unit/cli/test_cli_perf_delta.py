# SPDX-License-Identifier: GPL-2.0-only
"""ktstr perf-delta as people meet it: words, files, exit status, signals."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner
from tests.unit.history.runs import Recorded
from tests.unit.history.test_perf_delta import P99, figures, two_commits
from tests.unit.history.test_worktrees import Repository, repository

from ktstr.cli import delta_runner
from ktstr.cli.main import main
from ktstr.errors import HostUnfit
from ktstr.session.options import RunOptions

__all__ = ["repository"]

Figures = Callable[[str, int], Mapping[str, float] | str]


@pytest.fixture
def command(
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str]]:
    """Runs perf-delta on two commits, the second with slice 9, with these figures."""
    path = two_commits(repository)
    monkeypatch.delenv("GITHUB_BASE_REF", raising=False)

    def call(runs: Any, *args: str) -> tuple[int, str]:
        monkeypatch.setattr(delta_runner, "run_scenario", runs)
        words = ["perf-delta", str(path), "--base", "HEAD~1", "-o", str(tmp_path / "out"), *args]
        with pytest.raises(SystemExit) as ended:
            main(words, standalone_mode=False)
        code = ended.value.code
        assert isinstance(code, int)
        return code, "".join(capfd.readouterr())

    return call


def calm(text: str, number: int) -> dict[str, float]:
    return {P99: 1000.0 + number, "worst_gap_ms": 5.0}


def test_a_regression_exits_1_and_is_told(command: Any, tmp_path: Path) -> None:
    files = ("--json", str(tmp_path / "d.json"), "--markdown", str(tmp_path / "d.md"))
    code, text = command(Recorded(figures), "--repeat", "3", *files)
    assert code == 1
    assert "[1/6] PASS         base x #1" in text
    assert "[2/6] PASS         head x #1" in text
    # Logarithms: the error is sqrt(0.00208^2 + 0.00042^2) / sqrt(3), with 2.16 degrees of
    # freedom, so 4.99 times as much to within exp(4.01 x 0.00122).
    (line,) = (line for line in text.splitlines() if line.startswith(P99))
    assert line.split() == [
        *(P99, "µs", "1,002", "±0.2%", "5,003", "±0.04%", "+399%"),
        *("[+397%,", "+402%]", "<0.0001", "REGRESSION"),
    ]
    assert "1 regression, 0 improvements; 1 metric compared" in text
    assert "3 runs a side show large changes only" in text
    document = json.loads((tmp_path / "d.json").read_text())
    assert document["exit_code"] == 1
    (finding,) = document["findings"]
    assert (finding["metric"], finding["verdict"]) == (P99, "regression")
    # Runs 0 3 4 against 1 2 5, about 4000 apart; the gate is 25 % of about 1002 1/3.
    assert finding["difference_of_means"] == pytest.approx(4000 + 1 / 3)
    assert finding["change"] == pytest.approx(4000 + 1 / 3, abs=0.01)
    assert finding["gate"] == pytest.approx(0.25 * (1000 + 7 / 3), abs=0.01)
    assert [run["side"] for run in document["runs"]][:3] == ["base", "head", "head"]
    assert all(Path(run["record"]).is_file() for run in document["runs"])
    markdown = (tmp_path / "d.md").read_text()
    assert markdown.startswith("### ktstr perf-delta: **regression**\n")
    assert f"| x | `{P99}` | µs | 1,002 ±0.2% | 5,003 ±0.04% | +399% |" in markdown


def test_no_change_exits_0(command: Any) -> None:
    code, text = command(Recorded(calm), "--repeat", "5")
    assert code == 0
    assert "0 regressions, 0 improvements, 2 unchanged; 2 metrics compared" in text
    assert "adjusted for 1 metric " in text, "one of them is the same everywhere"


def test_nothing_to_compare_exits_2(command: Any) -> None:
    code, text = command(Recorded(lambda text, number: "stuck"), "--repeat", "2")
    assert code == 2
    assert "x: 0 of 2 runs passed on base, 0 of 2 on head" in text
    code, text = command(Recorded(calm), "--repeat", "1")
    assert code == 2
    assert "one run a side says nothing of noise" in text


def test_what_passes_no_more_exits_1(command: Any) -> None:
    def broken(text: str, number: int) -> Mapping[str, float] | str:
        return "stuck" if "slice 9" in text else {P99: 1000.0 + number}

    code, text = command(Recorded(broken), "--repeat", "2", "--fail-threshold", "99")
    assert code == 1
    assert "x: 2 of 2 runs passed on base, 0 of 2 on head: REGRESSION" in text
    assert "stuck" in text


def test_the_threshold_spares_all_but_what_must_not_regress(command: Any) -> None:
    args = ("--repeat", "3", "--fail-threshold", "2")
    assert command(Recorded(figures), *args)[0] == 0
    assert command(Recorded(figures), *args, "--must-not-regress", P99)[0] == 1
    assert command(Recorded(calm), *args, "--must-not-regress", f"{P99},worst_gap_ms")[0] == 0
    code, text = command(Recorded(calm), *args, "--must-not-regress", "iteration_rate")
    assert code == 2
    assert "iteration_rate must not regress, and was not measured often enough" in text


def test_a_policy_says_what_matters(command: Any, tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text("[per_metric_percent]\nworst_p99_wake_latency_us = 500\n")
    assert command(Recorded(figures), "--repeat", "3", "--policy", str(policy))[0] == 0
    policy.write_text("nonsense = 1\n")
    code, text = command(Recorded(figures), "--policy", str(policy))
    assert code == 4 and "nonsense" in text


def test_a_dry_run_runs_nothing(command: Any, tmp_path: Path) -> None:
    runs = Recorded(figures)
    code, text = command(runs, "--repeat", "2", "--build", "touch built", "--dry-run")
    assert code == 0 and not runs.made
    assert "build: touch built" in text and "4. base x #2" in text
    assert not (tmp_path / "out").exists()


def test_a_build_that_fails_exits_4(command: Any) -> None:
    code, text = command(Recorded(figures), "--build", "echo no such header; false")
    assert code == 4
    assert "building base" in text and "no such header" in text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["x.toml", "--base", "a", "--base-ref", "b"], "not both"),
        (["x.toml", "--must-not-regress", "worst_gap"], 'did you mean "worst_gap_ms"'),
        (["x.toml", "--must-not-regress", "total_pcount"], "has no worse direction"),
        (["x.toml", "--repeat", "0"], "0 is not in the range"),
        ([], "Missing argument"),
        (["nowhere"], "no scenario is called"),
    ],
)
def test_mistakes_on_the_command_line_exit_4(args: list[str], words: str) -> None:
    done = CliRunner().invoke(main, ["perf-delta", *args])
    assert done.exit_code == 4
    assert words in done.output + done.stderr


def test_a_run_that_cannot_be_made_leaves_what_was_found_before(
    command: Any, tmp_path: Path
) -> None:
    recorded = Recorded(figures)

    async def runs(path: Path, options: RunOptions, emit: Any) -> Any:
        if len(recorded.made) == 6:
            raise HostUnfit("the disk is full")
        return await recorded(path, options, emit)

    code, text = command(runs, "--repeat", "5", "--json", str(tmp_path / "d.json"))
    assert code == 4
    assert "the disk is full" in text and "6 of 10 runs were made" in text
    found = json.loads((tmp_path / "d.json").read_text())
    assert found["exit_code"] == 4 and len(found["runs"]) == 6


def test_a_signal_ends_it_and_tells_what_there_is(
    command: Any, repository: Repository, tmp_path: Path
) -> None:
    recorded = Recorded(figures)

    async def runs(path: Path, options: RunOptions, emit: Any) -> Any:
        if len(recorded.made) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep_forever()
        return await recorded(path, options, emit)

    code, text = command(runs, "--repeat", "5")
    assert code == 130
    assert "interrupted; everything is cleaned up" in text
    assert "4 of 10 runs were made" in text
    assert len(repository.trees()) == 1
