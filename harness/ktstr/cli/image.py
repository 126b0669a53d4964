# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr image``: build the guest image ahead of time."""

import sys

import anyio
import click

from ktstr.cli.command_line import Command


@click.command(cls=Command)
def image() -> None:
    """Build the guest image, unless it is up to date, and print its path."""
    from ktstr.errors import KtstrError
    from ktstr.kernels.sysroot import libbpf_sysroot
    from ktstr.vm.image import ImageStore

    try:
        made = ImageStore().base(lambda: anyio.run(libbpf_sysroot))
    except KtstrError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(int(error.exit_code))
    click.echo(f"{made.path} ({'built' if made.fresh else 'unchanged'})")
