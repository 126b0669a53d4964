# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr resume``: a checkpoint back in a VM, paused; or a kept VM running on."""

import sys
import tempfile
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from signal import Signals

import anyio
import click
from rich.console import Console

from ktstr.cli.attach import go_on
from ktstr.cli.command_line import Command
from ktstr.cli.guarded import SIGNALS
from ktstr.cli.keep import announce_machine
from ktstr.cli.logs import configure_logging
from ktstr.cli.screen import Screen, open_standard_streams
from ktstr.errors import ExitCode, KtstrError
from ktstr.report.printable import lines, one_line
from ktstr.session.link import Link
from ktstr.session.listening import ListeningLink
from ktstr.session.onlooker import sentence
from ktstr.session.scopes import task_scope
from ktstr.vm.checkpoint import SUFFIX, Checkpoint
from ktstr.vm.checkpoint_manifest import Manifest
from ktstr.vm.machine import Machine
from ktstr.vm.resume import resumed
from ktstr.wire import Frame


@click.command(cls=Command)
@click.argument("path", metavar="CHECKPOINT|SOCKET", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Try a checkpoint of another version of QEMU.")
def resume(path: Path, force: bool) -> None:
    """Bring a checkpoint back, or let a kept VM run on.

    A CHECKPOINT (NAME.checkpoint) is started paused, at the moment it was taken, and kept until
    Ctrl-C; the commands that reach it are printed. SOCKET is the QMP socket of a kept VM.

    Exit status: 0, or 4 when that cannot be done, 130 when interrupted before the VM was there.
    """
    if path.suffix != SUFFIX and not path.is_file():
        click.echo(f"the VM is {go_on(path)}")
        return
    open_standard_streams()
    configure_logging(verbose=False)
    sys.exit(int(_Resumption(path, force=force).main()))


class _Resumption:
    """A checkpoint's stay in a VM."""

    def __init__(self, path: Path, *, force: bool) -> None:
        self._path = path
        self._force = force
        self._console = Console(file=Screen(sys.stdout).text, soft_wrap=True)
        self._there = False

    def main(self) -> ExitCode:
        try:
            anyio.run(self._run)
        except (KtstrError, OSError) as error:
            self._say(f"error: {lines(str(error))}", "red")
            return ExitCode.CANNOT_RUN
        except Exception:
            self._say(traceback.format_exc())
            self._say("error: ktstr itself went wrong", "red")
            return ExitCode.CANNOT_RUN
        if not self._there:
            self._say("interrupted; everything is cleaned up", "yellow")
        return ExitCode.PASS if self._there else ExitCode.INTERRUPTED

    async def _run(self) -> None:
        # The receiver outlasts the clean-up, so that a second signal cannot cut it short.
        with anyio.open_signal_receiver(*SIGNALS) as received, Checkpoint(self._path) as checkpoint:
            scope = anyio.CancelScope()
            async with task_scope() as helpers:
                helpers.start_soon(_end_at_signal, received, scope)
                with scope:
                    await self._stay(checkpoint)

    async def _stay(self, checkpoint: Checkpoint) -> None:
        manifest = checkpoint.manifest
        for line in headline(self._path, manifest):
            self._say(one_line(line))
        with tempfile.TemporaryDirectory(prefix="ktstr-", ignore_cleanup_errors=True) as folder:
            run_dir = Path(folder)
            async with resumed(checkpoint, run_dir, force=self._force) as machine:
                self._there = True
                if announce_machine(self._console, machine, manifest.vmcoreinfo):
                    await self._listen(machine, run_dir)

    async def _listen(self, machine: Machine, run_dir: Path) -> None:
        """Take what the guest sends, or it would stand still soon, and tell how it ends."""
        if machine.bulk_file is None:
            link = Link(machine.bulk, machine.ctl, run_dir / "frames.bin", self._tell)
        else:
            link = ListeningLink(machine, self._tell)
        async with task_scope() as group:
            group.start_soon(link.serve)
            await machine.ended.wait()
            if machine.end is not None:
                self._say(f"the guest has ended: {one_line(machine.end.detail)}")
            if machine.end is None or machine.end.kind != "qemu-exit":
                await anyio.sleep_forever()

    def _tell(self, frame: Frame, now: float) -> None:
        told = sentence(frame)
        if told is not None:
            self._say(f"the guest: {one_line(told)}")

    def _say(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, highlight=False)


async def _end_at_signal(received: AsyncIterator[Signals], scope: anyio.CancelScope) -> None:
    async for _ in received:
        scope.cancel()


def headline(path: Path, manifest: Manifest) -> list[str]:
    """What a checkpoint is of, in a few lines; nothing in them is escaped."""
    machine, reason = manifest.machine, manifest.reason.partition("\n")[0]
    head = f"{path}: {manifest.scenario} at the {manifest.moment}, "
    shape = f"  kernel {manifest.kernel.release}, topology {machine.topology}, "
    return [
        f"{head}after {manifest.elapsed_ms:.0f} ms of workload (run {manifest.run_id})",
        *([f"  {reason}"] if reason else []),
        f"{shape}{machine.memory_mib} MiB, {machine.accelerator}, QEMU {manifest.qemu}",
    ]
