# SPDX-License-Identifier: GPL-2.0-only
"""Projects of pytest that run in this process, their runs made up."""

from collections.abc import Callable

import pytest
from tests.unit.pytest_plugin.project import CONFTEST, text

NAMES = (
    "passes fails skips inconclusive unchecked lost lost_early cannot_run lacks invalid "
    "fails_second"
)


@pytest.fixture
def project(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Runs pytest over a test file, beside which lies a scenario of each name."""
    pytester.makeconftest(CONFTEST)
    for name in NAMES.split():
        (pytester.path / f"{name}.toml").write_text(text(name))

    def run(source: str, *args: str, ini: str = "") -> pytest.RunResult:
        pytester.makefile(".ini", pytest=f"[pytest]\n{ini}\n")
        pytester.makepyfile(test_it=f"import pytest\n{source}")
        return pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *args)

    return run
