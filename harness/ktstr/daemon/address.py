# SPDX-License-Identifier: GPL-2.0-only
"""Where a daemon listens and how it is found there, in the standard library and little of it.

Every ``ktstr-run`` asks whether there is a daemon, so what is here must cost nothing where there is
none.
"""

import os
import socket
from pathlib import Path
from typing import Final

SOCKET_VARIABLE: Final = "KTSTR_SOCKET"
ALONE_VARIABLE: Final = "KTSTR_NO_DAEMON"
NAME: Final = "daemon.sock"

MAX_PATH: Final = 107
"""Longest path of a Unix socket, bytes (unix(7): sun_path without its final zero)."""


def socket_path() -> Path:
    """The socket of this user's daemon.

    ``$KTSTR_SOCKET``, or ``ktstr/daemon.sock`` in the user's runtime folder, or in
    ``~/.local/state`` where there is none.
    """
    named = os.environ.get(SOCKET_VARIABLE)
    if named:
        return Path(named).absolute()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime):
        return Path(runtime, "ktstr", NAME)
    user = Path("/run/user", str(os.getuid()))
    if user.is_dir():
        return user / "ktstr" / NAME
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state and os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "ktstr" / NAME


def wanted() -> bool:
    """Whether the environment lets runs go to a daemon (``KTSTR_NO_DAEMON`` unset, empty or 0)."""
    return os.environ.get(ALONE_VARIABLE, "") in ("", "0")


def connected(path: Path, timeout_s: float) -> socket.socket | None:
    """A connection to the daemon at ``path``; None when nobody listens there.

    :param timeout_s: how long each wait on the socket may take, seconds.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(timeout_s)
    try:
        made.connect(os.fspath(path))
    except (OSError, ValueError):
        made.close()
        return None
    return made
