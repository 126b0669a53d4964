# SPDX-License-Identifier: GPL-2.0-only
"""BPF programs as data: out of records, of the loader's words, of libbpf's log."""

from typing import Any

import pytest

from ktstr.series.programs import (
    MAX_TOLD,
    VerifiedProgram,
    programs_of,
    told_by_loader,
    with_log,
)

ENQUEUE = VerifiedProgram("enqueue", "struct_ops", "sched_ext_ops.enqueue", 40, 28, 8)
REFUSAL = """\
libbpf: prog 'dispatch': BPF program load failed: Permission denied
libbpf: prog 'dispatch': -- BEGIN PROG LOAD LOG --
0: R1=ctx() R10=fp0
6: (79) r2 = *(u64 *)(r3 +0)
R3 min value is outside of the allowed memory range
verification time 21 usec
stack depth 16+8
processed 906 insns (limit 1000000) max_states_per_insn 4 total_states 12 peak_states 10 mark_read 3
-- END PROG LOAD LOG --
libbpf: failed to load object 'x.bpf.o'
"""
STATISTICS = """\
libbpf: prog 'enqueue': -- BEGIN PROG LOAD LOG --
stack depth 8
processed 28 insns (limit 1000000) max_states_per_insn 0 total_states 5 peak_states 4 mark_read 1
-- END PROG LOAD LOG --
"""


def test_a_record_brings_back_what_went_in() -> None:
    refused = VerifiedProgram("dispatch", verified=906, peak_states=10, refused="Permission denied")
    values = [ENQUEUE.plain(), refused.plain()]
    assert programs_of(values) == (ENQUEUE, refused)
    assert values[1] == {
        "name": "dispatch", "verified": 906, "peak_states": 10, "refused": "Permission denied",
    }  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [None, 5, "text", {"name": ""}, {"name": 7}, {"name": "x" * 129}, [ENQUEUE.plain()]],
)
def test_what_is_no_program_is_left_out(value: Any) -> None:
    assert programs_of([value, ENQUEUE.plain()]) == (ENQUEUE,)
    assert programs_of(value) == ((ENQUEUE,) if isinstance(value, list) else ())


def test_a_count_that_is_none_is_not_known() -> None:
    (found,) = programs_of([{"name": "a", "verified": -1, "insns": True, "stack": 2.5}])
    assert found == VerifiedProgram("a")
    assert found.share is None


def test_the_share_is_that_of_a_million() -> None:
    assert VerifiedProgram("a", verified=750_000).share == 0.75


def test_the_loaders_last_word_counts() -> None:
    statuses = [
        {"event": "loaded", "progs": [{"name": "old", "insns_verified": 1}]},
        {"event": "attached"},
        {"event": "loaded", "progs": [{"name": "new", "insns_verified": 7}, 5, {"name": "b"}]},
    ]
    assert told_by_loader(statuses) == (
        VerifiedProgram("new", verified=7), VerifiedProgram("b"),
    )  # fmt: skip
    assert told_by_loader([{"event": "loaded", "progs": "x"}]) == told_by_loader([]) == ()


def test_a_refused_program_comes_after_the_others_with_its_counters() -> None:
    assert with_log([ENQUEUE], REFUSAL) == (
        ENQUEUE,
        VerifiedProgram(
            "dispatch", verified=906, stack=16, peak_states=10, refused="Permission denied"
        ),
    )


def test_the_log_of_a_loaded_program_adds_its_states() -> None:
    (found,) = with_log([ENQUEUE], STATISTICS)
    assert (found.peak_states, found.verified, found.refused) == (4, 28, "")


def test_a_program_that_loaded_at_the_second_try_is_not_refused() -> None:
    (found,) = with_log([VerifiedProgram("dispatch", verified=7)], REFUSAL)
    assert (found.verified, found.refused) == (7, "")


def test_a_log_without_an_end_speaks_of_its_own_program_alone() -> None:
    cut = "prog 'a': -- BEGIN PROG LOAD LOG --\nno counters\n"
    found = with_log([VerifiedProgram("a"), ENQUEUE], cut + STATISTICS)
    assert [each.peak_states for each in found] == [None, 4]


def test_a_flood_of_words_stays_within_bounds() -> None:
    line = "prog '%d': BPF program load failed: no\nprog '%d': -- BEGIN PROG LOAD LOG --\n"
    log = "".join(line % (number, number) for number in range(40_000))
    assert len(with_log([], log)) == MAX_TOLD
