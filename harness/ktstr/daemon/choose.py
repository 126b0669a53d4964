# SPDX-License-Identifier: GPL-2.0-only
"""Whether a command leaves its runs to a daemon; asking costs nothing where there is none."""

from typing import NamedTuple

from ktstr.daemon.address import socket_path, wanted


class Choice(NamedTuple):
    """What a command does; a dataclass would take longer to make than the question takes.

    :param daemon: whether its runs go to the daemon.
    :param why_not: what a person should know when there is one and they do not; else empty.
    """

    daemon: bool
    why_not: str = ""


ALONE = Choice(False)


def chosen(allowed: bool = True) -> Choice:
    """The daemon, if one answers that is of this program and takes runs.

    :param allowed: whether the command line lets it.
    """
    if not allowed or not wanted():
        return ALONE
    path = socket_path()
    try:
        if not path.is_socket():
            return ALONE
    except OSError:
        # Another user's runtime folder, left in the environment by su: no daemon of this user's.
        return ALONE
    from ktstr.daemon.client import Daemon

    daemon = Daemon(path)
    if not daemon.listens():
        # A file that a dead daemon left.
        return ALONE
    health = daemon.health()
    if health is None:
        return Choice(False, f"the daemon at {path} does not answer; running without it")
    foreign = health.foreign
    if foreign:
        return Choice(
            False,
            f"not left to the daemon at {path} (process {health.pid}): {foreign}; "
            "restart it, or say --no-daemon",
        )
    return Choice(True)
