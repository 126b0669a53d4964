# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr verify-determinism`` with runs that are made up: what it says of equal and other ones."""

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ktstr.cli import determinism
from ktstr.cli.main import main
from ktstr.errors import ExitCode
from ktstr.session import run as run_module
from ktstr.session.identity import identity_of
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.wire import FrameWriter, MsgType, pack_payload

Verify = Callable[..., Result]


def frames_of(*payloads: dict[str, object]) -> bytes:
    out = bytearray()
    writer = FrameWriter(out.extend)
    for payload in payloads:
        writer.send(MsgType.AGENT_LOG, pack_payload(payload))
    return bytes(out)


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Verify:
    """The command over made-up runs: each is (frames, facts), the last one stays."""
    scenario = tmp_path / "x.toml"
    scenario.write_text("")

    def call(runs: list[tuple[bytes, dict[str, object]]], *args: str) -> Result:
        turns = itertools.chain(runs, itertools.repeat(runs[-1]))
        numbers = itertools.count(1)

        async def run(path: Path, options: RunOptions, emit: Any) -> RunRecord:
            assert (options.clock, options.keep_frames) == ("virtual", True)
            assert options.auto_repro is False
            frames, facts = next(turns)
            made = RunRecord(str(next(numbers)), "x", ExitCode.FAIL)
            made.facts = {"virtual": {"seed": options.seed}, **facts}
            made.facts["identity"] = identity_of({**facts, "frames": frames.hex()})
            place = tmp_path / f"{made.run_id}.frames.bin"
            place.write_bytes(frames)
            made.host = {"frames": str(place), "guest_s": 2.0, "wall_s": 3.0, "slowdown": 1.5}
            made.sidecar = tmp_path / f"{made.run_id}.ktstr.json"
            made.sidecar.write_text(json.dumps(made.facts))
            return made

        monkeypatch.setattr(run_module, "run_scenario", run)
        return CliRunner().invoke(main, ["verify-determinism", str(scenario), *args])

    return call


ONE = frames_of({"text": "a"}, {"text": "b"})
OTHER = frames_of({"text": "a"}, {"text": "c"})


def test_equal_runs_are_deterministic_whatever_their_verdict(verify: Verify) -> None:
    done = verify([(ONE, {})], "-n", "3", "--seed", "7")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert [line.rpartition("  ")[2] for line in lines[1:3]] == ["the same"] * 2
    assert "deterministic: 3 of 3 runs are the same; seed 7, identity " in lines[3]
    assert lines[4] == "2.00 s of the guest took 3.00 s (1.50 times as long)"


def test_the_first_frame_that_differs_is_shown(verify: Verify) -> None:
    done = verify([(ONE, {}), (ONE, {}), (OTHER, {})], "-n", "4")
    assert done.exit_code == 1
    assert done.output.count("DIFFERENT") == 2
    assert done.output.count("the first difference: frame 1, AGENT_LOG") == 1
    rows = [line.split() for line in done.output.splitlines()]
    assert ["run", "1", "run", "3"] in rows
    assert ["text", "b", "c"] in rows
    assert "NOT DETERMINISTIC: 2 of 4 runs differ from the first" in done.output


def test_a_record_that_differs_counts_though_the_frames_do_not(verify: Verify) -> None:
    done = verify([(ONE, {"notes": ["x"]}), (ONE, {"notes": ["y"]})], "-n", "2")
    assert done.exit_code == 1
    assert "the first difference: the record, notes" in done.output


def test_every_other_run_is_beside_a_busy_host(
    verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    started: list[list[str]] = []
    genuine = determinism.subprocess.Popen

    def popen(command: list[str]) -> Any:
        started.append(command)
        return genuine(command)

    monkeypatch.setattr(determinism.subprocess, "Popen", popen)
    done = verify([(ONE, {})], "-n", "4", "--load")
    assert done.exit_code == 0
    assert [", the host busy" in line for line in done.output.splitlines()[:4]] == [
        False,
        True,
        False,
        True,
    ]
    assert "4 of 4 runs are the same, 2 of them on a busy host" in done.output
    assert len(started) == 4, "a hog for each CPU, in each of two runs"


def children() -> set[str]:
    """The children of this process; other tests may have left some (a fork server, say)."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_hogs_are_gone_afterwards() -> None:
    before = children()
    with determinism._busy_host(1):
        hogs = children() - before
        assert len(hogs) == 1
    assert not hogs & children()


@pytest.mark.parametrize("args", [["-n", "1"], ["--seed", "-1"], ["--nonsense"]])
def test_a_bad_command_line_is_no_answer(verify: Verify, args: list[str]) -> None:
    assert verify([(ONE, {})], *args).exit_code == ExitCode.CANNOT_RUN


def test_what_cannot_run_says_so(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[run]\nseed = true\n")
    done = CliRunner().invoke(main, ["verify-determinism", str(bad)])
    assert done.exit_code == ExitCode.CANNOT_RUN
    assert "run.seed" in done.output
