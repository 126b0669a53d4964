# SPDX-License-Identifier: GPL-2.0-only
"""Schedulers that come with the kernel's source, made for the kernel and run as users run them.

Of a kernel that is in the cache the source is fetched once (164 MB for Linux 7.2, 1.8 GB unpacked),
and each scheduler is made once; both are kept.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest

from ktstr.kernels import open_kernel
from ktstr.kernels.build.schedulers import kernel_schedulers
from ktstr.kernels.sysroot import libbpf_sysroot

# Without a cache: a download, an archive to unpack, two libbpfs to make.
pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent
GUEST_SCHED = HERE.parents[1] / "guest" / "sched"

STANDARD = (
    "cgroup_steady",
    "mixed_workloads",
    "cgroup_cpuset_apply_midrun",
    "nested_cgroup_task_move",
)
"""The standard set: shares, sleepers, cpusets, moves (docs/guide/schedulers.md)."""

OPS = {
    "scx_simple": "simple",
    "scx_qmap": "qmap",
    "scx_central": "central",
    "scx_flatcg": "flatcg",
}
PRINTS = {
    "scx_simple": "local=",
    "scx_qmap": "stats  : enq=",
    "scx_central": "total   :",
    "scx_flatcg": "PNC   next:",
}
"""What they print every second or two by themselves; none of them serves scx_stats."""


@pytest.fixture(scope="module")
def made() -> dict[str, Path]:
    """The programs; made here, so that no run's patience has to last for a download."""

    async def make() -> dict[str, Path]:
        async with open_kernel("debian:7") as kernel:
            return await kernel_schedulers(kernel, OPS)

    return anyio.run(make)


@pytest.mark.parametrize("name", OPS)
def test_the_kernels_own_schedulers_run_the_standard_set(
    ktstr: Any, made: dict[str, Path], name: str
) -> None:
    assert made[name].is_file()
    first, *others = STANDARD
    command = (f"basic/{first}.toml", *others, "--scheduler", f"kernel:{name}")
    done = ktstr.run(*command)
    if done.code == 1:
        # What is tested is that they run, not that they are right: scx_flatcg left a task that was
        # moved between its cgroups without CPU time for good, once in some hundred runs.
        shutil.rmtree(done.out_dir)
        done = ktstr.run(*command)
    assert done.code == 0, done.output
    records = [json.loads(path.read_text()) for path in done.out_dir.glob("*.ktstr.json")]
    assert {record["name"] for record in records} == set(STANDARD)
    for record in records:
        scheduler, said = record["scheduler"], record["log_tails"]["scheduler"]
        assert (scheduler["kind"], scheduler["path"]) == ("binary", f"kernel:{name}")
        (attached,) = scheduler["statuses"]
        assert attached["event"] == "attached"
        assert attached["ops"].startswith(OPS[name])
        assert scheduler["exit"] is None
        assert any(PRINTS[name] in line for line in said), said
        assert any(line.startswith("EXIT: unregistered from user space") for line in said), said


FAILING = """
name = "other_kernel"
[vm]
topology = "1n1l2c1t"
[scheduler]
binary = "flick"
[[steps]]
hold = "1s"
cgroups = [{ name = "one", works = [{ type = "SpinWait" }] }]
[checks]
not_starved = true
"""


@pytest.fixture
def flick(tmp_path: Path) -> Path:
    """A program of somebody who uses libbpf; its scheduler calls a kfunc that there is not."""
    libbpf = anyio.run(libbpf_sysroot)
    multiarch = subprocess.run(
        ["cc", "-print-multiarch"], capture_output=True, text=True, check=True
    ).stdout.strip()
    clang = "clang-19" if Path("/usr/bin/clang-19").exists() else "clang"
    include, made = f"-I{libbpf}/usr/include", tmp_path / "flick.bpf.o"
    compile_bpf = [
        *(clang, "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wno-unused-parameter"),
        *(include, f"-I/usr/include/{multiarch}", f"-I{GUEST_SCHED}"),
        *("-c", HERE / "missing_kfunc.bpf.c", "-o", made),
    ]
    notes = tmp_path / "notes.c"
    notes.write_text("int notes_version(void) { return 0; }\n")
    program = tmp_path / "flick"
    archive = libbpf / "usr" / "lib" / multiarch / "libbpf.a"
    compile_program = [
        *("cc", "-O2", include, f'-DOBJECT="{made}"', HERE / "user_sched.c", notes),
        *("-o", program, archive, "-lelf", "-lz"),
    ]
    for command in (compile_bpf, compile_program):
        subprocess.run([str(word) for word in command], check=True)
    return program


def test_a_scheduler_for_another_kernel_fails_by_what_the_kernel_lacks(
    ktstr: Any, scenario_file: Any, flick: Path
) -> None:
    done = ktstr.run(scenario_file(FAILING))
    assert done.code == 1, done.output
    release = done.record["kernel"]["release"]
    (why,) = done.details()
    assert why == (
        f"the scheduler did not attach at start: kernel {release} has no kfunc scx_bpf_flick; the "
        "scheduler was built for another kernel (its log has the details)"
    )
    said = "libbpf: extern (func ksym) 'scx_bpf_flick': not found in kernel or module BTFs"
    assert said in done.output
    assert said in done.evidence["scheduler.log"]


def test_a_scheduler_that_the_source_has_not_is_refused_before_anything_boots(
    ktstr: Any, scenario_file: Any
) -> None:
    done = ktstr.run(scenario_file(FAILING.replace('"flick"', '"kernel:scx_simpel"')))
    assert done.code == 4, done.output
    assert "has no scheduler 'scx_simpel'" in done.output
    assert "scx_central, " in done.output and "did you mean scx_simple?" in done.output
    assert not done.out_dir.exists()
