# SPDX-License-Identifier: GPL-2.0-only
"""The process of one run on a worker: ``python -m ktstr.fleet.child``.

It reads a line of JSON, and then its standard input until that ends, which cancels the run: so it
ends with its worker, however that ends. It writes lines of JSON: ``say`` and ``warning`` while it
runs, ``result`` at its end. With ``prepare`` in place of a parcel it gets a kernel ready.
"""

import asyncio
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

import anyio

from ktstr.errors import ExitCode, KernelLacks, KtstrError
from ktstr.fleet.parcel import Parcel
from ktstr.fleet.store import SCENARIO
from ktstr.fleet.templates import first_builds
from ktstr.gauntlet.cells import CellResult, options_from_json
from ktstr.kernels import resolve_kernel
from ktstr.report.many import Outcome
from ktstr.report.plain import describe
from ktstr.session.events import Note, RunEvent, StageProgress, StepEnded, StepStarted
from ktstr.session.matrix import Turn
from ktstr.session.run import run_scenario

OUT: Final = "out"
"""The folder, beside the scenario's, that takes what a run leaves."""

END_S: Final = 20.0
"""How long a cancelled run may take to clean up."""

_PROGRESS_S: Final = 0.5


class Telling:
    """Writes a run's events as lines.

    :ivar held_s: what the steps that began ask for, seconds.
    """

    def __init__(self, out: TextIO) -> None:
        self.held_s = 0.0
        self.warnings: list[str] = []
        self._out = out
        self._lock = threading.Lock()
        self._next_progress = 0.0

    def line(self, **values: Any) -> None:
        """One line; a reader that has gone is no news to a run."""
        try:
            with self._lock:
                print(json.dumps(values), file=self._out, flush=True)
        except (OSError, ValueError):
            pass

    def __call__(self, event: RunEvent) -> None:
        """Take one event."""
        match event:
            case StepStarted(hold_s=hold_s):
                self.held_s += hold_s
            case StepEnded():
                return
            case Note(text=text, warning=warning):
                if warning and text not in self.warnings and len(self.warnings) < 20:
                    self.warnings.append(text)
                    self.line(warning=text)
                return
            case StageProgress():
                now = time.monotonic()
                if now < self._next_progress:
                    return
                self._next_progress = now + _PROGRESS_S
        self.line(say=describe(event))


async def run(order: dict[str, Any], telling: Telling) -> CellResult:
    """Run what was sent; how it went."""
    began = time.monotonic()
    parcel = Parcel.from_json(order["parcel"])
    folder = Path(order["folder"])
    options = options_from_json(dict(parcel.options))
    options = replace(options, out_dir=folder.parent / OUT)
    path = folder / SCENARIO
    turn = Turn(path, options, kernel=options.kernel)
    try:
        if options.cold:
            record = await run_scenario(path, options, telling)
        else:
            async with first_builds(Path(order["guests"]), parcel.guest, telling) as emit:
                record = await run_scenario(path, options, emit)
    except KernelLacks as error:
        if options.kernel is None:
            return refused(error, time.monotonic() - began)
        why = error.message.splitlines()[-1].strip()
        return CellResult("skip", ExitCode.PASS, reason=f"not on kernel {options.kernel}: {why}")
    except (KtstrError, OSError) as error:
        return refused(error, time.monotonic() - began)
    except Exception as error:
        traceback.print_exc()
        return refused(error, time.monotonic() - began, "ktstr itself went wrong: ")
    outcome = Outcome.of(record, turn, telling.held_s, telling.warnings)
    return CellResult(
        outcome.verdict,
        outcome.exit_code,
        outcome.record,
        time.monotonic() - began,
        outcome.reason,
        outcome.workload_s,
        outcome.details,
        outcome.notes,
        outcome.facts,
        outcome.evidence,
    )


def refused(error: Exception, wall_s: float, before: str = "") -> CellResult:
    """What became of a run that could not be, or whose guest was lost without a record."""
    code = getattr(error, "exit_code", ExitCode.CANNOT_RUN)
    lines = [line.strip() for line in (before + (str(error) or repr(error))).splitlines()]
    return CellResult(
        "guest lost" if code == ExitCode.GUEST_LOST else "cannot run",
        code,
        wall_s=wall_s,
        reason=": ".join([lines[0].rstrip(":"), *lines[1:2]]) if len(lines) > 1 else lines[0],
        details=tuple(lines),
    )


async def prepare(spec: str, telling: Telling) -> CellResult:
    """Get a kernel into this host's cache."""
    began = time.monotonic()

    def progress(stage: str, fraction: float | None) -> None:
        telling(StageProgress("kernel", stage, fraction))

    try:
        await resolve_kernel(spec, progress=progress, need=())
    except (KtstrError, OSError) as error:
        return refused(error, time.monotonic() - began)
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
    return ExitCode.INTERRUPTED if scope.cancelled_caught else ExitCode.PASS


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
