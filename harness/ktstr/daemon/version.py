# SPDX-License-Identifier: GPL-2.0-only
"""Which ktstr this is, as a daemon and its clients tell each other."""

import os
from functools import cache
from pathlib import Path
from typing import Final

API: Final = 1
"""Version of the HTTP interface: the number in its paths."""


@cache
def version() -> str:
    """The version of this package; empty when it was never installed. Takes 40 ms."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("ktstr")
    except PackageNotFoundError:
        return ""


@cache
def package() -> str:
    """The folder of this package: runs are made with what is in it."""
    return str(Path(__file__).resolve().parents[1])


@cache
def stamp() -> int:
    """When the newest file of the package was written, ns since the epoch, at the first call.

    A daemon that was started before that runs another program than its client.
    """
    return _newest(package())


def _newest(folder: str) -> int:
    newest = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    newest = max(newest, _newest(entry.path))
            elif entry.name.endswith(".py"):
                newest = max(newest, entry.stat().st_mtime_ns)
    return newest
