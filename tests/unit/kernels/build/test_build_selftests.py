# SPDX-License-Identifier: GPL-2.0-only
"""The runner of the self-tests: made out of tree, once, listed without running a test."""

import stat
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels import Kernel
from ktstr.kernels.build import selftests
from ktstr.kernels.build.selftests import SUBDIR, lacking, listing, make_runner
from ktstr.kernels.build.source import SourceTree
from ktstr.kernels.features import unknown_features

BPFTOOL = """\
bootstrap:
\t@mkdir -p $(OUTPUT)bootstrap
\t@touch $(OUTPUT)bootstrap/bpftool
"""
# As the kernel's: what it makes is the runner in OUTPUT, and it links with CC.
MAKEFILE = """\
$(OUTPUT)/runner: runner.sh
\t@mkdir -p $(OUTPUT)
\t@test -f "$(VMLINUX_BTF)"
\t@echo "$(CC)" >> $(OUTPUT)/linked-with
\t@cp $< $@
\t@chmod +x $@
"""
RUNNER = """\
#!/bin/sh
echo "told: $*"
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    vmlinux = tmp_path / "vmlinux"
    vmlinux.touch()
    features = unknown_features("6.12.0", "a test")
    return Kernel("k", "6.12.0", vmlinux, vmlinux, features, "d" * 64)


@pytest.fixture
def source(tmp_path: Path) -> SourceTree:
    tree = tmp_path / "linux"
    for folder, text in (("tools/bpf/bpftool", BPFTOOL), (SUBDIR, MAKEFILE)):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "Makefile").write_text(text)
    (tree / SUBDIR / "runner.sh").write_text(RUNNER)
    return SourceTree(tree, "6.12.0", "0123456789abcdef", {})


def linked(runner: Path) -> list[str]:
    """What the runner was linked with, once for each time."""
    return (runner.parent / "linked-with").read_text().splitlines()


async def test_the_runner_is_made_once_and_outside_of_the_tree(
    kernel: Kernel, source: SourceTree, tmp_path: Path
) -> None:
    before = sorted(source.path.rglob("*"))
    runner = await make_runner(kernel, source, tmp_path / "tools")
    assert runner == tmp_path / "tools/selftests-0123456789ab/runner"
    assert runner.stat().st_mode & stat.S_IXUSR
    assert await make_runner(kernel, source, tmp_path / "tools") == runner
    assert len(linked(runner)) == 1
    assert sorted(source.path.rglob("*")) == before


async def test_another_tree_makes_another_runner(
    kernel: Kernel, source: SourceTree, tmp_path: Path
) -> None:
    own = replace(source, kept=False)
    other = replace(source, digest="fedcba9876543210")
    runners = {await make_runner(kernel, tree, tmp_path / "tools") for tree in (source, own, other)}
    assert len(runners) == 3
    # The same folder of the user's stays one, whatever was edited in it.
    edited = replace(own, digest="5555")
    assert await make_runner(kernel, edited, tmp_path / "tools") in runners


async def test_what_an_interrupted_make_left_is_not_taken_for_whole(
    kernel: Kernel, source: SourceTree, tmp_path: Path
) -> None:
    runner = await make_runner(kernel, source, tmp_path / "tools")
    makefile = source.path / SUBDIR / "Makefile"
    makefile.write_text(MAKEFILE.replace("chmod +x $@", "false"))
    (source.path / SUBDIR / "runner.sh").write_text(RUNNER + "# newer\n")
    with pytest.raises(KernelUnfit, match="does not compile"):
        await make_runner(kernel, source, tmp_path / "tools")
    runner.write_text("half of it")
    makefile.write_text(MAKEFILE)
    assert await make_runner(kernel, source, tmp_path / "tools") == runner
    assert runner.read_text() == RUNNER + "# newer\n"


async def test_two_at_once_make_it_once(kernel: Kernel, source: SourceTree, tmp_path: Path) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(make_runner, kernel, source, tmp_path / "tools")
    assert len(linked(tmp_path / "tools/selftests-0123456789ab/runner")) == 1


async def test_what_was_made_of_a_tree_that_is_gone_goes_too(
    kernel: Kernel, source: SourceTree, tmp_path: Path
) -> None:
    kept = await make_runner(kernel, source, tmp_path / "tools")
    own = replace(source, path=source.path.rename(tmp_path / "moved"), kept=False)
    there = await make_runner(kernel, own, tmp_path / "tools")
    assert not kept.exists()
    found = {path.name for path in (tmp_path / "tools").glob("selftests-*")}
    name = there.parent.name
    assert found == {name, f"{name}.log", f"{name}.tree"}


async def test_a_library_with_no_package_for_developers_is_linked_all_the_same(
    kernel: Kernel, source: SourceTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "libzstd.so.1"

    async def library(name: str) -> Path | None:
        return there if name == "libzstd.so.1" else None

    monkeypatch.setattr(selftests, "_library", library)
    runner = await make_runner(kernel, source, tmp_path / "tools")
    assert linked(runner) == [f"gcc -L{tmp_path}/tools/lib"]
    assert (tmp_path / "tools/lib/libzstd.so").readlink() == there


async def test_a_library_that_is_missing_is_named_with_its_package(
    kernel: Kernel, source: SourceTree, tmp_path: Path
) -> None:
    failing = '\t@echo "/usr/bin/ld: cannot find -lzstd: No such file"; false\n'
    (source.path / SUBDIR / "Makefile").write_text("$(OUTPUT)/runner:\n" + failing)
    with pytest.raises(HostUnfit, match="libzstd") as caught:
        await make_runner(kernel, source, tmp_path / "tools")
    assert caught.value.hint == "apt-get install libzstd-dev"


async def test_a_tree_without_such_tests_and_a_kernel_without_types(
    kernel: Kernel, source: SourceTree, tmp_path: Path
) -> None:
    with pytest.raises(KernelUnfit, match="vmlinux cannot be unpacked"):
        await make_runner(replace(kernel, vmlinux=None), source, tmp_path / "tools")
    (source.path / SUBDIR / "Makefile").unlink()
    with pytest.raises(KernelUnfit, match="has no sched_ext self-tests"):
        await make_runner(kernel, source, tmp_path / "tools")


def test_options_that_the_tests_ask_for_are_looked_for(
    kernel: Kernel, source: SourceTree, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("CONFIG_BPF=y\n# CONFIG_CGROUPS is not set\nCONFIG_TEST_BPF=m\n")
    configured = replace(kernel, config=config)
    assert lacking(configured, source) == []
    (source.path / SUBDIR / "config").write_text(
        "CONFIG_BPF=y\nCONFIG_CGROUPS=y\nCONFIG_EXT_GROUP_SCHED=y\n# CONFIG_NUMA is not set\n"
    )
    assert lacking(configured, source) == ["CONFIG_CGROUPS", "CONFIG_EXT_GROUP_SCHED"]
    # Of a kernel without its configuration nothing can be said.
    assert lacking(kernel, source) == []


@pytest.mark.parametrize(
    ("knows", "told"), [("-l", "-l"), ("-s", "-s -t \x01")], ids=["newer", "older"]
)
async def test_a_runner_lists_its_tests_as_it_can(
    kernel: Kernel, source: SourceTree, tmp_path: Path, knows: str, told: str
) -> None:
    script = f'#!/bin/sh\necho "told: $*"\n[ "$1" = {knows} ]\n'
    (source.path / SUBDIR / "runner.sh").write_text(script)
    runner = await make_runner(kernel, source, tmp_path / "tools")
    assert await listing(runner) == f"told: {told}\n"
