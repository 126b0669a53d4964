# SPDX-License-Identifier: GPL-2.0-only
"""The client of QEMU's gdb stub, against a stub that follows a script."""

import socket
from collections.abc import AsyncIterator, Callable

import anyio
import anyio.lowlevel
import pytest

from ktstr.errors import GuestHung, GuestLost, QemuDied
from ktstr.vm import gdb
from ktstr.vm.gdb import (
    MAX_PACKET,
    Debugger,
    GdbFault,
    GdbRefused,
    Packets,
    Stop,
    checksum,
    frame,
    parse_stop,
)

pytestmark = pytest.mark.anyio

Play = Callable[[str], list[bytes]]


class Stub:
    """The other end: notes each command and plays what the script says to it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.heard: list[str] = []
        self.script: dict[str, list[bytes]] = {}

    def says(self, command: str, *data: bytes) -> None:
        self.script[command] = list(data)

    async def serve(self) -> None:
        seen = b""
        while True:
            await anyio.wait_readable(self.sock)
            data = self.sock.recv(4096)
            if not data:
                return
            seen += data
            while seen:
                if seen[:1] in (b"+", b"-"):
                    self.heard.append(seen[:1].decode())
                    for answer in self.script.get(self.heard[-1], []):
                        self.sock.send(answer)
                    seen = seen[1:]
                elif b"#" in seen[:-2]:
                    end = seen.index(b"#")
                    text = seen[1:end].decode()
                    assert seen[end + 1 : end + 3] == b"%02x" % (sum(seen[1:end]) % 256)
                    seen = seen[end + 3 :]
                    self.heard.append(text)
                    for answer in self.script.get(text, [b"+", b"$OK#9a"]):
                        self.sock.send(answer)
                else:
                    break


@pytest.fixture
async def wired() -> AsyncIterator[tuple[Debugger, Stub]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        debugger, stub = Debugger(ours), Stub(theirs)
        stub.says("c", b"+")
        async with anyio.create_task_group() as group:
            group.start_soon(stub.serve)
            yield debugger, stub
            group.cancel_scope.cancel()
        debugger.close()


async def settled(met: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not met():
            await anyio.lowlevel.checkpoint()


def test_a_packet_is_its_text_and_the_sum_of_its_bytes() -> None:
    # GDB manual, appendix E: O is 0x4f, K is 0x4b; 0x9a in all.
    assert frame(b"OK") == b"$OK#9a"
    assert checksum(b"") == b"00"
    assert checksum(b"\xff\x02") == b"01"


@pytest.mark.parametrize("step", [1, 2, 5, 100])
def test_packets_in_any_pieces(step: int) -> None:
    stream = b"noise+$OK#9a-$OK#9b$T05#B9$#00$half$OK#9a"
    packets, found = Packets(), []
    for at in range(0, len(stream), step):
        found += packets.feed(stream[at : at + step])
    assert found == [b"+", b"$OK", b"-", b"", b"$T05", b"$", b"$OK"]


def test_a_packet_without_an_end_is_refused() -> None:
    packets = Packets()
    packets.feed(b"$" + b"x" * MAX_PACKET)
    with pytest.raises(GdbFault, match="longer than"):
        packets.feed(b"x")


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        ("T05thread:02;watch:ffffc9000012a068;", Stop(5, 2, 0xFFFFC9000012A068)),
        ("T05thread:0a;rwatch:10;", Stop(5, 10, 16)),
        ("T02thread:01;", Stop(2, 1)),
        ("T05thread:p1.3;", Stop(5, 3)),
        ("S05", Stop(5)),
        ("T05watch:1ffffffffffffffff;", Stop(5, None, (1 << 64) - 1)),
    ],
)
def test_stops(text: str, stop: Stop) -> None:
    assert parse_stop(text) == stop


@pytest.mark.parametrize(
    "text", ["", "OK", "E22", "T", "T0", "Txx", "T05thread:zz;", "T05thread;", "T05thread:0;"]
)
def test_what_is_no_stop(text: str) -> None:
    with pytest.raises(GdbFault):
        parse_stop(text)


async def test_a_watch_is_set_hit_and_taken_away(wired: tuple[Debugger, Stub]) -> None:
    debugger, stub = wired
    woken = anyio.Event()
    debugger.on_hit = woken.set
    stub.says("qSupported:swbreak+;hwbreak+", b"+", frame(b"PacketSize=1000;qXfer:features:read+"))
    stub.says("g", b"+", frame(b"00" * 128 + b"8877665544332211" + b"00" * 40))
    await debugger.open()
    await debugger.watch(0xFFFFC9000012A068, 8)
    await debugger.resume()
    assert not debugger.standing.is_set()
    stub.sock.send(frame(b"T05thread:02;watch:ffffc9000012a068;"))
    with anyio.fail_after(10):
        await woken.wait()
    assert debugger.standing.is_set()
    assert debugger.take_hit() == Stop(5, 2, 0xFFFFC9000012A068)
    assert debugger.take_hit() is None
    assert await debugger.instruction_pointer(2) == 0x1122334455667788
    await debugger.unwatch(0xFFFFC9000012A068, 8)
    await debugger.detach()
    # Each packet of the stub's is acknowledged, the stop too, and nothing is sent while it runs.
    await settled(lambda: stub.heard[-1] == "+")
    assert stub.heard == [
        "qSupported:swbreak+;hwbreak+", "+", "Z2,ffffc9000012a068,8", "+", "c", "+", "Hg2", "+",
        "g", "+", "z2,ffffc9000012a068,8", "+", "D", "+",
    ]  # fmt: skip


async def test_a_stop_that_was_asked_for_is_no_hit(wired: tuple[Debugger, Stub]) -> None:
    debugger, stub = wired
    await debugger.resume()
    stub.sock.send(frame(b"T02thread:01;"))
    with anyio.fail_after(10):
        await debugger.standing.wait()
    assert debugger.hit is None


async def test_a_stop_by_a_watch_that_has_gone_is_still_to_be_taken_up(
    wired: tuple[Debugger, Stub],
) -> None:
    debugger, stub = wired
    await debugger.resume()
    stub.sock.send(frame(b"T05thread:01;"))
    with anyio.fail_after(10):
        await debugger.standing.wait()
    assert debugger.hit == Stop(5, 1)


async def test_without_acknowledgements_where_both_can(wired: tuple[Debugger, Stub]) -> None:
    debugger, stub = wired
    stub.says("qSupported:swbreak+;hwbreak+", b"+", frame(b"QStartNoAckMode+"))
    stub.says("Z2,1000,4", frame(b"OK"))
    stub.says("c")
    await debugger.open()
    await debugger.watch(0x1000, 4)
    await debugger.resume()
    await settled(lambda: stub.heard[-1] == "c")
    # The acknowledgement of the agreement itself is the last.
    assert stub.heard[1:] == ["+", "QStartNoAckMode", "+", "Z2,1000,4", "c"]


async def test_damaged_packets_are_asked_for_again_a_few_times(
    wired: tuple[Debugger, Stub],
) -> None:
    debugger, stub = wired
    stub.says("Z2,1000,4", b"+", b"$OK#00")
    stub.says("-", b"$OK#9a")
    await debugger.watch(0x1000, 4)
    assert stub.heard == ["Z2,1000,4", "-", "+"] or stub.heard == ["Z2,1000,4", "-"]
    stub.says("-", b"$OK#01")
    with pytest.raises(GuestLost, match="damaged"):
        await debugger.watch(0x1000, 4)
    assert stub.heard.count("-") == 1 + gdb.MAX_REPEATS


async def test_ours_is_sent_again_when_asked(wired: tuple[Debugger, Stub]) -> None:
    debugger, stub = wired
    stub.says("D", b"-")
    with pytest.raises(GuestLost, match="damaged"):
        await debugger.detach()
    assert stub.heard == ["D"] * (1 + gdb.MAX_REPEATS)


@pytest.mark.parametrize(
    ("answer", "words"), [(b"E22", "'E22'"), (b"", "that it does not know it")]
)
async def test_a_refusal_says_what_was_refused(
    wired: tuple[Debugger, Stub], answer: bytes, words: str
) -> None:
    debugger, stub = wired
    stub.says("Z2,1000,4", b"+", frame(answer))
    with pytest.raises(GdbRefused, match=f"'Z2,1000,4' with {words}"):
        await debugger.watch(0x1000, 4)


@pytest.mark.parametrize("answer", [b"", b"E00", b"00" * 130, b"zz" * 200])
async def test_registers_that_are_none(wired: tuple[Debugger, Stub], answer: bytes) -> None:
    debugger, stub = wired
    stub.says("g", b"+", frame(answer))
    with pytest.raises(GdbFault, match="instruction pointer"):
        await debugger.instruction_pointer(1)


async def test_no_answer_has_a_limit(
    wired: tuple[Debugger, Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    debugger, stub = wired
    monkeypatch.setattr(gdb, "ANSWER_S", 0.02)
    stub.says("D")
    with pytest.raises(GuestHung, match="did not answer 'D'"):
        await debugger.detach()


@pytest.mark.parametrize(
    "rubbish", [b"$T05thread:zz;#00", frame(b"O68656c6c6f"), b"$" + b"x" * 17000]
)
async def test_rubbish_while_it_runs_breaks_the_connection(
    wired: tuple[Debugger, Stub], rubbish: bytes
) -> None:
    debugger, stub = wired
    await debugger.resume()
    stub.says("-", rubbish)
    stub.sock.send(rubbish)
    # Whoever waits for the guest to stand must not wait for ever.
    with anyio.fail_after(10):
        await debugger.standing.wait()
    with pytest.raises(GuestLost):
        await debugger.detach()


async def test_a_stub_that_goes_away_is_told(wired: tuple[Debugger, Stub]) -> None:
    debugger, stub = wired
    await debugger.resume()
    stub.sock.shutdown(socket.SHUT_RDWR)
    with anyio.fail_after(10):
        await debugger.standing.wait()
    with pytest.raises(QemuDied, match="closed the connection"):
        await debugger.unwatch(0x1000, 4)
