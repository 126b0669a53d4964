# SPDX-License-Identifier: GPL-2.0-only
"""CachePressure, CacheYield, CachePipe: what they touch, what they hand over, what they note."""

import os
import re
import signal
from pathlib import Path

import pytest

PASS = 1024


def test_pressure_touches_memory_and_notes_nothing(lead, reservoirs):
    for message in lead(type="CachePressure", workers=2).run(0.2):
        report = message["report"]
        assert report["completed"] is True
        assert report["iterations"] > 0
        assert report["work_units"] == PASS * report["iterations"]
        assert reservoirs(report) == {}


def test_a_yield_after_every_pass_is_a_wake_sample(lead, reservoirs):
    for message in lead(type="CacheYield", workers=2).run(0.2):
        report = message["report"]
        assert report["iterations"] > 0
        assert report["work_units"] == PASS * report["iterations"]
        assert set(reservoirs(report)) == {"wake"}
        assert report["wake_sample_total"] == report["iterations"]
        assert sum(reservoirs(report)["wake"]) <= report["wall_time_ns"]


def read_buffer(pid: int, size: int) -> bytes:
    """The worker's buffer, filled with ones at first: the end of a private mapping."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for low, high in re.findall(r"^(\w+)-(\w+) rw-p 00000000 00:00 0 *$", maps, re.MULTILINE):
            start, end = int(low, 16), int(high, 16)
            if not size <= end - start <= size + 65536:
                continue
            memory.seek(start)
            return memory.read(end - start).rstrip(b"\0")[-size:]
    raise AssertionError(f"no mapping of {size} bytes in\n{maps}")


@pytest.mark.parametrize(
    ("stride", "step"),
    [
        (64, 64),
        (192, 64),  # three lines: comes round to every line
        (12_288, 4096),
        (65_536, 65_536),
        (262_144 + 64, 64),  # more than the buffer
        (1_048_576, 262_144),  # always the same byte
    ],
)
def test_the_stride_decides_what_is_touched(lead, until, stride, step):
    size = 262_144
    leader = lead(type="CachePressure", workers=1, slot=0, size_kib=256, stride=stride)
    (pid,) = leader.ready()
    leader.send(b"S")
    touched: set[int] = set()
    # A byte shows its touches modulo 256, so one look could find it as it was.
    for _ in range(3):
        seen = leader.live(0)
        until("rounds more", lambda seen=seen: leader.live(0) > seen + 300)
        os.kill(pid, signal.SIGSTOP)
        touched |= {i for i, byte in enumerate(read_buffer(pid, size)) if byte != 1}
        os.kill(pid, signal.SIGCONT)
    leader.collect()
    assert touched == set(range(0, size, step))


def test_pipe_pairs_keep_pace_and_sleep_for_their_samples(lead, reservoirs):
    reports = [m["report"] for m in lead(type="CachePipe", workers=4, burst_iters=512).run(0.3)]
    for a, b in ((0, 1), (2, 3)):
        assert abs(reports[a]["iterations"] - reports[b]["iterations"]) <= 2
    for report in reports:
        assert report["iterations"] > 0
        assert 0 <= report["work_units"] - 512 * report["iterations"] <= 512
        assert set(reservoirs(report)) == {"wake"}
        assert sum(reservoirs(report)["wake"]) <= report["wall_time_ns"]
        # Whoever sleeps must be scheduled in again: the kernel counts that by itself.
        assert report["wake_sample_total"] <= report["schedstat_run_count"]


@pytest.mark.parametrize("name", ["PipeIo", "CachePipe"])
def test_pairs_of_threads_exchange_too(lead, name):
    reports = [m["report"] for m in lead(type=name, workers=4, clone="thread").run(0.2)]
    assert all(report["iterations"] > 10 for report in reports)


@pytest.mark.parametrize("name", ["PipeIo", "CachePipe"])
def test_a_partner_that_is_gone_is_noticed(lead, until, name):
    leader = lead(type=name, workers=2, slot=0)
    pids = leader.ready()
    leader.send(b"S")
    until("they exchange", lambda: leader.live(0) > 10)
    os.kill(pids[1], signal.SIGKILL)

    def asleep() -> bool:
        stat = Path(f"/proc/{pids[0]}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "S"

    until("the other idles", asleep)
    reports = [message["report"] for message in leader.collect()]
    assert [report["completed"] for report in reports] == [True, False]


def test_mistakes(lead):
    leader = lead(type="CachePipe", workers=3)
    assert leader.error() == "CachePipe: workers must be a multiple of 2, found 3"
    leader = lead(type="CachePressure", workers=1, size_kib=0)
    assert leader.error() == (
        'CachePressure: size_kib must be an integer from 1 to 262144, found "0"'
    )
    leader = lead(type="CacheYield", workers=1, stride=0)
    assert leader.error() == 'CacheYield: stride must be an integer from 1 to 1048576, found "0"'
