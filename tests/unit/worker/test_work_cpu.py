# SPDX-License-Identifier: GPL-2.0-only
"""Sequence, IdleChurn, SmtSiblingSpin, IpcVariance, AluHot: what occupies a CPU, and when."""

import re
from pathlib import Path

import pytest

from ktstr.model.works.registry import WORK_TYPES

KINDS = {
    kind: number
    for number, kind in enumerate(
        next(p.choices for p in WORK_TYPES["Sequence"].params if p.name == "phase2")
    )
}


def phases(*given):
    """Keys of a Sequence: pairs of a kind and a time in µs."""
    keys = {}
    for number, (kind, us) in enumerate(given, start=1):
        keys[f"phase{number}"] = KINDS[kind] - (number == 1)
        keys[f"phase{number}_us"] = us
    return keys


def switches(pid: int) -> int:
    """Voluntary context switches, as the kernel counts them."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^voluntary_ctxt_switches:\t(\d+)$", status, re.MULTILINE)
    assert found
    return int(found[1])


def scratch_files(pid: int) -> list[Path]:
    """Descriptors of files without a name in /tmp."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return [link for link in links if re.match(r"/tmp/.*\(deleted\)$", str(link.readlink()))]


def test_phases_that_only_compute_leave_no_samples(lead, reservoirs):
    leader = lead(type="Sequence", workers=2, **phases(("alu-hot", 1000), ("spin", 2000)))
    for message in leader.run(0.2):
        report = message["report"]
        assert 0 < report["iterations"] <= report["wall_time_ns"] // 3_000_000
        assert report["work_units"] % 1024 == 0
        assert report["work_units"] >= 2048 * report["iterations"]
        assert reservoirs(report) == {}


def test_a_sleep_is_one_wait_of_its_time(lead, reservoirs):
    leader = lead(type="Sequence", workers=2, **phases(("sleep", 4000), ("spin", 1000)))
    for message in leader.run(0.3):
        report = message["report"]
        assert 0 < report["iterations"] <= report["wall_time_ns"] // 5_000_000
        assert report["off_cpu_ns"] >= 4_000_000 * report["iterations"]
        # The stop may come after a sleep and before the end of its iteration.
        assert report["iterations"] <= report["wake_sample_total"] <= report["iterations"] + 1
        assert min(reservoirs(report)["wake"]) >= 4_000_000


def test_yields_and_sleeps_and_absent_phases(lead, reservoirs):
    leader = lead(
        type="Sequence", workers=1, **phases(("yield", 50), ("none", 1), ("none", 1),
        ("sleep", 1000)),
    )  # fmt: skip
    ((report),) = [message["report"] for message in leader.run(0.2)]
    samples = reservoirs(report)["wake"]
    assert report["work_units"] == report["wake_sample_total"] > report["iterations"] > 0
    slept = [ns for ns in samples if ns >= 1_000_000]
    assert report["iterations"] <= len(slept)


def test_a_phase_of_writes_keeps_one_file_of_64_kib(lead, until, reservoirs):
    leader = lead(type="Sequence", workers=1, slot=0, **phases(("spin", 100), ("io", 3000)))
    (pid,) = leader.ready()
    leader.send(b"S")
    until("it works", lambda: leader.live(0) > 2)
    files = scratch_files(pid)
    assert [file.stat().st_size for file in files] == [65536]
    assert files[0].stat().st_nlink == 0
    ((report),) = [message["report"] for message in leader.collect()]
    samples = reservoirs(report)["wake"]
    assert min(samples) >= 100_000
    # Each batch of writes is followed by a sleep, perhaps the last one cut short.
    assert report["work_units"] >= 16 * len(samples) + 1024 * report["iterations"]
    assert len(samples) >= report["iterations"]


def test_only_sequences_that_write_open_a_file(lead):
    leader = lead(type="Sequence", workers=1)
    (pid,) = leader.ready()
    assert scratch_files(pid) == []
    leader.collect()


@pytest.mark.parametrize(("precise", "slack_ns"), [(0, 50_000), (1, 1)])
def test_idle_churn_sleeps_and_notes_only_the_excess(lead, until, reservoirs, precise, slack_ns):
    leader = lead(type="IdleChurn", workers=1, slot=0, burst_us=500, sleep_us=3000,
                  precise_timing=precise)  # fmt: skip
    (pid,) = leader.ready()
    before = switches(pid)
    leader.send(b"S")
    until("it works", lambda: leader.live(0) >= 30)
    seen, done = switches(pid), leader.live(0)
    assert seen - before >= done - 1
    assert int(Path(f"/proc/{pid}/timerslack_ns").read_text()) == slack_ns
    ((report),) = [message["report"] for message in leader.collect()]
    samples = reservoirs(report)["wake"]
    assert set(reservoirs(report)) == {"wake"}
    assert report["wake_sample_total"] == report["iterations"] >= 30
    slept = 3_000_000 * report["iterations"]
    assert report["off_cpu_ns"] >= slept
    # The time asked for and the excess together are no more than what passed.
    assert slept + sum(samples) + 500_000 * report["iterations"] <= report["wall_time_ns"]
    assert report["work_units"] >= 1024 * report["iterations"]


