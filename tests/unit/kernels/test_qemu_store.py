# SPDX-License-Identifier: GPL-2.0-only
"""A newer QEMU out of packages, with the real apt-get on an archive made by hand: no network."""

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ktstr.errors import HostUnfit
from ktstr.kernels.apt import AptState
from ktstr.vm.qemu import Qemu
from ktstr.vm.qemu_store import DIGESTS, PROGRAM, QemuStore

if TYPE_CHECKING:
    from conftest import Archive

ROMS = "usr/share/qemu/"
TELLS = "#!/bin/sh\necho 'QEMU emulator version {} (made by hand)'\n"
SUITE = "bookworm-backports"
VERSION = "1:10.0.2+ds-1~bpo12+1"
FOLDER = "10.0.2+ds-1~bpo12+1"


def publish(archive: "Archive", program: str, version: str = VERSION, suite: str = SUITE) -> None:
    """A QEMU in two packages, with more in them than is wanted."""
    others = {"usr/bin/qemu-system-i386": b"", "usr/share/doc/qemu-system-x86/copyright": b"GPL"}
    archive.add(suite, "qemu-system-x86", version, {PROGRAM: program.encode(), **others})
    roms = {f"{ROMS}{name}": name.encode() for name in ("qboot.rom", "pvh.bin", "openbios-ppc")}
    archive.add(suite, "qemu-system-data", version, roms)
    archive.publish()


@pytest.fixture
def store(archive: "Archive", tmp_path: Path) -> QemuStore:
    return QemuStore(
        tmp_path / "cache", apt=AptState(tmp_path / "apt", etc_apt=archive.etc_apt, suites=(SUITE,))
    )


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_it_is_fetched_once_with_no_more_than_it_needs(
    archive: "Archive", store: QemuStore
) -> None:
    publish(archive, TELLS.format("10.0.2"))
    stages: list[str] = []
    made = await store.newest(lambda stage, fraction: stages.append(stage))
    root = store.home / FOLDER
    assert made == Qemu(root / PROGRAM, root / ROMS / "qboot.rom", root / ROMS)
    assert made.options() == [("-L", str(root / ROMS))]
    assert files(root) == {
        PROGRAM,
        "usr/share/doc/qemu-system-x86/copyright",
        ROMS + "qboot.rom",
        ROMS + "pvh.bin",
        DIGESTS,
    }
    assert any(stage.startswith("downloading qemu-system-x86 (") for stage in stages)

    shutil.rmtree(archive.root)
    assert await store.newest() == made
    assert await QemuStore(store.home.parent).newest() == made
    assert files(store.home) - {f"{FOLDER}/{name}" for name in files(root)} == {".lock"}


@pytest.mark.parametrize("what", [PROGRAM, ROMS + "pvh.bin", DIGESTS])
@pytest.mark.parametrize("how", ["changed", "gone"])
async def test_a_damaged_one_is_fetched_again(
    archive: "Archive", store: QemuStore, what: str, how: str
) -> None:
    publish(archive, TELLS.format("10.0.2"))
    root = (await store.newest()).program.parents[2]
    whole = (root / what).read_bytes()
    if how == "gone":
        (root / what).unlink()
    else:
        (root / what).write_bytes(whole[:-1] + b"!")
    assert store.kept() == []
    assert (await store.newest()).program == root / PROGRAM
    assert (root / what).read_bytes() == whole


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (TELLS.format("7.2.22"), r"is QEMU 7\.2\.22 .*, no newer one"),
        ("#!/bin/sh\necho 'libcapstone.so.4: not found' >&2; exit 127\n", "does not tell"),
    ],
)
async def test_what_is_too_old_or_does_not_start_here_is_refused(
    archive: "Archive", store: QemuStore, program: str, words: str
) -> None:
    publish(archive, program)
    with pytest.raises(HostUnfit, match=words) as refused:
        await store.newest()
    assert "KTSTR_QEMU" in (refused.value.hint or "")
    assert files(store.home) == {".lock", "failed"}


async def test_after_a_failure_it_is_tried_again_when_asked_or_later(
    archive: "Archive", store: QemuStore
) -> None:
    publish(archive, TELLS.format("10.0.2"), suite="sid")
    archive.add(SUITE, "other", "1", {})
    archive.publish()
    with pytest.raises(HostUnfit, match=f"no qemu-system-x86 in {SUITE}\n"):
        await store.newest()
    publish(archive, TELLS.format("10.0.2"))
    await store._apt.refresh(max_age=0)
    with pytest.raises(HostUnfit, match=rf"no qemu-system-x86 in {SUITE} \(\d+ s ago\)"):
        await store.newest()
    long_ago = time.time() - 601
    os.utime(store.home / "failed", (long_ago, long_ago))
    assert (await store.newest()).program == store.home / FOLDER / PROGRAM
    assert not (store.home / "failed").exists()


async def test_who_asks_for_it_does_not_wait(archive: "Archive", store: QemuStore) -> None:
    archive.add(SUITE, "other", "1", {})
    archive.publish()
    with pytest.raises(HostUnfit):
        await store.newest()
    publish(archive, TELLS.format("10.0.2"))
    await store._apt.refresh(max_age=0)
    assert (await store.newest(insist=True)).program.is_file()


async def test_the_newest_of_several_is_used(archive: "Archive", store: QemuStore) -> None:
    publish(archive, TELLS.format("10.0.2"))
    first = await store.newest()
    root = first.program.parents[2]
    for name in ("9.2.0+ds-5", "10.0.11+ds-1"):
        shutil.copytree(root, store.home / name)
    assert [qemu.program.parents[2].name for qemu in store.kept()] == [
        "9.2.0+ds-5",
        FOLDER,
        "10.0.11+ds-1",
    ]
    assert (await store.newest()).program == store.home / "10.0.11+ds-1" / PROGRAM
