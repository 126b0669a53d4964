# SPDX-License-Identifier: GPL-2.0-only
"""Python functions as work: the pages are played by hand here, the worker's side is real there."""

import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.custom import Context

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def pages() -> Iterator[mmap.mmap]:
    """Two pages as the worker hands them over: worker 2 of 3."""
    memory = mmap.mmap(-1, 8192)
    struct.pack_into("<8IQ", memory, 0, 0x5453544B, 1, 0, 0, 0, 2, 3, 0, 1 << 63 | 5)
    yield memory


def u64(pages: mmap.mmap, offset: int) -> int:
    return int(struct.unpack_from("<Q", pages, offset)[0])


def test_what_the_function_is_told(pages: mmap.mmap) -> None:
    context = Context(pages, ("a", "b c"))
    assert (context.index, context.workers, context.seed) == (2, 3, 1 << 63 | 5)
    assert context.args == ("a", "b c")
    assert context.stop is False
    struct.pack_into("<I", pages, 16, 1)
    assert context.stop is True


def test_iterations_and_units_are_two_counters(pages: mmap.mmap) -> None:
    context = Context(pages)
    context.iteration()
    context.iteration(work_units=40)
    assert (u64(pages, 4096), u64(pages, 4104)) == (41, 2)
    assert u64(pages, 4112) == 0


def test_the_ring_goes_round(pages: mmap.mmap) -> None:
    context = Context(pages)
    for number in range(258):
        context.wake_sample(1000 + number)
    assert u64(pages, 4112) == 258
    ring = struct.unpack_from("<256Q", pages, 4120)
    # 256 and 257 took the places of 0 and 1.
    assert ring == (1256, 1257, *range(1002, 1256))
    assert bytes(pages[4120 + 8 * 256 :]) == bytes(8192 - 4120 - 8 * 256)


@pytest.mark.parametrize(("offset", "words"), [(0, "found 0x7 and 1"), (4, "and 7")])
def test_pages_of_another_contract_are_refused(pages: mmap.mmap, offset: int, words: str) -> None:
    struct.pack_into("<I", pages, offset, 7)
    with pytest.raises(ValueError, match=words):
        Context(pages)


def started(pages_fd: int, file: Path, function: str, *args: str) -> "subprocess.Popen[str]":
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from agent.custom import main; "
    command = [sys.executable, "-I", "-S", "-B", "-c", program + "main(sys.argv[1:])"]
    return subprocess.Popen(
        [*command, str(ROOT / "guest"), str(file), function, *args],
        env={"KTSTR_CUSTOM_FD": str(pages_fd)},
        pass_fds=[pages_fd],
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def shared() -> Iterator[tuple[int, mmap.mmap]]:
    fd = os.memfd_create("custom")
    os.ftruncate(fd, 8192)
    memory = mmap.mmap(fd, 8192)
    struct.pack_into("<8IQ", memory, 0, 0x5453544B, 1, 0, 0, 0, 0, 1, 0, 9)
    yield fd, memory
    memory.close()
    os.close(fd)


def wait_for(memory: mmap.mmap, offset: int) -> None:
    deadline = time.monotonic() + 30
    while not memory[offset]:
        assert time.monotonic() < deadline, f"nothing at {offset}"
        time.sleep(0.005)


def test_it_waits_for_go_and_ends_at_stop(shared: tuple[int, mmap.mmap], tmp_path: Path) -> None:
    fd, memory = shared
    file = tmp_path / "mine.py"
    file.write_text(
        "import sys, time\n"
        "def count(ctx):\n"
        "    assert sys.modules[__name__].count is count and ctx.args == ('x',)\n"
        "    while not ctx.stop:\n"
        "        ctx.iteration(3)\n"
        "        time.sleep(0.001)\n"
    )
    process = started(fd, file, "count", "x")
    wait_for(memory, 8)
    time.sleep(0.05)
    assert u64(memory, 4104) == 0, "it ran before go"
    struct.pack_into("<I", memory, 12, 1)
    wait_for(memory, 4104)
    struct.pack_into("<I", memory, 16, 1)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")
    assert u64(memory, 4096) == 3 * u64(memory, 4104)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(ctx):\n    1 // 0\n", ":2 in f: ZeroDivisionError: "),
        ("\nimport no_such_module\ndef f(ctx):\n    pass\n", ":2 in <module>: ModuleNotFoundError"),
        ("g = 1\n", ": KeyError: 'f'"),
    ],
)
def test_what_it_raises_is_one_line(
    shared: tuple[int, mmap.mmap], tmp_path: Path, text: str, said: str
) -> None:
    fd, memory = shared
    file = tmp_path / "mine.py"
    file.write_text(text)
    struct.pack_into("<I", memory, 12, 1)
    process = started(fd, file, "f")
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert error.startswith(f"{file}{said}")
    assert error.count("\n") == 1 and error.endswith("\n")
