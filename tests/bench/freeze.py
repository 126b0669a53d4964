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
from tests.bench.boot import booted, ready, unspoiled

from ktstr.capture.freezer import Freezer
from ktstr.introspect import attach, copy, decode, make_plan
from ktstr.session.run import vm_spec

PAUSE_BETWEEN_S = 0.02


@dataclass
class Figures:
    """What each snapshot cost; ``maps`` is how many BPF maps it held."""

    paused_ms: list[float] = field(default_factory=list)
    request_ms: list[float] = field(default_factory=list)
    copy_ms: list[float] = field(default_factory=list)
    decode_ms: list[float] = field(default_factory=list)
    maps: int = 0
    attach_s: float = 0.0


async def measure(count: int) -> Figures:
    """Take ``count`` snapshots of a 4-vCPU guest whose workers keep every CPU busy."""
    return await unspoiled(partial(_measure, count))


async def _measure(count: int) -> Figures:
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        folder = Path(scratch)
        async with (
            ready(folder, "1n2l2c1t", 4) as found,
            booted(found, vm_spec(found), folder) as guest,
        ):
            await guest.attach_scheduler()
            hello = guest.recorder.hello
            assert hello is not None
            began = time.monotonic()
            kernel = attach(guest.machine.ram, hello.vmcoreinfo, cache_dir=user_cache_path("ktstr"))
            figures.attach_s = time.monotonic() - began
            await anyio.sleep(2)
            freezer = Freezer(guest.machine, guest.machine.ram, kernel)
            for _ in range(count):
                taken = await freezer.capture()
                figures.paused_ms.append(taken.paused_ns / 1e6)
                figures.request_ms.append(taken.request_ns / 1e6)
                assert taken.snapshot is not None
                figures.maps = len(taken.snapshot.maps)
                await anyio.sleep(PAUSE_BETWEEN_S)
            plan = make_plan(kernel)
            for _ in range(20):
                before = time.perf_counter_ns()
                captured = copy(plan, guest.machine.ram)
                between = time.perf_counter_ns()
                decode(plan, captured, kernel)
                figures.copy_ms.append((between - before) / 1e6)
                figures.decode_ms.append((time.perf_counter_ns() - between) / 1e6)
    return figures
