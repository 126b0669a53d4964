# SPDX-License-Identifier: GPL-2.0-only
"""The head of a sidecar: all that stands before the logs, without reading what comes after.

A thousand records are gigabytes of samples and vectors; what runs are told apart and compared by
is a few kilobytes at the start of each.
"""

import json
import stat
from pathlib import Path
from typing import Any, Final

from ktstr.session.sidecar.read import SidecarUnreadable
from ktstr.session.sidecar.write import SCHEMA, SUFFIX

CHUNK: Final = 32 << 10
"""Bytes of the first read: most heads are shorter."""

MAX_HEAD: Final = 16 << 20
"""Bytes among which the end of the head must be."""

_END: Final = b',\n "log_tails":'
"""The first key behind the head, at the margin where ``write`` puts top-level keys."""


def read_head(path: Path) -> dict[str, Any]:
    """The values of a sidecar that stand before its logs, by key.

    :raise SidecarUnreadable: when the file is no record, is cut off or damaged within its head, or
        has another schema.
    """
    try:
        # Opening a pipe would wait for somebody to write to it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SidecarUnreadable(f"{path} is no file")
        with path.open("rb") as file:
            values = _parsed(file, path)
    except OSError as error:
        raise SidecarUnreadable(
            f"{path} cannot be read: {error.strerror}",
            hint=f"name the NAME-TIME{SUFFIX} of a run, or the folder it is in",
        ) from error
    if values.get("schema") != SCHEMA:
        raise SidecarUnreadable(
            f"{path} has schema {values.get('schema')!r:.60}; this version of ktstr reads {SCHEMA}",
            hint="read it with the version that wrote it, or run the scenario again",
        )
    return values


def _parsed(file: Any, path: Path) -> dict[str, Any]:
    content, looked = b"", 0
    while True:
        more = file.read(max(CHUNK, len(content)))
        content += more
        while (end := content.find(_END, looked)) >= 0:
            values = _closed(content[:end])
            if values is not None:
                return values
            # A key of that name inside of another value: one brace does not close both.
            looked = end + 1
        if not more or len(content) > MAX_HEAD:
            break
        looked = max(0, len(content) - len(_END))
    return _whole(content, path)


def _closed(head: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(head + b"}")
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _whole(content: bytes, path: Path) -> dict[str, Any]:
    """The values of a record that was formatted by something else; otherwise the file is damaged.

    :raise SidecarUnreadable: saying how.
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        why = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else ""
        raise SidecarUnreadable(
            f"{path} is damaged or cut off{': ' + why if why else ''}",
            hint=f"the record of a run is a NAME-TIME{SUFFIX}; run the scenario again",
        ) from error
    if not isinstance(values, dict) or "schema" not in values:
        raise SidecarUnreadable(f"{path} is no record of ktstr: it has no schema number")
    return values
