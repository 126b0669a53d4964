# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr-run``: run one scenario and exit by its verdict."""

import math
import sys
from pathlib import Path
from typing import Literal

import click

from ktstr.errors import ExitCode


class BadCommandLine(click.UsageError):
    """A mistake on the command line; click's own exit status, 2, means inconclusive here."""

    exit_code = int(ExitCode.CANNOT_RUN)


class Command(click.Command):
    """A command whose mistakes on the command line do not exit as a verdict."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line.

        :raise BadCommandLine: when it cannot be read.
        """
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise BadCommandLine(error.format_message(), error.ctx or ctx) from None


def _not_nan(
    context: click.Context, parameter: click.Parameter, value: float | None
) -> float | None:
    if value is not None and math.isnan(value):
        raise click.BadParameter("a number of seconds is due", context, parameter)
    return value


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--kernel", metavar="SPEC", help="Kernel instead of the file's (debian:7, path:…).")
@click.option("--topology", metavar="T", help="Topology instead of the file's (1n2l2c1t).")
@click.option(
    "--accel",
    type=click.Choice(["auto", "kvm", "tcg"]),
    default="auto",
    show_default=True,
    help="Accelerator; auto takes KVM only where it really runs a guest.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    callback=_not_nan,
    metavar="S",
    help="Longest stay in the VM, seconds.",
)
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("ktstr-runs"),
    show_default=True,
    metavar="DIR",
    help="Folder for the record and the evidence.",
)
@click.option("--keep-vm", is_flag=True, help="Leave the VM paused at the end, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Also show commands and debug logs.")
def main(
    scenario: Path,
    kernel: str | None,
    topology: str | None,
    accel: Literal["auto", "kvm", "tcg"],
    timeout_s: float | None,
    out_dir: Path,
    keep_vm: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Boot a VM, run SCENARIO (a TOML file) under its scheduler, and judge.

    Exit status: 0 pass or skip, 1 fail, 2 inconclusive, 3 guest lost, 4 cannot run,
    130 interrupted.
    """
    try:
        from ktstr.cli.runner import run_to_end
        from ktstr.session.options import RunOptions

        options = RunOptions(
            kernel=kernel,
            topology=topology,
            accel=accel,
            timeout_s=timeout_s,
            out_dir=out_dir,
            keep_vm=keep_vm,
            verbose=verbose,
        )
        code = run_to_end(scenario, options, as_json=as_json)
    except KeyboardInterrupt:
        # While no handler of ours is in place: during the imports, or after the last word.
        code = ExitCode.INTERRUPTED
    sys.exit(int(code))


if __name__ == "__main__":
    main()
