# SPDX-License-Identifier: GPL-2.0-only
"""Templates: guests saved while they wait at their mailbox, for later runs to continue.

::

    templates/
      entries/KEY/    manifest.json · state · ram · frames · console.log
      staging/        what is being written; moved into place when it is whole
      locks/          KEY.lock: held together by users, alone by who makes or removes

An entry's folder has the time of its last use. What shapes the key is in
:mod:`ktstr.vm.template_key`, why it is done this way in docs/decisions/0021.
"""

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
from platformdirs import user_cache_path

from ktstr.errors import HostUnfit, StateUnusable
from ktstr.kernels.locks import exclusive_now, shared
from ktstr.vm.machine import CONSOLE_LOG, Machine
from ktstr.vm.migration import Incoming, save_state
from ktstr.vm.packed_ram import Run, check, pack, unpack, wrong_size
from ktstr.vm.ram import GuestRam
from ktstr.vm.template_key import FORMAT

LIMIT_VARIABLE = "KTSTR_TEMPLATES_MB"
DEFAULT_LIMIT_MB = 4096
STALE_S = 3600.0
"""Age at which something half-written belongs to nobody any more."""

_SMALL = ("state", "frames", CONSOLE_LOG)

Remark = Callable[[str], None]


class Damaged(Exception):
    """A template that must not be used; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Template:
    """A saved guest; its RAM is checked while it is copied, the rest has been.

    :param frames: every byte that the guest had sent when it was saved.
    """

    key: str
    folder: Path
    runs: tuple[Run, ...]
    frames: bytes

    def incoming(self, run_dir: Path, look: Callable[[GuestRam], None] | None = None) -> Incoming:
        """What a machine is to be launched with; the console's log so far goes to ``run_dir``.

        :param look: gets the RAM as soon as it is in place (:class:`Incoming`).
        :raise StateUnusable: when that cannot be copied.
        """
        try:
            shutil.copyfile(self.folder / CONSOLE_LOG, run_dir / CONSOLE_LOG)
        except OSError as error:
            raise StateUnusable(f"the console's log so far: {error.strerror}") from error
        ram = self.folder / "ram"
        return Incoming(
            self.folder / "state",
            partial(unpack, ram, self.runs),
            partial(check, ram, self.runs),
            look,
        )


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving took: seconds in which the guest stood still, bytes on disk."""

    seconds: float
    size: int


