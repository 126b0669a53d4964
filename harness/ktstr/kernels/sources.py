# SPDX-License-Identifier: GPL-2.0-only
"""Derive private apt sources from the system's own: same mirror, same key, more suites.

Both formats of sources.list(5) are read: one-line ``.list`` files and deb822 ``.sources`` files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import HostUnfit

SUITES = ("sid", "trixie-backports", "bookworm-backports")
"""Where Debian publishes prebuilt kernels with sched_ext, newest first."""

_RELEASES = frozenset(
    (
        *("bullseye", "bookworm", "trixie", "forky", "duke", "sid"),
        *("oldstable", "stable", "testing", "unstable"),
    )
)
_MAX_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """One enabled binary source of the system.

    :param signed_by: the Signed-By value as written: key files, or an embedded key with its
        continuation lines; empty when apt's global keyring is meant.
    :param trusted: the administrator marked the source as trusted without a signature.
    """

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    trusted: bool = False

    @property
    def likeness(self) -> int:
        """How much this looks like Debian's own archive; 0 when it cannot be."""
        if "main" not in self.components or not _RELEASES.intersection(self.suites):
            return 0
        if self.uri.startswith("cdrom:"):
            return 0
        keyed = "debian-archive" in self.signed_by
        return 1 + 2 * keyed + (self.uri.rstrip("/").rpartition("/")[2] == "debian")


def parse_list(text: str) -> Iterator[Source]:
    """Sources of a one-line format file, in order."""
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        kind, _, rest = line.partition(" ")
        if kind != "deb":
            continue
        options: dict[str, str] = {}
        rest = rest.strip()
        if rest.startswith("["):
            inside, closed, rest = rest[1:].partition("]")
            if not closed:
                continue
            options = dict(_option(word) for word in inside.split())
        words = rest.split()
        if len(words) < 2:
            continue
        yield Source(
            uri=words[0],
            suites=(words[1],),
            components=tuple(words[2:]),
            signed_by=options.get("signed-by", "").replace(",", " "),
            trusted=options.get("trusted") == "yes",
        )


def _option(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name.lower(), value


def parse_deb822(text: str) -> Iterator[Source]:
    """Sources of a deb822 format file, in order; one per URI."""
    for fields in _stanzas(text):
        types = fields.get("types", "").split()
        if "deb" not in types or fields.get("enabled", "yes").strip().lower() in ("no", "false"):
            continue
        for uri in fields.get("uris", "").split():
            yield Source(
                uri=uri,
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
                trusted=fields.get("trusted", "").strip().lower() in ("yes", "true"),
            )


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    last = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, ""
        elif line[0] in " \t":
            if last:
                fields[last] += "\n" + line.rstrip()
        else:
            name, _, value = line.partition(":")
            last = name.strip().lower()
            fields[last] = value.strip()


def system_sources(etc_apt: Path = Path("/etc/apt")) -> list[Source]:
    """Every enabled binary source of the system, in apt's order.

    Files that cannot be read are skipped: apt itself would refuse to use them.
    """
    parts = etc_apt / "sources.list.d"
    files = [etc_apt / "sources.list"]
    if parts.is_dir():
        files += sorted(f for f in parts.iterdir() if f.suffix in (".list", ".sources"))
    found: list[Source] = []
    for file in files:
        try:
            with file.open(encoding="utf-8", errors="replace") as stream:
                text = stream.read(_MAX_FILE)
        except OSError:
            continue
        found += parse_deb822(text) if file.suffix == ".sources" else parse_list(text)
    return found


def debian_mirror(etc_apt: Path = Path("/etc/apt")) -> Source:
    """The system's Debian mirror: the first of the sources that look most like it.

    :raise HostUnfit: none does.
    """
    found = system_sources(etc_apt)
    best = max(found, key=lambda source: source.likeness, default=None)
    if best is None or not best.likeness:
        raise HostUnfit(
            f"none of the {len(found)} apt sources under {etc_apt} is a Debian mirror, and"
            " prebuilt kernels come from one",
            hint="use a kernel file (path:FILE) or this machine's own (host)",
        )
    return best


def render_sources(mirror: Source, suites: tuple[str, ...] = SUITES) -> str:
    """A deb822 file that adds *suites* of *mirror*, and nothing else."""
    lines = [
        "Types: deb",
        f"URIs: {mirror.uri}",
        f"Suites: {' '.join(suites)}",
        "Components: main",
        "Architectures: amd64",
    ]
    if mirror.signed_by:
        newline = "" if mirror.signed_by.startswith("\n") else " "
        lines.append(f"Signed-By:{newline}{mirror.signed_by}")
    if mirror.trusted:
        lines.append("Trusted: yes")
    return "\n".join(lines) + "\n"
