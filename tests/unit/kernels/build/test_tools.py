# SPDX-License-Identifier: GPL-2.0-only
"""Programs of a kernel source are made out of tree, for that kernel, with nothing inherited."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from tests.unit.kernels.build.source_tree import listing

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels.build import tools
from ktstr.kernels.build.tools import make_tool


@pytest.fixture
def vmlinux(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinux"
    path.touch()
    return path


async def make(tree: Path, vmlinux: Path, out: Path, *args: str) -> Path:
    return await make_tool(tree, "tools/sched_ext", vmlinux=vmlinux, out=out, args=args)


async def test_make_writes_into_its_own_folder_and_hears_nothing_of_ours(
    tree: Path, vmlinux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAKEFLAGS", "CFLAGS", "O", "OUTPUT", "VMLINUX_BTF", "ARCH", "LLVM"):
        monkeypatch.setenv(name, "from-outside")
    monkeypatch.setenv("MAKEFLAGS", "n")
    before = listing(tree)
    monkeypatch.chdir(tmp_path)
    out = await make(tree, Path("vmlinux"), Path("tools/sched_ext"), "scx_one")
    assert out == tmp_path / "tools/sched_ext"
    assert listing(tree) == before
    assert [p.name for p in (out / "build/bin").iterdir()] == ["scx_one"]
    program, made_with = (out / "build/bin/scx_one").read_text().splitlines()
    assert program == "program of scx_one"
    words = made_with.split()
    assert words[0] in tools.CLANGS and words[-1] == str(out)
    assert "from-outside" not in made_with
    log = (tmp_path / "tools/sched_ext.log").read_text()
    assert f"$ make -C {tree}/tools/sched_ext" in log and "CC " in log


async def test_bpftool_is_made_once_for_all_that_is_beside_it(
    tree: Path, vmlinux: Path, tmp_path: Path
) -> None:
    for out, name in (("a", "scx_one"), ("b", "scx_two")):
        await make(tree, vmlinux, tmp_path / "tools" / out, name)
    assert (tmp_path / "tools/bpftool/bootstrap/bpftool").read_text() == "made\n"


async def test_two_at_a_time_take_turns(tree: Path, vmlinux: Path, tmp_path: Path) -> None:
    async with anyio.create_task_group() as group:
        for out, name in (("a", "scx_one"), ("a", "scx_two"), ("b", "scx_one")):
            group.start_soon(make, tree, vmlinux, tmp_path / "tools" / out, name)
    assert (tmp_path / "tools/bpftool/bootstrap/bpftool").read_text() == "made\n"
    assert len([*(tmp_path / "tools").glob("?/build/bin/*")]) == 3


async def test_a_compile_error_is_told_with_the_end_of_the_log(
    tree: Path, vmlinux: Path, tmp_path: Path
) -> None:
    lines = "".join(f"error: number {n}\n" for n in range(100))
    (tree / "tools/sched_ext/scx_one.c").write_text(lines)
    with pytest.raises(KernelUnfit) as raised:
        await make(tree, vmlinux, tmp_path / "tools/sched_ext", "scx_one")
    message = raised.value.message
    assert "tools/sched_ext of the kernel source does not compile:" in message
    assert "error: number 99" in message and "error: number 80\n" not in message
    assert str(tmp_path / "tools/sched_ext.log") in message
    assert not (tmp_path / "tools/sched_ext/build/bin/scx_one").exists()


async def test_a_header_that_is_not_installed_is_the_hosts_fault(
    tree: Path, vmlinux: Path, tmp_path: Path
) -> None:
    text = "x.c:1:10: fatal error: libelf.h: No such file or directory\n"
    (tree / "tools/sched_ext/scx_one.c").write_text(text)
    with pytest.raises(HostUnfit) as raised:
        await make(tree, vmlinux, tmp_path / "tools/sched_ext", "scx_one")
    assert "libelf-dev" in str(raised.value.hint)


async def test_a_tree_without_that_folder_is_refused(
    tree: Path, vmlinux: Path, tmp_path: Path
) -> None:
    with pytest.raises(KernelUnfit, match="has no tools/testing"):
        await make_tool(tree, "tools/testing", vmlinux=vmlinux, out=tmp_path / "out")


async def test_what_is_not_installed_is_named(
    tree: Path, vmlinux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/make").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(HostUnfit, match="gcc and clang-19 must be on this machine") as raised:
        await make(tree, vmlinux, tmp_path / "tools/sched_ext")
    assert raised.value.hint == "apt-get install gcc clang-19"


async def test_a_make_that_is_given_up_leaves_no_process(
    tree: Path, vmlinux: Path, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    recipe = f"scx_one:\n\t@echo $$$$ > {pid}.new; mv {pid}.new {pid}; sleep 1000\n"
    (tree / "tools/sched_ext/Makefile").write_text(recipe)
    async with anyio.create_task_group() as group:
        group.start_soon(make, tree, vmlinux, tmp_path / "tools/sched_ext", "scx_one")
        await _until(pid.exists)
        group.cancel_scope.cancel()
    await _until(lambda: not _lives(int(pid.read_text())))


async def _until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - nothing in this process would set an event
            await anyio.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_make_without_end_is_ended(
    tree: Path, vmlinux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "_MAKE_SECONDS", 0.5)
    (tree / "tools/sched_ext/Makefile").write_text("scx_one:\n\t@sleep 1000\n")
    with pytest.raises(KernelUnfit, match="did not end within"):
        await make(tree, vmlinux, tmp_path / "tools/sched_ext", "scx_one")


async def test_who_waits_is_told_what_is_being_made(
    tree: Path, vmlinux: Path, tmp_path: Path
) -> None:
    told: list[tuple[str, float | None]] = []
    await make_tool(
        tree,
        "tools/sched_ext",
        vmlinux=vmlinux,
        out=tmp_path / "tools/sched_ext",
        args=["scx_one"],
        progress=lambda text, fraction: told.append((text, fraction)),
    )
    assert told == [("making tools/bpf/bpftool", None), ("making tools/sched_ext", None)]
