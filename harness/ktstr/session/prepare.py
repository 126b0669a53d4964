# SPDX-License-Identifier: GPL-2.0-only
"""Everything a run needs before a VM exists: definition, kernel, guest image, accelerator."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio.from_thread
import anyio.to_thread

from ktstr.capture.boundaries import boundary_offsets_ms
from ktstr.errors import DefinitionInvalid, HostUnfit, Problem
from ktstr.kernels import Kernel, open_kernel
from ktstr.kernels.build.schedulers import kernel_schedulers
from ktstr.kernels.modules import SCRATCH, chosen
from ktstr.kernels.sysroot import libbpf_sysroot
from ktstr.model.op_programs import RunPayload
from ktstr.model.packing import kernel_programs, packed_files, programs, python_imports
from ktstr.model.plan import build_plan, expected_cpusets, workload_ms
from ktstr.model.scenario import Scenario, load_scenario
from ktstr.model.scheduler_def import DEFAULT_ATTACH_MS
from ktstr.model.topology import Topology
from ktstr.session.events import Emit, Note, StageDone, StageProgress, StageStarted
from ktstr.session.options import RunOptions
from ktstr.session.phase_checks import metric_mistakes
from ktstr.session.temporal import unjudgeable
from ktstr.vm.accel import Accelerator, choose_accelerator
from ktstr.vm.closure import import_entries
from ktstr.vm.cpio import Entry
from ktstr.vm.image import Image, ImageStore, guest_sources, module_entries, program_overlay
from ktstr.vm.qemu import Qemu, find_qemu
from ktstr.vm.qemu_choice import Choice, virtual_clock_qemu
from ktstr.vm.qemu_version import SHARES_TURNS
from ktstr.vm.tsc import VIRTUAL_KHZ, host_tsc_khz


@dataclass(frozen=True, slots=True)
class Definition:
    """A scenario with everything that follows from it alone.

    :param workers: how many workers each (step, cgroup) has that may report.
    :param silenced: the (step, cgroup) pairs of which an op ends workers without reports.
    :param pauses_ms: how long ops may hold the scenario up beside the holds.
    :param asks_host: whether an op asks the host to look into the guest or write there.
    :param payloads: the ops that start programs, by the programs' names.
    :param checkpoint_step: the step at whose end a checkpoint is taken, from 1 on.
    """

    scenario: Scenario
    topology: Topology
    plan: Mapping[str, Any]
    cpusets: Mapping[tuple[int, str], frozenset[int]]
    workers: Mapping[tuple[int, str], int]
    silenced: frozenset[tuple[int, str]]
    holds_ms: tuple[int, ...]
    pauses_ms: int
    workload_ms: int
    boundaries_ms: tuple[float, ...]
    asks_host: bool
    payloads: Mapping[str, RunPayload]
    checkpoint_step: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A definition and what will run it.

    :param doubt: what figures from that QEMU are to be taken with care for, in a sentence.
    :param tsc_khz: rate of the guest's TSC, kHz, where it is known before the guest runs.
    """

    definition: Definition
    kernel: Kernel
    image: Image
    accel: Accelerator
    qemu: Qemu
    doubt: str | None = None
    tsc_khz: int | None = None


def define(path: Path, options: RunOptions) -> Definition:
    """Read the scenario and resolve it against its topology.

    :raise DefinitionInvalid: with every mistake found.
    :raise HostUnfit: when an option is not for the scenario's clock.
    """
    scenario = load_scenario(
        path,
        kernel=options.kernel,
        topology=options.topology,
        scheduler=options.scheduler,
        work_type=options.work_type,
        flags=options.flags,
        clock=options.clock,
        seed=options.seed,
    )
    return defined(scenario, options)


