# SPDX-License-Identifier: GPL-2.0-only
"""Which prebuilt Debian cloud kernels there are, and which of them a version prefix means.

Package layout (read from the archive): up to 6.18 ``linux-image-RELEASE`` carries the image in
``boot/``; from 6.19 on ``linux-binary-RELEASE`` does and ``linux-image-RELEASE`` is an empty
meta-package; from 7.2 on the image lies at ``usr/lib/modules/RELEASE/vmlinuz``.
``linux-binary-unsigned-RELEASE`` is the same before Debian has signed it.
``linux-base-RELEASE`` has the configuration and the list of built-in modules.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ktstr.kernels.apt import PackageVersion

PACKAGES = r"linux-(?:binary|binary-unsigned|image|base)-\d[^-]*-cloud-amd64"
"""Names of the packages this module reads, as a regular expression."""

_NAME = re.compile(r"linux-(binary|binary-unsigned|image|base)-((\d+(?:\.\d+)*)[^-]*-cloud-amd64)")
_VERSION = re.compile(r"\d+(\.\d+){0,3}")
_META_PACKAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class DebianKernel:
    """One prebuilt kernel.

    :param release: as ``uname -r`` will print it.
    :param version: the upstream version as numbers.
    :param package: holds the image.
    :param base: holds the configuration, when that is a package of its own.
    """

    release: str
    version: tuple[int, ...]
    package: PackageVersion
    base: PackageVersion | None = None

    @property
    def signed(self) -> bool:
        """Debian has signed the image, which it does to every kernel it has let through."""
        return not self.package.name.startswith("linux-binary-unsigned-")


def numbers(version: str) -> tuple[int, ...]:
    """``"7.1.13"`` as ``(7, 1, 13)``; what follows the numbers is ignored."""
    match = _VERSION.match(version)
    return tuple(int(n) for n in match[0].split(".")) if match else ()


def is_version(text: str) -> bool:
    """Whether *text* can follow ``debian:``: a version prefix or a whole release name."""
    return bool(_VERSION.fullmatch(text) or _NAME.fullmatch(f"linux-image-{text}"))


def available(packages: Iterable[PackageVersion]) -> list[DebianKernel]:
    """The kernels among *packages* (in the order of their suites), best choice first.

    Signed ones come before unsigned ones, then newer before older, then in the order of suites.
    """
    bases: dict[tuple[str, str], PackageVersion] = {}
    kernels: list[tuple[str, DebianKernel]] = []
    for package in packages:
        match = _NAME.fullmatch(package.name)
        if match is None:
            continue
        kind, release, version = match.groups()
        if kind == "base":
            bases[release, package.version] = package
        elif package.size >= _META_PACKAGE_BYTES:
            kernels.append((package.version, DebianKernel(release, numbers(version), package)))
    found = [
        DebianKernel(k.release, k.version, k.package, bases.get((k.release, version)))
        for version, k in kernels
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


def choose(wanted: str, kernels: Sequence[DebianKernel], limit: int = 3) -> list[DebianKernel]:
    """The kernels to try for *wanted*, best first: the best of each suite, at most *limit*."""
    chosen: dict[str, DebianKernel] = {}
    for kernel in kernels:
        if means(wanted, kernel.release):
            chosen.setdefault(kernel.package.suite, kernel)
    return list(chosen.values())[:limit]


def describe_choices(wanted: str, kernels: Sequence[DebianKernel]) -> str:
    """What there is instead of *wanted*: the closest version, and the newest of each series."""
    versions = sorted({k.version for k in kernels}, reverse=True)
    if not versions:
        return "the package index has no prebuilt cloud kernel at all"
    closest = next((v for v in versions if v <= numbers(wanted)), versions[-1])
    newest: dict[tuple[int, ...], tuple[int, ...]] = {}
    for version in versions:
        newest.setdefault(version[:2], version)
    listed = ", ".join(_dotted(v) for v in newest.values())
    return f"closest: {_dotted(closest)}; the newest of each series: {listed}"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(n) for n in version)
