# SPDX-License-Identifier: GPL-2.0-only
"""The examples for CI are YAML, and every command of ours in them is one that our programs take."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from ktstr.cli.main import main as ktstr
from ktstr.cli.run import main as ktstr_run

FOLDER = Path(__file__).parents[3] / "docs" / "examples" / "ci"
EXAMPLES = sorted(FOLDER.glob("*.yml"))


def lines(node: object) -> Iterator[str]:
    """Every shell line of a document."""
    if isinstance(node, dict):
        for value in node.values():
            yield from lines(value)
    elif isinstance(node, list):
        for value in node:
            yield from lines(value)
    elif isinstance(node, str):
        yield from re.split(r"\n|&&|;", node)


def commands(path: Path) -> list[list[str]]:
    """The command lines of our programs in an example."""
    found = []
    for line in lines(yaml.safe_load(path.read_text())):
        words = shlex.split(line.strip()) if re.match(r"\s*ktstr(-run)?\s", line) else []
        if words:
            found.append(words)
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_command_is_one_we_take(path: Path) -> None:
    found = commands(path)
    assert ["ktstr", "doctor"] in found
    assert any(words[0] == "ktstr-run" and "--junit" in words for words in found)
    for words in found:
        command: click.Command = ktstr_run
        arguments = words[1:]
        if words[0] == "ktstr":
            chosen = ktstr.get_command(click.Context(ktstr), words[1])
            assert chosen is not None, words
            command, arguments = chosen, words[2:]
        # Reads the command line without running anything.
        command.make_context(words[0], list(arguments))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_results_are_kept_when_the_job_fails(path: Path) -> None:
    text = path.read_text()
    assert "if: always()" in text or "when: always" in text
    assert re.search(r"timeout(-minutes)?: ", text)


def test_there_is_one_for_each_kind_of_runner() -> None:
    assert {path.stem for path in EXAMPLES} >= {"github-kvm", "github-plain", "gitlab"}
