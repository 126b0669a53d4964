# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr verifier``, with kernels that answer at once."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from ktstr.cli import verifying
from ktstr.cli.main import main as ktstr
from ktstr.errors import ExitCode, HostUnfit
from ktstr.series.programs import VerifiedProgram
from ktstr.session.options import RunOptions
from ktstr.session.verifier import Loading

ENQUEUE = VerifiedProgram("enqueue", "struct_ops", "sched_ext_ops.enqueue", 40, 1200, 8)
REFUSED = VerifiedProgram("dispatch", verified=906, refused="Permission denied")
ANSWERS = {
    "debian:7": Loading("debian:7", "7.2", "pass", ExitCode.PASS, "", (ENQUEUE,)),
    "debian:6.19": Loading(
        "debian:6.19", "6.19", "fail", ExitCode.FAIL, "refused", (REFUSED,), "x\n" * 90
    ),
    "debian:6.12": Loading("debian:6.12", "6.12", "skip", ExitCode.PASS, "no sched_ext"),
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, RunOptions]]:
    """What was loaded where, in order."""
    seen: list[tuple[str, str, RunOptions]] = []

    async def load(
        scheduler: str, kernel: str, options: RunOptions, emit: Any, *, limit: int | None
    ) -> Loading:
        seen.append((scheduler, kernel, options))
        if kernel == "path:none":
            raise HostUnfit("no room")
        return ANSWERS[kernel].within(limit)

    monkeypatch.setattr(verifying, "load_on", load)
    return seen


def verifier(*args: object) -> Result:
    return CliRunner().invoke(ktstr, ["verifier", *map(str, args)])


def test_the_default_kernel_and_the_table(asked: Any) -> None:
    done = verifier("mine.o", "--topology", "1n1l4c1t")
    assert done.exit_code == 0, done.output
    assert [each[:2] for each in asked] == [("mine.o", "debian:7")]
    assert asked[0][2].topology == "1n1l4c1t"
    assert "enqueue sched_ext_ops.enqueue    40    1,200" in done.output


def test_several_kernels_in_order_and_the_worst_decides(asked: Any) -> None:
    done = verifier("mine.o", "--kernels", "debian:7,debian:6.19", "--kernels", "debian:6.12")
    assert done.exit_code == 1
    assert [kernel for _, kernel, _ in asked] == ["debian:7", "debian:6.19", "debian:6.12"]
    assert "FAIL         mine.o on 6.19" in done.output
    assert "[the line above repeated 69 times]" in done.output
    assert done.output.splitlines().count("x") == 1 + 20, "the first, and the last lines"


def test_raw_leaves_the_log_as_it_is(asked: Any) -> None:
    done = verifier("mine.o", "--kernels", "debian:6.19", "--raw")
    assert done.output.splitlines().count("x") == 90


def test_the_limit_fails_what_loads(asked: Any) -> None:
    assert verifier("mine.o", "--limit", 1200).exit_code == 0
    done = verifier("mine.o", "--limit", 1199)
    assert done.exit_code == 1
    assert "enqueue: 1200 instructions verified, more than 1199" in done.output


def test_skips_alone_are_no_pass(asked: Any) -> None:
    assert verifier("mine.o", "--kernels", "debian:6.12").exit_code == 2


@pytest.mark.parametrize(
    "args", [["none"], ["mine.o", "--limit", "0"], ["mine.o", "--limit", "1000001"], []]
)
def test_a_wrong_command_line_cannot_run(asked: Any, args: list[str]) -> None:
    assert verifier(*args).exit_code == 4
    assert asked == []


def test_the_reports(asked: Any, tmp_path: Path) -> None:
    made, xml = tmp_path / "deep" / "v.json", tmp_path / "v.xml"
    verifier("mine.o", "--kernels", "debian:7,debian:6.19,debian:6.12", "--json", made,
             "--junit", xml)  # fmt: skip
    values = json.loads(made.read_text())
    assert [each["verdict"] for each in values["kernels"]] == ["pass", "fail", "skip"]
    assert values["kernels"][0]["programs"][0]["verified"] == 1200
    suites = ElementTree.fromstring(xml.read_text())
    assert suites.attrib["failures"] == "1"
    assert [suite.attrib["skipped"] for suite in suites] == ["0", "0", "1"], "one for each kernel"
    first, second, third = suites.iter("testcase")
    properties = {each.attrib["name"]: each.attrib["value"] for each in first.iter("property")}
    assert (properties["kernel"], properties["verified.enqueue"]) == ("7.2", "1200")
    failure = second.find("failure")
    assert failure is not None and failure.attrib["message"] == "refused"
    assert third.find("skipped") is not None


def test_what_was_found_before_an_obstacle_is_told(asked: Any, tmp_path: Path) -> None:
    made = tmp_path / "v.json"
    done = verifier("mine.o", "--kernels", "debian:7,path:none,debian:6.19", "--json", made)
    assert done.exit_code == 4 and "error: no room" in done.output
    assert "PASS         mine.o on 7.2" in done.output
    values = json.loads(made.read_text())
    assert values["exit_code"] == 4 and len(values["kernels"]) == 1


def test_a_report_that_cannot_be_written_is_told_before_anything_runs(
    asked: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = verifier("mine.o", "--junit", tmp_path / "file" / "v.xml")
    assert done.exit_code == 4 and asked == []
