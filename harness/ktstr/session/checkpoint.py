# SPDX-License-Identifier: GPL-2.0-only
"""Checkpoints of one run: of a step's last moment, and of how a run that did not pass ended.

A checkpoint never changes a verdict: whatever keeps one from being taken or written is a note.
"""

import math
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.from_thread
import anyio.to_thread

from ktstr.errors import GuestLost, KtstrError
from ktstr.introspect.vmcoreinfo import read_vmcoreinfo
from ktstr.series.dump.report import AT_END
from ktstr.session.dump import read_registers, scheduler_comm
from ktstr.session.events import Emit, Note
from ktstr.session.options import RunOptions
from ktstr.vm.checkpoint import SUFFIX, touched, write_checkpoint
from ktstr.vm.checkpoint_manifest import KernelFacts, MachineShape, Manifest, QemuVersion
from ktstr.vm.migration import save_state
from ktstr.vm.ram import GuestRam
from ktstr.vm.sparse import copy_data

if TYPE_CHECKING:
    from ktstr.session.definition import Definition
    from ktstr.session.inspector import Inspector
    from ktstr.session.live import Live

LEAD_S: Final = 0.05
"""How long before the end of its hold a step is taken, so that its workers still run."""

STATE_FILE: Final = "devices.state"
_TEXT: Final = 4000
"""Longest text that goes into a manifest, characters."""


@dataclass(slots=True)
class Taken:
    """A moment that was taken and is still to be written.

    :ivar ram: RAM as it was then; the machine's own while that stands still.
    """

    target: Path
    manifest: Manifest
    ram: GuestRam
    state: bytes | None
    registers: str | None


@dataclass(slots=True)
class Checkpoints:
    """What one run is to take, and what it has taken.

    :ivar stem: of the files' paths.
    :ivar on_fail: whether the end of a run that did not pass is kept.
    :ivar step: the step whose end is kept, from 1 on.
    """

    run_id: str = ""
    stem: Path = Path()
    on_fail: bool = False
    step: int | None = None
    _waiting: Taken | None = None
    _written: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, definition: "Definition", options: RunOptions, run_id: str) -> "Checkpoints":
        """What the options ask of a run."""
        stem = options.out_dir / f"{definition.scenario.name}-{run_id}"
        return cls(run_id, stem, options.checkpoint_on_fail, definition.checkpoint_step)

    async def keep_step(self, live: "Live", inspector: "Inspector", emit: Emit) -> None:
        """Wait for the step that was asked for and take its last moment; never raises.

        It is kept in memory until the run is over, since writing would take CPU time from it.
        """
        recorder, step = live.recorder, self.step
        if step is None or not await live.link.until(
            lambda: step in recorder.step_starts, math.inf
        ):
            return
        ends = recorder.step_starts[step] + live.definition.holds_ms[step - 1] / 1000
        late = await live.link.until(lambda: step in recorder.step_ends, ends - LEAD_S)
        moment = f"end of step {step}"
        try:
            began = time.monotonic()
            async with inspector.standing():
                held = recorder.clock.running
                recorder.clock.stop(time.monotonic())
                try:
                    self._waiting = await self._copied(live, moment)
                finally:
                    if held:
                        recorder.clock.start(time.monotonic())
        except Exception as error:
            # Guest memory may hold anything, so attaching to it may raise anything.
            self._missed(live, moment, error, emit)
            return
        stood_ms = (time.monotonic() - began) * 1000
        note = f"checkpoint at the {moment}: the guest stood still for {stood_ms:.0f} ms"
        recorder.note(note + ("; the step's workers had been told to end" if late else ""))

    async def _copied(self, live: "Live", moment: str) -> Taken:
        machine = live.machine
        taken = await self._take(live, f".step{self.step}", moment, "")
        ram = GuestRam(machine.ram.node_bytes)
        try:
            for source, copy in zip(machine.ram.fds, ram.fds, strict=True):
                await anyio.to_thread.run_sync(copy_data, source, copy)
        except BaseException:
            ram.close()
            raise
        taken.ram = ram
        return taken

    async def conclude(self, live: "Live", reason: str | None, emit: Emit) -> list[str]:
        """Write what was taken, and the end of a run that did not pass; the guest stands still.

        :param reason: why it did not pass; ``None`` when it did.
        :return: the files.
        """
        try:
            if self._waiting is not None:
                await self._write(live, self._waiting, emit)
            elif self.step is not None and self.step not in live.recorder.step_starts:
                self._missed(live, f"end of step {self.step}", KtstrError("it did not begin"), emit)
        finally:
            self.close()
        if self.on_fail and reason is not None:
            moment = AT_END
            try:
                taken = await self._take(live, "", moment, reason)
            except (KtstrError, OSError, ValueError) as error:
                self._missed(live, moment, error, emit)
            else:
                await self._write(live, taken, emit)
        return [str(path) for path in self._written]

    async def _write(self, live: "Live", taken: Taken, emit: Emit) -> None:
        began = time.monotonic()
        write = partial(
            write_checkpoint,
            taken.target,
            taken.manifest,
            touched(taken.ram),
            taken.state,
            taken.registers,
            anyio.from_thread.check_cancelled,
        )
        try:
            size = await anyio.to_thread.run_sync(write)
        except (KtstrError, OSError) as error:
            self._missed(live, taken.manifest.moment, error, emit)
            return
        self._written.append(taken.target)
        seconds = time.monotonic() - began
        emit(Note(f"checkpoint {taken.target} ({size / 1e6:.1f} MB, {seconds:.1f} s)"))
        if taken.manifest.stateless is not None:
            why = f"{taken.target.name} holds memory only: {taken.manifest.stateless}"
            live.recorder.note(why)
            emit(Note(why, warning=True))

    def _missed(self, live: "Live", moment: str, error: Exception, emit: Emit) -> None:
        words = error.message if isinstance(error, KtstrError) else str(error)
        text = f"no checkpoint at the {moment}: {words or type(error).__name__}"
        live.recorder.note(text)
        emit(Note(text, warning=True))

    def close(self) -> None:
        """Let go of what was taken and not written."""
        if self._waiting is not None:
            self._waiting.ram.close()
            self._waiting = None

    async def _take(self, live: "Live", which: str, moment: str, reason: str) -> Taken:
        target = self.stem.with_name(f"{self.stem.name}{which}{SUFFIX}")
        return await _take(live, target, self.run_id, moment, reason)


