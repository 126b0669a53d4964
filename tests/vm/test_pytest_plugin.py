# SPDX-License-Identifier: GPL-2.0-only
"""The example project in real guests, several at a time, and what ends one before its time."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.vm.conftest import MARK, PATIENCE_S, ROOT, Ktstr

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

EXAMPLE = ROOT / "docs" / "examples" / "pytest"

MORE = '''
import pytest

QUICK = """
[vm]
topology = "1n1l2c1t"
memory = "512M"
[scheduler]
bpf = "scx_ktstr"
[run]
auto_repro = false
[[steps]]
name = "only"
hold = "{hold}"
[[steps.cgroups]]
name = "a"
works = [{{ type = "SpinWait", workers = 2 }}]
"""
SHORT = QUICK.format(hold="500ms")
GREEDY = SHORT + "[checks]\\nmin_iteration_rate = 1e12\\n"


@pytest.mark.ktstr(GREEDY)
def test_fails(): pass


@pytest.mark.ktstr(SHORT)
def test_measures_nothing(): pass


@pytest.mark.ktstr(SHORT, kernel="path:/nowhere/bzImage")
def test_cannot_run(): pass
'''

LONG = """
import pytest
from test_more import QUICK

@pytest.mark.ktstr(QUICK.format(hold="100s"))
def test_takes_long(ktstr): pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example project, without what an earlier run may have left there."""
    target = tmp_path / "project"
    shutil.copytree(EXAMPLE, target, ignore=shutil.ignore_patterns("ktstr-runs", "__pycache__"))
    (target / "test_more.py").write_text(MORE)
    return target


def start(ktstr: Ktstr, folder: Path, args: Sequence[str]) -> "subprocess.Popen[str]":
    """Start pytest in a process group of its own, marked so that its children are found."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *args],
        cwd=folder,
        env={**os.environ, MARK: ktstr.mark, "TMPDIR": str(ktstr.folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    ktstr.started.append(process)
    return process


def test_the_example_runs_on_two_workers_and_tells_programs_what_it_found(
    ktstr: Ktstr, folder: Path
) -> None:
    process = start(ktstr, folder, ["-n", "2", "-v", "--junit-xml=out.xml", "--ktstr-jobs=2"])
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, output
    found = {
        case.attrib["name"]: case for case in ElementTree.parse(folder / "out.xml").iter("testcase")
    }
    ends = {
        name: next((child.tag for child in case if child.tag != "properties"), "passed")
        for name, case in found.items()
    }
    expected = dict.fromkeys(found, "passed") | {
        "test_cgroups_stay_on_their_llcs[1n1l2c1t]": "skipped",
        "test_fails": "failure",
        "test_measures_nothing": "failure",
        "test_cannot_run": "error",
    }
    assert ends == expected, output
    assert {
        "smoke",
        "test_cgroups_stay_on_their_llcs[1n2l1c1t]",
        "test_a_stall_is_found",
    } <= ends.keys()
    # What a worker found out reached the process that writes the file.
    properties = {
        each.attrib["name"]: each.attrib["value"] for each in found["test_fails"].iter("property")
    }
    assert (properties["verdict"], properties["topology"]) == ("fail", "1n1l2c1t")
    record = json.loads(Path(properties["sidecar"]).read_text())
    assert float(properties["worst_gap_ms"]) == record["metrics"]["worst_gap_ms"]
    assert Path(properties["evidence"]).is_dir()
    assert Path(properties["sidecar"]).parent == folder / "ktstr-runs"
    stall = {
        each.attrib["name"]: each.attrib["value"]
        for each in found["test_a_stall_is_found"].iter("property")
    }
    assert stall["verdict"] == "fail"

    assert "test_more.py::test_measures_nothing" in output
    assert re.search(r"INCONCLUSIVE test_more\.py::test_measures_nothing - inconclusive: ", output)
    assert re.search(r"FAILED test_more\.py::test_fails - fail: test_fails: \[Benchmark\] ", output)
    assert re.search(r"CANNOT RUN test_more\.py::test_cannot_run - cannot run: ", output)
    assert re.search(r"^SKIPPED .*: not on topology 1n1l2c1t: ", output, re.MULTILINE)
    assert re.search(r"^-+ stats -+$\n(.*\n)+?^Step\[0\] only a ", output, re.MULTILINE)
    assert re.search(
        r"^ktstr-run .*/ktstr-runs/scenarios/test_fails-\w+\.toml$", output, re.MULTILINE
    )
    assert "Traceback" not in output
    assert re.search(
        r"^ktstr: 10 runs, \d+ of cloned guests, [\d.]+ s in guests$", output, re.MULTILINE
    )


def test_ctrl_c_ends_the_guest_in_the_midst_of_a_step(ktstr: Ktstr, folder: Path) -> None:
    (folder / "test_long.py").write_text(LONG)
    process = start(ktstr, folder, ["-s", "test_long.py"])
    ktstr.read_until(process, "Step[0] only, 1 of 1")
    assert ktstr.qemu_pid()
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "KeyboardInterrupt" in output
    ktstr.check_nothing_is_left()


def test_ctrl_c_ends_the_guests_of_workers(ktstr: Ktstr, folder: Path) -> None:
    (folder / "test_long.py").write_text(LONG)
    process = start(ktstr, folder, ["-n", "2", "test_long.py"])
    ktstr.qemu_pid()
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    ktstr.check_nothing_is_left()


def test_a_time_limit_of_pytest_ends_the_guest(ktstr: Ktstr, folder: Path) -> None:
    (folder / "test_long.py").write_text(LONG)
    process = start(ktstr, folder, ["--timeout=6", "test_long.py"])
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == pytest.ExitCode.TESTS_FAILED, output
    assert "Timeout" in output
    ktstr.check_nothing_is_left()
