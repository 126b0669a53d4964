# SPDX-License-Identifier: GPL-2.0-only
"""What a prepared run needs: its machine, and its time."""

import time
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread

from ktstr.kernels import Kernel
from ktstr.model.op_programs import WatchSnapshot
from ktstr.model.scheduler_def import DEFAULT_ATTACH_MS
from ktstr.session.conversation import Conversation
from ktstr.session.definition import Definition
from ktstr.session.emulator import avoiding_words
from ktstr.session.live import Live
from ktstr.session.monitor import configured_hz
from ktstr.session.options import Deadlines, RunOptions
from ktstr.session.prepare import Prepared
from ktstr.session.virtual import is_virtual, patient, slowdown, with_plan
from ktstr.vm.spec import VirtualClock, VmSpec
from ktstr.vm.tsc import tsc_words


async def planned_spec(ready: Prepared, options: RunOptions, run_dir: Path) -> VmSpec:
    """The machine a prepared run needs; with a virtual clock, the plan is in its image.

    :raise GuestBuildFailed: when that image cannot be written.
    """
    spec = vm_spec(ready)
    if spec.virtual is None:
        return spec
    clock = spec.virtual
    if options.icount_shift is not None:
        clock = replace(clock, shift=options.icount_shift)
    plan = ready.definition.plan
    initrd = await anyio.to_thread.run_sync(with_plan, ready.image, plan, run_dir)
    return replace(spec, initrd=initrd, virtual=clock)


def vm_spec(ready: Prepared) -> VmSpec:
    """The machine a prepared run needs."""
    kernel: Kernel = ready.kernel
    scenario = ready.definition.scenario
    pvh = bool(kernel.features.pvh) and kernel.vmlinux is not None
    return VmSpec(
        kernel=kernel.vmlinux if pvh and kernel.vmlinux is not None else kernel.image,
        initrd=ready.image.path,
        topology=ready.definition.topology,
        accel=ready.accel,
        memory_mib=scenario.vm.memory_mib,
        node_memory_mib=scenario.vm.node_memory_mib,
        node_distances=scenario.vm.node_distances,
        scratch_mib=scenario.vm.scratch_mib,
        pvh=pvh,
        cmdline=(
            *avoiding_words(ready.accel.name, kernel.features.sched_ext),
            *tsc_words(ready.tsc_khz, configured_hz(kernel.config)),
            *scenario.scheduler.kernel_args,
        ),
        watch=any(isinstance(op, WatchSnapshot) for _, op in scenario.all_ops()),
        virtual=VirtualClock(scenario.run.seed) if scenario.run.clock == "virtual" else None,
    )


def conversation_with(live: Live, options: RunOptions) -> Conversation:
    """The talk that is due with this guest, with its deadlines."""
    definition = live.definition
    # What the Backdrop does and settles lies between the scheduler and ScenarioStart.
    before_start_s = (definition.scenario.run.settle + definition.pauses_ms) / 1000
    due, factor = _patience(definition, options)
    attach_s = due.attach + longer_attach_s(definition) * factor
    deadlines = replace(due, attach=attach_s + due.set_up + before_start_s * factor)
    return Conversation(
        live.machine,
        live.link,
        live.recorder,
        deadlines,
        tuple(hold * factor for hold in definition.holds_ms),
        definition.pauses_ms / 1000 * factor,
        time.monotonic() + time_limit_s(definition, options),
    )


def time_limit_s(definition: Definition, options: RunOptions) -> float:
    """Limit of the stay in the VM: as asked for, or generous for what the scenario holds."""
    if options.timeout_s is not None:
        return options.timeout_s
    due, factor = _patience(definition, options)
    steps = len(definition.holds_ms)
    workload = (definition.workload_ms + definition.pauses_ms) / 1000 * factor
    per_step = due.set_up + due.step_grace + due.reports
    attach = due.attach + longer_attach_s(definition) * factor
    return due.boot + attach + workload * 1.5 + steps * per_step


def _patience(definition: Definition, options: RunOptions) -> tuple[Deadlines, int]:
    """The deadlines, and how many seconds of the host one of the guest may take."""
    if not is_virtual(definition.plan):
        return options.deadlines, 1
    cpus = definition.topology.cpus
    return patient(options.deadlines, cpus), slowdown(cpus)


def longer_attach_s(definition: Definition) -> float:
    """What ``attach_timeout`` adds to the time that any scheduler has, seconds."""
    return max(0, definition.scenario.scheduler.attach_ms - DEFAULT_ATTACH_MS) / 1000
