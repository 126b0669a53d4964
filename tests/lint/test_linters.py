# SPDX-License-Identifier: GPL-2.0-only
"""The linters are tests: what `make check` runs, one test each."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.timeout(300)


def tracked(*patterns: str) -> list[str]:
    """Files under version control that match."""
    found = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return found.stdout.split()


def run(*command: str) -> None:
    """Run a linter in the repository; its output is the failure's text."""
    program = shutil.which(command[0])
    assert program is not None, f"{command[0]} is not installed: run `make setup`"
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_ruff_format() -> None:
    run(str(BIN / "ruff"), "format", "--check", ".")


def test_ruff() -> None:
    run(str(BIN / "ruff"), "check", ".")


def test_types() -> None:
    run(str(BIN / "mypy"), "--no-incremental", "--cache-dir=/dev/null")


def test_layers() -> None:
    run(str(BIN / "lint-imports"), "--no-cache")


def test_shell() -> None:
    run("shellcheck", *tracked("scripts/*", ".ci/run"))


def test_c_format() -> None:
    run("clang-format-19", "--dry-run", "-Werror", *tracked("guest/*.c", "guest/*.h"))


def test_every_source_file_names_its_licence() -> None:
    sources = tracked("*.py", "*.c", "*.h", "*.mk", "Makefile", "scripts/*")
    assert len(sources) > 100
    missing = [
        name
        for name in sources
        if "SPDX-License-Identifier: GPL-2.0-only"
        not in "\n".join((ROOT / name).read_text().splitlines()[:2])
    ]
    assert missing == []
