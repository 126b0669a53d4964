# SPDX-License-Identifier: GPL-2.0-only
"""The daemon about itself: health, figures, OpenAPI, its pages, and the door for browsers."""

import os
from functools import cache
from html import escape
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ktstr.daemon.api.bodies import read_body
from ktstr.daemon.api.runs import answer
from ktstr.daemon.api.service import Service
from ktstr.daemon.auth import COOKIE, cookie_value, same
from ktstr.daemon.metrics import TYPE, exposition
from ktstr.daemon.problems import Problem
from ktstr.daemon.version import API, package, stamp, version

COOKIE_S: Final = 30 * 86_400


async def health(request: Request, service: Service) -> Response:
    """Who answers, and whether it takes runs."""
    return answer(
        {
            "api": API,
            "version": version(),
            "package": package(),
            "stamp": stamp(),
            "pid": os.getpid(),
            "accepting": not service.supervisor.draining and not service.closing.is_set(),
        }
    )


async def metrics(request: Request, service: Service) -> Response:
    """Figures for Prometheus."""
    text = exposition(service.metrics, await service.supervisor.status())
    return Response(text, headers={"Content-Type": TYPE})


async def openapi(request: Request, service: Service) -> Response:
    """This interface as OpenAPI 3.1."""
    from ktstr.daemon.api.openapi import document

    return answer(document(token=service.token is not None))


async def index(request: Request, service: Service) -> Response:
    """The page of the queue."""
    return HTMLResponse(_index_page())


async def run(request: Request, service: Service) -> Response:
    """The page of one run."""
    row = await service.row(request.path_params["run_id"])
    from ktstr.report.page.assets import live_run_html

    return HTMLResponse(live_run_html(row.id))


@cache
def _index_page() -> str:
    from ktstr.report.page.assets import live_index_html

    return live_index_html()


async def login_page(request: Request, service: Service) -> Response:
    """Where a browser gives the token."""
    return HTMLResponse(_login(""), headers=_LOGIN_HEADERS)


async def login(request: Request, service: Service) -> Response:
    """Take the token of a form, and give a cookie for it."""
    if service.token is None:
        return RedirectResponse("/", 303)
    try:
        form = parse_qs((await read_body(request)).decode(), max_num_fields=4)
    except (UnicodeDecodeError, ValueError):
        raise Problem(400, "the form cannot be read", "send token=TOKEN") from None
    if not same(form.get("token", [""])[0].strip(), service.token):
        return HTMLResponse(_login("that is not the token"), 401, headers=_LOGIN_HEADERS)
    response = RedirectResponse("/", 303)
    response.set_cookie(
        COOKIE,
        cookie_value(service.token),
        max_age=COOKIE_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


_LOGIN_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


def _login(problem: str) -> str:
    said = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ktstr: token</title>
<meta name="viewport" content="width=device-width">
<style>:root{{color-scheme:light dark;font:1rem system-ui}}body{{margin:15vh auto;width:20rem}}
input,button{{font:inherit;width:100%;box-sizing:border-box;margin:.25rem 0;padding:.4rem}}</style>
</head><body><form method="post" action="/login"><label for="token">Token of this ktstr</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Open</button>{said}</form></body></html>
"""
