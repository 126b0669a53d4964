# SPDX-License-Identifier: GPL-2.0-only
"""Schedulers of a kernel's source: made once, made again when it changed, and what is lacking."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.errors import KernelLacks, KernelUnfit
from ktstr.kernels.build.schedulers import all_schedulers, available, kernel_schedulers, tree_around
from ktstr.kernels.build.source import SourceTree
from ktstr.kernels.cache import KernelCache
from ktstr.kernels.kernel import Kernel, KernelFeatures

UNKNOWN = KernelFeatures("7.9.1", None, True, True, True, True, True, True, None)


@pytest.fixture
def cache(tmp_path: Path) -> KernelCache:
    return KernelCache(tmp_path / "cache")


@pytest.fixture
def fetched(tmp_path: Path) -> Kernel:
    """A kernel that lies elsewhere than its source."""
    vmlinux = tmp_path / "entry" / "vmlinux"
    vmlinux.parent.mkdir()
    vmlinux.touch()
    return Kernel("debian:7.9", "7.9.1", vmlinux, vmlinux, UNKNOWN, "ab" * 32)


@pytest.fixture
def built(tree: Path) -> Kernel:
    """A kernel that lies where it was built."""
    vmlinux = tree / "vmlinux"
    vmlinux.touch()
    return Kernel(f"path:{vmlinux}", "7.9.1", vmlinux, vmlinux, UNKNOWN, "cd" * 32)


class Finder:
    """Finds one tree, and counts how often it was asked."""

    def __init__(self, tree: Path | None) -> None:
        self.tree = tree
        self.asked = 0

    async def __call__(self, kernel: Kernel, **_: object) -> SourceTree | None:
        self.asked += 1
        return self.tree and SourceTree(self.tree, "7.9.1", "ef" * 32, {}, kept=False)


async def test_they_are_made_into_the_kernels_cache_entry_and_only_once(
    cache: KernelCache, fetched: Kernel, tree: Path
) -> None:
    finder = Finder(tree)
    names = ["scx_two", "scx_one", "scx_two"]
    made = await kernel_schedulers(fetched, names, cache=cache, find_source=finder)
    (where,) = cache.tools(fetched.digest).glob("sched_ext-*/bin")
    assert made == {"scx_one": where / "scx_one", "scx_two": where / "scx_two"}
    assert made["scx_two"].read_text().startswith("program of scx_two\n")
    assert made["scx_two"].stat().st_mode & 0o777 == 0o755
    before = made["scx_one"].stat().st_mtime_ns
    again = await kernel_schedulers(fetched, ["scx_one"], cache=cache, find_source=finder)
    assert again["scx_one"].stat().st_mtime_ns == before
    assert finder.asked == 1


async def test_a_tree_that_is_worked_in_is_made_again_when_it_changed(
    cache: KernelCache, built: Kernel, tree: Path
) -> None:
    assert tree_around(built) == tree
    made = await kernel_schedulers(built, ["scx_one"], cache=cache)
    before = made["scx_one"].stat().st_mtime_ns
    same = await kernel_schedulers(built, ["scx_one"], cache=cache)
    assert same["scx_one"].stat().st_mtime_ns == before
    (tree / "tools/sched_ext/scx_one.c").write_text("program of scx_one, changed\n")
    changed = await kernel_schedulers(built, ["scx_one"], cache=cache)
    assert changed["scx_one"].read_text().startswith("program of scx_one, changed\n")


async def test_a_bzimage_lies_deeper_in_its_tree(built: Kernel, tree: Path, tmp_path: Path) -> None:
    image = tree / "arch/x86/boot/bzImage"
    assert tree_around(replace(built, image=image)) == tree
    assert tree_around(replace(built, image=tmp_path / "vmlinux")) is None
    assert tree_around(replace(built, image=Path("/vmlinux"))) is None


async def test_a_scheduler_that_the_source_has_not_is_named_with_those_it_has(
    cache: KernelCache, fetched: Kernel, tree: Path
) -> None:
    (tree / "tools/sched_ext/scx_half.bpf.c").touch()
    assert available(tree) == ["scx_one", "scx_two"]
    with pytest.raises(KernelUnfit) as raised:
        await kernel_schedulers(fetched, ["scx_tow"], cache=cache, find_source=Finder(tree))
    assert raised.value.message == "the source of kernel 7.9.1 has no scheduler 'scx_tow'"
    assert raised.value.hint == "it has scx_one, scx_two; did you mean scx_two?"
    assert not cache.tools(fetched.digest).exists()
    assert not isinstance(raised.value, KernelLacks)  # a mistake, which no matrix may skip


async def test_a_scheduler_that_other_kernels_have_is_what_this_one_lacks(
    cache: KernelCache, fetched: Kernel, tree: Path
) -> None:
    with pytest.raises(KernelLacks, match="has no scheduler 'scx_qmap'"):
        await kernel_schedulers(fetched, ["scx_qmap"], cache=cache, find_source=Finder(tree))


async def test_a_source_from_before_sched_ext_says_so(
    cache: KernelCache, fetched: Kernel, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    with pytest.raises(KernelUnfit) as raised:
        await kernel_schedulers(fetched, ["scx_one"], cache=cache, find_source=Finder(old))
    assert raised.value.hint == "it has no tools/sched_ext"


async def test_without_a_source_or_types_nothing_can_be_made(
    cache: KernelCache, fetched: Kernel, tree: Path
) -> None:
    with pytest.raises(KernelUnfit, match=r"the source of kernel 7\.9\.1 is not at hand"):
        await kernel_schedulers(fetched, ["scx_one"], cache=cache, find_source=Finder(None))
    packed = replace(fetched, vmlinux=None)
    with pytest.raises(KernelUnfit, match="could not be unpacked"):
        await kernel_schedulers(packed, ["scx_one"], cache=cache, find_source=Finder(tree))


async def test_all_that_can_be_made_are_and_the_others_say_why_not(
    cache: KernelCache, fetched: Kernel, tree: Path
) -> None:
    (tree / "tools/sched_ext/scx_one.c").write_text("error: not today\n")
    made, failed = await all_schedulers(fetched, cache=cache, find_source=Finder(tree))
    assert list(made) == ["scx_two"] and made["scx_two"].is_file()
    assert list(failed) == ["scx_one"] and "not today" in failed["scx_one"]
    without = replace(fetched, features=replace(UNKNOWN, sched_ext=False))
    assert await all_schedulers(without, cache=cache, find_source=Finder(tree)) == ({}, {})
    assert await all_schedulers(fetched, cache=cache, find_source=Finder(None)) == ({}, {})


async def test_half_a_program_is_not_taken_for_one(
    cache: KernelCache, fetched: Kernel, tree: Path
) -> None:
    source = tree / "tools/sched_ext/scx_one.c"
    source.write_text("error: not yet\n")
    finder = Finder(tree)
    with pytest.raises(KernelUnfit, match="not yet"):
        await kernel_schedulers(fetched, ["scx_one"], cache=cache, find_source=finder)
    assert not [*(cache.tools(fetched.digest)).glob("*/bin/*")]
    source.write_text("program of scx_one\n")
    made = await kernel_schedulers(fetched, ["scx_one"], cache=cache, find_source=finder)
    assert made["scx_one"].is_file()


async def test_another_compiler_makes_them_anew(
    cache: KernelCache, fetched: Kernel, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await kernel_schedulers(fetched, ["scx_one"], cache=cache, find_source=Finder(tree))
    newer = tmp_path / "bin/clang-19"
    newer.parent.mkdir()
    newer.write_text("#!/bin/sh\necho clang version 99\n")
    newer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{newer.parent}:{os.environ['PATH']}")
    new = await kernel_schedulers(fetched, ["scx_one"], cache=cache, find_source=Finder(tree))
    assert new["scx_one"] != old["scx_one"]
    assert new["scx_one"].is_file() and old["scx_one"].is_file()
    monkeypatch.undo()
    again = await kernel_schedulers(fetched, ["scx_one"], cache=cache, find_source=Finder(None))
    assert again == old
