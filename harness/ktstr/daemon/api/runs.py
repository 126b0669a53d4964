# SPDX-License-Identifier: GPL-2.0-only
"""Operations on runs: submit, list, look, cancel, release."""

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ktstr.daemon.api.bodies import read_body, read_json, whole_number
from ktstr.daemon.api.service import Service, no_run
from ktstr.daemon.host_paths import host_references
from ktstr.daemon.problems import Problem
from ktstr.daemon.submission import RunRow, RunState, Submission
from ktstr.daemon.wire import is_run_id, row_to_json, submission_from_json
from ktstr.errors import CannotRun, RequestInvalid, ServiceRefused

MAX_ROWS: Final = 1000
USUAL_ROWS: Final = 100
JSON: Final = "application/json"


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``value`` as JSON."""
    text = json.dumps(value, allow_nan=False)
    return Response(text, status, headers, media_type=JSON)


def listed(row: RunRow) -> dict[str, Any]:
    """A row as lists have it: without the text of its scenario, which may be long."""
    found = row_to_json(row)
    scenario = found["submission"]["scenario"]
    if "toml" in scenario:
        found["submission"] = {
            **found["submission"],
            "scenario": {**scenario, "toml": ""},
        }
    return found


async def submit(request: Request, service: Service) -> Response:
    """Take a run into the queue."""
    submission = _submission(await read_json(request), service)
    try:
        row = await service.supervisor.submit(submission)
    except ServiceRefused:
        # Not the definition's fault: answered as wherever else it happens.
        raise
    except CannotRun as error:
        raise Problem(422, error.message, error.hint, exit_code=int(error.exit_code)) from None
    return answer(row_to_json(row), 201, {"Location": f"/v1/runs/{row.id}"})


def _submission(body: dict[str, Any], service: Service) -> Submission:
    try:
        submission = submission_from_json(_with_catalogue(body))
        named = [] if service.allow_paths else list(host_references(submission))
    except RequestInvalid as error:
        raise Problem(400, error.message, error.hint or "see /openapi.json") from None
    for key, value in named:
        if key == "scenario.path" and _names_catalogue(body):
            continue
        raise Problem(
            403,
            f"{key}: {value!r:.120} is of the daemon's host, which this client may not name",
            "send TOML with built-in schedulers and kernels, or start the daemon with "
            "--allow-paths",
            key=key,
        )
    return submission


def _names_catalogue(body: Mapping[str, Any]) -> bool:
    scenario = body.get("scenario")
    return isinstance(scenario, Mapping) and "catalogue" in scenario


def _with_catalogue(body: dict[str, Any]) -> dict[str, Any]:
    """The submission with ``{"catalogue": NAME}`` as the file that it means."""
    if not _names_catalogue(body):
        return body
    from ktstr.model.catalogue import catalogue

    scenario = body["scenario"]
    name = scenario["catalogue"]
    if len(scenario) != 1 or not isinstance(name, str):
        raise RequestInvalid('scenario: allowed: {"catalogue": NAME} alone')
    for entry in catalogue():
        if entry.name == name:
            return {**body, "scenario": {"path": str(entry.path.resolve())}}
    raise RequestInvalid(
        f"scenario.catalogue: no scenario is called {name!r:.80}",
        hint="`ktstr scenarios` lists all names",
    )


async def rows(request: Request, service: Service) -> Response:
    """The latest runs."""
    query = request.query_params
    text = query.get("limit", str(USUAL_ROWS))
    limit = whole_number(text, MAX_ROWS)
    if not limit:
        raise Problem(400, f"limit is {text!r:.40}", f"a number from 1 to {MAX_ROWS}")
    before = query.get("before")
    if before is not None and not is_run_id(before):
        raise Problem(400, f"before is {before!r:.40}", "the id of the last run of the list before")
    found = await service.supervisor.rows(_states(query.get("state")), limit, before)
    return answer({"runs": [listed(row) for row in found]})


def _states(text: str | None) -> frozenset[RunState] | None:
    if text is None:
        return None
    try:
        return frozenset(RunState(word) for word in text.split(","))
    except ValueError:
        raise Problem(
            400, f"state is {text!r:.80}", f"one or more, with commas, of {', '.join(RunState)}"
        ) from None


async def row(request: Request, service: Service) -> Response:
    """One run."""
    return answer(row_to_json(await service.row(request.path_params["run_id"])))


async def cancel(request: Request, service: Service) -> Response:
    """End a run, or take it out of the queue."""
    return await _told(request, service, release=False)


async def release(request: Request, service: Service) -> Response:
    """Let the kept VM of a run go."""
    return await _told(request, service, release=True)


async def _told(request: Request, service: Service, *, release: bool) -> Response:
    body = await read_body(request)
    if body.strip() not in (b"", b"{}"):
        raise Problem(400, "the body says something", "send none, or {}: the path says it all")
    found = await service.row(request.path_params["run_id"])
    if release and found.state is not RunState.KEPT:
        raise Problem(
            409, f"the VM of {found.id} is not kept: it is {found.state}", "see keep_vm in options"
        )
    if not release and found.state.over:
        raise Problem(409, f"the run {found.id} is over: it is {found.state}")
    tell = service.supervisor.release if release else service.supervisor.cancel
    try:
        return answer(row_to_json(await tell(found.id)))
    except KeyError:
        raise no_run(found.id) from None
