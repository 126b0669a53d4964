# SPDX-License-Identifier: GPL-2.0-only
"""Churn, real-time, wake and device types: progress, and the samples they say they have."""

import os
import struct

import pytest

CPU = min(os.sched_getaffinity(0))
ALL = None  # every member of the group

# name: (keys, workers, group size, work units per iteration by position or None, members that
# have wake latencies)
TYPES = {
    "ForkExit": ({}, 2, 1, [1], ALL),
    "NiceSweep": ({}, 2, 1, [512], ALL),
    "AffinityChurn": ({"spin_iters": 64}, 2, 1, [64], ALL),
    "CrossAffinityChurn": ({"spin_iters": 64}, 2, 1, [64], ()),
    "PolicyChurn": ({"spin_iters": 64}, 1, 1, [64], ALL),
    "PageFaultChurn": (
        {"region_kib": 64, "touches_per_cycle": 16, "spin_iters": 5}, 2, 1, [21], (),
    ),
    "CgroupChurn": ({"groups": 3, "cycle_ms": 5}, 2, 1, [1024], ()),
    "CgroupAttachStorm": ({"reap": 0}, 2, 1, [1], ()),
    "RtStarvation": ({"affinity": CPU, "rt_priority": 7}, 2, 2, None, ()),
    "PreemptStorm": (
        {"cfs_workers": 1, "rt_burst_iters": 64, "rt_sleep_us": 500}, 2, 2, [64, 1024], (0,),
    ),
    "AsymmetricWaker": ({"burst_iters": 64}, 4, 2, [64, 1], (1,)),
    "WakeChain": ({"depth": 3, "wake": 0, "work_per_hop_us": 50}, 6, 3, None, ALL),
    "SignalStorm": ({"signals_per_iter": 4, "work_iters": 64}, 4, 2, [68, 68], ()),
    "EpollStorm": (
        {"producers": 1, "consumers": 2, "events_per_burst": 8}, 3, 3, [8, 1024, 1024], (1, 2),
    ),
    "IoRandRead": ({}, 2, 1, [1], ALL),
    "IoConvoy": ({}, 2, 1, [2], ALL),
    "NetTraffic": ({"interval_us": 500, "frame_bytes": 60}, 2, 1, None, ()),
    "IrqWake": ({}, 4, 2, [1024, 1], (1,)),
}  # fmt: skip
NEED_ROOT = {"RtStarvation", "PreemptStorm", "NetTraffic", "IrqWake"}
NEED_CGROUP = {"CrossAffinityChurn", "CgroupChurn", "CgroupAttachStorm"}


def samples(blob):
    return list(struct.unpack(f"<{len(blob) // 8}Q", blob))


@pytest.mark.parametrize("name", TYPES)
def test_every_member_makes_progress_and_has_its_samples_only(lead, request, name):
    keys, workers, group, units, sampled = TYPES[name]
    if name in NEED_ROOT and os.geteuid() != 0:
        pytest.skip(f"{name} needs root")
    where = {}
    if name in NEED_CGROUP:
        where = {"cgroup_dir": request.getfixturevalue("cgroup"), "cgroup_fd": 4}
    leader = lead(type=name, workers=workers, slot=3, **keys, **where)
    messages = leader.run(0.3)
    assert [m["worker"] for m in messages] == list(range(workers))
    for index, message in enumerate(messages):
        report, position = message["report"], index % group
        assert report["completed"] is True
        assert report["exit_info"] is None
        assert report["affinity_error"] is report["sched_policy_error"] is None
        assert report["is_messenger"] is False
        assert leader.live(3 + index) == report["iterations"]
        assert report["wall_time_ns"] <= leader.elapsed_ns
        if name == "RtStarvation" and position == 1:
            continue  # starving is what it is there for
        assert report["iterations"] > 0
        if units is not None:
            # One more may have been spent on an iteration that the stop cut short.
            extra = report["work_units"] - units[position] * report["iterations"]
            assert 0 <= extra <= units[position]

        wakes = samples(report["wake_latencies_ns"])
        assert len(wakes) == min(report["wake_sample_total"], 100_000)
        assert bool(wakes) == (sampled is ALL or position in sampled), position
        assert report["wake_sample_total"] <= report["iterations"] + 1
        # Waits follow each other, and lie within the run.
        assert sum(wakes) <= report["wall_time_ns"]
        for other in ("iteration_cost", "timer"):
            assert report[f"{other}_sample_total"] == 0


@pytest.mark.parametrize(
    ("name", "workers", "keys", "multiple"),
    [
        ("RtStarvation", 4, {"rt_workers": 2, "cfs_workers": 3}, 5),
        ("PreemptStorm", 3, {"cfs_workers": 3}, 4),
        ("AsymmetricWaker", 3, {}, 2),
        ("WakeChain", 4, {"depth": 3}, 3),
        ("SignalStorm", 1, {}, 2),
        ("EpollStorm", 4, {"producers": 2, "consumers": 1}, 3),
        ("IrqWake", 5, {}, 2),
    ],
)
def test_workers_come_in_whole_groups(lead, name, workers, keys, multiple):
    error = lead(type=name, workers=workers, **keys).error()
    assert error == f"{name}: workers must be a multiple of {multiple}, found {workers}"


@pytest.mark.parametrize(
    ("name", "key", "value", "bounds"),
    [
        ("AffinityChurn", "spin_iters", 0, "1 to 1000000000"),
        ("PageFaultChurn", "region_kib", 3, "4 to 1048576"),
        ("CgroupChurn", "groups", 65, "1 to 64"),
        ("CgroupAttachStorm", "reap", 2, "0 to 1"),
        ("RtStarvation", "rt_priority", 98, "1 to 97"),
        ("AsymmetricWaker", "wakee_class", 6, "0 to 5"),
        ("WakeChain", "depth", 1, "2 to 256"),
        ("NumaMigrationChurn", "period_ms", 0, "1 to 60000"),
        ("NetTraffic", "frame_bytes", 59, "60 to 1514"),
    ],
)
def test_parameters_have_bounds(lead, name, key, value, bounds):
    error = lead(type=name, workers=2, **{key: value}).error()
    assert error == f'{name}: {key} must be an integer from {bounds}, found "{value}"'
