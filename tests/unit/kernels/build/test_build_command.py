# SPDX-License-Identifier: GPL-2.0-only
"""Host programs run line by line: output, deadlines, and nothing left behind."""

import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from ktstr.errors import HostUnfit
from ktstr.kernels.build.command import stream


def alive(pid: int) -> bool:
    """Whether a process runs; of a killed orphan init takes note in its own time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def sh(text: str, **options: Any) -> tuple[int, list[str]]:
    return await stream(["sh", "-c", text], **{"seconds": 30.0, **options})


async def test_output() -> None:
    lines: list[str] = []
    raw = bytearray()
    text = r"printf 'one\ntwo\rthree\n\nlast'; echo ' word' >&2; exit 3"
    status, tail = await sh(text, on_line=lines.append, sink=raw.extend)
    assert status == 3 and tail == ["one", "two", "three", "last word"]
    assert lines == ["one", "two", "three", "", "last word"]
    assert raw == b"one\ntwo\rthree\n\nlast word\n"


async def test_lines_without_an_end_and_many_of_them() -> None:
    lines: list[str] = []
    await sh("head -c 100000 /dev/zero | tr '\\0' x", on_line=lines.append)
    assert max(map(len, lines)) <= 4096
    _, tail = await sh("seq 1000; head -c 9 /dev/zero | tr '\\0' '\\377'")
    assert tail[-2] == "1000" and len(tail) == 40 and tail[-1] == "\ufffd" * 9


async def test_standard_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from a file\n")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert (await sh("cat", stdin=fd))[1] == ["from a file"]
    finally:
        os.close(fd)
    assert (await sh("cat"))[1] == []


@pytest.mark.parametrize("limits", [{"seconds": 0.3}, {"silence": 0.3}])
async def test_deadlines_leave_nobody_behind(tmp_path: Path, limits: dict[str, float]) -> None:
    text = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(HostUnfit, match="did not end within"):
        await sh(text, **limits)
    child = int((tmp_path / "pid").read_text())
    with anyio.fail_after(30):
        while alive(child):  # noqa: ASYNC110 (nobody tells of another's child)
            await anyio.sleep(0.01)


async def test_talking_is_not_silence() -> None:
    status, tail = await sh("for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done", silence=20.0)
    assert status == 0 and tail[-1] == "6"


async def test_no_such_program() -> None:
    with pytest.raises(HostUnfit, match="`no-such-program` is not on this machine"):
        await stream(["no-such-program"], seconds=1.0)


async def test_only_what_builds_may_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KCFLAGS", "-O0")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("https_proxy", "http://proxy")
    _, tail = await sh("echo $KCFLAGS.$GIT_DIR.$https_proxy.$LC_ALL.$EXTRA", env={"EXTRA": "more"})
    assert tail == ["..http://proxy.C.more"]
