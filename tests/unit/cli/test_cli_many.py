# SPDX-License-Identifier: GPL-2.0-only
"""Several scenarios in one command: choice, order, outcomes, the table, the worst exit code."""

import json
import os
import re
import select
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anyio
import anyio.lowlevel
import pytest
from click.testing import CliRunner

from ktstr.cli import many as many_module
from ktstr.cli.many import run_many
from ktstr.cli.reports import Reports
from ktstr.cli.run import main as ktstr_run
from ktstr.errors import (
    DefinitionInvalid,
    ExitCode,
    HostUnfit,
    KernelLacks,
    OutputUnwritable,
    Problem,
    QemuDied,
)
from ktstr.report.many import Outcome, outcome_line, worst
from ktstr.session.events import Note, StepStarted
from ktstr.session.lease import Lease
from ktstr.session.matrix import Axes, Turn
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertDetail, AssertResult, DetailKind


def record(name: str, verdict: str = "pass") -> RunRecord:
    result = AssertResult()
    if verdict == "fail":
        result.record_fail(AssertDetail(DetailKind.OTHER, "it was slow"))
        return RunRecord("id", name, ExitCode.FAIL, result)
    if verdict == "inconclusive":
        result.record_inconclusive(AssertDetail(DetailKind.OTHER, "no report"))
        return RunRecord("id", name, ExitCode.INCONCLUSIVE, result)
    if verdict == "lost":
        return RunRecord("id", name, ExitCode.GUEST_LOST, error="panic\nand more")
    result.record_pass()
    return RunRecord("id", name, ExitCode.PASS, result)


