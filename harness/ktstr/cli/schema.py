# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr schema``: JSON Schemas of the files people write, for editors."""

import json

import click

from ktstr.cli.command_line import Command


@click.command(cls=Command)
@click.option("--gauntlet", is_flag=True, help="That of the gauntlet file instead.")
def schema(gauntlet: bool) -> None:
    """Print the JSON Schema of the scenario file."""
    if gauntlet:
        from ktstr.model.gauntlet_file import json_schema as found
    else:
        from ktstr.model.scenario import json_schema as found

    click.echo(json.dumps(found(), indent=2))
