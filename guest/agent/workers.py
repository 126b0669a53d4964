# SPDX-License-Identifier: GPL-2.0-only
"""Worker groups: one leader process each, started, stopped and collected.

A leader (``worker lead``, C) forks and owns the workers of one work specification; the
agent only sends it single-byte commands and passes its reports on to the host unread.
"""

from __future__ import annotations

import mmap
import os
import time

import msgpack

from agent.cgroups import Cgroups
from agent.channel import Channel
from agent.loop import Loop, read_available
from agent.messages import LengthPrefixed
from agent.processes import SIGKILL, Child, describe_status
from ktstr.wire import MsgType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WORKER = "/ktstr/bin/worker"
SLOTS = 4096
READY_S = 30.0
# The leader's own collection deadline is 5 s; past this the leader itself is stuck.
COLLECT_S = 12.0
SEED_MASK = (1 << 63) - 1

_ZEROES = (
    "work_units cpu_time_ns wall_time_ns off_cpu_ns migration_count max_gap_ms max_gap_cpu "
    "max_gap_at_ms wake_sample_total iteration_cost_sample_total timer_sample_total iterations "
    "schedstat_run_delay_ns schedstat_run_count schedstat_cpu_time_ns vmstat_numa_pages_migrated "
    "group_idx"
).split()


class WorkerFailure(Exception):
    """A worker group could not be set up; the text says which and why."""


def sentinel(pid: int, group_idx: int, exit_info: dict[str, object]) -> dict[str, object]:
    """The report of a worker that sent none: all zero, with the way it ended."""
    report: dict[str, object] = {"tid": pid}
    report.update(dict.fromkeys(_ZEROES, 0))
    report["group_idx"] = group_idx
    for name in ("cpus_used", "migrations", "phase_slices"):
        report[name] = []
    for name in ("wake_latencies_ns", "iteration_costs_ns", "timer_latencies_ns"):
        report[name] = b""
    for name in ("affinity_error", "sched_policy_error", "taobench_whole"):
        report[name] = None
    report.update(completed=False, is_messenger=False, numa_pages={}, exit_info=exit_info)
    return report


def exit_info(status: int | None) -> dict[str, object]:
    """A wait status as the wire's exit info."""
    if status is None:
        return {"kind": "TimedOut"}
    if os.WIFSIGNALED(status):
        return {"kind": "Signaled", "signal": os.WTERMSIG(status)}
    return {"kind": "Exited", "code": os.WEXITSTATUS(status)}


