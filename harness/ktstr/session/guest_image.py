# SPDX-License-Identifier: GPL-2.0-only
"""The guest image of a run: what every guest has, the programs its scenario names, drivers."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio.from_thread
import anyio.to_thread

from ktstr.kernels import Kernel
from ktstr.kernels.build.schedulers import kernel_schedulers
from ktstr.kernels.modules import SCRATCH, chosen
from ktstr.kernels.sysroot import libbpf_sysroot
from ktstr.model.packing import kernel_programs, packed_files, python_imports
from ktstr.model.scenario import Scenario
from ktstr.session.events import Emit
from ktstr.session.stages import relay, stage
from ktstr.vm.closure import import_entries
from ktstr.vm.cpio import Entry
from ktstr.vm.image import Image, ImageStore, guest_sources, module_entries, program_overlay


async def made_schedulers(scenario: Scenario, kernel: Kernel, emit: Emit) -> list[Entry]:
    """The schedulers of the kernel's own source that a scenario names, with their libraries.

    :raise CannotRun: when one cannot be made.
    """
    wanted = kernel_programs(scenario)
    if not wanted:
        return []
    names = sorted(set(wanted.values()))
    with stage(emit, "tools", f"{', '.join(names)} of the kernel's source"):
        progress = partial(relay, emit, "tools")
        made = await kernel_schedulers(kernel, names, progress=progress)
    return [entry for guest, name in wanted.items() for entry in program_overlay(made[name], guest)]


async def image_of(
    scenario: Scenario, kernel: Kernel, run_dir: Path, emit: Emit, more: Sequence[Entry] = ()
) -> Image:
    """The guest image, built when a source of it changed, with what this run has beside it.

    :param more: further files of the guest, with their libraries.
    :raise GuestBuildFailed: when it cannot be built or written.
    """
    store = ImageStore()

    def sysroot() -> Path:
        return anyio.from_thread.run(libbpf_sysroot)

    with stage(emit, "image", "guest image") as done:
        progress = partial(relay, emit, "image")
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
