# SPDX-License-Identifier: GPL-2.0-only
"""Periodic capture against a freezer and a scheduler that are scripted."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ktstr.capture.boundaries import WorkloadClock
from ktstr.capture.freezer import Capture
from ktstr.capture.periodic import PeriodicCapture
from ktstr.capture.stats import REQUEST_CAP, Answer, StatsClient, parse_answer
from ktstr.errors import KernelUnfit, QemuDied
from ktstr.series.sample import MissingStats, MissingStatsReason, Sample
from ktstr.wire import WireError, pack_payload

pytestmark = pytest.mark.anyio
NO_SCHEDULER = MissingStatsReason(MissingStats.NO_SCHEDULER_BINARY)


@dataclass
class ScriptedFreezer:
    """Gives the scripted captures one after the other; an exception in the script is raised."""

    script: list[object]
    prepared: int = 0
    order: list[str] = field(default_factory=list)

    async def prepare(self) -> None:
        self.prepared += 1
        self.order.append("prepare")

    async def capture(self) -> Capture:
        self.order.append("capture")
        step = self.script.pop(0)
        if isinstance(step, BaseException):
            raise step
        snapshot: Any = step
        return Capture(
            snapshot=snapshot, paused_ns=1_500_000, request_ns=2_000_000, copied=10, error=None
        )


@dataclass
class ScriptedStats:
    """Answers at once and notes when it was asked."""

    order: list[str]

    async def request(self) -> tuple[Answer, float]:
        self.order.append("stats")
        return {"nr_dispatched": 7}, time.monotonic()


async def capture_all(freezer: ScriptedFreezer, count: int, stats: Any) -> tuple[Any, list[Sample]]:
    samples: list[Sample] = []
    periodic = PeriodicCapture(
        tuple(float(n) for n in range(count)),
        freezer,
        stats,
        step_index=lambda: 2,
        on_sample=samples.append,
    )
    clock = WorkloadClock()
    clock.start(time.monotonic() - 10)
    await periodic.run(clock)
    return periodic, samples


async def test_every_boundary_gives_a_sample_with_its_stamps() -> None:
    freezer = ScriptedFreezer(["a", "b"])
    periodic, samples = await capture_all(freezer, 2, ScriptedStats(freezer.order))
    assert [sample.tag for sample in samples] == ["periodic_000", "periodic_001"]
    assert [sample.boundary_offset_ms for sample in samples] == [0, 1]
    assert {sample.step_index for sample in samples} == {2}
    assert [sample.snapshot for sample in samples] == ["a", "b"]
    assert samples[0].stats == {"nr_dispatched": 7}
    assert samples[0].elapsed_ms is not None and samples[0].elapsed_ms >= 10_000
    assert (periodic.fired, periodic.abandoned) == (2, None)


async def test_planning_and_statistics_come_before_the_freeze() -> None:
    freezer = ScriptedFreezer(["a"])
    await capture_all(freezer, 1, ScriptedStats(freezer.order))
    assert freezer.order == ["prepare", "stats", "capture"]


async def test_two_failures_in_a_row_abandon_the_rest() -> None:
    broken = RuntimeError("no")
    freezer = ScriptedFreezer([broken, "good", broken, broken, "never"])
    periodic, samples = await capture_all(freezer, 5, NO_SCHEDULER)
    assert [sample.snapshot for sample in samples] == [None, "good", None, None]
    assert samples[0].error == "RuntimeError: no"
    assert periodic.abandoned == "1 snapshots abandoned after two failures in a row"
    assert freezer.script == ["never"]


async def test_a_lost_machine_is_not_a_failed_sample() -> None:
    with pytest.raises(QemuDied):
        await capture_all(ScriptedFreezer([QemuDied("gone")]), 3, NO_SCHEDULER)


def test_answers_of_the_scheduler_and_every_way_they_can_be_missing() -> None:
    assert parse_answer(b'{"errno":0,"args":{"resp":{"a":1}}}') == {"a": 1}
    most = 2**128 - 1
    found = parse_answer(b'{"errno":0,"args":{"resp":{"a":[%d,-%d,1.5e300]}}}' % (most, most))
    assert found == {"a": [most, -most, 1.5e300]}
    kinds = {
        b'{"errno":2,"args":{"resp":"no such target"}}': MissingStats.SCHEDULER_ERROR,
        b'{"errno":0,"args":{}}': MissingStats.MISSING_RESP,
        b"not json": MissingStats.SCHEDULER_ERROR,
        b"[1]": MissingStats.SCHEDULER_ERROR,
        b'{"a":' + b"[" * 100_000: MissingStats.SCHEDULER_ERROR,
        b" " * (1 << 20) + b"{}": MissingStats.RESPONSE_TOO_LARGE,
    }
    for line, kind in kinds.items():
        answer = parse_answer(line)
        assert isinstance(answer, MissingStatsReason), line[:20]
        assert answer.kind is kind


async def test_replies_are_matched_by_number_and_a_refused_request_says_so() -> None:
    client: StatsClient

    def answer(number: int, line: bytes) -> None:
        client.on_reply(pack_payload({"id": number + 1, "line": b"stale"}))
        client.on_reply(b"\xc1")
        reply = b'{"errno":0,"args":{"resp":{"n":%d}}}' % number
        client.on_reply(pack_payload({"id": number, "line": reply, "error": None}))

    client = StatsClient(answer)
    assert (await client.request())[0] == {"n": 1}
    assert (await client.request())[0] == {"n": 2}

    def refuse(number: int, line: bytes) -> None:
        raise WireError("the control port is full")

    reason, _ = await StatsClient(refuse).request()
    assert isinstance(reason, MissingStatsReason)
    assert reason.kind is MissingStats.CANCELLED
    assert "full" in reason.detail


async def test_planning_that_fails_is_a_failed_sample_not_a_lost_run() -> None:
    class NoPlan(ScriptedFreezer):
        async def prepare(self) -> None:
            raise KernelUnfit("the map list is not readable")

    broken = KernelUnfit("the map list is not readable")
    _, samples = await capture_all(NoPlan([broken, "good"]), 2, NO_SCHEDULER)
    assert samples[0].error == "KernelUnfit: the map list is not readable"
    assert samples[1].snapshot == "good"


@pytest.mark.parametrize(
    ("resp", "words"),
    [
        (b'{"a":NaN}', "NaN is no JSON number"),
        (b"-Infinity", "-Infinity is no JSON number"),
        (b'{"a":1e400}', "1e400 is beyond what a number holds"),
        (b'{"a":1' + b"0" * 400 + b"}", "an integer of 401 digits"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper than 32"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
    ],
)
def test_an_answer_that_no_record_could_carry_is_refused(resp: bytes, words: str) -> None:
    answer = parse_answer(b'{"errno":0,"args":{"resp":' + resp + b"}}")
    assert isinstance(answer, MissingStatsReason)
    assert answer.kind is MissingStats.SCHEDULER_ERROR
    assert words in answer.detail


async def test_what_the_relay_says_is_the_reason() -> None:
    said: dict[object, MissingStats] = {
        "no_scheduler": MissingStats.NO_SCHEDULER,
        "cancelled": MissingStats.CANCELLED,
        "request_too_large": MissingStats.REQUEST_TOO_LARGE,
        "response_too_large": MissingStats.RESPONSE_TOO_LARGE,
        # What a guest makes up is nobody who answers.
        "during_freeze": MissingStats.NO_SCHEDULER,
        None: MissingStats.NO_SCHEDULER,
        7: MissingStats.NO_SCHEDULER,
    }
    for kind, expected in said.items():
        assert await _told(kind) == MissingStatsReason(expected, "words"), kind


async def _told(kind: object) -> Answer:
    """What the client makes of the relay's word."""

    def answer(number: int, line: bytes) -> None:
        fields = {"id": number, "line": None, "error": "words", "kind": kind}
        client.on_reply(pack_payload(fields))

    client = StatsClient(answer)
    return (await client.request())[0]


