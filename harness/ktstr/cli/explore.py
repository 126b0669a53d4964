# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr explore``: one scenario with many seeds, until one of them fails."""

import os
import sys
from pathlib import Path

import click

from ktstr.cli.command_line import Command
from ktstr.cli.options import instead, out_folder, report_file


def _seeds(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    from ktstr.session.seeds import parse_seeds

    try:
        return parse_seeds(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


@click.command(cls=Command, name="explore")
@click.argument("scenario", metavar="SCENARIO")
@click.option(
    "--seeds",
    default="1..100",
    show_default=True,
    callback=_seeds,
    metavar="A..B",
    help="The seeds to try, both ends included; also 7 or 1,5,10..20.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Seeds at a time; each takes one host CPU. Default: one for every host CPU.",
)
@click.option("--until-fail", is_flag=True, help="Stop at the first seed that fails.")
@click.option("--vary-shift", is_flag=True, help="Let the seed also say how fast vCPUs are.")
@instead("kernel", "topology", "scheduler", "flags", "work_type")
@out_folder("ktstr-runs/explore", "Folder for the records and the evidence.", "-o")
@report_file("--json", "Write everything that was found to FILE.")
@click.option("-v", "--verbose", is_flag=True, help="Show the spread of every metric.")
def explore(
    scenario: str,
    seeds: tuple[int, ...],
    jobs: int | None,
    until_fail: bool,
    vary_shift: bool,
    kernel: str | None,
    topology: str | None,
    scheduler: str | None,
    flags: str | None,
    work_type: str | None,
    out_dir: Path,
    json_file: Path | None,
    verbose: bool,
) -> None:
    """Run SCENARIO by the virtual clock with many seeds.

    Each seed is another interleaving of the same work, and always the same one: what a seed
    provokes, its command provokes again.

    Exit status: that of the worst run, as ktstr-run's; 4 cannot run, 130 interrupted.
    """
    from ktstr.cli.explorer import Explorer
    from ktstr.model.flag_profiles import profile_flags
    from ktstr.session.explore import Exploration
    from ktstr.session.options import RunOptions

    options = RunOptions(
        kernel=kernel,
        topology=topology,
        scheduler=scheduler,
        flags=None if flags is None else profile_flags(flags),
        work_type=work_type,
        out_dir=out_dir,
    )
    exploration = Exploration(seeds, until_fail, vary_shift)
    explorer = Explorer(scenario, options, exploration, json_file, whole=verbose)
    sys.exit(int(explorer.main(jobs or usable_cpus())))


def usable_cpus() -> int:
    """Host CPUs that this process may use."""
    return len(os.sched_getaffinity(0))
