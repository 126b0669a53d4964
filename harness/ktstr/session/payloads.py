# SPDX-License-Identifier: GPL-2.0-only
"""What a payload left behind: how it ended, and the numbers in what it printed."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ktstr.wire import WireError
from ktstr.wire.messages import take_int, take_str

MAX_DEPTH: Final = 64
"""Levels of JSON that are followed (reference-04, 4.9)."""

TRUNCATED: Final = "__walk_json_leaves_truncated"
"""Metric that says numbers were left out, for lying too deep or being too many."""

MAX_METRICS: Final = 1000
MAX_NAME: Final = 200
MAX_REGIONS: Final = 1000
TAIL_CHARS: Final = 500
MAX_OUTPUT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class PayloadResult:
    """The end of one payload.

    :param step: step that started it; 0 is the Backdrop.
    :param killed: why the harness ended it; ``None`` when it ended by itself.
    :param exit_code: its exit status; ``None`` when a signal ended it.
    :param signal: the signal that ended it.
    :param stdout: what it printed, at most 1 MiB; ``cut`` says that there was more.
    """

    name: str
    step: int
    killed: str | None
    exit_code: int | None
    signal: int | None
    wall_ms: int
    stdout: str
    stderr: str
    cut: bool

    @classmethod
    def from_wire(cls, fields: dict[str, object]) -> "PayloadResult":
        """Read and check the agent's words.

        :raise WireError: when a field is missing or out of its range.
        """
        killed, ended = fields.get("killed"), fields.get("exit")
        stdout, stderr = fields.get("stdout"), fields.get("stderr")
        if (
            not isinstance(ended, dict)
            or not isinstance(killed, str | None)
            or not isinstance(stdout, bytes)
            or not isinstance(stderr, bytes)
        ):
            raise WireError("a payload's end is not told as it should be")
        return cls(
            name=take_str(fields, "name", 64),
            step=take_int(fields, "step", 65535),
            killed=None if killed is None else killed[:TAIL_CHARS],
            exit_code=_small(ended.get("code")),
            signal=_small(ended.get("signal")),
            wall_ms=take_int(fields, "wall_ms"),
            stdout=stdout[:MAX_OUTPUT].decode("utf-8", "replace"),
            stderr=stderr[:MAX_OUTPUT].decode("utf-8", "replace"),
            cut=fields.get("cut") is True,
        )

    def failure(self, expected: int) -> str | None:
        """Why it counts as failed; a payload that the harness killed does not."""
        if self.killed is not None or self.exit_code == expected:
            return None
        how = (
            f"exited with status {self.exit_code}, {expected} was expected"
            if self.exit_code is not None
            else f"was ended by signal {self.signal}"
        )
        said = (self.stderr or self.stdout).strip()[-TAIL_CHARS:]
        return f"payload {self.name!r} {how}" + (f": {said}" if said else "")

    def metrics(self) -> dict[str, int | float]:
        """Numbers of the JSON it printed, on standard output or else on standard error."""
        for text in (self.stdout, self.stderr):
            found = json_metrics(text)
            if found:
                return found
        return {}


def _small(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 256 else None


def json_metrics(text: str) -> dict[str, int | float]:
    """Numeric leaves of a JSON text by dotted path (``lat.p99``, ``jobs.0.iops``).

    The whole text counts, or else the first balanced region in it that is JSON. Numbers that no
    record can carry (not finite, beyond 64 bits) are left out.
    """
    metrics: dict[str, int | float] = {}
    for path, value in _leaves(_parse(text), ""):
        if len(metrics) >= MAX_METRICS or path == TRUNCATED:
            metrics[TRUNCATED] = 1
        else:
            metrics[path[:MAX_NAME]] = value
    return metrics


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    decoder = json.JSONDecoder()
    at = 0
    for _ in range(MAX_REGIONS):
        starts = [start for start in (text.find("{", at), text.find("[", at)) if start >= 0]
        if not starts:
            break
        at = min(starts)
        try:
            return decoder.raw_decode(text, at)[0]
        except (ValueError, RecursionError):
            at += 1
    return None


def _leaves(node: object, path: str, depth: int = 0) -> Iterator[tuple[str, int | float]]:
    match node:
        case bool():
            return
        case int() if -(1 << 63) <= node < 1 << 64:
            yield path or "value", node
        case float() if math.isfinite(node):
            yield path or "value", node
        case Mapping() | list() if depth >= MAX_DEPTH:
            yield TRUNCATED, 1
        case Mapping():
            for key, value in node.items():
                yield from _leaves(value, f"{path}.{key}" if path else str(key), depth + 1)
        case list():
            for index, value in enumerate(node):
                yield from _leaves(value, f"{path}.{index}" if path else str(index), depth + 1)
