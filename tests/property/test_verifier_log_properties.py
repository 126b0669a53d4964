# SPDX-License-Identifier: GPL-2.0-only
"""What holds of a folded log, whatever the log is."""

from hypothesis import given
from hypothesis import strategies as st

from ktstr.report.verifier_log import LAST_LINES, fold

LINE = st.one_of(
    st.sampled_from(
        [
            "2: (07) r7 += 1                       ; R7_w=1",
            "2: (07) r7 += 1                       ; R7_w=2",
            "3: (55) if r7 != 0x64 goto pc-2",
            "2: R6=ptr_task_struct() R7=5 R10=fp0",
            "from 3 to 2: R6=ptr_task_struct() R7=5 R10=fp0",
            "from 3 to 2: R6=ptr_task_struct() R7=6 R10=fp0",
            "from 9 to 4 (speculative execution): R7=6 R10=fp0",
            "; while (more) @ a.bpf.c:5",
            "mark_precise: frame0: regs=r7 stack= before 5: (07) r7 += 1",
            "",
        ]
    ),
    st.text(alphabet="ab01:;() ", max_size=12),
)
BLOCK = st.lists(LINE, min_size=1, max_size=6)
REPEATED = st.tuples(BLOCK, st.integers(1, 40)).map(lambda pair: pair[0] * pair[1])
NESTED = st.tuples(st.lists(REPEATED, min_size=1, max_size=3), st.integers(1, 12)).map(
    lambda pair: [line for block in pair[0] for line in block] * pair[1]
)
PATH = st.tuples(st.sampled_from(["from 3 to 2: R7=5", "from 3 to 2: R7=6"]), BLOCK).map(
    lambda pair: [pair[0], *(line * 4 for line in pair[1])]
)
PATHS = st.lists(PATH, min_size=1, max_size=3).flatmap(
    lambda known: st.lists(st.sampled_from(known), min_size=1, max_size=30)
)
LOG = st.lists(
    st.one_of(REPEATED, NESTED, PATHS.map(lambda paths: [x for path in paths for x in path])),
    max_size=5,
).map(lambda parts: "\n".join(line for part in parts for line in part))
ERROR = "R1 invalid mem access 'scalar'"


@given(LOG)
def test_folding_again_changes_nothing(text: str) -> None:
    once = fold(text)
    assert fold(once) == once


@given(LOG, st.integers(0, 30))
def test_never_longer(text: str, lines: int) -> None:
    assert len(fold(text, lines=lines)) <= len(text)


@given(LOG, st.lists(LINE, max_size=LAST_LINES - 1), LOG)
def test_the_error_stays_and_all_after_it(text: str, after: list[str], more: str) -> None:
    """Also an error in the middle stays once, since nothing but what stands above is left out."""
    last = "\n".join([ERROR, *after])
    assert fold(f"{text}\n{last}").endswith(last)
    assert ERROR in fold(f"{text}\n{ERROR}\n{more}").split("\n")


@given(BLOCK, st.integers(30, 400))
def test_a_block_that_only_repeats_becomes_a_few_lines(block: list[str], times: int) -> None:
    folded = fold("\n".join(block * times), lines=len(block)).split("\n")
    # The block, its marker, the last block; a short rest of one that is not worth a marker.
    assert len(folded) <= 6 * len(block) + 4 or sum(map(len, block)) < 10


@given(st.text(max_size=300))
def test_any_text_is_taken(text: str) -> None:
    assert len(fold(text, lines=0)) <= len(text)
