# SPDX-License-Identifier: GPL-2.0-only
"""Many seeds in one command: order, the first failure, what is printed, the exit status."""

import json
import os
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from click.testing import CliRunner

from ktstr.cli.explore import explore
from ktstr.cli.main import main
from ktstr.cli.run import main as ktstr_run
from ktstr.errors import DefinitionInvalid, ExitCode, Problem, QemuDied
from ktstr.report.explore import repeat_command
from ktstr.session import explore as explore_module
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertDetail, AssertResult, DetailKind


class Runs:
    """Stands in for run_scenario: a table says how each seed ends; notes what ran beside what."""

    def __init__(self, **ends: str) -> None:
        self.ends = {int(seed.removeprefix("s")): end for seed, end in ends.items()}
        self.options: dict[int, RunOptions] = {}
        self.ended: list[int] = []
        self.cancelled: list[int] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, path: Path, options: RunOptions, emit: Any) -> RunRecord:
        seed = options.seed
        assert seed is not None
        self.options[seed] = options
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            record = await self.end(seed, self.ends.get(seed, "pass"))
            self.ended.append(seed)
            return record
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(seed)
            raise
        finally:
            self.at_once -= 1

    async def end(self, seed: int, how: str) -> RunRecord:
        for _ in range(40 if how.startswith("slow") else 3):
            await anyio.lowlevel.checkpoint()
        result = AssertResult()
        match how.removeprefix("slow-"):
            case "fail":
                result.record_fail(AssertDetail(DetailKind.STUCK, f"a: stuck {seed}ms"))
                return RunRecord("id", "x", ExitCode.FAIL, result)
            case "lost":
                return RunRecord("id", "x", ExitCode.GUEST_LOST, error="panic\nand more")
            case "died":
                raise QemuDied("QEMU is gone")
            case "wrong":
                raise DefinitionInvalid([Problem("x.toml", 3, "steps[0].hold", "1", "2")])
            case "broken":
                raise ZeroDivisionError("oops")
            case "endless":
                await anyio.sleep_forever()
            case "signal":
                os.kill(os.getpid(), signal.SIGINT)
                await anyio.sleep_forever()
        result.record_pass()
        return RunRecord("id", "x", ExitCode.PASS, result, facts={"identity": f"id{seed}"})


def run(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capfd: Any, *args: str
) -> tuple[int, list[str]]:
    monkeypatch.setattr(explore_module, "run_scenario", runs)
    with pytest.raises(SystemExit) as caught:
        explore.main(["x.toml", *args], standalone_mode=True)
    text = re.sub(r"\d+\.\d s", "T s", capfd.readouterr().out)
    lines = [re.sub(r" +", " ", line).strip() for line in text.splitlines()]
    assert runs.at_once == 0
    return int(caught.value.code or 0), lines


