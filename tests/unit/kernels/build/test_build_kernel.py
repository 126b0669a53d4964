# SPDX-License-Identifier: GPL-2.0-only
"""Builds of a tree that looks like a kernel's: cached, resumed, failing, at the same time."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels import KernelCache, open_kernel, resolve_kernel
from ktstr.kernels.build import builder
from ktstr.kernels.build.builder import Built, build_kernel, default_jobs, remove_builds
from ktstr.kernels.build.make import first_error
from ktstr.kernels.build.source import remove_unused, source_of

pytestmark = pytest.mark.usefixtures("fragments", "programs")


def objects(log: str) -> list[str]:
    return [line.split()[1] for line in log.splitlines() if line.startswith("  CC")]


def build_log(cache: KernelCache) -> str:
    (path,) = (cache.root / "builds").glob("*/build.log")
    return path.read_text()


async def test_built_then_found(cache: KernelCache, repository: SimpleNamespace, told: Any) -> None:
    spec = f"git:{repository.path}#main"
    built = await build_kernel(spec, cache=cache, progress=told)
    entry = built.entry
    commit = repository.git("rev-parse", "HEAD")
    assert built.fresh and entry.release == "7.9.1-ktstr"
    assert entry.spec == entry.origin["source"] == f"git:{repository.path}#{commit}"
    assert entry.origin["fragments"] == "base" and "pahole 1.24" in entry.origin["toolchain"]
    image, vmlinux, config = (entry.file(name) for name in ("image", "vmlinux", "config"))
    assert image is not None and vmlinux is not None and config is not None
    assert image.samefile(vmlinux) and entry.size < 1.5 * image.stat().st_size + 1000
    assert config.read_text() == "CONFIG_64BIT=y\nCONFIG_SMP=y\n", "base comes last"
    assert sorted(objects((entry.path / "build.log").read_text())) == [
        "code/one.o", "code/three.o", "code/two.o"
    ]  # fmt: skip
    assert entry.features.sched_ext is True
    assert [path.name for path in (cache.root / "builds").iterdir()] == ["counts.json"]
    texts = list(dict.fromkeys(told.texts))
    assert "configuring linux 7.9.1 (base)" in texts
    assert "compiling linux 7.9.1: 3 of about 1350 files" in texts
    assert texts.index("linking linux 7.9.1") > texts.index("configuring linux 7.9.1 (base)")

    repository.git("branch", "same")
    again = await build_kernel(f"git:{repository.path}#same", cache=cache, progress=told)
    assert not again.fresh and again.entry.digest == entry.digest


async def test_nothing_of_the_environment(
    cache: KernelCache, make_tree: Callable[..., Path], told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CC", "KCFLAGS", "LOCALVERSION", "MAKEFLAGS", "O", "ARCH"):
        monkeypatch.setenv(name, "KCFLAGS=-O0" if name == "MAKEFLAGS" else "-wrong")
    await build_kernel(f"path:{make_tree()}", cache=cache, progress=told)
    (said,) = (cache.root / "builds").glob("*/said")
    assert said.read_text() == "gcc||Thu Jan  1 00:00:00 UTC 2026|\n"


async def test_what_makes_another_kernel(
    cache: KernelCache,
    repository: SimpleNamespace,
    fragments: Path,
    programs: Path,
    tmp_path: Path,
    told: Any,
) -> None:
    async def fresh(config: str = "", suffix: str = "") -> bool:
        spec = f"git:{repository.path}#main{suffix}"
        names = config.split(",") if config else []
        return (await build_kernel(spec, cache=cache, progress=told, fragments=names)).fresh

    assert await fresh() and not await fresh()
    assert not await fresh("base")
    assert await fresh("numa") and not await fresh(suffix="+numa")
    assert not await fresh("base,numa")
    assert not await fresh(), "the same image from another recipe does not make the first forgotten"
    (fragments / "base.config").write_text("# Another comment.\nCONFIG_SMP=y\n")
    assert not await fresh(), "comments do not count"
    (fragments / "base.config").write_text("CONFIG_SMP=y\nCONFIG_64BIT=y\n")
    assert await fresh()
    (programs / "pahole").write_text("#!/bin/sh\necho v1.27\n")
    assert await fresh() and not await fresh()
    (repository.path / "code/one.c").write_text("int other;\n")
    repository.git("commit", "-qam", "two")
    assert await fresh()


async def test_a_folder_is_built_incrementally(
    cache: KernelCache, make_tree: Callable[..., Path], told: Any
) -> None:
    tree = make_tree()

    async def ask() -> Built:
        return await build_kernel(f"path:{tree}", cache=cache, progress=told)

    assert (await ask()).fresh and not (await ask()).fresh
    before = len(objects(build_log(cache)))
    (tree / "code/two.c").write_text("int changed;\n")
    os.utime(tree / "code/two.c", (4e9, 4e9))
    assert (await ask()).fresh
    assert objects(build_log(cache))[before:] == ["code/two.o"], "only what changed is compiled"
    assert not (tree / "vmlinux").exists() and not (tree / ".config").exists()
    assert len(remove_builds(cache)) == 1 and not list((cache.root / "builds").glob("*.lock"))


async def test_a_folder_built_in_place(
    cache: KernelCache, make_tree: Callable[..., Path], told: Any
) -> None:
    tree = make_tree()
    (tree / ".config").write_text("")
    with pytest.raises(KernelUnfit, match="configured in place") as caught:
        await build_kernel(f"path:{tree}", cache=cache, progress=told)
    assert caught.value.hint == f"`make mrproper` there, or give its kernel: path:{tree}/vmlinux"
    (tree / ".git").mkdir()
    with pytest.raises(KernelUnfit) as caught:
        await build_kernel(f"path:{tree}", cache=cache, progress=told)
    assert f"git:{tree}#HEAD for what is committed" in str(caught.value)
    assert not (cache.root / "builds").exists()


async def test_a_lost_option(
    cache: KernelCache, make_tree: Callable[..., Path], fragments: Path, told: Any
) -> None:
    tree = make_tree()
    (tree / "lost").write_text("CONFIG_SMP\nCONFIG_NUMA\n")
    with pytest.raises(KernelUnfit) as caught:
        await build_kernel(f"path:{tree}+numa", cache=cache, progress=told)
    assert caught.value.message == (
        "linux 7.9.1 does not take 2 options of the configuration:\n"
        "  CONFIG_SMP=y (of base) became n: nothing that it depends on is missing: see there"
        " (Kconfig:4)\n"
        "  CONFIG_NUMA=y (of numa) became n: it depends on SMP, which is not set"
        " (arch/x86/Kconfig:1)"
    )
    assert not objects(build_log(cache)), "nothing is compiled"
    (tree / "lost").write_text("CONFIG_NOTHING\n")
    assert (await build_kernel(f"path:{tree}+numa", cache=cache, progress=told)).fresh


async def test_make_that_fails(
    cache: KernelCache, make_tree: Callable[..., Path], told: Any
) -> None:
    tree = make_tree(two="BROKEN\n")
    with pytest.raises(KernelUnfit) as caught:
        await build_kernel(f"path:{tree}", cache=cache, progress=told, jobs=1)
    assert caught.value.message == (
        "the build of linux 7.9.1 failed: code/two.c:3:1: error: expected ';'"
    )
    assert caught.value.hint is not None and "build.log" in caught.value.hint
    made = len(objects(build_log(cache)))
    (tree / "code/two.c").write_text("int two;\n")
    await build_kernel(f"path:{tree}", cache=cache, progress=told, jobs=1)
    log = build_log(cache)
    assert len(objects(log)) <= made + 2 and objects(log).count("code/one.o") == 1, "it goes on"

    (tree / "code/two.c").write_text("int three;\n")
    (tree / "refuse").touch()
    shutil.rmtree(cache.root / "builds")
    with pytest.raises(KernelUnfit, match=r"`make olddefconfig` of linux 7\.9\.1 failed: .*syntax"):
        await build_kernel(f"path:{tree}", cache=cache, progress=told)


async def test_make_in_the_source_meanwhile(
    cache: KernelCache, make_tree: Callable[..., Path]
) -> None:
    tree = make_tree(two="BROKEN\n")

    def spoil(text: str, fraction: float | None) -> None:
        (tree / "include/config").mkdir(parents=True, exist_ok=True)

    with pytest.raises(KernelUnfit, match=r"somebody ran make in .*: include/config is there"):
        await build_kernel(f"path:{tree}", cache=cache, progress=spoil)


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("  CC a.o\na.c:1:2: error: one\nb.c:2:3: error: two\nmake: *** [x] Error 1\n",
         "a.c:1:2: error: one"),
        ("make[2]: *** [Makefile:1: x] Error 2\nq.h:3: fatal error: y.h: No such file\n",
         "q.h:3: fatal error: y.h: No such file"),
        ("  LD x\nld: a.o: undefined thing\nmake: *** [x] Error 1\n", "ld: a.o: undefined thing"),
        ("make[1]: *** No rule to make target 'a'.  Stop.\n",
         "*** No rule to make target 'a'.  Stop."),
        ("FAILED: load BTF from vmlinux: Invalid argument\nmake: *** [v] Error 255\n",
         "FAILED: load BTF from vmlinux: Invalid argument"),
        ("  CC a.o\nnothing of the kind\nmake[1]: *** [a:1: b] Error 1\nmake: *** [c] Error 2\n",
         "nothing of the kind"),
        ("something else\n", "something else"),
        ("", "make printed nothing"),
    ],
)  # fmt: skip
def test_the_first_error(log: str, told: str) -> None:
    assert first_error(log) == told


async def test_an_interrupted_build_goes_on(
    cache: KernelCache, repository: SimpleNamespace, tmp_path: Path, told: Any
) -> None:
    (repository.path / "code/two.c").write_text("WAIT\n")
    (repository.path / "hold").touch()
    repository.git("add", "-A")
    repository.git("commit", "-qm", "held")
    spec = f"git:{repository.path}#main"
    with anyio.CancelScope() as scope:

        def stop_when_under_way(text: str, fraction: float | None) -> None:
            if text.startswith("compiling linux 7.9.1: 3 of"):
                scope.cancel()

        await build_kernel(spec, cache=cache, progress=stop_when_under_way, jobs=1)
    assert scope.cancelled_caught
    assert cache.entries() == []
    first = objects(build_log(cache))
    (home,) = (cache.root / "sources").iterdir()
    (home / "tree/hold").unlink()
    built = await build_kernel(spec, cache=cache, progress=told, jobs=1)
    made = objects((built.entry.path / "build.log").read_text())
    assert made[: len(first)] == first and made.count("code/one.o") == 1, made
    assert not any(text.startswith("configuring") for text in told.texts)
    compiling = [text for text in told.texts if text.startswith("compiling")]
    assert compiling[0] == f"compiling linux 7.9.1: {len(first)} of about 1350 files"


async def test_a_source_stays_while_it_is_built(
    cache: KernelCache, repository: SimpleNamespace
) -> None:
    removed = []

    def try_to_remove(text: str, fraction: float | None) -> None:
        if text.startswith("compiling"):
            removed.extend([*remove_unused(cache), *remove_builds(cache)])

    await build_kernel(f"git:{repository.path}#main", cache=cache, progress=try_to_remove)
    assert removed == [] and len(remove_unused(cache)) == 1


async def test_two_at_a_time_build_once(
    cache: KernelCache, make_tree: Callable[..., Path], told: Any
) -> None:
    tree, fresh = make_tree(), []

    async def ask() -> None:
        fresh.append((await build_kernel(f"path:{tree}", cache=cache, progress=told)).fresh)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
    assert sorted(fresh) == [False, False, True]
    assert len(objects(build_log(cache))) == 3


async def test_the_bar_learns(
    cache: KernelCache, make_tree: Callable[..., Path], told: Any
) -> None:
    await build_kernel(f"path:{make_tree('a')}", cache=cache, progress=told)
    assert json.loads((cache.root / "builds/counts.json").read_text()) == {"7.9 base": 3}
    told.calls.clear()
    await build_kernel(f"path:{make_tree('b', one='int x;')}", cache=cache, progress=told)
    compiling = [(t, f) for t, f in told.calls if t.startswith("compiling")]
    assert compiling[0] == ("compiling linux 7.9.1: 0 of about 3 files", 0.0)
    assert compiling[-1] == ("compiling linux 7.9.1: 3 of about 3 files", 0.99)


async def test_a_run_builds_what_it_names(
    cache: KernelCache, repository: SimpleNamespace, told: Any
) -> None:
    spec = f"git:{repository.path}#main"
    async with open_kernel(f"{spec}+numa", cache=cache, progress=told) as kernel:
        assert kernel.spec == f"{spec}+numa" and kernel.release == "7.9.1-ktstr"
        assert kernel.vmlinux is not None and kernel.config is not None
        assert "CONFIG_NUMA=y" in kernel.config.read_text()
        assert cache.clean()[0] == [], "it is in use"
        tree = await source_of(kernel, cache=cache, progress=told)
        assert tree is not None and tree.kept and (tree.path / "code/one.c").exists()
        shutil.rmtree(tree.path.parent)
        again = await source_of(kernel, cache=cache, progress=told)
        assert again is not None and again.path == tree.path, "it is fetched again"
    assert "compiling" in " ".join(told.texts)
    with pytest.raises(KernelUnfit, match=r"will not do: .*virtio"):
        (repository.path / "elf").write_bytes(
            (repository.path / "elf").read_bytes().replace(b"virtcons_probe", b"virtcons_prob_")
        )
        repository.git("commit", "-qam", "two")
        await resolve_kernel(spec, cache=cache, need=("virtio_console",))
    with pytest.raises(KernelUnfit, match="names no repository"):
        await resolve_kernel("git:nowhere", cache=cache)


async def test_a_folder_as_a_kernel(
    cache: KernelCache, make_tree: Callable[..., Path], tmp_path: Path
) -> None:
    kernel = await resolve_kernel(f"path:{make_tree('a+b')}", cache=cache)
    assert kernel.release == "7.9.1-ktstr"
    with pytest.raises(KernelUnfit, match="is a folder, not a kernel image"):
        await resolve_kernel(f"path:{tmp_path}", cache=cache)


async def test_a_damaged_entry(
    cache: KernelCache, make_tree: Callable[..., Path], told: Any
) -> None:
    spec = f"path:{make_tree()}"
    entry = (await build_kernel(spec, cache=cache, progress=told)).entry
    vmlinux = entry.file("vmlinux")
    assert vmlinux is not None
    vmlinux.unlink()
    built = await build_kernel(spec, cache=cache, progress=told)
    vmlinux = built.entry.file("vmlinux")
    assert vmlinux is not None and built.entry.digest == entry.digest
    assert cache.find(entry.digest) is not None


async def test_debug_information(
    cache: KernelCache,
    make_tree: Callable[..., Path],
    fragments: Path,
    programs: Path,
    told: Any,
) -> None:
    (fragments / "debug.config").write_text("CONFIG_64BIT=y\n")
    script = programs / "objcopy"
    script.write_text('#!/bin/sh\ntest "$1" = --strip-debug && { cat "$2"; echo; } > "$3"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    tree = make_tree()
    elf = (tree / "elf").read_bytes()
    plain = (await build_kernel(f"path:{tree}", cache=cache, progress=told)).entry
    whole = (await build_kernel(f"path:{tree}+debug", cache=cache, progress=told)).entry
    assert (plain.path / "vmlinux").read_bytes() == elf + b"\n", "stripped"
    assert (whole.path / "vmlinux").read_bytes() == elf, "kept as it was built"


async def test_what_this_machine_lacks(
    cache: KernelCache,
    make_tree: Callable[..., Path],
    programs: Path,
    told: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = f"path:{make_tree()}"
    monkeypatch.setattr(builder, "_MINIMUM_FREE", 1 << 60)
    with pytest.raises(HostUnfit, match="a build takes") as caught:
        await build_kernel(spec, cache=cache, progress=told)
    monkeypatch.undo()
    monkeypatch.setattr(
        "ktstr.kernels.build.toolchain.HEADERS", {"absent/a.h": "liba-dev", "stdio.h": "libc"}
    )
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(HostUnfit, match=r"needs absent/a\.h, not") as caught:
        await build_kernel(spec, cache=cache, progress=told)
    assert caught.value.hint == "sudo apt-get install liba-dev"
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(HostUnfit, match="needs make, gcc, ld, objcopy, xz, not") as caught:
        await build_kernel(spec, cache=cache, progress=told)
    assert caught.value.hint == "sudo apt-get install binutils gcc make xz-utils"


def test_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    assert default_jobs() in (1, 2, 3)
    monkeypatch.setattr(builder, "_JOB_BYTES", 1 << 60)
    assert default_jobs() == 1
    monkeypatch.setattr(builder, "_JOB_BYTES", 1)
    assert default_jobs() == 3
