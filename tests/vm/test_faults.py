# SPDX-License-Identifier: GPL-2.0-only
"""Bad luck in real VMs: each fault ends in a clear verdict with its evidence, leaving nothing.

That nothing is left is checked after every test by the ``ktstr`` fixture.
"""

import os
import shlex
import signal
import stat
from pathlib import Path

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

ALWAYS_KEPT = {"kernel.log", "agent.log", "harness.log", "qemu.command", "frames.bin"}


def check_evidence(done, *names: str) -> None:
    """The evidence folder has the usual files and ``names``, none of them empty."""
    evidence = done.evidence
    wanted = ALWAYS_KEPT | set(names)
    assert wanted <= set(evidence), sorted(evidence)
    assert [name for name in wanted if not evidence[name]] == []


def test_a_stall_is_ejected_by_the_kernel_and_fails(ktstr) -> None:
    done = ktstr.run("faults/stall.toml")
    assert done.code == 1, done.output
    (first, *_) = done.details()
    assert first.startswith("scheduler process died unexpectedly during workload")
    assert "runnable task stall" in first
    assert "[SchedulerCrashed]" in done.output
    check_evidence(done, "scheduler.log", "scheduler-exit.json", "last-snapshot.json")


def test_a_scheduler_that_crashes_fails_with_its_own_words(ktstr) -> None:
    done = ktstr.run("faults/crash.toml")
    assert done.code == 1, done.output
    assert "ERROR_BPF (1025)" in done.details()[0]
    assert "ktstr: host-triggered crash" in done.details()[0]
    check_evidence(done, "scheduler.log", "scheduler-exit.json")


def test_a_scheduler_that_does_not_verify_shows_the_verifier_log(ktstr) -> None:
    done = ktstr.run("faults/fail_verify.toml")
    assert done.code == 1, done.output
    (why,) = done.details()
    assert why.startswith("the scheduler did not attach at load: the verifier refused it: ")
    assert "invalid mem access 'map_value_or_null'" in why
    assert "-- BEGIN PROG LOAD LOG --" in done.evidence["scheduler.log"]
    assert "invalid mem access" in done.output
    check_evidence(done)


def test_a_scheduler_whose_init_fails_does_not_attach(ktstr) -> None:
    done = ktstr.run("faults/fail_init.toml")
    assert done.code == 1, done.output
    assert "the scheduler did not attach at attach" in done.details()[0]
    check_evidence(done, "scheduler.log")


def test_a_scheduler_that_leaves_cleanly_is_told_from_a_crash(ktstr) -> None:
    done = ktstr.run("faults/clean_exit.toml")
    assert done.code == 1, done.output
    assert "[SchedulerExitedCleanly]" in done.output
    assert "UNREG_BPF" in done.details()[0]
    check_evidence(done)


def test_a_scheduler_process_that_is_killed_fails(ktstr) -> None:
    done = ktstr.run("faults/kill_scheduler.toml")
    assert done.code == 1, done.output
    assert done.details()[0].startswith("scheduler process died")
    assert done.record["scheduler"]["exit"]["process"] == "killed by signal 9"
    check_evidence(done)


def test_a_panic_is_a_lost_guest_with_its_log(ktstr) -> None:
    done = ktstr.run("faults/panic.toml")
    assert done.code == 3, done.output
    assert done.record["verdict"] == "lost"
    assert "the guest kernel panicked" in done.record["error"]
    assert "sysrq" in done.evidence["kernel.log"].lower()
    check_evidence(done, "last-snapshot.json")


def test_a_hang_is_found_by_its_deadline(ktstr) -> None:
    done = ktstr.run("faults/hang.toml", "--timeout", "60")
    assert done.code == 3, done.output
    assert "the guest stopped answering" in done.record["error"] or "time limit" in done.output
    check_evidence(done, "last-snapshot.json")


def test_qemu_killed_is_told_as_such(ktstr) -> None:
    process = ktstr.start("faults/stall.toml")
    seen = ktstr.read_until(process, "Step[0]")
    os.kill(ktstr.qemu_pid(), signal.SIGKILL)
    done = ktstr.finish(process, seen)
    assert done.code == 3, done.output
    assert "QEMU was killed by SIGKILL" in done.record["error"]
    check_evidence(done)


