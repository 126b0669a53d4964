# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr verifier``: what kernels' verifiers make of a scheduler."""

import sys
from pathlib import Path

import click

from ktstr.cli import options
from ktstr.cli.command_line import BadCommandLine, Command
from ktstr.cli.options import out_folder, report_file


@click.command(cls=Command, name="verifier")
@click.argument("scheduler", metavar="SCHED")
@click.option(
    "--kernels",
    multiple=True,
    metavar="SPEC,SPEC",
    help="Load it on each of these kernels; default: debian:7.",
)
@click.option("--topology", metavar="T", help="Topology of the guest; default: 1n1l2c1t.")
@click.option("--raw", is_flag=True, help="Show the log of a failure as it is, unfolded.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Fail when a program takes the verifier more than N instructions.",
)
@report_file("--json", "Write the figures, and logs of failures, as JSON.")
@report_file("--junit", "Write a test case for each kernel as JUnit XML.")
@out_folder("ktstr-runs/verifier", "Folder for the records and the evidence.")
@options.cold
@click.option("-v", "--verbose", is_flag=True, help="Also show commands and debug logs.")
def verifier(
    scheduler: str,
    kernels: tuple[str, ...],
    topology: str | None,
    raw: bool,
    limit: int | None,
    json_file: Path | None,
    junit_file: Path | None,
    out_dir: Path,
    cold: bool,
    verbose: bool,
) -> None:
    """Load SCHED in a VM and tell how many instructions its programs took the verifier.

    SCHED is scx_ktstr, the path of a BPF object (*.o), a program that loads its own scheduler, or
    kernel:NAME, one of the schedulers that come with the kernel's source.

    Exit status: 0 loaded everywhere (kernels without sched_ext are skipped), 1 refused somewhere or
    over --limit, 2 nothing to tell, 3 guest lost, 4 cannot run, 130 interrupted.
    """
    from ktstr.cli.verifying import Verifying
    from ktstr.session.matrix import unique
    from ktstr.session.options import RunOptions

    if scheduler == "none":
        raise BadCommandLine("the kernel's own scheduler is no BPF program")
    options = RunOptions(topology=topology, out_dir=out_dir, cold=cold, verbose=verbose)
    run = Verifying(scheduler, unique(kernels) or ("debian:7",), options, limit=limit, raw=raw)
    sys.exit(int(run.main(json_file=json_file, junit_file=junit_file)))
