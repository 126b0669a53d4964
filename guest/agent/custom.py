# SPDX-License-Identifier: GPL-2.0-only
"""Custom work that is a Python function: its side of the two shared pages.

The contract is docs/guide/custom-work.md; guest/worker/custom.h is the other side. This runs in a
process of its own, as the program of the work: ``custom FILE FUNCTION [WORD…]``.
"""

from __future__ import annotations

import mmap
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FD_NAME = "KTSTR_CUSTOM_FD"
PAGE = 4096
MAGIC = 0x5453544B
VERSION = 1
RING = 256
GO_POLL_S = 0.001

# Places of the fields, in u32 on the control page and in u64 behind it and on the counter page.
_MAGIC, _VERSION, _READY, _GO, _STOP, _INDEX, _WORKERS = range(7)
_SEED = 4
_WORK_UNITS, _ITERATIONS, _WAKE_TOTAL, _WAKE_NS = range(4)


class Context:
    """What the function is given: the pages, without their layout.

    :ivar index: which of the workers this is, from 0.
    :ivar workers: how many there are.
    :ivar seed: differs between workers, and follows the run's seed.
    :ivar args: the scenario's ``args``.
    """

    def __init__(self, pages: mmap.mmap, args: tuple[str, ...] = ()) -> None:
        """Take the two pages.

        :raise ValueError: when they are not of this contract.
        """
        # Items of a cast view are read and written whole; struct would go byte by byte.
        view = memoryview(pages)
        self._control = view[:PAGE].cast("I")
        self._counters = view[PAGE : 2 * PAGE].cast("Q")
        found = self._control[_MAGIC], self._control[_VERSION]
        if found != (MAGIC, VERSION):
            raise ValueError(
                f"{FD_NAME}: magic {MAGIC:#x} and version {VERSION} expected, "
                f"found {found[0]:#x} and {found[1]}"
            )
        self.index = self._control[_INDEX]
        self.workers = self._control[_WORKERS]
        self.seed = view[:PAGE].cast("Q")[_SEED]
        self.args = args
        self._work_units = self._iterations = self._wake_total = 0

    @property
    def stop(self) -> bool:
        """Whether it is time to return; within 5 s of it the process is killed."""
        return self._control[_STOP] != 0

    def iteration(self, work_units: int = 1) -> None:
        """Count one iteration with so much work in it."""
        self._work_units += work_units
        self._iterations += 1
        self._counters[_WORK_UNITS] = self._work_units
        self._counters[_ITERATIONS] = self._iterations

    def wake_sample(self, ns: int) -> None:
        """Note a wake latency; only the last 256 within 50 ms are sampled, all are counted."""
        self._counters[_WAKE_NS + self._wake_total % RING] = ns
        self._wake_total += 1
        # After the latency: x86 keeps stores in order.
        self._counters[_WAKE_TOTAL] = self._wake_total

    def wait(self) -> None:
        """Say that all is set up, and wait for the word to begin."""
        self._control[_READY] = 1
        while not self._control[_GO]:
            time.sleep(GO_POLL_S)


def load(path: str, function: str) -> Callable[[Context], object]:
    """The function of a Python file; the file is run as a module named after it."""
    name = path.rpartition("/")[2].removesuffix(".py")
    module = type(sys)(name)
    module.__file__ = path
    sys.modules[name] = module
    with open(path, "rb") as file:
        exec(compile(file.read(), path, "exec"), module.__dict__)
    found: Callable[[Context], object] = module.__dict__[function]
    return found


def main(argv: list[str]) -> None:
    """Run the function once, from ``go`` on; what it raises ends the process with status 1."""
    path, function, *args = argv
    try:
        context = Context(mmap.mmap(int(os.environ[FD_NAME]), 2 * PAGE), tuple(args))
        call = load(path, function)
        context.wait()
        call(context)
    except Exception as error:
        # One line in one write: other workers may be failing at the same moment.
        os.write(2, f"{_place(error, path)}: {type(error).__name__}: {error}\n".encode())
        sys.exit(1)


def _place(error: Exception, path: str) -> str:
    """The innermost line of the user's file on the way to an error."""
    place, trace = path, error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == path:
            place = f"{path}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return place
