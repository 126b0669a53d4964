# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr schema``: the scenario file's JSON Schema, for editors."""

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of the scenario file."""
    from ktstr.model.scenario import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
