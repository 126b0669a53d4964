# SPDX-License-Identifier: GPL-2.0-only
"""What is left of a run that was lost, brought to where people look for it."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from ktstr.daemon.paths import EVIDENCE, LOG, SCRATCH

MAX_FILE: Final = 8 << 20
"""Bytes that are kept of the end of each file."""

KEPT: Final = frozenset({".log", ".txt", ".json", ".command", ".toml"})
"""Endings of files that people read; the rest is memory, images and sockets."""


def salvage(folder: Path, why: str | None = None) -> Path | None:
    """Copy what a run had in its scratch folder, and its process's output, to its evidence.

    :param why: what became of the run, for ``lost.txt``.
    :return: the evidence; None when there is nothing, or no room for it.
    """
    evidence = folder / EVIDENCE
    try:
        evidence.mkdir(exist_ok=True)
        for source in sorted((folder / SCRATCH).rglob("*")):
            if source.suffix in KEPT and source.is_file() and not source.is_symlink():
                _copy_end(source, evidence / source.name)
        if (folder / LOG).is_file():
            _copy_end(folder / LOG, evidence / LOG)
        if why is not None:
            (evidence / "lost.txt").write_text(why + "\n", "utf-8")
    except OSError:
        # A part is better than nothing.
        pass
    with suppress(OSError):
        evidence.rmdir()
    return evidence if evidence.is_dir() else None


def clean(folder: Path) -> None:
    """Remove what a run needed while it lived."""
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    with suppress(OSError):
        if not (folder / LOG).stat().st_size:
            (folder / LOG).unlink()


def _copy_end(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("wb") as new:
        size = os.fstat(old.fileno()).st_size
        old.seek(max(0, size - MAX_FILE))
        shutil.copyfileobj(old, new, 1 << 16)
    if not size:
        target.unlink()
