# SPDX-License-Identifier: GPL-2.0-only
"""A guest's shell and small programs: where they come from, what is packed."""

import stat
from pathlib import Path
from typing import Any

import pytest

from ktstr.errors import HostUnfit
from ktstr.vm import toolbox as module
from ktstr.vm.toolbox import VARIABLE, busybox, profile_text, tool_entries

pytestmark = pytest.mark.anyio

LIST = "bin/busybox bin/sh sbin/init sbin/poweroff usr/bin/[ linuxrc ../etc/x bin/cat /bin/abs"


def fake(path: Path, applets: str = LIST) -> Path:
    path.write_text(f"#!/bin/sh\nfor p in {applets}; do echo $p; done\n")
    path.chmod(0o755)
    return path


async def test_the_hosts_own_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    own = fake(tmp_path / "busybox")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert await busybox(tmp_path / "cache") == own
    named = fake(tmp_path / "other")
    monkeypatch.setenv(VARIABLE, str(named))
    assert await busybox(tmp_path / "cache") == named
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    with pytest.raises(HostUnfit, match="KTSTR_BUSYBOX is"):
        await busybox(tmp_path / "cache")


class FakeApt:
    """Gives a package that holds a busybox; counts how often it was asked."""

    def __init__(self, folder: Path) -> None:
        self.fetched = 0
        self.folder = folder

    async def refresh(self, **_: Any) -> tuple[str, ...]:
        return ()

    async def fetch(self, name: str, dest: Path, **_: Any) -> Path:
        assert name == "busybox-static"
        self.fetched += 1
        return dest / "busybox-static.deb"


async def test_else_one_is_fetched_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)

    def unpack(deb: Path, wanted: Any, root: Path) -> list[Path]:
        assert wanted("bin/busybox") and wanted("usr/bin/busybox") and not wanted("bin/sh")
        root.mkdir()
        return [fake(root / "busybox")]

    monkeypatch.setattr(module, "extract", unpack)
    apt: Any = FakeApt(tmp_path)
    first = await busybox(tmp_path / "cache", apt=apt)
    assert await busybox(tmp_path / "cache", apt=apt) == first
    assert apt.fetched == 1 and first.stat().st_mode & 0o111
    # A damaged one is not taken.
    first.write_text("something else")
    assert await busybox(tmp_path / "cache", apt=apt) == first
    assert apt.fetched == 2


def test_what_is_packed(tmp_path: Path) -> None:
    entries = {entry.path: entry for entry in tool_entries(fake(tmp_path / "busybox"))}
    links = {p: e.data for p, e in entries.items() if stat.S_ISLNK(e.mode)}
    place = b"/bin/busybox"
    # Not init, which is ktstr's own, nor what leaves the archive.
    assert links == dict.fromkeys(["bin/sh", "sbin/poweroff", "usr/bin/[", "bin/cat"], place)
    assert entries["bin/busybox"].mode == stat.S_IFREG | 0o755
    assert entries["etc/passwd"].data.startswith(b"root:x:0:0:")
    assert b"poweroff() { /bin/busybox poweroff -f; }" in entries["etc/ktstr.sh"].data


def test_the_users_programs_go_before_busyboxs() -> None:
    text = profile_text(["ps", "top", "["], ["/include/ps", "/include/mine", "/include/["])
    assert text.splitlines() == [
        "halt() { /bin/busybox halt -f; }",
        "poweroff() { /bin/busybox poweroff -f; }",
        'ps() { /include/ps "$@"; }',
        "reboot() { /bin/busybox reboot -f; }",
    ]


def test_what_is_no_busybox(tmp_path: Path) -> None:
    with pytest.raises(HostUnfit, match="brings no shell"):
        tool_entries(fake(tmp_path / "busybox", "bin/cat"))
    plain = tmp_path / "plain"
    plain.write_bytes(b"nothing that runs")
    with pytest.raises(HostUnfit, match="does not run here"):
        tool_entries(plain)
