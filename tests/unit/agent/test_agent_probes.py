# SPDX-License-Identifier: GPL-2.0-only
"""The helper that probes the scheduler, played by scripts."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import probes as module
from agent.loop import Loop
from agent.probes import Probes
from agent.scheduler import Scheduler

Start = Callable[[str], Probes]


@pytest.fixture
def start(
    tmp_path: Path, loop: Loop, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    made: list[Probes] = []

    def begin(body: str) -> Probes:
        script = tmp_path / "scx_probe"
        if body:
            script.write_text(f"#!/bin/sh\n{body}\n")
            script.chmod(0o755)
        monkeypatch.setattr(module, "PROBER", str(script))
        made.append(Probes(loop, heard))
        made[-1].start()
        return made[-1]

    yield begin
    for probes in made:
        if probes.pid is not None:
            os.kill(probes.pid, signal.SIGKILL)


def test_a_helper_that_is_ready_lives_on_and_the_loader_is_told_its_pid(
    start: Start, loop: Loop, heard: Any
) -> None:
    probes = start('echo "ready: tp_btf sched_ext_exit"; exec sleep 60')
    assert probes.pid is not None
    assert heard.logged == ["probes: ready: tp_btf sched_ext_exit"]
    spec = {"kind": "bpf", "path": "/o.bpf.o", "args": [], "set": [], "timeout_ms": 20000}
    scheduler = Scheduler(spec, loop, heard)
    assert "--probe-pid" not in scheduler._argv()
    scheduler.probe_pid = probes.pid
    argv = scheduler._argv()
    assert argv[argv.index("--probe-pid") + 1] == str(probes.pid) and argv[-1] == "/o.bpf.o"


def test_a_helper_that_dies_is_not_waited_for(start: Start, heard: Any) -> None:
    began = time.monotonic()
    probes = start('echo "no kernel types"; exit 2')
    assert probes.pid is None
    assert time.monotonic() - began < module.START_S
    assert "probes: no kernel types" in heard.logged
    assert heard.logged[-1].endswith("exited with status 2")


def test_a_guest_without_the_helper_goes_on_without(start: Start, heard: Any) -> None:
    assert start("").pid is None
    assert "No such file" in heard.logged[-1]


def test_a_helper_that_never_is_ready_is_not_waited_for_longer_than_that(
    start: Start, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_S", 0.05)
    start("exec sleep 60")
    assert heard.logged[-1] == "no probes: not ready after 0.05 s at most: still running"
