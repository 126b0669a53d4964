# SPDX-License-Identifier: GPL-2.0-only
"""A browser for the tests of pages.

Playwright keeps an event loop running in the thread that started it, in which nothing can start
another; so a browser ends with its module, before other tests come.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from tests.unit.report.browser import launch


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    # The machine may have a lot else to do.
    expect.set_options(timeout=20_000)
    with sync_playwright() as play:
        found = launch(play)
        yield found
        found.close()
