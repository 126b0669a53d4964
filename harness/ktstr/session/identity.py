# SPDX-License-Identifier: GPL-2.0-only
"""What two runs by the virtual clock have to have in common, and its digest.

It is the whole record but for what speaks of the host. The bytes that the guest sent are not in the
record; their digest is.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ktstr.session.sidecar.read import SidecarUnreadable
from ktstr.session.sidecar.write import SUFFIX, is_repetition

OUTSIDE: Final = frozenset({"host", "identity", "repro"})
"""Keys of a record that differ between equal runs: times, paths and run ids, here and in the report
of a repetition. And the digest itself."""


def identity_bytes(values: Mapping[str, Any]) -> bytes:
    """A record's values, without those of the host, in the one form that is digested."""
    inside = {key: value for key, value in values.items() if key not in OUTSIDE}
    text = json.dumps(inside, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def identity_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of :func:`identity_bytes`, in hexadecimal."""
    return hashlib.sha256(identity_bytes(values)).hexdigest()


def identity_digest(place: Path) -> str:
    """The identity of a recorded run, computed from its record.

    :param place: a sidecar, or a folder with one that is no repetition's.
    :raise SidecarUnreadable: when there is not exactly one, or it is no record.
    """
    return identity_of(read_values(find_sidecar(place)))


def find_sidecar(place: Path) -> Path:
    """The sidecar that ``place`` is, or that is in it.

    :raise SidecarUnreadable: when a folder has none, or several.
    """
    if not place.is_dir():
        return place
    found = [path for path in place.glob(f"*{SUFFIX}") if not is_repetition(path)]
    if len(found) != 1:
        raise SidecarUnreadable(
            f"{place} has {len(found)} records of runs", hint="name one of them, NAME-TIME" + SUFFIX
        )
    return found[0]


def read_values(path: Path) -> dict[str, Any]:
    """The values of a sidecar, by key.

    :raise SidecarUnreadable: when it is none.
    """
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SidecarUnreadable(f"{path} cannot be read as a record: {error}") from error
    if not isinstance(values, dict):
        raise SidecarUnreadable(f"{path} is no record of ktstr")
    return values


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    :raise OSError: when it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
