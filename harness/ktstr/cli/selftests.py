# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr selftests``: the sched_ext self-tests of a kernel's own source, on that kernel."""

import sys
from pathlib import Path

import click

from ktstr.cli.command_line import Command
from ktstr.cli.options import report_file


@click.command(cls=Command, name="selftests")
@click.option(
    "--kernel", metavar="SPEC", default="debian:7", show_default=True, help="Kernel to test."
)
@click.option(
    "--topology",
    metavar="T",
    default="1n1l2c1t",
    show_default=True,
    help="Topology of the guest; hotplug tests need two CPUs.",
)
@click.option(
    "--memory", metavar="SIZE", default="1G", show_default=True, help="Memory of the guest."
)
@click.option("--filter", "word", metavar="NAME", help="Only tests with NAME in their names.")
@click.option(
    "--source",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The kernel's source tree, where ktstr does not know it.",
)
@click.option(
    "--timeout",
    "test_s",
    type=click.FloatRange(min=1),
    default=300.0,
    show_default=True,
    metavar="S",
    help="How long one test may take, seconds.",
)
@click.option("--list", "only_list", is_flag=True, help="List the tests and run none.")
@report_file("--json", "Write all results, with every test's output, to FILE.")
@report_file("--junit", "Write the results as JUnit XML.")
@click.option("-v", "--verbose", is_flag=True, help="Show what every test prints, as it comes.")
def selftests(
    kernel: str,
    topology: str,
    memory: str,
    word: str | None,
    source: Path | None,
    test_s: float,
    only_list: bool,
    json_file: Path | None,
    junit_file: Path | None,
    verbose: bool,
) -> None:
    """Make the sched_ext self-tests of a kernel's source for it, and run them in a VM.

    Exit status: 0 every test passed or skipped itself, 1 a test failed or did not run, 3 guest
    lost, 4 cannot run, 130 interrupted.
    """
    from ktstr.cli.reports import Reports
    from ktstr.cli.selftester import Selftester
    from ktstr.session.selftests import SelftestOptions

    options = SelftestOptions(
        kernel=kernel, topology=topology, memory=memory, word=word, source=source, test_s=test_s
    )
    reports = Reports(json_file=json_file, junit_file=junit_file)
    tester = Selftester(options, reports, verbose=verbose, only_list=only_list)
    sys.exit(int(tester.list() if only_list else tester.main()))
