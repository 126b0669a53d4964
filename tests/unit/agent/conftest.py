# SPDX-License-Identifier: GPL-2.0-only
"""The guest's agent on this host: real pipes, processes and sockets, and a channel that listens."""

import gc
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from tests.unit.agent.engine_stage import Stage

from agent.loop import Loop
from agent.processes import reserve_low_fds
from ktstr.wire import MsgType, Stimulus

ROOT = Path(__file__).resolve().parents[3]


class Heard:
    """Stands for the channel: keeps what was sent, hands over what the host would say."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Any]] = []
        self.logged: list[str] = []
        self.handlers: dict[int, Callable[[bytes], None]] = {}

    def send(self, msg_type: int, fields: dict[str, object] | None = None) -> None:
        self.sent.append((msg_type, fields or {}))

    def send_raw(self, msg_type: int, payload: bytes) -> None:
        self.sent.append((msg_type, msgpack.unpackb(payload, strict_map_key=False)))

    def send_stimulus(self, msg_type: int, stimulus: Stimulus) -> None:
        self.sent.append((msg_type, stimulus))

    def log(self, text: str) -> None:
        self.logged.append(text)

    def on(self, msg_type: int, handler: Callable[[bytes], None]) -> None:
        self.handlers[msg_type] = handler

    def of(self, msg_type: int) -> list[Any]:
        """Payloads of one type, in order."""
        return [entry[1] for entry in self.sent if entry[0] == msg_type]

    def reports(self) -> list[dict[str, Any]]:
        return self.of(MsgType.WORKER_REPORT)


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made._epoll.close()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="session", autouse=True)
def low_fds() -> None:
    """As in the guest: the numbers a child's descriptors get are taken in the agent."""
    reserve_low_fds()


@pytest.fixture
def open_fds() -> Iterator[None]:
    """The test ends with the descriptors it began with."""
    gc.collect()  # what an earlier test's garbage holds must not end in this one
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.fixture(scope="session")
def worker_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("worker")
    make = ["make", "-s", "-f", "guest/worker/worker.mk", f"OUT={out}"]
    subprocess.run(make, cwd=ROOT, check=True)
    return str(out / "worker")


@pytest.fixture
def stage(loop: Loop, heard: Any) -> Stage:
    return Stage(loop, heard)
