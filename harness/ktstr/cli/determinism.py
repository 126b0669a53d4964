# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr verify-determinism``: the same run again and again, held against the first."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ktstr.cli.command_line import Command
from ktstr.cli.options import instead, out_folder

if TYPE_CHECKING:
    from ktstr.session.difference import Difference
    from ktstr.session.options import RunOptions
    from ktstr.session.record import RunRecord

HOG = "while True: pass"


@dataclass(frozen=True, slots=True)
class Turn:
    """One run, and what it left."""

    number: int
    loaded: bool
    wall_s: float
    record: "RunRecord"

    @property
    def identity(self) -> str:
        """The digest of what has to be the same."""
        return str(self.record.facts["identity"])

    def frames(self) -> bytes:
        """What the guest sent."""
        return Path(self.record.host["frames"]).read_bytes()


@click.command(cls=Command, name="verify-determinism")
@click.argument("scenario", metavar="SCENARIO")
@click.option("-n", "times", type=click.IntRange(2, 1000), default=5, show_default=True)
@click.option("--load", is_flag=True, help="Beside every other run, keep each host CPU busy.")
@click.option("--seed", type=click.IntRange(0, (1 << 63) - 1), metavar="N", help="The seed.")
@instead("kernel", "topology", "scheduler")
@out_folder("ktstr-runs/determinism", "Folder for records and frames.")
def verify_determinism(
    scenario: str,
    times: int,
    load: bool,
    seed: int | None,
    kernel: str | None,
    topology: str | None,
    scheduler: str | None,
    out_dir: Path,
) -> None:
    """Run SCENARIO several times by the virtual clock and compare every byte.

    Where two runs differ, the first frame that does is shown. What the verdict is makes no
    difference here.

    Exit status: 0 all are the same, 1 they are not, 4 cannot run.
    """
    from ktstr.cli.logs import configure_logging
    from ktstr.errors import KtstrError
    from ktstr.model.catalogue import scenario_path
    from ktstr.session.options import RunOptions

    configure_logging(verbose=False)
    options = RunOptions(
        kernel=kernel,
        topology=topology,
        scheduler=scheduler,
        clock="virtual",
        seed=seed,
        auto_repro=False,
        keep_frames=True,
        out_dir=out_dir,
    )
    try:
        sys.exit(_verify(scenario_path(scenario), options, times, load=load))
    except KtstrError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(int(error.exit_code))
    except KeyboardInterrupt:
        sys.exit(130)


def _verify(path: Path, options: "RunOptions", times: int, *, load: bool) -> int:
    first: Turn | None = None
    walls: dict[bool, list[float]] = {False: [], True: []}
    parted = 0
    for number in range(1, times + 1):
        turn = _run(path, options, number, loaded=load and number % 2 == 0)
        walls[turn.loaded].append(turn.wall_s)
        first = first or turn
        difference = _held_against(first, turn)
        beside = ", the host busy" if turn.loaded else ""
        same = "" if turn is first else ("  the same" if difference is None else "  DIFFERENT")
        click.echo(
            f"run {number} of {times}: {turn.identity[:16]}  {turn.record.verdict}  "
            f"{turn.wall_s:.1f} s{beside}{same}"
        )
        if difference is not None:
            parted += 1
            if parted == 1:
                _show(difference, first, turn)
    assert first is not None
    loaded = f", {len(walls[True])} of them on a busy host" if walls[True] else ""
    if parted:
        click.echo(f"NOT DETERMINISTIC: {parted} of {times} runs differ from the first{loaded}")
        return 1
    figures = first.record.host
    click.echo(
        f"deterministic: {times} of {times} runs are the same{loaded}; "
        f"seed {first.record.facts['virtual']['seed']}, identity {first.identity}"
    )
    if "slowdown" in figures:
        click.echo(
            f"{figures['guest_s']:.2f} s of the guest took {figures['wall_s']:.2f} s "
            f"({figures['slowdown']:.2f} times as long)"
        )
    return 0


def _run(path: Path, options: "RunOptions", number: int, *, loaded: bool) -> Turn:
    from functools import partial

    import anyio

    from ktstr.session.events import ignore
    from ktstr.session.run import run_scenario

    began = time.monotonic()
    with _busy_host(os.cpu_count() or 1 if loaded else 0):
        record = anyio.run(partial(run_scenario, path, options, ignore))
    if record.output_error is not None:
        from ktstr.errors import OutputUnwritable

        raise OutputUnwritable(record.output_error)
    return Turn(number, loaded, time.monotonic() - began, record)


@contextmanager
def _busy_host(cpus: int) -> Iterator[None]:
    hogs = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(cpus)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
        for hog in hogs:
            hog.wait()


def _held_against(first: Turn, turn: Turn) -> "Difference | None":
    from ktstr.session.difference import (
        Difference,
        first_frame_difference,
        first_value_difference,
    )
    from ktstr.session.identity import read_values

    if turn is first:
        return None
    difference = first_frame_difference(first.frames(), turn.frames())
    if difference is not None or turn.identity == first.identity:
        return difference
    assert first.record.sidecar is not None and turn.record.sidecar is not None
    found = first_value_difference(
        read_values(first.record.sidecar), read_values(turn.record.sidecar)
    )
    return found or Difference("the identity alone", ())


def _show(difference: "Difference", first: Turn, turn: Turn) -> None:
    from ktstr.report.printable import one_line

    click.echo(f"  the first difference: {difference.where}")
    heads = ("", f"run {first.number}", f"run {turn.number}")
    cells = [heads, *((row.key, row.one, row.other) for row in difference.rows)]
    texts = [tuple(one_line(cell) for cell in row) for row in cells]
    widths = [max(len(row[column]) for row in texts) for column in range(3)]
    for row in texts:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo(f"    {line.rstrip()}")
    for each in (first, turn):
        click.echo(f"  run {each.number}: {each.record.sidecar}")
