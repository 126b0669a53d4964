# SPDX-License-Identifier: GPL-2.0-only
"""What people and programs are told of a scheduler's programs."""

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ktstr.errors import ExitCode
from ktstr.report.programs import program_table, verified_table
from ktstr.report.verdict import print_parts
from ktstr.report.verifier import MAX_LOG_LINES, document, report
from ktstr.series.programs import VerifiedProgram
from ktstr.session.verifier import Loading

ENQUEUE = VerifiedProgram("enqueue", "struct_ops", "sched_ext_ops.enqueue", 40, 1_200, 8)
LARGE = VerifiedProgram("large", "struct_ops", "sched_ext_ops.tick", 400, 800_000, 512)
TRACER = VerifiedProgram("on_fork", "tracing", "wake_up_new_task", 12, 12, 0)
REFUSED = VerifiedProgram("dispatch", verified=906, peak_states=10, refused="Permission denied")
TURN = ["1: (07) r1 += 1 ; R1={}", "2: (a5) if r1 < 0x78 goto pc-2 ; R1={}"]
ERROR = "R3 min value is outside of the allowed memory range"
LOG = "\n".join([line.format(n) for n in range(500) for line in TURN] + [ERROR]) + "\n"

GOOD = Loading("debian:7", "7.2", "pass", ExitCode.PASS, "", (ENQUEUE, TRACER), wall_s=4.1)
BAD = Loading(
    "debian:6.19",
    "6.19",
    "fail",
    ExitCode.FAIL,
    "the verifier refused it",
    (REFUSED,),
    LOG,
    evidence=Path("out/evidence"),
)
LACKS = Loading("debian:6.12", "6.12", "skip", ExitCode.PASS, "sched_ext is absent")


def shown(*loadings: Loading, raw: bool = False) -> list[str]:
    text = io.StringIO()
    print_parts(Console(file=text, width=80, soft_wrap=True), report("mine.o", loadings, raw=raw))
    first, *rest = [line.rstrip() for line in text.getvalue().split("\n")]
    assert first == "", "apart from the progress above it"
    return rest


def test_one_kernel_shows_all_that_is_known_of_each_program() -> None:
    lines = shown(replace(GOOD, programs=(ENQUEUE, LARGE)))
    assert lines[:3] == [
        "program attached to           insns verified of limit stack B",
        "enqueue sched_ext_ops.enqueue    40    1,200     0.1%       8",
        "large   sched_ext_ops.tick      400  800,000    80.0%     512",
    ]
    assert lines[-2] == (
        "PASS         mine.o on 7.2 4.1 s  2 programs, at most 800,000 instructions verified "
        "(large, 80.0% of the limit)"
    )


def test_several_kernels_are_columns_and_what_is_not_there_is_a_dash() -> None:
    other = replace(GOOD, release="7.0", programs=(replace(ENQUEUE, verified=900),))
    lines = shown(GOOD, other, LACKS)
    assert lines[:3] == [
        "program attached to             7.2 7.0",
        "enqueue sched_ext_ops.enqueue 1,200 900",
        "on_fork wake_up_new_task         12   –",
    ]
    assert "SKIP         mine.o on 6.12 0.0 s  sched_ext is absent" in lines


def test_a_refused_program_stands_in_its_kernels_column() -> None:
    lines = shown(GOOD, BAD)
    assert lines[3].split() == ["dispatch", "–", "–", "906", "refused"]


def test_programs_of_one_name_stay_apart() -> None:
    twice = replace(GOOD, programs=(TRACER, replace(TRACER, verified=99)))
    lines = shown(twice, GOOD)
    rows = [line.split() for line in lines if line.startswith("on_fork")]
    assert rows == [
        ["on_fork", "wake_up_new_task", "12", "12"],
        ["on_fork", "wake_up_new_task", "99", "–"],
    ]


def test_the_log_of_a_failure_is_folded_and_as_it_is_with_raw() -> None:
    folded = shown(BAD)
    assert "--- log of 6.19 ---" in folded
    assert "[the 2 lines above repeated 489 times]" in folded
    assert ERROR in folded
    assert "\n".join(shown(BAD, raw=True)).count("(07) r1 += 1") == 500


def test_what_a_guest_wrote_cannot_steer_the_terminal() -> None:
    rude = replace(BAD, log="\x1b[2Jgone\n", programs=(replace(REFUSED, name="[red]\x1b[2J"),))
    for raw in (False, True):
        text = "\n".join(shown(rude, raw=raw))
        assert "\x1b" not in text and "?[2Jgone" in text and "[red]?[2J" in text


def test_a_log_that_folding_leaves_long_is_cut_in_the_middle() -> None:
    long = "\n".join(f"line {'x' * n}" for n in range(2 * MAX_LOG_LINES))
    lines = shown(replace(BAD, log=f"{long}\n{ERROR}\n"))
    assert "[401 lines are left out here; out/evidence has all]" in lines
    assert ERROR in lines and "line" in lines
    assert len(lines) < MAX_LOG_LINES + 12


def test_the_document_has_every_figure_and_folded_logs() -> None:
    values = document("mine.o", [GOOD, BAD], 5000, ExitCode.FAIL)
    assert (values["exit_code"], values["limit"], values["kernel_limit"]) == (1, 5000, 1_000_000)
    good, bad = values["kernels"]
    assert good["programs"][0] == {
        "name": "enqueue", "kind": "struct_ops", "attach": "sched_ext_ops.enqueue", "insns": 40,
        "verified": 1200, "stack": 8,
    }  # fmt: skip
    assert good["log"] == "" and ERROR in bad["log"] and len(bad["log"]) < len(LOG) / 10
    assert bad["evidence"] == "out/evidence"


def test_a_record_without_programs_has_no_table() -> None:
    assert program_table([]) is None
    for facts in ({}, {"verifier": None}, {"verifier": 5}, {"verifier": {"programs": "x"}}):
        assert verified_table(facts) is None
    assert verified_table({"verifier": {"programs": [ENQUEUE.plain()]}}) is not None
