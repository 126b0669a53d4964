# SPDX-License-Identifier: GPL-2.0-only
"""When a failed run is repeated, and what becomes of its record."""

import json
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from ktstr.errors import ExitCode, GuestHung
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.session.definition import Definition, define
from ktstr.session.events import Note, RunEvent
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.repro import has_probes, repeat, report_of, why_not, with_probes
from ktstr.session.sidecar.read import read_sidecar
from ktstr.session.sidecar.write import is_repetition, write_sidecar
from ktstr.verdict import AssertDetail, AssertResult, DetailKind

SCENARIO = """
name = "flaky"
[scheduler]
{scheduler}
[run]
{run}
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "a"
works = [{{ type = "SpinWait" }}]
"""


def definition(
    folder: Path, *, scheduler: str = 'bpf = "scx_ktstr"', run: str = "seed = 1"
) -> Definition:
    path = folder / "flaky.toml"
    path.write_text(SCENARIO.format(scheduler=scheduler, run=run))
    return define(path, RunOptions())


def failed() -> RunRecord:
    detail = AssertDetail(DetailKind.UNFAIR, "Step[0] a: spread 40 % over 15 %", "Step[0]")
    record = RunRecord("20260101-000000-abcd", "flaky", ExitCode.FAIL, AssertResult.fail(detail))
    record.facts = {"scheduler": {"exit": None}}
    record.events = [StimulusEvent(elapsed_ms=0, label="StepStart", step_index=1)]
    return record


def passed() -> RunRecord:
    result = AssertResult()
    result.record_pass()
    record = RunRecord("20260101-000000-abcd.repro", "flaky", ExitCode.PASS, result)
    record.facts = {"scheduler": {"exit": None}}
    return record


def test_a_failure_under_a_scheduler_is_repeated(tmp_path: Path) -> None:
    assert why_not(failed(), definition(tmp_path), RunOptions()) is None


@pytest.mark.parametrize(
    "code", [ExitCode.PASS, ExitCode.INCONCLUSIVE, ExitCode.GUEST_LOST, ExitCode.CANNOT_RUN]
)
def test_anything_else_is_not(tmp_path: Path, code: ExitCode) -> None:
    record = failed()
    record.exit_code = code
    assert why_not(record, definition(tmp_path), RunOptions()) == ""


def test_a_failure_under_the_kernels_own_scheduler_is_not_and_says_so(tmp_path: Path) -> None:
    own = definition(tmp_path, scheduler="kernel_default = true")
    assert "the kernel's own scheduler" in (why_not(failed(), own, RunOptions()) or "")


def test_a_repetition_is_not_repeated(tmp_path: Path) -> None:
    again = with_probes(definition(tmp_path))
    assert has_probes(again) and not has_probes(definition(tmp_path))
    assert why_not(failed(), again, RunOptions()) == ""


def test_the_file_and_before_it_the_command_line_may_forbid_it(tmp_path: Path) -> None:
    off = definition(tmp_path, run="auto_repro = false")
    assert why_not(failed(), off, RunOptions()) == ""
    assert why_not(failed(), off, RunOptions(auto_repro=True)) is None
    assert why_not(failed(), definition(tmp_path), RunOptions(auto_repro=False)) == ""
    assert "kept" in (why_not(failed(), off, RunOptions(auto_repro=True, keep_vm=True)) or "")


def repeated(
    tmp_path: Path, outcome: RunRecord | Exception | None, limit_s: float = 60.0
) -> tuple[RunRecord, list[RunEvent]]:
    """The first run's record after a repetition that ends so; ``None`` never ends."""
    primary, told = failed(), []
    primary.evidence = tmp_path / "evidence"
    primary.sidecar = write_sidecar(tmp_path, primary)

    async def stay() -> RunRecord:
        if outcome is None:
            await anyio.sleep_forever()
        if isinstance(outcome, Exception):
            raise outcome
        assert outcome is not None
        return outcome

    options = RunOptions(out_dir=tmp_path)
    anyio.run(repeat, primary, stay, limit_s, options, told.append)
    return primary, told


def test_a_failure_that_does_not_come_again_is_told_and_still_a_failure(tmp_path: Path) -> None:
    primary, told = repeated(tmp_path, passed())
    assert isinstance(told[0], Note) and "spread 40 %" in told[0].text
    assert primary.facts["repro"]["headline"] == "it did not fail again: pass"
    assert primary.exit_code == ExitCode.FAIL
    assert primary.sidecar is not None
    written = json.loads(primary.sidecar.read_text())
    assert written["repro"] == primary.facts["repro"] and written["verdict"] == "fail"
    assert "did not fail again" in (tmp_path / "evidence" / "repro.txt").read_text()
    assert read_sidecar(primary.sidecar).facts["repro"] == primary.facts["repro"]


def test_a_repetition_that_fails_alike_is_told_apart_from_one_that_does_not(tmp_path: Path) -> None:
    primary, _ = repeated(tmp_path, failed())
    assert primary.facts["repro"]["same_way"] is True
    other = failed()
    other.result = AssertResult.fail(AssertDetail(DetailKind.STUCK, "stuck", "Step[0]"))
    primary, _ = repeated(tmp_path, other)
    assert primary.facts["repro"]["failed_again"] is True
    assert primary.facts["repro"]["same_way"] is False


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (1025, "the same way: ERROR_BPF (1025): scx_bpf_error: boom"),
        (None, "the same way: [Unfair] Step[0] a: spread 40 % over 15 %"),
    ],
)
def test_the_headline_names_the_exit_or_else_the_failed_check(
    tmp_path: Path, kind: int | None, told: str
) -> None:
    def ended() -> RunRecord:
        record = failed()
        known = {"kind_name": "ERROR_BPF", "reason": "scx_bpf_error", "message": "boom"}
        unknown = {"kind_name": None, "reason": "", "message": ""}
        found = {"kind": kind, **(unknown if kind is None else known)}
        record.facts = {"scheduler": {"exit": found}}
        return record

    report = report_of(ended(), ended())
    assert report.headline == f"it failed again, {told}"


def test_a_repetition_that_cannot_be_done_leaves_the_first_verdict(tmp_path: Path) -> None:
    primary, _ = repeated(tmp_path, GuestHung("no Hello"))
    assert primary.exit_code == ExitCode.FAIL
    assert primary.facts["repro"]["headline"] == "the repetition could not be done: no Hello"


def test_a_repetition_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    primary, _ = repeated(tmp_path, None, limit_s=-119.99)
    assert "given up after" in primary.facts["repro"]["headline"]


def test_the_record_of_a_repetition_is_known_by_its_name(tmp_path: Path) -> None:
    again = replace(passed())
    assert is_repetition(write_sidecar(tmp_path, again))
    assert not is_repetition(write_sidecar(tmp_path, failed()))
