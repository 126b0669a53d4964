# SPDX-License-Identifier: GPL-2.0-only
"""Programs that the host talks with: real processes, pipes and terminals here."""

import os
import sys
import time
from typing import Any

import pytest

from agent.loop import Loop
from agent.programs import READ_SIZE, Programs
from agent.scheduler import SchedulerDied
from ktstr.wire import MsgType, WireError, pack_payload
from ktstr.wire.messages import INPUT_WINDOW, OUTPUT_WINDOW

LONG_S = 30.0


class FakeScheduler:
    """One that is attached, and ends when the test says so."""

    def __init__(self) -> None:
        self.attached = True
        self.gone = False
        self.checked: list[str] = []

    def check(self, during: str) -> None:
        self.checked.append(during)
        if self.attached and self.gone:
            self.attached = False
            raise SchedulerDied(during)


class Bench:
    """Programs with a host that is the test."""

    def __init__(self, loop: Loop, heard: Any) -> None:
        self.loop, self.heard = loop, heard
        self.scheduler = FakeScheduler()
        self.over = False
        scheduler: Any = self.scheduler
        self.programs = Programs(loop, heard, scheduler, lambda: self.over)

    def tell(self, msg_type: int, **fields: object) -> None:
        self.heard.handlers[msg_type](pack_payload({"id": 1, **fields}))

    def start(self, code: str, **fields: object) -> None:
        self.begin([sys.executable, "-c", code], **fields)

    def begin(self, argv: list[str], **fields: object) -> None:
        self.ask(argv=argv, **fields)

    def ask(self, **fields: object) -> None:
        given = {"argv": ["true"], "env": ["PATH=/usr/bin:/bin"], "cwd": "/", **fields}
        self.tell(MsgType.PROGRAM_START, **given)

    def until(self, happened: Any) -> None:
        assert self.loop.run(time.monotonic() + LONG_S, happened), self.heard.sent

    def said(self, fd: int = 1) -> bytes:
        frames = self.heard.of(MsgType.PROGRAM_OUTPUT)
        return b"".join(frame["data"] for frame in frames if frame["fd"] == fd)

    def ends(self) -> dict[str, Any]:
        self.until(lambda: self.heard.of(MsgType.PROGRAM_END))
        (end,) = self.heard.of(MsgType.PROGRAM_END)
        return dict(end)


@pytest.fixture
def bench(loop: Loop, heard: Any, open_fds: None) -> Bench:
    return Bench(loop, heard)


def test_what_it_says_where_it_is_and_how_it_ends(bench: Bench) -> None:
    bench.start(
        "import os, sys; print(os.getcwd(), os.environ['WORD'], sys.stdin.read() == '');"
        "print('err', file=sys.stderr); sys.exit(3)",
        env=["WORD=a=b", "PATH=/usr/bin"],
        cwd="/usr",
    )
    assert bench.ends() == {"id": 1, "exit": {"kind": "Exited", "code": 3}}
    assert (bench.said(1), bench.said(2)) == (b"/usr a=b True\n", b"err\n")


def test_a_name_is_looked_for_in_its_own_path(bench: Bench) -> None:
    bench.begin(["true"], env=["PATH=/nowhere:/usr/bin:/bin"])
    assert bench.ends()["exit"] == {"kind": "Exited", "code": 0}


@pytest.mark.parametrize("name", ["true", "/nowhere/true"])
def test_a_program_that_is_not_there(bench: Bench, name: str) -> None:
    bench.begin([name], env=["PATH=/nowhere"])
    end = bench.ends()
    if "/" in name:
        assert end["exit"] == {"kind": "Exited", "code": 127}
        assert bench.said(2) == b"/nowhere/true did not start: No such file or directory\n"
    else:
        assert end["exit"] is None and end["error"].startswith("true: there is no such program")


def test_a_terminal_has_its_size_and_signals(bench: Bench) -> None:
    bench.start(
        "import os, signal, sys, time\n"
        "leads = os.tcgetpgrp(0) == os.getpid()\n"
        "print(os.isatty(0), os.isatty(2), *os.get_terminal_size(0), leads)\n"
        "def tell(*_): os.write(1, b'%d %d' % tuple(os.get_terminal_size(0)))\n"
        "signal.signal(signal.SIGWINCH, tell)\n"
        "print('ready', flush=True)\n"
        "time.sleep(1000)\n",
        terminal=[33, 101],
    )
    bench.until(lambda: b"ready" in bench.said())
    assert bench.said().split()[:5] == [b"True", b"True", b"101", b"33", b"True"]
    bench.tell(MsgType.PROGRAM_CONTROL, size=[20, 70])
    bench.until(lambda: b"70 20" in bench.said())
    bench.tell(MsgType.PROGRAM_INPUT, data=b"\x03")
    assert bench.ends()["exit"] == {"kind": "Signaled", "signal": 2}


