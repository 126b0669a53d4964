# SPDX-License-Identifier: GPL-2.0-only
"""The step engine: ops, set-up, StepStart, hold, StepEnd, reports; once per step.

Emits StepStart when a step's workers run and StepEnd when its hold is over; a step cut
short by the scheduler's death emits neither StepEnd nor the scenario's ScenarioEnd.
"""

from __future__ import annotations

import os
import time

from agent.cgroups import Cgroups
from agent.channel import Channel
from agent.faults import inject
from agent.loop import Loop
from agent.scheduler import Scheduler
from agent.system import CPUS, parse_cpus, read_text
from agent.workers import Group, WorkerFailure, Workers
from ktstr.wire import MsgType, Stimulus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

BASELINE = 0


class StepFailed(Exception):
    """A step could not be set up or run; the text names the step and the cause."""


class Shutdown(Exception):
    """The host asked for the end."""


class Engine:
    """Runs one plan.

    :param shutdown: tells whether the host asked for the end.
    """

    def __init__(
        self,
        plan: dict[str, Any],
        loop: Loop,
        channel: Channel,
        scheduler: Scheduler,
        shutdown: Callable[[], bool],
    ) -> None:
        self._plan = plan
        self._loop = loop
        self._channel = channel
        self._scheduler = scheduler
        self._shutdown = shutdown
        self.cgroups = Cgroups(loop)
        self._kept: set[str] = set()
        self.workers = Workers(loop, channel, self.cgroups, int(plan.get("seed", 1)))
        self._start = 0.0
        self.step = BASELINE

    def run(self) -> None:
        """The whole scenario, from ScenarioStart to ScenarioEnd and the last reports.

        :raise SchedulerDied: when the scheduler ended under it; reports were collected.
        :raise StepFailed: when a step could not be done; reports were collected.
        """
        steps = self._plan["steps"]
        try:
            backdrop = self._plan["backdrop"]
            # A Backdrop's cgroups come before its ops, a step's after.
            self._set_up([], backdrop["cgroups"])
            self._set_up(backdrop["ops"], [])
            self._hold(int(self._plan["settle_ms"]) / 1000, [])
            self._kept = self.cgroups.names()
            # From here on the workload's clock runs; what settles before is not workload.
            self._start = time.monotonic()
            self._channel.send(MsgType.SCENARIO_START, {"steps": len(steps)})
            for step in steps:
                self._run_step(step)
            self.step = BASELINE
            self._scheduler.check("the end")
            self._send_stimulus(MsgType.SCENARIO_END, len(steps), 0, 0)
        finally:
            # Reports of whatever still runs belong to the host, whatever went wrong.
            self.workers.collect(list(self.workers.groups))
        self._attempt("removing the cgroups", self.cgroups.remove_all, set())
        self._scheduler.check("the end")

    def _run_step(self, step: dict[str, Any]) -> None:
        self.step = int(step["index"])
        ops = step["ops"]
        timed = [op for op in ops if op.get("at_ms") is not None]
        immediate = [op for op in ops if op.get("at_ms") is None]
        self._set_up(immediate, step["cgroups"])
        kinds = 0
        for op in ops:
            kinds |= 1 << int(op["kind"])
        self._send_stimulus(MsgType.STEP_START, self.step, len(ops), kinds)
        self._hold(int(step["hold_ms"]) / 1000, timed)
        self._send_stimulus(MsgType.STEP_END, self.step, len(ops), kinds)
        self.workers.collect(self.workers.of_step(self.step))
        self._attempt("removing its cgroups", self.cgroups.remove_all, self._kept)

    def _send_stimulus(self, msg_type: int, step: int, op_count: int, op_kinds: int) -> None:
        self._channel.send_stimulus(
            msg_type,
            Stimulus(
                elapsed_ms=int((time.monotonic() - self._start) * 1000),
                step_index=step,
                op_count=op_count,
                op_kinds=op_kinds,
                cgroup_count=self.cgroups.count(),
                worker_count=self.workers.alive(),
                total_iterations=self.workers.total_iterations(),
            ),
        )

    def _where(self) -> str:
        return "the backdrop" if self.step == BASELINE else f"step {self.step}"

    def _hold(self, seconds: float, timed: list[dict[str, Any]]) -> None:
        begin = time.monotonic()
        for op in sorted(timed, key=lambda op: int(op["at_ms"])):
            self._wait_until(begin + int(op["at_ms"]) / 1000)
            self._do(op)
        self._wait_until(begin + seconds)

    def _wait_until(self, deadline: float) -> None:
        self._loop.run(deadline, lambda: self._scheduler.gone or self._shutdown())
        self._scheduler.check(self._where())
        if self._shutdown():
            raise Shutdown

    def _attempt(self, what: str, action: Callable[..., object], *args: object) -> None:
        try:
            action(*args)
        except (OSError, ValueError, KeyError, WorkerFailure) as error:
            # What a dead scheduler spoilt is told as its death.
            self._scheduler.check(self._where())
            raise StepFailed(f"{self._where()}: {what}: {describe(error)}") from error

    def _set_up(self, ops: list[dict[str, Any]], cgroups: list[dict[str, Any]]) -> None:
        for op in ops:
            self._do(op)
        groups: list[Group] = []
        for cgroup in cgroups:
            self._attempt(f"cgroup {cgroup['name']!r}", self._add, cgroup, groups)
        self._attempt("starting the workers", self._launch, groups)
        # A step that a dead scheduler has no part in does not begin.
        self._scheduler.check(self._where())

    def _launch(self, groups: list[Group]) -> None:
        if groups:
            self.workers.wait_ready(groups)
            for group in groups:
                self._channel.log(f"{self._where()}: {group.label()}, pids {group.pids}")
            self.workers.start(groups)

    def _add(self, cgroup: dict[str, Any], groups: list[Group]) -> None:
        name = cgroup["name"]
        self.cgroups.create(name)
        if cgroup["cpus"]:
            self.cgroups.set_cpus(name, cgroup["cpus"])
        if cgroup["weight"]:
            self.cgroups.set_weight(name, cgroup["weight"])
        for index, work in enumerate(cgroup["works"]):
            groups.append(self.workers.spawn(work, name, self.step, index))

    def _do(self, op: dict[str, Any]) -> None:
        handler = getattr(self, "_op_" + op["op"], None)
        if handler is None:
            raise StepFailed(f"{self._where()}: this agent does not know the op {op['op']!r}")
        self._attempt(op["op"], handler, op)

    def _op_AddCgroup(self, op: dict[str, Any]) -> None:
        self.cgroups.create(op["cgroup"])

    def _op_RemoveCgroup(self, op: dict[str, Any]) -> None:
        self.workers.discard(self.workers.of_cgroup(op["cgroup"]))
        self.cgroups.remove(op["cgroup"])
        # A later step's cgroup of that name is the step's own.
        self._kept.discard(op["cgroup"])

    def _op_StopCgroup(self, op: dict[str, Any]) -> None:
        self.workers.discard(self.workers.of_cgroup(op["cgroup"]))

    def _op_SetCpuset(self, op: dict[str, Any]) -> None:
        self.cgroups.set_cpus(op["cgroup"], op["cpus"])

    def _op_ClearCpuset(self, op: dict[str, Any]) -> None:
        self.cgroups.set_cpus(op["cgroup"], None)

    def _op_SwapCpusets(self, op: dict[str, Any]) -> None:
        first, second = op["cgroup"], op["other"]
        cpus = self.cgroups.get_cpus(first), self.cgroups.get_cpus(second)
        self.cgroups.set_cpus(first, cpus[1])
        self.cgroups.set_cpus(second, cpus[0])

    def _op_SetWeight(self, op: dict[str, Any]) -> None:
        self.cgroups.set_weight(op["cgroup"], op["weight"])

    def _op_Spawn(self, op: dict[str, Any]) -> None:
        self._launch([self.workers.spawn(op["work"], op["cgroup"], self.step, 0)])

    def _op_SetAffinity(self, op: dict[str, Any]) -> None:
        # All CPUs stand for none in particular: the kernel keeps the cgroup's limit above them,
        # also when that changes later.
        cpus = parse_cpus(op["cpus"] or read_text(f"{CPUS}/possible") or "0")
        for group in self.workers.of_cgroup(op["cgroup"]):
            for pid in group.pids:
                try:
                    os.sched_setaffinity(pid, cpus)
                except ProcessLookupError:
                    continue  # the worker ended; its report will say how

    def _op_MoveAllTasks(self, op: dict[str, Any]) -> None:
        self.cgroups.move_all(op["cgroup"], op["to"])
        for group in self.workers.of_cgroup(op["cgroup"]):
            group.place = op["to"]

    def _op_Pause(self, op: dict[str, Any]) -> None:
        self._channel.send(MsgType.SCENARIO_PAUSE)
        self._wait_until(time.monotonic() + int(op["duration_ms"]) / 1000)

    def _op_Resume(self, op: dict[str, Any]) -> None:
        self._channel.send(MsgType.SCENARIO_RESUME)

    def _op_InjectFault(self, op: dict[str, Any]) -> None:
        inject(op, self.workers, self._scheduler, self._channel)


def describe(error: BaseException) -> str:
    """An exception in one line; for an OSError the path comes along."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
