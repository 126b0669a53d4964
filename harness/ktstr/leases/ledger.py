# SPDX-License-Identifier: GPL-2.0-only
"""The ledger of a host's leases: a folder with a file for each, locked as long as it holds.

A file says who has what, for people and for who comes later; that it still holds is told by its
flock(2) alone, which the kernel takes away when a process ends, however it ends. Who looks or
changes something holds ``ledger.lock`` meanwhile. Who cannot be served leaves a file as well, and
nobody is served before who has waited longer for the same.
"""

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ktstr.leases.fit import Held, Want, fitting
from ktstr.leases.host import Host, this_host

FOLDER_VARIABLE: Final = "KTSTR_LEASES"
"""Names another folder; ``off`` leaves out leases altogether."""

FOLDER: Final = Path("/tmp/ktstr-leases")
"""One for all users of a host, wherever their TMPDIR is."""

TURNSTILE_DEADLINE_S: Final = 10.0
"""How long another may hold the ledger: a process that was stopped there must not stop all."""

_SUFFIX: Final = ".lease"
_TURNSTILE: Final = "ledger.lock"
_MAX_FILE: Final = 64 * 1024
_MAX_CPUS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says of one lease, or of one who waits for it.

    :param since_ns: when it was asked for, ns of the monotonic clock.
    :param what: what it is for, for people.
    """

    want: Want
    held: Held
    waits: bool
    since_ns: int
    what: str


@dataclass(slots=True)
class Lease:
    """A lease, or a place in the queue for one; :meth:`close` ends either."""

    path: Path
    fd: int
    want: Want
    since_ns: int
    what: str
    cpus: frozenset[int] | None = None
    _closed: bool = field(default=False, repr=False)

    def close(self) -> None:
        """Give it back; any number of times."""
        if not self._closed:
            self._closed = True
            with suppress(OSError):
                self.path.unlink()
            os.close(self.fd)


class Ledger:
    """The leases of a host.

    :param folder: where they are; None: the one that all runs of this host share.
    :raise OSError: from all methods, when the folder cannot be used.
    """

    def __init__(self, folder: Path | None = None, host: Host | None = None) -> None:
        self.folder = folder or FOLDER
        self.host = host or this_host()
        self._count = 0

    def ask(self, want: Want, what: str) -> Lease:
        """Join the queue; the lease is held at once when its ``cpus`` are not None."""
        with self._turnstile():
            since = time.monotonic_ns()
            self._count += 1
            name = f"{since:020}-{os.getpid()}-{id(self):x}-{self._count}{_SUFFIX}"
            path = self.folder / name
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lease = Lease(path, fd, want, since, what)
                self._write(lease)
                self._serve(lease)
            except BaseException:
                with suppress(OSError):
                    path.unlink()
                os.close(fd)
                raise
        return lease

    def try_again(self, lease: Lease) -> bool:
        """Whether the lease is held now."""
        if lease.cpus is None:
            with self._turnstile():
                self._serve(lease)
        return lease.cpus is not None

    def entries(self) -> list[Entry]:
        """All that holds or waits, the oldest first."""
        if not self.folder.is_dir():
            return []
        with self._turnstile():
            return [entry for _, entry in self._entries()]

    def in_the_way(self, lease: Lease) -> list[Entry]:
        """Whom ``lease`` waits for."""
        with self._turnstile():
            others = [entry for path, entry in self._entries() if path != lease.path]
        return [
            entry
            for entry in others
            if (_goes_first(entry, lease) if entry.waits else _has_any(entry, lease.want))
        ]

    def _serve(self, lease: Lease) -> None:
        others = [entry for path, entry in self._entries() if path != lease.path]
        if any(entry.waits and _goes_first(entry, lease) for entry in others):
            return
        held = [entry.held for entry in others if not entry.waits]
        lease.cpus = fitting(self.host, lease.want, held, os.getpid())
        if lease.cpus is not None:
            self._write(lease)

    def _write(self, lease: Lease) -> None:
        want = lease.want
        text = json.dumps(
            {
                "pid": os.getpid(),
                "crowd": want.crowd,
                "what": lease.what,
                "since_ns": lease.since_ns,
                "waits": lease.cpus is None,
                "wanted_cpus": want.cpus,
                "cpus": sorted(lease.cpus or ()),
                "memory_mib": want.memory_mib,
                "exclusive_llc": want.exclusive_llc,
            }
        )
        os.pwrite(lease.fd, text.encode(), 0)
        os.ftruncate(lease.fd, len(text.encode()))

    def _entries(self) -> list[tuple[Path, Entry]]:
        found = []
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            entry = _read(path)
            if entry is not None:
                found.append((path, entry))
        return sorted(found, key=lambda pair: (pair[1].since_ns, pair[0].name))

    @contextmanager
    def _turnstile(self) -> Iterator[None]:
        """Look at the ledger and change it while nobody else does; takes well under 1 ms."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            # It is another user's, who has seen to that.
            self.folder.chmod(0o1777)
        fd = _open_for_all(self.folder / _TURNSTILE)
        try:
            _lock(fd)
            yield
        finally:
            os.close(fd)


