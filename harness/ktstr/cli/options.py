# SPDX-License-Identifier: GPL-2.0-only
"""Options that several commands have: one name, one meaning, one sentence of help."""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, Final

import click

from ktstr.cli.complete import complete_kernel, complete_topology

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_INSTEAD: Final[dict[str, Decorator]] = {
    "kernel": click.option(
        "--kernel",
        metavar="SPEC",
        shell_complete=complete_kernel,
        help="Kernel instead of the file's (debian:7, path:…).",
    ),
    "topology": click.option(
        "--topology",
        metavar="T",
        shell_complete=complete_topology,
        help="Topology instead of the file's (1n2l2c1t, tiny-2llc).",
    ),
    "scheduler": click.option(
        "--scheduler",
        metavar="S",
        help="Scheduler instead of the file's (scx_ktstr, a *.o, a program, kernel:NAME, none).",
    ),
    "flags": click.option(
        "--flags",
        metavar="A+B",
        help="Flags of the scheduler instead of the file's; `default` for none of them.",
    ),
    "work_type": click.option(
        "--work-type",
        metavar="TYPE",
        help="Work type instead of the file's, in swappable cgroups.",
    ),
}

cold: Final[Decorator] = click.option(
    "--cold", is_flag=True, help="Boot the guest instead of continuing a saved one."
)

accel: Final[Decorator] = click.option(
    "--accel",
    type=click.Choice(["auto", "kvm", "tcg"]),
    default="auto",
    show_default=True,
    help="Accelerator; auto takes KVM only where it really runs a guest.",
)


def instead(*names: str) -> Decorator:
    """Options that stand in place of what the scenario's file says, in this order.

    :param names: of ``kernel``, ``topology``, ``scheduler``, ``flags``, ``work_type``.
    """
    return lambda command: reduce(
        lambda so_far, name: _INSTEAD[name](so_far), reversed(names), command
    )


def out_folder(default: str, what: str, *short: str) -> Decorator:
    """``--out``: the folder for what a command leaves behind."""
    return click.option(
        *short,
        "--out",
        "out_dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(default),
        show_default=True,
        metavar="DIR",
        help=what,
    )


def report_file(flag: str, what: str) -> Decorator:
    """``--json`` or ``--junit``: a file for a report; the parameter is called ``json_file``…"""
    return click.option(
        flag,
        f"{flag.removeprefix('--')}_file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help=what,
    )
