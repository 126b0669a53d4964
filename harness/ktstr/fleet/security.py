# SPDX-License-Identifier: GPL-2.0-only
"""Who may speak with whom: addresses, TLS, and Dask's own settings for a fleet.

Whoever can connect to a Dask scheduler can have anything executed on it and on its workers: Dask's
messages are pickles. So a scheduler of ours is reached from its own machine only, unless TLS tells
friend from foe or the caller takes the risk on.
"""

import ipaddress
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ktstr.errors import CannotRun, HostUnfit

if TYPE_CHECKING:
    from distributed import Security

PORT: Final = 8786
"""The port that Dask schedulers have by convention."""

SETTINGS: Final = {
    "distributed.admin.system-monitor.log-length": 60,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.http.routes": [],
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.comm.timeouts.connect": "30s",
}
"""Nothing that listens for others beside the one port, no profiler; a worker that stays silent is
given up after a minute, not after five."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a party: who vouches for others, and who it is itself; all PEM."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def of(cls, ca: Path | None, cert: Path | None, key: Path | None) -> "Tls | None":
        """The three together; None without any.

        :raise CannotRun: when only some are given, or one cannot be read.
        """
        if ca is None and cert is None and key is None:
            return None
        if ca is None or cert is None or key is None:
            raise CannotRun("--tls-ca, --tls-cert and --tls-key go together")
        for path in (ca, cert, key):
            try:
                path.open("rb").close()
            except OSError as error:
                raise HostUnfit(f"{path} cannot be read: {error.strerror}") from error
        return cls(ca, cert, key)


def security(tls: Tls | None) -> "Security | None":
    """Dask's form, in which nothing unencrypted is spoken; None: without TLS."""
    if tls is None:
        return None
    from distributed import Security

    parties = ("client", "scheduler", "worker")
    files: dict[str, Any] = {"tls_ca_file": str(tls.ca), "require_encryption": True}
    for party in parties:
        files |= {f"tls_{party}_cert": str(tls.cert), f"tls_{party}_key": str(tls.key)}
    found: Security = Security(**files)
    return found


def address(text: str, tls: Tls | None) -> str:
    """The scheduler's address as Dask takes it: ``tcp://HOST:PORT``, ``tls://`` with TLS.

    :raise CannotRun: when it is none, or the scheme and TLS contradict each other.
    """
    scheme, mark, rest = text.rpartition("://")
    wanted = "tls" if tls is not None else "tcp"
    scheme = scheme if mark else wanted
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, str(PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise CannotRun(
            f"{text!r} is no address of a scheduler", hint="tcp://HOST:PORT, or tls://HOST:PORT"
        )
    if scheme not in ("tcp", "tls"):
        raise CannotRun(f"{text!r}: a scheduler is reached by tcp:// or tls://")
    if scheme != wanted:
        raise CannotRun(
            f"{text} asks for {scheme}, and --tls-ca, --tls-cert, --tls-key were "
            + ("given" if tls else "not given"),
            hint="tls:// and the three files go together",
        )
    return f"{scheme}://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens at this address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, tls: Tls | None, insecure: bool) -> None:
    """Refuse to let strangers execute code.

    :raise CannotRun: when others can reach the address, and nothing tells them apart.
    """
    if tls is None and not insecure and not is_loopback(host):
        raise CannotRun(
            f"at {host} others could reach it, and Dask executes whatever a client sends",
            hint="give --tls-ca, --tls-cert and --tls-key; --insecure where the network is yours",
        )


def settle() -> None:
    """Give Dask its settings for this process, and have it speak of what is wrong only."""
    import dask
    import distributed  # noqa: F401  it sets up its loggers when it is first imported

    dask.config.set(SETTINGS)
    for name in ("", ".client", ".core", ".scheduler", ".worker"):
        logging.getLogger(f"distributed{name}").setLevel(logging.CRITICAL)
