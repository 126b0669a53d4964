# SPDX-License-Identifier: GPL-2.0-only
"""One running virtual machine: started, watched, stopped, and always cleaned up."""

import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import anyio
import anyio.to_thread

from ktstr.errors import (
    GuestHung,
    GuestLost,
    KtstrError,
    QemuDied,
)
from ktstr.vm.argv import (
    WATCH_CHARDEV,
)
from ktstr.vm.console import panic_message, tail, tail_lines
from ktstr.vm.events import MachineEnd, MachineEvent, end_from_event, end_from_exit
from ktstr.vm.freeze import Freezes, Stood
from ktstr.vm.gdb import Debugger
from ktstr.vm.process import Child
from ktstr.vm.qmp import COMMAND_DEADLINE_S, Monitor
from ktstr.vm.ram import GuestRam
from ktstr.vm.spec import VmSpec

CONSOLE_LOG = "console.log"
"""The guest's serial console, in the run folder."""

QEMU_LOG = "qemu.log"
"""QEMU's own output and errors, in the run folder."""

BULK_FILE = "frames.bin"
"""What a guest with a virtual clock sends, in the run folder."""

QUIT_DEADLINE_S = 3.0
"""How long QEMU may take to follow ``quit``."""

EXIT_GRACE_S = 1.0


