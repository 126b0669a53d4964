# SPDX-License-Identifier: GPL-2.0-only
"""Turns pydantic's errors into mistakes that say what is allowed.

The words come from the JSON schema, which states bounds, enumerations and known keys once for
editors, for the reference page and for these messages.
"""

from collections.abc import Mapping
from functools import reduce

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ktstr.model.fields import Schema
from ktstr.model.locate import KeyPath
from ktstr.model.source import Mistake, child, show
from ktstr.model.words import did_you_mean, one_of


def mistakes_from(error: ValidationError, data: object, schema: Schema) -> list[Mistake]:
    """One mistake per error of a failed validation of ``data``."""
    return [_mistake(detail, data, schema) for detail in error.errors() if not _echo(detail, data)]


def _echo(detail: ErrorDetails, data: object) -> bool:
    """Whether pydantic calls a list too short only because its elements are wrong."""
    value = _value(data, _clean(detail["loc"], data))
    return detail["type"] == "too_short" and isinstance(value, list) and len(value) > 0


def _mistake(detail: ErrorDetails, data: object, schema: Schema) -> Mistake:
    at = _clean(detail["loc"], data)
    if detail["loc"][-1:] == ("[key]",):
        keys = _node(schema, at[:-1], data).get("propertyNames", {})
        return Mistake(at, words(keys, schema), found=f"the key {show(at[-1])}")
    match detail["type"]:
        case "value_error":
            return Mistake(at, str(detail["ctx"]["error"]))
        case "missing":
            return Mistake(at, words(_node(schema, at, data), schema), found="")
        case "extra_forbidden":
            known = sorted(_node(schema, at[:-1], data).get("properties", {}))
            key = str(at[-1])
            allowed = f"{', '.join(known)}{did_you_mean(key, known)}"
            return Mistake(at, allowed, found=f'the unknown key "{key}"')
        case "union_tag_not_found" | "union_tag_invalid":
            ops = _ops(schema, at, data)
            tag = _value(data, (*at, "op"))
            hint = did_you_mean(tag, ops) if isinstance(tag, str) else ""
            return Mistake((*at, "op"), one_of(ops) + hint, found="" if tag is None else show(tag))
    node = _node(schema, at, data)
    value = _value(data, at)
    names = [name for name in node.get("enum", ()) if isinstance(name, str)]
    hint = did_you_mean(value, names) if isinstance(value, str) else ""
    return Mistake(at, words(node, schema) + hint)


def words(node: Schema, schema: Schema) -> str:
    """What a schema node allows, in words."""
    node = _resolve(node, schema)
    if "x-allowed" in node:
        return str(node["x-allowed"])
    if "enum" in node or "const" in node:
        return one_of(str(value) for value in node.get("enum", (node.get("const"),)))
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(words(part, schema) for part in node["anyOf"]))
    low, high = node.get("minimum"), node.get("maximum")
    bounds = "" if low is None else f" from {low}" if high is None else f" from {low} to {high}"
    match node.get("type"):
        case "boolean":
            return "true or false"
        case "integer":
            return f"an integer{bounds}"
        case "number":
            return f"a number{bounds}"
        case "array":
            few, many = node.get("minItems"), node.get("maxItems")
            least = f" of at least {few}" if few else ""
            return f"a list{least}" + (f", at most {many}" if many else "")
        case "string":
            return (
                f"a text of at most {node['maxLength']} characters"
                if "maxLength" in node
                else "a text"
            )
    keys = ", ".join(node.get("properties", {}))
    return f"a table with {keys}" if keys else "a table"


def _resolve(node: Schema, schema: Schema) -> Schema:
    while "$ref" in node:
        node = {**schema["$defs"][node["$ref"].rsplit("/", 1)[-1]], **_without_ref(node)}
    if "anyOf" in node and "x-allowed" not in node:
        parts = [part for part in node["anyOf"] if part.get("type") != "null"]
        if len(parts) == 1:
            return _resolve({**parts[0], **{k: v for k, v in node.items() if k != "anyOf"}}, schema)
        return {**node, "anyOf": parts}
    return node


def _without_ref(node: Schema) -> Schema:
    return {key: value for key, value in node.items() if key != "$ref"}


def _node(schema: Schema, at: KeyPath, data: object) -> Schema:
    """The schema node for a key path; ops are told apart by their ``op`` key."""
    node = _resolve(schema, schema)
    for index, part in enumerate(at):
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            extra = node.get("additionalProperties")
            node = node.get("properties", {}).get(part) or (
                extra if isinstance(extra, dict) else {}
            )
        node = _resolve(node, schema)
        if "discriminator" in node:
            tag = _value(data, (*at[: index + 1], "op"))
            reference = node["discriminator"]["mapping"].get(tag if isinstance(tag, str) else None)
            if reference is not None:
                node = _resolve({"$ref": reference}, schema)
    return node


def _ops(schema: Schema, at: KeyPath, data: object) -> list[str]:
    return list(_node(schema, at, data)["discriminator"]["mapping"])


def _clean(loc: tuple[int | str, ...], data: object) -> KeyPath:
    """An error's location without the union tags that pydantic weaves into it."""
    at: list[int | str] = []
    node = data
    for index, part in enumerate(loc):
        inner = child(node, part)
        absent_key = isinstance(node, Mapping) and index + 1 == len(loc) and part != "[key]"
        if inner is not None:
            node = inner
        elif not absent_key:
            continue
        at.append(part)
    return tuple(at)


def _value(data: object, at: KeyPath) -> object:
    return reduce(child, at, data)
