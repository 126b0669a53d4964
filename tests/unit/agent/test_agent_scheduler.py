# SPDX-License-Identifier: GPL-2.0-only
"""The life of a scheduler as the agent sees it, with a loader that plays a part."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import scheduler as module
from agent.loop import Loop
from agent.processes import wait_for_deaths
from agent.scheduler import Scheduler, SchedulerDied
from ktstr.wire import MsgType

LONG_S = 30.0

PREAMBLE = f"""#!{sys.executable}
import os, signal, struct, sys, time
import msgpack

def raw(data):
    os.write(3, data)

def say(**event):
    payload = msgpack.packb(event)
    raw(struct.pack("<I", len(payload)) + payload)

def on_term(action):
    signal.signal(signal.SIGTERM, lambda *_: action())

def attach():
    say(event="loaded", progs=[])
    say(event="attached", ops="fake", ns=1)

"""
STAY = "time.sleep(60)\n"
DUTIFUL = """
def leave():
    say(event="exit", kind=64, kind_name="UNREG", exit_code=0, reason="r", msg="", dump="")
    os._exit(0)
on_term(leave)
attach()
"""


class Play:
    """Builds schedulers whose loader does what a test says."""

    def __init__(self, folder: Path, loop: Loop, heard: Any) -> None:
        self.script = folder / "loader"
        self.loop, self.heard = loop, heard
        self.state: str | None = "disabled"
        loop.tick_s = 0.005

    def scheduler(self, body: str, kind: str = "bpf", **spec: Any) -> Scheduler:
        self.script.write_text(PREAMBLE + body)
        self.script.chmod(0o755)
        path = str(self.script) if kind == "binary" else "/sched/object.bpf.o"
        whole = {"kind": kind, "path": path, "args": [], "set": [], "timeout_ms": 20000, **spec}
        return Scheduler(whole, self.loop, self.heard)

    def attached(self, body: str, kind: str = "bpf") -> Scheduler:
        self.state = "enabled"
        scheduler = self.scheduler(body, kind)
        scheduler.start()
        assert scheduler.attached
        return scheduler

    def wait(self, until: Callable[[], bool]) -> None:
        assert self.loop.run(time.monotonic() + LONG_S, until)

    def exit_frame(self) -> dict[str, Any]:
        (frame,) = self.heard.of(MsgType.SCHEDULER_EXIT)
        return dict(frame)


@pytest.fixture
def play(
    tmp_path: Path, loop: Loop, heard: Any, open_fds: None, monkeypatch: pytest.MonkeyPatch
) -> Play:
    made = Play(tmp_path, loop, heard)
    monkeypatch.setattr(module, "LOADER", str(made.script))
    monkeypatch.setattr(module, "sched_ext_state", lambda: made.state)
    monkeypatch.setattr(module, "sched_ext_ops", lambda: "theirs")
    monkeypatch.setattr(module, "kernel_log_lines", lambda needle: ["sched_ext: a line"])
    monkeypatch.setattr(module, "EXIT_GRACE_S", 5.0)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *args: None)
    return made


def test_a_loader_that_attaches_and_leaves_on_request(play: Play) -> None:
    scheduler = play.attached("print('a word', flush=True)\n" + DUTIFUL + STAY)
    scheduler.check("step 1")
    assert not scheduler.gone
    events = [status["event"] for status in play.heard.of(MsgType.SCHEDULER_STATUS)]
    assert events == ["loaded", "attached"]
    scheduler.stop()
    assert play.heard.of(MsgType.SCHEDULER_EXIT) == []
    said = "".join(frame["text"] for frame in play.heard.of(MsgType.SCHEDULER_LOG))
    assert said == "a word\n"


def test_the_command_line_of_an_object(play: Play) -> None:
    scheduler = play.scheduler("", set=[["a", "1"], ["b", "x=y"]], timeout_ms=5000)
    assert scheduler._argv() == [
        str(play.script),
        *("--timeout-ms", "5000", "--set", "a=1", "--set", "b=x=y", "/sched/object.bpf.o"),
    ]


def test_the_kernels_own_scheduler_needs_nothing(play: Play) -> None:
    scheduler = play.scheduler("", kind="none", path=None)
    scheduler.start()
    scheduler.check("step 1")
    scheduler.stop()
    assert play.heard.sent == []


@pytest.mark.parametrize("ready", [True, False])
def test_an_exit_record_while_it_is_needed_is_its_death(play: Play, ready: bool) -> None:
    # The process may be gone with its record or linger behind it.
    end = "os._exit(1)\n" if ready else STAY
    record = "say(event='exit', kind=1026, kind_name='ERROR_STALL', reason='stall')\n"
    scheduler = play.attached("attach()\ntime.sleep(0.05)\n" + record + end)
    module.EXIT_GRACE_S = 0.05 if not ready else LONG_S
    play.wait(lambda: scheduler.gone)
    with pytest.raises(SchedulerDied):
        scheduler.check("step 2")
    frame = play.exit_frame()
    assert (frame["during"], frame["record"]["kind"]) == ("step 2", 1026)
    assert frame["process"] == ("exited with status 1" if ready else "still running")
    assert frame["kernel_log"] == "sched_ext: a line"
    scheduler.check("step 2")  # told once
    scheduler.stop()
    assert len(play.heard.of(MsgType.SCHEDULER_EXIT)) == 1


def test_a_killed_loader_is_a_death_without_a_record(play: Play) -> None:
    scheduler = play.attached("attach()\n" + STAY)
    assert scheduler.pid is not None
    os.kill(scheduler.pid, signal.SIGKILL)
    play.wait(lambda: scheduler.gone)
    with pytest.raises(SchedulerDied):
        scheduler.check("step 1")
    frame = play.exit_frame()
    assert (frame["process"], frame["record"]) == ("killed by signal 9", None)
    scheduler.stop()


def test_an_ejected_scheduler_is_noticed_though_its_process_lives(play: Play) -> None:
    module.EXIT_GRACE_S = 0.05
    scheduler = play.attached(DUTIFUL + STAY)
    play.state = "disabled"
    play.wait(lambda: scheduler.gone)
    with pytest.raises(SchedulerDied):
        scheduler.check("step 1")
    assert play.exit_frame()["process"] == "still running"
    scheduler.stop()


def test_a_load_that_fails_is_told_with_its_stage(play: Play) -> None:
    body = "say(event='error', stage='load', errno=13, message='no')\nsys.exit(2)\n"
    scheduler = play.scheduler(body)
    with pytest.raises(SchedulerDied):
        scheduler.start()
    frame = play.exit_frame()
    assert frame["error"]["stage"] == "load"
    assert frame["process"] == "exited with status 2"
    assert not scheduler.was_attached
    scheduler.stop()


def test_an_attachment_that_never_comes_has_a_deadline(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXIT_GRACE_S", 0.01)
    scheduler = play.scheduler(STAY, attach_ms=100)
    with pytest.raises(SchedulerDied):
        scheduler.start()
    assert "not attached within 0.1 s of its start" in play.exit_frame()["error"]["message"]
    scheduler.stop()


def test_a_binary_is_attached_when_the_kernel_says_so(play: Play) -> None:
    scheduler = play.scheduler(STAY, kind="binary")
    asked = []

    def state() -> str:
        asked.append(1)
        return "enabled" if len(asked) > 3 else "enabling"

    module.sched_ext_state = state
    scheduler.start()
    assert scheduler.attached
    assert play.heard.of(MsgType.SCHEDULER_STATUS) == [{"event": "attached", "ops": "theirs"}]
    scheduler.stop()


def test_a_binary_that_ends_before_it_attaches(play: Play) -> None:
    scheduler = play.scheduler("sys.exit(7)\n", kind="binary")
    with pytest.raises(SchedulerDied):
        scheduler.start()
    frame = play.exit_frame()
    assert frame["process"] == "exited with status 7"
    message = "exited with status 7 before it was attached"
    assert frame["error"] == {"stage": "start", "message": message}
    scheduler.stop()


def test_a_binary_may_write_anything_on_its_descriptor_three(play: Play) -> None:
    body = "raw(b'\\xff' * 100)\ntime.sleep(0.05)\nsys.exit(0)\n"
    scheduler = play.scheduler(body, kind="binary")
    with pytest.raises(SchedulerDied):
        scheduler.start()
    assert any("descriptor 3" in line for line in play.heard.logged)
    scheduler.stop()


def test_a_status_that_is_no_map_is_logged_and_skipped(play: Play) -> None:
    scheduler = play.attached("raw(struct.pack('<I', 1) + b'\\x05')\n" + DUTIFUL + STAY)
    assert any("cannot be read" in line for line in play.heard.logged)
    scheduler.stop()


@pytest.mark.parametrize(("missing", "words"), [(True, "No such file"), (False, "interpreter")])
def test_a_program_that_cannot_be_started(play: Play, missing: bool, words: str) -> None:
    scheduler = play.scheduler("", kind="binary")
    if missing:
        play.script.unlink()
    else:
        play.script.write_text("#!/nonexistent/interpreter\n")
    with pytest.raises(SchedulerDied):
        scheduler.start()
    error = play.exit_frame()["error"]
    assert error["stage"] == "start" and words in error["message"]
    assert scheduler.pid is None
    scheduler.stop()


def test_a_scheduler_that_ignores_its_end_is_killed(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.1)
    scheduler = play.attached("on_term(lambda: None)\nattach()\nwhile True: time.sleep(1)\n")
    pid = scheduler.pid
    assert pid is not None
    scheduler.stop()
    assert wait_for_deaths([pid], 0)
    assert any("ignored SIGTERM" in line for line in play.heard.logged)


def test_a_failure_found_while_stopping_is_not_lost(play: Play) -> None:
    body = """