class Runs:
    """Stands in for run_scenario: the file's name says how it ends; notes how many ran at once."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.flags: list[Any] = []
        self.at_once = self.most_at_once = 0

    async def __call__(
        self, path: Path, options: RunOptions, emit: Any, *, lease: Lease
    ) -> RunRecord:
        self.seen.append(path.stem)
        self.flags.append(options.flags)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            emit(StepStarted(1, 2, "", 1.0))
            emit(StepStarted(2, 2, "", 0.5))
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            found = await self.end(path.stem, options.kernel, emit)
            found.facts = {"kernel": {"release": f"release-of-{options.kernel}"}}
            return found
        finally:
            self.at_once -= 1

    async def end(self, name: str, kernel: str | None, emit: Any) -> RunRecord:
        match name.split("-")[0]:
            case "unfit":
                raise HostUnfit("no QEMU here", hint="install it")
            case "picky" if kernel != "new":
                raise KernelLacks(f"{kernel}: none will do:\n  that-one: sched_ext is absent")
            case "wrong":
                raise DefinitionInvalid([Problem("x.toml", 3, "steps[0].hold", "1", "2")])
            case "died":
                raise QemuDied("QEMU is gone")
            case "broken":
                raise ZeroDivisionError("oops")
            case "warns":
                emit(Note("look here", warning=True))
                emit(Note("no need to look"))
            case "signal" | "torn" as how:
                os.kill(os.getpid(), signal.SIGINT)
                try:
                    await anyio.sleep_forever()
                finally:
                    if how == "torn":
                        raise QemuDied("QEMU was ended")
            case "fail" | "inconclusive" | "lost" as verdict:
                return record(name, verdict)
        return record(name)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    found = Runs()
    monkeypatch.setattr(many_module, "run_scenario", found)
    monkeypatch.setattr(many_module, "surveyed", survey)
    return found


def survey(turns: list[Turn]) -> list[Turn]:
    """Stands in for reading the files: those of one name have no place here."""
    return [
        replace(turn, skipped="not here") if turn.path.stem == "nowhere" else turn for turn in turns
    ]


def run(*names: str, jobs: int = 1, as_json: bool = False, **more: Any) -> ExitCode:
    paths = [Path(f"{name}.toml") for name in names]
    return run_many(paths, RunOptions(), jobs=jobs, reports=Reports(as_json), **more)


def without_times(text: str) -> list[str]:
    return [re.sub(r" +", " ", re.sub(r"\d+\.\d", "T", line)).strip() for line in text.splitlines()]


def test_a_line_for_each_and_a_table(runs: Runs, capfd: Any) -> None:
    assert run("good", "fail", "inconclusive") == ExitCode.FAIL
    lines = without_times(capfd.readouterr().out)
    assert lines[:4] == [
        "[1/3] PASS good T s",
        "[2/3] FAIL fail T s [Other] it was slow",
        "[3/3] INCONCLUSIVE inconclusive T s [Other] no report",
        "",
    ]
    assert lines[4:-2] == [
        "scenario verdict s first reason",
        "good pass T",
        "inconclusive inconclusive T [Other] no report",
        "fail fail T [Other] it was slow",
    ]
    # Three times 1.5 s of holds.
    counts = "3 scenarios: 1 pass, 1 inconclusive, 1 fail"
    assert lines[-1] == f"{counts}; 0 s, T times the T s that they hold; the worst: fail"


def test_the_table_ends_with_the_worst(runs: Runs, capfd: Any) -> None:
    names = ["unfit", "fail-1", "nowhere", "good-1", "lost", "fail-2", "inconclusive", "good-2"]
    run(*names)
    lines = without_times(capfd.readouterr().out)
    table = lines[lines.index("scenario verdict s first reason") + 1 : -2]
    ordered = ["good-1", "good-2", "nowhere", "inconclusive", "fail-1", "fail-2", "lost", "unfit"]
    assert [row.split()[0] for row in table] == ordered
    # Why something was skipped stands in the table, in one line.
    assert table[2] == "nowhere skip T not here"
    assert lines[-1].endswith("; the worst: cannot run")
    run("good")
    last = without_times(capfd.readouterr().out)[-1]
    assert last == "1 scenario: 1 pass; 0 s, T times the T s that they hold"


def test_whatever_happens_to_one_the_rest_still_runs(runs: Runs, capfd: Any) -> None:
    names = ["unfit", "wrong", "died", "broken", "lost", "warns"]
    assert run(*names) == ExitCode.CANNOT_RUN
    assert runs.seen == names
    out = capfd.readouterr().out
    lines = without_times(out)
    assert "[1/6] CANNOT RUN unfit T s no QEMU here: hint: install it" in lines
    reason = "1 mistake in the definition: x.toml:3: steps[0].hold: found 1; allowed: 2"
    assert f"[2/6] CANNOT RUN wrong T s {reason}" in lines
    assert "[3/6] GUEST LOST died T s QEMU is gone" in lines
    assert "[4/6] CANNOT RUN broken T s ktstr itself went wrong: ZeroDivisionError('oops')" in lines
    assert "Traceback" in out
    assert "[5/6] GUEST LOST lost T s panic" in lines
    assert "warns: warning: look here" in lines and "no need" not in out
    assert "[6/6] PASS warns T s" in lines


def test_skips_are_told_and_alone_they_are_no_pass(runs: Runs, capfd: Any) -> None:
    assert run("nowhere", "good") == ExitCode.PASS
    assert without_times(capfd.readouterr().out)[0] == "[1/2] SKIP nowhere T s not here"
    assert runs.seen == ["good"]
    assert run("nowhere") == ExitCode.INCONCLUSIVE


@pytest.mark.parametrize("jobs", [1, 2, 3, 9])
def test_jobs_are_how_many_run_at_a_time(runs: Runs, jobs: int) -> None:
    names = [f"good-{number}" for number in range(5)]
    assert run(*names, jobs=jobs) == ExitCode.PASS
    assert runs.seen == names
    assert runs.most_at_once == min(jobs, 5)


@pytest.mark.parametrize("how", ["signal", "torn"])
def test_a_signal_ends_it_and_what_finished_is_told(runs: Runs, how: str, capfd: Any) -> None:
    assert run("good", how, "never") == ExitCode.INTERRUPTED
    assert runs.seen == ["good", how] and runs.at_once == 0
    lines = without_times(capfd.readouterr().out)
    assert "good pass T" in lines
    assert f"{how} not run T interrupted while it ran" in lines
    assert "never not run T interrupted before it began" in lines
    assert not any("QEMU" in line or "Traceback" in line for line in lines)
    assert lines[-1] == "interrupted; everything is cleaned up"


def test_an_interruption_hides_no_finding(runs: Runs, capfd: Any) -> None:
    assert run("fail", "signal", axes=Axes(repeat=2)) == ExitCode.INTERRUPTED
    lines = without_times(capfd.readouterr().out)
    assert lines[-4:-2] == ["fail fail 1/2 T [Other] it was slow", ""]
    assert lines[-5] == "signal not run 2/2 T interrupted while it ran"
    assert "1 fail" in lines[-2] and lines[-2].endswith("the worst: fail")


STUBBORN = """
import subprocess, sys, tempfile
from pathlib import Path
import anyio
from ktstr.cli import many
from ktstr.session.options import RunOptions

