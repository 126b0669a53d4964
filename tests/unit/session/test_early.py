# SPDX-License-Identifier: GPL-2.0-only
"""Looking into saved memory early: by the guest's own Hello, and without harm when it is wrong."""

import msgpack
import pytest

from ktstr.session import early as module
from ktstr.session.early import EarlyLook
from ktstr.vm.ram import MIB, GuestRam
from ktstr.wire import FrameWriter, MsgType

HELLO: dict[str, object] = {
    "protocol": 1,
    "release": "7.2",
    "mailbox": [4096],
    "vmcoreinfo": [0x2000, 512],
    "sched_ext": None,
    "agent_start_s": 0.1,
    "topology": {"cpus": 1, "llcs": [[0]], "cores": [[0]], "nodes": []},
}


def frames(*hellos: object) -> bytes:
    out = bytearray()
    writer = FrameWriter(out.extend)
    writer.send(MsgType.AGENT_LOG, msgpack.packb({"text": "before"}))
    for hello in hellos:
        writer.send(MsgType.HELLO, msgpack.packb(hello))
    return bytes(out)


def test_the_kernel_is_looked_for_where_hello_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(module, "attach", lambda ram, note, cache_dir: asked.append(note) or "K")
    look = EarlyLook(frames(HELLO))
    with GuestRam([MIB]) as ram:
        look.look(ram)
    assert asked == [(0x2000, 512)]
    assert look.kernel == "K"


@pytest.mark.parametrize("said", [b"", frames(), frames({"protocol": 9}), b"noise" * 99])
def test_without_a_hello_nothing_is_looked_for(said: bytes) -> None:
    look = EarlyLook(said)
    with GuestRam([MIB]) as ram:
        look.look(ram)
    assert look.kernel is None


def test_memory_without_a_kernel_is_no_error() -> None:
    look = EarlyLook(frames(HELLO))
    with GuestRam([MIB]) as ram:
        look.look(ram)
    assert look.kernel is None
