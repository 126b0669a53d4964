# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr show``: the end of a run again, out of its record."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ktstr.cli.command_line import Command
from ktstr.cli.options import report_file
from ktstr.errors import CannotRun, ExitCode, KtstrError


@click.command(cls=Command)
@click.argument("records", nargs=-1, type=click.Path(path_type=Path), metavar="[RECORD|FOLDER]...")
@click.option("--json", "as_json", is_flag=True, help="Print the record itself, once it is read.")
@click.option("--metrics", is_flag=True, help="Every metric of the run and of its phases.")
@click.option("--phases", is_flag=True, help="Every metric of each cgroup in each phase.")
@click.option("--timeline", is_flag=True, help="The phases in time, and where they got worse.")
@click.option("--stats", is_flag=True, help="What the scheduler said about itself.")
@report_file(
    "--html", "Write a page instead; of several records a list, and their pages beside it."
)
def show(
    records: tuple[Path, ...],
    as_json: bool,
    metrics: bool,
    phases: bool,
    timeline: bool,
    stats: bool,
    html_file: Path | None,
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
    if html_file is not None:
        sys.exit(int(_write_html(html_file, records or (Path("ktstr-runs"),))))
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


def _write_html(target: Path, records: Sequence[Path]) -> ExitCode:
    """The page of a record, or a list of several; says on standard error what went wrong."""
    from ktstr.cli.pages import row_of, write_list, write_page
    from ktstr.cli.reports import Reports, check_reports
    from ktstr.session.sidecar.read import read_sidecar

    problems: list[object] = []
    try:
        check_reports(Reports(html_file=target))
        found = []
        for path in records:
            try:
                file = newest_record(path) if path.is_dir() else path
                found.append((file, read_sidecar(file)))
            except (KtstrError, OSError) as error:
                problems.append(error)
        if len(records) == 1 and found:
            write_page(target, found[0][1])
        elif found:
            problems += write_list(target, [(row_of(record), file) for file, record in found])
    except KtstrError as error:
        problems.append(error)
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    return ExitCode.CANNOT_RUN if problems else ExitCode.PASS


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