def test_every_seed_runs_once_by_the_virtual_clock(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    runs = Runs()
    code, lines = run(runs, monkeypatch, capfd, "--seeds", "0..6", "--jobs", "3")
    assert code == 0
    assert sorted(runs.ended) == list(range(7)) and runs.most_at_once == 3
    assert {each.clock for each in runs.options.values()} == {"virtual"}
    # Looking into a failure is for whoever runs its seed again.
    assert {each.auto_repro for each in runs.options.values()} == {False}
    assert lines[0] == "[1/7] PASS seed 0 T s"
    assert lines[-1].startswith("7 of 7 seeds tried: 7 pass; ")


def test_failures_are_told_by_class_with_the_command_for_the_first(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    runs = Runs(s2="fail", s4="lost", s5="fail", s6="died")
    args = ("--seeds", "1..6", "--jobs", "2", "--topology", "1n1l2c1t")
    code, lines = run(runs, monkeypatch, capfd, *args)
    assert code == ExitCode.GUEST_LOST
    assert sorted(runs.ended) == [1, 2, 3, 4, 5]
    assert "[2/6] FAIL seed 2 T s [Stuck] a: stuck 2ms" in lines
    table = lines.index("verdict runs seeds reason, # for any number")
    assert lines[table + 1 : table + 4] == [
        "fail 2 2 5 [Stuck] a: stuck #ms",
        "guest lost 1 4 panic",
        "guest lost 1 6 QEMU is gone",
    ]
    assert lines[-2:] == [
        "seed 2 is the first that fails; to run it again:",
        "ktstr-run x.toml --clock virtual --seed 2 --topology 1n1l2c1t",
    ]


def test_until_fail_stops_behind_the_first_failing_seed(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    # 4 fails first, while 2 is still under way and fails later; 3 and 5 would never end.
    runs = Runs(s2="slow-fail", s3="endless", s4="fail", s5="endless")
    code, lines = run(runs, monkeypatch, capfd, "--seeds", "1..9", "--jobs", "4", "--until-fail")
    assert code == ExitCode.FAIL
    assert sorted(runs.ended) == [1, 2, 4]
    assert sorted(runs.cancelled) == [3, 5] and 6 not in runs.options
    assert "seed 2 is the first that fails; to run it again:" in lines
    assert lines[-3].startswith("3 of 9 seeds tried: 2 fail, 1 pass; ")


def test_until_fail_without_a_failure_tries_all(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    runs = Runs()
    code, _ = run(runs, monkeypatch, capfd, "--seeds", "1..4", "--jobs", "1", "--until-fail")
    assert code == 0 and runs.ended == [1, 2, 3, 4]


def test_the_seed_can_choose_how_long_instructions_take(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    runs = Runs(s4="fail")
    args = ("--seeds", "1..4", "--jobs", "2")
    _, lines = run(runs, monkeypatch, capfd, *args)
    assert {each.icount_shift for each in runs.options.values()} == {None}
    assert lines[-1] == "ktstr-run x.toml --clock virtual --seed 4"
    _, lines = run(runs, monkeypatch, capfd, *args, "--vary-shift")
    shifts = {seed: each.icount_shift for seed, each in runs.options.items()}
    assert shifts == {1: 2, 2: 3, 3: 1, 4: 2}
    assert lines[-1] == "ktstr-run x.toml --clock virtual --seed 4 --icount-shift 2"


def test_a_scenario_that_cannot_run_ends_it(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    runs = Runs(s1="wrong", s2="endless")
    code, lines = run(runs, monkeypatch, capfd, "--seeds", "1..50", "--jobs", "2")
    assert code == ExitCode.CANNOT_RUN
    assert lines[0] == "error: 1 mistake in the definition" and len(runs.options) == 2


def test_a_defect_of_ktstr_is_no_verdict(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    code, lines = run(Runs(s1="broken"), monkeypatch, capfd, "--seeds", "1..3", "--jobs", "1")
    assert code == ExitCode.CANNOT_RUN
    assert "error: ktstr itself went wrong; this is no verdict on the scheduler" in lines


def test_an_interruption_tells_what_was_found(
    monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path
) -> None:
    runs = Runs(s2="fail", s3="signal", s4="endless")
    file = tmp_path / "found.json"
    args = ("--seeds", "1..20", "--jobs", "2", "--json", str(file))
    code, lines = run(runs, monkeypatch, capfd, *args)
    assert code == ExitCode.INTERRUPTED
    assert sorted(runs.cancelled) == [3, 4]
    assert any(line.startswith("2 of 20 seeds tried: 1 pass, 1 fail; ") for line in lines)
    assert lines[-1] == "interrupted; everything is cleaned up"
    found = json.loads(file.read_text())
    assert (found["exit_code"], found["tried"], found["due"]) == (130, 2, 20)


def test_the_document_for_programs(
    monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path
) -> None:
    file = tmp_path / "found.json"
    args = ("--seeds", "4..6", "--jobs", "1", "--json", str(file))
    code, _ = run(Runs(s5="fail"), monkeypatch, capfd, *args)
    found = json.loads(file.read_text())
    assert code == found["exit_code"] == 1
    assert found["verdicts"] == {"pass": 2, "fail": 1}
    command = "ktstr-run x.toml --clock virtual --seed 5"
    assert found["first_failure"] == {"seed": 5, "command": command}
    (only,) = found["classes"]
    assert only == {
        "verdict": "fail",
        "shape": "[Stuck] a: stuck #ms",
        "seeds": [5],
        "example": "[Stuck] a: stuck 5ms",
    }
    assert [(each["seed"], each["verdict"], each["identity"]) for each in found["seeds"]] == [
        (4, "pass", "id4"),
        (5, "fail", None),
        (6, "pass", "id6"),
    ]


def test_a_document_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path
) -> None:
    args = ("--seeds", "1", "--json", str(tmp_path / "none" / "found.json"))
    code, lines = run(Runs(), monkeypatch, capfd, *args)
    assert code == ExitCode.CANNOT_RUN
    assert lines[-1].endswith("cannot be written: No such file or directory")


@pytest.mark.parametrize(
    "args", [["x.toml", "--seeds", "5..1"], ["x.toml", "--jobs", "0"], [], ["x", "--seeds", "a"]]
)
def test_mistakes_on_the_command_line_do_not_exit_as_a_verdict(args: list[str]) -> None:
    assert CliRunner().invoke(main, ["explore", *args]).exit_code == ExitCode.CANNOT_RUN


def test_the_command_repeats_all_that_shapes_the_run() -> None:
    options = RunOptions(
        kernel="path:/a b/vmlinux", scheduler="none", flags=(), work_type="SpinWait"
    )
    command = repeat_command("my file.toml", options, 7)
    assert shlex.split(command)[1:] == [
        *("my file.toml", "--clock", "virtual", "--seed", "7", "--kernel", "path:/a b/vmlinux"),
        *("--scheduler", "none", "--flags", "default", "--work-type", "SpinWait"),
    ]
    # ktstr-run understands every word of it.
    names = {option for parameter in ktstr_run.params for option in parameter.opts}
    assert {word for word in shlex.split(command) if word.startswith("--")} <= names
    assert "--flags a+b" in repeat_command("x", RunOptions(flags=("a", "b")), 1)
