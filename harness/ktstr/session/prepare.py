# SPDX-License-Identifier: GPL-2.0-only
"""Everything a run needs before a VM exists: definition, kernel, guest image, accelerator."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio.from_thread
import anyio.to_thread

from ktstr.errors import HostUnfit
from ktstr.kernels import Kernel, open_kernel
from ktstr.model.packing import programs
from ktstr.model.scenario import Scenario
from ktstr.model.topology import Topology
from ktstr.session.definition import Definition
from ktstr.session.events import Emit, Note
from ktstr.session.guest_image import image_of, made_schedulers
from ktstr.session.options import RunOptions
from ktstr.session.stages import relay, shortened, stage
from ktstr.vm.accel import Accelerator, choose_accelerator
from ktstr.vm.cpio import Entry
from ktstr.vm.image import Image
from ktstr.vm.qemu import Qemu, find_qemu
from ktstr.vm.qemu_choice import Choice, virtual_clock_qemu
from ktstr.vm.qemu_version import SHARES_TURNS
from ktstr.vm.tsc import VIRTUAL_KHZ, host_tsc_khz


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
    need = needed_features(scenario)
    with stage(emit, "kernel", f"kernel {scenario.kernel}") as done:
        progress = partial(relay, emit, "kernel")
        async with open_kernel(scenario.kernel, progress=progress, need=need) as kernel:
            done(f"kernel {kernel.release}")
            made = await made_schedulers(scenario, kernel, emit)
            image = await image_of(scenario, kernel, run_dir, emit, [*made, *entries])
            with stage(emit, "accel", "accelerator") as accel_done:
                accel = await _accelerator(scenario, options)
                accel_done(f"accelerator {accel.name}: {shortened(accel.reason)}")
            qemu, doubt = find_qemu(), None
            if scenario.run.clock == "virtual":
                choice = await _counting_qemu(emit)
                qemu, doubt = choice.qemu, uneven(choice, definition.topology)
            khz = await _tsc_khz(scenario, accel)
            yield Prepared(definition, kernel, image, accel, qemu, doubt, khz)


def needed_features(scenario: Scenario) -> frozenset[str]:
    """What the kernel of a scenario must not lack."""
    need = set(scenario.scheduler.kernel_features)
    if any(program.kind != "none" for _, program in programs(scenario)):
        need.add("sched_ext")
    return frozenset(need)


async def _tsc_khz(scenario: Scenario, accel: Accelerator) -> int | None:
    if accel.name != "tcg":
        return None  # KVM's guests have a clock that tells them
    if scenario.run.clock == "virtual":
        return VIRTUAL_KHZ
    return await anyio.to_thread.run_sync(host_tsc_khz)


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
        choice = await virtual_clock_qemu(partial(relay, emit, "qemu"))
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
