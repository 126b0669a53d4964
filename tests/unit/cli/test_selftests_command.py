# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr selftests`` without a VM: options, what is printed, files, exit status."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anyio
import pytest
from click.testing import CliRunner, Result

from ktstr.cli import selftester
from ktstr.cli.main import main
from ktstr.errors import GuestLost, KernelUnfit
from ktstr.session.selftests import SelftestOptions, SelftestRun
from ktstr.verdict.selftests import Began, Selftest, SelftestReport

PASSED = Selftest("minimal", "pass", "", "Loads", "", 0.4)
FAILED = Selftest("exit", "fail", "exit.c:7: no", "Exits", "ERR: exit.c:7\nno", 1.0)


class Session:
    """Stands in for what runs the tests."""

    def __init__(self) -> None:
        self.options: SelftestOptions | None = None
        self.results: tuple[Selftest, ...] = (PASSED,)
        self.raw = b""
        self.lost: str | None = None
        self.error: BaseException | None = None
        self.then: Callable[[], object] = lambda: None

    async def run(
        self, options: SelftestOptions, emit: Any, news: Callable[[Any], None], output: Any
    ) -> SelftestRun:
        self.options = options
        if self.error is not None:
            raise self.error
        for result in self.results:
            news(Began(result.name))
            output(self.raw)
            news(result)
        self.then()
        report = SelftestReport(self.results, (self.lost,) if self.lost else (), self.lost)
        return SelftestRun(report, "6.12.0", "1n1l2c1t", "tcg", 2.0)

    async def list(self, options: SelftestOptions, emit: Any) -> tuple[Selftest, ...]:
        self.options = options
        return self.results


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    made = Session()
    monkeypatch.setattr(selftester, "run_selftests", made.run)
    monkeypatch.setattr(selftester, "list_selftests", made.list)
    return made


def command(*args: str) -> Result:
    return CliRunner().invoke(main, ["selftests", *args], catch_exceptions=False)


def test_options_reach_the_session(session: Session, tmp_path: Path) -> None:
    args = ("--kernel", "k", "--topology", "t", "--memory", "2G", "--filter", "w", "--timeout", "7")
    assert command(*args, "--source", str(tmp_path)).exit_code == 0
    assert session.options == SelftestOptions("k", "t", "2G", "w", tmp_path, 7.0)


def test_a_pass_and_a_failure(session: Session) -> None:
    good = command()
    assert good.exit_code == 0
    assert "pass    minimal" in good.output
    assert good.output.splitlines()[-1].startswith("1 passed in 2.0 s; kernel 6.12.0")
    session.results = (PASSED, FAILED)
    bad = command()
    assert bad.exit_code == 1
    assert "--- exit: exit.c:7: no" in bad.output
    assert "    ERR: exit.c:7" in bad.output


def test_a_lost_guest_has_its_own_status_and_shows_what_did_not_run(session: Session) -> None:
    session.results = (FAILED, Selftest("hotplug", "not run", "not reached"))
    session.lost = "the guest kernel panicked"
    result = command()
    assert result.exit_code == 3
    assert "not run hotplug" in result.output
    assert "problem: the guest kernel panicked" in result.output


@pytest.mark.parametrize(
    ("error", "code"), [(KernelUnfit("no source", hint="give it"), 4), (GuestLost("gone"), 3)]
)
def test_what_cannot_run_is_told_with_its_status(
    session: Session, error: BaseException, code: int
) -> None:
    error.add_note("last words\x1b[2J")
    session.error = error
    result = command()
    assert result.exit_code == code
    assert f"error: {error}" in result.output
    assert "  last words?[2J" in result.output


def test_a_defect_of_ktstr_is_no_verdict(session: Session) -> None:
    session.error = RuntimeError("a defect")
    result = command()
    assert result.exit_code == 4
    assert "RuntimeError: a defect" in result.output


def test_both_reports_are_written(session: Session, tmp_path: Path) -> None:
    session.results = (PASSED, FAILED)
    files = tmp_path / "new" / "r.json", tmp_path / "new" / "r.xml"
    assert command("--json", str(files[0]), "--junit", str(files[1])).exit_code == 1
    assert json.loads(files[0].read_text())["counts"]["fail"] == 1
    assert ElementTree.parse(files[1]).getroot().get("failures") == "1"


def test_a_report_that_cannot_be_written_is_known_before_anything_runs(
    session: Session, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = command("--junit", str(tmp_path / "file" / "r.xml"))
    assert (result.exit_code, session.options) == (4, None)


def test_a_report_that_cannot_be_written_in_the_end_is_no_pass(
    session: Session, tmp_path: Path
) -> None:
    session.then = (tmp_path / "r.json").mkdir
    result = command("--json", str(tmp_path / "r.json"))
    assert result.exit_code == 4
    assert "r.json cannot be written" in result.output


def test_what_the_tests_print_is_shown_on_demand(session: Session) -> None:
    session.raw = b"TEST: minimal\r\n\x1b[31mhalf"
    assert "TEST" not in command().output
    shown = command("-v").output.splitlines()
    at = shown.index("  TEST: minimal")
    assert shown[at + 1] == "  ?[31mhalf"
    assert shown[at + 2].startswith("pass    minimal")


def test_a_list_is_alone_on_standard_output(session: Session) -> None:
    session.results = (PASSED, Selftest("numa", "skip"))
    result = command("--list")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["minimal                         Loads", "numa"]


def test_mistakes_on_the_command_line_cannot_run(session: Session) -> None:
    for args in (("--timeout", "0"), ("--nonsense",), ("--source", __file__)):
        assert command(*args).exit_code == 4
    assert session.options is None


def test_a_signal_ends_it_cleanly(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forever(*args: Any) -> SelftestRun:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()
        raise AssertionError("nothing comes after that")

    monkeypatch.setattr(selftester, "run_selftests", forever)
    result = command()
    assert result.exit_code == 130
    assert "interrupted; everything is cleaned up" in result.output
