# SPDX-License-Identifier: GPL-2.0-only
"""What is sent to a worker for one run: the scenario's text, its options, digests of its files.

Nothing in it names a place on the sender's machine: files travel by content.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from ktstr.model.scenario import MAX_FILE_SIZE
from ktstr.telemetry.decode import Fields

MAX_FILES: Final = 1024
MAX_FILE_BYTES: Final = 1 << 30
_MIB: Final = 1 << 24
_CPUS: Final = 1 << 13
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PLACE: Final = re.compile(r"files/[0-9a-f]{12}/[^/\0]{1,255}")


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file beside the scenario.

    :param name: where it lies, seen from the scenario's folder.
    :param digest: SHA-256 of its content, in hexadecimal.
    :param size: its length, bytes.
    """

    name: str
    digest: str
    size: int
    executable: bool = False

    @classmethod
    def from_json(cls, values: object, subject: str) -> "SentFile":
        """The file that a parcel tells of.

        :raise RecordError: when it is none, or lies outside the scenario's folder.
        """
        found = Fields(values, subject)
        name = found.text("name", 300)
        if not _PLACE.fullmatch(name) or name.rpartition("/")[2] in (".", ".."):
            found.refuse("name", name, "files/DIGEST/NAME")
        digest = found.text("digest", 64)
        if not is_digest(digest):
            found.refuse("digest", digest, "a SHA-256 in hexadecimal")
        size = found.integer("size", 0, MAX_FILE_BYTES)
        executable = found.boolean("executable")
        found.done()
        return cls(name, digest, size, executable)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One run, ready to travel.

    :param name: what the scenario is called.
    :param toml: the scenario's text.
    :param options: those of ``RunOptions`` that hold on any machine, as a cell carries them.
    :param cpus: vCPUs that may be busy at a time.
    :param memory_mib: guest memory and what QEMU needs beside it.
    :param guest: digest of what shapes its guest.
    :param kernel: the kernel as the gauntlet names it; None: the scenario's own.
    :param fetch: the kernel that a worker has to have; empty when it is sent along.
    """

    name: str
    toml: str
    options: Mapping[str, Any]
    cpus: int
    memory_mib: int
    guest: str
    kernel: str | None = None
    fetch: str = ""
    files: tuple[SentFile, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "files": [asdict(file) for file in self.files]}

    @classmethod
    def from_json(cls, values: object, subject: str = "a run that was sent") -> "Parcel":
        """The parcel that :meth:`to_json` made this of.

        :raise RecordError: naming ``subject`` and the field that is wrong.
        """
        found = Fields(values, subject)
        files = found.take("files")
        if type(files) is not list or len(files) > MAX_FILES:
            found.refuse("files", files, f"a list of at most {MAX_FILES}")
        options = found.take("options")
        if type(options) is not dict:
            found.refuse("options", options, "a map")
        parcel = cls(
            name=found.name("name", 64),
            toml=found.text("toml", MAX_FILE_SIZE),
            options=options,
            cpus=found.integer("cpus", 1, _CPUS),
            memory_mib=found.integer("memory_mib", 0, _MIB),
            guest=found.name("guest", 64),
            kernel=found.text_or_none("kernel", 4096),
            fetch=found.text("fetch", 4096),
            files=tuple(SentFile.from_json(file, f"{subject}, a file") for file in files),
        )
        found.done()
        return parcel


def is_digest(text: object) -> bool:
    """Whether it is a SHA-256 in hexadecimal, and so safe as a file's name."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None
