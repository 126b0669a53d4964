# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr metrics``: what the metric registry knows, as a table, as JSON, as the manual's page."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from ktstr.cli.command_line import BadCommandLine, Command

if TYPE_CHECKING:
    from ktstr.metrics.registry import MetricDef, MetricFamily

    Listing = Sequence[tuple[MetricFamily, MetricDef]]

COLUMNS = ("NAME", "POLARITY", "KIND", "DEFAULT_ABS", "DEFAULT_REL", "UNIT")
_RIGHT_ALIGNED = ("DEFAULT_ABS", "DEFAULT_REL")


@click.command(cls=Command)
@click.argument("text", metavar="[FILTER]", default="")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--markdown", is_flag=True, help="Print docs/metrics.md, always whole.")
def metrics(text: str, as_json: bool, markdown: bool) -> None:
    """List all metrics, or those with FILTER in their name."""
    from ktstr.metrics.registry import FAMILIES

    if markdown and (as_json or text):
        raise BadCommandLine("--markdown goes with neither --json nor FILTER")
    if markdown:
        from ktstr.cli.metrics_page import page

        click.echo(page(), nl=False)
        return
    listing = [(family, m) for family in FAMILIES for m in family.metrics if text in m.name]
    if not listing:
        raise click.ClickException(
            f"no metric has {text!r} in its name; `ktstr metrics` lists every metric"
        )
    if as_json:
        click.echo(json.dumps([_entry(*item) for item in listing], indent=2, ensure_ascii=False))
        return
    head, *rows = _lines([metric for _, metric in listing])
    # click leaves the style out where nobody would see it.
    click.echo(click.style(head, bold=True))
    for row in rows:
        click.echo(row)


def _lines(metrics: "Sequence[MetricDef]") -> Iterator[str]:
    """The head and one line per metric, in columns."""
    cells = [COLUMNS, *map(_cells, metrics)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (
            cell.rjust(width) if name in _RIGHT_ALIGNED else cell.ljust(width)
            for name, cell, width in zip(COLUMNS, row, widths, strict=True)
        )
        yield "  ".join(padded).rstrip()


def _cells(metric: "MetricDef") -> tuple[str, ...]:
    return metric.name, str(metric.polarity), str(metric.kind), *metric.gates(), metric.display_unit


def _entry(family: "MetricFamily", metric: "MetricDef") -> dict[str, object]:
    """One metric for programs; gates are numbers, ``parameters`` depends on the kind."""
    return {
        "name": metric.name,
        "polarity": str(metric.polarity),
        "kind": str(metric.kind),
        "parameters": metric.kind.parameters(),
        "default_abs": float(metric.default_abs),
        "default_rel": float(metric.default_rel),
        "unit": metric.display_unit,
        "family": family.title,
        "source": family.source.label,
        "filled": family.source.available,
    }
