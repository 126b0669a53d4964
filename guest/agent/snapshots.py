# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots that the guest takes of itself, where the host may only listen.

They fall at the boundaries that the host would freeze at. What the kernel shows is read by a
helper, ``scx_snap``; this passes it on in GuestSnapshot frames, with its place in the workload.
"""

from __future__ import annotations

import mmap
import os
import struct
import time

from agent.channel import Channel
from agent.loop import Loop, read_available
from agent.processes import REAP_S, SIGKILL, Child, describe_status
from agent.relay import CANCELLED, StatsSocket
from ktstr.wire import MsgType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READER = "/ktstr/bin/scx_snap"
OBJECT = "/ktstr/sched/snap.bpf.o"
# It reads the kernel's types; under emulation that takes most of a second.
START_S = 15.0
ANSWER_S = 5.0
STATS_S = 2.0
LOG_CAP = 64 * 1024
# A frame takes 16 MiB; the rest is for what stands around the helper's bytes.
AREA = 14 * 1024 * 1024
ABANDON_AFTER_FAILURES = 2
# Snapshots that wait for statistics; each may be as large as a frame.
MAX_OPEN = 4
STATS_LINE = b'{"req":"stats","args":{"target":"top"}}\n'
META_LINE = b'{"req":"stats_meta"}\n'

_ANSWER = struct.Struct("<II")  # 0 or an errno, then the length of what is in the area


class WorkloadClock:
    """Seconds of workload: what holds have lasted, without what stops them.

    Moments are those of ``time.monotonic()``; a second start or stop changes nothing.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._total = 0.0

    def start(self, now: float) -> None:
        """A hold begins or goes on."""
        if self._since is None:
            self._since = now

    def stop(self, now: float) -> None:
        """The hold ends or pauses."""
        if self._since is not None:
            self._total += now - self._since
            self._since = None

    def elapsed(self, now: float) -> float:
        """Workload time so far."""
        return self._total if self._since is None else self._total + now - self._since

    def moment(self, elapsed: float) -> float | None:
        """When that much workload will have passed; None while the clock stands."""
        return None if self._since is None else self._since + elapsed - self._total


class Snapshots:
    """Takes the snapshots of one run.

    :ivar wanted: whether this run's snapshots are the guest's to take: its clock is virtual.
    :ivar clock: the workload's clock, which the engine starts and stops.
    """

    def __init__(self, plan: dict[str, Any], loop: Loop, channel: Channel) -> None:
        self.wanted = plan.get("clock") == "virtual"
        self.clock = WorkloadClock()
        self._loop = loop
        self._channel = channel
        self._due = [float(ms) for ms in plan.get("boundaries_ms") or ()] if self.wanted else []
        self._fired = 0
        self._failures = 0
        self._reader = Reader(loop, channel)
        has_scheduler = plan.get("scheduler", {}).get("kind", "none") != "none"
        self._stats = StatsSocket(loop) if has_scheduler else None
        # Those that wait for the scheduler's answer, in order; the first one's question is out.
        self._open: list[dict[str, object]] = []
        self._asked_at = 0.0
        self._asked_meta = False
        self._silent = 0
        self._asked_for = self.wanted and any(op["op"] == "CaptureSnapshot" for op in _ops(plan))

    def prepare(self) -> None:
        """Start the helper ahead of the scheduler, where boundaries or ops will need it."""
        if self._due or self._asked_for:
            self._reader.start()

    def due(self) -> float | None:
        """Monotonic moment of the next boundary; None when none is left or the clock stands."""
        if self._fired == len(self._due):
            return None
        return self.clock.moment(self._due[self._fired] / 1000)

    def take_next(self, step: int) -> None:
        """Take the snapshot of the next boundary; two failures in a row abandon the rest."""
        ordinal = self._fired
        self._fired += 1
        if self.take(f"periodic_{ordinal:03d}", round(self._due[ordinal]), step):
            self._failures = 0
            return
        self._failures += 1
        if self._failures == ABANDON_AFTER_FAILURES:
            left = len(self._due) - self._fired
            self._fired = len(self._due)
            self._channel.log(f"{left} snapshots abandoned after two failures in a row")

    def take(self, tag: str, boundary_ms: int | None, step: int) -> bool:
        """Take one snapshot; whether there is one, or only the reason why not.

        It is sent when the scheduler has answered what its statistics are, which is asked at the
        same instant and which the workload does not wait for.

        :param boundary_ms: the workload time it was due at; None for one that a step asks for.
        """
        elapsed = self.clock.elapsed(time.monotonic())
        body, error = self._reader.read()
        fields: dict[str, object] = {
            "tag": tag,
            "elapsed_ms": int(elapsed * 1000),
            "boundary_ms": boundary_ms,
            "step": step,
            "stats": None,
            "meta": None,
            "body": body,
            "error": error,
        }
        if self._stats is None:
            self._channel.send(MsgType.GUEST_SNAPSHOT, fields)
        else:
            self._give_up_late()
            if len(self._open) == MAX_OPEN:
                self._stats.give_up("the scheduler did not answer in time for later snapshots")
            self._open.append(fields)
            if len(self._open) == 1:
                self._ask(STATS_LINE)
        return error is None

    def finish(self) -> None:
        """Send what still waits for an answer; to be called while the scheduler still runs."""
        while self._open:
            self._loop.run(self._asked_at + STATS_S, lambda: not self._open)
            self._give_up_late()

    def _ask(self, line: bytes) -> None:
        assert self._stats is not None and self._open
        self._asked_at = time.monotonic()
        if self._silent < ABANDON_AFTER_FAILURES:
            self._stats.ask(line, self._answered)
        else:
            error = "the scheduler did not answer twice in a row and is not asked again"
            self._answered({"line": None, "error": error, "kind": CANCELLED})

    def _give_up_late(self) -> None:
        if self._open and time.monotonic() >= self._asked_at + STATS_S:
            assert self._stats is not None
            self._silent += 1
            self._stats.give_up(f"the scheduler did not answer within {STATS_S:g} s")

    def _answered(self, answer: dict[str, object]) -> None:
        """The scheduler's answer, as StatsReply carries it, for the one that waits longest."""
        fields = self._open[0]
        if fields["stats"] is None:
            fields["stats"] = answer
            if answer["line"] is not None:
                self._silent = 0
                if not self._asked_meta:
                    self._asked_meta = True
                    self._ask(META_LINE)
                    return
        else:
            fields["meta"] = answer
        self._open.pop(0)
        self._channel.send(MsgType.GUEST_SNAPSHOT, fields)
        if self._open:
            self._ask(STATS_LINE)


