# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr selftests`` in real guests: a runner that misbehaves on purpose, and the kernel's own."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.vm.conftest import Finished, Ktstr

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

RUNNER = Path(__file__).with_name("scripted_runner.c")
SUBDIR = "tools/testing/selftests/sched_ext"
BPFTOOL = "bootstrap:\n\t@mkdir -p $(OUTPUT)bootstrap\n\t@touch $(OUTPUT)bootstrap/bpftool\n"
MAKEFILE = "$(OUTPUT)/runner: runner.c\n\t@mkdir -p $(OUTPUT)\n\tgcc -Wall -o $@ $<\n"
FILES = {
    "Makefile": "VERSION = 7\nPATCHLEVEL = 2\nSUBLEVEL = 13\n",
    "Kconfig": "",
    "arch/x86/Kconfig": "",
    "tools/bpf/bpftool/Makefile": BPFTOOL,
    f"{SUBDIR}/Makefile": MAKEFILE,
    f"{SUBDIR}/runner.c": RUNNER.read_text(),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """As much of a kernel's source tree as the self-tests are made from."""
    tree = tmp_path / "linux"
    for name, text in FILES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tree


def selftests(ktstr: Ktstr, *args: str) -> tuple[Finished, dict[str, Any]]:
    """Run them; what is printed, and the JSON document."""
    report = ktstr.folder / "report.json"
    process = ktstr.command("selftests", "--json", str(report), *args)
    done = ktstr.finish(process)
    assert report.is_file(), done.output
    return done, json.loads(report.read_text())


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {test["name"]: test["verdict"] for test in report["tests"]}


def test_passes_failures_and_skips_are_told_apart(ktstr: Ktstr, source: Path) -> None:
    junit = ktstr.folder / "report.xml"
    args = ("--source", str(source), "--filter", "plain", "--junit", str(junit))
    done, report = selftests(ktstr, *args)
    assert done.code == 1, done.output
    good, failing, skipping = report["tests"]
    assert (good["name"], good["verdict"]) == ("plain_good", "pass")
    # In the order in which they were written, though one is buffered and the other is not.
    assert good["output"] == "first, on standard output\nsecond, on standard error"
    assert (failing["verdict"], failing["reason"]) == (
        "fail",
        "failing.c:7: Expected 1 == 2 (1 == 2)",
    )
    assert failing["output"].endswith("\nno end of this line ")
    assert [line for line in failing["kernel_log"] if "said by the failing test" in line]
    assert skipping["reason"] == "the test skipped itself: this machine has no third CPU"
    assert (report["problems"], report["lost"]) == ([], None)
    assert "1 passed, 1 failed, 1 skipped in" in done.output
    assert "said by the failing test" in done.output
    root = ElementTree.parse(junit).getroot()
    assert [root.get(n) for n in ("tests", "failures", "errors", "skipped")] == ["3", "1", "0", "1"]


def test_what_follows_a_test_that_hangs_does_not_run(ktstr: Ktstr, source: Path) -> None:
    args = ("--source", str(source), "--filter", "hang", "--timeout", "3")
    done, report = selftests(ktstr, *args)
    assert done.code == 1, done.output
    expected = {"hang_good": "pass", "hang_here": "fail", "hang_last": "not run"}
    assert verdicts(report) == expected
    assert report["tests"][1]["reason"] == "it had not ended after 3 s"
    assert report["tests"][1]["output"] == "waits for what never comes"


def test_a_panic_is_the_failure_of_its_test_and_a_lost_guest(ktstr: Ktstr, source: Path) -> None:
    done, report = selftests(ktstr, "--source", str(source), "--filter", "panic")
    assert done.code == 3, done.output
    expected = {"panic_good": "pass", "panic_here": "fail", "panic_last": "not run"}
    assert verdicts(report) == expected
    assert "panic" in report["lost"]
    assert [line for line in report["tests"][1]["kernel_log"] if "Kernel panic" in line]


def test_a_runner_that_dies_fails_the_test_it_was_at(ktstr: Ktstr, source: Path) -> None:
    done, report = selftests(ktstr, "--source", str(source), "--filter", "die")
    assert done.code == 1, done.output
    assert verdicts(report) == {"die_here": "fail", "die_last": "not run"}
    assert report["tests"][0]["reason"] == "the runner was ended by signal 6"


def test_the_kernels_own_tests_run_on_it(ktstr: Ktstr) -> None:
    # Made of the source package of the kernel's version; of those that schedule, the quickest.
    done, report = selftests(ktstr, "--filter", "enq_last")
    assert done.code == 0, done.output
    assert verdicts(report) == {"enq_last_no_enq_fails": "pass"}
    assert report["tests"][0]["description"]