def shared_ledger() -> Ledger | None:
    """The ledger of this host; None when ``KTSTR_LEASES=off``."""
    place = os.environ.get(FOLDER_VARIABLE, "")
    if place == "off":
        return None
    return Ledger(Path(place) if place else None)


def in_words(entries: Sequence[Entry], most: int = 3) -> str:
    """Who holds or waits, for a sentence: ``pid 812 (two_cgroups, CPUs 0-1)``."""
    words = [f"pid {entry.held.pid} ({entry.what})" for entry in entries[:most]]
    more = len(entries) - most
    return ", ".join([*words, *([f"{more} more"] if more > 0 else [])])


def _has_any(entry: Entry, want: Want) -> bool:
    return bool(entry.held.cpus if want.cpus else entry.held.memory_mib)


def _goes_first(entry: Entry, lease: Lease) -> bool:
    older = (entry.since_ns, entry.held.pid) < (lease.since_ns, os.getpid())
    same_kind = bool(entry.want.cpus) == bool(lease.want.cpus)
    return older and same_kind


def _lock(fd: int) -> None:
    """Take the lock of the whole ledger.

    :raise OSError: when another keeps it.
    """
    deadline = time.monotonic() + TURNSTILE_DEADLINE_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                why = f"another process has locked {_TURNSTILE} for {TURNSTILE_DEADLINE_S:.0f} s"
                raise OSError(errno.ETIMEDOUT, why) from None
        time.sleep(0.0005)


def _open_for_all(path: Path) -> int:
    # Opened without O_CREAT first: in a folder for all, the kernel refuses that with it for a file
    # of another user (Documentation/admin-guide/sysctl/fs.rst: protected_regular).
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    with suppress(OSError):
        os.fchmod(fd, 0o666)
    return fd


def _read(path: Path) -> Entry | None:
    """What a file says, if somebody stands behind it; removes it when nobody does."""
    try:
        # A pipe that somebody has put here is not waited for.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _entry(os.read(fd, _MAX_FILE))
    else:
        with suppress(OSError):
            path.unlink()
        return None
    finally:
        os.close(fd)


def _entry(content: bytes) -> Entry | None:
    """The entry; None for what another program, or another version, has left here."""
    try:
        found: Any = json.loads(content)
        pid, since = _number(found["pid"]), _number(found["since_ns"])
        crowd = _number(found.get("crowd", 0))
        cpus = frozenset(_number(cpu, _MAX_CPUS) for cpu in found["cpus"])
        memory, wanted = _number(found["memory_mib"]), _number(found["wanted_cpus"], _MAX_CPUS)
        exclusive, waits = bool(found["exclusive_llc"]), bool(found["waits"])
        what = str(found["what"])[:200]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    held = Held(pid, frozenset() if waits else cpus, 0 if waits else memory, exclusive, crowd)
    return Entry(Want(wanted, memory, exclusive), held, waits, since, what)


def _number(value: object, most: int = 1 << 62) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r} is no number from 0 to {most}")
    return value
