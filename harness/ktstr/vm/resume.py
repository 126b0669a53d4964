# SPDX-License-Identifier: GPL-2.0-only
"""Starting a machine from a checkpoint: another QEMU takes devices and RAM over."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
import anyio.from_thread
import anyio.to_thread

from ktstr.errors import CheckpointUnusable, HostUnfit, StateUnusable
from ktstr.vm.accel import kvm_obstacle
from ktstr.vm.checkpoint import Checkpoint
from ktstr.vm.checkpoint_manifest import Manifest, QemuVersion
from ktstr.vm.console import tail_lines
from ktstr.vm.launch import launch
from ktstr.vm.machine import QEMU_LOG, Machine
from ktstr.vm.migration import Incoming
from ktstr.vm.qemu import Qemu
from ktstr.vm.qemu_choice import qemu_of_version
from ktstr.vm.qemu_version import installed_version
from ktstr.vm.ram import MIB, GuestRam

STATE_FILE: Final = "devices.state"
FIRMWARE_FILE: Final = "firmware.bin"
_SAID_LINES: Final = 5


def check_version(name: str, taken: QemuVersion, here: QemuVersion) -> None:
    """Refuse another version: what QEMU writes about its devices changes between them.

    :raises CheckpointUnusable: naming both.
    """
    if taken.number != here.number:
        raise CheckpointUnusable(
            f"{name} was taken by QEMU {taken}; here is QEMU {here}",
            hint="install that version, or try with --force",
        )


@asynccontextmanager
async def resumed(
    checkpoint: Checkpoint, run_dir: Path, *, force: bool = False, qemu: Qemu | None = None
) -> AsyncIterator[Machine]:
    """Start the machine of a checkpoint; it stands still at the moment it was taken.

    It offers sockets for people, a gdb stub among them. QEMU, sockets and memory are gone when the
    block is left.

    :param run_dir: existing folder of this machine's own.
    :param force: try with another version of QEMU.
    :raises CheckpointUnusable: it is damaged, has no devices, or QEMU does not take it.
    :raises HostUnfit: as :func:`ktstr.vm.machine.launch`, or KVM is needed and does not work here.
    :raises QemuDied: QEMU was killed, or did not come up in time.
    """
    manifest = checkpoint.manifest
    qemu = qemu or await qemu_of_version(manifest.qemu)
    if not force:
        check_version(str(checkpoint.path), manifest.qemu, await installed_version(qemu.program))
    await _check_accelerator(checkpoint.path, manifest, qemu)
    data = await anyio.to_thread.run_sync(checkpoint.state)
    state, firmware = run_dir / STATE_FILE, run_dir / FIRMWARE_FILE
    size = manifest.machine.firmware_bytes
    try:
        state.write_bytes(data)
        # Its size is part of the machine; what is in it comes with the devices' state.
        firmware.write_bytes(bytes(size or 0))
    except OSError as error:
        raise HostUnfit(
            f"{run_dir} cannot be written: {error.strerror}",
            hint="free space there, or point TMPDIR elsewhere",
        ) from error
    async with AsyncExitStack() as stack:
        with await anyio.to_thread.run_sync(_loaded, checkpoint) as ram:
            starting = launch(
                replace(manifest.machine.spec(), debug=True),
                run_dir,
                attach=True,
                qemu=replace(qemu, qboot=None if size is None else firmware),
                incoming=Incoming(state, tuple(Path(f"/proc/self/fd/{fd}") for fd in ram.fds)),
            )
            try:
                machine = await stack.enter_async_context(starting)
            except StateUnusable as error:
                said = "".join(f"\n  qemu: {line}" for line in _said(run_dir))
                raise CheckpointUnusable(f"{checkpoint.path}: {error.message}{said}") from error
        yield machine


async def _check_accelerator(name: Path, manifest: Manifest, qemu: Qemu) -> None:
    """Under KVM the guest needs KVM again: TCG cannot give it the CPU that it found.

    :raises HostUnfit: when KVM does not work here.
    """
    if manifest.machine.accelerator == "kvm":
        obstacle = await kvm_obstacle(qemu)
        if obstacle is not None:
            raise HostUnfit(
                f"{name} was taken under KVM, which cannot be used here: {obstacle}",
                hint="resume it where KVM works; ktstr dump reads it anywhere",
            )


def _loaded(checkpoint: Checkpoint) -> GuestRam:
    """The checkpoint's RAM, unpacked; about a second for 100 MiB."""
    ram = GuestRam([mib * MIB for mib in checkpoint.manifest.machine.spec().memory_of_nodes()])
    try:
        checkpoint.memory.load_into(ram, anyio.from_thread.check_cancelled)
    except BaseException:
        ram.close()
        raise
    return ram


def _said(run_dir: Path) -> tuple[str, ...]:
    return tail_lines(run_dir / QEMU_LOG, _SAID_LINES)
