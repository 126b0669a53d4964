# SPDX-License-Identifier: GPL-2.0-only
"""The step engine: ops, set-up, StepStart, hold, StepEnd, reports; once per step.

Emits StepStart when a step's workers run and StepEnd when its hold is over; a step cut
short by the scheduler's death emits neither StepEnd nor the scenario's ScenarioEnd.
"""

from __future__ import annotations

import time

from agent.cgroups import Cgroups
from agent.channel import Channel
from agent.counters import WorkerFailure
from agent.faults import inject
from agent.loop import Loop
from agent.payloads import Payloads
from agent.requests import ANSWER_S, Requests
from agent.scheduler import Scheduler
from agent.shared import Shared
from agent.snapshots import Snapshots
from agent.system import CPUS, parse_cpus, read_text
from agent.workers import Group, Workers, bind
from ktstr.wire import MsgType, SnapshotKind, Stimulus

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
    :param shared: what its workers share, where that was made before.
    """

    def __init__(
        self,
        plan: dict[str, Any],
        loop: Loop,
        channel: Channel,
        scheduler: Scheduler,
        shutdown: Callable[[], bool],
        shared: Shared | None = None,
    ) -> None:
        self._plan = plan
        self._loop = loop
        self._channel = channel
        self._scheduler = scheduler
        self._shutdown = shutdown
        self.cgroups = Cgroups(loop, parent=cgroup_parent(plan))
        self._kept: set[str] = set()
        self.workers = Workers(
            loop,
            channel,
            self.cgroups,
            int(plan.get("seed", 1)),
            phases=len(plan["steps"]),
            jitter_us=int(plan.get("jitter_us", 0)),
            shared=shared,
        )
        self.payloads = Payloads(loop, channel, self.cgroups)
        self.requests = Requests(channel)
        self.snapshots = Snapshots(plan, loop, channel)
        # The workload's clock: what holds have lasted, and when the present one began.
        self._held = 0.0
        self._hold_began: float | None = None
        self._watching = False
        self.step = BASELINE

    def prepare(self) -> None:
        """Start what is to run before the scheduler does."""
        self.snapshots.prepare()

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
            started: dict[str, object] = {"steps": len(steps)}
            started["uptime_ms"] = int(time.monotonic() * 1000)
            self._channel.send(MsgType.SCENARIO_START, started)
            for step in steps:
                self._run_step(step)
            self.step = BASELINE
            self._scheduler.check("the end")
            self._send_stimulus(MsgType.SCENARIO_END, len(steps), 0, 0)
        finally:
            # Reports of whatever still runs belong to the host, whatever went wrong.
            self.cgroups.thaw_all()
            self.payloads.end_all()
            self.workers.collect(list(self.workers.groups))
            self.snapshots.finish()
        self._attempt("removing the cgroups", self.cgroups.remove_all, set())
        self._scheduler.check("the end")

    def _run_step(self, step: dict[str, Any]) -> None:
        self.step = int(step["index"])
        ops = step["ops"]
        loop_ms = step.get("loop_ms")
        timed = [op for op in ops if op.get("at_ms") is not None]
        immediate = [op for op in ops if op.get("at_ms") is None and loop_ms is None]
        self._set_up(immediate, step["cgroups"])
        kinds = 0
        for op in ops:
            kinds |= 1 << int(op["kind"])
        self.workers.begin_phase(self.step)
        self._hold_began = time.monotonic()
        self.snapshots.clock.start(self._hold_began)
        self._send_stimulus(MsgType.STEP_START, self.step, len(ops), kinds)
        hold_s = int(step["hold_ms"]) / 1000
        if loop_ms is None:
            self._hold(hold_s, timed)
        else:
            self._repeat(hold_s, int(loop_ms) / 1000, ops)
        self._attempt("ending its watches", self._end_watches)
        # The hold ends at one moment, which StepEnd tells and the next step starts from.
        self._held, self._hold_began = self._workload_s(), None
        self.snapshots.clock.stop(time.monotonic())
        self._send_stimulus(MsgType.STEP_END, self.step, len(ops), kinds)
        self.workers.end_phase()
        self.payloads.end_step(self.step)
        self._attempt("thawing its cgroups", self.cgroups.thaw_all)
        self.workers.collect(self.workers.of_step(self.step))
        self._attempt("removing its cgroups", self.cgroups.remove_all, self._kept)

    def _workload_s(self) -> float:
        # Without what lies between holds, which takes longer the slower the host is.
        began = self._hold_began
        return self._held if began is None else self._held + time.monotonic() - began

    def _send_stimulus(self, msg_type: int, step: int, op_count: int, op_kinds: int) -> None:
        # Before the count: both clocks are to be of one moment.
        uptime_ms = int(time.monotonic() * 1000)
        self._channel.send_stimulus(
            msg_type,
            Stimulus(
                uptime_ms=uptime_ms,
                elapsed_ms=int(self._workload_s() * 1000),
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

    def _repeat(self, seconds: float, interval: float, ops: list[dict[str, Any]]) -> None:
        begin = time.monotonic()
        due = begin
        while due < begin + seconds and time.monotonic() < begin + seconds:
            for op in ops:
                self._do(op)
            due += interval
            self._wait_until(min(due, begin + seconds))
        self._wait_until(begin + seconds)

    def _wait_until(self, deadline: float, until: Callable[[], bool] = lambda: False) -> None:
        while (due := self.snapshots.due()) is not None and due <= deadline:
            self._wait(due, until)
            if until():
                return
            self.snapshots.take_next(self.step)
        self._wait(deadline, until)

    def _wait(self, deadline: float, until: Callable[[], bool]) -> None:
        self._loop.run(deadline, lambda: self._scheduler.gone or self._shutdown() or until())
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
        except Exception as error:
            # A defect of the agent's own: its traceback goes to the host with these words.
            error.add_note(f"{self._where()}: {what}")
            raise

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
        if cgroup.get("cpu_max"):
            self.cgroups.set_cpu_max(name, cgroup["cpu_max"])
        for index, work in enumerate(cgroup["works"]):
            groups += self.workers.spawn_all(work, name, self.step, index)

    def _do(self, op: dict[str, Any]) -> None:
        handler = getattr(self, "_op_" + op["op"], None)
        if handler is None:
            raise StepFailed(f"{self._where()}: this agent does not know the op {op['op']!r}")
        self._attempt(op["op"], handler, op)

    def _op_AddCgroup(self, op: dict[str, Any]) -> None:
        self.cgroups.create(op["cgroup"])

    def _op_AddCgroupDef(self, op: dict[str, Any]) -> None:
        groups: list[Group] = []
        self._add(op, groups)
        self._launch(groups)

    def _op_RemoveCgroup(self, op: dict[str, Any]) -> None:
        inside = op["cgroup"] + "/"
        gone = [name for name in self.cgroups.names() if (name + "/").startswith(inside)]
        for name in gone:
            self.workers.discard(self.workers.of_cgroup(name))
        self.cgroups.remove(op["cgroup"])
        # A later step's cgroup of that name is the step's own.
        self._kept.difference_update(gone)

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
        self._launch(self.workers.spawn_all(op["work"], op["cgroup"], self.step, 0))

    # The root cgroup is named in the op, as any other is.
    _op_SpawnHost = _op_Spawn

    def _op_FreezeCgroup(self, op: dict[str, Any]) -> None:
        self.cgroups.freeze(op["cgroup"])

    def _op_UnfreezeCgroup(self, op: dict[str, Any]) -> None:
        self.cgroups.thaw(op["cgroup"])

    def _op_SetAffinity(self, op: dict[str, Any]) -> None:
        # All CPUs stand for none in particular: the kernel keeps the cgroup's limit above them,
        # also when that changes later.
        cpus = parse_cpus(op["cpus"] or read_text(f"{CPUS}/possible") or "0")
        for group in self.workers.of_cgroup(op["cgroup"]):
            bind(group.pids, cpus)

    def _op_MoveAllTasks(self, op: dict[str, Any]) -> None:
        self.cgroups.move_all(op["cgroup"], op["to"])
        for group in self.workers.of_cgroup(op["cgroup"]):
            group.place = op["to"]

    def _op_Pause(self, op: dict[str, Any]) -> None:
        self.snapshots.clock.stop(time.monotonic())
        self._channel.send(MsgType.SCENARIO_PAUSE)
        self._wait_until(time.monotonic() + int(op["duration_ms"]) / 1000)

    def _op_Resume(self, op: dict[str, Any]) -> None:
        if self._hold_began is not None:
            self.snapshots.clock.start(time.monotonic())
        self._channel.send(MsgType.SCENARIO_RESUME)

    def _op_RunPayload(self, op: dict[str, Any]) -> None:
        self.payloads.run(op, self.step)

    def _op_WaitPayload(self, op: dict[str, Any]) -> None:
        name, seconds = op["name"], int(op["timeout_ms"]) / 1000
        self._wait_until(time.monotonic() + seconds, lambda: self.payloads.ended(name))
        late = not self.payloads.ended(name)
        self.payloads.finish(name, f"it still ran after {seconds:g} s")
        if late:
            raise ValueError(f"payload {name!r} still ran after {seconds:g} s and was killed")

    def _op_KillPayload(self, op: dict[str, Any]) -> None:
        self.payloads.finish(op["name"], "KillPayload")

    def _op_AttachScheduler(self, op: dict[str, Any]) -> None:
        self._scheduler.attach(op["scheduler"], self._where())

    def _op_DetachScheduler(self, op: dict[str, Any]) -> None:
        self._scheduler.detach(self._where())

    def _op_ReplaceScheduler(self, op: dict[str, Any]) -> None:
        self._scheduler.detach(self._where())
        self._scheduler.attach(op["scheduler"], self._where())

    def _op_RestartScheduler(self, op: dict[str, Any]) -> None:
        self._scheduler.restart(self._where())

    def _op_CaptureSnapshot(self, op: dict[str, Any]) -> None:
        if self.snapshots.wanted:
            self.snapshots.take(op["name"], None, self.step)
        else:
            self._ask_for_snapshot(SnapshotKind.CAPTURE, op["name"])

    def _op_WatchSnapshot(self, op: dict[str, Any]) -> None:
        keys = ("symbol", "variable", "section", "size", "hits")
        self._ask_for_snapshot(SnapshotKind.WATCH, op["name"], **{key: op[key] for key in keys})
        # The Backdrop's end with the scenario, which the host sees by itself.
        self._watching = self.step != BASELINE

    def _end_watches(self) -> None:
        if self._watching:
            self._watching = False
            self._ask_for_snapshot(SnapshotKind.END_WATCHES, "")

    def _ask_for_snapshot(self, kind: int, tag: str, **more: Any) -> None:
        fields = {"kind": kind, "tag": tag, "step": self.step, **more}
        self._ask_host(MsgType.SNAPSHOT_REQUEST, fields)

    def _op_WriteBpfGlobal(self, op: dict[str, Any]) -> None:
        fields = {key: op[key] for key in ("name", "value", "section")}
        self._ask_host(MsgType.KERNEL_OP_REQUEST, fields)

    def _ask_host(self, msg_type: int, fields: dict[str, Any]) -> None:
        self.requests.send(msg_type, fields)
        self._wait_until(time.monotonic() + ANSWER_S, self.requests.answered)
        self.requests.check()

    def _op_InjectFault(self, op: dict[str, Any]) -> None:
        inject(op, self.workers, self._scheduler, self._channel)


def cgroup_parent(plan: dict[str, Any]) -> str:
    """Path of the parent of all cgroups, of a plan or of what comes before one."""
    return str(plan.get("scheduler", {}).get("cgroup_parent", "/ktstr"))


def make_cgroup_parent(plan: dict[str, Any], loop: Loop) -> None:
    """Make the parent of all cgroups; a scheduler may look for it as soon as it starts.

    :raise StepFailed: when that cannot be done.
    """
    try:
        Cgroups(loop, parent=cgroup_parent(plan)).make_parent()
    except OSError as error:
        raise StepFailed(f"the cgroup of all cgroups: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """An exception in one line; for an OSError the path comes along."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
