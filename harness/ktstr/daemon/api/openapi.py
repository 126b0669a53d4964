# SPDX-License-Identifier: GPL-2.0-only
"""The OpenAPI 3.1 document, made of the table that the routes are made of."""

from typing import Any

from ktstr.daemon.api.operation import Answer, Operation
from ktstr.daemon.api.schemas import reference, schemas
from ktstr.daemon.api.table import OPERATIONS
from ktstr.daemon.problems import TITLES, TYPE
from ktstr.daemon.version import API, version


def document(*, token: bool) -> dict[str, Any]:
    """The document; ``token``: whether clients need one."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    components: dict[str, Any] = {"schemas": schemas()}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "ktstr",
            "version": f"{API} ({version() or 'not installed'})",
            "description": "Runs of Linux scheduler tests on this host: submit, follow, fetch.",
            "license": {"name": "GPL-2.0-only", "identifier": "GPL-2.0-only"},
        },
        "paths": paths,
        "components": components,
    }
    if token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def _described(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.about.partition(". ")[0].rstrip("."),
        "description": operation.about,
        "tags": [operation.tag],
        "responses": {
            **{str(status): _answer(each) for status, each in operation.answers.items()},
            **{str(status): _refusal(status) for status in (*operation.refusals, 401, 503)},
        },
    }
    if operation.parameters:
        found["parameters"] = [
            {
                "name": each.name,
                "in": each.place,
                "description": each.about,
                "required": each.place == "path",
                "schema": dict(each.schema),
            }
            for each in operation.parameters
        ]
    if operation.body is not None:
        content = {"application/json": {"schema": reference(operation.body)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _answer(answer: Answer) -> dict[str, Any]:
    schema = {} if answer.schema is None else {"schema": reference(answer.schema)}
    return {"description": answer.about, "content": {answer.content: schema}}


def _refusal(status: int) -> dict[str, Any]:
    content = {TYPE: {"schema": reference("Problem")}}
    return {"description": TITLES[status], "content": content}