def defined(scenario: Scenario, options: RunOptions) -> Definition:
    """Resolve a scenario against its topology.

    :raise DefinitionInvalid: with every mistake found.
    :raise HostUnfit: when an option is not for the scenario's clock.
    """
    if scenario.run.clock == "virtual":
        _refuse_touching(options)
    elif options.icount_shift is not None:
        raise HostUnfit(
            "by the wall clock no instruction has a length of its own",
            hint="leave out --icount-shift, or use --clock virtual",
        )
    length = workload_ms(scenario)
    boundaries = boundary_offsets_ms(length, scenario.run.num_snapshots)
    if mistakes := [*metric_mistakes(scenario), *unjudgeable(scenario, boundaries)]:
        raise DefinitionInvalid(scenario.source.problems(mistakes))
    topology = scenario.vm.guest_topology
    # Of a run with a virtual clock, the guest itself takes the snapshots.
    plan = {**build_plan(scenario, topology), "boundaries_ms": [*boundaries]}
    return Definition(
        scenario=scenario,
        topology=topology,
        plan=plan,
        cpusets=expected_cpusets(scenario, topology),
        workers=reporting_workers(plan),
        silenced=silenced_groups(plan),
        holds_ms=scenario.holds_ms(),
        pauses_ms=sum(
            turns * _delay_ms(op, scenario.scheduler.attach_ms) for turns, op in _ops(plan)
        ),
        workload_ms=length,
        boundaries_ms=boundaries,
        asks_host=any(op["op"] in _HOST_OPS for _, op in _ops(plan)),
        payloads={op.name: op for _, op in scenario.all_ops() if isinstance(op, RunPayload)},
        checkpoint_step=_checkpoint_step(scenario, options.checkpoint_at),
    )


def _checkpoint_step(scenario: Scenario, asked: str | None) -> int | None:
    """The step that ``--checkpoint-at`` names: by its name, or by its number from 1 on.

    :raise DefinitionInvalid: when the scenario has no such step.
    """
    if asked is None:
        return None
    names = [step.name for step in scenario.steps]
    if asked in names:
        return names.index(asked) + 1
    if asked.isdecimal() and len(asked) < 5 and 1 <= int(asked) <= len(names):
        return int(asked)
    allowed = ", ".join([f"1 to {len(names)}", *(repr(name) for name in names if name)])
    problem = Problem(scenario.source.file, None, "--checkpoint-at", repr(asked), allowed)
    raise DefinitionInvalid([problem])


_HOST_OPS = ("CaptureSnapshot", "WatchSnapshot", "WriteBpfGlobal")
_ATTACHING = ("AttachScheduler", "ReplaceScheduler", "RestartScheduler")
_DELAYS_MS = {
    **dict.fromkeys(_HOST_OPS, 10_000),
    "DetachScheduler": 10_000,
    "FreezeCgroup": 10_000,
}
"""How long an op may take: what the agent allows it, with room."""


def _delay_ms(op: Mapping[str, Any], attach_ms: int) -> int:
    """How long an op may take, ms; ``attach_ms`` is what the scenario's own scheduler may."""
    own = {"Pause": "duration_ms", "WaitPayload": "timeout_ms"}.get(op["op"], "")
    if op["op"] in _ATTACHING:
        return max(int((op.get("scheduler") or {}).get("attach_ms", attach_ms)), DEFAULT_ATTACH_MS)
    return int(op.get(own, 0)) + _DELAYS_MS.get(op["op"], 0)


def _parts(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**plan["backdrop"], "index": 0}, *plan["steps"]]


