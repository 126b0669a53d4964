# SPDX-License-Identifier: GPL-2.0-only
"""As much of JSON Schema 2020-12 as the daemon's OpenAPI document uses; other words are refused."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

KNOWN = frozenset(
    (
        "$ref",
        "type",
        "properties",
        "required",
        "additionalProperties",
        "enum",
        "anyOf",
        "oneOf",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "maxLength",
        "pattern",
        "default",
    )
)

TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


def mistakes(value: Any, schema: Mapping[str, Any], document: Any, at: str = "") -> list[str]:
    """What of ``value`` is not as ``schema`` says; nothing when all is."""
    assert set(schema) <= KNOWN, f"{at}: {set(schema) - KNOWN} is not checked here"
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return mistakes(value, document["components"]["schemas"][name], document, at)
    return list(_mistakes(value, schema, document, at))


def _mistakes(value: Any, schema: Mapping[str, Any], document: Any, at: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    for word, wanted in (("anyOf", range(1, 99)), ("oneOf", range(1, 2))):
        if word in schema:
            fit = [each for each in schema[word] if not mistakes(value, each, document, at)]
            if len(fit) not in wanted:
                yield f"{at}: {value!r} fits {len(fit)} of {word}"
    if "type" in schema and not _is(value, schema["type"]):
        yield f"{at}: {value!r} is no {schema['type']}"
        return
    if isinstance(value, dict):
        yield from _object(value, schema, document, at)
    if isinstance(value, list):
        yield from _array(value, schema, document, at)
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{at}: {value!r} is not {schema['pattern']}"
        if len(value) > schema.get("maxLength", len(value)):
            yield f"{at}: too long"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: {value} is out of bounds"


def _is(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        fits = int if name == "integer" else (int, float)
        return isinstance(value, fits) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def _object(value: Any, schema: Mapping[str, Any], document: Any, at: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}.{name}: missing"
    for name, item in value.items():
        if name in properties:
            yield from mistakes(item, properties[name], document, f"{at}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{at}.{name}: not allowed"


def _array(value: Any, schema: Mapping[str, Any], document: Any, at: str) -> Iterator[str]:
    first = schema.get("prefixItems", ())
    for index, item in enumerate(value):
        rule = first[index] if index < len(first) else schema.get("items", {})
        yield from mistakes(item, rule, document, f"{at}[{index}]")
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{at}: {len(value)} items"
