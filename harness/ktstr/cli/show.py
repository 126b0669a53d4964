# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr show``: the end of a run again, out of its record."""

import sys
from pathlib import Path

import click

from ktstr.cli.command_line import Command
from ktstr.errors import CannotRun, ExitCode, KtstrError


@click.command(cls=Command)
@click.argument("records", nargs=-1, type=click.Path(path_type=Path), metavar="[RECORD|FOLDER]...")
@click.option("--json", "as_json", is_flag=True, help="Print the record itself, once it is read.")
@click.option("--metrics", is_flag=True, help="Every metric of the run and of its phases.")
@click.option("--phases", is_flag=True, help="Every metric of each cgroup in each phase.")
@click.option("--timeline", is_flag=True, help="The phases in time, and where they got worse.")
@click.option("--stats", is_flag=True, help="What the scheduler said about itself.")
def show(
    records: tuple[Path, ...],
    as_json: bool,
    metrics: bool,
    phases: bool,
    timeline: bool,
    stats: bool,
) -> None:
    """Print the end of a run as the run did.

    RECORD is a NAME-TIME.ktstr.json; of a FOLDER (by default ktstr-runs), the newest record is
    taken. Exit status: 0 when all could be read, whatever their verdicts; otherwise 4.
    """
    from rich.console import Console

    from ktstr.cli.screen import Screen, open_standard_streams
    from ktstr.report.verdict import Sections, print_record
    from ktstr.session.sidecar.read import read_sidecar

    open_standard_streams()
    out = Screen(sys.stdout)
    console = Console(file=out.text, soft_wrap=True)
    sections = Sections(metrics=metrics, phases=phases, timeline=timeline, stats=stats)
    code = ExitCode.PASS
    for path in records or (Path("ktstr-runs"),):
        try:
            found = newest_record(path) if path.is_dir() else path
            record = read_sidecar(found)
            if as_json:
                out.text.write(found.read_text("utf-8"))
            else:
                print_record(console, record, sections)
        except (KtstrError, OSError) as error:
            click.echo(f"error: {error}", err=True)
            code = ExitCode.CANNOT_RUN
    out.text.flush()
    sys.exit(int(code))


def newest_record(folder: Path) -> Path:
    """The record in ``folder`` that was written last.

    :raise CannotRun: when there is none.
    """
    from ktstr.session.sidecar.write import SUFFIX, is_repetition

    # A repetition with probes is told in the record of the run that it repeats.
    found = [path for path in folder.glob(f"*{SUFFIX}") if not is_repetition(path)]
    if not found:
        raise CannotRun(
            f"no record in {folder}: nothing there ends in {SUFFIX}",
            hint="name a record, or the folder that was given to ktstr-run with --out",
        )
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
