# SPDX-License-Identifier: GPL-2.0-only
"""Messages, loop, small readers and child processes of the agent."""

import os
import random
import signal
import struct
import time
from pathlib import Path

import pytest

from agent import system
from agent.loop import Loop, read_available
from agent.messages import LengthPrefixed
from agent.processes import Child, describe_status, wait_for_deaths
from agent.system import find_port, kernel_log_lines, parse_cpus, read_text, write_text

SLEEP = ["/bin/sleep", "60"]


def message(payload: bytes) -> bytes:
    return struct.pack("<I", len(payload)) + payload


def test_messages_come_out_whole_however_they_are_cut() -> None:
    wanted = [b"", b"one", b"x" * 70_000, b"\0\0\0\0", b"end"]
    stream = b"".join(map(message, wanted))
    dice = random.Random(7)
    for _ in range(50):
        splitter = LengthPrefixed()
        found, at = [], 0
        while at < len(stream):
            size = dice.choice((1, 2, 3, 5, 1000, 40_000))
            found += splitter.feed(stream[at : at + size])
            at += size
        assert found == wanted


def test_an_impossible_length_is_refused_before_anything_is_held() -> None:
    splitter = LengthPrefixed(limit=10)
    assert splitter.feed(message(b"0123456789")) == [b"0123456789"]
    with pytest.raises(ValueError, match="11 bytes; 10 is the limit"):
        splitter.feed(struct.pack("<I", 11))


def test_a_run_ends_at_its_deadline_or_with_its_condition(loop: Loop) -> None:
    assert loop.run(time.monotonic() - 1, lambda: True) is True
    assert loop.run(time.monotonic() - 1, lambda: False) is False
    began = time.monotonic()
    assert loop.run(began + 0.05) is False
    assert time.monotonic() >= began + 0.05


def test_events_are_served_until_the_condition_holds(loop: Loop, open_fds: None) -> None:
    read_end, write_end = os.pipe()
    got = []
    loop.add(read_end, lambda: got.append(read_available(read_end)))
    os.write(write_end, b"one")
    assert loop.run(time.monotonic() + 30, lambda: bool(got))
    os.close(write_end)
    assert loop.run(time.monotonic() + 30, lambda: got[-1] == b"")
    assert read_end in loop
    loop.remove(read_end)
    loop.remove(read_end)
    assert read_end not in loop
    os.close(read_end)


def test_a_callback_may_remove_another_that_is_due(loop: Loop) -> None:
    pipes = [os.pipe() for _ in range(2)]
    called = []

    def first_come(own: int) -> None:
        called.append(own)
        for read_end, _ in pipes:
            loop.remove(read_end)

    for read_end, write_end in pipes:
        loop.add(read_end, lambda own=read_end: first_come(own))
        os.write(write_end, b"x")
    assert loop.run(time.monotonic() + 0.05) is False
    assert len(called) == 1
    for ends in pipes:
        for fd in ends:
            os.close(fd)


def test_a_tick_can_fulfil_the_condition_with_no_event_at_all(loop: Loop) -> None:
    loop.tick_s = 0.001
    ticks = []
    loop.every_tick(lambda: ticks.append(1))
    assert loop.run(time.monotonic() + 30, lambda: len(ticks) >= 3)


def test_many_short_runs_tick_as_one_long_run_does(loop: Loop) -> None:
    loop.tick_s = 0.02
    ticks = []
    loop.every_tick(lambda: ticks.append(1))
    deadline = time.monotonic() + 30
    while len(ticks) < 4 and time.monotonic() < deadline:
        loop.run(time.monotonic() + 0.001)
    assert len(ticks) >= 4


def test_reading_tells_nothing_now_from_never_again() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    assert read_available(read_end) is None
    os.write(write_end, b"abc")
    assert read_available(read_end, 2) == b"ab"
    os.close(write_end)
    assert read_available(read_end) == b"c"
    assert read_available(read_end) == b""
    os.close(read_end)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("", []), ("0", [0]), ("0-2,5", [0, 1, 2, 5]), ("7,9-9", [7, 9]), ("0-1,4-5", [0, 1, 4, 5])],
)
def test_cpu_lists(text: str, cpus: list[int]) -> None:
    assert parse_cpus(text) == cpus


def test_a_file_that_comes_in_pages_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    # A seq_file gives at most a page per read(2); this one gives three bytes.
    whole = b"12345\n67890\n"
    rest = [whole[at : at + 3] for at in range(0, len(whole), 3)]
    monkeypatch.setattr(system.os, "open", lambda *args: -1)
    monkeypatch.setattr(system.os, "close", lambda fd: None)
    monkeypatch.setattr(system.os, "read", lambda fd, size: rest.pop(0) if rest else b"")
    assert read_text("any") == "12345\n67890"


def test_control_files(tmp_path: Path) -> None:
    path = tmp_path / "value"
    path.write_text("old")
    write_text(str(path), "new")
    assert read_text(str(path)) == "new"
    assert read_text(str(tmp_path / "none")) is None
    with pytest.raises(OSError, match=r"writing 'x'.*full"):
        write_text("/dev/full", "x")