async def _take(live: "Live", target: Path, run_id: str, moment: str, reason: str) -> Taken:
    """All but the RAM of a guest that stands still, or whose QEMU is gone."""
    machine = live.machine
    state, stateless = None, None
    number = QemuVersion(number="")
    file = machine.console_log.parent / STATE_FILE
    registers = await read_registers(live)
    try:
        number = qemu_version(await machine.qmp("query-version"))
        await save_state(machine, file)
        state = await anyio.to_thread.run_sync(file.read_bytes)
    except (KtstrError, OSError) as error:
        stateless = error.message if isinstance(error, KtstrError) else str(error)
    finally:
        file.unlink(missing_ok=True)
    manifest = _manifest(live, run_id, moment, reason, number, stateless)
    return Taken(target, manifest, machine.ram, state, registers)


def _manifest(
    live: "Live",
    run_id: str,
    moment: str,
    reason: str,
    qemu: QemuVersion,
    stateless: str | None,
) -> Manifest:
    recorder, ready = live.recorder, live.prepared
    hello, kernel = recorder.hello, ready.kernel
    build_id = ""
    if hello is not None:
        try:
            build_id = read_vmcoreinfo(live.machine.ram, *hello.vmcoreinfo).build_id
        except (KtstrError, ValueError):
            build_id = ""
    elapsed_ms = recorder.clock.elapsed_ms(time.monotonic())
    return Manifest(
        scenario=live.definition.scenario.name,
        run_id=run_id,
        moment=moment,
        reason=reason[:_TEXT],
        step=recorder.step_index,
        elapsed_ms=elapsed_ms,
        taken_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        scheduler_comm=scheduler_comm(live),
        image_digest=ready.image.digest,
        kernel=KernelFacts(
            spec=kernel.spec[:_TEXT],
            release=kernel.release,
            build_id=build_id,
            digest=kernel.digest,
        ),
        vmcoreinfo=None if hello is None else hello.vmcoreinfo,
        qemu=qemu,
        cpu=host_cpu(),
        machine=MachineShape.of(live.machine.spec, firmware_bytes(live.machine.argv)),
        stateless=None if stateless is None else stateless[:_TEXT],
    )


def qemu_version(reply: object) -> QemuVersion:
    """The answer to ``query-version``.

    :raise GuestLost: when it is something else.
    """
    version = reply.get("qemu") if isinstance(reply, dict) else None
    if not isinstance(version, dict):
        raise GuestLost(f"QEMU does not tell its version: {reply!r:.100}")
    number = ".".join(str(version.get(part)) for part in ("major", "minor", "micro"))
    package = str(reply.get("package") or "") if isinstance(reply, dict) else ""
    return QemuVersion(number=number, package=package.strip("() ")[:_TEXT])


def firmware_bytes(argv: tuple[str, ...]) -> int | None:
    """Size of the firmware QEMU was given; ``None`` when it chose itself."""
    if "-bios" not in argv:
        return None
    return os.stat(argv[argv.index("-bios") + 1]).st_size


def host_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The host CPU's name; empty when the host does not say."""
    try:
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()[:_TEXT]
    except OSError:
        pass
    return ""
