# SPDX-License-Identifier: GPL-2.0-only
"""The scenarios that come with ktstr: files below ``configs/scenarios``, found by name.

A folder is a group. The first comment that is a sentence says what a scenario provokes. Files in
``faults`` break ktstr's guest on purpose and are no part of it.
"""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktstr.errors import CannotRun
from ktstr.model.configs import configs_folder
from ktstr.model.words import did_you_mean

FAULTS: Final = "faults"
EXAMPLE: Final = "example"
"""Group of the files that lie beside the folders."""

GROUPS: Final = (
    EXAMPLE,
    "basic",
    "cpuset",
    "affinity",
    "sched_class",
    "stress",
    "stall",
    "dynamic",
    "nested",
    "advanced",
    "interaction",
    "performance",
    "acceptance",
)
"""All groups, in the order of listing and running."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One scenario of the catalogue.

    :param group: the folder it lies in.
    :param provokes: one sentence on what it provokes.
    """

    name: str
    group: str
    provokes: str
    path: Path

    def matches(self, word: str) -> bool:
        """Whether ``word`` is part of its name, group or sentence, in whatever case."""
        return any(
            word.casefold() in text.casefold() for text in (self.name, self.group, self.provokes)
        )


def catalogue(word: str = "") -> tuple[Entry, ...]:
    """The scenarios that ``word`` matches, by group and name; all without a word.

    :raises HostUnfit: when the folder is not there.
    """
    return tuple(entry for entry in _entries() if entry.matches(word))


def scenario_path(text: str) -> Path:
    """The file that ``text`` names: itself a path, or the name of a catalogue scenario.

    :raises CannotRun: when it looks like a name and the catalogue has none such.
    """
    path = Path(text)
    if path.suffix or len(path.parts) != 1 or path.is_file():
        return path
    names = {entry.name: entry.path for entry in _entries()}
    if text not in names:
        raise CannotRun(
            f'no scenario is called "{text}", and there is no such file{did_you_mean(text, names)}',
            hint="`ktstr scenarios` lists all names; a file's name ends in .toml",
        )
    return names[text]


def scenario_paths(texts: Sequence[str]) -> tuple[Path, ...]:
    """The files that ``texts`` name, each once, in order of their first appearance.

    Beside what :func:`scenario_path` takes, a text may be a folder, which stands for every
    ``.toml`` file below it, or a pattern (``stress/*.toml``, ``**/cpuset_*.toml``), in sorted
    order both.

    :raises CannotRun: when one names nothing.
    """
    found: dict[Path, Path] = {}
    for text in texts:
        for path in _files_of(text):
            found.setdefault(path.absolute(), path)
    return tuple(found.values())


def _files_of(text: str) -> Sequence[Path]:
    path = Path(text)
    if path.is_dir() and text not in {entry.name for entry in _entries()}:
        files = sorted(file for file in path.rglob("*.toml") if file.is_file())
        if not files:
            raise CannotRun(f"there is no scenario in the folder {text}", hint="*.toml files")
        return files
    if any(sign in text for sign in "*?[") and not path.exists():
        matches = (Path(match) for match in glob.glob(text, recursive=True))
        files = sorted(file for file in matches if file.suffix == ".toml" and file.is_file())
        if not files:
            raise CannotRun(f"no scenario file matches {text}", hint="*.toml files")
        return files
    return [scenario_path(text)]


def _entries() -> Sequence[Entry]:
    folder = configs_folder() / "scenarios"
    found = [_entry(path, folder) for path in folder.rglob("*.toml")]
    kept = (entry for entry in found if entry.group in GROUPS)
    return sorted(kept, key=lambda entry: (GROUPS.index(entry.group), entry.name))


def _entry(path: Path, folder: Path) -> Entry:
    group = EXAMPLE if path.parent == folder else path.parent.name
    return Entry(path.stem, group, _first_sentence(path), path)


def _first_sentence(path: Path) -> str:
    with open(path, encoding="utf-8") as lines:
        return " ".join(_header(lines))


def _header(lines: Iterator[str]) -> Iterator[str]:
    """The comment's lines above the first key, without licence and editor's directives."""
    for line in lines:
        if not line.startswith("#"):
            return
        if line.startswith("# ") and "SPDX-License-Identifier" not in line:
            yield line[2:].strip()
