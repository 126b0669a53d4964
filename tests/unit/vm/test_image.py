# SPDX-License-Identifier: GPL-2.0-only
"""The image store: what makes a new image, what does not, and how a build ends."""

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from ktstr.errors import GuestBuildFailed
from ktstr.kernels import Module
from ktstr.vm import image as image_module
from ktstr.vm.cpio import Entry, write_cpio
from ktstr.vm.image import ImageStore, module_entries, program_overlay

MAKEFILE = """
all:
\techo compiled >> {log}
\tfor name in init worker scx_load scx_probe scx_snap; do cp init.c $(OUT)/$$name; done
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A guest that "compiles" by copying, packed without the interpreter."""
    folder = tmp_path / "guest"
    (folder / "agent").mkdir(parents=True)
    (folder / "Makefile").write_text(MAKEFILE.format(log=tmp_path / "log"))
    (folder / "init.c").write_text("int main;")
    (folder / "agent" / "main.py").write_text("x = 1\n")
    (folder / "notes.md").write_text("one")
    monkeypatch.setattr(image_module, "guest_sources", lambda: folder)
    monkeypatch.setattr(image_module, "python_entries", lambda guest: [])
    return folder


def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


def compiled(tmp_path: Path) -> int:
    return (tmp_path / "log").read_text().count("compiled")


def test_an_unchanged_guest_is_packed_once(tmp_path: Path, sources: Path) -> None:
    first = store(tmp_path).base(lambda: tmp_path)
    (sources / "notes.md").write_text("two")
    (sources / "agent" / "__pycache__").mkdir()
    (sources / "agent" / "__pycache__" / "main.py").write_text("cache")
    os.utime(sources / "init.c", (1, 1))
    second = store(tmp_path).base(lambda: pytest.fail("nothing is to be compiled"))
    assert (first.fresh, second.fresh) == (True, False)
    assert (first.path, first.digest) == (second.path, second.digest)
    assert compiled(tmp_path) == 1


def test_a_changed_c_source_is_compiled_again(tmp_path: Path, sources: Path) -> None:
    first = store(tmp_path).base(lambda: tmp_path)
    (sources / "init.c").write_text("int other;")
    second = store(tmp_path).base(lambda: tmp_path)
    assert second.fresh and second.digest != first.digest
    assert b"int other;" in second.path.read_bytes()
    assert compiled(tmp_path) == 2


def test_a_changed_agent_is_packed_again_but_not_compiled(tmp_path: Path, sources: Path) -> None:
    first = store(tmp_path).base(lambda: tmp_path)
    (sources / "agent" / "main.py").write_text("x = 2\n")
    second = store(tmp_path).base(lambda: tmp_path)
    assert second.fresh and second.digest != first.digest
    assert compiled(tmp_path) == 1


def test_images_unused_for_a_day_go_when_a_new_one_is_made(tmp_path: Path, sources: Path) -> None:
    old = store(tmp_path).base(lambda: tmp_path)
    (sources / "agent" / "main.py").write_text("x = 2\n")
    recent = store(tmp_path).base(lambda: tmp_path)
    two_days_ago = time.time() - 2 * 86400
    for made in (tmp_path / "images").iterdir():
        if made != recent.path:
            os.utime(made, (two_days_ago, two_days_ago))
    (sources / "agent" / "main.py").write_text("x = 3\n")
    new = store(tmp_path).base(lambda: tmp_path)
    assert not old.path.exists()
    assert recent.path.exists()
    assert new.path.exists()
    assert compiled(tmp_path) == 1, "the compiled part still fits and stays"


def test_a_build_that_fails_shows_its_end_and_keeps_nothing(tmp_path: Path, sources: Path) -> None:
    (sources / "Makefile").write_text("all:\n\t@echo boom >&2; exit 3\n")
    with pytest.raises(GuestBuildFailed, match="boom") as caught:
        store(tmp_path).base(lambda: tmp_path)
    assert str(tmp_path / "images" / "build.log") in str(caught.value)
    assert sorted(os.listdir(tmp_path / "images")) == ["build.lock", "build.log"]


class Interrupted(Exception):
    pass


def test_an_interrupted_build_leaves_no_process_and_no_result(
    tmp_path: Path, sources: Path
) -> None:
    pid_file = tmp_path / "pid"
    (sources / "Makefile").write_text(f"all:\n\techo $$$$ > {pid_file}; exec sleep 1000\n")

    def check() -> None:
        if pid_file.exists():
            raise Interrupted

    with pytest.raises(Interrupted):
        store(tmp_path).base(lambda: tmp_path, check=check)
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()
    assert sorted(os.listdir(tmp_path / "images")) == ["build.lock", "build.log"]


