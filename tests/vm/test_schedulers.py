# SPDX-License-Identifier: GPL-2.0-only
"""Schedulers as users bring them, in real VMs; and a stall that hits one cgroup in one phase.

``user_sched`` is a program that loads its own scheduler and knows nothing of ktstr.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest

from ktstr.kernels.sysroot import libbpf_sysroot

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
GUEST_SCHED = HERE.parents[1] / "guest" / "sched"


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True)


@pytest.fixture(scope="session")
def libbpf() -> Path:
    return anyio.run(libbpf_sysroot)


@pytest.fixture
def user_sched(tmp_path: Path, libbpf: Path) -> Path:
    """The program, a library of its own beside it that its run path names, and what it reads."""
    multiarch = subprocess.run(
        ["cc", "-print-multiarch"], capture_output=True, text=True, check=True
    ).stdout.strip()
    include = f"-I{libbpf}/usr/include"
    bpf_object = tmp_path / "user_sched.bpf.o"
    clang = "clang-19" if Path("/usr/bin/clang-19").exists() else "clang"
    run(
        *(clang, "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wno-unused-parameter"),
        *(include, f"-I/usr/include/{multiarch}", f"-I{GUEST_SCHED}"),
        *("-c", HERE / "user_sched.bpf.c", "-o", bpf_object),
    )
    notes = tmp_path / "notes.c"
    notes.write_text("int notes_version(void) { return 42; }\n")
    run("cc", "-shared", "-fPIC", "-o", tmp_path / "libnotes.so.1", notes)
    archive = libbpf / "usr" / "lib" / multiarch / "libbpf.a"
    program = tmp_path / "user_sched"
    run(
        *("cc", "-O2", include, f'-DOBJECT="{bpf_object}"', HERE / "user_sched.c", "-o", program),
        *(f"-L{tmp_path}", "-l:libnotes.so.1", f"-Wl,-rpath,{tmp_path}", archive, "-lelf", "-lz"),
    )
    run("cc", "-o", tmp_path / "look", HERE / "user_look.c")
    (tmp_path / "user.conf").write_text("slice_us = 7000\n")
    return program


SCHEDULER = """
[scheduler]
binary = "user_sched"
args = ["--greeting", "hello world"]
config_file = "user.conf"
cgroup_parent = "/cells/inner"
sysctls = { "kernel.sched_rr_timeslice_ms" = 77 }
kernel_args = ["user_marker=1"]
kernel_features = ["sched_ext", "btf"]
flags = ["steal"]
excluded_flags = ["loud"]
checks = { max_gap_ms = 20_000, strict = true }

