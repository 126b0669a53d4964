# SPDX-License-Identifier: GPL-2.0-only
"""The JSON of requests and answers as schemas (JSON Schema 2020-12, as OpenAPI 3.1 has them).

Options and rows are made of the dataclasses that the wire is made of, so that they cannot differ.
"""

from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

from ktstr.daemon.plain import MAX_ITEMS, MAX_TEXT
from ktstr.daemon.submission import MAX_PRIORITY, MIN_PRIORITY, RunRow, RunState
from ktstr.daemon.wire import EVENTS, MAX_TOML
from ktstr.session.options import RunOptions

Schema = dict[str, Any]

RUN_ID: Final = "^[0-9]{8}-[0-9]{6}-[0-9a-f]{4,8}$"
SHARE: Final = "^[A-Za-z0-9_][A-Za-z0-9_.:@/-]{0,63}$"
SCENARIO_NAME: Final = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"
ABSOLUTE: Final = "^/"


def reference(name: str) -> Schema:
    """A schema of the document by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed(properties: Mapping[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    """A map with these keys and no others."""
    found: Schema = {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
    }
    return found | ({"required": list(required)} if required else {})


def of_dataclass(kind: type[Any], ready: Mapping[str, Schema], *, answer: bool) -> Schema:
    """The map that a dataclass becomes.

    :param ready: schemas of fields that are made otherwise.
    :param answer: whether all fields are there; else those with a default may be left out.
    """
    hints = get_type_hints(cast(Hashable, kind))
    properties = {
        item.name: ready.get(item.name) or of_hint(hints[item.name], answer=answer)
        for item in fields(kind)
    }
    required = tuple(
        item.name
        for item in fields(kind)
        if answer or (item.default is MISSING and item.default_factory is MISSING)
    )
    return closed(properties, required)


def of_hint(hint: Any, *, answer: bool) -> Schema:
    """What a value of this annotation becomes."""
    if get_origin(hint) in (Union, UnionType):
        kinds = [of_hint(each, answer=answer) for each in get_args(hint) if each is not NoneType]
        return {"anyOf": [*kinds, {"type": "null"}]}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        if len(parts) == 2 and parts[1] is Ellipsis:
            items = of_hint(parts[0], answer=answer)
            return {"type": "array", "items": items, "maxItems": MAX_ITEMS}
        each = [of_hint(part, answer=answer) for part in parts]
        return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if is_dataclass(hint) and isinstance(hint, type):
        return of_dataclass(hint, {}, answer=answer)
    return dict(_PLAIN[hint])


_TEXT: Final[Schema] = {"type": "string", "maxLength": MAX_TEXT}
_PLAIN: Final[dict[Any, Schema]] = {
    str: _TEXT,
    Path: _TEXT,
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
}

_PATH_SCENARIO = closed({"path": {"type": "string", "pattern": ABSOLUTE}}, ("path",))
_TEXT_SCENARIO = closed(
    {
        "toml": {"type": "string", "maxLength": MAX_TOML},
        "name": {"type": "string", "pattern": SCENARIO_NAME},
    },
    ("toml", "name"),
)
_NAMED_SCENARIO = closed({"catalogue": {"type": "string"}}, ("catalogue",))


def _submission(*scenarios: Schema, out_dir: bool) -> Schema:
    absolute: Schema = {"type": "string", "pattern": ABSOLUTE}
    options = of_dataclass(RunOptions, {"out_dir": absolute} if out_dir else {}, answer=False)
    return closed(
        {
            "scenario": {"oneOf": list(scenarios)},
            "options": options,
            "priority": {"type": "integer", "minimum": MIN_PRIORITY, "maximum": MAX_PRIORITY},
            "share": {"type": "string", "pattern": SHARE},
            "cwd": absolute,
        },
        ("scenario",),
    )


def schemas() -> dict[str, Schema]:
    """All schemas of the document by name."""
    run = of_dataclass(
        RunRow,
        {
            "id": {"type": "string", "pattern": RUN_ID},
            "state": {"enum": [state.value for state in RunState]},
            "submission": _submission(_PATH_SCENARIO, _TEXT_SCENARIO, out_dir=True),
        },
        answer=True,
    )
    text: Schema = {"type": "string"}
    return {
        "Submission": _submission(_PATH_SCENARIO, _TEXT_SCENARIO, _NAMED_SCENARIO, out_dir=True),
        "Run": run,
        "Runs": closed({"runs": {"type": "array", "items": reference("Run")}}, ("runs",)),
        "Health": closed(
            {
                "api": {"type": "integer"},
                "version": text,
                "package": text,
                "stamp": {"type": "integer"},
                "pid": {"type": "integer"},
                "accepting": {"type": "boolean"},
            },
            ("api", "version", "package", "stamp", "pid", "accepting"),
        ),
        "Problem": {
            "type": "object",
            "properties": {
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "hint": text,
                "exit_code": {"type": "integer"},
                "key": text,
            },
            "required": ["title", "status", "detail"],
        },
        "Nothing": closed({}),
        "Record": {"type": "object", "required": ["schema"]},
        "PageData": {"type": "object"},
        "OpenAPI": {"type": "object", "required": ["openapi", "info", "paths"]},
        **{
            "Event" + "".join(part.capitalize() for part in name.split("_")): of_dataclass(
                kind, {}, answer=True
            )
            for name, kind in EVENTS.items()
        },
    }
