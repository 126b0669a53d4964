# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own sched_ext self-tests: what their runner prints, read as results.

The runner (tools/testing/selftests/sched_ext/runner.c) frames each test by two marks, with one line
between them for the result, and closes with three counts. Its exit status says nothing: it is 0
over failures. What a test prints may be anything, and ends at no particular place in a line.
"""

import re
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from ktstr.errors import ExitCode

Verdict = Literal["pass", "fail", "skip", "not run"]

MAX_LINE: Final = 16 * 1024
"""Bytes after which a line is taken as if it ended there."""

MAX_TESTS: Final = 4096
"""Twice what the runner has room for."""

MAX_NAME: Final = 200
HEAD_CHARS: Final = 16 * 1024
TAIL_CHARS: Final = 64 * 1024
"""What is kept of one test's output: its beginning and its end."""

_START: Final = "===== START ====="
_END: Final = "=====  END  ====="
_STATUS: Final = re.compile(r"(not ok|ok|<UNKNOWN>) \d{1,9}$")
_COUNT: Final = re.compile(r"(PASSED|SKIPPED|FAILED): +(\d{1,9})$")
_ERROR: Final = re.compile(r"ERR: (?:.*/)?([^/:]{1,100}:\d{1,9})$")
_COUNTED: Final[dict[str, Verdict]] = {"PASSED": "pass", "SKIPPED": "skip", "FAILED": "fail"}


@dataclass(frozen=True, slots=True)
class Began:
    """A test has begun."""

    name: str


@dataclass(frozen=True, slots=True)
class Selftest:
    """How one test ended.

    :param reason: one sentence for whatever did not pass; empty otherwise.
    :param output: what it printed, at most :data:`HEAD_CHARS` and :data:`TAIL_CHARS` of it.
    :param seconds: from its first mark to its last; None when it did not run.
    :param kernel_log: lines of the kernel log from that time, where somebody has added them.
    """

    name: str
    verdict: Verdict
    reason: str = ""
    description: str = ""
    output: str = ""
    seconds: float | None = None
    kernel_log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """How the runner's process ended.

    :param status: exit status, negative for the signal that ended it; None when it was not seen.
    :param hung: why it was ended, when a test took too long.
    :param lost: how the guest went, when it did.
    """

    status: int | None = None
    hung: str | None = None
    lost: str | None = None


class _Kept:
    """Lines of which the first and the last are kept."""

    def __init__(self) -> None:
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._room = HEAD_CHARS
        self._size = 0
        self._cut = 0

    def add(self, line: str) -> None:
        if not self._tail and len(line) < self._room:
            self._head.append(line)
            self._room -= len(line) + 1
            return
        self._tail.append(line)
        self._size += len(line) + 1
        while self._size > TAIL_CHARS:
            self._size -= len(self._tail.popleft()) + 1
            self._cut += 1

    def text(self) -> str:
        gap = [f"[{self._cut} lines left out]"] if self._cut else []
        return "\n".join([*self._head, *gap, *self._tail]).strip("\n")


@dataclass(slots=True)
class _Open:
    """The test that is running."""

    name: str
    began: float
    description: list[str] = field(default_factory=list)
    told: bool = False
    said: set[str] = field(default_factory=set)
    output: _Kept = field(default_factory=_Kept)
    error: list[str] = field(default_factory=list)


