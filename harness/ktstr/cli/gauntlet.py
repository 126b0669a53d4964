# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr gauntlet``: scenarios times topologies times kernels times schedulers."""

import sys
from pathlib import Path
from typing import Literal

import click

from ktstr.cli import fleet_options, options
from ktstr.cli.command_line import BadCommandLine, Command
from ktstr.cli.options import report_file
from ktstr.cli.run import MAX_JOBS, jobs_or_auto


def _budget(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Seconds of a budget such as ``10m``."""
    if value is None:
        return None
    from ktstr.model.units import parse_duration_ms

    try:
        milliseconds = parse_duration_ms(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}; allowed: {error}", context, parameter) from None
    if not milliseconds:
        raise click.BadParameter("a duration above zero", context, parameter)
    return milliseconds / 1000


@click.command(cls=Command, name="gauntlet")
@click.argument("gauntlet_file", required=False, metavar="[GAUNTLET]")
@click.option(
    "--scenarios",
    multiple=True,
    metavar="S,S",
    help="Scenarios instead of the file's: names, files, folders, patterns; `all`: the catalogue.",
)
@click.option(
    "--presets",
    multiple=True,
    metavar="T,T",
    help="Topologies instead of the file's: presets, NnNlNcNt, `all`, `own`.",
)
@click.option("--kernels", multiple=True, metavar="SPEC,SPEC", help="Kernels; `own`: each its own.")
@click.option("--schedulers", multiple=True, metavar="S,S", help="Schedulers; `own`: each its own.")
@click.option("--all-flags", is_flag=True, help="Every combination of each scheduler's flags.")
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    metavar="KEY=VALUE",
    help="Narrow the topologies: max_llcs=4, requires_smt=true, exclude=max-cpu ([gauntlet]).",
)
@click.option(
    "--budget",
    "budget_s",
    callback=_budget,
    metavar="TIME",
    help="Choose what covers most in this time (10m).",
)
@click.option(
    "--max-cpus",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Largest guest; default: by host and accelerator.",
)
@click.option(
    "--jobs",
    callback=jobs_or_auto,
    default="auto",
    show_default=True,
    metavar="N",
    help=f"Runs at a time, up to {MAX_JOBS}; auto: as many as leave the results alone.",
)
@click.option(
    "--clock", type=click.Choice(["wall", "virtual"]), help="Clock instead of the file's."
)
@options.accel
@click.option(
    "--repro/--no-repro",
    "auto_repro",
    default=None,
    envvar="KTSTR_AUTO_REPRO",
    help="Run what failed under a scheduler once more, with probes; default: as each file says.",
)
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for journal, records and evidence; default: ktstr-gauntlets/NAME-ID.",
)
@click.option(
    "--resume",
    "resumed",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Go on with what was interrupted there.",
)
@click.option(
    "--cluster", metavar="ADDRESS", help="Run on the workers of this Dask scheduler (ktstr fleet)."
)
@fleet_options.tls
@click.option(
    "--artifacts",
    metavar="URL",
    help="With --cluster: folder for what runs leave, as fsspec takes it (file:///…, s3://…).",
)
@click.option(
    "--no-daemon",
    is_flag=True,
    help="Run here, also where a daemon is (`ktstr serve`; KTSTR_NO_DAEMON=1 says the same).",
)
@click.option("--plan", "only_plan", is_flag=True, help="Tell what would be run, and run nothing.")
@report_file("--json", "Write the whole result as JSON.")
@report_file("--junit", "Write the outcomes as JUnit XML.")
@report_file("--markdown", "Write the matrix for a pull request.")
@click.option("-v", "--verbose", is_flag=True, help="Also show commands and debug logs.")
def gauntlet(
    gauntlet_file: str | None,
    scenarios: tuple[str, ...],
    presets: tuple[str, ...],
    kernels: tuple[str, ...],
    schedulers: tuple[str, ...],
    all_flags: bool,
    constraints: tuple[str, ...],
    budget_s: float | None,
    max_cpus: int | None,
    jobs: int | None,
    clock: Literal["wall", "virtual"] | None,
    accel: Literal["auto", "kvm", "tcg"],
    auto_repro: bool | None,
    out_dir: Path | None,
    resumed: Path | None,
    cluster: str | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    artifacts: str | None,
    no_daemon: bool,
    only_plan: bool,
    json_file: Path | None,
    junit_file: Path | None,
    markdown_file: Path | None,
    verbose: bool,
) -> None:
    """Run scenarios on every topology, kernel and scheduler that makes sense.

    GAUNTLET is a TOML file, or one of those that come with ktstr. Every run is in a journal, and
    --resume goes on after an interruption, also by SIGKILL.

    Exit status: as of several runs of ktstr-run.
    """
    chosen = (gauntlet_file, out_dir, clock, max_cpus)
    several = (scenarios, presets, kernels, schedulers, constraints, all_flags, accel != "auto")
    if resumed is not None and (any(each is not None for each in chosen) or any(several)):
        raise BadCommandLine("--resume goes on with what was chosen; nothing else is to be chosen")
    if resumed is None and gauntlet_file is None and not scenarios:
        raise BadCommandLine("name a gauntlet, or --scenarios, or a folder to --resume")
    if cluster is None and any((tls_ca, tls_cert, tls_key, artifacts)):
        raise BadCommandLine("--tls-ca, --tls-cert, --tls-key and --artifacts go with --cluster")
    from ktstr.cli.gauntlet_choice import wanted_by
    from ktstr.cli.gauntlet_runner import Asked, run_gauntlet
    from ktstr.cli.reports import Reports
    from ktstr.errors import KtstrError

    reports = Reports(json_file=json_file, junit_file=junit_file, markdown_file=markdown_file)
    try:
        asked = (
            Asked(
                folder=resumed,
                jobs=jobs,
                budget_s=budget_s,
                verbose=verbose,
                auto_repro=auto_repro,
            )
            if resumed is not None
            else wanted_by(
                gauntlet_file,
                scenarios=scenarios,
                presets=presets,
                kernels=kernels,
                schedulers=schedulers,
                all_flags=all_flags,
                constraints=constraints,
                budget_s=budget_s,
                max_cpus=max_cpus,
                jobs=jobs,
                clock=clock,
                accel=accel,
                auto_repro=auto_repro,
                out_dir=out_dir,
                verbose=verbose,
            )
        )
        if cluster is None:
            code = run_gauntlet(asked, reports, only_plan=only_plan, daemon=not no_daemon)
        else:
            from ktstr.cli.fleet_gauntlet import Cluster, run_fleet_gauntlet

            there = Cluster.of(cluster, tls_ca, tls_cert, tls_key, artifacts)
            code = run_fleet_gauntlet(asked, reports, there, only_plan=only_plan)
    except KtstrError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    sys.exit(int(code))
