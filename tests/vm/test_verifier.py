# SPDX-License-Identifier: GPL-2.0-only
"""What real verifiers make of schedulers, one that they take and one that they refuse."""

import json
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest

from ktstr.kernels.sysroot import libbpf_sysroot

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
ERROR = "R3 min value is outside of the allowed memory range"


ROOM = 3000
"""Turns of the loop before the one that is refused: they write more than 1 MiB of log."""


@pytest.fixture
def beyond(tmp_path: Path) -> Path:
    """beyond.bpf.c, which is refused late in its loop."""
    multiarch = subprocess.run(
        ["cc", "-print-multiarch"], capture_output=True, text=True, check=True
    ).stdout.strip()
    clang = "clang-19" if Path("/usr/bin/clang-19").exists() else "clang"
    made = tmp_path / "beyond.bpf.o"
    subprocess.run(
        [
            *(clang, "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wno-unused-parameter"),
            f"-DROOM={ROOM}",
            *(f"-I{anyio.run(libbpf_sysroot)}/usr/include", f"-I/usr/include/{multiarch}"),
            *(f"-I{HERE.parents[1]}/guest/sched", "-c", HERE / "beyond.bpf.c", "-o", made),
        ],
        check=True,
    )
    return made


def verifier(ktstr: Any, *args: object) -> tuple[int, str, dict[str, Any]]:
    """Run the command; its exit status, what it printed, and its document."""
    out = ktstr.folder / "out"
    made = ktstr.folder / "verifier.json"
    words = ["verifier", *map(str, args), "--out", str(out), "--json", str(made)]
    process = ktstr.command(*words)
    done = ktstr.finish(process)
    return done.code, done.output, json.loads(made.read_text())


def test_the_counts_are_those_that_bpf_tells_inside(ktstr: Any) -> None:
    code, output, values = verifier(ktstr, "scx_ktstr", "--limit", 100_000)
    assert code == 0, output
    (kernel,) = values["kernels"]
    record = json.loads(Path(kernel["record"]).read_text())
    assert record["verdict"] == "pass", "nothing but the verifier is in question"
    loaded = next(s for s in record["scheduler"]["statuses"] if s["event"] == "loaded")
    inside = {prog["name"]: prog["insns_verified"] for prog in loaded["progs"]}
    outside = {prog["name"]: prog["verified"] for prog in kernel["programs"]}
    assert outside == inside and min(outside.values()) > 0
    attached = {prog["name"]: prog["attach"] for prog in kernel["programs"]}
    assert attached["ktstr_enqueue"] == "sched_ext_ops.enqueue"
    assert attached["ktstr_exit_op"] == "sched_ext_ops.exit"
    assert all(prog["kind"] == "struct_ops" and prog["insns"] > 0 for prog in kernel["programs"])
    # Each program's figures are on one line of what people see, and in `ktstr show`.
    shown = ktstr.finish(ktstr.command("show", "--metrics", kernel["record"])).output
    for text in (output, shown):
        (line,) = (line.split() for line in text.splitlines() if "sched_ext_ops.enqueue" in line)
        assert line[3] == f"{inside['ktstr_enqueue']:,}"


def test_a_refused_scheduler_fails_with_the_folded_log(ktstr: Any, beyond: Path) -> None:
    code, output, values = verifier(ktstr, beyond, "--kernels", "debian:7,debian:6.12")
    assert code == 1, output
    refused, lacks = values["kernels"]
    assert refused["reason"].startswith(
        f"the scheduler did not attach at load: the verifier refused it: {ERROR}"
    )
    (program,) = refused["programs"]
    assert program["name"] == "beyond_dispatch" and program["peak_states"] > 0
    # Ten instructions in a turn, of which the last one was not walked to its end.
    assert 9 * ROOM < program["verified"] < 10 * ROOM
    # The kernel has the end of a log for which there is no room; folded, a few turns are left.
    assert program["refused"] == "No space left on device"
    whole = (Path(refused["evidence"]) / "scheduler.log").read_text()
    assert 900 * 1024 < len(whole) < 1200 * 1024
    assert ROOM / 4 < whole.count("counts[turn]++;") < ROOM
    assert refused["log"].count("counts[turn]++;") <= 4
    assert "the log has no space in 1024 KiB" in output
    assert "lines above repeated" in output and ERROR in output.splitlines()
    assert (lacks["verdict"], lacks["programs"]) == ("skip", [])
    assert "sched_ext" in lacks["reason"]