def _turns(part: Mapping[str, Any]) -> int:
    loop_ms = part.get("loop_ms")
    return max(1, -(-int(part["hold_ms"]) // int(loop_ms))) if loop_ms else 1


def _ops(plan: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Every op, with how often it is done."""
    return [(_turns(part), op) for part in _parts(plan) for op in part["ops"]]


def reporting_workers(plan: Mapping[str, Any]) -> dict[tuple[int, str], int]:
    """Upper bound of reports per (step, cgroup); 0 is the backdrop."""
    workers: dict[tuple[int, str], int] = {}

    def add(step: int, cgroup: str, work: Mapping[str, Any], turns: int = 1) -> None:
        for each in (work, *work.get("composed", ())):
            workers[step, cgroup] = workers.get((step, cgroup), 0) + turns * int(each["workers"])

    for part in _parts(plan):
        for cgroup in part["cgroups"]:
            for work in cgroup["works"]:
                add(part["index"], cgroup["name"], work)
        for op in part["ops"]:
            for cgroup, work in _works_of(op):
                add(part["index"], cgroup, work, _turns(part))
    return workers


def _works_of(op: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Cgroup and work of all that an op starts."""
    if op["op"] == "AddCgroupDef":
        return [(op["name"], work) for work in op["works"]]
    return [(op["cgroup"], op["work"])] if "work" in op else []


def silenced_groups(plan: Mapping[str, Any]) -> frozenset[tuple[int, str]]:
    """Groups that may report less than was started.

    StopCgroup and RemoveCgroup end workers, in their own step or as Backdrop, also those of cgroups
    inside; and a loop may have fewer turns than there is time for.
    """
    found = set()
    started = reporting_workers(plan)
    for part in _parts(plan):
        index = int(part["index"])
        for op in part["ops"]:
            if op["op"] in ("StopCgroup", "RemoveCgroup"):
                found |= {(0, op["cgroup"]), (index, op["cgroup"])}
            if op["op"] == "RemoveCgroup":
                inside = op["cgroup"] + "/"
                found |= {key for key in started if key[1].startswith(inside)}
            if _turns(part) > 1:
                found |= {(index, cgroup) for cgroup, _ in _works_of(op)}
    return frozenset(found)


@asynccontextmanager
async def prepared(
    definition: Definition,
    options: RunOptions,
    run_dir: Path,
    emit: Emit,
    entries: Sequence[Entry] = (),
) -> AsyncIterator[Prepared]:
    """Kernel, image and accelerator, with the kernel locked against removal while used.

    :param entries: what the guest has beside the scenario's files.
    :raise CannotRun: naming the one thing that stands in the way.
    """
    scenario = definition.scenario
    need = set(scenario.scheduler.kernel_features)
    if any(program.kind != "none" for _, program in programs(scenario)):
        need.add("sched_ext")
    with stage(emit, "kernel", f"kernel {scenario.kernel}") as done:
        progress = partial(_relay, emit, "kernel")
        async with open_kernel(scenario.kernel, progress=progress, need=need) as kernel:
            done(f"kernel {kernel.release}")
            made = await _made(scenario, kernel, emit)
            image = await _image(scenario, kernel, run_dir, emit, [*made, *entries])
            with stage(emit, "accel", "accelerator") as accel_done:
                accel = await _accelerator(scenario, options)
                accel_done(f"accelerator {accel.name}: {shortened(accel.reason)}")
            qemu, doubt = find_qemu(), None
            if scenario.run.clock == "virtual":
                choice = await _counting_qemu(emit)
                qemu, doubt = choice.qemu, uneven(choice, definition.topology)
            khz = await _tsc_khz(scenario, accel)
            yield Prepared(definition, kernel, image, accel, qemu, doubt, khz)


async def _tsc_khz(scenario: Scenario, accel: Accelerator) -> int | None:
    if accel.name != "tcg":
        return None  # KVM's guests have a clock that tells them
    if scenario.run.clock == "virtual":
        return VIRTUAL_KHZ
    return await anyio.to_thread.run_sync(host_tsc_khz)


def _refuse_touching(options: RunOptions) -> None:
    """Options by which the host would touch a guest with a virtual clock.

    :raise HostUnfit: naming the first of them.
    """
    asked = {"--keep-vm": options.keep_vm, "--checkpoint-at": options.checkpoint_at is not None}
    for option, given in asked.items():
        if given:
            raise HostUnfit(
                f"{option} is not for a guest with a virtual clock: the host may not touch it",
                hint=f"leave out {option}, or use --clock wall",
            )


async def _accelerator(scenario: Scenario, options: RunOptions) -> Accelerator:
    """The accelerator; what is counted by the virtual clock, only TCG can count.

    :raise HostUnfit: when another was asked for than can be had.
    """
    if scenario.run.clock == "wall":
        return await choose_accelerator(options.accel)
    if options.accel == "kvm":
        raise HostUnfit(
            "KVM was asked for, but by the virtual clock a guest runs under TCG: "
            "KVM does not count instructions",
            hint="leave out --accel kvm, or use --clock wall",
        )
    return Accelerator("tcg", "TCG, because the virtual clock counts instructions")


async def _counting_qemu(emit: Emit) -> Choice:
    """The QEMU for the virtual clock, fetched where the host's is too old.

    :raise HostUnfit: the host has none.
    """
    with stage(emit, "qemu", "QEMU for the virtual clock") as done:
        choice = await virtual_clock_qemu(partial(_relay, emit, "qemu"))
        done(str(choice))
    if choice.obstacle is not None:
        emit(Note(f"no newer QEMU for the virtual clock: {choice.obstacle}", warning=True))
    return choice


def uneven(choice: Choice, topology: Topology) -> str | None:
    """What to say of figures from vCPUs that do not share time evenly.

    Why there is no newer QEMU is left out: it stands in the record, which is to be the same again.
    """
    if choice.obstacle is None or topology.cpus == 1:
        return None
    return (
        f"QEMU {choice.version.number} shares the virtual clock's time unevenly between busy "
        f"vCPUs, 500 to 1 at worst: do not compare what workers on different CPUs did "
        f"(QEMU {'.'.join(map(str, SHARES_TURNS))} and newer share it)"
    )


REASON_CHARS = 80


def shortened(reason: str) -> str:
    """A reason that fits a line: QEMU's own words may follow it for a paragraph."""
    head = reason.partition(";")[0]
    return head if len(head) <= REASON_CHARS else head[: REASON_CHARS - 1] + "…"


def _relay(emit: Emit, key: str, text: str, fraction: float | None) -> None:
    emit(StageProgress(key, text, fraction))


async def _made(scenario: Scenario, kernel: Kernel, emit: Emit) -> list[Entry]:
    """The schedulers of the kernel's own source that a scenario names, with their libraries.

    :raise CannotRun: when one cannot be made.
    """
    wanted = kernel_programs(scenario)
    if not wanted:
        return []
    names = sorted(set(wanted.values()))
    with stage(emit, "tools", f"{', '.join(names)} of the kernel's source"):
        progress = partial(_relay, emit, "tools")
        made = await kernel_schedulers(kernel, names, progress=progress)
    return [entry for guest, name in wanted.items() for entry in program_overlay(made[name], guest)]


async def _image(
    scenario: Scenario, kernel: Kernel, run_dir: Path, emit: Emit, more: Sequence[Entry] = ()
) -> Image:
    store = ImageStore()

    def sysroot() -> Path:
        return anyio.from_thread.run(libbpf_sysroot)

    with stage(emit, "image", "guest image") as done:
        progress = partial(_relay, emit, "image")
        base = await anyio.to_thread.run_sync(
            store.base, sysroot, progress, anyio.from_thread.check_cancelled
        )
        image = base
        files = {file.guest: file.host for file in packed_files(scenario)}
        entries = [entry for guest, host in files.items() for entry in program_overlay(host, guest)]
        if files or more:
            entries += [*import_entries(guest_sources(), python_imports(scenario)), *more]
        unused = () if scenario.vm.scratch_mib else (SCRATCH,)
        entries += module_entries(chosen(kernel.modules, unused))
        if entries:
            image = await anyio.to_thread.run_sync(
                store.with_overlay, base, entries, run_dir / "image.cpio"
            )
        done("guest image " + ("built" if base.fresh else "unchanged"))
        return image


class stage:
    """Times a stage; the block may replace the closing text by calling what it is given."""

    def __init__(self, emit: Emit, key: str, text: str) -> None:
        self._emit = emit
        self._key = key
        self._text = text
        self._began = 0.0
        self._reported = False

    def __enter__(self) -> Callable[[str], None]:
        self._began = time.monotonic()
        self._emit(StageStarted(self._key, self._text))
        return self._done

    def _done(self, text: str) -> None:
        if not self._reported:
            self._reported = True
            self._emit(StageDone(self._key, text, time.monotonic() - self._began))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._done(self._text)
