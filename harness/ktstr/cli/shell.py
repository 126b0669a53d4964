# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr shell``: a guest on the terminal, or one command in a guest."""

import math
from pathlib import Path
from typing import Literal

import click

from ktstr.cli import options
from ktstr.cli.command_line import BadCommandLine, Command


def _timeout(
    context: click.Context, parameter: click.Parameter, value: float | None
) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("a number of seconds is due", context, parameter)
    return value


@click.command(cls=Command)
@click.option("--kernel", metavar="SPEC", help="Kernel (debian:7, path:…); default: debian:7.")
@click.option("--topology", metavar="T", help="Topology (1n2l2c1t, tiny-2llc); default: 2 CPUs.")
@click.option("--memory", metavar="SIZE", help="The guest's memory; default: 512M.")
@click.option(
    "--scheduler",
    metavar="S",
    help="Attach this scheduler first (scx_ktstr, a *.o, a program).",
)
@click.option(
    "--include",
    "includes",
    multiple=True,
    metavar="FILE[:/PLACE]",
    help="Take a file, a folder or a program along, with its libraries, to /include or PLACE.",
)
@click.option("--exec", "command", metavar="CMD", help="Run this and exit with its status.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    callback=_timeout,
    metavar="S",
    help="With --exec: how long it may run, seconds; exit status 124 if it is longer.",
)
@click.option(
    "--kernel-arg",
    "kernel_args",
    multiple=True,
    metavar="WORD",
    help="A word for the kernel's command line.",
)
@options.cold
@options.accel
@click.option("-v", "--verbose", is_flag=True, help="Also show stages, commands and debug logs.")
def shell(
    kernel: str | None,
    topology: str | None,
    memory: str | None,
    scheduler: str | None,
    includes: tuple[str, ...],
    command: str | None,
    timeout_s: float | None,
    kernel_args: tuple[str, ...],
    cold: bool,
    accel: Literal["auto", "kvm", "tcg"],
    verbose: bool,
) -> None:
    """Open a shell in a guest; it ends with the shell.

    Where standard input is no terminal, the shell reads its commands there. Ctrl-] q leaves a guest
    that hangs.

    Exit status: that of the shell, or of the command; 128 and the signal's number if one ended it;
    1 when the scheduler does not attach, 3 guest lost, 4 cannot run, 124 for --timeout, 130
    interrupted. What is ktstr's own begins with "error:" on standard error.
    """
    import os
    import sys

    from ktstr.cli.logs import configure_logging
    from ktstr.cli.screen import open_standard_streams
    from ktstr.errors import ExitCode

    open_standard_streams()
    if timeout_s is not None and command is None:
        raise BadCommandLine("--timeout is for --exec")
    if command is None and os.isatty(0) and not os.isatty(1):
        raise BadCommandLine("a shell needs a terminal for its output; or give it --exec CMD")
    try:
        from ktstr.cli.shell_session import ShellSession
        from ktstr.session.guest import Wanted
        from ktstr.session.options import RunOptions

        configure_logging(verbose=verbose)
        session = ShellSession(
            Wanted(kernel, topology, memory, scheduler, kernel_args),
            RunOptions(accel=accel, cold=cold, verbose=verbose),
            includes=includes,
            folder=Path.cwd(),
            command=command,
            timeout_s=timeout_s,
        )
        code = session.main()
    except KeyboardInterrupt:
        # While no handler of ours is in place: during the imports, or after the last word.
        code = int(ExitCode.INTERRUPTED)
    sys.exit(code)
