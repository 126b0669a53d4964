# SPDX-License-Identifier: GPL-2.0-only
"""JSON forms of what goes between clients, daemon and runners: strict and bounded, both ways.

A submission::

    {"scenario": {"path": "/abs/file.toml"} | {"toml": "...", "name": "two_cgroups"},
     "options": {"topology": "1n2l2c1t", "out_dir": "/abs/folder", ...},
     "priority": 0, "share": "ci-main", "cwd": "/abs"}

Options are those of :class:`~ktstr.session.options.RunOptions` by name; without ``out_dir`` the
daemon's own folder of the run takes the results. An event is ``{"type": ..., fields}`` with a type
of :data:`EVENTS`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ktstr.daemon.plain import checked, from_plain, to_plain, wrong
from ktstr.daemon.submission import (
    DEFAULT_SHARE,
    MAX_PRIORITY,
    MIN_PRIORITY,
    RunRow,
    RunState,
    ScenarioFile,
    ScenarioText,
    Submission,
)
from ktstr.errors import RequestInvalid
from ktstr.session.events import (
    Froze,
    Note,
    Reading,
    RunEvent,
    StageDone,
    StageProgress,
    StageStarted,
    StepEnded,
    StepStarted,
)
from ktstr.session.options import RunOptions

MAX_TOML: Final = 512 << 10
"""Characters of a scenario that comes along."""

EVENTS: Final[dict[str, type[Any]]] = {
    "stage_started": StageStarted,
    "stage_progress": StageProgress,
    "stage_done": StageDone,
    "step_started": StepStarted,
    "step_ended": StepEnded,
    "froze": Froze,
    "note": Note,
    "reading": Reading,
}
"""Run events by their type on the wire."""

_TYPES: Final = {kind: name for name, kind in EVENTS.items()}

RUN_ID: Final = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4,8}\Z")
_NO_CHARACTER: Final = re.compile("[\0\ud800-\udfff]")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z")
_SHARE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@/-]{0,63}\Z")


def is_run_id(text: str) -> bool:
    """Whether it has the form of a run id, and so is safe as the name of a file."""
    return RUN_ID.match(text) is not None


def event_to_json(event: RunEvent) -> dict[str, Any]:
    """An event as ``{"type": ..., fields}``."""
    return {"type": _TYPES[type(event)], **to_plain(event)}


def event_from_json(value: object) -> RunEvent:
    """The event that :func:`event_to_json` wrote.

    :raise RequestInvalid: when it is none.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        raise wrong("event", value, "a map with a type")
    kind = EVENTS.get(value["type"])
    if kind is None:
        raise wrong("event.type", value["type"], ", ".join(EVENTS))
    rest = {key: item for key, item in value.items() if key != "type"}
    event: RunEvent = from_plain(kind, rest, value["type"])
    return event


def options_to_json(options: RunOptions) -> dict[str, Any]:
    """What of the options differs from the defaults."""
    usual = RunOptions()
    differing = {name: getattr(options, name) for name in options.__slots__}
    return {
        name: to_plain(value) for name, value in differing.items() if value != getattr(usual, name)
    }


def options_from_json(value: object, key: str = "options") -> RunOptions:
    """The options of a run.

    :raise RequestInvalid: naming the first key that is wrong.
    """
    options = from_plain(RunOptions, value, key)
    if isinstance(value, Mapping) and "out_dir" in value:
        _absolute(options.out_dir, f"{key}.out_dir")
    for name in ("timeout_s", *(f"deadlines.{name}" for name in options.deadlines.__slots__)):
        owner = options.deadlines if name.startswith("deadlines.") else options
        seconds = getattr(owner, name.rpartition(".")[2])
        if seconds is not None and not 0 < seconds <= 1e9:
            raise wrong(f"{key}.{name}", seconds, "seconds above 0")
    return options


