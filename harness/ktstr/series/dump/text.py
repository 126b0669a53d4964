# SPDX-License-Identifier: GPL-2.0-only
"""A failure dump as text; what came from the guest stays on its line and cannot move the cursor."""

from collections.abc import Iterator
from itertools import groupby, islice
from typing import Final

from ktstr.series.dump.parts import StackTrace, TaskState, VcpuRegisters, dsq_name
from ktstr.series.dump.report import AnyDump, DegradedFailureDumpReport, FailureDumpReport
from ktstr.series.maps import MapSnapshot, PerCpuEntry
from ktstr.series.snapshot import CpuSnapshot
from ktstr.series.values import (
    Array,
    Bool,
    Bytes,
    Char,
    CpuList,
    Enum,
    Float,
    Int,
    Ptr,
    RenderedValue,
    Struct,
    Truncated,
    Uint,
    Unsupported,
)
from ktstr.telemetry.decode import printable

MAX_ENTRIES: Final = 32
"""Entries of one map that the text shows; the JSON has more."""

MAX_CHARS: Final = 4000
MAX_ELEMENTS: Final = 32
MAX_DEPTH: Final = 8
_ROW = "  {:>7} {:<16} {:>3} {:>5} {:<5} {:>4} {:>6} {:>9} {:>10}  {}"
_HEAD = _ROW.format(
    "pid", "comm", "cpu", "state", "class", "prio", "weight", "slice ms", "waits ms", "queue"
)
_GLYPHS = "▁▂▃▄▅▆▇█"


def dump_text(dump: AnyDump) -> str:
    """The whole dump."""
    return "\n".join(map(safe, _lines(dump))) + "\n"


def safe(line: str) -> str:
    """A line of this module's with nothing in it that a terminal would obey."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in line
    )


def _lines(dump: AnyDump) -> Iterator[str]:
    if isinstance(dump, DegradedFailureDumpReport):
        yield f"failure dump, degraded: {printable(dump.reason, MAX_CHARS)}"
        yield f"after {dump.elapsed_ms:.0f} ms of workload; exit kind {_or_dash(dump.exit_kind)}"
        return
    kind = ", placeholder" if dump.is_placeholder else ""
    yield f"failure dump{kind}: {printable(dump.reason, MAX_CHARS)}"
    yield f"taken at the {dump.trigger}, after {dump.elapsed_ms:.0f} ms of workload"
    yield from scheduler_lines(dump)
    yield from queue_lines(dump)
    yield from runqueue_lines(dump)
    yield from stack_lines(dump)
    yield from register_lines(dump)
    yield from timeline_lines(dump)
    yield from map_lines(dump)
    if dump.unavailable:
        yield "\nnot available"
        for name, why in dump.unavailable.items():
            yield f"  {printable(name)}: {printable(why, MAX_CHARS)}"


def scheduler_lines(dump: FailureDumpReport) -> Iterator[str]:
    """sched_ext's state and event counters."""
    shot = dump.snapshot
    if shot is None:
        return
    state = shot.sched_ext
    yield f"kernel {printable(shot.release)}"
    if state.state is None:
        return
    yield "\nsched_ext"
    ended = f"exit kind {_or_dash(state.exit_kind)} ({state.exit_name or '–'})"
    yield f"  {state.state}, scheduler {printable(state.ops or '–')}, {ended}"
    if state.exit_message:
        yield f"  message: {printable(state.exit_message, MAX_CHARS)}"
    yield f"  bypass depth {_or_dash(state.bypass_depth)}, aborting {_or_dash(state.aborting)}"
    counted = {name: count for name, count in (state.events or {}).items() if count}
    if counted:
        yield "  events: " + ", ".join(f"{printable(n)} {c}" for n, c in counted.items())


def queue_lines(dump: FailureDumpReport) -> Iterator[str]:
    """Dispatch queues with who waits in them."""
    if not dump.queues:
        return
    names = {task.pid: task.comm for task in dump.tasks}
    yield "\ndispatch queues"
    for queue in dump.queues:
        yield f"  {queue.name}: {_or_dash(queue.length)} queued"
        for pid in queue.pids:
            yield f"    {pid} {printable(names.get(pid, '?'))}"
        if queue.note:
            yield f"    {printable(queue.note)}"


