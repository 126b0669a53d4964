# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr-run``: run scenarios and exit by their verdicts."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from ktstr.cli import options
from ktstr.cli.command_line import BadCommandLine, Command
from ktstr.cli.complete import complete_kernel, complete_scenario, complete_topology
from ktstr.cli.options import instead, out_folder, report_file
from ktstr.errors import ExitCode

AUTO = "auto"
MAX_JOBS = 256
MAX_REPEAT = 10_000


_JSON, _JSON_FILE = "--json", "--json-file"


class RunCommand(Command):
    """``ktstr-run``, whose ``--json`` may name a file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line.

        :raise BadCommandLine: when it cannot be read.
        """
        return super().parse_args(ctx, _with_json_file(args))


def _with_json_file(args: Sequence[str]) -> list[str]:
    """``--json=FILE``, and ``--json FILE`` for a FILE that no scenario can be, as ``--json-file``.

    Alone, ``--json`` prints to standard output, and what follows it is a scenario.
    """
    found: list[str] = []
    rest = iter(args)
    for word in rest:
        if word == "--":
            return [*found, word, *rest]
        if word.startswith(f"{_JSON}="):
            found += [_JSON_FILE, word.removeprefix(f"{_JSON}=")]
        elif found[-1:] == [_JSON] and word.endswith(".json"):
            found[-1:] = [_JSON_FILE, word]
        else:
            found.append(word)
    return found


