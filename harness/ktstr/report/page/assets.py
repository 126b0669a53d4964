# SPDX-License-Identifier: GPL-2.0-only
"""Scripts and styles of the pages, and the pages that the daemon serves while runs go on."""


def live_index_html() -> str:
    """The page of the queue: reads ``/v1/runs`` and follows ``/v1/events``."""
    raise NotImplementedError


def live_run_html(run_id: str) -> str:
    """The page of one run: follows ``/v1/runs/ID/events``, then draws ``/v1/runs/ID/data``."""
    raise NotImplementedError