async def test_a_request_says_what_it_wants_and_stays_within_its_limit() -> None:
    lines = []
    client: StatsClient

    def answer(number: int, line: bytes) -> None:
        lines.append(line)
        reply = b'{"errno":0,"args":{"resp":{"n":1}}}'
        client.on_reply(pack_payload({"id": number, "line": reply, "error": None}))

    client = StatsClient(answer)
    await client.request()
    await client.request({"target": "layer", "name": "x"})
    assert await client.describe() == {"n": 1}
    reason, _ = await client.request({"name": "x" * REQUEST_CAP})
    assert isinstance(reason, MissingStatsReason)
    assert reason.kind is MissingStats.REQUEST_TOO_LARGE and "16384" in reason.detail
    assert [json.loads(line) for line in lines] == [
        {"req": "stats", "args": {"target": "top"}},
        {"req": "stats", "args": {"target": "layer", "name": "x"}},
        {"req": "stats_meta"},
    ]
    assert all(line.endswith(b"\n") for line in lines)


async def test_two_who_ask_at_once_wait_for_each_other() -> None:
    pending: list[int] = []
    client = StatsClient(lambda number, line: pending.append(number))
    answers: list[object] = []

    async def ask() -> None:
        answers.append((await client.request())[0])

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
            for expected in (1, 2):
                while len(pending) < expected:
                    await anyio.lowlevel.checkpoint()
                assert pending == list(range(1, expected + 1))
                reply = b'{"errno":0,"args":{"resp":{"n":%d}}}' % expected
                fields = {"id": expected, "line": reply, "error": None}
                client.on_reply(pack_payload(fields))
    assert answers == [{"n": 1}, {"n": 2}]
