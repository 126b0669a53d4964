# SPDX-License-Identifier: GPL-2.0-only
"""The sockets a daemon listens on: made here, or inherited from systemd."""

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktstr.daemon.address import MAX_PATH
from ktstr.daemon.auth import MAX_TOKEN, MIN_TOKEN
from ktstr.errors import HostUnfit

BACKLOG: Final = 128
FIRST_FD: Final = 3
"""First descriptor that systemd passes (sd_listen_fds(3))."""

LIVE_TIMEOUT_S: Final = 2.0


@dataclass(slots=True)
class Listener:
    """One socket that listens.

    :ivar path: its name in the file system, when this process has to remove it; ``made``: what
        was there then.
    :ivar remote: whether clients may come from other machines or users.
    """

    socket: socket.socket
    remote: bool
    path: Path | None = None
    made: tuple[int, int] = (0, 0)

    @property
    def where(self) -> str:
        """Its address, for people."""
        name = self.socket.getsockname()
        if self.socket.family == socket.AF_UNIX:
            return str(name)
        host, port = name[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def close(self) -> None:
        """Stop listening; the name goes, unless somebody else has taken it meanwhile."""
        self.socket.close()
        if self.path is not None:
            with suppress(OSError):
                if _identity(self.path) == self.made:
                    self.path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    """Which file this is; inodes are used again."""
    found = path.lstat()
    return found.st_ino, found.st_ctime_ns


def unix_listener(path: Path) -> Listener:
    """Listen at ``path``, which only its owner may open.

    A file that a dead daemon left is replaced.

    :raise HostUnfit: when a daemon listens there already, or the socket cannot be made.
    """
    if len(os.fsencode(path)) > MAX_PATH:
        raise HostUnfit(
            f"{path} is too long for a Unix socket: at most {MAX_PATH} bytes",
            hint="choose a shorter --socket PATH",
        )
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _private_folder(path.parent)
        with _alone(path):
            return _bound(made, path)
    except OSError as error:
        made.close()
        raise HostUnfit(
            f"no socket can be made at {path}: {error.strerror}",
            hint="choose another place with --socket PATH or KTSTR_SOCKET",
        ) from error
    except BaseException:
        made.close()
        raise


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One daemon at a time looks whether the socket is stale, and makes its own."""
    fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _bound(made: socket.socket, path: Path) -> Listener:
    _remove_stale(path)
    # Private from its first moment: bind(2) applies the mask.
    before = os.umask(0o177)
    try:
        made.bind(os.fspath(path))
    finally:
        os.umask(before)
    made.listen(BACKLOG)
    made.setblocking(False)
    return Listener(made, remote=False, path=path, made=_identity(path))


def _private_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        folder.chmod(0o700)


def _remove_stale(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise HostUnfit(
            f"{path} exists and is no socket",
            hint="move it away, or choose another --socket PATH",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.settimeout(LIVE_TIMEOUT_S)
        try:
            made.connect(os.fspath(path))
        except ConnectionRefusedError:
            # Nothing else says that nobody listens: a full backlog is somebody's, too.
            path.unlink()
            return
        except OSError as error:
            raise HostUnfit(
                f"{path} is a socket that somebody may listen at: {error.strerror}",
                hint="remove it if nobody does, or choose another --socket and --state",
            ) from error
        pid = _peer(made)
    raise HostUnfit(
        f"a daemon listens at {path} already" + (f" (process {pid})" if pid else ""),
        hint="use that one (`ktstr runs`), end it, or choose another --socket and --state",
    )


def _peer(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], "little")


def tcp_listener(address: str) -> Listener:
    """Listen at ``HOST:PORT`` (``[::1]:8642``; port 0: any that is free).

    :raise HostUnfit: when the address is none, or cannot be had.
    """
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise HostUnfit(
            f"--tcp: {address!r:.80} is no address",
            hint="HOST:PORT, as in 127.0.0.1:8642 or [::1]:8642",
        )
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise HostUnfit(
            f"--tcp: the host {host!r:.80} is not known: {error.strerror}",
            hint="name an address of this machine, as in 127.0.0.1",
        ) from error
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise HostUnfit(
            f"--tcp: nobody can listen at {address}: {error.strerror}",
            hint="choose an address of this machine and a free port",
        ) from error
    return Listener(made, remote=True)


def inherited() -> list[Listener]:
    """The sockets systemd has opened for this process (sd_listen_fds(3)); none without it.

    :raise HostUnfit: when one of them is no socket that listens.
    """
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
        return []
    text = os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    count = int(text) if text.isascii() and text.isdigit() else 0
    return [_taken_over(fd) for fd in range(FIRST_FD, FIRST_FD + min(count, 64))]


def _taken_over(fd: int) -> Listener:
    try:
        os.set_inheritable(fd, False)
        found = socket.socket(fileno=fd)
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise HostUnfit(
            f"descriptor {fd}, which systemd passed, is no socket: {error.strerror}",
            hint="look at the ListenStream= lines of the .socket unit",
        ) from error
    if not listens or found.type != socket.SOCK_STREAM:
        found.close()
        raise HostUnfit(
            f"the socket systemd passed as descriptor {fd} does not listen for streams",
            hint="ListenStream= and Accept=no in the .socket unit",
        )
    found.setblocking(False)
    return Listener(found, remote=found.family != socket.AF_UNIX)


def read_token(file: Path) -> str:
    """The token in the first line of ``file``.

    :raise HostUnfit: when there is none, it is too short, or others may read the file.
    """
    try:
        mode = file.stat().st_mode
        with file.open(encoding="utf-8") as lines:
            token = lines.readline(MAX_TOKEN + 2).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise HostUnfit(
            f"--token-file: {file} cannot be read: {why}", hint=_make_token(file)
        ) from error
    if mode & 0o077:
        raise HostUnfit(
            f"--token-file: others than its owner may read {file} (mode {mode & 0o777:04o})",
            hint=f"chmod 600 {file}",
        )
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN or not token.isascii() or not token.isprintable():
        raise HostUnfit(
            f"--token-file: the first line of {file} is no token: "
            f"{MIN_TOKEN} to {MAX_TOKEN} printable ASCII characters",
            hint=_make_token(file),
        )
    return token


def _make_token(file: Path) -> str:
    return f"(umask 077; openssl rand -base64 32 > {file})"


def notify(state: str) -> None:
    """Tell systemd how the service is (sd_notify(3)); nothing where it does not ask."""
    target = os.environ.get("NOTIFY_SOCKET", "")
    if target[:1] not in ("/", "@"):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.connect("\0" + target[1:] if target[0] == "@" else target)
        speaker.sendall(state.encode())