def test_a_port_is_waited_for_and_then_missed_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "PORTS", str(tmp_path / "ports"))
    monkeypatch.setattr(system, "PORT_S", 0.05)
    with pytest.raises(FileNotFoundError, match=r"'ktstr\.bulk'"):
        find_port("ktstr.bulk")
    (tmp_path / "ports" / "null").mkdir(parents=True)
    (tmp_path / "ports" / "null" / "name").write_text("ktstr.bulk\n")
    assert find_port("ktstr.bulk") == "/dev/null"


def test_a_kernel_log_that_cannot_be_read_on_ends_the_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = [
        b"4,1,1,-;about sched_ext one\n KEY=sched_ext\n",
        BrokenPipeError(32, "overwritten"),
        b"4,3,1,-;another matter\n",
        b"4,4,1,-;sched_ext two\n",
        OSError(22, "the record is larger than the buffer"),
        b"4,5,1,-;sched_ext never read\n",
    ]

    def read(fd: int, size: int) -> bytes:
        record = records.pop(0)
        if isinstance(record, OSError):
            raise record
        return record

    monkeypatch.setattr(system.os, "open", lambda *args: -1)
    monkeypatch.setattr(system.os, "close", lambda fd: None)
    monkeypatch.setattr(system.os, "read", read)
    assert kernel_log_lines("sched_ext") == ["about sched_ext one", "sched_ext two"]


def test_a_child_gets_its_descriptors_and_default_signals(open_fds: None) -> None:
    read_end, write_end = os.pipe()
    script = "echo hello >&3; grep SigIgn /proc/self/status >&3"
    child = Child(["/bin/bash", "-c", script], {3: write_end})
    os.close(write_end)
    assert child.wait(30)
    with os.fdopen(read_end) as stream:
        lines = stream.read().splitlines()
    assert lines[0] == "hello"
    ignored = int(lines[1].split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)
    assert describe_status(child.status) == "exited with status 0"
    child.kill(signal.SIGKILL)  # of one that is gone: nothing
    child.close()
    child.close()


def test_a_child_is_killed_with_its_group(open_fds: None) -> None:
    read_end, write_end = os.pipe()
    child = Child(["/bin/bash", "-c", "sleep 60 & echo $! >&3; wait"], {3: write_end})
    os.close(write_end)
    grandchild = int(os.read(read_end, 64))
    assert not child.poll()
    assert not child.wait(0.0)
    assert describe_status(child.status) == "still running"
    child.kill(signal.SIGKILL)
    assert child.wait(30)
    assert describe_status(child.status) == "killed by signal 9"
    assert wait_for_deaths([grandchild], 30)
    child.close()
    os.close(read_end)


def test_a_program_that_cannot_start_leaves_nothing(open_fds: None) -> None:
    with pytest.raises(FileNotFoundError):
        Child(["/nonexistent/program"], {})


def test_a_child_that_cannot_be_set_up_is_not_left_running(
    open_fds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = []

    def refuse(pid: int, policy: int, param: object) -> None:
        pids.append(pid)
        raise PermissionError(1, "refused")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with pytest.raises(PermissionError):
        Child(SLEEP, {}, realtime=True)
    assert not Path(f"/proc/{pids[0]}").exists()


def test_the_death_of_others_is_waited_for() -> None:
    child = Child(SLEEP, {})
    assert not wait_for_deaths([child.pid], 0.01)
    child.kill(signal.SIGKILL)
    # Not reaped yet: a zombie runs no more.
    assert wait_for_deaths([child.pid], 30)
    assert child.wait(30)
    assert wait_for_deaths([child.pid], 0)
    child.close()


ZONEINFO = """\
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 7
  pages free     100
        spanned  4095
        present  3998
        managed  3840
Node 0, zone   Normal
        present  1000
Node 1, zone    DMA32
        present  2048
Node 1, zone   Normal
        present  0
"""


def test_the_nodes_as_the_kernel_shows_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "online").write_text("0-1\n")
    for node, (cpus, distances) in enumerate((("0-1", "10 31"), ("", "31 10"))):
        folder = tmp_path / f"node{node}"
        folder.mkdir()
        (folder / "cpulist").write_text(f"{cpus}\n")
        (folder / "distance").write_text(f"{distances}\n")
    (tmp_path / "zoneinfo").write_text(ZONEINFO)
    monkeypatch.setattr(system, "NODES", str(tmp_path))
    monkeypatch.setattr(system, "ZONES", str(tmp_path / "zoneinfo"))
    kib = os.sysconf("SC_PAGE_SIZE") // 1024
    assert system.topology()["nodes"] == [
        {"node": 0, "cpus": [0, 1], "distances": [10, 31], "memory_kib": 4998 * kib},
        {"node": 1, "cpus": [], "distances": [31, 10], "memory_kib": 2048 * kib},
    ]
