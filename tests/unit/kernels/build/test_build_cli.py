# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr kernel build`` from the outside: what is printed, where, and the exit code."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from ktstr.cli.kernel import kernel
from ktstr.kernels import KernelCache

pytestmark = pytest.mark.usefixtures("fragments", "programs")


@pytest.fixture
def ktstr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return lambda *args: CliRunner().invoke(kernel, list(args))


def test_build_list_clean(ktstr: Callable[..., Result], repository: SimpleNamespace) -> None:
    spec = f"git:{repository.path}#main"
    first = ktstr("build", spec, "--config", "base,numa", "-j", "1")
    assert first.exit_code == 0, first.output
    (entry,) = KernelCache().entries()
    lines = dict(line.split(None, 1) for line in first.stdout.splitlines())
    assert lines["release"] == "7.9.1-ktstr" and lines["config"] == "base,numa"
    assert lines["vmlinux"] == str(entry.file("vmlinux")) and lines["digest"] == entry.digest
    assert first.stdout.splitlines()[-1].startswith("built in ")
    compiling = [line for line in first.stderr.splitlines() if line.startswith("compiling")]
    assert len(compiling) <= 4, "one line per quarter, however many files there are"
    again = ktstr("build", f"{spec}+numa")
    assert again.stdout.splitlines()[-1].startswith("found in the cache in ")
    assert again.stderr == ""

    assert spec.partition("#")[0] in ktstr("list").stdout
    assert "1 removed" in ktstr("clean", "--keep", "0").stdout
    cache = KernelCache()
    (tree,) = (cache.root / "sources").iterdir()
    assert f"removed {tree.name[:12]}  source" in ktstr("clean", "--all").stdout
    assert not tree.exists()


def test_mistakes(ktstr: Callable[..., Result], make_tree: Callable[..., Path]) -> None:
    tree = make_tree(one="BROKEN\n")
    result = ktstr("build", f"path:{tree}")
    assert result.exit_code == 4
    assert "error: the build of linux 7.9.1 failed: code/one.c:3:1: error:" in result.stderr
    result = ktstr("build", "debian:7")
    assert result.exit_code == 4
    assert "unknown kernel source 'debian:7'" in result.stderr and "path:DIR" in result.stderr
    result = ktstr("build", f"path:{tree}", "--config", "nothing")
    assert result.exit_code == 4 and "no kernel configuration 'nothing'" in result.stderr
    assert ktstr("build", f"path:{tree}", "-j", "0").exit_code == 4


def test_interrupted(
    ktstr: Callable[..., Result], make_tree: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("anyio.run", interrupted)
    result = ktstr("build", f"path:{make_tree()}")
    assert result.exit_code == 130 and "goes on from here" in result.stderr
