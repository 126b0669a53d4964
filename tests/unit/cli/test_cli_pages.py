# SPDX-License-Identifier: GPL-2.0-only
"""``--html``: a page of one run, a list with pages beside it of several, and what goes wrong."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.unit.report.page_records import lost, run

from ktstr.cli import many as many_module
from ktstr.cli import runner as runner_module
from ktstr.cli.main import main as ktstr
from ktstr.cli.many import run_many
from ktstr.cli.reports import Reports, check_reports
from ktstr.cli.runner import run_to_end
from ktstr.errors import ExitCode, HostUnfit, OutputUnwritable
from ktstr.report.page.html import page_html
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.write import write_sidecar


def show(*args: object) -> Result:
    return CliRunner().invoke(ktstr, ["show", *map(str, args)])


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])["data"]
    return data


def recorded(folder: Path, record: RunRecord) -> Path:
    folder.mkdir(exist_ok=True)
    record.sidecar = write_sidecar(folder, record)
    return record.sidecar


def test_show_writes_the_page_of_a_record(tmp_path: Path) -> None:
    record = run()
    sidecar = recorded(tmp_path / "a", record)
    page = tmp_path / "new" / "page.html"
    done = show("--html", page, sidecar)
    assert (done.exit_code, done.output) == (0, "")
    assert page.read_text() == page_html(record)
    # Of a folder the newest record, as without the option.
    page.unlink()
    assert show("--html", page, tmp_path / "a").exit_code == 0 and page.exists()


def test_show_writes_a_list_of_several_with_pages_that_do_not_collide(tmp_path: Path) -> None:
    paths = [recorded(tmp_path / "a", run()), recorded(tmp_path / "b", run())]
    paths.append(recorded(tmp_path / "a", lost()))
    page = tmp_path / "all runs.html"
    assert show("--html", page, *paths).exit_code == 0
    rows = data_of(page)["rows"]
    assert [(row["label"], row["verdict"]) for row in rows] == [
        ("made_up", "fail"),
        ("made_up", "fail"),
        ("gone", "guest lost"),
    ]
    assert [row["href"] for row in rows] == [
        "all%20runs.runs/made_up-20260101-000000-abcd.html",
        "all%20runs.runs/made_up-20260101-000000-abcd-2.html",
        "all%20runs.runs/gone-20260101-000001-abcd.html",
    ]
    folder = tmp_path / "all runs.runs"
    assert data_of(folder / "gone-20260101-000001-abcd.html")["verdict"] == "lost"
    assert len(list(folder.iterdir())) == 3


def test_a_record_that_cannot_be_read_is_an_error_and_the_rest_is_written(tmp_path: Path) -> None:
    good = recorded(tmp_path, run())
    bad = tmp_path / "bad.ktstr.json"
    bad.write_text("{}")
    page = tmp_path / "x.html"
    done = show("--html", page, bad, good)
    assert done.exit_code == 4 and "is no record of ktstr" in done.stderr
    assert len(data_of(page)["rows"]) == 1
    assert show("--html", tmp_path, good).exit_code == 4, "a folder is no file"
    blocked = show("--html", good / "x.html", good)
    assert blocked.exit_code == 4 and "cannot be written" in blocked.stderr


async def ends(path: Path, options: RunOptions, *more: Any, **rest: Any) -> RunRecord:
    """Stands in for run_scenario."""
    if path.stem == "unfit":
        raise HostUnfit("no QEMU here", hint="install it")
    record = run(failing=path.stem == "bad")
    record.name = path.stem
    record.sidecar = write_sidecar(options.out_dir, record)
    return record


def test_a_run_leaves_its_page_whatever_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(runner_module, "run_scenario", ends)
    page = tmp_path / "page.html"
    options = RunOptions(out_dir=tmp_path)
    code = run_to_end(Path("bad.toml"), options, as_json=False, html_file=page)
    assert code == ExitCode.FAIL and data_of(page)["name"] == "bad"
    assert "FAIL  bad  exit 1" in capfd.readouterr().out, "people read what they read before"


def test_a_page_that_cannot_be_written_is_known_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    async def never(*args: Any, **more: Any) -> RunRecord:
        raise AssertionError("it ran")

    monkeypatch.setattr(runner_module, "run_scenario", never)
    (tmp_path / "file").write_text("")
    page = tmp_path / "file" / "page.html"
    code = run_to_end(Path("good.toml"), RunOptions(), as_json=False, html_file=page)
    assert code == ExitCode.CANNOT_RUN and "cannot be written" in capfd.readouterr().out


def test_a_trace_that_cannot_be_written_is_known_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    async def never(*args: Any, **more: Any) -> RunRecord:
        raise AssertionError("it ran")

    monkeypatch.setattr(runner_module, "run_scenario", never)
    monkeypatch.setattr(many_module, "run_scenario", never)
    (tmp_path / "file").write_text("")
    # The trace of one run is a file, those of several are in a folder.
    for place in (tmp_path, tmp_path / "file" / "t.pftrace"):
        code = run_to_end(Path("a.toml"), RunOptions(), as_json=False, perfetto_file=place)
        assert code == ExitCode.CANNOT_RUN and "cannot be written" in capfd.readouterr().out
    paths = [Path("a.toml"), Path("b.toml")]
    for place in (tmp_path / "file", tmp_path / "file" / "traces"):
        with pytest.raises(OutputUnwritable, match="cannot be written"):
            run_many(paths, RunOptions(), reports=Reports(perfetto_file=place))
    check_reports(Reports(perfetto_file=tmp_path / "new" / "t.pftrace"), single=True)
    check_reports(Reports(perfetto_file=tmp_path / "traces"))
    assert [*(tmp_path / "new").iterdir()] == [] and (tmp_path / "traces").is_dir()


def test_several_runs_leave_a_list_with_those_that_never_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_module, "run_scenario", ends)
    monkeypatch.setattr(many_module, "surveyed", lambda turns: turns)
    page = tmp_path / "list.html"
    paths = [Path(f"{name}.toml") for name in ("good", "unfit", "bad")]
    options = RunOptions(out_dir=tmp_path)
    assert run_many(paths, options, jobs=1, reports=Reports(html_file=page)) == ExitCode.CANNOT_RUN
    rows = data_of(page)["rows"]
    assert [(row["label"], row["verdict"]) for row in rows] == [
        ("unfit", "cannot run"),
        ("bad", "fail"),
        ("good", "pass"),
    ]
    assert rows[0]["href"] == "" and "no QEMU here" in rows[0]["reason"]
    assert rows[1]["reason"].startswith("[Stuck] Step[1] step 2 cg0: ")
    assert data_of(tmp_path / rows[2]["href"])["verdict"] == "pass"
