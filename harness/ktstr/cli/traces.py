# SPDX-License-Identifier: GPL-2.0-only
"""Traces of runs for Perfetto as files: one for a run, a folder of them for several."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ktstr.cli.reports import unwritable
from ktstr.errors import KtstrError
from ktstr.report.perfetto import perfetto_trace
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.read import read_sidecar

SUFFIX: Final = ".pftrace"


def write_trace(path: Path, record: RunRecord) -> None:
    """Write the trace of one run, and the folders above it.

    :raise OutputUnwritable: when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(perfetto_trace(record))
    except OSError as error:
        raise unwritable(path, error) from error


def write_each(folder: Path, sidecars: Sequence[Path | None]) -> Iterator[KtstrError]:
    """Write a trace for each record into ``folder``; yields what went wrong."""
    names: Counter[str] = Counter()
    for sidecar in sidecars:
        if sidecar is None:
            # That run left no record: there is nothing to draw.
            continue
        name = sidecar.name.removesuffix(".ktstr.json")
        # Records of two folders may have one name.
        names[name] += 1
        number = f"-{names[name]}" if names[name] > 1 else ""
        try:
            write_trace(folder / f"{name}{number}{SUFFIX}", read_sidecar(sidecar))
        except KtstrError as error:
            yield error