async def run_scenario(path, options, emit, lease):
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    with tempfile.TemporaryDirectory(prefix="ktstr-") as folder:
        print("child", child.pid, folder, flush=True)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(600)

many.run_scenario = run_scenario
many.surveyed = lambda turns: turns
sys.exit(many.run_many([Path("stubborn.toml")], RunOptions(), jobs=1))
"""


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """The first is waited for by a clean-up that never ends."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        _, pid, folder = process.stdout.readline().split()
        child = os.pidfd_open(int(pid))
        assert Path(folder).parent.parent == tmp_path
        process.send_signal(signal.SIGINT)
        assert not select.select([child], [], [], 0.3)[0], "the first signal cleans up in order"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert process.returncode == ExitCode.INTERRUPTED
    assert "interrupted; ended at once, at the second signal" in out
    assert "interrupted while it ran" in out
    assert select.select([child], [], [], 10)[0], "its children are gone"
    os.close(child)
    assert list(tmp_path.iterdir()) == []


def test_a_matrix_in_one_table(runs: Runs, capfd: Any) -> None:
    axes = Axes(topologies=("tiny-1llc", "smt-2llc"), repeat=2)
    assert run("good", "fail", axes=axes) == ExitCode.FAIL
    assert runs.seen == ["good", "good", "fail", "fail"] * 2
    lines = without_times(capfd.readouterr().out)
    assert lines[0] == "[1/8] PASS good [tiny-1llc] #1 T s"
    assert lines[6] == "[7/8] FAIL fail [tiny-1llc] #2 T s [Other] it was slow"
    assert lines[9:12] == [
        "scenario tiny-1llc smt-2llc",
        "fail fail 2/2 fail 2/2",
        "good pass 2/2 pass 2/2",
    ]
    # Below the grid only what did not pass, repetitions in one row.
    assert lines[13:16] == [
        "scenario verdict s first reason",
        "fail [tiny-1llc] fail 2/2 T [Other] it was slow",
        "fail [smt-2llc] fail 2/2 T [Other] it was slow",
    ]
    assert lines[-1].startswith("8 runs: 4 pass, 4 fail;")


KERNELS = Axes(kernels=("new", "old"), topologies=("tiny-1llc", "smt-2llc"))


def test_a_column_for_each_kernel(runs: Runs, capfd: Any) -> None:
    """Rows are scenarios times topologies; what a kernel lacks is skipped, and says why."""
    assert run("picky", "good", axes=KERNELS) == ExitCode.PASS
    lines = without_times(capfd.readouterr().out)
    assert lines[9:14] == [
        "scenario new old",
        "good [tiny-1llc] pass pass",
        "good [smt-2llc] pass pass",
        "picky [tiny-1llc] pass skip",
        "picky [smt-2llc] pass skip",
    ]
    assert lines[15:18] == ["kernel release", "new release-of-new", "old release-of-old"]
    assert lines[19:22] == [
        "scenario verdict s first reason",
        *(
            f"picky [{topology}, old] skip T not on kernel old: that-one: sched_ext is absent"
            for topology in ("tiny-1llc", "smt-2llc")
        ),
    ]


