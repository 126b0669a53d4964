# SPDX-License-Identifier: GPL-2.0-only
"""Which prebuilt Debian kernels there are, and which of them a version prefix means.

Debian builds each version several times. The *flavour* ``cloud-amd64`` has the drivers of virtual
machines built in and is a tenth of the size of ``amd64``, which has them as modules.

Package layout (read from the archive): up to 6.18 ``linux-image-RELEASE`` carries the image in
``boot/``; from 6.19 on ``linux-binary-RELEASE`` does and ``linux-image-RELEASE`` is an empty
meta-package; from 7.2 on the image lies at ``usr/lib/modules/RELEASE/vmlinuz``.
``linux-binary-unsigned-RELEASE`` is the same before Debian has signed it.
``linux-base-RELEASE`` has the configuration and the list of built-in modules.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ktstr.kernels.apt import PackageVersion

FLAVOURS = ("cloud-amd64", "amd64", "rt-amd64")
"""What Debian builds of each version; the first is meant where none is named."""

_KINDS = "binary|binary-unsigned|image|base|modules"
_FLAVOUR = "|".join(FLAVOURS)
PACKAGES = rf"linux-(?:{_KINDS})-\d[^-]*-(?:{_FLAVOUR})"
"""Names of the packages this module reads, as a regular expression."""

_NAME = re.compile(rf"linux-({_KINDS})-((\d+(?:\.\d+)*)[^-]*-({_FLAVOUR}))")
_VERSION = re.compile(r"\d+(\.\d+){0,3}")
_META_PACKAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What stands after ``debian:``.

    :param version: a prefix of the version, or a whole release name.
    :param flavour: one of :data:`FLAVOURS`.
    """

    version: str
    flavour: str = FLAVOURS[0]

    def means(self, release: str) -> bool:
        """Whether this asks for the kernel *release*."""
        if self.version == release:
            return True
        return flavour_of(release) == self.flavour and means(self.version, release)


@dataclass(frozen=True, slots=True)
class DebianKernel:
    """One prebuilt kernel.

    :param release: as ``uname -r`` will print it.
    :param version: the upstream version as numbers.
    :param package: holds the image.
    :param base: holds the configuration, when that is a package of its own.
    :param modules: holds the modules, when that is a package of its own.
    """

    release: str
    version: tuple[int, ...]
    package: PackageVersion
    base: PackageVersion | None = None
    modules: PackageVersion | None = None

    @property
    def signed(self) -> bool:
        """Debian has signed the image, which it does to every kernel it has let through."""
        return not self.package.name.startswith("linux-binary-unsigned-")

    @property
    def flavour(self) -> str:
        """Which of :data:`FLAVOURS` it is."""
        return flavour_of(self.release)


def flavour_of(release: str) -> str:
    """The flavour at the end of a release name; empty when it has none of Debian's."""
    match = _NAME.fullmatch(f"linux-image-{release}")
    return match[4] if match else ""


def numbers(version: str) -> tuple[int, ...]:
    """``"7.1.13"`` as ``(7, 1, 13)``; what follows the numbers is ignored."""
    match = _VERSION.match(version)
    return tuple(int(n) for n in match[0].split(".")) if match else ()


def is_version(text: str) -> bool:
    """Whether *text* is a version prefix or a whole release name."""
    return bool(_VERSION.fullmatch(text) or _NAME.fullmatch(f"linux-image-{text}"))


def parse(text: str) -> Wanted | None:
    """What follows ``debian:``: a version prefix, one with ``/FLAVOUR``, or a whole release name.

    ``None`` when it is neither.
    """
    version, slash, flavour = text.partition("/")
    if _VERSION.fullmatch(version) and (not slash or flavour in FLAVOURS):
        return Wanted(version, flavour or FLAVOURS[0])
    return Wanted(text, flavour_of(text)) if is_version(text) else None


def available(packages: Iterable[PackageVersion]) -> list[DebianKernel]:
    """The kernels among *packages* (in the order of their suites), best choice first.

    Signed ones come before unsigned ones, then newer before older, then in the order of suites.
    """
    beside: dict[tuple[str, str, str], PackageVersion] = {}
    kernels: list[tuple[str, DebianKernel]] = []
    for package in packages:
        match = _NAME.fullmatch(package.name)
        if match is None:
            continue
        kind, release, version = match[1], match[2], match[3]
        if kind in ("base", "modules"):
            beside[kind, release, package.version] = package
        elif package.size >= _META_PACKAGE_BYTES:
            kernels.append((package.version, DebianKernel(release, numbers(version), package)))
    found = [
        replace(
            kernel,
            base=beside.get(("base", kernel.release, version)),
            modules=beside.get(("modules", kernel.release, version)),
        )
        for version, kernel in kernels
    ]
    found.sort(key=lambda k: k.version, reverse=True)
    found.sort(key=lambda k: not k.signed)
    best: dict[str, DebianKernel] = {}
    for kernel in found:
        best.setdefault(kernel.release, kernel)
    return list(best.values())


def means(wanted: str, release: str) -> bool:
    """Whether the version prefix or release name *wanted* means the kernel *release*.

    Prefixes go by whole components: ``6.1`` means 6.1.9 but not 6.12.
    """
    if wanted == release:
        return True
    prefix = numbers(wanted) if _VERSION.fullmatch(wanted) else ()
    return bool(prefix) and numbers(release)[: len(prefix)] == prefix


def choose(wanted: Wanted, kernels: Sequence[DebianKernel], limit: int = 3) -> list[DebianKernel]:
    """The kernels to try for *wanted*, best first: the best of each suite, at most *limit*."""
    chosen: dict[str, DebianKernel] = {}
    for kernel in kernels:
        if wanted.means(kernel.release):
            chosen.setdefault(kernel.package.suite, kernel)
    return list(chosen.values())[:limit]


def describe_choices(wanted: Wanted, kernels: Sequence[DebianKernel]) -> str:
    """What there is instead of *wanted*: the closest version, and the newest of each series."""
    versions = sorted({k.version for k in kernels if k.flavour == wanted.flavour}, reverse=True)
    if not versions:
        return f"the package index has no prebuilt {wanted.flavour} kernel at all"
    closest = next((v for v in versions if v <= numbers(wanted.version)), versions[-1])
    newest: dict[tuple[int, ...], tuple[int, ...]] = {}
    for version in versions:
        newest.setdefault(version[:2], version)
    listed = ", ".join(_dotted(v) for v in newest.values())
    return f"closest: {_dotted(closest)}; the newest of each series: {listed}"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(n) for n in version)