def limit_bytes() -> int:
    """How much room templates may take: ``KTSTR_TEMPLATES_MB`` (of 10^6 bytes); 0 turns them off.

    :raise HostUnfit: when the variable is no number.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip() or str(DEFAULT_LIMIT_MB)
    if not text.isascii() or not text.isdigit():
        raise HostUnfit(
            f"{LIMIT_VARIABLE} is {text!r}", hint="set it to a number of megabytes, 0 for none"
        )
    return int(text) * 1_000_000


class TemplateStore:
    """The templates below one cache folder, the least recently used of which make room."""

    def __init__(self, root: Path | None = None, limit: int | None = None) -> None:
        self.root = root if root is not None else user_cache_path("ktstr") / "templates"
        self.limit = limit_bytes() if limit is None else limit
        self._entries = self.root / "entries"
        self._staging = self.root / "staging"

    def has(self, key: str) -> bool:
        """Whether there is a template of that key; it may be damaged."""
        return (self._entries / key).is_dir()

    @contextmanager
    def using(self, key: str, remark: Remark) -> Iterator[Template | None]:
        """The template of that key, kept from being removed inside the block; None without one.

        :param remark: gets a sentence about one that was damaged, which is gone then.
        """
        if not self.limit or not self.has(key):
            yield None
            return
        with self._shared(key) as held:
            yield self._checked(key, remark) if held else None

    @contextmanager
    def _shared(self, key: str) -> Iterator[bool]:
        lock = shared(self._lock(key))
        try:
            lock.__enter__()
        except (HostUnfit, OSError):
            yield False
            return
        try:
            yield True
        finally:
            lock.__exit__(None, None, None)

    def _checked(self, key: str, remark: Remark) -> Template | None:
        folder = self._entries / key
        try:
            template = _load(folder, key)
        except FileNotFoundError as error:
            if not folder.is_dir():
                return None
            self.discard(key, f"{Path(error.filename).name} is missing", remark)
            return None
        except (Damaged, OSError) as error:
            self.discard(key, str(error), remark)
            return None
        with suppress(OSError):
            os.utime(folder)
        return template

    def discard(self, key: str, reason: str, remark: Remark) -> None:
        """Take a template away that nobody may use any more."""
        remark(f"a warm template was unusable and is made again: {reason}")
        self._remove(self._entries / key)

    async def save(
        self, key: str, machine: Machine, frames: bytes, about: Mapping[str, object]
    ) -> Saved | None:
        """Keep a machine that stands still as the template of that key.

        :param frames: every byte that the guest has sent.
        :param about: what people may want to know of it.
        :return: None when there is one already, another process makes it, or there is no room.
        :raise StateUnusable: when it cannot be saved.
        :raise GuestLost: when QEMU does not answer.
        """
        began = time.monotonic()
        if not self.limit:
            return None
        try:
            with self._making(key) as folder:
                if folder is None:
                    return None
                await save_state(machine, folder / "state")
                await anyio.to_thread.run_sync(_complete, folder, key, machine, frames, dict(about))
                size = disk_bytes(folder)
            return Saved(time.monotonic() - began, size)
        except OSError as error:
            raise StateUnusable(f"{self.root}: {error.strerror}") from error

    @contextmanager
    def _making(self, key: str) -> Iterator[Path | None]:
        with exclusive_now(self._lock(key)) as free:
            if not free or self.has(key):
                yield None
                return
            self._entries.mkdir(parents=True, exist_ok=True)
            self._staging.mkdir(mode=0o700, exist_ok=True)
            folder = self._staging / f"{key[:16]}-{secrets.token_hex(4)}"
            folder.mkdir(mode=0o700)
            try:
                yield folder
                folder.rename(self._entries / key)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def make_room(self) -> list[str]:
        """Remove what was used least recently until the rest fits, and what crashes left behind.

        :return: keys of what was removed; what is in use stays.
        """
        removed: list[str] = []
        entries = []
        for folder in self._entries.glob("*"):
            with suppress(OSError):
                entries.append((folder.stat().st_mtime_ns, disk_bytes(folder), folder))
        total = sum(size for _, size, _ in entries)
        for _, size, folder in sorted(entries):
            if total <= self.limit:
                break
            lock = self._lock(folder.name)
            with exclusive_now(lock) as free:
                if free:
                    self._remove(folder)
                    lock.unlink(missing_ok=True)
                    removed.append(folder.name)
                    total -= size
        for folder in self._staging.glob("*"):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > STALE_S:
                    shutil.rmtree(folder, ignore_errors=True)
        return removed

    def in_use(self) -> list[str]:
        """Keys of the templates that some process continues, or makes, at this moment."""
        busy = []
        for lock in sorted((self.root / "locks").glob("*.lock")):
            with exclusive_now(lock) as free:
                if not free:
                    busy.append(lock.stem)
        return busy

    def _lock(self, key: str) -> Path:
        return self.root / "locks" / f"{key}.lock"

    def _remove(self, folder: Path) -> None:
        # At once, so that nobody meets half of it.
        with suppress(OSError):
            self._staging.mkdir(mode=0o700, exist_ok=True)
            gone = self._staging / f"gone-{secrets.token_hex(8)}"
            folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def disk_bytes(folder: Path) -> int:
    """Bytes that the files of a folder take on disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def _complete(
    folder: Path, key: str, machine: Machine, frames: bytes, about: dict[str, object]
) -> None:
    """Write everything but the state, the manifest last."""
    runs = pack(machine.ram, folder / "ram")
    (folder / "frames").write_bytes(frames)
    shutil.copyfile(machine.console_log, folder / CONSOLE_LOG)
    manifest = {
        "format": FORMAT,
        "key": key,
        "made_at": time.time(),
        "about": about,
        "sha256": {name: _sha256(folder / name) for name in _SMALL},
        "runs": [list(asdict(run).values()) for run in runs],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _load(folder: Path, key: str) -> Template:
    """A template, all of it checked but what the RAM holds.

    :raise Damaged: with what is wrong; OSError when a file cannot be read.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT or manifest["key"] != key:
            raise Damaged("its manifest is that of another")
        runs = tuple(_run(numbers) for numbers in manifest["runs"])
        sums = {name: str(manifest["sha256"][name]) for name in _SMALL}
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"its manifest cannot be read ({type(error).__name__})") from error
    for name, due in sums.items():
        if _sha256(folder / name) != due:
            raise Damaged(f"{name} does not match its checksum")
    if (wrong := wrong_size((folder / "ram").stat().st_size, runs)) is not None:
        raise Damaged(wrong)
    return Template(key, folder, runs, (folder / "frames").read_bytes())


def _run(numbers: Any) -> Run:
    node, start, length, crc = numbers
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("a run of RAM has numbers only")
    return Run(node, start, length, crc)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
