# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr show``: the end of a run again, out of its record."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ktstr.cli.command_line import Command
from ktstr.cli.options import report_file
from ktstr.errors import CannotRun, ExitCode, KtstrError

LAST = "last"


@click.command(cls=Command)
@click.argument(
    "records",
    nargs=-1,
    type=click.Path(path_type=Path),
    metavar="[RECORD|FOLDER|RUN_ID|last]...",
)
@click.option(
    "--in",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("ktstr-runs"),
    metavar="FOLDER",
    help="Where to look for run ids, and for the last run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the record itself, once it is read.")
@click.option("--metrics", is_flag=True, help="Every metric of the run and of its phases.")
@click.option("--phases", is_flag=True, help="Every metric of each cgroup in each phase.")
@click.option("--timeline", is_flag=True, help="The phases in time, and where they got worse.")
@click.option("--stats", is_flag=True, help="What the scheduler said about itself.")
@report_file(
    "--html", "Write a page instead; of several records a list, and their pages beside it."
)
@click.option(
    "--perfetto",
    "perfetto_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a trace for Perfetto instead; of several records a folder with one of each.",
)
def show(
    records: tuple[Path, ...],
    folder: Path,
    as_json: bool,
    metrics: bool,
    phases: bool,
    timeline: bool,
    stats: bool,
    html_file: Path | None,
    perfetto_file: Path | None,
) -> None:
    """Print the end of a run as the run did.

    RECORD is a NAME-TIME.ktstr.json; of a FOLDER, the newest record is taken. A RUN_ID, its
    beginning or its last four digits are looked for in ktstr-runs (--in) and the folders right
    below it. The last run there is what "last" means, and where nothing is named.

    Exit status: 0 when all could be read, whatever their verdicts; otherwise 4.
    """
    from rich.console import Console

    from ktstr.cli.screen import Screen, open_standard_streams
    from ktstr.report.verdict import Sections, print_record
    from ktstr.session.sidecar.read import read_sidecar

    open_standard_streams()
    records = records or (Path(LAST),)
    if html_file is not None or perfetto_file is not None:
        sys.exit(int(_write_files(html_file, perfetto_file, records, folder)))
    out = Screen(sys.stdout)
    console = Console(file=out.text, soft_wrap=True)
    sections = Sections(metrics=metrics, phases=phases, timeline=timeline, stats=stats)
    code = ExitCode.PASS
    for path in records:
        try:
            found = find_record(path, folder)
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


def _write_files(
    html_file: Path | None, perfetto_file: Path | None, records: Sequence[Path], folder: Path
) -> ExitCode:
    """The page and the trace of a record, or of several; says on standard error what went wrong."""
    from ktstr.cli.pages import row_of, write_list, write_page
    from ktstr.cli.reports import Reports, check_reports
    from ktstr.cli.traces import write_each, write_trace
    from ktstr.session.sidecar.read import read_sidecar

    problems: list[object] = []
    try:
        check_reports(Reports(html_file=html_file))
        found = []
        for path in records:
            try:
                file = find_record(path, folder)
                found.append((file, read_sidecar(file)))
            except (KtstrError, OSError) as error:
                problems.append(error)
        alone = len(records) == 1
        if html_file is not None and found:
            if alone:
                write_page(html_file, found[0][1])
            else:
                rows = [(row_of(record), file) for file, record in found]
                problems += write_list(html_file, rows)
        if perfetto_file is not None and found:
            if alone:
                write_trace(perfetto_file, found[0][1])
            else:
                problems += write_each(perfetto_file, [file for file, _ in found])
    except KtstrError as error:
        problems.append(error)
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    return ExitCode.CANNOT_RUN if problems else ExitCode.PASS


def find_record(place: Path, folder: Path) -> Path:
    """The record that a word on the command line means.

    :param place: a record, a folder, a part of a run id from a dash on, or ``last``.
    :param folder: where run ids are looked for.
    :raise CannotRun: when there is none, or several runs could be meant.
    """
    if place.is_dir():
        return newest_record(place)
    if place.exists() or place.parent != Path() or place.suffix == ".json":
        return place
    word = place.name
    if word == LAST:
        return newest_record(folder) if folder.is_dir() else folder
    from ktstr.history.pool import records_in
    from ktstr.session.sidecar.write import SUFFIX

    ids = {path: path.name.removesuffix(SUFFIX) for path in records_in(folder)}
    found = [path for path, name in ids.items() if f"-{word}" in f"-{name}"]
    if len(found) == 1:
        return found[0]
    if not found:
        raise CannotRun(
            f"{word} is no file, and no run in {folder} has that id",
            hint="ktstr history lists the runs of a folder",
        )
    raise CannotRun(
        f"{word} could be {len(found)} runs, such as {found[0].name} and {found[1].name}",
        hint="give more of the run id",
    )


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
