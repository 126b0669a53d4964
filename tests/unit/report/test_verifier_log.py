# SPDX-License-Identifier: GPL-2.0-only
"""What a person sees of a verifier's log."""

import pytest

from ktstr.report.verifier_log import fold

PROLOGUE = ["func#0 @0", "0: R1=ctx() R10=fp0"]
ERROR = [
    "BPF program is too large. Processed 1000001 insn",
    "processed 1000001 insns (limit 1000000) max_states_per_insn 4 total_states 9 peak_states 9",
]


def turn(number: int) -> list[str]:
    """A loop's iteration as the verifier writes it; only register states differ."""
    return [
        "; while (more) @ a.bpf.c:5",
        f"2: (07) r7 += 1                       ; R7_w={number}",
        "3: (55) if r7 != 0x64 goto pc-2",
        f"2: R6=ptr_task_struct() R7={number} R10=fp0 fp-8=mm{number % 3}",
    ]


def joined(*parts: list[str]) -> str:
    return "\n".join(line for part in parts for line in part)


def test_a_loop_is_shown_once_with_how_often_it_came() -> None:
    log = joined(PROLOGUE, *(turn(n) for n in range(1000)), ERROR)
    assert fold(log, lines=2).split("\n") == [
        *PROLOGUE,
        *turn(0),
        "[the 4 lines above repeated 999 times]",
        *ERROR,
    ]


def test_the_last_lines_are_left_alone() -> None:
    log = joined(*(turn(n) for n in range(1000)), ERROR)
    folded = fold(log, lines=10).split("\n")
    assert folded == [
        *turn(0),
        "[the 4 lines above repeated 997 times]",
        *turn(998),
        *turn(999),
        *ERROR,
    ]


def test_a_loop_in_a_loop_is_folded_from_the_inside_out() -> None:
    outer = "9: (05) goto pc-8"
    # The inner one turns a different number of times in each of the outer's turns.
    rounds = [[*(line for n in range(5 + i) for line in turn(n)), outer] for i in range(50)]
    assert fold(joined(*rounds, ERROR), lines=2).split("\n") == [
        *turn(0),
        "[the 4 lines above repeated 4 times]",
        outer,
        "[the 6 lines above repeated 49 times]",
        *ERROR,
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5: (07) r7 += 1", "5: (07) r7 += 2"),
        ("5: (07) r7 += 1", "6: (07) r7 += 1"),
        ("; x = a[1]; @ a.c:7", "; x = a[2]; @ a.c:7"),
        ("from 3 to 7: R7=1", "from 4 to 7: R7=1"),
    ],
)
def test_what_is_another_instruction_or_path_is_no_repetition(one: str, other: str) -> None:
    lines = [one if number % 7 % 2 else other for number in range(40)]
    log = "\n".join(f"{line}\nx{'y' * number}" for number, line in enumerate(lines))
    assert fold(log, lines=0) == log
    assert fold("\n".join([one, other, "between"] * 9), lines=0).count("\n") == 3


def test_two_lines_are_not_worth_a_marker() -> None:
    log = "\n".join(["the same long sentence, which is longer than any marker"] * 3)
    assert fold(log, lines=0) == log


def test_short_lines_are_not_worth_a_longer_marker() -> None:
    log = "\n".join("a" * 15)
    assert fold(log, lines=0) == log
    assert fold("\n".join("a" * 30), lines=0) == "a\n[the line above repeated 29 times]"


def test_the_order_of_what_stays_is_the_order_it_came_in() -> None:
    log = joined(turn(0) * 5, ["A"], turn(0) * 5, ["B"])
    assert [line for line in fold(log, lines=0).split("\n") if line in "AB"] == ["A", "B"]


def path(state: int, body: list[str]) -> list[str]:
    return [f"from 3 to 7: R7={state} R10=fp0", *body]


def test_a_path_that_was_walked_before_is_shown_the_first_time() -> None:
    body = [f"{n}: (b7) r{n % 5} = {n}                        ; R{n % 5}={n}" for n in range(7, 15)]
    between = [f"{n}: (95) exit" for n in (30, 31)]
    other = ["from 4 to 9: R7=1", *body]
    log = joined(path(1, body), other, path(2, body), between, path(3, body), ERROR)
    assert fold(log, lines=2).split("\n") == [
        *path(1, body),
        *other,
        # What comes between two paths is the end of the first: another path.
        *path(2, body),
        *between,
        *path(3, ["[8 lines as the first time]"]),
        *ERROR,
    ]


def test_a_path_walked_again_and_again_is_told_once() -> None:
    body = [f"{n}: (b7) r1 = {n}  ; R1={n}" for n in range(7, 15)]
    log = joined(*(path(n, body) for n in range(100)), ERROR)
    assert fold(log, lines=2).split("\n") == [
        *path(0, body),
        "[the 9 lines above repeated 99 times]",
        *ERROR,
    ]