def runqueue_lines(dump: FailureDumpReport) -> Iterator[str]:
    """Each CPU with what is current and what is runnable there."""
    if dump.snapshot is None:
        return
    for cpu in dump.snapshot.cpus:
        yield ""
        yield from cpu_lines(dump, cpu)


def cpu_lines(dump: FailureDumpReport, cpu: CpuSnapshot) -> Iterator[str]:
    """One CPU's runqueue and how it spent its time."""
    current = f"{_or_dash(cpu.curr_pid)} {printable(cpu.curr_comm or '–')}"
    yield f"CPU {cpu.cpu}: {_or_dash(cpu.nr_running)} runnable, runs {current}"
    waiting = dump.runnable(cpu.cpu)
    if waiting:
        yield _HEAD
        yield from (task_line(dump, task) for task in waiting)
    for time in dump.snapshot.host.per_cpu_time if dump.snapshot is not None else ():
        if time.cpu == cpu.cpu:
            spent = {name: getattr(time, f"{name}_ns") for name in _TIMES}
            told = ", ".join(f"{name} {ns / 1e6:.0f}" for name, ns in spent.items() if ns)
            yield f"  time in ms: {told or '–'}"


_TIMES = ("user", "nice", "system", "irq", "softirq", "idle", "iowait", "steal")


def task_table(dump: FailureDumpReport) -> Iterator[str]:
    """Every thread of the guest."""
    yield _HEAD
    yield from (task_line(dump, task) for task in dump.tasks)


def task_line(dump: FailureDumpReport, task: TaskState) -> str:
    """One row of a table of tasks."""
    queue = dump.queue_of(task.pid)
    where = queue.name if queue else "–" if task.dsq_id is None else dsq_name(task.dsq_id)
    return _ROW.format(
        task.pid,
        printable(task.comm, 16),
        _or_dash(task.cpu),
        task.state[:1] + ("+" if task.on_cpu else ""),
        task.sched_class or "–",
        _or_dash(task.prio),
        _or_dash(task.weight),
        "–" if task.slice_ns is None else f"{task.slice_ns / 1e6:.1f}",
        "–" if task.runnable_ms is None else f"{task.runnable_ms:.0f}",
        where,
    ).rstrip()


def stack_lines(dump: FailureDumpReport) -> Iterator[str]:
    """All stack traces; equal ones of several threads once."""
    shared: dict[tuple[object, ...], list[StackTrace]] = {}
    for trace in dump.traces:
        shared.setdefault((trace.source, trace.frames, trace.note), []).append(trace)
    if shared:
        yield "\nkernel stacks"
    for traces in shared.values():
        yield from trace_lines(*traces)


def trace_lines(*traces: StackTrace) -> Iterator[str]:
    """One trace that all these threads have."""
    first = traces[0]
    who = ", ".join(f"{trace.pid} {printable(trace.comm)}" for trace in traces)
    how = f" ({first.method})" if first.frames else ""
    yield f"  {who}{' on a CPU' if first.source == 'vcpu' else ''}{how}"
    yield from (f"    {printable(frame.in_words())}" for frame in first.frames)
    if first.note:
        yield f"    [{printable(first.note)}]"


def register_lines(dump: FailureDumpReport) -> Iterator[str]:
    """The registers of every vCPU."""
    if dump.registers:
        yield "\nvCPU registers"
    for vcpu in dump.registers:
        yield from vcpu_lines(vcpu)


def vcpu_lines(vcpu: VcpuRegisters) -> Iterator[str]:
    """The registers of one vCPU."""
    where = {0: "in the kernel", 3: "in user space"}.get(-1 if vcpu.cpl is None else vcpu.cpl, "–")
    yield f"  CPU {vcpu.cpu} {where}{', halted' if vcpu.halted else ''}"
    cells = [f"{name:>7} {value:016x}" for name, value in vcpu.values.items()]
    yield from ("    " + "  ".join(cells[at : at + 4]) for at in range(0, len(cells), 4))