class Transcript:
    """Reads the runner's text piece by piece.

    :ivar results: the tests that ended, in order.
    :ivar counts: the runner's own closing counts, by their words.
    :ivar stray: what it printed outside of any test.
    """

    def __init__(self) -> None:
        self.results: list[Selftest] = []
        self.counts: dict[str, int] = {}
        self._stray = _Kept()
        self._rest = b""
        self._open: _Open | None = None
        self._named_next = False

    @property
    def running(self) -> str | None:
        """Name of the test that has begun and not ended."""
        return None if self._open is None else self._open.name

    @property
    def stray(self) -> str:
        """What was printed outside of any test."""
        return self._stray.text()

    def feed(self, data: bytes, at_s: float) -> list[Began | Selftest]:
        """Take the next piece.

        :param at_s: when it came, seconds on any clock.
        :return: what began and ended in it, in order.
        """
        news: list[Began | Selftest] = []
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            for at in range(0, max(1, len(line)), MAX_LINE):
                self._take(line[at : at + MAX_LINE], at_s, news)
        while len(rest) > MAX_LINE:
            self._take(rest[:MAX_LINE], at_s, news)
            rest = rest[MAX_LINE:]
        self._rest = rest
        return news

    def close(self, at_s: float, why: str) -> list[Began | Selftest]:
        """No more will come; a test that has not ended has failed, for this reason."""
        news: list[Began | Selftest] = []
        rest, self._rest = self._rest, b""
        if rest:
            self._take(rest, at_s, news)
        if self._open is not None:
            self._end(self._open, at_s, news, why)
        return news

    def _take(self, data: bytes, at_s: float, news: list[Began | Selftest]) -> None:
        line = data.decode("utf-8", "replace").rstrip("\r")
        test = self._open
        if line.endswith(_START):
            if test is not None:
                test.output.add(line[: -len(_START)])
                self._end(test, at_s, news, "another test began before it had ended")
            self._named_next = True
        elif self._named_next:
            self._named_next = False
            name = line.removeprefix("TEST: ")[:MAX_NAME]
            if name != line and name and len(self.results) < MAX_TESTS:
                self._open = _Open(name, at_s)
                news.append(Began(name))
            else:
                self._stray.add(line)
        elif test is None:
            found = _COUNT.match(line)
            if found is not None:
                self.counts[found[1]] = int(found[2])
            elif line:
                self._stray.add(line)
        else:
            self._within(test, line, at_s, news)

    def _within(self, test: _Open, line: str, at_s: float, news: list[Began | Selftest]) -> None:
        before, status = _result(line, test.name)
        if status is not None:
            test.said.add(status)
            if before:
                test.output.add(before)
        elif line.endswith(_END):
            if before := line.removesuffix(_END):
                test.output.add(before)
            self._end(test, at_s, news, "")
        elif not test.told and line == "OUTPUT:":
            test.told = True
        elif not test.told and (test.description or line.startswith("DESCRIPTION: ")):
            if len(test.description) < 10:
                test.description.append(line.removeprefix("DESCRIPTION: ")[:1000])
        else:
            test.told = True
            test.output.add(line)
            if _ERROR.match(line) if not test.error else len(test.error) == 1:
                test.error.append(line)

    def _end(self, test: _Open, at_s: float, news: list[Began | Selftest], why: str) -> None:
        verdict, reason = _verdict(test, why)
        result = Selftest(
            test.name,
            verdict,
            reason,
            " ".join(test.description),
            test.output.text(),
            max(0.0, at_s - test.began),
        )
        self._open = None
        self.results.append(result)
        news.append(result)


def _result(line: str, name: str) -> tuple[str, str | None]:
    """What stands before the result in its line, and the result; None when there is none.

    It follows what the test printed last, which need not have ended its line; and a test may print
    results of its own, which have other names.
    """
    bare = line.rstrip()
    for suffix, skip in ((f" {name} # SKIP", " SKIP"), (f" {name} #", "")):
        if bare.endswith(suffix):
            found = _STATUS.search(bare.removesuffix(suffix))
            if found is not None:
                return bare[: found.start()], found[1] + skip
    return line, None


def _verdict(test: _Open, why: str) -> tuple[Verdict, str]:
    """Of what was said about a test, the worst counts."""
    said = test.said
    if why:
        return "fail", why
    if said == {"ok"}:
        return "pass", ""
    if said == {"ok SKIP"}:
        return "skip", "the test skipped itself" + _first_line(test)
    if said == {"not ok"}:
        return "fail", _error(test) or "the test failed and printed no error"
    if not said:
        return "fail", "it ended without a result"
    return "fail", "the runner gave it " + " and ".join(repr(word) for word in sorted(said))


