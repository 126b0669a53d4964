# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr_*.toml``: scenario files that are tests by themselves."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from ktstr.pytest_plugin.asked import Asked, Variant, variants
from ktstr.pytest_plugin.settings import settings_of

MAX_FILE_SIZE: Final = 1 << 20
_UNSAFE: Final = re.compile(r"[^\w.+-]+")


class ScenarioFile(pytest.File):
    """A scenario's file: one test, or one for each kernel and topology of the command line."""

    def collect(self) -> Iterator["ScenarioItem"]:
        """The file's tests. One that cannot be read has a test too, whose run tells why."""
        name = _name(self.path)
        asked = Asked(scenario=str(self.path))
        for variant in variants(asked, settings_of(self.config)):
            title = f"{name}[{variant.id}]" if variant.id else name
            yield ScenarioItem.from_parent(self, name=title, asked=asked, variant=variant)


class ScenarioItem(pytest.Item):
    """One run of a scenario's file."""

    def __init__(self, *, asked: Asked, variant: Variant, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._asked = asked
        self._variant = variant

    def setup(self) -> None:
        """Make the run, whose outcome is taken when the test is called."""
        from ktstr.pytest_plugin.reports import begin

        begin(self, self._asked, self._variant, body_judges=False).start()

    def runtest(self) -> None:
        """Nothing beside the run's own checks, which are taken before this."""

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it stands, for pytest's reports."""
        return self.path, 0, self.name


def is_scenario(path: Path, *, named: bool) -> bool:
    """Whether a file is collected.

    :param named: it stands on pytest's command line, where any ``.toml`` is one.
    """
    return path.suffix == ".toml" and (named or path.name.startswith("ktstr_"))


def _name(path: Path) -> str:
    """The scenario's own name, as far as the file can be read; else the file's."""
    try:
        with open(path, "rb") as file:
            found = tomllib.loads(file.read(MAX_FILE_SIZE).decode()).get("name")
    except (OSError, ValueError, RecursionError):
        found = None
    return _UNSAFE.sub("-", found)[:100] if isinstance(found, str) and found else path.stem
