# SPDX-License-Identifier: GPL-2.0-only
"""Several runs in one command, in real VMs: every kind of end, and an interruption."""

import json
import signal
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

TINY = """
name = "{name}"
[vm]
topology = "{topology}"
memory = "256M"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "300ms"
cgroups = [{{ name = "one", {cpuset} works = [{{ type = "SpinWait", workers = 1 }}] }}]
[checks]
min_iteration_rate = {rate}
"""


def write(folder: Path, name: str, topology: str = "1n1l1c1t", cpuset: str = "", rate: int = 0):
    folder.mkdir(exist_ok=True)
    text = TINY.format(name=name, topology=topology, cpuset=cpuset, rate=rate)
    (folder / f"{name}.toml").write_text(text)


def test_a_matrix_with_every_kind_of_end(ktstr) -> None:
    folder = ktstr.folder / "scenarios"
    write(folder, "passes")
    write(folder, "fails", rate=10**15)
    write(folder, "elsewhere", "1n2l1c1t", "cpuset = { llc = 1 },")
    write(folder, "wrong", rate=-1)
    reports = [f"--junit={ktstr.folder}/j.xml", f"--json={ktstr.folder}/o.json"]
    axes = ["--topologies", "1n1l1c1t", "--repeat", "2", "--jobs", "auto"]
    done = ktstr.run(folder, *axes, *reports)
    assert done.code == 4, done.output

    found = json.loads((ktstr.folder / "o.json").read_text())
    verdicts = {"passes": "pass", "fails": "fail", "elsewhere": "skip", "wrong": "cannot run"}
    names = ["elsewhere", "fails", "passes", "wrong"]
    assert [(run["name"], run["repetition"]) for run in found["scenarios"]] == [
        (name, n) for n in (1, 2) for name in names
    ]
    for run in found["scenarios"]:
        assert run["verdict"] == verdicts[run["name"]], run
        assert run["topology"] == "1n1l1c1t"
        record = None if run["record"] is None else json.loads(Path(run["record"]).read_text())
        if run["verdict"] in ("pass", "fail"):
            assert record["topology"] == "1n1l1c1t" and record["verdict"] == run["verdict"]
        else:
            assert record is None and run["reason"]
    assert found["exit_code"] == 4 and found["workload_s"] == 1.2
    assert found["verdicts"] == dict.fromkeys(verdicts.values(), 2)

    suite = ElementTree.parse(ktstr.folder / "j.xml").getroot()[0]
    counted = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counted == ["8", "2", "2", "2"]
    ends = Counter((case.get("classname"), case[-1].tag) for case in suite)
    assert ends["ktstr.passes", "system-out"] == 2 and ends["ktstr.elsewhere", "skipped"] == 2
    for case in suite.iterfind("testcase[@classname='ktstr.fails']"):
        failure = case.find("failure")
        assert failure is not None and "one" in (failure.get("message") or "")
        assert "evidence: " in (case.findtext("system-out") or "")
    assert "8 runs: 2 pass, 2 skip, 2 fail, 2 cannot run;" in done.output
    assert len(list(done.out_dir.glob("*.evidence"))) == 2


def test_interrupted_it_tells_what_finished_and_leaves_nothing(ktstr) -> None:
    folder = ktstr.folder / "scenarios"
    write(folder, "passes")
    junit = ktstr.folder / "j.xml"
    process = ktstr.start(folder, "--repeat", "4", "--jobs", "2", f"--junit={junit}")
    seen = ktstr.read_until(process, "[1/4] PASS")
    ktstr.qemu_pid()
    process.send_signal(signal.SIGINT)
    done = ktstr.finish(process, seen)
    assert done.code == 130, done.output
    assert done.output.splitlines()[-1] == "interrupted; everything is cleaned up"
    suite = ElementTree.parse(junit).getroot()[0]
    said = Counter(
        "finished" if (skipped := case.find("skipped")) is None else skipped.get("message")
        for case in suite
    )
    assert said.total() == 4 and said["finished"] >= 1
    assert said["interrupted while it ran"] >= 1
    for case in suite:
        record = case.find("properties/property[@name='record']")
        assert (record is None) == (case.find("skipped") is not None)
        assert record is None or Path(record.get("value") or "").is_file()
