# SPDX-License-Identifier: GPL-2.0-only
"""The names of runs; a module of its own because who gives them need not run anything."""

import secrets
from datetime import UTC, datetime


def new_run_id() -> str:
    """Time and four random digits: unique among runs that share a folder."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