class Counters:
    """The shared page of live iteration counters, one u64 per worker."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ktstr-live")
        os.ftruncate(self.fd, SLOTS * 8)
        self.values = memoryview(mmap.mmap(self.fd, SLOTS * 8)).cast("Q")
        self._free = list(range(SLOTS))

    def take(self, count: int) -> list[int]:
        """Reserve ``count`` adjacent slots, zeroed.

        :raise WorkerFailure: when more than 4096 workers are alive.
        """
        free = self._free
        for first in range(len(free) - count + 1):
            if free[first + count - 1] == free[first] + count - 1:
                slots = free[first : first + count]
                del free[first : first + count]
                for slot in slots:
                    self.values[slot] = 0
                return slots
        raise WorkerFailure(f"{count} more workers exceed the limit of {SLOTS} at a time")

    def give_back(self, slots: list[int]) -> None:
        """Return slots for reuse."""
        self._free = sorted(self._free + slots)


class Group:
    """The workers of one work specification in one cgroup."""

    def __init__(self, spec: dict[str, Any], cgroup: str, step: int, slots: list[int]) -> None:
        self.spec = spec
        # Reports carry the cgroup the workers started in; `place` follows them when moved.
        self.cgroup = cgroup
        self.place = cgroup
        self.step = step
        self.slots = slots
        self.count = int(spec["workers"])
        self.pids: list[int] = []
        self.reported = 0
        self.done = False
        self.error: str | None = None
        self.child: Child | None = None
        self.command_fd = -1
        self.output_fd = -1
        self.messages = LengthPrefixed()

    def label(self) -> str:
        """For messages: what and where."""
        return f"{self.count} x {self.spec['type']} in cgroup {self.cgroup!r}"


class Workers:
    """All groups alive now."""

    def __init__(self, loop: Loop, channel: Channel, cgroups: Cgroups, seed: int) -> None:
        self._loop = loop
        self._channel = channel
        self._cgroups = cgroups
        self._seed = seed
        self._counters = Counters()
        self._log_read, self._log_write = os.pipe()
        os.set_blocking(self._log_read, False)
        loop.add(self._log_read, self._read_log)
        self.groups: list[Group] = []
        self._serial = 0

    def _read_log(self) -> None:
        data = read_available(self._log_read)
        if data:
            self._channel.log("worker: " + data.decode("utf-8", "replace").rstrip())

    def total_iterations(self) -> int:
        """Sum of the live counters of the workers alive."""
        values = self._counters.values
        return sum(values[slot] for group in self.groups for slot in group.slots)

    def alive(self) -> int:
        """How many workers were started and not collected."""
        return sum(group.count for group in self.groups)

    def spawn(self, spec: dict[str, Any], cgroup: str, step: int, work_idx: int) -> Group:
        """Create the workers, blocked at their start gate; :meth:`wait_ready` comes next.

        :raise WorkerFailure: when the leader cannot be started.
        """
        group = Group(spec, cgroup, step, self._counters.take(int(spec["workers"])))
        command_read, group.command_fd = os.pipe()
        group.output_fd, output_write = os.pipe()
        directory = os.open(self._cgroups.path(cgroup), os.O_RDONLY)
        self._serial += 1
        argv = self._argv(group, work_idx)
        fds = {
            0: command_read,
            1: output_write,
            2: self._log_write,
            3: self._counters.fd,
            4: directory,
        }
        try:
            group.child = Child(argv, fds, realtime=True)
        except OSError as error:
            raise WorkerFailure(f"{group.label()}: {WORKER}: {error.strerror}") from None
        finally:
            for fd in (command_read, output_write, directory):
                os.close(fd)
        os.set_blocking(group.output_fd, False)
        self._loop.add(group.output_fd, lambda: self._read(group))
        self.groups.append(group)
        return group

    def _argv(self, group: Group, work_idx: int) -> list[str]:
        spec = group.spec
        words: dict[str, object] = {
            "type": spec["type"],
            "workers": group.count,
            "group_idx": spec.get("group_idx", 0),
            "work_idx": work_idx,
            "step": group.step,
            "cgroup": group.cgroup,
            "slot": group.slots[0],
            "cgroup_fd": 4,
            "policy": spec.get("policy", "normal"),
            "nice": spec.get("nice", 0),
            "seed": (self._seed * 1000003 + self._serial) & SEED_MASK,
        }
        if spec.get("rt_prio"):
            words["rt_prio"] = spec["rt_prio"]
        if spec.get("affinity"):
            words["affinity"] = spec["affinity"]
        words.update(spec.get("params") or {})
        return [WORKER, "lead", *(f"{key}={value}" for key, value in words.items())]

    def _read(self, group: Group) -> None:
        data = read_available(group.output_fd, 1 << 20)
        if data == b"":
            self._loop.remove(group.output_fd)
            group.done = True
        for message in group.messages.feed(data or b""):
            kind, payload = message[:1], message[1:]
            if kind == b"R":
                self._channel.send_raw(MsgType.WORKER_REPORT, payload)
                group.reported += 1
            elif kind == b"P":
                group.pids = msgpack.unpackb(payload)
            elif kind == b"E":
                group.error = payload.decode("utf-8", "replace")
            elif kind == b"D":
                group.done = True

    def wait_ready(self, groups: list[Group]) -> None:
        """Wait until the workers of these groups stand at their start gate.

        :raise WorkerFailure: with the leader's own words, or after 30 s.
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
        self._loop.run(time.monotonic() + COLLECT_S, lambda: all(g.done for g in groups))
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
        if child is not None and not group.done:
            self._channel.log(f"{group.label()}: no reports within {COLLECT_S:.0f} s, killed")
            child.kill(SIGKILL)
        status = child.status if child is not None and child.wait(1.0) else None
        for index in range(group.reported, group.count):
            pid = group.pids[index] if index < len(group.pids) else 0
            group_idx = int(group.spec.get("group_idx", 0))
            payload = {
                "step": group.step,
                "cgroup": group.cgroup,
                "group_idx": group_idx,
                "work_idx": 0,
                "worker": index,
                "work_type": group.spec["type"],
                "report": sentinel(pid, group_idx, exit_info(status)),
            }
            self._channel.send(MsgType.WORKER_REPORT, payload)
        self._release(group)

    def _release(self, group: Group) -> None:
        self._loop.remove(group.output_fd)
        for fd in (group.command_fd, group.output_fd):
            os.close(fd)
        if group.child is not None:
            group.child.wait(1.0)
            group.child.close()
        self._counters.give_back(group.slots)
        self.groups.remove(group)

    def of_step(self, step: int) -> list[Group]:
        """The groups a step owns; 0 is the backdrop."""
        return [group for group in self.groups if group.step == step]

    def of_cgroup(self, cgroup: str) -> list[Group]:
        """The groups whose workers are in a cgroup now."""
        return [group for group in self.groups if group.place == cgroup]
