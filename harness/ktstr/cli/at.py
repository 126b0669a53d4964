# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr at``: an instant of a run by the virtual clock, after the fact."""

import math
import sys
from pathlib import Path

import click

from ktstr.cli.command_line import BadCommandLine, Command
from ktstr.cli.options import report_file

MOST = 1e9


class Number(click.FloatRange):
    """A range that "nan" does not lie in."""

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number.

        :raise click.BadParameter: when it is none, or out of the range.
        """
        number: float = super().convert(value, param, ctx)
        return number if not math.isnan(number) else self.fail("a number is due", param, ctx)


@click.command(cls=Command)
@click.argument("path", metavar="[RECORD]", type=click.Path(path_type=Path), default="ktstr-runs")
@click.option(
    "--ms",
    type=Number(min=0, max=MOST),
    metavar="T",
    help="The instant: workload time, as records tell.",
)
@click.option(
    "--every",
    type=Number(min=1, max=MOST),
    metavar="MS",
    help="Instead of one instant, snapshots of the whole run at this interval.",
)
@click.option("--no-wait", is_flag=True, help="Keep no VM: leave the snapshot and end.")
@report_file("--json", "Where the snapshot of --ms goes.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(min=0, min_open=True, max=MOST),
    metavar="S",
    help="Longest stay in the VM until the last instant, seconds.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also show commands and debug logs.")
def at(
    path: Path,
    ms: float | None,
    every: float | None,
    no_wait: bool,
    json_file: Path | None,
    timeout_s: float | None,
    verbose: bool,
) -> None:
    """Run a recorded run again, by the same seed, and stop it at an instant.

    RECORD is the NAME-TIME.ktstr.json of a run by the virtual clock; of a folder (by default
    ktstr-runs) the newest record is taken. The VM is kept paused there, until Ctrl-C, and a
    snapshot is left in NAME-TIME.at, which `ktstr dump` reads.

    Exit status: 0 when the instants were visited, 3 when the guest was lost on the way, 4 when
    they cannot be visited, 130 interrupted.
    """
    if (ms is None) == (every is None):
        raise BadCommandLine("choose an instant with --ms, or an interval with --every")
    if every is not None and json_file is not None:
        raise BadCommandLine("--json is for the one snapshot of --ms")
    from ktstr.cli.logs import configure_logging
    from ktstr.cli.screen import open_standard_streams
    from ktstr.cli.show import newest_record
    from ktstr.errors import ExitCode, KtstrError
    from ktstr.session.options import RunOptions

    open_standard_streams()
    configure_logging(verbose=verbose)
    try:
        from ktstr.cli.visitor import Visitor
        from ktstr.session.past import read_past

        past = read_past(newest_record(path) if path.is_dir() else path)
        instants = past.every(every) if every is not None else [past.instant(ms or 0.0)]
        wait = every is None and not no_wait
        visitor = Visitor(past, instants, json_file, wait=wait)
        done = visitor.main(RunOptions(timeout_s=timeout_s, verbose=verbose))
    except (KtstrError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(int(getattr(error, "exit_code", ExitCode.CANNOT_RUN)))
    except KeyboardInterrupt:
        # While no handler of ours is in place: during the imports, or after the last word.
        done = False
    sys.exit(int(ExitCode.PASS if done else ExitCode.INTERRUPTED))
