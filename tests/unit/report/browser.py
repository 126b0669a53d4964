# SPDX-License-Identifier: GPL-2.0-only
"""Chromium as Debian has it, without a display and without a word to anybody outside."""

from playwright.sync_api import Browser, Playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def launch(play: Playwright) -> Browser:
    """A headless browser."""
    return play.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
