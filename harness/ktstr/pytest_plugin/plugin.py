# SPDX-License-Identifier: GPL-2.0-only
"""The entry point that pytest loads; imports nothing of ktstr before a test needs it."""

import pytest

from ktstr.pytest_plugin import hooks

MARKER = (
    "ktstr(scenario, *, topology, presets, kernel, kernels, scheduler, flags, work_type, clock, "
    "seed, repeat, timeout, check, expect_fail, allow_inconclusive): run a scenario in a VM; "
    "the fixture `ktstr` is the finished run"
)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make known which hooks there are."""
    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER)
