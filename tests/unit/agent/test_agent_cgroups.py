# SPDX-License-Identifier: GPL-2.0-only
"""What is written where, with a folder that stands for cgroup v2."""

import os
import time
from pathlib import Path

import pytest

from agent import cgroups as module
from agent.cgroups import HOST, Cgroups
from agent.loop import Loop


class Tree:
    """A folder with the control files that the kernel would make."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.wrote: list[tuple[str, str]] = []
        mkdir, remove = os.mkdir, os.rmdir

        def make(path: str) -> None:
            mkdir(path)
            Path(path, "cgroup.events").write_text("populated 0\nfrozen 0\n")

        def write(path: str, text: str) -> None:
            self.wrote.append((str(Path(path).relative_to(root)), text))
            if path.endswith("cgroup.freeze") and self.freezes:
                Path(path).with_name("cgroup.events").write_text(f"frozen {text}\n")

        def rmdir(path: str) -> None:
            Path(path, "cgroup.events").unlink()
            remove(path)

        self.freezes = True
        monkeypatch.setattr(module, "write_text", write)
        monkeypatch.setattr(module.os, "mkdir", make)
        monkeypatch.setattr(module.os, "rmdir", rmdir)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


@pytest.fixture
def cgroups(tree: Tree, loop: Loop) -> Cgroups:
    return Cgroups(loop, root=str(tree.root), controllers="+cpu")


def test_the_parent_is_made_once_with_control_all_the_way_down(tree: Tree, loop: Loop) -> None:
    made = Cgroups(loop, root=str(tree.root), controllers="+cpu", parent="/a/b")
    made.make_parent()
    made.make_parent()
    assert tree.wrote == [
        ("cgroup.subtree_control", "+cpu"),
        ("a/cgroup.subtree_control", "+cpu"),
        ("a/b/cgroup.subtree_control", "+cpu"),
    ]
    made.create("x")
    assert made.path("x") == f"{tree.root}/a/b/x"
    assert made.path(HOST) == str(tree.root)


def test_inner_groups_are_controlled_only_where_that_is_asked_for(
    tree: Tree, cgroups: Cgroups
) -> None:
    for name in ("a", "a/b", "a/b/c"):
        cgroups.create(name)
    tree.wrote.clear()
    cgroups.set_weight("a", 5)
    assert tree.wrote == [("ktstr/a/cpu.weight", "5")]
    tree.wrote.clear()
    cgroups.set_cpu_max("a/b/c", "1000 2000")
    cgroups.set_cpus("a/b", "1")
    assert tree.wrote == [
        ("ktstr/a/cgroup.subtree_control", "+cpu"),
        ("ktstr/a/b/cgroup.subtree_control", "+cpu"),
        ("ktstr/a/b/c/cpu.max", "1000 2000"),
        ("ktstr/a/b/cpuset.cpus", "1\n"),
    ]


def test_a_group_goes_with_all_inside_and_is_new_when_made_again(
    tree: Tree, cgroups: Cgroups
) -> None:
    for name in ("a", "a/b", "a/b/c", "ab"):
        cgroups.create(name)
    cgroups.set_weight("a/b", 5)
    cgroups.remove("a")
    assert cgroups.names() == {"ab"}
    cgroups.create("a")
    cgroups.create("a/b")
    tree.wrote.clear()
    cgroups.set_weight("a/b", 5)
    assert ("ktstr/a/cgroup.subtree_control", "+cpu") in tree.wrote


def test_freezing_waits_until_everything_stands(
    tree: Tree, cgroups: Cgroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroups.create("a")
    cgroups.create("b")
    tree.wrote.clear()
    cgroups.freeze("a")
    cgroups.freeze("b")
    cgroups.thaw("b")
    cgroups.thaw_all()
    cgroups.thaw_all()
    assert tree.wrote == [
        ("ktstr/a/cgroup.freeze", "1"),
        ("ktstr/b/cgroup.freeze", "1"),
        ("ktstr/b/cgroup.freeze", "0"),
        ("ktstr/a/cgroup.freeze", "0"),
    ]
    tree.freezes = False
    monkeypatch.setattr(module, "FREEZE_S", 0.02)
    began = time.monotonic()
    with pytest.raises(ValueError, match="tasks of 'a' still run"):
        cgroups.freeze("a")
    assert time.monotonic() - began >= 0.02