def leave():
    say(event="exit", kind=1025, kind_name="ERROR_BPF", reason="late")
    os._exit(1)
on_term(leave)
attach()
"""
    scheduler = play.attached(body + STAY)
    with pytest.raises(SchedulerDied):
        scheduler.stop()
    assert play.exit_frame()["record"]["reason"] == "late"


def test_of_a_log_that_is_too_long_both_ends_arrive(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_CAP", 6000)
    monkeypatch.setattr(module, "LOG_END", 10_000)
    monkeypatch.setattr(module, "LOG_FRAME", 4096)
    body = """
os.write(1, b"first" + b"x" * 4995)
for _ in range(90):
    time.sleep(0.001)
    os.write(1, b"y" * 1000)
os.write(1, b"z" * 9000 + b" why")
say(event="after")
"""
    scheduler = play.attached(DUTIFUL.replace("attach()", body + "attach()") + STAY)
    scheduler.stop()
    said = "".join(frame["text"] for frame in play.heard.of(MsgType.SCHEDULER_LOG))
    gap = 5000 + 90_000 + 9004 - 6000 - 10_000
    left_out = f"\n[{gap} bytes of the scheduler's log are left out here]\n"
    assert said == f"first{'x' * 4995}{'y' * 1000}{left_out}{'y' * 996}{'z' * 9000} why"


def test_the_end_of_a_log_arrives_though_somebody_keeps_the_pipe(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_CAP", 10)
    body = """
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(2)
    os._exit(0)
