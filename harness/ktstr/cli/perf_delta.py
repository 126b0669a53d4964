# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr perf-delta``: what a commit makes of the metrics."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ktstr.cli.command_line import BadCommandLine, Command
from ktstr.cli.options import accel, instead, out_folder, report_file

if TYPE_CHECKING:
    from ktstr.history.policy import Policy

MAX_REPEAT = 1000


def _names(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """Names of metrics out of lists with commas, once it is sure that each is one."""
    from ktstr.metrics.registry import METRICS, metric_def
    from ktstr.model.words import did_you_mean
    from ktstr.session.matrix import unique

    names = unique(value)
    for name in names:
        metric = metric_def(name)
        if metric is None:
            hint = did_you_mean(name, [each.name for each in METRICS])
            raise click.BadParameter(f"{name!r} is no metric{hint}", context, parameter)
        if metric.polarity.classify_direction() is None:
            raise click.BadParameter(f"{name} has no worse direction", context, parameter)
    return names


@click.command(cls=Command, name="perf-delta")
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...")
@click.option("--base", metavar="REF", help="The commit to compare with.")
@click.option(
    "--base-ref",
    metavar="REF",
    help="The branch to compare with, where the head left it; default: that of the pull request "
    "($GITHUB_BASE_REF), else the default branch.",
)
@click.option(
    "--head",
    default="worktree",
    show_default=True,
    metavar="REF",
    help="The commit to look at; worktree: the files as they are.",
)
@click.option(
    "--repo",
    "repository",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="The git repository; default: the first scenario's.",
)
@click.option(
    "--build", metavar="COMMAND", help="Shell command to run in each side's tree before its runs."
)
@click.option(
    "--build-timeout",
    "build_s",
    type=click.FloatRange(min=1),
    default=3600,
    show_default=True,
    metavar="S",
    help="Longest build, seconds.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, MAX_REPEAT),
    metavar="N",
    help="Runs a side; by the virtual clock N seeds.  Default: 5, by the virtual clock 1.",
)
@click.option(
    "--must-not-regress",
    "strict",
    multiple=True,
    callback=_names,
    metavar="METRIC,…",
    help="Metrics of which none may regress, and each has to be measured.",
)
@click.option(
    "--fail-threshold",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Fail from as many regressions on.",
)
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="How large a change has to be to count, as for `ktstr compare`.",
)
@click.option("--phases", is_flag=True, help="Compare each phase too.")
@instead("kernel", "topology", "scheduler", "flags", "work_type")
@click.option(
    "--clock", type=click.Choice(["wall", "virtual"]), help="Clock instead of the files'."
)
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 63) - 1),
    metavar="N",
    help="First seed instead of the files'.",
)
@accel
@out_folder("ktstr-runs/perf-delta", "Folder for records and logs, one for each side in it.", "-o")
@report_file("--json", "Write everything that was found to FILE.")
@report_file("--markdown", "Write a summary for a pull request to FILE.")
@click.option("--dry-run", is_flag=True, help="Say what would be built and run.")
def perf_delta(
    scenarios: tuple[str, ...],
    base: str | None,
    base_ref: str | None,
    head: str,
    repository: Path | None,
    build: str | None,
    build_s: float,
    repeat: int | None,
    strict: tuple[str, ...],
    fail_threshold: int,
    policy_file: Path | None,
    phases: bool,
    kernel: str | None,
    topology: str | None,
    scheduler: str | None,
    flags: str | None,
    work_type: str | None,
    clock: Literal["wall", "virtual"] | None,
    seed: int | None,
    accel: Literal["auto", "kvm", "tcg"],
    out_dir: Path,
    json_file: Path | None,
    markdown_file: Path | None,
    dry_run: bool,
) -> None:
    """Run SCENARIO on two commits in turn, and tell changes from noise.

    The baseline is checked out into a temporary git worktree. A change counts when it is beyond
    chance and beyond both gates of its metric.

    Exit status: 0 no regression, 1 regression, 2 nothing could be compared, 4 cannot run,
    130 interrupted.
    """
    if base is not None and base_ref is not None:
        raise BadCommandLine("--base names a commit, --base-ref where one was left; not both")
    from ktstr.cli.delta_runner import DeltaRunner, Reports
    from ktstr.errors import KtstrError
    from ktstr.history.perf_delta import Request
    from ktstr.model.catalogue import scenario_paths
    from ktstr.model.flag_profiles import profile_flags
    from ktstr.session.options import RunOptions

    options = RunOptions(
        kernel=kernel,
        topology=topology,
        scheduler=scheduler,
        flags=None if flags is None else profile_flags(flags),
        work_type=work_type,
        clock=clock,
        seed=seed,
        accel=accel,
    )
    try:
        paths = scenario_paths(scenarios)
        policy = _policy(policy_file, strict)
    except KtstrError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(int(error.exit_code))
    request = Request(
        paths,
        out_dir.absolute(),
        options,
        repository=repository,
        base=base,
        base_ref=base_ref,
        head=head,
        build=build,
        build_s=build_s,
        repeat=repeat,
    )
    reports = Reports(json_file, markdown_file)
    runner = DeltaRunner(request, policy, fail_threshold, reports, phases=phases, dry_run=dry_run)
    sys.exit(int(runner.main()))


def _policy(path: Path | None, strict: tuple[str, ...]) -> "Policy":
    from ktstr.history.policy import Policy, read_policy
    from ktstr.metrics.registry import METRICS

    found = Policy() if path is None else read_policy(path, [each.name for each in METRICS])
    return replace(found, must_not_regress=(*dict.fromkeys((*found.must_not_regress, *strict)),))