def test_the_matrix_for_programs(runs: Runs, tmp_path: Path) -> None:
    reports = Reports(json_file=tmp_path / "o.json", junit_file=tmp_path / "j.xml")
    paths = [Path("picky.toml"), Path("fail.toml")]
    axes = replace(KERNELS, topologies=("tiny-1llc",), repeat=2)
    assert run_many(paths, RunOptions(), axes=axes, reports=reports) == ExitCode.FAIL
    matrix = json.loads((tmp_path / "o.json").read_text())["matrix"]
    assert matrix["kernels"] == [
        {"kernel": "new", "release": "release-of-new"},
        {"kernel": "old", "release": "release-of-old"},
    ]
    fail, picky = matrix["rows"]
    failed = {"verdict": "fail", "exit_code": 1, "count": 2, "of": 2}
    assert fail == {
        "name": "fail",
        "topology": "tiny-1llc",
        "profile": None,
        "cells": [{**failed, "reason": "[Other] it was slow"}] * 2,
    }
    assert [cell["verdict"] for cell in picky["cells"]] == ["pass", "skip"]

    root = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("8", "4", "2")
    suites = {
        suite.get("name"): [suite.get(key) for key in ("tests", "failures", "skipped")]
        for suite in root
    }
    assert suites == {"ktstr new": ["4", "2", "0"], "ktstr old": ["4", "2", "2"]}
    assert all("old" in (case.get("name") or "") for case in root[1])


def test_one_kernel_is_no_column(runs: Runs, capfd: Any) -> None:
    """A kernel that a scenario boots of its own accord must serve it."""
    assert run("picky", "good") == ExitCode.CANNOT_RUN
    lines = without_times(capfd.readouterr().out)
    assert (
        lines[0] == "[1/2] CANNOT RUN picky T s None: none will do: that-one: sched_ext is absent"
    )
    assert run("picky", "good", axes=Axes(kernels=("old",)), as_json=True) == ExitCode.PASS
    found = json.loads(capfd.readouterr().out)
    assert found["matrix"] is None and found["verdicts"] == {"pass": 1, "skip": 1}


def test_kernels_that_cannot_be(runs: Runs) -> None:
    done = CliRunner().invoke(ktstr_run, ["x.toml", "--kernels", "debian:7,stock-612"])
    assert done.exit_code == ExitCode.CANNOT_RUN
    assert "'stock-612' names no kernel" in done.output
    assert "did you mean stock-6.12?" in done.output
    assert runs.seen == []


def test_both_reports_are_written_whatever_happens(runs: Runs, tmp_path: Path, capfd: Any) -> None:
    reports = Reports(json_file=tmp_path / "new" / "o.json", junit_file=tmp_path / "j.xml")
    paths = [Path("good.toml"), Path("signal.toml"), Path("never.toml")]
    assert run_many(paths, RunOptions(), jobs=1, reports=reports) == ExitCode.INTERRUPTED
    found = json.loads((tmp_path / "new" / "o.json").read_text())
    assert found["exit_code"] == 130 and found["verdicts"] == {"pass": 1, "not run": 2}
    suite = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert (suite.get("tests"), suite.get("skipped")) == ("3", "2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j.xml", "new"]


def test_a_report_that_cannot_be_written_runs_nothing(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "j.xml", tmp_path):
        with pytest.raises(OutputUnwritable, match="cannot be written"):
            run_many([Path("good.toml")], RunOptions(), reports=Reports(junit_file=path))
    assert runs.seen == []


def test_one_document_on_stdout(runs: Runs, capfd: Any) -> None:
    assert run("good", "fail", as_json=True) == ExitCode.FAIL
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert (found["exit_code"], found["workload_s"]) == (1, 3.0)
    assert found["verdicts"] == {"pass": 1, "fail": 1}
    good, fail = found["scenarios"]
    assert good["path"] == "good.toml" and good["workload_s"] == 1.5 and good["reason"] == ""
    assert fail["verdict"] == "fail" and fail["reason"] == "[Other] it was slow"
    assert "[2/2] FAIL" in err


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 2], 2),
        ([2, 1, 0], 1),
        ([1, 3, 2], 3),
        ([3, 4, 1], 4),
    ],
)
def test_the_worst_decides(codes: list[int], expected: int) -> None:
    assert worst([ExitCode(code) for code in codes]) == expected


