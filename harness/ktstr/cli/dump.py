# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr dump``: a failure dump as text, or one part of it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ktstr.cli.command_line import BadCommandLine, Command
from ktstr.errors import CannotRun, KtstrError

if TYPE_CHECKING:
    from ktstr.series.dump.report import AnyDump, FailureDumpReport
    from ktstr.series.snapshot import Snapshot


@click.command(cls=Command)
@click.argument("path", type=click.Path(path_type=Path), default=Path("ktstr-runs"))
@click.option("--map", "map_name", metavar="NAME", help="One BPF map.")
@click.option("--var", "variable", metavar="PATH", help="A global variable, or a part: live.mode.")
@click.option("--key", metavar="KEY", help="With --map: the entry of this key.")
@click.option("--cpu", type=int, help="One CPU: its runqueue, stack, registers; of a map its slot.")
@click.option("--tasks", is_flag=True, help="Every thread of the guest.")
@click.option("--queues", is_flag=True, help="Dispatch queues and who waits in them.")
@click.option("--stacks", is_flag=True, help="Kernel stacks.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def dump(
    path: Path,
    map_name: str | None,
    variable: str | None,
    key: str | None,
    cpu: int | None,
    tasks: bool,
    queues: bool,
    stacks: bool,
    as_json: bool,
) -> None:
    """Print a failure dump, or what is asked of it.

    PATH is a failure-dump.json, an evidence folder, a record (NAME-TIME.ktstr.json), a checkpoint
    (NAME.checkpoint), or a folder of records (by default ktstr-runs), of which the newest is taken.
    Exit status: 0 when what was asked for is there, otherwise 4.
    """
    from ktstr.series.dump.text import dump_text, safe

    if key is not None and map_name is None:
        raise BadCommandLine("--key goes with --map")
    asked = map_name or variable or cpu is not None or tasks or queues or stacks
    try:
        found = _found(path)
        if not asked:
            text = json.dumps(found.to_json(), indent=1) + "\n" if as_json else dump_text(found)
            click.echo(text, nl=False)
            return
        whole = _whole(found)
        parts = list(_parts(whole, map_name, variable, key, cpu, tasks, queues, stacks))
    except (KtstrError, OSError, UnicodeDecodeError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(int(CannotRun.exit_code))
    if as_json:
        values = [plain for plain, _ in parts]
        click.echo(json.dumps(values[0] if len(values) == 1 else values, indent=1))
    else:
        for _, lines in parts:
            for line in lines:
                click.echo(safe(line))


def _found(path: Path) -> "AnyDump":
    from ktstr.series.dump.report import dump_from_text
    from ktstr.vm.checkpoint import SUFFIX, Checkpoint, is_checkpoint

    if path.suffix != SUFFIX and not is_checkpoint(path):
        return dump_from_text(dump_file(path).read_text("utf-8"))
    from ktstr.session.checkpoint_dump import read_checkpoint

    with Checkpoint(path) as checkpoint:
        return read_checkpoint(checkpoint)


def dump_file(path: Path) -> Path:
    """The dump that a path stands for.

    :raise CannotRun: when there is none, saying what was looked for.
    """
    from ktstr.cli.show import newest_record
    from ktstr.session.sidecar.write import SUFFIX
    from ktstr.session.wrap_up import DUMP_JSON

    if path.is_dir():
        if (path / DUMP_JSON).is_file():
            return path / DUMP_JSON
        path = newest_record(path)
    if not path.name.endswith(SUFFIX):
        return path
    # The record tells where its evidence was; it may have been moved together with it since.
    beside = path.with_name(path.name.removesuffix(SUFFIX) + ".evidence") / DUMP_JSON
    if beside.is_file():
        return beside
    raise CannotRun(
        f"no dump belongs to {path}: {beside} is not there",
        hint="only runs that do not pass leave one",
    )


def _whole(found: object) -> "FailureDumpReport":
    from ktstr.series.dump.report import FailureDumpReport

    if isinstance(found, FailureDumpReport) and not found.is_placeholder:
        return found
    reason = getattr(found, "reason", "")
    raise CannotRun(f"this dump holds nothing that could be asked for: {reason}")


_Part = tuple[object, list[str]]


def _parts(
    dump: "FailureDumpReport",
    map_name: str | None,
    variable: str | None,
    key: str | None,
    cpu: int | None,
    tasks: bool,
    queues: bool,
    stacks: bool,
) -> Iterator[_Part]:
    from ktstr.series.dump import text
    from ktstr.series.dump.codec import encode

    if variable is not None:
        value = _shot(dump).var(variable)
        yield value.to_json(), [text.value_text(value)]
    if map_name is not None:
        yield _map(_shot(dump), map_name, key, cpu)
    elif cpu is not None:
        yield _cpu(dump, cpu)
    if tasks:
        yield encode(dump.tasks), list(text.task_table(dump))
    if queues:
        yield encode(dump.queues), list(text.queue_lines(dump))
    if stacks:
        yield encode(dump.traces), list(text.stack_lines(dump))


def _shot(dump: "FailureDumpReport") -> "Snapshot":
    if dump.snapshot is None:
        why = dump.unavailable.get("snapshot", "no reason is given")
        raise CannotRun(f"this dump holds no maps: {why}")
    return dump.snapshot


def _map(shot: "Snapshot", name: str, key: str | None, cpu: int | None) -> _Part:
    from ktstr.series.dump import text
    from ktstr.series.maps import PerCpuEntry, key_text

    found = shot.map(name)
    if key is None and cpu is None:
        return found.to_json(), list(text.one_map(found))
    if cpu is None:
        entry = found.key(str(key))
        if not isinstance(entry, PerCpuEntry):
            return entry.to_json(), [text.value_text(entry.value.value)]
        return entry.to_json(), [f"CPU {n} = {_slot(slot)}" for n, slot in entry.per_cpu.items()]
    entries = [found.key(key)] if key is not None else list(found)
    slots = {key_text(e): e.cpu(cpu) for e in entries if isinstance(e, PerCpuEntry)}
    if len(slots) < len(entries):
        raise CannotRun(f"map {name!r} holds no value per CPU", hint="choose an entry with --key")
    lines = [f"[{at}] = {_slot(slot)}" for at, slot in slots.items()]
    return {at: slot.to_json() for at, slot in slots.items()}, lines


def _slot(slot: object) -> str:
    from ktstr.series.dump.text import value_text
    from ktstr.series.lazy import LazyValue

    return value_text(slot.value) if isinstance(slot, LazyValue) else "not read"


def _cpu(dump: "FailureDumpReport", cpu: int) -> _Part:
    from ktstr.series.dump import text
    from ktstr.series.dump.codec import encode

    state = _shot(dump).cpu(cpu)
    registers = tuple(vcpu for vcpu in dump.registers if vcpu.cpu == cpu)
    running = tuple(t for t in dump.traces if t.source == "vcpu" and _runs(state, t.pid, t.comm))
    waiting = dump.runnable(cpu)
    plain = {
        "cpu": encode(state),
        "tasks": encode(waiting),
        "stack_traces": encode(running),
        "vcpu_regs": encode(registers),
    }
    head = list(text.cpu_lines(dump, state))
    stacks = [line for trace in running for line in text.trace_lines(trace)]
    return plain, [*head, *stacks, *(line for r in registers for line in text.vcpu_lines(r))]


def _runs(state: object, pid: int, comm: str) -> bool:
    return (pid, comm) == (getattr(state, "curr_pid", None), getattr(state, "curr_comm", None))
