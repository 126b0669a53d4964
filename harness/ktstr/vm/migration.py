# SPDX-License-Identifier: GPL-2.0-only
"""Saving a stopped machine's devices, and starting a machine from saved devices and RAM.

The guest's RAM is ours (:mod:`ktstr.vm.ram`), so QEMU is told to leave it out of its migration
stream (capability ``x-ignore-shared``), and what it writes is half a megabyte of device state. The
stream goes through a socket pair: a name could be left behind, and a plain file in ``fd:`` is
deprecated from QEMU 9.1 on (docs/about/deprecated).
"""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Set
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from ktstr.errors import GuestLost, QemuDied, StateUnusable
from ktstr.vm.ram import GuestRam
from ktstr.vm.sparse import copy_data

SAVE_DEADLINE_S: Final = 30.0
"""How long QEMU may take to write its devices' state; 0.03 s on an idle host."""

LOAD_DEADLINE_S: Final = 30.0
"""How long QEMU may take to read it; 0.02 s on an idle host."""

MAX_STATE: Final = 64 << 20
"""Longest state that is taken, bytes; half a megabyte is usual."""

_PAUSE_S: Final = 0.002
_CHUNK: Final = 1 << 18
_CAPABILITIES: Final = {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a machine is to continue from.

    :param state: file with the devices' state, as :func:`save_state` wrote it.
    :param ram: the RAM of each NUMA node, in node order: sparse files of the nodes' sizes; or what
        fills the guest's RAM, called in a thread, and raises :class:`StateUnusable`.
    :param check: holds what is saved against its checksums, called in a thread beside the filling,
        and raises :class:`StateUnusable`.
    :param look: gets the RAM once it is filled, in a thread, while QEMU still starts; it must not
        raise.
    """

    state: Path
    ram: tuple[Path, ...] | Callable[[GuestRam], None]
    check: Callable[[], None] | None = None
    look: Callable[[GuestRam], None] | None = None


class Commanded(Protocol):
    """The part of a machine that migrates."""

    async def qmp(
        self, command: str, arguments: Mapping[str, object] | None = None, timeout_s: float = ...
    ) -> object: ...

    async def give_fd(self, name: str, fd: int) -> None: ...


async def save_state(machine: Commanded, path: Path, timeout_s: float = SAVE_DEADLINE_S) -> int:
    """Write the devices' state of a machine that stands still; its RAM is not part of it.

    The machine can go on afterwards (``cont``), and be saved again.

    :return: bytes written.
    :raise StateUnusable: QEMU cannot save this machine, or the file cannot be written.
    :raise GuestLost: QEMU is gone or does not answer.
    """
    ours, theirs = socket.socketpair()
    with closing(ours):
        ours.setblocking(False)
        with closing(theirs):
            await machine.give_fd("ktstr-state", theirs.fileno())
        await machine.qmp("migrate-set-capabilities", _CAPABILITIES)
        await _asked(machine, "migrate", {"uri": "fd:ktstr-state"})
        written = 0
        try:
            with anyio.fail_after(timeout_s), path.open("wb") as out:
                while data := await _received(ours):
                    written += len(data)
                    if written > MAX_STATE:
                        raise StateUnusable(f"the state is longer than {MAX_STATE >> 20} MiB")
                    out.write(data)
                status = await _settled(machine, "query-migrate", _UNDER_WAY)
        except TimeoutError as error:
            raise StateUnusable(f"QEMU did not save its state within {timeout_s:g} s") from error
        except OSError as error:
            raise StateUnusable(
                f"the state cannot be written to {path}: {error.strerror}"
            ) from error
    if status != "completed":
        raise StateUnusable(f"QEMU could not save its state: the migration {status}")
    return written


_UNDER_WAY: Final = frozenset(
    {"none", "setup", "active", "device", "pre-switchover", "wait-unplug", "cancelling"}
)


async def _settled(machine: Commanded, query: str, passing: Set[str]) -> str:
    """The status that ``query`` answers, once it is none of those that pass."""
    while True:
        reply = await machine.qmp(query)
        status = str(reply.get("status")) if isinstance(reply, Mapping) else "unknown"
        if status not in passing:
            return status
        await anyio.sleep(_PAUSE_S)


async def _received(sock: socket.socket) -> bytes:
    while True:
        try:
            return sock.recv(_CHUNK)
        except BlockingIOError:
            await anyio.wait_readable(sock)
        except ConnectionResetError:
            return b""


async def _asked(machine: Commanded, command: str, arguments: Mapping[str, object]) -> None:
    try:
        await machine.qmp(command, arguments)
    except QemuDied:
        raise
    except GuestLost as error:
        raise StateUnusable(error.message) from error


@asynccontextmanager
async def filling(
    ram: GuestRam, incoming: Incoming
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Copy saved RAM into a guest's that has not run yet, in threads, beside the block.

    The block gets what waits until the RAM is filled and checked, and raises
    :class:`StateUnusable` when a file is missing, unreadable, damaged, or has not the size of its
    node. All is done when the block is left.

    :raise StateUnusable: the same, to a block that did not wait.
    """
    failures: list[StateUnusable] = []
    done = anyio.Event()

    async def tried(work: Callable[..., None], *args: object) -> None:
        try:
            await anyio.to_thread.run_sync(work, *args)
        except StateUnusable as error:
            failures.append(error)

    async def fill(beside: TaskGroup) -> None:
        async with anyio.create_task_group() as both:
            if incoming.check is not None:
                both.start_soon(tried, incoming.check)
            await tried(_fill, ram, incoming)
            if incoming.look is not None and not failures:
                beside.start_soon(anyio.to_thread.run_sync, incoming.look, ram)
        done.set()

    async def filled() -> None:
        await done.wait()
        if failures:
            raise failures[0]

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(fill, group)
            yield filled
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    await filled()


def _fill(ram: GuestRam, incoming: Incoming) -> None:
    if callable(incoming.ram):
        incoming.ram(ram)
        return
    sizes = ram.node_bytes
    if len(incoming.ram) != len(sizes):
        raise StateUnusable(
            f"saved RAM of {len(incoming.ram)} nodes does not fit a guest with {len(sizes)}"
        )
    for path, fd, size in zip(incoming.ram, ram.fds, sizes, strict=True):
        try:
            with path.open("rb") as source:
                found = source.seek(0, 2)
                if found != size:
                    raise StateUnusable(f"{path} holds {found} bytes, the node's RAM has {size}")
                copy_data(source.fileno(), fd)
        except OSError as error:
            raise StateUnusable(f"saved RAM {path}: {error.strerror}") from error


async def load_state(
    machine: Commanded,
    ours: socket.socket,
    theirs: int,
    state: Path,
    timeout_s: float = LOAD_DEADLINE_S,
) -> None:
    """Have QEMU, started with ``-incoming defer``, take the saved devices; it then stands still.

    :param ours: our end of a socket pair, non-blocking.
    :param theirs: number of the other end's descriptor, as QEMU has inherited it.
    :raise StateUnusable: QEMU refuses the state, or the file cannot be read.
    """
    try:
        data = await anyio.to_thread.run_sync(state.read_bytes)
    except OSError as error:
        raise StateUnusable(f"the saved state {state}: {error.strerror}") from error
    refused = f"this QEMU does not continue the state {state}"
    try:
        await machine.qmp("migrate-set-capabilities", _CAPABILITIES)
        await machine.qmp("migrate-incoming", {"uri": f"fd:{theirs}"})
        with anyio.fail_after(timeout_s):
            await _send(ours, data)
            ours.close()
            await _settled(machine, "query-status", {"inmigrate"})
    except TimeoutError as error:
        raise StateUnusable(f"{refused}: not read within {timeout_s:g} s") from error
    except (GuestLost, OSError) as error:
        raise StateUnusable(f"{refused}: {error}") from error


async def _send(sock: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            await anyio.wait_writable(sock)


async def save_ram(ram: GuestRam, paths: tuple[Path, ...]) -> int:
    """Copy the RAM of a guest that stands still to sparse files, one per node; in a thread.

    :return: bytes copied.
    :raise StateUnusable: a file cannot be written.
    """
    return await anyio.to_thread.run_sync(_save_ram, ram, paths)


def _save_ram(ram: GuestRam, paths: tuple[Path, ...]) -> int:
    copied = 0
    for path, fd, size in zip(paths, ram.fds, ram.node_bytes, strict=True):
        try:
            with path.open("wb") as target:
                target.truncate(size)
                copied += copy_data(fd, target.fileno())
        except OSError as error:
            raise StateUnusable(f"RAM cannot be saved to {path}: {error.strerror}") from error
    return copied
