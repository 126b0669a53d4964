# SPDX-License-Identifier: GPL-2.0-only
"""The daemon: whether one answers, and whether this program may leave its runs to it."""

from pathlib import Path

from ktstr.daemon.address import ALONE_VARIABLE, socket_path, wanted
from ktstr.daemon.client import Daemon
from ktstr.doctor.finding import Finding, Grade, fine


def daemon(path: Path | None = None) -> Finding:
    """What `ktstr-run` would do with it; that there is none is no gap.

    :param path: its socket; None: where it is looked for.
    """
    path = path or socket_path()
    found = Daemon(path)
    if not path.is_socket() or not found.listens():
        return fine("daemon", "none runs, and none is needed (`ktstr serve` starts one)")
    health = found.health()
    if health is None:
        return Finding(
            "daemon",
            Grade.LIMIT,
            f"{path} does not answer; runs go without it",
            "systemctl --user restart ktstr",
        )
    if health.foreign:
        return Finding(
            "daemon",
            Grade.LIMIT,
            f"process {health.pid} at {path}: {health.foreign}; runs go without it",
            "systemctl --user restart ktstr",
        )
    if not wanted():
        return fine("daemon", f"process {health.pid} at {path}; {ALONE_VARIABLE} keeps runs off it")
    return fine("daemon", f"process {health.pid} at {path} takes runs")
