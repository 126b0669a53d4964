# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr debug``: a drgn prompt on the memory of a kept VM, with its kernel's BTF types."""

import json
import mmap
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ktstr.cli.command_line import Command
from ktstr.errors import KtstrError
from ktstr.session.kept import DEBUG_FILE
from ktstr.vm.ram import Segment

if TYPE_CHECKING:
    from ktstr.introspect import Kernel


class SharedRam:
    """A kept VM's RAM, opened through the descriptors of the run that keeps it."""

    def __init__(self, pid: int, fds: list[int], segments: list[list[int]]) -> None:
        self.segments = tuple(Segment(*numbers) for numbers in segments)
        self._maps = []
        for number in fds:
            fd = os.open(f"/proc/{pid}/fd/{number}", os.O_RDONLY)
            try:
                self._maps.append(mmap.mmap(fd, 0, prot=mmap.PROT_READ))
            finally:
                os.close(fd)

    def view(self, address: int, size: int) -> memoryview:
        """A window on guest-physical memory.

        :raise ValueError: when it is not RAM in one piece.
        """
        for part in self.segments:
            if part.address <= address and address + size <= part.address + part.size:
                start = part.offset + address - part.address
                return memoryview(self._maps[part.backing])[start : start + size]
        raise ValueError(f"{size} bytes at {address:#x} are not RAM in one piece")

    def read(self, address: int, size: int) -> bytes:
        """A copy of guest-physical memory; see :meth:`view`."""
        return bytes(self.view(address, size))


@click.command(cls=Command)
@click.argument("path", metavar="SOCKET|CHECKPOINT", type=click.Path(path_type=Path))
@click.option("-c", "--command", help="Run this Python with `prog` and print nothing else.")
def debug(path: Path, command: str | None) -> None:
    """Open a drgn prompt on the kept VM whose QMP SOCKET this is, or on a CHECKPOINT's memory."""
    from drgn import cli as drgn_cli

    try:
        with ExitStack() as stack:
            kernel = _attached(path, stack)
            names = {"prog": kernel.prog, "kernel": kernel}
            if command is None:
                drgn_cli.run_interactive(kernel.prog, globals_func=lambda has: {**has, **names})
            else:
                exec(compile(command, "--command", "exec"), names)
    except KtstrError as error:
        raise click.ClickException(str(error)) from None


def _attached(path: Path, stack: ExitStack) -> "Kernel":
    """The kernel behind a socket, or in a checkpoint.

    :raise click.ClickException: when there is none.
    :raise KtstrError: when it cannot be read.
    """
    from platformdirs import user_cache_path

    from ktstr.introspect import attach
    from ktstr.session.checkpoint_dump import attach_to_checkpoint
    from ktstr.vm.checkpoint import Checkpoint, is_checkpoint

    if is_checkpoint(path):
        return attach_to_checkpoint(stack.enter_context(Checkpoint(path)))
    try:
        facts = json.loads((path.parent / DEBUG_FILE).read_text())
        memory = SharedRam(facts["pid"], facts["fds"], facts["segments"])
    except (OSError, ValueError) as error:
        raise click.ClickException(
            f"{path.parent / DEBUG_FILE}: {error}. Is the ktstr-run that printed it still running?"
        ) from None
    if facts["vmcoreinfo"] is None:
        raise click.ClickException("this guest never said Hello, so its kernel cannot be found")
    address, size = facts["vmcoreinfo"]
    return attach(memory, (address, size), cache_dir=user_cache_path("ktstr"))
