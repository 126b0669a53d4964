# SPDX-License-Identifier: GPL-2.0-only
"""The callbacks that led to a scheduler's end: entries joined to their returns, task by task."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ktstr.series.repro.probes import ProbeData, ProbeEvent

MAX_TASKS: Final = 3
MAX_CALLS: Final = 8
"""How many tasks are shown, and how many calls of each: the last ones."""

_BUILT_IN: Final = 1 << 63
_LOCAL_ON: Final = 3 << 62
_NAMES: Final = {1: "GLOBAL", 2: "LOCAL", 3: "BYPASS"}
_PID: Final = re.compile(r"\[(\d+)\]|\btid (\d+)")
_COMING_AND_GOING: Final = frozenset(("init_task", "exit_task", "enable", "disable"))
"""Callbacks that every task gets when a scheduler comes and goes."""

_PLAIN_ARGS: Final = {
    "select_cpu": ((1, "prev_cpu"), (2, "wake_flags")),
    "enqueue": ((1, "enq_flags"),),
    "dequeue": ((1, "deq_flags"),),
    "dispatch": ((0, "cpu"),),
    "runnable": ((1, "enq_flags"),),
    "quiescent": ((1, "deq_flags"),),
    "stopping": ((1, "runnable"),),
    "update_idle": ((0, "cpu"), (1, "idle")),
    "set_weight": ((1, "weight"),),
    "exit": ((0, "kind"),),
}
"""Arguments that are numbers worth reading, by callback: position and name."""

_RETURNS: Final = frozenset(("select_cpu", "init_task", "init", "yield", "core_sched_before"))


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a callback; without ``leave`` it had not returned yet."""

    enter: ProbeEvent
    leave: ProbeEvent | None = None


@dataclass(frozen=True, slots=True)
class TaskChain:
    """The last calls about one task, oldest first.

    :param why: what makes the task worth a look.
    :param calls: each with how many of its kind came in a row, of which it is the last.
    """

    pid: int
    comm: str
    why: str
    calls: tuple[tuple[Call, int], ...]


def stitch(events: Iterable[ProbeEvent]) -> list[Call]:
    """Join entries to their returns, by CPU, program and task; in the order they began.

    A return whose entry was overwritten is left out.
    """
    open_calls: dict[tuple[int, str, int], list[int]] = {}
    calls: list[Call] = []
    for event in sorted(events, key=lambda event: event.ns):
        key = event.cpu, event.program, event.task
        if event.phase == "entry":
            open_calls.setdefault(key, []).append(len(calls))
            calls.append(Call(event))
        elif event.phase == "exit" and (waiting := open_calls.get(key)):
            place = waiting.pop()
            calls[place] = Call(calls[place].enter, event)
    return calls


def trigger_of(data: ProbeData) -> ProbeEvent | None:
    """The moment the kernel took note of the error that ended the scheduler."""
    return next((event for event in data.events if event.phase == "trigger"), None)


def call_at(calls: Sequence[Call], trigger: ProbeEvent) -> Call | None:
    """The callback that was running on the CPU on which the error was raised."""
    for call in reversed(calls):
        if call.enter.cpu == trigger.cpu and call.enter.ns <= trigger.ns:
            over = call.leave is not None and call.leave.ns <= trigger.ns
            return None if over else call
    return None


