# SPDX-License-Identifier: GPL-2.0-only
"""A run as one HTML file that needs no network."""

from ktstr.session.record import RunRecord


def page_html(record: RunRecord) -> str:
    """The page of one run, whole: at most :data:`MAX_BYTES`."""
    raise NotImplementedError
