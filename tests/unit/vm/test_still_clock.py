# SPDX-License-Identifier: GPL-2.0-only
"""The library that stops the host's clock for QEMU, in programs that ask for the time."""

import subprocess
from pathlib import Path

import pytest

from ktstr.errors import HostUnfit
from ktstr.vm import still_clock as module
from ktstr.vm.still_clock import INSTANT, preloaded, still_clock

ASKS = """
#include <stdio.h>
#include <sys/time.h>
int main(void) { struct timeval now; gettimeofday(&now, 0);
  printf("%ld.%06ld", (long)now.tv_sec, (long)now.tv_usec); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("asks") / "asks"
    subprocess.run(["gcc", "-xc", "-", "-o", str(made)], input=ASKS, text=True, check=True)
    return made


def said(command: tuple[str, ...]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_time_stands_in_a_program_it_is_loaded_into(program: Path, tmp_path: Path) -> None:
    library = still_clock(tmp_path)
    assert said(preloaded((str(program),), library)) == f"{INSTANT}.000000"
    assert said((str(program),)) != f"{INSTANT}.000000"


def test_it_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = still_clock(tmp_path)
    monkeypatch.setattr(module, "_COMMAND", module._COMMAND)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("built again"))
    assert still_clock(tmp_path) == library
    assert [path.name for path in library.parent.iterdir()] == [library.name]


def test_what_is_preloaded_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/lib/mine.so")
    assert preloaded(("q",), Path("/c.so"))[1] == "LD_PRELOAD=/c.so:/lib/mine.so"


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMMAND", ("/nowhere/gcc",))
    with pytest.raises(HostUnfit, match="cannot be built"):
        still_clock(tmp_path)
