# SPDX-License-Identifier: GPL-2.0-only
"""From a run's record to what became of a scheduler on a kernel."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from ktstr.errors import (
    CannotRun,
    ExitCode,
    GuestPanicked,
    KernelUnfit,
    OutputUnwritable,
)
from ktstr.model.scenario import load_scenario
from ktstr.series.programs import VerifiedProgram
from ktstr.session import verifier as module
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.verifier import Loading, exit_code, load_on, loading_of
from ktstr.verdict import AssertDetail, AssertResult, DetailKind

ENQUEUE = VerifiedProgram("enqueue", "struct_ops", "sched_ext_ops.enqueue", 40, 1200, 8)
ATTACHED = [{"event": "loaded"}, {"event": "attached", "ops": "mine"}]


def record(
    *,
    statuses: list[dict[str, Any]],
    programs: tuple[VerifiedProgram, ...] = (ENQUEUE,),
    failure: str = "",
    **more: Any,
) -> RunRecord:
    result = AssertResult()
    if failure:
        result.record_fail(AssertDetail(DetailKind.SCHEDULER_CRASHED, failure))
    made = RunRecord("r1", "verifier", ExitCode.FAIL if failure else ExitCode.PASS, result)
    made.facts = {
        "kernel": {"release": "7.2"},
        "scheduler": {"statuses": statuses, "exit": None},
        "verifier": {"programs": [each.plain() for each in programs]},
        "notes": more.pop("notes", []),
    }
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_what_attached_is_a_pass_whatever_its_run_was() -> None:
    found = loading_of("debian:7", record(statuses=ATTACHED, failure="it starved someone"))
    assert (found.verdict, found.exit_code, found.reason) == ("pass", ExitCode.PASS, "")
    assert found.programs == (ENQUEUE,) and found.release == "7.2"
    assert found.log == ""


def test_what_never_attached_is_a_failure_with_its_whole_log(tmp_path: Path) -> None:
    (tmp_path / "scheduler.log").write_text("the whole log")
    refused = VerifiedProgram("dispatch", refused="Permission denied")
    found = loading_of(
        "debian:7",
        record(
            statuses=[],
            programs=(refused,),
            failure="the verifier refused it",
            evidence=tmp_path,
            scheduler_tail=("its end",),
        ),
    )
    assert (found.verdict, found.reason) == ("fail", "the verifier refused it")
    assert found.log == "the whole log"


def test_without_evidence_the_log_is_what_the_record_has() -> None:
    found = loading_of("k", record(statuses=[], failure="no", scheduler_tail=("a", "b")))
    assert found.log == "a\nb"


def test_a_lost_guest_is_no_finding_about_the_scheduler() -> None:
    lost = record(statuses=ATTACHED, error="the kernel panicked\nmore")
    lost.exit_code = ExitCode.GUEST_LOST
    found = loading_of("k", lost)
    assert (found.verdict, found.exit_code) == ("guest lost", ExitCode.GUEST_LOST)
    assert found.reason == "the kernel panicked"


def test_programs_that_were_not_found_are_a_doubt_with_its_reason() -> None:
    note = "BPF programs were not counted: no BTF"
    found = loading_of("k", record(statuses=ATTACHED, programs=(), notes=["other", note]))
    assert (found.verdict, found.reason) == ("inconclusive", note)


PASS = Loading("k", "7.2", "pass", ExitCode.PASS, "", (ENQUEUE,))


@pytest.mark.parametrize(
    ("limit", "verdict"), [(None, "pass"), (1200, "pass"), (1199, "fail"), (1, "fail")]
)
def test_the_limit_is_the_most_that_a_program_may_take(limit: int | None, verdict: str) -> None:
    found = PASS.within(limit)
    assert found.verdict == verdict
    if verdict == "fail":
        assert found.exit_code is ExitCode.FAIL
        assert found.reason == f"enqueue: 1200 instructions verified, more than {limit}"


def test_a_count_that_is_not_known_is_no_pass_under_a_limit() -> None:
    blind = Loading("k", "5.15", "pass", ExitCode.PASS, "", (VerifiedProgram("old"),))
    assert blind.within(None).verdict == "pass"
    assert blind.within(10).exit_code is ExitCode.INCONCLUSIVE


def test_the_worst_kernel_decides_and_skips_alone_are_no_pass() -> None:
    skip = Loading("k", "6.12", "skip", ExitCode.PASS, "no sched_ext")
    fail = Loading("k", "7.0", "fail", ExitCode.FAIL)
    lost = Loading("k", "7.0", "guest lost", ExitCode.GUEST_LOST)
    assert exit_code([PASS, skip]) is ExitCode.PASS
    assert exit_code([fail, PASS]) is ExitCode.FAIL
    assert exit_code([fail, lost]) is ExitCode.GUEST_LOST
    assert exit_code([skip, skip]) is ExitCode.INCONCLUSIVE


def loaded(
    monkeypatch: pytest.MonkeyPatch, outcome: Any, scheduler: str = "scx_ktstr", **options: Any
) -> tuple[Loading, list[Any]]:
    """``load_on`` with a run that ends in ``outcome``; and what the run was asked for."""
    seen: list[Any] = []

    async def run(path: Path, given: RunOptions, emit: Any) -> RunRecord:
        seen.append((load_scenario(path, kernel=given.kernel, topology=given.topology), given))
        if isinstance(outcome, Exception):
            raise outcome
        made: RunRecord = outcome
        return made

    monkeypatch.setattr(module, "run_scenario", run)
    found = anyio.run(
        lambda: load_on(scheduler, "debian:7", RunOptions(**options), lambda event: None, limit=5)
    )
    return found, seen


def test_the_run_attaches_that_scheduler_on_that_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "mine"
    program.touch()
    found, [(scenario, options)] = loaded(
        monkeypatch, record(statuses=ATTACHED), str(program), topology="1n1l4c1t"
    )
    assert scenario.scheduler.binary == str(program)
    assert (scenario.kernel, str(scenario.vm.guest_topology)) == ("debian:7", "1n1l4c1t")
    assert scenario.scheduler.attach_ms == 600_000 and options.auto_repro is False
    assert found.verdict == "fail", "the limit of 5 was applied"


def test_a_kernel_without_sched_ext_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Opened:
        release = "6.12"

        class features:
            sched_ext = False

            @staticmethod
            def why_not(feature: str) -> str:
                return "CONFIG_SCHED_CLASS_EXT is off"

        async def __aenter__(self) -> "Opened":
            return self

        async def __aexit__(self, *args: object) -> None:
            pass

    monkeypatch.setattr(module, "open_kernel", lambda spec, **more: Opened())
    found, _ = loaded(monkeypatch, KernelUnfit("no debian kernel will do"))
    assert (found.verdict, found.release) == ("skip", "6.12")
    assert found.reason == "CONFIG_SCHED_CLASS_EXT is off"
    Opened.features.sched_ext = True
    found, _ = loaded(monkeypatch, KernelUnfit("it lacks virtio", hint="debian:7 has it"))
    assert (found.verdict, found.exit_code) == ("cannot run", ExitCode.CANNOT_RUN)
    assert found.reason == "it lacks virtio (hint: debian:7 has it)"


def test_a_guest_lost_on_its_way_is_told_and_other_obstacles_end_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, _ = loaded(monkeypatch, GuestPanicked("it panicked"))
    assert (found.verdict, found.exit_code) == ("guest lost", ExitCode.GUEST_LOST)
    with pytest.raises(CannotRun):
        loaded(monkeypatch, CannotRun("no room"))
    unwritten = record(statuses=ATTACHED, output_error="the disk is full")
    with pytest.raises(OutputUnwritable, match="the disk is full"):
        loaded(monkeypatch, unwritten)
