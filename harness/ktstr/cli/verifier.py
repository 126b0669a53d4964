# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr verifier``: what kernels' verifiers make of a scheduler."""

import sys
from pathlib import Path

import click

from ktstr.cli.run import BadCommandLine, Command


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
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the figures, and logs of failures, as JSON.",
)
@click.option(
    "--junit",
    "junit_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a test case for each kernel as JUnit XML.",
)
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("ktstr-runs/verifier"),
    show_default=True,
    metavar="DIR",
    help="Folder for the records and the evidence.",
)
@click.option("--cold", is_flag=True, help="Boot the guest instead of continuing a saved one.")
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
