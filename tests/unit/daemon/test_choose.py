# SPDX-License-Identifier: GPL-2.0-only
"""Whether a command leaves its runs to a daemon, and what it says when it does not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from tests.unit.daemon.served import served

from ktstr.daemon import client, version
from ktstr.daemon.address import ALONE_VARIABLE, SOCKET_VARIABLE, socket_path
from ktstr.daemon.choose import ALONE, Choice, chosen
from ktstr.daemon.listen import unix_listener
from ktstr.errors import ServiceRefused

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(SOCKET_VARIABLE, str(tmp_path / "d.sock"))
    monkeypatch.delenv(ALONE_VARIABLE)
    yield tmp_path


async def choice(allowed: bool = True) -> Choice:
    return await anyio.to_thread.run_sync(chosen, allowed)


async def test_a_daemon_of_this_program_is_taken(place: Path) -> None:
    async with served(place):
        assert await choice() == Choice(True)
        assert await choice(allowed=False) == ALONE


async def test_the_environment_may_say_no(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(place):
        monkeypatch.setenv(ALONE_VARIABLE, "1")
        assert await choice() == ALONE
        monkeypatch.setenv(ALONE_VARIABLE, "0")
        assert await choice() == Choice(True)


async def test_a_place_that_cannot_be_looked_at_has_no_daemon(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a folder of another user does it, which root may enter.
    monkeypatch.setenv(SOCKET_VARIABLE, str(place / ("x" * 300)))
    assert await choice() == ALONE


@pytest.mark.parametrize(
    ("place_of", "name", "value", "words"),
    [
        (client, "package", lambda: "/elsewhere/ktstr", "/elsewhere/ktstr"),
        (client, "API", 2, "it is ktstr"),
        (client, "stamp", lambda: 1, "has changed since it was started"),
    ],
)
async def test_a_daemon_of_another_program_is_not_and_that_is_told(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    place_of: Any,
    name: str,
    value: Any,
    words: str,
) -> None:
    async with served(place):
        monkeypatch.setattr(place_of, name, value)
        found = await choice()
        assert not found.daemon
        assert words in found.why_not
        assert "--no-daemon" in found.why_not


async def test_a_daemon_that_ends_takes_nothing(place: Path) -> None:
    async with served(place) as site:
        site.supervisor.refusal = ServiceRefused("ending")
        found = await choice()
        assert (found.daemon, "takes no more runs" in found.why_not) == (False, True)


async def test_where_there_is_none_nothing_is_said(place: Path) -> None:
    assert await choice() == ALONE
    (place / "d.sock").write_text("no socket")
    assert await choice() == ALONE
    (place / "d.sock").unlink()
    left = unix_listener(place / "d.sock")
    left.socket.close()
    assert (place / "d.sock").is_socket()
    assert await choice() == ALONE


async def test_a_daemon_that_is_stuck_is_not_waited_for(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "HELLO_TIMEOUT_S", 0.1)
    door = unix_listener(place / "d.sock")
    found = await choice()
    door.close()
    assert (found.daemon, "does not answer" in found.why_not) == (False, True)


def test_asking_where_there_is_none_imports_next_to_nothing() -> None:
    code = (
        "import sys; from ktstr.daemon.choose import chosen; before = set(sys.modules); "
        "chosen(); heavy = {'http.client', 'json', 'asyncio', 'anyio', 'importlib.metadata'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_socket_is_where_the_environment_says(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert socket_path() == place / "d.sock"
    monkeypatch.delenv(SOCKET_VARIABLE)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/somewhere")
    assert socket_path() == Path("/run/somewhere/ktstr/daemon.sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert socket_path().is_absolute()


def test_any_file_of_the_package_is_part_of_its_stamp(place: Path) -> None:
    (place / "a" / "b").mkdir(parents=True)
    (place / "a" / "b" / "c.py").touch()
    (place / "x.py").touch()
    before = version._newest(str(place))
    (place / "a" / "b" / "c.py").write_text("changed")
    os.utime(place / "a" / "b" / "c.py", ns=(before + 10, before + 10))
    assert version._newest(str(place)) == before + 10
    (place / "__pycache__").mkdir()
    (place / "__pycache__" / "d.py").touch()
    os.utime(place / "__pycache__" / "d.py", ns=(before + 20, before + 20))
    assert version._newest(str(place)) == before + 10
