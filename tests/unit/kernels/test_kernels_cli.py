# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr kernel`` from the outside: what is printed, where, and the exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ktstr.cli.kernel import kernel
from ktstr.kernels import KernelCache, catalogue
from ktstr.kernels.boot_times import BootTimes


@pytest.fixture
def ktstr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return lambda *args: CliRunner().invoke(kernel, list(args))


def test_empty_cache_says_what_to_do(ktstr: Callable[..., Result]) -> None:
    result = ktstr("list")
    assert result.exit_code == 0
    assert "ktstr kernel fetch debian:7" in result.output
    assert json.loads(ktstr("list", "--json").stdout)["kernels"] == []


def test_fetch_list_clean(ktstr: Callable[..., Result], kernel_file: Callable[..., Path]) -> None:
    path = kernel_file(names=["schedule"])
    result = ktstr("fetch", f"path:{path}")
    assert result.exit_code == 0
    assert "release   7.9.1+test-cloud-amd64" in result.stdout
    assert "sched_ext       no  (sched_ext is absent" in result.stdout
    assert "examining vmlinuz" in result.stderr

    listed = ktstr("list").stdout
    assert "has     btf, pvh\n" in listed
    assert "lacks   sched_ext, virtio_console, virtio_pci, pvpanic\n" in listed
    (entry,) = json.loads(ktstr("list", "--json").stdout)["kernels"]
    assert entry["origin"] == {"path": str(path)}
    assert entry["features"]["sched_ext"] is False and entry["in_use"] is False

    assert "0 removed" in ktstr("clean").stdout
    cache = KernelCache()
    with cache.locked(entry["digest"]):
        assert "in use" in ktstr("list").stdout
        assert "in use" in ktstr("clean", "--all").stdout
    assert "1 removed" in ktstr("clean", "--keep", "0").stdout
    assert cache.entries() == []


def test_names_say_what_of_them_is_here(
    ktstr: Callable[..., Result],
    kernel_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the kernel in the cache is not what its row says, the list says so."""
    image = kernel_file(names=["schedule"])
    rows = tmp_path / "catalogue.toml"
    rows.write_text(
        f'[mine]\nspec = "path:{image}"\nhas = ["btf", "sched_ext"]\nlacks = ["pvh", "pvpanic"]\n'
        'note = "for a test"\n[absent]\nspec = "debian:99"\nnote = "never was"\n'
    )
    monkeypatch.setattr(catalogue, "kernels_folder", lambda: tmp_path)
    catalogue.named_kernels.cache_clear()
    try:
        ktstr("fetch", f"path:{image}")
        (entry,) = KernelCache().entries()
        BootTimes().add(entry.digest, 2, "tcg", 3.14)
        lines = [" ".join(line.split()) for line in ktstr("list").stdout.splitlines()]
        listed = json.loads(ktstr("list", "--json").stdout)
    finally:
        catalogue.named_kernels.cache_clear()
    assert lines[:6] == [
        "kernels with a name:",
        f"mine path:{image} 7.9.1+test-cloud-amd64 {entry.digest[:12]}",
        "for a test",
        f"not as expected: {entry.features.why_not('sched_ext')}",
        "not as expected: it has pvh",
        "absent debian:99 not here yet",
    ]
    assert lines[-1] == "boots 3.1 s (2 vCPUs, tcg)"
    mine, absent = listed["catalogue"]
    assert (mine["name"], mine["digest"]) == ("mine", entry.digest)
    assert (absent["spec"], absent["digest"]) == ("debian:99", None)
    (kernel,) = listed["kernels"]
    assert kernel["boots"] == [{"cpus": 2, "accelerator": "tcg", "median_s": 3.14, "boots": 1}]
    assert kernel["modules"] == []


def test_damage_is_listed(ktstr: Callable[..., Result], kernel_file: Callable[..., Path]) -> None:
    ktstr("fetch", str(kernel_file()))
    (entry,) = KernelCache().entries()
    (entry.path / "entry.json").write_text("{")
    assert f"{entry.digest[:12]}  damaged: its metadata is not JSON" in ktstr("list").stdout
    assert ktstr("clean").exit_code == 0
    assert not entry.path.exists()


def test_errors_go_to_stderr_with_exit_code_4(ktstr: Callable[..., Result]) -> None:
    result = ktstr("fetch", "nonsense")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("error: unknown kernel 'nonsense'")
    assert "hint: one of debian:VERSION" in result.stderr


def test_contradicting_options(ktstr: Callable[..., Result]) -> None:
    assert ktstr("clean", "--all", "--keep", "1").exit_code == 4
    assert ktstr("clean", "--keep", "-1").exit_code == 4