def submission_to_json(submission: Submission) -> dict[str, Any]:
    """A submission, without what has its default."""
    found: dict[str, Any] = {"scenario": to_plain(submission.scenario)}
    if options := options_to_json(submission.options):
        found["options"] = options
    if submission.priority:
        found["priority"] = submission.priority
    if submission.share != DEFAULT_SHARE:
        found["share"] = submission.share
    if submission.cwd is not None:
        found["cwd"] = str(submission.cwd)
    return found


def submission_from_json(value: object) -> Submission:
    """A submission, as far as it can be checked without a look at the host.

    :raise RequestInvalid: naming the first key that is wrong.
    """
    allowed = ("scenario", "options", "priority", "share", "cwd")
    if not isinstance(value, Mapping):
        raise wrong("", value, f"a map with the keys {', '.join(allowed)}")
    for name in value:
        if name not in allowed:
            raise wrong(str(name), value[name], f"the keys {', '.join(allowed)}")
    if "scenario" not in value:
        raise RequestInvalid('scenario is missing: {"path": ...}, or {"toml": ..., "name": ...}')
    submission = Submission(
        scenario=_scenario(value["scenario"]),
        options=options_from_json(value.get("options", {})),
        priority=checked(int, value.get("priority", 0), "priority"),
        share=checked(str, value.get("share", DEFAULT_SHARE), "share"),
        cwd=checked(Path | None, value.get("cwd"), "cwd"),
    )
    if not MIN_PRIORITY <= submission.priority <= MAX_PRIORITY:
        raise wrong("priority", submission.priority, f"{MIN_PRIORITY} to {MAX_PRIORITY}")
    if not _SHARE.match(submission.share):
        raise wrong("share", submission.share, "up to 64 letters, digits and _.:@/-")
    if submission.cwd is not None:
        _absolute(submission.cwd, "cwd")
    return submission


def row_to_json(row: RunRow) -> dict[str, Any]:
    """A row with all its fields; times in seconds since 1970."""
    return {**to_plain(row), "submission": submission_to_json(row.submission)}


def row_from_json(value: object) -> RunRow:
    """The row that :func:`row_to_json` wrote.

    :raise RequestInvalid: when it is none.
    """
    if not isinstance(value, Mapping) or "submission" not in value or "state" not in value:
        raise wrong("run", value, "a map with state and submission")
    if value["state"] not in [state.value for state in RunState]:
        raise wrong("run.state", value["state"], ", ".join(RunState))
    submission = submission_from_json(value["submission"])
    # from_plain knows neither of the two; it sees a row that has them already.
    rest = {name: item for name, item in value.items() if name not in ("submission", "state")}
    ready = {"state": RunState(value["state"]), "submission": submission}
    return from_plain(RunRow, rest, "run", ready=ready)


def _scenario(value: object) -> ScenarioFile | ScenarioText:
    if isinstance(value, Mapping) and "path" in value:
        file = from_plain(ScenarioFile, value, "scenario")
        _absolute(file.path, "scenario.path")
        return file
    if not isinstance(value, Mapping) or "toml" not in value:
        raise wrong("scenario", value, '{"path": ...}, or {"toml": ..., "name": ...}')
    toml = value["toml"]
    if not isinstance(toml, str) or len(toml) > MAX_TOML:
        raise wrong("scenario.toml", toml, f"a text of at most {MAX_TOML} characters")
    if _NO_CHARACTER.search(toml):
        # Its file is UTF-8, which has no such characters.
        raise wrong("scenario.toml", toml, "a text without zeros and lone surrogates")
    rest = {name: item for name, item in value.items() if name != "toml"}
    text = from_plain(ScenarioText, rest, "scenario", ready={"toml": toml})
    if not _NAME.match(text.name):
        raise wrong("scenario.name", text.name, "up to 100 letters, digits and _.-")
    return text


def _absolute(path: Path, key: str) -> None:
    if not path.is_absolute():
        raise wrong(key, str(path), "an absolute path")
