# SPDX-License-Identifier: GPL-2.0-only
"""The evidence folder: what a person needs to understand anything but a pass."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ktstr.errors import OutputUnwritable
from ktstr.session.sidecar.json_safe import json_safe


def write_evidence(folder: Path, texts: Mapping[str, str], files: Mapping[str, Path]) -> Path:
    """Create the folder with these texts and copies of these files; missing files are skipped.

    :raise OutputUnwritable: when the folder refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            if text:
                # A reader finds a whole file or none.
                fresh = folder / f".{name}.new"
                fresh.write_text(text, "utf-8", "backslashreplace")
                fresh.replace(folder / name)
        for name, source in files.items():
            if source.is_file():
                shutil.copyfile(source, folder / name)
    except OSError as error:
        raise OutputUnwritable(
            f"the evidence cannot be written to {folder}: {error.strerror}",
            hint="free space there, or choose another folder with --out",
        ) from error
    return folder


def as_json(value: Any) -> str:
    """Indented JSON for the evidence folder."""
    return json.dumps(json_safe(value), indent=1, allow_nan=False)
