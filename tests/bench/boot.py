# SPDX-License-Identifier: GPL-2.0-only
"""Booting and attaching, measured on the host's clock."""

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgpack

from ktstr.session.conversation import Conversation
from ktstr.session.events import ignore
from ktstr.session.link import Link
from ktstr.session.mailbox import ring
from ktstr.session.options import Deadlines, RunOptions
from ktstr.session.prepare import Prepared, define, prepared
from ktstr.session.recorder import Recorder
from ktstr.session.run import vm_spec
from ktstr.session.scopes import task_scope
from ktstr.vm.machine import Machine, launch
from ktstr.vm.spec import VmSpec

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
async def ready(folder: Path, topology: str, workers: int) -> AsyncIterator[Prepared]:
    """A prepared run of a scenario that only keeps the guest busy."""
    path = folder / "bench.toml"
    path.write_text(SCENARIO.format(topology=topology, workers=workers))
    options = RunOptions()
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
            for _ in range(runs):
                began = time.monotonic()
                async with booted(found, spec, folder) as guest:
                    figures.hello_s.append(time.monotonic() - began)
                    assert guest.recorder.hello is not None
                    figures.agent_s.append(guest.recorder.hello.agent_start_s)
                    figures.attach_s.append(await guest.attach_scheduler())
                began = time.monotonic()
                async with booted(found, plain, folder):
                    figures.bzimage_s.append(time.monotonic() - began)
    return figures