def test_siblings_spin_and_note_what_an_iteration_costs(lead, reservoirs):
    for message in lead(type="SmtSiblingSpin", workers=4).run(0.2):
        report = message["report"]
        assert report["iterations"] > 0
        assert 0 <= report["work_units"] - 1024 * report["iterations"] <= 1024
        assert set(reservoirs(report)) == {"cost"}
        assert report["iteration_cost_sample_total"] == report["iterations"]
        assert 0 < sum(reservoirs(report)["cost"]) <= report["wall_time_ns"]


def test_variance_alternates_hot_and_cold(lead, reservoirs):
    keys = {"hot_iters": 3000, "cold_iters": 1500, "period_iters": 5}
    for message in lead(type="IpcVariance", workers=2, **keys).run(0.2):
        report = message["report"]
        each = 5 * (3000 + 1500)
        assert report["iterations"] > 0
        assert 0 <= report["work_units"] - each * report["iterations"] <= each
        assert set(reservoirs(report)) == {"cost"}
        assert report["iteration_cost_sample_total"] == report["iterations"]
        assert 0 < sum(reservoirs(report)["cost"]) <= report["wall_time_ns"]


@pytest.mark.parametrize("width", range(1, 9))
def test_every_width_of_chains_works(lead, reservoirs, width):
    (message,) = lead(type="AluHot", workers=1, width=width).run(0.05)
    report = message["report"]
    assert report["iterations"] > 0
    assert report["work_units"] == 1024 * report["iterations"]
    assert set(reservoirs(report)) == {"cost"}
    assert report["iteration_cost_sample_total"] == report["iterations"]


@pytest.mark.parametrize(
    "keys",
    [
        {"type": "IpcVariance", "hot_iters": 1_000_000_000, "period_iters": 1_000_000},
        {"type": "IpcVariance", "cold_iters": 1_000_000_000},
        {"type": "IdleChurn", "burst_us": 60_000_000},
        {"type": "IdleChurn", "sleep_us": 60_000_000},
        {"type": "Sequence", **phases(("sleep", 60_000_000))},
        {"type": "Sequence", **phases(("yield", 60_000_000))},
        {"type": "Sequence", **phases(("io", 60_000_000))},
    ],
)
def test_long_spells_end_with_the_run(lead, keys):
    (message,) = lead(workers=1, **keys).run(0.1, least=0)
    assert message["report"]["completed"] is True
    assert message["report"]["iterations"] == 0


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        (
            {"type": "IdleChurn", "burst_us": 0},
            'burst_us must be an integer from 1 to 60000000, found "0"',
        ),
        (
            {"type": "IdleChurn", "sleep_us": 0},
            'sleep_us must be an integer from 1 to 60000000, found "0"',
        ),
        (
            {"type": "IpcVariance", "period_iters": 0},
            'period_iters must be an integer from 1 to 1000000, found "0"',
        ),
        ({"type": "Sequence", "phase1": 5}, 'phase1 must be an integer from 0 to 4, found "5"'),
        (
            {"type": "Sequence", "phase4_us": 0},
            'phase4_us must be an integer from 1 to 60000000, found "0"',
        ),
        ({"type": "SmtSiblingSpin"}, "workers must be a multiple of 2, found 1"),
    ],
)
def test_mistakes(lead, keys, error):
    assert lead(workers=1, **keys).error() == f"{keys['type']}: {error}"


def test_the_model_refuses_what_the_worker_refuses():
    for name, param in (
        ("IdleChurn", "burst_us"),
        ("IdleChurn", "sleep_us"),
        ("IpcVariance", "hot_iters"),
        ("IpcVariance", "cold_iters"),
        ("IpcVariance", "period_iters"),
    ):
        (found,) = [p for p in WORK_TYPES[name].params if p.name == param]
        assert (found.number(0), found.number(1)) == (None, 1)


def test_phases_are_numbered_as_the_worker_counts_them():
    first, *others = [p for p in WORK_TYPES["Sequence"].params if p.choices]
    assert [first.number(kind) for kind in ("spin", "sleep", "yield", "io", "alu-hot")] == [
        0, 1, 2, 3, 4
    ]  # fmt: skip
    assert first.number("none") is None
    for other in others:
        kinds = ("none", "spin", "sleep", "yield", "io", "alu-hot")
        assert [other.number(kind) for kind in kinds] == [0, 1, 2, 3, 4, 5]
