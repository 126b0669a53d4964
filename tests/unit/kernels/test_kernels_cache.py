# SPDX-License-Identifier: GPL-2.0-only
"""The kernel cache: whole or absent, damage noticed, never removed while used."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels import KernelCache
from ktstr.kernels.cache import CacheEntry, EntryDamaged
from ktstr.kernels.features import unknown_features
from ktstr.kernels.locks import exclusive, exclusive_now, shared
from ktstr.kernels.prepare import remake_entry

FEATURES = unknown_features("7.1.2-x", "this is a test")


def put(cache: KernelCache, image: bytes = b"an image", used_at: float | None = None) -> CacheEntry:
    with cache.staging() as folder:
        made = folder / "entry"
        made.mkdir()
        (made / "image").write_bytes(image)
        (made / "vmlinux").write_bytes(b"unpacked " + image)
        entry = cache.commit(
            made,
            hashlib.sha256(image).hexdigest(),
            spec="debian:7",
            release="7.1.2-x",
            origin={"package": "p", "version": "1"},
            features=FEATURES,
        )
    if used_at is not None:
        os.utime(entry.path, (used_at, used_at))
    return entry


@pytest.fixture
def cache(tmp_path: Path) -> KernelCache:
    return KernelCache(tmp_path / "kernels")


def test_default_place_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert KernelCache().root == tmp_path / "xdg/ktstr/kernels"


def test_what_is_put_is_found(cache: KernelCache) -> None:
    entry = put(cache)
    found = cache.find(entry.digest)
    assert found is not None
    assert (found.release, found.features, found.size) == ("7.1.2-x", FEATURES, 8 + 17)
    image = found.file("image")
    assert image is not None and image.read_bytes() == b"an image"
    assert found.file("config") is None
    assert cache.find_package("p", "1") == entry.digest
    assert cache.find_package("p", "2") is None
    assert cache.find("0" * 64) is None
    assert list((cache.root / "staging").iterdir()) == []


def test_putting_twice_leaves_one(cache: KernelCache) -> None:
    put(cache)
    put(cache)
    assert len(cache.entries()) == 1
    assert list((cache.root / "staging").iterdir()) == []


def test_changed_image_is_noticed_even_with_its_old_time(cache: KernelCache) -> None:
    entry = put(cache)
    image = entry.path / "image"
    status = image.stat()
    image.write_bytes(b"an imagE")
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(EntryDamaged, match="image has changed"):
        cache.find(entry.digest)


def test_truncated_or_lost_vmlinux_is_noticed(cache: KernelCache) -> None:
    entry = put(cache)
    os.truncate(entry.path / "vmlinux", 3)
    with pytest.raises(EntryDamaged, match="vmlinux has changed"):
        cache.find(entry.digest)
    (entry.path / "vmlinux").unlink()
    with pytest.raises(EntryDamaged, match="vmlinux cannot be read"):
        cache.find(entry.digest)


def test_touched_but_equal_file_is_whole(cache: KernelCache) -> None:
    entry = put(cache)
    os.utime(entry.path / "vmlinux", (1, 1))
    assert cache.find(entry.digest) is not None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "another version"),
        ({"schema": 0}, "another version"),
        ({"digest": "00"}, "another entry"),
        ({"features": {}}, "incomplete"),
        ({"files": 3}, "incomplete"),
        (None, "cannot be read"),
    ],
)
def test_damaged_metadata(
    cache: KernelCache, change: str | dict[str, object] | None, reason: str
) -> None:
    entry = put(cache)
    file = entry.path / "entry.json"
    if change is None:
        file.unlink()
    elif isinstance(change, str):
        file.write_text(change)
    else:
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert cache.entries() == []
    assert reason in cache.damaged()[entry.digest]
    with pytest.raises(EntryDamaged, match=reason):
        cache.find(entry.digest)
    put(cache)
    assert cache.find(entry.digest) is not None


def test_damaged_entry_is_remade_from_its_image(cache: KernelCache, build: SimpleNamespace) -> None:
    elf = build.elf()
    entry = put(cache, build.bzimage(build.compress("gzip", elf)))
    (entry.path / "vmlinux").write_bytes(b"rubbish")
    with pytest.raises(EntryDamaged):
        cache.find(entry.digest)
    remade = remake_entry(cache, entry.digest)
    assert remade is not None and remade.origin == {"package": "p", "version": "1"}
    assert (remade.path / "vmlinux").read_bytes() == elf
    assert cache.find(entry.digest) is not None
    (entry.path / "image").write_bytes(b"rubbish")
    assert remake_entry(cache, entry.digest) is None


def test_clean_keeps_the_most_recently_used(cache: KernelCache) -> None:
    now = time.time()
    old, new, newest = (
        put(cache, image, now - age) for image, age in ((b"a", 9), (b"b", 5), (b"c", 1))
    )
    removed, busy = cache.clean(keep=2)
    assert ([e.digest for e in removed], busy) == ([old.digest], [])
    assert [e.digest for e in cache.entries()] == [newest.digest, new.digest]
    assert not list(cache.root.glob("locks/*"))


def test_clean_spares_what_is_in_use(cache: KernelCache) -> None:
    entry = put(cache)
    assert not cache.in_use(entry)
    with cache.locked(entry), cache.locked(entry.digest):
        assert cache.in_use(entry)
        removed, busy = cache.clean()
        assert (removed, [e.digest for e in busy]) == ([], [entry.digest])
        assert cache.find(entry.digest) is not None
    removed, _ = cache.clean()
    assert [e.digest for e in removed] == [entry.digest]
    with pytest.raises(KernelUnfit, match="removed from the cache"), cache.locked(entry):
        pass


def test_clean_removes_damage_and_old_leftovers(cache: KernelCache) -> None:
    entry = put(cache)
    (entry.path / "entry.json").unlink()
    for name, age in (("crashed", 86400), ("running", 10)):
        folder = cache.root / "staging" / name
        folder.mkdir()
        os.utime(folder, (time.time() - age,) * 2)
    assert cache.clean(keep=5) == ([], [])
    assert not entry.path.exists()
    assert [p.name for p in (cache.root / "staging").iterdir()] == ["running"]


def test_staging_is_removed_on_failure(cache: KernelCache) -> None:
    with pytest.raises(RuntimeError), cache.staging() as folder:
        (folder / "half").write_bytes(b"x")
        raise RuntimeError
    assert list((cache.root / "staging").iterdir()) == []


def test_full_disk_is_a_sentence(cache: KernelCache) -> None:
    with pytest.raises(HostUnfit, match="No space left") as caught, cache.staging():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "ktstr kernel clean" in (caught.value.hint or "")


def test_size_is_what_lies_on_disk(cache: KernelCache) -> None:
    entry = put(cache)
    shutil.copy(entry.path / "image", entry.path / "config")  # not recorded: not counted
    assert cache.entries()[0].size == 25


async def test_exclusive_waits_and_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with shared(path):
        with pytest.raises(HostUnfit, match="someone works"):
            async with exclusive(path, 0.1, "someone works"):
                pass
        with exclusive_now(path) as free:
            assert not free
    async with exclusive(path, 0.1, "nobody"):
        with exclusive_now(path) as free:
            assert not free
    with exclusive_now(path) as free:
        assert free


async def test_exclusive_takes_over_when_free(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    order: list[str] = []

    async def second() -> None:
        async with exclusive(path, 20, "the first"):
            order.append("second")

    async with anyio.create_task_group() as group, exclusive(path, 1, "nobody"):
        group.start_soon(second)
        await anyio.sleep(0.12)
        order.append("first")
    assert order == ["first", "second"]


def test_shared_follows_a_lock_file_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.lock"
    real = fcntl.flock
    removed: list[Path] = []

    def flock(fd: int, how: int) -> None:
        if not removed:  # somebody cleans up between the open and the lock
            path.unlink()
            removed.append(path)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with shared(path), exclusive_now(path) as free:
        assert not free