def test_a_wait_for_another_build_can_be_interrupted(tmp_path: Path, sources: Path) -> None:
    from filelock import FileLock

    (tmp_path / "images").mkdir()
    held, released = threading.Event(), threading.Event()

    def hold() -> None:
        with FileLock(tmp_path / "images" / "build.lock"):
            held.set()
            released.wait(60)

    other = threading.Thread(target=hold)
    other.start()

    def check() -> None:
        raise Interrupted

    try:
        held.wait(60)
        with pytest.raises(Interrupted):
            store(tmp_path).base(lambda: tmp_path, check=check)
    finally:
        released.set()
        other.join()


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path: Path, sources: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GuestBuildFailed, match="cannot be made in") as caught:
        ImageStore(tmp_path / "file" / "images").base(lambda: tmp_path)
    assert "XDG_CACHE_HOME" in str(caught.value)


def members(data: bytes) -> list[tuple[str, int, bytes]]:
    """Members of concatenated newc archives, as the kernel's unpacker takes them."""
    found, at = [], 0
    while at < len(data):
        if data[at] == 0:
            at += 1
            continue
        assert data[at : at + 6] == b"070701"
        assert at % 4 == 0
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = fields[6], fields[11]
        start = at + 110
        name = data[start : start + name_size - 1].decode()
        body = (start + name_size + 3) & ~3
        if name != "TRAILER!!!":
            found.append((name, fields[1], data[body : body + size]))
        at = (body + size + 3) & ~3
    return found


def test_an_overlay_makes_one_initramfs_of_two(tmp_path: Path) -> None:
    base_path = tmp_path / "base.cpio"
    write_cpio(base_path, [Entry.file("init", b"#!"), Entry.file("ktstr/sched/a.bpf.o", b"12345")])
    base = image_module.Image(base_path, "base-digest", fresh=False)
    entries = [Entry.file("ktstr/sched/mine", b"\x01\x02\x03", 0o755)]
    image = store(tmp_path).with_overlay(base, entries, tmp_path / "image.cpio")
    names = [(name, data) for name, mode, data in members(image.path.read_bytes())]
    assert names == [
        ("init", b"#!"),
        ("ktstr", b""),
        ("ktstr/sched", b""),
        ("ktstr/sched/a.bpf.o", b"12345"),
        ("ktstr", b""),
        ("ktstr/sched", b""),
        ("ktstr/sched/mine", b"\x01\x02\x03"),
    ]
    assert image.digest != base.digest
    other = [Entry.file("ktstr/sched/mine", b"\x01\x02\x04", 0o755)]
    assert store(tmp_path).with_overlay(base, other, tmp_path / "i2").digest != image.digest
    assert store(tmp_path).with_overlay(base, [], tmp_path / "i3") is base
    assert sorted(os.listdir(tmp_path)) == ["base.cpio", "i2", "image.cpio"]


def test_an_overlay_that_cannot_be_written_or_clashes_is_a_sentence(tmp_path: Path) -> None:
    write_cpio(tmp_path / "base.cpio", [])
    base = image_module.Image(tmp_path / "base.cpio", "d", fresh=False)
    twice = [Entry.file("usr/lib/libx.so", b"1"), Entry.file("usr/lib/libx.so", b"2")]
    with pytest.raises(GuestBuildFailed, match=r"usr/lib/libx\.so"):
        store(tmp_path).with_overlay(base, twice, tmp_path / "image.cpio")
    with pytest.raises(GuestBuildFailed, match="No such file"):
        store(tmp_path).with_overlay(base, twice[:1], tmp_path / "none" / "image.cpio")


def test_a_scheduler_is_packed_at_its_guest_path(tmp_path: Path) -> None:
    script = tmp_path / "mine"
    script.write_text("#!/bin/sh")
    (entry,) = program_overlay(script, "/ktstr/sched/mine")
    assert (entry.path, entry.data) == ("ktstr/sched/mine", b"#!/bin/sh")
    assert entry.mode & 0o111


def test_a_scheduler_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(GuestBuildFailed, match="mine: No such file"):
        program_overlay(tmp_path / "mine", "ktstr/sched/mine")
    (tmp_path / "obj").write_bytes(b"\x7fELF rest")
    (entry,) = program_overlay(tmp_path / "obj", "ktstr/sched/mine.bpf.o")
    assert (entry.path, entry.data) == ("ktstr/sched/mine.bpf.o", b"\x7fELF rest")
    assert stat.S_IMODE(entry.mode) == 0o755


def test_modules_sort_in_the_order_in_which_they_load() -> None:
    """Init goes by the names of the files, and ten come after nine."""
    modules = [Module(name, name.encode()) for name in ("virtio", "nvme", *map(str, range(100)))]
    entries = module_entries(modules)
    assert [entry.data for entry in sorted(entries, key=lambda entry: entry.path)] == [
        module.data for module in modules
    ]
    assert entries[0].path == "ktstr/modules/000-virtio.ko"
