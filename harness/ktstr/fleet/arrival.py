# SPDX-License-Identifier: GPL-2.0-only
"""What a worker sent back, put where a run of this machine would have left it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ktstr.errors import HostUnfit
from ktstr.fleet.delivery import MAX_FILES, Made, fetch, unpack
from ktstr.gauntlet.cells import CellResult
from ktstr.session.sidecar.write import SUFFIX

_SHOWN: Final = 3


def arrived(value: Any, out_dir: Path, key: str, artifacts: str | None) -> CellResult:
    """Write what came below ``out_dir`` and give the result with its places there; blocks.

    :param value: what the task returned.
    :param key: names a folder for it where another run has taken a file's name.
    :param artifacts: address of the folder where everything is; None: it came along. Records are
        brought here in both cases.
    :raise CannotRun: when it is damaged, or cannot be written.
    """
    if not isinstance(value, dict):
        raise HostUnfit(f"a {type(value).__name__} came in place of a result")
    listed, contents, out = value.get("files"), value.get("contents"), value.get("out")
    if not isinstance(listed, list) or not isinstance(contents, dict) or not isinstance(out, str):
        raise HostUnfit("what came is no result of a run")
    result = CellResult.from_json(value.get("result"), "the result of a run")
    files = [Made.from_json(each, "a file of a run") for each in listed[:MAX_FILES]]
    folder = out_dir
    if any((folder / made.name).exists() for made in files):
        folder = out_dir / key
    missing = []
    for made in files:
        record = made.name.endswith(SUFFIX)
        if artifacts is not None and record:
            content = fetch(artifacts, made)
        elif made.name in contents:
            content = contents[made.name]
        else:
            missing.append(made)
            continue
        unpack(made, content, folder)
        if record:
            _point(folder / made.name, out, artifacts or str(folder.absolute()))
    return _placed(result, out, folder, missing, artifacts)


def _point(record: Path, there: str, here: str) -> None:
    """Have a record name its evidence where that is now."""
    old, new = (json.dumps(text)[1:-1].encode() for text in (there, here))
    content = record.read_bytes()
    if old not in content:
        return
    fresh = record.with_name(f".{record.name}.pointed")
    fresh.write_bytes(content.replace(old, new))
    fresh.replace(record)


def _placed(
    result: CellResult,
    out: str,
    folder: Path,
    missing: list[Made],
    artifacts: str | None,
) -> CellResult:
    facts: Mapping[str, str] = result.facts
    notes = result.notes
    if artifacts is not None:
        facts = {**facts, "artifacts": artifacts}
    elif missing:
        names = ", ".join(made.name for made in missing[:_SHOWN])
        size = sum(made.size for made in missing) >> 20
        why = f"{len(missing)} files ({size} MiB: {names}) were too much to send back"
        notes = (*notes, f"{why}; --artifacts keeps them")
    return replace(
        result,
        sidecar=_here(result.sidecar, out, folder),
        evidence=None if artifacts is not None else _here(result.evidence, out, folder),
        notes=notes,
        facts=facts,
    )


def _here(there: Path | None, out: str, folder: Path) -> Path | None:
    """Where a file of the worker's is now; None when it did not come."""
    if there is None or not there.is_relative_to(out):
        return None
    here = folder / there.relative_to(out)
    return here if here.exists() else None