class Machine:
    """A machine that :func:`launch` started; valid inside its ``async with`` block.

    :ivar spec: what was asked for.
    :ivar argv: QEMU's argument vector as it was executed (its channels are inherited descriptors).
    :ivar command: a shell command that starts the same machine by hand.
    :ivar ram: the guest's memory; readable for as long as the block lasts, also after the end.
    :ivar bulk: host end of the guest-to-host port, non-blocking; nothing comes out of it where
        ``bulk_file`` is set.
    :ivar ctl: host end of the host-to-guest port, non-blocking; it leads nowhere with a virtual
        clock.
    :ivar bulk_file: with a virtual clock: file that receives what the guest sends.
    :ivar console_log: file that receives the serial console.
    :ivar qemu_log: file that receives QEMU's own messages.
    :ivar sockets: with ``attach``: paths by name (``qmp``, ``console``, ``gdb``).
    :ivar ended: set once the machine will not run any further by itself.
    """

    def __init__(
        self,
        spec: VmSpec,
        argv: tuple[str, ...],
        command: str,
        ram: GuestRam,
        bulk: socket.socket,
        ctl: socket.socket,
        run_dir: Path,
        sockets: Mapping[str, Path],
    ) -> None:
        self.spec = spec
        self.argv = argv
        self.command = command
        self.ram = ram
        self.bulk = bulk
        self.ctl = ctl
        self.bulk_file: Path | None = None
        self.console_log = run_dir / CONSOLE_LOG
        self.qemu_log = run_dir / QEMU_LOG
        self.sockets: Mapping[str, Path] = MappingProxyType(dict(sockets))
        self.ended = anyio.Event()
        self._end: MachineEnd | None = None
        self._listeners: list[Callable[[MachineEvent], None]] = []
        self._child: Child | None = None
        self._monitor: Monitor | None = None
        self._freezes: Freezes | None = None
        self._debug_socket: socket.socket | None = None
        self._debugger: Debugger | None = None

    @property
    def pid(self) -> int:
        """Process id of QEMU."""
        return self._running_child().pid

    @property
    def qemu_version(self) -> str:
        """Version and package of QEMU, in its own words."""
        return "" if self._monitor is None else self._monitor.version

    @property
    def end(self) -> MachineEnd | None:
        """How the machine ended, ``None`` while it has not."""
        return self._end

    def on_event(self, receive: Callable[[MachineEvent], None]) -> None:
        """Have every further QMP event handed to ``receive``, in the event loop."""
        self._listeners.append(receive)

    async def stop(self) -> None:
        """Freeze all vCPUs; the guest stands still when this returns.

        :raises QemuDied: QEMU is gone.
        :raises GuestHung: no answer in time.
        """
        await self.qmp("stop")
        if self._debugger is not None:
            await self._stop_told(self._debugger)

    async def cont(self) -> None:
        """Let the vCPUs run on; a watch that was hit meanwhile keeps them until it is taken up.

        :raises QemuDied: QEMU is gone.
        :raises GuestHung: no answer in time.
        :raises GuestLost: the guest has ended and cannot go on.
        """
        if self._debugger is None or self._end is not None:
            await self.qmp("cont")
        elif self._debugger.hit is None:
            await self._debugger.resume()

    async def freeze(self, inside: Callable[[], object]) -> Stood:
        """Stop QEMU, call ``inside``, continue: as short a stop as the host can make it.

        The guest's clock runs on meanwhile; :meth:`stop` and :meth:`cont` hold it, and take longer.

        :param inside: must neither wait nor take long; the whole process waits for it.
        :raises QemuDied: QEMU is gone.
        :raises GuestHung: QEMU's threads did not stop in time.
        :raises Exception: whatever ``inside`` raised; the guest runs on all the same.
        """
        assert self._freezes is not None, "launch() starts QEMU before it yields"
        try:
            return await self._freezes.freeze(inside)
        except QemuDied as error:
            raise await self._reaped(error) from error

    async def debugger(self) -> Debugger:
        """The connection to QEMU's gdb stub, made on first use; the guest has to stand still.

        From then on :meth:`stop` and :meth:`cont` keep in step with the stub.

        :raises GuestLost: QEMU has no stub for us, or it does not answer.
        """
        if self._debugger is None:
            if self._debug_socket is None:
                raise GuestLost("this machine was started without a connection for a debugger")
            arguments = {"command-line": f"gdbserver chardev:{WATCH_CHARDEV}"}
            said = str(await self.qmp("human-monitor-command", arguments))
            if "ould not open" in said:
                raise GuestLost(f"QEMU opens no gdb stub: {said.strip()}")
            debugger = Debugger(self._debug_socket)
            try:
                await debugger.open()
            except BaseException:
                debugger.close()
                raise
            self._debugger = debugger
        return self._debugger

    async def drop_debugger(self) -> None:
        """Detach from the stub, after which the guest runs on if it can; never raises.

        The guest has to stand still. Watches are to be taken away before.
        """
        debugger, self._debugger = self._debugger, None
        if debugger is not None:
            with suppress(KtstrError):
                await debugger.detach()
            debugger.close()

    async def _stop_told(self, debugger: Debugger) -> None:
        """Wait for the stub's word of a stop: it must not come after the next command."""
        try:
            await debugger.wait_standing()
        except GuestHung:
            if self._end is None:
                raise

    async def query_status(self) -> str:
        """QEMU's run state: ``running``, ``paused``, ``shutdown``, ``guest-panicked`` …

        :raises QemuDied: QEMU is gone.
        """
        reply = await self.qmp("query-status")
        return str(reply.get("status")) if isinstance(reply, Mapping) else "unknown"

    async def qmp(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        timeout_s: float = COMMAND_DEADLINE_S,
    ) -> object:
        """Run any QMP command.

        :raises QemuDied: QEMU is gone; the error tells how it ended.
        :raises GuestHung: no answer in time.
        :raises GuestLost: QEMU refused the command.
        """
        assert self._monitor is not None, "launch() connects the monitor before it yields"
        try:
            return await self._monitor.execute(command, arguments, timeout_s)
        except QemuDied as error:
            raise await self._reaped(error) from error

    async def give_fd(self, name: str, fd: int) -> None:
        """Hand QEMU a copy of a descriptor, which commands then call ``name``.

        :raises QemuDied: QEMU is gone.
        :raises GuestHung: no answer in time.
        """
        assert self._monitor is not None, "launch() connects the monitor before it yields"
        await self._monitor.give_fd(name, fd)

    async def _reaped(self, error: QemuDied) -> GuestLost:
        """How QEMU ended, once that is known: the socket closes a moment before."""
        await self._running_child().wait(EXIT_GRACE_S)
        if self._end is not None and self._end.kind == "qemu-exit":
            return self._end.as_error()
        return error

    async def wait_end(self, timeout_s: float) -> MachineEnd:
        """Wait until the machine ends.

        :raises GuestHung: it has not ended in time.
        """
        with anyio.move_on_after(timeout_s):
            await self.ended.wait()
        if self._end is None:
            raise GuestHung(f"the guest still runs after {timeout_s:g} s, its end was expected")
        return self._end

    async def quit(self) -> None:
        """End QEMU: politely, then with SIGTERM, then with SIGKILL; each step has a deadline."""
        child = self._child
        if child is None or child.status is not None:
            return
        if self._monitor is not None:
            with suppress(KtstrError):
                await self._monitor.execute("quit", timeout_s=QUIT_DEADLINE_S)
                await child.wait(QUIT_DEADLINE_S)
        await child.kill()

    # -- used by launch() only ---------------------------------------------------------------

    def _running_child(self) -> Child:
        assert self._child is not None, "launch() starts QEMU before it yields"
        return self._child

    def _receive(self, event: MachineEvent) -> None:
        end = end_from_event(event)
        if end is not None:
            if end.kind in ("guest-reset", "guest-panic"):
                end = self._with_panic_message(end)
            self._finish(end)
        for listener in self._listeners:
            listener(event)

    def _with_panic_message(self, end: MachineEnd) -> MachineEnd:
        """Tell a panic from a reset when the guest has no pvpanic driver: the log knows."""
        message = panic_message(tail(self.console_log))
        if message is None:
            return end
        return replace(end, kind="guest-panic", detail=f"the guest kernel panicked: {message}")

    def _exited(self, status: int) -> None:
        name = signal.Signals(-status).name if status < 0 else None
        self._finish(end_from_exit(status, tail_lines(self.qemu_log), name))

    def _finish(self, end: MachineEnd) -> None:
        """Record the end; the first cause stands, what follows is its consequence."""
        if self._end is None:
            self._end = end
            self.ended.set()
