# SPDX-License-Identifier: GPL-2.0-only
"""Rules about single ops and where they may stand."""

from collections.abc import Iterator, Sequence

from ktstr.model.definition import Scenario
from ktstr.model.locate import KeyPath
from ktstr.model.op_models import MAX_GARBAGE, AnyOp, InjectFault, Pause, Resume
from ktstr.model.op_programs import MAX_WATCHES, CaptureSnapshot, RunPayload, WatchSnapshot
from ktstr.model.source import Mistake
from ktstr.model.units import format_duration


def op_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Pauses without an end, faults out of place, names used twice."""
    yield from _pauses(scenario.backdrop.ops, ("backdrop", "ops"))
    for index, op in enumerate(scenario.backdrop.ops):
        if isinstance(op, InjectFault):
            yield Mistake(("backdrop", "ops", index, "op"), "in a step only: it needs a hold")
    for number, step in enumerate(scenario.steps):
        at: KeyPath = ("steps", number, "ops")
        yield from _pauses(step.ops, at)
        for index, op in enumerate(step.ops):
            if step.hold.loop_ms is not None and isinstance(op, _ONCE):
                yield Mistake((*at, index, "op"), f"{op.op} only in a step that does not loop")
            elif isinstance(op, InjectFault):
                yield from _fault(op, (*at, index), scenario, number)
    yield from _names(scenario)
    yield from _watches(scenario)


_ONCE = Pause | Resume | InjectFault | WatchSnapshot


def _watches(scenario: Scenario) -> Iterator[Mistake]:
    kept = sum(isinstance(op, WatchSnapshot) for op in scenario.backdrop.ops)
    live = 0
    part: KeyPath = ()
    for at, op in scenario.all_ops():
        if not isinstance(op, WatchSnapshot):
            continue
        if (op.symbol is None) is (op.variable is None):
            yield Mistake((*at, "symbol"), "either symbol or variable")
        if op.section is not None and op.variable is None:
            yield Mistake((*at, "section"), "section only beside variable")
        if at[:2] != part:
            part, live = at[:2], 0 if at[0] == "backdrop" else kept
        live += 1
        if live > MAX_WATCHES:
            also = ", with those of the Backdrop" if kept and at[0] != "backdrop" else ""
            yield Mistake((*at, "op"), f"at most {MAX_WATCHES} watches at a time{also}")


def _names(scenario: Scenario) -> Iterator[Mistake]:
    seen: dict[tuple[bool, str], KeyPath] = {}
    for at, op in scenario.all_ops():
        snapshot = isinstance(op, CaptureSnapshot | WatchSnapshot)
        if isinstance(op, RunPayload | CaptureSnapshot | WatchSnapshot):
            first = seen.setdefault((snapshot, op.name), at)
            if first is not at:
                what = "snapshot" if snapshot else op.op
                other = f"the {what} before it" if first[:2] == at[:2] else "that of another step"
                yield Mistake((*at, "name"), f"a name that differs from {other}")
        if isinstance(op, CaptureSnapshot | WatchSnapshot) and op.name.startswith("periodic_"):
            yield Mistake((*at, "name"), "a name that does not begin with periodic_")


def _pauses(ops: Sequence[AnyOp], at: KeyPath) -> Iterator[Mistake]:
    paused: int | None = None
    for index, op in enumerate(ops):
        if isinstance(op, Pause):
            if paused is not None:
                yield Mistake((*at, index, "op"), "Resume before another Pause")
            paused = index
        elif isinstance(op, Resume):
            if paused is None:
                yield Mistake((*at, index, "op"), "Resume only after Pause")
            paused = None
    if paused is not None:
        yield Mistake((*at, paused, "op"), "Pause with a Resume after it in the same list")


def _fault(op: InjectFault, at: KeyPath, scenario: Scenario, step: int) -> Iterator[Mistake]:
    hold = scenario.holds_ms()[step]
    if op.at >= hold > 0:
        yield Mistake((*at, "at"), f"before the hold of {format_duration(hold)} ends")
    if op.cgroup is not None and op.fault != "kill-worker":
        yield Mistake((*at, "cgroup"), "cgroup only with kill-worker")
    if "size" in op.model_fields_set and op.fault != "garbage-on-port":
        yield Mistake((*at, "size"), "size only with garbage-on-port")
    elif not 0 < op.size <= MAX_GARBAGE:
        yield Mistake((*at, "size"), f'above zero, at most "{MAX_GARBAGE >> 20}M"')
    if op.fault == "kill-scheduler" and scenario.scheduler.kernel_default:
        yield Mistake((*at, "fault"), "kill-scheduler only with a scheduler that ktstr started")
