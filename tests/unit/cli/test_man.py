# SPDX-License-Identifier: GPL-2.0-only
"""The man pages that are kept, held against the commands."""

import re
import subprocess
from pathlib import Path

import pytest

from ktstr.cli.main import COMMANDS
from ktstr.cli.man import pages

KEPT = Path(__file__).parents[3] / "docs" / "man"


@pytest.mark.parametrize("name", ["ktstr.1", "ktstr-run.1"])
def test_the_kept_page_is_that_of_the_commands(name: str) -> None:
    remedy = "make it again: python -m ktstr.cli.man docs/man"
    assert (KEPT / name).read_text() == pages()[name], remedy


@pytest.mark.parametrize("name", ["ktstr.1", "ktstr-run.1"])
def test_groff_takes_every_line(name: str) -> None:
    command = ["groff", "-k", "-man", "-ww", "-Tutf8", str(KEPT / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    # Bold is a letter, a backspace and the letter again.
    assert "EXIT STATUS" in re.sub(".\x08", "", done.stdout)


def test_every_command_has_a_section() -> None:
    for command in COMMANDS:
        assert f".SS ktstr {command}".replace("-", "\\-") in pages()["ktstr.1"]
