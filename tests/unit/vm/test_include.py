# SPDX-License-Identifier: GPL-2.0-only
"""What a person takes along into a guest: where it lies, what belongs to it, what is refused."""

import shutil
import stat
from pathlib import Path

import pytest

from ktstr.errors import HostUnfit
from ktstr.vm import include as module
from ktstr.vm.include import Include, include_entries, parse_include


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").write_text("1")
    (tmp_path / "set" / "inner").mkdir(parents=True)
    (tmp_path / "set" / "inner" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "set" / "inner" / "run.sh").chmod(0o755)
    (tmp_path / "set" / "link").symlink_to("inner/run.sh")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "host", "guest"),
    [
        ("data", "data", "/include/data"),
        ("./data", "data", "/include/data"),
        ("set/inner/../inner/run.sh", "set/inner/run.sh", "/include/run.sh"),
        ("set/", "set", "/include/set"),
        ("data:/etc/other", "data", "/etc/other"),
        ("data:/etc//x/../other", "data", "/etc/other"),
    ],
)
def test_where_it_lies(folder: Path, text: str, host: str, guest: str) -> None:
    found = parse_include(text, folder)
    assert (found.host.resolve(), found.guest) == ((folder / host).resolve(), guest)


def test_a_name_may_be_a_program(folder: Path) -> None:
    program = shutil.which("true")
    assert program is not None
    assert parse_include("true", folder) == Include(Path(program), "/include/true")
    # What is in the folder goes first.
    (folder / "true").write_text("mine")
    assert parse_include("true", folder).host == folder / "true"


@pytest.mark.parametrize("text", ["", "no-such-thing", "./true", ":/etc/x", "data:etc", "no/:/x"])
def test_what_is_not_there(folder: Path, text: str) -> None:
    with pytest.raises(HostUnfit, match="no such file"):
        parse_include(text, folder)


@pytest.mark.parametrize("place", ["/", "/proc/x", "/sys", "/dev/x", "/tmp/x", "/run", "/ktstr/x"])
def test_places_that_a_guest_does_not_give(folder: Path, place: str) -> None:
    with pytest.raises(HostUnfit, match="nothing can be put into"):
        parse_include(f"data:{place}", folder)


def test_a_folder_with_its_modes_and_links(folder: Path) -> None:
    entries = {
        entry.path: entry for entry in include_entries([Include(folder / "set", "/opt/set")], 512)
    }
    assert sorted(entries) == ["opt/set", "opt/set/inner", "opt/set/inner/run.sh", "opt/set/link"]
    script = entries["opt/set/inner/run.sh"]
    assert (script.data, script.mode) == (b"#!/bin/sh\n", stat.S_IFREG | 0o755)
    assert entries["opt/set/link"].data == b"inner/run.sh"
    assert stat.S_ISLNK(entries["opt/set/link"].mode)


def test_a_program_brings_its_libraries_and_the_terminal(folder: Path) -> None:
    program = shutil.which("bash")
    assert program is not None
    paths = {e.path for e in include_entries([Include(Path(program), "/include/sh")], 512)}
    assert "include/sh" in paths
    assert any(path.startswith("usr/lib/libc.so") for path in paths)
    assert any(path.startswith("lib64/ld-linux") for path in paths)
    described = include_entries([Include(folder / "data", "/include/data")], 512, "linux")
    assert any(entry.path.endswith("terminfo/l/linux") for entry in described)
    for term in ("", "../../etc/passwd", "no-such-terminal"):
        assert len(include_entries([Include(folder / "data", "/include/data")], 512, term)) == 1


def test_without_any_there_is_nothing() -> None:
    assert include_entries([], 512, "linux") == []


def test_more_than_fits_the_guest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "large").open("wb") as file:
        file.truncate(30 << 20)
    include = [Include(folder / "large", "/include/large")]
    assert len(include_entries(include, 128)) == 1
    with pytest.raises(HostUnfit, match="guest with 64 MiB"):
        include_entries(include, 64)
    monkeypatch.setattr(module, "MAX_FILES", 3)
    with pytest.raises(HostUnfit, match="more than 3 files"):
        include_entries([Include(folder / "set", "/include/set")], 512)


def test_what_cannot_be_read(folder: Path) -> None:
    with pytest.raises(HostUnfit, match="No such file"):
        include_entries([Include(folder / "gone", "/include/gone")], 512)
