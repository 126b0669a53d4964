# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr gauntlet``: choice, journal, resumption, reports, exit codes; nothing boots."""

import errno
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anyio
import pytest
from tests.unit.gauntlet.made import HOST, Kernels, write

from ktstr.cli import gauntlet_runner
from ktstr.cli.main import main
from ktstr.daemon.choose import Choice
from ktstr.errors import ExitCode, HostUnfit
from ktstr.gauntlet import journal
from ktstr.gauntlet.journal import read_journal
from ktstr.gauntlet.plan import plan
from ktstr.session.events import Emit, StepStarted
from ktstr.session.lease import Lease
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertDetail, AssertResult, DetailKind


class Runs:
    """Stands in for run_scenario; ``ends`` says how a scenario ends, by its name."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None, str | None]] = []
        self.ends: dict[str, str] = {}
        self.out_dirs: set[Path] = set()
        self.signal_at = 0

    async def __call__(
        self, path: Path, options: RunOptions, emit: Emit, *, lease: Lease
    ) -> RunRecord:
        self.seen.append((path.stem, options.topology, options.scheduler))
        self.out_dirs.add(options.out_dir)
        emit(StepStarted(1, 1, "", 1.0))
        if len(self.seen) == self.signal_at:
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep_forever()
        result = AssertResult()
        match self.ends.get(path.stem, "pass"):
            case "fail":
                result.record_fail(AssertDetail(DetailKind.OTHER, "it was slow"))
                return RunRecord("id", path.stem, ExitCode.FAIL, result)
            case "unfit":
                raise HostUnfit("no QEMU here")
        result.record_pass()
        return RunRecord("id", path.stem, ExitCode.PASS, result)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runs:
    found = Runs()

    async def limits(accel: str, max_cpus: int | None) -> Any:
        return HOST

    Kernels().install(monkeypatch)
    monkeypatch.setattr(gauntlet_runner, "run_scenario", found)
    monkeypatch.setattr(gauntlet_runner, "host_limits", limits)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "s", "one")
    write(tmp_path / "s", "two")
    return found


Gauntlet = Callable[..., tuple[int, str]]


@pytest.fixture
def gauntlet(capfd: pytest.CaptureFixture[str]) -> Gauntlet:
    """The command, in this process: its exit code and all that it said."""

    def call(*args: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["gauntlet", *args], prog_name="ktstr")
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return call


CHOSEN = ("--scenarios", "s", "--presets", "tiny-1llc,tiny-2llc", "--out", "out", "--jobs", "1")


def test_everything_runs_and_is_told(runs: Runs, gauntlet: Gauntlet, tmp_path: Path) -> None:
    runs.ends["two"] = "fail"
    reports = ("--json", "r.json", "--junit", "r.xml", "--markdown", "r.md")
    code, said = gauntlet(*CHOSEN, "--schedulers", "own,none", *reports)
    assert code == 1
    assert len(runs.seen) == 8 and runs.out_dirs == {tmp_path / "out"}
    assert "gauntlet gauntlet: 8 of 8 cells" in said
    assert "[8/8]" in said and "8 runs: 4 pass, 4 fail" in said
    document = json.loads(Path("r.json").read_text())
    assert document["exit_code"] == 1 and len(document["columns"]) == 4
    suite = ElementTree.parse("r.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("8", "4")
    names = {case.get("name") for case in suite}
    assert "two [tiny-1llc, none]" in names and "two [tiny-2llc]" in names
    asked = [p.get("value") for p in suite.iterfind(".//property[@name='asked_scheduler']")]
    assert asked == ["none"] * 4
    assert "| two | **fail** | **fail** | **fail** | **fail** |" in Path("r.md").read_text()
    found = read_journal(Path("out"))
    assert len(found.results) == 8 and found.cut == set()


def test_interrupted_it_says_how_to_go_on_and_does(
    runs: Runs, gauntlet: Gauntlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KTSTR_AUTO_REPRO", "0")  # is no choice that a resumption contradicts
    runs.signal_at = 3
    code, said = gauntlet(*CHOSEN)
    assert code == 130
    assert "interrupted; everything is cleaned up" in said
    assert "go on with: ktstr gauntlet --resume out" in said
    assert "4 runs: 2 pass, 2 not run" in said
    cut = runs.seen[2]
    runs.seen.clear()
    code, said = gauntlet("--resume", "out", "--plan")
    assert code == 0 and runs.seen == []
    assert [line.split()[-1] for line in said.splitlines() if " s  " in line] == [
        "one/tiny-2llc/own/own",
        "two/tiny-2llc/own/own",
    ]
    code, said = gauntlet("--resume", "out", "--jobs", "1")
    assert code == 0
    assert "gauntlet gauntlet: 2 of 4 cells are done, 2 to be run" in said
    assert "1 cut, repeated: one/tiny-2llc/own/own" in said
    assert len(runs.seen) == 2 and runs.seen[0] == cut
    assert "4 runs: 4 pass" in said
    runs.seen.clear()
    code, said = gauntlet("--resume", "out")
    assert code == 0 and runs.seen == [] and "4 of 4 cells are done, 0 to be run" in said


def test_a_resumption_has_what_is_left_of_the_budget(
    runs: Runs, gauntlet: Gauntlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.signal_at = 4
    assert gauntlet(*CHOSEN, "--budget", "60s")[0] == 130
    path = Path("out/gauntlet.jsonl")
    # As if each of the three had taken 18 of the 60 s.
    text = re.sub(r'"wall_s":[0-9.]+,"reason"', '"wall_s":18.0,"reason"', path.read_text())
    path.write_text(text)
    code, said = gauntlet("--resume", "out", "--json", "r.json")
    assert code == 0 and "3 of 4 cells are done, 1 to be run" in said
    assert "not run: budget: takes about 13 s, 6 s were left (1 cell)" in said
    assert json.loads(Path("r.json").read_text())["wall_s"] >= 54.0
    # Another budget is what there is from now on.
    code, said = gauntlet("--resume", "out", "--budget", "20s")
    assert code == 0 and "4 runs: 4 pass" in said


def test_what_has_changed_is_run_again_and_named(
    runs: Runs, gauntlet: Gauntlet, tmp_path: Path
) -> None:
    assert gauntlet(*CHOSEN)[0] == 0
    runs.seen.clear()
    write(tmp_path / "s", "two", hold="2s")
    code, said = gauntlet("--resume", "out", "--jobs", "1")
    assert code == 0 and "2 of 4 cells are done, 2 to be run" in said
    assert "2 changed (scenario, scheduler or kernel), repeated: two/tiny-1llc/own/own" in said
    assert [name for name, _, _ in runs.seen] == ["two", "two"]


def test_a_journal_that_can_no_longer_be_written_ends_it_with_what_there_is(
    runs: Runs, gauntlet: Gauntlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, synced = os.fdatasync, []

    def fills_up(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(journal.os, "fdatasync", fills_up)
    code, said = gauntlet(*CHOSEN)
    assert code == 4 and "cannot be written: No space left on device" in said
    assert "Traceback" not in said and "4 runs: 1 pass, 3 not run" in said
    monkeypatch.setattr(journal.os, "fdatasync", sync)
    code, said = gauntlet("--resume", "out")
    assert code == 0 and "1 of 4 cells are done, 3 to be run" in said


def test_what_could_not_run_is_tried_again(runs: Runs, gauntlet: Gauntlet) -> None:
    runs.ends["one"] = "unfit"
    code, said = gauntlet(*CHOSEN)
    assert code == 4 and "no QEMU here" in said
    runs.ends.clear()
    runs.seen.clear()
    assert gauntlet("--resume", "out")[0] == 0
    assert {name for name, _, _ in runs.seen} == {"one"}


def test_a_file_with_parts_replaced(runs: Runs, gauntlet: Gauntlet, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine", "three", more="[gauntlet]\nmax_llcs = 4")
    (tmp_path / "mine" / "my.toml").write_text(
        'scenarios = ["three.toml"]\npresets = ["all"]\n[constraints]\nmax_cpus = 8\n'
    )
    code, said = gauntlet("mine/my.toml", "--plan", "--out", "out")
    assert code == 0 and runs.seen == [] and not Path("out").exists()
    assert [line.split()[-1] for line in said.splitlines() if " s  " in line] == [
        f"three/{preset}/own/own" for preset in ("tiny-1llc", "tiny-2llc", "smt-2llc")
    ]
    chosen = ("--constraint", "requires_smt=true", "--schedulers", "none", "--out", "out")
    code, said = gauntlet("mine/my.toml", *chosen)
    assert code == 0 and runs.seen == [("three", "smt-2llc", "none")]
    assert "three/max-cpu" not in said


def test_a_budget_chooses_and_says_what_it_left(runs: Runs, gauntlet: Gauntlet) -> None:
    code, said = gauntlet(*CHOSEN, "--budget", "30s")
    assert code == 0 and len(runs.seen) == 2
    assert "gauntlet gauntlet: 2 of 4 cells, about 26 of 30 s" in said
    assert "left out: 2 by the budget" in said
    assert "left out by the budget: takes about 13 s, 4 s are left (2 cells)" in said


@pytest.mark.parametrize("budget", [(), ("--budget", "10m")], ids=["whole", "limited"])
def test_a_daemon_runs_the_cells_where_there_is_one(
    runs: Runs, gauntlet: Gauntlet, monkeypatch: pytest.MonkeyPatch, budget: tuple[str, ...]
) -> None:
    asked: list[bool] = []

    def chosen(allowed: bool) -> Choice:
        asked.append(allowed)
        return Choice(allowed, "" if allowed else "it is too old")

    remote = Runs()
    monkeypatch.setattr(gauntlet_runner, "chosen", chosen)
    monkeypatch.setattr(gauntlet_runner, "run_remotely", remote)
    assert gauntlet(*CHOSEN, *budget)[0] == 0
    assert len(remote.seen) == 4 and runs.seen == []
    code, said = gauntlet(*CHOSEN[:-4], "--out", "other", "--no-daemon", *budget)
    assert code == 0 and len(runs.seen) == 4 and "warning: it is too old" in said
    gauntlet("--resume", "out", "--plan")
    assert asked == [True, False, False]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "name a gauntlet, or --scenarios"),
        (("--resume", "out", "--scenarios", "s"), "--resume goes on with what was chosen"),
        (("--resume", "out", "--all-flags"), "--resume goes on with what was chosen"),
        (("--resume", "out", "--accel", "tcg"), "--resume goes on with what was chosen"),
        (("--resume", "nowhere"), "nowhere/gauntlet.jsonl cannot be read"),
        (("nothing",), 'no gauntlet is called "nothing"'),
        (("--scenarios", "cgroup_stedy"), 'did you mean "cgroup_steady"'),
        (("--scenarios", "s", "--presets", "tiny-1lc"), 'did you mean "tiny-1llc"'),
        (("--scenarios", "s", "--kernels", "debiam:7"), 'kernels[0]: found "debiam:7"'),
        (("--scenarios", "s", "--schedulers", "scx_nope"), "scx_nope"),
        (("--scenarios", "s", "--constraint", "max_llcs"), "KEY=VALUE"),
        (("--scenarios", "s", "--constraint", "max_llc=3"), "max_llcs"),
        (("--scenarios", "s", "--budget", "soon"), "duration"),
        (("--scenarios", "s", "--budget", "0s"), "above zero"),
        (("--scenarios", "s", "--json", "s"), "is a directory"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    runs: Runs, gauntlet: Gauntlet, args: tuple[str, ...], words: str
) -> None:
    code, said = gauntlet(*args)
    assert code == 4 and words in said and runs.seen == []
    assert "Traceback" not in said


def test_a_folder_with_a_gauntlet_is_not_taken_for_another(runs: Runs, gauntlet: Gauntlet) -> None:
    assert gauntlet(*CHOSEN)[0] == 0
    runs.seen.clear()
    code, said = gauntlet(*CHOSEN)
    assert code == 4 and "there is a gauntlet in out already" in said and runs.seen == []


def test_of_two_that_begin_in_one_folder_the_second_is_refused(
    runs: Runs, gauntlet: Gauntlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("out/gauntlet.jsonl")

    async def overtaken(*args: Any) -> Any:
        await anyio.Path(path.parent).mkdir()
        await anyio.Path(path).write_text("of another\n")
        return await plan(*args)

    monkeypatch.setattr(gauntlet_runner, "plan", overtaken)
    code, said = gauntlet(*CHOSEN)
    assert code == 4 and "there is a gauntlet in out already" in said and runs.seen == []
    assert path.read_text() == "of another\n"


def test_an_empty_journal_is_in_nobodys_way(runs: Runs, gauntlet: Gauntlet) -> None:
    Path("out").mkdir()
    Path("out/gauntlet.jsonl").touch()
    assert gauntlet(*CHOSEN)[0] == 0 and len(runs.seen) == 4


def test_a_journal_is_locked_before_it_is_read(
    runs: Runs, gauntlet: Gauntlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gauntlet(*CHOSEN)[0] == 0
    read: list[Path] = []
    monkeypatch.setattr(gauntlet_runner, "read_journal", read.append)
    with journal.open_journal(Path("out")):
        code, said = gauntlet("--resume", "out")
    assert code == 4 and "another gauntlet runs in out" in said and read == []


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        ((), "--no-repro", "began with neither --repro nor --no-repro"),
        (("--repro",), "--no-repro", "--no-repro (or KTSTR_AUTO_REPRO) contradicts the gauntlet"),
        (("--no-repro",), "--repro", "began with --no-repro"),
    ],
)
def test_a_resumption_with_another_repro_is_refused(
    runs: Runs,
    gauntlet: Gauntlet,
    monkeypatch: pytest.MonkeyPatch,
    first: tuple[str, ...],
    then: str,
    words: str,
) -> None:
    assert gauntlet(*CHOSEN, *first)[0] == 0
    runs.seen.clear()
    code, said = gauntlet("--resume", "out", then)
    assert code == 4 and words in said.replace("\n", " ") and runs.seen == []
    assert gauntlet("--resume", "out", *first)[0] == 0
    monkeypatch.setenv("KTSTR_AUTO_REPRO", "1" if then == "--repro" else "0")
    assert gauntlet("--resume", "out")[0] == 4
