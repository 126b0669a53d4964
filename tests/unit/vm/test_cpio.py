# SPDX-License-Identifier: GPL-2.0-only
import shutil
import subprocess
from pathlib import Path

import pytest

from ktstr.vm.cpio import Entry, with_parents, write_cpio


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "a.cpio"


def test_bytes_of_a_tiny_archive(target: Path) -> None:
    write_cpio(target, [Entry.file("init", b"hello", 0o755)])
    head = (
        b"070701"
        b"00000001000081ED0000000000000000"  # ino, mode 0100755, uid, gid
        b"000000010000000000000005"  # nlink, mtime, filesize
        + b"00000000" * 4
        + b"0000000500000000"  # namesize, check
    )
    trailer = b"070701" + b"00000000" * 4 + b"00000001" + b"00000000" * 6 + b"0000000B" + b"0" * 8
    assert target.read_bytes() == (
        head + b"init\0" + b"\0" + b"hello" + b"\0" * 3 + trailer + b"TRAILER!!!\0" + b"\0" * 3
    )


def test_kinds_as_another_reader_sees_them(target: Path) -> None:
    if shutil.which("cpio") is None:
        pytest.skip("GNU cpio is not installed")
    write_cpio(
        target,
        [
            Entry.symlink("bin/sh", "busybox"),
            Entry.node("dev/console", "char", 5, 1),
            Entry.node("dev/vda", "block", 254, 0),
            Entry.file("bin/busybox", b"x" * 4097, 0o755),
            Entry.directory("tmp", 0o1777),
        ],
    )
    done = subprocess.run(
        ["cpio", "-itv", "--numeric-uid-gid", "--quiet"],
        input=target.read_bytes(),
        capture_output=True,
        check=True,
    )
    seen = [line.split() for line in done.stdout.decode().splitlines()]
    assert [(words[0], words[-1]) for words in seen] == [
        ("drwxr-xr-x", "bin"),
        ("-rwxr-xr-x", "bin/busybox"),
        ("lrwxrwxrwx", "busybox"),
        ("drwxr-xr-x", "dev"),
        ("crw-------", "dev/console"),
        ("brw-------", "dev/vda"),
        ("drwxrwxrwt", "tmp"),
    ]
    assert seen[1][4] == "4097"
    assert seen[4][4:6] == ["5,", "1"]
    assert all(words[2:4] == ["0", "0"] for words in seen)


def test_given_order_does_not_matter() -> None:
    entries = [Entry.file("a-b", b"1"), Entry.file("a/c", b"2"), Entry.directory("a", 0o700)]
    assert with_parents(entries) == with_parents(reversed(entries))
    assert [entry.path for entry in with_parents(entries)] == ["a", "a/c", "a-b"]
    assert with_parents(entries)[0] == Entry.directory("a", 0o700)


def test_size_lets_archives_follow_each_other(target: Path) -> None:
    for size in range(5):
        write_cpio(target, [Entry.file("a", b"x" * size)])
        assert target.stat().st_size % 4 == 0


def test_failure_keeps_the_old_archive_and_leaves_nothing(target: Path) -> None:
    write_cpio(target, [Entry.file("a", b"old")])
    before = target.read_bytes()
    with pytest.raises(ValueError, match="claimed by two"):
        write_cpio(target, [Entry.file("a", b"new"), Entry.directory("a")])
    assert target.read_bytes() == before
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    "path", ["", "/init", "../x", "a/../b", "a//b", "a/", "./a", ".", "..", "a\0b"]
)
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="archive path"):
        Entry.file(path, b"")


def test_one_path_claimed_twice() -> None:
    with pytest.raises(ValueError, match="claimed by two"):
        with_parents([Entry.file("x", b"1"), Entry.file("x", b"2")])
    assert with_parents([Entry.file("x", b"1"), Entry.file("x", b"1")]) == [Entry.file("x", b"1")]
