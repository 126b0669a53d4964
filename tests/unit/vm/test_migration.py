# SPDX-License-Identifier: GPL-2.0-only
"""Saving and loading states, with a stand-in for QEMU at the other end of QMP."""

import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from ktstr.errors import GuestLost, QemuDied, StateUnusable
from ktstr.vm.migration import Incoming, filling, load_state, save_ram, save_state
from ktstr.vm.ram import GuestRam

pytestmark = pytest.mark.anyio

MIB = 1 << 20


class Qemu:
    """Takes the commands of a migration.

    :param state: what it writes when it is asked to migrate.
    :param statuses: what it answers to the queries, in order; the last one again and again.
    """

    def __init__(self, state: bytes, statuses: list[str], error: GuestLost | None = None) -> None:
        self.state = state
        self.statuses = statuses
        self.error = error
        self.commands: list[str] = []
        self.given: dict[str, int] = {}
        self.theirs: int | None = None
        self.read = b""

    async def give_fd(self, name: str, fd: int) -> None:
        self.given[name] = os.dup(fd)

    async def qmp(
        self, command: str, arguments: Mapping[str, object] | None = None, timeout_s: float = 5.0
    ) -> object:
        self.commands.append(command)
        arguments = arguments or {}
        if command == "migrate-set-capabilities":
            assert arguments == {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}
        elif command == "migrate":
            if self.error is not None:
                raise self.error
            kind, _, name = str(arguments["uri"]).partition(":")
            assert kind == "fd"
            fd = self.given.pop(name)
            os.write(fd, self.state)
            os.close(fd)
        elif command == "migrate-incoming":
            assert arguments == {"uri": f"fd:{self.theirs}"}
            if self.error is not None:
                raise self.error
        elif command == "query-status" and self.theirs is not None:
            while data := os.read(self.theirs, 65536):
                self.read += data
        if command in ("query-migrate", "query-status"):
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
            return {"status": status}
        return {}

    def close(self) -> None:
        for fd in self.given.values():
            os.close(fd)


async def test_a_state_is_written_once_qemu_says_that_it_is_complete(tmp_path: Path) -> None:
    qemu = Qemu(b"devices" * 1000, ["active", "device", "completed"])
    assert await save_state(qemu, tmp_path / "state") == 7000
    assert (tmp_path / "state").read_bytes() == b"devices" * 1000
    assert qemu.commands.count("query-migrate") == 3
    # The capability counts for the migration that follows, not for one before.
    assert qemu.commands.index("migrate-set-capabilities") < qemu.commands.index("migrate")


async def test_a_migration_that_failed_is_no_state(tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match="could not save its state: the migration failed"):
        await save_state(Qemu(b"half", ["active", "failed"]), tmp_path / "state")


async def test_a_migration_without_end_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match="did not save its state within"):
        await save_state(Qemu(b"", ["active"]), tmp_path / "state", timeout_s=0.05)


async def test_a_device_that_cannot_be_saved_is_named(tmp_path: Path) -> None:
    words = "State blocked by non-migratable device '0000:00:05.0/nvme'"
    qemu = Qemu(b"", ["none"], GuestLost(words))
    with pytest.raises(StateUnusable, match="non-migratable device"):
        await save_state(qemu, tmp_path / "state")
    qemu.close()


async def test_a_dead_qemu_is_no_unusable_state(tmp_path: Path) -> None:
    qemu = Qemu(b"", ["none"], QemuDied("gone"))
    with pytest.raises(QemuDied):
        await save_state(qemu, tmp_path / "state")
    qemu.close()


async def test_a_state_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match="no-such-folder"):
        await save_state(Qemu(b"x", ["completed"]), tmp_path / "no-such-folder" / "state")


async def test_qemu_gets_the_whole_state_and_its_end(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"devices" * 10)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    qemu = Qemu(b"", ["inmigrate", "paused"])
    qemu.theirs = theirs.fileno()
    with ours, theirs, anyio.fail_after(5):
        await load_state(qemu, ours, theirs.fileno(), tmp_path / "state")
    assert qemu.read == b"devices" * 10
    assert qemu.commands[-2:] == ["query-status", "query-status"]


