# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr show``: a record on the screen again."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from ktstr.cli.main import main as ktstr
from ktstr.errors import ExitCode
from ktstr.metrics import PhaseBucket, ScenarioStats
from ktstr.report.verdict import print_record
from ktstr.series.sample import MissingStats, MissingStatsReason, Sample, SampleSeries
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.write import write_sidecar
from ktstr.telemetry import CgroupStats, PhaseCgroupStats, TaggedReport, WorkerReport
from ktstr.verdict import AssertDetail, AssertResult, DetailKind


def record(name: str = "demo", run_id: str = "id") -> RunRecord:
    left = PhaseCgroupStats(num_workers=2, total_iterations=10, metrics={"page_locality": 0.5})
    phase = PhaseBucket(1, "Step[0]", metrics={"iteration_rate": 5.0}, per_cgroup={"left": left})
    backdrop = CgroupStats(cgroup_name="noise", num_workers=1, total_iterations=8)
    stats = ScenarioStats.from_cgroups(
        [backdrop], phases=[phase], ext_metrics={"worst_wake_latency_cv": 0.75}
    )
    result = AssertResult(stats=stats)
    result.record_fail(AssertDetail(DetailKind.STUCK, "Step[0] left: gap \x1b[2J"))
    result.note("a word")
    report = WorkerReport(iterations=8, wall_time_ns=2_000_000_000, completed=True)
    return RunRecord(
        run_id,
        name,
        ExitCode.FAIL,
        result,
        reports=[TaggedReport(0, "noise", 0, 0, 0, "SpinWait", report)],
        facts={"steps": [{"index": 1, "name": "calm"}], "scheduler": {"exit": {"kind": 1026}}},
        evidence=Path("out/demo.evidence"),
        scheduler_tail=("it stalled",),
    )


def show(*args: object) -> Result:
    return CliRunner().invoke(ktstr, ["show", *map(str, args)])


def test_it_is_what_the_run_printed(tmp_path: Path) -> None:
    made = record()
    made.sidecar = write_sidecar(tmp_path, made)
    out = io.StringIO()
    print_record(Console(file=out, width=80, soft_wrap=True), made)
    done = show(made.sidecar)
    assert (done.stdout, done.exit_code) == (out.getvalue(), 0)
    for words in ("Step[0] calm left", "whole run    noise", "it stalled", "gap ?[2J", "a word"):
        assert words in done.stdout, words


def test_lost_and_inconclusive_runs_are_shown_too(tmp_path: Path) -> None:
    lost = RunRecord("id", "lost", ExitCode.GUEST_LOST, error="boom", console_tail=("[1] boom",))
    done = show(write_sidecar(tmp_path, lost))
    assert done.stdout.startswith("--- kernel log (end) ---\n[1] boom\n\nGUEST LOST  lost  exit 3")
    assert done.exit_code == 0


def test_json_is_the_file(tmp_path: Path) -> None:
    path = write_sidecar(tmp_path, record())
    assert show("--json", path).stdout == path.read_text()


def test_more_is_shown_on_request(tmp_path: Path) -> None:
    path = write_sidecar(tmp_path, record())
    brief, metrics, phases = (show(path, *option) for option in ([], ["--metrics"], ["--phases"]))
    assert "worst_wake_latency_cv" not in brief.stdout and "page_locality" not in brief.stdout
    assert "worst_wake_latency_cv" in metrics.stdout and "page_locality" not in metrics.stdout
    assert "worst_wake_latency_cv" not in phases.stdout and "page_locality" in phases.stdout


def test_of_a_folder_the_newest_is_shown_and_of_files_each(tmp_path: Path) -> None:
    paths = [write_sidecar(tmp_path, record(name)) for name in ("zz_old", "new", "aa_old")]
    for path, seconds in zip(paths, (10, 30, 20), strict=True):
        os.utime(path, (seconds, seconds))
    (tmp_path / "later.json").write_text("{}")
    assert "FAIL  new  exit 1" in show(tmp_path).stdout
    assert show(tmp_path).stdout.count("FAIL") == 1
    done = show(paths[2], paths[0])
    assert done.stdout.index("FAIL  aa_old") < done.stdout.index("FAIL  zz_old")


def test_without_a_name_the_folder_of_ktstr_run_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "ktstr-runs cannot be read" in show().stderr
    write_sidecar(Path("ktstr-runs"), record())
    assert "FAIL  demo  exit 1" in show().stdout


def test_what_cannot_be_read_is_told_and_the_rest_shown(tmp_path: Path) -> None:
    good = write_sidecar(tmp_path / "good", record())
    bad = tmp_path / "bad.ktstr.json"
    bad.write_text(json.dumps(json.loads(good.read_text()) | {"name": 7}))
    empty = tmp_path / "empty"
    empty.mkdir()
    done = show(tmp_path / "none", bad, empty, good)
    assert done.exit_code == ExitCode.CANNOT_RUN
    assert "FAIL  demo  exit 1" in done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [
        f"error: {tmp_path}/none cannot be read: No such file or directory",
        f"error: {bad}: field 'name' is 7; expected text of at most 255 characters",
        f"error: no record in {empty}: nothing there ends in .ktstr.json",
    ]


def test_a_bad_option_is_no_verdict(tmp_path: Path) -> None:
    assert show("--nonsense").exit_code == ExitCode.CANNOT_RUN


def test_a_guest_cannot_steer_the_terminal(tmp_path: Path) -> None:
    made: Any = record()
    made.console_tail = made.scheduler_tail = ("\x1b[2J",)
    made.facts["steps"] = [{"index": 1, "name": "\x1b]0;t\x07"}]
    done = show(write_sidecar(tmp_path, made), "--metrics", "--phases", "--timeline")
    assert done.exit_code == 0 and not set(done.stdout) & set("\x1b\x07")


def test_the_schedulers_statistics_with_its_own_words(tmp_path: Path) -> None:
    made = record()
    late = MissingStatsReason(MissingStats.CANCELLED, "late \x1b[2J")
    figures = [{"busy": n, "by": {"a.b": {"util": n / 2}}, "on": True} for n in (1, 2)]
    made.samples = SampleSeries(
        [Sample("a", stats=figures[0]), Sample("b", stats=late), Sample("c", stats=figures[1])]
    )
    made.facts["stats_meta"] = {
        "Top": {
            "top": "true",
            "fields": {
                "busy": {"datum": "u64", "desc": "how [busy] \x1b[2J"},
                "by": {"dict": {"datum": {"struct": "Layer"}, "key": "string"}},
            },
        },
        "Layer": {"fields": {"util": {"datum": "float", "desc": "its share"}}},
    }
    path = write_sidecar(tmp_path, made)
    assert "its share" not in show(path).stdout
    rows = [line.split() for line in show("--stats", path).stdout.splitlines()]
    assert ["busy", "1", "2", "how", "[busy]", "?[2J"] in rows
    assert ["by.a.b.util", "0.5", "1", "its", "share"] in rows
    assert ["on", "true", "true"] in rows
    assert ["1", "samples", "without", "statistics:", "cancelled:", "late", "?[2J"] in rows
    none = write_sidecar(tmp_path, record(run_id="other"))
    assert "no sample has statistics" in show("--stats", none).stdout
