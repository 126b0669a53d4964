# SPDX-License-Identifier: GPL-2.0-only
"""The store of templates: what is kept comes back, what is damaged does not, the oldest go."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ktstr.errors import HostUnfit, StateUnusable
from ktstr.kernels.locks import exclusive_now, shared
from ktstr.vm import template
from ktstr.vm.migration import filling
from ktstr.vm.ram import GuestRam
from ktstr.vm.template import TemplateStore, limit_bytes

pytestmark = pytest.mark.anyio

MIB = 1 << 20
KEY = "a" * 64
PAGE = os.urandom(4096)


def write(path: Path, data: bytes) -> int:
    return path.write_bytes(data)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    async def save_state(machine: Any, path: Path) -> int:
        return write(path, b"devices")

    monkeypatch.setattr(template, "save_state", save_state)
    log = tmp_path / "serial.log"
    log.write_text("booted\n")
    with GuestRam([2 * MIB, MIB]) as ram:
        ram.write(0x1000, PAGE)
        ram.write(2 * MIB + 0x5000, PAGE)
        yield SimpleNamespace(ram=ram, console_log=log)


@pytest.fixture
def store(tmp_path: Path) -> TemplateStore:
    return TemplateStore(tmp_path / "templates", limit=100 * MIB)


def found(store: TemplateStore, key: str = KEY) -> tuple[bool, list[str]]:
    said: list[str] = []
    with store.using(key, said.append) as kept:
        return kept is not None, said


def files(store: TemplateStore, key: str = KEY) -> Mapping[str, Path]:
    return {path.name: path for path in (store.root / "entries" / key).iterdir()}


async def test_a_saved_guest_comes_back(store: TemplateStore, machine: Any, tmp_path: Path) -> None:
    assert found(store) == (False, [])
    saved = await store.save(KEY, machine, b"frames so far", {"kernel": "7"})
    assert saved is not None
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with store.using(KEY, print) as kept, GuestRam([2 * MIB, MIB]) as ram:
        assert kept is not None
        assert kept.frames == b"frames so far"
        incoming = kept.incoming(run_dir)
        assert incoming.state.read_bytes() == b"devices"
        assert (run_dir / "console.log").read_text() == "booted\n"
        assert callable(incoming.ram)
        incoming.ram(ram)
        assert ram.read(0, 3 * MIB) == machine.ram.read(0, 3 * MIB)
        with GuestRam([MIB]) as other, pytest.raises(StateUnusable, match="another machine"):
            incoming.ram(other)
    assert list((store.root / "staging").iterdir()) == []


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("ram", shorten, "instead of 8192"),
    ("ram", Path.unlink, "ram is missing"),
    ("state", flip, "state does not match its checksum"),
    ("frames", shorten, "frames does not match its checksum"),
    ("console.log", Path.unlink, "console.log is missing"),
    ("manifest.json", lambda path: path.write_text("{"), "manifest cannot be read"),
    ("manifest.json", lambda path: path.write_text('{"format": 0}'), "that of another"),
    ("manifest.json", Path.unlink, "manifest.json is missing"),
]


@pytest.mark.parametrize(("name", "damage", "words"), DAMAGE)
async def test_what_is_damaged_is_removed_with_a_word(
    store: TemplateStore, machine: Any, name: str, damage: Callable[[Path], object], words: str
) -> None:
    await store.save(KEY, machine, b"frames so far", {})
    damage(files(store)[name])
    there, said = found(store)
    assert not there
    assert len(said) == 1
    assert words in said[0]
    assert not store.has(KEY)
    assert await store.save(KEY, machine, b"", {}) is not None
    assert found(store) == (True, [])


@pytest.mark.parametrize("at", [0, 4095, 4096, 8191])
async def test_one_wrong_byte_of_ram_is_noticed_while_it_is_copied(
    store: TemplateStore, machine: Any, tmp_path: Path, at: int
) -> None:
    await store.save(KEY, machine, b"", {})
    path = files(store)["ram"]
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with store.using(KEY, print) as kept, GuestRam([2 * MIB, MIB]) as ram:
        assert kept is not None
        incoming = kept.incoming(tmp_path)
        with pytest.raises(StateUnusable, match=f"node {at // 4096} .*does not match its checksum"):
            async with filling(ram, incoming) as filled:
                await filled()
                pytest.fail("a damaged guest was let in")
    said: list[str] = []
    store.discard(KEY, "wrong", said.append)
    assert said == ["a warm template was unusable and is made again: wrong"]
    assert not store.has(KEY)


async def test_one_template_per_key_and_no_waiting_for_its_maker(
    store: TemplateStore, machine: Any
) -> None:
    with exclusive_now(store.root / "locks" / f"{KEY}.lock") as free:
        assert free
        assert await store.save(KEY, machine, b"", {}) is None
    assert await store.save(KEY, machine, b"one", {}) is not None
    assert await store.save(KEY, machine, b"two", {}) is None
    with store.using(KEY, print) as kept:
        assert kept is not None
        assert kept.frames == b"one"


async def test_a_failure_leaves_nothing(
    store: TemplateStore, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(machine: Any, path: Path) -> int:
        write(path, b"half")
        raise StateUnusable("QEMU says no")

    monkeypatch.setattr(template, "save_state", fails)
    with pytest.raises(StateUnusable, match="says no"):
        await store.save(KEY, machine, b"", {})
    assert not store.has(KEY)
    assert list((store.root / "staging").iterdir()) == []


async def test_the_least_recently_used_make_room(store: TemplateStore, machine: Any) -> None:
    keys = [letter * 64 for letter in "abc"]
    for age, key in enumerate(reversed(keys)):
        await store.save(key, machine, b"", {})
        os.utime(store.root / "entries" / key, (1000 + age, 1000 + age))
    one = template.disk_bytes(store.root / "entries" / keys[0])
    # The oldest is used: it becomes the newest.
    assert found(store, keys[2])[0]
    tight = TemplateStore(store.root, limit=2 * one)
    assert tight.make_room() == [keys[1]]
    assert [store.has(key) for key in keys] == [True, False, True]
    # What is in use stays, whatever the limit.
    with shared(store.root / "locks" / f"{keys[0]}.lock"):
        assert TemplateStore(store.root, limit=1).make_room() == [keys[2]]
    assert store.has(keys[0])


async def test_what_a_crash_left_behind_goes(store: TemplateStore, machine: Any) -> None:
    await store.save(KEY, machine, b"", {})
    old, new = store.root / "staging/old", store.root / "staging/new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "ram").write_bytes(b"half")
    os.utime(old, (1, 1))
    assert store.make_room() == []
    assert (old.exists(), new.exists(), store.has(KEY)) == (False, True, True)


async def test_no_room_means_no_templates(tmp_path: Path, machine: Any) -> None:
    store = TemplateStore(tmp_path / "templates", limit=0)
    assert await store.save(KEY, machine, b"", {}) is None
    assert found(store) == (False, [])
    assert not store.root.exists()


@pytest.mark.parametrize(("text", "mb"), [("", 4096), ("0", 0), ("12", 12), (" 7 ", 7)])
def test_the_limit(text: str, mb: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTSTR_TEMPLATES_MB", text)
    assert limit_bytes() == mb * 1_000_000


@pytest.mark.parametrize("text", ["-1", "4G", "٣"])
def test_a_limit_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTSTR_TEMPLATES_MB", text)
    with pytest.raises(HostUnfit, match="KTSTR_TEMPLATES_MB"):
        limit_bytes()
