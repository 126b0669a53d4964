# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr serve``: the daemon that owns this host's guests."""

import sys
from pathlib import Path

import click

from ktstr.cli.command_line import Command
from ktstr.errors import CannotRun, ExitCode

MAX_JOBS = 256


@click.command(cls=Command)
@click.option(
    "--socket",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Unix socket to listen at; default: $KTSTR_SOCKET, or ktstr/daemon.sock in the "
    "runtime folder.",
)
@click.option("--tcp", metavar="HOST:PORT", help="Listen there too; needs --token-file.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Its first line is what clients over TCP have to send.",
)
@click.option(
    "--allow-paths",
    is_flag=True,
    help="Let clients over TCP name files, schedulers and kernels of this host.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for runs and their store; default: ~/.local/state/ktstr.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, MAX_JOBS),
    metavar="N",
    help="Runs at a time; default: as many as leave the results alone.",
)
@click.option(
    "--keep-runs", type=click.IntRange(1), default=1000, show_default=True, help="Runs remembered."
)
@click.option(
    "--keep-days",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Days a run is remembered.",
)
@click.option(
    "--drain",
    "drain_s",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    metavar="S",
    help="On SIGTERM, how long runs may take to end.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every request.")
def serve(
    socket: Path | None,
    tcp: str | None,
    token_file: Path | None,
    allow_paths: bool,
    state: Path | None,
    jobs: int | None,
    keep_runs: int,
    keep_days: float,
    drain_s: float,
    verbose: bool,
) -> None:
    """Run the daemon: a queue of runs, an HTTP interface, a page.

    `ktstr-run` leaves its runs to it by itself. SIGTERM lets what runs come to its end; what is
    queued goes on when the daemon is started again. A second signal does not wait.

    Exit status: 0 when it was ended, 4 when it cannot start.
    """
    import anyio

    from ktstr.daemon.main import Settings, configure_logging
    from ktstr.daemon.main import serve as run_daemon
    from ktstr.daemon.paths import default_state
    from ktstr.daemon.settings import Settings as Runs

    configure_logging(verbose=verbose)
    settings = Settings(
        state=state or default_state(),
        socket=socket,
        tcp=tcp,
        token_file=token_file,
        runs=Runs(jobs=jobs, keep_runs=keep_runs, keep_days=keep_days),
        allow_paths=allow_paths,
        drain_s=drain_s,
    )
    try:
        anyio.run(run_daemon, settings)
    except CannotRun as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(int(error.exit_code))
    sys.exit(int(ExitCode.PASS))
