# SPDX-License-Identifier: GPL-2.0-only
"""From a specification to a kernel: files, this machine, Debian; and every way it can fail."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels import KernelCache, open_kernel, resolve_kernel
from ktstr.kernels import resolve as resolve_module
from ktstr.kernels.apt import AptState

if TYPE_CHECKING:
    from conftest import Archive

NEW, OLD = "7.9.1+deb14-cloud-amd64", "7.8.3+deb13-cloud-amd64"
EEVDF = "6.12.9+deb12-cloud-amd64"


@pytest.fixture
def cache(tmp_path: Path) -> KernelCache:
    return KernelCache(tmp_path / "kernels")


async def test_bzimage_from_a_path(cache: KernelCache, kernel_file: Callable[..., Path]) -> None:
    path = kernel_file(compression="xz")
    kernel = await resolve_kernel(f"path:{path}", cache=cache)
    assert kernel.release == "7.9.1+test-cloud-amd64"
    assert kernel.features.sched_ext is True and kernel.features.compression == "xz"
    assert kernel.image.read_bytes() == path.read_bytes()
    assert kernel.image.is_relative_to(cache.root), "a rebuilt kernel must not change under a run"
    assert kernel.vmlinux is not None and kernel.vmlinux.read_bytes()[:4] == b"\x7fELF"
    assert kernel.notes == ()
    path.write_bytes(b"rebuilt")
    assert kernel.image.read_bytes() != b"rebuilt"


async def test_plain_and_relative_paths(
    cache: KernelCache, kernel_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kernel_file()
    first = await resolve_kernel(str(path), cache=cache)
    monkeypatch.chdir(path.parent)
    second = await resolve_kernel("vmlinuz", cache=cache)
    third = await resolve_kernel("path:./vmlinuz", cache=cache)
    assert first.digest == second.digest == third.digest
    assert len(cache.entries()) == 1


async def test_vmlinux_stays_where_it_is(
    cache: KernelCache, build: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(build.elf())
    for _ in range(2):
        kernel = await resolve_kernel(f"path:{path}", cache=cache)
        assert kernel.image == kernel.vmlinux == path
        assert kernel.features.build_id == build.build_id.hex()
        assert kernel.features.compression == "none"
    assert cache.entries()[0].size == 0


async def test_needed_features(cache: KernelCache, kernel_file: Callable[..., Path]) -> None:
    path = kernel_file(names=["schedule"])
    with pytest.raises(KernelUnfit, match="CONFIG_SCHED_CLASS_EXT") as caught:
        await resolve_kernel(f"path:{path}", cache=cache)
    assert caught.value.hint == "debian:7 has sched_ext"
    kernel = await resolve_kernel(f"path:{path}", cache=cache, need=())
    assert kernel.features.sched_ext is False
    with pytest.raises(KernelUnfit, match="CONFIG_PVPANIC_PCI"):
        await resolve_kernel(f"path:{path}", cache=cache, need=("pvpanic",))


async def test_unknown_features_pass_with_a_note(
    cache: KernelCache, build: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(build.bzimage(b"\x01\x02\x03\x04 a new format"))
    kernel = await resolve_kernel(f"path:{path}", cache=cache)
    assert kernel.vmlinux is None and kernel.features.sched_ext is None
    assert "01 02 03 04" in kernel.notes[0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nonsense", "unknown kernel 'nonsense'"),
        ("build:7", "unknown kernel 'build:7'"),
        ("path:/no/such/file", "No such file"),
        ("path:/dev/null", "no kernel image"),
        ("path:/bin/sh", "no kernel release"),
        ("path:/etc/passwd", "not an ELF file"),
        ("debian:", "names no version"),
        ("debian:../7", "names no version"),
    ],
)
async def test_specifications_that_mean_nothing(
    cache: KernelCache, spec: str, message: str
) -> None:
    with pytest.raises(KernelUnfit, match=message) as caught:
        await resolve_kernel(spec, cache=cache)
    assert int(caught.value.exit_code) == 4
    assert cache.entries() == []


async def test_folder_points_at_the_image_inside(cache: KernelCache, tmp_path: Path) -> None:
    image = tmp_path / "linux/arch/x86/boot/bzImage"
    image.parent.mkdir(parents=True)
    image.touch()
    with pytest.raises(KernelUnfit, match="is a folder") as caught:
        await resolve_kernel(str(tmp_path / "linux"), cache=cache)
    assert caught.value.hint == f"path:{image}"


async def test_truncated_image(cache: KernelCache, kernel_file: Callable[..., Path]) -> None:
    path = kernel_file()
    os.truncate(path, path.stat().st_size - 500)
    with pytest.raises(KernelUnfit, match="cut short"):
        await resolve_kernel(f"path:{path}", cache=cache)
    assert list((cache.root / "staging").iterdir()) == []


async def test_host_absent_and_present(
    cache: KernelCache, kernel_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = kernel_file("image").parent / "boot"
    images: list[Path] = [boot / "vmlinuz-x"]
    monkeypatch.setattr(resolve_module, "host_images", lambda release: tuple(images))
    with pytest.raises(KernelUnfit, match="is not on this machine: none of") as caught:
        await resolve_kernel("host", cache=cache)
    assert os.uname().release in caught.value.message
    boot.mkdir()
    kernel_file("boot/vmlinuz-x")
    kernel = await resolve_kernel("host", cache=cache)
    assert kernel.spec == "host" and cache.entries()[0].origin == {"host": str(images[0])}


async def test_unreadable_image_says_how_to_make_it_readable(
    cache: KernelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "vmlinuz").write_bytes(b"x")
    monkeypatch.setattr("ktstr.kernels.prepare.sha256_of", denied)
    with pytest.raises(KernelUnfit, match="Permission denied") as caught:
        await resolve_kernel(str(tmp_path / "vmlinuz"), cache=cache)
    assert "sudo install" in (caught.value.hint or "")


@pytest.fixture
def debian(archive: "Archive", cache: KernelCache, build: SimpleNamespace) -> AptState:
    """Three suites: one kernel in each, of which only the middle one is signed and has scx."""

    def image(release: str, **elf: Any) -> bytes:
        raw = build.compress("gzip", build.elf(release=release, **elf))
        return bytes(build.bzimage(raw, release=release))

    archive.add_kernel("sid", NEW, image(NEW, names=["schedule"]))
    archive.add(
        "sid",
        f"linux-base-{NEW}",
        "1.0-1",
        {f"usr/lib/modules/{NEW}/config": b"CONFIG_PVPANIC_PCI=m\n"},
    )
    archive.add_kernel("trixie-backports", OLD, image(OLD))
    archive.add_kernel("bookworm-backports", EEVDF, image(EEVDF, names=["schedule"]))
    archive.publish()
    return AptState(cache.apt_root, etc_apt=archive.etc_apt)


async def test_debian_takes_the_newest_that_verifies(cache: KernelCache, debian: AptState) -> None:
    stages: list[str] = []
    kernel = await resolve_kernel(
        "debian:7", cache=cache, apt=debian, progress=lambda stage, _: stages.append(stage)
    )
    assert kernel.release == OLD
    assert kernel.notes[0].startswith(f"passed over {NEW}: sched_ext is absent")
    assert stages[0] == "reading the package index"
    assert f"unpacking and examining {OLD}" in stages
    by_release = {entry.release: entry for entry in cache.entries()}
    assert by_release[OLD].origin["suite"] == "trixie-backports"
    pvpanic = by_release[NEW].features.why_not("pvpanic")
    assert pvpanic == (
        "pvpanic is absent: CONFIG_PVPANIC_PCI=m: the driver is a module, not built in"
    )
    assert by_release[NEW].file("config") is not None
    assert list((cache.root / "staging").iterdir()) == []


async def test_second_use_runs_nothing(
    cache: KernelCache, debian: AptState, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await resolve_kernel("debian:7", cache=cache, apt=debian)
    monkeypatch.setenv("PATH", "/nonexistent")
    for spec in ("debian:7", "debian:7.8", "debian:7.8.3", f"debian:{OLD}"):
        again = await resolve_kernel(spec, cache=cache, apt=debian)
        assert (again.image, again.digest) == (first.image, first.digest)


async def test_debian_without_sched_ext(cache: KernelCache, debian: AptState) -> None:
    with pytest.raises(KernelUnfit, match=rf"debian:6\.12: no kernel.*\n  {EEVDF[:6]}"):
        await resolve_kernel("debian:6.12", cache=cache, apt=debian)
    kernel = await resolve_kernel("debian:6.12", cache=cache, apt=debian, need=())
    assert kernel.release == EEVDF


async def test_debian_unknown_version_names_the_closest(
    cache: KernelCache, debian: AptState
) -> None:
    with pytest.raises(KernelUnfit, match=r"debian:7\.5: there is no") as caught:
        await resolve_kernel("debian:7.5", cache=cache, apt=debian)
    assert caught.value.hint == ("closest: 6.12.9; the newest of each series: 7.9.1, 7.8.3, 6.12.9")


async def test_offline_uses_the_cache_and_says_so(
    cache: KernelCache, debian: AptState, archive: "Archive"
) -> None:
    await resolve_kernel("debian:7.8.3", cache=cache, apt=debian)
    shutil.rmtree(archive.root)
    days_ago = time.time() - 5 * 86400
    os.utime(debian.root / "refreshed", (days_ago, days_ago))
    kernel = await resolve_kernel("debian:7", cache=cache, apt=debian)
    assert kernel.release == OLD
    assert "5.0 days old and was not refreshed" in kernel.notes[0]
    assert "a kernel from the cache is used" in kernel.notes[1]
    shutil.rmtree(debian.root)
    assert (await resolve_kernel("debian:7.8.3", cache=cache, apt=debian)).notes == ()
    kernel = await resolve_kernel("debian:7", cache=cache, apt=debian)
    assert kernel.release == OLD
    with pytest.raises(HostUnfit, match="could not be fetched"):
        await resolve_kernel("debian:6.12", cache=cache, apt=debian)


async def test_an_old_index_is_renewed_when_its_kernel_is_gone(
    cache: KernelCache, debian: AptState, archive: "Archive", build: SimpleNamespace
) -> None:
    await debian.refresh()
    newer = "7.9.2+deb14-cloud-amd64"
    raw = build.compress("gzip", build.elf(release=newer))
    for file in (archive.root / "pool").glob(f"linux-binary-{NEW}*"):
        file.unlink()
    archive.suites["sid"].clear()
    archive.add_kernel("sid", newer, build.bzimage(raw, release=newer))
    archive.publish()
    hours_ago = time.time() - 3600
    os.utime(debian.root / "refreshed", (hours_ago, hours_ago))
    assert (await resolve_kernel("debian:7.9", cache=cache, apt=debian)).release == newer


@pytest.mark.parametrize("lost", ["vmlinux", "image", "entry.json"])
async def test_damaged_entry_is_made_again_with_a_note(
    cache: KernelCache, debian: AptState, lost: str
) -> None:
    kernel = await resolve_kernel("debian:7.8", cache=cache, apt=debian)
    (kernel.image.parent / lost).write_bytes(b"rubbish")
    again = await resolve_kernel("debian:7.8", cache=cache, apt=debian)
    assert again.digest == kernel.digest
    assert [note for note in again.notes if "was damaged and is made again" in note]
    assert again.vmlinux is not None and again.vmlinux.read_bytes()[:4] == b"\x7fELF"
    third = await resolve_kernel("debian:7.8", cache=cache, apt=debian)
    assert third.notes == ()


async def test_package_without_an_image(
    cache: KernelCache, archive: "Archive", tmp_path: Path
) -> None:
    name = "linux-binary-7.1.1-cloud-amd64"
    archive.add("sid", name, "1", {"usr/share/x": os.urandom(2 << 20)})
    archive.publish()
    apt = AptState(tmp_path / "apt", etc_apt=archive.etc_apt, suites=("sid",))
    with pytest.raises(KernelUnfit, match="holds no kernel image"):
        await resolve_kernel("debian:7", cache=cache, apt=apt)


async def test_opened_kernel_survives_clean(
    cache: KernelCache, kernel_file: Callable[..., Path]
) -> None:
    async with open_kernel(str(kernel_file()), cache=cache) as kernel:
        assert cache.clean()[0] == []
        assert kernel.image.exists()
    assert len(cache.clean()[0]) == 1
