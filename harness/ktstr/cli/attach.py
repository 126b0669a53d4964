# SPDX-License-Identifier: GPL-2.0-only
"""Reaching into a VM that was kept: its console, and letting it run on."""

import os
import select
import socket
import sys
import termios
import tty
from pathlib import Path

import anyio
import click

from ktstr.cli.command_line import Command

DETACH = b"\x1d"


def connect(path: Path) -> socket.socket:
    """A connection to a Unix socket of a kept VM.

    :raise click.ClickException: when nobody listens there.
    """
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.connect(str(path))
    except OSError as error:
        stream.close()
        raise click.ClickException(
            f"{path}: {error.strerror}. Is the ktstr-run that printed it still running?"
        ) from None
    return stream


def go_on(path: Path) -> str:
    """Let the kept VM behind a QMP socket run on.

    :return: the state it is in then.
    :raise click.ClickException: when nobody listens there.
    """

    async def go() -> object:
        from qemu.qmp import QMPClient

        client = QMPClient("resume")
        with connect(path) as stream:
            await client.connect(stream)
            try:
                await client.execute("cont")
                return await client.execute("query-status")
            finally:
                await client.disconnect()

    status = anyio.run(go)
    return str(status.get("status") if isinstance(status, dict) else status)


@click.command(cls=Command)
@click.argument("path", metavar="SOCKET", type=click.Path(path_type=Path))
def console(path: Path) -> None:
    """Connect this terminal to the kept VM's serial console; Ctrl-] leaves."""
    with connect(path) as stream:
        click.echo("connected to the console; Ctrl-] leaves (a paused VM is silent)")
        keyboard = sys.stdin.fileno()
        saved = termios.tcgetattr(keyboard) if os.isatty(keyboard) else None
        try:
            if saved is not None:
                tty.setraw(keyboard)
            _relay(stream, keyboard)
        finally:
            if saved is not None:
                termios.tcsetattr(keyboard, termios.TCSADRAIN, saved)


def _relay(stream: socket.socket, keyboard: int) -> None:
    watched = [stream.fileno(), keyboard]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if stream.fileno() in ready:
            data = stream.recv(65536)
            if not data:
                return
            os.write(sys.stdout.fileno(), data)
        if keyboard in ready:
            typed = os.read(keyboard, 4096)
            if DETACH in typed:
                return
            if typed:
                stream.sendall(typed)
            else:
                watched.remove(keyboard)