def _ops(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """All ops of a plan."""
    parts = [plan["backdrop"], *plan["steps"]]
    return [op for part in parts for op in part["ops"]]


class Reader:
    """The helper's process, and the memory it leaves its answers in."""

    def __init__(self, loop: Loop, channel: Channel) -> None:
        self._loop = loop
        self._channel = channel
        self._child: Child | None = None
        self._area: mmap.mmap | None = None
        self._orders = -1
        self._answers: list[bytes] = []
        self._said = 0
        self._open: set[int] = set()
        self._why = ""

    def start(self) -> None:
        """Start the helper and wait until it is ready; why it is not is told by :meth:`read`."""
        memory = os.memfd_create("ktstr-snapshot")
        os.ftruncate(memory, AREA)
        self._area = mmap.mmap(memory, AREA)
        order_read, self._orders = os.pipe()
        answer_read, answer_write = os.pipe()
        log_read, log_write = os.pipe()
        fds = {0: order_read, 1: answer_write, 2: log_write, 3: memory}
        try:
            self._child = Child([READER, OBJECT], fds, realtime=True)
        except OSError as error:
            self._why = f"{READER}: {error.strerror}"
        finally:
            for fd in fds.values():
                os.close(fd)
        self._listen(answer_read, self._answered)
        self._listen(log_read, self._log)
        answer = self._answer(START_S)
        if answer is None:
            self._end(f"{READER} was not ready after {START_S:g} s at most")

    def read(self) -> tuple[bytes | None, str | None]:
        """The kernel's state as the helper packs it, or why there is none."""
        if self._area is None:
            self.start()
        assert self._area is not None
        if not self._why:
            try:
                os.write(self._orders, b"s")
            except BrokenPipeError:
                pass  # it has ended, as its other pipes tell
            answer = self._answer(ANSWER_S)
            if answer is None:
                self._end(f"{READER} did not answer within {ANSWER_S:g} s")
            else:
                errno, length = _ANSWER.unpack(answer)
                if errno == 0 and length <= AREA:
                    return self._area[:length], None
                return None, f"reading the kernel's state failed: {os.strerror(errno)}"
        return None, self._why

    def _listen(self, fd: int, callback: Any) -> None:
        os.set_blocking(fd, False)
        self._open.add(fd)
        self._loop.add(fd, lambda: callback(fd))

    def _answer(self, seconds: float) -> bytes | None:
        """The next answer; None when the helper ends or the time does."""
        self._loop.run(time.monotonic() + seconds, lambda: bool(self._answers) or not self._open)
        return self._answers.pop(0) if self._answers else None

    def _answered(self, fd: int) -> None:
        data = read_available(fd)
        if data and len(data) % _ANSWER.size == 0:
            # Eight bytes go through a pipe whole.
            self._answers.append(data[: _ANSWER.size])
        elif data is not None:
            self._close(fd)

    def _log(self, fd: int) -> None:
        data = read_available(fd)
        if data == b"":
            self._close(fd)
        elif data and self._said < LOG_CAP:
            self._said += len(data)
            for line in data.decode("utf-8", "replace").splitlines():
                self._channel.log(f"snapshots: {line}")

    def _close(self, fd: int) -> None:
        self._loop.remove(fd)
        os.close(fd)
        self._open.discard(fd)

    def _end(self, why: str) -> None:
        child = self._child
        if child is not None:
            if not child.wait(0.0 if self._open else REAP_S):
                child.kill(SIGKILL)
                child.wait(REAP_S)
            why = f"{why}: {describe_status(child.status)}"
        self._why = self._why or why
