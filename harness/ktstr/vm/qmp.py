# SPDX-License-Identifier: GPL-2.0-only
"""The QMP connection to one QEMU, with a deadline on every command."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

import anyio
from qemu.qmp import (
    ConnectError,
    EventListener,
    ExecInterruptedError,
    ExecuteError,
    Message,
    QMPClient,
    QMPError,
    StateError,
)

from ktstr.errors import GuestHung, GuestLost, QemuDied
from ktstr.vm.events import MachineEvent, event_from_qmp

COMMAND_DEADLINE_S = 5.0
"""How long QEMU may take to answer a command."""

CONNECT_DEADLINE_S = 10.0
"""How long QEMU may take from its start to the QMP greeting; 0.05 s on an idle host."""

_DISCONNECT_DEADLINE_S = 1.0


class _Sink(EventListener):
    """Hands each event on at once; keeps neither queue nor history."""

    def __init__(self, receive: Callable[[MachineEvent], None]) -> None:
        super().__init__()
        self._receive = receive

    async def put(self, event: Message) -> None:
        self._receive(event_from_qmp(event))


class Monitor:
    """A QMP session over a socket that is already connected.

    :param sock: our end; owned by the monitor from here on.
    :param on_event: called in the event loop for every event.
    """

    def __init__(self, sock: socket.socket, on_event: Callable[[MachineEvent], None]) -> None:
        self._sock = sock
        self._client = QMPClient("ktstr")
        self._client.register_listener(_Sink(on_event))

    async def connect(self, timeout_s: float = CONNECT_DEADLINE_S) -> None:
        """Take QEMU's greeting and negotiate.

        :raises QemuDied: QEMU closed the connection, or did not greet in time.
        """
        self._sock.setblocking(False)
        try:
            with anyio.fail_after(timeout_s):
                await self._client.connect(self._sock)
        except TimeoutError as error:
            raise QemuDied(
                f"QEMU did not open its QMP session within {timeout_s:g} s",
                hint="the host may be overloaded; run fewer guests at once",
            ) from error
        except ConnectError as error:
            raise QemuDied("QEMU closed its QMP connection at its start") from error

    @property
    def version(self) -> str:
        """QEMU's version and its packager's, as it greeted with; empty before that."""
        greeting = self._client.greeting
        if greeting is None:
            return ""
        number: object = greeting.QMP.version.get("qemu")
        parts = number if isinstance(number, dict) else {}
        text = ".".join(str(parts.get(key, "?")) for key in ("major", "minor", "micro"))
        package = str(greeting.QMP.version.get("package") or "")
        return f"{text} {package}".strip()

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        timeout_s: float = COMMAND_DEADLINE_S,
    ) -> object:
        """Run one command and return what it returns.

        :raises QemuDied: the connection is gone.
        :raises GuestHung: no answer in time.
        :raises GuestLost: QEMU refused the command.
        """
        try:
            with anyio.fail_after(timeout_s):
                return await self._client.execute(command, arguments)
        except TimeoutError as error:
            raise GuestHung(f"QEMU did not answer {command!r} within {timeout_s:g} s") from error
        except ExecuteError as error:
            raise GuestLost(f"QEMU refused {command!r}: {error}") from error
        except (ExecInterruptedError, StateError, QMPError, OSError) as error:
            raise QemuDied(f"QEMU went away while it was asked to {command!r}") from error

    async def give_fd(self, name: str, fd: int) -> None:
        """Hand QEMU a copy of a descriptor, which commands then call ``name``.

        :raises QemuDied: the connection is gone.
        :raises GuestHung: no answer in time.
        :raises GuestLost: QEMU refused it.
        """
        try:
            self._client.send_fd_scm(fd)
        except (StateError, QMPError, OSError) as error:
            raise QemuDied("QEMU went away while it was given a descriptor") from error
        await self.execute("getfd", {"fdname": name})

    async def close(self) -> None:
        """End the session; whatever state QEMU is in, this does not fail."""
        with anyio.move_on_after(_DISCONNECT_DEADLINE_S), suppress(QMPError, OSError, EOFError):
            await self._client.disconnect()
        # The reader task ends by itself when the peer closes first; give its callbacks their turn.
        await asyncio.sleep(0)
        self._sock.close()
