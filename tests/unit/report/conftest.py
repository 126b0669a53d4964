# SPDX-License-Identifier: GPL-2.0-only
"""One browser for all tests of pages in a worker."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright
from tests.unit.report.browser import launch


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as play:
        found = launch(play)
        yield found
        found.close()
