# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr qemu``: which QEMU runs the guests, and a newer one for the virtual clock."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ktstr.cli.command_line import Group
from ktstr.cli.fetching import errors, progress_shown

if TYPE_CHECKING:
    from ktstr.vm.qemu import Qemu


@click.group(cls=Group)
def qemu() -> None:
    """The emulator that runs the guests: show it, fetch a newer one."""


@qemu.command()
def show() -> None:
    """Print which QEMU each clock has; nothing is fetched."""
    import anyio

    from ktstr.vm.qemu import find_qemu
    from ktstr.vm.qemu_store import QemuStore
    from ktstr.vm.qemu_version import installed_version, shares_turns

    with errors():
        own = find_qemu()
        version = anyio.run(installed_version, own.program)
        click.echo(f"QEMU {version}  {own.program}")
        if shares_turns(version):
            return
        newer = QemuStore().kept()
        if not newer:
            click.echo("for the virtual clock a newer one is fetched: `ktstr qemu fetch`")
            return
        version = anyio.run(installed_version, newer[-1].program)
        click.echo(f"QEMU {version}  {newer[-1].program}  for the virtual clock")


@qemu.command()
def fetch() -> None:
    """Fetch a QEMU for the virtual clock, unless the host's is new enough."""
    import anyio

    from ktstr.vm.qemu import find_qemu
    from ktstr.vm.qemu_store import QemuStore
    from ktstr.vm.qemu_version import installed_version, shares_turns

    async def work(progress: Callable[[str, float | None], None]) -> "Qemu":
        own = find_qemu()
        if shares_turns(await installed_version(own.program)):
            return own
        return await QemuStore().newest(progress, insist=True)

    with errors(), progress_shown() as progress:
        found = anyio.run(work, progress)
        version = anyio.run(installed_version, found.program)
    click.echo(f"QEMU {version}  {found.program}")
