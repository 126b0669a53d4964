# SPDX-License-Identifier: GPL-2.0-only
"""Write watches of one run: set for an op, answered with a capture at each hit, taken away."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread

from ktstr.errors import GuestLost, KtstrError
from ktstr.introspect import Kernel
from ktstr.introspect.globals import WRITABLE
from ktstr.introspect.watch import (
    SIZES,
    BadWatch,
    Watched,
    code_at,
    watched_symbol,
    watched_variable,
)
from ktstr.model.op_programs import MAX_HITS, MAX_WATCHES
from ktstr.series.sample import Sample, Trigger
from ktstr.series.stats_reason import DURING_FREEZE
from ktstr.session.dump import Guard
from ktstr.session.inspector import Inspector
from ktstr.session.live import Live
from ktstr.vm.gdb import Debugger, GdbFault, Stop
from ktstr.wire import WireError
from ktstr.wire.messages import take_int, take_str

MAX_SET = 64
"""Watches that one run may set, one after the other."""

CLOSE_S = 20.0
"""How long taking all watches away may take; each answer of QEMU has its own limit."""

SYMBOL_CHARS = 512


@dataclass(slots=True)
class Watch:
    """One watch: what it is on, and how far it is.

    :param step: the step that set it, 0 for the Backdrop.
    :param last: the value when it was set or last hit.
    """

    tag: str
    target: Watched
    step: int
    hits: int
    last: int | None
    fired: int = 0

    def in_words(self) -> str:
        """What it is on."""
        where = f" in {self.target.holder}" if self.target.holder else ""
        return f"{self.target.name}{where}"


class Watches:
    """The watches of one run.

    A hit leaves the guest standing until :meth:`serve` has taken it up, whoever else wanted it to
    go on.

    :param on_sample: called with each capture.
    """

    def __init__(
        self, live: Live, inspector: Inspector, on_sample: Callable[[Sample], None]
    ) -> None:
        self._live = live
        self._inspector = inspector
        self._on_sample = on_sample
        self._watches: list[Watch] = []
        self._tags: set[str] = set()
        self._debugger: Debugger | None = None
        self._guard: Guard | None = None
        self._woken = anyio.Event()
        self._noticed = (0, 0.0)

    async def guard(self, guard: Guard) -> None:
        """Set the one watch that is ktstr's own, beside those of ops.

        :raise GuestLost: when QEMU does not do it.
        """
        async with self._inspector.standing():
            debugger = await self._live.machine.debugger()
            debugger.on_hit = self._wake
            self._debugger = debugger
            await debugger.watch(guard.target.address, guard.target.size)
            self._guard = guard

    async def add(self, fields: dict[str, object]) -> None:
        """Set the watch that a request asks for.

        :raise WireError: when the request is none.
        :raise BadWatch: when it cannot be set; :raise NoSuchGlobal: as it has nothing to watch.
        :raise GuestLost: when QEMU does not do it.
        """
        tag, step = take_str(fields, "tag", 64), take_int(fields, "step", 65535)
        hits = take_int(fields, "hits", MAX_HITS)
        symbol, variable, section, size = _target_fields(fields)
        if not hits or not tag or tag in self._tags or len(self._tags) >= MAX_SET:
            raise WireError(f"a watch {tag!r} is not set: a wrong name, or one too many")
        if len(self._watches) >= MAX_WATCHES:
            there = ", ".join(watch.tag for watch in self._watches)
            raise BadWatch(f"{MAX_WATCHES} watches are set already: {there}")
        async with self._inspector.hold() as (kernel, _):
            if symbol is not None:
                find = partial(watched_symbol, kernel, symbol, size)
            else:
                find = partial(watched_variable, kernel, variable or "", section, size)
            target = await anyio.to_thread.run_sync(find)
            # Loads the table of symbols now, while the guest runs, and not at the first hit.
            await anyio.to_thread.run_sync(code_at, kernel, target.address)
        for other in self._watches:
            if other.target.address == target.address:
                raise BadWatch(f"{target.name} is watched already, as {other.tag}")
        async with self._inspector.standing() as kernel:
            debugger = await self._live.machine.debugger()
            debugger.on_hit = self._wake
            self._debugger = debugger
            watch = Watch(tag, target, step, hits, target.value(kernel))
            await debugger.watch(target.address, target.size)
            self._watches.append(watch)
            self._tags.add(tag)
        self._live.recorder.note(
            f"watch {tag} is set on {watch.in_words()} ({target.size} bytes at {target.address:#x})"
        )

    async def end_step(self, step: int) -> None:
        """Take the watches of a step away.

        :raise GuestLost: when QEMU does not do it.
        """
        for _ in range(MAX_SET * MAX_HITS):
            if self._debugger is None or not self._of_step(step):
                return
            async with self._inspector.standing():
                # A hit of the last moment counts: serve() waits for its turn.
                if self._debugger.hit is None:
                    for watch in self._of_step(step):
                        await self._remove(watch)
            await anyio.lowlevel.checkpoint()

    async def serve(self) -> None:
        """Answer hits until cancelled.

        :raise GuestLost: when QEMU does not answer.
        """
        while True:
            await self._woken.wait()
            self._woken = anyio.Event()
            await self._take_up(*self._noticed)

    async def close(self) -> None:
        """Take all watches away and leave the guest to itself; never raises."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_S):
            if self._debugger is not None:
                machine = self._live.machine
                try:
                    async with self._inspector.hold():
                        await machine.stop()
                        self._count_last(self._debugger.take_hit())
                        for watch in list(self._watches):
                            await self._remove(watch)
                        await self._drop_guard()
                except KtstrError:
                    pass  # QEMU is gone, and the watches with it
                self._debugger.take_hit()
                await machine.drop_debugger()
                self._debugger = None
        for watch in self._watches:
            self._note_end(watch)
        self._watches.clear()

    def _of_step(self, step: int) -> list[Watch]:
        return [watch for watch in self._watches if watch.step == step]

    def _count_last(self, stop: Stop | None) -> None:
        for watch in self._watches:
            if stop is not None and watch.target.address == stop.watch:
                watch.fired += 1
                self._live.recorder.note(f"watch {watch.tag} was hit as the run ended: no snapshot")

    def _wake(self) -> None:
        self._noticed = time.perf_counter_ns(), time.monotonic()
        self._woken.set()

    async def _remove(self, watch: Watch) -> None:
        assert self._debugger is not None
        await self._debugger.unwatch(watch.target.address, watch.target.size)
        self._watches.remove(watch)
        self._note_end(watch)

    def _note_end(self, watch: Watch) -> None:
        if not watch.fired:
            self._live.recorder.note(f"watch {watch.tag} never fired ({watch.in_words()})")

    async def _take_up(self, began_ns: int, began_s: float) -> None:
        trigger: Trigger | None = None
        owner: Watch | None = None
        sample_of = partial(self._sample, began_s)
        async with self._inspector.hold() as (kernel, freezer):

            async def look() -> bool:
                nonlocal trigger, owner
                found = await self._hit(kernel)
                if found is None:
                    return False
                owner, trigger = found
                return True

            try:
                taken = await freezer.capture_now(began_ns, look)
            except GuestLost:
                raise
            except Exception as failure:
                # Whatever hostile memory makes a reader raise is a sample that failed, no more.
                if owner is None or trigger is None:
                    self._live.recorder.note(f"a watch was hit, but: {failure}")
                else:
                    error = f"{type(failure).__name__}: {failure}"
                    self._on_sample(sample_of(owner, trigger, error=error))
                return
            if taken is None or owner is None or trigger is None:
                return
            if trigger.instruction is not None:
                at = trigger.instruction
                code = await anyio.to_thread.run_sync(code_at, kernel, at)
                trigger = replace(trigger, code=code)
            sample = sample_of(
                owner, trigger, taken.error, snapshot=taken.snapshot, paused_ns=taken.paused_ns
            )
        self._on_sample(sample)

    async def _hit(self, kernel: Kernel) -> tuple[Watch, Trigger] | None:
        """Whose hit it was, and what is known of it while the guest stands; None for nobody's."""
        debugger = self._debugger
        stop = None if debugger is None else debugger.take_hit()
        if debugger is None or stop is None:
            return None
        # Two CPUs may write at once. QEMU tells of the second later, then perhaps about a watch
        # that has gone (docs/decisions/0015): nobody's, and the guest goes on.
        mine = [watch for watch in self._watches if watch.target.address == stop.watch]
        if not mine:
            guard = self._guard
            is_mine = guard is not None and guard.target.address == stop.watch
            if guard is not None and is_mine and await guard.look(kernel, stop):
                await self._drop_guard()
            return None
        watch, target = mine[0], mine[0].target
        if not target.is_there(kernel):
            self._live.recorder.note(f"watch {watch.tag} ended: {watch.in_words()} is gone")
            await self._remove(watch)
            return None
        watch.fired += 1
        instruction: int | None = None
        if stop.thread is not None:
            try:
                instruction = await debugger.instruction_pointer(stop.thread)
            except GdbFault as error:
                self._live.recorder.note(str(error))
        new = target.value(kernel)
        trigger = Trigger(
            watch=target.name,
            holder=target.holder,
            address=target.address,
            size=target.size,
            hit=watch.fired,
            cpu=None if stop.thread is None else stop.thread - 1,
            instruction=instruction,
            old=watch.last,
            new=new,
        )
        watch.last = new
        if watch.fired == watch.hits:
            await self._remove(watch)
        return watch, trigger

    async def _drop_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None and self._debugger is not None:
            await self._debugger.unwatch(guard.target.address, guard.target.size)

    def _sample(
        self,
        began_s: float,
        watch: Watch,
        trigger: Trigger,
        error: str | None,
        snapshot: object | None = None,
        paused_ns: int | None = None,
    ) -> Sample:
        return Sample(
            tag=watch.tag if trigger.hit == 1 else f"{watch.tag}#{trigger.hit}",
            elapsed_ms=round(self._live.recorder.clock.elapsed_ms(began_s)),
            step_index=watch.step or self._live.recorder.step_index,
            snapshot=snapshot,
            stats=DURING_FREEZE,
            paused_ns=paused_ns,
            error=error,
            trigger=trigger,
        )


def _target_fields(
    fields: dict[str, object],
) -> tuple[str | None, str | None, str | None, int | None]:
    """Symbol, variable, section and size of a request.

    :raise WireError: when they do not name one thing.
    """
    symbol, variable, section, size = (
        fields.get(key) for key in ("symbol", "variable", "section", "size")
    )
    for text in (symbol, variable):
        if text is not None and (type(text) is not str or not 0 < len(text) <= SYMBOL_CHARS):
            raise WireError("a request to watch has a name that is none")
    if (symbol is None) is (variable is None):
        raise WireError("a request to watch names not one symbol or variable")
    if section is not None and section not in WRITABLE:
        raise WireError(f"a request to watch in {section!r:.40}")
    if size is not None and (type(size) is not int or size not in SIZES):
        raise WireError(f"a request to watch {size!r:.40} bytes")
    return (
        None if symbol is None else str(symbol),
        None if variable is None else str(variable),
        None if section is None else str(section),
        None if size is None else int(str(size)),
    )
