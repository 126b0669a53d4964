# SPDX-License-Identifier: GPL-2.0-only
"""Breaks one line of the statistics at a time, and sees that a test fails: ``make mutate``.

Words on the command line keep the mutations of files with one of them in the name.

Each mutation of ``mutations.toml`` is made in a copy of the package; the tests named beside it
run on that copy. A mutation that no test notices, or that no longer fits the code, is an error.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "harness" / "ktstr"
TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of a source file.

    :param file: within the package; ``old`` occurs in it exactly once.
    :param tests: paths from the repository's root.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def load() -> list[Mutation]:
    """The list, in its order."""
    with open(Path(__file__).with_name("mutations.toml"), "rb") as stream:
        entries = tomllib.load(stream)["mutation"]
    return [Mutation(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def survives(mutation: Mutation) -> str | None:
    """Why the mutation was not caught, ``None`` when a test failed for it."""
    with tempfile.TemporaryDirectory(prefix="ktstr-mutation-") as folder:
        copy = Path(folder, "ktstr")
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        source = copy / mutation.file
        text = source.read_text()
        if text.count(mutation.old) != 1:
            return f"{mutation.file} has {text.count(mutation.old)} places like {mutation.old!r}"
        source.write_text(text.replace(mutation.old, mutation.new))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *mutation.tests],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    if done.returncode == 1:
        return None
    if done.returncode == 0:
        return "every test still passes"
    return f"pytest ended with {done.returncode}: {done.stdout[-500:]}"


def main() -> int:
    """Print a line per mutation; the exit status tells whether all were caught."""
    words = sys.argv[1:]
    mutations = [m for m in load() if not words or any(word in m.file for word in words)]
    missed = 0
    for number, mutation in enumerate(mutations, 1):
        why = survives(mutation)
        missed += why is not None
        told = "caught" if why is None else f"MISSED: {why}"
        print(f"{number:3}/{len(mutations)} {mutation.file:32} {mutation.what}: {told}", flush=True)
    print(f"{len(mutations) - missed} of {len(mutations)} mutations caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
