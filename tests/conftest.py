# SPDX-License-Identifier: GPL-2.0-only
"""Settings that hold for every test."""

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# A loaded two-core machine is no reason to fail: time is what `make bench` measures.
settings.register_profile("ktstr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ktstr")

# Whatever this machine runs beside, what a test starts runs here.
os.environ["KTSTR_NO_DAEMON"] = "1"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """QMP's library is asyncio's, so nothing else is supported."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """What one test's command made of the log, on a stream that is closed by now, ends with it."""
    yield
    structlog.reset_defaults()