os.write(1, b"first line\\nlast line\\n")
"""
    scheduler = play.attached(DUTIFUL.replace("attach()", body + "attach()") + STAY)
    scheduler.stop()
    said = "".join(frame["text"] for frame in play.heard.of(MsgType.SCHEDULER_LOG))
    assert said == "first line\nlast line\n"


@pytest.fixture(autouse=True)
def restored() -> Any:
    """Tests change the module's patience directly."""
    grace, state = module.EXIT_GRACE_S, module.sched_ext_state
    yield
    module.EXIT_GRACE_S, module.sched_ext_state = grace, state


def test_a_wanted_detach_is_no_death_and_another_may_follow(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = play.attached(DUTIFUL + STAY)
    state = lambda: "enabled" if scheduler.attached else "disabled"  # noqa: E731
    monkeypatch.setattr(module, "sched_ext_state", state)
    first = scheduler.pid
    scheduler.detach("step 1")
    assert scheduler.pid is None
    play.loop.run(time.monotonic() + 0.05)
    scheduler.check("step 1")
    assert not scheduler.gone
    scheduler.attach(None, "step 2")
    assert scheduler.pid not in (None, first)
    scheduler.restart("step 3")
    play.loop.run(time.monotonic() + 0.05)
    scheduler.check("step 3")
    assert scheduler.attached
    events = [status["event"] for status in play.heard.of(MsgType.SCHEDULER_STATUS)]
    assert events == ["loaded", "attached", "detached"] * 2 + ["loaded", "attached"]
    assert play.heard.of(MsgType.SCHEDULER_EXIT) == []
    scheduler.stop()


def test_a_scheduler_that_does_not_come_back_is_told_with_the_place(play: Play) -> None:
    scheduler = play.attached(DUTIFUL + STAY)
    play.state = "disabled"
    scheduler.detach("step 1")
    play.script.write_text(PREAMBLE + 'say(event="error", stage="load", message="no")\n')
    with pytest.raises(SchedulerDied):
        scheduler.attach(None, "step 2")
    exit_frame = play.exit_frame()
    assert (exit_frame["during"], exit_frame["error"]["stage"]) == ("step 2", "load")
    scheduler.stop()


def test_a_kernel_that_does_not_let_go_is_an_error(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = play.attached(DUTIFUL + STAY)
    monkeypatch.setattr(module, "STOP_S", 1.0)
    with pytest.raises(ValueError, match="still enabled 1 s after"):
        scheduler.detach("step 1")


def test_sysctls_are_set_in_order_and_one_that_fails_says_which(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrote: list[tuple[str, str]] = []

    def write(path: str, text: str) -> None:
        if "nothing" in path:
            raise FileNotFoundError(2, "No such file or directory", path)
        wrote.append((path, text))

    monkeypatch.setattr(module, "write_text", write)
    pairs = [["kernel.a_b", "1"], ["net.x.y", "2 3"], ["kernel.nothing", "0"]]
    scheduler = play.scheduler(DUTIFUL + STAY, sysctls=pairs)
    with pytest.raises(SchedulerDied):
        scheduler.start()
    assert wrote == [("/proc/sys/kernel/a_b", "1"), ("/proc/sys/net/x/y", "2 3")]
    assert play.exit_frame()["error"] == {
        "stage": "sysctl",
        "message": "sysctl kernel.nothing = 0: No such file or directory",
    }