def test_text_of_a_guest_stays_on_its_line() -> None:
    evil = Outcome(
        "n", Turn(Path("n"), RunOptions()), "fail", ExitCode.FAIL, reason="a\x1b[2J\nb" + "x" * 500
    )
    line = outcome_line(evil, 1, 100).plain
    assert line.startswith("[  1/100] FAIL")
    assert "\x1b" not in line and "\n" not in line and len(line) < 250


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []

    def note(paths: list[Path], options: RunOptions, **more: Any) -> ExitCode:
        assert not more["all_flags"]
        calls.append(([path.stem for path in paths], more["jobs"], more["axes"], more["reports"]))
        return ExitCode.PASS

    monkeypatch.setattr(many_module, "run_many", note)
    return calls


def test_what_the_command_line_chooses(chosen: list[Any]) -> None:
    lines = ["--all", "--filter mutex --jobs 2", "--filter nice_sweep", "nice_sweep x.toml"]
    for line in lines:
        assert CliRunner().invoke(ktstr_run, line.split()).exit_code == 0
    everything, *others = [call[:2] for call in chosen]
    assert len(everything[0]) >= 80 and everything[1] is None
    assert others == [
        (["mutex_contention_heavy", "mutex_contention_light"], 2),
        # By filter it is a choice of several, even where it finds one.
        (["nice_sweep"], None),
        (["nice_sweep", "x"], None),
    ]


