# SPDX-License-Identifier: GPL-2.0-only
"""What people read at the end of a run, word for word."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ktstr.errors import ExitCode
from ktstr.metrics.bucket import PhaseBucket
from ktstr.metrics.scenario import ScenarioStats
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.report.printable import lines, one_line
from ktstr.report.verdict import IN_BRIEF, MAX_DETAILS, Sections, print_record
from ktstr.session.record import RunRecord
from ktstr.telemetry import PhaseCgroupStats, TaggedReport, WorkerReport
from ktstr.telemetry.cgroup import CgroupStats
from ktstr.verdict import AssertDetail, AssertResult, DetailKind
from ktstr.verdict.detail import PassDetail

US = np.uint64(1000)
SPINNING = PhaseCgroupStats(
    num_workers=2,
    cpus_used=frozenset({0, 1}),
    run_delays_ns=np.array([71_000_000, 71_014_000], dtype=np.uint64),
    off_cpu_pcts=np.array([1.5, 6.5]),
    total_iterations=332_240,
    max_gap_ms=25,
    max_gap_cpu=1,
)
# 10, 20, 30, 40 µs: median the second, p99 the fourth; mean 25, deviation 11.18, cv 0.447.
WAKING = PhaseCgroupStats(
    num_workers=1,
    cpus_used=frozenset({2}),
    wake_latencies_ns=np.array([40, 10, 20, 30], dtype=np.uint64) * US,
    wake_sample_total=4,
    run_delays_ns=np.array([0], dtype=np.uint64),
    off_cpu_pcts=np.array([0.0]),
    total_iterations=14,
    total_migrations=3,
)
TIMING = PhaseCgroupStats(
    num_workers=1,
    timer_latencies_ns=np.array([5, 1500], dtype=np.uint64) * US,
    timer_sample_total=2,
)
BOTH = WAKING.merge(TIMING)


def buckets() -> list[PhaseBucket]:
    measured = {"total_phase_duration_sec": 2.0}
    return [
        PhaseBucket(1, "Step[0]", metrics=measured, per_cgroup={"a": SPINNING, "b": WAKING}),
        PhaseBucket(2, "Step[1]", per_cgroup={"a": TIMING, "b": BOTH}),
    ]


def printed(record: RunRecord, width: int = 120, sections: Sections = IN_BRIEF) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, soft_wrap=True, force_terminal=False)
    print_record(console, record, sections)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def record(result: AssertResult | None, code: ExitCode = ExitCode.PASS) -> RunRecord:
    steps = [{"index": 1, "name": "steady"}, {"index": 2, "name": None}]
    return RunRecord("id", "demo", code, result, facts={"steps": steps})


TABLE = """
phase          cgroup workers cpus    iter  iter/s off-cpu% spread gap ms migr latency p50 µs p99 µs   cv delay µs
Step[0] steady a            2 0-1  332,240 166,120      4.0    5.0   25@1    0 –            –      –    –   71,007
               b            1 2         14       7      0.0      –      0    3 wake      20.0   40.0 0.45      0.0
Step[1]        a            1 –          0       –        –      –      0    0 timer      5.0  1,500    –        –
               b            2 2         14       –      0.0    0.0      0    3 wake      20.0   40.0 0.45      0.0
                                                                               timer      5.0  1,500    –