def test_no_more_goes_out_than_the_host_has_room_for(bench: Bench) -> None:
    size = 3 * OUTPUT_WINDOW
    bench.start(f"import sys; sys.stdout.buffer.write(bytes({size}))")
    bench.until(lambda: len(bench.said()) >= OUTPUT_WINDOW)
    # Whatever else would come has time to.
    bench.loop.run(time.monotonic() + 0.2)
    assert OUTPUT_WINDOW <= len(bench.said()) <= OUTPUT_WINDOW + READ_SIZE
    bench.tell(MsgType.PROGRAM_CONTROL, read=len(bench.said()))
    bench.until(lambda: len(bench.said()) >= 2 * OUTPUT_WINDOW)
    bench.tell(MsgType.PROGRAM_CONTROL, read=2 * OUTPUT_WINDOW)
    bench.until(lambda: len(bench.said()) == size)
    bench.tell(MsgType.PROGRAM_CONTROL, read=size)
    assert bench.ends()["exit"] == {"kind": "Exited", "code": 0}


def test_input_goes_on_as_it_is_taken(bench: Bench) -> None:
    bench.start(
        "import sys, time; time.sleep(0.3)\nprint(len(sys.stdin.buffer.read()))", input=True
    )
    # More than a pipe holds.
    bench.tell(MsgType.PROGRAM_INPUT, data=bytes(INPUT_WINDOW))
    taken = bench.heard.of(MsgType.PROGRAM_STATE)
    bench.tell(MsgType.PROGRAM_INPUT, data=bytes(INPUT_WINDOW // 2), end=False)
    with pytest.raises(WireError, match="room"):
        bench.tell(MsgType.PROGRAM_INPUT, data=bytes(INPUT_WINDOW))
    bench.until(lambda: bench.heard.of(MsgType.PROGRAM_STATE)[-1]["taken"] == INPUT_WINDOW * 3 // 2)
    assert taken
    bench.tell(MsgType.PROGRAM_INPUT, data=b"x", end=True)
    assert bench.ends()["exit"] == {"kind": "Exited", "code": 0}
    assert bench.said() == f"{INPUT_WINDOW * 3 // 2 + 1}\n".encode()


def test_input_for_who_does_not_read_is_dropped(bench: Bench) -> None:
    bench.start(
        "import os, time; os.close(0); print('closed', flush=True); time.sleep(0.2)", input=True
    )
    bench.until(lambda: b"closed" in bench.said())
    bench.tell(MsgType.PROGRAM_INPUT, data=b"abc")
    assert bench.heard.of(MsgType.PROGRAM_STATE)[-1]["taken"] == 3
    assert bench.ends()["exit"] == {"kind": "Exited", "code": 0}


def test_a_sign_of_life_and_a_signal(bench: Bench) -> None:
    bench.start("import time; time.sleep(1000)")
    bench.tell(MsgType.PROGRAM_CONTROL)
    assert bench.heard.of(MsgType.PROGRAM_STATE) == [{"id": 1, "taken": 0}]
    bench.tell(MsgType.PROGRAM_CONTROL, signal=9)
    assert bench.ends()["exit"] == {"kind": "Signaled", "signal": 9}
    # Of one that has ended, nothing is said.
    bench.tell(MsgType.PROGRAM_CONTROL)
    assert len(bench.heard.of(MsgType.PROGRAM_STATE)) == 1


@pytest.mark.parametrize("terminal", [None, [24, 80]])
def test_what_it_leaves_behind_does_not_hold_its_end_up(
    bench: Bench, terminal: list[int] | None
) -> None:
    began = time.monotonic()
    code = (
        "import os, signal, time; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "pid = os.fork()\nif not pid: time.sleep(1000)\nprint(pid, flush=True)"
    )
    bench.start(code, terminal=terminal)
    assert bench.ends()["exit"] == {"kind": "Exited", "code": 0}
    os.kill(int(bench.said()), 9)
    assert time.monotonic() - began < LONG_S


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": "true"},
        {"argv": [1]},
        {"env": {"A": "b"}},
        {"cwd": None},
        {"terminal": [24]},
        {"terminal": [24, -1]},
        {"terminal": "80x24"},
    ],
)
def test_what_is_no_request(bench: Bench, fields: dict[str, object]) -> None:
    with pytest.raises(WireError):
        bench.ask(**fields)


def test_a_scheduler_that_ends_ends_nothing_else(bench: Bench) -> None:
    bench.start("print('first')")
    bench.loop.every_tick(lambda: setattr(bench.scheduler, "gone", True))

    def later() -> None:
        if not bench.scheduler.attached:
            bench.over = True

    bench.loop.every_tick(later)
    bench.programs.run()
    assert bench.heard.of(MsgType.SCENARIO_START)[0]["steps"] == 0
    assert bench.scheduler.checked == ["the shell", "the shell"]
    assert bench.ends()["exit"] == {"kind": "Exited", "code": 0}
    assert bench.said() == b"first\n"
