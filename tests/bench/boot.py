# SPDX-License-Identifier: GPL-2.0-only
"""Booting and attaching, measured on the host's clock."""

import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import msgpack

from ktstr.errors import BootTimeout, GuestLost
from ktstr.kernels import KernelCache
from ktstr.session.conversation import Conversation
from ktstr.session.definition import define
from ktstr.session.emulator import STALE_BREAKPOINT
from ktstr.session.events import ignore
from ktstr.session.link import Link
from ktstr.session.mailbox import ring
from ktstr.session.needs import vm_spec
from ktstr.session.options import Deadlines, RunOptions
from ktstr.session.prepare import Prepared, prepared
from ktstr.session.recorder import Recorder
from ktstr.session.scopes import task_scope
from ktstr.vm.launch import launch
from ktstr.vm.machine import Machine
from ktstr.vm.spec import VmSpec

T = TypeVar("T")

MAX_SPOILED = 5

SCENARIO = """
name = "bench"
[vm]
topology = "{topology}"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "600s"
[[steps.cgroups]]
name = "busy"
works = [{{ type = "Mixed", workers = {workers} }}]
[checks]
not_starved = true
"""


@dataclass
class Booted:
    """A guest that said Hello."""

    machine: Machine
    link: Link
    recorder: Recorder
    conversation: Conversation
    prepared: Prepared

    async def attach_scheduler(self) -> float:
        """Ring the mailbox; seconds until the scheduler was enabled."""
        hello = self.recorder.hello
        assert hello is not None
        began = time.monotonic()
        plan = msgpack.packb(self.prepared.definition.plan)
        ring(self.machine.ram, hello.mailbox, plan, time.time_ns())
        await self.conversation.attached()
        assert self.recorder.attached_at is not None
        return self.recorder.attached_at - began


@dataclass
class Figures:
    """Seconds of each repetition."""

    hello_s: list[float] = field(default_factory=list)
    agent_s: list[float] = field(default_factory=list)
    attach_s: list[float] = field(default_factory=list)
    bzimage_s: list[float] = field(default_factory=list)


@asynccontextmanager
async def ready(
    folder: Path, topology: str, workers: int, kernel: str | None = None
) -> AsyncIterator[Prepared]:
    """A prepared run of a scenario that only keeps the guest busy."""
    path = folder / "bench.toml"
    path.write_text(SCENARIO.format(topology=topology, workers=workers))
    options = RunOptions(kernel=kernel)
    async with prepared(define(path, options), options, folder, ignore) as found:
        yield found


@asynccontextmanager
async def booted(found: Prepared, spec: VmSpec, folder: Path) -> AsyncIterator[Booted]:
    """Boot up to Hello."""
    recorder = Recorder(dict(found.definition.workers))
    async with launch(spec, folder) as machine:
        link = Link(machine.bulk, machine.ctl, folder / "frames.bin", recorder.on_frame)
        conversation = Conversation(
            machine,
            link,
            recorder,
            Deadlines(),
            found.definition.holds_ms,
            0.0,
            time.monotonic() + 3600,
        )
        async with task_scope() as group:
            group.start_soon(link.serve)
            await conversation.hello()
            yield Booted(machine, link, recorder, conversation, found)


async def measure(runs: int) -> Figures:
    """Boot ``runs`` times by PVH with the scheduler, and in turn by bzImage."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        folder = Path(scratch)
        async with ready(folder, "1n1l2c1t", 2) as found:
            spec = vm_spec(found)
            plain = replace(spec, kernel=found.kernel.image, pvh=False)

            async def attach() -> tuple[float, float, float]:
                began = time.monotonic()
                async with booted(found, spec, folder) as guest:
                    hello_s = time.monotonic() - began
                    assert guest.recorder.hello is not None
                    return (
                        hello_s,
                        guest.recorder.hello.agent_start_s,
                        await guest.attach_scheduler(),
                    )

            async def boot_only() -> float:
                began = time.monotonic()
                async with booted(found, plain, folder):
                    return time.monotonic() - began

            for _ in range(runs):
                hello_s, agent_s, attach_s = await unspoiled(attach)
                figures.hello_s.append(hello_s)
                figures.agent_s.append(agent_s)
                figures.attach_s.append(attach_s)
                figures.bzimage_s.append(await unspoiled(boot_only))
    return figures


def fast_kernel() -> str | None:
    """Specification of the ``fast`` kernel that was used last, if one is cached."""
    built = [e for e in KernelCache().entries() if e.origin.get("fragments") == "base,fast"]
    return f"{built[0].spec}+fast" if built else None


async def measure_fast(kernel: str, runs: int) -> list[float]:
    """Seconds from QEMU's start to Hello."""
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        folder = Path(scratch)
        async with ready(folder, "1n1l2c1t", 2, kernel) as found:

            async def boot() -> float:
                began = time.monotonic()
                async with booted(found, vm_spec(found), folder):
                    return time.monotonic() - began

            return [await unspoiled(boot) for _ in range(runs)]


async def unspoiled(trial: Callable[[], Awaitable[T]]) -> T:
    """The first result that the emulator did not spoil; see ``ktstr.session.emulator``.

    :raise GuestLost: when five trials in a row were lost, or one for another reason.
    """
    for _ in range(MAX_SPOILED):
        try:
            return await trial()
        except GuestLost as error:
            if STALE_BREAKPOINT not in str(error) and not isinstance(error, BootTimeout):
                raise
            print(
                f"a guest was lost to the emulator and is started again: {error}", file=sys.stderr
            )
            last = error
    raise last