def chains(data: ProbeData, message: str) -> list[TaskChain]:
    """The tasks nearest to the end, the likeliest first, at most :data:`MAX_TASKS`.

    :param message: what is known about the failure; it may name tasks (``comm[pid]``, ``tid N``).
    """
    calls = [
        call
        for call in stitch(data.events)
        if call.enter.task and call.enter.callback not in _COMING_AND_GOING
    ]
    of_task: dict[int, list[Call]] = {}
    for call in calls:
        of_task.setdefault(call.enter.task, []).append(call)
    found: dict[int, str] = {}
    named = {int(pid or tid) for pid, tid in _PID.findall(message)} - {0}
    for task, own in of_task.items():
        if own[-1].enter.pid in named:
            found[task] = "named by the failure"
    trigger = trigger_of(data)
    if trigger is not None:
        during = call_at(calls, trigger)
        if during is not None:
            found.setdefault(during.enter.task, f"in {during.enter.callback} at the error")
        if trigger.task in of_task:
            found.setdefault(trigger.task, "on the CPU at the error")
    waiting = [task for task, own in of_task.items() if own[-1].enter.callback == "enqueue"]
    for task in sorted(waiting, key=lambda task: of_task[task][-1].enter.ns):
        found.setdefault(task, "enqueued, and not run since")
    for task in sorted(of_task, key=lambda task: -of_task[task][-1].enter.ns):
        found.setdefault(task, "among the last")
    return [
        TaskChain(
            of_task[task][-1].enter.pid,
            of_task[task][-1].enter.comm,
            why,
            tuple(in_a_row(of_task[task])[-MAX_CALLS:]),
        )
        for task, why in list(found.items())[:MAX_TASKS]
    ]


def in_a_row(calls: Iterable[Call]) -> list[tuple[Call, int]]:
    """Calls of one task with those that only repeat the one before counted, not kept."""
    kept: list[tuple[Call, int]] = []
    for call in calls:
        if kept and _same(kept[-1][0], call):
            kept[-1] = call, kept[-1][1] + 1
        else:
            kept.append((call, 1))
    return kept


def _same(one: Call, other: Call) -> bool:
    return (
        one.leave is not None
        and other.leave is not None
        and (one.enter.callback, one.enter.cpu) == (other.enter.callback, other.enter.cpu)
        and one.enter.args[1:] == other.enter.args[1:]
        and not [*_changes(one.enter, one.leave), *_changes(other.enter, other.leave)]
    )


def call_text(call: Call, zero_ns: int, times: int = 1) -> str:
    """One call in a line: when, which, with what, and what it changed (``→``).

    :param zero_ns: the time that counts as 0.
    :param times: how many calls like it came in a row.
    """
    enter, leave = call.enter, call.leave
    head = f"{(enter.ns - zero_ns) / 1e6:+10.3f} ms  cpu {enter.cpu}  {enter.callback}"
    shown = _PLAIN_ARGS.get(enter.callback, ())
    parts = [f"{name}={_number(enter.args[nth])}" for nth, name in shown]
    line = f"{head}({', '.join(parts)})" + (f" ×{times}" if times > 1 else "")
    if leave is None:
        return f"{line}  not returned"
    if enter.callback in _RETURNS:
        line += f" = {leave.ret}"
    line += f"  {(leave.ns - enter.ns) / 1e3:.1f} µs"
    if enter.task:
        line += "".join(f"  {change}" for change in _changes(enter, leave))
    return line


def _changes(enter: ProbeEvent, leave: ProbeEvent) -> Iterable[str]:
    pairs = (
        ("dsq", dsq_name(enter.dsq_id), dsq_name(leave.dsq_id)),
        ("ddsp", dsq_name(enter.ddsp_dsq_id), dsq_name(leave.ddsp_dsq_id)),
        ("slice", _ms(enter.slice_ns), _ms(leave.slice_ns)),
        ("vtime", str(enter.vtime), str(leave.vtime)),
    )
    for name, before, after in pairs:
        if before != after:
            yield f"{name} {before} → {after}"


def _ms(ns: int) -> str:
    return f"{ns / 1e6:g} ms"


def _number(value: int) -> str:
    signed = value - (1 << 64) if value >> 63 else value
    as_int = value & 0xFFFFFFFF
    if value >> 32 == 0 and as_int >> 31:
        signed = as_int - (1 << 32)
    return hex(value) if abs(signed) > 0xFFFF else str(signed)


def dsq_name(dsq_id: int | None) -> str:
    """A dispatch queue for people: built-in ones by name (enum scx_dsq_id_flags)."""
    if dsq_id is None:
        return "none"
    if not dsq_id & _BUILT_IN:
        return str(dsq_id) if dsq_id < 1 << 32 else hex(dsq_id)
    if dsq_id & _LOCAL_ON == _LOCAL_ON:
        return f"LOCAL_ON|{dsq_id & 0xFFFFFFFF}"
    return _NAMES.get(dsq_id & 0xFF, hex(dsq_id))
