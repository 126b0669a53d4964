# SPDX-License-Identifier: GPL-2.0-only
"""What a repetition with probes told, as data and as lines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ktstr.series.values import Json

TAIL_LINES: Final = 40
"""Lines of each log that are kept of the repetition."""

NOT_LOAD_BEARING: Final = (
    "PRIMARY DID NOT REACH WORKLOAD - auto-repro is not load-bearing: "
    "the first run failed before any step began"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that was not the same in both runs."""

    what: str
    first: str
    again: str


@dataclass(frozen=True, slots=True)
class CallbackCount:
    """How often a probed callback was called, and how often it returned."""

    name: str
    program: str
    entries: int
    exits: int


@dataclass(frozen=True, slots=True)
class ReproReport:
    """The repetition of one failed run.

    :param verdict: of the repetition.
    :param same_way: whether exit and failed checks are the same but for figures.
    :param load_bearing: whether the first run had begun its workload.
    :param counters: the probes' counters; ``None``: nothing could be read, see ``notes``.
    :param chain: the calls before the end: titles with lines.
    :param tails: the ends of the repetition's logs, by name.
    """

    verdict: str
    headline: str
    failed_again: bool = False
    same_way: bool = False
    load_bearing: bool = True
    run_id: str = ""
    record: str = ""
    evidence: str = ""
    differences: tuple[Difference, ...] = ()
    callbacks: tuple[CallbackCount, ...] = ()
    counters: Mapping[str, Json] | None = None
    exit_probe: str = ""
    missing: str = ""
    chain: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tails: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def with_probes(self, **found: Any) -> "ReproReport":
        """The same with what the probes told."""
        return replace(self, **found)

    def to_json(self) -> dict[str, Json]:
        """Plain form."""
        return {
            "verdict": self.verdict,
            "headline": self.headline,
            "failed_again": self.failed_again,
            "same_way": self.same_way,
            "load_bearing": self.load_bearing,
            "run_id": self.run_id,
            "record": self.record,
            "evidence": self.evidence,
            "differences": [
                {"what": d.what, "first": d.first, "again": d.again} for d in self.differences
            ],
            "callbacks": [
                {"name": c.name, "program": c.program, "entries": c.entries, "exits": c.exits}
                for c in self.callbacks
            ],
            "counters": None if self.counters is None else dict(self.counters),
            "exit_probe": self.exit_probe,
            "missing": self.missing,
            "chain": [{"title": title, "lines": list(lines)} for title, lines in self.chain],
            "tails": {name: list(lines) for name, lines in self.tails.items()},
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, plain: object) -> "ReproReport":
        """Read :meth:`to_json`'s form.

        :raises ValueError: when it is not that.
        """
        try:
            return _read(cls, plain)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no report on a repetition: {error!r}") from error

    def lines(self) -> Iterator[str]:
        """The report for people, without colours."""
        yield "--- auto-repro ---"
        if not self.load_bearing:
            yield NOT_LOAD_BEARING
        yield self.headline
        for note in self.notes:
            yield f"note: {note}"
        if self.differences:
            yield "what differed (first run → repetition):"
            yield from (f"  {d.what}: {d.first} → {d.again}" for d in self.differences)
        yield from self._probe_lines()
        for title, lines in self.chain:
            yield f"{title}:"
            yield from (f"  {line}" for line in lines)
        if self.record:
            yield f"record of the repetition: {self.record}"

    def _probe_lines(self) -> Iterator[str]:
        if self.counters is None:
            return
        yield f"exit path: {self.exit_probe or 'not probed'}"
        if self.missing:
            yield f"not probed: {self.missing}"
        counted = ", ".join(f"{name} {value}" for name, value in self.counters.items())
        yield f"probes: {counted}"
        if self.callbacks:
            calls = ", ".join(f"{c.name} {c.entries}{_open(c)}" for c in self.callbacks)
            yield f"calls: {calls}"

    def text(self) -> str:
        """All of it, the tails of the logs included."""
        parts = list(self.lines())
        for name, lines in self.tails.items():
            parts += ["", f"--- {name} (last {TAIL_LINES} lines) ---", *lines]
        return "\n".join(parts) + "\n"


def _open(count: CallbackCount) -> str:
    left = count.entries - count.exits
    return f" ({left} not returned)" if left > 0 else ""


def _read(cls: type[ReproReport], plain: Any) -> ReproReport:
    counters = plain["counters"]
    return cls(
        verdict=_text(plain["verdict"]),
        headline=_text(plain["headline"]),
        failed_again=plain["failed_again"] is True,
        same_way=plain["same_way"] is True,
        load_bearing=plain["load_bearing"] is True,
        run_id=_text(plain["run_id"]),
        record=_text(plain["record"]),
        evidence=_text(plain["evidence"]),
        differences=tuple(
            Difference(_text(d["what"]), _text(d["first"]), _text(d["again"]))
            for d in plain["differences"]
        ),
        callbacks=tuple(
            CallbackCount(
                _text(c["name"]), _text(c["program"]), _int(c["entries"]), _int(c["exits"])
            )
            for c in plain["callbacks"]
        ),
        counters=None if counters is None else {k: _int(v) for k, v in counters.items()},
        exit_probe=_text(plain["exit_probe"]),
        missing=_text(plain["missing"]),
        chain=tuple((_text(c["title"]), _texts(c["lines"])) for c in plain["chain"]),
        tails={_text(name): _texts(lines) for name, lines in plain["tails"].items()},
        notes=_texts(plain["notes"]),
    )


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _int(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r:.40} is no integer")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(_text(value) for value in values)
