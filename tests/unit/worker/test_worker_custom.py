# SPDX-License-Identifier: GPL-2.0-only
"""Custom work: the example of the guide, and programs that break the contract."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ktstr.telemetry import WorkerReport

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "guide" / "custom-work.md"


@pytest.fixture(scope="session")
def example(tmp_path_factory):
    """The guide's C program."""
    folder = tmp_path_factory.mktemp("custom")
    source = folder / "work.c"
    source.write_text(re.findall(r"```c\n(.*?)```", PAGE.read_text(), re.DOTALL)[0])
    target = folder / "work"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", target, source], check=True)
    return target


def custom(lead, program, **more):
    return lead(type="Custom", workers=more.pop("workers", 1), program=program, **more)


def test_the_example_counts_and_notes_its_wake_ups(lead, example):
    leader = custom(lead, example, workers=2, slot=4, comm="mine", seed=3)
    pids = leader.ready()
    assert [os.readlink(f"/proc/{pid}/exe") for pid in pids] == [str(example)] * 2
    reports = leader.run_on(0.5)
    for slot, message in enumerate(reports, 4):
        report = WorkerReport.from_wire(message["report"])
        assert report.completed
        assert report.tid in pids
        assert 0 < report.iterations == report.work_units == report.wake_sample_total
        # It sleeps 1 ms an iteration and cannot have done so more often.
        assert report.iterations * 1_000_000 < report.wall_time_ns
        assert min(report.wake_latencies_ns) >= 1_000_000
        assert len(report.wake_latencies_ns) == report.wake_sample_total
        assert 0.4e9 < report.wall_time_ns < leader.elapsed_ns
        assert 0 < report.schedstat_cpu_time_ns < report.wall_time_ns
        assert report.off_cpu_ns == report.wall_time_ns - report.cpu_time_ns
        assert report.cpus_used
        assert sum(report.numa_pages.values()) > 0 or not Path("/proc/self/numa_maps").exists()
        assert leader.live(slot) == report.iterations


def script(tmp_path, text):
    path = tmp_path / "program"
    path.write_text(f"#!/usr/bin/env python3\nimport json, mmap, os, struct, sys, time\n{text}")
    path.chmod(0o755)
    return path


PAGES = """
pages = mmap.mmap(int(os.environ["KTSTR_CUSTOM_FD"]), 8192)
def go():
    struct.pack_into("<I", pages, 8, 1)
    while not struct.unpack_from("<I", pages, 12)[0]:
        time.sleep(0.001)
"""


def test_what_the_control_page_says(lead, tmp_path):
    out = tmp_path / "seen"
    text = PAGES + (
        "fields = struct.unpack_from('<8IQ', pages)\n"
        f"with open({str(out)!r} + str(fields[5]), 'w') as file:\n"
        "    json.dump([fields, sys.argv[1:]], file)\n"
        "go()\n"
    )
    leader = custom(lead, script(tmp_path, text), workers=2, seed=9, args="one\x1ftwo words")
    assert all(m["report"]["completed"] for m in leader.run(0.3))
    seeds = set()
    for index in (0, 1):
        fields, words = json.loads(Path(f"{out}{index}").read_text())
        assert fields[:8] == [0x5453544B, 1, 0, 0, 0, index, 2, 0]
        assert words == ["one", "two words"]
        seeds.add(fields[8])
    assert len(seeds) == 2


def test_a_total_that_runs_away_is_bounded(lead, tmp_path):
    text = PAGES + "go()\nstruct.pack_into('<Q', pages, 4096 + 16, 2**63)\ntime.sleep(0.3)\n"
    (message,) = custom(lead, script(tmp_path, text)).run(0.2)
    report = WorkerReport.from_wire(message["report"])
    assert len(report.wake_latencies_ns) <= 256
    assert report.wake_sample_total == 2**63


def test_a_program_that_fails_reports_its_status(lead, tmp_path, until):
    leader = custom(lead, script(tmp_path, PAGES + "go()\nsys.exit(3)\n"))
    leader.ready()
    leader.send(b"S")
    until("its end is told", lambda: "exited with code 3" in leader.log())
    (message,) = leader.collect()
    assert message["report"]["completed"] is False
    assert message["report"]["exit_info"] == {"kind": "Exited", "code": 3}


def test_a_program_that_does_not_stop_is_killed(lead, tmp_path):
    text = PAGES + "go()\nwhile True:\n    time.sleep(1)\n"
    (message,) = custom(lead, script(tmp_path, text)).run(0.1)
    assert message["report"]["exit_info"] == {"kind": "TimedOut"}


def test_a_program_that_cannot_be_started_is_told(lead, tmp_path):
    leader = custom(lead, tmp_path / "none")
    error = leader.error()
    assert error.startswith("Custom: worker 0 (pid ")
    assert f"{tmp_path}/none: No such file or directory" in error


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"type": "Custom"}, "Custom: program goes with Custom, and Custom with program"),
        (
            {"type": "SpinWait", "program": "/bin/true"},
            "SpinWait: program goes with Custom, and Custom with program",
        ),
        (
            {"type": "Custom", "program": "true"},
            'Custom: program must be an absolute path, found "true"',
        ),
        (
            {"type": "Custom", "program": "/bin/true", "clone": "thread"},
            "Custom: a program of its own cannot be a thread",
        ),
    ],
)
def test_wrong_specs(lead, keys, text):
    assert lead(workers=1, **keys).error() == text


def test_the_python_example_counts_and_notes_its_wake_ups(lead, tmp_path):
    source = tmp_path / "sleeper.py"
    source.write_text(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0])
    start = f"import sys; sys.path.insert(0, {str(ROOT / 'guest')!r}); "
    start += "from agent.custom import main; main(sys.argv[1:])"
    # As many words as a scenario can cause: six, and sixteen of its own.
    words = ["-I", "-S", "-B", f"-c{start}", str(source), "naps", *["x"] * 16]
    for message in custom(lead, sys.executable, workers=2, args="\x1f".join(words)).run(0.5):
        report = WorkerReport.from_wire(message["report"])
        assert report.completed
        assert 0 < report.iterations == report.wake_sample_total
        assert report.work_units == 1000 * report.iterations
        assert report.iterations * 1_000_000 < report.wall_time_ns


def test_the_last_word_arrives(lead, tmp_path):
    out = tmp_path / "seen"
    program = script(tmp_path, PAGES + f"open({str(out)!r}, 'w').write(sys.argv[-1])\ngo()\n")
    custom(lead, program, args="\x1f".join(map(str, range(22)))).run(0.1)
    assert out.read_text() == "21"
