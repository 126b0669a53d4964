# SPDX-License-Identifier: GPL-2.0-only
"""The default kernel through this machine's own package mirror, end to end."""

from pathlib import Path

import pytest

from ktstr.kernels import KernelCache, resolve_kernel
from ktstr.kernels.sysroot import MINIMUM, libbpf_sysroot, version_at

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


async def test_default_kernel_is_fetched_and_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = KernelCache(tmp_path / "kernels")
    kernel = await resolve_kernel("debian:7", cache=cache)
    assert kernel.release.startswith("7.")
    features = kernel.features
    assert features.release == kernel.release
    assert (features.sched_ext, features.btf, features.pvh) == (True, True, True)
    assert (features.virtio_console, features.virtio_pci) == (True, True)
    assert features.build_id is not None and len(bytes.fromhex(features.build_id)) == 20
    assert kernel.vmlinux is not None
    monkeypatch.setenv("PATH", "/nonexistent")
    again = await resolve_kernel("debian:7", cache=cache)
    assert again.image == kernel.image


async def test_libbpf_sysroot(tmp_path: Path) -> None:
    root = await libbpf_sysroot(tmp_path)
    assert (version_at(root) or (0, 0)) >= MINIMUM
    assert (root / "usr/include/bpf/bpf_helpers.h").is_file()