"""  # noqa: E501


def test_a_pass_with_its_table() -> None:
    result = AssertResult(stats=ScenarioStats(phases=buckets()))
    result.record_pass(PassDetail("not_starved", "gt", "5", "0"))
    made = record(result)
    made.sidecar = Path("ktstr-runs/demo-id.ktstr.json")
    text = printed(made)
    assert text == TABLE.rstrip("\n") + (
        "\n\n"
        "metric           unit run Step[0] steady Step[1]\n"
        "total_migrations        –              3       3\n"
        "\nPASS  demo  exit 0\n  1 checks held\n  record: ktstr-runs/demo-id.ktstr.json"
    )
    assert max(map(len, text.splitlines())) <= 120


def test_a_narrow_terminal_loses_no_figure() -> None:
    result = AssertResult(stats=ScenarioStats(phases=buckets()))
    assert TABLE.strip() in printed(record(result), width=50)


def test_a_cgroup_of_the_whole_run_has_a_row() -> None:
    cgroup = CgroupStats(cgroup_name="calm", num_workers=1, timer_measured=True)
    text = printed(record(AssertResult(stats=ScenarioStats(cgroups=[cgroup]))))
    cells = text.splitlines()[2].split()
    assert " ".join(cells) == "whole run calm 1 – 0 – – – 0 0 timer 0.0 0.0 – –"


def worker(iterations: int, wall_s: float, cgroup: str = "calm") -> TaggedReport:
    report = WorkerReport(iterations=iterations, wall_time_ns=int(wall_s * 1e9))
    return TaggedReport(0, cgroup, 0, 0, 0, "SpinWait", report)


def test_a_row_of_the_whole_run_has_the_rate_of_its_workers() -> None:
    cgroup = CgroupStats(cgroup_name="calm", num_workers=3, total_iterations=1_300)
    made = record(AssertResult(stats=ScenarioStats(cgroups=(cgroup,))))
    # 1000 in 2 s, 300 in 1 s, and one whose time was not measured; another cgroup's are not hers.
    made.reports = [worker(1000, 2), worker(300, 1), worker(5, 0), worker(9, 1, "other")]
    cells = printed(made).splitlines()[2].split()
    assert cells[:7] == ["whole", "run", "calm", "3", "–", "1,300", "800"]


def test_a_scheduler_that_did_its_part_has_its_log_in_the_evidence_only() -> None:
    made = record(AssertResult(), ExitCode.INCONCLUSIVE)
    made.scheduler_tail = ("attached",)
    assert "attached" not in printed(made)
    made.facts["scheduler"] = {"exit": None}
    assert "attached" not in printed(made)
    made.facts["scheduler"] = {"exit": {"kind": 1026}}
    assert "--- scheduler log (end) ---\nattached\n" in printed(made)


def test_a_scheduler_without_statistics_shows_what_it_printed_when_they_are_asked_for() -> None:
    made = record(AssertResult())
    made.scheduler_tail = ("local=3 global=4",)
    assert "local=3" not in printed(made)
    assert "--- the last that it printed ---\nlocal=3 global=4\n" in printed(
        made, sections=Sections(stats=True)
    )


def test_a_long_log_of_a_scheduler_is_folded_and_its_end_is_shown() -> None:
    loop = [f"{n}: (07) r1 += 1   ; R1={n}" for n in range(5)]
    made = record(AssertResult(), ExitCode.FAIL)
    made.facts["scheduler"] = {"exit": {"process": "exited"}}
    made.scheduler_tail = (*loop * 60, *(f"last words {n}" for n in range(20)))
    text = printed(made)
    assert text.count("r1 += 1") <= 10
    assert all(f"last words {n}\n" in text for n in range(20))
    made.scheduler_tail = tuple(f"line {n} {'x' * n}" for n in range(300))
    text = printed(made)
    assert "line 260 " in text and "line 299 " in text and "line 259 " not in text


def test_a_fail_names_every_reason_first_failures_then_doubts() -> None:
    result = AssertResult()
    result.record_inconclusive(AssertDetail(DetailKind.OTHER, "a report never arrived"))
    result.record_fail(AssertDetail(DetailKind.UNFAIR, "spread 90.0% of 60.0%"))
    result.record_pass(PassDetail("x", "le", "1", "2"))
    result.note("one of 2 snapshots were taken")
    made = record(result, ExitCode.FAIL)
    made.scheduler_tail = ("first", "second")
    made.facts["scheduler"] = {"exit": {"process": "exited"}}
    made.evidence = Path("out/demo.evidence")
    made.host["checkpoints"] = ["out/demo.checkpoint"]
    assert printed(made) == (
        "--- scheduler log (end) ---\n"
        "first\n"
        "second\n"
        "\n"
        "FAIL  demo  exit 1\n"
        "  [Unfair] spread 90.0% of 60.0%\n"
        "  [Other] a report never arrived\n"
        "  note: one of 2 snapshots were taken\n"
        "  evidence: out/demo.evidence\n"
        "  checkpoint: out/demo.checkpoint"
    )


def test_a_reason_names_the_step_as_the_table_does() -> None:
    result = AssertResult(stats=ScenarioStats(phases=buckets()))
    for phase, message in (
        ("Step[0]", "Step[0] a: gap"),
        ("Step[1]", "Step[1] a: gap"),
        ("Step[0]", "Step[0]x: gap"),
        (None, "Step[0] a: of no phase"),
        ("Step[7]", "Step[7] a: gap"),
    ):
        result.record_fail(AssertDetail(DetailKind.STUCK, message, phase))
    reasons = printed(record(result, ExitCode.FAIL)).split("exit 1\n")[1]
    assert reasons.splitlines() == [
        "  [Stuck] Step[0] steady a: gap",
        "  [Stuck] Step[1] a: gap",
        "  [Stuck] Step[0]x: gap",
        "  [Stuck] Step[0] a: of no phase",
        "  [Stuck] Step[7] a: gap",
    ]


def test_the_timeline_is_shown_on_request() -> None:
    made = record(AssertResult(stats=ScenarioStats(phases=tuple(buckets()))))
    made.facts |= {
        "kernel": {"release": "7.0"},
        "topology": "1n1l2c1t",
        "scheduler": {"kind": "bpf", "path": "fifo.bpf.o", "exit": None},
    }
    made.events = [StimulusEvent(0, "StepStart[0]", step_index=1), StimulusEvent.terminal(4200, 1)]
    assert "timeline" not in printed(made)
    text = printed(made, sections=Sections(timeline=True))
    assert (
        "--- timeline ---\n"
        "kernel: 7.0  topology: 1n1l2c1t  scheduler: fifo.bpf.o  scenario: demo  duration: 4.2s\n"
    ) in text
    # In the order of time, between the tables and the verdict.
    places = [text.index(words) for words in ("cgroup workers", "timeline", "1: StepStart", "PASS")]
    assert places == sorted(places)


def test_an_inconclusive_run_says_so() -> None:
    result = AssertResult()
    result.record_inconclusive(AssertDetail(DetailKind.OTHER, "no check was evaluated"))
    assert printed(record(result, ExitCode.INCONCLUSIVE)) == (
        "\nINCONCLUSIVE  demo  exit 2\n  [Other] no check was evaluated"
    )


def test_a_lost_guest_shows_the_kernel_log_and_the_error() -> None:
    made = record(None, ExitCode.GUEST_LOST)
    made.error = "the guest kernel panicked: boom\n  hint: read it"
    made.console_tail = ("[1.0] boom",)
    made.evidence = Path("e")
    assert printed(made) == (
        "--- kernel log (end) ---\n"
        "[1.0] boom\n"
        "\n"
        "GUEST LOST  demo  exit 3\n"
        "  the guest kernel panicked: boom\n"
        "  hint: read it\n"
        "  evidence: e"
    )


def test_a_record_that_could_not_be_written_is_an_error_beside_the_verdict() -> None:
    result = AssertResult()
    result.record_fail(AssertDetail(DetailKind.STUCK, "gap"))
    made = record(result, ExitCode.CANNOT_RUN)
    made.output_error = "the record cannot be written: full"
    made.evidence = Path("half")
    assert printed(made) == (
        "\nFAIL  demo  exit 4\n  [Stuck] gap\n  error: the record cannot be written: full"
    )


def test_a_flood_of_reasons_is_cut_and_counted() -> None:
    result = AssertResult()
    for n in range(MAX_DETAILS + 5):
        result.record_fail(AssertDetail(DetailKind.STUCK, f"gap {n}"))
        result.note(f"note {n}")
    text = printed(record(result, ExitCode.FAIL))
    assert text.count("[Stuck]") == MAX_DETAILS
    assert "  ... and 5 more\n" in text
    assert text.endswith("  ... and 5 more notes in the record")


def test_a_guest_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J\x1b]0;title\x07\x9b31m\u202e\rPASS"
    result = AssertResult(
        stats=ScenarioStats(phases=[PhaseBucket(1, "Step[0]", per_cgroup={evil: WAKING})])
    )
    result.record_fail(AssertDetail(DetailKind.OTHER, f"{evil}\n[bold]x"))
    result.note(evil)
    made = record(result, ExitCode.FAIL)
    made.error, made.scheduler_tail, made.console_tail = evil, (evil,), (evil,)
    made.facts["scheduler"] = {"exit": {"process": evil}}
    out = io.StringIO()
    console = Console(file=out, width=120, soft_wrap=True, force_terminal=True, color_system=None)
    print_record(console, made)
    text = out.getvalue()
    assert not set(text) & set("\x1b\x07\x9b\u202e\r")
    assert text.count("?[2J?]0;title??31m??PASS") == 6
    assert "[bold]x" in text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a\nb\r\nc\td", "a b c\td"),
        ("\ud800\x00\x7f", "???"),
        ("µs ± “…” 漢字", "µs ± “…” 漢字"),
        ("x" * 600, "x" * 500 + "…"),
    ],
)
def test_one_line_is_one_safe_line(text: str, safe: str) -> None:
    assert one_line(text) == safe


def test_lines_keep_their_breaks_and_nothing_else() -> None:
    assert lines("a\x1bb\r\n\u2028c\n") == "a?b\n\u2028c\n"
