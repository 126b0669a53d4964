# SPDX-License-Identifier: GPL-2.0-only
"""Runs scenarios as pytest tests.

pytest loads :mod:`ktstr.pytest_plugin.plugin` at every start, in projects without a single
scenario too. So nothing here imports the rest of ktstr before a test needs it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktstr.pytest_plugin.execute import Executor, run_blocking
    from ktstr.pytest_plugin.fixture import Ktstr
    from ktstr.pytest_plugin.request import RunRequest
    from ktstr.pytest_plugin.run import Run

__all__ = ["Executor", "Ktstr", "Run", "RunRequest", "run_blocking"]

_PLACES = {
    "Executor": "execute",
    "Ktstr": "fixture",
    "Run": "run",
    "RunRequest": "request",
    "run_blocking": "execute",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