def _first_line(test: _Open) -> str:
    text = test.output.text().partition("\n")[0].strip()
    return f": {text[:MAX_NAME]}" if text else ""


def _error(test: _Open) -> str:
    """Place and words of the first error that the test reported."""
    if not test.error:
        return ""
    place, *words = test.error
    found = _ERROR.match(place)
    assert found is not None, "only such a line is kept"
    return f"{found[1]}: {' '.join(words)[:500]}".removesuffix(": ")


def listed(text: str) -> tuple[Selftest, ...]:
    """The tests in what a runner lists: their names alone, or the text of a run that skips them."""
    if _START in text:
        transcript = Transcript()
        transcript.feed(text.encode("utf-8", "replace"), 0.0)
        transcript.close(0.0, "")
        return tuple(transcript.results)
    names = (line.strip() for line in text.splitlines()[:MAX_TESTS])
    return tuple(Selftest(name, "skip") for name in names if 0 < len(name) <= MAX_NAME)


@dataclass(frozen=True, slots=True)
class SelftestReport:
    """All tests of one run.

    :param results: those that ran, in order, then those that did not.
    :param problems: what is wrong with the run as a whole; each is a failure.
    :param lost: how the guest went, when it did.
    """

    results: tuple[Selftest, ...]
    problems: tuple[str, ...] = ()
    lost: str | None = None

    def count(self, verdict: Verdict) -> int:
        """How many tests ended so."""
        return sum(1 for result in self.results if result.verdict == verdict)

    @property
    def exit_code(self) -> ExitCode:
        """PASS only when every test that was to run passed or skipped itself."""
        if self.lost is not None:
            return ExitCode.GUEST_LOST
        good = all(result.verdict in ("pass", "skip") for result in self.results)
        return ExitCode.PASS if good and self.results and not self.problems else ExitCode.FAIL


def conclude(transcript: Transcript, expected: Sequence[str], ending: Ending) -> SelftestReport:
    """Hold what was seen against what was to run.

    :param transcript: closed.
    :param expected: names of the tests that were to run, in order.
    """
    seen = transcript.results
    after = f"not reached: {seen[-1].name} was the last to run" if seen else "not reached"
    missing = Counter(expected) - Counter(result.name for result in seen)
    never = [Selftest(name, "not run", after) for name in missing.elements()]
    problems = []
    if not seen:
        problems.append("the runner printed no test" + _said(transcript.stray))
    if ending.lost is None and ending.hung is None:
        problems += _doubts(transcript, ending, bool(never))
    elif ending.lost is not None:
        problems.append(ending.lost)
    return SelftestReport((*seen, *never), tuple(problems), ending.lost)


def _doubts(transcript: Transcript, ending: Ending, short: bool) -> list[str]:
    """What does not fit together in a run that nobody cut short."""
    problems = []
    if ending.status is not None and ending.status < 0:
        problems.append(f"the runner was ended by signal {-ending.status}")
    elif ending.status and not any(r.verdict == "fail" for r in transcript.results):
        # Newer runners have that for a failure; the failure itself says more.
        problems.append(f"the runner exited with status {ending.status}")
    if short:
        problems.append("the runner ended before all tests had run")
    elif transcript.results and not transcript.counts:
        problems.append("the runner ended without its closing counts")
    for word, counted in transcript.counts.items():
        verdict = _COUNTED[word]
        read = sum(1 for result in transcript.results if result.verdict == verdict)
        if read != counted:
            problems.append(f"the runner counted {counted} {word}, its text shows {read}")
    return problems


def _said(text: str) -> str:
    return f"; it said: {text[-500:]}" if text else ""
