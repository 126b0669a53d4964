# SPDX-License-Identifier: GPL-2.0-only
"""What has to be the same on a worker and on the machine that sends it runs."""

import hashlib
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import ktstr
from ktstr.kernels.catalogue import kernels_folder
from ktstr.model.configs import configs_folder
from ktstr.vm.image import guest_sources

_SOURCES: Final = frozenset({".py", ".c", ".h", ".toml", ".S"})


@cache
def source_digest() -> str:
    """Digest of all that ktstr brings along: between two releases only that tells them apart."""
    digest = hashlib.sha256()
    package = Path(ktstr.__file__).parent
    for root in (package, guest_sources(), configs_folder(), kernels_folder()):
        for path in sorted(_files(root), key=lambda path: path.relative_to(root).as_posix()):
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _files(root: Path) -> Iterator[Path]:
    # An installed package holds the guest's sources too, below a folder of its own.
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        hidden = any(part.startswith(("_guest", "_configs", "_kernels", ".")) for part in parts)
        if path.suffix in _SOURCES and not hidden and path.is_file():
            yield path


def versions() -> dict[str, str]:
    """Versions by name, of this process."""
    return {
        "ktstr": f"{_version('ktstr')} ({source_digest()})",
        "python": ".".join(platform.python_version_tuple()[:2]),
        "distributed": _version("distributed"),
    }


def difference(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Why what is there cannot serve what is here; empty when it can.

    Another Dask is Dask's own concern: it speaks with others of the same protocol.
    """
    return "; ".join(
        f"it has {name} {there.get(name, 'unknown')}, here is {here[name]}"
        for name in ("ktstr", "python")
        if there.get(name) != here[name]
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "uninstalled"