def jobs_or_auto(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """The number of runs at a time; None for ``auto``."""
    if value == AUTO:
        return None
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= MAX_JOBS:
        allowed = f"{AUTO}, or a number from 1 to {MAX_JOBS}"
        raise click.BadParameter(f"{value!r}; allowed: {allowed}", context, parameter)
    return int(value)


def _not_nan(
    context: click.Context, parameter: click.Parameter, value: float | None
) -> float | None:
    if value is not None and math.isnan(value):
        raise click.BadParameter("a number of seconds is due", context, parameter)
    return value


@click.command(cls=RunCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...", shell_complete=complete_scenario)
@click.option("--all", "run_all", is_flag=True, help="Run the whole catalogue.")
@click.option(
    "--filter",
    "word",
    metavar="WORD",
    help="Run what has WORD in its name, group or sentence (`ktstr scenarios --filter`).",
)
@click.option(
    "--jobs",
    callback=jobs_or_auto,
    default=AUTO,
    show_default=True,
    metavar="N",
    help="Runs at a time, where there are several; auto: as many as leave the results alone.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, MAX_REPEAT),
    default=1,
    metavar="N",
    help="Run everything N times.",
)
@click.option(
    "--topologies",
    multiple=True,
    metavar="T,T",
    shell_complete=complete_topology,
    help="Run on each of these topologies.",
)
@click.option(
    "--kernels",
    multiple=True,
    metavar="SPEC,SPEC",
    shell_complete=complete_kernel,
    help="Run on each of these kernels.",
)
@instead("kernel", "topology", "scheduler", "flags")
@click.option(
    "--all-flags", is_flag=True, help="Run once for every combination of the scheduler's flags."
)
@instead("work_type")
@click.option(
    "--clock",
    type=click.Choice(["wall", "virtual"]),
    help="Clock instead of the file's; by the virtual one a run can be repeated exactly.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 63) - 1),
    metavar="N",
    help="Seed instead of the file's.",
)
@click.option(
    "--icount-shift",
    type=click.IntRange(0, 10),
    metavar="N",
    help="By the virtual clock, an instruction takes 2^N ns; default: 1.",
)
@options.accel
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    callback=_not_nan,
    metavar="S",
    help="Longest stay in the VM, seconds.",
)
@out_folder("ktstr-runs", "Folder for the record and the evidence.")
@click.option(
    "--repro/--no-repro",
    "auto_repro",
    default=None,
    envvar="KTSTR_AUTO_REPRO",
    help="Run what failed under a scheduler once more, with probes; default: as the file says.",
)
@click.option(
    "--checkpoint-on-fail",
    is_flag=True,
    help="Keep the guest of a run that does not pass in a file, for `ktstr resume` and `dump`.",
)
@click.option(
    "--checkpoint-at",
    metavar="STEP",
    help="Keep the guest at the end of this step (its number from 1 on, or its name) in a file.",
)
@options.cold
@click.option(
    "--exclusive-llc",
    is_flag=True,
    help="Share no last-level cache of this host with another run (`ktstr locks`).",
)
@click.option("--keep-vm", is_flag=True, help="Leave the VM paused at the end, until Ctrl-C.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the record as JSON on stdout, of several runs their outcomes; "
    "--json FILE.json, or --json=FILE: write the outcomes there.",
)
@click.option(_JSON_FILE, type=click.Path(path_type=Path), hidden=True)
@report_file("--junit", "Write the outcomes as JUnit XML.")
@report_file("--html", "Write a page of the run; of several a list, and their pages beside it.")
@click.option(
    "--perfetto",
    "perfetto_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a trace that opens in Perfetto; of several runs a folder with one of each.",
)
@click.option(
    "--no-daemon",
    is_flag=True,
    help="Run here, also where a daemon is (`ktstr serve`; KTSTR_NO_DAEMON=1 says the same).",
)
@click.option("-v", "--verbose", is_flag=True, help="Also show commands and debug logs.")
def main(
    scenarios: tuple[str, ...],
    run_all: bool,
    word: str | None,
    jobs: int | None,
    repeat: int,
    topologies: tuple[str, ...],
    kernels: tuple[str, ...],
    kernel: str | None,
    topology: str | None,
    scheduler: str | None,
    flags: str | None,
    all_flags: bool,
    work_type: str | None,
    clock: Literal["wall", "virtual"] | None,
    seed: int | None,
    icount_shift: int | None,
    accel: Literal["auto", "kvm", "tcg"],
    timeout_s: float | None,
    out_dir: Path,
    auto_repro: bool | None,
    checkpoint_on_fail: bool,
    checkpoint_at: str | None,
    cold: bool,
    exclusive_llc: bool,
    keep_vm: bool,
    as_json: bool,
    json_file: Path | None,
    junit_file: Path | None,
    html_file: Path | None,
    perfetto_file: Path | None,
    no_daemon: bool,
    verbose: bool,
) -> None:
    """Boot a VM, run SCENARIO in it, and judge.

    SCENARIO is a TOML file, a name of the catalogue, a folder or a pattern of files. Several run as
    many at a time as the host carries, and a table tells how each went.

    Exit status: 0 pass or skip, 1 fail, 2 inconclusive, 3 guest lost, 4 cannot run,
    130 interrupted; of several, the worst in the order pass, inconclusive, fail, guest lost,
    cannot run, interrupted. Runs that are all skipped are inconclusive.
    """
    whole = run_all or word is not None
    if whole == bool(scenarios):
        raise BadCommandLine("name scenarios, or choose with --all or --filter; not both")
    if flags is not None and all_flags:
        raise BadCommandLine("--flags names one combination, --all-flags all; not both")
    if kernel is not None and kernels:
        raise BadCommandLine("--kernel names one, --kernels several; not both")
    if topology is not None and topologies:
        raise BadCommandLine("--topology names one, --topologies several; not both")
    several = whole or all_flags or repeat > 1 or bool(topologies or kernels)
    several = several or json_file is not None or junit_file is not None
    if keep_vm and (several or len(scenarios) > 1):
        raise BadCommandLine("--keep-vm is for one scenario")
    try:
        from ktstr.errors import KtstrError
        from ktstr.model.catalogue import catalogue, scenario_paths
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
            icount_shift=icount_shift,
            accel=accel,
            timeout_s=timeout_s,
            out_dir=out_dir,
            auto_repro=auto_repro,
            checkpoint_on_fail=checkpoint_on_fail,
            checkpoint_at=checkpoint_at,
            cold=cold,
            exclusive_llc=exclusive_llc,
            keep_vm=keep_vm,
            verbose=verbose,
        )
        try:
            chosen = (
                tuple(entry.path for entry in catalogue(word or ""))
                if whole
                else scenario_paths(scenarios)
            )
        except KtstrError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(int(error.exit_code))
        if not chosen:
            raise BadCommandLine(f"nothing in the catalogue has {word!r} in it: `ktstr scenarios`")
        if keep_vm and len(chosen) > 1:
            raise BadCommandLine("--keep-vm is for one scenario")
        if len(chosen) == 1 and not several:
            from ktstr.cli.runner import run_to_end

            code = run_to_end(
                chosen[0],
                options,
                as_json=as_json,
                html_file=html_file,
                perfetto_file=perfetto_file,
                daemon=not no_daemon,
            )
        else:
            from ktstr.cli.many import run_many
            from ktstr.cli.reports import Reports
            from ktstr.session.matrix import Axes, unique

            axes = Axes(_kernels(unique(kernels)), _topologies(unique(topologies)), repeat)
            try:
                code = run_many(
                    chosen,
                    options,
                    jobs=jobs,
                    axes=axes,
                    all_flags=all_flags,
                    reports=Reports(as_json, json_file, junit_file, html_file, perfetto_file),
                    daemon=not no_daemon,
                )
            except KtstrError as error:
                click.echo(f"error: {error}", err=True)
                code = error.exit_code
            except ValueError as error:
                raise BadCommandLine(str(error)) from None
    except KeyboardInterrupt:
        # While no handler of ours is in place: during the imports, or after the last word.
        code = ExitCode.INTERRUPTED
    sys.exit(int(code))


def _kernels(specs: tuple[str, ...]) -> tuple[str, ...]:
    """The specifications, once it is sure that each may mean a kernel."""
    from ktstr.kernels.catalogue import close_names, may_be_kernel

    for spec in specs:
        if not may_be_kernel(spec):
            hint = close_names(spec) + "`ktstr kernel list` has the names"
            raise BadCommandLine(f"--kernels: {spec!r} names no kernel and is no file; {hint}")
    return specs


def _topologies(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, once it is sure that each is a topology."""
    from ktstr.model.presets import topology_named

    for name in names:
        try:
            topology_named(name)
        except ValueError as error:
            raise BadCommandLine(f"--topologies: {name!r}; allowed: {error}") from None
    return names


if __name__ == "__main__":
    main()
