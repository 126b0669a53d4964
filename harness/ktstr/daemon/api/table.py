# SPDX-License-Identifier: GPL-2.0-only
"""Every operation of the HTTP interface."""

from typing import Final

from ktstr.daemon.api import artefacts, pages, runs, streams
from ktstr.daemon.api.operation import Answer, Operation, Parameter
from ktstr.daemon.api.schemas import RUN_ID
from ktstr.daemon.metrics import TYPE as METRICS_TYPE
from ktstr.daemon.sse import TYPE as EVENTS_TYPE
from ktstr.daemon.submission import RunState

_ID: Final = Parameter("run_id", "path", "The run.", {"type": "string", "pattern": RUN_ID})
_LAST: Final = Parameter(
    "Last-Event-ID",
    "header",
    "Number of the last event seen: what came after it is told.",
    {"type": "integer", "minimum": 0},
)
_AFTER: Final = Parameter(
    "after", "query", "As Last-Event-ID, which goes before it.", {"type": "integer", "minimum": 0}
)
_RUN: Final = Answer("The run.", "Run")
_HTML: Final = Answer("A page.", None, "text/html")

OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/runs",
        "submit",
        "Submit a run. When it is answered the run is stored: it survives the daemon's end.",
        runs.submit,
        {201: _RUN},
        body="Submission",
        refusals=(400, 403, 408, 413, 415, 422, 503),
    ),
    Operation(
        "GET",
        "/v1/runs",
        "list",
        "The latest runs, newest first, without the texts of their scenarios.",
        runs.rows,
        {200: Answer("The runs.", "Runs")},
        (
            Parameter(
                "state",
                "query",
                f"Only runs in these states, with commas: {', '.join(RunState)}.",
                {"type": "string"},
            ),
            Parameter(
                "limit",
                "query",
                "At most so many.",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": runs.MAX_ROWS,
                    "default": runs.USUAL_ROWS,
                },
            ),
            Parameter(
                "before",
                "query",
                "Only runs submitted before this one.",
                {"type": "string", "pattern": RUN_ID},
            ),
        ),
        refusals=(400,),
    ),
    Operation(
        "GET",
        "/v1/runs/{run_id}",
        "run",
        "One run.",
        runs.row,
        {200: _RUN},
        (_ID,),
        refusals=(404,),
    ),
    Operation(
        "POST",
        "/v1/runs/{run_id}/cancel",
        "cancel",
        "End a run, or take it out of the queue.",
        runs.cancel,
        {200: _RUN},
        (_ID,),
        refusals=(400, 404, 409),
    ),
    Operation(
        "POST",
        "/v1/runs/{run_id}/release",
        "release",
        "Let the kept VM of a run go.",
        runs.release,
        {200: _RUN},
        (_ID,),
        refusals=(400, 404, 409),
    ),
    Operation(
        "GET",
        "/v1/runs/{run_id}/events",
        "runEvents",
        "What happens in a run, as server-sent events: what is kept of its past, then what comes. "
        "The last is `end` with the run, or `closing` when the daemon ends. Events named after "
        "schemas EventX carry these fields and `at`, seconds since 1970; others are `state` (what "
        "of the run has changed), `kept` (how to reach its VM) and `dropped` (why).",
        streams.run_events,
        {200: Answer("The events.", None, EVENTS_TYPE)},
        (_ID, _LAST, _AFTER),
        refusals=(400, 404),
    ),
    Operation(
        "GET",
        "/v1/events",
        "changes",
        "Each run that changes, from now on, as server-sent events `run`.",
        streams.changes,
        {200: Answer("The events.", None, EVENTS_TYPE)},
    ),
    Operation(
        "GET",
        "/v1/runs/{run_id}/sidecar",
        "sidecar",
        "The record of a run.",
        artefacts.sidecar,
        {200: Answer("The record.", "Record")},
        (_ID,),
        refusals=(404,),
    ),
    Operation(
        "GET",
        "/v1/runs/{run_id}/evidence",
        "evidence",
        "The evidence of a run that did not pass.",
        artefacts.evidence,
        {200: Answer("A tar of the folder.", None, artefacts.TYPES["evidence"])},
        (_ID,),
        refusals=(404,),
    ),
    Operation(
        "GET",
        "/v1/runs/{run_id}/checkpoint",
        "checkpoint",
        "The guest of a run as it was kept, for `ktstr resume` and `ktstr dump`.",
        artefacts.checkpoint,
        {200: Answer("The file.", None, artefacts.TYPES["checkpoint"])},
        (_ID,),
        refusals=(404,),
    ),
    Operation(
        "GET",
        "/v1/runs/{run_id}/page",
        "page",
        "A run as one HTML page that needs no network.",
        artefacts.page,
        {200: _HTML},
        (_ID,),
        refusals=(404, 500),
    ),
    Operation(
        "GET",
        "/v1/runs/{run_id}/data",
        "data",
        "What the page of a run draws.",
        artefacts.data,
        {200: Answer("The data.", "PageData")},
        (_ID,),
        refusals=(404, 500),
    ),
    Operation(
        "GET",
        "/v1/health",
        "health",
        "Who answers, and whether it takes runs.",
        pages.health,
        {200: Answer("The daemon.", "Health")},
        tag="daemon",
    ),
    Operation(
        "GET",
        "/metrics",
        "metrics",
        "Figures for Prometheus.",
        pages.metrics,
        {200: Answer("The figures.", None, METRICS_TYPE.partition(";")[0])},
        tag="daemon",
    ),
    Operation(
        "GET",
        "/openapi.json",
        "openapi",
        "This document.",
        pages.openapi,
        {200: Answer("The document.", "OpenAPI")},
        tag="daemon",
    ),
    Operation(
        "GET",
        "/",
        "index",
        "The page of the queue.",
        pages.index,
        {200: _HTML},
        tag="pages",
    ),
    Operation(
        "GET",
        "/runs/{run_id}",
        "runPage",
        "The page of one run, which follows it.",
        pages.run,
        {200: _HTML},
        (_ID,),
        refusals=(404,),
        tag="pages",
    ),
    Operation(
        "GET",
        "/login",
        "loginPage",
        "Where a browser gives the token.",
        pages.login_page,
        {200: _HTML},
        tag="pages",
    ),
    Operation(
        "POST",
        "/login",
        "login",
        "Take the token of a form (token=TOKEN), and give a cookie for it.",
        pages.login,
        {303: Answer("On to the queue.", None, "text/html")},
        refusals=(400, 408, 413),
        tag="pages",
    ),
)
