# SPDX-License-Identifier: GPL-2.0-only
"""What two commits differ in, as Markdown for a pull request and as JSON for programs."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ktstr.errors import ExitCode
from ktstr.history.noise import ALPHA, Finding, Side, Word
from ktstr.history.perf_delta import Delta
from ktstr.history.perf_delta import Side as DeltaSide
from ktstr.history.repeats import Judgement, Key
from ktstr.report.delta_words import (
    change_text,
    counts_text,
    doubt_text,
    interval_text,
    method_lines,
    p_text,
    side_text,
    unit_of,
)
from ktstr.report.markdown_text import as_code, escaped
from ktstr.report.perf_delta import cautions, verdict_lines

SCHEMA: Final = 1
"""Version of :func:`document`."""

MAX_MARKDOWN: Final = 60_000
"""Letters; a comment on a pull request takes 65 536."""

_HEADS: Final = {
    ExitCode.PASS: "no regression",
    ExitCode.FAIL: "**regression**",
    ExitCode.INCONCLUSIVE: "inconclusive",
}


def markdown(delta: Delta, judgement: Judgement, code: ExitCode) -> str:
    """Summary first, then regressions, the rest folded; cut off where a comment would be."""
    lines = [
        f"### ktstr perf-delta: {_HEADS.get(code, str(int(code)))}",
        "",
        (
            f"base {as_code(str(delta.base.commit))}, head {as_code(str(delta.head.commit))}; "
            f"{counts_text(judgement)}."
        ),
        "",
        *map(_item, (*verdict_lines(judgement), *cautions(delta))),
    ]
    regressed = judgement.of(Word.REGRESSION)
    if regressed:
        lines += ["", *_rows(regressed)]
    others = judgement.of(Word.IMPROVEMENT, Word.CHANGED)
    lines += _folded(f"{len(others)} improvements and other changes", _rows(others))
    doubts = judgement.of(Word.INCONCLUSIVE)
    words = [f"- {_where(key)}{as_code(key.metric)}: {escaped(doubt_text(f))}" for key, f in doubts]
    lines += _folded(f"{len(doubts)} not decided", words)
    alone = [
        f"- {_where(key)}{as_code(key.metric)}: {side} only, {runs} runs"
        for key, side, runs in judgement.coverage
    ]
    lines += _folded(f"{len(alone)} on one side only", alone)
    method = method_lines(judgement, alpha=ALPHA)
    lines += _folded("How this was decided", [*map(_item, method)])
    return _bounded(lines)


def _rows(found: Sequence[tuple[Key, Finding]]) -> list[str]:
    if not found:
        return []
    head = ["scenario", "metric", "unit", "base", "head", "change", "between", "p", ""]
    lines = [_row(head), _row(["---"] * 3 + ["---:"] * 5 + ["---"])]
    for key, f in found:
        place = f"{key.scenario} {key.phase}".strip()
        lines.append(
            _row(
                [
                    escaped(place),
                    as_code(key.metric),
                    escaped(unit_of(key)),
                    escaped(side_text(f, "base")),
                    escaped(side_text(f, "head")),
                    escaped(change_text(f)),
                    escaped(interval_text(f)),
                    escaped(p_text(f)),
                    f.verdict.value,
                ]
            )
        )
    return lines


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _where(key: Key) -> str:
    return f"{escaped(key.scenario)} {escaped(key.phase)}".strip() + " "


def _item(text: str) -> str:
    return f"- {escaped(text, 1000)}"


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return ["", f"<details><summary>{title}</summary>", "", *lines, "", "</details>"]


def _bounded(lines: Sequence[str]) -> str:
    kept: list[str] = []
    left = MAX_MARKDOWN
    opened = 0
    for line in lines:
        if len(line) + 1 > left:
            kept += ["", *["</details>"] * opened, "", "The rest is left out: too long."]
            break
        opened += line.startswith("<details>") - (line == "</details>")
        left -= len(line) + 1
        kept.append(line)
    return "\n".join(kept) + "\n"


def document(delta: Delta, judgement: Judgement, code: ExitCode) -> dict[str, Any]:
    """Everything that was found."""
    return {
        "schema": SCHEMA,
        "exit_code": int(code),
        "alpha": ALPHA,
        "repository": str(delta.repository),
        "base": _side(delta.base),
        "head": _side(delta.head),
        "cautions": cautions(delta),
        "method": method_lines(judgement, alpha=ALPHA),
        "tested": judgement.tested,
        "must_not_regress": sorted(judgement.strict),
        "unmeasured": list(judgement.unmeasured),
        "runs": [
            {
                "side": ran.turn.side,
                "scenario": ran.turn.subject.name,
                "repetition": ran.turn.repetition + 1,
                "seed": ran.turn.seed,
                "verdict": ran.verdict,
                "reason": ran.reason,
                "wall_s": round(ran.wall_s, 3),
                "record": str(ran.row.path) if ran.row.run_id else None,
            }
            for ran in delta.ran
        ],
        "verdicts": {name: _finding(f) for name, f in judgement.verdicts.items()},
        "findings": [
            {"scenario": key.scenario, "phase": key.phase or None, "metric": key.metric}
            | {"unit": unit_of(key), **_finding(f)}
            for key, f in judgement.findings.items()
        ],
        "one_side_only": [
            {"scenario": key.scenario, "phase": key.phase or None, "metric": key.metric}
            | {"side": side, "runs": runs}
            for key, side, runs in judgement.coverage
        ],
    }


def _side(side: DeltaSide) -> dict[str, Any]:
    return {
        "commit": side.commit.sha,
        "dirty": side.commit.dirty,
        "named": side.commit.named,
        "records": str(side.out_dir),
    }


def _finding(f: Finding) -> dict[str, Any]:
    return {
        "verdict": f.verdict.value,
        "base": _values(f.a),
        "head": _values(f.b),
        "change": _plain(f.change),
        "relative": _plain(f.relative),
        "gate": None if f.baseline is None else f.gates.size(f.baseline),
        "test": f.test.value,
        "p": f.p,
        "p_adjusted": f.p_adjusted,
        "difference_of_means": None
        if f.a.mean is None or f.b.mean is None
        else f.b.mean - f.a.mean,
        "interval": None if f.interval is None else [*map(_plain, f.interval)],
        "confidence": f.confidence,
        "hedges_g": _plain(f.effect),
        "superiority": None if f.order is None else f.order.superiority,
        "detectable": _plain(f.detectable),
        "runs_needed": f.runs_needed,
    }


def _plain(value: float | None) -> float | None:
    """A number as JSON has it: what has no bound has none there."""
    return value if value is None or abs(value) < float("inf") else None


def _values(side: Side) -> dict[str, Any]:
    return {
        "runs": side.n,
        "missing": side.dropped,
        "mean": side.mean,
        "geometric_mean": side.geometric,
        "median": side.median,
        "deviation": side.deviation,
        "low": side.low,
        "high": side.high,
    }
