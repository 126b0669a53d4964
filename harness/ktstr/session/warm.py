# SPDX-License-Identifier: GPL-2.0-only
"""From which template a run's guest continues, and of which it becomes one.

A guest waits at its mailbox twice. At the first level it has booted; at the second the scheduler
under test is attached too, and has settled. Runs of the same guest begin where the deepest template
was taken (docs/decisions/0021).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import anyio.to_thread
import msgpack

from ktstr.errors import StateUnusable
from ktstr.session.definition import Definition
from ktstr.session.early import EarlyLook
from ktstr.session.link import Link
from ktstr.session.options import RunOptions
from ktstr.session.prepare import Prepared
from ktstr.vm.launch import launch
from ktstr.vm.machine import Machine
from ktstr.vm.spec import VmSpec
from ktstr.vm.template import TemplateStore, limit_bytes
from ktstr.vm.template_key import template_key

BOOTED: Final = 1
"""The agent waits for a plan, or for what is to be got ready before one."""

READY: Final = 2
"""The scheduler is attached and has settled; the agent waits for the plan."""

Start = Literal["cold", "template", "clone"]
"""A guest that booted; that booted (or attached) and was kept for later runs; that continued."""


@dataclass(frozen=True, slots=True)
class Level:
    """A moment at which a guest can be kept, and the key it is kept under."""

    number: int
    key: str


class Warm:
    """The templates of one run.

    :param remark: gets a sentence about a template that could not be used or made.
    :param before_boot: waited for before a guest boots; a template made meanwhile is used.
    :ivar why_cold: why the guest has to boot; ``None`` when it may continue a template.
    :ivar reached: the level its guest had when this run got it; 0 when it booted.
    :ivar standing: whether it stands where it was saved, until :meth:`go_on`.
    :ivar early: what its memory showed before QEMU had started, where it continued.
    :ivar kept: level, seconds the guest stood still and bytes on disk of what this run kept.
    """

    def __init__(
        self,
        ready: Prepared,
        spec: VmSpec,
        options: RunOptions,
        remark: Callable[[str], None],
        retry: str | None = None,
        before_boot: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.why_cold = retry or why_cold(ready.definition, spec, options)
        self.reached = 0
        self.standing = False
        self.kept: list[dict[str, float]] = []
        self.preparation: bytes | None = None
        self.early: EarlyLook | None = None
        self._spec = spec
        self._remark = remark
        self._before_boot = before_boot
        self._qemu = ready.qemu
        self._levels: tuple[Level, ...] = ()
        if self.why_cold is None:
            self._store = TemplateStore()
            self.preparation = preparation(ready.definition)
            self._levels = tuple(
                Level(
                    number,
                    template_key(spec, self._qemu, ready.kernel.digest, ready.image.digest, told),
                )
                for number, told in ((BOOTED, b""), (READY, self.preparation))
                if told is not None
            )
        self._about = {
            "kernel": ready.kernel.release,
            "topology": str(ready.definition.topology),
            "memory_mib": spec.memory_mib,
            "scheduler": ready.definition.scenario.scheduler.kind,
        }

    @property
    def start(self) -> Start:
        """How the run's guest came to be."""
        if self.kept:
            return "template"
        return "clone" if self.reached else "cold"

    def facts(self) -> dict[str, object]:
        """For the record: how the run's guest came to be, and what was kept of it."""
        facts: dict[str, object] = {"start": self.start}
        if self.why_cold is not None:
            facts["why_cold"] = self.why_cold
        if self.kept:
            facts["templates_kept"] = list(self.kept)
        return facts

    @asynccontextmanager
    async def machine(self, run_dir: Path, *, attach: bool) -> AsyncIterator[tuple[Machine, bytes]]:
        """A machine, and every byte its guest has sent before; it runs, or stands there.

        :raise KtstrError: as :func:`ktstr.vm.machine.launch`.
        """
        async with AsyncExitStack() as stack:
            past = await self._deepest(stack, run_dir)
            if past is None and self._before_boot is not None:
                await self._before_boot()
                past = await self._deepest(stack, run_dir)
            if past is not None:
                yield past
                return
            machine = launch(self._spec, run_dir, attach=attach, qemu=self._qemu)
            yield await stack.enter_async_context(machine), b""

    async def _deepest(self, stack: AsyncExitStack, run_dir: Path) -> tuple[Machine, bytes] | None:
        for level in reversed(self._levels):
            past = await self._continued(stack, level, run_dir)
            if past is not None:
                return past
        return None

    async def _continued(
        self, stack: AsyncExitStack, level: Level, run_dir: Path
    ) -> tuple[Machine, bytes] | None:
        with self._store.using(level.key, self._remark) as template:
            if template is None:
                return None
            self.early = EarlyLook(template.frames)
            try:
                incoming = template.incoming(run_dir, self.early.look)
                machine = await stack.enter_async_context(
                    launch(self._spec, run_dir, qemu=self._qemu, incoming=incoming)
                )
            except StateUnusable as error:
                self._store.discard(level.key, error.message, self._remark)
                self.early = None
                return None
            self.reached, self.standing = level.number, True
            return machine, template.frames

    async def go_on(self, machine: Machine) -> None:
        """Let a guest run on from where it was saved.

        :raise GuestLost: when QEMU does not answer.
        """
        self.standing = False
        await machine.cont()

    def give_up(self, reason: str) -> None:
        """Take away the template this run's guest continued: others would fare no better."""
        for level in self._levels:
            if level.number == self.reached:
                self._store.discard(level.key, reason, self._remark)

    async def keep(self, number: int, machine: Machine, link: Link) -> None:
        """Keep the guest, which waits at its mailbox, as the template of that level.

        It stands still meanwhile and then goes on: continuing a copy would take longer.

        :raise GuestLost: when QEMU does not answer.
        """
        key = next((level.key for level in self._levels if level.number == number), None)
        if key is None or self.reached >= number or self._store.has(key):
            return
        await machine.stop()
        try:
            said = link.said_so_far()
            if said is None or machine.end is not None:
                return
            saved = await self._store.save(key, machine, said, {"level": number, **self._about})
        except StateUnusable as error:
            self._remark(f"this guest is not kept for later runs: {error.message}")
            return
        finally:
            if machine.end is None:
                await machine.cont()
        if saved is not None:
            figures = {"level": number, "seconds": round(saved.seconds, 3), "bytes": saved.size}
            self.kept.append(figures)
            await anyio.to_thread.run_sync(self._store.make_room)


def why_cold(definition: Definition, spec: VmSpec, options: RunOptions) -> str | None:
    """Why a run's guest has to boot; ``None`` when it may continue a template."""
    if options.cold:
        return "--cold"
    if spec.virtual is not None:
        return "by the virtual clock a run begins with its guest's first instruction"
    if options.keep_vm:
        return "a VM that is kept offers people sockets, which a saved one has not"
    if spec.scratch_mib:
        return "a scratch disk cannot be saved: QEMU's nvme device does not migrate"
    if definition.plan.get("probes"):
        return "probes start before the scheduler"
    if spec.debug:
        return "a debugger is offered"
    if not limit_bytes():
        return "templates may take no room (KTSTR_TEMPLATES_MB)"
    return None


def preparation(definition: Definition) -> bytes | None:
    """What the guest is to get ready before it is told the plan; ``None``: nothing."""
    if definition.scenario.scheduler.kind == "none":
        return None
    packed: bytes = msgpack.packb({"scheduler": definition.plan["scheduler"]})
    return packed