[scheduler.known_flags]
steal = { args = ["--steal", "2"], requires = ["llc"] }
llc = { args = ["--llc"] }
quiet = { args = ["--quiet"] }
loud = { args = ["--die"] }
"""

WHOLE = f"""
name = "brought"
[vm]
topology = "1n1l2c1t"
{SCHEDULER}
[run]
num_snapshots = 1
[[backdrop.cgroups]]
name = "one"
works = [{{ type = "SpinWait", workers = 3 }}]
[[steps]]
hold = "1500ms"
ops = [
    {{ op = "RunPayload", name = "look", command = "look", args = [
        "user_sched", "/sys/fs/cgroup/cells/inner/one/cgroup.procs"] }},
    {{ op = "WaitPayload", name = "look" }},
]
[checks]
not_starved = true
max_spread_pct = 100
"""

WORDS = ["--config", "/include-files/user.conf", "--cell-parent-cgroup", "/cells/inner"]
WORDS += ["--greeting", "hello world", "--llc"]


def test_a_program_gets_all_it_was_given_in_every_profile(
    ktstr: Any, scenario_file: Any, user_sched: Path
) -> None:
    done = ktstr.run(scenario_file(WHOLE), "--all-flags")
    assert done.code == 0, done.output
    records = [json.loads(path.read_text()) for path in done.out_dir.glob("*.ktstr.json")]
    by_profile = {record["scheduler"]["profile"]: record for record in records}
    flags = {"llc+steal": ["--steal", "2"], "llc+quiet+steal": ["--quiet", "--steal", "2"]}
    assert set(by_profile) == set(flags)
    for profile, own in flags.items():
        assert f"PASS         brought [{profile}]" in done.output
        record = by_profile[profile]
        said = record["log_tails"]["scheduler"]
        words = [*WORDS, *own]
        assert [line for line in said if line.startswith("argument ")] == [
            f"argument {n}: {word}" for n, word in enumerate(words, 1)
        ]
        for line in ("notes version 42", "/sys/fs/cgroup/cells/inner is there", "slice 7000 us"):
            assert line in said
        assert "stats: tasks were queued" in said
        assert said[-1] == "user_sched: ends on request"
        (attached,) = record["scheduler"]["statuses"]
        assert attached["event"] == "attached" and attached["ops"].startswith("user_sched")
        counted = {each["name"]: each["verified"] for each in record["verifier"]["programs"]}
        assert set(counted) == {"user_enqueue", "user_dispatch", "user_init"}
        assert min(counted.values()) > 0
        measured = record["result"]["measurements"]
        looked = {
            key: measured[f"payload.look.{key}"]
            for key in ("rr_timeslice_ms", "marked", "ops", "in_cgroup")
        }
        assert looked == {"rr_timeslice_ms": 77, "marked": 1, "ops": 1, "in_cgroup": 3}
        # What the host reads in frozen memory: its variables, as the configuration file set them.
        (sample,) = record["samples"]
        variables = {
            member["name"]: member["value"]["value"]
            for section in sample["globals"].values()
            for member in section["members"]
        }
        assert variables["nr_enqueued"] > 0
        assert variables["slice_us"] == 7000


FAILING = """
[vm]
topology = "1n1l2c1t"
[scheduler]
binary = "user_sched"
args = ["{switch}"]
attach_timeout = "2s"
[[steps]]
hold = "1s"
cgroups = [{{ name = "one", works = [{{ type = "SpinWait" }}] }}]
[checks]
not_starved = true
"""


LAST_WORDS = {
    "--die": "exited with status 3 before it was attached: notes version 42 argument 1: --die "
    "user_sched: layer 'batch' wants 9 CPUs of 2",
    "--dawdle": "not attached within 2 s of its start: notes version 42 argument 1: --dawdle "
    "user_sched: waits for a layer that never comes",
}


@pytest.mark.parametrize("switch", LAST_WORDS)
def test_a_program_that_does_not_attach_fails_with_its_own_words(
    ktstr: Any, scenario_file: Any, user_sched: Path, switch: str
) -> None:
    done = ktstr.run(scenario_file(FAILING.format(switch=switch)))
    assert done.code == 1, done.output
    (why,) = done.details()
    words = f"the scheduler did not attach at start: {LAST_WORDS[switch]}"
    assert why == f"{words} (its log has the details)"
    assert words in done.output
    assert "user_sched: " in done.evidence["scheduler.log"]


def test_a_program_whose_library_is_missing_is_refused(
    ktstr: Any, scenario_file: Any, user_sched: Path, tmp_path: Path
) -> None:
    (tmp_path / "libnotes.so.1").unlink()
    done = ktstr.run(scenario_file(FAILING.format(switch="--quiet")))
    assert done.code == 4, done.output
    assert f"{user_sched}: its library libnotes.so.1 is not on this host" in done.output
    assert "hint: " in done.output
    assert not done.out_dir.exists()


STALL = """
name = "one_stalls"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
globals = { starve_cgroup = "victim", starve_every = 0, starve_for_ms = 3000 }
[[steps]]
name = "before"
hold = "1s"
ops = [VICTIM, OTHER]
[[steps]]
name = "stalled"
hold = "4s"
ops = [VICTIM, OTHER, { op = "WriteBpfGlobal", name = "starve_every", value = 1_000_000 }]
[[steps]]
name = "after"
hold = "1s"
ops = [VICTIM, OTHER]
[checks]
not_starved = true
max_gap_ms = 2000
max_spread_pct = 100
min_iteration_rate = 1
"""


def spinners(cgroup: str, workers: int) -> str:
    works = f'[{{ type = "SpinWait", workers = {workers} }}]'
    return f'{{ op = "AddCgroupDef", name = "{cgroup}", works = {works} }}'


def test_a_stall_fails_the_right_check_for_its_cgroup_in_its_phase_alone(
    ktstr: Any, scenario_file: Any
) -> None:
    # More workers than CPUs, so that there is always somebody to run in the victim's place.
    text = STALL.replace("VICTIM", spinners("victim", 2)).replace("OTHER", spinners("other", 4))
    done = ktstr.run(scenario_file(text))
    assert done.code == 1, done.output
    record = done.record
    failed = [one["detail"] for one in record["result"]["outcomes"] if one["outcome"] != "pass"]
    # Both of its workers, by the gap; nothing of its starvation elsewhere or by another check.
    assert [(detail["kind"], detail["phase"]) for detail in failed] == [("Stuck", "Step[1]")] * 2
    for detail in failed:
        assert detail["message"].startswith("Step[1] victim: tid ")
        assert "(threshold 2000ms)" in detail["message"]
    gaps = {
        (worker["step"], worker["cgroup"], worker["worker"]): worker["report"]["max_gap_ms"]
        for worker in record["workers"]
    }
    assert len(gaps) == 18
    long = {key for key, gap in gaps.items() if gap > 2000}
    assert long == {(2, "victim", 0), (2, "victim", 1)}
    # The scheduler outlived it: the starved ran again when their time was over.
    assert record["scheduler"]["exit"] is None
