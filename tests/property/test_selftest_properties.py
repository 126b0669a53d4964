# SPDX-License-Identifier: GPL-2.0-only
"""Whatever a guest makes of the self-tests' text, it is read in bounds and never as a pass."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import ExitCode
from ktstr.verdict.selftests import (
    HEAD_CHARS,
    MAX_LINE,
    MAX_NAME,
    TAIL_CHARS,
    Ending,
    Selftest,
    Transcript,
    conclude,
)

PIECES = [
    b"===== START =====",
    b"=====  END  =====",
    b"TEST: one",
    b"TEST: two",
    b"DESCRIPTION: words",
    b"OUTPUT:",
    b"ok 1 one # ",
    b"not ok 1 one # ",
    b"ok 2 two # SKIP ",
    b"<UNKNOWN> 2 two # ",
    b"ERR: one.c:7",
    b"PASSED:  1",
    b"FAILED:  0",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\x00\xff\x1b[2J",
    b"z" * (MAX_LINE + 10),
]
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=60).map(
    b"".join
)
names = st.sampled_from(["one", "two", "select_cpu_dfl", "select_cpu_dfl_nodispatch"])
verdicts = st.sampled_from(["pass", "skip", "fail"])
MARKS = {"pass": "ok {} {} # ", "skip": "ok {} {} # SKIP ", "fail": "not ok {} {} # "}
# What a test prints: anything but the runner's own lines for this test.
prints = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r#="), max_size=80)


def cut(text: bytes, at: list[int]) -> list[bytes]:
    """The text in pieces."""
    places = sorted({0, len(text), *(place % (len(text) + 1) for place in at)})
    return [text[a:b] for a, b in pairwise(places)]


def read(pieces: list[bytes]) -> Transcript:
    transcript = Transcript()
    for piece in pieces:
        transcript.feed(piece, 0.0)
    transcript.close(0.0, "cut short")
    return transcript


@given(texts, st.lists(st.integers(0, 1 << 20), max_size=10))
def test_anything_is_read_within_bounds_however_it_is_cut(text: bytes, at: list[int]) -> None:
    transcript = read(cut(text, at))
    whole = read([text])
    assert (transcript.results, transcript.counts) == (whole.results, whole.counts)
    assert transcript.running is None
    for result in transcript.results:
        assert result.verdict in ("pass", "skip", "fail")
        assert 0 < len(result.name) <= MAX_NAME
        assert len(result.output) <= HEAD_CHARS + TAIL_CHARS + MAX_LINE + 100
        assert (result.verdict == "pass") <= (f" {result.name} # ".encode().strip() in text)


@given(texts)
def test_a_text_without_a_result_line_is_never_a_pass(text: bytes) -> None:
    text = text.replace(b"ok ", b"k ")
    report = conclude(read([text]), ("one", "two"), Ending(status=0))
    assert report.exit_code is ExitCode.FAIL
    assert report.count("pass") == 0


@given(
    st.lists(st.tuples(names, verdicts, prints), min_size=1, max_size=8),
    st.lists(st.integers(0, 1 << 20), max_size=20),
)
def test_what_a_sound_runner_says_is_read_as_it_is_meant(
    tests: list[tuple[str, str, str]], at: list[int]
) -> None:
    text = ""
    for number, (name, verdict, output) in enumerate(tests, 1):
        text += f"===== START =====\nTEST: {name}\nDESCRIPTION: d\nOUTPUT:\n{output}"
        text += MARKS[verdict].format(number, name) + "\n=====  END  =====\n"
    tally = {verdict: sum(1 for t in tests if t[1] == verdict) for verdict in MARKS}
    text += f"\n\nRESULTS:\n\nPASSED:  {tally['pass']}\nSKIPPED: {tally['skip']}\n"
    text += f"FAILED:  {tally['fail']}\n"
    transcript = read(cut(text.encode(), at))
    assert [(r.name, r.verdict) for r in transcript.results] == [t[:2] for t in tests]
    report = conclude(transcript, [t[0] for t in tests], Ending(status=0))
    assert report.problems == ()
    assert (report.exit_code is ExitCode.PASS) == (tally["fail"] == 0)


@given(st.lists(st.tuples(names, verdicts), min_size=1, max_size=6), st.integers(0, 1 << 20))
def test_a_text_that_is_cut_off_never_passes(tests: list[tuple[str, str]], at: int) -> None:
    text = "".join(
        f"===== START =====\nTEST: {name}\nDESCRIPTION: d\nOUTPUT:\n"
        + MARKS[verdict].format(1, name)
        + "\n=====  END  =====\n"
        for name, verdict in tests
    ).encode()
    transcript = read([text[: at % len(text)]])
    report = conclude(transcript, [name for name, _ in tests], Ending(status=0))
    assert report.exit_code is ExitCode.FAIL
    assert all(isinstance(result, Selftest) for result in report.results)
    assert len(report.results) >= len(tests)