def timeline_lines(dump: FailureDumpReport) -> Iterator[str]:
    """How event counters grew: one line of eight heights per counter that moved."""
    names = {name: None for sample in dump.timeline for name in sample.events}
    drawn = []
    for name in names:
        counts = [sample.events.get(name, 0) for sample in dump.timeline]
        if any(counts):
            drawn.append(f"  {printable(name):<32} {sparkline(counts)} {counts[0]} to {counts[-1]}")
    if drawn:
        yield "\nevent counters over time"
        yield from drawn


def sparkline(counts: list[int]) -> str:
    """Heights between the smallest and the largest; what does not move is flat."""
    low, high = min(counts), max(counts)
    if low == high:
        return _GLYPHS[4 if high else 0] * len(counts)
    return "".join(_GLYPHS[(count - low) * 7 // (high - low)] for count in counts)


def map_lines(dump: FailureDumpReport) -> Iterator[str]:
    """Every BPF map."""
    for found in dump.snapshot.maps if dump.snapshot is not None else ():
        yield from one_map(found)


def one_map(found: MapSnapshot) -> Iterator[str]:
    """A map's entries, or the variables of a data section."""
    yield f"\nmap {printable(found.name)} ({found.type_name}, id {found.id})"
    if found.error is not None:
        yield f"  not read: {printable(found.error)}"
    elif found.value is not None:
        value = found.value.value.peeled()
        members = value.members if isinstance(value, Struct) else (("", value),)
        yield from (f"  {printable(name)} = {value_text(part)}" for name, part in members)
    else:
        yield from _entries(found)
    if found.truncated:
        yield f"  cut: {printable(found.truncated)}"


def _entries(found: MapSnapshot) -> Iterator[str]:
    """One line per value; neighbours that are equal share one, as in a map that is mostly empty."""
    rows = islice(_rows(found), MAX_ENTRIES * 64)
    for at, (shown, same) in enumerate(groupby(rows, key=lambda row: row[1])):
        if at == MAX_ENTRIES:
            yield f"  … ({len(found)} entries in all; the JSON has them)"
            return
        first, *others = (key for key, _ in same)
        yield f"  {first}{f' to {others[-1]}' if others else ''} = {shown}"


def _rows(found: MapSnapshot) -> Iterator[tuple[str, str]]:
    for entry in found.all():
        key = f"[{value_text(entry.key.value)}]"
        if isinstance(entry, PerCpuEntry):
            for cpu, slot in entry.per_cpu.items():
                yield f"{key} CPU {cpu}", "not read" if slot is None else value_text(slot.value)
        else:
            yield key, value_text(entry.value.value)


def value_text(value: RenderedValue) -> str:
    """A value in one line, like C."""
    return printable(_value(value, MAX_DEPTH), MAX_CHARS)


def _value(value: RenderedValue, depth: int) -> str:
    match value:
        case Uint() | Int() | Float() | Bool():
            return str(value.value).lower() if isinstance(value, Bool) else str(value.value)
        case Char():
            return repr(chr(value.value & 0xFF))
        case Enum():
            return value.variant or str(value.value)
        case CpuList():
            return value.cpus or "none"
        case Ptr():
            return f"{value.value:#x}" + ("" if value.deref is None else " → …")
        case Bytes():
            return value.hex[:400]
        case Truncated():
            return f"{_value(value.partial, depth)} (cut: {value.had} of {value.needed} bytes)"
        case Unsupported():
            return f"({value.reason})"
        case Struct() | Array() if depth == 0:
            return "…"
        case Struct():
            inside = (f"{n}: {_value(v, depth - 1)}" for n, v in value.members[:MAX_ELEMENTS])
            return "{" + ", ".join(inside) + "}"
        case Array():
            if value.elements and all(isinstance(e, Char) for e in value.elements):
                return repr(value.as_str())
            shown = [_value(e, depth - 1) for e in value.elements[:MAX_ELEMENTS]]
            more = ", …" if value.len > len(shown) else ""
            return "[" + ", ".join(shown) + more + "]"
    return value.kind


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)
