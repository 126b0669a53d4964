# SPDX-License-Identifier: GPL-2.0-only
"""What a page of one run draws, out of its record."""

from ktstr.report.page.schema import PageData
from ktstr.session.record import RunRecord


def page_data(record: RunRecord) -> PageData:
    """The JSON that a page of ``record`` draws: bounded, and harmless as text."""
    raise NotImplementedError
