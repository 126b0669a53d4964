# SPDX-License-Identifier: GPL-2.0-only
"""Freezing a busy guest, again and again."""

import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from platformdirs import user_cache_path
from tests.bench import many_maps
from tests.bench.boot import Booted, booted, ready, unspoiled

from ktstr.capture.freezer import Freezer
from ktstr.introspect import Kernel, attach, copy, decode, make_plan
from ktstr.session.needs import vm_spec

PAUSE_BETWEEN_S = 0.02
DECODES = 20
PLAIN_FORMS = 5


@dataclass
class Figures:
    """What each snapshot cost; ``maps`` is how many BPF maps it held.

    ``decode_ms``, ``globals_ms`` (rendering all data sections and one-value maps) and ``plain_ms``
    (the plain form of everything a report would show) are CPU time: nothing in them waits.
    """

    paused_ms: list[float] = field(default_factory=list)
    request_ms: list[float] = field(default_factory=list)
    copy_ms: list[float] = field(default_factory=list)
    decode_ms: list[float] = field(default_factory=list)
    globals_ms: list[float] = field(default_factory=list)
    plain_ms: list[float] = field(default_factory=list)
    maps: int = 0
    copied: int = 0
    attach_s: float = 0.0


async def measure(count: int) -> Figures:
    """Take ``count`` snapshots of a 4-vCPU guest whose workers keep every CPU busy."""
    return await unspoiled(partial(_measure, count))


async def measure_many(count: int) -> Figures:
    """The same of an 8-vCPU guest with 30 maps more, which hold 1 MiB of values."""
    return await unspoiled(partial(_measure_many, count))


async def _measure(count: int) -> Figures:
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        folder = Path(scratch)
        async with (
            ready(folder, "1n2l2c1t", 4) as found,
            booted(found, vm_spec(found), folder) as guest,
        ):
            await guest.attach_scheduler()
            kernel = _attach(guest, figures)
            await anyio.sleep(2)
            await _snapshots(guest, kernel, count, figures)
    return figures


async def _measure_many(count: int) -> Figures:
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        folder = Path(scratch)
        async with many_maps.ready(folder) as found, many_maps.filled(found, folder) as guest:
            kernel = _attach(guest, figures)
            await many_maps.maps_there(kernel)
            await _snapshots(guest, kernel, count, figures)
    return figures


def _attach(guest: Booted, figures: Figures) -> Kernel:
    hello = guest.recorder.hello
    assert hello is not None
    began = time.monotonic()
    kernel = attach(guest.machine.ram, hello.vmcoreinfo, cache_dir=user_cache_path("ktstr"))
    figures.attach_s = time.monotonic() - began
    return kernel


async def _snapshots(guest: Booted, kernel: Kernel, count: int, figures: Figures) -> None:
    freezer = Freezer(guest.machine, guest.machine.ram, kernel)
    for _ in range(count):
        taken = await freezer.capture()
        figures.paused_ms.append(taken.paused_ns / 1e6)
        figures.request_ms.append(taken.request_ns / 1e6)
        assert taken.snapshot is not None
        figures.maps, figures.copied = taken.snapshot.maps, taken.copied
        await anyio.sleep(PAUSE_BETWEEN_S)
    plan = make_plan(kernel)
    for _ in range(DECODES):
        before = time.perf_counter_ns()
        copy(plan, guest.machine.ram)
        figures.copy_ms.append((time.perf_counter_ns() - before) / 1e6)
    # What follows needs no guest, and a report is written when there is none any more.
    await guest.machine.stop()
    captured = copy(plan, guest.machine.ram)
    for _ in range(DECODES):
        before = time.thread_time_ns()
        snapshot = decode(plan, captured, kernel)
        decoded = time.thread_time_ns()
        for found in snapshot.maps:
            if found.value is not None:
                _ = found.value.value
        figures.decode_ms.append((decoded - before) / 1e6)
        figures.globals_ms.append((time.thread_time_ns() - decoded) / 1e6)
    for _ in range(PLAIN_FORMS):
        snapshot = decode(plan, captured, kernel)
        before = time.thread_time_ns()
        plain = snapshot.to_json()
        figures.plain_ms.append((time.thread_time_ns() - before) / 1e6)
        del plain