@pytest.mark.parametrize(
    ("words", "axes", "reports"),
    [
        ("--topologies tiny-1llc,smt-2llc", Axes(topologies=("tiny-1llc", "smt-2llc")), Reports()),
        ("--kernels host,debian:7 --kernels host", Axes(("host", "debian:7")), Reports()),
        ("--repeat 3 --json", Axes(repeat=3), Reports(True)),
        ("--junit j.xml", Axes(), Reports(junit_file=Path("j.xml"))),
        ("--json o.json", Axes(), Reports(json_file=Path("o.json"))),
        ("--json=o", Axes(), Reports(json_file=Path("o"))),
    ],
)
def test_one_scenario_becomes_several_runs_or_a_report(
    chosen: list[Any], words: str, axes: Axes, reports: Reports
) -> None:
    done = CliRunner().invoke(ktstr_run, [*words.split(), "nice_sweep"])
    assert done.exit_code == 0, done.output
    assert chosen == [(["nice_sweep"], None, axes, reports)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--topologies tiny-1lc x.toml", "tiny-1llc"),
        ("--topologies tiny-1llc --topology tiny-1llc x.toml", "not both"),
        ("--kernels host --kernel host x.toml", "not both"),
        ("--jobs 0 x.toml", "auto, or a number from 1 to 256"),
        ("--jobs many x.toml", "auto, or a number from 1 to 256"),
        ("--repeat 0 x.toml", "--repeat"),
        ("--keep-vm --repeat 2 x.toml", "one scenario"),
        ("empty", "no scenario in the folder"),
        ("none-*.toml", "no scenario file matches"),
    ],
)
def test_what_the_command_line_refuses(
    chosen: list[Any], words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(ktstr_run, words.split())
    assert done.exit_code == ExitCode.CANNOT_RUN and said in done.output
    assert not chosen


def test_folders_and_patterns_name_each_file_once(
    chosen: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("d/b.toml", "d/deep/a.toml", "d/notes.txt", "c.toml", "d/z.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    CliRunner().invoke(ktstr_run, ["d/z.toml", "d", "*.toml", "d/deep/*.toml"])
    (call,) = chosen
    assert call[0] == ["z", "b", "a", "c"]


def test_a_name_that_does_not_exist_runs_nothing(chosen: list[Any]) -> None:
    done = CliRunner().invoke(ktstr_run, ["nice_sweep", "nice_swep"])
    assert done.exit_code == ExitCode.CANNOT_RUN
    assert 'did you mean "nice_sweep"?' in done.output
    assert not chosen


FLAGGED = """
name = "flagged"
[scheduler]
binary = "sched"
flags = {flags}
excluded_flags = {excluded}
[scheduler.known_flags]
steal = {{ args = ["--steal"], requires = ["llc"] }}
llc = {{ args = ["--llc"] }}
slow = {{ args = ["--slow"] }}
[[steps]]
hold = "1s"
"""


@pytest.fixture
def flagged(tmp_path: Path) -> Any:
    (tmp_path / "sched").write_bytes(b"")

    def write(flags: str = "[]", excluded: str = "[]", more: str = "") -> Path:
        path = tmp_path / "good.toml"
        path.write_text(FLAGGED.format(flags=flags, excluded=excluded) + more)
        return path

    return write


def test_every_profile_is_an_entry_of_its_own(runs: Runs, flagged: Any, capfd: Any) -> None:
    code = run_many([flagged()], RunOptions(), jobs=1, reports=Reports(True), all_flags=True)
    assert code == ExitCode.PASS
    out, err = capfd.readouterr()
    wanted = ["default", "llc", "slow", "llc+slow", "llc+steal", "llc+slow+steal"]
    assert [entry["profile"] for entry in json.loads(out)["scenarios"]] == wanted
    assert runs.flags == [(), *(tuple(name.split("+")) for name in wanted[1:])]
    assert "[5/6] PASS good [llc+steal] T s" in without_times(err)


@pytest.mark.parametrize(
    ("flags", "excluded", "expected"),
    [
        ('["steal"]', "[]", [("llc", "steal"), ("llc", "slow", "steal")]),
        ("[]", '["llc"]', [(), ("slow",)]),
    ],
)
def test_the_files_flags_bound_the_profiles(
    runs: Runs, flagged: Any, flags: str, excluded: str, expected: list[Any]
) -> None:
    run_many([flagged(flags, excluded)], RunOptions(), jobs=1, all_flags=True)
    assert runs.flags == expected


def test_without_flags_there_is_one_run(runs: Runs, flagged: Any, tmp_path: Path) -> None:
    plain, missing = Path("configs/scenarios/two_cgroups.toml").resolve(), tmp_path / "gone.toml"
    run_many([plain, missing], RunOptions(), jobs=1, all_flags=True)
    assert runs.seen == ["two_cgroups", "gone"] and runs.flags == [None, None]
    # Another scheduler in the place of the file's has none of its flags.
    options = RunOptions(scheduler="none")
    run_many([flagged()], options, jobs=1, all_flags=True)
    assert runs.flags[2:] == [None]


def test_too_many_profiles_are_refused_and_the_rest_runs(
    runs: Runs, flagged: Any, capfd: Any
) -> None:
    many = "".join(f'f{n} = {{ args = ["--{n}"] }}\n' for n in range(8))
    path = flagged()
    path.write_text(path.read_text().replace("[[steps]]", f"{many}[[steps]]"))
    paths = [path, Path("configs/scenarios/two_cgroups.toml").resolve()]
    code = run_many(paths, RunOptions(), jobs=1, reports=Reports(True), all_flags=True)
    assert code == ExitCode.CANNOT_RUN
    assert runs.seen == ["two_cgroups"]
    refused, _ = json.loads(capfd.readouterr().out)["scenarios"]
    assert "scheduler.known_flags: found more than 256 combinations of flags" in refused["reason"]


def test_flags_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, flagged: Any, chosen: list[Any]
) -> None:
    ran: list[Any] = []

    def note(path: Path, options: RunOptions, **more: Any) -> ExitCode:
        ran.append(options.flags)
        return ExitCode.PASS

    monkeypatch.setattr("ktstr.cli.runner.run_to_end", note)
    for words in (["--flags", "llc+steal"], ["--flags", "default"], []):
        assert CliRunner().invoke(ktstr_run, [str(flagged()), *words]).exit_code == 0
    assert ran == [("llc", "steal"), (), None]
    done = CliRunner().invoke(ktstr_run, [str(flagged()), "--flags", "llc", "--all-flags"])
    assert done.exit_code == ExitCode.CANNOT_RUN and "not both" in done.output
    done = CliRunner().invoke(ktstr_run, [str(flagged()), "--keep-vm", "--all-flags"])
    assert done.exit_code == ExitCode.CANNOT_RUN
    assert not chosen
