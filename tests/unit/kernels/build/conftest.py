# SPDX-License-Identifier: GPL-2.0-only
"""A tree that looks like a kernel's and is built by a shell script, and the programs for it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.unit.kernels.build import source_tree

from ktstr.kernels import KernelCache

MAKEFILE = """\
VERSION = 7
PATCHLEVEL = 9
SUBLEVEL = 1
EXTRAVERSION =
NAME = A test

FILES = $(patsubst %.c,$(O)/%.o,$(notdir $(wildcard code/*.c)))

tinyconfig:
\t@echo '# CONFIG_SMP is not set' > $(O)/.config; echo CONFIG_64BIT=y >> $(O)/.config

olddefconfig:
\t@test ! -e refuse || { echo "Kconfig:1: syntax error" >&2; exit 1; }
\t@grep -v -f lost $(O)/.config > $(O)/kept; mv $(O)/kept $(O)/.config

vmlinux: $(FILES)
\t@echo "  LD      vmlinux"
\t@echo "$(CC)|$(LOCALVERSION)|$(KBUILD_BUILD_TIMESTAMP)|$(KCFLAGS)" > $(O)/said
\t@cp elf $(O)/vmlinux

$(O)/%.o: code/%.c
\t@echo "  CC      code/$*.o"
\t@if grep -n BROKEN $<; then echo "$<:3:1: error: expected ';'" >&2; exit 1; fi
\t@while grep -q WAIT $< && test -e hold; do sleep 0.05; done
\t@cp $< $@
"""

KCONFIG = """\
mainmenu "A test"
config 64BIT
\tbool "64-bit"
config SMP
\tbool "Several CPUs"
source "arch/$(SRCARCH)/Kconfig"
"""


@pytest.fixture
def cache(tmp_path: Path) -> KernelCache:
    return KernelCache(tmp_path / "kernels")


@pytest.fixture
def make_tree(tmp_path: Path, build: SimpleNamespace) -> Callable[..., Path]:
    """Writes a tree of three files; keywords replace the content of a file."""

    def make(name: str = "linux", **code: str) -> Path:
        tree: Path = tmp_path / name
        (tree / "code").mkdir(parents=True)
        (tree / "arch/x86").mkdir(parents=True)
        (tree / "Makefile").write_text(MAKEFILE)
        (tree / "Kconfig").write_text(KCONFIG)
        (tree / "arch/x86/Kconfig").write_text("config NUMA\n\tbool 'Nodes'\n\tdepends on SMP\n")
        (tree / "lost").write_text("CONFIG_NOTHING\n")
        (tree / "elf").write_bytes(build.elf(release="7.9.1-ktstr"))
        for file in ("one", "two", "three"):
            (tree / f"code/{file}.c").write_text(code.get(file, f"int {file};\n"))
        return tree

    return make


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source with two schedulers in its tools."""
    return source_tree.make_tree(tmp_path / "linux", "scx_one", "scx_two")


@pytest.fixture
def fragments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the fragments ``base`` and ``numa`` in the place of ktstr's own."""
    folder = tmp_path / "fragments"
    folder.mkdir()
    (folder / "base.config").write_text("# Several CPUs.\nCONFIG_SMP=y\n")
    (folder / "numa.config").write_text("CONFIG_NUMA=y\n")
    monkeypatch.setattr("ktstr.kernels.build.fragments.fragments_folder", lambda: folder)
    return folder


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the head of PATH with stand-ins for what only real kernels need."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("flex", "bison", "bc", "perl", "pahole"):
        script(folder / name, f"echo {name} 1.24")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def git(folder: Path, *argv: str) -> str:
    identity = ("-c", "user.name=Nobody", "-c", "user.email=nobody@nowhere.example")
    done = subprocess.run(
        ["git", *identity, "-c", "init.defaultBranch=main", "-C", str(folder), *argv],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


class Told:
    """A progress callback that keeps what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float | None]] = []

    def __call__(self, text: str, fraction: float | None) -> None:
        self.calls.append((text, fraction))

    @property
    def texts(self) -> list[str]:
        return [text for text, _ in self.calls]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def repository(make_tree: Callable[..., Path]) -> SimpleNamespace:
    """A git repository of the tree with one commit, on ``main``, and the runner of git in it."""
    tree = make_tree("repository")
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "one")
    return SimpleNamespace(path=tree, git=lambda *argv: git(tree, *argv))
