# SPDX-License-Identifier: GPL-2.0-only
"""Worker groups: one leader process each, started, stopped and collected.

A leader (``worker lead``, C) forks and owns the workers of one work specification; the
agent only sends it single-byte commands and passes its reports on to the host unread.
"""

from __future__ import annotations

import os
import time

import msgpack

from agent.cgroups import Cgroups
from agent.channel import Channel
from agent.counters import EPOCH_GAP, EPOCH_SLOT, WorkerFailure
from agent.loop import Loop, read_available
from agent.messages import LengthPrefixed
from agent.processes import REAP_S, SIGKILL, Child, describe_status, wait_for_deaths
from agent.shared import WORKER, Shared
from ktstr.wire import MsgType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A leader waits 30 s for its workers, and then says more than we could.
READY_S = 35.0
# The leader's own collection deadline is 5 s; when nothing comes for this long, not even a
# part of a report, the leader itself is stuck.
COLLECT_S = 12.0
DEATH_S = 2.0
BIND_ROUNDS = 16
SEED_MASK = (1 << 63) - 1
BACKDROP = 0
# Keys of a work's plan that its leader takes as they are; without a value they are left out.
_OPTIONS = (
    "clone comm rt_prio dl_runtime_us dl_deadline_us dl_period_us affinity mempolicy mem_nodes "
    "mem_flags program args"
).split()

_ZEROES = (
    "work_units cpu_time_ns wall_time_ns off_cpu_ns migration_count max_gap_ms max_gap_cpu "
    "max_gap_at_ms wake_sample_total iteration_cost_sample_total timer_sample_total iterations "
    "schedstat_run_delay_ns schedstat_run_count schedstat_cpu_time_ns vmstat_numa_pages_migrated"
).split()


def sentinel(pid: int, exit_info: dict[str, object], group_idx: int = 0) -> dict[str, object]:
    """The report of a worker that sent none: all zero, with the way it ended."""
    report: dict[str, object] = {"tid": pid}
    report.update(dict.fromkeys(_ZEROES, 0), group_idx=group_idx)
    for name in ("cpus_used", "migrations", "phase_slices"):
        report[name] = []
    for name in ("wake_latencies_ns", "iteration_costs_ns", "timer_latencies_ns"):
        report[name] = b""
    for name in ("affinity_error", "sched_policy_error", "taobench_whole"):
        report[name] = None
    report.update(completed=False, is_messenger=False, numa_pages={}, exit_info=exit_info)
    return report


def exit_info(status: int | None) -> dict[str, object]:
    """A wait status as the wire's exit info; None stands for a process that had to be killed."""
    if status is None:
        return {"kind": "TimedOut"}
    if os.WIFSIGNALED(status):
        return {"kind": "Signaled", "signal": os.WTERMSIG(status)}
    return {"kind": "Exited", "code": os.WEXITSTATUS(status)}


def bind(pids: list[int], cpus: list[int]) -> None:
    """Bind workers to CPUs with every thread of their processes.

    Engines and programs have threads of their own, which inherit an affinity only when they are
    made. A worker that has ended is passed over: its report will say how.

    :raise OSError: when the kernel refuses the CPUs.
    """
    for pid in pids:
        bound: set[str] = set()
        # Again and again, for a thread may make another between the list and its own turn.
        for _ in range(BIND_ROUNDS):
            try:
                new = set(os.listdir(f"/proc/{pid}/task")) - bound
            except FileNotFoundError:
                break
            if not new:
                break
            for tid in new:
                try:
                    os.sched_setaffinity(int(tid), cpus)
                except ProcessLookupError:
                    continue
            bound |= new


class Group:
    """The workers of one work specification in one cgroup."""

    def __init__(
        self, spec: dict[str, Any], cgroup: str, step: int, work_idx: int, slots: list[int]
    ) -> None:
        self.spec = spec
        self.work_idx = work_idx
        # Reports carry the cgroup the workers started in; `place` follows them when moved.
        self.cgroup = cgroup
        self.place = cgroup
        self.step = step
        self.slots = slots
        self.count = int(spec["workers"])
        # Place among the composed works: 0 is the primary.
        self.group_idx = int(spec.get("group_idx", 0))
        # What a task is addressed by: processes, or the threads of the one process `host`.
        self.pids: list[int] = []
        self.host = 0
        self.reported = 0
        self.received = 0
        # Done: nothing more comes. Clean: the leader said so, and its workers are reaped.
        self.done = False
        self.clean = False
        self.error: str | None = None
        self.child: Child | None = None
        self.command_fd = -1
        self.output_fd = -1
        self.messages = LengthPrefixed()

    @property
    def processes(self) -> list[int]:
        """The processes that are the workers."""
        return [self.host] if self.host else self.pids

    def label(self) -> str:
        """For messages: what and where."""
        return f"{self.count} x {self.spec['type']} in cgroup {self.cgroup!r}"


