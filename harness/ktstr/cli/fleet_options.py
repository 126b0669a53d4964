# SPDX-License-Identifier: GPL-2.0-only
"""Options of all commands that speak with a Dask cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from ktstr.errors import HostUnfit

_PEM: Final = click.Path(path_type=Path, dir_okay=False)


def tls(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--tls-ca``, ``--tls-cert`` and ``--tls-key``."""
    for name, what in (
        ("key", "Own private key (PEM)."),
        ("cert", "Own certificate (PEM)."),
        ("ca", "Certificate of who vouches for the others (PEM); speaks TLS only."),
    ):
        command = click.option(f"--tls-{name}", type=_PEM, metavar="FILE", help=what)(command)
    return command


def need_dask() -> None:
    """See that Dask is there, before anything speaks with it.

    :raise HostUnfit: when it is not installed.
    """
    try:
        import distributed  # noqa: F401
        import fsspec  # noqa: F401
    except ImportError as error:
        raise HostUnfit(
            f"a fleet needs Dask and fsspec: {error}", hint="pip install 'ktstr[fleet]'"
        ) from error
