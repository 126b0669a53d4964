# SPDX-License-Identifier: GPL-2.0-only
"""The process of one run on a worker: ``python -m ktstr.fleet.child``.

It reads a line of JSON, and then its standard input until that ends, which cancels the run: so it
ends with its worker, however that ends. It writes lines of JSON: ``say`` and ``warning`` while it
runs, ``result`` at its end. With ``prepare`` in place of a parcel it gets a kernel ready.
"""

import asyncio
import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

import anyio

from ktstr.errors import ExitCode, KtstrError
from ktstr.fleet.parcel import Parcel
from ktstr.fleet.store import SCENARIO
from ktstr.fleet.templates import first_builds
from ktstr.gauntlet.cells import Cell, CellResult, options_from_json
from ktstr.gauntlet.here import run_cell
from ktstr.kernels import resolve_kernel
from ktstr.report.plain import describe
from ktstr.session.ends import End
from ktstr.session.events import Emit, Froze, Note, RunEvent, StageProgress, StepEnded
from ktstr.session.several import Heard

OUT: Final = "out"
"""The folder, beside the scenario's, that takes what a run leaves."""

END_S: Final = 20.0
"""How long a cancelled run may take to clean up."""

_PROGRESS_S: Final = 0.5


class Telling(Heard):
    """Writes a run's events as lines.

    :ivar also: takes the events too.
    """

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self.also: Emit = lambda event: None
        self._out = out
        self._lock = threading.Lock()
        self._next_progress = 0.0

    def line(self, **values: Any) -> None:
        """One line; a reader that has gone is no news to a run."""
        with suppress(OSError, ValueError), self._lock:
            print(json.dumps(values), file=self._out, flush=True)

    def __call__(self, event: RunEvent) -> None:
        """Take one event."""
        super().__call__(event)
        self.also(event)
        if isinstance(event, StageProgress):
            now = time.monotonic()
            if now < self._next_progress:
                return
            self._next_progress = now + _PROGRESS_S
        if not isinstance(event, StepEnded | Froze | Note):
            self.line(say=describe(event))

    def warned(self, warning: str) -> bool:
        """Keep a warning, and pass it on when it is news."""
        news = super().warned(warning)
        if news:
            self.line(warning=warning)
        return news


async def run(order: dict[str, Any], telling: Telling) -> CellResult:
    """Run what was sent; how it went."""
    parcel = Parcel.from_json(order["parcel"])
    folder = Path(order["folder"])
    os.chdir(folder)  # where a kernel's file that was sent along is looked for
    options = options_from_json(dict(parcel.options))
    cell = Cell(folder / SCENARIO, parcel.name, "", kernel=parcel.kernel, options=options)
    guests = folder if options.cold else Path(order["guests"])
    async with first_builds(guests, parcel.guest, telling) as telling.also:
        out = folder.parent / OUT
        return await run_cell(cell, out, telling, wrong=traceback.print_exc)


async def prepare(spec: str, telling: Telling) -> CellResult:
    """Get a kernel into this host's cache."""
    began = time.monotonic()

    def progress(stage: str, fraction: float | None) -> None:
        telling(StageProgress("kernel", stage, fraction))

    try:
        await resolve_kernel(spec, progress=progress, need=())
    except (KtstrError, OSError) as error:
        return CellResult.of(End.of_error(error), time.monotonic() - began)
    return CellResult("pass", ExitCode.PASS, wall_s=time.monotonic() - began)


async def work(order: dict[str, Any], telling: Telling) -> int:
    """Do what was ordered, until standard input ends; the exit status."""
    scope = anyio.CancelScope()
    cancel = partial(asyncio.get_running_loop().call_soon_threadsafe, scope.cancel)
    threading.Thread(target=_until_told, args=(cancel,), daemon=True).start()
    with scope:
        todo = prepare(order["prepare"], telling) if "prepare" in order else run(order, telling)
        result = await todo
        telling.line(result=result.to_json())
    if not scope.cancelled_caught:
        return ExitCode.PASS
    if "folder" in order:
        # The worker does that, unless it was killed.
        shutil.rmtree(Path(order["folder"]).parent, ignore_errors=True)
    return ExitCode.INTERRUPTED


def _until_told(cancel: Callable[[], object]) -> None:
    # Unbuffered: a thread that waits inside a buffered reader keeps the interpreter from ending.
    while os.read(0, 4096):
        pass
    with suppress(RuntimeError):  # the loop has ended, and so will the process
        cancel()
    time.sleep(END_S)
    os._exit(ExitCode.INTERRUPTED)


def main() -> None:
    """Run what standard input orders."""
    # Lines are for the worker; whatever else prints goes where errors go.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.buffer.readline())
    sys.exit(anyio.run(partial(work, order, Telling(out))))


if __name__ == "__main__":
    main()
