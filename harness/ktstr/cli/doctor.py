# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr doctor``: what this host can do, and the one command that mends each gap."""

import json
import sys
from typing import TYPE_CHECKING

import click

from ktstr.cli.command_line import Command
from ktstr.errors import ExitCode

if TYPE_CHECKING:
    from ktstr.doctor.finding import Finding


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Say what this host can do, and the one command that mends each gap.

    Nothing is fetched, built or changed. Exit status: 0 scenarios can run, 4 they cannot.
    """
    import anyio

    from ktstr.cli.logs import configure_logging
    from ktstr.doctor.examine import examine, verdict
    from ktstr.doctor.finding import Grade, worst

    configure_logging(verbose=False)

    def tell(finding: "Finding") -> None:
        if not as_json:
            mark, colour = _MARKS[finding.grade.name]
            click.echo(f"{click.style(mark, fg=colour)} {finding.topic + ':':15} {finding.found}")
            if finding.fix:
                click.echo(f"{'':7}{'':15}→ {click.style(finding.fix, bold=True)}")

    findings = anyio.run(examine, tell)
    if as_json:
        document = {
            "verdict": verdict(findings),
            "findings": [
                {
                    "topic": each.topic,
                    "grade": each.grade.name.lower(),
                    "found": each.found,
                    "fix": each.fix or None,
                }
                for each in findings
            ],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(f"\n{verdict(findings)}")
    sys.exit(int(ExitCode.CANNOT_RUN if worst(findings) is Grade.GAP else ExitCode.PASS))


_MARKS = {
    "FINE": ("ok   ", "green"),
    "HINT": ("hint ", "cyan"),
    "LIMIT": ("limit", "yellow"),
    "GAP": ("GAP  ", "red"),
}
