# SPDX-License-Identifier: GPL-2.0-only
"""A scripted guest in memory: the agent's side of the two ports, without a VM.

For tests of what listens to guests. It sends real frames over real sockets; what it sends,
and when, is the test's to say::

    guest = ScriptedGuest()
    guest.hello()
    guest.start(steps=1)
    guest.step(1, elapsed_ms=(0, 1000), iterations=(0, 500))
    guest.report(step=1, cgroup="left", iterations=500)
    guest.end(elapsed_ms=1000, iterations=500)
"""

import socket
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from ktstr.telemetry import WorkerReport
from ktstr.vm.events import MachineEnd
from ktstr.wire import FrameWriter, MsgType, Stimulus, pack_payload

NODE = {"node": 0, "cpus": [0, 1], "distances": [10], "memory_kib": 512 << 10}
MAILBOX_PAGES = (0x10000, 0x12000, 0x13000)


class ScriptedGuest:
    """Both ends of a guest's ports; ``bulk`` and ``ctl`` are the host's."""

    def __init__(self) -> None:
        self.bulk, self._bulk = socket.socketpair()
        self.ctl, self._ctl = socket.socketpair()
        self.bulk.setblocking(False)
        self.ctl.setblocking(False)
        self._ctl.setblocking(False)
        self.writer = FrameWriter(self._bulk.sendall)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for end in (self.bulk, self._bulk, self.ctl, self._ctl):
            end.close()

    def send(self, msg_type: int, fields: dict[str, object] | None = None) -> None:
        """Any frame with a map as payload."""
        self.writer.send(msg_type, pack_payload(fields or {}))

    def raw(self, data: bytes) -> None:
        """Any bytes."""
        self._bulk.sendall(data)

    def received(self) -> bytes:
        """What the host sent to the guest since the last call."""
        try:
            return self._ctl.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close_bulk(self) -> None:
        """End the guest's side of the bulk port."""
        self._bulk.close()

    def hello(self, **changes: object) -> None:
        """Hello of a two-CPU guest; ``changes`` replaces fields."""
        fields: dict[str, object] = {
            "protocol": 1,
            "release": "7.0.0-scripted",
            "mailbox": list(MAILBOX_PAGES),
            "vmcoreinfo": [0x20000, 4096],
            "sched_ext": "disabled",
            "agent_start_s": 0.5,
            "topology": {"cpus": 2, "llcs": [[0, 1]], "nodes": [NODE], "cores": [[0], [1]]},
        }
        self.send(MsgType.HELLO, {**fields, **changes})

    def attached(self, ops: str = "scripted") -> None:
        """The scheduler is attached."""
        self.send(MsgType.SCHEDULER_STATUS, {"event": "attached", "ops": ops})

    def start(self, steps: int) -> None:
        """ScenarioStart."""
        self.send(MsgType.SCENARIO_START, {"steps": steps})

    def step_start(self, index: int, elapsed_ms: int, iterations: int) -> None:
        """StepStart."""
        self._stimulus(MsgType.STEP_START, index, elapsed_ms, iterations)

    def step_end(self, index: int, elapsed_ms: int, iterations: int) -> None:
        """StepEnd."""
        self._stimulus(MsgType.STEP_END, index, elapsed_ms, iterations)

    def step(self, index: int, elapsed_ms: tuple[int, int], iterations: tuple[int, int]) -> None:
        """StepStart and StepEnd of one step."""
        self.step_start(index, elapsed_ms[0], iterations[0])
        self.step_end(index, elapsed_ms[1], iterations[1])

    def report(
        self, step: int, cgroup: str, *, worker: int = 0, report: WorkerReport | None = None
    ) -> None:
        """One worker's report; by default a healthy one on CPU 0 over one second."""
        whole = report or WorkerReport(
            tid=100 + worker,
            work_units=1024,
            cpu_time_ns=900_000_000,
            wall_time_ns=1_000_000_000,
            off_cpu_ns=100_000_000,
            cpus_used=frozenset({0}),
            iterations=500,
            completed=True,
        )
        self.send(
            MsgType.WORKER_REPORT,
            {
                "step": step,
                "cgroup": cgroup,
                "group_idx": 0,
                "work_idx": 0,
                "worker": worker,
                "work_type": "SpinWait",
                "report": whole.to_wire(),
            },
        )

    def end(self, elapsed_ms: int, iterations: int, reason: str = "done") -> None:
        """ScenarioEnd and Goodbye."""
        self._stimulus(MsgType.SCENARIO_END, 0, elapsed_ms, iterations)
        self.goodbye(reason)

    def goodbye(self, reason: str = "done") -> None:
        """Goodbye alone, as after a scheduler's death."""
        self.send(MsgType.GOODBYE, {"reason": reason})

    def _stimulus(self, msg_type: int, index: int, elapsed_ms: int, iterations: int) -> None:
        stimulus = Stimulus(
            elapsed_ms=elapsed_ms,
            step_index=index,
            cgroup_count=1,
            worker_count=1,
            total_iterations=iterations,
        )
        self.writer.send(msg_type, stimulus.to_payload())


class ScriptedMachine:
    """The part of a machine that a conversation looks at.

    :ivar end: set it, and nudge the link, to let the machine end.
    """

    def __init__(self, console_log: Path) -> None:
        self.console_log = console_log
        self.ended = anyio.Event()
        self._end: MachineEnd | None = None

    @property
    def end(self) -> MachineEnd | None:
        """How the machine ended."""
        return self._end

    @end.setter
    def end(self, end: MachineEnd) -> None:
        self._end = end
        self.ended.set()
