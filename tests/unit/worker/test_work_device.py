# SPDX-License-Identifier: GPL-2.0-only
"""Disk and network types, as other processes and the devices see them."""

import os
from pathlib import Path

import pytest


def open_files(pid: int) -> dict[str, int]:
    """Target and flags of the descriptors above the standard ones."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        info = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text()
        flags = next(line.split()[1] for line in info.splitlines() if line.startswith("flags"))
        found[os.readlink(link)] = int(flags, 8)
    return found


def knows_direct(folder: Path) -> bool:
    """Whether the file system takes O_DIRECT; the folder lies in /tmp as the worker's file does."""
    try:
        os.close(os.open(folder / "direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT))
    except OSError:
        return False
    return True


def counters(pid: int) -> dict[str, int]:
    pairs = (line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return {name: int(value) for name, value in pairs}


@pytest.mark.parametrize("name", ["IoSyncWrite", "IoRandRead", "IoConvoy"])
def test_without_a_scratch_disk_a_nameless_file_is_used(lead, name, tmp_path):
    before = set(Path("/tmp").glob("ktstr_io_*"))
    leader = lead(type=name, workers=1)
    (pid,) = leader.ready()
    files = {path: flags for path, flags in open_files(pid).items() if "ktstr_io" in path}
    ((path, flags),) = files.items()
    assert path.startswith("/tmp/ktstr_io_")
    assert path.endswith("(deleted)")
    if name == "IoSyncWrite":
        assert flags & os.O_SYNC == os.O_SYNC
    else:
        assert bool(flags & os.O_DIRECT) == knows_direct(tmp_path)
    # The machine's own disks are nobody's scratch disk.
    assert not any(path.startswith("/dev/") and path != "/dev/null" for path in open_files(pid))
    assert set(Path("/tmp").glob("ktstr_io_*")) == before
    leader.send(b"S")
    leader.collect()


@pytest.mark.parametrize(
    ("name", "reads", "writes"), [("IoRandRead", 1, 0), ("IoConvoy", 1, 1), ("IoSyncWrite", 0, 16)]
)
def test_an_iteration_is_so_many_blocks(lead, until, name, reads, writes):
    leader = lead(type=name, workers=1, slot=0)
    (pid,) = leader.ready()
    leader.send(b"S")
    until("it works", lambda: leader.live(0) > 10)
    first, before = leader.live(0), counters(pid)
    until("a hundred iterations", lambda: leader.live(0) > first + 100)
    after, last = counters(pid), leader.live(0)
    until("the counter moves on", lambda: leader.live(0) > last)
    done = last - first
    # The counters are read a moment later than the iterations, at both ends.
    for calls, chars, each in (("syscr", "rchar", reads), ("syscw", "wchar", writes)):
        assert after[calls] - before[calls] >= each * (done - 50)
        assert after[chars] - before[chars] == 4096 * (after[calls] - before[calls])
        assert bool(after[calls] - before[calls]) == bool(each)
    leader.collect()


def loopback_packets() -> int:
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[2]) for line in lines if line.strip().startswith("lo:"))


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="packet sockets need root")


@needs_root
def test_net_traffic_goes_over_the_loopback_device_and_comes_back(lead):
    before = loopback_packets()
    (message,) = lead(type="NetTraffic", workers=1, interval_us=500).run(0.3)
    report = message["report"]
    assert loopback_packets() - before >= report["iterations"] > 0
    # A unit is a frame received: each came back, the last perhaps after the last look.
    assert abs(report["work_units"] - report["iterations"]) <= 2


@needs_root
def test_irq_wake_pairs_do_not_wake_each_other(lead):
    reports = [message["report"] for message in lead(type="IrqWake", workers=6).run(0.3)]
    before = loopback_packets()
    for sender, receiver in zip(reports[::2], reports[1::2], strict=True):
        assert receiver["iterations"] > 10
        assert abs(sender["iterations"] - receiver["iterations"]) <= 1
        assert receiver["work_units"] == receiver["iterations"]
    assert before >= sum(report["iterations"] for report in reports[1::2])


@needs_root
def test_without_the_privilege_the_network_types_say_what_they_need(lead, worker_binary):
    command = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", str(worker_binary)]
    error = lead(command=command, type="NetTraffic", workers=1).error()
    assert error.endswith("needs packet sockets (CONFIG_PACKET, root): Operation not permitted")