@pytest.mark.parametrize("error", [GuestLost("refused"), QemuDied("it ended with status 1")])
async def test_a_qemu_that_refuses_a_state_is_told_from_a_lost_guest(
    tmp_path: Path, error: GuestLost
) -> None:
    (tmp_path / "state").write_bytes(b"other version")
    ours, theirs = socket.socketpair()
    qemu = Qemu(b"", ["paused"], error)
    qemu.theirs = theirs.fileno()
    with ours, theirs, pytest.raises(StateUnusable, match="does not continue the state"):
        await load_state(qemu, ours, theirs.fileno(), tmp_path / "state")


async def test_ram_of_two_nodes_survives_saving_and_filling(tmp_path: Path) -> None:
    paths = (tmp_path / "ram0", tmp_path / "ram1")
    with GuestRam([2 * MIB, MIB]) as ram:
        ram.write(0x1000, b"in the first node")
        ram.write(2 * MIB + 0x3000, b"in the second node")
        assert await save_ram(ram, paths) == 2 * 4096
    with GuestRam([2 * MIB, MIB]) as ram:
        async with filling(ram, Incoming(tmp_path / "state", paths)):
            pass
        assert ram.read(0x1000, 17) == b"in the first node"
        assert ram.read(2 * MIB + 0x3000, 18) == b"in the second node"


@pytest.mark.parametrize(
    ("sizes", "words"),
    [([2 * MIB], "holds 1048576 bytes, the node's RAM has 2097152"), ([MIB, MIB], "1 nodes")],
)
async def test_ram_of_another_size_is_refused(tmp_path: Path, sizes: list[int], words: str) -> None:
    (tmp_path / "ram0").write_bytes(b"\0" * MIB)
    with GuestRam(sizes) as ram, pytest.raises(StateUnusable, match=words):
        async with filling(ram, Incoming(tmp_path / "state", (tmp_path / "ram0",))):
            pass


async def test_filled_ram_is_looked_into_before_the_block_ends(tmp_path: Path) -> None:
    (tmp_path / "ram0").write_bytes(b"saved" + b"\0" * (MIB - 5))
    looks: list[bytes] = []
    incoming = Incoming(
        tmp_path / "state",
        (tmp_path / "ram0",),
        look=lambda ram: looks.append(ram.read(0, 5)),
    )
    with GuestRam([MIB]) as ram:
        async with filling(ram, incoming) as filled:
            await filled()
    assert looks == [b"saved"]
    with GuestRam([2 * MIB]) as ram, pytest.raises(StateUnusable, match="2097152"):
        async with filling(ram, incoming):
            pass
    assert looks == [b"saved"], "what does not fit is not looked into"


@pytest.mark.parametrize("waits", [True, False])
async def test_a_guest_is_let_in_once_it_is_checked(tmp_path: Path, waits: bool) -> None:
    (tmp_path / "ram0").write_bytes(b"\0" * MIB)
    checked = threading.Event()

    def check() -> None:
        checked.wait(0.1)  # longer than the filling takes
        checked.set()
        raise StateUnusable("it is damaged")

    incoming = Incoming(tmp_path / "state", (tmp_path / "ram0",), check)
    with GuestRam([MIB]) as ram, pytest.raises(StateUnusable, match="it is damaged"):
        async with filling(ram, incoming) as filled:
            if waits:
                await filled()
                pytest.fail("it was let in before it was checked")
    assert checked.is_set()


async def test_an_error_beside_the_filling_is_raised_by_itself(tmp_path: Path) -> None:
    (tmp_path / "ram0").write_bytes(b"\0" * MIB)
    with GuestRam([MIB]) as ram, pytest.raises(QemuDied):
        async with filling(ram, Incoming(tmp_path / "state", (tmp_path / "ram0",))):
            raise QemuDied("at its start")