class Workers:
    """All groups alive now."""

    def __init__(
        self,
        loop: Loop,
        channel: Channel,
        cgroups: Cgroups,
        seed: int,
        program: str = WORKER,
        phases: int = 0,
        jitter_us: int = 0,
        shared: Shared | None = None,
    ) -> None:
        """``phases``: the number of steps, each a phase that Backdrop workers tell apart.

        ``jitter_us``: most that the seed delays a worker by; 0: it changes nothing of the kind.
        ``shared``: what was made before, and goes with :meth:`close`.
        """
        self._phases = phases
        self._jitter_us = jitter_us
        self._program = program
        self._loop = loop
        self._channel = channel
        self._cgroups = cgroups
        self._seed = seed
        self._shared = shared or Shared()
        self._counters = self._shared.counters
        loop.add(self._shared.log_read, self._read_log)
        self.groups: list[Group] = []
        self._serial = 0

    def _read_log(self) -> None:
        data = read_available(self._shared.log_read)
        if data:
            self._channel.log("worker: " + data.decode("utf-8", "replace").rstrip())

    def total_iterations(self) -> int:
        """Sum of the live counters of the workers alive."""
        values = self._counters.values
        return sum(values[slot] for group in self.groups for slot in group.slots)

    def begin_phase(self, step: int) -> None:
        """A step's hold begins: Backdrop workers open their slice of it."""
        self._counters.set_epoch(step)

    def end_phase(self) -> None:
        """It is over; what comes until the next one belongs to no phase."""
        self._counters.set_epoch(EPOCH_GAP)

    def close(self) -> None:
        """Give back what all groups share; they must have been discarded."""
        self._loop.remove(self._shared.log_read)
        self._shared.close()

    def alive(self) -> int:
        """How many workers were started and not collected."""
        return sum(group.count for group in self.groups)

    def spawn_all(self, spec: dict[str, Any], cgroup: str, step: int, work_idx: int) -> list[Group]:
        """As :meth:`spawn`, for a work and those it is composed with.

        :raise WorkerFailure: when a leader cannot be started.
        """
        works = [spec, *(spec.get("composed") or [])]
        return [self.spawn(work, cgroup, step, work_idx) for work in works]

    def spawn(self, spec: dict[str, Any], cgroup: str, step: int, work_idx: int) -> Group:
        """Create the workers, blocked at their start gate; :meth:`wait_ready` comes next.

        :raise WorkerFailure: when the leader cannot be started.
        """
        slots = self._counters.take(int(spec["workers"]))
        group = Group(spec, cgroup, step, work_idx, slots)
        # From here on the group owns what it has, so that a failure half-way leaks nothing.
        self.groups.append(group)
        self._serial += 1
        try:
            leader = self._shared.leader(
                self._program, self._words(group), self._cgroups.path(cgroup)
            )
        except OSError as error:
            self._release(group)
            what = error.filename or self._program
            raise WorkerFailure(f"{group.label()}: {what}: {error.strerror}") from None
        group.child = leader.child
        group.command_fd, group.output_fd = leader.command_fd, leader.output_fd
        os.set_blocking(group.output_fd, False)
        self._loop.add(group.output_fd, lambda: self._read(group))
        return group

    def _words(self, group: Group) -> list[str]:
        spec = group.spec
        words: dict[str, object] = {
            "type": spec["type"],
            "workers": group.count,
            "group_idx": group.group_idx,
            "work_idx": group.work_idx,
            "step": group.step,
            "cgroup": group.cgroup,
            "slot": group.slots[0],
            "policy": spec.get("policy", "normal"),
            "nice": spec.get("nice", 0),
            "seed": (self._seed * 1000003 + self._serial) & SEED_MASK,
        }
        if self._jitter_us:
            words["jitter_us"] = self._jitter_us
        if group.step == BACKDROP and self._phases:
            words.update(epoch_slot=EPOCH_SLOT, phases=self._phases)
        words.update({key: spec[key] for key in _OPTIONS if spec.get(key)})
        words.update(spec.get("params") or {})
        return [f"{key}={value}" for key, value in words.items()]

    def _read(self, group: Group) -> None:
        data = read_available(group.output_fd, 1 << 20) or b""
        group.received += len(data)
        messages: list[bytes] = []
        try:
            messages = group.messages.feed(data)
        except ValueError as error:
            group.error = f"its leader's messages cannot be read: {error}"
            data = b""
        if not data:
            self._loop.remove(group.output_fd)
            group.done = True
        for message in messages:
            kind, payload = message[:1], message[1:]
            if kind == b"R":
                self._channel.send_raw(MsgType.WORKER_REPORT, payload)
                group.reported += 1
            elif kind == b"H":
                group.host = msgpack.unpackb(payload)
            elif kind == b"P":
                group.pids = msgpack.unpackb(payload)
            elif kind == b"E":
                group.error = payload.decode("utf-8", "replace")
            elif kind == b"D":
                group.done = group.clean = True

    def wait_ready(self, groups: list[Group]) -> None:
        """Wait until the workers of these groups stand at their start gate.

        :raise WorkerFailure: with the leader's own words, or after 35 s.
        """
        self._loop.run(
            time.monotonic() + READY_S, lambda: all(g.pids or g.error or g.done for g in groups)
        )
        for group in groups:
            if group.error:
                raise WorkerFailure(f"{group.label()}: {group.error}")
            if len(group.pids) != group.count:
                status = describe_status(self._status(group))
                raise WorkerFailure(
                    f"{group.label()}: {len(group.pids)} workers stood ready within "
                    f"{READY_S:.0f} s; the leader is {status}"
                )

    @staticmethod
    def _status(group: Group) -> int | None:
        child = group.child
        return child.status if child is not None and child.poll() else None

    def start(self, groups: list[Group]) -> None:
        """Open the start gates."""
        for group in groups:
            self._command(group, b"S")

    @staticmethod
    def _command(group: Group, command: bytes) -> None:
        try:
            os.write(group.command_fd, command)
        except BrokenPipeError:
            pass  # the leader is gone; collect() reports its workers as lost

    def collect(self, groups: list[Group]) -> None:
        """Stop these groups and pass on their reports, or a sentinel for each lost worker."""
        for group in groups:
            self._command(group, b"T")
        # Thousands of full reservoirs take their time; only silence is a failure.
        before = -1
        while (now := sum(group.received for group in groups)) != before:
            before = now
            if self._loop.run(
                time.monotonic() + COLLECT_S, lambda: all(group.done for group in groups)
            ):
                break
        for group in groups:
            self._finish(group)

    def discard(self, groups: list[Group]) -> None:
        """End these groups without reports (RemoveCgroup, StopCgroup)."""
        for group in groups:
            if group.child is not None:
                group.child.kill(SIGKILL)
            self._release(group)

    def _finish(self, group: Group) -> None:
        child = group.child
        if group.error:
            self._channel.log(f"{group.label()}: {group.error}")
        stuck = child is not None and not group.done
        if stuck and child is not None:
            self._channel.log(f"{group.label()}: nothing came for {COLLECT_S:.0f} s, killed")
            child.kill(SIGKILL)
        ended = child is not None and child.wait(REAP_S)
        status = child.status if child is not None and ended and not stuck else None
        for index in range(group.reported, group.count):
            pid = group.pids[index] if index < len(group.pids) else 0
            payload = {
                "step": group.step,
                "cgroup": group.cgroup,
                "group_idx": group.group_idx,
                "work_idx": group.work_idx,
                "worker": index,
                "work_type": group.spec["type"],
                "report": sentinel(pid, exit_info(status), group.group_idx),
            }
            self._channel.send(MsgType.WORKER_REPORT, payload)
        self._release(group)

    def _release(self, group: Group) -> None:
        if group.output_fd >= 0:
            self._loop.remove(group.output_fd)
        for fd in (group.command_fd, group.output_fd):
            if fd >= 0:
                os.close(fd)
        gone = True
        if group.child is not None:
            # The leader reads the end of its commands, and ends, if nothing else made it.
            if not group.child.wait(REAP_S):
                group.child.kill(SIGKILL)
                group.child.wait(REAP_S)
            group.child.close()
            # The workers of a leader that was killed die of it, each on its own CPU.
            gone = group.clean or wait_for_deaths(group.processes, DEATH_S)
        if gone:
            self._counters.give_back(group.slots)
        else:
            # They may still count; their slots must not become another worker's.
            self._channel.log(f"{group.label()}: still running {DEATH_S:.0f} s after the leader")
        self.groups.remove(group)

    def of_step(self, step: int) -> list[Group]:
        """The groups a step owns; 0 is the backdrop."""
        return [group for group in self.groups if group.step == step]

    def of_cgroup(self, cgroup: str) -> list[Group]:
        """The groups whose workers are in a cgroup now."""
        return [group for group in self.groups if group.place == cgroup]
