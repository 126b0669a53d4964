# SPDX-License-Identifier: GPL-2.0-only
"""A project whose runs are made up: what a scenario is called is how its run ends."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

# Loaded here, so that pytester, which forgets what a run imported, does not load numpy twice.
from ktstr.errors import DefinitionInvalid, ExitCode, GuestHung, HostUnfit, KernelLacks, Problem
from ktstr.metrics import PhaseBucket, ScenarioStats
from ktstr.pytest_plugin import execute, fixture, reports  # noqa: F401
from ktstr.pytest_plugin.request import RunRequest
from ktstr.session.events import Note, StageDone
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertDetail, AssertResult, DetailKind, PassDetail, exit_code
from ktstr.verdict.result import require_evaluated

CONFTEST = """
from tests.unit.pytest_plugin.project import fake_run

def pytest_ktstr_run(request):
    return fake_run(request)
"""

BODY = """
[vm]
topology = "1n1l2c1t"
[scheduler]
kernel_default = true
[[steps]]
name = "spin"
hold = "1s"
[[steps.cgroups]]
name = "a"
works = [{ type = "SpinWait", workers = 2 }]
"""


def text(name: str) -> str:
    """A scenario of that name."""
    return f'name = "{name}"\n{BODY}'


def _result(name: str) -> AssertResult:
    result = AssertResult(
        stats=ScenarioStats(
            total_migrations=7,
            worst_gap_ms=12,
            ext_metrics={"iteration_rate": 250.5},
            phases=(PhaseBucket(0, "BASELINE"), PhaseBucket(1, "Step[0]")),
        )
    )
    if name == "passes":
        result.confirm(PassDetail("max_gap_ms", "le", "12", "100"))
    elif name == "fails":
        result.record_fail(AssertDetail(DetailKind.BENCHMARK, "too slow by half"))
        result.record_fail(AssertDetail(DetailKind.OTHER, "and another thing"))
    elif name == "skips":
        result.record_skip(AssertDetail(DetailKind.SKIP, "no second LLC here"))
    elif name == "inconclusive":
        result.record_inconclusive(AssertDetail(DetailKind.OTHER, "nothing was measured"))
    return result


def _refused(name: str) -> None:
    if name == "cannot_run":
        raise HostUnfit("no QEMU is here", hint="apt-get install qemu-system-x86")
    if name == "lacks":
        raise KernelLacks("debian:6.1 lacks sched_ext", hint="another kernel")
    if name == "invalid":
        raise DefinitionInvalid([Problem("x.toml", 3, "steps", "1", "a list of steps")])
    if name == "lost_early":
        raise GuestHung("the guest said nothing")


def fake_run(request: RunRequest) -> RunRecord:
    """The record of a run that never was, and a line about it in ``made.jsonl``."""
    name = tomllib.loads(request.scenario.read_text()).get("name", request.scenario.stem)
    options = request.options
    out = options.out_dir
    out.mkdir(parents=True, exist_ok=True)
    asked = {
        "name": name,
        "file": str(request.scenario),
        "kernel": options.kernel,
        "topology": options.topology,
        "scheduler": options.scheduler,
        "flags": options.flags,
        "clock": options.clock,
        "seed": options.seed,
        "timeout": options.timeout_s,
        "memory_mib": options.memory_mib,
        "auto_repro": options.auto_repro,
        "repetition": request.repetition,
        "nodeid": request.nodeid,
    }
    with open(out / "made.jsonl", "a") as file:
        file.write(json.dumps(asked) + "\n")
    _refused(name)
    request.emit(StageDone("boot", "booted the pretended guest", 0.1))
    request.emit(Note("a remark on the way"))
    number = len((out / "made.jsonl").read_text().splitlines())
    if name == "fails_second":
        name = "fails" if request.repetition == 2 else "passes"
    record = RunRecord(f"id-{number}", name, ExitCode.PASS)
    if name == "lost":
        record.error = "the guest kernel panicked: Oops\n  hint: read kernel.log"
        record.exit_code = ExitCode.GUEST_LOST
        record.console_tail = ("the kernel's last words",)
    else:
        record.result = require_evaluated(_result(name))
        record.exit_code = exit_code(record.result)
    record.facts = {
        "kernel": {"spec": options.kernel or "debian:7", "release": "7.2.0-fake"},
        "topology": options.topology or "1n1l2c1t",
        "accelerator": "tcg",
        "scheduler": {"kind": "bpf", "path": options.scheduler or "scx_ktstr"},
        "steps": [{"index": 1, "phase": "Step[0]", "name": "spin", "hold_ms": 1000}],
        "notes": ["the run's own remark"],
    }
    record.host = {"start": "clone" if number % 2 else "cold", "wall_s": 1.25}
    record.sidecar = out / f"{name}-{number}.ktstr.json"
    if record.exit_code:
        record.evidence = out / f"{name}-{number}.evidence"
    return record


Project = Callable[..., pytest.RunResult]


def made(path: Path) -> list[dict[str, Any]]:
    """What the project's tests asked for, in order."""
    file = path / "ktstr-runs" / "made.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def cases(path: Path) -> dict[str, ElementTree.Element]:
    """The test cases of a JUnit file by name."""
    return {case.attrib["name"]: case for case in ElementTree.parse(path).iter("testcase")}


def case_properties(case: ElementTree.Element) -> dict[str, str]:
    """The properties of a test case."""
    return {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
