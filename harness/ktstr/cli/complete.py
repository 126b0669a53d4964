# SPDX-License-Identifier: GPL-2.0-only
"""What a shell may complete beside commands and options: names of scenarios, presets, kernels."""

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem


def complete_scenario(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of the catalogue; a name that begins like a path is a file."""
    if incomplete.startswith((".", "/", "~")) or "/" in incomplete:
        return [CompletionItem(incomplete, type="file")]
    from ktstr.model.catalogue import catalogue

    names = [
        CompletionItem(entry.name, help=entry.provokes)
        for entry in catalogue("")
        if entry.name.startswith(incomplete)
    ]
    return names or [CompletionItem(incomplete, type="file")]


def complete_topology(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of presets; after commas too."""
    from ktstr.model.presets import presets

    return _listed(presets(), incomplete)


def complete_kernel(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of kernels; after commas too."""
    from ktstr.kernels.catalogue import named_kernels

    return _listed(named_kernels(), incomplete)


def _listed(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    before, comma, last = incomplete.rpartition(",")
    return [
        CompletionItem(before + comma + name) for name in sorted(names) if name.startswith(last)
    ]
