# SPDX-License-Identifier: GPL-2.0-only
"""Hooks that a project's ``conftest.py`` may implement."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ktstr.pytest_plugin.request import RunRequest
    from ktstr.session.record import RunRecord


@pytest.hookspec(firstresult=True)
def pytest_ktstr_run(request: "RunRequest") -> "RunRecord | None":
    """Make the run that a test asks for; the first implementation that returns a record counts.

    Without one, the scenario is run in this process. ``run_blocking(execute, request)`` makes an
    implementation out of any function with the signature of ``ktstr.session.run.run_scenario``.

    An error of :mod:`ktstr.errors` is told as ktstr tells it.
    """