def test_a_killed_worker_is_a_failure_and_the_others_report(ktstr) -> None:
    done = ktstr.run("faults/kill_worker.toml")
    assert done.code == 1, done.output
    dead = [w["report"] for w in done.record["workers"] if not w["report"]["completed"]]
    assert [report["exit_info"] for report in dead] == [{"kind": "Signaled", "signal": 9}]
    assert len(done.record["workers"]) == 4
    assert any("killed by signal 9" in text for text in done.details())
    check_evidence(done)


def test_a_killed_agent_is_a_lost_guest(ktstr) -> None:
    done = ktstr.run("faults/kill_agent.toml")
    assert done.code == 3, done.output
    assert "agent killed by signal 9" in done.record["error"]
    check_evidence(done)


def test_garbage_on_the_port_loses_no_frame(ktstr) -> None:
    done = ktstr.run("faults/garbage.toml")
    assert done.code == 0, done.output
    link = done.record["link"]
    assert link["dropped_bytes"] >= 5 << 20
    assert link["missing"] == 0
    assert "the bulk port carried damage" in done.output


BAD_CPUSET = """
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "one"
cpuset = "4-5"
works = [{ type = "SpinWait", workers = 1 }]
[checks]
not_starved = true
"""


def test_a_cpuset_the_topology_cannot_give_is_refused_with_its_line(ktstr, scenario_file) -> None:
    done = ktstr.run(scenario_file(BAD_CPUSET))
    assert done.code == 4
    assert "scenario.toml:10: steps[0].cgroups[0].cpuset" in done.output
    assert "4-5" in done.output and "0-1" in done.output
    assert not done.out_dir.exists()


def test_an_unknown_kernel_is_refused(ktstr) -> None:
    done = ktstr.run("two_cgroups.toml", "--kernel", "path:/nonexistent/bzImage")
    assert done.code == 4
    assert "/nonexistent/bzImage" in done.output
    done = ktstr.run("two_cgroups.toml", "--kernel", "fedora:40")
    assert done.code == 4
    assert "fedora:40" in done.output and "debian:7" in done.output


def test_a_kernel_without_sched_ext_is_refused_by_what_it_lacks(ktstr) -> None:
    done = ktstr.run("two_cgroups.toml", "--kernel", "debian:6.12")
    assert done.code == 4, done.output
    assert "sched_ext" in done.output


def test_kvm_that_does_not_run_guests_is_not_taken(ktstr, tmp_path: Path) -> None:
    """A QEMU that dies under KVM, as on a host whose /dev/kvm opens and nothing more."""
    real = next(
        Path(folder) / "qemu-system-x86_64"
        for folder in os.environ["PATH"].split(":")
        if (Path(folder) / "qemu-system-x86_64").exists()
    )
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    fake = bin_dir / "qemu-system-x86_64"
    fake.write_text(
        "#!/bin/bash\n"
        "for word; do case $word in *kvm*) echo 'KVM: entry failed' >&2; kill -ABRT $$;; esac\n"
        "done\n"
        f'exec {shlex.quote(str(real))} "$@"\n'
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    ktstr.env["PATH"] = f"{bin_dir}:{os.environ['PATH']}"
    done = ktstr.run("two_cgroups.toml", "--accel", "kvm")
    assert done.code == 4, done.output
    assert "KVM" in done.output


def test_a_full_disk_keeps_the_verdict_on_the_screen(ktstr, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    script = (
        f"mount -t tmpfs -o size=8k none {shlex.quote(str(out))} && "
        f'head -c 6000 /dev/zero > {shlex.quote(str(out))}/filler; exec "$@"'
    )
    prefix = ("unshare", "--mount", "--map-root-user", "bash", "-c", script, "bash")
    done = ktstr.run("faults/kill_worker.toml", prefix=prefix)
    assert done.code == 4, done.output
    assert "No space left on device" in done.output
    assert "--out" in done.output
    assert "killed by signal 9" in done.output, "the verdict itself must not be lost"
